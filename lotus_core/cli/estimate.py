"""`lotus depth`, `lotus normal`, `lotus joint` and `lotus reconstruct`."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LotusError, LotusWarning, OptionError
from . import arguments, joint_geometry
from .report import Report

if TYPE_CHECKING:
    from torch import Tensor

    from ..inference.model import LotusModel
    from ..inference.options import InferenceOptions
    from ..types import JointPrediction
    from .inputs import Inputs, Item
    from .joint_geometry import GeometryRequest
    from .products import Destination, Product

_HELP = {
    "depth": "depth or disparity of images",
    "normal": "surface normals of images",
    "joint": "depth and normals of images, from one encoding",
    "reconstruct": "images as the model gives them back: what it sees of them",
}


def add_parser(subparsers: Any) -> None:
    """Add the four commands."""
    for command, text in _HELP.items():
        parser = subparsers.add_parser(command, help=text, description=text[0].upper() + text[1:] + ".")
        arguments.add_input_arguments(parser)
        _add_model_choice(parser, command)
        arguments.add_model_arguments(parser)
        if command != "joint":
            arguments.add_kind_argument(parser)
        arguments.add_inference_arguments(parser, ensemble=command != "reconstruct")
        arguments.add_format_arguments(parser)
        if command in ("depth", "joint"):
            arguments.add_depth_style(parser)
        if command in ("normal", "joint"):
            arguments.add_normal_style(parser)
        if command == "joint":
            joint_geometry.add_geometry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run one of the four commands and return its exit code; an image that fails never stops the others."""
    report = Report(args.command, as_json=args.json, quiet=args.quiet)
    try:
        job = _prepare(args, report)
    except LotusError as error:
        return report.refuse(error)
    for problem in job.inputs.problems:
        report.failed(problem.text, problem.error)
    try:
        for item in report.progress(job.inputs.items):
            _work(job, item, report)
    except KeyboardInterrupt:
        return report.finish(interrupted=True)
    return report.finish()


@dataclass(frozen=True)
class _Job:
    """Everything that is the same for all images of a run."""

    inputs: Inputs
    destination: Destination
    formats: Sequence[arguments.Format]
    estimate: Callable[[Tensor], Estimate]
    geometry: GeometryRequest | None


@dataclass(frozen=True)
class Estimate:
    """What the models made of one image.

    Attributes:
        products: Its maps, ready to be written.
        both: Depth and normals together, where both were estimated.
    """

    products: list[Product]
    both: JointPrediction | None = None


def _add_model_choice(parser: argparse.ArgumentParser, command: str) -> None:
    if command == "joint":
        arguments.add_joint_model_choice(parser)
    else:
        parser.add_argument(
            "--model",
            metavar="M",
            help=f"{arguments.MODEL_HELP}; default: the published one, if it is on disk",
        )


def _prepare(args: argparse.Namespace, report: Report) -> _Job:
    """Check everything that can be checked before the first image, the cheap things first."""
    from ..io.atomic import require_writable
    from .inputs import collect

    options = arguments.inference_options(args)
    geometry = joint_geometry.geometry_request(args)
    inputs = collect(args.inputs, args.output, recursive=args.recursive)
    if "exr" in args.formats:
        from ..io.exr import require_openexr

        require_openexr()
    require_writable(args.output)
    report.state(output=str(args.output), options=asdict(options), models=[])
    models = _models(args) if inputs.items else []
    for model in models:
        if options.ensemble_size > 1 and model.info.mode == "d":
            expected = f"1 for {model.info.name}: a discriminative (d) model gives the same map every time"
            raise OptionError("--ensemble", options.ensemble_size, expected)
    report.state(models=[asdict(model.info) for model in models])

    from .products import Destination

    return _Job(
        inputs=inputs,
        destination=Destination(args.output, frozenset(item.path.resolve() for item in inputs.items)),
        formats=args.formats,
        estimate=_estimator(args.command, models, options, arguments.style(args)),
        geometry=geometry,
    )


def _models(args: argparse.Namespace) -> list[LotusModel]:
    """Return the models of a command: one, or for joint the depth and the normal one."""
    from . import choice

    loading = choice.Loading.of_line(args)
    if args.command == "joint":
        return choice.load_joint(args.model, args.depth_model, args.normal_model, loading)
    purpose: choice.Purpose = "normal" if args.command == "normal" else "depth"
    model = choice.load(choice.chosen_source(args.model, purpose, "--model"), loading, args.kind)
    if args.command == "depth":
        model.depth_kind()
    elif args.command == "normal":
        model.require_normals()
    return [model]


def _estimator(
    command: str, models: Sequence[LotusModel], options: InferenceOptions, style: arguments.Style
) -> Callable[[Tensor], Estimate]:
    """Return what estimates one image, (1, H, W, 3) in [0, 1]."""
    from ..inference import predict
    from . import products

    def depth(pixels: Tensor) -> Estimate:
        return Estimate([products.depth_product(predict.predict_depth(models[0], pixels, options), style)])

    def normal(pixels: Tensor) -> Estimate:
        return Estimate([products.normal_product(predict.predict_normals(models[0], pixels, options), style)])

    def joint(pixels: Tensor) -> Estimate:
        both = predict.predict_joint(models[0], models[1], pixels, options)
        maps = [products.depth_product(both.depth, style), products.normal_product(both.normals, style)]
        return Estimate(maps, both)

    def reconstruct(pixels: Tensor) -> Estimate:
        return Estimate([products.reconstruction_product(predict.reconstruct(models[0], pixels, options))])

    return {"depth": depth, "normal": normal, "joint": joint, "reconstruct": reconstruct}[command]


def _work(job: _Job, item: Item, report: Report) -> None:
    from ..io.images import read_image
    from .products import write

    text, start = str(item.path), time.perf_counter()
    facts: dict[str, Any] = {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", category=LotusWarning)  # for every image, not only the first
            image = read_image(item.path)
            made = job.estimate(image.pixels)
            files = [
                path for p in made.products for path in write(p, item.stem, job.destination, job.formats)
            ]
            if job.geometry is not None and made.both is not None:  # last: the maps stay where it fails
                geometry = joint_geometry.resolve(job.geometry, made.both, image)
                facts["geometry"] = joint_geometry.facts(job.geometry, geometry, image)
                files += joint_geometry.write(
                    job.geometry, geometry, image.pixels, item.stem, job.destination
                )
    except Exception as error:  # noqa: BLE001 (one image must never stop the others; the report says what it was)
        report.failed(text, error)
        return
    report.done(
        text,
        width=image.pixels.shape[2],
        height=image.pixels.shape[1],
        focal_35mm_mm=image.focal_35mm_mm,
        **facts,
        seconds=round(time.perf_counter() - start, 3),
        files=[str(path) for path in files],
        warnings=[str(warning.message) for warning in caught],
    )
