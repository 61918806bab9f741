"""OnDARE and OnTIES by hand: what a step keeps, what is added to it, and when they are AdamW."""

import pytest
import torch

from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.methods.online_merging import agreed, largest_share, ondare, onties, random_share
from rlhf_mini.models import copy_of, freeze


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def base(toy_policy):
    return freeze(copy_of(toy_policy))


@pytest.fixture
def tuned(base):
    """The base, moved by a quarter on every weight of even place and by minus an eighth on the others."""
    moved = copy_of(base)
    with torch.no_grad():
        for weight in moved.parameters():
            even = torch.arange(weight.numel()).view(weight.shape) % 2 == 0
            weight += torch.where(even, 0.25, -0.125)
    return freeze(moved)


def loss_fn(model):
    """A loss with a gradient on every weight that the model has."""
    return lambda batch: (sum((w * batch).square().mean() for w in model.parameters()), {})


def nothing_to_learn(model):
    return lambda batch: (0.0 * sum(weight.sum() for weight in model.parameters()), {})


def trained(model, loss, *, steps, hooks=()):
    config = OptimizerConfig(learning_rate=1e-2)
    fit(model, [1.0] * steps, loss(model), optimizer=config, steps=steps, hooks=hooks)
    return model


def test_without_merging_and_whole_it_is_adamw_to_the_last_bit(tuned, base, weights_of, same_weights):
    plain = trained(copy_of(tuned), loss_fn, steps=5)
    merged = copy_of(tuned)
    hook = ondare(merged, base, tuned, merge_rate=0.0, keep=1.0, generator=seeded())
    trained(merged, loss_fn, steps=5, hooks=[hook])
    assert same_weights(weights_of(merged), weights_of(plain))
    assert not same_weights(weights_of(merged), weights_of(tuned))


def test_with_nothing_to_learn_it_goes_on_in_the_direction_of_sft(tuned, base):
    """Three steps with a gradient of 0 move by 3 α τ, away from the SFT model and not towards it."""
    model = copy_of(tuned)
    hook = ondare(model, base, tuned, merge_rate=0.01, keep=1.0, generator=seeded())
    trained(model, nothing_to_learn, steps=3, hooks=[hook])
    first, last = dict(base.named_parameters()), dict(tuned.named_parameters())
    for name, weight in model.named_parameters():
        expected = last[name] + 3 * 0.01 * (last[name] - first[name])
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=2e-6)


def test_one_step_by_hand(tuned, base):
    """All of both: θ + (1 − α) Δ + α τ, where Δ is the step of AdamW alone."""
    plain, model = trained(copy_of(tuned), loss_fn, steps=1), copy_of(tuned)
    hook = ondare(model, base, tuned, merge_rate=0.25, keep=1.0, generator=seeded())
    trained(model, loss_fn, steps=1, hooks=[hook])
    first, start, made = (dict(one.named_parameters()) for one in (base, tuned, plain))
    for name, weight in model.named_parameters():
        expected = start[name] + 0.75 * (made[name] - start[name]) + 0.25 * (start[name] - first[name])
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=2e-6)


def test_a_share_of_the_step_s_entries_is_kept_and_another_one_each_time(tuned, base):
    """About 9,000 weights: a share of 0.3 of them has a deviation of 0.005, and 0.03 is six of these."""
    model, moved = copy_of(tuned), []
    hook = ondare(model, base, tuned, merge_rate=0.0, keep=0.3, generator=seeded())
    before = [[weight.detach().clone() for weight in model.parameters()]]

    def watch(step, entry):
        now = [weight.detach().clone() for weight in model.parameters()]
        # what is put back differs from what was there by rounding alone; a step is about 0.01
        pairs = zip(now, before[0], strict=True)
        moved.append(torch.cat([((a - b).abs() > 1e-4).flatten() for a, b in pairs]))
        before[0] = now

    trained(model, loss_fn, steps=2, hooks=[hook, watch])
    for mask in moved:
        assert abs(float(mask.float().mean()) - 0.3) < 0.03
    both = float((moved[0] & moved[1]).float().mean())
    assert abs(both - 0.09) < 0.02  # drawn anew: they meet by chance


def test_the_share_of_the_task_vector_is_drawn_once(tuned, base):
    """Twice as many steps go twice as far along the same entries."""
    ways = []
    for steps in (1, 2):
        model = copy_of(tuned)
        hook = ondare(model, base, tuned, merge_rate=0.1, keep=0.3, generator=seeded())
        trained(model, nothing_to_learn, steps=steps, hooks=[hook])
        pairs = zip(model.parameters(), tuned.parameters(), strict=True)
        ways.append(torch.cat([(a - b).detach().flatten() for a, b in pairs]))
    torch.testing.assert_close(ways[1], 2 * ways[0], rtol=0, atol=2e-6)
    assert abs(float((ways[0].abs() > 1e-3).float().mean()) - 0.3) < 0.03


def test_nothing_is_scaled_up():
    weights = torch.ones(1000)
    kept = random_share(weights, keep=0.25, generator=seeded())
    assert set(kept.tolist()) == {0.0, 1.0}
    assert random_share(weights, keep=1.0, generator=seeded()) is weights


def test_onties_drops_the_entry_whose_sign_loses():
    """Sums 2, −1, −1 and 0: first the minus loses, then the plus, twice; the last is nobody's."""
    step, task = torch.tensor([-1.0, 2.0, -4.0, 5.0]), torch.tensor([3.0, -3.0, 3.0, -5.0])
    own, other = agreed(step, task)
    assert own.tolist() == [0.0, 0.0, -4.0, 0.0]
    assert other.tolist() == [3.0, -3.0, 0.0, 0.0]


def test_onties_keeps_the_largest():
    weights = torch.tensor([[0.5, -3.0], [2.0, -0.1]])
    assert largest_share(weights, keep=0.5).tolist() == [[0.0, -3.0], [2.0, 0.0]]
    assert largest_share(weights, keep=0.01).tolist() == [[0.0, -3.0], [0.0, 0.0]]


def test_onties_as_a_hook_leaves_out_steps_against_the_task_vector(tuned, base):
    """τ is larger than any step of AdamW, so that its sign decides: with α = 0 only what follows it moves."""
    plain, model = trained(copy_of(tuned), loss_fn, steps=1), copy_of(tuned)
    hook = onties(model, base, tuned, merge_rate=0.0, keep=1.0)
    trained(model, loss_fn, steps=1, hooks=[hook])
    for weight, start, first, made in zip(
        model.parameters(), tuned.parameters(), base.parameters(), plain.parameters(), strict=True
    ):
        step, task = made - start, start - first
        expected = start + torch.where(step.sign() == task.sign(), step, 0.0)
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("merge_rate", "keep"), [(-0.1, 0.5), (1.5, 0.5), (0.1, 0.0), (0.1, 1.5)])
def test_numbers_out_of_range_are_refused(tuned, base, merge_rate, keep):
    with pytest.raises(ValueError, match=r"merge_rate must lie|keep must be above 0"):
        ondare(copy_of(tuned), base, tuned, merge_rate=merge_rate, keep=keep, generator=seeded())


def test_models_of_another_shape_are_refused(tuned, base, model):
    with pytest.raises(ValueError, match="same names and shapes"):
        onties(copy_of(tuned), model, tuned, merge_rate=0.1, keep=0.5)
