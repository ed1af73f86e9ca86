"""What the shapes of weights cannot say: heads, norm groups, scaling factor; from a config or the known model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..conventions import SD_VAE_SCALE
from ..errors import ArchitectureError, CorruptFileError
from .architecture import SD2_CHANNELS, SD2_HEADS, SD2_NORM_GROUPS, UNetArchitecture
from .vae_architecture import SD_VAE_CHANNELS, SD_VAE_NORM_GROUPS, VaeArchitecture

METADATA_KEY: Final = "lotus.config"
"""Key of a safetensors file's metadata under which `lotus convert` keeps a model's settings, as JSON."""

MAX_CONFIG_BYTES: Final = 2**20

UNET_SETTINGS: Final = frozenset(
    [
        "attention_head_dim",
        "norm_num_groups",
        "norm_eps",
        "act_fn",
        "flip_sin_to_cos",
        "freq_shift",
        "sample_size",
        "downsample_padding",
        "mid_block_scale_factor",
        "resnet_out_scale_factor",
        "upcast_attention",
    ]
)
VAE_SETTINGS: Final = frozenset(
    [
        "norm_num_groups",
        "scaling_factor",
        "shift_factor",
        "act_fn",
        "force_upcast",
        "sample_size",
        "latents_mean",
        "latents_std",
    ]
)
"""Arguments of diffusers' two classes that no shape determines, and that Lotus checkpoints may set."""


def read_config(path: Path) -> dict[str, Any]:
    """Return a config.json as it stands.

    Raises:
        CorruptFileError: Not a JSON object, or longer than 1 MB.
    """
    raw = path.read_bytes()[: MAX_CONFIG_BYTES + 1]
    if len(raw) > MAX_CONFIG_BYTES:
        raise CorruptFileError(
            f"{path} is no model config", path=path, found="more than 1 MB", remedy="fetch it again"
        )
    return parse_config(raw, str(path))


def parse_config(raw: str | bytes, name: str) -> dict[str, Any]:
    """Return a config given as JSON text.

    Raises:
        CorruptFileError: Not a JSON object.
    """
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(
            f"{name} is not a JSON config", path=name, found=str(error), remedy="fetch it again"
        ) from error
    if not isinstance(config, dict):
        raise CorruptFileError(
            f"{name} is not a JSON config", path=name, found=type(config).__name__, remedy="fetch it again"
        )
    return config


def unet_settings(
    architecture: UNetArchitecture, config: Mapping[str, Any] | None, name: str
) -> dict[str, Any]:
    """Return the settings that complete an architecture: the config's, else Stable Diffusion 2's own.

    Raises:
        ArchitectureError: No config, and a width whose head count is not known; or a config that is not this
            file's, or whose heads or groups do not divide the widths.
    """
    if config is None:
        if architecture.block_out_channels != SD2_CHANNELS:
            raise _unknown(
                name, f"widths {architecture.block_out_channels}", "attention heads and norm groups"
            )
        return {"attention_head_dim": SD2_HEADS, "norm_num_groups": SD2_NORM_GROUPS}
    _require_agreement(architecture.config(), config, name)
    settings = {key: value for key, value in config.items() if key in UNET_SETTINGS}
    widths = architecture.block_out_channels
    settings["attention_head_dim"] = _heads(config.get("attention_head_dim"), widths, name)
    settings["norm_num_groups"] = _groups(config.get("norm_num_groups", 32), widths, name)
    return settings


def vae_settings(
    architecture: VaeArchitecture, config: Mapping[str, Any] | None, name: str
) -> dict[str, Any]:
    """Return the settings that complete a VAE: the config's, else those of Stable Diffusion's VAE.

    Raises:
        ArchitectureError: No config, and widths that are not Stable Diffusion's; or a config of another file.
    """
    if config is None:
        if architecture.block_out_channels != SD_VAE_CHANNELS:
            raise _unknown(
                name, f"widths {architecture.block_out_channels}", "norm groups and scaling factor"
            )
        return {"norm_num_groups": SD_VAE_NORM_GROUPS, "scaling_factor": SD_VAE_SCALE}
    _require_agreement(architecture.config(), config, name)
    settings = {key: value for key, value in config.items() if key in VAE_SETTINGS and value is not None}
    settings["norm_num_groups"] = _groups(
        config.get("norm_num_groups", 32), architecture.block_out_channels, name
    )
    scale = settings.setdefault("scaling_factor", SD_VAE_SCALE)
    if not isinstance(scale, int | float) or not 0 < scale < 1e4:
        raise _bad_setting(name, "scaling_factor", scale, "a positive number")
    return settings


def _require_agreement(read: Mapping[str, Any], config: Mapping[str, Any], name: str) -> None:
    for key, value in read.items():
        stated = config.get(key)
        if stated is not None and _normal(stated, value) != _normal(value, stated):
            raise ArchitectureError(
                f"the config of {name} is not its own",
                path=name,
                found=f"{key} {stated} in the config, {value} in the weights",
                remedy="put the checkpoint's own config.json beside its weights",
            )


def _normal(value: object, other: object) -> object:
    """Compare (1, 1) with 1, and lists with tuples, as diffusers reads them."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,) * len(other) if isinstance(other, list | tuple) else value


def _heads(value: object, widths: tuple[int, ...], name: str) -> tuple[int, ...]:
    # diffusers calls the number of heads attention_head_dim in this class, and keeps the name for old configs.
    heads = (value,) * len(widths) if isinstance(value, int) else value
    if (
        not isinstance(heads, list | tuple)
        or len(heads) != len(widths)
        or not all(
            type(n) is int and n > 0 and width % n == 0 for n, width in zip(heads, widths, strict=True)
        )
    ):
        raise _bad_setting(
            name, "attention_head_dim", value, f"numbers of heads that divide the widths {widths}"
        )
    return tuple(heads)


def _groups(value: object, widths: tuple[int, ...], name: str) -> int:
    if type(value) is not int or value <= 0 or any(width % value for width in widths):
        raise _bad_setting(name, "norm_num_groups", value, f"a number that divides the widths {widths}")
    return value


def _unknown(name: str, found: str, what: str) -> ArchitectureError:
    return ArchitectureError(
        f"the weights of {name} do not say their {what}, and their widths are not Stable Diffusion 2's",
        path=name,
        found=found,
        remedy="put the model's config.json beside the file",
    )


def _bad_setting(name: str, key: str, value: object, expected: str) -> ArchitectureError:
    return ArchitectureError(
        f"the config of {name} has an impossible {key}, expected {expected}",
        path=name,
        found=repr(value)[:80],
        remedy="put the checkpoint's own config.json beside its weights",
    )
