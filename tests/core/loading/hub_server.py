"""A Hub on loopback: what huggingface_hub asks for over HTTP, with faults on request.

Speaks model info with file metadata, ``resolve`` with X-Repo-Commit, ETag, X-Linked-Size and X-Linked-Etag, the
redirect of large files to a second host (a content network, which must never see a token), Range, 206, 416, and the
Hub's error headers. Facts of the protocol: huggingface_hub's own client code and its documentation.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 2**14


@dataclass
class Repository:
    """A repository of one commit; files ending in .safetensors are in large-file storage."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    gated: bool = False
    says_sizes: bool = True

    def etag(self, path: str) -> str:
        content = self.files[path]
        if path.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Fault:
    """What goes wrong, how often, after how many requests that pass. `where`: "api", "resolve" or "cdn".

    kind: "status" (answer `status` with `headers`), "cut" (close after the byte `at` of the file), "stall" (say nothing
    more after the byte `at`), "corrupt" (flip the byte `at`), "no-range" (always send the whole file), "slow" (`pause`
    seconds after each 16 KB), "endless" (more bytes than the file has), "html" (a login page).
    """

    where: str
    kind: str
    times: int = 10**9
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    at: int = 0
    pause: float = 0.0
    match: str = ""
    skip: int = 0


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    host: str
    range: str | None
    authorization: str | None


class HubServer:
    """The servers, what they serve, and what they were asked."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.body_bytes = 0
        self.token: str | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._hub, self._cdn = (self._serve() for _ in range(2))

    def _serve(self) -> ThreadingHTTPServer:
        owner = self

        class Handler(_Handler):
            hub = owner

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._hub.server_address[1]}"

    @property
    def cdn(self) -> str:
        return f"http://127.0.0.1:{self._cdn.server_address[1]}"

    def reset(self) -> None:
        with self._lock:
            self.repositories.clear()
            self.faults.clear()
            self.requests.clear()
            self.body_bytes, self.token = 0, None

    def close(self) -> None:
        self._stopping.set()
        for server in (self._hub, self._cdn):
            server.shutdown()
            server.server_close()

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def count(self, sent: int) -> None:
        with self._lock:
            self.body_bytes += sent

    def take_fault(self, where: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.where != where or fault.match not in target:
                    continue
                fault.skip -= 1
                if fault.skip < 0 and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def content(self, sha256: str) -> bytes | None:
        for repository in self.repositories.values():
            for path in repository.files:
                if repository.etag(path) == sha256:
                    return repository.files[path]
        return None

    def asked(self, part: str) -> list[Request]:
        return [request for request in self.requests if part in request.target]


@contextlib.contextmanager
def serving() -> Iterator[HubServer]:
    server = HubServer()
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        headers = self.headers
        self.hub.note(
            Request(
                self.command,
                self.path,
                headers.get("Host", ""),
                headers.get("Range"),
                headers.get("Authorization"),
            )
        )
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        where = "api" if parts[0] == "api" else "cdn" if parts[0] == "cdn" else "resolve"
        fault = self.hub.take_fault(where, self.path)
        with contextlib.suppress(ConnectionError):  # the client went away: what these tests are about
            if fault is not None and fault.kind == "status":
                self._reply(fault.status, b"no", fault.headers, body)
            elif fault is not None and fault.kind == "html":
                self._reply(200, b"<html>log in first</html>", {"Content-Type": "text/html"}, body)
            elif where == "cdn":
                self._file(self.hub.content(parts[1]) or b"", parts[1], fault, {}, body)
            elif where == "api":
                self._api(parts[2:], "blobs" in parse_qs(url.query), body)
            else:
                self._resolve(parts, fault, body)

    def _reply(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str, body: bool) -> None:
        self._reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code}, body)

    def _repository(self, name: str, revision: str, body: bool) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._refuse(404, "RepoNotFound", body)
        elif repository.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo", body)
        elif revision not in ("main", repository.commit):
            self._refuse(404, "RevisionNotFound", body)
        else:
            return repository
        return None

    def _api(self, parts: list[str], blobs: bool, body: bool) -> None:
        name, revision = "/".join(parts[:2]), parts[3] if len(parts) > 3 else "main"
        repository = self._repository(name, revision, body)
        if repository is None:
            return
        siblings = [
            self._sibling(repository, path, blobs and repository.says_sizes) for path in repository.files
        ]
        answer = {
            "id": name,
            "modelId": name,
            "sha": repository.commit,
            "siblings": siblings,
            "private": False,
        }
        answer |= {"tags": [], "downloads": 0, "likes": 0, "disabled": False, "gated": repository.gated}
        self._reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

    @staticmethod
    def _sibling(repository: Repository, path: str, blobs: bool) -> dict[str, object]:
        if not blobs:
            return {"rfilename": path}
        content, etag = repository.files[path], repository.etag(path)
        about: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": etag[:40]}
        if len(etag) == 64:
            about["lfs"] = {"sha256": etag, "size": len(content), "pointerSize": 134}
        return about

    def _resolve(self, parts: list[str], fault: Fault | None, body: bool) -> None:
        name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        repository = self._repository(name, revision, body)
        if repository is None:
            return
        if path not in repository.files:
            self._refuse(404, "EntryNotFound", body)
            return
        content, etag = repository.files[path], repository.etag(path)
        headers = {"X-Repo-Commit": repository.commit}
        if len(etag) == 64:
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{etag}"', "ETag": '"pointer"'}
            self._reply(302, b"", headers | {"Location": f"{self.hub.cdn}/cdn/{etag}"}, body)
        else:
            self._file(content, etag, fault, headers, body)

    def _file(
        self, content: bytes, etag: str, fault: Fault | None, headers: dict[str, str], body: bool
    ) -> None:
        kind = None if fault is None else fault.kind
        start = 0
        asked = self.headers.get("Range")
        if asked and kind != "no-range":
            start = int(asked.removeprefix("bytes=").split("-")[0])
        if start >= len(content) > 0:
            self._reply(416, b"", {"Content-Range": f"bytes */{len(content)}"}, body)
            return
        sent = (
            bytes([*content[: fault.at], content[fault.at] ^ 1, *content[fault.at + 1 :]])
            if (fault is not None and kind == "corrupt")
            else content
        )
        if kind == "endless":
            sent = content + b"\0" * len(content)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(sent) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(sent) - 1}/{len(sent)}")
        for key, value in {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self._send(sent, start, fault)

    def _send(self, content: bytes, start: int, fault: Fault | None) -> None:
        kind = None if fault is None else fault.kind
        end = len(content) if fault is None or kind not in ("cut", "stall") else max(fault.at, start)
        for position in range(start, end, CHUNK):
            piece = content[position : min(position + CHUNK, end)]
            self.wfile.write(piece)
            self.hub.count(len(piece))
            if fault is not None and kind == "slow":
                self.hub.pause(fault.pause)
        if kind in ("cut", "stall") and end < len(content):
            self.wfile.flush()
            began = time.monotonic()
            while kind == "stall" and not self.hub.stopping and time.monotonic() - began < 30:
                self.hub.pause(0.05)
                if self._client_left():
                    break
            self.close_connection = True

    def _client_left(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self.connection.setblocking(True)
