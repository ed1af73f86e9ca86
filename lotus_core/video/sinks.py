"""What becomes of the maps of a video: a picture that plays, and data in lossless files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from ..conventions import DepthKind, NormalConvention
from ..io.exr import require_openexr, write_exr
from ..io.png import write_png16
from ..io.video import VideoInfo, require_av
from ..io.video_write import GREY16, PREVIEW, RGB16, VideoWriter, writing_video
from ..rendering.colormap import Colormap
from ..rendering.depth import colorize_depth
from ..rendering.normal import normal_rgb
from ..rendering.ranges import ValueRange

VideoOutput = Literal["mp4", "ffv1", "png16", "exr"]

VIDEO_OUTPUTS: Final[tuple[VideoOutput, ...]] = get_args(VideoOutput)


@dataclass(frozen=True)
class Look:
    """How maps are painted.

    Attributes:
        kind: What the maps are.
        colormap: Of depth pictures.
        reverse: Paint far, not near, with the white or warm end.
        convention: Of normal pictures and of 16-bit and EXR normals.
        display: The values that a depth picture paints as its two ends: one range for the whole clip.
    """

    kind: DepthKind | Literal["normal"]
    colormap: Colormap = "grey"
    reverse: bool = False
    convention: NormalConvention = NormalConvention.LOTUS
    display: tuple[float, float] = (0.0, 1.0)

    def picture(self, maps: Tensor) -> Tensor:
        """Return pictures of maps: (B, H, W) or (B, H, W, 3) -> (B, H, W, 3) in [0, 1]."""
        if self.kind == "normal":
            return normal_rgb(maps, self.convention)
        ends = ValueRange(torch.tensor([self.display[0]]), torch.tensor([self.display[1]]))
        return colorize_depth(maps, self.kind, colormap=self.colormap, reverse=self.reverse, value_range=ends)

    def levels(self, maps: Tensor) -> Tensor:
        """Return what 16-bit files hold, in [0, 1]: depth as it is, normals as painted."""
        return normal_rgb(maps, self.convention) if self.kind == "normal" else maps

    def planes(self, maps: Tensor) -> dict[str, Tensor]:
        """Return what an EXR holds of one map: depth as Y; normals as signed R, G, B in [-1, 1]."""
        if self.kind != "normal":
            return {"Y": maps}
        signed = normal_rgb(maps[None], self.convention)[0] * 2.0 - 1.0
        return dict(zip("RGB", signed.unbind(-1), strict=True))


class Sink(Protocol):
    """Takes the maps of a video, one after the other."""

    def write(self, maps: Tensor, number: int, ticks: int) -> None:
        """Take a map, (H, W) in [0, 1] or (H, W, 3) unit vectors, of frame `number` (from 0) at a time."""
        ...


@dataclass(frozen=True)
class PreviewSink:
    """Pictures in a video."""

    writer: VideoWriter
    look: Look

    def write(self, maps: Tensor, number: int, ticks: int) -> None:
        """Paint and encode a map."""
        rgb = (self.look.picture(maps[None])[0] * 255.0).round().byte().numpy()
        self.writer.write(rgb, ticks)


@dataclass(frozen=True)
class LosslessSink:
    """16-bit levels in a video."""

    writer: VideoWriter
    look: Look

    def write(self, maps: Tensor, number: int, ticks: int) -> None:
        """Encode a map, ``round(65535 * x)``."""
        levels = self.look.levels(maps[None])[0].clamp(0.0, 1.0) * 65535.0
        self.writer.write(levels.round().to(torch.int32).numpy().astype(np.uint16), ticks)


@dataclass(frozen=True)
class PngSink:
    """16-bit levels in numbered files, upright."""

    folder: Path
    look: Look
    notes: Mapping[str, str]

    def write(self, maps: Tensor, number: int, ticks: int) -> None:
        """Write ``000000.png`` and so on."""
        levels = self.look.levels(maps[None])[0]
        write_png16(self.folder / f"{number:06d}.png", levels, text=self.notes)


@dataclass(frozen=True)
class ExrSink:
    """Floats in numbered files, upright."""

    folder: Path
    look: Look
    notes: Mapping[str, str]

    def write(self, maps: Tensor, number: int, ticks: int) -> None:
        """Write ``000000.exr`` and so on."""
        write_exr(self.folder / f"{number:06d}.exr", self.look.planes(maps), attributes=self.notes)


@contextmanager
def open_sink(
    output: VideoOutput,
    path: Path,
    look: Look,
    like: VideoInfo,
    *,
    audio_from: Path | None = None,
    notes: Mapping[str, str] | None = None,
) -> Iterator[Sink]:
    """Yield a sink; a video file is put into its place when the block ends.

    Args:
        output: Which.
        path: File, or folder of numbered files.
        look: How maps are painted.
        like: The video that they come from.
        audio_from: File whose audio a preview gets.
        notes: What the maps are, for the headers of all files.
    """
    notes = dict(notes or {})
    if output == "png16":
        yield PngSink(path, look, {f"Lotus {name}": text for name, text in notes.items()})
    elif output == "exr":
        yield ExrSink(path, look, {f"lotus{name.capitalize()}": text for name, text in notes.items()})
    else:
        data = RGB16 if look.kind == "normal" else GREY16
        form = PREVIEW if output == "mp4" else data
        audio = audio_from if output == "mp4" else None
        tags = {f"lotus_{name}": text for name, text in notes.items()}
        with writing_video(path, form, like, audio_from=audio, notes=tags) as writer:
            yield PreviewSink(writer, look) if output == "mp4" else LosslessSink(writer, look)


def require_output(output: VideoOutput) -> None:
    """Check that what writes an output is installed.

    Raises:
        MissingExtraError: It is not.
    """
    require_openexr() if output == "exr" else require_av()
