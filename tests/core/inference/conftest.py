"""The reference's small checkpoints and what it computes with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

GOLDEN = Path(__file__).parents[2] / "golden"
TASK_OF_GOLDEN = {"anno": "annotation", "recon": "reconstruction"}


@dataclass(frozen=True)
class GoldenCase:
    """One image through the reference, stage by stage (see tests/golden/README.md)."""

    folder: Path

    def input(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.load(self.folder / "input.npz")[name])

    def output(self, mode: str, side: str, name: str) -> torch.Tensor:
        return torch.from_numpy(np.load(self.folder / f"{mode}_{side}.npz")[name])

    def sample(self, mode: str) -> torch.Tensor:
        latents = self.input("rgb_latents")
        return latents if mode == "d" else torch.cat([latents, self.input("noise")], dim=1)


@pytest.fixture(scope="session", params=["native_r0", "small_up128"])
def golden_case(request: pytest.FixtureRequest) -> GoldenCase:
    return GoldenCase(GOLDEN / "golden" / "pipe" / request.param)


@pytest.fixture(scope="session")
def mini_unets() -> dict[str, UNet2DConditionModel]:
    """The reference's UNets by mode, fp32. Shared: do not modify."""
    from diffusers import UNet2DConditionModel

    return {
        mode: UNet2DConditionModel.from_pretrained(
            GOLDEN / "ckpt" / f"mini-{mode}",
            subfolder="unet",
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,
        )
        .eval()
        .requires_grad_(False)
        for mode in "dg"
    }


@pytest.fixture(scope="session")
def mini_vae() -> AutoencoderKL:
    """The reference's VAE, fp32. Shared: do not modify."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(
        GOLDEN / "ckpt" / "mini-d", subfolder="vae", torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    return vae.eval().requires_grad_(False)
