"""diffusers' modules around a file's tensors: strict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lotus_core.errors import DependencyError, StateDictError
from lotus_core.loading.modules import build_unet, build_vae, empty_unet, empty_vae
from lotus_core.loading.networks import read_unet, read_vae, vae_of_tensors

from .samples import MINI, WEIGHTS, sd_vae_shapes

Change = Callable[[dict[str, torch.Tensor]], None]


def changed(tmp_path: Path, part: str, change: Change) -> Path:
    """A copy of a mini checkpoint's part, changed."""
    tensors = load_file(MINI["d"] / part / WEIGHTS)
    change(tensors)
    path = tmp_path / WEIGHTS
    save_file(tensors, path)
    (tmp_path / "config.json").write_bytes((MINI["d"] / part / "config.json").read_bytes())
    return path


@pytest.mark.parametrize("mode", "dg")
def test_a_unet_is_what_diffusers_itself_loads(mode: str) -> None:
    from diffusers import UNet2DConditionModel

    expected = UNet2DConditionModel.from_pretrained(
        MINI[mode], subfolder="unet", torch_dtype=torch.float16, low_cpu_mem_usage=False
    )
    unet = build_unet(read_unet(MINI[mode] / "unet" / WEIGHTS))
    assert unet.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(unet.state_dict()[key], value) for key, value in expected.state_dict().items())
    names = ("attention_head_dim", "norm_num_groups", "act_fn", "freq_shift", "flip_sin_to_cos", "norm_eps")
    assert {name: _plain(unet.config[name]) for name in names} == {
        name: _plain(expected.config[name]) for name in names
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_unet(read_unet(MINI["d"] / "unet" / WEIGHTS)),
        lambda: build_vae(read_vae(MINI["d"] / "vae" / WEIGHTS)),
    ],
    ids=["unet", "vae"],
)
def test_modules_come_ready_for_inference_in_the_stored_type(build: Callable[[], torch.nn.Module]) -> None:
    module = build()
    assert not module.training
    assert not any(weight.requires_grad for weight in module.parameters())
    assert {weight.dtype for weight in module.parameters()} == {torch.float16}
    assert {weight.device.type for weight in module.parameters()} == {"cpu"}


def test_empty_modules_take_no_memory() -> None:
    for module in (
        empty_unet(read_unet(MINI["g"] / "unet" / WEIGHTS)),
        empty_vae(read_vae(MINI["g"] / "vae" / WEIGHTS)),
    ):
        assert {weight.device.type for weight in module.parameters()} == {"meta"}


def test_missing_unexpected_and_misshapen_tensors_are_all_listed(tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["up_blocks.3.resnets.2.conv2.bias"]
        tensors["time_embedding.linear_3.weight"] = torch.zeros(2, 2, dtype=torch.float16)
        tensors["conv_out.bias"] = torch.zeros(5, dtype=torch.float16)

    file = read_unet(changed(tmp_path, "unet", change))
    with pytest.raises(StateDictError, match="do not fit its architecture") as caught:
        build_unet(file)
    assert caught.value.missing == ("up_blocks.3.resnets.2.conv2.bias",)
    assert caught.value.unexpected == ("time_embedding.linear_3.weight",)
    assert caught.value.mismatched == ("conv_out.bias: F16 [5], expected [4]",)
    text = str(caught.value)
    assert "1 missing (up_blocks.3.resnets.2.conv2.bias)" in text
    assert "1 unexpected (time_embedding.linear_3.weight)" in text
    assert "use the unmodified file of a Lotus checkpoint" in text


def test_whole_numbers_in_the_place_of_weights_are_refused(tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["conv_out.bias"] = tensors["conv_out.bias"].to(torch.int8)

    with pytest.raises(StateDictError, match=r"conv_out\.bias: I8 \[4\], expected \[4\]"):
        build_unet(read_unet(changed(tmp_path, "unet", change)))


def test_a_vaes_missing_tensor_is_listed(tmp_path: Path) -> None:
    file = read_vae(changed(tmp_path, "vae", lambda tensors: tensors.pop("decoder.conv_out.bias")))  # type: ignore[arg-type,return-value]
    with pytest.raises(StateDictError, match=r"1 missing \(decoder\.conv_out\.bias\)"):
        build_vae(file)


def test_a_vae_in_memory_keeps_its_own_tensors() -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = {
        key: torch.empty(shape, dtype=torch.bfloat16).normal_(generator=generator)
        if len(shape) < 4
        else torch.zeros(shape, dtype=torch.bfloat16)
        for key, shape in sd_vae_shapes().items()
    }
    vae = build_vae(vae_of_tensors(tensors, "x"), tensors)
    state = vae.state_dict()
    assert all(state[key].data_ptr() == tensor.data_ptr() for key, tensor in tensors.items())


def test_a_diffusers_that_cannot_be_imported_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers.models.unets.unet_2d_condition", None)
    monkeypatch.setitem(sys.modules, "diffusers.models.autoencoders.autoencoder_kl", None)
    for build in (
        lambda: empty_unet(read_unet(MINI["d"] / "unet" / WEIGHTS)),
        lambda: empty_vae(read_vae(MINI["d"] / "vae" / WEIGHTS)),
    ):
        with pytest.raises(
            DependencyError, match="diffusers, which builds the networks, cannot be imported"
        ) as caught:
            build()
        assert 'pip install -U "diffusers>=0.30.0" huggingface-hub' in str(caught.value)
        assert isinstance(caught.value, ImportError)
