"""Execute notebooks top to bottom in a fresh kernel, in place, and stamp where their outputs come from.

    python book/tools/execute.py --profile quick chapters/*.ipynb

The stamp stands in each notebook's metadata under `rlhf_mini`: profile, seconds, device, threads, version and
two hashes, one of the notebook's own source and one of the library's code that it reaches. A test holds the
outputs to both: a chapter whose code has changed since is executed again.
A notebook whose execution fails is left as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ("quick", "full")


def source_hash(notebook: nbformat.NotebookNode) -> str:
    """Twelve hex digits over every cell's type and source."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        digest.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    return digest.hexdigest()[:12]


def library_version(notebook: nbformat.NotebookNode) -> str:
    """Twelve hex digits over the library's code that the notebook reaches, figures' looks left out."""
    from rlhf_mini.code_version import source_version

    return source_version("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))


def machine() -> dict[str, str | int]:
    """Device, threads and version as a kernel of this environment sees them."""
    import torch

    import rlhf_mini
    from rlhf_mini.devices import describe, pick_device

    return {
        "device": describe(pick_device()),
        "threads": torch.get_num_threads(),
        "version": rlhf_mini.__version__,
    }


def drop_machine_noise(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs between runs and means nothing: time stamps and the kernel's patch release."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.get("language_info", {}).pop("version", None)


def execute(path: Path, profile: str, timeout: int) -> float:
    """Run one notebook in its own folder and write it back whole. Returns the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)  # those of the run before; nbclient would add to them
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # else one cell's lines fall into several boxes, as the machine is busy or not
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    began = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - began
    drop_machine_noise(notebook)
    notebook.metadata["rlhf_mini"] = {
        "profile": profile,
        "seconds": round(seconds, 1),
        **machine(),
        "source": source_hash(notebook),
        "library": library_version(notebook),
    }
    beside = path.with_suffix(".executing")
    nbformat.write(notebook, beside)
    os.replace(beside, path)
    return seconds


def execute_all(paths: list[Path], *, profile: str, timeout: int) -> int:
    """Execute the notebooks one after the other; the number that failed."""
    os.environ.update(
        {
            "RLHF_MINI_PROFILE": profile,
            "TQDM_DISABLE": "1",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
    )
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    failed = 0
    for path in paths:
        print(f"{path.name}: running at the {profile} profile …", flush=True)
        try:
            print(f"{path.name}: {execute(path, profile, timeout):.0f} s", flush=True)
        except (CellExecutionError, CellTimeoutError) as error:
            failed += 1
            print(f"{path.name}: FAILED\n{error}", file=sys.stderr, flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds a cell may take (default 1800)")
    given = parser.parse_args()
    missing = [str(path) for path in given.notebooks if not path.is_file()]
    if missing:
        parser.error(f"no such notebook: {', '.join(missing)}")
    return int(execute_all(given.notebooks, profile=given.profile, timeout=given.timeout) > 0)


if __name__ == "__main__":
    sys.exit(main())
