"""The catalogue of checkpoints: names to entries. No network, no torch."""

from __future__ import annotations

import difflib
import functools
import re

from ..errors import UnknownModelError
from .entry import CatalogEntry, LocalCheckpoint, RemoteFile
from .published import SHARED_VAE, bundled_entries, published_entries, repository_entry

__all__ = [
    "SHARED_VAE",
    "CatalogEntry",
    "LocalCheckpoint",
    "RemoteFile",
    "folded",
    "for_repository",
    "is_repository_id",
    "lookup",
    "models",
    "nearest",
    "require",
    "same_weights",
]

_EXTENSIONS = (".safetensors", ".sft")
_REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@functools.cache
def models() -> tuple[CatalogEntry, ...]:
    """Return every known checkpoint: bundled ones, then published ones, current before replaced."""
    return (*bundled_entries(), *published_entries())


def lookup(name: str) -> CatalogEntry | None:
    """Return the entry that a name means, or None.

    A name is an entry's name, a Hub id (``jingheya/lotus-depth-g-v1-0``), or the file name under which the
    community shares it, in any folder and any letter case, with or without its extension. A short name such as
    ``lotus-depth-g-v1-0`` means the smallest file of these weights; the Hub id means that repository.
    """
    exact = _by_name().get(name)
    if exact is not None:
        return exact
    return _by_key().get(folded(name))


def require(name: str) -> CatalogEntry:
    """Return the entry that a name means.

    Raises:
        UnknownModelError: No entry has this name; the error lists the closest ones.
    """
    entry = lookup(name)
    if entry is None:
        raise UnknownModelError(name, nearest(name))
    return entry


def nearest(name: str, limit: int = 3) -> tuple[str, ...]:
    """Return the names of the entries closest to ``name`` in spelling, best first, at most ``limit``."""
    wanted = _stem(folded(name))

    def likeness(key: str) -> float:
        # A part of a name counts as much as its beginning does, or a short guess would never reach the longest names.
        if wanted and wanted in key:
            return 1.0
        texts = (_stem(key), key[: len(wanted) + 1])
        return max(difflib.SequenceMatcher(None, wanted, text).ratio() for text in texts)

    scores = {key: likeness(key) for key in _by_key()}
    keys = sorted((key for key in scores if scores[key] >= 0.6), key=lambda key: -scores[key])
    return tuple(dict.fromkeys(_by_key()[key].name for key in keys))[:limit]


def same_weights(entry: CatalogEntry) -> tuple[CatalogEntry, ...]:
    """Return the other entries that hold the same weights, the smallest first."""
    others = (other for other in models() if other.weights == entry.weights and other.name != entry.name)
    return tuple(sorted(others, key=lambda other: other.about_bytes))


def is_repository_id(name: str) -> bool:
    """Return whether a name has the form of a Hub id, ``owner/name``."""
    return _REPOSITORY_ID.fullmatch(name) is not None and not name.lower().endswith(_EXTENSIONS)


def for_repository(repository: str) -> CatalogEntry:
    """Return the entry of any Hub repository: the catalogue's, else one that says nothing about its output.

    Raises:
        UnknownModelError: The text does not have the form ``owner/name``.
    """
    known = lookup(repository)
    if known is not None:
        return known
    if not is_repository_id(repository):
        raise UnknownModelError(repository, nearest(repository))
    return repository_entry(repository, repository, None, None)


@functools.cache
def _by_name() -> dict[str, CatalogEntry]:
    names = {alias: entry for entry in models() for alias in entry.aliases}
    return {**names, **{entry.name: entry for entry in models()}}


@functools.cache
def _by_key() -> dict[str, CatalogEntry]:
    # In rising order of right: the stem of a file, a file name or Hub id, a name proper. So "lotus-depth-g-v1-0" is
    # the short name, and "lotus-depth-g-v1-0.safetensors" the fp32 file that the community shares under that name.
    aliases = {folded(alias): entry for entry in models() for alias in entry.aliases}
    stems = {_stem(key): entry for key, entry in aliases.items()}
    return {**stems, **aliases, **{folded(entry.name): entry for entry in models()}}


def folded(name: str) -> str:
    """Return a name without what users change when they keep a file: its folder, letter case, underscores."""
    text = name.strip().replace("\\", "/").lower().replace("_", "-").replace(" ", "-")
    return text.rsplit("/", 1)[-1] if text.endswith(_EXTENSIONS) else text


def _stem(key: str) -> str:
    return key.rsplit(".", 1)[0] if key.endswith(_EXTENSIONS) else key
