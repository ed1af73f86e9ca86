"""Which model a command runs, and loading it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from ..conventions import OutputKind
from ..errors import CheckpointError, OptionError, OutputKindError
from ..loading import catalog
from ..loading.store import Places, find
from .bars import progress_bar

if TYPE_CHECKING:
    from ..inference.model import LotusModel
    from ..inference.precision import Precision

Purpose = Literal["depth", "normal"]

DEFAULT_MODELS: Final = MappingProxyType[Purpose, str](
    {"depth": "lotus-depth-d-v2-0-disparity", "normal": "lotus-normal-d-v1-1"}
)
"""The published checkpoint that a command takes when none is named: used only where it is on disk."""

_BUNDLED: Final = MappingProxyType[Purpose, str](
    {"depth": "lotus-tiny-depth-d", "normal": "lotus-tiny-normal-d"}
)


@dataclass(frozen=True)
class Loading:
    """How models are loaded.

    Attributes:
        precision: "auto", "fp32", "fp16" or "bf16".
        device: "auto" or a torch device.
        vae: VAE file or folder in place of the checkpoint's own, or None.
        revision: Branch, tag or commit on the Hub, or None.
        quiet: Whether a download shows no progress.
    """

    precision: Precision = "auto"
    device: str = "auto"
    vae: str | None = None
    revision: str | None = None
    quiet: bool = False

    @classmethod
    def of_line(cls, args: argparse.Namespace) -> Loading:
        """Return how a parsed line says that models are loaded."""
        return cls(args.precision, args.device, args.vae, args.revision, args.quiet)


def chosen_source(name: str | None, purpose: Purpose, option: str) -> str:
    """Return the source of a model: the named one, else the default one if it is on disk.

    Args:
        name: What the user named, or None.
        purpose: What the model is for.
        option: The option that names it, for the message.

    Raises:
        CheckpointError: None was named and the default one is not on this machine.
    """
    if name is not None:
        return name
    default = DEFAULT_MODELS[purpose]
    entry = catalog.require(default)
    if find(entry, Places()) is None:
        raise CheckpointError(
            f"no model was named, and the default one, {default}, is not on this machine",
            remedy=f"fetch it once with `lotus models pull {default}` "
            f"({entry.about_bytes / 1e9:.1f} GB), name another one with {option}, or try the small model that comes "
            f"with this package: {option} {_BUNDLED[purpose]}",
        )
    return default


def load(source: str, loading: Loading, kind: OutputKind | None = None) -> LotusModel:
    """Return a loaded model; a checkpoint that was named and is not on disk is fetched, with a progress bar.

    Args:
        source: Name, Hub id, folder or file.
        loading: How to load it.
        kind: What it estimates, where its name does not say it.

    Raises:
        CheckpointError: The name, file or folder cannot be used.
        DownloadError: A file could not be fetched.
        OptionError: Unknown precision or device.
    """
    from ..inference.model import load_model

    with DownloadBar(source, loading.quiet) as progress:
        try:
            return load_model(
                source,
                precision=loading.precision,
                device=loading.device,
                vae=loading.vae,
                output=kind,
                revision=loading.revision,
                progress=progress,
            )
        except OutputKindError as error:
            raise OutputKindError(
                error.problem,
                path=error.path,
                found=error.found,
                remedy="say it with --kind depth, disparity or normal",
            ) from error


def load_joint(
    both: Sequence[str] | None, depth_name: str | None, normal_name: str | None, loading: Loading
) -> list[LotusModel]:
    """Return a loaded depth model and a loaded normal model.

    Args:
        both: What --model names, depth first, or None.
        depth_name: What --depth-model names, or None.
        normal_name: What --normal-model names, or None.
        loading: How to load them.

    Raises:
        OptionError: Models named twice.
        ModelTaskError: Models given the wrong way round.
        CheckpointError: A name, file or folder cannot be used, or none was named and the default is not here.
        DownloadError: A file could not be fetched.
    """
    if both is not None and (depth_name or normal_name):
        raise OptionError("--model", " ".join(both), "the only option that names models, or left out")
    depth_name, normal_name = both or (depth_name, normal_name)
    sources = (
        chosen_source(depth_name, "depth", "--depth-model"),
        chosen_source(normal_name, "normal", "--normal-model"),
    )
    depth_model, normal_model = (load(source, loading) for source in sources)
    depth_model.depth_kind()
    normal_model.require_normals()
    return [depth_model, normal_model]


class DownloadBar:
    """A progress bar on stderr that appears with the first bytes fetched."""

    def __init__(self, source: str, quiet: bool) -> None:
        self._source = source
        self._quiet = quiet
        self._drawn = ExitStack()
        self._bar: Callable[[int, int], None] | None = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._update

    def __exit__(self, *exc: object) -> None:
        self._drawn.close()

    def _update(self, done: int, total: int) -> None:
        if self._bar is None:
            if not self._quiet:
                print(f"fetching {self._source} from the Hub", file=sys.stderr)
            self._bar = self._drawn.enter_context(progress_bar("", "B", quiet=self._quiet, total=total))
        self._bar(done, total)
