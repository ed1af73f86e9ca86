"""What runs on a device runs on every device, and leaves torch's global state alone: words that may not be written.

MPS, DirectML and many XPUs have no float64; a device by its name leaves the others out, and so does an autocast by a
device's name. Where a word is right all the same, `ALLOWED` says why.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AREAS = ("lotus_core/inference", "lotus_core/rendering", "lotus_core/geometry", "nodes")
ON_THE_CPU = ("lotus_core/geometry/multiview",)
"""Fits of a whole scene, made on the CPU in float64 by design: each map stays where it was."""

DEVICE = re.compile(r"(cuda|mps|xpu|hpu|npu|mlu|hip|dml|privateuseone|directml)(:\d+)?", re.ASCII)
FLOAT64 = {"float64", "double", "complex128", "cdouble"}
BY_NAME = {"cuda", "mps", "xpu", "npu", "mlu", "backends", "autocast", "GradScaler"}
GLOBAL_STATE = {
    "manual_seed_all",
    "set_default_device",
    "set_default_dtype",
    "set_default_tensor_type",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_grad_enabled",
    "set_num_interop_threads",
    "set_num_threads",
    "set_rng_state",
    "set_warn_always",
    "use_deterministic_algorithms",
}
GLOBAL_SEED = {"torch.manual_seed", "torch.seed", "torch.random.manual_seed", "np.random.seed", "random.seed"}

ALLOWED = {
    # place -> (words, why they are right there)
    "lotus_core/inference/model.py::choose_device": (
        {"cuda", "mps", "backends"},
        "asks which devices there are",
    ),
    "lotus_core/inference/precision.py::choose_precision": ({"cuda"}, "fp16 is the default where it is fast"),
    "lotus_core/inference/folding/minimal_filtering.py::toom_cook": (
        {"float64"},
        "constants, made on the CPU",
    ),
    "lotus_core/inference/folding/minimal_filtering.py::winograd_after_upsampling": ({"float64"}, "likewise"),
    "lotus_core/inference/folding/normalisation.py::group_affine": ({"double"}, "on the CPU alone"),
    "lotus_core/inference/folding/normalisation.py::_channel_moments": ({"float64"}, "likewise"),
    "lotus_core/inference/side_by_side.py::_share_out": ({"set_num_threads"}, "on the CPU; put back"),
    "lotus_core/geometry/calibrate.py::calibrate": ({"double"}, "asks has_float64 first"),
    "lotus_core/geometry/evidence.py::double": ({"double"}, "called where has_float64 says so"),
    "lotus_core/geometry/anchors.py::anchors_from_points": (
        {"double"},
        "points read from a file, on the CPU",
    ),
}


def sources() -> list[Path]:
    found = [path for area in AREAS for path in sorted((ROOT / area).rglob("*.py"))]
    return [path for path in found if not path.relative_to(ROOT).as_posix().startswith(ON_THE_CPU)]


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def word(node: ast.AST) -> str | None:
    """The forbidden word that one node of a syntax tree is, if any."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) and DEVICE.fullmatch(node.value) else None
    if not isinstance(node, ast.Name | ast.Attribute):
        return None
    name = node.attr if isinstance(node, ast.Attribute) else node.id
    if name in FLOAT64 | BY_NAME | GLOBAL_STATE:
        return name
    return dotted(node) if dotted(node) in GLOBAL_SEED else None


def words_by_place(text: str, place: str) -> dict[str, set[str]]:
    """Forbidden words by "file::function", an inner function's by its outermost one; "file" outside of functions."""
    found: dict[str, set[str]] = defaultdict(set)

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "::" not in where:
            where = f"{place}::{node.name}"
        said = word(node)
        if said is not None:
            found[where].add(said)
        for child in ast.iter_child_nodes(node):
            visit(child, where)

    visit(ast.parse(text), place)
    return dict(found)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_device_is_written_into_the_code_and_no_global_state_is_touched(path):
    for place, words in words_by_place(path.read_text("utf-8"), path.relative_to(ROOT).as_posix()).items():
        allowed, _ = ALLOWED.get(place, (set(), ""))
        assert words <= allowed, f"{place} says {', '.join(sorted(words - allowed))}"


def test_every_exception_is_still_needed():
    found = {}
    for path in sources():
        found |= words_by_place(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
    for place, (words, _) in ALLOWED.items():
        assert found.get(place) == words, place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = model.cuda()", {"cuda"}),
        ("x = y.to('cuda:0')", {"cuda:0"}),
        ("with torch.autocast(device.type): pass", {"autocast"}),
        ("from_double = x.double().to(torch.float64)", {"double", "float64"}),
        ("torch.backends.cudnn.benchmark = True", {"backends"}),
        ("torch.manual_seed(0)", {"torch.manual_seed"}),
        ("torch.set_grad_enabled(False)", {"set_grad_enabled"}),
        ("g = torch.Generator().manual_seed(0)", set()),
        ("'''Runs on cuda:0 in float64.'''", set()),
        ("x = y.to(placement.device, torch.float32)", set()),
    ],
)
def test_the_check_sees_what_it_should(text, expected):
    assert words_by_place(text, "file").get("file", set()) == expected


def versions_asked_for(text: str) -> set[str]:
    """Ways of asking what the host has, in a syntax tree."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and node.id in {"hasattr", "getattr", "signature"}:
            found.add(node.id)
        if (
            isinstance(node, ast.Attribute | ast.Name)
            and "version" in dotted(node).rpartition(".")[2].lower()
        ):
            found.add(dotted(node))
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            names = {dotted(part) for part in ast.walk(node.type)}
            found |= names & {"ImportError", "ModuleNotFoundError", "AttributeError", "NameError"}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").glob("*.py")), ids=lambda path: path.name)
def test_only_one_module_asks_what_this_version_of_comfyui_has(path):
    asked = versions_asked_for(path.read_text("utf-8"))
    assert bool(asked) == (path.name == "compat.py"), asked
