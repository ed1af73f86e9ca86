"""ComfyUI's frontend in a headless Chromium: open a workflow and see what the page makes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Error, Page, Route

from tests.nodes.host.process import ComfyServer

CHROMIUM_VARIABLE = "CHROMIUM_PATH"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

FIRST_VISIT_FILES = ("/favicon.ico", "/user.css", "/api/user.css", "/api/userdata")
"""What the frontend asks for and a new user's server doesn't have; each answer 404 is logged as an error."""

MODEL_SIZE_UNKNOWN = "Error fetching file size: TypeError: Failed to fetch"
"""Logged by older frontends where a workflow names a model to download and its host can't be reached."""

SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Validation.Workflows": True}
"""No template gallery over the graph on a first visit; workflow files are checked against the schema."""

SETTLE_MS = 300
"""How long an opened workflow is given to load its pictures, whose failures are errors of its own."""

READY = """() => window.app?.vueAppReady && window.app.extensionManager
    && window.LiteGraph && 'KSampler' in window.LiteGraph.registered_node_types"""

WATCH_TOASTS = """() => {
    window.toastsShown = [];
    window.app.extensionManager.toast.$onAction(({ name, args }) => {
        if (name === 'addAlert') window.toastsShown.push(args[0]);
        if (name === 'add' && ['warn', 'error'].includes(args[0].severity))
            window.toastsShown.push(`${args[0].summary}: ${args[0].detail}`);
    });
}"""

LOAD = """async workflow => {
    await window.app.refreshComboInNodes();  // files uploaded since the page was loaded
    await window.app.loadGraphData(workflow);
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""

NODES = """() => window.app.graph.nodes.map(node => ({
    id: String(node.id),
    type: node.type,
    title: node.title,
    known: node.type in window.LiteGraph.registered_node_types,
    flagged: Boolean(node.has_errors),
    linked: (node.inputs ?? []).filter(input => input.link != null).map(input => input.name),
}))"""

PROMPT = "async () => (await window.app.graphToPrompt()).output"


@dataclass(frozen=True)
class ShownNode:
    """A node on the page: whether the frontend knows its type, has marked it broken, and its linked inputs."""

    id: str
    type: str
    title: str
    known: bool
    flagged: bool
    linked: tuple[str, ...]


class Frontend:
    """The page of one server, with every error logged and every warning shown since a workflow was opened.

    `errors` holds what the console got, `alerts()` what a user sees popping up: a workflow file that breaks the
    frontend's schema, for one, is only reported there.
    """

    def __init__(self, page: Page, server: ComfyServer) -> None:
        self.page = page
        self.server = server
        self.errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)
        page.route("**/*", self._stay_on_this_machine)

    def start(self) -> None:
        """Load the page and wait until it can show a graph."""
        for name, value in SETTINGS.items():
            self.server.api.post_json(f"/settings/{name}", value)
        self.page.goto(self.server.api.url)
        self.page.wait_for_function(READY, timeout=60_000)
        self.page.evaluate(WATCH_TOASTS)

    def open(self, workflow: Mapping[str, Any]) -> list[ShownNode]:
        """Show a workflow as if its file were dropped on the page; the nodes now on the canvas."""
        self.errors.clear()
        self.page.evaluate("() => { window.toastsShown.length = 0 }")
        self.page.evaluate(LOAD, workflow)
        self.page.wait_for_timeout(SETTLE_MS)
        shown = self.page.evaluate(NODES)
        return [ShownNode(**{**node, "linked": tuple(node["linked"])}) for node in shown]

    def alerts(self) -> list[str]:
        """Texts of the warnings and errors that popped up."""
        return self.page.evaluate("() => [...window.toastsShown]")

    def prompt(self) -> dict[str, dict[str, Any]]:
        """What the page would send if its run button were pressed, without titles."""
        prompt = self.page.evaluate(PROMPT)
        return {
            node_id: {"class_type": node["class_type"], "inputs": node["inputs"]}
            for node_id, node in prompt.items()
        }

    def screenshot(self, path: Path) -> None:
        """Save a picture of the page, dialogs and pop-ups closed and the whole graph in view."""
        self.page.keyboard.press("Escape")
        self.page.evaluate("() => window.app.extensionManager.toast.removeAll()")
        self.page.evaluate("() => window.app.canvas.fitViewToSelectionAnimated?.()")
        self.page.wait_for_timeout(600)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        place = message.location.get("url", "")
        if not self._is_expected(message.text, place):
            self.errors.append(f"{message.text} ({place})")

    def _on_page_error(self, error: Error) -> None:
        self.errors.append(f"uncaught: {error.message}")

    def _is_expected(self, text: str, place: str) -> bool:
        """A failed load of a file that a new user doesn't have, or of anything outside this machine."""
        if "Content Security Policy" in text and self.server.api.url not in text:
            return True  # newer servers forbid the page every other host when API nodes are off
        if text.startswith(MODEL_SIZE_UNKNOWN):
            return True
        if not text.startswith("Failed to load resource"):
            return False
        if not self._is_local(place):
            return True
        return "404" in text and urlsplit(place).path.startswith(FIRST_VISIT_FILES)

    def _is_local(self, url: str) -> bool:
        return url.startswith((self.server.api.url, "data:", "blob:"))

    def _stay_on_this_machine(self, route: Route) -> None:
        """Refuse requests to other hosts, so that a test means the same with and without a network."""
        if self._is_local(route.request.url):
            route.continue_()
        else:
            route.abort()


def find_chromium() -> str | None:
    """Chromium's program: named by CHROMIUM_PATH, else found on PATH, else None."""
    named = os.environ.get(CHROMIUM_VARIABLE)
    if named:
        return named
    found = (shutil.which(name) for name in CHROMIUM_NAMES)
    return next((program for program in found if program), None)
