"""A page of ComfyUI's frontend for each checkout, or a skip that says what is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.nodes.host.process import ComfyServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.frontend import Frontend


@pytest.fixture(scope="session", autouse=True)
def chromium_program() -> str:
    """Chromium's program; used by all tests here, so that without one they skip before a server is started."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no browser driver: pip install playwright")
    from tests.browser.frontend import CHROMIUM_VARIABLE, find_chromium

    program = find_chromium()
    if program is None:
        pytest.skip(f"no Chromium: install it, or set {CHROMIUM_VARIABLE} to its program")
    return program


@pytest.fixture(scope="module")
def browser(chromium_program: str) -> Iterator[Browser]:
    """A headless Chromium; module-scoped, because Playwright keeps an event loop running while it is open."""
    from playwright.sync_api import sync_playwright

    from tests.browser.frontend import CHROMIUM_FLAGS

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=chromium_program, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def frontend(browser: Browser, server: ComfyServer) -> Iterator[Frontend]:
    """The started frontend of each checkout's server, in a profile of its own."""
    from tests.browser.frontend import Frontend

    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = Frontend(context.new_page(), server)
    page.start()
    yield page
    context.close()
