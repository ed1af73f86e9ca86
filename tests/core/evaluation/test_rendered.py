"""Rendered scenes as a benchmark, and the guesses without looking."""

from __future__ import annotations

import math

import pytest
import torch

from lotus_core.errors import OptionError
from lotus_core.evaluation.baselines import mean_map_score, mean_normal_score
from lotus_core.evaluation.rendered import FARTHEST_M, SceneDepth, SceneNormals, SceneRange
from lotus_core.evaluation.round_trip import psnr_db, vae_round_trip
from lotus_core.evaluation.samples import DepthSample, NormalSample, Rules
from tests.core.inference.models import passing_model

FEW = SceneRange(500_000, 3, 24, 32)


class FixedDepth(SceneDepth):
    """Scenes whose depth is given, not rendered."""

    def __init__(self, depths: list[torch.Tensor]) -> None:
        super().__init__(SceneRange(0, len(depths), 16, 16))
        object.__setattr__(self, "_depths", depths)

    def load(self, name, *, colour=True):
        depth = self._depths[int(name)]
        return DepthSample(name, torch.zeros(16, 16, 3), depth, depth.isfinite())


class FixedNormals(SceneNormals):
    def __init__(self, normals: list[tuple[float, float, float]], rgb: float = 0.0) -> None:
        super().__init__(SceneRange(0, len(normals), 16, 16))
        object.__setattr__(self, "_normals", normals)
        object.__setattr__(self, "_rgb", rgb)

    def load(self, name, *, colour=True):
        vectors = torch.tensor(self._normals[int(name)]).expand(16, 16, 3).contiguous()
        return NormalSample(name, torch.full((16, 16, 3), self._rgb), vectors, vectors.norm(dim=-1) > 0.5)


def test_a_range_of_seeds_gives_its_scenes():
    assert SceneDepth(FEW).names() == ["500000", "500001", "500002"]


def test_a_scene_has_its_picture_depth_and_normals():
    depth, normals = SceneDepth(FEW).load("500001"), SceneNormals(FEW).load("500001")
    assert depth.rgb.shape == (24, 32, 3)
    assert torch.equal(depth.rgb, normals.rgb)
    assert torch.allclose(normals.normals[normals.valid].norm(dim=-1), torch.tensor(1.0), atol=1e-4)
    assert float(depth.depth[depth.valid].max()) < FARTHEST_M
    assert float(normals.normals[normals.valid][:, 2].mean()) < 0  # on the whole toward the camera


def test_the_picture_can_be_left_out():
    with_colour, without = (SceneDepth(FEW).load("500000", colour=c) for c in (True, False))
    assert torch.equal(with_colour.depth, without.depth)
    assert not without.rgb.any()


@pytest.mark.parametrize(
    ("values", "option"), [((-1, 3), "--seeds-from"), ((0, 0), "--count"), ((0, 1, 8, 32), "--size")]
)
def test_impossible_ranges_are_refused(values, option):
    with pytest.raises(OptionError, match=option):
        SceneRange(*values)


def test_the_mean_normal_of_two_walls_lies_between_them():
    # one wall head-on, one turned by 60 degrees: the mean is 30 degrees from both
    turned = (math.sin(math.radians(60)), 0.0, -math.cos(math.radians(60)))
    score = mean_normal_score(FixedNormals([(0.0, 0.0, -1.0), turned]))
    assert score.mean.mean == pytest.approx(30.0, abs=1e-3)
    assert (score.images, score.model) == (2, None)


def test_sky_has_no_say_in_the_mean_normal():
    score = mean_normal_score(FixedNormals([(0.0, 0.0, -1.0), (0.0, 0.0, 0.0)]))
    assert score.mean.mean == pytest.approx(0.0, abs=1e-5)
    assert score.images == 1


def ramp(near: float, far: float) -> torch.Tensor:
    return torch.linspace(near, far, 16)[None].repeat(16, 1)


def test_the_mean_map_of_scenes_alike_up_to_scale_and_shift_has_no_error():
    scenes = FixedDepth([ramp(1.0, 5.0), ramp(2.0, 10.0)])
    score = mean_map_score(scenes, "depth")
    # the outer 2 % are clipped, so the fit is not perfect at the ends
    assert score.mean.abs_rel < 0.01
    assert score.images == 2


def test_the_mean_map_of_opposite_scenes_is_flat():
    scenes = FixedDepth([ramp(1.0, 5.0), ramp(5.0, 1.0)])
    depth = ramp(1.0, 5.0).double()
    expected = float(((depth.mean() - depth).abs() / depth).mean())
    assert mean_map_score(scenes, "depth").mean.abs_rel == pytest.approx(expected, rel=1e-3)


def test_scenes_without_a_surface_are_left_out_of_the_mean_map():
    empty = torch.full((16, 16), float("inf"))
    scenes = FixedDepth([ramp(1.0, 5.0), empty])
    assert mean_map_score(scenes, "disparity").images == 1


def test_the_guess_uses_the_space_of_the_model():
    scenes = FixedDepth([ramp(1.0, 9.0), ramp(1.0, 9.0) ** 2])
    assert mean_map_score(scenes, "depth").mean.abs_rel != pytest.approx(
        mean_map_score(scenes, "disparity").mean.abs_rel
    )


def test_an_error_of_a_tenth_is_20_db():
    assert psnr_db(torch.full((4, 4), 0.6), torch.full((4, 4), 0.5)) == pytest.approx(20.0, abs=1e-4)
    assert psnr_db(torch.ones(2, 2), torch.ones(2, 2)) == math.inf
    assert psnr_db(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])) == pytest.approx(0.0)


def test_a_codec_that_keeps_even_pictures_loses_nothing_of_them():
    trip = vae_round_trip(passing_model("d", "normal"), FixedNormals([(0.6, 0.0, -0.8)] * 2, rgb=0.3))
    assert trip.normals_mean_deg == pytest.approx(0.0, abs=1e-3)
    assert trip.rgb_psnr_db > 100
    assert trip.rgb_mean_shift == pytest.approx(0.0, abs=1e-6)
    assert trip.images == 2


def test_a_codec_of_block_means_loses_what_is_finer():
    trip = vae_round_trip(passing_model("d", "normal"), SceneNormals(FEW))
    assert trip.normals_mean_deg > 1.0
    assert trip.rgb_psnr_db < 40.0


def test_sides_that_are_no_multiples_of_8_are_cut():
    scenes = SceneNormals(SceneRange(500_000, 1, 27, 33))
    assert vae_round_trip(passing_model("d", "normal"), scenes).images == 1


def test_the_rules_of_scenes_know_the_far_plane():
    rules = FEW.rules
    assert isinstance(rules, Rules)
    depth = torch.tensor([0.0, 1.0, 79.0, 81.0, float("inf"), float("nan")])
    assert rules.in_range(depth).tolist() == [False, True, True, False, False, False]
