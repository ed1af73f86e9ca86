from __future__ import annotations

from pathlib import Path

import pytest

from lotus_core.errors import InputError
from lotus_core.loading.catalog import SHARED_VAE, require
from lotus_core.loading.files import PROMPT_FILE
from lotus_core.loading.lock import LockRecord, lock_path, sha256_of, write_lock
from lotus_core.loading.prune import Removal, fetched_files, leftovers, remove, replaced
from lotus_core.loading.store import Places

SINGLE = "lotus-depth-g-v1-0-fp16.safetensors"
NORMAL = "lotus-normal-g-v1-0-fp16.safetensors"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("LOTUS_HOME", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(path: Path, size: int = 7, *, fetched: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    if fetched:
        write_lock(
            path,
            LockRecord("owner/name", "b" * 40, path.name, size, sha256_of(path), path.stat().st_mtime_ns),
        )
    return path


def paths(removals: tuple[Removal, ...]) -> set[Path]:
    return {removal.path for removal in removals}


class TestLeftovers:
    def test_parts_of_downloads_here_and_in_the_hubs_cache(self, tmp_path: Path, cache: Path) -> None:
        models = tmp_path / "models"
        part = put(models / f"{SINGLE}.0123456789ab.part", 100, fetched=False)
        blob = put(cache / "models--a--b" / "blobs" / f"{'c' * 64}.{'c' * 12}.part", 50, fetched=False)
        found = leftovers(Places(folder=models))
        assert paths(found) == {part, blob}
        assert sum(removal.bytes for removal in found) == 150
        assert {removal.reason for removal in found} == {"part of a download"}

    def test_parts_of_other_programs_stay(self, tmp_path: Path, cache: Path) -> None:
        put(tmp_path / "models" / "film.mkv.part", fetched=False)
        put(cache / "models--a--b" / "blobs" / "123.incomplete", fetched=False)
        assert leftovers(Places(folder=tmp_path / "models")) == ()

    def test_a_text_encoder_can_go_once_its_embedding_is_kept(self, tmp_path: Path) -> None:
        encoder = tmp_path / "jingheya--lotus-depth-d-v1-0.prompt"
        put(encoder / "text_encoder" / "model.safetensors", 1000)
        assert leftovers(Places(folder=tmp_path)) == ()
        put(tmp_path / PROMPT_FILE)
        (removal,) = leftovers(Places(folder=tmp_path))
        assert removal.path == encoder
        assert removal.bytes >= 1000
        remove(removal)
        assert not encoder.exists()

    def test_a_text_encoder_of_the_users_own_stays(self, tmp_path: Path) -> None:
        put(tmp_path / "mine.prompt" / "text_encoder" / "model.safetensors", fetched=False)
        put(tmp_path / PROMPT_FILE)
        assert leftovers(Places(folder=tmp_path)) == ()


class TestOneCheckpoint:
    def test_its_files_and_their_records(self, tmp_path: Path) -> None:
        name = "lotus-depth-d-v2-0-disparity"
        files = [
            put(tmp_path / f"{name}.{end}") for end in ("safetensors", "json", "vae.safetensors", "vae.json")
        ]
        found = fetched_files(require(name), Places(folder=tmp_path))
        assert paths(found) == {*files, *(lock_path(file) for file in files)}

    def test_the_shared_vae_goes_with_the_last_that_needs_it(self, tmp_path: Path) -> None:
        places = Places(folder=tmp_path)
        single, normal, vae = (put(tmp_path / name) for name in (SINGLE, NORMAL, SHARED_VAE.filename))
        first = fetched_files(require("lotus-depth-g-v1-0"), places)
        assert paths(first) == {single, lock_path(single)}
        for removal in first:
            remove(removal)
        last = fetched_files(require("lotus-normal-g-v1-0"), places)
        assert paths(last) == {normal, lock_path(normal), vae, lock_path(vae)}

    def test_a_file_that_the_user_put_there_stays(self, tmp_path: Path) -> None:
        put(tmp_path / SINGLE, fetched=False)
        with pytest.raises(
            InputError, match=r"nothing of lotus-depth-g-v1-0 was fetched to .*yours to delete"
        ):
            fetched_files(require("lotus-depth-g-v1-0"), Places(folder=tmp_path))

    def test_a_file_in_a_folder_that_is_only_searched_stays(self, tmp_path: Path) -> None:
        put(tmp_path / "mine" / SINGLE)
        with pytest.raises(InputError, match="nothing of"):
            fetched_files(
                require("lotus-depth-g-v1-0"), Places(search=(tmp_path / "mine",), folder=tmp_path / "models")
            )

    def test_the_hubs_cache_gives_back_the_blob_too(self, cache: Path) -> None:
        root = cache / "models--Kijai--lotus-comfyui"
        blob = put(root / "blobs" / ("d" * 64), 500, fetched=False)
        links = [root / "snapshots" / (commit * 40) / SINGLE for commit in "ab"]
        for link in links:
            link.parent.mkdir(parents=True)
            link.symlink_to(blob)
        other = put(root / "blobs" / ("e" * 64), fetched=False)
        found = fetched_files(require("lotus-depth-g-v1-0"), Places())
        assert paths(found) == {blob, *links}
        assert sum(removal.bytes for removal in found) == 500
        for removal in found:
            remove(removal)
        assert other.exists()
        assert not any(path.is_symlink() for path in links)

    def test_a_file_with_a_second_name_frees_nothing(self, tmp_path: Path) -> None:
        name = "lotus-depth-d-v2-0-disparity"
        vae = put(tmp_path / f"{name}.vae.safetensors", 300)
        (tmp_path / "other.vae.safetensors").hardlink_to(vae)
        found = {
            removal.path: removal.bytes for removal in fetched_files(require(name), Places(folder=tmp_path))
        }
        assert found[vae] == 0


def test_a_checkpoint_is_replaced_only_if_the_better_one_is_here(tmp_path: Path) -> None:
    put(tmp_path / NORMAL)
    put(tmp_path / SHARED_VAE.filename)
    assert replaced(Places(folder=tmp_path)) == ()
    put(tmp_path / "lotus-normal-g-v1-1-fp16.safetensors")
    assert replaced(Places(folder=tmp_path)) == (require("lotus-normal-g-v1-0"),)


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    remove(Removal(tmp_path / "gone", 0, "test"))


def test_removing_a_link_to_a_folder_keeps_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "real" / "file")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    remove(Removal(tmp_path / "link", 0, "test"))
    assert (tmp_path / "real" / "file").exists()
    assert not (tmp_path / "link").is_symlink()
