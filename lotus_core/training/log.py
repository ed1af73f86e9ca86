"""What a run tells while it goes: a CSV file, one line at a time, and sheets of sample pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..io.atomic import replacing, storage_error


class TrainingLog:
    """The table ``log.csv`` of a run, and its pictures.

    Args:
        folder: Of the run.
        step: Lines of later steps, left by a process that was killed, are taken away.

    Raises:
        StorageError: The disk refuses.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._file = folder / "log.csv"
        self._pictures = folder / "pictures"
        self._columns: list[str] = []
        if self._file.is_file():
            self._drop_after(step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line; the first one sets the columns.

        Raises:
            StorageError: The disk refuses.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self._file.is_file()
            with self._file.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if is_new:
                    self._columns = ["step", *values]
                    writer.writerow(self._columns)
                row = {"step": step, **{key: f"{value:.6g}" for key, value in values.items()}}
                writer.writerow([row.get(column, "") for column in self._columns])
        except OSError as error:
            raise storage_error(error, self._file) from error

    def picture(self, step: int, sheet: Tensor) -> None:
        """Keep a sheet of pictures, (3, H, W) float in [0, 1].

        Raises:
            StorageError: The disk refuses.
        """
        pixels = (sheet.detach().float().cpu().clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()
        with replacing(self._pictures / f"step-{step:09d}.png") as path:
            Image.fromarray(pixels).save(path)

    def _drop_after(self, step: int) -> None:
        with self._file.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        if not rows:
            self._file.unlink()
            return
        self._columns = rows[0]
        # the last line may have been cut by the kill: a whole one has every column
        kept = [
            row for row in rows[1:] if len(row) == len(rows[0]) and row[0].isdecimal() and int(row[0]) <= step
        ]
        with replacing(self._file) as path, path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([rows[0], *kept])
