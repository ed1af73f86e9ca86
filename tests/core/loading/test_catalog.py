from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from lotus_core.conventions import OutputKind
from lotus_core.errors import UnknownModelError
from lotus_core.loading import catalog
from lotus_core.loading.catalog import for_repository, lookup, models, nearest, require, same_weights

REPOSITORIES = {
    "jingheya/lotus-depth-g-v1-0": ("depth", "g"),
    "jingheya/lotus-depth-d-v1-0": ("depth", "d"),
    "jingheya/lotus-depth-d-v1-1": ("depth", "d"),
    "jingheya/lotus-depth-g-v2-0-disparity": ("disparity", "g"),
    "jingheya/lotus-depth-g-v2-1-disparity": ("disparity", "g"),
    "jingheya/lotus-depth-d-v2-0-disparity": ("disparity", "d"),
    "jingheya/lotus-normal-g-v1-0": ("normal", "g"),
    "jingheya/lotus-normal-d-v1-0": ("normal", "d"),
    "jingheya/lotus-normal-g-v1-1": ("normal", "g"),
    "jingheya/lotus-normal-d-v1-1": ("normal", "d"),
}

FILES = {
    "lotus-depth-d-v-1-1-fp16.safetensors": ("Kijai/lotus-comfyui", "depth", "d", "fp16"),
    "lotus-depth-g-v1-0.safetensors": ("Kijai/lotus-comfyui", "depth", "g", "fp32"),
    "lotus-depth-g-v1-0-fp16.safetensors": ("Kijai/lotus-comfyui", "depth", "g", "fp16"),
    "lotus-normal-d-v1-0.safetensors": ("Kijai/lotus-comfyui", "normal", "d", "fp32"),
    "lotus-normal-d-v1-0-fp16.safetensors": ("Kijai/lotus-comfyui", "normal", "d", "fp16"),
    "lotus-normal-g-v1-0.safetensors": ("Kijai/lotus-comfyui", "normal", "g", "fp32"),
    "lotus-normal-g-v1-0-fp16.safetensors": ("Kijai/lotus-comfyui", "normal", "g", "fp16"),
    "lotus-depth-d-v1-1.safetensors": ("Comfy-Org/lotus", "depth", "d", "fp16"),
}


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_every_repository_of_the_authors_is_known(repository: str) -> None:
    entry = require(repository)
    assert entry.repository == repository
    assert (entry.output, entry.mode) == REPOSITORIES[repository]
    assert entry.layout == "folder"
    assert [file.path for _, file in entry.files()] == [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "unet/config.json",
        "vae/config.json",
    ]


@pytest.mark.parametrize("filename", FILES)
def test_every_file_of_the_community_is_known_under_its_name(filename: str) -> None:
    entry = require(filename)
    assert (entry.repository, entry.output, entry.mode, entry.precision) == FILES[filename]
    assert entry.layout == "file"
    assert entry.flat_name == filename
    assert entry.vae == catalog.SHARED_VAE


def test_the_bundled_models_need_nothing_from_anywhere() -> None:
    for name, output in (("lotus-tiny-depth-d", "disparity"), ("lotus-tiny-normal-d", "normal")):
        entry = require(name)
        assert (entry.layout, entry.output, entry.mode, entry.about_bytes) == ("bundled", output, "d", 0)
        assert list(entry.files()) == []


def test_names_are_unique_and_mean_themselves() -> None:
    names = [entry.name for entry in models()]
    assert len(set(names)) == len(names)
    assert [require(name).name for name in names] == names


def test_file_names_on_disk_are_unique_and_mean_their_entry() -> None:
    published = [entry for entry in models() if entry.layout != "bundled"]
    assert len({entry.flat_name for entry in published}) == len(published)
    for entry in published:
        assert require(entry.flat_name) == entry


@pytest.mark.parametrize(
    "typed",
    [
        "lotus-depth-g-v1-0-fp16",
        "Lotus-Depth-G-V1-0-FP16.safetensors",
        "lotus_depth_g_v1-0_fp16.safetensors",
        "lotus/lotus-depth-g-v1-0-fp16.safetensors",
        "lotus\\lotus-depth-g-v1-0-fp16.safetensors",
        " lotus-depth-g-v1-0-fp16.safetensors ",
    ],
)
def test_a_file_is_known_in_any_folder_and_letter_case(typed: str) -> None:
    assert require(typed) == require("lotus-depth-g-v1-0-fp16.safetensors")


def test_a_short_name_means_the_smallest_file_of_the_weights() -> None:
    for entry in models():
        if entry.name == entry.weights:
            assert all(entry.about_bytes < 1.001 * other.about_bytes for other in same_weights(entry))
    assert require("lotus-depth-g-v1-0").precision == "fp16"
    assert (
        require("lotus-depth-g-v1-0.safetensors").precision == "fp32"
    )  # the file of that name is another one
    assert require("jingheya/lotus-depth-g-v1-0").layout == "folder"


def test_older_checkpoints_name_what_replaces_them() -> None:
    replaced = {entry.weights: entry.replaced_by for entry in models() if entry.replaced_by}
    assert replaced == {
        "lotus-depth-g-v1-0": "lotus-depth-g-v2-1-disparity",
        "lotus-depth-g-v2-0-disparity": "lotus-depth-g-v2-1-disparity",
        "lotus-depth-d-v1-0": "lotus-depth-d-v2-0-disparity",
        "lotus-depth-d-v1-1": "lotus-depth-d-v2-0-disparity",
        "lotus-normal-g-v1-0": "lotus-normal-g-v1-1",
        "lotus-normal-d-v1-0": "lotus-normal-d-v1-1",
    }
    for old, new in replaced.items():
        assert require(str(new)).replaced_by is None
        assert (require(str(new)).mode, require(str(new)).output == "normal") == (
            require(old).mode,
            require(old).output == "normal",
        )


def test_expected_sizes_follow_from_the_number_of_weights() -> None:
    # 867,556,804 weights of a D UNet in fp16 are 1,735,113,608 bytes; the published file has 83,744 more: its header.
    known = require("lotus-depth-d-v1-1.safetensors").unet
    assert known is not None
    assert known.size == 1_735_197_352
    other = require("lotus-depth-d-v-1-1-fp16").unet
    assert other is not None
    assert other.about_bytes == 2 * 867_556_804
    assert 0 < known.size - other.about_bytes < 200_000
    vae = catalog.SHARED_VAE
    assert vae.size is not None
    assert 0 < vae.size - 4 * 83_653_863 < 200_000


def test_nothing_is_pinned_that_is_not_known() -> None:
    for entry in models():
        for _, file in entry.files():
            assert (file.sha256 is None) == (file != catalog.SHARED_VAE)
            assert file.sha256 is None or (
                len(file.sha256) == 64 and file.size and len(file.revision or "") == 40
            )


def test_every_entry_is_complete() -> None:
    for entry in models():
        assert entry.output in get_args(OutputKind)
        assert entry.mode in ("g", "d")
        assert entry.licence
        assert entry.default_resolution == (192 if entry.layout == "bundled" else 768)
        assert entry.layout == "bundled" or entry.text_encoder_repository in REPOSITORIES


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("lotus-dept-g-v1-0", "lotus-depth-g-v1-0"),
        ("lotus-normal-g-v1.1", "lotus-normal-g-v1-1"),
        ("lotus-depth-g-v2", "lotus-depth-g-v2-1-disparity"),
        ("lotus-tiny-depht-d", "lotus-tiny-depth-d"),
        ("normal-d-v1-1", "lotus-normal-d-v1-1"),
    ],
)
def test_the_closest_name_comes_first(typed: str, first: str) -> None:
    found = nearest(typed)
    assert found[0] == first
    assert len(found) <= 3
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("typed", ["", "marigold", "sd_xl_base_1.0.safetensors"])
def test_a_name_of_something_else_has_no_closest(typed: str) -> None:
    assert lookup(typed) is None
    assert nearest(typed) == ()


def test_an_unknown_name_is_an_error_that_helps() -> None:
    with pytest.raises(UnknownModelError) as caught:
        require("lotus-dept-d-v1-0")
    assert caught.value.nearest[0] == "lotus-depth-d-v1-0"
    assert str(caught.value).startswith(
        "no Lotus model is called 'lotus-dept-d-v1-0': did you mean lotus-depth-d-v1-0"
    )


def test_a_repository_outside_the_catalogue_says_nothing_about_its_output() -> None:
    entry = for_repository("someone/lotus-tuned")
    assert (entry.output, entry.mode, entry.layout) == (None, None, "folder")
    assert entry.flat_name == "someone--lotus-tuned.safetensors"
    assert for_repository("jingheya/lotus-depth-d-v1-0") == require("lotus-depth-d-v1-0")


@pytest.mark.parametrize(
    "name", ["lotus", "../x", "a/../b", "/etc/passwd", "a/b/c", "a/b.safetensors", "a\\b", ".a/b"]
)
def test_what_is_no_hub_id_is_refused(name: str) -> None:
    with pytest.raises(UnknownModelError):
        for_repository(name)


def test_the_catalogue_imports_neither_torch_nor_a_client() -> None:
    heavy = "'torch', 'diffusers', 'huggingface_hub', 'requests', 'httpx', 'httpx2'"
    code = (
        f"import sys, lotus_core.loading.catalog; print([name for name in ({heavy}) if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
