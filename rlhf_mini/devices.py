"""Where to compute: one rule for the whole library.

CUDA if there is one, else Apple's MPS, else the CPU; `RLHF_MINI_DEVICE` overrides. On CUDA, matrix products
run in bfloat16 under autocast while weights and optimizer states stay in float32; everywhere else all is
float32. Of several processes on one machine each has a GPU of its own.
"""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from rlhf_mini.split import local_rank, world_size

ENVIRONMENT_VARIABLE = "RLHF_MINI_DEVICE"


def pick_device() -> torch.device:
    """The device to train on: `RLHF_MINI_DEVICE` if set, else CUDA, else MPS, else the CPU.

    In one of several processes, `cuda` without a number is the GPU with the process's number on its machine.
    Raises ValueError if the variable names no device, or one that this machine does not have, and if there
    are fewer GPUs than processes.

    >>> pick_device().type in ("cuda", "mps", "cpu")
    True
    """
    wanted = os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()
    if wanted == "cuda" or (not wanted and torch.cuda.is_available()):
        return _checked("cuda") if world_size() == 1 else _own_gpu()
    if wanted:
        return _checked(wanted)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _own_gpu() -> torch.device:
    own, gpus = local_rank(), torch.cuda.device_count()
    if own >= gpus:
        raise ValueError(
            f"process {own} of this machine needs a GPU of its own, and torch sees {gpus}: start fewer "
            f"processes, or set {ENVIRONMENT_VARIABLE}=cpu"
        )
    return torch.device("cuda", own)


def _checked(wanted: str) -> torch.device:
    kind, _, index = wanted.partition(":")
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in available or (index and not index.isdecimal()):
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE}={wanted!r} names no device; use cpu, cuda, cuda:0 or mps, or unset it"
        )
    if int(index or 0) >= available[kind]:
        present = ", ".join(f"{count} × {name}" for name, count in available.items() if count)
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE}={wanted!r}, but torch sees only {present} here; "
            "unset the variable to have a device chosen"
        )
    return torch.device(wanted)


def autocast(device: torch.device) -> AbstractContextManager:
    """A context in which matrix products run in bfloat16 on CUDA; elsewhere it does nothing.

    Cards that would only emulate bfloat16 (before Ampere, a T4 for instance) stay in float32 as well.

    >>> with autocast(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    if uses_bfloat16(device):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def uses_bfloat16(device: torch.device) -> bool:
    """Whether `autocast(device)` computes in bfloat16.

    >>> uses_bfloat16(torch.device("cpu"))
    False
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def thread_count() -> int:
    """How many CPU threads torch uses inside one operation."""
    return torch.get_num_threads()


def describe(device: torch.device) -> str:
    """The device in words, as it stands in records and provenance lines.

    >>> describe(torch.device("cpu"))
    'cpu'
    """
    if device.type != "cuda":
        return device.type
    precision = "bfloat16" if uses_bfloat16(device) else "float32"
    return f"{torch.cuda.get_device_name(device)}, {precision}"
