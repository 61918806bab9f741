"""pyproject.toml, constraints.txt, environment.yml and Colab's snapshot agree."""

import re
from pathlib import Path

import pytest
import sync
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
INSTALLED = ("book", "test", "lab", "bridge")
ON_DEMAND = ("lora",)  # pinned too, but in no set-up of ours


def pinned(root: Path, python: str) -> dict[str, str]:
    """Name to version of the constraints that hold on one Python."""
    found: dict[str, str] = {}
    for line in (root / "constraints.txt").read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker and not pin.marker.evaluate(
            {"python_version": python, "python_full_version": f"{python}.0"}
        ):
            continue
        (only,) = pin.specifier
        assert only.operator == "==", line
        assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice on Python {python}"
        found[canonicalize_name(pin.name)] = only.version
    return found


def wanted(root: Path, python: str) -> list[Requirement]:
    project = sync.project(root)
    lines = [*project["dependencies"]]
    for extra in (*INSTALLED, *ON_DEMAND):
        lines += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return [need for need in requirements if not need.marker or need.marker.evaluate(environment)]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_requirement_is_pinned_to_a_version_it_allows(root, python):
    pins = pinned(root, python)
    for need in wanted(root, python):
        version = pins.get(canonicalize_name(need.name))
        assert version, f"constraints.txt has no {need.name} for Python {python}"
        assert need.specifier.contains(version), f"{need} does not allow the pinned {version}"


def test_colab_already_satisfies_the_library(root):
    snapshot = {}
    for line in (root / "tests/project/colab.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            snapshot[canonicalize_name(name)] = version
    needs = {
        canonicalize_name(need.name): need for need in map(Requirement, sync.project(root)["dependencies"])
    }
    assert "trl" not in needs
    for name, need in needs.items():
        if name in snapshot:
            assert need.specifier.contains(snapshot[name]), (
                f"Colab's {name} {snapshot[name]} does not satisfy {need}"
            )
    # these come with the packages above, whatever their version, and we ask for none in particular
    brought = {"tokenizers", "tqdm", "filelock", "pyarrow", "safetensors"}
    assert set(needs) - set(snapshot) <= brought, "enter Colab's version in colab.txt"


def test_torch_has_no_upper_bound(root):
    (torch,) = [need for need in map(Requirement, sync.project(root)["dependencies"]) if need.name == "torch"]
    assert {part.operator for part in torch.specifier} == {">="}


def test_environment_yml_installs_the_same(root):
    environment = yaml.safe_load((root / "environment.yml").read_text("utf-8"))
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip_section,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert [re.split("[=<>]", entry)[0] for entry in plain] == ["python", "pip"]
    python = plain[0].split("=")[1]
    assert python in PYTHONS
    assert pip_section == ["--constraint constraints.txt", f"--editable .[{','.join(INSTALLED)}]"]
    makefile = (root / "Makefile").read_text("utf-8")
    assert f"EXTRAS := {','.join(INSTALLED)}" in makefile
    assert environment["name"] == sync.project(root)["name"]
