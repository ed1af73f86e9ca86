from __future__ import annotations

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from torch.nn import functional as F

from lotus_core.inference.folding.resnet import ResnetBlock
from lotus_core.inference.folding.workspace import Workspace


def block(inputs: int, outputs: int, temb: int | None = 5) -> ResnetBlock2D:
    torch.manual_seed(inputs + outputs)
    made = ResnetBlock2D(in_channels=inputs, out_channels=outputs, temb_channels=temb, groups=2, eps=1e-6)
    return made.double().eval().requires_grad_(False)


def embeddings() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    names = ("annotation", "reconstruction")
    return {name: torch.randn(5, generator=generator, dtype=torch.float64) for name in names}


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 6), (6, 8)])
def test_the_folded_embedding_changes_nothing(inputs, outputs, task):
    plain, x = block(inputs, outputs), torch.randn(2, inputs, 9, 13, dtype=torch.float64)
    folded = ResnetBlock(plain, embeddings())
    wanted = plain(x, embeddings()[task][None])
    torch.testing.assert_close(folded(x, Workspace(True), task), wanted, atol=1e-12, rtol=0)


def test_the_embedding_can_stay(task):
    plain, x = block(6, 6), torch.randn(2, 6, 5, 4, dtype=torch.float64)
    kept = ResnetBlock(plain, None)
    emb = embeddings()[task][None]
    torch.testing.assert_close(kept(x, Workspace(True), task, emb), plain(x, emb), atol=1e-12, rtol=0)


def test_a_block_without_embedding_needs_none():
    plain, x = block(6, 8, temb=None), torch.randn(1, 6, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(ResnetBlock(plain)(x, Workspace(True)), plain(x, None), atol=1e-12, rtol=0)


def test_the_projection_is_gone_and_the_weights_are_shared():
    plain = block(6, 8)
    folded = ResnetBlock(plain, embeddings())
    assert folded.projection is None
    assert folded.conv1.weight.data_ptr() == plain.conv1.weight.data_ptr()
    assert folded.conv2 is plain.conv2
    assert folded.task_shift.weight.shape == (8, 1)


def test_the_original_block_is_not_changed():
    plain, x = block(6, 6), torch.randn(1, 6, 5, 4, dtype=torch.float64)
    emb = embeddings()["annotation"][None]
    before = plain(x, emb)
    ResnetBlock(plain, embeddings())(x, Workspace(True))
    assert torch.equal(plain(x, emb), before)


def test_the_bias_of_the_annotation_is_the_projection_of_its_embedding():
    plain = block(6, 8)
    folded = ResnetBlock(plain, embeddings())
    shift = plain.time_emb_proj(F.silu(embeddings()["annotation"]))
    torch.testing.assert_close(folded.conv1.bias, plain.conv1.bias + shift, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 6), (6, 8)])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.usefixtures("always_filter")
def test_filtered_in_fp32(inputs, outputs, in_place, task):
    plain = block(inputs, outputs).float()
    folded = ResnetBlock(plain, {k: v.float() for k, v in embeddings().items()}, in_place=in_place)
    x = torch.randn(2, inputs, 9, 13).contiguous(memory_format=torch.channels_last)
    wanted, kept = plain(x, embeddings()[task][None].float()), x.clone()
    torch.testing.assert_close(folded(x, Workspace(True), task), wanted, atol=1e-5, rtol=0)
    assert torch.equal(x, kept) or (in_place and inputs == outputs)
