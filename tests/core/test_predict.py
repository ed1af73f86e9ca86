import pytest
import torch

import lotus_core
from lotus_core.errors import ImageError, ModelTaskError, OptionError
from lotus_core.geometry.joint import JointResult
from lotus_core.inference import predict as still
from lotus_core.inference.options import InferenceOptions
from lotus_core.predict import predict_depth, predict_joint, predict_normals
from lotus_core.video import clip as moving
from lotus_core.video.painter import ClipOptions
from tests.core.inference.models import passing_model
from tests.core.video.scenes import spread_of, textured

STILL = InferenceOptions(resolution=0)
VIDEO = InferenceOptions(resolution=0, sequence="video")


def frames(count=5, height=40, width=56):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(0))


def pumping_frames(count=24):
    """A still picture whose contrast jumps by about a tenth from frame to frame."""
    generator = torch.Generator().manual_seed(1)
    scale = torch.exp(0.1 * torch.randn(count, generator=generator))
    return (0.5 + (textured(128, 160, seed=2) - 0.5) * 0.7 * scale.view(-1, 1, 1, 1)).clamp(0, 1)


def pumping(values):
    return spread_of(values.flatten(1).std(1))


def test_these_are_the_functions_of_the_package():
    assert lotus_core.predict_depth is predict_depth
    assert lotus_core.predict_normals is predict_normals
    assert lotus_core.predict_joint is predict_joint
    assert lotus_core.ClipOptions is ClipOptions


# --- pictures


def test_pictures_are_left_to_themselves():
    images = pumping_frames(6)
    found = predict_depth(passing_model("d"), images, STILL)
    assert torch.equal(found.values, still.predict_depth(passing_model("d"), images, STILL).values)
    normals = predict_normals(passing_model("d", "normal"), images, STILL)
    assert torch.equal(
        normals.vectors, still.predict_normals(passing_model("d", "normal"), images, STILL).vectors
    )


def test_without_options_pictures_are_meant():
    images = pumping_frames(4)
    found = predict_depth(passing_model("d", default_resolution=0), images)
    assert torch.equal(found.values, predict_depth(passing_model("d"), images, STILL).values)


def test_pieces_of_pictures_are_refused():
    with pytest.raises(ImageError, match=r"pictures must come as one tensor .found: list"):
        predict_depth(passing_model("d"), [frames(2)], STILL)


def test_how_a_clip_is_treated_says_nothing_about_pictures():
    with pytest.raises(OptionError, match="clip must be None, or InferenceOptions"):
        predict_depth(passing_model("d"), frames(2), STILL, clip=ClipOptions())


# --- clips


def test_video_frees_depth_of_each_frames_own_scale():
    images = pumping_frames()
    untreated = predict_depth(passing_model("d"), images, STILL).values
    found = predict_depth(passing_model("d"), images, VIDEO).values
    assert pumping(untreated) > 0.06
    assert pumping(found) < 0.25 * pumping(untreated)


def test_video_can_be_told_to_leave_depth_alone():
    images = pumping_frames(6)
    found = predict_depth(passing_model("d"), images, VIDEO, clip=ClipOptions(stabilize=False))
    expected = predict_depth(passing_model("d"), images, STILL)
    torch.testing.assert_close(found.values, expected.values)


def test_a_clip_may_come_in_pieces():
    images = pumping_frames(24)
    whole = predict_depth(passing_model("d"), images, VIDEO)
    pieces = predict_depth(passing_model("d"), iter(images.split(7)), VIDEO)
    torch.testing.assert_close(pieces.values, whole.values)


def test_a_generative_model_carries_on_what_the_last_frame_became():
    """x0 = latents + gain * noise: a share of the last x0 in the noise shows in every frame but the first."""
    images, gain = frames(3), 0.2
    options = ClipOptions(carry=0.5, find_cuts=False)  # frames of noise are all cuts
    alone = predict_normals(passing_model("g", "normal", gain=gain), images, STILL).vectors
    carried = predict_normals(passing_model("g", "normal", gain=gain), images, VIDEO, clip=options).vectors
    torch.testing.assert_close(carried[0], alone[0])
    assert float((carried[1:] - alone[1:]).abs().mean()) > 0.01
    off = ClipOptions(carry=0.0)
    calm = predict_normals(passing_model("g", "normal", gain=gain), images, VIDEO, clip=off).vectors
    torch.testing.assert_close(calm, alone)


def test_joint_of_a_clip_is_both_and_resolves_only_when_asked():
    images = frames(4)
    models = passing_model("d"), passing_model("d", "normal")
    found = predict_joint(*models, images, VIDEO, resolve=False)
    assert isinstance(found, JointResult)
    assert found.geometry is None
    expected = moving.predict_joint_clip(*models, images, VIDEO)
    assert torch.equal(found.depth.values, expected.depth.values)
    assert torch.equal(found.normals.vectors, expected.normals.vectors)


def test_joint_of_a_clip_has_a_camera_for_every_frame():
    found = predict_joint(passing_model("d"), passing_model("d", "normal"), frames(2), VIDEO, fov_x_deg=60.0)
    assert found.geometry is not None
    assert found.geometry.intrinsics.shape == (2, 3, 3)
    assert float(found.geometry.fov_x_deg[1]) == pytest.approx(60.0, abs=0.01)


def test_joint_of_pictures_passes_everything_on():
    found = predict_joint(passing_model("d"), passing_model("d", "normal"), frames(1), STILL, fov_x_deg=50.0)
    assert float(found.geometry.fov_x_deg[0]) == pytest.approx(50.0, abs=0.01)


def test_progress_hears_of_every_frame_and_may_stop_the_run():
    heard = []

    def stop(done, total, preview):
        heard.append((done, total, tuple(preview.shape)))
        if done >= 2:
            raise KeyboardInterrupt

    options = InferenceOptions(resolution=0, sequence="video", batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        predict_depth(passing_model("d"), frames(5), options, progress=stop)
    assert heard == [(1, 5, (3, 40, 56)), (2, 5, (3, 40, 56))]


@pytest.mark.parametrize("options", [STILL, VIDEO])
def test_models_of_another_task_are_refused_alike(options):
    with pytest.raises(ModelTaskError):
        predict_depth(passing_model("d", "normal"), frames(2), options)
    with pytest.raises(ModelTaskError):
        predict_normals(passing_model("d", "depth"), frames(2), options)
    with pytest.raises(ModelTaskError):
        predict_joint(passing_model("d", "normal"), passing_model("d", "depth"), frames(2), options)


def test_a_clip_in_half_precision_is_taken():
    images = pumping_frames(6)
    found = predict_depth(passing_model("d"), images.half(), VIDEO).values
    torch.testing.assert_close(
        found, predict_depth(passing_model("d"), images, VIDEO).values, atol=0.01, rtol=0
    )
