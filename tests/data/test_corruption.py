"""Holes: how many, where, what the model is shown; and that nothing of the text is lost."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.data.corruption import corrupt_spans, draw_spans, mask_tokens

MASK, WORDS = 99, 50


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_shares_of_masking():
    tokens = torch.randint(50, 90, (400, 100), generator=generator(1))
    holes = mask_tokens(
        tokens,
        torch.ones_like(tokens, dtype=torch.bool),
        rate=0.15,
        mask_token=MASK,
        words=WORDS,
        generator=generator(),
    )
    targets = holes.targets.sum().item()
    assert targets / tokens.numel() == pytest.approx(0.15, abs=0.01)
    shown, was = holes.tokens[holes.targets], tokens[holes.targets]
    assert (shown == MASK).sum().item() / targets == pytest.approx(0.8, abs=0.02)
    assert (shown == was).sum().item() / targets == pytest.approx(0.1, abs=0.02)
    assert (shown < WORDS).sum().item() / targets == pytest.approx(0.1, abs=0.02)
    assert torch.equal(holes.tokens[~holes.targets], tokens[~holes.targets])


def test_only_maskable_tokens_and_at_least_one_in_each_row():
    tokens = torch.full((64, 8), 60)
    maskable = torch.zeros_like(tokens, dtype=torch.bool)
    maskable[:, 3] = True
    holes = mask_tokens(tokens, maskable, rate=0.01, mask_token=MASK, words=WORDS, generator=generator())
    assert torch.equal(holes.targets, maskable)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_outside_is_refused(rate):
    tokens = torch.full((1, 2), 60)
    with pytest.raises(ValueError, match="rate must be between 0 and 1"):
        mask_tokens(tokens, tokens > 0, rate=rate, mask_token=MASK, words=WORDS, generator=generator())


def test_a_row_without_maskable_tokens_is_refused():
    tokens = torch.full((2, 2), 60)
    maskable = torch.tensor([[True, True], [False, False]])
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        mask_tokens(tokens, maskable, rate=0.5, mask_token=MASK, words=WORDS, generator=generator())


@given(
    length=st.integers(2, 60), rate=st.floats(0.05, 0.9), mean=st.floats(1.0, 5.0), seed=st.integers(0, 999)
)
@settings(max_examples=60, deadline=None)
def test_spans_are_apart_and_hide_their_share(length, rate, mean, seed):
    spans = draw_spans(length, rate=rate, mean_length=mean, generator=generator(seed))
    hidden = sum(end - start for start, end in spans)
    assert hidden == min(max(round(length * rate), 1), length - 1)
    assert all(0 <= start < end <= length for start, end in spans)
    assert all(end < start for (_, end), (start, _) in pairwise(spans))


def test_a_single_span_may_stand_anywhere():
    starts = {
        draw_spans(6, rate=0.2, mean_length=1.0, generator=generator(seed))[0][0] for seed in range(200)
    }
    assert starts == {0, 1, 2, 3, 4, 5}


@given(length=st.integers(2, 40), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_source_and_target_hold_the_whole_text(length, seed):
    tokens = list(range(100, 100 + length))
    spans = draw_spans(length, rate=0.3, mean_length=3.0, generator=generator(seed))
    sentinels = list(range(len(spans) + 1))
    source, target = corrupt_spans(tokens, spans, sentinels=sentinels)
    assert target[0] == 0
    assert target[-1] == len(spans)
    inside: dict[int, list[int]] = {number: [] for number in sentinels}
    number = 0
    for token in target:
        if token < 100:
            number = token
        else:
            inside[number].append(token)
    rebuilt = [t for token in source for t in ([token] if token >= 100 else inside[token])]
    assert rebuilt == tokens


@pytest.mark.parametrize(
    ("spans", "sentinels"),
    [([(0, 1), (1, 3)], [7, 8]), ([(2, 2)], [7, 8]), ([(3, 4), (0, 1)], [7, 8, 9]), ([(2, 9)], [7, 8])],
)
def test_wrong_spans_are_refused(spans, sentinels):
    with pytest.raises(ValueError):
        corrupt_spans([1, 2, 3, 4], spans, sentinels=sentinels)


@pytest.mark.parametrize("wrong", [{"length": 1}, {"rate": 1.0}, {"mean_length": 0.5}])
def test_wrong_settings_are_refused(wrong):
    settings_ = {"length": 8, "rate": 0.2, "mean_length": 2.0} | wrong
    with pytest.raises(ValueError, match="need length"):
        draw_spans(settings_.pop("length"), **settings_, generator=generator())


def test_draws_come_from_the_generator_alone():
    tokens = torch.arange(200).view(4, 50)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)

    def draw():
        own = generator(5)
        holes = mask_tokens(tokens, everywhere, rate=0.4, mask_token=MASK, words=WORDS, generator=own)
        return holes, draw_spans(50, rate=0.3, mean_length=2.0, generator=own)

    state = torch.get_rng_state()
    (first, spans), (again, spans_again) = draw(), draw()
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.targets, again.targets)
    assert spans == spans_again
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("maskable", "fault"),
    [
        (torch.ones(2, 3), "bool"),
        (torch.ones(2, 4, dtype=torch.bool), "shape"),
        (torch.ones(1, 3, dtype=torch.bool), "shape"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(maskable, fault):
    tokens = torch.full((2, 3), 60)
    with pytest.raises(ValueError, match=fault):
        mask_tokens(tokens, maskable, rate=0.5, mask_token=MASK, words=WORDS, generator=generator())


@pytest.mark.parametrize("rate", [0.0, -0.5])
def test_spans_need_a_rate_above_nothing(rate):
    with pytest.raises(ValueError, match="need length"):
        draw_spans(8, rate=rate, mean_length=2.0, generator=generator())


@pytest.mark.parametrize(
    ("length", "rate", "mean_length", "spans"),
    [
        (100, 0.3, 3.0, 10),
        (100, 0.3, 1.0, 30),
        (8, 0.5, 5.0, 1),  # four tokens in spans of five: one span
        (5, 0.8, 1.0, 2),  # four holes around one token: two spans at most
        (4, 0.5, 1.0, 2),
    ],
)
def test_how_many_spans(length, rate, mean_length, spans):
    drawn = draw_spans(length, rate=rate, mean_length=mean_length, generator=generator())
    assert len(drawn) == spans


def test_rests_and_holes_take_turns(monkeypatch):
    """Seven tokens, three hidden in two spans, four left: rests of 1 − 1, 2 and 3 − 1, holes of 2 and 1."""
    shares = iter([[2, 1], [1, 2, 3]])
    monkeypatch.setattr("rlhf_mini.data.corruption._share_out", lambda *_: next(shares))
    assert draw_spans(7, rate=0.43, mean_length=1.5, generator=generator()) == [(0, 2), (4, 5)]
