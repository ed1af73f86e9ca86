"""What pyproject.toml, requirements.txt and constraints.txt say, held against each other and the code."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lotus_core

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {
    "PIL": "pillow",
    "OpenEXR": "openexr",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "cv2": "opencv-python-headless",
}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Requirements by canonical name, without the package's own extras."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in parsed if r.name != PROJECT["name"]}


def lines_of(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


RUNTIME = requirements(PROJECT["dependencies"])
EVERYTHING = RUNTIME | requirements([line for extra in EXTRAS.values() for line in extra])


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_every_dependency_is_pinned_within_its_bounds(name):
    pins = [
        pin for pin in map(Requirement, lines_of("constraints.txt")) if canonicalize_name(pin.name) == name
    ]
    assert pins, f"{name} is not in constraints.txt"
    for pin in pins:
        [exact] = pin.specifier
        assert exact.operator == "=="
        assert EVERYTHING[name].specifier.contains(exact.version), f"{pin} is not within {EVERYTHING[name]}"


def test_constraints_hold_no_local_build_path_or_address():
    for pin in map(Requirement, lines_of("constraints.txt")):
        assert pin.url is None
        assert "+" not in str(pin.specifier)


def test_what_the_node_manager_installs_has_the_bounds_of_the_package():
    installed = requirements(lines_of("requirements.txt"))
    for name, wanted in installed.items():
        assert wanted.specifier == EVERYTHING[name].specifier, name
    brought_by_comfyui = {"torch", "numpy", "pillow"}
    assert set(installed) >= set(RUNTIME) - brought_by_comfyui


def test_extras_of_this_package_exist():
    for extra, lines in EXTRAS.items():
        for required in map(Requirement, lines):
            if required.name == PROJECT["name"]:
                assert required.extras <= set(EXTRAS), extra


def test_every_package_that_the_core_imports_is_declared():
    imported = set()
    for path in (ROOT / "lotus_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).split(".")[0])
    outside = {canonicalize_name(MODULES.get(name, name)) for name in imported - sys.stdlib_module_names}
    assert outside <= set(EVERYTHING)


def test_there_is_one_version():
    assert PROJECT["version"] == lotus_core.__version__
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_registry_finds_what_it_needs():
    comfy = PYPROJECT["tool"]["comfy"]
    assert comfy["PublisherId"]
    assert comfy["DisplayName"] == "Lotus Geometry"
    assert (ROOT / comfy["Icon"].split("/main/", 1)[1]).is_file()
    oldest = comfy["requires-comfyui"].removeprefix(">=")
    assert f"In ComfyUI ({oldest} or newer)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_icon_is_small_and_square():
    from PIL import Image

    with Image.open(ROOT / "docs" / "icon.png") as icon:
        assert icon.width == icon.height <= 400


def test_the_lower_bounds_are_what_the_workflow_installs():
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    job = workflow.split("\n  oldest:\n", 1)[1]
    installed = dict(re.findall(r"([a-z-]+)==([\d.]+)", job))
    assert installed, "the job pins nothing"
    for name, version in installed.items():
        bound = str(EVERYTHING[name].specifier).removeprefix(">=")
        assert version.startswith(bound), f"{name}=={version}, but the bound is {bound}"
