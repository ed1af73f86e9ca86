"""From what was typed to files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lotus_core.errors import UnknownModelError
from lotus_core.loading import catalog, hub
from lotus_core.loading.locate import locate
from lotus_core.loading.store import Places
from tests.core.loading.samples import MINI, WEIGHTS, sd2_shapes, sd_vae_shapes, sparse_file

NOWHERE = Places()


@pytest.fixture(autouse=True)
def no_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is found: no LOTUS_HOME, an empty Hub cache, an empty working folder."""
    from huggingface_hub import constants

    monkeypatch.delenv("LOTUS_HOME", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the Hub was asked for; it gives the mini checkpoint."""
    requests: list[tuple[str, dict[str, Any]]] = []

    def ensure(entry: catalog.CatalogEntry, **options: Any) -> catalog.LocalCheckpoint:
        requests.append((entry.name, options))
        return catalog.LocalCheckpoint(
            entry=entry, unet=MINI["d"] / "unet" / WEIGHTS, vae=MINI["d"] / "vae" / WEIGHTS
        )

    monkeypatch.setattr(hub, "ensure", ensure)
    return requests


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return sparse_file(path, sd2_shapes("g" if "-g-" in name.lower() else "d"))

    return make


@pytest.mark.parametrize(
    ("name", "output"), [("lotus-tiny-depth-d", "disparity"), ("lotus-tiny-normal-d", "normal")]
)
def test_a_bundled_name_needs_nothing_else(name: str, output: str) -> None:
    located = locate(name, NOWHERE)
    assert (located.output, located.mode, located.default_resolution) == (output, "d", 192)
    assert located.files.unet.is_file()


def test_a_catalogue_name_asks_the_hub_with_what_the_caller_allows(asked, tmp_path: Path) -> None:
    progress = lambda done, total: None  # noqa: E731
    places = Places(search=(tmp_path,), folder=tmp_path / "models", vae_folder=tmp_path / "vae")
    located = locate(
        "lotus-depth-g-v2-1-disparity", places, revision="abc", with_vae=False, progress=progress
    )
    assert asked == [
        (
            "lotus-depth-g-v2-1-disparity",
            {
                "folder": tmp_path / "models",
                "vae_folder": tmp_path / "vae",
                "search": (tmp_path,),
                "with_vae": False,
                "revision": "abc",
                "progress": progress,
            },
        )
    ]
    assert (located.output, located.mode, located.default_resolution) == ("disparity", "g", 768)
    assert located.entry is catalog.lookup("lotus-depth-g-v2-1-disparity")


def cached_by_the_hub(monkeypatch: pytest.MonkeyPatch, snapshot: Path, parts: tuple[str, ...]) -> None:
    """Let the Hub answer with a snapshot in its cache that holds some parts of the mini checkpoint."""
    for part in parts:
        shutil.copytree(MINI["d"] / part, snapshot / part)

    def ensure(entry: catalog.CatalogEntry, **options: Any) -> catalog.LocalCheckpoint:
        return catalog.LocalCheckpoint(
            entry=entry, unet=snapshot / "unet" / WEIGHTS, vae=snapshot / "vae" / WEIGHTS
        )

    monkeypatch.setattr(hub, "ensure", ensure)


def test_an_embedding_kept_beside_fetched_weights_is_found_again(tmp_path: Path, monkeypatch) -> None:
    cached_by_the_hub(monkeypatch, tmp_path / "snapshot", ("unet", "vae"))
    first = locate("lotus-normal-d-v1-1", NOWHERE).files
    assert (first.prompt_embeds, first.prompt_folder) == (None, tmp_path / "snapshot")
    kept = first.prompt_folder / "prompt_embeds.safetensors"
    kept.touch()
    assert locate("lotus-normal-d-v1-1", NOWHERE).files.prompt_embeds == kept


def test_fetched_weights_go_by_the_catalogues_name(tmp_path: Path, monkeypatch) -> None:
    cached_by_the_hub(monkeypatch, tmp_path / "0123abcd", ("unet", "vae"))
    files = locate("lotus-normal-d-v1-1", NOWHERE).files
    assert (files.name, files.said_by) == ("lotus-normal-d-v1-1", ("lotus-normal-d-v1-1",))
    assert files.vae == tmp_path / "0123abcd" / "vae" / WEIGHTS


@pytest.mark.parametrize(
    ("parts", "whole"),
    [(("text_encoder",), False), (("tokenizer",), False), (("text_encoder", "tokenizer"), True)],
)
def test_a_text_encoder_counts_only_when_all_of_it_was_fetched(
    tmp_path: Path, monkeypatch, parts: tuple[str, ...], whole: bool
) -> None:
    cached_by_the_hub(monkeypatch, tmp_path / "snapshot", ("unet", "vae", *parts))
    files = locate("lotus-normal-d-v1-1", NOWHERE).files
    assert files.text_encoder == (tmp_path / "snapshot" / "text_encoder" if whole else None)


def test_a_hub_id_outside_the_catalogue_is_asked_for_and_says_nothing_about_itself(asked) -> None:
    located = locate("someone/my-finetune", NOWHERE)
    assert [name for name, _ in asked] == ["someone/my-finetune"]
    assert (located.output, located.mode) == (None, None)


def test_a_relative_path_that_exists_comes_before_a_hub_id_of_the_same_form(asked, tmp_path: Path) -> None:
    shutil.copytree(MINI["d"] / "unet", Path("someone/my-finetune/unet"))
    assert locate("someone/my-finetune", NOWHERE).files.name == "my-finetune"
    assert asked == []


def test_a_catalogue_name_is_the_catalogues_even_where_a_folder_has_it(asked, tmp_path: Path) -> None:
    shutil.copytree(MINI["d"] / "unet", Path("lotus-normal-d-v1-1/unet"))
    locate("lotus-normal-d-v1-1", NOWHERE)
    assert [name for name, _ in asked] == ["lotus-normal-d-v1-1"]
    # Written as a path, it is the folder.
    assert locate("./lotus-normal-d-v1-1", NOWHERE).files.unet.parts[-3:] == (
        "lotus-normal-d-v1-1",
        "unet",
        WEIGHTS,
    )
    assert locate(Path("lotus-normal-d-v1-1"), NOWHERE).output == "normal"
    assert len(asked) == 1


def test_a_plain_name_that_is_only_a_folder_is_that_folder(asked) -> None:
    shutil.copytree(MINI["d"] / "unet", Path("mine/unet"))
    assert locate("mine", NOWHERE).files.name == "mine"
    assert asked == []


@pytest.mark.parametrize(
    ("name", "output", "mode"),
    [
        ("lotus-depth-d-v-1-1-fp16.safetensors", "depth", "d"),
        ("Lotus_Normal_G_v1-0.safetensors", "normal", "g"),
        ("deeper/lotus-depth-g-v1-0-fp16.SAFETENSORS", "depth", "g"),
    ],
)
def test_a_file_under_a_known_name_has_the_catalogues_facts(
    make_file, asked, name: str, output: str, mode: str
) -> None:
    located = locate(make_file(name), NOWHERE)
    assert (located.output, located.mode) == (output, mode)
    assert asked == []


def test_a_file_in_a_folder_of_a_known_name_has_the_catalogues_facts(make_file) -> None:
    assert locate(make_file("lotus-normal-d-v1-1/model.safetensors"), NOWHERE).output == "normal"


def test_a_file_of_no_known_name_says_nothing_here(make_file) -> None:
    located = locate(make_file("mine.safetensors"), NOWHERE)
    assert (located.entry, located.output, located.mode, located.default_resolution) == (
        None,
        None,
        None,
        768,
    )


NAMES = {
    "lotus-depth-d-v1-1": "another name of a file with the same weights",
    "lotus-depth-d-v1-1.safetensors": "the other repository's file name",
    "lotus-depth-d-v-1-1-fp16": "its own name",
    "Lotus-Depth-D-v-1-1-fp16.safetensors": "its own file name in another letter case",
}


@pytest.mark.parametrize("name", NAMES, ids=NAMES.values())
@pytest.mark.parametrize("place", ["", "checkpoints/lotus/"])
def test_a_checkpoint_is_found_under_the_name_that_a_user_gave_its_file(
    make_file, tmp_path, name, place
) -> None:
    # No network: the real hub module must find both files in the folders given.
    file = make_file(place + "lotus-depth-d-v-1-1-fp16.safetensors")
    sparse_file(tmp_path / "models" / catalog.SHARED_VAE.filename, sd_vae_shapes())
    located = locate(name, Places(search=(tmp_path / "models",)))
    assert located.files.unet == file
    assert located.output == "depth"


def test_a_link_to_a_file_elsewhere_is_found(make_file, tmp_path: Path) -> None:
    real = make_file("store/3f2a.safetensors")
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "lotus-normal-d-v1-0.safetensors").symlink_to(real)
    (folder / catalog.SHARED_VAE.filename).symlink_to(sparse_file(tmp_path / "v.sft", sd_vae_shapes()))
    located = locate("lotus-normal-d-v1-0", Places(search=(folder,)))
    assert located.files.unet.resolve() == real
    assert located.output == "normal"


def test_lotus_home_is_searched(make_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_file("lotus-normal-d-v1-0.safetensors")
    sparse_file(tmp_path / "models" / catalog.SHARED_VAE.filename, sd_vae_shapes())
    monkeypatch.setenv("LOTUS_HOME", str(tmp_path / "models"))
    assert locate("lotus-normal-d-v1-0-fp32", NOWHERE).files.unet == file


@pytest.mark.parametrize(
    "name", ["mine.safetensors", "mine", "MINE.safetensors", "shared/by/someone/mine.safetensors"]
)
def test_a_file_of_ones_own_is_found_in_the_searched_folders_by_name(
    make_file, asked, tmp_path, name
) -> None:
    file = make_file("sub/mine.safetensors")
    assert locate(name, Places(search=(tmp_path / "models",))).files.unet == file
    assert asked == []


def test_a_hub_id_is_not_taken_for_a_file_of_the_same_last_part(make_file, asked, tmp_path: Path) -> None:
    make_file("mine.safetensors")
    locate("someone/mine", Places(search=(tmp_path / "models",)))
    assert [name for name, _ in asked] == ["someone/mine"]


def test_a_diffusers_folder_of_ones_own_is_found_by_name(tmp_path: Path, asked) -> None:
    shutil.copytree(MINI["d"] / "unet", tmp_path / "models" / "diffusers" / "My_Finetune" / "unet")
    files = locate("my-finetune", Places(search=(tmp_path / "models",))).files
    assert files.name == "My_Finetune"
    assert asked == []


def test_an_unknown_name_lists_the_nearest_files_on_disk_too(make_file, tmp_path: Path) -> None:
    make_file("my-tuned-normals.safetensors")
    with pytest.raises(UnknownModelError) as caught:
        locate("my-tuned-normal.safetensors", Places(search=(tmp_path / "models",)))
    assert caught.value.nearest[0] == "my-tuned-normals.safetensors"
    assert "or choose my-tuned-normals.safetensors" in str(caught.value)


def test_an_absolute_path_that_is_gone_is_never_fetched_under_its_last_part(asked) -> None:
    for path in (
        "/nowhere/lotus-normal-d-v1-0.safetensors",
        "./lotus-normal-d-v1-0.safetensors",
        "~/lotus-normal-d-v1-1",
    ):
        with pytest.raises(UnknownModelError, match="there is no such file or folder"):
            locate(path, NOWHERE)
    assert asked == []


def test_an_unknown_name_lists_the_nearest(asked) -> None:
    with pytest.raises(UnknownModelError, match="no Lotus model is called 'lotus-normal-d-v1-2'") as caught:
        locate("lotus-normal-d-v1-2", NOWHERE)
    assert "lotus-normal-d-v1-1" in str(caught.value)
    assert "did you mean" in str(caught.value)
    assert caught.value.nearest


@pytest.mark.parametrize("path", ["/nowhere/lotus-normal-d-v1-2.safetensors", "./lotus-normal-d-v1-2.sft"])
def test_a_missing_path_says_so_and_lists_the_nearest_names(asked, path: str) -> None:
    with pytest.raises(
        UnknownModelError, match="there is no such file or folder; check the path, or choose"
    ) as caught:
        locate(path, NOWHERE)
    assert any(name.startswith("lotus-normal-d") for name in caught.value.nearest)
    assert asked == []


def test_a_missing_path_object_is_never_sent_to_the_hub(asked) -> None:
    with pytest.raises(UnknownModelError, match="there is no such file or folder"):
        locate(Path("someone/my-finetune"), NOWHERE)
    assert asked == []
