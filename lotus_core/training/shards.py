"""The shards of a set on disk, told apart by the size of their pictures."""

from __future__ import annotations

import re
from pathlib import Path


def shards_by_size(folder: Path, name: re.Pattern[str]) -> list[tuple[Path, ...]]:
    """Return the shards of a folder, one group for each picture size, in the order of sizes and then of names.

    Args:
        folder: Of the set.
        name: What a shard's whole file name matches; its groups ``height`` and ``width`` are the size in pixels.

    Returns:
        The groups; none where the folder holds no shard or is missing.
    """
    by_size: dict[tuple[int, int], list[Path]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        match = name.fullmatch(file.name)
        if match is not None:
            by_size.setdefault((int(match["height"]), int(match["width"])), []).append(file)
    return [tuple(files) for _, files in sorted(by_size.items())]
