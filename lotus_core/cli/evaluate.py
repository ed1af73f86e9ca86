"""`lotus eval`: scores models by the field's protocols."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import OptionError
from ..inference.options import InferenceOptions
from . import arguments, choice
from .bars import progress_bar
from .exit_codes import DONE, SOME_FAILED
from .report import print_json

if TYPE_CHECKING:
    from ..evaluation.rendered import SceneRange
    from ..evaluation.report import AnyScore, Table
    from ..inference.model import LotusModel

SCENES: Final = "scenes"

_TEXT: Final = """score models by the field's protocols

DATASET is nyuv2, kitti, eth3d, scannet or diode for depth; nyuv2, scannet, ibims, sintel or oasis for normals; scenes,
our own renderer, for both; or a folder with rgb/ and depth/ or normal/. Whether depth or normals are scored depends on
each model. Published figures stand beside the result. See docs/evaluation.md."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("eval", help=_TEXT.splitlines()[0], description=_TEXT)
    parser.add_argument("--dataset", required=True, metavar="NAME|FOLDER", help="what to score on")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="where a named data set lies: its archive or folder, or all archives",
    )
    parser.add_argument("--model", nargs="+", required=True, metavar="M", help=arguments.MODEL_HELP)
    parser.add_argument("--list", type=Path, metavar="FILE", help="published file list: only these pictures")
    parser.add_argument(
        "--crop",
        choices=("eigen", "garg", "none"),
        default="eigen",
        help="pixels of KITTI that count; default eigen",
    )
    _add_run_arguments(parser)
    scenes = parser.add_argument_group("rendered scenes")
    scenes.add_argument(
        "--seeds-from",
        type=int,
        default=500_000,
        metavar="S",
        help="first scene; default 500000 (under a million none is trained on)",
    )
    scenes.add_argument("--count", type=int, default=500, metavar="N", help="number of scenes; default 500")
    scenes.add_argument(
        "--size", type=_size, default=(128, 128), metavar="WxH", help="pixels; default 128x128"
    )
    scenes.add_argument("--layout", help="one layout of scenes, such as room; default: a mixture of all")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="folder for evaluation.md and evaluation.json"
    )
    arguments.add_report_arguments(parser, "print one JSON document instead of tables")


def run(args: argparse.Namespace) -> int:
    """Score every model and return the exit code; pictures that cannot be read are listed and stop nothing."""
    from ..evaluation.report import document, json_text, markdown

    if args.output is not None:
        from ..io.atomic import require_writable

        require_writable(args.output)
    tables = _tables(args)
    texts = [markdown(table) for table in tables]
    if args.json:
        print_json("eval", document(tables))
    else:
        print("\n".join(texts), end="")
    if args.output is not None:
        from ..io.atomic import write_bytes

        write_bytes(args.output / "evaluation.md", "\n".join(texts).encode())
        write_bytes(args.output / "evaluation.json", json_text(tables).encode())
    skipped = {(s.name, s.reason) for table in tables for score in table.scores for s in score.skipped}
    for name, reason in sorted(skipped):
        print(f"left out: {name}: {reason}", file=sys.stderr)
    return SOME_FAILED if skipped else DONE


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inference")
    group.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="S", help="noises of generative (g) models"
    )
    group.add_argument(
        "--ensemble", type=int, default=1, metavar="N", help="noises merged into each map of a g model"
    )
    group.add_argument(
        "--resolution",
        type=int,
        metavar="PX",
        help="longest side at which the models work; 0: the picture's own; default: the data set's protocol",
    )
    group.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    arguments.add_model_arguments(parser)
    arguments.add_kind_argument(parser)


def _tables(args: argparse.Namespace) -> list[Table]:
    """Return one table for depth and one for normals, as far as the models go."""
    loading = choice.Loading.of_line(args)
    models = [choice.load(source, loading, args.kind) for source in args.model]
    for model in models:
        if args.ensemble > 1 and model.info.mode == "d":
            expected = f"1 for {model.info.name}: a discriminative (d) model gives the same map every time"
            raise OptionError("--ensemble", args.ensemble, expected)
    depth = [model for model in models if model.info.output != "normal"]
    normal = [model for model in models if model.info.output == "normal"]
    tables: list[Table] = []
    if depth:
        tables.append(_depth_table(args, depth))
    if normal:
        tables.append(_normal_table(args, normal))
    return tables


def _depth_table(args: argparse.Namespace, models: Sequence[LotusModel]) -> Table:
    from ..evaluation import run as scoring
    from ..evaluation.baselines import mean_map_score
    from ..evaluation.catalogue import open_depth
    from ..evaluation.published import published_rows
    from ..evaluation.rendered import SceneDepth
    from ..evaluation.report import Table

    scenes = SceneDepth(_scenes(args)) if args.dataset == SCENES else None
    benchmark = scenes or open_depth(args.dataset, args.data, crop=args.crop, only=_listed(args))
    options = _options(args, benchmark.rules.resolution)
    scores: list[AnyScore] = []
    for model in models:
        with progress_bar(model.info.name, "image", quiet=args.quiet) as progress:
            scores.append(scoring.evaluate_depth(model, benchmark, options, args.seeds, progress=progress))
    baseline = None if scenes is None else mean_map_score(scenes, models[0].depth_kind())
    facts = _facts(args, options)
    rows = published_rows(args.dataset, "depth")
    return Table("depth", benchmark.rules, scores, facts, baseline, rows)


def _normal_table(args: argparse.Namespace, models: Sequence[LotusModel]) -> Table:
    from ..evaluation import run as scoring
    from ..evaluation.baselines import mean_normal_score
    from ..evaluation.catalogue import open_normals
    from ..evaluation.published import published_rows
    from ..evaluation.rendered import SceneNormals
    from ..evaluation.report import Table
    from ..evaluation.round_trip import vae_round_trip

    scenes = SceneNormals(_scenes(args)) if args.dataset == SCENES else None
    benchmark = scenes or open_normals(args.dataset, args.data, only=_listed(args))
    options = _options(args, benchmark.rules.resolution)
    scores: list[AnyScore] = []
    for model in models:
        with progress_bar(model.info.name, "image", quiet=args.quiet) as progress:
            scores.append(scoring.evaluate_normals(model, benchmark, options, args.seeds, progress=progress))
    baseline = None if scenes is None else mean_normal_score(scenes)
    trips = {} if scenes is None else {model.info.name: vae_round_trip(model, scenes) for model in models}
    facts = _facts(args, options)
    rows = published_rows(args.dataset, "normal")
    return Table("normal", benchmark.rules, scores, facts, baseline, rows, trips)


def _options(args: argparse.Namespace, resolution: int) -> InferenceOptions:
    chosen = resolution if args.resolution is None else args.resolution
    return InferenceOptions(resolution=chosen, ensemble_size=args.ensemble)


def _facts(args: argparse.Namespace, options: InferenceOptions) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "resolution": options.resolution,
        "ensemble": options.ensemble_size,
        "precision": args.precision,
    }
    if args.dataset == "kitti":
        facts["crop"] = args.crop
    if args.dataset == SCENES:
        width, height = args.size
        facts |= {"seeds_from": args.seeds_from, "count": args.count, "width": width, "height": height}
        facts["layout"] = args.layout
    return facts


def _scenes(args: argparse.Namespace) -> SceneRange:
    from ..evaluation.rendered import SceneRange

    width, height = args.size
    return SceneRange(args.seeds_from, args.count, height, width, args.layout)


def _listed(args: argparse.Namespace) -> list[str] | None:
    from ..evaluation.selection import read_file_list

    return None if args.list is None else read_file_list(args.list)


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (width.isdigit() and (height.isdigit() if cross else True)):
        raise argparse.ArgumentTypeError(f"choose pixels such as 128 or 160x120, not {text!r}")
    return int(width), int(height) if cross else int(width)
