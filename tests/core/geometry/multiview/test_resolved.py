"""One view of fused ones as a geometry of its own, and maps on one scale for all views."""

from __future__ import annotations

import math

import pytest
import torch

from lotus_core.geometry.camera import Camera, pixel_rays
from lotus_core.geometry.mesh import Mesh
from lotus_core.geometry.multiview import FusedViews, common_maps, view_geometry
from lotus_core.geometry.multiview.alignment import Alignment
from lotus_core.geometry.multiview.verdict import Agreement
from lotus_core.types import DepthPrediction, JointPrediction, ModelInfo, NormalPrediction

HEIGHT, WIDTH, FOCAL = 30, 40, 50.0
NORMAL = torch.tensor([0.3, -0.2, -0.9]) / math.sqrt(0.94)
INFO = ModelInfo("exact", "d", "disparity", 64, "made up", "made up", 0, 0)
NOBODY = Agreement(torch.ones(2), torch.ones(2), 0.0, torch.zeros(2), torch.zeros(2))


def camera(x: float) -> Camera:
    pose = torch.eye(4)
    pose[0, 3] = x
    k = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
    return Camera(k, pose, WIDTH, HEIGHT)


def plane_depth(distance: float) -> torch.Tensor:
    """z of the plane n . P = -distance, seen from the origin."""
    rays = pixel_rays(camera(0.0).intrinsics[None], HEIGHT, WIDTH)[0]
    return -distance / (rays @ NORMAL)


CAMERAS = [camera(0.0), camera(0.5)]
DEPTHS = (plane_depth(2.0), plane_depth(3.0))


def fused(kind: str = "disparity", depths: tuple[torch.Tensor, ...] = DEPTHS) -> FusedViews:
    """Views whose depth is scale / (value + shift), with scale 4 and shift .5, or scale * (value + shift)."""
    values = maps(kind)
    alignment = Alignment(
        scale=torch.full((2,), 4.0, dtype=torch.float64),
        shift=torch.full((2,), 0.5, dtype=torch.float64),
        low=torch.stack([v.min() for v in values]).double(),
        high=torch.stack([v.max() for v in values]).double(),
        kind=kind,
        near=((1,), (0,)),
        agreement=NOBODY,
    )
    nothing = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    return FusedViews(nothing, depths, tuple(d > 0 for d in depths), alignment, 0.01)


def maps(kind: str) -> list[torch.Tensor]:
    return [4.0 / depth - 0.5 if kind == "disparity" else depth / 4.0 - 0.5 for depth in DEPTHS]


def prediction(kind: str = "disparity") -> JointPrediction:
    normals = NORMAL.expand(2, HEIGHT, WIDTH, 3)
    return JointPrediction(
        DepthPrediction(torch.stack(maps(kind)), kind, None, INFO), NormalPrediction(normals, None, INFO)
    )


@pytest.mark.parametrize("index", [0, 1])
def test_the_points_of_a_view_lie_on_the_surface_in_its_own_camera(index):
    geometry = view_geometry(fused(), prediction(), CAMERAS, index)
    distance = -(geometry.points[0] @ NORMAL)
    torch.testing.assert_close(distance, torch.full_like(distance, (2.0, 3.0)[index]))
    assert geometry.points.shape == (1, HEIGHT, WIDTH, 3)
    torch.testing.assert_close(geometry.depth[0], DEPTHS[index])


def test_the_camera_is_the_given_one_and_the_unit_that_of_the_poses():
    geometry = view_geometry(fused(), prediction(), CAMERAS, 1)
    torch.testing.assert_close(geometry.intrinsics[0], CAMERAS[1].intrinsics)
    assert geometry.focal_source == ("given",)
    assert geometry.scale_meaning == ("poses",)
    assert float(geometry.fov_x_deg) == pytest.approx(2 * math.degrees(math.atan(20 / 50)), abs=1e-4)
    assert math.isinf(float(geometry.calibration.sd_log_focal))


@pytest.mark.parametrize("kind", ["disparity", "depth"])
def test_its_calibration_resolves_the_map_up_to_the_scale(kind):
    given = prediction(kind)
    geometry = view_geometry(fused(kind), given, CAMERAS, 0)
    ratio = geometry.calibration.resolve_depth(given.depth.values[:1]) / geometry.depth
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.25), rtol=1e-4, atol=0)


def test_one_plane_has_no_edges_and_agrees_with_its_normals():
    geometry = view_geometry(fused(), prediction(), CAMERAS, 0)
    assert not bool(geometry.edges.any())
    assert float(geometry.calibration.angle_deg) < 0.1
    assert bool(geometry.valid.all())


def test_the_ends_of_the_range_are_clipped_and_nothing_else():
    geometry = view_geometry(fused(), prediction(), CAMERAS, 0)
    values = maps("disparity")[0]
    margin = 0.004 * (values.max() - values.min())
    expected = (values <= values.min() + margin) | (values >= values.max() - margin)
    assert torch.equal(geometry.clipped[0], expected)
    assert 0 < int(expected.sum()) < 20


def test_a_step_between_two_surfaces_is_an_edge():
    stepped = DEPTHS[0].clone()
    stepped[:, 20:] *= 2.0
    geometry = view_geometry(fused(depths=(stepped, DEPTHS[1])), prediction(), CAMERAS, 0)
    columns = geometry.edges[0].any(0).nonzero().flatten().tolist()
    assert columns == [19, 20]


def test_unknown_depth_is_invalid_and_holds_no_number_that_spreads():
    holed = DEPTHS[0].clone()
    holed[4, 5], holed[6, 7], holed[8, 9] = float("nan"), 0.0, float("inf")
    geometry = view_geometry(fused(depths=(holed, DEPTHS[1])), prediction(), CAMERAS, 0)
    assert int((~geometry.valid).sum()) == 3
    assert bool(geometry.points.isfinite().all())


def test_a_view_without_any_known_depth_says_that_it_knows_no_angle():
    geometry = view_geometry(fused(depths=(torch.zeros_like(DEPTHS[0]), DEPTHS[1])), prediction(), CAMERAS, 0)
    assert not bool(geometry.valid.any())
    assert math.isnan(float(geometry.calibration.angle_deg))
    assert float(geometry.calibration.coverage) == 0.0


def test_disparities_of_all_views_share_one_scale():
    first, second = common_maps(fused("disparity"))
    nearest = min(float(depth.min()) for depth in DEPTHS)
    torch.testing.assert_close(first * DEPTHS[0], torch.full_like(first, nearest))
    torch.testing.assert_close(second * DEPTHS[1], torch.full_like(second, nearest))
    assert float(first.max()) == pytest.approx(1.0)


def test_depths_of_all_views_share_one_scale():
    first, second = common_maps(fused("depth"))
    farthest = max(float(depth.max()) for depth in DEPTHS)
    torch.testing.assert_close(first * farthest, DEPTHS[0])
    torch.testing.assert_close(second * farthest, DEPTHS[1])
    assert float(second.max()) == pytest.approx(1.0)


@pytest.mark.parametrize(("kind", "far"), [("disparity", 0.0), ("depth", 1.0)])
def test_what_is_unknown_is_as_far_as_can_be(kind, far):
    holed = DEPTHS[0].clone()
    holed[0, 0] = float("nan")
    assert float(common_maps(fused(kind, (holed, DEPTHS[1])))[0][0, 0]) == far
