import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lotus_core.errors import ImageError, LotusWarning, ShapeError
from lotus_core.inference.image import (
    WorkingSize,
    check_images,
    from_network,
    resize_map,
    to_network,
    working_size,
)

from .conftest import GOLDEN


def picture(height=24, width=40, channels=3, batch=1):
    return torch.rand((batch, height, width, channels), generator=torch.Generator().manual_seed(5))


class TestWorkingSize:
    def test_the_longest_side_becomes_the_resolution(self):
        assert working_size(480, 640, 768) == WorkingSize(480, 640, 576, 768)

    def test_it_enlarges_too(self):
        assert working_size(62, 50, 128) == WorkingSize(62, 50, 128, 103)

    def test_0_keeps_the_size_and_pads_to_multiples_of_8(self):
        size = working_size(77, 101, 0)
        assert (size.inner_height, size.inner_width) == (77, 101)
        assert size.padded == (80, 104)
        assert size.latent == (10, 13)

    def test_a_strip_keeps_at_least_one_pixel(self):
        assert working_size(16, 8000, 64).inner_height == 1

    @given(st.integers(16, 5000), st.integers(16, 5000), st.sampled_from([0, 16, 64, 768, 8192]))
    def test_padding_never_exceeds_seven_pixels(self, height, width, resolution):
        size = working_size(height, width, resolution)
        for padded, inner in zip(size.padded, (size.inner_height, size.inner_width), strict=True):
            assert 0 <= padded - inner < 8
            assert padded % 8 == 0


class TestCheckImages:
    def test_rgb_passes_unchanged(self):
        images = picture()
        assert torch.equal(check_images(images), images)

    def test_grey_is_repeated(self):
        grey = picture(channels=1)
        assert torch.equal(check_images(grey), grey.repeat(1, 1, 1, 3))

    def test_alpha_is_dropped(self):
        rgba = picture(channels=4)
        assert torch.equal(check_images(rgba), rgba[..., :3])

    def test_half_precision_becomes_fp32(self):
        assert check_images(picture().half()).dtype == torch.float32

    def test_values_outside_0_to_1_are_clamped_with_a_warning(self):
        images = picture()
        images[0, 0, 0, 0], images[0, 1, 1, 1] = -0.5, 2.0
        with pytest.warns(LotusWarning, match=r"clamped \(found -0.5 to 2\)"):
            checked = check_images(images)
        assert checked[0, 0, 0, 0] == 0.0
        assert checked[0, 1, 1, 1] == 1.0

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_nan_and_infinity_are_counted(self, bad):
        images = picture()
        images[0, 3, 4, 1] = bad
        with pytest.raises(ImageError, match=r"NaN or infinity \(found: 1 such pixels\)"):
            check_images(images)

    @pytest.mark.parametrize(
        ("images", "words"),
        [
            (torch.zeros(0, 24, 24, 3), "the batch is empty"),
            (torch.zeros(24, 24, 3), "add a batch dimension"),
            (torch.zeros(1, 24, 24, 5), "grey, RGB or RGBA, channels last"),
            (torch.zeros(1, 24, 24, 2), "grey, RGB or RGBA, channels last"),
        ],
    )
    def test_other_shapes_are_refused(self, images, words):
        with pytest.raises(ShapeError, match=words) as caught:
            check_images(images)
        assert caught.value.actual_shape == tuple(images.shape)

    def test_a_side_under_16_pixels_is_refused(self):
        with pytest.raises(ImageError, match=r"at least 16 pixels on each side \(found: 40x15\)"):
            check_images(picture(height=15))

    def test_integers_are_refused(self):
        with pytest.raises(ImageError, match=r"torch.uint8.*divide by 255"):
            check_images(torch.zeros(1, 24, 24, 3, dtype=torch.uint8))

    def test_arrays_are_refused(self):
        with pytest.raises(ImageError, match="must be a torch tensor"):
            check_images(np.zeros((1, 24, 24, 3)))


class TestToNetwork:
    @pytest.mark.parametrize(
        ("name", "case", "resolution"), [("native", "native_r0", 0), ("small", "small_up128", 128)]
    )
    def test_matches_the_reference(self, name, case, resolution):
        pixels = np.asarray(Image.open(GOLDEN / "golden" / "inputs" / f"{name}.png").convert("RGB"))
        expected = torch.from_numpy(np.load(GOLDEN / "golden" / "pipe" / case / "input.npz")["resized"])
        images = torch.from_numpy(pixels.copy())[None].float() / 255.0
        ours = to_network(images, working_size(images.shape[1], images.shape[2], resolution))
        height, width = expected.shape[-2:]
        torch.testing.assert_close(ours[..., :height, :width], expected, atol=1e-6, rtol=0)

    def test_black_and_white_become_minus_one_and_one(self):
        images = torch.stack([torch.zeros(16, 16, 3), torch.ones(16, 16, 3)])
        rgb = to_network(images, working_size(16, 16, 0))
        assert rgb[0].unique().tolist() == [-1.0]
        assert rgb[1].unique().tolist() == [1.0]

    def test_padding_repeats_the_last_row_and_column(self):
        rgb = to_network(picture(17, 21), working_size(17, 21, 0))
        assert rgb.shape == (1, 3, 24, 24)
        assert torch.equal(rgb[..., 17:, :21], rgb[..., 16:17, :21].expand(-1, -1, 7, -1))
        assert torch.equal(rgb[..., :17, 21:], rgb[..., :17, 20:21].expand(-1, -1, -1, 3))


class TestFromNetwork:
    def test_it_crops_and_clamps(self):
        decoded = torch.full((1, 3, 24, 24), 3.0)
        decoded[..., :8] = -3.0
        maps = from_network(decoded, working_size(17, 21, 0))
        assert maps.shape == (1, 3, 17, 21)
        assert maps[..., :8].max() == 0.0
        assert maps[..., 8:].min() == 1.0

    @pytest.mark.parametrize("mode", ["d", "g"])
    def test_matches_the_references_last_step(self, golden_case, mode):
        decoded = golden_case.output(mode, "anno", "decoded")
        final = golden_case.output(mode, "anno", "final")
        size = WorkingSize(final.shape[0], final.shape[1], decoded.shape[2], decoded.shape[3])
        maps = resize_map(from_network(decoded, size), size.height, size.width, "nearest-exact")
        torch.testing.assert_close(maps[0].movedim(0, -1), final, atol=1e-4, rtol=0)
        depth = golden_case.output(mode, "anno", "depth")
        torch.testing.assert_close(maps[0].mean(0), depth, atol=1e-4, rtol=0)


class TestResizeMap:
    def test_its_own_size_is_left_alone(self):
        maps = torch.rand(1, 3, 9, 7)
        assert resize_map(maps, 9, 7) is maps

    @pytest.mark.parametrize("mode", ["bilinear", "nearest-exact"])
    def test_a_constant_stays_constant(self, mode):
        resized = resize_map(torch.full((1, 3, 9, 7), 0.3), 31, 64, mode)
        assert resized.shape == (1, 3, 31, 64)
        torch.testing.assert_close(resized, torch.full_like(resized, 0.3))

    def test_nearest_doubles_by_repeating(self):
        maps = torch.tensor([[[[0.0, 1.0]]]])
        assert resize_map(maps, 2, 4, "nearest-exact").tolist() == [
            [[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]]
        ]

    def test_bilinear_places_quarter_steps(self):
        maps = torch.tensor([[[[0.0, 1.0]]]])
        assert resize_map(maps, 1, 4).flatten().tolist() == [0.0, 0.25, 0.75, 1.0]

    def test_shrinking_averages(self):
        checker = torch.tensor([[[[0.0, 1.0] * 8] * 16]])
        inner = resize_map(checker, 4, 4)[..., 1:3, 1:3]
        torch.testing.assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)
