"""Where a benchmark ran, its tables, and its JSON."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lotus_core.inference.allocation import keep_freed_memory


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=description)
    made.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")
    made.add_argument(
        "--keep-freed-memory",
        action="store_true",
        help="as the lotus command does: see lotus_core.inference.allocation",
    )
    made.add_argument("--json", type=Path, help="also write the results to this file")
    return made


def start(options: argparse.Namespace) -> dict[str, Any]:
    """Set what all benchmarks set, and return a description of the machine and the versions."""
    prepare(options)
    facts = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "memory": "kept" if options.keep_freed_memory else "given back",
        "bf16": "amx" if "amx_bf16" in _flags() else "avx512" if "avx512_bf16" in _flags() else "none",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "diffusers")},
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    return facts


def prepare(options: argparse.Namespace) -> None:
    """Set the number of threads and how memory is freed, and switch gradients off."""
    if options.keep_freed_memory and not keep_freed_memory():
        raise SystemExit("--keep-freed-memory needs Linux with glibc 2.33 or later")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)


def status_mib(field: str) -> float:
    """Return a field of this process's /proc status in MiB: VmRSS (resident now) or VmHWM (its peak).

    Raises:
        SystemExit: A system without /proc.
    """
    listing = Path("/proc/self/status")
    if not listing.is_file():
        raise SystemExit("memory is read from /proc/self/status: run this on Linux")
    for line in listing.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def return_free_memory() -> None:
    """Give freed memory back to the system (glibc keeps it), and start counting VmHWM anew (Linux)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def processor() -> str:
    """Return the processor's name with family, model and stepping where the system tells."""
    info = _cpuinfo()
    if not info:
        return platform.processor() or platform.machine()
    numbers = " ".join(f"{k} {info[k]}" for k in ("cpu family", "model", "stepping") if k in info)
    return f"{info.get('model name', platform.machine())} ({numbers})"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    cells = [[str(c) for c in columns], *([_text(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    print(f"\n{title}\n\n" + "\n".join(lines), flush=True)


def finish(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Write the results as JSON where that was asked for."""
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}" if cell < 1e-3 or cell >= 1e3 else f"{cell:.2f}" if cell < 100 else f"{cell:.0f}"
    return str(cell)


def _flags() -> set[str]:
    return set(_cpuinfo().get("flags", "").split())


def _cpuinfo() -> dict[str, str]:
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return {}
    pairs = (line.partition(":") for line in listing.read_text().split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
