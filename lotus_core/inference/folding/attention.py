"""The transformer blocks of the UNet, their prompt folded away, and the attention of the autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .leaves import laid_out_like, linear, wide_bias, wide_weight

if TYPE_CHECKING:
    from .options import Folds


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a map's pixels to each other.

    Args:
        attention: The diffusers layer; leaves are shared where they are not concatenated.
        joined: Whether the three projections become one leaf.
    """

    def __init__(self, attention: Any, *, joined: bool) -> None:
        super().__init__()
        self.heads = attention.heads
        self.width = attention.to_q.out_features // attention.heads
        projections = [attention.to_q, attention.to_k, attention.to_v]
        if joined:
            weight = torch.cat([p.weight.data for p in projections])
            biased = projections[0].bias is not None
            bias = torch.cat([p.bias.data for p in projections]) if biased else None
            projections = [linear(weight, bias)]
        self.projections = nn.ModuleList(projections)
        self.out = attention.to_out[0]

    def forward(self, tokens: Tensor, batch: int) -> Tensor:
        """Return (B * N, C) from (B * N, C)."""
        if len(self.projections) == 1:
            q, k, v = self.projections[0](tokens).view(batch, -1, 3, self.heads, self.width).unbind(2)
        else:
            q, k, v = (p(tokens).view(batch, -1, self.heads, self.width) for p in self.projections)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(mixed.transpose(1, 2).reshape(tokens.shape))


class PromptAttention(nn.Module):
    """Cross-attention to a constant prompt, with its keys and values computed on every call.

    Args:
        attention: The diffusers layer; its leaves are shared.
        prompt: (T, D) float.
    """

    prompt: Tensor

    def __init__(self, attention: Any, prompt: Tensor) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q, self.to_k, self.to_v = attention.to_q, attention.to_k, attention.to_v
        self.out = attention.to_out[0]
        self.register_buffer("prompt", prompt, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (M, C) from (M, C)."""
        prompt = self.prompt.to(tokens)
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(0, 1)
            for t in (self.to_q(tokens), self.to_k(prompt), self.to_v(prompt))
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(tokens.shape))


class ConstantPromptAttention(nn.Module):
    """Cross-attention to a constant prompt as two thin matrices.

    With keys k_t and values v_t of head h, the logit of token t against the last token is linear in x,
    ``x . u_ht`` with ``u_ht = scale * Wq_h^T (k_t - k_last)``, and the result is
    ``c + sum_ht p_ht g_ht`` with ``g_ht = Wout_h (v_t - v_last)`` and ``c = b_out + sum_h Wout_h v_last``. For
    two tokens the weight p of the first is a sigmoid.

    Args:
        attention: The diffusers layer; nothing of it is kept.
        prompt: (T, D) float32, T >= 1. A single token counts as two equal ones: the result is the constant c.
    """

    def __init__(self, attention: Any, prompt: Tensor) -> None:
        super().__init__()
        self.heads = attention.heads
        query, out = wide_weight(attention.to_q), wide_weight(attention.to_out[0])
        prompt = (prompt if len(prompt) > 1 else prompt.expand(2, -1)).to(query.dtype)

        def by_head(values: Tensor) -> Tensor:
            return values.unflatten(0, (self.heads, -1))  # (heads, d, ...)

        keys, values = (
            by_head((wide_weight(p) @ prompt.T) + wide_bias(p)[:, None])
            for p in (attention.to_k, attention.to_v)
        )
        keys, last = keys[..., :-1] - keys[..., -1:], values[..., -1]
        values = values[..., :-1] - values[..., -1:]  # (heads, d, T - 1)
        logits = torch.einsum("hdc,hdt->htc", by_head(query), keys).flatten(0, 1) * attention.scale
        offsets = (
            torch.einsum("hd,hdt->ht", by_head(wide_bias(attention.to_q)), keys).flatten() * attention.scale
        )
        self.logits = linear(logits, offsets)
        mixed = torch.einsum("ohd,hdt->oht", out.unflatten(1, (self.heads, -1)), values).flatten(1)
        constant = wide_bias(attention.to_out[0]) + out @ last.flatten()
        self.mix = linear(mixed.contiguous(), constant)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (M, C) from (M, C)."""
        logits = self.logits(tokens)  # (M, heads * (T - 1))
        if logits.shape[-1] == self.heads:
            return self.mix(torch.sigmoid_(logits))
        logits = logits.unflatten(-1, (self.heads, -1))
        return self.mix(F.softmax(F.pad(logits, (0, 1)), dim=-1)[..., :-1].flatten(-2))


class TransformerBlock(nn.Module):
    """Self-attention, attention to the prompt and a gated feed-forward layer, each added to its input.

    Args:
        block: The diffusers block.
        prompt: (T, D) float32.
        folds: Which folds to apply.
    """

    def __init__(self, block: Any, prompt: Tensor, folds: Folds) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = block.norm1, block.norm2, block.norm3
        self.attention = SelfAttention(block.attn1, joined=folds.attention)
        self.prompt = (ConstantPromptAttention if folds.prompt else PromptAttention)(block.attn2, prompt)
        self.gated, self.narrow = block.ff.net[0].proj, block.ff.net[2]

    def forward(self, tokens: Tensor, batch: int) -> Tensor:
        """Return (B * N, C) from (B * N, C), which is overwritten."""
        tokens += self.attention(self.norm1(tokens), batch)
        tokens += self.prompt(self.norm2(tokens))
        value, gate = self.gated(self.norm3(tokens)).chunk(2, dim=-1)
        tokens += self.narrow(F.gelu(gate).mul_(value))
        return tokens


class SpatialTransformer(nn.Module):
    """A map through transformer blocks, pixel by pixel, added to itself.

    Args:
        transformer: The diffusers module.
        prompt: (T, D) float32.
        folds: Which folds to apply.
    """

    def __init__(self, transformer: Any, prompt: Tensor, folds: Folds) -> None:
        super().__init__()
        self.norm, self.proj_in, self.proj_out = transformer.norm, transformer.proj_in, transformer.proj_out
        self.blocks = nn.ModuleList(
            TransformerBlock(b, prompt, folds) for b in transformer.transformer_blocks
        )
        self.linear = isinstance(self.proj_in, nn.Linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w) from (B, C, h, w)."""
        B, _, h, w = x.shape
        y = self.norm(x)
        y = y if self.linear else self.proj_in(y)
        tokens = y.permute(0, 2, 3, 1).reshape(B * h * w, -1)
        tokens = self.proj_in(tokens) if self.linear else tokens
        for block in self.blocks:
            tokens = block(tokens, B)
        tokens = self.proj_out(tokens) if self.linear else tokens
        y = laid_out_like(tokens.view(B, h, w, -1).permute(0, 3, 1, 2), x)
        return (y if self.linear else self.proj_out(y)) + x


class PixelAttention(nn.Module):
    """The autoencoder's attention of a map's pixels to each other, added to the map.

    Args:
        attention: The diffusers layer.
        joined: Whether the three projections become one leaf.
    """

    def __init__(self, attention: Any, *, joined: bool) -> None:
        super().__init__()
        self.norm = attention.group_norm
        self.attention = SelfAttention(attention, joined=joined)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w) from (B, C, h, w)."""
        B, C, h, w = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(B * h * w, C)
        return laid_out_like(self.attention(tokens, B).view(B, h, w, C).permute(0, 3, 1, 2), x) + x
