import pytest
import torch

from benchmarks.clips import network_maps, render_clip
from benchmarks.video import stability, stabilized
from lotus_core.errors import ShapeError
from lotus_core.video.stabilize import Corrections, DepthStabilizer

from .scenes import drifting, relief, spread_of, textured, with_square


def watched(maps, rgb=None, kind="depth", cuts=()):
    stabilizer = DepthStabilizer(kind)
    for index, values in enumerate(maps):
        stabilizer.push(values, rgb, cut=index in cuts)
    return stabilizer


# --- what is corrected


def test_drift_of_a_still_scene_is_undone():
    maps, scale, _ = drifting(48)
    corrections = watched(maps, textured()).corrections()
    left = corrections.scale * scale
    assert spread_of(scale) > 0.08
    assert spread_of(left) < 0.004
    corrected = corrections.apply(maps)
    assert (corrected - corrected.mean(0)).abs().mean() < 0.004


def test_the_clip_keeps_the_networks_own_mean_scale():
    maps, scale, _ = drifting(48)
    corrections = watched(maps, textured()).corrections()
    assert float((corrections.scale * scale).log().mean()) == pytest.approx(
        float(scale.log().mean()), abs=0.03
    )


def test_it_works_without_pictures():
    maps, scale, _ = drifting(48)
    assert spread_of(watched(maps).corrections().scale * scale) < 0.35 * spread_of(scale)


def test_disparity_is_corrected_too():
    maps, scale, _ = drifting(40)
    assert spread_of(watched(maps, textured(), "disparity").corrections().scale * scale) < 0.006


def test_noise_does_not_shrink_the_scale_over_time():
    """The trap of least squares and of running averages: even a bias of 1 % a frame would leave half after 64."""
    maps, scale, _ = drifting(64, noise=0.03)
    left = watched(maps, textured()).corrections().scale * scale
    assert float(left[-8:].mean() / left[:8].mean()) == pytest.approx(1.0, abs=0.02)


def test_a_near_mover_does_not_take_the_background_with_it():
    maps, scale, shift = drifting(40)
    moved = torch.stack(
        [
            with_square(m, left=3 * t - 10, value=float(0.5 + (0.95 - 0.5) * 0.7 * s + o))
            for t, (m, s, o) in enumerate(zip(maps, scale, shift, strict=True))
        ]
    )
    left = watched(moved, textured(), "disparity").corrections().scale * scale
    assert spread_of(left) < 0.01


def test_slow_drift_under_a_still_camera_is_the_networks():
    """A ramp of the scale by 35 % in 64 frames, on top of some jitter: the camera is still, so most of it goes."""
    maps, scale, _ = drifting(64, scale_sd=0.03)
    ramp = torch.linspace(0.85, 1.15, 64)
    slow = 0.5 + (maps - 0.5) * ramp[:, None, None]
    left = watched(slow, textured()).corrections().scale * scale * ramp
    assert float(left[-8:].mean() / left[:8].mean()) == pytest.approx(1.0, abs=0.12)


def test_a_calm_clip_is_left_as_it_is():
    calm = relief().expand(40, -1, -1) + 0.01 * torch.randn(
        40, 96, 128, generator=torch.Generator().manual_seed(1)
    )
    corrections = watched(calm, textured()).corrections()
    assert (corrections.apply(calm) - calm).abs().max() < 0.002


def test_one_frame_is_left_as_it_is():
    corrections = watched(relief()[None], textured()).corrections()
    assert corrections.scale.tolist() == [1.0]
    assert corrections.shift.tolist() == [0.0]


def test_a_clip_without_frames_has_no_corrections():
    corrections = DepthStabilizer("depth").corrections()
    assert corrections.scale.shape == corrections.shift.shape == (0,)
    assert corrections.shots == ()


def test_no_scale_leaves_its_bounds():
    maps = torch.stack([0.5 + (relief() - 0.5) * (1.0 if t % 2 else 0.2) for t in range(24)])
    scale = watched(maps, textured()).corrections().scale
    assert scale.min() >= 0.6
    assert scale.max() <= 1.67 + 1e-6


# --- shots


def test_a_cut_starts_afresh():
    first, scale, _ = drifting(24, seed=1)
    second = drifting(24, seed=2)[0].flip(-1) * 0.5
    corrections = watched(torch.cat([first, second]), textured(), cuts={24}).corrections()
    alone = watched(first, textured()).corrections()
    assert corrections.shots == (0, 24)
    torch.testing.assert_close(corrections.scale[:24], alone.scale)
    torch.testing.assert_close(corrections.shift[:24], alone.shift)
    assert spread_of(corrections.scale[:24] * scale) < 0.01


def test_where_nothing_fits_a_shot_ends_without_being_told():
    other = torch.rand(12, 96, 128, generator=torch.Generator().manual_seed(3))
    maps = torch.cat([drifting(12)[0], other[:1].expand(12, -1, -1)])
    assert watched(maps).corrections().shots == (0, 12)


def test_a_black_frame_in_between_holds_the_correction():
    maps, _, _ = drifting(20)
    maps[10] = 0.0
    corrections = watched(maps, textured()).corrections()
    assert corrections.shots == (0,)
    assert torch.isfinite(corrections.scale).all()


def test_blank_maps_throughout_are_left_alone():
    corrections = watched(torch.full((20, 96, 128), 0.4)).corrections()
    torch.testing.assert_close(corrections.scale, torch.ones(20))
    torch.testing.assert_close(corrections.shift, torch.zeros(20))


# --- applying, and going on


def test_corrections_are_applied_to_the_frames_from_a_number_on():
    corrections = Corrections(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.1, 0.2]), (0,))
    found = corrections.apply(torch.full((2, 1, 1), 0.5), start=1)
    torch.testing.assert_close(found.flatten(), torch.tensor([1.1, 1.7]))


@pytest.mark.parametrize("stop", [1, 17, 40])
def test_a_stabiliser_goes_on_where_another_was_stopped(stop):
    maps, _, _ = drifting(56)
    whole = watched(maps, textured()).corrections()
    first = watched(maps[:stop], textured())
    second = DepthStabilizer("depth")
    second.restore(first.state())
    for values in maps[stop:]:
        second.push(values, textured())
    found = second.corrections()
    assert torch.equal(found.scale, whole.scale)
    assert torch.equal(found.shift, whole.shift)
    assert found.shots == whole.shots


def test_the_state_does_not_grow_with_the_clip_but_for_a_few_numbers():
    short, long = (watched(drifting(t)[0], textured()).state() for t in (20, 120))
    sizes = [sum(v.numel() for k, v in s.items() if k.startswith("recent")) for s in (short, long)]
    assert sizes[0] == sizes[1]
    assert long["history"].shape == (4, 120)


# --- input


def test_a_batch_axis_is_refused():
    with pytest.raises(ShapeError, match=r"values has shape \(1, 8, 8\), expected \(H, W\)"):
        DepthStabilizer("depth").push(torch.rand(1, 8, 8))


def test_another_size_within_a_clip_is_refused():
    stabilizer = watched(relief()[None])
    with pytest.raises(ShapeError, match="keep the size throughout"):
        stabilizer.push(torch.rand(50, 60))


# --- rendered clips: the bars of the benchmark, on one clip of each kind of motion


@pytest.mark.parametrize(
    ("motion", "kind", "bar"),
    [("static", "depth", 0.02), ("pan", "disparity", 0.03), ("dolly", "depth", 0.02)],
)
def test_rendered_clips_meet_their_bars(motion, kind, bar):
    clip = render_clip(5, "tabletop", motion, frames=48, height=96, width=128)
    maps = network_maps(clip, kind, seed=2)
    before = stability(maps.values, maps, clip)
    treated = stabilized(maps.values, clip, kind)
    after = stability(treated, maps, clip)
    assert before.pumping > 0.07
    assert after.pumping < bar
    assert after.jitter < 0.006
    assert abs(after.final_scale) < 0.06
    assert after.abs_rel < before.abs_rel
    calm = network_maps(clip, kind, seed=2, drift=False).values
    assert (stabilized(calm, clip, kind) - calm).abs().mean() < 0.002
