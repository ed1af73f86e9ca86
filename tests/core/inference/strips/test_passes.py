from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from benchmarks.live_memory import LiveBytes
from lotus_core.inference.image import from_network, to_network, working_size
from lotus_core.inference.strips import StripPass, autoencoder_layers
from lotus_core.inference.strips.layers import Convolution, Doubling, Halving
from tests.nodes.host.process import REPOSITORY

from .conftest import codec_of

CPU = torch.device("cpu")
ONE_ROW, FEW_ROWS, ALL_ROWS = 1, 2**17, 2**40


def strip_pass(strip_bytes=FEW_ROWS, dtype=torch.float32, **hooks):
    return StripPass(CPU, dtype, strip_bytes, **hooks)


def pixels(batch, height, width, seed=1):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), [(64, 56), (40, 136), (16, 24)])
@pytest.mark.parametrize("strip_bytes", [ONE_ROW, FEW_ROWS, ALL_ROWS])
def test_strips_give_what_the_whole_network_gives(codec, height, width, strip_bytes):
    layers, rgb = autoencoder_layers(codec), pixels(2, height, width)
    with torch.no_grad():
        latents = codec.encode(rgb)
        maps = codec.decode(latents)
        by_strips = strip_pass(strip_bytes)
        torch.testing.assert_close(by_strips.encode(layers, rgb), latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(by_strips.decode(layers, latents), maps, atol=1e-4, rtol=1e-5)


@pytest.fixture(scope="module")
def photograph():
    with Image.open(REPOSITORY / "assets" / "photos" / "lobby.jpg") as image:
        rgb = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
        return rgb.view(1, image.height, image.width, 3).float() / 255


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"]
)
def test_no_seam_is_seen_in_a_decoded_photograph(trained_vae, photograph, dtype):
    """Under 2/255 between strips and the undivided network in the same type, in pixels, on the trained model.

    bf16 rounds to 1/256 of a value, so that two orders of the same sums lie two levels apart here and there: its
    difference must not be larger at the borders of strips than elsewhere.
    """
    codec, size = codec_of("folded", trained_vae), working_size(480, 640, 256)
    layers, rgb = autoencoder_layers(codec), to_network(photograph, size)
    codec = codec.to(dtype)
    with torch.no_grad():
        latents = codec.encode(rgb.to(dtype))
        whole = from_network(codec.decode(latents).float(), size)
        strips = from_network(strip_pass(dtype=dtype).decode(layers, latents).float(), size)
    codec.float()
    difference = (whole - strips).abs()
    if dtype is not torch.bfloat16:
        assert difference.max() < 2 / 255
    rows = difference.amax(dim=(0, 1, 3))
    assert difference.mean() < 2 / 255
    assert rows.max() < 6 * rows.median() + 1e-6


def test_the_device_holds_a_fraction_of_what_the_whole_network_takes(codec):
    """Counted where maps cannot hide: on a device of their own kind, strips and weights beside them."""
    layers, rgb = autoencoder_layers(codec), pixels(1, 128, 128)
    with torch.no_grad(), LiveBytes() as whole:
        latents = codec.encode(rgb)
    with torch.no_grad(), LiveBytes() as strips:
        strip_pass(ONE_ROW).encode(layers, rgb)
    assert strips.peak < 0.75 * whole.peak  # maps included, which on an accelerator are not on the device
    assert latents.shape == (1, 4, 16, 16)


def test_a_convolution_sees_the_rows_beyond_its_strip():
    conv = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    torch.nn.init.ones_(conv.weight)
    x = torch.arange(12.0).view(1, 1, 4, 3)
    with torch.no_grad():
        rows = strip_pass(ONE_ROW)._run([Convolution(conv)], x)
    # sums of 3x3 windows of 0..11, zeros outside: the corner sees 0 + 1 + 3 + 4
    assert rows[0, 0, 0, 0] == 8
    assert rows[0, 0, 1, 1] == 36  # 0 + 1 + ... + 8
    torch.testing.assert_close(rows, conv(x).detach())


@pytest.mark.parametrize("height", [2, 6, 10])
def test_halving_sees_one_row_of_zeros_after_the_end(height):
    conv = torch.nn.Conv2d(2, 3, 3, stride=2)
    x = torch.randn(1, 2, height, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = conv(F.pad(x, (0, 1, 0, 1)))
        torch.testing.assert_close(strip_pass(ONE_ROW)._run([Halving(conv)], x), expected)


def test_doubling_sees_one_small_row_beyond_its_strip():
    conv = torch.nn.Conv2d(2, 3, 3, padding=1)
    doubling = Doubling(lambda x: conv(F.interpolate(x, scale_factor=2.0, mode="nearest")), 3)
    x = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(strip_pass(ONE_ROW)._run([doubling], x), doubling.enlarge(x))


def test_normalisation_takes_its_moments_from_the_whole_map():
    norm = torch.nn.GroupNorm(2, 4)
    torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, 4, 6, 3, generator=torch.Generator().manual_seed(3)) * 50 + 300
    with torch.no_grad():
        scale, shift = strip_pass()._affine(norm, x)
        torch.testing.assert_close(x * scale + shift, norm(x), atol=1e-4, rtol=1e-4)


def test_the_callers_tensors_are_left_alone(codec):
    layers, rgb, latents = autoencoder_layers(codec), pixels(1, 16, 16), torch.ones(1, 4, 2, 2)
    before = rgb.clone()
    with torch.no_grad():
        strip_pass().encode(layers, rgb)
        strip_pass().decode(layers, latents)
    assert torch.equal(rgb, before)
    assert (latents == 1).all()


def test_a_stop_is_asked_for_between_layers(codec):
    seen = []

    def stop():
        seen.append(len(seen))
        if len(seen) == 4:
            raise InterruptedError("stopped")

    with pytest.raises(InterruptedError, match="stopped"), torch.no_grad():
        strip_pass(between_layers=stop).encode(autoencoder_layers(codec), pixels(1, 32, 32))
    assert len(seen) == 4
