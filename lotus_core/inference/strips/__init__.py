"""An autoencoder in a fraction of the device's memory: maps wait in main memory, strips of them pass through."""

from __future__ import annotations

from .layers import AutoencoderLayers, autoencoder_layers
from .passes import StripPass

__all__ = ["AutoencoderLayers", "StripPass", "autoencoder_layers"]
