import pytest
import torch

from lotus_core.errors import ModelTaskError, NonFiniteError, OptionError, ShapeError
from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth, predict_joint, predict_normals, reconstruct

from .models import BlockCodec, FakePlacement, passing_model

SIZES = [(16, 16), (17, 23), (64, 96), (101, 77), (16, 500), (333, 16)]


def flat(value, height=32, width=40, batch=1):
    return torch.full((batch, height, width, 3), value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resolution", [None, 0, 40])
def test_maps_have_exactly_the_pictures_size(size, resolution):
    options = InferenceOptions(resolution=resolution)
    images = torch.rand(2, *size, 3)
    assert predict_depth(passing_model(), images, options).values.shape == (2, *size)
    assert predict_normals(passing_model(output="normal"), images, options).vectors.shape == (2, *size, 3)
    assert reconstruct(passing_model(), images, options).images.shape == (2, *size, 3)


def test_depth_is_the_mean_of_the_painted_channels():
    images = torch.tensor([0.2, 0.4, 0.9]).expand(1, 32, 32, 3)
    prediction = predict_depth(passing_model(), images)
    torch.testing.assert_close(prediction.values, torch.full((1, 32, 32), 0.5))
    assert prediction.kind == "depth"
    assert prediction.uncertainty is None
    assert prediction.values.dtype == torch.float32


def test_depth_is_not_normalised_picture_by_picture():
    values = predict_depth(passing_model(), torch.cat([flat(0.3), flat(0.7)])).values
    torch.testing.assert_close(values.flatten(1).mean(1), torch.tensor([0.3, 0.7]))


def test_the_kind_follows_the_model():
    assert predict_depth(passing_model(output="disparity"), flat(0.5)).kind == "disparity"


def test_a_painted_head_on_wall_faces_the_camera():
    images = torch.tensor([0.5, 0.5, 1.0]).expand(1, 32, 32, 3)
    vectors = predict_normals(passing_model(output="normal"), images).vectors
    torch.testing.assert_close(vectors, torch.tensor([0.0, 0.0, -1.0]).expand(1, 32, 32, 3))


def test_painted_left_is_minus_x_and_painted_up_is_minus_y():
    left, up = torch.tensor([1.0, 0.5, 0.5]), torch.tensor([0.5, 1.0, 0.5])
    images = torch.stack([left.expand(32, 32, 3), up.expand(32, 32, 3)])
    vectors = predict_normals(passing_model(output="normal"), images).vectors
    torch.testing.assert_close(vectors[0, 16, 16], torch.tensor([-1.0, 0.0, 0.0]))
    torch.testing.assert_close(vectors[1, 16, 16], torch.tensor([0.0, -1.0, 0.0]))


def test_normals_are_unit_vectors_also_after_the_resize():
    vectors = predict_normals(passing_model(output="normal"), torch.rand(1, 45, 61, 3)).vectors
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(1, 45, 61))


def test_mid_grey_has_no_direction_and_faces_the_camera():
    vectors = predict_normals(passing_model(output="normal"), flat(0.5)).vectors
    torch.testing.assert_close(vectors[0, 5, 5], torch.tensor([0.0, 0.0, -1.0]))


def test_a_reconstruction_runs_the_other_task():
    images = reconstruct(passing_model(), flat(0.75)).images
    torch.testing.assert_close(images, flat(0.25))  # the stand-in negates there


def test_a_map_does_not_depend_on_its_neighbours_or_on_the_chunks():
    images = torch.rand(5, 33, 41, 3)
    model = passing_model(mode="g", gain=0.2)
    whole = predict_depth(model, images, InferenceOptions(seed=4)).values
    by_two = predict_depth(model, images, InferenceOptions(seed=4, batch_size=2)).values
    alone = predict_depth(model, images[3:4], InferenceOptions(seed=4)).values
    assert torch.equal(whole, by_two)
    assert torch.equal(whole[3:4], alone)


def test_the_seed_decides_the_noise_and_nothing_else():
    model = passing_model(mode="g", gain=0.2)
    maps = [predict_depth(model, flat(0.5), InferenceOptions(seed=seed)).values for seed in (7, 7, 8)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_global_random_state_is_neither_read_nor_changed():
    model = passing_model(mode="g", gain=0.2)
    before = torch.random.get_rng_state()
    first = predict_depth(model, flat(0.5)).values
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(123)
    assert torch.equal(predict_depth(model, flat(0.5)).values, first)


def test_an_ensemble_merges_its_members_and_carries_their_spread():
    model = passing_model(mode="g", gain=0.05)
    images = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(1, 64, 64, 3)
    prediction = predict_depth(model, images, InferenceOptions(resolution=0, ensemble_size=9))
    single = predict_depth(model, images, InferenceOptions(resolution=0))
    truth = predict_depth(passing_model(), images, InferenceOptions(resolution=0)).values
    assert prediction.uncertainty.shape == (1, 64, 64)
    assert prediction.uncertainty.max() > 0
    assert (prediction.values - truth).abs().mean() < 0.7 * (single.values - truth).abs().mean()


def test_a_normal_ensemble_states_degrees():
    model = passing_model(mode="g", output="normal", gain=0.1)
    images = torch.tensor([0.5, 0.5, 1.0]).expand(1, 32, 32, 3)
    prediction = predict_normals(model, images, InferenceOptions(resolution=0, ensemble_size=4))
    assert prediction.uncertainty.shape == (1, 32, 32)
    assert 0.5 < prediction.uncertainty.mean() < 30


def test_an_ensemble_of_a_discriminative_model_is_refused():
    with pytest.raises(
        OptionError, match=r"ensemble_size must be 1 for test-depth-d: a discriminative model"
    ):
        predict_depth(passing_model(), flat(0.5), InferenceOptions(ensemble_size=2))


def test_a_reconstruction_of_an_ensemble_is_refused():
    with pytest.raises(OptionError, match="ensemble_size must be 1 for a reconstruction"):
        reconstruct(passing_model(mode="g"), flat(0.5), InferenceOptions(ensemble_size=2))


def test_joint_equals_depth_and_normal_run_apart():
    depth, normal = passing_model(), passing_model(output="normal")
    images = torch.rand(3, 30, 50, 3)
    joint = predict_joint(depth, normal, images)
    assert torch.equal(joint.depth.values, predict_depth(depth, images).values)
    assert torch.equal(joint.normals.vectors, predict_normals(normal, images).vectors)


def test_joint_encodes_once_when_the_encoders_are_the_same():
    first, second = BlockCodec(), BlockCodec()
    predict_joint(
        passing_model(codec=first), passing_model(output="normal", codec=second), flat(0.5, batch=2)
    )
    assert (first.encoded, second.encoded) == (2, 0)


def test_joint_encodes_twice_when_the_encoders_differ():
    first, second = BlockCodec(), BlockCodec()
    other = passing_model(output="normal", codec=second, digests=("other", "d"))
    predict_joint(passing_model(codec=first), other, flat(0.5, batch=2))
    assert (first.encoded, second.encoded) == (2, 2)


def test_joint_at_two_default_resolutions_works_at_the_depth_models():
    depth = passing_model(default_resolution=32)
    normal = passing_model(output="normal", default_resolution=64)
    images = torch.rand(1, 64, 64, 3)
    joint = predict_joint(depth, normal, images)
    at_32 = predict_normals(normal, images, InferenceOptions(resolution=32)).vectors
    assert torch.equal(joint.normals.vectors, at_32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: predict_depth(passing_model(output="normal"), flat(0.5)),
            "needs a depth or disparity model",
        ),
        (lambda: predict_normals(passing_model(), flat(0.5)), "needs a normal model"),
        (lambda: predict_joint(passing_model(output="normal"), passing_model(), flat(0.5)), "needs a depth"),
    ],
)
def test_a_model_for_another_task_is_refused_by_name(call, words):
    with pytest.raises(ModelTaskError, match=words) as caught:
        call()
    assert "which estimates" in str(caught.value)


def test_bad_pictures_are_refused_before_anything_runs():
    placement = FakePlacement()
    with pytest.raises(ShapeError):
        predict_depth(passing_model(placement=placement), torch.zeros(0, 32, 32, 3))
    assert placement.asked == []


def test_progress_counts_maps_and_shows_the_newest():
    heard = []
    depth, normal = passing_model(mode="g"), passing_model(mode="g", output="normal")
    options = InferenceOptions(ensemble_size=2, batch_size=2, resolution=0)
    predict_joint(depth, normal, flat(0.25, batch=3), options, progress=lambda *news: heard.append(news))
    assert [(done, total) for done, total, _ in heard] == [
        (2, 12), (4, 12), (6, 12), (8, 12), (9, 12), (10, 12), (11, 12), (12, 12),
    ]  # fmt: skip
    assert heard[0][2].shape == (3, 32, 40)
    torch.testing.assert_close(heard[0][2], torch.full((3, 32, 40), 0.25))


def test_a_progress_that_raises_stops_the_run_within_one_chunk():
    class StopNowError(Exception):
        pass

    def stop(done, total, preview):
        raise StopNowError

    model = passing_model()
    with pytest.raises(StopNowError):
        predict_depth(model, flat(0.5, batch=8), InferenceOptions(batch_size=2), progress=stop)
    assert model.unet.batches == [2]
    assert torch.isfinite(predict_depth(model, flat(0.5)).values).all()


def test_weights_that_give_nan_are_an_error():
    model = passing_model(mode="g", gain=float("nan"))
    with pytest.raises(NonFiniteError, match="the one step"):
        predict_depth(model, flat(0.5))
