"""Load Lotus Model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..lotus_core.errors import LotusError, OptionError, ShapeError
from . import compat, folders
from .bridge import DownloadProgress, warnings_logged
from .memory import PRECISIONS
from .registry import fingerprint, shared_model
from .sockets import LotusModelSocket

AUTO = "auto"
OUTPUTS = (AUTO, "depth", "disparity", "normal")


class LoadLotusModel(io.ComfyNode):
    """Loads a Lotus checkpoint under ComfyUI's memory manager."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        names = folders.choices()
        return compat.schema(
            node_id="LotusGeoLoadModel",
            display_name="Load Lotus Model",
            category=compat.CATEGORY,
            description="Loads a Lotus depth or normal checkpoint, and fetches it first if you choose one that is "
            "not on this machine. lotus-tiny-* come with the pack: small models to try a graph offline.",
            search_aliases=["lotus", "depth model", "normal model", "geometry model loader"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=names,
                    default=names[0],
                    tooltip="[download] marks what is fetched once, on the first run. lotus-tiny-* are bundled: for "
                    "trying and testing, trained on rendered scenes, no substitute for the published checkpoints. "
                    "Your own .safetensors belong in models/lotus.",
                ),
                io.Combo.Input(
                    "precision",
                    options=[AUTO, *PRECISIONS],
                    default=AUTO,
                    tooltip="auto does what ComfyUI does for its own models. fp32 if maps come out black or broken.",
                ),
                compat.advanced(
                    io.Combo,
                    "output",
                    options=list(OUTPUTS),
                    default=AUTO,
                    tooltip="What the checkpoint estimates. auto takes it from the catalogue or the file's name; "
                    "set it for a file whose name does not say.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="A Stable Diffusion 1/2 VAE to use in place of the checkpoint's own.",
                ),
                io.Conditioning.Input(
                    "prompt",
                    optional=True,
                    tooltip="ComfyUI's Lotus Conditioning, or another embedding of the empty prompt. "
                    "Not needed: it is taken by itself.",
                ),
            ],
            outputs=[LotusModelSocket.Output("lotus_model", display_name="lotus_model")],
        )

    @classmethod
    def validate_inputs(cls, model: str | None) -> bool | str:
        """Accept every name that means a checkpoint, also those that a shared workflow brought along."""
        if model is None:
            return True
        try:
            folders.resolve(model)
        except LotusError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        """Notice a file that changed on disk."""
        return fingerprint(model)

    @classmethod
    def execute(
        cls, model: str, precision: str, output: str = AUTO, vae: Any = None, prompt: Any = None
    ) -> io.NodeOutput:
        """Load the model, or hand out the one that is loaded already."""
        if output not in OUTPUTS:
            raise OptionError("output", output, f"one of {', '.join(OUTPUTS)}")
        with warnings_logged():
            loaded = shared_model(
                model,
                precision=precision,
                output=None if output == AUTO else output,
                vae=vae,
                prompt_embeds=None if prompt is None else prompt_tensor(prompt),
                progress=DownloadProgress(),
            )
        return io.NodeOutput(loaded)


def prompt_tensor(conditioning: Any) -> Tensor:
    """Return the embedding in a CONDITIONING, (1, T, C) float32 on the CPU.

    Raises:
        ShapeError: Not one embedding of one prompt.
    """
    embeds = conditioning[0][0]
    if len(conditioning) != 1 or embeds.ndim != 3 or embeds.shape[0] != 1:
        raise ShapeError("prompt", embeds.shape, "(1, T, C)", remedy="connect the Lotus Conditioning node")
    return embeds.detach().to("cpu").float()
