"""Lotus Video: a video file in, a video of its maps out, however long it is."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import InputImpl, io, ui

from ..lotus_core.errors import OptionError
from ..lotus_core.inference.options import InferenceOptions
from ..lotus_core.rendering.colormap import COLORMAPS
from ..lotus_core.video.convert import VideoMaps, estimate_video, fingerprint, identity, write_video
from ..lotus_core.video.painter import ClipOptions
from ..lotus_core.video.sinks import Look, VideoOutput, open_sink
from . import compat
from .bridge import StepProgress, options, warnings_logged
from .geometry import output_file
from .infer import carry_input, image_size_inputs, seed_input
from .render import CONVENTIONS, HINT
from .sockets import LotusModel, LotusModelSocket

STYLES = (HINT, *(name for name in COLORMAPS if name != "grey"))
NO_DATA = "none"
DATA: dict[str, tuple[VideoOutput, str]] = {
    "16-bit video (FFV1)": ("ffv1", "data.mkv"),
    "16-bit PNG files": ("png16", "data"),
}
_SCRATCH = "lotus-video"


class LotusVideo(io.ComfyNode):
    """Estimates depth or normals of a video file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoVideo",
            display_name="Lotus Video",
            category=compat.CATEGORY,
            description="Turns a video into a video of its depth or normals, with its sound and its frame times. A few "
            "frames at a time are in memory, so that it may be of any length; a run that was cancelled goes on where "
            "it was. Depth is freed of pumping, and one range holds for the whole clip.",
            search_aliases=["lotus", "video depth", "video normals", "depth video", "temporal"],
            is_output_node=True,
            inputs=[
                LotusModelSocket.Input("lotus_model", tooltip="A depth, disparity or normal checkpoint."),
                io.Video.Input("video", tooltip="From Load Video. It is read frame by frame."),
                *image_size_inputs(),
                seed_input(),
                *_style_inputs(),
                io.String.Input(
                    "filename_prefix", default="lotus/video", tooltip="Where in the output folder files go."
                ),
                carry_input(optional=False),
                io.Boolean.Input(
                    "stabilize",
                    default=True,
                    tooltip="Free depth of every frame's own scale and shift. Normals have none.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    "map_video", display_name="map_video", tooltip="H.264, with the video's sound."
                ),
                io.String.Output(
                    "data_path",
                    display_name="data_path",
                    tooltip="File or folder of the 16-bit values, relative to the output folder; empty without.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        lotus_model: LotusModel,
        video: Any,
        working_size: str,
        resolution: int,
        seed: int,
        style: str,
        normal_convention: str,
        data: str,
        filename_prefix: str,
        carry: float,
        stabilize: bool,
    ) -> io.NodeOutput:
        """Run the model on every frame, then correct, paint and write all of them."""
        look = _look(lotus_model, style, normal_convention, data)
        clip = ClipOptions(carry=carry, stabilize=stabilize)
        chosen = options(working_size, resolution, seed=seed, sequence="video")
        what = "normal" if lotus_model.info.output == "normal" else "depth"
        path, name = output_file(filename_prefix, f"{what}.mp4")
        with warnings_logged():
            source, copied = _file_of(video)
            bar = _TwoPasses()
            maps = estimate_video(
                lotus_model,
                source,
                _scratch(_digest(lotus_model, source, chosen, clip)),
                chosen,
                clip,
                resume=True,
                progress=bar.first,
            )
            data_path = _write(maps, source, path, look, data, chosen, bar)
            maps.spool.remove()
            if copied:
                source.unlink(missing_ok=True)
        shown = ui.PreviewVideo([compat.saved_result(name)])
        relative = "" if data_path is None else Path(name).with_name(data_path.name).as_posix()
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), relative, ui=shown)


def _style_inputs() -> list[Any]:
    return [
        io.Combo.Input(
            "style",
            options=list(STYLES),
            default=HINT,
            tooltip="How depth is painted. hint: near = white, for a depth ControlNet. spectral, turbo: near is warm.",
        ),
        io.Combo.Input(
            "normal_convention",
            options=list(CONVENTIONS),
            default=next(iter(CONVENTIONS)),
            tooltip="How normals are painted. normalbae: ControlNet 1.1. OpenGL: Blender, Unity. DirectX: Unreal.",
        ),
        io.Combo.Input(
            "data",
            options=[NO_DATA, *DATA],
            default=NO_DATA,
            tooltip="Also keep the values, without loss: one video, or one file for each frame.",
        ),
    ]


class _TwoPasses:
    """One progress bar over both passes, which ends the run after Cancel."""

    def __init__(self) -> None:
        self._show = StepProgress()

    def first(self, done: int, total: int) -> None:
        """Report frames that the model is done with, of the number that the file states or 0."""
        self._show(done, 2 * max(total, done))

    def second(self, done: int, total: int) -> None:
        """Report frames that are written."""
        self._show(total + done, 2 * total)


def _look(model: LotusModel, style: str, convention: str, data: str) -> dict[str, Any]:
    """Return how maps are painted, but for the range.

    Raises:
        OptionError: A value that is not on offer (0.3.64 does not check combos by itself).
    """
    for name, value, offered in (
        ("style", style, STYLES),
        ("normal_convention", convention, CONVENTIONS),
        ("data", data, (NO_DATA, *DATA)),
    ):
        if value not in offered:
            raise OptionError(name, value, f"one of {', '.join(offered)}")
    colormap = "grey" if style == HINT else style
    return {"kind": model.info.output, "colormap": colormap, "convention": CONVENTIONS[convention]}


def _write(
    maps: VideoMaps,
    source: Path,
    path: Path,
    look: dict[str, Any],
    data: str,
    chosen: InferenceOptions,
    bar: _TwoPasses,
) -> Path | None:
    """Write the pictures, and the data where they are wanted; return where those are."""
    painted = Look(**look, display=maps.display)
    notes = {"kind": look["kind"]}
    data_path = None
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(open_sink("mp4", path, painted, maps.info, audio_from=source, notes=notes))
        ]
        if data in DATA:
            output, suffix = DATA[data]
            data_path = path.with_name(f"{path.stem}_{suffix}")
            sinks.append(stack.enter_context(open_sink(output, data_path, painted, maps.info, notes=notes)))
        write_video(maps, sinks, chosen, bar.second)
    return data_path


def _file_of(video: Any) -> tuple[Path, bool]:
    """Return a VIDEO as a file, and whether that is a copy of ours (of a trimmed one, or one made from pictures)."""
    of_file = isinstance(video, InputImpl.VideoFromFile) and not compat.is_trimmed(video)
    source = video.get_stream_source() if of_file else None  # 0.3.64 has none for one made from pictures
    if isinstance(source, str):
        return Path(source), False
    copy = _scratch(f"{uuid.uuid4().hex}.mp4")
    copy.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        video.save_to(str(copy))
    else:
        copy.write_bytes(source.getbuffer())
    named = _scratch(f"{fingerprint(copy).removeprefix('sha256:')[:32]}.mp4")  # the same for the same content
    return copy.replace(named), True


def _scratch(name: str) -> Path:
    """Return a place in ComfyUI's temporary folder, which is emptied when it starts."""
    return Path(folder_paths.get_temp_directory()) / _SCRATCH / name


def _digest(model: LotusModel, source: Path, chosen: InferenceOptions, clip: ClipOptions) -> str:
    """Return a name for all that the maps depend on, under which a cancelled run is found again."""
    return hashlib.sha256(repr(identity(model, source, chosen, clip)).encode()).hexdigest()[:32]
