"""ComfyUI's VAE object and Lotus conditioning, given to the loader: the same weights must arrive in the core."""

from __future__ import annotations

import asyncio
import sys

import comfy.sd
import pack
import torch
from comfy_extras.nodes_lotus import LotusConditioning

torch.set_grad_enabled(False)
name = pack.load_pack()
asyncio.run(sys.modules[name].comfy_entrypoint())
checkpoint = pack.module(name, "lotus_core.loading.checkpoint")
keys_vae = pack.module(name, "lotus_core.loading.keys_vae")
load = pack.module(name, "nodes.load")

from diffusers import AutoencoderKL  # noqa: E402  # after ComfyUI has set its environment up

torch.manual_seed(3)
blocks = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
with torch.device("meta"):  # weights of its own choosing would take most of the test's time
    original = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=blocks[0],
        up_block_types=blocks[1],
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.18215,
    ).half()
original.to_empty(device="cpu")
for tensor in original.state_dict().values():
    tensor.uniform_(-0.05, 0.05)
ldm = {}
for key, tensor in original.state_dict().items():
    other = keys_vae.ldm_vae_key(key, 4)
    ldm[other] = tensor[..., None, None] if keys_vae.is_ldm_projection(other) and tensor.ndim == 2 else tensor
host_vae = comfy.sd.VAE(sd=dict(ldm))
host_vae.throw_exception_if_invalid()

parts = checkpoint.load_parts("lotus-tiny-depth-d", vae=host_vae.get_sd())
arrived = parts.vae.state_dict()
stored = original.state_dict()

conditioning = LotusConditioning.execute().result[0]
embeds = load.prompt_tensor(conditioning)
pack.report(
    {
        "same_keys": sorted(arrived) == sorted(stored),
        "largest_difference": max(
            (arrived[k].float() - stored[k].float()).abs().max().item() for k in stored
        ),
        "scaling_factor": parts.vae.config["scaling_factor"],
        "prompt_shape": list(embeds.shape),
        "prompt_dtype": str(embeds.dtype),
    }
)
