"""The same weights under other keys and in other precisions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lotus_core.errors import (
    ArchitectureError,
    CheckpointError,
    InputError,
    NonFiniteError,
    NoSpaceError,
    StateDictError,
    UnsafeFormatError,
)
from lotus_core.loading.convert import convert
from lotus_core.loading.header import read_header
from lotus_core.loading.modules import build_unet, build_vae
from lotus_core.loading.networks import read_unet, read_vae
from lotus_core.loading.stored import KeyFormat
from tests.core.loading.samples import MINI, WEIGHTS

FORMATS: tuple[KeyFormat, ...] = ("diffusers", "ldm", "ldm-prefixed")


def state(path: Path, part: str) -> dict[str, torch.Tensor]:
    """The state dict of a file, under diffusers' keys."""
    module = build_unet(read_unet(path)) if part == "unet" else build_vae(read_vae(path))
    return module.state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        value.dtype == second[key].dtype and torch.equal(value, second[key]) for key, value in first.items()
    )


@pytest.mark.parametrize("keys", FORMATS)
@pytest.mark.parametrize(("mode", "part"), [("d", "unet"), ("g", "unet"), ("d", "vae")])
def test_each_key_format_loads_to_the_same_weights_and_settings(
    tmp_path: Path, mode: str, part: str, keys: KeyFormat
) -> None:
    source, target = MINI[mode] / part, tmp_path / "converted.safetensors"
    result = convert(source, target, keys=keys)
    assert (result.network, result.keys, result.path) == (part, keys, target)
    assert result.tensors == len(read_header(target).tensors)
    assert same(state(target, part), state(source / WEIGHTS, part))
    read = read_unet if part == "unet" else read_vae
    assert read(target).config == read(source / WEIGHTS).config
    assert read(target).stored.keys == keys


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        ("diffusers", "class_embedding.linear_1.bias"),
        ("ldm", "input_blocks.0.0.bias"),
        ("ldm-prefixed", "model.diffusion_model.input_blocks.0.0.bias"),
    ],
)
def test_keys_are_those_of_the_format(tmp_path: Path, keys: KeyFormat, first: str) -> None:
    convert(MINI["d"], tmp_path / "x.safetensors", keys=keys)
    assert min(read_header(tmp_path / "x.safetensors").tensors) == first


def test_ldm_stores_a_vaes_attention_as_1x1_convolutions(tmp_path: Path) -> None:
    convert(MINI["d"] / "vae", tmp_path / "x.safetensors", keys="ldm-prefixed")
    shapes = read_header(tmp_path / "x.safetensors").shapes
    assert shapes["first_stage_model.encoder.mid.attn_1.q.weight"] == (32, 32, 1, 1)
    assert shapes["first_stage_model.encoder.mid.attn_1.q.bias"] == (32,)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_there_and_back_again_is_byte_for_byte_the_same(tmp_path: Path, part: str) -> None:
    first = tmp_path / "1.safetensors"
    convert(MINI["g"] / part, first, keys="diffusers")
    for step, keys in enumerate(["ldm", "ldm-prefixed", "ldm", "diffusers"], start=2):
        convert(tmp_path / f"{step - 1}.safetensors", tmp_path / f"{step}.safetensors", keys=keys)  # type: ignore[arg-type]
    assert (tmp_path / "5.safetensors").read_bytes() == first.read_bytes()


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_lower_precision_rounds_to_nearest(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    convert(MINI["d"], tmp_path / "32.safetensors", dtype="fp32")
    full = load_file(tmp_path / "32.safetensors")
    assert {value.dtype for value in full.values()} == {torch.float32}
    convert(tmp_path / "32.safetensors", tmp_path / "low.safetensors", dtype=name)  # type: ignore[arg-type]
    low = load_file(tmp_path / "low.safetensors")
    assert all(torch.equal(low[key], value.to(dtype)) for key, value in full.items())


def test_fp16_to_fp32_and_back_is_exact(tmp_path: Path) -> None:
    convert(MINI["d"], tmp_path / "32.safetensors", dtype="fp32")
    convert(tmp_path / "32.safetensors", tmp_path / "16.safetensors", dtype="fp16")
    assert same(state(tmp_path / "16.safetensors", "unet"), state(MINI["d"] / "unet" / WEIGHTS, "unet"))


def test_without_options_keys_and_precision_stay(tmp_path: Path) -> None:
    convert(MINI["d"], tmp_path / "1.safetensors", keys="ldm", dtype="bf16")
    result = convert(tmp_path / "1.safetensors", tmp_path / "2.safetensors")
    assert result.keys == "ldm"
    assert (tmp_path / "2.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()


def test_the_new_file_says_what_its_shapes_cannot(tmp_path: Path) -> None:
    shutil.copytree(MINI["d"] / "unet", tmp_path / "lotus-normal" / "unet")
    convert(tmp_path / "lotus-normal", tmp_path / "1.safetensors", keys="ldm")
    metadata = read_header(tmp_path / "1.safetensors").metadata
    assert metadata["format"] == "pt"
    assert metadata["lotus.output"] == "normal"
    assert json.loads(metadata["lotus.config"])["attention_head_dim"] == [1, 2, 4, 4]
    convert(tmp_path / "1.safetensors", tmp_path / "2.safetensors", keys="diffusers")
    assert read_header(tmp_path / "2.safetensors").metadata["lotus.output"] == "normal"


def test_what_the_caller_says_it_estimates_is_kept_and_nothing_is_invented(tmp_path: Path) -> None:
    convert(MINI["d"], tmp_path / "1.safetensors", output="disparity")
    convert(MINI["d"], tmp_path / "2.safetensors")
    assert read_header(tmp_path / "1.safetensors").metadata["lotus.output"] == "disparity"
    assert "lotus.output" not in read_header(tmp_path / "2.safetensors").metadata


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    convert(MINI["d"], tmp_path / "x.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()
    for target in ("x.safetensors", "link.safetensors"):
        with pytest.raises(InputError, match="is the source itself: choose another name"):
            convert(tmp_path / "x.safetensors", tmp_path / target, keys="ldm")
    assert (tmp_path / "x.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["x.ckpt", "x", "x.safetensors.bin"])
def test_a_target_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"choose a name that ends in \.safetensors or \.sft"):
        convert(MINI["d"], tmp_path / name)


def test_an_incomplete_source_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(MINI["d"] / "unet" / WEIGHTS)
    del tensors["conv_out.bias"]
    save_file(tensors, tmp_path / WEIGHTS)
    shutil.copy(MINI["d"] / "unet" / "config.json", tmp_path)
    with pytest.raises(StateDictError, match=r"1 missing \(conv_out\.bias\)"):
        convert(tmp_path / WEIGHTS, tmp_path / "out.safetensors", keys="ldm")
    assert not (tmp_path / "out.safetensors").exists()


def test_sources_that_cannot_be_converted_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no weights"):
        convert(tmp_path / "empty", tmp_path / "out.safetensors")
    with pytest.raises(ArchitectureError, match="a text or image encoder"):
        convert(MINI["d"] / "text_encoder" / "model.safetensors", tmp_path / "out.safetensors")
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02")
    with pytest.raises(UnsafeFormatError, match="reading a pickle can run any code"):
        convert(tmp_path / "old.ckpt", tmp_path / "out.safetensors")


def test_what_fp16_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {key: value.float() for key, value in load_file(MINI["d"] / "unet" / WEIGHTS).items()}
    tensors["conv_out.bias"][2] = 1e6
    save_file(tensors, tmp_path / WEIGHTS)
    shutil.copy(MINI["d"] / "unet" / "config.json", tmp_path)
    with pytest.raises(NonFiniteError, match=r"conv_out\.bias does not fit fp16"):
        convert(tmp_path / WEIGHTS, tmp_path / "out.safetensors", dtype="fp16")
    assert {item.name for item in tmp_path.iterdir()} == {WEIGHTS, "config.json"}


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    import signal

    # A limit on file size stands for a full disk: the write fails in its middle.
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old_limit[1]))
    try:
        with pytest.raises(NoSpaceError, match="was not written"):
            convert(MINI["d"], tmp_path / "out.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert list(tmp_path.iterdir()) == []
