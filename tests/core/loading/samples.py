"""Files to load: the reference's small checkpoints, hand-made headers, and full-size files that take no disk."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden"
MINI = {mode: GOLDEN / "ckpt" / f"mini-{mode}" for mode in "dg"}
WEIGHTS = "diffusion_pytorch_model.safetensors"

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1}


def raw_file(
    path: Path, header: bytes | str | dict[str, object], data: bytes = b"", length: int | None = None
) -> Path:
    """Write a file in safetensors' layout from a header as it is given, well-formed or not."""
    text = header if isinstance(header, bytes) else _text(header)
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def _text(header: str | dict[str, object]) -> bytes:
    return (header if isinstance(header, str) else json.dumps(header)).encode()


def sparse_file(
    path: Path,
    shapes: Mapping[str, Sequence[int]],
    dtype: str = "F16",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a well-formed file of zeros whose data takes no space on disk."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for key, shape in shapes.items():
        size = BYTES[dtype]
        for side in shape:
            size *= side
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + position)
    return path


@functools.cache
def sd2_shapes(mode: str = "d", **changes: object) -> dict[str, tuple[int, ...]]:
    """Shapes of a full-size Lotus UNet by diffusers key, as diffusers itself builds Stable Diffusion 2's UNet."""
    config: dict[str, object] = {
        "in_channels": 4 if mode == "d" else 8,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 4,
    }
    return unet_shapes(**{**config, **changes})


def unet_shapes(**config: object) -> dict[str, tuple[int, ...]]:
    """Shapes of any of diffusers' conditional UNets, built without memory."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        model = UNet2DConditionModel(**config)  # type: ignore[arg-type]
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@functools.cache
def sd_vae_shapes(latent_channels: int = 4) -> dict[str, tuple[int, ...]]:
    """Shapes of Stable Diffusion's VAE by diffusers key, as diffusers itself builds it."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.device("meta"):
        model = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=latent_channels,
        )
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}
