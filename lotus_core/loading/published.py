"""The published Lotus checkpoints and the two that come with this package: the catalogue's data.

Sources: the table of checkpoints in the README of github.com/EnVision-Research/Lotus; the file lists of the Hub
repositories named below. Expected sizes follow from the architecture: 867,556,804 weights (D) or 867,568,324 (G) in
the UNet, 83,653,863 in the VAE, at 2 or 4 bytes each. Exact sizes and hashes stand only where public manifests state
them; for every other file they are unknown here and are pinned when it is first fetched.

The Lotus project is licensed under Apache-2.0; its weights are tuned from Stable Diffusion 2 (CreativeML Open
RAIL++-M).
That two files hold the same weights in two precisions rests on their names.
"""

from __future__ import annotations

from typing import Final

from ..conventions import Mode, OutputKind
from .bundled import BUNDLED, BUNDLED_RESOLUTION, bundled_mode
from .entry import CatalogEntry, Precision, RemoteFile

_AUTHORS: Final = "jingheya"
_SINGLE_FILES: Final = "Kijai/lotus-comfyui"
_COMFY: Final = "Comfy-Org/lotus"

_UNET_WEIGHTS: Final = {"d": 867_556_804, "g": 867_568_324}
_VAE_WEIGHTS: Final = 83_653_863
_WEIGHT_BYTES: Final = {"fp32": 4, "fp16": 2}
_CONFIG_BYTES: Final = 2_000

SHARED_VAE: Final = RemoteFile(
    repository="stabilityai/sd-vae-ft-mse-original",
    path="vae-ft-mse-840000-ema-pruned.safetensors",
    about_bytes=334_641_190,
    size=334_641_190,
    sha256="735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75",
    revision="629b3ad3030ce36e15e70c5db7d91df0d60c627f",
)
"""The VAE that goes with every UNet-only file (MIT): the one that ComfyUI's own Lotus template uses."""

_REPLACED_BY: Final = {
    "lotus-depth-g-v1-0": "lotus-depth-g-v2-1-disparity",
    "lotus-depth-g-v2-0-disparity": "lotus-depth-g-v2-1-disparity",
    "lotus-depth-d-v1-0": "lotus-depth-d-v2-0-disparity",
    "lotus-depth-d-v1-1": "lotus-depth-d-v2-0-disparity",
    "lotus-normal-g-v1-0": "lotus-normal-g-v1-1",
    "lotus-normal-d-v1-0": "lotus-normal-d-v1-1",
}

_REPOSITORIES: Final[tuple[tuple[str, OutputKind, Mode], ...]] = (
    ("lotus-depth-g-v2-1-disparity", "disparity", "g"),
    ("lotus-depth-d-v2-0-disparity", "disparity", "d"),
    ("lotus-normal-g-v1-1", "normal", "g"),
    ("lotus-normal-d-v1-1", "normal", "d"),
    ("lotus-depth-g-v2-0-disparity", "disparity", "g"),
    ("lotus-depth-d-v1-1", "depth", "d"),
    ("lotus-depth-g-v1-0", "depth", "g"),
    ("lotus-depth-d-v1-0", "depth", "d"),
    ("lotus-normal-g-v1-0", "normal", "g"),
    ("lotus-normal-d-v1-0", "normal", "d"),
)
"""The ten repositories of the authors, current ones first."""

_FILES: Final[tuple[tuple[str, str, str, str, Precision, int | None], ...]] = (
    # name, weights, repository, path, precision, exact size where known
    (
        "lotus-depth-g-v2-1-disparity",
        "",
        _SINGLE_FILES,
        "lotus-depth-g-v2-1-disparity-fp16.safetensors",
        "fp16",
        None,
    ),
    ("lotus-normal-g-v1-1", "", _SINGLE_FILES, "lotus-normal-g-v1-1-fp16.safetensors", "fp16", None),
    ("lotus-depth-d-v1-1", "", _COMFY, "lotus-depth-d-v1-1.safetensors", "fp16", 1_735_197_352),
    ("lotus-depth-g-v1-0", "", _SINGLE_FILES, "lotus-depth-g-v1-0-fp16.safetensors", "fp16", None),
    ("lotus-normal-g-v1-0", "", _SINGLE_FILES, "lotus-normal-g-v1-0-fp16.safetensors", "fp16", None),
    ("lotus-normal-d-v1-0", "", _SINGLE_FILES, "lotus-normal-d-v1-0-fp16.safetensors", "fp16", None),
    (
        "lotus-depth-d-v-1-1-fp16",
        "lotus-depth-d-v1-1",
        _SINGLE_FILES,
        "lotus-depth-d-v-1-1-fp16.safetensors",
        "fp16",
        None,
    ),
    (
        "lotus-depth-g-v1-0-fp32",
        "lotus-depth-g-v1-0",
        _SINGLE_FILES,
        "lotus-depth-g-v1-0.safetensors",
        "fp32",
        None,
    ),
    (
        "lotus-normal-g-v1-0-fp32",
        "lotus-normal-g-v1-0",
        _SINGLE_FILES,
        "lotus-normal-g-v1-0.safetensors",
        "fp32",
        None,
    ),
    (
        "lotus-normal-d-v1-0-fp32",
        "lotus-normal-d-v1-0",
        _SINGLE_FILES,
        "lotus-normal-d-v1-0.safetensors",
        "fp32",
        None,
    ),
)
"""UNet-only files. The first six are smaller forms of a repository's weights, and take its short name."""


def repository_entry(
    name: str, repository: str, output: OutputKind | None, mode: Mode | None
) -> CatalogEntry:
    """Return the entry of a diffusers repository with ``unet/`` and ``vae/`` folders.

    Args:
        name: What a user types.
        repository: Hub id, ``owner/name``.
        output: What it estimates, None if unknown.
        mode: "g" or "d", None if unknown.
    """
    weights = repository.rsplit("/", 1)[-1]

    def file(path: str, about_bytes: int) -> RemoteFile:
        return RemoteFile(repository, path, about_bytes)

    return CatalogEntry(
        name=name,
        weights=weights,
        output=output,
        mode=mode,
        layout="folder",
        unet=file("unet/diffusion_pytorch_model.safetensors", 4 * _UNET_WEIGHTS[mode or "g"]),
        vae=file("vae/diffusion_pytorch_model.safetensors", 4 * _VAE_WEIGHTS),
        configs=(file("unet/config.json", _CONFIG_BYTES), file("vae/config.json", _CONFIG_BYTES)),
        text_encoder_repository=repository,
        replaced_by=_REPLACED_BY.get(weights),
        aliases=(repository, name.replace("/", "--") + ".safetensors"),
    )


def published_entries() -> tuple[CatalogEntry, ...]:
    """Return every published checkpoint: short names first, then other files of the same weights."""
    kinds: dict[str, tuple[OutputKind, Mode]] = {
        weights: (output, mode) for weights, output, mode in _REPOSITORIES
    }
    files = [_file_entry(kinds, *row) for row in _FILES]
    short = {entry.name: entry for entry in files}
    main = [short.get(name) or repository_entry(name, f"{_AUTHORS}/{name}", *kinds[name]) for name in kinds]
    other_files = [entry for entry in files if entry.name not in kinds]
    other_repositories = [
        repository_entry(f"{_AUTHORS}/{name}", f"{_AUTHORS}/{name}", *kinds[name])
        for name in kinds
        if name in short
    ]
    return (*main, *other_files, *other_repositories)


def _file_entry(
    kinds: dict[str, tuple[OutputKind, Mode]],
    name: str,
    weights: str,
    repository: str,
    path: str,
    precision: Precision,
    size: int | None,
) -> CatalogEntry:
    weights = weights or name
    output, mode = kinds[weights]
    about = _UNET_WEIGHTS[mode] * _WEIGHT_BYTES[precision]
    return CatalogEntry(
        name=name,
        weights=weights,
        output=output,
        mode=mode,
        layout="file",
        unet=RemoteFile(repository, path, size or about, size=size),
        vae=SHARED_VAE,
        text_encoder_repository=f"{_AUTHORS}/{weights}",
        precision=precision,
        replaced_by=_REPLACED_BY.get(weights),
        aliases=(path,),
    )


def bundled_entries() -> tuple[CatalogEntry, ...]:
    """Return the small models that come with the package, for trying the graph offline and for tests."""
    return tuple(
        CatalogEntry(
            name=name,
            weights=name,
            output=output,
            mode=bundled_mode(name),
            layout="bundled",
            unet=None,
            vae=None,
            precision="fp16",
            default_resolution=BUNDLED_RESOLUTION,
        )
        for name, output in BUNDLED.items()
    )
