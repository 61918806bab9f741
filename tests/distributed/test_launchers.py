"""`torchrun` and `accelerate launch` as a reader types them, and what happens when a process fails."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rlhf_mini

ROOT = Path(rlhf_mini.__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]

pytestmark = pytest.mark.slow  # each test starts processes that load torch, and two that load transformers

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch import nn

from rlhf_mini.cache import Store
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.parallel import default_jobs
from rlhf_mini.split import by_rows, main_process, process_group, rank, world_size

def say(line):
    sys.stdout.write(line + "\\n")  # in one piece: another process writes, too
    sys.stdout.flush()

def build(folder):
    torch.manual_seed(0)
    module, batch = nn.Linear(3, 1), torch.randn(5, 3)
    read = []

    def loss_fn(x):
        hidden = by_rows(lambda rows: read.append(len(rows)) or module(rows), x)
        return (hidden - hidden.mean()).square().mean(), {}

    history = fit(module, [batch] * 3, loss_fn, optimizer=OptimizerConfig(learning_rate=0.1), steps=3)
    (folder / "losses.txt").write_text("\\n".join(f"{entry['loss']:.6f}" for entry in history))
    say(f"process {rank()} of {world_size()} read {read} rows, {default_jobs()} jobs")

with process_group(timeout=100):
    store = Store(sys.argv[1])
    for _ in range(2):  # the second time it is there
        folder = store.get("trained", {"n": 1}, build)
    assert store.has("trained", {"n": 1})
    say(" ".join([f"process {rank()} found", *(folder / "losses.txt").read_text().split()]))
"""

FAILING = """
import sys, time
import torch
from rlhf_mini.split import by_rows, process_group, rank

with process_group(timeout=float(sys.argv[1])):
    by_rows(lambda x: x, torch.ones(3))
    if rank() == 1:
        if sys.argv[2] == "raises":
            raise ValueError("the second process has met its end")
        time.sleep(1000)
    by_rows(lambda x: x, torch.ones(3))
"""


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}


def started(command: list[str], *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def check_script(launcher: list[str], script: Path, tmp_path: Path) -> None:
    """Two processes build one entry together, once; their losses are those of one process."""
    alone = started([sys.executable], script, tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    built, found = alone.stdout.splitlines()
    assert built.startswith("process 0 of 1 read [5, 5, 5] rows")
    both = started(launcher, script, tmp_path / "together")
    assert both.returncode == 0, both.stderr
    assert set(both.stdout.splitlines()) == {
        "process 0 of 2 read [3, 3, 3] rows, 1 jobs",
        "process 1 of 2 read [2, 2, 2] rows, 1 jobs",
        found,
        found.replace("process 0", "process 1"),
    }
    (entry,) = [path for path in (tmp_path / "together").iterdir() if path.is_dir()]
    assert sorted(path.name for path in entry.iterdir()) == ["losses.txt", "manifest.json"]


def test_torchrun(script: Path, tmp_path: Path) -> None:
    check_script(TORCHRUN, script, tmp_path)


def test_accelerate_launch(script: Path, tmp_path: Path) -> None:
    """Without a GPU too it is `--multi_gpu` that starts several processes; they talk by gloo."""
    pytest.importorskip("accelerate")
    check_script([*ACCELERATE, "--multi_gpu", "--main_process_port", "0"], script, tmp_path)


def test_accelerate_launch_on_the_cpu_starts_one_process_only(script: Path, tmp_path: Path) -> None:
    """Not ours, but what our page warns of: accelerate #2741. If this fails, the page must change."""
    pytest.importorskip("accelerate")
    one = started([*ACCELERATE, "--cpu"], script, tmp_path / "cache")
    assert one.returncode == 0, one.stderr
    assert "process 0 of 1 read [5, 5, 5] rows" in one.stdout


def test_the_command_line_in_two_processes(tmp_path: Path) -> None:
    """`-m rlhf_mini` shares a stage out; one process talks, and a mistake ends all of them."""
    command = [*TORCHRUN, "-m", "rlhf_mini", "run", "--profile", "quick", "--cache", str(tmp_path)]
    done = started(command, "--until", "tokenizer")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line]
    assert line.startswith("tokenizer       built in")
    assert Path(line.split()[-1]).parent == tmp_path
    mistaken = started(command, "--until", "nothing")
    assert mistaken.returncode != 0
    assert "rlhf-mini: unknown stage 'nothing'" in mistaken.stderr


def test_a_process_that_fails_ends_the_other(tmp_path: Path) -> None:
    """No launcher here that would stop it: the other notices by itself, at once and not at the timeout."""
    seconds, codes, said = in_two_processes(tmp_path, timeout=200, how="raises")
    assert seconds < 100
    assert all(code not in (0, None) for code in codes)
    assert "ValueError: the second process has met its end" in said[1]
    assert "ProcessesApartError: process 0 of 2 got no answer from the others" in said[0]


def test_a_process_that_hangs_is_given_up(tmp_path: Path) -> None:
    seconds, codes, said = in_two_processes(tmp_path, timeout=3, how="hangs")
    assert seconds < 100
    assert codes[0] not in (0, None)
    assert "ProcessesApartError: process 0 of 2 got no answer from the others" in said[0]


def in_two_processes(folder: Path, *, timeout: float, how: str) -> tuple[float, list, list[str]]:
    """Seconds from the start until the first process ended, and each process's end and words."""
    from tests.distributed.started import environment as of_process
    from tests.distributed.started import free_port

    program, port = folder / "failing.py", free_port()
    program.write_text(FAILING)
    since = time.monotonic()
    both = [
        subprocess.Popen(
            [sys.executable, str(program), str(timeout), how],
            env=environment(**of_process(place, 2, port)),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in range(2)
    ]
    try:
        first = both[0].communicate(timeout=250)[1]
        seconds = time.monotonic() - since
        if how == "hangs":
            both[1].kill()
        second = both[1].communicate(timeout=60)[1]
    finally:
        for process in both:
            process.kill()
    return seconds, [process.returncode for process in both], [first, second]
