"""The loss sees the whole batch, the model sees a part: rows over several processes, or one after another.

Every process runs the same program with the same seeds and builds the same batches. Only where a model reads
rows is the work divided: `by_rows` gives each process its share, runs the model on it, and gathers the small
results (log-probabilities, values, scores) of all in the order of the rows. Every process then computes the
same loss on the whole batch, so that a masked mean, whitening, an in-batch statistic or a clip has its global
denominator by construction, whatever the loss.

The gradient: backward through the gathering hands each process the gradient of its own rows times the number
N of processes, and `average_gradients` takes the mean over the processes. For a part of the loss that went
through `by_rows`,

    (1/N) Σ_r N · ∂loss/∂(rows of r) · ∂(rows of r)/∂θ = ∂loss/∂θ,

and a part that every process computed whole is the mean of N equal gradients: itself. Nothing has to know
which is which.

The same in time: under `rows_at_once(k)` the model reads k rows at a time and keeps none of what it computed
on the way; backward computes it again (Chen et al. 2016, arXiv 1604.06174). That is gradient accumulation
with the gradient of the whole batch, for any loss, at the price of one more forward.

With one process and without `rows_at_once`, `by_rows(fn, *tensors)` is `fn(*tensors)`.

Departures from data parallelism as it is usually written: the batches are not divided, so that nothing has to
be scaled by the number of processes; every process holds the whole model and optimizer. A model with dropout
draws it anew on every process, which is the same in distribution and not in numbers.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Output = TypeVar("Output", bound="Tensor | tuple[Tensor, ...]")

TIMEOUT = 600.0  # seconds
_BUCKET = 2**25  # numbers that travel at once: 128 MiB in float32
_rows_at_once: ContextVar[int | None] = ContextVar("rows at once", default=None)
_alone: ContextVar[bool] = ContextVar("alone", default=False)


class ProcessesApartError(ConnectionError):
    """The processes no longer do the same, or one of them no longer answers."""


# ---------------------------------------------------------------------------------------------- the processes


@contextmanager
def process_group(*, timeout: float = TIMEOUT) -> Iterator[None]:
    """Join the processes that `torchrun` or `accelerate launch` started, and leave them at the end.

    What they are is read from RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. They talk by gloo
    about what is on the CPU and by NCCL about what is on a GPU; each machine's processes take its GPUs in
    turn. Nothing is done where there is one process, or where `torch.distributed` is initialised already (by
    `accelerate.Accelerator()`, for instance), which is then left to its owner.

    - `timeout`: seconds that a process waits for the others before it gives up.

    Raises ValueError if WORLD_SIZE is above 1 and another of the variables is missing.

    >>> with process_group():
    ...     world_size(), rank(), main_process()
    (1, 0, True)
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if dist.is_initialized() or count == 1:
        yield
        return
    names = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in names if name not in os.environ]:
        raise ValueError(
            f"WORLD_SIZE is {count}, and {', '.join(missing)} not set: start the program with torchrun or "
            "accelerate launch, or unset WORLD_SIZE"
        )
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(local_rank() % gpus)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(seconds=timeout))
    try:
        yield
        wait_for_all()  # whoever leaves first would cut off what the others have not yet received
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """How many processes do the same work; 1 unless `torch.distributed` is initialised."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    """The number of this process on its own machine, from 0: which GPU is its own."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def main_process() -> bool:
    """Whether this is the process that prints and writes: the first."""
    return rank() == 0


def warn_if_apart() -> None:
    """Warn where a launcher started several processes and this one has not joined them.

    Each of them would then do all of the work.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1" and not dist.is_initialized():
        warnings.warn(
            f"this is one of {count} processes, and has not joined the others: each does all of the work. "
            "Put the program into `with rlhf_mini.split.process_group():`",
            stacklevel=3,
        )


def wait_for_all() -> None:
    """Return when every process has come here."""
    if world_size() > 1:
        _gathered(torch.zeros(1))


def from_main(flag: bool) -> bool:
    """What the first process says, on all; the others' `flag` is ignored. Every process must call it.

    >>> from_main(True)
    True
    """
    if world_size() == 1:
        return flag
    return bool(_gathered(torch.tensor([flag]))[0])


def require_same(number: Tensor, *, what: str) -> None:
    """Raise ProcessesApartError unless the scalar is the same on every process, up to rounding.

    Processes on unlike processors round differently, and a difference in seed, data or code is far larger
    than a thousandth.
    """
    if world_size() == 1:
        return
    seen = _gathered(number.detach().double().reshape(1))
    if not torch.allclose(seen, seen[:1].expand_as(seen), rtol=1e-3, atol=1e-6, equal_nan=True):
        raise ProcessesApartError(
            f"processes have gone apart at {what}: they have {', '.join(f'{x:.6g}' for x in seen.tolist())}. "
            "All must run the same program with the same seeds and data"
        )


# --------------------------------------------------------------------------------------------------- the rows


def by_rows(fn: Callable[..., Output], *tensors: Tensor) -> Output:
    """`fn(*tensors)` with the rows divided among the processes; on each of them the result for all rows.

    - `tensors`: each (B, …), the same B rows on every process.
    - `fn`: gives one tensor (B, …) or a tuple of them; a row of the result may depend on the same row of the
      tensors only, and its shape on none.

    The first B mod N processes get a row more than the others. One that gets none runs `fn` on the first row
    and drops the result, because the others would wait for its part of the gradient. Within `fn` nothing is
    divided again. Gradients flow to what `fn` uses; on each process those of its own rows, N times (see
    above): take a step by `Training`, or call `average_gradients` after `backward`.

    Raises ValueError if the tensors have unlike numbers of rows.

    >>> with rows_at_once(2):
    ...     by_rows(lambda x: x.square(), torch.tensor([1.0, 2.0, 3.0]))
    tensor([1., 4., 9.])
    """
    processes, at_once = world_size(), _rows_at_once.get()
    if _alone.get() or (processes == 1 and at_once is None):
        return fn(*tensors)
    if len({len(tensor) for tensor in tensors}) != 1:
        raise ValueError(f"by_rows needs as many rows in each tensor, got {[len(x) for x in tensors]}")
    shares = _shares(len(tensors[0]), processes)
    own = shares[rank()]
    dummy = own.start == own.stop
    results = _in_turn(fn, [tensor[:1] if dummy else tensor[own] for tensor in tensors], at_once)
    if processes == 1:
        return results
    parts = results if isinstance(results, tuple) else (results,)
    whole = [_gather(part[:0] if dummy else part, shares) for part in parts]
    return _as(results, whole)


@contextmanager
def rows_at_once(count: int | None) -> Iterator[None]:
    """Within this context a model reads at most `count` rows at a time; None lifts the limit.

    Activations are kept for `count` rows instead of the whole batch. Without gradients the parts are only
    read one after the other. The loss and its gradient stay those of the whole batch. Raises ValueError for
    less than one row.
    """
    if count is not None and count < 1:
        raise ValueError(f"rows_at_once needs at least 1 row, got {count}")
    token = _rows_at_once.set(count)
    try:
        yield
    finally:
        _rows_at_once.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Within this context nothing is divided: every process reads all rows of what it is given, at once.

    For what only one process does, such as showing a sample: the others would be waited for.
    """
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each parameter's gradient by its mean over the processes; after `backward`, before clipping.

    A gradient that no process has stays None. Every process must pass the same parameters in one order.
    """
    processes = world_size()
    if processes == 1:
        return
    for bucket in _buckets(parameters):
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        there = gradients[0].new_tensor([float(p.grad is not None) for p in bucket])
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), there])
        *sums, there = _sum(flat).split([*(gradient.numel() for gradient in gradients), len(bucket)])
        for parameter, total, counted in zip(bucket, sums, there.tolist(), strict=True):
            parameter.grad = total.view_as(parameter) / processes if counted else None


# --------------------------------------------------------------------------------------------- how it is done


def _shares(rows: int, processes: int) -> list[slice]:
    """Consecutive rows for each process, as equal in number as they can be.

    >>> [(share.start, share.stop) for share in _shares(5, 3)]
    [(0, 2), (2, 4), (4, 5)]
    """
    starts = [rows // processes * r + min(r, rows % processes) for r in range(processes + 1)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def _in_turn(fn: Callable[..., Output], tensors: Sequence[Tensor], at_once: int | None) -> Output:
    """`fn` on `at_once` rows after the others, the results put together."""

    def divided_no_further(*rows: Tensor) -> Output:  # backward calls this again, outside of `by_rows`
        with alone():
            return fn(*rows)

    if at_once is None:
        return divided_no_further(*tensors)
    results = []
    for rows in zip(*(tensor.split(at_once) for tensor in tensors), strict=True):
        if torch.is_grad_enabled():
            results.append(checkpoint(divided_no_further, *rows, use_reentrant=False))
        else:
            results.append(divided_no_further(*rows))
    parts = zip(*results, strict=True) if isinstance(results[0], tuple) else [results]
    return _as(results[0], [torch.cat(list(part)) for part in parts])


def _as(results: Any, parts: Sequence[Tensor]) -> Any:
    """The parts in the form of `results`: one tensor, a tuple, or a named one."""
    if not isinstance(results, tuple):
        return parts[0]
    return getattr(type(results), "_make", tuple)(parts)


def _gather(own: Tensor, shares: Sequence[slice]) -> Tensor:
    """The rows of all processes; a gradient goes to the process whose rows they are."""
    if own.requires_grad:
        return _Gather.apply(own, shares)
    return _gathered(own, shares)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, own: Tensor, shares: Sequence[slice]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.own = shares[rank()]
        return _gathered(own, shares)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def, override]
        return gradient[ctx.own] * world_size(), None


def _gathered(own: Tensor, shares: Sequence[slice] | None = None) -> Tensor:
    """The rows of all processes in order, without gradient; each brings its share, or as many as the others.

    They travel as bytes, so that every number type arrives bit for bit, and padded to the largest share.
    """
    rows = [len(own)] * world_size() if shares is None else [share.stop - share.start for share in shares]
    row_bytes = own[:0].new_empty(1, *own.shape[1:]).nbytes
    sent = torch.zeros(max(rows) * row_bytes, dtype=torch.uint8, device=_wire(own.device))
    sent[: own.nbytes] = own.detach().contiguous().flatten().view(torch.uint8)
    received = [torch.empty_like(sent) for _ in rows]
    with _answered():
        dist.all_gather(received, sent)
    whole = torch.cat([part[: count * row_bytes] for part, count in zip(received, rows, strict=True)])
    return whole.to(own.device).view(own.dtype).view(sum(rows), *own.shape[1:])


def _sum(numbers: Tensor) -> Tensor:
    """The sum over the processes."""
    total = numbers.to(_wire(numbers.device))
    with _answered():
        dist.all_reduce(total)
    return total.to(numbers.device)


def _wire(device: torch.device) -> torch.device:
    """Where a tensor of this device must lie to be sent."""
    backend = dist.get_backend()
    if "gloo" in backend and not (device.type == "cuda" and "nccl" in backend):
        return torch.device("cpu")
    return device if device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one number type together, at most `_BUCKET` numbers."""
    bucket: list[nn.Parameter] = []
    for parameter in sorted(parameters, key=lambda p: str(p.dtype)):
        size = sum(p.numel() for p in [*bucket, parameter])
        if bucket and (parameter.dtype != bucket[0].dtype or size > _BUCKET):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessesApartError(
            f"process {rank()} of {world_size()} got no answer from the others: one has failed (its own "
            f"message says why), or does something else, or took too long ({str(error).splitlines()[0]})"
        ) from error
