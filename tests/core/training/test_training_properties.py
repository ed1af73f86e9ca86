"""Properties that hold for any input: of the losses, masks, labels, schedules, averages and the command line."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from lotus_core.cli.main import build_parser
from lotus_core.cli.train import _changes
from lotus_core.errors import OptionError
from lotus_core.training.annotation import depth_picture, flipped
from lotus_core.training.average import WeightAverage
from lotus_core.training.config import Noise, Schedule, Switcher
from lotus_core.training.denoiser import task_labels
from lotus_core.training.diffusion import Diffusion
from lotus_core.training.latents import LatentBatch, known_cells
from lotus_core.training.loop import learning_rate
from lotus_core.training.protocol import DoubledBatch, doubled, reconstructed_rows, two_losses
from tests.core.training.small import example

SEEDS = st.integers(0, 2**20)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch_for(target, known):
    return DoubledBatch(target, torch.full((len(target),), 999), target, known, len(known))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, annotations=st.integers(1, 4), reconstructions=st.integers(0, 4))
def test_losses_are_the_two_means_for_any_numbers_of_rows(seed, annotations, reconstructions):
    count = annotations + reconstructions
    prediction, target = normal(seed, count, 4, 3, 5), normal(seed + 1, count, 4, 3, 5)
    known = normal(seed + 2, annotations, 1, 3, 5) > 0
    found = two_losses(prediction, batch_for(target, known))
    square = (prediction - target).square()
    chosen = square[:annotations][known.expand(-1, 4, -1, -1)]
    expected = chosen.mean().item() if chosen.numel() else 0.0
    assert found.annotation.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    expected = square[annotations:].mean().item() if reconstructions else 0.0
    assert found.reconstruction.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, processes=st.sampled_from([2, 3, 4]))
def test_parts_of_a_batch_average_to_the_whole_however_masks_fall(seed, processes):
    rows = 2 * processes
    prediction, target = normal(seed, rows, 4, 2, 3), normal(seed + 1, rows, 4, 2, 3)
    known = normal(seed + 2, rows, 1, 2, 3) > 0.3
    assume(bool(known.any()))
    whole = two_losses(prediction, batch_for(target, known)).annotation
    counts = torch.tensor([4.0 * int(known.sum()), 0.0])

    def together(values):
        return torch.full_like(values, float(processes)) if bool((values == 1).all()) else counts

    parts = []
    for rank in range(processes):
        part = slice(2 * rank, 2 * rank + 2)
        own = 4.0 * int(known[part].sum())
        assume(own != 1.0)
        parts.append(two_losses(prediction[part], batch_for(target[part], known[part]), together).annotation)
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_a_cell_is_known_exactly_when_all_its_pixels_are(seed, rows, columns):
    known = torch.rand((2, 1, 8 * rows, 8 * columns), generator=torch.Generator().manual_seed(seed)) > 0.01
    cells = known_cells(known)
    for row in range(rows):
        for column in range(columns):
            block = known[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert torch.equal(cells[:, :, row, column], block.flatten(2).all(-1))


@settings(max_examples=50, deadline=None)
@given(
    share=st.sampled_from([1.0, 0.5, 0.25, 0.2, 0.125]),
    parts=st.sampled_from([1, 2, 4]),
    each=st.integers(1, 8),
)
def test_rows_painted_back_do_not_depend_on_how_a_batch_is_split(share, parts, each):
    switcher = Switcher(share=share, later_share=share)
    whole = reconstructed_rows(switcher, 0, 0, parts * each).tolist()
    split = [
        first + row
        for first in range(0, parts * each, each)
        for row in reconstructed_rows(switcher, 0, first, each).tolist()
    ]
    assert split == whole
    assert len(whole) == math.ceil(parts * each * share)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, prediction=st.sampled_from(["x0", "epsilon", "v"]), mode=st.sampled_from(["d", "g"]))
def test_the_picture_always_comes_first_and_unchanged(seed, prediction, mode):
    images, annotations = normal(seed, 3, 4, 2, 2), normal(seed + 1, 3, 4, 2, 2)
    source = LatentBatch(images, annotations, torch.ones(3, 1, 2, 2) > 0, ("a", "b", "c"))
    noise, rows = normal(seed + 2, 5, 4, 2, 2), torch.tensor([0, 2])
    diffusion = Diffusion(Noise(prediction=prediction if mode == "g" else "x0"))
    made = doubled(source, rows, mode, diffusion, noise, torch.full((5,), 999))
    assert torch.equal(made.sample[:, :4], torch.cat([images, images[rows]]))
    assert made.sample.shape[1] == (8 if mode == "g" else 4)
    if mode == "d" or prediction == "x0":
        assert torch.equal(made.target, torch.cat([annotations, images[rows]]))
    elif prediction == "epsilon":
        assert torch.equal(made.target, noise)


@settings(max_examples=30, deadline=None)
@given(annotations=st.integers(0, 5), reconstructions=st.integers(0, 5))
def test_labels_are_one_row_for_each_and_unit_pairs(annotations, reconstructions):
    labels = task_labels(annotations, reconstructions)
    assert labels.shape == (annotations + reconstructions, 4)
    squares = labels.square()
    assert torch.allclose(squares[:, :2] + squares[:, 2:], torch.ones(len(labels), 2))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(1, 400),
    warmup=st.integers(0, 100),
    decay=st.integers(0, 400),
    peak=st.floats(1e-6, 1.0),
)
def test_the_rate_is_never_above_its_peak_nor_negative_and_never_zero_before_the_end(
    steps, warmup, decay, peak
):
    schedule = Schedule(steps=steps, warmup_steps=warmup, decay_steps=decay, batch_size=1)
    rates = [learning_rate(step, schedule, peak) for step in range(steps)]
    assert all(0 < rate <= peak for rate in rates)
    rising = rates[: min(warmup, steps - decay)] if decay < steps else []
    assert rising == sorted(rising)
    if decay:
        falling = rates[max(warmup, steps - decay) :]
        assert falling == sorted(falling, reverse=True)
        assert learning_rate(steps, schedule, peak) == 0.0


@settings(max_examples=30, deadline=None)
@given(decay=st.floats(0.1, 0.999), values=st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_an_average_lies_among_the_weights_it_is_of(decay, values):
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, values[0])
    average = WeightAverage(module, decay)
    for step, value in enumerate(values, 1):
        nn.init.constant_(module.weight, value)
        average.update(step)
    found = average.tensors["weight"].item()
    assert min(values) - 1e-4 <= found <= max(values) + 1e-4


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 1000))
def test_times_fall_from_the_last_without_repeating(steps):
    times = Diffusion(Noise(steps=steps)).times.tolist()
    assert len(times) == steps
    assert times[0] == 999
    assert all(later < earlier for earlier, later in itertools.pairwise(times))
    assert times[-1] >= 0


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, depth_map=st.sampled_from(["linear", "linear-range", "disparity", "disparity-range"]))
def test_nearer_is_always_on_the_same_side(seed, depth_map):
    depth = torch.rand((6, 7), generator=torch.Generator().manual_seed(seed)) * 20 + 0.3
    everywhere, nowhere = torch.ones(6, 7) > 0, torch.zeros(6, 7) > 0
    picture = depth_picture(depth, everywhere, nowhere, depth_map).flatten()
    order = depth.flatten().argsort()
    steps = picture[order].diff()
    assert bool((steps <= 1e-6).all() if depth_map.startswith("disparity") else (steps >= -1e-6).all())
    assert picture.min() >= -1
    assert picture.max() <= 1


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_mirrored_normal_still_faces_the_camera_and_has_unit_length(seed):
    sample = example(seed % 1000)
    mirrored = flipped(sample)
    length = mirrored.normal.norm(dim=0)
    assert torch.allclose(length[mirrored.valid], torch.ones(int(mirrored.valid.sum())), atol=1e-6)
    assert torch.equal(mirrored.normal[2], sample.normal[2].flip(-1))


def parsed(*words):
    return build_parser()[0].parse_args(["train", "config.yaml", "-o", "out", *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--set", "schedule.steps=20"], {"schedule.steps": 20}),
        (["--set", "start.channels=[8, 16]"], {"start.channels": [8, 16]}),
        (["--set", "data.0.folder=/a=b"], {"data.0.folder": "/a=b"}),
        (["--set", "run.save_minutes=0.5", "--set", "seed=3"], {"run.save_minutes": 0.5, "seed": 3}),
        (["--prediction", "v"], {"noise.prediction": "v"}),
        (["--steps", "10"], {"noise.steps": 10}),
        (["--detail-preserver", "off"], {"switcher.enabled": False}),
        (["--detail-preserver", "on"], {"switcher.enabled": True}),
        (["--depth-map", "linear"], {"depth_map": "linear"}),
        (["--set", "noise.steps=5", "--steps", "10"], {"noise.steps": 10}),
    ],
)
def test_options_become_settings(words, expected):
    assert _changes(parsed(*words)) == expected


@pytest.mark.parametrize("text", ["steps", "=5", ""])
def test_a_change_without_key_or_value_is_refused(text):
    with pytest.raises(OptionError, match="KEY=VALUE"):
        _changes(parsed("--set", text))


@pytest.mark.parametrize(
    "words",
    [["--prediction", "x1"], ["--steps", "many"], ["--detail-preserver", "maybe"], ["--depth-map", "log"]],
)
def test_unknown_choices_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(*words)
    assert stop.value.code == 2
    assert words[0] in capsys.readouterr().err
