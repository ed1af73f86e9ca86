from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lotus_core.errors import ShapeError
from lotus_core.inference.compiled import compile_codec
from lotus_core.inference.folding import FoldedCodec, Folds, fold_vae, vae
from lotus_core.inference.latent_codec import Codec, LatentCodec

from .conftest import random_vae

SIZES = [(9, 13), (1, 12), (4, 4)]
EACH_FOLD = [Folds.none(), *(Folds.only(name) for name in Folds.names()), Folds()]
IDS = ["none", *Folds.names(), "all"]


def pixels(height: int, width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(2, 3, 8 * height, 8 * width, generator=generator, dtype=torch.float64) * 2 - 1).to(
        dtype
    )


def latents(height: int, width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(
        2, 4, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).to(dtype)


@pytest.mark.parametrize("folds", EACH_FOLD, ids=IDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_fold_is_exact(double_vae, folds, size):
    plain, folded = LatentCodec(double_vae), fold_vae(double_vae, folds)
    with torch.no_grad():
        torch.testing.assert_close(
            folded.encode(pixels(*size)), plain.encode(pixels(*size)), atol=1e-10, rtol=0
        )
        torch.testing.assert_close(
            folded.decode(latents(*size)), plain.decode(latents(*size)), atol=1e-10, rtol=0
        )


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("quantising", [True, False])
def test_autoencoders_without_some_parts_work_too(attention, quantising):
    net = random_vae(attention=attention, quantising=quantising).double()
    plain, folded = LatentCodec(net), fold_vae(net)
    with torch.no_grad():
        torch.testing.assert_close(
            folded.encode(pixels(3, 5)), plain.encode(pixels(3, 5)), atol=1e-10, rtol=0
        )
        torch.testing.assert_close(
            folded.decode(latents(3, 5)), plain.decode(latents(3, 5)), atol=1e-10, rtol=0
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("always_filter")
def test_all_folds_in_fp32(double_vae, size):
    net = copy.deepcopy(double_vae).float()
    plain, folded = LatentCodec(net), fold_vae(net)
    rgb, x0 = pixels(*size, dtype=torch.float32), latents(*size, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(folded.encode(rgb), plain.encode(rgb), atol=1e-5, rtol=0)
        torch.testing.assert_close(folded.decode(x0), plain.decode(x0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 1e-1), (torch.float16, 1e-2)])
def test_all_folds_in_lower_precision(double_vae, dtype, tolerance):
    """Folded in float32, then cast: as near to the exact pixels as the unfolded network in that dtype."""
    plain, cast = LatentCodec(double_vae), LatentCodec(copy.deepcopy(double_vae).to(dtype))
    folded, x0 = fold_vae(copy.deepcopy(double_vae)).to(dtype), latents(9, 13)
    with torch.no_grad():
        exact = plain.decode(x0)
        error = (folded.decode(x0.to(dtype)).double() - exact).abs()
        plain_error = (cast.decode(x0.to(dtype)).double() - exact).abs()
    assert error.max() < tolerance
    assert error.mean() < 1.5 * plain_error.mean()


def test_the_reference_is_matched(golden_case, mini_vae):
    codec = fold_vae(mini_vae)
    latents_of_golden = codec._encode(
        golden_case.input("resized")
    )  # sides the reference floors: past the check
    torch.testing.assert_close(latents_of_golden, golden_case.input("rgb_latents"), atol=2e-5, rtol=0)
    decoded = codec.decode(golden_case.output("d", "anno", "unet_out"))
    torch.testing.assert_close(decoded, golden_case.output("d", "anno", "decoded"), atol=2e-5, rtol=0)


@pytest.mark.usefixtures("always_filter")
def test_the_reference_is_matched_by_minimal_filtering(golden_case, mini_vae):
    codec = fold_vae(mini_vae)
    latents_of_golden = codec._encode(golden_case.input("resized"))
    torch.testing.assert_close(latents_of_golden, golden_case.input("rgb_latents"), atol=2e-5, rtol=0)
    decoded = codec.decode(golden_case.output("d", "anno", "unet_out"))
    torch.testing.assert_close(decoded, golden_case.output("d", "anno", "decoded"), atol=2e-5, rtol=0)


@pytest.mark.parametrize("filtering", [True, False])
def test_inputs_are_left_alone(double_vae, filtering):
    codec = fold_vae(copy.deepcopy(double_vae).float(), Folds(filtering=filtering))
    rgb, x0 = pixels(4, 4, torch.float32), latents(4, 4, torch.float32)
    kept = rgb.clone(), x0.clone()
    codec.encode(rgb)
    codec.decode(x0)
    assert torch.equal(rgb, kept[0])
    assert torch.equal(x0, kept[1])


@pytest.mark.parametrize("piece", [1, 8 * 8 * 2, 10**6])
def test_a_batch_taken_in_pieces_is_the_batch(double_vae, monkeypatch, piece):
    codec = fold_vae(double_vae)
    rgb = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.cat([codec.encode(one[None]) for one in rgb])
    monkeypatch.setattr(vae, "_PIECE_PIXELS", piece)
    latents_of_batch = codec.encode(rgb)
    torch.testing.assert_close(latents_of_batch, wanted, atol=1e-12, rtol=0)
    decoded = torch.cat([codec.decode(one[None]) for one in wanted])
    torch.testing.assert_close(codec.decode(latents_of_batch), decoded, atol=1e-10, rtol=0)


def test_the_log_variance_is_not_computed(double_vae):
    codec = fold_vae(double_vae)
    assert double_vae.encoder.conv_out.out_channels == 8
    assert codec.encoder.conv_out.out_channels == 4
    assert codec.quant is None
    assert codec.post_quant is None


def test_a_bias_before_the_padding_does_not_reach_the_padding(double_vae):
    """The quantising bias acts inside the image only: with nothing else, borders see fewer of its neighbours."""
    net = copy.deepcopy(double_vae)
    net.post_quant_conv.weight.zero_()
    net.post_quant_conv.bias.fill_(1.0)
    net.decoder.conv_in.weight.fill_(1.0)
    net.decoder.conv_in.bias.zero_()
    codec = fold_vae(net)
    with_ones = torch.cat([latents(3, 3)[:1], torch.ones(1, 1, 3, 3, dtype=torch.float64)], dim=1)
    seen = codec.decoder.conv_in(with_ones)[0, 0]
    # 4 latent channels of ones, times the number of neighbours inside the image
    assert seen.tolist() == [[16.0, 24.0, 16.0], [24.0, 36.0, 24.0], [16.0, 24.0, 16.0]]


def test_every_weight_lives_in_a_leaf_that_a_host_knows(double_vae):
    for module in fold_vae(double_vae).modules():
        if list(module.parameters(recurse=False)):
            assert type(module) in (nn.Linear, nn.Conv2d, nn.GroupNorm)


def test_it_is_a_codec_and_checks_like_one(double_vae):
    codec = fold_vae(double_vae)
    assert isinstance(codec, Codec)
    assert isinstance(codec, FoldedCodec)
    assert codec.scaling_factor == double_vae.config["scaling_factor"]
    with pytest.raises(ShapeError, match="multiples of 8"):
        codec.encode(torch.zeros(1, 3, 12, 8))
    with pytest.raises(ShapeError, match=r"expected \(B, 4, h, w\)"):
        codec.decode(torch.zeros(1, 3, 4, 4))


@torch.no_grad()
def test_each_direction_is_one_graph(double_vae):
    """Compiled without a break, and equal: traced by torch, not yet turned into machine code."""
    codec = fold_vae(copy.deepcopy(double_vae).float())
    graphs = compile_codec(codec, backend="eager", fullgraph=True)
    rgb, x0 = pixels(3, 5, torch.float32), latents(3, 5, torch.float32)
    torch.testing.assert_close(graphs.encode(rgb), codec.encode(rgb), atol=1e-5, rtol=0)
    torch.testing.assert_close(graphs.decode(x0), codec.decode(x0), atol=1e-5, rtol=0)
