"""The one training loop."""

import math
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rlhf_mini.loop import OptimizerConfig, Training, fit

CONFIG = OptimizerConfig(learning_rate=0.1)
Loss = Callable[[Tensor], tuple[Tensor, dict[str, Tensor | float]]]


def regression(module: nn.Module) -> Loss:
    return lambda batch: ((module(batch) - batch.sum(-1, keepdim=True)).square().mean(), {})


def noise(steps: int, *, width: int = 3, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(5, width, generator=generator, dtype=torch.float64) for _ in range(steps)]


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 1).double()


# --------------------------------------------------------------------------------------------- learning rates


def test_learning_rates_by_hand() -> None:
    """Two steps of warm-up to 8, then four that go down from 8 by a quarter of the way to 4: 8, 7, 6, 5."""
    config = OptimizerConfig(learning_rate=8.0, warmup_steps=2, final_fraction=0.5)
    assert [config.rate_at(step, 6) for step in range(1, 7)] == [4.0, 8.0, 8.0, 7.0, 6.0, 5.0]


def test_without_warmup_and_decay_the_rate_is_constant() -> None:
    assert [CONFIG.rate_at(step, 3) for step in (1, 2, 3)] == [0.1, 0.1, 0.1]


@given(
    warmup=st.integers(0, 30),
    steps=st.integers(1, 40),
    final=st.floats(0, 1),
)
def test_rates_rise_then_fall_and_stay_within_bounds(warmup: int, steps: int, final: float) -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=warmup, final_fraction=final)
    rates = [config.rate_at(step, steps) for step in range(1, steps + 1)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert all(rate >= final for rate in rates[warmup:])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("betas", (0.9, 1.0)),
        ("weight_decay", -0.1),
        ("warmup_steps", -1),
        ("final_fraction", 1.5),
        ("clip_norm", 0.0),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"OptimizerConfig: {field} must be .+, got"):
        OptimizerConfig(**{"learning_rate": 0.1, field: value})


# ----------------------------------------------------------------------------------------------- the training


def test_first_step_by_hand() -> None:
    """Loss (w·2 − 6)² at w = 1: gradient 2·(2 − 6)·2 = −16, norm 16, clipped to −1. Adam's first step is the
    learning rate times the gradient's sign (up to its ε of 1e-8), so w becomes 1 + 0.1."""
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(module.weight)

    def loss_fn(x: Tensor) -> tuple[Tensor, dict[str, Tensor | float]]:
        return (module(x) - 6).square().sum(), {"weight": module.weight, "constant": 5}

    history = fit(module, [torch.tensor([[2.0]], dtype=torch.float64)], loss_fn, optimizer=CONFIG, steps=1)
    assert module.weight.item() == pytest.approx(1.1, abs=1e-8)
    assert [history[0][name] for name in ("loss", "grad_norm", "learning_rate")] == [16.0, 16.0, 0.1]
    assert (history[0]["weight"], history[0]["constant"]) == (1.0, 5.0)
    assert history[0]["seconds"] > 0


def test_against_a_plain_adamw_in_python() -> None:
    """Weight decay on the matrix only, bias-corrected moments, clipping, warm-up, decay of the rate."""
    steps, config = (
        12,
        OptimizerConfig(
            learning_rate=0.05,
            betas=(0.8, 0.95),
            weight_decay=0.3,
            warmup_steps=3,
            final_fraction=0.2,
            clip_norm=0.5,
        ),
    )
    module, batches = linear(), noise(12)
    weights = [parameter.detach().clone() for parameter in linear().parameters()]
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    rates = [0.05 * n / 3 for n in (1, 2, 3)] + [0.05 * (1 - 0.8 * n / 9) for n in range(9)]
    for step, (batch, rate) in enumerate(zip(batches, rates, strict=True), start=1):
        error = batch @ weights[0].T + weights[1] - batch.sum(-1, keepdim=True)
        gradients = [2 * error.T @ batch / len(batch), 2 * error.mean(0)]
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for w, (first, second), g, decay in zip(weights, moments, gradients, (0.3, 0.0), strict=True):
            g = g * min(1.0, 0.5 / (norm + 1e-6))
            first.mul_(0.8).add_(0.2 * g)
            second.mul_(0.95).add_(0.05 * g * g)
            w.mul_(1 - rate * decay)
            w -= rate * (first / (1 - 0.8**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-8)

    history = fit(module, batches, regression(module), optimizer=config, steps=steps)
    assert [entry["learning_rate"] for entry in history] == pytest.approx(rates, rel=1e-14)
    for ours, expected in zip(module.parameters(), weights, strict=True):
        torch.testing.assert_close(ours.detach(), expected, rtol=1e-12, atol=1e-14)


def test_the_loss_goes_down() -> None:
    module = linear()
    history = fit(module, noise(200), regression(module), optimizer=CONFIG, steps=200)
    assert len(history) == 200
    assert history[-1]["loss"] < 1e-3 * history[0]["loss"]


def test_the_same_seeds_give_the_same_history() -> None:
    def run() -> list[dict[str, float]]:
        module = linear()
        history = fit(module, noise(5), regression(module), optimizer=CONFIG, steps=5)
        return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]

    assert run() == run()


def test_each_batch_is_drawn_from_the_module_as_the_step_before_left_it() -> None:
    module, seen, after = linear(), [], []

    def source() -> Iterator[Tensor]:
        for batch in noise(10):
            seen.append(module.weight.detach().clone())
            yield batch

    fit(
        module,
        source(),
        regression(module),
        optimizer=CONFIG,
        steps=4,
        hooks=[lambda step, entry: after.append(module.weight.detach().clone())],
    )
    assert len(seen) == 4  # and no fifth batch was drawn in advance
    assert all(torch.equal(a, b) for a, b in zip(seen[1:], after[:-1], strict=True))
    assert not torch.equal(seen[0], seen[1])


def test_hooks_follow_every_step_and_can_add_to_the_history() -> None:
    module, calls = linear(), []

    def measure(step: int, entry: dict[str, float]) -> None:
        calls.append((step, entry["loss"]))
        if step % 2 == 0:
            entry["held_out"] = step / 10

    history = fit(module, noise(4), regression(module), optimizer=CONFIG, steps=4, hooks=[measure])
    assert calls == [(step, entry["loss"]) for step, entry in enumerate(history, start=1)]
    assert [entry.get("held_out") for entry in history] == [None, 0.2, None, 0.4]


def test_several_modules_train_together_and_the_frozen_stays_frozen() -> None:
    modules = nn.ModuleDict({"policy": linear(0), "value": linear(1), "reference": linear(2)})
    modules["reference"].requires_grad_(False)
    before = {name: parameter.detach().clone() for name, parameter in modules.named_parameters()}

    def loss_fn(batch: Tensor) -> tuple[Tensor, dict[str, Tensor | float]]:
        policy, value, reference = (modules[name](batch) for name in ("policy", "value", "reference"))
        return (policy - reference).square().mean() + value.square().mean(), {}

    fit(modules, noise(1), loss_fn, optimizer=CONFIG, steps=1)
    changed = {
        name for name, parameter in modules.named_parameters() if not torch.equal(parameter, before[name])
    }
    assert changed == {"policy.weight", "policy.bias", "value.weight", "value.bias"}


def test_gradients_of_before_do_not_count_and_none_are_left() -> None:
    clean, dirty = linear(), linear()
    dirty.weight.grad = torch.full_like(dirty.weight, 1e6)
    for module in (clean, dirty):
        fit(module, noise(2), regression(module), optimizer=CONFIG, steps=2)
    assert torch.equal(clean.weight, dirty.weight)
    assert dirty.weight.grad is None


def test_mode_and_random_state_are_left_alone() -> None:
    module = linear().eval()
    state = torch.get_rng_state()
    fit(module, noise(1), regression(module), optimizer=CONFIG, steps=1)
    assert not module.training
    assert torch.equal(torch.get_rng_state(), state)


def test_metrics_may_be_tensors_of_any_kind_without_a_warning() -> None:
    module = linear()

    def loss_fn(batch: Tensor) -> tuple[Tensor, dict[str, Tensor | float]]:
        loss = module(batch).square().mean()
        metrics = {
            "with_gradient": loss * 2,
            "whole": torch.tensor(3),
            "yes": torch.tensor(True),
            "row": torch.ones(1),
        }
        return loss, metrics

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (entry,) = fit(module, noise(1), loss_fn, optimizer=CONFIG, steps=1)
    assert entry["with_gradient"] == 2 * entry["loss"]
    assert (entry["whole"], entry["yes"], entry["row"]) == (3.0, 1.0, 1.0)
    assert all(type(value) is float for value in entry.values())


def test_a_short_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    module = linear()
    fit(module, noise(2), regression(module), optimizer=CONFIG, steps=2, description="pretraining")
    said = capsys.readouterr()
    assert (said.out, said.err.strip()) == ("", "")


# -------------------------------------------------------------------------------------------------- bad input


def breaks_at(module: nn.Module, step: int, factor: Callable[[Tensor], Tensor]) -> Loss:
    calls = []

    def loss_fn(batch: Tensor) -> tuple[Tensor, dict[str, Tensor | float]]:
        calls.append(batch)
        loss = module(batch).square().mean()
        return (loss * factor(loss) if len(calls) == step else loss), {}

    return loss_fn


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("loss", lambda loss: loss * math.nan),
        ("loss", lambda loss: loss * math.inf),
        ("grad_norm", lambda loss: (loss - loss).sqrt()),  # its value is 0, its gradient 0 · ∞
    ],
    ids=["nan", "infinite", "gradient"],
)
def test_a_loss_or_gradient_that_is_not_finite_stops_before_the_step(
    name: str, factor: Callable[[Tensor], Tensor]
) -> None:
    module, weights = linear(), []
    with pytest.raises(FloatingPointError, match=f"step 3 of 5: {name} is (nan|inf); .+ as step 2 left them"):
        fit(
            module,
            noise(5),
            breaks_at(module, 3, factor),
            optimizer=CONFIG,
            steps=5,
            hooks=[lambda step, entry: weights.append(module.weight.detach().clone())],
        )
    assert len(weights) == 2
    assert torch.equal(module.weight, weights[-1])


def test_batches_that_end_early() -> None:
    module = linear()
    with pytest.raises(ValueError, match="was to take 5 steps, but its batches ended after 3"):
        fit(module, noise(3), regression(module), optimizer=CONFIG, steps=5)


def test_no_steps() -> None:
    module = linear()
    with pytest.raises(ValueError, match="at least one step, got steps=0"):
        fit(module, noise(3), regression(module), optimizer=CONFIG, steps=0)


def test_nothing_to_train() -> None:
    module = linear().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of Linear requires a gradient"):
        fit(module, noise(1), regression(module), optimizer=CONFIG, steps=1)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda module, batch: module(batch).square().mean().detach(), "requires_grad=False"),
        (lambda module, batch: module(batch).square(), r"got shape \(5, 1\)"),
    ],
    ids=["detached", "unreduced"],
)
def test_a_loss_that_cannot_be_trained_on(loss: Callable[[nn.Module, Tensor], Tensor], message: str) -> None:
    module = linear()
    with pytest.raises(
        ValueError, match=f"step 1: loss_fn must return a scalar loss with a gradient.+{message}"
    ):
        fit(module, noise(1), lambda batch: (loss(module, batch), {}), optimizer=CONFIG, steps=1)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"loss": 1.0}, "metric 'loss' would overwrite the loop's own entry"),
        ({"kl": torch.zeros(2)}, r"metric 'kl' must be a scalar, got shape \(2,\)"),
    ],
)
def test_metrics_that_cannot_be_recorded(metrics: dict[str, Tensor | float], message: str) -> None:
    module = linear()
    with pytest.raises(ValueError, match=message):
        fit(module, noise(1), lambda x: (module(x).square().mean(), metrics), optimizer=CONFIG, steps=1)


def test_a_training_refuses_a_step_beyond_those_it_was_laid_out_for():
    module = nn.Linear(1, 1)
    with Training(module, optimizer=OptimizerConfig(learning_rate=0.1), steps=1) as training:
        training.step(torch.ones(1, 1), lambda x: (module(x).sum(), {}))
        with pytest.raises(ValueError, match="step 2 of a training that was laid out for 1 steps"):
            training.step(torch.ones(1, 1), lambda x: (module(x).sum(), {}))
    assert len(training.history) == 1


def test_a_training_taken_step_by_step_is_fit():
    batches = [torch.randn(4, 2, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=2, final_fraction=0.1, clip_norm=0.5)
    ends = []
    for by_hand in (False, True):
        torch.manual_seed(0)
        module = nn.Linear(2, 1)

        def loss_fn(x, module=module):
            return module(x).square().mean(), {}

        if by_hand:
            with Training(module, optimizer=config, steps=5) as training:
                history = [training.step(batch, loss_fn) for batch in batches]
        else:
            history = fit(module, batches, loss_fn, optimizer=config, steps=5)
        ends.append((module.weight.tolist(), [(entry["loss"], entry["learning_rate"]) for entry in history]))
    assert ends[0] == ends[1]
