"""One line that says where a chapter's numbers come from."""

import platform

import torch

from rlhf_mini import __version__
from rlhf_mini.devices import describe, pick_device, thread_count


def provenance(*, profile: str, seconds: float | int, device: torch.device | None = None) -> str:
    """The line that ends a chapter: profile, device, threads, seconds, versions.

    Args:
        device: where it ran, by default where the library would run now. The line differs from machine to
            machine and from run to run: tag the cell that prints it `nbval-ignore-output`.

    Raises:
        ValueError: on an empty profile or negative seconds.
    """
    if not profile or not seconds >= 0:
        raise ValueError(f"need a profile's name and seconds of at least 0, got {profile!r} and {seconds!r}")
    where = describe(pick_device() if device is None else device)
    minutes, rest = divmod(round(seconds), 60)
    spent = f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
    threads = f"{thread_count()} thread" + ("" if thread_count() == 1 else "s")
    return (
        f"profile {profile} · {where} · {threads} · {spent} · rlhf-mini {__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
