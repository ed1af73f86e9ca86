"""Kills, two at once, full disks and planted links: what lies under a final name is whole, or it is not there."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.loading.conftest import AUTHORS, content
from tests.core.loading.hub_client import Client, Job
from tests.core.loading.hub_server import Fault, HubServer

NAME = "lotus-depth-d-v1-0"
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
FINAL = {f"{NAME}.safetensors": UNET, f"{NAME}.vae.safetensors": VAE, f"{NAME}.json": "unet/config.json"}


def require_whole(folder: Path, hub: HubServer) -> set[str]:
    """Assert that each file under a final name is the served one; return their names."""
    there = {name for name in FINAL if (folder / name).exists()}
    for name in there:
        assert (folder / name).read_bytes() == hub.repositories[AUTHORS].files[FINAL[name]]
    return there


def wait_for_bytes(hub: HubServer, count: int, job: Job) -> None:
    end = time.monotonic() + 20
    while hub.body_bytes < count and time.monotonic() < end and not job.ended():
        time.sleep(0.002)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_no_broken_file(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    chance = random.Random(20)
    hub.faults.append(Fault("cdn", "slow", pause=0.001))
    whole = sum(len(hub.repositories[AUTHORS].files[path]) for path in (UNET, VAE))
    killed = 0
    for round_number in range(200):
        folder = tmp_path / str(round_number)
        while killed < 20:
            before = hub.body_bytes
            job = hub_client.start("ensure", NAME, folder=str(folder))
            wait_for_bytes(hub, before + chance.randrange(whole // 3), job)
            time.sleep(chance.random() * 0.02)  # also into the hashing, the record, the rename
            job.kill()
            if job.result():
                break  # it was faster: go on with an empty folder
            killed += 1
            require_whole(folder, hub)
        answer = hub_client.run("ensure", NAME, folder=str(folder))
        assert require_whole(folder, hub) == set(FINAL)
        assert Path(answer["value"]["unet"]).is_file()
        assert not list(folder.glob("*.part"))
        if killed == 20:
            break
    assert killed == 20


def test_two_pullers_download_once(hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
    hub.faults.append(Fault("cdn", "slow", pause=0.002))
    jobs = [hub_client.start("ensure", NAME, folder=str(tmp_path)) for _ in range(2)]
    first, second = (job.result() for job in jobs)
    assert first["value"] == second["value"]
    assert require_whole(tmp_path, hub) == set(FINAL)
    files = hub.repositories[AUTHORS].files
    assert len(hub.asked("/cdn/")) == 2  # one for each of the two large files
    assert hub.body_bytes == sum(
        len(files[path]) for path in (UNET, VAE, "unet/config.json", "vae/config.json")
    )


def test_two_pullers_into_the_hubs_cache_download_once(hub: HubServer, hub_client: Client) -> None:
    hub.faults.append(Fault("cdn", "slow", pause=0.002))
    jobs = [hub_client.start("ensure", NAME) for _ in range(2)]
    first, second = (job.result() for job in jobs)
    assert first["value"] == second["value"]
    assert len(hub.asked("/cdn/")) == 2


def test_a_puller_goes_on_when_the_one_it_waits_for_dies(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    hub.faults.append(Fault("cdn", "slow", pause=0.01))
    holder = hub_client.start("ensure", NAME, folder=str(tmp_path))
    wait_for_bytes(hub, 2**18, holder)
    waiter = hub_client.start("ensure", NAME, folder=str(tmp_path))
    time.sleep(0.3)
    hub.faults.clear()
    holder.kill()
    assert holder.result() == {}
    assert "value" in waiter.result()
    assert require_whole(tmp_path, hub) == set(FINAL)
    assert hub.asked("/cdn/")[1].range is not None  # it went on from what the dead one had


def test_a_cancel_ends_the_wait_for_another_puller(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    hub.faults.append(Fault("cdn", "slow", pause=0.05))
    holder = hub_client.start("ensure", NAME, folder=str(tmp_path))
    wait_for_bytes(hub, 2**16, holder)
    waiter = hub_client.run("ensure", NAME, folder=str(tmp_path), cancel_at=0)
    assert waiter["error"] == "_CancelledError"
    assert not holder.ended()
    holder.kill()
    holder.result()


class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of 4 MB of its own."""
        folder = tmp_path / "disk"
        folder.mkdir()
        mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
                capture_output=True,
                check=False,
            ).returncode
        )
        if not mounted:
            pytest.skip("mounting a tmpfs needs root; the file size limit below tests the same without")
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_too_little_space_is_said_before_the_first_byte(
        self, hub: HubServer, hub_client: Client, small_disk: Path
    ) -> None:
        hub.repositories[AUTHORS].files[UNET] = content("big", 5 * 2**20)
        answer = hub_client.run("ensure", NAME, folder=str(small_disk))
        assert answer["error"] == "NoSpaceError"
        assert f"the disk of {small_disk} is too full for 6.3 MB (found: 4.2 MB free)" in answer["message"]
        assert "`lotus models prune` lists what can go" in answer["message"]
        assert hub.asked("/cdn/") == []
        assert list(small_disk.iterdir()) == []

    def test_a_disk_that_fills_up_meanwhile_gets_its_space_back(
        self, hub: HubServer, hub_client: Client, small_disk: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "slow", pause=0.005))
        hub.repositories[AUTHORS].files[VAE] = content("small", 2**16)
        job = hub_client.start("ensure", NAME, folder=str(small_disk))
        wait_for_bytes(hub, 2**19, job)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while stream.write(bytes(2**12)):
                pass
        answer = job.result()
        assert answer["error"] == "NoSpaceError"
        assert f"the disk is full: {small_disk / NAME}.safetensors was not written" in answer["message"]
        assert "free some space, or write to another disk" in answer["message"]
        assert require_whole(small_disk, hub) == {f"{NAME}.json"}
        assert not list(small_disk.glob("*.part"))
        filler.unlink()
        hub.faults.clear()
        assert "value" in hub_client.run("ensure", NAME, folder=str(small_disk))
        assert require_whole(small_disk, hub) == set(FINAL)

    def test_a_limit_on_the_size_of_files(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path), file_bytes=2**20)
        assert answer["error"] == "NoSpaceError"
        assert "the disk is full:" in answer["message"]
        assert require_whole(tmp_path, hub) == {f"{NAME}.json"}
        assert not list(tmp_path.glob("*.part"))


class TestFolders:
    def test_a_folder_that_cannot_be_made(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path / "file" / "models"))
        assert answer["error"] == "NotWritableError"
        assert (
            f"{tmp_path / 'file' / 'models'} cannot be written (found: Not a directory)" in answer["message"]
        )
        assert "choose a folder that you may write to" in answer["message"]

    def test_a_folder_that_cannot_be_written(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        folder = tmp_path / "models"
        folder.mkdir()
        if (
            os.geteuid() == 0
        ):  # permissions refuse root nothing: a file in the place of the locks' folder does
            (folder / ".lotus").write_text("")
        else:
            folder.chmod(0o500)
        answer = hub_client.run("ensure", NAME, folder=str(folder))
        assert answer["error"] == "NotWritableError"
        assert f"{folder / NAME}.json cannot be written" in answer["message"]

    def test_a_planted_link_leads_nowhere(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_bytes(b"precious")
        folder = tmp_path / "models"
        folder.mkdir()
        etag = hub.repositories[AUTHORS].etag(UNET)
        (folder / f"{NAME}.safetensors.{etag[:12]}.part").symlink_to(outside)
        answer = hub_client.run("ensure", NAME, folder=str(folder))
        assert answer["error"] == "StorageError"
        assert "was not written (found: Too many levels of symbolic links)" in answer["message"]
        assert outside.read_bytes() == b"precious"

    def test_a_linked_folder_is_as_good_as_its_target(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        (tmp_path / "big-disk").mkdir()
        (tmp_path / "models").symlink_to(tmp_path / "big-disk")
        hub_client.run("ensure", NAME, folder=str(tmp_path / "models"))
        assert require_whole(tmp_path / "big-disk", hub) == set(FINAL)

    def test_a_dangling_link_under_the_final_name_is_replaced_not_followed(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        folder = tmp_path / "models"
        folder.mkdir()
        (folder / f"{NAME}.safetensors").symlink_to(tmp_path / "outside")
        hub_client.run("ensure", NAME, folder=str(folder))
        assert not (tmp_path / "outside").exists()
        assert require_whole(folder, hub) == set(FINAL)
