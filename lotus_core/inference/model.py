"""A loaded Lotus model: its three stages, and where they run."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from ..conventions import LATENT_CHANNELS, LATENT_STRIDE, DepthKind, Part, Task
from ..errors import ModelTaskError, OptionError, ShapeError
from ..types import ModelInfo
from .folding import Folds, fold_unet, fold_vae
from .latent_codec import Codec
from .memory import Stage, Widths, activation_bytes
from .one_step import OneStep
from .placement import Placement, TorchPlacement
from .precision import Precision, choose_precision

if TYPE_CHECKING:
    from ..loading.checkpoint import LoadedParts

DownloadProgress = Callable[[int, int], None]
PlacementFactory = Callable[[nn.Module, nn.Module], Placement]

Module = TypeVar("Module", bound=nn.Module)

_STAGE_PART: dict[Stage, Part] = {"encode": "vae", "denoise": "unet", "decode": "vae"}


@dataclass(frozen=True)
class VaeDigests:
    """Fingerprints of a VAE's weights: two models with equal ones can share the work.

    Attributes:
        encoder: Digest of all that `LotusModel.encode` uses.
        decoder: Digest of all that `LotusModel.decode` uses.
    """

    encoder: str
    decoder: str


@dataclass(frozen=True)
class LotusModel:
    """One Lotus checkpoint, ready to run.

    Attributes:
        info: What it is.
        unet: The one step: (sample, task) -> x0.
        vae: Latents from pictures and back.
        placement: Where and when the two compute.
        widths: Widths that the memory estimate needs.
        vae_digests: Fingerprints of the VAE.
    """

    info: ModelInfo
    unet: OneStep
    vae: Codec
    placement: Placement
    widths: Widths
    vae_digests: VaeDigests

    def encode(self, rgb: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Return the latents of pictures: the posterior's mode times the VAE's scaling factor.

        Args:
            rgb: (B, 3, H, W) float in [-1, 1], H and W multiples of 8.
            dtype: Type to compute in; the placement's own by default.

        Returns:
            (B, 4, H/8, W/8) float32 on the placement's device.

        Raises:
            ShapeError: Another shape.
        """
        if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.shape[2] % LATENT_STRIDE or rgb.shape[3] % LATENT_STRIDE:
            raise ShapeError(
                "rgb", rgb.shape, "(B, 3, H, W), H and W multiples of 8", remedy="pad the picture first"
            )
        rows, columns = rgb.shape[2] // LATENT_STRIDE, rgb.shape[3] // LATENT_STRIDE
        return self._run("encode", dtype, (len(rgb), rows, columns), self.vae.encode, rgb)

    def denoise(
        self,
        latents: Tensor,
        noise: Tensor | None = None,
        task: Task = "annotation",
        *,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return x0, the latents of the annotation (or, for task "reconstruction", of the picture).

        Args:
            latents: (B, 4, h, w) from `encode`.
            noise: (B, 4, h, w), standard normal, for "g" models only; None draws it with seed 0.
            task: Position of the task switcher.
            dtype: Type to compute in; the placement's own by default.

        Returns:
            (B, 4, h, w) float32 on the placement's device.

        Raises:
            ShapeError: Another shape of latents or noise.
            OptionError: Noise for a "d" model, or an unknown task.
        """
        if latents.ndim != 4 or latents.shape[1] != LATENT_CHANNELS:
            raise ShapeError("latents", latents.shape, "(B, 4, h, w)", remedy="pass what encode() returned")
        if task not in ("annotation", "reconstruction"):
            raise OptionError("task", task, '"annotation" or "reconstruction"')
        sample = latents
        if self.info.mode == "g":
            noise = initial_noise(latents.shape, 0) if noise is None else noise
            if noise.shape != latents.shape:
                raise ShapeError(
                    "noise", noise.shape, f"{tuple(latents.shape)}", remedy="draw it like the latents"
                )
            sample = torch.cat([latents, noise.to(latents)], dim=1)  # (B, 8, h, w), picture first
        elif noise is not None:
            raise OptionError(
                "noise", f"a tensor of shape {tuple(noise.shape)}", "None: a discriminative model takes none"
            )
        size = (len(latents), latents.shape[2], latents.shape[3])
        return self._run("denoise", dtype, size, lambda x: self.unet(x, task), sample)

    def decode(self, x0: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Return the picture of latents, about [-1, 1], not clamped.

        Args:
            x0: (B, 4, h, w) from `denoise`.
            dtype: Type to compute in; the placement's own by default.

        Returns:
            (B, 3, 8h, 8w) float32 on the placement's device.

        Raises:
            ShapeError: Another shape.
        """
        if x0.ndim != 4 or x0.shape[1] != LATENT_CHANNELS:
            raise ShapeError("x0", x0.shape, "(B, 4, h, w)", remedy="pass what denoise() returned")
        size = (len(x0), x0.shape[2], x0.shape[3])
        return self._run("decode", dtype, size, self.vae.decode, x0)

    def depth_kind(self) -> DepthKind:
        """Return "depth" or "disparity".

        Raises:
            ModelTaskError: This model estimates normals.
        """
        if self.info.output == "normal":
            raise self._wrong_task("a depth or disparity")
        return self.info.output

    def require_normals(self) -> None:
        """Check that this model estimates normals.

        Raises:
            ModelTaskError: It estimates depth or disparity.
        """
        if self.info.output != "normal":
            raise self._wrong_task("a normal")

    def _wrong_task(self, wanted: str) -> ModelTaskError:
        return ModelTaskError(
            f"this needs {wanted} model",
            found=f"{self.info.name}, which estimates {self.info.output}",
            remedy=f"load {wanted} checkpoint instead",
        )

    @torch.no_grad()
    def _run(
        self,
        stage: Stage,
        dtype: torch.dtype | None,
        size: tuple[int, int, int],
        compute: Callable[[Tensor], Tensor],
        x: Tensor,
    ) -> Tensor:
        part = _STAGE_PART[stage]
        dtype = self.placement.dtype(part) if dtype is None else dtype
        needed = activation_bytes(stage, self.widths, *size, dtype.itemsize)
        with self.placement.active(part, needed, dtype):
            return compute(x.to(self.placement.device, dtype)).float()


def initial_noise(shape: tuple[int, ...] | torch.Size, seed: int) -> Tensor:
    """Return the noise of a generative model, (B, 4, h, w): one draw, the same for every picture of the batch.

    It is drawn on the CPU by a generator of its own, so that every device gives the same map, a picture's
    map does not depend on its neighbours in the batch, and torch's global state is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn((1, *shape[1:]), generator=generator)
    return one.expand(shape[0], -1, -1, -1)


def load_model(
    source: str | Path,
    *,
    precision: Precision = "auto",
    device: str | torch.device = "auto",
    vae: str | Path | None = None,
    prompt_embeds: Tensor | None = None,
    output: str | None = None,
    revision: str | None = None,
    progress: DownloadProgress | None = None,
) -> LotusModel:
    """Return a model, ready to run with plain torch.

    Args:
        source: Catalogue name, Hub id, diffusers folder, or UNet-only .safetensors.
        precision: "auto" (fp16 on CUDA; on the CPU what it does natively), "fp32", "fp16" or "bf16".
        device: "auto" (CUDA, else MPS, else the CPU) or a torch device.
        vae: VAE file or folder; by default the checkpoint's own, or the catalogue's for single files.
        prompt_embeds: (1, T, C) embedding of the empty prompt; by default the cached or computed one.
        output: "depth", "disparity" or "normal", where the name does not say it.
        revision: Branch, tag or commit on the Hub.
        progress: Called with (bytes done, bytes in all) while files are fetched.

    Raises:
        CheckpointError: The name, file or folder cannot be used.
        DownloadError: A file could not be fetched.
        OptionError: Unknown precision or device.
    """
    from ..loading.checkpoint import load_parts

    target = choose_device(device)
    dtypes = choose_precision(precision, target)
    parts = load_parts(
        source, vae=vae, prompt_embeds=prompt_embeds, output=output, revision=revision, progress=progress
    )
    with _alive_lock:
        alike = [
            model
            for model in _alive
            if (model.placement.device, model.placement.dtype("vae")) == (target, dtypes[1])
        ]
        model = build_model(
            parts, lambda unet, codec: TorchPlacement(unet, codec, target, *dtypes), dtypes, siblings=alike
        )
        _alive.add(model)
    return model


_alive: weakref.WeakSet[LotusModel] = weakref.WeakSet()
"""Models that `load_model` made and that are still in use: the next one may share their VAE."""
_alive_lock = threading.Lock()


def build_model(
    parts: LoadedParts,
    place: PlacementFactory,
    compute: tuple[torch.dtype, torch.dtype],
    folds: Folds | None = None,
    *,
    siblings: Iterable[LotusModel] = (),
) -> LotusModel:
    """Return a model made of loaded parts, folded for its one step and placed by a host.

    Args:
        parts: What `loading.checkpoint.load_parts` returned; used up: drop it afterwards.
        place: Takes the one-step UNet and the latent codec, on the CPU, and returns their placement.
        compute: Types in which the UNet and the VAE will compute. Weights stored in a narrower one are widened
            first, so that the folded constants keep their digits.
        folds: Which exact rewritings to apply; None for all, `Folds.none()` for none.
        siblings: Models on the same device whose VAE computes in the same type: one with the same VAE lends it, so
            that two checkpoints of a family hold one copy.
    """
    digests = vae_digests(parts.vae)
    widths = Widths(
        vae=tuple(parts.vae.config["block_out_channels"]), unet=tuple(parts.unet.config["block_out_channels"])
    )
    unet = fold_unet(_widened(parts.unet, compute[0]), parts.prompt_embeds, folds)
    codec = next((model.vae for model in siblings if model.vae_digests == digests), None)
    codec = fold_vae(_widened(parts.vae, compute[1]), folds) if codec is None else codec
    return LotusModel(parts.info, unet, codec, place(unet, codec), widths, digests)


def _widened(module: Module, dtype: torch.dtype) -> Module:
    stored = next(module.parameters()).dtype
    if torch.promote_types(stored, dtype) == stored:
        return module
    nn.Module.to(
        module, dtype
    )  # in place; diffusers' own .to() warns of modules to keep in fp32: there are none
    return module


def choose_device(device: str | torch.device) -> torch.device:
    """Return the torch device of a name; "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        OptionError: An unknown device, or one that this machine lacks.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(
            "device", str(device), '"auto", "cpu", or an accelerator of this machine'
        ) from error
    return target


def vae_digests(vae: nn.Module) -> VaeDigests:
    """Return fingerprints of an AutoencoderKL's encoding and decoding halves, scaling factor included."""
    scale = str(getattr(vae, "config", {}).get("scaling_factor", ""))
    hashes = {"encoder": hashlib.sha256(scale.encode()), "decoder": hashlib.sha256(scale.encode())}
    for name, tensor in sorted(vae.state_dict().items()):
        half = hashes["encoder" if name.startswith(("encoder.", "quant_conv.")) else "decoder"]
        half.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        half.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
    return VaeDigests(hashes["encoder"].hexdigest(), hashes["decoder"].hexdigest())
