"""Scheduled sampling: what is replaced, when, and that what it learns is not the demonstrations."""

import math

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.scheduled_sampling import (
    exponential_schedule,
    inverse_sigmoid_schedule,
    linear_schedule,
    mixed_prefix,
    own_tokens,
    sft_with_scheduled_sampling,
)
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, new_llama, token_logits


def settings(*, epochs=1, batch=4, learning_rate=1e-2, **optimizer):
    return SFTConfig(
        epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate, **optimizer)
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_schedules_by_hand():
    linear = linear_schedule(slope=0.25, least=0.1)
    assert [linear(step) for step in (0, 1, 3, 4, 99)] == [1.0, 0.75, 0.25, 0.1, 0.1]
    exponential = exponential_schedule(base=0.5)
    assert [exponential(step) for step in (0, 1, 2)] == [1.0, 0.5, 0.25]
    sigmoid = inverse_sigmoid_schedule(pace=10.0)
    assert sigmoid(0) == pytest.approx(10 / 11)
    assert sigmoid(20) == pytest.approx(10 / (10 + math.e**2))
    assert sigmoid(10**9) == pytest.approx(0, abs=1e-300)


@pytest.mark.parametrize("base", [1.0, -0.1])
def test_an_exponential_that_does_not_fall_is_refused(base):
    with pytest.raises(ValueError, match=rf"base must be in \[0, 1\), got {base}"):
        exponential_schedule(base=base)


def test_a_pace_below_one_is_refused():
    with pytest.raises(ValueError, match=r"pace must be at least 1, got 0\.5"):
        inverse_sigmoid_schedule(pace=0.5)


def test_the_bounds_of_the_schedules_are_allowed():
    assert [exponential_schedule(base=0.0)(step) for step in (0, 1)] == [1.0, 0.0]
    assert inverse_sigmoid_schedule(pace=1.0)(0) == pytest.approx(0.5)
    assert inverse_sigmoid_schedule(pace=1.5)(0) == pytest.approx(0.6)


def test_draws_come_from_the_generator_alone(model, demonstrations):
    state = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        own = own_tokens(model, demonstrations, generator=seeded(3))
        drawn.append((own, mixed_prefix(demonstrations, own, keep=0.5, generator=seeded(4))))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert torch.equal(torch.get_rng_state(), state)


def test_own_tokens_follow_the_model_at_the_place_they_stand_for(model, demonstrations):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)  # distributions far from uniform, so that a shift by one would show
    often = demonstrations.rows(torch.arange(4).repeat(3000))
    own = own_tokens(model, often, generator=seeded()).view(3000, 4, -1)
    shares = torch.nn.functional.one_hot(own, 16).float().mean(0)
    with torch.no_grad():
        logits = token_logits(model, demonstrations.tokens, demonstrations.mask)
    expected = logits.softmax(-1)[:, :-1]
    counted = demonstrations.response[:, 1:]
    # A share of 3,000 draws has a standard error of at most 0.0092; of about 200 none is five of these off.
    assert (shares[:, 1:] - expected)[counted].abs().max() < 0.046


def test_only_answers_are_replaced_and_as_often_as_said(demonstrations):
    own = torch.full_like(demonstrations.tokens, 15)
    assert torch.equal(mixed_prefix(demonstrations, own, keep=1.0, generator=seeded()), demonstrations.tokens)
    all_own = mixed_prefix(demonstrations, own, keep=0.0, generator=seeded())
    assert torch.equal(all_own == 15, demonstrations.response)
    assert torch.equal(all_own[~demonstrations.response], demonstrations.tokens[~demonstrations.response])
    generator, replaced = seeded(), 0
    for _ in range(500):
        replaced += int((mixed_prefix(demonstrations, own, keep=0.75, generator=generator) == 15).sum())
    share = replaced / (500 * int(demonstrations.response.sum()))
    assert share == pytest.approx(0.25, abs=0.03)  # 6,000 draws: five standard errors are 0.028


@pytest.mark.parametrize("keep", [-0.1, 1.1])
def test_a_chance_that_is_none_is_refused(demonstrations, keep):
    with pytest.raises(ValueError, match=f"keep must be a probability, got {keep}"):
        mixed_prefix(demonstrations, demonstrations.tokens, keep=keep, generator=seeded())


def test_with_every_token_kept_it_is_sft(model, demonstrations):
    plain = sft(copy_of(model), demonstrations, config=settings(), generator=seeded())
    kept = sft_with_scheduled_sampling(
        copy_of(model), demonstrations, config=settings(), schedule=lambda step: 1.0, generator=seeded()
    )
    assert kept[0]["loss"] == pytest.approx(plain[0]["loss"], abs=1e-5)
    assert kept[0]["grad_norm"] == pytest.approx(plain[0]["grad_norm"], rel=1e-4)


def test_the_schedule_is_asked_step_by_step(model, demonstrations):
    history = sft_with_scheduled_sampling(
        model,
        demonstrations,
        config=settings(epochs=2, batch=2),
        schedule=linear_schedule(slope=0.25, least=0.0),
        generator=seeded(),
        hooks=[lambda step, entry: entry.update(seen=step)],
    )
    assert [entry["keep"] for entry in history] == [1.0, 0.75, 0.5, 0.25]
    assert [entry["seen"] for entry in history] == [1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(4))
def test_a_row_longer_than_the_context_is_refused_before_the_first_step(model, seed):
    long = pack_rows([[1], [1], [1] * 9], [[9, 2], [10, 2], [3, 4, 5, 2]], pad_token=0)
    asked = []

    def schedule(step):
        asked.append(step)
        return 1.0

    with pytest.raises(ValueError, match="13 tokens"):
        sft_with_scheduled_sampling(
            model, long, config=settings(batch=1), schedule=schedule, generator=seeded(seed)
        )
    assert not asked


def test_the_model_is_set_to_training(model, demonstrations):
    model.eval()
    sft_with_scheduled_sampling(
        model, demonstrations, config=settings(), schedule=lambda step: 0.5, generator=seeded()
    )
    assert model.training


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.0])
def test_its_optimum_is_a_mixture_with_the_marginal(keep):
    # Two answers of two tokens: 3 4 and 5 6, equally often. The second token is fixed by the first. Where a
    # token is replaced, the target no longer belongs to it, so that the best answer after reading a 3 is
    # 4 with probability ε + (1 − ε)/2: the demonstrations' own conditional mixed with the marginal.
    model = new_llama(
        vocab_size=8, width=16, layers=1, heads=2, context=4, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    rows = pack_rows([[1]] * 128, [[3, 4], [5, 6]] * 64, pad_token=0)
    config = settings(epochs=120, batch=128, learning_rate=1e-2, final_fraction=0.02)
    sft_with_scheduled_sampling(model, rows, config=config, schedule=lambda step: keep, generator=seeded())
    with torch.no_grad():
        after_three = model(torch.tensor([[1, 3]])).logits[0, -1].softmax(-1)
    assert float(after_three[4]) == pytest.approx(keep + (1 - keep) / 2, abs=0.06)
    assert float(after_three[4] + after_three[6]) > 0.98
