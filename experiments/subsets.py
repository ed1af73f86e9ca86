"""Smaller training sets: the first scenes of a folder of latents."""

from __future__ import annotations

import re
from pathlib import Path

_RANGE = re.compile(r"latents-(\d+x\d+)-(\d+)-(\d+)-(\d+)-(\d+)\.safetensors")


def latents_of_first_scenes(folder: Path, scenes: int, target: Path) -> int:
    """Link the shards of about so many scenes into a folder, all views of them, every size in turn.

    Args:
        folder: Latents as the `latents` stage wrote them.
        scenes: How many.
        target: Folder of the links; emptied first.

    Returns:
        How many scenes it really is: whole shards.
    """
    parts: dict[tuple[str, str, str], list[Path]] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for file in sorted(folder.glob("latents-*.safetensors")):
        match = _RANGE.fullmatch(file.name)
        if match is not None:
            key = (match[4], match[2], match[1])  # by place in its set first: sizes take turns
            parts.setdefault(key, []).append(file)
            counts[key] = int(match[5]) - int(match[4])
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("latents-*.safetensors"):
        old.unlink()
    total = 0
    for key in sorted(parts):
        if total >= scenes:
            break
        for file in parts[key]:
            (target / file.name).symlink_to(file.resolve())
        total += counts[key]
    return total
