from __future__ import annotations

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from lotus_core.errors import ArchitectureError, ShapeError
from lotus_core.inference.compiled import compile_step
from lotus_core.inference.folding import FoldedOneStep, Folds, fold_unet
from lotus_core.inference.one_step import OneStep, PlainOneStep

from .conftest import random_unet

SIZES = [(9, 13), (1, 96), (8, 8), (7, 16)]
EACH_FOLD = [Folds.none(), *(Folds.only(name) for name in Folds.names()), Folds()]
IDS = ["none", *Folds.names(), "all"]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def sample(mode: str, size: tuple[int, int], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return random(2, 8 if mode == "g" else 4, *size, dtype=dtype)


@pytest.mark.parametrize("folds", EACH_FOLD, ids=IDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_fold_is_exact(double_unets, mode, task, size, folds):
    unet, prompt = double_unets[mode], random(1, 2, 12, seed=1)
    x = sample(mode, size)
    with torch.no_grad():
        wanted = PlainOneStep(unet, prompt)(x, task)
    torch.testing.assert_close(fold_unet(unet, prompt, folds)(x, task), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("tokens", [1, 2, 5, 77])
def test_prompts_of_other_lengths_are_folded_too(double_unets, task, tokens):
    unet, prompt, x = double_unets["d"], random(1, tokens, 12, seed=1), sample("d", (9, 13))
    with torch.no_grad():
        wanted = PlainOneStep(unet, prompt)(x, task)
    torch.testing.assert_close(fold_unet(unet, prompt)(x, task), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("always_filter")
def test_all_folds_in_fp32(double_unets, mode, task, size):
    unet, prompt = copy.deepcopy(double_unets[mode]).float(), random(1, 2, 12, seed=1).float()
    x = sample(mode, size, torch.float32)
    with torch.no_grad():
        wanted = PlainOneStep(unet, prompt)(x, task)
    torch.testing.assert_close(fold_unet(unet, prompt)(x, task), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 6e-2), (torch.float16, 8e-3)])
def test_all_folds_in_lower_precision(double_unets, mode, task, dtype, tolerance):
    """Folded in float32, then cast: as near to the exact result as the unfolded network in that dtype."""
    unet, prompt, x = double_unets[mode], random(1, 2, 12, seed=1), sample(mode, (9, 13))
    with torch.no_grad():
        exact = PlainOneStep(unet, prompt)(x, task)
        cast = torch.nn.Module.to(copy.deepcopy(unet), dtype)
        plain = PlainOneStep(cast, prompt)(x.to(dtype), task).double()
        folded = fold_unet(copy.deepcopy(unet), prompt).to(dtype)(x.to(dtype), task)
    assert folded.dtype is dtype
    error = (folded.double() - exact).abs()
    assert error.max() < tolerance
    assert error.mean() < 1.5 * (plain - exact).abs().mean()


def test_the_reference_is_matched(golden_case, mini_unets, mode, task):
    step = fold_unet(mini_unets[mode], golden_case.input("prompt_embeds"))
    side = {"annotation": "anno", "reconstruction": "recon"}[task]
    x0 = step(golden_case.sample(mode), task)
    torch.testing.assert_close(x0, golden_case.output(mode, side, "unet_out"), atol=1e-4, rtol=0)


def test_convolutional_projections_work_too(task):
    unet, prompt, x = (
        random_unet("d", linear_projection=False).double(),
        random(1, 2, 12, seed=1),
        sample("d", (9, 13)),
    )
    with torch.no_grad():
        wanted = PlainOneStep(unet, prompt)(x, task)
    torch.testing.assert_close(fold_unet(unet, prompt)(x, task), wanted, atol=1e-10, rtol=0)


def test_every_image_of_a_batch_is_computed_alone(double_unets):
    step, x = fold_unet(double_unets["d"], random(1, 2, 12)), sample("d", (9, 13))
    torch.testing.assert_close(step(x)[1:], step(x[1:]), atol=1e-12, rtol=0)


def test_the_input_is_left_alone(double_unets):
    step, x = fold_unet(double_unets["d"], random(1, 2, 12)), sample("d", (8, 8))
    kept = x.clone()
    step(x)
    assert torch.equal(x, kept)


def test_constants_are_gone(double_unets):
    step = fold_unet(double_unets["d"], random(1, 2, 12))
    names = " ".join(name for name, _ in step.named_parameters())
    for gone in ("time", "embedding", "projection.", "to_k", "to_v"):
        assert gone not in names


def test_folding_leaves_fewer_parameters(double_unets):
    def parameters(network):
        return sum(p.numel() for p in network.parameters())

    count = {folds: parameters(fold_unet(double_unets["d"], random(1, 2, 12), folds)) for folds in EACH_FOLD}
    none = count[Folds.none()]
    assert none == parameters(double_unets["d"])
    assert count[Folds.only("time")] < none
    assert count[Folds.only("prompt")] < none
    assert count[Folds.only("upsample")] == count[Folds.only("attention")] == none


def test_every_weight_lives_in_a_leaf_that_a_host_knows(double_unets, mode):
    step = fold_unet(double_unets[mode], random(1, 2, 12))
    for module in step.modules():
        if list(module.parameters(recurse=False)):
            assert type(module) in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)
    assert not list(step.buffers())


def test_weights_are_shared_with_the_network_that_was_folded(double_unets):
    step = fold_unet(double_unets["d"], random(1, 2, 12))
    assert step.conv_in is double_unets["d"].conv_in
    first = double_unets["d"].down_blocks[0].resnets[0]
    assert step.down[0].resnets[0].conv1.weight.data_ptr() == first.conv1.weight.data_ptr()


def test_half_precision_weights_lose_nothing_to_the_folds(double_unets):
    """A checkpoint stored in fp16 that computes in fp32: its constants were never rounded to fp16."""
    stored = copy.deepcopy(double_unets["d"]).half()
    from_half = fold_unet(stored, random(1, 2, 12)).float()
    from_single = fold_unet(copy.deepcopy(stored).float(), random(1, 2, 12))
    for (name, a), b in zip(from_half.named_parameters(), from_single.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_it_is_a_one_step_of_the_right_kind(double_unets):
    step = fold_unet(double_unets["g"], random(1, 2, 12))
    assert isinstance(step, OneStep)
    assert isinstance(step, FoldedOneStep)
    assert step.in_channels == 8
    assert not step.training
    assert not any(p.requires_grad for p in step.parameters())
    with pytest.raises(ShapeError, match="append noise to the image latents"):
        step(torch.zeros(1, 4, 8, 8))


def test_a_prompt_of_another_width_is_refused(double_unets):
    with pytest.raises(ShapeError, match=r"prompt_embeds has shape \(1, 2, 7\), expected \(1, T, 12\)"):
        fold_unet(double_unets["d"], torch.zeros(1, 2, 7))


def test_a_network_without_a_task_switcher_is_refused():
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=12,
        layers_per_block=1,
    )
    with pytest.raises(ArchitectureError, match=r"task switcher.*found: NoneType"):
        fold_unet(unet, torch.zeros(1, 2, 12))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_cast_and_laid_out_where_they_are(double_unets, dtype):
    unet = copy.deepcopy(double_unets["d"]).half()
    step = fold_unet(unet, random(1, 2, 12), dtype=dtype)
    assert {p.dtype for p in step.parameters()} == {dtype}
    kernels = [p for p in step.parameters() if p.ndim == 4]
    assert all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels)
    assert unet.mid_block.resnets[0].conv1.weight is step.middle.resnets[0].conv1.weight


def test_weights_stay_as_they_are_without_the_layout(double_unets):
    unet = copy.deepcopy(double_unets["d"]).to(memory_format=torch.contiguous_format)
    address = unet.conv_in.weight.data_ptr()
    step = fold_unet(unet, random(1, 2, 12), Folds.only("time"))
    assert all(p.is_contiguous() for p in step.parameters())
    assert step.conv_in.weight.data_ptr() == address


def test_the_whole_step_is_one_graph(double_unets, task):
    """Compiled without a break, and equal: traced by torch, not yet turned into machine code."""
    step, x = (
        fold_unet(copy.deepcopy(double_unets["d"]).float(), random(1, 2, 12)),
        sample("d", (7, 16), torch.float32),
    )
    graph = compile_step(step, backend="eager", fullgraph=True)
    torch.testing.assert_close(graph(x, task), step(x, task), atol=1e-5, rtol=0)
    assert len(graph.graphs) == 1
