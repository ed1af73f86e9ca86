"""The files that a command leaves for one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotWritableError
from ..io.arrays import write_npy, write_npz
from ..io.exr import write_exr
from ..io.png import write_png8, write_png16
from ..rendering.depth import colorize_depth
from ..rendering.normal import normal_rgb
from ..rendering.uncertainty import colorize_uncertainty
from .arguments import Format, Style

if TYPE_CHECKING:
    from torch import Tensor

    from ..types import DepthPrediction, NormalPrediction, Reconstruction


@dataclass(frozen=True)
class Product:
    """One map of one image, in every form in which it can be written.

    Attributes:
        name: What the values are, part of the names of data files: "depth", "disparity", "normal"...
        picture_name: Part of the picture's name: "depth" for disparity too, since near is white for either.
        picture: (H, W, 3) float in [0, 1], to look at.
        levels: (H, W) or (H, W, 3) float in [0, 1], for 16-bit PNG.
        planes: (H, W) float by EXR channel.
        values: (H, W) or (H, W, 3) float32, for NPY and NPZ.
        notes: What the values mean, for the headers of all files.
        uncertainty: (H, W) float, or None.
        uncertainty_picture: (H, W, 3) float in [0, 1], or None.
    """

    name: str
    picture_name: str
    picture: Tensor
    levels: Tensor
    planes: Mapping[str, Tensor]
    values: Tensor
    notes: Mapping[str, str]
    uncertainty: Tensor | None = None
    uncertainty_picture: Tensor | None = None


@dataclass(frozen=True)
class Destination:
    """Where results go, and what must not be overwritten there.

    Attributes:
        folder: The output folder.
        inputs: Resolved paths of the files that are read in this run.
    """

    folder: Path
    inputs: frozenset[Path] = field(default_factory=frozenset)

    def file(self, stem: Path, suffix: str) -> Path:
        """Return the path of a result: the folder, the stem, an underscore and the suffix.

        Raises:
            NotWritableError: It is one of the files that this run reads.
        """
        path = self.folder / stem.parent / f"{stem.name}_{suffix}"
        if path.resolve() in self.inputs:
            raise NotWritableError(f"{path} is an input of this run", remedy="choose another output folder")
        return path


def depth_product(prediction: DepthPrediction, style: Style) -> Product:
    """Return the depth or disparity of the only image of a prediction, ready to be written."""
    values, kind, spread = prediction.values, prediction.kind, prediction.uncertainty
    picture = colorize_depth(values, kind, colormap=style.colormap, reverse=style.reverse)
    return Product(
        name=kind,
        picture_name="depth",
        picture=picture[0],
        levels=values[0],
        planes={"Y": values[0]},
        values=values[0],
        notes={"model": prediction.model.name, "kind": kind, "high": "far" if kind == "depth" else "near"},
        uncertainty=None if spread is None else spread[0],
        uncertainty_picture=None if spread is None else colorize_uncertainty(spread)[0],
    )


def normal_product(prediction: NormalPrediction, style: Style) -> Product:
    """Return the normals of the only image of a prediction, ready to be written.

    Pictures, 16-bit PNG and EXR follow the convention of the style (EXR holds signed components, R, G, B in
    [-1, 1]); NPY and NPZ hold OpenCV vectors.
    """
    rgb = normal_rgb(prediction.vectors, style.convention)[0]
    signed = rgb * 2.0 - 1.0
    spread = prediction.uncertainty
    return Product(
        name="normal",
        picture_name="normal",
        picture=rgb,
        levels=rgb,
        planes=dict(zip("RGB", signed.unbind(-1), strict=True)),
        values=prediction.vectors[0],
        notes={"model": prediction.model.name, "kind": "normal", "convention": style.convention.value},
        uncertainty=None if spread is None else spread[0],
        uncertainty_picture=None if spread is None else colorize_uncertainty(spread)[0],
    )


def reconstruction_product(result: Reconstruction) -> Product:
    """Return the only image of a reconstruction, ready to be written."""
    rgb = result.images[0]
    return Product(
        name="reconstruction",
        picture_name="reconstruction",
        picture=rgb,
        levels=rgb,
        planes=dict(zip("RGB", rgb.unbind(-1), strict=True)),
        values=rgb,
        notes={"model": result.model.name, "kind": "reconstruction"},
    )


def write(product: Product, stem: Path, destination: Destination, formats: Sequence[Format]) -> list[Path]:
    """Write a product in several formats and return the files, in the order of the formats.

    The uncertainty goes into a picture and an NPY of its own, a layer of the EXR, and an entry of the NPZ.

    Args:
        product: What to write.
        stem: Where, relative to the output folder and without a suffix.
        destination: The output folder.
        formats: Which files.

    Raises:
        StorageError: No space, or not writable.
        NonFiniteError: NaN or infinity.
        MissingExtraError: EXR without the package that writes it.
    """
    writers = {"png": _png, "png16": _png16, "exr": _exr, "npy": _npy, "npz": _npz}
    return [path for form in formats for path in writers[form](product, stem, destination)]


def _png(product: Product, stem: Path, destination: Destination) -> list[Path]:
    text = _text(product)
    files = [write_png8(destination.file(stem, f"{product.picture_name}.png"), product.picture, text=text)]
    if product.uncertainty_picture is not None:
        path = destination.file(stem, f"{product.picture_name}_uncertainty.png")
        files.append(write_png8(path, product.uncertainty_picture, text=text))
    return files


def _png16(product: Product, stem: Path, destination: Destination) -> list[Path]:
    path = destination.file(stem, f"{product.name}16.png")
    return [write_png16(path, product.levels, text=_text(product))]


def _exr(product: Product, stem: Path, destination: Destination) -> list[Path]:
    planes = dict(product.planes)
    if product.uncertainty is not None:
        planes["uncertainty.Y"] = product.uncertainty
    attributes = {f"lotus{name.capitalize()}": value for name, value in product.notes.items()}
    return [write_exr(destination.file(stem, f"{product.name}.exr"), planes, attributes=attributes)]


def _npy(product: Product, stem: Path, destination: Destination) -> list[Path]:
    files = [write_npy(destination.file(stem, f"{product.name}.npy"), product.values)]
    if product.uncertainty is not None:
        files.append(
            write_npy(destination.file(stem, f"{product.name}_uncertainty.npy"), product.uncertainty)
        )
    return files


def _npz(product: Product, stem: Path, destination: Destination) -> list[Path]:
    notes = {name: value for name, value in product.notes.items() if name != "convention"}
    if product.name == "normal":
        notes["frame"] = "opencv"
    entries = {product.name: product.values, **notes}
    if product.uncertainty is not None:
        entries["uncertainty"] = product.uncertainty
    return [write_npz(destination.file(stem, f"{product.name}.npz"), entries)]


def _text(product: Product) -> dict[str, str]:
    latin = {
        name: value.encode("latin-1", "replace").decode("latin-1") for name, value in product.notes.items()
    }
    return {f"Lotus {name}": value for name, value in latin.items()}
