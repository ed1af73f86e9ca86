"""What importing costs, who may import whom, and which names are public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lotus_core

ROOT = Path(__file__).parents[2]
CORE = ROOT / "lotus_core"
HEAVY = ("torch", "diffusers", "transformers", "comfy", "numpy", "PIL", "huggingface_hub")

LAYERS = {
    # a package of the core -> the packages of the core it may import; base modules are free to all
    "geometry": set(),
    "rendering": set(),
    "io": {"geometry"},
    "loading": {"io"},
    "inference": {"loading", "geometry"},
    "video": {"inference", "rendering", "io", "geometry"},
    "batch": {"inference", "rendering", "io"},
    "training": {"inference", "loading", "geometry", "io"},
    "evaluation": {"training", "inference", "geometry", "io"},
}
BASE = {"errors", "types", "conventions", "checks", "__version__"}


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_pulls_in_nothing_heavy():
    loaded = run_python(f"import sys, lotus_core; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_importing_the_packs_root_pulls_in_nothing_heavy_and_little_else():
    code = (
        "import importlib.util, sys; before = set(sys.modules)\n"
        "spec = importlib.util.spec_from_file_location('pack', '__init__.py', submodule_search_locations=['.'])\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['pack'] = module\n"
        "spec.loader.exec_module(module)\n"
        f"print([m for m in {HEAVY} if m in sys.modules], module.WEB_DIRECTORY, callable(module.comfy_entrypoint))\n"
        "print([m for m in sys.modules if m.startswith('pack.')])"
    )
    assert run_python(code).splitlines() == ["[] ./web True", "[]"]


def test_every_public_name_is_listed_and_found():
    assert set(lotus_core.__all__) == {"__version__", *lotus_core._HOME}
    for name in lotus_core.__all__:
        assert getattr(lotus_core, name) is not None
        assert name in dir(lotus_core)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'predict_everything'"):
        lotus_core.predict_everything  # noqa: B018


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import of a file, inside functions too."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name) for name in names]
        elif isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
    return found


def core_imports(path: Path) -> set[str]:
    """Top-level parts of lotus_core that a file of lotus_core imports."""
    depth = len(path.relative_to(CORE).parts)
    package = path.relative_to(CORE).parts[0]
    parts = set()
    for level, module in imports(path):
        if level == depth:
            parts.add(module.split(".")[0])
        elif 0 < level < depth:
            parts.add(package)
    return parts


SOURCES = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_imports_itself_relatively_and_never_the_host(path):
    for level, module in imports(path):
        top = module.split(".")[0]
        if level == 0:
            assert top not in {"lotus_core", "nodes", "comfy", "comfy_api", "comfy_extras", "folder_paths"}, (
                module
            )
        assert level <= len(path.relative_to(CORE).parts), "an import that leaves lotus_core"


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_imports_go_one_way(package):
    allowed = BASE | LAYERS[package] | {package}
    for path in (CORE / package).rglob("*.py"):
        assert core_imports(path) <= allowed, f"{path.name} imports {core_imports(path) - allowed}"


def test_the_ground_floor_stands_on_nothing():
    for name in BASE:
        path = CORE / f"{name}.py"
        if path.exists():
            assert core_imports(path) <= BASE, name


def test_no_two_packages_import_each_other():
    reach = {
        package.name: {
            part for path in package.rglob("*.py") for part in core_imports(path) if (CORE / part).is_dir()
        }
        - {package.name}
        for package in CORE.iterdir()
        if package.is_dir()
    }

    def reachable(start: str, seen: frozenset[str] = frozenset()) -> set[str]:
        ahead = reach.get(start, set()) - seen
        return ahead.union(*(reachable(part, seen | {start}) for part in ahead))

    for package in reach:
        assert package not in reachable(package), f"{package} imports itself by way of {reach[package]}"


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").rglob("*.py")), ids=lambda path: path.name)
def test_nodes_import_the_core_relatively(path):
    for level, module in imports(path):
        assert not (level == 0 and module.split(".")[0] in {"lotus_core", "nodes"}), module


def test_no_pickle_is_ever_loaded():
    for path in [*SOURCES, *(ROOT / "nodes").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in ("pickle.load", "torch.load(", "allow_pickle=True", "joblib.load"):
            assert word not in text, f"{path} holds {word}"
