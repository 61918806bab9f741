"""Asks independent implementations, each in a process of its own: two versions of TRL do not share one.

They are looked for in subfolders of the folder that ``RLHF_MINI_PARITY`` names (``.parity`` if it is not
set), then in the environment; what is not found is skipped, by name. To install them:

    pip install --no-deps --target .parity/trl-0.11.4 trl==0.11.4 tyro typeguard docstring_parser
    pip install --no-deps --target .parity/torchrl-0.14 torchrl==0.14.1 tensordict pyvers orjson \\
        importlib_metadata zipp
    pip install --no-deps --pre --target .parity/pymdptoolbox-4.0b3 pymdptoolbox==4.0b3
    pip install --no-deps --target .parity/peft-0.21 peft==0.21.2
    pip install --no-deps --target .parity/choix-0.4 choix==0.4.1 scipy
    RLHF_MINI_PARITY=.parity python -m pytest tests/parity

TRL 1.16 comes with the ``bridge`` extra (or in ``.parity/trl-1.16``). ``--no-deps`` matters: these packages
run with the torch and transformers that are there, and must not replace them.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

ORACLES = Path(__file__).parent / "oracles"
Answers = dict[str, torch.Tensor]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Answers]:
    """``ask("trl_ppo", "trl", "0.11.4", logp=…)`` runs that oracle on these tensors and returns its own."""

    def asked(oracle: str, package: str, wanted: str, **questions: torch.Tensor) -> Answers:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        folder = Path(os.environ.get("RLHF_MINI_PARITY", ".parity")).resolve()
        side = folder / f"{package}-{wanted}"
        if side.is_dir():
            environment["PYTHONPATH"] = str(side)
        elif not is_installed(package, wanted):
            pytest.skip(f"{package} {wanted} is neither installed nor in {side}")
        sent, received = tmp_path / "questions.pt", tmp_path / "answers.pt"
        torch.save({name: tensor.detach() for name, tensor in questions.items()}, sent)
        command = [sys.executable, str(ORACLES / f"{oracle}.py"), str(sent), str(received)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return torch.load(received, weights_only=True)

    return asked


def is_installed(package: str, wanted: str) -> bool:
    try:
        return version(package).startswith(wanted)
    except PackageNotFoundError:
        return False
