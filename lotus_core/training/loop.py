"""The training loop: steps, averages, log, states, and a clean stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ..errors import MissingExtraError, NonFiniteError, OptionError
from .average import WeightAverage
from .clock import Deadline
from .config import Accelerator, Optimizer, Run, Schedule
from .feed import Fed
from .log import TrainingLog
from .objective import MicroStep, Objective
from .state import TrainingState, list_states, load_state, moments_of, restore_moments, save_state

if TYPE_CHECKING:
    import accelerate

_log = logging.getLogger("lotus_geometry")

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Plan:
    """How a run goes.

    Attributes:
        optimizer: AdamW's settings.
        schedule: Steps and learning rate.
        accelerator: Precision and devices.
        run: Bookkeeping.
        identity: The parts of the config that must not change when the run is resumed, as JSON values.
    """

    optimizer: Optimizer
    schedule: Schedule
    accelerator: Accelerator
    run: Run
    identity: Mapping[str, Any] = field(default_factory=dict)


def learning_rate(step: int, schedule: Schedule, peak: float) -> float:
    """Return the learning rate of a step, counted from 0.

    With 10 steps, 2 of them warm-up and 4 decay: 0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25 times the peak.
    """
    rising = (step + 1) / schedule.warmup_steps if schedule.warmup_steps else 1.0
    falling = (schedule.steps - step) / schedule.decay_steps if schedule.decay_steps else 1.0
    return peak * max(0.0, min(1.0, rising, falling))


def make_accelerator(settings: Accelerator) -> accelerate.Accelerator:
    """Return accelerate's object for the settings.

    Raises:
        MissingExtraError: accelerate is not installed.
    """
    try:
        import accelerate
    except ImportError as error:
        raise MissingExtraError("accelerate", "train", "training") from error
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if settings.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise OptionError("accelerator.mixed_precision", "fp16", '"fp32" or "bf16" on a machine without CUDA')
    precision = "no" if settings.mixed_precision == "fp32" else settings.mixed_precision
    # accelerate remembers the first run's precision for the whole process, and refuses another one
    accelerate.state.AcceleratorState._reset_state()
    return accelerate.Accelerator(mixed_precision=precision)


class Loop:
    """Trains an objective's module.

    Args:
        objective: What is trained.
        plan: How.
        folder: Of the run: states, log, pictures, and at the end the model.
        accelerator: accelerate's object, see `make_accelerator`.

    Raises:
        OptionError: The batch cannot be shared evenly among the processes.
    """

    def __init__(
        self, objective: Objective[Any], plan: Plan, folder: Path, accelerator: accelerate.Accelerator
    ) -> None:
        self._objective = objective
        self._plan = plan
        self._folder = folder
        self._accelerator = accelerator
        if plan.schedule.batch_size % accelerator.num_processes:
            raise OptionError(
                "schedule.batch_size",
                plan.schedule.batch_size,
                f"a multiple of the number of processes, {accelerator.num_processes}",
            )
        module = objective.module.to(accelerator.device)
        if plan.accelerator.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = WeightAverage(module, plan.schedule.ema_decay)
        self._parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
        settings = plan.optimizer
        optimizer = torch.optim.AdamW(
            self._parameters.values(),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._model, self._optimizer = accelerator.prepare(module, optimizer)
        self._raw_optimizer = optimizer
        self._step = 0
        self._seconds = 0.0
        self._skipped: list[str] = []

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self._step

    def resume(self) -> None:
        """Go on from the last state of the folder; from the start where there is none.

        Raises:
            CorruptFileError: The state is damaged.
            OptionError: The state is that of another config.
        """
        states = list_states(self._folder / "states")
        if not states:
            return
        state = load_state(states[-1])
        began_with = state.facts.get("identity", {})
        for key, value in self._plan.identity.items():
            if (
                key in began_with and began_with[key] != value
            ):  # one that is newer than the run has its default
                raise OptionError(key, value, f"as it was when this run began: {began_with[key]}")
        self._objective.module.load_state_dict(dict(state.weights))
        restore_moments(self._raw_optimizer, self._parameters, state.moments)
        self._average.restore(state.average)
        scaler = self._accelerator.scaler
        if scaler is not None and state.facts.get("scaler"):
            scaler.load_state_dict(state.facts["scaler"])
        self._step = state.step
        self._seconds = state.facts.get("seconds", 0.0)
        self._skipped = list(state.facts.get("skipped", []))
        _log.info("resumed after step %d", self._step)

    def run(self, deadline: Deadline) -> bool:
        """Train until the last step or the deadline, and save.

        Returns:
            Whether the last step is done.

        Raises:
            NonFiniteError: A loss or gradient is not finite; the state before it is saved.
            StorageError: The disk refuses a state; the earlier ones stay.
        """
        schedule, run = self._plan.schedule, self._plan.run
        log = TrainingLog(self._folder, self._step) if self._accelerator.is_main_process else None
        feed = self._objective.feed(self._accelerator.process_index, self._accelerator.num_processes)
        batches = feed.from_step(self._step * schedule.accumulation)
        began = saved = time.time()
        sums: dict[str, Tensor] = {}
        since = 0
        self._objective.module.train()
        try:
            while self._step < schedule.steps and not self._stop(deadline):
                _add(sums, self._optimizer_step(batches))
                since += 1
                if self._step % run.log_every == 0:
                    means = self._means(sums, since)
                    sums, since = {}, 0
                    if log is not None:
                        log.write(self._step, {**means, **self._facts(time.time() - began)})
                if run.pictures_every and self._step % run.pictures_every == 0 and log is not None:
                    log.picture(self._step, self._pictures())
                overdue = run.save_minutes > 0 and time.time() - saved > 60 * run.save_minutes
                if self._step % run.save_every == 0 or overdue:
                    self._save(time.time() - began)
                    saved = time.time()
        except NonFiniteError:
            self._save(time.time() - began)
            raise
        finally:
            batches.close()  # type: ignore[attr-defined]
        self._save(time.time() - began)
        return self._step >= schedule.steps

    def averaged(self) -> AbstractContextManager[None]:
        """Return a block in which the module holds its averaged weights."""
        return self._average.applied()

    def _facts(self, seconds: float) -> dict[str, float]:
        rate = learning_rate(self._step - 1, self._plan.schedule, self._plan.optimizer.learning_rate)
        return {"rate": rate, "skipped": len(self._skipped), "seconds": self._seconds + seconds}

    def _optimizer_step(self, batches: Iterator[Fed[Any]]) -> dict[str, Tensor]:
        accumulation = self._plan.schedule.accumulation
        for group in self._raw_optimizer.param_groups:
            group["lr"] = learning_rate(self._step, self._plan.schedule, self._plan.optimizer.learning_rate)
        totals: dict[str, Tensor] = {}
        fed: list[Fed[Any]] = []
        for micro in range(accumulation):
            fed.append(next(batches))
            self._skipped += [error.problem for error in fed[-1].skipped]
            where = MicroStep(
                self._step,
                self._step * accumulation + micro,
                self._accelerator.process_index,
                self._accelerator.num_processes,
            )
            last = micro == accumulation - 1
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                losses = self._objective.losses(self._model, fed[-1].batch, where)
                self._require_finite(losses.total, "loss", fed[-1:])
                self._accelerator.backward(losses.total / accumulation)
            parts = {"loss": losses.total, **losses.parts}
            _add(totals, {key: value.detach() / accumulation for key, value in parts.items()})
        norm = self._accelerator.clip_grad_norm_(
            self._parameters.values(), self._plan.optimizer.max_gradient_norm
        )
        if self._accelerator.scaler is None and norm is not None:
            self._require_finite(norm, "gradient", fed)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._step += 1
        self._average.update(self._step)
        return totals

    def _require_finite(self, value: Tensor, what: str, fed: Sequence[Fed[Any]]) -> None:
        finite = torch.isfinite(value.detach()).all()
        if self._accelerator.num_processes > 1:  # all stop, or the others would wait for this one for ever
            finite = self._accelerator.reduce(finite.float(), reduction="mean") == 1
        if bool(finite):
            return
        names = [name for part in fed for name in self._objective.names(part.batch)]
        if self._accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            names = gather_object(names)
        raise NonFiniteError(
            f"the {what} of step {self._step + 1} is not finite; training stopped, and the state before it is saved",
            found=f"in the batch of {', '.join(names)}",
            remedy="look at these examples, or lower the learning rate, then resume",
        )

    def _stop(self, deadline: Deadline) -> bool:
        if self._accelerator.num_processes == 1:
            return deadline.passed()
        flag = torch.tensor(float(deadline.passed()), device=self._accelerator.device)
        return self._reduced(flag, "sum") > 0

    def _pictures(self) -> Tensor:
        self._objective.module.eval()
        with self._average.applied(), torch.no_grad():
            sheet = self._objective.pictures()
        self._objective.module.train()
        return sheet

    def _means(self, sums: Mapping[str, Tensor], count: int) -> dict[str, float]:
        """Return means over steps and processes."""
        return {key: self._reduced(value / count, "mean") for key, value in sums.items()}

    def _reduced(self, value: Tensor, reduction: str) -> float:
        """Return a scalar's mean or sum over the processes."""
        total: Any = self._accelerator.reduce(value, reduction=reduction)
        return float(total)

    def _save(self, seconds: float) -> None:
        if not self._accelerator.is_main_process:
            return
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        scaler = self._accelerator.scaler
        state = TrainingState(
            step=self._step,
            weights=self._objective.module.state_dict(),
            moments=moments_of(self._raw_optimizer, names),
            average=self._average.tensors,
            facts={
                "identity": dict(self._plan.identity),
                "scaler": scaler.state_dict() if scaler is not None else None,
                "seconds": self._seconds + seconds,
                "processes": self._accelerator.num_processes,
                "skipped": self._skipped,
            },
        )
        save_state(state, self._folder / "states", self._plan.run.keep)


def _add(totals: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    for key, value in more.items():
        totals[key] = totals[key] + value if key in totals else value
