import pytest
import torch

from lotus_core.errors import MemoryLimitError, NonFiniteError, OptionError, ShapeError
from lotus_core.inference.model import initial_noise
from lotus_core.inference.options import InferenceOptions
from lotus_core.video.painter import ClipOptions, ClipPainter
from tests.core.inference.models import BlockCodec, passing_model

GAIN = 0.25
NOISE_SHAPE = (1, 4, 4, 4)


def frames(count, size=32):
    return torch.rand(count, size, size, 3, generator=torch.Generator().manual_seed(count))


def painted(model, images, cuts=None, *, carry=0.1, seed=0, **options):
    options = InferenceOptions(resolution=0, seed=seed, **options)
    painter = ClipPainter([model], images.shape[1], images.shape[2], options, carry)
    pieces = list(painter.paint(images, cuts or [False] * len(images)))
    return torch.cat([piece[0] for piece in pieces], dim=1), painter


def latents_of(images):
    return BlockCodec().encode(images.movedim(-1, 1) * 2 - 1)


def painted_from(x0):
    return (BlockCodec().decode(x0) * 0.5 + 0.5).clamp(0, 1)


# --- options


@pytest.mark.parametrize("carry", [-0.1, 0.91, float("nan"), "0.1", True])
def test_a_carry_outside_its_range_is_refused(carry):
    with pytest.raises(OptionError, match=r"carry must be a number from 0 \(off\) to 0.9"):
        ClipOptions(carry=carry)


@pytest.mark.parametrize("carry", [0, 0.0, 0.1, 0.9])
def test_a_carry_inside_its_range_is_taken(carry):
    assert ClipOptions(carry=carry).carry == carry


def test_an_ensemble_of_a_discriminative_model_is_refused():
    with pytest.raises(OptionError, match="a discriminative model gives the same map every time"):
        ClipPainter([passing_model("d")], 32, 32, InferenceOptions(ensemble_size=2), 0.1)


# --- the noise of a clip


def test_the_first_frame_has_the_common_noise_alone():
    images = frames(1)
    found, _ = painted(passing_model("g", gain=GAIN), images)
    expected = latents_of(images) + GAIN * initial_noise(NOISE_SHAPE, 0)
    torch.testing.assert_close(found[0], painted_from(expected))


def test_later_frames_carry_a_tenth_of_the_last_x0():
    """x0_t = latents_t + gain * (0.9 * noise + 0.1 * x0_{t-1}), by hand."""
    images = frames(3)
    found, _ = painted(passing_model("g", gain=GAIN), images)
    noise, latents = initial_noise(NOISE_SHAPE, 0), latents_of(images)
    previous = None
    for index in range(3):
        mixed = noise if previous is None else 0.9 * noise + 0.1 * previous
        previous = latents[index : index + 1] + GAIN * mixed
        torch.testing.assert_close(found[0, index], painted_from(previous)[0])


def test_carry_zero_gives_every_frame_the_same_noise_in_one_batch():
    images = frames(4)
    model = passing_model("g", gain=GAIN)
    found, painter = painted(model, images, carry=0.0)
    expected = painted_from(latents_of(images) + GAIN * initial_noise(NOISE_SHAPE, 0))
    torch.testing.assert_close(found[0], expected)
    assert model.unet.batches == [4]
    assert painter.state() == {}


def test_the_strength_is_settable():
    images = frames(2)
    found, _ = painted(passing_model("g", gain=GAIN), images, carry=0.5)
    noise, latents = initial_noise(NOISE_SHAPE, 0), latents_of(images)
    first = latents[:1] + GAIN * noise
    torch.testing.assert_close(found[0, 1], painted_from(latents[1:] + GAIN * (0.5 * noise + 0.5 * first))[0])


def test_a_cut_begins_with_the_common_noise_again():
    images = frames(3)
    found, _ = painted(passing_model("g", gain=GAIN), images, [False, False, True])
    alone, _ = painted(passing_model("g", gain=GAIN), images[2:])
    torch.testing.assert_close(found[:, 2:], alone)


def test_the_seed_chooses_the_noise():
    images = frames(2)
    one, _ = painted(passing_model("g", gain=GAIN), images, seed=1)
    two, _ = painted(passing_model("g", gain=GAIN), images, seed=2)
    again, _ = painted(passing_model("g", gain=GAIN), images, seed=1)
    assert torch.equal(one, again)
    assert not torch.equal(one, two)


def test_members_of_an_ensemble_carry_their_own():
    images = frames(3)
    both, _ = painted(passing_model("g", gain=GAIN), images, ensemble_size=2, seed=5)
    for member in range(2):
        alone, _ = painted(passing_model("g", gain=GAIN), images, seed=5 + member)
        torch.testing.assert_close(both[member], alone[0])


def test_discriminative_models_take_no_noise_and_whole_batches():
    images = frames(3)
    model = passing_model("d")
    found, _ = painted(model, images)
    torch.testing.assert_close(found[0], painted_from(latents_of(images)))
    assert model.unet.batches == [3]


# --- pieces


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_nothing(batch_size):
    images = frames(5)
    expected, _ = painted(passing_model("g", gain=GAIN), images, batch_size=5)
    found, _ = painted(passing_model("g", gain=GAIN), images, batch_size=batch_size)
    torch.testing.assert_close(found, expected)


def test_frames_in_two_calls_are_one_clip():
    images = frames(5)
    expected, _ = painted(passing_model("g", gain=GAIN), images)
    model = passing_model("g", gain=GAIN)
    painter = ClipPainter([model], 32, 32, InferenceOptions(resolution=0), 0.1)
    parts = [
        torch.cat([p[0] for p in painter.paint(part, [False] * len(part))], 1) for part in images.split(2)
    ]
    torch.testing.assert_close(torch.cat(parts, 1), expected)


def test_a_painter_goes_on_where_another_was_stopped():
    images = frames(4)
    expected, _ = painted(passing_model("g", gain=GAIN), images)
    _, first = painted(passing_model("g", gain=GAIN), images[:2])
    second = ClipPainter([passing_model("g", gain=GAIN)], 32, 32, InferenceOptions(resolution=0), 0.1)
    second.restore(first.state())
    found = torch.cat([p[0] for p in second.paint(images[2:], [False, False])], 1)
    torch.testing.assert_close(found, expected[:, 2:])


def test_a_piece_that_ran_out_of_memory_is_painted_again_from_where_it_began():
    images = frames(4)
    expected, _ = painted(passing_model("g", gain=GAIN), images)
    model = passing_model("g", gain=GAIN)
    decode, calls = model.vae.decode, []

    def tight(x0):
        calls.append(len(x0))
        if len(x0) > 2:
            raise RuntimeError("CUDA out of memory")
        return decode(x0)

    model.vae.decode = tight
    found, _ = painted(model, images, batch_size=4)
    torch.testing.assert_close(found, expected)
    assert calls == [4, 2, 2]


def test_memory_for_not_even_one_frame_is_said():
    model = passing_model("d")

    def full(rgb):
        raise RuntimeError("out of memory")

    model.vae.encode = full
    with pytest.raises(MemoryLimitError):
        painted(model, frames(2))


def test_nan_is_an_error():
    model = passing_model("d")
    model.vae.encode = lambda rgb: torch.full((len(rgb), 4, 4, 4), float("nan"))
    with pytest.raises(NonFiniteError):
        painted(model, frames(1))


def test_frames_of_another_shape_are_refused():
    with pytest.raises(ShapeError):
        painted(passing_model("d"), torch.rand(1, 32, 32, 2))


# --- several models


def test_models_with_one_vae_share_its_encoding():
    depth, normal = passing_model("d", "depth"), passing_model("d", "normal")
    painter = ClipPainter([depth, normal], 32, 32, InferenceOptions(resolution=0), 0.1)
    pieces = list(painter.paint(frames(2), [False, False]))
    assert [len(piece) for piece in pieces] == [2]
    assert (depth.vae.encoded, normal.vae.encoded) == (2, 0)


def test_models_with_vaes_of_their_own_use_them():
    depth, normal = passing_model("d", "depth"), passing_model("d", "normal", digests=("x", "y"))
    painter = ClipPainter([depth, normal], 32, 32, InferenceOptions(resolution=0), 0.1)
    list(painter.paint(frames(2), [False, False]))
    assert (depth.vae.encoded, normal.vae.encoded) == (2, 2)


def test_the_default_resolution_is_the_checkpoints():
    painter = ClipPainter([passing_model(default_resolution=128)], 64, 32, InferenceOptions(), 0.1)
    assert (painter.size.inner_height, painter.size.inner_width) == (128, 64)
