"""What a server can do wrong: each ends in this library's own error, or is got over; nothing half is left behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.core.loading.conftest import AUTHORS, content
from tests.core.loading.hub_client import FAST, Client
from tests.core.loading.hub_server import Fault, HubServer

NAME = "lotus-depth-d-v1-0"
UNET = "unet/diffusion_pytorch_model.safetensors"


def unet_of(hub: HubServer) -> bytes:
    return hub.repositories[AUTHORS].files[UNET]


def nothing_final_in(folder: Path) -> bool:
    return not any(path.suffix == ".safetensors" for path in folder.glob("*"))


class TestRefusals:
    def test_a_gated_repository_without_a_token(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.repositories[AUTHORS].gated = True
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert answer["message"] == (
            f"{AUTHORS} is gated (found: HTTP 401 from {hub.endpoint}): accept its conditions at "
            f"{hub.endpoint}/{AUTHORS}, then set HF_TOKEN to your token."
        )

    def test_a_gated_repository_with_a_token_that_may_not(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("api", "status", status=403, headers={"X-Error-Code": "GatedRepo"}))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert "is gated (found: HTTP 403" in answer["message"]

    @pytest.mark.parametrize("where", ["api", "resolve"])
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_plain_refusal(
        self, hub: HubServer, hub_client: Client, tmp_path: Path, where: str, status: int
    ) -> None:
        hub.faults.append(
            Fault(
                where,
                "status",
                status=status,
                headers={"X-Error-Message": "Invalid credentials in Authorization header"},
            )
        )
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert f"{AUTHORS} may not be read (found: HTTP {status}" in answer["message"]
        assert "set HF_TOKEN to a token that may read it" in answer["message"]

    def test_a_repository_that_does_not_exist(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        del hub.repositories[AUTHORS]
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert f"there is no repository {AUTHORS}, or it is private (found: HTTP 404" in answer["message"]

    def test_a_file_that_vanished_after_the_listing(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("resolve", "status", status=404, headers={"X-Error-Code": "EntryNotFound"}))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert f"{AUTHORS} has no file unet/config.json" in answer["message"]

    def test_refusals_are_not_asked_again(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        hub.repositories[AUTHORS].gated = True
        hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert len(hub.requests) == 1


class TestTooManyRequests:
    @pytest.mark.parametrize("where", ["api", "resolve", "cdn"])
    def test_the_wait_that_the_server_asks_for_is_kept(
        self, hub: HubServer, hub_client: Client, tmp_path: Path, where: str
    ) -> None:
        hub.faults.append(Fault(where, "status", times=1, status=429, headers={"Retry-After": "1"}))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert Path(answer["value"]["unet"]).read_bytes() == unet_of(hub)
        assert answer["seconds"] >= 1.0
        assert len(hub.requests) <= 10

    def test_a_wait_of_an_hour_is_told_not_slept(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("api", "status", status=429, headers={"Retry-After": "3600"}))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert "the Hub refuses more requests for now" in answer["message"]
        assert "wait 3600 s" in answer["message"]
        assert "set HF_TOKEN for a higher limit" in answer["message"]
        assert answer["seconds"] < 1
        assert len(hub.requests) == 1

    def test_a_cancel_ends_the_wait(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        hub.faults.append(Fault("cdn", "status", status=429, headers={"Retry-After": "3"}))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path), cancel_at=0)
        assert answer["error"] == "_CancelledError"
        assert answer["seconds"] < 2


class TestServerErrors:
    @pytest.mark.parametrize("where", ["api", "resolve", "cdn"])
    @pytest.mark.parametrize("status", [500, 503])
    def test_a_few_are_got_over(
        self, hub: HubServer, hub_client: Client, tmp_path: Path, where: str, status: int
    ) -> None:
        hub.faults.append(Fault(where, "status", times=2, status=status))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert Path(answer["value"]["unet"]).read_bytes() == unet_of(hub)

    @pytest.mark.parametrize("where", ["api", "cdn"])
    def test_too_many_in_a_row_end_it(
        self, hub: HubServer, hub_client: Client, tmp_path: Path, where: str
    ) -> None:
        hub.faults.append(Fault(where, "status", status=502))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert f"the server fails (found: HTTP 502 from {hub.endpoint})" in answer["message"]
        assert len(hub.asked("/cdn/" if where == "cdn" else "/api/")) == FAST["attempts"]
        assert nothing_final_in(tmp_path)

    def test_a_login_page_in_place_of_the_hub(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("api", "html"))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert f"{hub.endpoint} does not answer as the Hub does" in answer["message"]
        assert "whether this network wants a login page first" in answer["message"]

    def test_a_login_page_in_place_of_a_file(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "html"))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert f"{UNET} came only in part" in answer["message"]
        assert nothing_final_in(tmp_path)


class TestStalls:
    def test_one_is_got_over_from_where_it_stopped(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "stall", times=1, at=2**20))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert Path(answer["value"]["unet"]).read_bytes() == unet_of(hub)
        second = hub.asked("/cdn/")[1]
        assert second.range is not None
        assert 2**20 - 2**17 <= int(second.range[len("bytes=") : -1]) <= 2**20

    def test_a_server_that_says_nothing_more(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "stall", at=2**19))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert f"{UNET} stopped coming from {hub.endpoint}" in answer["message"]
        assert "try again, it goes on where it stopped" in answer["message"]
        assert nothing_final_in(tmp_path)
        (part,) = tmp_path.glob("*.part")
        assert part.stat().st_size >= 2**19 - 2**17


class TestCuts:
    def test_ten_cuts_at_random_places_cost_no_tenth_of_the_file(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        size = 12 * 2**20
        hub.repositories[AUTHORS].files[UNET] = content("twelve", size)
        places = sorted(random.Random(7).sample(range(1, size), 10))
        hub.faults.extend(
            Fault("cdn", "cut", times=1, at=place, match=hub.repositories[AUTHORS].etag(UNET))
            for place in places
        )
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path), with_vae=False)
        assert Path(answer["value"]["unet"]).read_bytes() == content("twelve", size)
        assert len(hub.asked("/cdn/")) == 11
        assert hub.body_bytes <= 1.1 * size

    def test_ten_pulls_that_gave_up_are_one_file_in_the_end(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        size = 12 * 2**20
        hub.repositories[AUTHORS].files[UNET] = content("twelve", size)
        options = {"folder": str(tmp_path), "with_vae": False}
        for place in sorted(random.Random(8).sample(range(2**18, size), 10)):
            refusal = Fault("resolve", "status", status=403, skip=1)  # so that the process ends after the cut
            hub.faults[:] = [Fault("cdn", "cut", times=1, at=place), refusal]
            assert hub_client.run("ensure", NAME, **options)["error"] == "AccessError"
            assert nothing_final_in(tmp_path)
        hub.faults.clear()
        answer = hub_client.run("ensure", NAME, **options)
        assert Path(answer["value"]["unet"]).read_bytes() == content("twelve", size)
        assert hub.body_bytes <= 1.1 * size

    def test_a_server_that_always_cuts_at_the_same_byte(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "cut", at=2**20))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert f"{UNET} came only in part (found: 1048576 of 3145728 bytes)" in answer["message"]

    def test_a_server_without_ranges_begins_anew(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "cut", times=1, at=2**20))
        hub.faults.append(Fault("cdn", "no-range"))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert Path(answer["value"]["unet"]).read_bytes() == unet_of(hub)


class TestContent:
    def test_another_hash_than_announced(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        hub.faults.append(Fault("cdn", "corrupt", at=1234))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "VerificationError"
        assert f"{AUTHORS}/{UNET} arrived with another content than announced" in answer["message"]
        assert "the server or a proxy alters files" in answer["message"]
        assert nothing_final_in(tmp_path)
        assert not list(tmp_path.glob("*.part"))

    def test_a_config_with_another_hash_than_announced(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("resolve", "corrupt", at=3, match="unet/config.json"))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "VerificationError"
        assert f"{AUTHORS}/unet/config.json" in answer["message"]

    def test_more_bytes_than_announced_do_not_fill_the_disk(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.faults.append(Fault("cdn", "endless"))
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "VerificationError"
        assert nothing_final_in(tmp_path)
        assert not list(tmp_path.glob("*.part"))

    def test_earlier_bytes_that_went_bad_are_fetched_again(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        etag = hub.repositories[AUTHORS].etag(UNET)
        part = tmp_path / f"{NAME}.safetensors.{etag[:12]}.part"
        part.write_bytes(b"\0" * 2**20)
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert Path(answer["value"]["unet"]).read_bytes() == unet_of(hub)

    def test_bytes_of_another_version_are_not_mixed_in(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        (tmp_path / f"{NAME}.safetensors.0123456789ab.part").write_bytes(b"\0" * 2**20)
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert hub.asked("/cdn/")[0].range is None
        assert Path(answer["value"]["unet"]).read_bytes() == unet_of(hub)
        assert not list(tmp_path.glob("*.part"))

    def test_another_file_under_a_known_name_is_not_taken(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        # The catalogue knows the shared VAE's size, hash and commit; this server has another file under its name.
        hub.repositories[
            "stabilityai/sd-vae-ft-mse-original"
        ].commit = "629b3ad3030ce36e15e70c5db7d91df0d60c627f"
        answer = hub_client.run("ensure_shared_vae", folder=str(tmp_path))
        assert answer["error"] == "DownloadError"
        assert "vae-ft-mse-840000-ema-pruned.safetensors is shorter on" in answer["message"]
        assert "check HF_ENDPOINT: a mirror may hold another file" in answer["message"]
        assert nothing_final_in(tmp_path)
