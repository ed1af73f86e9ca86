from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.inference.latent_codec import Codec, LatentCodec


@pytest.fixture(scope="module")
def codec(mini_vae) -> LatentCodec:
    return LatentCodec(mini_vae)


def test_encodes_like_the_reference(golden_case, codec):
    with torch.inference_mode():
        latents = codec._encode(golden_case.input("resized"))  # sides the reference floors: past the check
    torch.testing.assert_close(latents, golden_case.input("rgb_latents"), atol=2e-5, rtol=0)


def test_latents_are_the_posterior_mean_times_the_scaling_factor(golden_case, codec):
    with torch.inference_mode():
        latents = codec._encode(golden_case.input("resized"))
    assert codec.scaling_factor == 0.18215
    torch.testing.assert_close(latents / 0.18215, golden_case.input("posterior_mean"), atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["d", "g"])
@pytest.mark.parametrize("side", ["anno", "recon"])
def test_decodes_like_the_reference(golden_case, codec, mode, side):
    with torch.inference_mode():
        pixels = codec.decode(golden_case.output(mode, side, "unet_out"))
    torch.testing.assert_close(pixels, golden_case.output(mode, side, "decoded"), atol=2e-5, rtol=0)


def test_encoding_is_deterministic(codec):
    rgb = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(codec.encode(rgb), codec.encode(rgb))


def test_one_latent_cell_stands_for_eight_pixels(codec):
    with torch.inference_mode():
        latents = codec.encode(torch.zeros(2, 3, 32, 8))
        assert latents.shape == (2, 4, 4, 1)
        assert codec.decode(latents).shape == (2, 3, 32, 8)
    assert isinstance(codec, Codec)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (3, 32, 32), (1, 32, 32, 3)])
def test_refuses_images_without_three_channels(codec, shape):
    with pytest.raises(ShapeError, match=r"rgb has shape .* expected \(B, 3, H, W\)"):
        codec.encode(torch.zeros(shape))


@pytest.mark.parametrize(("height", "width"), [(33, 32), (32, 12)])
def test_refuses_sides_that_are_no_multiple_of_eight(codec, height, width):
    with pytest.raises(ShapeError, match="multiples of 8: pad it first"):
        codec.encode(torch.zeros(1, 3, height, width))


def test_refuses_latents_of_another_width(codec):
    with pytest.raises(ShapeError, match=r"x0 has shape \(1, 8, 4, 4\), expected \(B, 4, h, w\)"):
        codec.decode(torch.zeros(1, 8, 4, 4))
