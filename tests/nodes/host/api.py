"""ComfyUI's HTTP and WebSocket interface, as a browser uses it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .messages import Message, Run, parse_preview

if TYPE_CHECKING:
    from websocket import WebSocket

Prompt = dict[str, dict[str, Any]]
"""A graph in the form that /prompt takes: node id -> {"class_type", "inputs"}."""


class PromptRejectedError(Exception):
    """The server refused a prompt: its error, and the errors of each node by id."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.error: dict[str, Any] = reply.get("error", {})
        self.node_errors: dict[str, Any] = reply.get("node_errors", {})
        super().__init__(f"{self.error.get('message')}: {json.dumps(self.node_errors)}")

    def details(self, node_id: str) -> list[str]:
        """What the server says about one node, one line for each complaint."""
        return [error["details"] for error in self.node_errors.get(node_id, {}).get("errors", [])]


class RequestRefusedError(Exception):
    """The server answered a request with an error status; the address, the status and what it said."""

    def __init__(self, path: str, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{path} answered {status}: {body[:300].decode('utf-8', errors='replace')}")


class ComfyApi:
    """One client of a running ComfyUI: an HTTP address and one WebSocket, closed by `close`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client_id = uuid.uuid4().hex
        # No proxy: the server is on this machine, whatever the environment says about the outside.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._socket: WebSocket | None = None

    def request(self, path: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
        """GET `path`, or POST `body` to it; RequestRefusedError where the server does not answer 2xx."""
        headers = {} if body is None else {"Content-Type": content_type}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        try:
            with self._opener.open(request, timeout=60) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RequestRefusedError(path, error.code, error.read()) from None

    def get_json(self, path: str) -> Any:
        """The JSON document at `path`."""
        return json.loads(self.request(path))

    def post_json(self, path: str, document: Any) -> Any:
        """POST a JSON document; the JSON reply, or None where the reply is empty."""
        reply = self.request(path, json.dumps(document).encode())
        return json.loads(reply) if reply else None

    def object_info(self, node_id: str | None = None) -> dict[str, Any]:
        """Every node's schema by its id, or one node's own."""
        if node_id is None:
            return self.get_json("/object_info")
        return self.get_json(f"/object_info/{node_id}")[node_id]

    def upload_image(self, name: str, png: bytes) -> str:
        """Put an image file into the input folder; the name that LoadImage knows it by."""
        boundary = uuid.uuid4().hex
        disposition = f'form-data; name="image"; filename="{name}"'
        parts = [
            f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n".encode(),
            png,
            f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue'.encode(),
            f"\r\n--{boundary}--\r\n".encode(),
        ]
        reply = self.request("/upload/image", b"".join(parts), f"multipart/form-data; boundary={boundary}")
        return json.loads(reply)["name"]

    def submit(self, prompt: Prompt, extra_pnginfo: dict[str, Any] | None = None) -> str:
        """Queue a prompt without waiting; its id. PromptRejectedError where validation fails."""
        self._connect()
        document: dict[str, Any] = {"prompt": prompt, "client_id": self.client_id}
        if extra_pnginfo is not None:
            document["extra_data"] = {"extra_pnginfo": extra_pnginfo}
        try:
            reply = self.post_json("/prompt", document)
        except RequestRefusedError as refusal:
            if refusal.status != 400:
                raise
            raise PromptRejectedError(json.loads(refusal.body)) from None
        if reply["node_errors"]:  # another output of the graph is valid, so the server would run half of it
            raise PromptRejectedError(reply)
        return reply["prompt_id"]

    def wait(
        self, prompt_id: str, timeout_s: float = 120.0, on_message: Callable[[Message], None] | None = None
    ) -> Run:
        """Listen until a prompt has ended, well or not; `on_message` sees each of its messages.

        `timeout_s` is the longest silence, not the longest run. Messages of other prompts are dropped, so
        prompts submitted together are waited for in their order.
        """
        run = Run(prompt_id)
        connection = self._connect()
        connection.settimeout(timeout_s)
        while True:
            frame = connection.recv()
            if isinstance(frame, bytes):
                preview = parse_preview(frame)
                if preview is not None:
                    run.previews.append(preview)
                continue
            document = json.loads(frame)
            message = Message(document["type"], document.get("data") or {})
            if message.data.get("prompt_id") != prompt_id:
                continue
            if on_message is not None:
                on_message(message)
            if run.record(message):
                return run

    def queue(self, prompt: Prompt, timeout_s: float = 120.0) -> Run:
        """Run a prompt to its end and return what was recorded."""
        return self.wait(self.submit(prompt), timeout_s)

    def interrupt(self) -> None:
        """Ask the running prompt to stop."""
        self.request("/interrupt", b"")

    def free(self, unload_models: bool = True, free_memory: bool = True) -> None:
        """Ask for models to be unloaded and caches dropped; the server does it after this returns."""
        self.post_json("/free", {"unload_models": unload_models, "free_memory": free_memory})

    def history(self, prompt_id: str) -> dict[str, Any]:
        """What the server keeps of one ended prompt: status, outputs, the prompt itself."""
        return self.get_json(f"/history/{prompt_id}")[prompt_id]

    def file(self, entry: dict[str, str]) -> bytes:
        """The file that one entry of a node's ui output names: {filename, subfolder, type}."""
        return self.request("/view?" + urllib.parse.urlencode(entry))

    def images(self, run: Run, node_id: str) -> list[bytes]:
        """The image files that one node of a run showed, in order."""
        return [self.file(entry) for entry in run.outputs[node_id]["images"]]

    def close(self) -> None:
        """Close the WebSocket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> WebSocket:
        if self._socket is None:
            import websocket  # here, so that tests which need no host don't need the package either

            address = self.url.replace("http://", "ws://", 1) + f"/ws?clientId={self.client_id}"
            self._socket = websocket.create_connection(address, timeout=60, http_no_proxy=["*"])
            flags = {"supports_preview_metadata": True}
            self._socket.send(json.dumps({"type": "feature_flags", "data": flags}))
        return self._socket
