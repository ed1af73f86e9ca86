"""`python -m benchmarks NAME ...` runs the benchmark in the module of that name."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """Return the modules here that are benchmarks: those that define `main`."""
    return sorted(
        m.name
        for m in pkgutil.iter_modules([str(HERE)])
        if m.name != "__main__" and "\ndef main(" in (HERE / f"{m.name}.py").read_text(encoding="utf-8")
    )


def main(argv: list[str]) -> int:
    """Run one benchmark with the remaining arguments."""
    if not argv or argv[0] not in names():
        print(f"usage: python -m benchmarks {{{','.join(names())}}} ...", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    return int(importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
