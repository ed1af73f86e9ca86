"""Which maps of a run are painted at the same time, and what a caller sees of it."""

from __future__ import annotations

import threading

import pytest
import torch

from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth, predict_joint, predict_normals
from tests.core.inference.models import FakePlacement, passing_model

IMAGES = torch.rand(3, 24, 32, 3, generator=torch.Generator().manual_seed(0))
OPTIONS = InferenceOptions(resolution=0, batch_size=2)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def models(concurrent: bool, mode: str = "d"):
    return tuple(
        passing_model(mode, output, gain=0.1, placement=FakePlacement(concurrent=concurrent))
        for output in ("depth", "normal")
    )


def record_threads(model, threads, name):
    compute = model.unet.forward

    def recording(*args, **kwargs):
        threads.append((name, threading.get_ident()))
        return compute(*args, **kwargs)

    model.unet.forward = recording


def test_two_models_compute_at_the_same_time_where_their_placements_allow_it():
    depth, normal = models(concurrent=True)
    meeting = threading.Barrier(2, timeout=30)
    for model in (depth, normal):
        compute = model.unet.forward
        model.unet.forward = lambda *a, compute=compute, **k: (meeting.wait(), compute(*a, **k))[1]
    predict_joint(depth, normal, IMAGES, OPTIONS)  # a barrier that nobody joins would break
    assert not meeting.broken


def test_they_follow_each_other_in_the_callers_thread_where_one_does_not():
    depth, normal = models(concurrent=False)
    threads: list[tuple[str, int]] = []
    record_threads(depth, threads, "depth")
    record_threads(normal, threads, "normal")
    predict_joint(depth, normal, IMAGES[:1], OPTIONS)
    here = threading.get_ident()
    assert threads == [("depth", here), ("normal", here)]


@pytest.mark.parametrize(
    ("concurrent", "order"), [(False, ["d", "d", "n", "n"]), (True, ["d", "n", "d", "n"])]
)
def test_a_host_that_loads_models_in_turn_loads_each_once_for_its_ensemble(concurrent, order):
    depth, normal = models(concurrent, "g")
    threads: list[tuple[str, int]] = []
    record_threads(depth, threads, "d")
    record_threads(normal, threads, "n")
    options = InferenceOptions(resolution=0, ensemble_size=2)
    predict_joint(depth, normal, IMAGES[:1], options)
    names = [name for name, _ in threads]
    if concurrent:  # the two of a round in either order
        names = [name for k in (0, 2) for name in sorted(names[k : k + 2])]
    assert names == order


@pytest.mark.parametrize("mode", ["d", "g"])
def test_both_maps_are_those_of_each_model_alone(mode):
    depth, normal = models(True, mode)
    both = predict_joint(depth, normal, IMAGES, OPTIONS)
    assert torch.equal(both.depth.values, predict_depth(depth, IMAGES, OPTIONS).values)
    assert torch.equal(both.normals.vectors, predict_normals(normal, IMAGES, OPTIONS).vectors)


def test_progress_is_told_in_the_callers_thread_and_counts_every_map():
    told: list[tuple[int, int, int]] = []
    predict_joint(
        *models(True),
        IMAGES,
        OPTIONS,
        progress=lambda done, total, _: told.append((done, total, threading.get_ident())),
    )
    here = threading.get_ident()
    assert told == [(2, 6, here), (4, 6, here), (5, 6, here), (6, 6, here)]


def test_a_model_that_fails_beside_another_ends_the_run_with_its_error():
    depth, normal = models(True)

    def fails(*_args, **_options):
        raise ValueError("stop")

    normal.unet.forward = fails
    with pytest.raises(ValueError, match="stop"):
        predict_joint(depth, normal, IMAGES, OPTIONS)
    assert torch.get_num_threads() == 2


def test_pictures_of_two_models_at_once_share_the_memory():
    depth, normal = models(True)
    free = 2**24
    for model in (depth, normal):
        model.placement.free = free
    alone = passing_model(placement=FakePlacement(free=free // 2))
    predict_joint(depth, normal, IMAGES.repeat(8, 1, 1, 1), InferenceOptions(resolution=0))
    predict_depth(alone, IMAGES.repeat(8, 1, 1, 1), InferenceOptions(resolution=0))
    assert depth.unet.batches == alone.unet.batches
    assert len(depth.unet.batches) > 1
