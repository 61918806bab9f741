"""The one training loop: take a batch, compute loss and metrics, step the optimizer, call the hooks.

It knows nothing about rewards or text, and of several processes only that gradients are averaged over them.
A method supplies a source of batches and a function from a batch to its loss; an on-policy method's source is
a generator that samples from the module as it is at that moment, which is why the loop asks for one batch at
a time and never looks ahead.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from rlhf_mini.devices import autocast
from rlhf_mini.progress import progress_bar
from rlhf_mini.split import average_gradients, require_same, warn_if_apart

Batch = TypeVar("Batch")
Metrics = Mapping[str, Tensor | float]
Hook = Callable[[int, dict[str, float]], None]

OWN_ENTRIES = ("loss", "grad_norm", "learning_rate", "seconds")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with a linear warm-up, then a linear decay, and gradients clipped by their global norm.

    - `learning_rate`: the peak; `betas`: AdamW's decay rates.
    - `weight_decay`: decoupled; on matrices only, never on norms and biases.
    - `warmup_steps`: the rate grows in equal parts and reaches its peak on the last of these steps.
    - `final_fraction`: the part of the peak that the decay would reach just after the last step; 1 keeps the
      rate.
    - `clip_norm`: largest allowed gradient norm; `math.inf` switches clipping off.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    final_fraction: float = 1.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        expectations = {
            "learning_rate": ("a finite number above 0", 0 < self.learning_rate < math.inf),
            "betas": (
                "two numbers in [0, 1)",
                len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            ),
            "weight_decay": ("a finite number, 0 or above", 0 <= self.weight_decay < math.inf),
            "warmup_steps": ("a whole number, 0 or above", self.warmup_steps >= 0),
            "final_fraction": ("a number in [0, 1]", 0 <= self.final_fraction <= 1),
            "clip_norm": ("a number above 0", self.clip_norm > 0),
        }
        for field, (expected, holds) in expectations.items():
            if not holds:
                raise ValueError(f"OptimizerConfig: {field} must be {expected}, got {getattr(self, field)}")

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step number `step` (the first is 1) of `steps`.

        >>> config = OptimizerConfig(learning_rate=1.0, warmup_steps=2, final_fraction=0.0)
        >>> [config.rate_at(step, 6) for step in range(1, 7)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        decayed = (step - 1 - self.warmup_steps) / (steps - self.warmup_steps)
        return self.learning_rate * (1 - decayed * (1 - self.final_fraction))


class Training:
    """The optimizer of one module and what it has logged, taken one step at a time.

    For a method that decides by itself what happens between two steps, as PPO does with its rollouts; where
    the batches are known beforehand, `fit` is the shorter way. Use it as a context, which shows the progress
    bar:

    >>> module = nn.Linear(1, 1, bias=False)
    >>> with Training(module, optimizer=OptimizerConfig(learning_rate=0.1), steps=2) as training:
    ...     for _ in range(2):
    ...         entry = training.step(torch.ones(4, 1), lambda x: (module(x).square().mean(), {}))
    >>> len(training.history), sorted(entry)
    (2, ['grad_norm', 'learning_rate', 'loss', 'seconds'])

    Args and errors are those of `fit`; `steps` is how many steps the learning rate's schedule is laid out
    for, and a step beyond them raises ValueError.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        optimizer: OptimizerConfig,
        steps: int,
        hooks: Sequence[Hook] = (),
        description: str = "",
    ) -> None:
        warn_if_apart()
        self.adamw = _adamw(module, optimizer, steps)
        self.parameters = [parameter for group in self.adamw.param_groups for parameter in group["params"]]
        self.device = self.parameters[0].device
        self.config, self.steps, self.hooks = optimizer, steps, hooks
        self.history: list[dict[str, float]] = []
        self._bar = progress_bar(total=steps, description=description)
        self._since = time.perf_counter()

    def __enter__(self) -> "Training":
        """Start the clock of the first step."""
        self._since = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the progress bar."""
        self._bar.close()

    def step(self, batch: Batch, loss_fn: Callable[[Batch], tuple[Tensor, Metrics]]) -> dict[str, float]:
        """One step of the optimizer; returns its entry, which is also the history's last.

        The entry's `seconds` count from the end of the step before.
        """
        step = len(self.history) + 1
        learning_rate = self._set_rate(step)
        with autocast(self.device):
            loss, metrics = loss_fn(batch)
        _check(loss, metrics, step)
        require_same(loss, what=f"step {step} of {self.steps}")
        loss.backward()
        average_gradients(self.parameters)
        grad_norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        entry = _as_floats({"loss": loss, "grad_norm": grad_norm, **metrics})
        _refuse_non_finite(entry, step, self.steps)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        now = time.perf_counter()
        entry |= {"learning_rate": learning_rate, "seconds": now - self._since}
        for hook in self.hooks:
            hook(step, entry)
        self._since = time.perf_counter()
        self.history.append(entry)
        self._bar.set_postfix_str(f"loss {entry['loss']:.4g}", refresh=False)
        self._bar.update()
        return entry

    def _set_rate(self, step: int) -> float:
        if step > self.steps:
            raise ValueError(f"step {step} of a training that was laid out for {self.steps} steps")
        learning_rate = self.config.rate_at(step, self.steps)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        return learning_rate


def fit(
    module: nn.Module,
    batches: Iterable[Batch],
    loss_fn: Callable[[Batch], tuple[Tensor, Metrics]],
    *,
    optimizer: OptimizerConfig,
    steps: int,
    hooks: Sequence[Hook] = (),
    description: str = "",
) -> list[dict[str, float]]:
    """Train `module`'s trainable parameters for `steps` steps and return one history entry a step.

    - `batches`: asked for exactly `steps` batches, each only when the step before it is done.
    - `loss_fn`: batch → (loss, metrics); the loss a scalar with a gradient, metrics numbers or scalar
      tensors.
    - `hooks`: each called as `hook(step, entry)` when a step is done, the first step being 1. What a hook
      adds to `entry` stays in the history.
    - `description`: what the progress bar says; the bar appears only if training takes over two seconds.

    An entry holds `loss`, `grad_norm` (before clipping), `learning_rate`, `seconds` (the batch included) and
    the metrics. To train several modules at once, wrap them in one `nn.ModuleDict`. Batches and losses are
    computed under `autocast` of the module's device, so that a policy samples and trains in the same
    arithmetic. Train or eval mode is left as the caller set it, and so are all seeds. Gradients are cleared
    before every step and at the end. In several processes each calls `fit` with the same batches and seeds,
    and the module stays the same on all (`rlhf_mini.split`).

    Raises ValueError if there is nothing to train, `batches` ends early, or the loss or a metric is not a
    scalar; FloatingPointError, before the parameters are touched, if a loss or gradient is not finite;
    ProcessesApartError if processes disagree about a loss.

    >>> module = nn.Linear(1, 1, bias=False)
    >>> def loss_fn(x: Tensor):
    ...     return (module(x) - 3 * x).square().mean(), {"weight": module.weight}
    >>> history = fit(module, [torch.ones(4, 1)] * 200, loss_fn, steps=200,
    ...     optimizer=OptimizerConfig(learning_rate=0.1, final_fraction=0.0))
    >>> len(history), round(module.weight.item(), 2)
    (200, 3.0)
    """
    source = iter(batches)
    with Training(module, optimizer=optimizer, steps=steps, hooks=hooks, description=description) as training:
        for step in range(1, steps + 1):
            # Autocast remembers weights it has cast, and those cast while sampling without gradients must
            # not be reused in the loss: the batch has a context of its own.
            with autocast(training.device):
                batch = _next(source, step, steps)
            training.step(batch, loss_fn)
    return training.history


def _adamw(module: nn.Module, config: OptimizerConfig, steps: int) -> torch.optim.AdamW:
    if steps < 1:
        raise ValueError(f"fit needs at least one step, got steps={steps}")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(
            f"fit has nothing to train: no parameter of {type(module).__name__} requires a gradient"
        )
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    module.zero_grad(set_to_none=True)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )


def _next(source: Iterator[Batch], step: int, steps: int) -> Batch:
    try:
        return next(source)
    except StopIteration:
        raise ValueError(
            f"fit was to take {steps} steps, but its batches ended after {step - 1}; "
            "ask for fewer steps, or give a source that repeats"
        ) from None


def _check(loss: Tensor, metrics: Metrics, step: int) -> None:
    if loss.ndim != 0 or not loss.requires_grad:
        raise ValueError(
            f"step {step}: loss_fn must return a scalar loss with a gradient, got shape {tuple(loss.shape)}, "
            f"requires_grad={loss.requires_grad}; reduce it, and check that nothing detached it"
        )
    for name, value in metrics.items():
        if name in OWN_ENTRIES:
            raise ValueError(f"step {step}: metric {name!r} would overwrite the loop's own entry; rename it")
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError(f"step {step}: metric {name!r} must be a scalar, got shape {tuple(value.shape)}")


def _as_floats(entry: Mapping[str, Tensor | float]) -> dict[str, float]:
    """The same mapping in plain floats, fetched from an accelerator in a single transfer."""
    values = {name: v.detach().reshape(()) if isinstance(v, Tensor) else v for name, v in entry.items()}
    remote = {name: v.float() for name, v in values.items() if isinstance(v, Tensor) and not v.is_cpu}
    if remote:
        values |= zip(remote, torch.stack(list(remote.values())).tolist(), strict=True)
    return {name: float(value) for name, value in values.items()}


def _refuse_non_finite(entry: dict[str, float], step: int, steps: int) -> None:
    for name in ("loss", "grad_norm"):
        if not math.isfinite(entry[name]):
            raise FloatingPointError(
                f"step {step} of {steps}: {name} is {entry[name]}; the parameters are as step {step - 1} "
                "left them. Look for log 0 or an empty mask in the loss, or lower the learning rate"
            )
