"""What a training run is told: YAML files, checked before anything starts."""

from __future__ import annotations

from .read import read_config
from .run import Accelerator, Optimizer, Run, Schedule
from .stages import (
    AnyConfig,
    BundleConfig,
    DiskData,
    LatentData,
    LatentsConfig,
    LotusConfig,
    Noise,
    SceneData,
    ScenesConfig,
    Start,
    Switcher,
    VaeConfig,
)

__all__ = [
    "Accelerator",
    "AnyConfig",
    "BundleConfig",
    "DiskData",
    "LatentData",
    "LatentsConfig",
    "LotusConfig",
    "Noise",
    "Optimizer",
    "Run",
    "SceneData",
    "ScenesConfig",
    "Schedule",
    "Start",
    "Switcher",
    "VaeConfig",
    "read_config",
]
