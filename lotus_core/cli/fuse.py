"""`lotus fuse`: several photographs with known cameras become one mesh."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import LotusError, OptionError
from ..io.views import find_image, load_view, read_cameras, spread_views
from . import arguments
from .bars import progress_bar
from .exit_codes import BAD_USAGE, DONE, INTERRUPTED, SOME_FAILED
from .report import print_json

if TYPE_CHECKING:
    from torch import Tensor

    from ..geometry.camera import Camera
    from ..geometry.multiview import FusedViews, FusionOptions
    from ..inference.model import LotusModel
    from ..inference.options import InferenceOptions
    from ..io.cameras import CameraSet
    from ..types import JointPrediction

SUFFIXES: Final = (".glb", ".obj", ".ply")

_DESCRIPTION: Final = (
    "Fuse 2 to 100 photographs with known cameras into one mesh. The cameras come from a transforms.json (NeRF, "
    "Nerfstudio) or a COLMAP model; lens distortion is taken out; COLMAP's sparse points fix the scale."
)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "fuse", help="several photographs with known cameras to one mesh", description=_DESCRIPTION
    )
    parser.add_argument(
        "images", type=Path, metavar="IMAGES", help="folder that the cameras' file names are in"
    )
    parser.add_argument(
        "--cameras",
        type=Path,
        required=True,
        metavar="PATH",
        help="transforms.json, or a COLMAP model (text or binary; also the folder above sparse/0)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="mesh to write: .glb or .obj (turned upright), .ply (in the world of the poses); may be repeated",
    )
    arguments.add_joint_model_choice(parser)
    arguments.add_model_arguments(parser)
    arguments.add_inference_arguments(parser, ensemble=True)
    group = parser.add_argument_group("fusion")
    group.add_argument("--voxel", type=float, metavar="SIZE", help="in the poses' unit; default: scene / 256")
    group.add_argument(
        "--max-views",
        type=int,
        default=100,
        metavar="N",
        help="use N views, evenly chosen; default and most: 100",
    )
    group.add_argument(
        "--max-side", type=int, default=1024, metavar="PX", help="shrink larger pictures first; default 1024"
    )
    group.add_argument("--no-refine", action="store_true", help="don't refine depth by normals")
    group.add_argument(
        "--least-support",
        type=int,
        default=1,
        metavar="N",
        help="other views that must see a pixel's surface in the same place; 0 keeps all; default 1",
    )
    group.add_argument(
        "--least-agreement",
        type=float,
        metavar="SHARE",
        help="share of what views both see that they must put in the same place, else the poses are taken for wrong; "
        "0 takes whatever comes out; default 0.75",
    )
    arguments.add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fuse and write, and return the exit code."""
    started = time.perf_counter()
    try:
        job = _prepare(args)
    except LotusError as error:
        return _refuse(args, error, BAD_USAGE)
    try:
        with _progress(args.quiet) as tell:
            views = _predict(job, tell)
            fused = _fuse(job, views, tell)
        files = _write(args.output, fused, views.cameras)
    except LotusError as error:
        return _refuse(args, error, SOME_FAILED)
    except KeyboardInterrupt:
        print("lotus fuse: stopped", file=sys.stderr)
        return INTERRUPTED
    _tell(args, job, fused, files, time.perf_counter() - started)
    return DONE


@dataclass(frozen=True)
class _Job:
    """What is checked before anything is computed."""

    cameras: CameraSet
    files: tuple[Path, ...]
    models: Sequence[LotusModel]
    inference: InferenceOptions
    fusion: FusionOptions
    max_side: int


@dataclass(frozen=True)
class _Views:
    """What the models made of the pictures."""

    predictions: list[JointPrediction]
    cameras: list[Camera]
    images: list[Tensor]
    masks: list[Tensor]


def _prepare(args: argparse.Namespace) -> _Job:
    """Check everything that can be checked before the first picture, the cheap things first."""
    inference = arguments.inference_options(args)
    for path in args.output:
        if path.suffix.lower() not in SUFFIXES:
            raise OptionError("--output", str(path), f"a file that ends in {', '.join(SUFFIXES)}")
    if not 2 <= args.max_views <= 100:
        raise OptionError("--max-views", args.max_views, "from 2 to 100")
    if args.max_side < 64:
        raise OptionError("--max-side", args.max_side, "at least 64 pixels")
    from ..geometry.multiview import FusionOptions

    least = {} if args.least_agreement is None else {"least_agreement": args.least_agreement}
    fusion = FusionOptions(
        voxel=args.voxel, refine=not args.no_refine, least_support=args.least_support, **least
    )
    cameras = spread_views(read_cameras(args.cameras, args.images), args.max_views)
    files = tuple(find_image(args.images, image.name) for image in cameras.images)
    from . import choice

    loading = choice.Loading.of_line(args)
    models = choice.load_joint(args.model, args.depth_model, args.normal_model, loading)
    return _Job(cameras, files, models, inference, fusion, args.max_side)


def _predict(job: _Job, tell: Callable[[float], None]) -> _Views:
    """Depth and normals of every picture, without its lens's distortion."""
    from ..inference.predict import predict_joint

    views = _Views([], [], [], [])
    for done, (posed, file) in enumerate(zip(job.cameras.images, job.files, strict=True)):
        image, camera, mask = load_view(posed, file, job.max_side)
        both = predict_joint(job.models[0], job.models[1], image[None], job.inference)
        views.predictions.append(both)
        views.cameras.append(camera)
        views.images.append(image)
        views.masks.append(mask)
        tell(0.5 * (done + 1) / len(job.files))
    return views


def _fuse(job: _Job, views: _Views, tell: Callable[[float], None]) -> FusedViews:
    from ..geometry.anchors import anchors_from_points
    from ..geometry.multiview import fuse_views

    points = job.cameras.points
    return fuse_views(
        views.predictions,
        views.cameras,
        None if points is None else anchors_from_points(points, views.cameras),
        images=views.images,
        masks=views.masks,
        options=job.fusion,
        progress=lambda done, total: tell(0.5 + 0.5 * done / total),
    )


def _write(paths: Sequence[Path], fused: FusedViews, cameras: Sequence[Camera]) -> list[Path]:
    from ..geometry.multiview import opencv_from_world, turn_mesh
    from ..io.meshes import WORLD_COMMENT, write_glb, write_obj, write_ply

    upright = turn_mesh(fused.mesh, opencv_from_world(cameras))
    files = []
    for path in paths:
        if path.suffix.lower() == ".ply":
            files.append(write_ply(path, fused.mesh, comment=WORLD_COMMENT))
        else:
            files.append({".glb": write_glb, ".obj": write_obj}[path.suffix.lower()](path, upright))
    return files


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[float], None]]:
    """Yield what hears the share that is done, and draws it from 0 to 100 %."""
    with progress_bar("fuse", "%", quiet=quiet, total=100) as update:
        yield lambda share: update(round(100 * share), 100)


def _tell(args: argparse.Namespace, job: _Job, fused: FusedViews, files: list[Path], seconds: float) -> None:
    """One line for a person, or one JSON document."""
    agreement = fused.alignment.agreement
    facts = {
        "views": len(job.files),
        "files": [str(path) for path in files],
        "vertices": len(fused.mesh.vertices),
        "triangles": len(fused.mesh.faces),
        "voxel": fused.voxel,
        "agreement": [round(float(x), 4) for x in agreement.agreement],
        "overlap": [round(float(x), 4) for x in agreement.overlap],
        "scale_spread": round(agreement.scale_spread, 5),
        "sparse_points": 0 if job.cameras.points is None else len(job.cameras.points.positions),
        "models": [model.info.name for model in job.models],
        "seconds": round(seconds, 2),
    }
    if args.json:
        print_json("fuse", facts)
        return
    print(
        f"{facts['views']} views agree on {float(agreement.agreement.mean()):.0%} of what they share; "
        f"{facts['triangles']} triangles of {fused.voxel:.3g} in {', '.join(facts['files'])}"
    )


def _refuse(args: argparse.Namespace, error: LotusError, code: int) -> int:
    print(f"lotus fuse: {error}", file=sys.stderr)
    if args.json:
        print_json("fuse", {"error": {"type": type(error).__name__, "message": str(error)}})
    return code
