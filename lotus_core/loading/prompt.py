"""The empty prompt's embedding: the constant context of every Lotus step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import (
    CheckpointError,
    LotusWarning,
    MissingExtraError,
    ShapeError,
    StorageError,
    UnsafeFormatError,
)
from ..io.atomic import write_bytes
from .files import PROMPT_FILE, CheckpointFiles
from .foreign import PICKLE_SUFFIXES
from .header import read_header
from .mapping import map_tensors

if TYPE_CHECKING:
    from torch import Tensor

PROMPT_KEY: Final = "prompt_embeds"


def prompt_embedding(files: CheckpointFiles, width: int) -> Tensor:
    """Return a checkpoint's empty-prompt embedding: the file beside the weights, else computed and kept there.

    Args:
        files: The checkpoint's files.
        width: The UNet's cross-attention width C.

    Returns:
        (1, T, C) float32 on the CPU; T is 2 (BOS, EOS).

    Raises:
        CheckpointError: Neither an embedding nor a text encoder is at hand.
        ShapeError: The embedding is of another width than the UNet's cross-attention.
        MissingExtraError: It must be computed, and transformers is not installed.
    """
    if files.prompt_embeds is not None:
        return require_width(read_prompt(files.prompt_embeds), width)
    if files.text_encoder is None:
        raise CheckpointError(
            f"{files.name} comes without the embedding of the empty prompt",
            path=files.unet,
            found="neither prompt_embeds.safetensors nor a text_encoder folder beside the weights",
            remedy=f"pass prompt_embeds, or put the {PROMPT_FILE} of any published Lotus checkpoint beside the weights",
        )
    embeds = require_width(compute_prompt(files.text_encoder), width)
    keep_prompt(embeds, files.prompt_folder)
    return embeds


def compute_prompt(text_encoder: Path) -> Tensor:
    """Return the embedding of "" by a CLIP text encoder: its last hidden state, final layer norm included.

    The text is not padded: its two tokens are BOS and EOS. The encoder is let go of before this returns.

    Args:
        text_encoder: Folder of the encoder; the folder ``tokenizer`` lies beside it.

    Returns:
        (1, 2, C) float32 on the CPU.

    Raises:
        CheckpointError: The tokenizer is missing, or one of the two is not what transformers expects.
        UnsafeFormatError: The encoder's weights are a pickle.
        MissingExtraError: transformers is not installed.

    Source: encode_empty_text of the reference's pipelines (padding="do_not_pad").
    """
    tokenizer = text_encoder.parent / "tokenizer"
    if not any((tokenizer / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise CheckpointError(
            f"the text encoder {text_encoder} comes without its tokenizer",
            path=tokenizer,
            found="no tokenizer folder with vocab.json beside it",
            remedy="fetch the tokenizer folder of the same checkpoint, or pass prompt_embeds",
        )
    _require_safe_weights(text_encoder)
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "prompt", "computing the empty prompt's embedding") from error
    import torch

    try:
        with _without_progress_bar():
            words = CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True)
            encoder = CLIPTextModel.from_pretrained(text_encoder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"the text encoder {text_encoder} cannot be loaded",
            path=text_encoder,
            found=str(error).splitlines()[0][:120],
            remedy="fetch it again, or pass prompt_embeds",
        ) from error
    tokens = words("", padding="do_not_pad", return_tensors="pt").input_ids
    with torch.inference_mode():
        hidden = encoder.float().eval()(tokens).last_hidden_state
    return hidden.clone()


def keep_prompt(embeds: Tensor, folder: Path) -> None:
    """Keep an embedding beside the weights, whole or not at all; a folder that refuses is only warned about."""
    from safetensors.torch import save

    try:
        write_bytes(folder / PROMPT_FILE, save({PROMPT_KEY: embeds.contiguous()}))
    except StorageError as error:
        text = f"the empty prompt's embedding is kept in memory alone and computed again on the next load: {error}"
        warnings.warn(text, LotusWarning, stacklevel=2)


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


def _require_safe_weights(text_encoder: Path) -> None:
    weights = text_encoder / "model.safetensors"
    if weights.is_file():
        read_header(weights)
        return
    names = sorted(item.name for item in text_encoder.iterdir())
    error = UnsafeFormatError if any(name.endswith(PICKLE_SUFFIXES) for name in names) else CheckpointError
    raise error(
        f"the text encoder {text_encoder} has no safetensors weights",
        path=text_encoder,
        found=", ".join(names[:4]) or "an empty folder",
        remedy="fetch its model.safetensors, or pass prompt_embeds",
    )


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
