"""Results as a Markdown table for people and as one document for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from .. import __version__
from .aggregate import metric_names
from .depth_metrics import DepthMetrics
from .normal_metrics import NormalMetrics
from .published import PublishedRow
from .round_trip import RoundTrip
from .run import Score
from .samples import Purpose, Rules

AnyScore = Score[DepthMetrics] | Score[NormalMetrics]

_TITLES: Final = {
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "rmse": "RMSE",
    "log_rmse": "log-RMSE",
    "log10": "log10",
    "delta1": "δ1 %",
    "delta2": "δ2 %",
    "delta3": "δ3 %",
    "silog": "SILog",
    "mean": "mean °",
    "median": "median °",
    "within_5": "<5° %",
    "within_7_5": "<7.5° %",
    "within_11_25": "<11.25° %",
    "within_22_5": "<22.5° %",
    "within_30": "<30° %",
}
_FINE: Final = frozenset({"abs_rel", "sq_rel", "log_rmse", "log10"})
"""Metrics around 0.1, shown with more digits."""


@dataclass(frozen=True)
class Table:
    """One data set, one purpose, and everything that was scored on it.

    Attributes:
        purpose: Depth or normals.
        rules: How the data set is scored.
        scores: Our models, in the order they were named.
        baseline: The guess without looking, or None.
        published: Rows of papers.
        options: How the models were run.
        round_trips: What the VAE of each model loses, by the model's name; empty where that was not measured.
    """

    purpose: Purpose
    rules: Rules
    scores: Sequence[AnyScore]
    options: Mapping[str, Any]
    baseline: AnyScore | None = None
    published: Sequence[PublishedRow] = ()
    round_trips: Mapping[str, RoundTrip] | None = None


def markdown(table: Table) -> str:
    """Return a table with a heading and notes: our models, the guess, and published rows with their source."""
    names = metric_names(DepthMetrics if table.purpose == "depth" else NormalMetrics)
    head = ["", "images", *(_TITLES[name] for name in names)]
    if table.baseline is not None:
        head.append("ratio to the guess")
    rows = [_model_row(score, names, table.baseline) for score in table.scores]
    if table.baseline is not None:
        rows.append(["each pixel's mean", str(table.baseline.images), *_cells(table.baseline, names), "1.00"])
    for published in table.published:
        cells = [_number(name, published.figures.get(name)) for name in names]
        rows.append([f"{published.method} ({published.source})", "", *cells])
    title = "depth after scale and shift" if table.purpose == "depth" else "normals"
    lines = [f"## {table.rules.dataset}: {title}", "", *_lines(head, rows), *_notes(table)]
    return "\n".join(lines) + "\n"


def document(tables: Sequence[Table]) -> dict[str, Any]:
    """Return the results as plain values for JSON; infinities become None."""
    return {"version": __version__, "tables": [_plain(_table_values(table)) for table in tables]}


def json_text(tables: Sequence[Table]) -> str:
    """Return the results as one JSON document."""
    return json.dumps(document(tables), indent=2, allow_nan=False) + "\n"


def _table_values(table: Table) -> dict[str, Any]:
    values: dict[str, Any] = {
        "dataset": table.rules.dataset,
        "purpose": table.purpose,
        "protocol": asdict(table.rules),
        "options": dict(table.options),
        "models": [_score_values(score, table.baseline) for score in table.scores],
        "published": [
            {"method": row.method, "source": row.source, "figures": dict(row.figures)}
            for row in table.published
        ],
    }
    if table.baseline is not None:
        values["baseline"] = {"name": "each pixel's mean", **_score_values(table.baseline, None)}
    if table.round_trips:
        values["vae_round_trips"] = {name: asdict(trip) for name, trip in table.round_trips.items()}
    return values


def _score_values(score: AnyScore, baseline: AnyScore | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "images": score.images,
        "skipped": [asdict(skipped) for skipped in score.skipped],
        "seeds": list(score.seeds),
        "mean": asdict(score.mean),
        "standard_deviation": None if score.spread is None else asdict(score.spread),
        "by_seed": [asdict(metrics) for metrics in score.by_seed],
    }
    if score.model is not None:
        values["model"] = asdict(score.model)
    if baseline is not None:
        values["ratio_to_baseline"] = _ratio(score, baseline)
    return values


def _ratio(score: AnyScore, baseline: AnyScore) -> float:
    """Return the main metric (AbsRel, or the mean angle) as a share of the guess's."""
    main = "abs_rel" if isinstance(score.mean, DepthMetrics) else "mean"
    guess = getattr(baseline.mean, main)
    return getattr(score.mean, main) / guess if guess else math.inf


def _model_row(score: AnyScore, names: Sequence[str], baseline: AnyScore | None) -> list[str]:
    info = score.model
    title = "?" if info is None else f"{info.name} ({info.mode.upper()}, {info.output})"
    ratio = [] if baseline is None else [f"{_ratio(score, baseline):.2f}"]
    return [title, str(score.images), *_cells(score, names), *ratio]


def _cells(score: AnyScore, names: Sequence[str]) -> list[str]:
    cells = [_number(name, getattr(score.mean, name)) for name in names]
    if score.spread is None:
        return cells
    return [
        f"{cell} ± {_number(name, getattr(score.spread, name))}"
        for cell, name in zip(cells, names, strict=True)
    ]


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if name in _FINE else f"{value:.2f}"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    width = len(head)
    filled = [[*row, *[""] * (width - len(row))] for row in rows]
    rule = ["---", *["---:"] * (width - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *filled)]


def _notes(table: Table) -> list[str]:
    notes: list[str] = []
    expected = table.rules.published_images
    for score in table.scores:
        name = score.model.name if score.model else "?"
        if score.spread is not None:
            notes.append(f"{name}: mean ± standard deviation over seeds {', '.join(map(str, score.seeds))}.")
        if expected is not None and score.images != expected:
            notes.append(
                f"{name}: {score.images} pictures, published figures are of {expected}: do not compare them."
            )
        if score.skipped:
            first = score.skipped[0]
            notes.append(
                f"{name}: {len(score.skipped)} pictures left out, such as {first.name}: {first.reason}"
            )
    for name, trip in (table.round_trips or {}).items():
        notes.append(
            f"VAE of {name}, there and back: normals {trip.normals_mean_deg:.2f}°, rgb {trip.rgb_psnr_db:.1f} dB, "
            f"largest mean colour shift {trip.rgb_mean_shift:.4f}, on {trip.images} scenes."
        )
    return ["", *(f"- {note}" for note in notes)] if notes else []


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
