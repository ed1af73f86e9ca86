"""Fixtures for tests in a real ComfyUI, shared by tests/nodes and tests/browser."""

from tests.nodes.host.fixtures import (
    checkout,
    pytest_report_header,
    pytest_terminal_summary,
    server,
)

__all__ = ["checkout", "pytest_report_header", "pytest_terminal_summary", "server"]
