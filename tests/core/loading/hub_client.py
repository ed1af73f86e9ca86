"""The real client in a process of its own: huggingface_hub reads its environment once, when it is imported.

Started as a program, it imports everything, then forks one child for each job that comes in on its standard input:
so twenty kills cost twenty forks, not twenty interpreters.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FAST = {"attempts": 4, "unreachable_attempts": 2, "first_wait_s": 0.02, "longest_wait_s": 3.0}


def client_environment(endpoint: str, home: Path) -> dict[str, str]:
    """Return the environment of a process that talks to the Hub at ``endpoint`` and to nobody else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "LOTUS_"))}
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    hub |= {"HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
    hub |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore"}
    return kept | hub


class Client:
    """A process with the Hub's client, reached over pipes."""

    def __init__(self, endpoint: str, home: Path, python: str = sys.executable, **environment: str) -> None:
        environment = client_environment(endpoint, home) | environment
        self._process = subprocess.Popen(
            [python, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        function: str,
        *args: Any,
        file_bytes: int | None = None,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> Job:
        """Begin ``hub.<function>(*args, **options)`` in a child."""
        handle, name = tempfile.mkstemp(suffix=".json")
        os.close(handle)
        job = {
            "function": function,
            "args": args,
            "options": options,
            "file_bytes": file_bytes,
            "environment": environment or {},
            "result": name,
        }
        return Job(self._talk(job)["pid"], Path(name), self._talk)

    def run(self, function: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Return what the call returned, or its error: ``{"error": class, "message": text}``."""
        return self.start(function, *args, **options).result()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _talk(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Job:
    """A call under way in a child."""

    def __init__(self, pid: int, result: Path, talk: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.pid = pid
        self._result = result
        self._talk = talk

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> bool:
        return self._result.stat().st_size > 0

    def result(self) -> dict[str, Any]:
        """Wait for the end; an empty answer means that the child was killed."""
        self._talk({"wait": self.pid})
        text = self._result.read_text()
        self._result.unlink()
        return json.loads(text) if text else {}


def _serve() -> None:
    from huggingface_hub import HfApi  # noqa: F401 (imported once, for all children)

    from lotus_core.loading import hub, hub_errors, hub_part  # noqa: F401

    for line in sys.stdin:
        message = json.loads(line)
        if "wait" in message:
            answer = {"status": os.waitpid(message["wait"], 0)[1]}
        else:
            pid = os.fork()
            if pid == 0:
                _work(message)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


class _CancelledError(BaseException):
    """As a host's own interrupt: no subclass of Exception."""


def _work(job: dict[str, Any]) -> None:
    import resource

    from lotus_core.loading import hub

    seen: list[tuple[int, int]] = []
    options = dict(job["options"])
    cancel_at = options.pop("cancel_at", None)

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if cancel_at is not None and done >= cancel_at:
            raise _CancelledError(f"cancelled at {done}")

    began = time.monotonic()
    signal.alarm(60)  # a call that never ends fails its test, and does not hold up the others
    try:
        os.environ.update(job["environment"])
        if job["file_bytes"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], job["file_bytes"]))
        retries = hub.Retries(**FAST)
        options.setdefault("progress", progress)
        value = _call(hub, job["function"], job["args"], options | {"retries": retries})
        answer = {"value": value}
    except BaseException as error:  # noqa: BLE001 (whatever it is, the test reads it)
        answer = {
            "error": type(error).__name__,
            "message": str(error),
            "cause": type(error.__cause__).__name__,
        }
    answer |= {"progress": seen, "seconds": time.monotonic() - began}
    Path(job["result"]).write_text(json.dumps(answer))
    os._exit(0)


def _call(hub: Any, function: str, args: list[Any], options: dict[str, Any]) -> Any:
    from dataclasses import replace

    from lotus_core.loading import catalog, published, store

    fake_vae = options.pop("vae", None)
    if (
        fake_vae is not None
    ):  # [repository, path]: the catalogue's own is pinned to a hash that no test can make
        part = replace(
            published.SHARED_VAE,
            repository=fake_vae[0],
            path=fake_vae[1],
            size=None,
            sha256=None,
            revision=None,
        )
        for module in (published, store, hub, catalog):
            module.SHARED_VAE = part
        for cached in (catalog.models, catalog._by_key, catalog._by_name):
            cached.cache_clear()
    if function == "ensure_text_encoder":
        args = [catalog.require(args[0])]
    found = getattr(hub, function)(*args, **options)
    if isinstance(found, Path):
        return str(found)
    return {
        "unet": str(found.unet),
        "vae": None if found.vae is None else str(found.vae),
        "unet_config": None if found.unet_config is None else str(found.unet_config),
        "vae_config": None if found.vae_config is None else str(found.vae_config),
        "revision": found.revision,
        "name": found.entry.name,
    }


if __name__ == "__main__":
    _serve()
