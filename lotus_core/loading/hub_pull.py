"""What of a checkpoint is missing, and its way to this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..errors import AccessError, UnsafeFormatError, VerificationError
from ..io.atomic import storage_error
from .entry import CatalogEntry, RemoteFile, Role
from .hub_fetch import fetch, require_space
from .hub_part import Meter, Wanted
from .hub_retry import Patience, Progress, Retries, persist
from .hub_session import ListedFile, Listing, ask_about, link_into_cache, list_repository
from .lock import read_lock, verify, write_lock
from .store import Places, find_part, flat_target, hub_cache, variants, weights_under

T = TypeVar("T")


class Pull:
    """One request of a user for one checkpoint.

    Args:
        entry: The checkpoint.
        places: Where to look and where to put.
        revision: What the user asked for, or None.
        progress: Told how far it is.
        retries: When to give up.
    """

    def __init__(
        self,
        entry: CatalogEntry,
        places: Places,
        revision: str | None,
        progress: Progress | None,
        retries: Retries,
    ) -> None:
        self._entry = entry
        self._places = places
        self._revision = revision
        self._progress = progress
        self._retries = retries
        self._listings: dict[tuple[str, str | None], Listing] = {}

    def run(self, *, with_vae: bool) -> str | None:
        """Fetch the parts that are not on this machine; return the commit, where a revision was asked for."""
        parts: dict[RemoteFile, Path | None] = {}
        absent: set[Role] = set()
        for role, remote in self._entry.files():
            owner: Role = "unet" if role.startswith("unet") else "vae"
            if owner == "vae" and not with_vae:
                continue
            if role == owner:
                if find_part(self._entry, role, self._places, revision=self._revision) is not None:
                    continue
                absent.add(role)
            if owner in absent:
                parts[remote] = self._target(role)
        self.fetch_all(parts)
        if self._revision is None or self._entry.repository is None:
            return None
        return self._listing(self._entry.repository, self._revision).commit

    def _target(self, role: Role) -> Path | None:
        return None if self._places.target is None else flat_target(self._entry, role, self._places)

    def fetch_all(self, parts: Mapping[RemoteFile, Path | None]) -> dict[RemoteFile, Path]:
        """Bring files under their final names, None meaning the Hub's cache; return where each is.

        Configs come first: where the weights are, their config is, however the process ended.
        """
        ordered = sorted(parts, key=lambda part: part.path.endswith(".safetensors"))
        wanted = {part: file for part in ordered if (file := self._wanted(part, parts[part])) is not None}
        for file in wanted.values():
            _make_folder(file.target.parent)
            if file.recorded:
                self._reuse(file)
        require_space(list(wanted.values()))
        meter = Meter(self._progress, sum(file.listed.size for file in wanted.values()))
        return {
            part: fetch(file, meter, self._retries) if file.recorded else self._into_cache(file, meter)
            for part, file in wanted.items()
        }

    def _wanted(self, part: RemoteFile, target: Path | None) -> Wanted | None:
        revision = self._revision if part.repository == self._entry.repository else None
        asked = revision or part.revision or "main"
        if revision is None and part.sha256 and part.size and part.revision:
            commit, listed = part.revision, ListedFile(part.path, part.size, part.sha256, None)
        else:
            listing = self._listing(part.repository, revision or part.revision)
            path = _path_in(listing, part)
            if path is None:
                return None
            commit, listed = listing.commit, self._about(listing, path)
        _require_known(part, listed)
        if target is not None:
            return Wanted(part.repository, commit, listed, target, asked=asked, repin=revision is not None)
        blobs = hub_cache() / f"models--{part.repository.replace('/', '--')}" / "blobs"
        return Wanted(part.repository, commit, listed, blobs / listed.etag, recorded=False, asked=asked)

    def _listing(self, repository: str, revision: str | None) -> Listing:
        key = (repository, revision)
        if key not in self._listings:
            self._listings[key] = self._persist(
                lambda: list_repository(repository, revision), repository, self._entry.name
            )
        return self._listings[key]

    def _about(self, listing: Listing, path: str) -> ListedFile:
        said = listing.files[path]
        if said is not None:
            return said
        return self._persist(
            lambda: ask_about(listing.repository, path, listing.commit), listing.repository, path
        )

    def _persist(self, step: Callable[[], T], repository: str, what: str) -> T:
        return persist(step, what, repository, Patience(self._retries, Meter(self._progress, 0).tick))

    def _reuse(self, wanted: Wanted) -> None:
        """Link a file of the same content that is already here, as the VAE of another checkpoint usually is."""
        if wanted.target.exists() or wanted.listed.sha256 is None:
            return
        for file in weights_under(self._places.every_folder()):
            record = read_lock(file)
            if record is None or record.sha256 != wanted.listed.sha256:
                continue
            try:
                verify(file, record)
                wanted.target.hardlink_to(file)
            except (OSError, VerificationError):
                continue  # another disk, a system without links, or an altered file: it is fetched
            path = wanted.listed.path
            write_lock(
                wanted.target,
                replace(record, repository=wanted.repository, commit=wanted.commit, path=path),
            )
            return

    def _into_cache(self, wanted: Wanted, meter: Meter) -> Path:
        if wanted.listed.sha256 is not None:
            fetch(wanted, meter, self._retries)  # small files are left to the client altogether
        path = wanted.listed.path
        linked = self._persist(
            lambda: link_into_cache(wanted.repository, path, wanted.asked), wanted.repository, path
        )
        if wanted.listed.sha256 is None:
            meter.finish(wanted.listed.size)
        return Path(linked)


def _require_known(part: RemoteFile, listed: ListedFile) -> None:
    if part.sha256 is None or listed.sha256 in (None, part.sha256):
        return
    raise VerificationError(
        f"{part.repository}/{part.path} is not the file that this library knows",
        found=f"sha256 {str(listed.sha256)[:12]}... in place of {part.sha256[:12]}...",
        remedy="check HF_ENDPOINT: a mirror may hold another file",
    )


def _path_in(listing: Listing, part: RemoteFile) -> str | None:
    """Return the path that a repository has for a part; None for a config that it does not have.

    Raises:
        UnsafeFormatError: It has the part only as a pickle.
        AccessError: It has no such part.
    """
    for path in (part.path, *variants(part.path)):
        if path in listing.files:
            return path
    if not part.path.endswith(".safetensors"):
        return None
    pickle = part.path.removesuffix(".safetensors") + ".bin"
    if pickle in listing.files:
        raise UnsafeFormatError(
            f"{listing.repository} offers {part.path} only as a pickle, and reading a pickle can run any code",
            found=pickle,
            remedy="choose a repository with .safetensors files",
        )
    raise AccessError(
        f"{listing.repository} has no file {part.path}",
        found=", ".join(sorted(listing.files)[:6]) or "no files at all",
        remedy="it is no Lotus checkpoint, or it changed; choose another one",
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
