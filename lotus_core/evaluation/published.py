"""Published figures to set beside our own, each with its source.

All are quoted from the paper of Lotus, which ran or collected every method under one protocol.

Source: He et al., "Lotus: Diffusion-based Visual Foundation Model for High-quality Dense Prediction", arXiv
2409.18124v5, table 1 (depth) and table 2 (normals).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .samples import Purpose

LOTUS_PAPER: Final = "arXiv:2409.18124v5"


@dataclass(frozen=True)
class PublishedRow:
    """What a paper reports of one method on one data set.

    Attributes:
        method: Name as in the paper.
        figures: Values by metric, named and in the unit of `DepthMetrics` or `NormalMetrics`.
        source: Paper and table.
    """

    method: str
    figures: Mapping[str, float]
    source: str


_DEPTH_SETS: Final = ("nyuv2", "kitti", "eth3d", "scannet", "diode")
_NORMAL_SETS: Final = ("nyuv2", "scannet", "ibims", "sintel", "oasis")

# Per data set: AbsRel in percent, delta1, delta2.
_DEPTH: Final = {
    "Lotus-G": (
        (5.4, 96.8, 99.2),
        (8.5, 92.2, 98.4),
        (5.9, 97.0, 99.2),
        (5.9, 95.7, 98.8),
        (22.9, 72.9, 86.0),
    ),
    "Lotus-D": (
        (5.1, 97.2, 99.2),
        (8.1, 93.1, 98.7),
        (6.1, 97.0, 99.1),
        (5.5, 96.5, 99.0),
        (22.8, 73.8, 86.2),
    ),
    "Marigold": (
        (5.5, 96.4, 99.1),
        (9.9, 91.6, 98.7),
        (6.5, 95.9, 99.0),
        (6.4, 95.2, 98.8),
        (30.8, 77.3, 88.7),
    ),
    "GeoWizard": (
        (5.6, 96.3, 99.1),
        (14.4, 82.0, 96.6),
        (6.6, 95.8, 98.4),
        (6.4, 95.0, 98.4),
        (33.5, 72.3, 86.5),
    ),
    "Depth Anything": (
        (4.3, 98.1, 99.6),
        (7.6, 94.7, 99.2),
        (12.7, 88.2, 98.3),
        (4.3, 98.1, 99.6),
        (26.0, 75.9, 87.5),
    ),
    "Depth Anything V2": (
        (4.5, 97.9, 99.3),
        (7.4, 94.6, 98.6),
        (13.1, 86.5, 97.5),
        (4.2, 97.8, 99.3),
        (26.5, 73.4, 87.1),
    ),
}

# Per data set: mean, shares under 11.25 and 30 degrees; None where the paper prints none.
_NORMAL: Final = {
    "Lotus-G": (
        (16.5, 59.4, 83.5),
        (15.1, 63.9, 85.3),
        (17.2, 66.2, 82.7),
        (33.6, 21.0, 53.8),
        (22.7, 29.4, 75.8),
    ),
    "Lotus-D": (
        (16.2, 59.8, 83.9),
        (14.7, 64.0, 86.1),
        (17.1, 66.4, 83.0),
        (32.3, 22.4, 57.0),
        (22.3, 31.8, 76.1),
    ),
    "Marigold": ((20.9, 50.5, None), (21.3, 45.6, None), (18.5, 64.7, None), None, None),
    "GeoWizard": (
        (18.9, 50.7, 81.5),
        (17.4, 53.8, 83.5),
        (19.3, 63.0, 80.3),
        (40.3, 12.3, 43.5),
        (25.2, 23.4, 68.1),
    ),
    "DSINE": (
        (16.4, 59.6, 83.5),
        (16.2, 61.0, 84.4),
        (17.1, 67.4, 82.3),
        (34.9, 21.5, 52.7),
        (24.4, 28.8, 72.0),
    ),
}


def published_rows(dataset: str, purpose: Purpose) -> list[PublishedRow]:
    """Return the published figures on a data set, none for one that the paper does not use.

    Args:
        dataset: Name such as "nyuv2".
        purpose: Depth or normals.
    """
    return list(_ROWS.get((dataset, purpose), ()))


def _row(method: str, metrics: tuple[str, ...], values: tuple[float | None, ...], table: int) -> PublishedRow:
    known = {name: value for name, value in zip(metrics, values, strict=True) if value is not None}
    if "abs_rel" in known:
        known["abs_rel"] = round(known["abs_rel"] / 100.0, 4)
    return PublishedRow(method, MappingProxyType(known), f"{LOTUS_PAPER}, table {table}")


def _depth_rows(index: int) -> tuple[PublishedRow, ...]:
    metrics = ("abs_rel", "delta1", "delta2")
    return tuple(_row(method, metrics, sets[index], 1) for method, sets in _DEPTH.items())


def _normal_rows(index: int) -> tuple[PublishedRow, ...]:
    metrics = ("mean", "within_11_25", "within_30")
    values = {method: sets[index] for method, sets in _NORMAL.items()}
    return tuple(_row(method, metrics, row, 2) for method, row in values.items() if row is not None)


_ROWS: Final[dict[tuple[str, Purpose], tuple[PublishedRow, ...]]] = {
    **{(name, "depth"): _depth_rows(index) for index, name in enumerate(_DEPTH_SETS)},
    **{(name, "normal"): _normal_rows(index) for index, name in enumerate(_NORMAL_SETS)},
}
