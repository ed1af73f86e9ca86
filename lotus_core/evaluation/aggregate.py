"""Means and spreads of metrics over images and over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

from .depth_metrics import DepthMetrics
from .normal_metrics import NormalMetrics

M = TypeVar("M", DepthMetrics, NormalMetrics)


def mean_metrics(metrics: Sequence[M]) -> M:
    """Return the mean of every metric; at least one set of metrics is needed."""
    kind = type(metrics[0])
    return kind(*(statistics.fmean(getattr(m, f.name) for m in metrics) for f in fields(kind)))


def spread_of_metrics(metrics: Sequence[M]) -> M | None:
    """Return the sample standard deviation (n - 1) of every metric, or None for fewer than two sets."""
    if len(metrics) < 2:
        return None
    kind = type(metrics[0])
    return kind(*(statistics.stdev(getattr(m, f.name) for m in metrics) for f in fields(kind)))


def metric_names(kind: type[DepthMetrics] | type[NormalMetrics]) -> tuple[str, ...]:
    """Return the names of the metrics, in the order of tables."""
    return tuple(f.name for f in fields(kind))
