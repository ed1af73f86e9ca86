"""`lotus video`: the depth or the normals of a video file."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import LotusError, OptionError
from . import arguments
from .bars import progress_bar
from .exit_codes import DONE, SOME_FAILED
from .report import Report

if TYPE_CHECKING:
    from ..inference.model import LotusModel
    from ..inference.options import InferenceOptions
    from ..video.convert import VideoMaps
    from ..video.painter import ClipOptions
    from ..video.sinks import Look, VideoOutput

_OUTPUTS: Final = ("mp4", "ffv1", "png16", "exr")  # video.sinks.VIDEO_OUTPUTS, which needs torch
_CONTAINERS: Final = (".mp4", ".mov", ".m4v", ".mkv")
_LOSSES_SHOWN: Final = 20

_TEXT = """depth or normals of a video, stable in time

The model sees every frame once; its maps wait in OUT/NAME.parts until the whole clip is known, and are then
corrected, painted with one range and encoded. Needs the extra "video"."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("video", help=_TEXT.splitlines()[0], description=_TEXT)
    parser.add_argument("input", type=Path, metavar="IN", help="video file, whatever FFmpeg reads")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for the results, or the preview's own name (.mp4, .mov, .mkv)",
    )
    arguments.add_task_arguments(parser)
    parser.add_argument(
        "--format",
        type=_outputs,
        default=("mp4", "ffv1"),
        metavar="F[,F...]",
        dest="outputs",
        help="mp4 (H.264 to look at, with the sound), ffv1 (16-bit lossless .mkv), png16 (numbered 16-bit files), "
        "exr (numbered float files); default mp4,ffv1",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped, at most 32 frames back"
    )
    parser.add_argument("--no-audio", action="store_true", help="leave the sound out of the preview")
    _add_clip_arguments(parser)
    arguments.add_model_arguments(parser)
    arguments.add_kind_argument(parser)
    arguments.add_inference_arguments(parser, ensemble=True)
    arguments.add_depth_style(parser)
    arguments.add_normal_style(parser)
    arguments.add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    report = Report("video", as_json=args.json, quiet=args.quiet)
    try:
        place = _place(args)
        model, options, clip = _prepare(args, report)
    except LotusError as error:
        return report.refuse(error)
    try:
        facts = _work(args, place, model, options, clip)
    except KeyboardInterrupt:
        return report.finish(interrupted=True)
    except LotusError as error:
        report.failed(str(args.input), error)
        return report.finish()
    lost = facts["losses"]
    shown = [f"after frame {loss['frame']}: {loss['reason']}" for loss in lost[:_LOSSES_SHOWN]]
    if len(lost) > _LOSSES_SHOWN:
        shown.append(f"and {len(lost) - _LOSSES_SHOWN} more, see the .json file")
    report.done(str(args.input), **facts, warnings=shown)
    code = report.finish()
    return SOME_FAILED if lost and code == DONE else code


@dataclass(frozen=True)
class _Place:
    """Where results go: a folder, the stem of their names, and the preview's own name where it was given."""

    folder: Path
    stem: str
    preview: Path | None

    def path(self, output: str, what: str) -> Path:
        """Return the file or folder of an output of "depth", "disparity" or "normal" maps."""
        if output == "mp4":
            looks = "normal" if what == "normal" else "depth"  # near is white for either kind
            return self.preview or self.folder / f"{self.stem}_{looks}.mp4"
        names = {"ffv1": f"{what}16.mkv", "png16": f"{what}16", "exr": f"{what}_exr"}
        return self.folder / f"{self.stem}_{names.get(output, f'{what}.{output}')}"


def _add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("stability")
    group.add_argument(
        "--carry",
        type=float,
        default=0.1,
        metavar="X",
        help="for generative (g) models: share of the last frame's result in the noise, 0 to 0.9; default 0.1",
    )
    group.add_argument(
        "--no-stabilize", action="store_true", help="leave every frame its own scale and shift of depth"
    )
    group.add_argument("--no-cuts", action="store_true", help="take the whole file for one shot")


def _outputs(text: str) -> tuple[str, ...]:
    return arguments.parse_names(text, _OUTPUTS, "format")


def _place(args: argparse.Namespace) -> _Place:
    """Return where results go.

    Raises:
        OptionError: The preview would overwrite the input.
    """
    output: Path = args.output
    if output.suffix.lower() not in _CONTAINERS:
        return _Place(output, args.input.stem, None)
    if output.resolve() == args.input.resolve():
        raise OptionError("--output", str(output), "another file than the input")
    return _Place(output.parent, output.stem, output)


def _prepare(args: argparse.Namespace, report: Report) -> tuple[LotusModel, InferenceOptions, ClipOptions]:
    """Check what can be checked before the model is loaded, then load it."""
    from . import choice

    options = replace(arguments.inference_options(args), sequence="video")
    from ..video.painter import ClipOptions
    from ..video.sinks import require_output

    clip = ClipOptions(carry=args.carry, stabilize=not args.no_stabilize, find_cuts=not args.no_cuts)
    for output in args.outputs:
        require_output(output)
    if not args.input.is_file():
        raise OptionError("IN", str(args.input), "a video file that exists")
    report.state(output=str(args.output), options=asdict(options))
    loading = choice.Loading.of_line(args)
    model = choice.load(choice.chosen_source(args.model, args.task, "--model"), loading, args.kind)
    if args.task == "normal":
        model.require_normals()
    else:
        model.depth_kind()
    report.state(models=[asdict(model.info)])
    return model, options, clip


def _work(
    args: argparse.Namespace, place: _Place, model: LotusModel, options: InferenceOptions, clip: ClipOptions
) -> dict[str, Any]:
    """Make both passes, and return what is to be told of them."""
    from ..video.convert import estimate_video, write_video

    what = model.info.output
    parts = place.path("parts", what)
    with progress_bar("frames", "frame", quiet=args.quiet) as progress:
        maps = estimate_video(model, args.input, parts, options, clip, resume=args.resume, progress=progress)
    look = _look(args, what, maps)
    notes = {"model": model.info.name, "kind": what}
    audio = None if args.no_audio else args.input
    files = {output: place.path(output, what) for output in args.outputs}
    with ExitStack() as stack, progress_bar("writing", "frame", quiet=args.quiet) as progress:
        sinks = [_open(stack, output, path, look, maps, audio, notes) for output, path in files.items()]
        write_video(maps, sinks, options, progress)
    facts = _facts(args.input, model, maps, look, files)
    _write_facts(place.path("json", what), {**facts, "options": asdict(options), "clip": asdict(clip)})
    maps.spool.remove()
    return {key: value for key, value in facts.items() if key not in ("times_s", "scale", "shift")}


def _open(
    stack: ExitStack,
    output: VideoOutput,
    path: Path,
    look: Look,
    maps: VideoMaps,
    audio: Path | None,
    notes: dict[str, str],
) -> Any:
    from ..video.sinks import open_sink

    return stack.enter_context(open_sink(output, path, look, maps.info, audio_from=audio, notes=notes))


def _look(args: argparse.Namespace, what: Any, maps: VideoMaps) -> Look:
    from ..video.sinks import Look

    style = arguments.style(args)
    return Look(what, style.colormap, style.reverse, style.convention, maps.display)


def _facts(
    source: Path, model: LotusModel, maps: VideoMaps, look: Look, files: dict[Any, Path]
) -> dict[str, Any]:
    """Return what there is to know of the results, as JSON values."""
    corrections = maps.corrections
    facts: dict[str, Any] = {
        "source": str(source),
        "model": model.info.name,
        "kind": model.info.output,
        "files": {output: str(path) for output, path in files.items()},
        "frames": len(maps.ticks),
        "size": [maps.info.width, maps.info.height],
        "rotation_deg": maps.info.rotation,
        "times_s": [round(seconds, 6) for seconds in maps.seconds],
        "losses": [asdict(loss) for loss in maps.losses],
    }
    if corrections is None:
        return {**facts, "convention": look.convention.value}
    return {
        **facts,
        "display_range": [round(end, 6) for end in maps.display],
        "shots": list(corrections.shots),
        "scale": [round(value, 6) for value in corrections.scale.tolist()],
        "shift": [round(value, 6) for value in corrections.shift.tolist()],
    }


def _write_facts(path: Path, facts: dict[str, Any]) -> None:
    from ..io.atomic import write_bytes

    write_bytes(path, (json.dumps(facts) + "\n").encode())
