"""What README.md promises, held against the code: tables, commands, the example, links."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from lotus_core.cli.main import build_parser
from lotus_core.conventions import NormalConvention
from lotus_core.io.images import read_image
from lotus_core.loading import catalog

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "web").rglob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]
)


def section(title: str) -> str:
    """Text of README.md between a heading and the next one of its level."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str, first: str) -> list[list[str]]:
    """Rows of the table whose first header cell is `first`, as cells without backticks."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            next(lines)
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def code(text: str, language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


def test_the_table_of_checkpoints_is_the_catalogue():
    expected = [
        [
            entry.name,
            str(entry.output),
            str(entry.mode).upper(),
            "bundled"
            if entry.layout == "bundled"
            else f"{entry.about_bytes / 1e9:.1f} GB, {entry.precision}",
            entry.replaced_by or "",
        ]
        for entry in catalog.models()
        if entry.name == entry.weights
    ]
    assert table(section("Checkpoints"), "name") == expected


def test_every_node_is_in_the_table_of_nodes():
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    named = [row[0] for row in table(section("Nodes"), "node")]
    assert sorted(named) == sorted(node["display_name"] for node in texts.values())


def test_every_extra_is_in_the_readme():
    declared = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]", 1)[1]
    )
    names = re.findall(r"^(\w+) = \[", declared.split("\n[", 1)[0], flags=re.MULTILINE)
    rows = " ".join(row[0] for row in table(section("Install"), "extra"))
    assert sorted(re.findall(r"\w+", rows)) == sorted(names)


def test_the_table_of_normals_is_what_the_signs_say():
    sides = {
        (0, 1): "right",
        (0, -1): "left",
        (1, 1): "down",
        (1, -1): "up",
        (2, 1): "away",
        (2, -1): "toward",
    }
    rows = table(section("Conventions"), "normals")
    assert [row[0] for row in rows] == [convention.value for convention in NormalConvention]
    for name, *colours, _ in rows:
        signs = NormalConvention(name).signs_from_opencv
        expected = [sides[axis, int(sign)] for axis, sign in enumerate(signs)]
        assert [colour.split()[0] for colour in colours] == expected, name


@pytest.mark.parametrize("line", [line for line in code(section("Command line"), "sh").splitlines() if line])
def test_every_command_line_can_be_read(line):
    words = shlex.split(line, comments=True)
    parser, runs = build_parser()
    assert words[0] == "lotus"
    assert parser.parse_args(words[1:]).command in runs


def test_every_command_is_in_the_readme():
    _, runs = build_parser()
    shown = {shlex.split(line)[1] for line in code(section("Command line"), "sh").splitlines() if line}
    assert shown == set(runs)


def test_the_example_runs_and_says_what_its_comments_say(tmp_path, monkeypatch, capsys):
    photo = Path("assets/photos/lobby.jpg")
    (tmp_path / photo.parent).mkdir(parents=True)
    shutil.copy(ROOT / photo, tmp_path / photo)
    monkeypatch.chdir(tmp_path)
    exec(compile(code(section("Library"), "python"), "README.md", "exec"), {})
    kind, values, vectors = capsys.readouterr().out.splitlines()
    height, width = read_image(photo).pixels.shape[1:3]
    assert kind == "disparity"
    assert values == str(torch.Size([1, height, width]))
    assert vectors == str(torch.Size([1, height, width, 3]))
    for name in ("hint", "normals"):
        assert read_image(tmp_path / "lotus-output" / f"{name}.png").pixels.shape == (1, height, width, 3)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else page.parent / file
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {
                re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }
            assert anchor in slugs, f"{page.name} links to {target}"
