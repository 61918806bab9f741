"""Independent work side by side, each piece in a process of its own with its share of the cores.

Models as small as ours gain little from a second thread, and so two trainings are done sooner side by side, a
thread each, than one after the other on both. On an accelerator, where one training already uses the whole
device, the pieces run one after the other.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import TypeVar

import torch

from rlhf_mini.devices import pick_device
from rlhf_mini.progress import hide_bars, progress_bar
from rlhf_mini.split import world_size

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_jobs() -> int:
    """How many pieces run at once: one for each of torch's threads on a CPU, one on an accelerator.

    One, too, where several processes do the same work: they share out each piece instead.
    """
    return torch.get_num_threads() if pick_device().type == "cpu" and world_size() == 1 else 1


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], *, description: str, jobs: int | None = None
) -> Iterator[Result]:
    """`work(item)` of every item, in the order of the items, each given as soon as those before it are done.

    - `work` and `items` must be picklable, unless there is but one job: then all happens in this process.
    - `jobs`: at most so many at once, `default_jobs()` if not given; they share out torch's threads.
    - `description`: what the progress bar says.

    The first exception in the order of the items is raised again here, and no other piece goes on. Raises
    ValueError for less than one job.

    >>> list(side_by_side(abs, [-1, 2], description="lengths", jobs=1))
    [1, 2]
    """
    jobs = min(default_jobs() if jobs is None else jobs, max(len(items), 1))
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if jobs == 1:
        yield from map(work, items)
        return
    threads = max(1, torch.get_num_threads() // jobs)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(threads,)
    )
    try:
        futures = [pool.submit(work, item) for item in items]
        with progress_bar(total=len(items), description=description) as bar:
            for future in futures:
                _watch(future, futures, bar)
                yield future.result()
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(threads: int) -> None:
    hide_bars()
    torch.set_num_threads(threads)


def _watch(awaited: Future, futures: Sequence[Future], bar) -> None:  # type: ignore[no-untyped-def]
    """Wait for one of the futures, and let the bar's clock go on meanwhile."""
    while not wait([awaited], timeout=1).done:
        bar.n = sum(future.done() for future in futures)
        bar.refresh()
