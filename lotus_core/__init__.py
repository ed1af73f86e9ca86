"""Lotus Geometry: depth, surface normals and camera-space geometry from one photograph.

Importing this package imports nothing heavy: every public name is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .inference.model import LotusModel as LotusModel
    from .inference.model import load_model as load_model
    from .inference.options import InferenceOptions as InferenceOptions
    from .inference.predict import reconstruct as reconstruct
    from .predict import predict_depth as predict_depth
    from .predict import predict_joint as predict_joint
    from .predict import predict_normals as predict_normals
    from .types import DepthPrediction as DepthPrediction
    from .types import JointPrediction as JointPrediction
    from .types import ModelInfo as ModelInfo
    from .types import NormalPrediction as NormalPrediction
    from .types import Reconstruction as Reconstruction
    from .video.painter import ClipOptions as ClipOptions

__version__ = "0.1.0"

_HOME = {
    "ClipOptions": "video.painter",
    "LotusModel": "inference.model",
    "load_model": "inference.model",
    "InferenceOptions": "inference.options",
    "predict_depth": "predict",
    "predict_normals": "predict",
    "predict_joint": "predict",
    "reconstruct": "inference.predict",
    "DepthPrediction": "types",
    "NormalPrediction": "types",
    "JointPrediction": "types",
    "Reconstruction": "types",
    "ModelInfo": "types",
}

__all__ = [
    "ClipOptions",
    "DepthPrediction",
    "InferenceOptions",
    "JointPrediction",
    "LotusModel",
    "ModelInfo",
    "NormalPrediction",
    "Reconstruction",
    "__version__",
    "load_model",
    "predict_depth",
    "predict_joint",
    "predict_normals",
    "reconstruct",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
