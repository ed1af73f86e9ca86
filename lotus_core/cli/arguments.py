"""The options that the estimating commands share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar, get_args

from ..conventions import NormalConvention, OutputKind
from ..inference.options import InferenceOptions, Upsample

if TYPE_CHECKING:
    from ..rendering.colormap import Colormap

NameT = TypeVar("NameT", bound=str)
Format = Literal["png", "png16", "exr", "npy", "npz"]

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
DEFAULT_FORMATS: Final[tuple[Format, ...]] = ("png", "png16")
MODEL_HELP: Final = "catalogue name (`lotus models`), Hub id, diffusers folder or .safetensors file"
COLORMAP_NAMES: Final = ("grey", "spectral", "turbo")  # rendering.colormap.COLORMAPS, which needs torch


@dataclass(frozen=True)
class Style:
    """How results are painted.

    Attributes:
        colormap: Colours of the depth picture.
        reverse: Paint far, not near, with the white or warm end.
        convention: What the colours of normals mean.
    """

    colormap: Colormap
    reverse: bool
    convention: NormalConvention


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is read, where results go and how they are told."""
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="image file, folder, or pattern such as 'photos/*.jpg'"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for the results; made if missing",
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="also look into sub-folders")
    add_report_arguments(parser, "print one JSON document about the run, for programs")


def add_report_arguments(
    parser: argparse.ArgumentParser, document: str = "print one JSON document about the run"
) -> None:
    """Add how the run is told; `document` is the help of --json."""
    parser.add_argument("--json", action="store_true", help=document)
    add_quiet_argument(parser)


def add_quiet_argument(parser: argparse.ArgumentParser) -> None:
    """Add the switch that hides progress."""
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is estimated and by which model, for commands that do either."""
    parser.add_argument("--task", choices=("depth", "normal"), default="depth", help="what to estimate")
    parser.add_argument(
        "--model",
        metavar="M",
        help="catalogue name, Hub id, folder or .safetensors; default: the published one",
    )


def add_inference_arguments(parser: argparse.ArgumentParser, *, ensemble: bool) -> None:
    """Add how a model is run."""
    group = parser.add_argument_group("inference")
    group.add_argument(
        "--resolution",
        type=int,
        metavar="PX",
        help="longest side at which the model works; 0: the image's own size; default: what the checkpoint says. "
        "Results always have the input's size",
    )
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16"),
        default="auto",
        help="auto: fp16 on CUDA; what it does natively on the CPU",
    )
    group.add_argument(
        "--device", default="auto", help="auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:1, mps"
    )
    group.add_argument("--seed", type=int, default=0, help="noise of generative (g) models; default 0")
    if ensemble:
        group.add_argument(
            "--ensemble",
            type=int,
            default=1,
            metavar="N",
            help="for generative (g) models: merge the maps of N noises, and write their uncertainty",
        )
    group.add_argument(
        "--batch-size", type=_batch_size, default="auto", metavar="N", help="images at once, or auto"
    )
    group.add_argument(
        "--upsample",
        choices=get_args(Upsample),
        default="bilinear",
        help="how maps are brought to the input's size",
    )


def add_joint_model_choice(parser: argparse.ArgumentParser) -> None:
    """Add which two models are run, for commands that need depth and normals."""
    parser.add_argument("--model", nargs=2, metavar=("DEPTH", "NORMAL"), help="both models at once")
    parser.add_argument("--depth-model", metavar="M", help=MODEL_HELP)
    parser.add_argument("--normal-model", metavar="M", help=MODEL_HELP)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the parts of a model come from."""
    group = parser.add_argument_group("model")
    group.add_argument("--vae", metavar="FILE", help="VAE file or folder in place of the checkpoint's own")
    group.add_argument("--revision", help="branch, tag or commit on the Hub")


def add_kind_argument(parser: argparse.ArgumentParser) -> None:
    """Add what the model estimates, for files whose name does not say it."""
    parser.add_argument(
        "--kind",
        choices=get_args(OutputKind),
        help="what the model estimates, where its name does not say it",
    )


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which files are written."""
    parser.add_argument(
        "--format",
        type=parse_formats,
        default=DEFAULT_FORMATS,
        metavar="F[,F...]",
        dest="formats",
        help="png (8-bit picture), png16 (16-bit data), exr (32-bit float; needs the extra exr), npy, npz; "
        f"default {','.join(DEFAULT_FORMATS)}",
    )


def add_depth_style(parser: argparse.ArgumentParser) -> None:
    """Add how depth is painted."""
    parser.add_argument(
        "--colormap",
        choices=COLORMAP_NAMES,
        default="grey",
        help="colours of the depth picture; near is white or red. grey is a ControlNet hint as it is",
    )
    parser.add_argument("--reverse", action="store_true", help="paint far, not near, white or red")


def add_normal_style(parser: argparse.ArgumentParser) -> None:
    """Add how normals are painted."""
    parser.add_argument(
        "--normal-convention",
        choices=[convention.value for convention in NormalConvention],
        default=NormalConvention.LOTUS.value,
        help="lotus (also ControlNet normalbae), opengl (Blender, Unity), directx (Unreal) or opencv; "
        "npy and npz always hold OpenCV vectors",
    )


def inference_options(args: argparse.Namespace) -> InferenceOptions:
    """Return the inference options of a parsed line.

    Raises:
        OptionError: A value outside its range.
    """
    return InferenceOptions(
        resolution=args.resolution,
        seed=args.seed,
        ensemble_size=getattr(args, "ensemble", 1),
        batch_size=args.batch_size,
        upsample=args.upsample,
    )


def style(args: argparse.Namespace) -> Style:
    """Return the style of a parsed line, defaults for what its command has no option for."""
    return Style(
        colormap=getattr(args, "colormap", "grey"),
        reverse=getattr(args, "reverse", False),
        convention=NormalConvention(getattr(args, "normal_convention", NormalConvention.LOTUS)),
    )


def parse_formats(text: str) -> tuple[Format, ...]:
    """Return the formats of a comma-separated list, each once, in the given order.

    Raises:
        argparse.ArgumentTypeError: An unknown format, or none.
    """
    return parse_names(text, FORMATS, "format")


def parse_names(text: str, offered: tuple[NameT, ...], what: str) -> tuple[NameT, ...]:
    """Return the names of a comma-separated list, each once, in the given order.

    Args:
        text: Such as "png, EXR".
        offered: The names that there are, in lower case.
        what: What one of them is, for the message.

    Raises:
        argparse.ArgumentTypeError: An unknown name, or none.
    """
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in offered]
    if unknown or not wanted:
        problem = f"unknown {what} {', '.join(unknown)}" if unknown else f"no {what}"
        raise argparse.ArgumentTypeError(f"{problem}: choose from {', '.join(offered)}")
    return tuple(dict.fromkeys(name for word in wanted for name in offered if name == word))


def _batch_size(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"choose auto or a whole number, not {text!r}") from None
