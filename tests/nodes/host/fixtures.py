"""Fixtures that give a test ComfyUI: once per checkout found, or a skip that the summary announces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .checkouts import SEARCH_VARIABLE, Checkout, find_checkouts
from .process import ComfyServer

NO_CHECKOUT = f"no ComfyUI checkout: set {SEARCH_VARIABLE} to one or several, or clone into ~/comfy"


def _checkout_parameters() -> list[object]:
    found = find_checkouts()
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=NO_CHECKOUT), id="no-comfyui")]
    return [pytest.param(checkout, id=f"comfyui-{checkout.version}") for checkout in found]


@pytest.fixture(scope="session", params=_checkout_parameters())
def checkout(request: pytest.FixtureRequest) -> Checkout:
    """Each ComfyUI source tree in turn."""
    return request.param


@pytest.fixture(scope="session")
def server(checkout: Checkout) -> Iterator[ComfyServer]:
    """A running ComfyUI with the pack and the probe pack, shared by all tests of one checkout."""
    with ComfyServer(checkout) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests a missing host has left out: a skip among many is easily overlooked."""
    left_out: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        mark = next((name for name in ("browser", "comfy") if name in report.keywords), None)
        if mark is not None:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            line = f"{mark}: {reason.removeprefix('Skipped: ')}"
            left_out[line] = left_out.get(line, 0) + 1
    if not left_out:
        return
    terminalreporter.section("TESTS IN A REAL ComfyUI DID NOT RUN", sep="!", red=True, bold=True)
    for line, count in sorted(left_out.items()):
        terminalreporter.line(f"{count} test{'s' if count > 1 else ''} skipped, {line}", red=True)


def pytest_report_header() -> str:
    """Name the checkouts at the top of the report."""
    found = ", ".join(f"{checkout.version} in {checkout.root}" for checkout in find_checkouts())
    return f"ComfyUI: {found or 'none'}"
