import pytest
import torch

from lotus_core.errors import ModelTaskError
from lotus_core.inference.image import WorkingSize
from lotus_core.video.painter import ClipOptions
from lotus_core.video.run import PaintedFrames
from lotus_core.video.track import DepthTrack, merged_normals, sized_depth, sized_normals
from tests.core.inference.models import passing_model

from .scenes import drifting, spread_of, textured


def piece_of(maps, cuts=None):
    """Painted maps whose three channels are the map, less and plus a little."""
    painted = torch.stack([maps - 0.02, maps, maps + 0.02], dim=1)[None]
    frames = textured().expand(len(maps), -1, -1, -1)
    return PaintedFrames(frames, tuple(cuts or [False] * len(maps)), (painted,))


def track(output="depth", **clip):
    return DepthTrack(passing_model("d", output), ClipOptions(**clip))


def test_a_normal_model_has_no_depth():
    with pytest.raises(ModelTaskError, match="this needs a depth or disparity model"):
        track("normal")


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_the_kind_is_the_models(kind):
    assert track(kind).kind == kind


def test_depth_is_the_mean_channel():
    maps = drifting(3)[0] * 0.8 + 0.1
    values, uncertainty = track().push(piece_of(maps))
    torch.testing.assert_close(values, maps)
    assert uncertainty is None


def test_members_of_an_ensemble_are_merged_with_their_spread():
    maps = drifting(2)[0] * 0.6 + 0.2
    painted = torch.stack([(maps + s)[:, None].expand(-1, 3, -1, -1) for s in (-0.1, 0.0, 0.1)])
    frames = textured().expand(2, -1, -1, -1)
    values, uncertainty = track().push(PaintedFrames(frames, (False, False), (painted,)))
    torch.testing.assert_close(values, maps, atol=1e-5, rtol=0)
    assert uncertainty.shape == maps.shape
    assert uncertainty.max() < 1e-5


def test_corrections_undo_the_drift():
    maps, scale, _ = drifting(40)
    depth = track()
    for part in maps.split(7):
        depth.push(piece_of(part * 0.9 + 0.05))
    assert spread_of(depth.corrections().scale * scale) < 0.01


def test_without_stabilisation_nothing_changes_but_shots_are_known():
    maps, _, _ = drifting(6)
    depth = track(stabilize=False)
    depth.push(piece_of(maps, [False] * 4 + [True, False]))
    corrections = depth.corrections()
    assert torch.equal(corrections.apply(maps), maps)
    assert corrections.shots == (0, 4)


def test_limits_hold_zero_to_one_and_what_goes_beyond():
    maps, _, _ = drifting(30, scale_sd=0.25)
    depth = track()
    depth.push(piece_of(maps))
    corrections = depth.corrections()
    corrected = corrections.apply(maps)
    low, high = depth.limits(corrections)
    assert low == pytest.approx(min(0.0, float(corrected.min())), abs=1e-5)
    assert high == pytest.approx(max(1.0, float(corrected.max())), abs=1e-5)


def test_the_display_range_is_inside_the_limits():
    maps, _, _ = drifting(30)
    depth = track()
    depth.push(piece_of(maps))
    corrections = depth.corrections()
    low, high = depth.display_range(corrections)
    corrected = corrections.apply(maps)
    assert float((corrected < low).float().mean()) == pytest.approx(0.01, abs=0.01)
    assert float((corrected > high).float().mean()) == pytest.approx(0.01, abs=0.01)


def test_a_track_goes_on_from_states_taken_piece_by_piece():
    maps, _, _ = drifting(36)
    whole = track()
    whole.push(piece_of(maps))
    first, states, seen = track(), [], 0
    for part in maps[:24].split(8):
        first.push(piece_of(part))
        states.append(first.state(seen))
        seen += len(part)
    second = track()
    second.restore(states)
    second.push(piece_of(maps[24:]))
    found, expected = second.corrections(), whole.corrections()
    assert torch.equal(found.scale, expected.scale)
    assert second.limits(found) == whole.limits(expected)
    assert second.display_range(found) == whole.display_range(expected)


def test_a_state_holds_the_ranges_of_its_own_frames_only():
    maps, _, _ = drifting(12)
    depth = track()
    depth.push(piece_of(maps))
    assert len(depth.state(8)["quantiles"]) == 4


def test_nothing_to_restore_is_a_fresh_track():
    depth = track()
    depth.restore([])
    depth.push(piece_of(drifting(2)[0]))
    assert len(depth.corrections().scale) == 2


# --- normals and sizes


def test_a_wall_seen_head_on_is_minus_z():
    """Lotus paints it (0.5, 0.5, 1)."""
    painted = torch.tensor([0.5, 0.5, 1.0]).view(1, 1, 3, 1, 1).expand(1, 2, 3, 4, 5)
    vectors, spread = merged_normals(painted)
    torch.testing.assert_close(vectors, torch.tensor([0.0, 0.0, -1.0]).expand(2, 4, 5, 3))
    assert spread is None


def test_members_that_disagree_by_90_degrees_lie_45_from_their_mean():
    right = torch.tensor([0.0, 0.5, 0.5])  # +x in OpenCV: red is left
    up = torch.tensor([0.5, 1.0, 0.5])  # -y
    painted = torch.stack([right, up]).view(2, 1, 3, 1, 1)
    vectors, spread = merged_normals(painted)
    half = 2**-0.5
    torch.testing.assert_close(vectors.flatten(), torch.tensor([half, -half, 0.0]), atol=1e-5, rtol=0)
    assert float(spread) == pytest.approx(45.0, abs=1e-3)


def test_resized_normals_are_unit_length():
    vectors = torch.nn.functional.normalize(
        torch.randn(2, 6, 8, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    found, spread = sized_normals(vectors, torch.full((2, 6, 8), 3.0), WorkingSize(11, 17, 6, 8), "bilinear")
    assert found.shape == (2, 11, 17, 3)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 11, 17))
    torch.testing.assert_close(spread, torch.full((2, 11, 17), 3.0))


def test_resized_depth_has_the_frames_size_and_range():
    values = torch.rand(3, 6, 8)
    found = sized_depth(values, WorkingSize(12, 16, 6, 8), "bilinear")
    assert found.shape == (3, 12, 16)
    assert values.min() <= found.min()
    assert found.max() <= values.max()


def test_depth_at_its_own_size_is_untouched():
    values = torch.rand(1, 6, 8)
    assert torch.equal(sized_depth(values, WorkingSize(6, 8, 6, 8), "bilinear"), values)
