"""One rule for devices, and an import that stays light."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import rlhf_mini
from rlhf_mini.devices import autocast, describe, pick_device, thread_count, uses_bfloat16

ROOT = Path(rlhf_mini.__file__).parents[1]
CPU = torch.device("cpu")


def machine_with(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool) -> None:
    monkeypatch.delenv("RLHF_MINI_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(1, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_cuda_comes_before_mps_and_mps_before_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, expected: str
) -> None:
    machine_with(monkeypatch, cuda=cuda, mps=mps)
    assert pick_device() == torch.device(expected)


@pytest.mark.parametrize("wanted", ["cpu", "CPU ", "cuda:1", "mps"])
def test_the_environment_variable_overrides(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    machine_with(monkeypatch, cuda=2, mps=True)
    monkeypatch.setenv("RLHF_MINI_DEVICE", wanted)
    assert pick_device() == torch.device(wanted.strip().lower())


@pytest.mark.parametrize("wanted", ["gpu", "tpu", "cuda:x", "cuda:-1"])
def test_a_name_of_no_device_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    machine_with(monkeypatch, cuda=1, mps=False)
    monkeypatch.setenv("RLHF_MINI_DEVICE", wanted)
    with pytest.raises(ValueError, match=f"RLHF_MINI_DEVICE='{wanted}' names no device; use cpu, cuda"):
        pick_device()


@pytest.mark.parametrize("wanted", ["cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    machine_with(monkeypatch, cuda=1, mps=False)
    monkeypatch.setenv("RLHF_MINI_DEVICE", wanted)
    with pytest.raises(ValueError, match=r"torch sees only 1 × cpu, 1 × cuda here"):
        pick_device()


def test_the_cpu_computes_in_float32() -> None:
    assert isinstance(autocast(CPU), nullcontext)
    assert describe(CPU) == "cpu"
    assert thread_count() == torch.get_num_threads()


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_only_where_the_card_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    assert uses_bfloat16(torch.device("cuda")) is expected
    assert describe(torch.device("cuda")) == ("Card, bfloat16" if expected else "Card, float32")


@pytest.mark.parametrize(
    ("name", "default", "set_by_user"),
    [
        ("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"),
        ("GOMP_SPINCOUNT", "1000", "99"),
        ("LRU_CACHE_CAPACITY", "16", "99"),
        ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16", "99"),
    ],
)
def test_importing_is_light_and_sets_what_the_user_has_not(name: str, default: str, set_by_user: str) -> None:
    program = (
        "import os, sys, rlhf_mini; "
        f"print(os.environ['{name}'], *{{'torch', 'numpy', 'transformers'}} & set(sys.modules))"
    )
    bare = {key: value for key, value in os.environ.items() if key != name} | {"PYTHONPATH": str(ROOT)}
    for environment, expected in ((bare, default), ({**bare, name: set_by_user}, set_by_user)):
        said = subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        )
        assert said.stdout.strip() == expected


def test_a_user_who_wants_openmp_to_spin_gets_it() -> None:
    program = "import os, rlhf_mini; print(os.environ.get('GOMP_SPINCOUNT'))"
    bare = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    environment = {**bare, "OMP_WAIT_POLICY": "ACTIVE", "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert said.stdout.strip() == "None"


def test_the_version_is_pyprojects() -> None:
    if rlhf_mini.__version__ == "0+source":
        pytest.skip("the package is not installed, so it has no version")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1) == rlhf_mini.__version__
