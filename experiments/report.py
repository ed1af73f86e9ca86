"""The tables and plots of docs/findings.md, from the results on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lotus_core.io.atomic import replacing, write_bytes

from .score import mean_and_spread
from .variants import EXPERIMENTS, Experiment

MARK = "<!-- results: {} -->"
"""Stands in the document where an experiment's table goes; what follows up to the next mark of its kind is replaced."""

END = "<!-- end of results -->"


def write_report(output: Path, document: Path) -> None:
    """Put tables and plots of all finished runs into a document, in the places that are marked in it.

    Args:
        output: Folder of all experiments.
        document: Markdown with a line `MARK` and a line `END` for every experiment; plots go beside it into images/.
    """
    text = document.read_text(encoding="utf-8")
    for experiment in EXPERIMENTS.values():
        results = read_results(output / experiment.name)
        mark = MARK.format(experiment.name)
        if not results or mark not in text:
            continue
        before, rest = text.split(mark, 1)
        _, after = rest.split(END, 1)
        picture = document.parent / "images" / f"finding-{experiment.name}.png"
        plot(experiment, results, picture)
        link = f"![{experiment.name}](images/{picture.name})"
        text = f"{before}{mark}\n\n{table(experiment, results)}\n\n{link}\n\n{END}{after}"
    write_bytes(document, text.encode())


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results below a folder, in the order of their paths."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*/result.json"))]


def table(experiment: Experiment, results: list[dict[str, Any]]) -> str:
    """Return a Markdown table: one row a variant, mean and standard deviation over the seeds."""
    lines = [
        "| | seeds | " + " | ".join(column.replace("_", " ") for column in experiment.columns) + " |",
        "|---|---|" + "---|" * len(experiment.columns),
    ]
    for variant in experiment.variants:
        rows = [result for result in results if result["variant"] == variant.name]
        if rows:
            cells = [_cell([row[column] for row in rows]) for column in experiment.columns]
            lines.append(f"| {variant.name} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(experiment: Experiment, results: list[dict[str, Any]], path: Path) -> None:
    """Draw one panel a column: every variant's mean as a bar, every seed as a dot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(experiment.columns), figsize=(4 * len(experiment.columns), 3), squeeze=False
    )
    names = [v.name for v in experiment.variants if any(r["variant"] == v.name for r in results)]
    for axis, column in zip(axes[0], experiment.columns, strict=True):
        for place, name in enumerate(names):
            values = [result[column] for result in results if result["variant"] == name]
            axis.barh(place, mean_and_spread(values)[0], color="#9bb7d4")
            axis.plot(values, [place] * len(values), "k.", markersize=4)
        axis.set_yticks(range(len(names)), names if axis is axes[0][0] else [""] * len(names))
        axis.invert_yaxis()
        axis.set_title(column.replace("_", " "))
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    pyplot.close(figure)


def _cell(values: list[float]) -> str:
    mean, spread = mean_and_spread(values)
    return f"{mean:.4g} ± {spread:.2g}"
