"""How everything here is measured: rounds in which every contestant runs once, and the median over rounds.

Two programs measured one after the other meet different machines: another process starts, a processor cools.
Within a round they meet the same one. The first rounds are discarded: caches fill and memory is claimed.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from rlhf_mini import __version__
from rlhf_mini.devices import describe

Record = dict[str, object]

_STATUS = Path("/proc/self/status")


def interleaved(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 3
) -> dict[str, list[float]]:
    """Seconds of every contestant in every round after the warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for done in range(warm_up + rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if done >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory(run: Callable[[], None]) -> float:
    """The most memory, in MB, that a fresh process holds during `run`, less what it held before.

    `run` must be a function at the top of a module. Linux only, elsewhere -1.
    """
    if not _STATUS.exists():
        return -1.0
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report_peak, args=(run, sender))
    process.start()
    sender.close()  # so that a process that dies is noticed here, as the end of the pipe
    megabytes = receiver.recv()
    process.join()
    return megabytes


def _report_peak(run: Callable[[], None], sender: Connection) -> None:
    before = _megabytes("VmRSS")
    run()
    sender.send(_megabytes("VmHWM") - before)


def _megabytes(field: str) -> float:
    """A field of the process's status: VmRSS is the memory held now, VmHWM the most held so far."""
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def record(experiment: str, method: str, seconds: float, **metrics: float | str) -> Record:
    """One row of `book/results/bench.json`; `seconds` is 0 where something else than time was measured."""
    if seconds:
        metrics = {"milliseconds": 1e3 * seconds, **metrics}
    return {
        "chapter": "bench",
        "experiment": experiment,
        "method": method,
        "seed": 0,
        "profile": "quick",
        "device": describe(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "version": __version__,
        "metrics": metrics,
    }
