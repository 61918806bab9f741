"""What both sides of the comparison cost: seconds a step, and the most memory, each in a process of its own.

Memory is read from the kernel's account of a process (`VmHWM`, the most it ever held, less `VmRSS` after the
packages were imported and before the model was loaded): it has the weights, the optimizer, activations, the
batch, and whatever the allocator holds back. It is Linux's account of the whole process and not of tensors,
and at the size of a miniature much of it is not tensors at all. `ru_maxrss` would not do: a child begins with
its parent's.

Seconds depend on what else the machine does. Take them on an idle one, in turn, and say which.
"""

import multiprocessing
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlhf_mini.chapters.real.beside_data import ROWS, Start, request_texts, story_reward
from rlhf_mini.chapters.real.beside_grpo import GroupShared, our_grpo, trl_drawing
from rlhf_mini.chapters.real.beside_trl import TRAINERS, Shared, Side, our_side, trl_side
from rlhf_mini.data.handover import require_package

STATUS, PROCESSORS = Path("/proc/self/status"), Path("/proc/stat")
SIDES = ("ours", "TRL")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training cost.

    Attributes:
        seconds: of a step, the median of all but the first.
        setup: seconds from the saved folder and the rows to the first step.
        imported: MB that the process held after its imports; no comparison, since this module itself imports
            the trainer of `transformers` on either side.
        peak: MB at most, beyond those.
    """

    seconds: float
    setup: float
    imported: float
    peak: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """One side's training as it can be sent to another process; `rows` is how many rows or prompts."""

    method: str
    side: str
    start: Start
    rows: int
    shared: Shared | GroupShared

    def __post_init__(self) -> None:
        """Refuse names that mean nothing, and settings of the wrong kind."""
        if self.method not in TRAINERS or self.side not in SIDES:
            raise ValueError(
                f"method must be one of {', '.join(TRAINERS)} and side one of {', '.join(SIDES)}; "
                f"got {self.method!r} and {self.side!r}"
            )
        if (self.method == "grpo") != isinstance(self.shared, GroupShared):
            raise ValueError(f"{self.method} cannot be told {type(self.shared).__name__}")


def done(work: Work) -> Side:
    """The training; GRPO draws its own answers on either side, and is paid in gold."""
    if isinstance(work.shared, GroupShared):
        prompts = request_texts(work.rows, seed=work.shared.seed)
        if work.side == "ours":
            return our_grpo(work.start.policy, prompts, story_reward, shared=work.shared)[0]
        return trl_drawing(work.start.policy, prompts, story_reward, shared=work.shared)
    rows = ROWS[work.method](work.rows, seed=work.shared.seed)
    side = our_side if work.side == "ours" else trl_side
    return side(work.method, work.start.of(work.method), rows, work.shared)


def cost(work: Work) -> Cost:
    """The training's cost, done in a fresh process. ValueError where the kernel keeps no such account.

    Raises RuntimeError if the process ends without an answer; its own message is on the error stream.
    """
    if not STATUS.exists():
        raise ValueError(f"{STATUS} is not there: memory is read from Linux's account of a process")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(work, sender))
    process.start()
    sender.close()  # so that a process that dies is noticed here, as the end of the pipe
    try:
        told: dict[str, float] = receiver.recv()
    except EOFError:
        raise RuntimeError(f"the process of {work.method}, {work.side}, ended without an answer") from None
    finally:
        process.join()
    return Cost(**told)


def _report(work: Work, sender: Connection) -> None:
    if work.side == "TRL":
        trl = require_package("trl")
        getattr(trl, f"{TRAINERS[work.method]}Trainer")  # imported when it is asked for
    imported = megabytes("VmRSS")
    side = done(work)
    steps = side.seconds[1:] or side.seconds
    sender.send(
        {
            "seconds": statistics.median(steps),
            "setup": side.setup,
            "imported": imported,
            "peak": megabytes("VmHWM") - imported,
        }
    )


def megabytes(field: str) -> float:
    """A field of this process's account, in MB of 10⁶ bytes: `VmRSS` is held now, `VmHWM` was held at most."""
    lines = STATUS.read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def processors_in_use(*, seconds: float = 1.0) -> float:
    """How many processors are at work while this one sleeps for `seconds`: what other programs take.

    ValueError where the kernel keeps no such account.
    """
    if not PROCESSORS.exists():
        raise ValueError(f"{PROCESSORS} is not there: what other programs take is read from Linux's account")
    before, count = _ticks()
    time.sleep(seconds)
    after, _ = _ticks()
    spent = [late - early for early, late in zip(before, after, strict=True)]
    at_rest = spent[3] + spent[4]  # idle, and waiting for a disk
    return count * (1 - at_rest / max(1, sum(spent)))


def _ticks() -> tuple[list[int], int]:
    """The kernel's clock ticks of all processors together by what they did, and how many processors there are."""
    lines = PROCESSORS.read_text("ascii").splitlines()
    count = sum(line.startswith("cpu") for line in lines) - 1
    return [int(one) for one in lines[0].split()[1:9]], count


def as_numbers(costs: Mapping[tuple[str, str], Cost]) -> list[dict[str, Any]]:
    """Costs by method and side as rows for a record or a table."""
    return [{"method": method, "side": side, **vars(cost)} for (method, side), cost in costs.items()]
