"""What is on disk is found wherever users keep it, and with every socket blocked."""

from __future__ import annotations

import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lotus_core.errors import VerificationError
from lotus_core.loading import hub, store
from lotus_core.loading.catalog import SHARED_VAE, for_repository, require
from lotus_core.loading.entry import CatalogEntry, Role
from lotus_core.loading.lock import LockRecord, sha256_of, write_lock
from lotus_core.loading.store import MAX_DEPTH, Places, find, flat_target, weights_under

DISPARITY = "lotus-depth-d-v2-0-disparity"
SINGLE = "lotus-depth-g-v1-0-fp16.safetensors"
VAE = SHARED_VAE.filename


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Block every way out, and let the Hub's cache be a folder of this test."""

    def blocked(*args: Any, **_: Any) -> None:
        raise AssertionError(f"a socket was asked for: {args}")

    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, blocked)
    monkeypatch.delenv("LOTUS_HOME", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def put(path: Path, text: str = "weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def put_cached(home: Path, repository: str, path: str, commit: str = "a" * 40, *, main: bool = True) -> Path:
    root = home / "hub" / f"models--{repository.replace('/', '--')}"
    blob = put(root / "blobs" / f"blob-of-{path.replace('/', '-')}-{commit[:4]}", path)
    link = root / "snapshots" / commit / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(blob)
    if main:
        put(root / "refs" / "main", commit)
    return link


def put_repository(home: Path, name: str, commit: str = "a" * 40, *, main: bool = True) -> Path:
    for path in ("vae/diffusion_pytorch_model.safetensors", "unet/config.json", "vae/config.json"):
        put_cached(home, name, path, commit, main=main)
    return put_cached(home, name, "unet/diffusion_pytorch_model.safetensors", commit, main=main)


class TestFoundWithoutARequest:
    def test_a_single_file_and_the_shared_vae(self, tmp_path: Path) -> None:
        unet, vae = put(tmp_path / SINGLE), put(tmp_path / VAE)
        found = hub.ensure("lotus-depth-g-v1-0", folder=tmp_path)
        assert (found.unet, found.vae, found.unet_config, found.revision) == (unet, vae, None, None)

    def test_files_in_two_folders_of_a_host(self, tmp_path: Path) -> None:
        unet = put(tmp_path / "diffusion_models" / "lotus" / SINGLE)
        vae = put(tmp_path / "vae" / VAE)
        places = [tmp_path / "lotus", tmp_path / "diffusion_models", tmp_path / "vae"]
        found = hub.ensure("lotus-depth-g-v1-0", folder=tmp_path / "lotus", search=places)
        assert (found.unet, found.vae) == (unet, vae)
        assert not (tmp_path / "lotus").exists()

    def test_a_renamed_extension_letter_case_and_underscores(self, tmp_path: Path) -> None:
        unet = put(tmp_path / "Lotus_Depth_G_v1-0_FP16.sft")
        found = hub.ensure("lotus-depth-g-v1-0", folder=tmp_path, with_vae=False)
        assert (found.unet, found.vae) == (unet, None)

    def test_flat_files_of_a_repository_with_their_configs(self, tmp_path: Path) -> None:
        names = ("safetensors", "json", "vae.safetensors", "vae.json")
        unet, config, vae, vae_config = (put(tmp_path / f"{DISPARITY}.{name}") for name in names)
        found = hub.ensure(DISPARITY, folder=tmp_path)
        assert (found.unet, found.unet_config, found.vae, found.vae_config) == (unet, config, vae, vae_config)

    def test_a_diffusers_folder(self, tmp_path: Path) -> None:
        root = tmp_path / "diffusers" / DISPARITY
        unet = put(root / "unet" / "diffusion_pytorch_model.safetensors")
        config = put(root / "unet" / "config.json")
        vae = put(root / "vae" / "diffusion_pytorch_model.safetensors")
        found = hub.ensure(DISPARITY, search=[tmp_path / "diffusers"])
        assert (found.unet, found.unet_config, found.vae, found.vae_config) == (unet, config, vae, None)

    def test_links_to_files_and_folders(self, tmp_path: Path) -> None:
        put(tmp_path / "elsewhere" / "blob")
        put(tmp_path / "elsewhere" / "vaes" / VAE)
        models = tmp_path / "models"
        models.mkdir()
        (models / SINGLE).symlink_to(tmp_path / "elsewhere" / "blob")
        (models / "vaes").symlink_to(tmp_path / "elsewhere" / "vaes")
        found = hub.ensure("lotus-depth-g-v1-0", folder=models)
        assert (found.unet, found.vae) == (models / SINGLE, models / "vaes" / VAE)

    def test_lotus_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOTUS_HOME", str(tmp_path / "home"))
        unet = put(tmp_path / "home" / SINGLE)
        put(tmp_path / "home" / VAE)
        assert hub.ensure("lotus-depth-g-v1-0").unet == unet

    def test_the_hubs_cache(self, tmp_path: Path) -> None:
        unet = put_repository(tmp_path, f"jingheya/{DISPARITY}")
        found = hub.ensure(DISPARITY)
        assert found.unet == unet
        assert found.unet_config == unet.with_name("config.json")

    def test_a_given_folder_comes_before_the_cache(self, tmp_path: Path) -> None:
        put_repository(tmp_path, f"jingheya/{DISPARITY}")
        unet = put(tmp_path / "mine" / f"{DISPARITY}.safetensors")
        put(tmp_path / "mine" / f"{DISPARITY}.vae.safetensors")
        assert hub.ensure(DISPARITY, folder=tmp_path / "mine").unet == unet

    def test_another_file_of_the_same_weights(self, tmp_path: Path) -> None:
        unet = put(tmp_path / "lotus-depth-g-v1-0.safetensors")
        put(tmp_path / VAE)
        found = hub.ensure("lotus-depth-g-v1-0", folder=tmp_path)
        assert found.unet == unet
        assert found.entry.precision == "fp32"

    def test_a_bundled_checkpoint(self) -> None:
        found = hub.ensure("lotus-tiny-normal-d")
        assert found.vae is not None
        assert found.prompt_embeds is not None
        for path in (found.unet, found.vae, found.unet_config, found.vae_config, found.prompt_embeds):
            assert path is not None
            assert path.is_file()

    def test_the_shared_vae_and_a_text_encoder(self, tmp_path: Path) -> None:
        assert hub.ensure_shared_vae(search=[put(tmp_path / "vae" / VAE).parent]) == tmp_path / "vae" / VAE
        root = tmp_path / "jingheya--lotus-depth-g-v1-0.prompt"
        for path in store.TEXT_ENCODER_FILES:
            put(root / path)
        entry = require("lotus-normal-g-v1-0")  # every Lotus checkpoint has the same one
        assert hub.ensure_text_encoder(entry, folder=tmp_path) == root / "text_encoder"

    def test_a_text_encoder_in_the_hubs_cache(self, tmp_path: Path) -> None:
        for path in store.TEXT_ENCODER_FILES:
            put_cached(tmp_path, "jingheya/lotus-depth-d-v1-0", path)
        folder = hub.ensure_text_encoder(require(DISPARITY))
        assert folder.name == "text_encoder"
        assert (folder.parent / "tokenizer" / "merges.txt").is_file()

    def test_a_repository_outside_the_catalogue(self, tmp_path: Path) -> None:
        unet = put_repository(tmp_path, "someone/lotus-tuned")
        assert hub.ensure("someone/lotus-tuned").unet == unet


class TestNotFound:
    def test_a_missing_vae_is_missing(self, tmp_path: Path) -> None:
        put(tmp_path / SINGLE)
        places = Places(folder=tmp_path)
        assert find(require("lotus-depth-g-v1-0"), places) is None
        assert find(require("lotus-depth-g-v1-0"), places, with_vae=False) is not None

    def test_a_hub_id_means_that_repository_and_no_other_file(self, tmp_path: Path) -> None:
        put(tmp_path / SINGLE)
        put(tmp_path / VAE)
        assert find(require("jingheya/lotus-depth-g-v1-0"), Places(folder=tmp_path)) is None

    def test_a_file_deeper_than_looked_for(self, tmp_path: Path) -> None:
        deep = tmp_path.joinpath(*["sub"] * MAX_DEPTH)
        put(deep / SINGLE)
        assert list(weights_under([tmp_path])) == [deep / SINGLE]
        put(deep / "sub" / "too-deep.safetensors")
        assert list(weights_under([tmp_path])) == [deep / SINGLE]

    def test_a_link_to_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / SINGLE).symlink_to(tmp_path / "gone")
        assert list(weights_under([tmp_path])) == []

    def test_a_folder_that_links_to_itself_ends(self, tmp_path: Path) -> None:
        (tmp_path / "again").symlink_to(tmp_path)
        file = put(tmp_path / SINGLE)
        assert list(weights_under([tmp_path, tmp_path])) == [file]

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert list(weights_under([tmp_path / "gone"])) == []

    def test_half_a_text_encoder(self, tmp_path: Path) -> None:
        put(tmp_path / f"{DISPARITY}.prompt" / "text_encoder" / "model.safetensors")
        assert store.find_text_encoder(f"jingheya/{DISPARITY}", Places(folder=tmp_path)) is None


class TestRevisions:
    def test_the_main_branch_comes_before_other_commits(self, tmp_path: Path) -> None:
        put_repository(tmp_path, f"jingheya/{DISPARITY}", "b" * 40)
        put_repository(tmp_path, f"jingheya/{DISPARITY}", "c" * 40, main=False)
        found = hub.ensure(DISPARITY)
        assert found.unet.parts[-3] == "b" * 40
        assert hub.ensure(DISPARITY, revision="c" * 40).unet.parts[-3] == "c" * 40
        assert hub.ensure(DISPARITY, revision="cccc").unet.parts[-3] == "c" * 40
        assert hub.ensure(DISPARITY, revision="main").unet.parts[-3] == "b" * 40

    def test_a_commit_that_was_fetched_alone_is_found(self, tmp_path: Path) -> None:
        unet = put_repository(tmp_path, f"jingheya/{DISPARITY}", "b" * 40, main=False)
        assert hub.ensure(DISPARITY).unet == unet

    def test_a_flat_file_is_of_the_commit_in_its_record(self, tmp_path: Path) -> None:
        unet = put(tmp_path / f"{DISPARITY}.safetensors")
        vae = put(tmp_path / f"{DISPARITY}.vae.safetensors")
        for path in (unet, vae):
            write_lock(path, LockRecord(f"jingheya/{DISPARITY}", "b" * 40, "x", 7, sha256_of(path)))
        entry, places = require(DISPARITY), Places(folder=tmp_path)
        found = find(entry, places, revision="b" * 7)
        assert found is not None
        assert found.revision == "b" * 40
        assert find(entry, places, revision="c" * 40) is None

    def test_a_flat_file_without_a_record_is_of_no_known_commit(self, tmp_path: Path) -> None:
        put(tmp_path / SINGLE)
        entry = require("lotus-depth-g-v1-0")
        assert find(entry, Places(folder=tmp_path), revision="b" * 40, with_vae=False) is None


def test_a_file_that_is_not_as_recorded_is_an_error_not_a_download(tmp_path: Path) -> None:
    unet = put(tmp_path / SINGLE)
    write_lock(unet, LockRecord("Kijai/lotus-comfyui", "b" * 40, SINGLE, 8, sha256_of(unet)))
    with pytest.raises(VerificationError, match="7 bytes in place of 8"):
        hub.ensure("lotus-depth-g-v1-0", folder=tmp_path)


class TestTargets:
    def entry(self, name: str) -> CatalogEntry:
        return replace(require(DISPARITY), name=name)

    def test_flat_names_of_a_repository(self, tmp_path: Path) -> None:
        places = Places(folder=tmp_path)
        entry = for_repository("someone/lotus-tuned")
        names = [flat_target(entry, role, places).name for role, _ in entry.files()]
        stem = "someone--lotus-tuned"
        assert names == [f"{stem}.safetensors", f"{stem}.vae.safetensors", f"{stem}.json", f"{stem}.vae.json"]

    @pytest.mark.parametrize("name", ["..", "../evil", "/etc/evil", "a/../../b"])
    @pytest.mark.parametrize("role", ["unet", "vae", "unet config", "vae config"])
    def test_slashes_and_dots_in_a_name_stay_in_the_folder(
        self, tmp_path: Path, name: str, role: Role
    ) -> None:
        target = flat_target(self.entry(name), role, Places(folder=tmp_path / "models"))
        assert target.parent == tmp_path / "models"
        assert target.resolve().parent == (tmp_path / "models").resolve()

    @pytest.mark.parametrize("name", ["a\\b", "C:evil", "a\0b"])
    def test_names_that_some_system_reads_as_a_path_are_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match="is not a plain file name"):
            flat_target(self.entry(name), "unet", Places(folder=tmp_path))

    def test_without_a_folder_there_is_no_flat_name(self) -> None:
        with pytest.raises(ValueError, match="no flat folder is set"):
            flat_target(require(DISPARITY), "unet", Places())

    def test_folders_are_looked_into_once_and_in_order(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOTUS_HOME", str(tmp_path / "home"))
        a, b = tmp_path / "a", tmp_path / "b"
        assert Places(search=(a, b, a), vae_folder=b).every_folder() == (a, b, tmp_path / "home")
        assert Places(search=(a,), folder=b).every_folder() == (a, b)


def test_a_moved_folder_keeps_its_records(tmp_path: Path) -> None:
    unet = put(tmp_path / "old" / SINGLE)
    put(tmp_path / "old" / VAE)
    write_lock(unet, LockRecord("Kijai/lotus-comfyui", "b" * 40, SINGLE, 7, sha256_of(unet), 1))
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert hub.ensure("lotus-depth-g-v1-0", folder=tmp_path / "new").revision == "b" * 40
