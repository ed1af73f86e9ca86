"""What can go wrong with the Hub, as this library's own errors: what is wrong, what was found, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import AccessError, DownloadError, LotusError, OfflineError
from .hub_session import endpoint, transport_errors

Kind = Literal["final", "unreachable", "stalled", "cut", "busy", "limited"]
"""final: asking again changes nothing. limited: the server asks to wait. The others may pass."""


@dataclass(frozen=True)
class Failure:
    """A failed request.

    Attributes:
        kind: Whether it may pass.
        error: What to raise if it does not.
        wait_s: Seconds for which the server asked to wait, or None.
    """

    kind: Kind
    error: LotusError
    wait_s: float | None = None


def explain(error: Exception, what: str, repository: str) -> Failure | None:
    """Return what an exception of the Hub's client means, or None if it is not one.

    Args:
        error: The exception.
        what: What was being fetched, for the message.
        repository: Hub id.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        return explain(
            error.__cause__, what, repository
        )  # the client's LocalEntryNotFoundError wraps the reason
    if isinstance(error, OfflineModeIsEnabled):
        return Failure("final", _offline(what))
    if isinstance(error, HFValidationError):
        found = str(error).split(".")[0]
        return _access(f"{repository!r} is no Hub repository", found, "write it as owner/name")
    if isinstance(error, HfHubHTTPError):
        return _status(error, what, repository)
    stalls, losses = transport_errors()
    if type(error).__name__ != "ConnectTimeout" and (isinstance(error, stalls) or "timed out" in str(error)):
        return Failure(
            "stalled",
            DownloadError(
                f"{what} stopped coming from {endpoint()}",
                found="no data within the time limit",
                remedy="try again, it goes on where it stopped; HF_HUB_DOWNLOAD_TIMEOUT sets the limit in seconds",
            ),
        )
    if isinstance(error, losses):
        return Failure(
            "unreachable",
            OfflineError(
                f"{what} cannot be fetched: {endpoint()} is out of reach",
                found=_first_line(error),
                remedy="check the network, HF_ENDPOINT and the proxy settings, or copy the file into the models folder",
            ),
        )
    if isinstance(error, (ValueError, KeyError)):
        error = DownloadError(
            f"{endpoint()} does not answer as the Hub does",
            found=_first_line(error),
            remedy="check HF_ENDPOINT, and whether this network wants a login page first",
        )
        return Failure("final", error)
    return None


def _offline(what: str) -> OfflineError:
    return OfflineError(
        f"{what} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it",
        remedy="unset HF_HUB_OFFLINE, or copy the file into the models folder",
    )


def _status(error: Exception, what: str, repository: str) -> Failure:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    found = f"HTTP {status} from {endpoint()}"
    if isinstance(error, GatedRepoError):
        return _access(
            f"{repository} is gated",
            found,
            f"accept its conditions at {endpoint()}/{repository}, then set HF_TOKEN to your token",
        )
    if isinstance(error, RevisionNotFoundError):
        return _access(
            f"{repository} has no such revision", found, "name a commit, tag or branch that exists"
        )
    if isinstance(error, EntryNotFoundError):
        return _access(
            f"{repository} has no file {what}", found, "the repository changed; choose another checkpoint"
        )
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return _access(
            f"there is no repository {repository}, or it is private",
            found,
            "check the name; for a private one set HF_TOKEN",
        )
    if status in (401, 403):
        return _access(f"{repository} may not be read", found, "set HF_TOKEN to a token that may read it")
    if status == 429:
        wait = _retry_after(response)
        asked = "" if wait is None else f", wait {wait:.0f} s"
        return Failure(
            "limited",
            DownloadError(
                "the Hub refuses more requests for now",
                found=found + asked,
                remedy="try again later, or set HF_TOKEN for a higher limit",
            ),
            wait,
        )
    if status == 408 or status >= 500:
        return Failure(
            "busy",
            DownloadError(
                f"{what} cannot be fetched: the server fails",
                found=found,
                remedy="try again later, it goes on where it stopped",
            ),
            _retry_after(response),
        )
    if status == 416:
        shorter = f"{what} is shorter on {endpoint()} than announced"
        remedy = "check HF_ENDPOINT: a mirror may hold another file"
        return Failure("final", DownloadError(shorter, found=found, remedy=remedy))
    return Failure(
        "final", DownloadError(f"{what} cannot be fetched", found=found, remedy="check HF_ENDPOINT")
    )


def _access(problem: str, found: str, remedy: str) -> Failure:
    return Failure("final", AccessError(problem, found=found, remedy=remedy))


def _retry_after(response: object) -> float | None:
    value = getattr(response, "headers", {}).get("Retry-After", "")
    return float(value) if value.strip().isdigit() else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
