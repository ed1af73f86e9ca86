"""The empty prompt's embedding: the constant context of every Lotus step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import CheckpointError, ShapeError
from .files import PROMPT_FILE, CheckpointFiles
from .header import read_header
from .mapping import map_tensors

if TYPE_CHECKING:
    from torch import Tensor

PROMPT_KEY: Final = "prompt_embeds"


def prompt_embedding(files: CheckpointFiles, width: int) -> Tensor:
    """Return a checkpoint's empty-prompt embedding: the file beside the weights.

    Returns:
        (1, T, width) float32 on the CPU; T is 2 (BOS, EOS) for published checkpoints.

    Raises:
        CheckpointError: Neither an embedding nor a text encoder is at hand.
        ShapeError: The embedding is of another width than the UNet's cross-attention.
    """
    if files.prompt_embeds is not None:
        return require_width(read_prompt(files.prompt_embeds), width)
    raise CheckpointError(
        f"{files.name} comes without the embedding of the empty prompt",
        path=files.unet,
        found="neither prompt_embeds.safetensors nor a text_encoder folder beside the weights",
        remedy=f"pass prompt_embeds, or put {PROMPT_FILE} beside the weights",
    )


def read_prompt(path: Path) -> Tensor:
    """Return the embedding kept in a file, (1, T, C) float32, copied out of it.

    Raises:
        CheckpointError: The file holds no tensor "prompt_embeds".
        CorruptFileError: Not a well-formed safetensors file.
    """
    tensors = map_tensors(read_header(path))
    if PROMPT_KEY not in tensors:
        raise CheckpointError(
            f"{path.name} holds no prompt embedding",
            path=path,
            found=f"the tensors {', '.join(sorted(tensors)[:4])}",
            remedy=f'keep the embedding under the key "{PROMPT_KEY}"',
        )
    return tensors[PROMPT_KEY].float().clone()


def require_width(embeds: Tensor, width: int) -> Tensor:
    """Return an embedding as float32 on the CPU, checked against the UNet.

    Raises:
        ShapeError: Not (1, T, width), T at least 1.
    """
    shape = tuple(embeds.shape)
    if len(shape) != 3 or shape[0] != 1 or shape[1] < 1 or shape[2] != width:
        raise ShapeError(
            "prompt_embeds",
            shape,
            f"(1, T, {width})",
            remedy="pass the empty prompt's embedding of this checkpoint",
        )
    return embeds.detach().float().cpu()
