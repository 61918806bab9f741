"""The moving average of a model's weights: by hand, at its ends, and as a hook of a training."""

import pytest
import torch

from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.models.moving_average import MovingAverage, decay_for
from tests.models.tiny import llama


def test_three_steps_by_hand():
    """From 0, after 8, 8 and 0 with a decay of ¾: 2, then 1.5 + 2 = 3.5, then 2.625."""
    model = llama()
    weight = next(model.parameters())
    with torch.no_grad():
        weight.zero_()
    averaged = MovingAverage(model, decay=0.75)
    for step, (value, expected) in enumerate(((8.0, 2.0), (8.0, 3.5), (0.0, 2.625)), start=1):
        with torch.no_grad():
            weight.fill_(value)
        averaged(step, {})
        assert torch.equal(next(averaged.average.parameters()), torch.full_like(weight, expected))


def test_every_weight_moves_and_the_average_is_frozen_and_apart():
    model = llama()
    averaged = MovingAverage(model, decay=0.5)
    start = [weight.clone() for weight in model.parameters()]
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    averaged(1, {})
    for before, kept in zip(start, averaged.average.parameters(), strict=True):
        torch.testing.assert_close(kept, before + 0.5)
        assert not kept.requires_grad
    assert all(weight.requires_grad for weight in model.parameters())


def test_decay_0_is_the_model_to_the_last_bit():
    model = llama()
    averaged = MovingAverage(model, decay=0.0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.37).add_(0.011)
    averaged(1, {})
    assert all(
        torch.equal(kept, now)
        for kept, now in zip(averaged.average.parameters(), model.parameters(), strict=True)
    )


def test_as_a_hook_it_changes_nothing_of_the_training():
    """Against a plain sum over the weights after each step: Σ 0.4 · 0.6^(n−k) θ_k + 0.6^n θ_0."""

    def trained(hooks):
        model, seen = llama(), []
        weight = model.lm_head.weight

        def loss_fn(batch):
            return (weight - batch).square().mean(), {}

        optimizer = OptimizerConfig(learning_rate=1e-2)
        start = weight.detach().clone()
        average = MovingAverage(model, decay=0.6)
        watch = [lambda step, entry: seen.append(weight.detach().clone()), *([average] if hooks else [])]
        fit(model, [torch.tensor(1.0)] * 4, loss_fn, optimizer=optimizer, steps=4, hooks=watch)
        return start, seen, average.average.lm_head.weight, weight

    start, seen, averaged, after = trained(hooks=True)
    expected = 0.6**4 * start + sum(0.4 * 0.6 ** (3 - k) * theta for k, theta in enumerate(seen))
    torch.testing.assert_close(averaged, expected, rtol=0, atol=1e-6)
    assert torch.equal(after, trained(hooks=False)[3])


def test_the_memory_as_a_share_of_the_run():
    assert decay_for(4000, share=1 / 32) == pytest.approx(0.992)
    assert decay_for(80, share=1 / 32) == pytest.approx(0.6)
    assert decay_for(4, share=1 / 32) == 0.0  # less than a step is the last step


def test_what_cannot_be_is_refused():
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            MovingAverage(llama(), decay=decay)
    for steps, share in ((0, 0.5), (4, 0.0), (4, 1.5)):
        with pytest.raises(ValueError, match="at least one step and a share"):
            decay_for(steps, share=share)
