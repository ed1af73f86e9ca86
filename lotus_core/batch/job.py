"""What is done to every image of a set, and where a set stands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from .. import __version__
from ..conventions import NormalConvention
from ..errors import OptionError
from ..inference.options import InferenceOptions
from .plan import Unit
from .storage import Store

BatchFormat = Literal["npz", "png16", "webdataset"]
BatchTask = Literal["depth", "normal"]

BATCH_FORMATS: Final[tuple[BatchFormat, ...]] = get_args(BatchFormat)

_JOB: Final = "job.json"
_PLAN: Final = "plan.jsonl"


@dataclass(frozen=True)
class Job:
    """What is done to every image.

    Attributes:
        model: Catalogue name, Hub id, folder or file, as `load_model` takes it.
        task: "depth" or "normal".
        options: How the model is run.
        format: "npz" (float32 arrays, one file per chunk), "png16" (one 16-bit file per image) or "webdataset" (one
            .tar of 16-bit PNG per chunk).
        chunk: Images that are committed together.
        convention: What the colours of 16-bit normals mean; NPZ holds OpenCV vectors.
        loading: Further arguments of `load_model`: precision, device, vae, output, revision.
    """

    model: str
    task: BatchTask = "depth"
    options: InferenceOptions = field(default_factory=InferenceOptions)
    format: BatchFormat = "npz"
    chunk: int = 64
    convention: NormalConvention = NormalConvention.LOTUS
    loading: Mapping[str, str | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        return {"version": __version__, **asdict(self), "loading": dict(self.loading)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Job:
        """Return the job of `to_json`'s values."""
        known = {key: value for key, value in fields.items() if key != "version"}
        known["options"] = InferenceOptions(**known["options"])
        known["convention"] = NormalConvention(known["convention"])
        return cls(**known)


def open_job(store: Store, job: Job, units: Sequence[Unit] | None, spec: str) -> list[Unit]:
    """Return the units of a job: the given ones, or those that were planned when it was begun.

    The first call writes the job and its plan; a later one goes on with that plan, whatever the input folder holds by
    then. The device may differ from run to run, and nothing else.

    Args:
        store: The output folder.
        job: What is done.
        units: The plan, or None to go on with the one that is there.
        spec: The input, as the user named it.

    Raises:
        OptionError: The folder holds another job.
        StorageError: It cannot be read or written.
    """
    text = _identity(job, spec)
    if store.exists(_JOB):
        if store.read(_JOB).decode() != text:
            raise OptionError(
                "OUT",
                store.url,
                f"a folder without another job: its input, model or options differ (see {_JOB})",
            )
        if store.exists(_PLAN):
            return [Unit.from_json(line) for line in store.read(_PLAN).decode().splitlines()]
    if units is None:
        raise OptionError("OUT", store.url, "a folder with a job to go on with")
    store.write(_JOB, text.encode())
    store.write(_PLAN, "".join(unit.to_json() + "\n" for unit in units).encode())
    return list(units)


def has_job(store: Store) -> bool:
    """Return whether a job was planned in a folder."""
    return store.exists(_JOB) and store.exists(_PLAN)


def _identity(job: Job, spec: str) -> str:
    fields = {"input": spec, **job.to_json()}
    fields["loading"] = {key: value for key, value in job.loading.items() if key != "device"}
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"
