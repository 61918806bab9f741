"""Two processes that do the same work, as a launcher would start them."""

import contextlib
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from rlhf_mini.split import ProcessesApartError, process_group, rank, wait_for_all, world_size
from tests.distributed.checks import CHECKS
from tests.distributed.programs import PROGRAMS, outcome

TIMEOUT = 120.0  # seconds: two loaded cores may be slow, and whoever waits longer waits for ever


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def environment(place: int, processes: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(place),
        "LOCAL_RANK": str(place),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


def all_in_a_pair(folder: Path, names: list[str] | None = None) -> None:
    """Run all checks and programs in two processes, started once; what they say lands in `folder`."""
    torch.multiprocessing.spawn(_serve, args=(free_port(), str(folder), names), nprocs=2)


def _serve(place: int, port: int, folder: str, names: list[str] | None) -> None:
    torch.set_num_threads(1)
    os.environ.update(environment(place, 2, port))
    jobs: Mapping[str, Callable[[], dict]] = {
        **{name: lambda check=check: check() or {} for name, check in CHECKS.items()},
        **{name: lambda name=name: outcome(name) for name in PROGRAMS},
    }
    found = {}
    # where one process waits for the other in vain both give up, and what was found until then is kept
    with contextlib.suppress(Exception), process_group(timeout=TIMEOUT):
        for name, job in jobs.items():
            if names is not None and name not in names:
                continue
            try:
                found[name] = {**job(), "world": world_size(), "rank": rank()}
            except (Exception, pytest.fail.Exception) as error:
                found[name] = {"error": traceback.format_exc()}
                if isinstance(error, ProcessesApartError):
                    break
            wait_for_all()
    torch.save(found, Path(folder) / f"{place}.pt")
