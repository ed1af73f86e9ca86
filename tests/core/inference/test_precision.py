from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lotus_core
from lotus_core.errors import OptionError
from lotus_core.inference import precision
from lotus_core.inference.folding import fold_unet, fold_vae
from lotus_core.inference.precision import choose_precision, multiplies_bf16

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
TINY = Path(lotus_core.__file__).parent / "data" / "lotus-tiny"


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
def test_a_named_precision_holds_for_both_networks_everywhere(name, dtype, device):
    assert choose_precision(name, device) == (dtype, dtype)


def test_auto_is_half_precision_on_cuda():
    assert choose_precision("auto", CUDA) == (torch.float16, torch.float16)


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_the_cpu_is_what_the_processor_multiplies(monkeypatch, native, dtype):
    monkeypatch.setattr(precision, "multiplies_bf16", lambda: native)
    assert choose_precision("auto", CPU) == (dtype, dtype)


def test_auto_is_fp32_on_devices_that_were_not_tried(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bf16", lambda: True)
    assert choose_precision("auto", MPS) == (torch.float32, torch.float32)


def test_another_name_is_refused():
    with pytest.raises(OptionError, match=r"precision must be one of auto, fp32, fp16, bf16.*'fp8'"):
        choose_precision("fp8", CPU)


@pytest.mark.parametrize(
    ("flags", "native"), [("fpu amx_bf16 sse", True), ("fpu avx512_bf16", True), ("avx2", False)]
)
def test_an_older_torch_asks_the_system(monkeypatch, tmp_path, flags, native):
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, probe, raising=False)
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(precision, "Path", lambda _: listing)
    assert multiplies_bf16() is native


def test_a_system_that_lists_nothing_counts_as_without(monkeypatch, tmp_path):
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, probe, raising=False)
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "missing")
    assert multiplies_bf16() is False


def room(height: int, width: int) -> torch.Tensor:
    """A shaded wall, floor and ball: (1, 3, H, W) in [-1, 1]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    image = torch.where(y < 0.3, 0.7 - 0.2 * x, 0.2 + 0.4 * y).expand(3, -1, -1).clone()
    inside = (x - 0.2) ** 2 + y**2
    ball = inside < 0.2
    shade = (1 - inside / 0.2).clamp(0).sqrt()
    for channel, colour in enumerate((0.9, 0.4, 0.2)):
        image[channel][ball] = colour * shade[ball]
    return (image * 2 - 1)[None]


@pytest.mark.parametrize("output", ["depth", "normal"])
@torch.inference_mode()
def test_bf16_maps_of_a_trained_model_stay_near_fp32(output):
    from diffusers import AutoencoderKL, UNet2DConditionModel

    def load(cls, folder):
        return cls.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False).eval()

    prompt = load_file(TINY / "prompt_embeds.safetensors")["prompt_embeds"]
    step = fold_unet(load(UNet2DConditionModel, TINY / f"lotus-tiny-{output}-d" / "unet"), prompt)
    codec = fold_vae(load(AutoencoderKL, TINY / "vae"))
    maps = []
    for dtype in (torch.float32, torch.bfloat16):
        step.to(dtype)
        codec.to(dtype)
        decoded = codec.decode(step(codec.encode(room(96, 144).to(dtype)))).float()
        maps.append((decoded * 0.5 + 0.5).clamp(0, 1))
    difference = (maps[1] - maps[0]).abs()
    assert maps[0].std() > 0.05  # a map, not a flat field
    assert difference.max() < 2e-2
    assert difference.mean() < 3e-3
