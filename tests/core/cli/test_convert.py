"""`lotus convert`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lotus_core.loading.header import read_header

GOLDEN = Path(__file__).parents[2] / "golden"
MINI = GOLDEN / "ckpt" / "mini-g"


def test_a_folders_unet_goes_to_ldm_keys_in_half_precision(lotus, tmp_path: Path) -> None:
    target = tmp_path / "out" / "mini.safetensors"
    ran = lotus("convert", MINI, target, "--keys", "ldm-prefixed", "--dtype", "bf16", "--kind", "normal")
    assert ran.code == 0, ran.err
    assert ran.out.strip() == f"1 done, 0 failed; results in {target}"
    header = read_header(target)
    assert len(header.tensors) == 690
    assert {entry.dtype for entry in header.tensors.values()} == {"BF16"}
    assert "model.diffusion_model.input_blocks.0.0.weight" in header.tensors
    assert header.metadata["lotus.output"] == "normal"


def test_json_says_what_was_written(lotus, tmp_path: Path) -> None:
    target = tmp_path / "vae.safetensors"
    ran = lotus("convert", MINI / "vae", target, "--keys", "ldm", "--dtype", "fp32", "--json")
    assert ran.code == 0
    (item,) = ran.document["items"]
    values = sum(value.numel() for value in load_file(target).values())
    assert item == {
        "input": str(MINI / "vae"),
        "status": "done",
        "file": str(target),
        "network": "vae",
        "keys": "ldm",
        "tensors": 244,
        "bytes": 4 * values,
    }


def test_an_existing_file_is_replaced_only_when_told(lotus, tmp_path: Path) -> None:
    target = tmp_path / "mini.safetensors"
    target.write_bytes(b"precious")
    ran = lotus("convert", MINI, target)
    assert ran.code == 2
    assert "exists already: choose a new name, or pass --force" in ran.err
    assert target.read_bytes() == b"precious"
    assert lotus("convert", MINI, target, "--force").code == 0
    assert len(read_header(target).tensors) == 690


def test_a_round_trip_on_the_command_line_is_exact(lotus, tmp_path: Path) -> None:
    names = [tmp_path / f"{step}.safetensors" for step in range(3)]
    assert lotus("convert", MINI, names[0]).code == 0
    assert lotus("convert", names[0], names[1], "--keys", "ldm").code == 0
    assert lotus("convert", names[1], names[2], "--keys", "diffusers").code == 0
    assert names[2].read_bytes() == names[0].read_bytes()


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("none.safetensors", "out.safetensors", "there is no such file"),
        ("old.ckpt", "out.safetensors", "reading a pickle can run any code"),
        ("empty", "out.safetensors", "holds no weights"),
        ("torn.safetensors", "out.safetensors", "not a safetensors file"),
        ("old.ckpt", "out.ckpt", "choose a name that ends in .safetensors or .sft"),
    ],
)
def test_what_cannot_be_started_is_code_2_and_writes_nothing(
    lotus, tmp_path: Path, source: str, target: str, words: str
) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02}")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10")
    (tmp_path / "empty").mkdir()
    ran = lotus("convert", tmp_path / source, tmp_path / target)
    assert ran.code == 2
    assert words in ran.err
    assert not (tmp_path / target).exists()
    ran = lotus("convert", tmp_path / source, tmp_path / target, "--json")
    assert ran.code == 2
    assert words in ran.document["error"]["message"]


def test_a_conversion_that_fails_while_writing_is_code_1_and_leaves_nothing(lotus, tmp_path: Path) -> None:
    tensors = {
        key: value.float()
        for key, value in load_file(MINI / "unet" / "diffusion_pytorch_model.safetensors").items()
    }
    tensors["conv_out.bias"] = torch.full((4,), 1e6)
    (tmp_path / "unet").mkdir()
    save_file(tensors, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    shutil.copy(MINI / "unet" / "config.json", tmp_path / "unet")
    target = tmp_path / "out.safetensors"
    ran = lotus("convert", tmp_path, target, "--dtype", "fp16", "--json")
    assert ran.code == 1
    assert ran.document["items"][0]["error"]["type"] == "NonFiniteError"
    assert "does not fit fp16" in ran.err
    assert [item.name for item in tmp_path.iterdir()] == ["unet"]


def test_an_unknown_key_format_is_refused_by_the_parser(lotus, tmp_path: Path) -> None:
    ran = lotus("convert", MINI, tmp_path / "x.safetensors", "--keys", "comfy")
    assert ran.code == 2
    assert "invalid choice: 'comfy'" in ran.err
