"""Scores with their zero at given answers, labels rewritten by a rule, reward model and policy in turn."""

import random

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.methods.centred_scores import centre
from rlhf_mini.methods.iterated_rlhf import alternate
from rlhf_mini.methods.ppo import value_model_for
from rlhf_mini.methods.reward_model import raw_scores, scores
from rlhf_mini.methods.rewritten_pairs import contradictions, rewritten
from rlhf_mini.models import new_reward_model, token_values
from tests.models.tiny import llama

# ------------------------------------------------------------------------------------------- centred scores


@pytest.fixture
def reward():
    return new_reward_model(llama(), seed=0).eval()


def texts(*rows):
    return pack_rows([[1]] * len(rows), [[*row, 2] for row in rows], pad_token=0)


def test_the_reference_has_mean_0_and_differences_are_as_they_were(reward):
    reference, others = texts([5], [6, 7], [8]), texts([3], [4, 4])
    raw = raw_scores(reward, others).detach()
    centre(reward, reference)
    assert float(scores(reward, reference).mean()) == pytest.approx(0, abs=1e-6)
    told = scores(reward, others)
    torch.testing.assert_close(told[0] - told[1], raw[0] - raw[1])
    torch.testing.assert_close(told, raw - raw_scores(reward, reference).mean().detach())
    assert reward.config.std == 1.0


def test_a_second_time_it_does_nothing_and_a_unit_that_was_set_goes(reward):
    reference = texts([5], [6, 7])
    reward.config.mean, reward.config.std = 3.0, 10.0
    centre(reward, reference)
    first = scores(reward, reference)
    centre(reward, reference)
    torch.testing.assert_close(scores(reward, reference), first)
    assert float(first.std()) == pytest.approx(float(raw_scores(reward, reference).detach().std()), abs=1e-6)


def test_a_value_model_starts_with_centred_scores(reward):
    """The value of a whole text is the score that it gets."""
    rows = texts([5, 6], [7, 8])
    centre(reward, rows)
    # column t is the value before token t, so that one more token shows that of the whole text
    longer = pack_rows([[1]] * 2, [[5, 6, 2, 9], [7, 8, 2, 9]], pad_token=0)
    values = token_values(value_model_for(reward), longer.tokens, longer.mask)[:, -1]
    torch.testing.assert_close(values.detach(), scores(reward, rows), atol=1e-5, rtol=0)


def test_no_zero_is_set_on_a_broken_model(reward):
    with torch.no_grad():
        next(reward.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="mean score of 1 reference sequences is nan: it is no zero"):
        centre(reward, texts([5]))


# ------------------------------------------------------------------------------------------ rewritten pairs

ROWS = [
    {"prompt": "p", "chosen": "bad", "rejected": "good"},  # 2 against the rule
    {"prompt": "p", "chosen": "good", "rejected": "bad"},
    {"prompt": "q", "chosen": "bad", "rejected": "good"},  # the rule has nothing to say of q
    {"prompt": "p", "chosen": "bad", "rejected": "fair"},  # 1
    {"prompt": "p", "chosen": "fair", "rejected": "good"},  # 1
]


def rule(prompts, answers):
    worth = {"good": 1.0, "fair": 0.0, "bad": -1.0}
    return torch.tensor([worth[a] * (p == "p") for p, a in zip(prompts, answers, strict=True)])


def test_contradictions_by_hand():
    assert contradictions(ROWS, rule, margin=0.5) == [0, 3, 4]
    assert contradictions(ROWS, rule, margin=1.0) == [0]
    assert contradictions(ROWS, rule, margin=2.0) == []


def test_all_or_some_are_exchanged_and_no_other_row_changes():
    whole = rewritten(ROWS, rule, share=1.0, margin=0.5, rng=random.Random(0))
    assert [row["rewritten"] for row in whole] == [True, False, False, True, True]
    assert contradictions(whole, rule, margin=0.5) == []
    for before, after in zip(ROWS, whole, strict=True):
        sides = ("rejected", "chosen") if after["rewritten"] else ("chosen", "rejected")
        assert (after["chosen"], after["rejected"]) == tuple(before[side] for side in sides)
    some = rewritten(ROWS, rule, share=2 / 3, margin=0.5, rng=random.Random(0))
    assert sum(row["rewritten"] for row in some) == 2
    assert {place for place, row in enumerate(some) if row["rewritten"]} < {0, 3, 4}
    drawn = {
        tuple(r["rewritten"] for r in rewritten(ROWS, rule, share=1 / 3, margin=0.5, rng=random.Random(n)))
        for n in range(40)
    }
    assert len(drawn) == 3  # any of the three; that one never came in 40 draws has chance 3 · (2/3)^40 < 1e-6


def test_at_share_0_nobody_is_asked():
    def never(prompts, answers):
        raise AssertionError

    kept = rewritten(ROWS, never, share=0.0, margin=0.5, rng=random.Random(0))
    assert [(row["chosen"], row["rejected"]) for row in kept] == [
        (row["chosen"], row["rejected"]) for row in ROWS
    ]


def test_bad_shares_and_margins_are_refused():
    with pytest.raises(ValueError, match=r"share must be from 0 to 1, got 1\.5"):
        rewritten(ROWS, rule, share=1.5, margin=0.5, rng=random.Random(0))
    with pytest.raises(ValueError, match="margin must not be negative"):
        rewritten(ROWS, rule, share=1.0, margin=-0.5, rng=random.Random(0))


# ---------------------------------------------------------------------------------------------- alternation


def test_each_round_sees_the_policy_of_the_last_and_all_pairs_so_far():
    """A policy that is a number: pairs are two of it, the reward model is their sum, and a round adds 1."""
    policy, told, kept = torch.nn.Linear(1, 1), [], []
    with torch.no_grad():
        policy.weight.fill_(0.0)

    def value():
        return policy.weight.item()

    def pairs_of(model, number):
        assert model is policy
        return [{"written by": value(), "round": number}] * 2

    def reward_model_on(rows, number):
        told.append([row["written by"] for row in rows])
        return ("reward model", number)

    def improve(model, reward_model, number):
        assert reward_model == ("reward model", number)
        with torch.no_grad():
            model.weight.add_(1.0)
        return [{"round": float(number)}]

    alternate_unchecked = getattr(alternate, "__wrapped__", alternate)  # numbers stand for models here
    logs = alternate_unchecked(
        policy,
        rounds=3,
        pairs_of=pairs_of,
        reward_model_on=reward_model_on,
        improve=improve,
        on_round=lambda number, fresh, reward_model: kept.append(
            (number, len(fresh), reward_model[1], value())
        ),
    )
    assert told == [[0.0] * 2, [0.0] * 2 + [1.0] * 2, [0.0] * 2 + [1.0] * 2 + [2.0] * 2]
    assert kept == [(1, 2, 1, 1.0), (2, 2, 2, 2.0), (3, 2, 3, 3.0)]
    assert logs == [[{"round": 1.0}], [{"round": 2.0}], [{"round": 3.0}]]


def test_a_round_needs_pairs_and_there_must_be_one():
    def never(*_):
        raise AssertionError

    parts = {"reward_model_on": never, "improve": never}
    with pytest.raises(ValueError, match="at least one round, got 0"):
        alternate(llama(), rounds=0, pairs_of=never, **parts)
    with pytest.raises(ValueError, match="round 1 has no fresh pairs"):
        alternate(llama(), rounds=1, pairs_of=lambda policy, number: [], **parts)
