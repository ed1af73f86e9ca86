"""Who is compared: ways to get from pixels to a map with the same weights.

Others can be timed from outside the repository: write a function that takes `benchmarks.random_weights.Networks` and
returns a `Pipeline`, and name it on the command line as ``--contender path/to/file.py:function`` (or
``package.module:function``). The three stages of a pipeline may do anything, as long as `encode` takes
(B, 3, H, W) pixels in [-1, 1] and `decode` returns (B, 3, H, W); what lies between is its own business.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lotus_core.inference.compiled import compile_codec, compile_step
from lotus_core.inference.folding import Folds, fold_unet, fold_vae
from lotus_core.inference.latent_codec import LatentCodec
from lotus_core.inference.one_step import PlainOneStep
from lotus_core.inference.precision import choose_precision

from .random_weights import Networks

Stage = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pipeline:
    """A contender's three stages.

    Attributes:
        encode: (B, 3, H, W) pixels in [-1, 1] to latents.
        step: Latents to x0.
        decode: x0 to (B, 3, H, W) pixels, about [-1, 1].
        dtype: Type in which the networks compute; inputs arrive in it.
    """

    encode: Stage
    step: Stage
    decode: Stage
    dtype: torch.dtype = torch.float32


Build = Callable[[Networks], Pipeline]
REFERENCE = "plain"


def builders(device: torch.device) -> dict[str, Build]:
    """Return the built-in contenders for a device: name to what builds it from the networks.

    "plain" is diffusers in fp32, contiguous; "plain auto" the same in the "auto" precision; "folds off" our
    own modules with nothing folded; "only X" one fold; "all" every fold in fp32; "auto" every fold in the
    "auto" precision; "compile" that through torch.compile.
    """
    auto = choose_precision("auto", device)[0]
    known: dict[str, Build] = {
        REFERENCE: lambda n: plain(n, device, torch.float32),
        "plain auto": lambda n: plain(n, device, auto),
        "folds off": lambda n: folded(n, device, torch.float32, Folds.none()),
    }
    for name in Folds.names():
        known[f"only {name}"] = lambda n, name=name: folded(n, device, torch.float32, Folds.only(name))
    known["all"] = lambda n: folded(n, device, torch.float32, Folds())
    known["auto"] = lambda n: folded(n, device, auto, Folds())
    known["compile"] = lambda n: compiled(n, device, auto)
    return known


def plain(networks: Networks, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """Return diffusers' modules as they are."""
    n = networks.twin()
    step = PlainOneStep(n.unet, n.prompt_embeds)
    codec = LatentCodec(n.vae)
    step.to(device, dtype)
    codec.to(device, dtype)
    return Pipeline(
        lambda rgb: n.vae.encode(rgb).latent_dist.mode() * codec.scaling_factor, step, codec.decode, dtype
    )


def folded(networks: Networks, device: torch.device, dtype: torch.dtype, folds: Folds) -> Pipeline:
    """Return this library's modules with some folds."""
    n = networks.twin()
    step = fold_unet(n.unet, n.prompt_embeds, folds, dtype=dtype).to(device)
    codec = fold_vae(n.vae, folds, dtype=dtype).to(device)
    return Pipeline(codec.encode, step, codec.decode, dtype)


def compiled(networks: Networks, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """Return this library's modules, folded and compiled, one graph per size."""
    n = networks.twin()
    step = compile_step(fold_unet(n.unet, n.prompt_embeds, dtype=dtype).to(device))
    codec = compile_codec(fold_vae(n.vae, dtype=dtype).to(device))
    return Pipeline(codec.encode, step, codec.decode, dtype)


def find(name: str, device: torch.device) -> Build:
    """Return a built-in contender, or the function that ``file.py:function`` or ``module:function`` names.

    Raises:
        SystemExit: No such contender.
    """
    known = builders(device)
    if name in known:
        return known[name]
    place, separator, function = name.rpartition(":")
    if not separator:
        raise SystemExit(f"no contender {name!r}: choose from {', '.join(known)}, or name file.py:function")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{place} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    return getattr(module, function)
