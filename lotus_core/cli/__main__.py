"""``python -m lotus_core.cli``: the `lotus` command where its script is not on the path."""

from __future__ import annotations

import sys

from .main import run_process

if __name__ == "__main__":
    sys.exit(run_process())
