"""What is in the files: names, values, notes, for predictions made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.cli.arguments import FORMATS, Style
from lotus_core.cli.products import (
    Destination,
    depth_product,
    normal_product,
    reconstruction_product,
    write,
)
from lotus_core.conventions import NormalConvention
from lotus_core.errors import NotWritableError
from lotus_core.types import DepthPrediction, NormalPrediction, Reconstruction
from tests.core.inference.models import info

STYLE = Style("grey", False, NormalConvention.LOTUS)
VALUES = torch.linspace(0.2, 0.6, 12).reshape(1, 3, 4)
SPREAD = torch.linspace(0.0, 0.1, 12).reshape(1, 3, 4)
UP = torch.tensor([0.0, -1.0, 0.0]).expand(1, 3, 4, 3)


def depth(kind="disparity", spread=None) -> DepthPrediction:
    return DepthPrediction(VALUES, kind, spread, info(output=kind))


def normals(vectors=UP, spread=None) -> NormalPrediction:
    return NormalPrediction(vectors, spread, info(output="normal"))


def written(product, folder: Path, formats=FORMATS, stem="a") -> list[str]:
    files = write(product, Path(stem), Destination(folder), formats)
    assert all(file.is_file() for file in files)
    return [file.relative_to(folder).as_posix() for file in files]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_files_of_disparity_are_named_by_what_they_hold(tmp_path):
    assert written(depth_product(depth(), STYLE), tmp_path) == [
        "a_depth.png",
        "a_disparity16.png",
        "a_disparity.exr",
        "a_disparity.npy",
        "a_disparity.npz",
    ]


def test_files_of_depth_are_named_by_what_they_hold(tmp_path):
    names = written(depth_product(depth("depth"), STYLE), tmp_path)
    assert names == ["a_depth.png", "a_depth16.png", "a_depth.exr", "a_depth.npy", "a_depth.npz"]


def test_uncertainty_is_written_beside_the_map(tmp_path):
    names = written(depth_product(depth(spread=SPREAD), STYLE), tmp_path)
    assert "a_depth_uncertainty.png" in names
    assert "a_disparity_uncertainty.npy" in names


def test_formats_are_written_in_the_order_asked_for(tmp_path):
    assert written(depth_product(depth(), STYLE), tmp_path, ["npz", "png"]) == [
        "a_disparity.npz",
        "a_depth.png",
    ]


def test_stem_may_have_a_folder(tmp_path):
    assert written(depth_product(depth(), STYLE), tmp_path, ["png"], "sub/deep/a") == ["sub/deep/a_depth.png"]


@pytest.mark.parametrize(("kind", "near"), [("disparity", (2, 3)), ("depth", (0, 0))])
def test_picture_has_near_white_for_either_kind(tmp_path, kind, near):
    written(depth_product(depth(kind), STYLE), tmp_path, ["png"])
    found = pixels(tmp_path / "a_depth.png")
    assert found.shape == (3, 4, 3)
    assert found[near].tolist() == [255, 255, 255]


def test_16_bit_data_are_the_values_themselves_not_stretched(tmp_path):
    written(depth_product(depth(), STYLE), tmp_path, ["png16"])
    assert np.abs(pixels(tmp_path / "a_disparity16.png") / 65535.0 - VALUES[0].numpy()).max() < 1e-5


def test_arrays_are_exact_and_say_what_they_are(tmp_path):
    written(depth_product(depth(spread=SPREAD), STYLE), tmp_path, ["npy", "npz"])
    assert np.array_equal(np.load(tmp_path / "a_disparity.npy"), VALUES[0].numpy())
    assert np.array_equal(np.load(tmp_path / "a_disparity_uncertainty.npy"), SPREAD[0].numpy())
    with np.load(tmp_path / "a_disparity.npz") as file:
        assert np.array_equal(file["disparity"], VALUES[0].numpy())
        assert np.array_equal(file["uncertainty"], SPREAD[0].numpy())
        assert (str(file["kind"]), str(file["high"])) == ("disparity", "near")
        assert str(file["model"]) == "test-disparity-d"


def test_depth_says_that_high_is_far(tmp_path):
    written(depth_product(depth("depth"), STYLE), tmp_path, ["npz"])
    with np.load(tmp_path / "a_depth.npz") as file:
        assert (str(file["kind"]), str(file["high"])) == ("depth", "far")


def test_exr_of_depth_has_one_grey_channel_and_a_layer(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    written(depth_product(depth(spread=SPREAD), STYLE), tmp_path, ["exr"])
    with openexr.File(str(tmp_path / "a_disparity.exr"), separate_channels=True) as file:
        channels = {name: channel.pixels.copy() for name, channel in file.channels().items()}
        header = dict(file.header())
    assert np.array_equal(channels["Y"], VALUES[0].numpy())
    assert np.array_equal(channels["uncertainty.Y"], SPREAD[0].numpy())
    assert (header["lotusKind"], header["lotusHigh"]) == ("disparity", "near")


@pytest.mark.parametrize(
    ("convention", "colour"), [("lotus", 255), ("opengl", 255), ("directx", 0), ("opencv", 0)]
)
def test_floor_is_painted_by_the_convention(tmp_path, convention, colour):
    style = Style("grey", False, NormalConvention(convention))
    written(normal_product(normals(), style), tmp_path, ["png", "png16"])
    assert pixels(tmp_path / "a_normal.png")[0, 0].tolist() == [128, colour, 128]
    with Image.open(tmp_path / "a_normal16.png") as image:
        assert image.info["Lotus convention"] == convention


def test_exr_of_normals_has_signed_components_of_the_convention(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    written(normal_product(normals(), STYLE), tmp_path, ["exr"])
    with openexr.File(str(tmp_path / "a_normal.exr"), separate_channels=True) as file:
        found = [float(file.channels()[name].pixels[0, 0]) for name in "RGB"]
        assert dict(file.header())["lotusConvention"] == "lotus"
    assert found == pytest.approx([0.0, 1.0, 0.0])  # G = up in Lotus's colours


def test_arrays_of_normals_are_opencv_vectors_in_any_convention(tmp_path):
    style = Style("grey", False, NormalConvention.OPENGL)
    written(normal_product(normals(spread=SPREAD * 100), style), tmp_path, ["npy", "npz"])
    assert np.array_equal(np.load(tmp_path / "a_normal.npy"), UP[0].numpy())
    with np.load(tmp_path / "a_normal.npz") as file:
        assert np.array_equal(file["normal"], UP[0].numpy())
        assert str(file["frame"]) == "opencv"
        assert "convention" not in file.files
        assert np.array_equal(file["uncertainty"], SPREAD[0].numpy() * 100)


def test_reconstruction_is_a_picture(tmp_path):
    images = torch.rand(1, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    product = reconstruction_product(Reconstruction(images, info()))
    names = written(product, tmp_path)
    assert names[:2] == ["a_reconstruction.png", "a_reconstruction16.png"]
    assert np.abs(pixels(tmp_path / "a_reconstruction.png") / 255 - images[0].numpy()).max() <= 0.51 / 255
    assert np.array_equal(np.load(tmp_path / "a_reconstruction.npy"), images[0].numpy())


def test_model_name_beyond_latin_1_does_not_fail(tmp_path):
    prediction = DepthPrediction(VALUES, "depth", None, info(name="深度-model"))
    written(depth_product(prediction, STYLE), tmp_path)
    with Image.open(tmp_path / "a_depth.png") as image:
        assert image.info["Lotus model"] == "??-model"


def test_input_is_never_overwritten(tmp_path):
    photo = tmp_path / "a_depth.png"
    photo.write_bytes(b"a photograph with an unlucky name")
    with pytest.raises(
        NotWritableError, match=r"a_depth.png is an input of this run: choose another output folder"
    ):
        write(
            depth_product(depth(), STYLE),
            Path("a"),
            Destination(tmp_path, frozenset({photo.resolve()})),
            ["png"],
        )
    assert photo.read_bytes() == b"a photograph with an unlucky name"
