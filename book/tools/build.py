"""Build the book into .site, from a copy of the sources in .book.

    python book/tools/build.py                 run every chapter at the quick profile, render that run
    python book/tools/build.py --no-execute    render the outputs that are committed

The notebooks in chapters/ stay as they are: what is run and rendered is the copy.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import assets
import check_site
import execute

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("_config.yml", "book", "chapters")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "vendor", "tools")


def stage(sources: Path) -> None:
    """Copy what the book is made of into an empty folder."""
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, sources / part, ignore=LEFT_OUT)
        else:
            shutil.copy2(ROOT / part, sources / part)
    vendor = ROOT / "book/_static/vendor"
    if vendor.is_dir():
        shutil.copytree(vendor, sources / "book/_static/vendor")


def render(sources: Path, site: Path) -> int:
    """Jupyter Book's exit code; every warning is an error."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "RLHF_MINI_RESULTS": str(sources / "book/results"),
    }
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()",
        "build", str(sources), "--all", "--config", str(sources / "_config.yml"),
        "--toc", str(sources / "book/_toc.yml"), "--path-output", str(site), "-q", "-W", "-n", "--keep-going",
    ]  # fmt: skip
    print("Rendering the pages …", flush=True)
    return subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-execute", action="store_true", help="render the committed outputs, run nothing")
    parser.add_argument("--profile", choices=execute.PROFILES, default="quick")
    parser.add_argument("--sources", type=Path, default=ROOT / ".book", help="where the copy is made")
    parser.add_argument("--site", type=Path, default=ROOT / ".site", help="where the book is built")
    given = parser.parse_args()

    vendored = assets.fetch_all(ROOT / "book/_static/vendor")
    stage(given.sources)
    if not given.no_execute:
        os.environ["RLHF_MINI_RESULTS"] = str(given.sources / "book/results")
        notebooks = sorted((given.sources / "chapters").glob("*.ipynb"))
        if failed := execute.execute_all(notebooks, profile=given.profile, timeout=1800):
            print(f"{failed} of {len(notebooks)} chapters failed; the book was not built.", file=sys.stderr)
            return 1
    shutil.rmtree(given.site, ignore_errors=True)
    if code := render(given.sources, given.site):
        return code
    html = given.site / "_build/html"
    if faults := check_site.faults(html, offline=vendored):
        print("\n".join(faults), file=sys.stderr)
        return 1
    served = os.path.relpath(html)
    print(f"\nThe book is built. Open it:\n    {(html / 'index.html').resolve().as_uri()}")
    print("or, so that fonts and widgets load as on the web:")
    print(f"    {Path(sys.executable).name} -m http.server 8000 --directory {served}")
    print("and then http://localhost:8000/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
