"""What the folds take for granted about a network, checked before they are applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ...errors import ArchitectureError

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

UNET_BLOCKS = (
    "DownBlock2D",
    "CrossAttnDownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "UpBlock2D",
    "CrossAttnUpBlock2D",
)
VAE_BLOCKS = ("DownEncoderBlock2D", "UNetMidBlock2D", "UpDecoderBlock2D")


def check_unet(unet: UNet2DConditionModel) -> None:
    """Raise ArchitectureError unless `unet` is built like Lotus's (Stable Diffusion 2 with a class embedding)."""
    _check_blocks("UNet", _blocks(unet), UNET_BLOCKS)
    _check_resnets("UNet", unet)
    if type(unet.class_embedding).__name__ != "TimestepEmbedding":
        raise _error(
            "UNet", "a task switcher (class embedding of 4 numbers)", type(unet.class_embedding).__name__
        )
    for name, module in unet.named_modules():
        kind = type(module).__name__
        if kind == "BasicTransformerBlock" and (module.norm_type, module.activation_fn) != (
            "layer_norm",
            "geglu",
        ):
            raise _error(
                "UNet",
                "plain GEGLU transformer blocks",
                f"{module.norm_type}, {module.activation_fn} in {name}",
            )


def check_vae(vae: AutoencoderKL) -> None:
    """Raise ArchitectureError unless `vae` is built like Stable Diffusion's."""
    encoder: Any = vae.encoder
    decoder: Any = vae.decoder
    blocks = [*encoder.down_blocks, encoder.mid_block, decoder.mid_block, *decoder.up_blocks]
    _check_blocks("VAE", blocks, VAE_BLOCKS)
    _check_resnets("VAE", vae)


def _blocks(unet: Any) -> list[Any]:
    return [*unet.down_blocks, unet.mid_block, *unet.up_blocks]


def _check_blocks(network: str, blocks: list[Any], known: tuple[str, ...]) -> None:
    unknown = sorted({type(b).__name__ for b in blocks} - set(known))
    if unknown:
        raise _error(network, f"blocks of the kinds {', '.join(known)}", ", ".join(unknown))


def _check_resnets(network: str, model: Any) -> None:
    for name, module in model.named_modules():
        if type(module).__name__ != "ResnetBlock2D":
            continue
        plain = (
            (module.time_embedding_norm == "default" or module.time_emb_proj is None)
            and module.output_scale_factor == 1.0
            and isinstance(module.nonlinearity, nn.SiLU)
            and module.upsample is None
            and module.downsample is None
            and not module.skip_time_act
        )
        if not plain:
            raise _error(network, "plain residual blocks with SiLU", f"another kind at {name}")


def _error(network: str, expected: str, found: str) -> ArchitectureError:
    return ArchitectureError(
        f"this {network} has another architecture than Lotus's, which has {expected}",
        found=found,
        remedy="load a Lotus checkpoint and its Stable Diffusion 2 autoencoder",
    )
