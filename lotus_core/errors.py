"""Every error that this library raises on purpose.

Each says three things: what is wrong, what was found, what to do. The tree::

    LotusError
    ├── InputError (ValueError)        what the caller passed in
    │   ├── ImageError                 pixels or size of an image
    │   ├── OptionError                an option outside its range
    │   ├── ShapeError                 a tensor of another shape than documented
    │   ├── ModelTaskError             a model that estimates something else than asked
    │   └── GeometryError              cameras, poses, maps that define no surface
    ├── CheckpointError                a model file or folder
    │   ├── UnknownModelError          no such name, file or folder
    │   ├── CorruptFileError           truncated, malformed or altered safetensors
    │   ├── UnsafeFormatError          pickled weights: never opened
    │   ├── ArchitectureError          another network than a Lotus UNet or its VAE
    │   ├── StateDictError             keys or shapes that do not fit the architecture
    │   └── OutputKindError            nothing says depth, disparity or normal
    ├── DownloadError                  the Hub
    │   ├── OfflineError               no network, or told not to use it
    │   ├── AccessError                gated, private or missing repository
    │   └── VerificationError          size or hash differ from what was recorded
    ├── StorageError (OSError)         disks and folders
    │   ├── NoSpaceError
    │   └── NotWritableError
    ├── DatasetError                   a training or benchmark data set
    │   └── CorruptSampleError         one file of it that is missing, damaged or of another kind
    ├── VideoError                     a video file that cannot be read or written
    ├── MemoryLimitError (MemoryError) does not fit, not even one image at a time
    ├── NonFiniteError                 NaN or infinity, also in fp32
    ├── DependencyError (ImportError)  an installed package that does not work here
    └── MissingExtraError (ImportError)  an optional dependency that is not installed
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class LotusError(Exception):
    """Base of every error of Lotus Geometry.

    Attributes:
        problem: What is wrong, in one clause.
        found: What was found instead, if there is something to show.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, *, found: str | None = None, remedy: str | None = None) -> None:
        self.problem = problem
        self.found = found
        self.remedy = remedy
        text = problem.rstrip(".")
        if found is not None:
            text += f" (found: {found})"
        if remedy is not None:
            text += f": {remedy.rstrip('.')}"
        super().__init__(text + ".")


class LotusWarning(UserWarning):
    """Something was repaired on the way: clamped pixels, a map computed again in fp32, a cache not written."""


class InputError(LotusError, ValueError):
    """What the caller passed in cannot be used."""


class ImageError(InputError):
    """An image whose size, channels or pixels cannot be used."""


class OptionError(InputError):
    """An option outside its documented range.

    Attributes:
        option: Name of the option.
        value: The value that was refused.
    """

    def __init__(self, option: str, value: object, expected: str) -> None:
        self.option = option
        self.value = value
        super().__init__(
            f"{option} must be {expected}", found=repr(value), remedy="choose a value in that range"
        )


class ShapeError(InputError):
    """A tensor of another shape than documented.

    Attributes:
        actual_shape: The shape that was passed.
        expected_shape: The documented shape, as text such as ``(B, 3, H, W)``.
    """

    def __init__(self, name: str, actual_shape: Sequence[int], expected_shape: str, *, remedy: str) -> None:
        self.actual_shape = tuple(actual_shape)
        self.expected_shape = expected_shape
        super().__init__(f"{name} has shape {self.actual_shape}, expected {expected_shape}", remedy=remedy)


class ModelTaskError(InputError):
    """A model that estimates something else than what it was asked for."""


class GeometryError(InputError):
    """Cameras, poses or maps that do not define a surface."""


class CheckpointError(LotusError):
    """A model file or folder cannot be used.

    Attributes:
        path: The file or folder, where there is one.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: Path | str | None = None,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        super().__init__(problem, found=found, remedy=remedy)


class UnknownModelError(CheckpointError):
    """No catalogue entry, Hub repository, file or folder has this name.

    Attributes:
        name: The name that was asked for.
        nearest: Known names that are close to it, best first.
    """

    def __init__(self, name: str, nearest: Sequence[str] = (), *, remedy: str | None = None) -> None:
        self.name = name
        self.nearest = tuple(nearest)
        if remedy is None:
            near = ", ".join(self.nearest)
            remedy = f"did you mean {near}?" if near else "list the known names with `lotus models`"
        super().__init__(f"no Lotus model is called {name!r}", remedy=remedy.rstrip("?"))


class CorruptFileError(CheckpointError):
    """A safetensors file that is truncated, malformed or altered."""


class UnsafeFormatError(CheckpointError):
    """Pickled weights (.ckpt, .pt, .pth, .bin): reading one can run any code, so none is ever opened."""


class ArchitectureError(CheckpointError):
    """A valid file that holds another network than the one asked for."""


class StateDictError(CheckpointError):
    """Tensors that do not fit the architecture.

    Attributes:
        missing: Keys that the architecture needs and the file lacks.
        unexpected: Keys of the file that the architecture does not know.
        mismatched: Keys whose shapes differ, as text ``key: found, expected``.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: Path | str | None = None,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        mismatched: Sequence[str] = (),
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.mismatched = tuple(mismatched)
        parts = [
            f"{len(keys)} {label} ({', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''})"
            for label, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", mismatched),
            )
            if keys
        ]
        super().__init__(
            problem,
            path=path,
            found="; ".join(parts) or "no difference listed",
            remedy="use the unmodified file of a Lotus checkpoint",
        )


class OutputKindError(CheckpointError):
    """Nothing says whether a checkpoint estimates depth, disparity or normals."""


class DownloadError(LotusError):
    """A file could not be fetched from the Hub."""


class OfflineError(DownloadError):
    """No network, or the environment says not to use it."""


class AccessError(DownloadError):
    """A repository or file that is gated, private or missing."""


class VerificationError(DownloadError):
    """A fetched file whose size or hash differs from what was recorded."""


class StorageError(LotusError, OSError):
    """A disk or folder cannot be used."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.problem


class NoSpaceError(StorageError):
    """The disk is too full for what is to be written."""


class NotWritableError(StorageError):
    """A folder or file that cannot be written."""


class DatasetError(LotusError):
    """A training or benchmark data set cannot be used.

    Attributes:
        path: The folder, archive or file.
    """

    def __init__(
        self, problem: str, *, path: Path | str, found: str | None = None, remedy: str | None = None
    ) -> None:
        self.path = Path(path)
        super().__init__(problem, found=found, remedy=remedy)


class CorruptSampleError(DatasetError):
    """One file of a data set is missing, damaged or of another kind: a run may skip its sample and go on."""


class VideoError(LotusError):
    """A video file that cannot be read or written."""


class MemoryLimitError(LotusError, MemoryError):
    """The work does not fit in the device's memory, not even one image at a time."""


class NonFiniteError(LotusError):
    """NaN or infinity in a result, also after it was computed again in fp32."""


class DependencyError(LotusError, ImportError):
    """An installed package that cannot be imported: too old, or at odds with the version of another."""


class MissingExtraError(LotusError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        package: The module that could not be imported.
        extra: The extra of ``lotus-geometry`` that brings it.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{purpose} needs {package}, which is not installed",
            remedy=f'install it with: pip install "lotus-geometry[{extra}]"',
        )
