"""Fetch the scripts that the rendered book needs, so that it can be read without a network.

MathJax, require.js and the widgets' html-manager come from npm at build time and go to an ignored folder,
`book/_static/vendor/<package>`; none of that code is committed. Without npm the book refers to a CDN instead.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from fnmatch import fnmatch
from pathlib import Path

# package@version: (files to keep, by pattern inside the package; sha512 of the tarball in npm's notation)
PACKAGES = {
    "mathjax@3.2.2": (
        ("es5/tex-svg-full.js", "LICENSE"),
        "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
    ),
    "requirejs@2.3.8": (
        ("require.js",),
        "sha512-7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
    ),
    "@jupyter-widgets/html-manager@1.0.15": (
        ("dist/embed-amd.js", "dist/*.woff2", "LICENSE"),
        "sha512-5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
    ),
}


def fetch_package(package: str, keep: tuple[str, ...], integrity: str, target: Path) -> None:
    """Download one tarball with npm, check it against the known hash, and unpack the files to keep."""
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [str(shutil.which("npm")), "pack", "--json", "--silent", package],
            cwd=folder, capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        tarball = (Path(folder) / json.loads(answer.stdout)[0]["filename"]).read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if found != integrity:
        raise ValueError(f"{package}: expected {integrity}, npm gave {found}")
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/")
            if member.isfile() and any(fnmatch(name, pattern) for pattern in keep):
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]


def fetch_all(vendor: Path) -> bool:
    """True if every script lies under `vendor` (now, or from an earlier build); False means: use the CDN."""
    stamp = vendor / "packages.json"
    wanted = json.dumps(sorted(PACKAGES.items()))
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return True
    if shutil.which("npm") is None:
        print(
            "npm was not found: the book will load MathJax and the widgets from a public CDN when it is read."
        )
        return False
    shutil.rmtree(vendor, ignore_errors=True)
    try:
        for package, (keep, integrity) in PACKAGES.items():
            fetch_package(package, keep, integrity, vendor / package.rsplit("@", 1)[0])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        print(f"npm could not fetch the book's scripts ({error}): it will load them from their public CDN.")
        shutil.rmtree(vendor, ignore_errors=True)
        return False
    stamp.write_text(wanted)
    return True
