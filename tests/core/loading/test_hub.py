"""Pulling from a Hub on loopback with the real client: what is fetched, where it goes, what is never asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.loading.conftest import AUTHORS, CLIENT_PYTHON, KIJAI, SINGLE, VAE, content, lotus_repository
from tests.core.loading.hub_client import Client
from tests.core.loading.hub_server import Fault, HubServer, Repository

NAME = "lotus-depth-d-v1-0"
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE_PART = "vae/diffusion_pytorch_model.safetensors"


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_a_repository_lands_as_flat_readable_files(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    found = hub_client.run("ensure", NAME, folder=str(tmp_path))["value"]
    assert found == {
        "unet": str(tmp_path / f"{NAME}.safetensors"),
        "vae": str(tmp_path / f"{NAME}.vae.safetensors"),
        "unet_config": str(tmp_path / f"{NAME}.json"),
        "vae_config": str(tmp_path / f"{NAME}.vae.json"),
        "revision": "a" * 40,
        "name": NAME,
    }
    served = hub.repositories[AUTHORS].files
    assert Path(found["unet"]).read_bytes() == served[UNET]
    assert Path(found["vae"]).read_bytes() == served[VAE_PART]
    assert Path(found["unet_config"]).read_bytes() == served["unet/config.json"]
    assert not [name for name in files_of(tmp_path) if name.endswith((".part", ".tmp"))]


def test_only_the_unet_the_vae_and_their_configs_are_asked_for(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    hub_client.run("ensure", NAME, folder=str(tmp_path))
    asked = [request.target.split("/resolve/")[1].split("/", 1)[1] for request in hub.asked("/resolve/")]
    assert sorted(asked) == sorted([UNET, VAE_PART, "unet/config.json", "vae/config.json"])
    assert len(hub.asked("/api/")) == 1


def test_each_file_is_recorded_with_repository_commit_size_and_sha256(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    hub_client.run("ensure", NAME, folder=str(tmp_path))
    served = hub.repositories[AUTHORS].files[UNET]
    record = json.loads((tmp_path / f"{NAME}.safetensors.lock.json").read_text())
    assert record.pop("mtime_ns") == (tmp_path / f"{NAME}.safetensors").stat().st_mtime_ns
    assert record == {
        "repository": AUTHORS,
        "commit": "a" * 40,
        "path": UNET,
        "size": len(served),
        "sha256": hashlib.sha256(served).hexdigest(),
    }
    config = json.loads((tmp_path / f"{NAME}.json.lock.json").read_text())
    assert config["sha256"] == hashlib.sha256(b'{"in_channels": 4}').hexdigest()


def test_what_is_on_disk_is_used_without_a_request(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    first = hub_client.run("ensure", NAME, folder=str(tmp_path))["value"]
    hub.requests.clear()
    assert hub_client.run("ensure", NAME, folder=str(tmp_path))["value"] == first
    assert (
        hub_client.run("ensure", NAME, folder=str(tmp_path / "other"), search=[str(tmp_path)])["value"]
        == first
    )
    assert hub.requests == []


def test_single_files_share_one_vae(hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
    hub.repositories[KIJAI].files["lotus-normal-g-v1-0-fp16.safetensors"] = content("normal", 2**20)
    first = hub_client.run("ensure", "lotus-depth-g-v1-0", folder=str(tmp_path), vae=VAE)["value"]
    assert Path(first["unet"]).name == SINGLE
    assert first["unet_config"] is None
    hub.requests.clear()
    second = hub_client.run("ensure", "lotus-normal-g-v1-0", folder=str(tmp_path), vae=VAE)["value"]
    assert second["vae"] == first["vae"] == str(tmp_path / VAE[1])
    assert hub.asked(VAE[0]) == []


def test_a_vae_goes_to_the_folder_for_vaes(hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
    folders = {"folder": str(tmp_path / "lotus"), "vae_folder": str(tmp_path / "vae")}
    found = hub_client.run("ensure", "lotus-depth-g-v1-0", vae=VAE, **folders)["value"]
    assert found["vae"] == str(tmp_path / "vae" / VAE[1])
    assert files_of(tmp_path / "lotus") == {SINGLE, f"{SINGLE}.lock.json"}


def test_no_vae_is_fetched_for_a_caller_who_brings_one(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    found = hub_client.run("ensure", "lotus-depth-g-v1-0", folder=str(tmp_path), with_vae=False)["value"]
    assert found["vae"] is None
    assert hub.asked(VAE[0]) == []


def test_the_same_vae_in_another_repository_is_linked_not_fetched(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    other = lotus_repository()
    other.files[UNET] = content("another unet", 2**20)
    hub.repositories["jingheya/lotus-normal-d-v1-1"] = other
    first = hub_client.run("ensure", NAME, folder=str(tmp_path))["value"]
    second = hub_client.run("ensure", "lotus-normal-d-v1-1", folder=str(tmp_path))["value"]
    assert second["vae"] != first["vae"]
    assert Path(second["vae"]).samefile(first["vae"])
    assert len(hub.asked(f"/cdn/{other.etag(VAE_PART)}")) == 1
    record = json.loads(Path(second["vae"] + ".lock.json").read_text())
    assert record["repository"] == "jingheya/lotus-normal-d-v1-1"


def test_without_a_folder_files_go_to_the_hubs_cache_where_other_tools_find_them(
    hub: HubServer, hub_client: Client, hub_home: Path
) -> None:
    found = hub_client.run("ensure", NAME)["value"]
    snapshot = hub_home / "hub" / f"models--{AUTHORS.replace('/', '--')}" / "snapshots" / ("a" * 40)
    assert found["unet"] == str(snapshot / UNET)
    assert Path(found["unet"]).read_bytes() == hub.repositories[AUTHORS].files[UNET]
    assert found["revision"] == "a" * 40
    assert (snapshot.parents[1] / "refs" / "main").read_text() == "a" * 40
    blob = Path(found["unet"]).resolve()
    assert blob.name == hub.repositories[AUTHORS].etag(UNET)
    assert not list(snapshot.rglob("*.lock.json"))
    hub.requests.clear()
    assert hub_client.run("ensure", NAME)["value"] == found
    assert hub.requests == []


def test_lotus_home_comes_before_the_hubs_cache(hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
    hub.repositories["jingheya/lotus-depth-g-v2-0-disparity"] = lotus_repository(2**18)
    home = {"LOTUS_HOME": str(tmp_path / "home")}
    found = hub_client.run("ensure", "lotus-depth-g-v2-0-disparity", environment=home)["value"]
    assert Path(found["unet"]).parent == tmp_path / "home"


def test_the_text_encoder_comes_only_when_asked_for(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    folder = Path(hub_client.run("ensure_text_encoder", NAME, folder=str(tmp_path))["value"])
    assert folder.name == "text_encoder"
    assert (folder / "model.safetensors").read_bytes() == content("text", 3 * 2**19)
    assert {path.name for path in (folder.parent / "tokenizer").glob("*.txt")} == {"merges.txt"}
    assert hub.asked("pytorch_model.bin") == []
    hub.requests.clear()
    assert hub_client.run("ensure_text_encoder", NAME, folder=str(tmp_path))["value"] == str(folder)
    assert hub.requests == []


def test_the_shared_vae_can_be_had_alone(hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
    path = hub_client.run("ensure_shared_vae", folder=str(tmp_path), vae=VAE)["value"]
    assert Path(path).read_bytes() == content("shared", 2**20)
    assert hub.asked(KIJAI) == []


def test_a_name_that_nothing_has_is_refused_without_a_request(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    answer = hub_client.run("ensure", "lotus-dept-d-v1-0", folder=str(tmp_path))
    assert answer["error"] == "UnknownModelError"
    assert "no Lotus model is called 'lotus-dept-d-v1-0'" in answer["message"]
    assert "did you mean lotus-depth-d-v1-0" in answer["message"]
    assert hub.requests == []


class TestRevisions:
    def newer(self, hub: HubServer) -> Repository:
        newer = lotus_repository(2**20)
        newer.commit = "d" * 40
        newer.files[UNET] = content("newer", 2**20)
        hub.repositories[AUTHORS] = newer
        return newer

    def test_what_is_there_stays_until_a_revision_is_asked_for(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        options = {"folder": str(tmp_path)}
        hub_client.run("ensure", NAME, **options)
        newer = self.newer(hub)
        assert hub_client.run("ensure", NAME, **options)["value"]["revision"] == "a" * 40
        found = hub_client.run("ensure", NAME, revision="d" * 40, **options)["value"]
        assert found["revision"] == "d" * 40
        assert Path(found["unet"]).read_bytes() == newer.files[UNET]

    def test_a_branch_is_resolved_to_its_commit(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        found = hub_client.run("ensure", NAME, revision="main", folder=str(tmp_path))["value"]
        assert found["revision"] == "a" * 40
        sent = hub.body_bytes
        assert hub_client.run("ensure", NAME, revision="main", folder=str(tmp_path))["value"] == found
        assert hub.body_bytes - sent < 1000  # the two configs at most, no weights

    def test_a_revision_that_does_not_exist(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        answer = hub_client.run("ensure", NAME, revision="f" * 40, folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert "has no such revision" in answer["message"]

    def test_a_deleted_file_comes_back_only_as_it_was_pinned(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        found = hub_client.run("ensure", NAME, folder=str(tmp_path))["value"]
        Path(found["unet"]).unlink()
        self.newer(hub)
        answer = hub_client.run("ensure", NAME, folder=str(tmp_path))
        assert answer["error"] == "VerificationError"
        assert "changed since it was first fetched" in answer["message"]
        assert f"ask for revision {'a' * 12}, or delete {NAME}.safetensors.lock.json" in answer["message"]
        Path(found["unet"] + ".lock.json").unlink()
        assert "value" in hub_client.run("ensure", NAME, folder=str(tmp_path))


class TestRepositoriesOutsideTheCatalogue:
    def test_any_diffusers_repository_can_be_named(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        hub.repositories["someone/lotus-tuned"] = lotus_repository(2**18)
        found = hub_client.run("ensure", "someone/lotus-tuned", folder=str(tmp_path))["value"]
        assert found["unet"] == str(tmp_path / "someone--lotus-tuned.safetensors")
        hub.requests.clear()
        assert hub_client.run("ensure", "someone/lotus-tuned", folder=str(tmp_path))["value"] == found
        assert hub.requests == []

    def test_half_precision_is_taken_where_there_is_nothing_else(
        self, hub: HubServer, hub_client: Client, hub_home: Path
    ) -> None:
        files = {
            path.replace("model.safe", "model.fp16.safe"): data
            for path, data in lotus_repository(2**18).files.items()
        }
        hub.repositories["someone/half"] = Repository(files, commit="e" * 40)
        found = hub_client.run("ensure", "someone/half")["value"]
        assert Path(found["unet"]).name == "diffusion_pytorch_model.fp16.safetensors"

    def test_pickles_are_refused(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        hub.repositories["someone/pickled"] = Repository({"unet/diffusion_pytorch_model.bin": b"\x80\x04"})
        answer = hub_client.run("ensure", "someone/pickled", folder=str(tmp_path))
        assert answer["error"] == "UnsafeFormatError"
        assert "only as a pickle, and reading a pickle can run any code" in answer["message"]
        assert hub.asked("/resolve/") == []

    def test_a_repository_of_something_else(self, hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
        hub.repositories["someone/cats"] = Repository({"cats.csv": b"1", "README.md": b"2"})
        answer = hub_client.run("ensure", "someone/cats", folder=str(tmp_path))
        assert answer["error"] == "AccessError"
        assert f"someone/cats has no file {UNET} (found: README.md, cats.csv)" in answer["message"]

    def test_file_names_of_a_repository_decide_nothing(
        self, hub: HubServer, hub_client: Client, tmp_path: Path
    ) -> None:
        evil = lotus_repository(2**18)
        for path in ("../../evil.safetensors", "/etc/evil", "unet/../../../evil.json", "C:\\evil.json"):
            evil.files[path] = b"evil"
        hub.repositories["someone/evil"] = evil
        inside = tmp_path / "models"
        hub_client.run("ensure", "someone/evil", folder=str(inside))
        assert {path.name for path in tmp_path.iterdir()} == {"models"}
        assert {name for name in files_of(inside) if "evil" in name} == {
            f"someone--evil{end}{record}"
            for end in (".safetensors", ".vae.safetensors", ".json", ".vae.json")
            for record in ("", ".lock.json")
        }


def test_a_mirror_that_lists_no_sizes_is_asked_file_by_file(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    hub.repositories[AUTHORS].says_sizes = False
    found = hub_client.run("ensure", NAME, folder=str(tmp_path))["value"]
    assert Path(found["unet"]).read_bytes() == hub.repositories[AUTHORS].files[UNET]
    assert len([request for request in hub.asked("/resolve/") if request.method == "HEAD"]) == 4


def test_progress_rises_to_the_number_of_bytes(hub: HubServer, hub_client: Client, tmp_path: Path) -> None:
    seen = hub_client.run("ensure", NAME, folder=str(tmp_path))["progress"]
    files = hub.repositories[AUTHORS].files
    total = sum(len(files[path]) for path in (UNET, VAE_PART, "unet/config.json", "vae/config.json"))
    fetching = [(done, whole) for done, whole in seen if whole]
    assert {whole for _, whole in fetching} == {total}
    assert [done for done, _ in fetching] == sorted(done for done, _ in fetching)
    assert fetching[-1] == (total, total) or fetching[-1] == [total, total]


def test_a_cancel_keeps_the_bytes_and_no_file_under_its_final_name(
    hub: HubServer, hub_client: Client, tmp_path: Path
) -> None:
    size = len(hub.repositories[AUTHORS].files[UNET])
    hub.faults.append(Fault("cdn", "slow", pause=0.005))  # or it is through before the first report
    answer = hub_client.run("ensure", NAME, folder=str(tmp_path), cancel_at=2**16)
    assert answer["error"] == "_CancelledError"  # the host's own exception, as it was raised
    assert not (tmp_path / f"{NAME}.safetensors").exists()
    (part,) = tmp_path.glob("*.part")
    kept = part.stat().st_size
    assert part.name.startswith(f"{NAME}.safetensors.")
    assert 0 < kept < size
    hub.requests.clear()
    found = hub_client.run("ensure", NAME, folder=str(tmp_path))["value"]
    assert hub.asked("/cdn/")[0].range == f"bytes={kept}-"
    assert Path(found["unet"]).read_bytes() == hub.repositories[AUTHORS].files[UNET]


class TestEnvironment:
    def run(self, endpoint: str, home: Path, options: dict[str, Any], **environment: str) -> dict[str, Any]:
        client = Client(endpoint, home, python=CLIENT_PYTHON, **environment)
        try:
            return client.run("ensure", NAME, **options)
        finally:
            client.close()

    def test_a_token_opens_a_gated_repository_and_never_leaves_the_hub(
        self, hub: HubServer, tmp_path: Path
    ) -> None:
        hub.repositories[AUTHORS].gated = True
        hub.token = "hf_secret"
        options = {"folder": str(tmp_path / "models")}
        answer = self.run(hub.endpoint, tmp_path, options, HF_TOKEN="hf_secret")
        assert "value" in answer
        assert {request.authorization for request in hub.asked("/resolve/")} == {"Bearer hf_secret"}
        assert {request.authorization for request in hub.asked("/cdn/")} == {None}

    def test_offline_mode_makes_no_request(self, hub: HubServer, tmp_path: Path) -> None:
        answer = self.run(hub.endpoint, tmp_path, {"folder": str(tmp_path / "m")}, HF_HUB_OFFLINE="1")
        assert answer["error"] == "OfflineError"
        assert answer["message"] == (
            f"{NAME} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it: "
            "unset HF_HUB_OFFLINE, or copy the file into the models folder."
        )
        assert hub.requests == []

    def test_a_proxy_gets_every_request_and_no_host_is_known_by_heart(
        self, hub: HubServer, tmp_path: Path
    ) -> None:
        proxy = {"HTTP_PROXY": hub.endpoint, "http_proxy": hub.endpoint, "NO_PROXY": "", "no_proxy": ""}
        answer = self.run("http://hub.invalid", tmp_path, {"folder": str(tmp_path / "models")}, **proxy)
        assert "value" in answer
        assert {request.host for request in hub.asked("/api/")} == {"hub.invalid"}
        assert all(request.target.startswith("http://") for request in hub.requests)

    def test_no_network_says_which_host_and_what_to_do(self, hub: HubServer, tmp_path: Path) -> None:
        answer = self.run("http://127.0.0.1:9", tmp_path, {"folder": str(tmp_path / "models")})
        assert answer["error"] == "OfflineError"
        assert f"{NAME} cannot be fetched: http://127.0.0.1:9 is out of reach" in answer["message"]
        assert "check the network, HF_ENDPOINT and the proxy settings" in answer["message"]
        assert answer["seconds"] < 5

    @pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
    def test_the_cache_is_where_the_environment_says(
        self, hub: HubServer, tmp_path: Path, variable: str
    ) -> None:
        answer = self.run(hub.endpoint, tmp_path / "unused", {}, **{variable: str(tmp_path / "mine")})
        assert Path(answer["value"]["unet"]).is_relative_to(tmp_path / "mine")
