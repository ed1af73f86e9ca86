import pytest
import torch

from lotus_core.errors import ImageError
from lotus_core.inference.options import InferenceOptions
from lotus_core.video.painter import ClipOptions
from lotus_core.video.run import ClipRun, rgb_of
from tests.core.inference.models import passing_model

from .scenes import textured


def run_of(model=None, clip=None, height=96, width=128, **options):
    return ClipRun(
        [model or passing_model("d")],
        height,
        width,
        InferenceOptions(resolution=0, **options),
        clip or ClipOptions(),
    )


def shots(*seeds, each=2):
    return torch.stack([textured(seed=seed) for seed in seeds for _ in range(each)])


def test_pieces_hold_their_own_frames_in_order():
    frames = shots(1, 2, 3)
    pieces = list(run_of(batch_size=4).push(frames))
    assert [len(piece.frames) for piece in pieces] == [4, 2]
    assert torch.equal(torch.cat([piece.frames for piece in pieces]), frames)
    assert all(piece.painted[0].shape[:3] == (1, len(piece.frames), 3) for piece in pieces)


def test_cuts_are_found():
    (piece,) = run_of().push(shots(1, 7))
    assert piece.cuts == (False, False, True, False)


def test_cuts_are_found_between_calls():
    run = run_of()
    list(run.push(shots(1)))
    (piece,) = run.push(shots(7))
    assert piece.cuts == (True, False)


def test_cuts_can_be_left_unlooked_for():
    (piece,) = run_of(clip=ClipOptions(find_cuts=False)).push(shots(1, 7))
    assert piece.cuts == (False,) * 4


def test_a_cut_drops_what_a_generative_model_carries():
    frames = shots(1, 7, each=1)
    (found,) = run_of(passing_model("g", gain=0.3)).push(frames)
    (alone,) = run_of(passing_model("g", gain=0.3)).push(frames[1:])
    torch.testing.assert_close(found.painted[0][:, 1:], alone.painted[0])


def test_frames_of_another_size_are_refused():
    with pytest.raises(ImageError, match=r"all frames of a clip must have one size .*64x48 after 128x96"):
        list(run_of().push(torch.rand(1, 48, 64, 3)))


def test_a_run_goes_on_where_another_was_stopped():
    frames = shots(1, 7, each=3)
    whole = list(run_of(passing_model("g", gain=0.3)).push(frames))
    first, second = run_of(passing_model("g", gain=0.3)), run_of(passing_model("g", gain=0.3))
    list(first.push(frames[:2]))
    second.restore(first.state())
    rest = list(second.push(frames[2:]))
    expected = torch.cat([piece.painted[0] for piece in whole], dim=1)[:, 2:]
    torch.testing.assert_close(torch.cat([piece.painted[0] for piece in rest], dim=1), expected)
    assert [cut for piece in rest for cut in piece.cuts] == [cut for piece in whole for cut in piece.cuts][2:]


def test_a_run_without_cuts_has_only_the_painters_state():
    run = run_of(passing_model("g", gain=0.3), ClipOptions(find_cuts=False))
    list(run.push(shots(1)))
    assert set(run.state()) == {"x0.0.0"}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colours_of_grey_rgb_and_rgba(channels):
    frame = torch.rand(4, 5, channels)
    found = rgb_of(frame)
    assert found.shape == (4, 5, 3)
    assert torch.equal(found[..., 0], frame[..., 0])
    assert torch.equal(found[..., 2], frame[..., min(channels, 3) - 1])
