"""ComfyUI as a process of its own: a server to talk to, or a script run by its interpreter."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .api import ComfyApi, RequestRefusedError
from .checkouts import Checkout

REPOSITORY = Path(__file__).resolve().parents[3]
LAUNCHER = Path(__file__).with_name("launch.py")
PROBE_PACK = Path(__file__).with_name("probe_pack")
DEFAULT_PACKS = {"lotus-geometry": REPOSITORY, "probe": PROBE_PACK}
"""Custom node folder name -> the folder it links to."""

START_LIMIT_S = 120.0
BASE_FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")


class ComfyServer:
    """A running ComfyUI with its own base directory, port and log; use as a context manager.

    Packs are linked into ``custom_nodes``, so they load as a user's clone does. The process is stopped by its
    own id and the base directory removed.
    """

    def __init__(
        self,
        checkout: Checkout,
        packs: Mapping[str, Path] = DEFAULT_PACKS,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.checkout = checkout
        self.base = Path(tempfile.mkdtemp(prefix="comfy-base-"))
        for folder in BASE_FOLDERS:
            (self.base / folder).mkdir()
        for name, source in packs.items():
            (self.base / "custom_nodes" / name).symlink_to(source, target_is_directory=True)
        self.log_path = self.base / "server.log"
        self.port = _free_port()
        self.api = ComfyApi(f"http://127.0.0.1:{self.port}")
        self._command = [
            *(str(checkout.python), str(LAUNCHER), str(checkout.root)),
            *("--cpu", "--port", str(self.port), "--base-directory", str(self.base)),
            *("--database-url", "sqlite:///:memory:", "--disable-api-nodes", *arguments),
        ]
        self._environment = host_environment(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ComfyServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it answers; RuntimeError with the log's end where it does not."""
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, env=self._environment, cwd=self.base
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self.is_ready():
            if self._process.poll() is not None:
                raise RuntimeError(self._failure(f"ended with exit code {self._process.returncode}"))
            if time.monotonic() > deadline:
                raise RuntimeError(self._failure(f"was not ready after {START_LIMIT_S:.0f} s"))
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Whether the server answers."""
        try:
            self.api.get_json("/system_stats")
        except (urllib.error.URLError, RequestRefusedError):
            return False
        return True

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything the server has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def state(self) -> dict[str, Any]:
        """What the probe pack reports of the process: memory, loaded models, torch's global settings."""
        return self.api.get_json("/probe/state")

    def stop(self) -> None:
        """End the process (terminate, then kill) and remove its base directory."""
        self.api.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.base, ignore_errors=True)

    def _failure(self, what: str) -> str:
        return f"ComfyUI {self.checkout.version} {what}; its log ends with:\n{self.log_tail()}"


def run_inside(
    checkout: Checkout,
    script: Path,
    *script_arguments: str,
    comfy_arguments: Sequence[str] = ("--cpu",),
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 300.0,
) -> Any:
    """Run a Python script in ComfyUI's interpreter, with ComfyUI's modules importable, and return its report.

    The script stands in ``tests/nodes/inside`` and ends with ``pack.report(value)``; `value` comes back through
    JSON. RuntimeError with the output's end where the script fails or reports nothing.
    """
    with tempfile.TemporaryDirectory(prefix="comfy-inside-") as folder:
        report = Path(folder) / "report.json"
        command = [str(checkout.python), str(LAUNCHER), str(checkout.root), "--run", str(script)]
        command += [*comfy_arguments, "--base-directory", folder, "--", *script_arguments]
        variables = host_environment(environment) | {"INSIDE_REPORT": str(report)}
        done = subprocess.run(
            command, env=variables, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode != 0 or not report.is_file():
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
            raise RuntimeError(
                f"{script.name} in ComfyUI {checkout.version} ended with exit code {done.returncode}"
                f"{'' if report.is_file() else ' and reported nothing'}:\n{tail}"
            )
        return json.loads(report.read_text(encoding="utf-8"))


def host_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a ComfyUI process: ours, without what would change which modules it finds."""
    variables = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    variables.setdefault("OMP_NUM_THREADS", "1")
    variables["PYTHONUNBUFFERED"] = "1"
    variables["PYTHONIOENCODING"] = "utf-8"
    return variables | dict(changes or {})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
