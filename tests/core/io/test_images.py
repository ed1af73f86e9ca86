"""Reading photographs: modes, bit depths, orientation, and what damaged files get."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.errors import ImageError, InputError
from lotus_core.io.images import IMAGE_SUFFIXES, read_image

ORIENTATION, EXIF_IFD, FOCAL_35MM = 0x0112, 0x8769, 0xA405


def picture(height: int = 24, width: int = 20) -> np.ndarray:
    """Return (H, W, 3) uint8 in which every pixel says where it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 5, (rows + columns) * 2], -1).astype(np.uint8)


def save(path, array: np.ndarray, mode: str | None = None, **kwargs):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **kwargs)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_lossless_rgb_is_divided_by_255(tmp_path, suffix):
    found = read_image(save(tmp_path / f"a{suffix}", picture()))
    assert found.pixels.shape == (1, 24, 20, 3)
    assert found.pixels.dtype == torch.float32
    assert torch.equal(found.pixels[0], torch.from_numpy(picture().astype(np.float32) / 255))


@pytest.mark.parametrize(("suffix", "form"), [(".jpg", "JPEG"), (".webp", "WEBP"), (".gif", "GIF")])
def test_lossy_formats_are_close(tmp_path, suffix, form):
    smooth = picture()
    found = read_image(save(tmp_path / f"a{suffix}", smooth))
    assert found.format == form
    assert (found.pixels[0] - torch.from_numpy(smooth / 255)).abs().mean() < 0.03


def test_white_is_exactly_one_and_black_zero(tmp_path):
    array = np.zeros((16, 16, 3), np.uint8)
    array[8:] = 255
    found = read_image(save(tmp_path / "a.png", array)).pixels
    assert found[0, 0].unique().tolist() == [0.0]
    assert found[0, 15].unique().tolist() == [1.0]


def test_format_does_not_come_from_the_suffix(tmp_path):
    save(tmp_path / "a.png", picture()).rename(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").format == "PNG"


def test_path_may_be_text(tmp_path):
    path = save(tmp_path / "a.png", picture())
    assert read_image(str(path)).path == path


def test_grey_is_repeated(tmp_path):
    grey = picture()[..., 0]
    found = read_image(save(tmp_path / "a.png", grey)).pixels[0]
    for channel in range(3):
        assert torch.equal(found[..., channel], torch.from_numpy(grey.astype(np.float32) / 255))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_precision(tmp_path, suffix):
    levels = (np.arange(24 * 20, dtype=np.uint16) * 136 + 1).reshape(24, 20)
    found = read_image(save(tmp_path / f"a{suffix}", levels)).pixels[0]
    assert torch.allclose(found[..., 1], torch.from_numpy(levels.astype(np.float32) / 65535), atol=1e-7)


def test_16_bit_colour_is_read(tmp_path):
    levels = (picture().astype(np.uint16) * 257).astype(">u2")  # 257 * v is the 16-bit level of 8-bit v
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 20, 24, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert torch.allclose(read_image(tmp_path / "a.png").pixels[0], torch.from_numpy(picture() / 255).float())


def test_floating_point_tiff_keeps_its_values(tmp_path):
    values = np.linspace(-0.5, 1.5, 24 * 20, dtype=np.float32).reshape(24, 20)
    found = read_image(save(tmp_path / "a.tif", values)).pixels[0]
    assert torch.equal(found[..., 2], torch.from_numpy(values))  # predict_* clamps them, with a warning


def test_alpha_is_dropped_not_composited(tmp_path):
    rgba = np.dstack([picture(), np.zeros((24, 20), np.uint8)])  # wholly transparent
    found = read_image(save(tmp_path / "a.png", rgba)).pixels[0]
    assert torch.equal(found, torch.from_numpy(picture().astype(np.float32) / 255))


def test_grey_with_alpha_is_read(tmp_path):
    found = read_image(save(tmp_path / "a.png", np.dstack([picture()[..., 0], picture()[..., 1]])))
    assert torch.equal(found.pixels[0, ..., 0], torch.from_numpy(picture()[..., 0] / 255).float())


def test_palette_becomes_its_colours(tmp_path):
    array = np.zeros((16, 16), np.uint8)
    array[:, 8:] = 1
    image = Image.fromarray(array).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * (254 * 3))
    image.putdata(array.flatten().tolist())
    image.save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png").pixels[0]
    assert found[0, 0].tolist() == [1.0, 0.0, 0.0]
    assert found[0, 15].tolist() == [0.0, 0.0, 1.0]


def test_palette_with_transparent_entries_is_read_without_a_warning(tmp_path):
    image = Image.fromarray(picture()).quantize(16)
    image.info["transparency"] = bytes([0, 128] + [255] * 14)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128] + [255] * 14))
    assert read_image(tmp_path / "a.png").pixels.shape == (1, 24, 20, 3)


def test_bilevel_is_black_and_white(tmp_path):
    array = np.zeros((16, 16), np.uint8)
    array[:4] = 255
    found = read_image(save(tmp_path / "a.png", array, "1")).pixels[0]
    assert (found[0, 0, 0], found[15, 0, 0]) == (1.0, 0.0)


def test_cmyk_becomes_rgb(tmp_path):
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 0] = 255  # full cyan on white paper takes all red away
    Image.frombytes("CMYK", (16, 16), ink.tobytes()).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").pixels[0, 5, 5].tolist() == [0.0, 1.0, 1.0]


def test_first_of_several_frames_is_taken(tmp_path):
    first, second = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 255, 0))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.tif").pixels[0, 0, 0].tolist() == [1.0, 0.0, 0.0]


# What each orientation says about the stored array (EXIF 2.32, table of tag 274), as what shows it upright.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # row 0 is the top, column 0 the right-hand side
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a[::-1].transpose(1, 0, 2),  # row 0 is the right-hand side, column 0 the top
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(tmp_path / "a.png", picture(), exif=exif)
    expected = torch.from_numpy(np.ascontiguousarray(UPRIGHT[orientation](picture()))).float() / 255
    assert torch.equal(read_image(tmp_path / "a.png").pixels[0], expected)


def test_orientation_that_does_not_exist_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    save(tmp_path / "a.jpg", picture(), exif=exif)
    assert read_image(tmp_path / "a.jpg").pixels.shape == (1, 24, 20, 3)


@pytest.mark.parametrize(("value", "expected"), [(28, 28.0), (0, None)])
def test_35_mm_focal_length_comes_from_exif(tmp_path, value, expected):
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[FOCAL_35MM] = value
    save(tmp_path / "a.jpg", picture(), exif=exif)
    assert read_image(tmp_path / "a.jpg").focal_35mm_mm == expected


def test_no_exif_has_no_focal_length(tmp_path):
    assert read_image(save(tmp_path / "a.jpg", picture())).focal_35mm_mm is None


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    save(tmp_path / "a.png", picture(), exif=b"Exif\x00\x00not a tiff header")
    found = read_image(tmp_path / "a.png")
    assert found.pixels.shape == (1, 24, 20, 3)
    assert found.focal_35mm_mm is None


def test_smallest_size_is_16_pixels(tmp_path):
    assert read_image(save(tmp_path / "a.png", picture(16, 16))).pixels.shape == (1, 16, 16, 3)


@pytest.mark.parametrize(("height", "width"), [(15, 40), (40, 15), (1, 1)])
def test_side_under_16_is_refused(tmp_path, height, width):
    path = save(tmp_path / "small.png", picture(height, width))
    with pytest.raises(
        ImageError, match=rf"small.png is too small \(found: {width}x{height} pixels\): .* at least 16"
    ):
        read_image(path)


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match=r"a.png is empty \(found: 0 bytes\): copy or download it again"):
        read_image(tmp_path / "a.png")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"there is no file .*nowhere.png: check its name"):
        read_image(tmp_path / "nowhere.png")


def test_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="is a folder: name an image file"):
        read_image(tmp_path)


def test_text_is_refused_with_its_first_bytes(tmp_path):
    (tmp_path / "a.png").write_text("hello world, not a picture")
    with pytest.raises(
        ImageError, match=r"not an image that can be read \(found: .*b'hello wo'\): use PNG, JPEG"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("suffix", "keep"), [(".png", 0.6), (".jpg", 0.6), (".webp", 0.6), (".tif", 0.5), (".bmp", 0.5)]
)
def test_truncated_file_is_refused(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"cut{suffix}", noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ImageError, match=rf"cut{suffix} is (truncated or damaged|not an image)"):
        read_image(path)


@pytest.mark.parametrize("seed", range(8))
def test_altered_png_is_refused_or_read_but_nothing_else(tmp_path, seed):
    path = save(tmp_path / "a.png", picture())
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(seed).integers(8, len(data), 6):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError, match=r"a.png is"):
        read_image(path)


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as many
    with pytest.raises(ImageError, match=r"a.png is too large .*480 pixels.*: shrink it first"):
        read_image(save(tmp_path / "a.png", picture()))


def test_image_error_is_an_input_error():
    assert issubclass(ImageError, InputError)
    assert issubclass(ImageError, ValueError)


def test_suffixes_are_lower_case_with_a_dot():
    assert all(s.startswith(".") and s == s.lower() for s in IMAGE_SUFFIXES)
    assert {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"} <= IMAGE_SUFFIXES


def test_multi_picture_jpeg_of_a_phone_is_read(tmp_path):
    first, second = (Image.fromarray(picture(16, 20 + 4 * k)) for k in range(2))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.jpg").pixels.shape == (1, 16, 20, 3)
