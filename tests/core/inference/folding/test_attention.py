from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from lotus_core.inference.folding import Folds
from lotus_core.inference.folding.attention import (
    ConstantPromptAttention,
    PixelAttention,
    PromptAttention,
    SelfAttention,
    SpatialTransformer,
    TransformerBlock,
)

WIDTH, PROMPT_WIDTH, HEADS = 12, 10, 3


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(*, cross: bool, bias: bool = False) -> Attention:
    torch.manual_seed(1)
    made = Attention(
        query_dim=WIDTH,
        cross_attention_dim=PROMPT_WIDTH if cross else None,
        heads=HEADS,
        dim_head=WIDTH // HEADS,
        bias=bias,
    )
    return made.double().eval().requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_self_attention_joined_or_not(joined, bias):
    plain, x = layer(cross=False, bias=bias), random(2, 7, WIDTH)
    y = SelfAttention(plain, joined=joined)(x.flatten(0, 1), 2)
    torch.testing.assert_close(y, plain(x).flatten(0, 1), atol=1e-12, rtol=0)


def test_joined_projections_are_one_leaf_of_the_same_size():
    joined = SelfAttention(layer(cross=False), joined=True)
    assert [p.weight.shape for p in joined.projections] == [(3 * WIDTH, WIDTH)]


@pytest.mark.parametrize("tokens", [1, 2, 3, 77])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [ConstantPromptAttention, PromptAttention])
def test_attention_to_a_prompt_of_any_length(kind, tokens, bias):
    plain, x, prompt = layer(cross=True, bias=bias), random(11, WIDTH), random(tokens, PROMPT_WIDTH, seed=2)
    wanted = plain(x[None], encoder_hidden_states=prompt[None])[0]
    torch.testing.assert_close(kind(plain, prompt)(x), wanted, atol=1e-12, rtol=0)


def test_two_tokens_leave_two_matrices_as_wide_as_there_are_heads():
    folded = ConstantPromptAttention(layer(cross=True), random(2, PROMPT_WIDTH))
    assert {name: tuple(p.shape) for name, p in folded.named_parameters()} == {
        "logits.weight": (HEADS, WIDTH),
        "logits.bias": (HEADS,),
        "mix.weight": (WIDTH, HEADS),
        "mix.bias": (WIDTH,),
    }


def test_a_prompt_token_that_every_query_ignores_leaves_the_other_value():
    # Keys: token 0 repels strongly, so the result is out(v1) for every x with positive entries.
    plain = layer(cross=True)
    for p in (plain.to_q, plain.to_k, plain.to_v):
        p.weight.zero_()
        p.weight.fill_diagonal_(1.0)
    prompt = torch.zeros(2, PROMPT_WIDTH, dtype=torch.float64)
    prompt[0] = -1e3
    y = ConstantPromptAttention(plain, prompt)(torch.ones(4, WIDTH, dtype=torch.float64))
    torch.testing.assert_close(y, plain.to_out[0].bias.expand(4, -1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("folds", [Folds.none(), Folds.only("prompt"), Folds.only("attention"), Folds()])
def test_a_transformer_block_keeps_its_result(folds):
    torch.manual_seed(2)
    plain = BasicTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, cross_attention_dim=PROMPT_WIDTH)
    plain = plain.double().eval().requires_grad_(False)
    x, prompt = random(2, 5, WIDTH), random(2, PROMPT_WIDTH, seed=2)
    wanted = plain(x, encoder_hidden_states=prompt.expand(2, -1, -1)).flatten(0, 1)
    y = TransformerBlock(plain, prompt, folds)(x.flatten(0, 1).clone(), 2)
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_spatial_transformer_keeps_its_result_and_its_input(linear, layout):
    torch.manual_seed(3)
    plain = Transformer2DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        in_channels=WIDTH,
        norm_num_groups=4,
        cross_attention_dim=PROMPT_WIDTH,
        use_linear_projection=linear,
    )
    plain = plain.double().eval().requires_grad_(False)
    x, prompt = random(2, WIDTH, 5, 3).contiguous(memory_format=layout), random(2, PROMPT_WIDTH, seed=2)
    kept = x.clone()
    wanted = plain(x, encoder_hidden_states=prompt.expand(2, -1, -1), return_dict=False)[0]
    y = SpatialTransformer(plain, prompt, Folds())(x)
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=0)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("joined", [False, True])
def test_attention_of_pixels_adds_to_the_map(joined):
    torch.manual_seed(4)
    plain = Attention(
        WIDTH, heads=1, dim_head=WIDTH, norm_num_groups=4, residual_connection=True, bias=True, eps=1e-6
    )
    plain = plain.double().eval().requires_grad_(False)
    x = random(2, WIDTH, 4, 6)
    torch.testing.assert_close(PixelAttention(plain, joined=joined)(x), plain(x), atol=1e-12, rtol=0)


def test_every_weight_lives_in_a_leaf_that_a_host_knows():
    prompt = random(2, PROMPT_WIDTH)
    torch.manual_seed(2)
    block = TransformerBlock(
        BasicTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, cross_attention_dim=PROMPT_WIDTH), prompt, Folds()
    )
    for module in block.modules():
        if list(module.parameters(recurse=False)):
            assert type(module) in (nn.Linear, nn.LayerNorm)
