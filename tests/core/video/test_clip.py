import warnings

import pytest
import torch

from lotus_core.errors import ImageError, ModelTaskError, OptionError, ShapeError
from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth, predict_joint, predict_normals
from lotus_core.video.clip import predict_depth_clip, predict_joint_clip, predict_normals_clip
from lotus_core.video.painter import ClipOptions
from tests.core.inference.models import passing_model

from .scenes import spread_of, textured

PLAIN = ClipOptions(stabilize=False, carry=0.0)
OWN = InferenceOptions(resolution=0)


def frames(count=5, height=40, width=56, seed=0):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def pumping_frames(count=32):
    """A still picture whose brightness scale drifts: the stand-in model's depth drifts with it."""
    generator = torch.Generator().manual_seed(1)
    scale = torch.exp(0.1 * torch.randn(count, generator=generator))
    base = textured(256, 320, seed=2)
    return (0.5 + (base - 0.5) * 0.7 * scale.view(-1, 1, 1, 1)).clamp(0, 1), scale


# --- depth


def test_without_carry_and_correction_a_clip_is_its_frames():
    images = frames()
    found = predict_depth_clip(passing_model("d"), images, OWN, PLAIN)
    expected = predict_depth(passing_model("d"), images, OWN)
    torch.testing.assert_close(found.values, expected.values)
    assert (found.kind, found.uncertainty, found.model) == (expected.kind, None, expected.model)


@pytest.mark.parametrize("resolution", [0, 24, 96])
def test_the_result_has_the_frames_size_at_any_resolution(resolution):
    images = frames(2, 37, 53)
    options = InferenceOptions(resolution=resolution)
    found = predict_depth_clip(passing_model("d"), images, options, PLAIN)
    torch.testing.assert_close(
        found.values, predict_depth(passing_model("d"), images, options).values, atol=1e-5, rtol=0
    )


def test_pumping_is_removed_and_values_stay_in_range():
    images, scale = pumping_frames()
    found = predict_depth_clip(passing_model("d"), images, OWN).values
    untreated = predict_depth(passing_model("d"), images, OWN).values
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    assert spread_of(scale) > 0.08
    spread_before = untreated.flatten(1).std(1)
    spread_after = found.flatten(1).std(1)
    assert spread_of(spread_before) > 0.08
    assert spread_of(spread_after) < 0.25 * spread_of(spread_before)


def test_every_frame_is_changed_by_an_affine_map_and_nothing_else():
    images, _ = pumping_frames(24)
    images = (images * 2.0 - 0.5).clamp(0, 1)
    found = predict_depth_clip(passing_model("d"), images, OWN).values.flatten(1)
    untreated = predict_depth(passing_model("d"), images, OWN).values.flatten(1)
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    for after, before in zip(found, untreated, strict=True):
        correlation = torch.corrcoef(torch.stack([after, before]))[0, 1]
        assert float(correlation) == pytest.approx(1.0, abs=1e-5)


def test_the_uncertainty_of_an_ensemble_comes_with_the_clip():
    images = frames(3)
    options = InferenceOptions(resolution=0, ensemble_size=3)
    found = predict_depth_clip(passing_model("g", gain=0.2), images, options)
    assert found.uncertainty.shape == found.values.shape
    assert found.uncertainty.max() > 0.0


def test_a_single_frame_is_a_clip():
    images = frames(1)
    found = predict_depth_clip(passing_model("d"), images, OWN)
    torch.testing.assert_close(found.values, predict_depth(passing_model("d"), images, OWN).values)


def test_a_normal_model_has_no_depth():
    with pytest.raises(ModelTaskError):
        predict_depth_clip(passing_model("d", "normal"), frames())


# --- normals and joint


def test_normals_of_a_discriminative_model_are_those_of_the_frames():
    images = frames(3, 37, 53)
    options = InferenceOptions(resolution=64)
    found = predict_normals_clip(passing_model("d", "normal"), images, options)
    expected = predict_normals(passing_model("d", "normal"), images, options)
    torch.testing.assert_close(found.vectors, expected.vectors)


def test_normals_of_a_generative_model_carry_noise():
    images = frames(3)
    one_shot = ClipOptions(find_cuts=False)  # noise has no shots
    carried = predict_normals_clip(passing_model("g", "normal", gain=0.3), images, OWN, one_shot).vectors
    plain = predict_normals(passing_model("g", "normal", gain=0.3), images, OWN).vectors
    torch.testing.assert_close(carried[0], plain[0])
    assert not torch.allclose(carried[1], plain[1], atol=1e-3)


def test_a_depth_model_has_no_normals():
    with pytest.raises(ModelTaskError):
        predict_normals_clip(passing_model("d"), frames())


def test_joint_is_both_from_one_encoding():
    images = frames(3)
    depth, normal = passing_model("d"), passing_model("d", "normal")
    found = predict_joint_clip(depth, normal, images, OWN, PLAIN)
    expected = predict_joint(passing_model("d"), passing_model("d", "normal"), images, OWN)
    torch.testing.assert_close(found.depth.values, expected.depth.values)
    torch.testing.assert_close(found.normals.vectors, expected.normals.vectors)
    assert depth.vae.encoded == 3
    assert normal.vae.encoded == 0


def test_joint_models_the_wrong_way_round_are_refused():
    with pytest.raises(ModelTaskError):
        predict_joint_clip(passing_model("d", "normal"), passing_model("d"), frames())


# --- how frames arrive


def test_pieces_are_one_clip():
    images, _ = pumping_frames(20)
    whole = predict_depth_clip(passing_model("g", gain=0.2), images, OWN)
    pieces = predict_depth_clip(passing_model("g", gain=0.2), iter(images.split(3)), OWN)
    torch.testing.assert_close(pieces.values, whole.values)


def test_no_more_than_one_piece_is_asked_for_ahead():
    asked = []

    def pieces():
        for index in range(4):
            asked.append(index)
            yield frames(2, seed=index)

    seen = []
    predict_depth_clip(
        passing_model("d"),
        pieces(),
        OWN,
        progress=lambda done, total, preview: seen.append((done, len(asked))),
    )
    assert seen == [(2, 1), (4, 2), (6, 3), (8, 4)]


def test_progress_counts_frames_and_shows_the_newest_map():
    told = []
    options = InferenceOptions(resolution=0, batch_size=2)
    predict_depth_clip(
        passing_model("d"), frames(5), options, progress=lambda *news: told.append((*news[:2], news[2].shape))
    )
    assert told == [(2, 5, (3, 40, 56)), (4, 5, (3, 40, 56)), (5, 5, (3, 40, 56))]


def test_progress_may_stop_the_run():
    class StoppedError(Exception):
        pass

    def stop(done, total, preview):
        raise StoppedError

    with pytest.raises(StoppedError):
        predict_depth_clip(passing_model("d"), frames(3), OWN, progress=stop)


@pytest.mark.parametrize("predict", [predict_depth_clip, predict_normals_clip])
def test_a_clip_without_frames_is_refused(predict):
    model = passing_model("d", "normal" if predict is predict_normals_clip else "depth")
    with pytest.raises(ImageError, match="the clip has no frames"):
        predict(model, iter([]), OWN)
    with pytest.raises(ShapeError, match="the batch is empty"):
        predict(model, torch.empty(0, 32, 32, 3), OWN)


def test_a_single_picture_without_batch_axis_is_refused():
    with pytest.raises(ShapeError, match="add a batch dimension"):
        predict_depth_clip(passing_model("d"), torch.rand(32, 32, 3), OWN)


def test_pieces_of_another_size_are_refused():
    with pytest.raises(ImageError, match="all frames of a clip must have one size"):
        predict_depth_clip(passing_model("d"), iter([frames(1), frames(1, 48, 48)]), OWN)


def test_an_ensemble_of_a_discriminative_model_is_refused():
    with pytest.raises(OptionError, match="ensemble_size"):
        predict_depth_clip(passing_model("d"), frames(1), InferenceOptions(ensemble_size=2))


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_rgba_frames_are_taken(channels):
    images = torch.rand(3, 40, 56, channels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predict_depth_clip(passing_model("d"), images, OWN)
    assert found.values.shape == (3, 40, 56)
