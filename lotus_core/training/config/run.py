"""Settings that every gradient-based stage has: optimiser, schedule, machine and bookkeeping."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimizer(Settings):
    """AdamW. Source of the defaults: the reference's training scripts.

    Attributes:
        learning_rate: Of the plateau.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        weight_decay: Decoupled.
        max_gradient_norm: The gradient of all parameters is scaled down to this length.
    """

    learning_rate: float = Field(default=3e-5, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)


class Schedule(Settings):
    """How long, and the learning rate on the way: up, constant, and (if `decay_steps`) straight down to zero.

    Attributes:
        steps: Optimiser steps in all.
        warmup_steps: Over which the rate rises from zero.
        decay_steps: Last steps, over which it falls to zero; 0 stays constant.
        batch_size: Pictures of one micro-step, over all processes.
        accumulation: Micro-steps of one optimiser step.
        ema_decay: Of the exponential moving average of the weights; 0 keeps none.
    """

    steps: int = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    decay_steps: int = Field(default=0, ge=0)
    batch_size: int = Field(gt=0)
    accumulation: int = Field(default=1, gt=0)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)


class Accelerator(Settings):
    """How it computes.

    Attributes:
        mixed_precision: Type of the products; weights and their averages stay in fp32.
        gradient_checkpointing: Compute activations a second time instead of keeping them.
        channels_last: Memory layout of the convolutions; faster on most machines.
        threads: CPU threads of one process; 0 leaves torch's choice.
        workers: Threads that read and prepare the next batches.
    """

    mixed_precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    channels_last: bool = False
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=1)


class Run(Settings):
    """Bookkeeping; the only settings that may differ when a run is resumed, with the number of steps.

    Attributes:
        log_every: Steps between two lines of the log.
        save_every: Steps between two states.
        save_minutes: Also save after this many minutes; 0 only counts steps.
        keep: States that are kept.
        pictures_every: Steps between two sheets of sample pictures; 0 makes none.
    """

    log_every: int = Field(default=50, gt=0)
    save_every: int = Field(default=1000, gt=0)
    save_minutes: float = Field(default=0, ge=0)
    keep: int = Field(default=2, ge=1)
    pictures_every: int = Field(default=0, ge=0)
