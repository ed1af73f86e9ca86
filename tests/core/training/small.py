"""Examples and settings so small that a training step takes milliseconds."""

from __future__ import annotations

import torch

from lotus_core.training.sample import Sample


class Examples(list):
    """A data set in memory."""


def example(seed, height=32, width=32):
    """A picture of noise before a tilted plane, with a strip of sky and a strip that nothing is known of."""
    generator = torch.Generator().manual_seed(seed)
    depth = torch.linspace(4, 1, height)[:, None].expand(height, width).clone()
    sky = torch.zeros(height, width, dtype=torch.bool)
    sky[: height // 4] = True
    valid = ~sky
    valid[-8:, :8] = False
    depth[sky] = float("inf")
    normal = torch.tensor([0.0, 0.8, 0.6])[:, None, None].expand(3, height, width) * valid
    image = torch.rand((3, height, width), generator=generator) * 2 - 1
    return Sample(image, depth, normal, valid, sky, f"example {seed}")


def examples(count):
    """Some examples as a data set."""
    return Examples(example(seed) for seed in range(count))


def vae_settings(scenes, **more):
    """Settings of a VAE of 20,000 parameters."""
    return {
        "stage": "vae",
        "channels": (4, 4, 8, 8),
        "norm_groups": 2,
        "data": [{"kind": "scenes", "folder": str(scenes)}],
        "schedule": {"steps": 2, "batch_size": 2},
        **more,
    }


def lotus_settings(latents, vae, **more):
    """Settings of a denoiser of two small resolutions, trained on kept latents."""
    settings = {
        "stage": "lotus",
        "mode": "d",
        "target": "depth",
        "start": {
            "vae": str(vae),
            "channels": (8, 16),
            "attention": (False, True),
            "heads": 2,
            "norm_groups": 4,
            "context": 8,
        },
        "data": [{"kind": "latents", "folder": str(latents)}],
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"steps": 4, "batch_size": 4, "ema_decay": 0.9},
        "run": {"log_every": 1, "save_every": 2},
    }
    for key, value in more.items():
        settings[key] = {**settings[key], **value} if isinstance(settings.get(key), dict) else value
    return settings
