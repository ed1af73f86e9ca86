from __future__ import annotations

import pytest
import torch

from lotus_core.errors import GeometryError, OptionError, ShapeError
from lotus_core.geometry.align import KnownDistance, MetricDepth
from lotus_core.geometry.joint import resolve_geometry
from lotus_core.geometry.points import project
from lotus_core.types import DepthPrediction, ModelInfo, NormalPrediction
from tests.core.geometry.analytic import median_scaled_error, network_map, plane, room

HEIGHT, WIDTH = 96, 128
INFO = ModelInfo("made-up", "d", "disparity", 768, "here", "here", 1, 1)


def predictions(depth, normals, kind="disparity"):
    values, _ = network_map(depth, kind)
    return DepthPrediction(values[None], kind, None, INFO), NormalPrediction(normals[None], None, INFO)


@pytest.fixture(scope="module")
def scene():
    return room(64.0, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def solved(scene):
    return resolve_geometry(*predictions(*scene))


def test_every_field_has_its_documented_shape(solved):
    shapes = {"depth": (), "points": (3,), "normals": (3,), "edges": (), "valid": (), "clipped": ()}
    for name, last in shapes.items():
        assert getattr(solved, name).shape == (1, HEIGHT, WIDTH, *last), name
    assert solved.intrinsics.shape == (1, 3, 3)
    assert solved.cuts.right.shape == (1, HEIGHT, WIDTH - 1)
    assert solved.cuts.down.shape == (1, HEIGHT - 1, WIDTH)
    assert solved.depth.dtype == solved.points.dtype == torch.float32
    assert solved.edges.dtype == solved.valid.dtype == solved.clipped.dtype == torch.bool


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("refine", [True, False])
def test_the_room_is_found_up_to_one_scale(scene, kind, refine):
    made = resolve_geometry(*predictions(*scene, kind), refine=refine)
    assert float(made.fov_x_deg) == pytest.approx(64.0, abs=0.7)
    assert made.focal_source == ("normals",)
    assert made.refined is refine
    assert median_scaled_error(made.depth[0], scene[0]) < 0.006


def test_without_an_anchor_the_unit_is_the_median_depth(solved):
    assert float(solved.depth[solved.valid].median()) == pytest.approx(1.0, abs=1e-3)
    assert solved.scale_meaning == ("median",)


def test_points_lie_on_the_rays_of_their_pixels(solved):
    pixels, depth = project(solved.points, solved.intrinsics)
    assert torch.allclose(depth, solved.depth)
    assert pixels[0, 3, 5].tolist() == pytest.approx([5.5, 3.5], abs=1e-3)


def test_the_floor_is_below_and_the_far_wall_in_front(solved, scene):
    floor = scene[1][..., 1] < -0.9
    assert bool((solved.points[0][floor][:, 1] > 0).all())
    assert bool((solved.points[..., 2] > 0).all())


def test_normals_are_unit_vectors_that_face_the_camera(scene):
    depth, normals = predictions(*scene)
    made = resolve_geometry(depth, NormalPrediction(0.97 * normals.vectors, None, INFO))
    assert torch.allclose(made.normals.norm(dim=-1), torch.ones(1, HEIGHT, WIDTH), atol=1e-5)
    assert float((made.normals * made.points).sum(-1).max()) <= 1e-4


def test_a_given_field_of_view_wins(scene):
    made = resolve_geometry(*predictions(*scene), fov_x_deg=50.0)
    assert float(made.fov_x_deg) == pytest.approx(50.0, abs=1e-3)
    assert made.focal_source == ("given",)


def test_a_metric_map_fixes_the_scale(scene):
    made = resolve_geometry(*predictions(*scene), anchor=MetricDepth(scene[0][None]))
    assert made.scale_meaning == ("anchor",)
    assert float(made.depth.median()) == pytest.approx(float(scene[0].median()), rel=0.01)


def test_a_known_distance_fixes_the_scale(scene):
    # The true distance of the point at the middle of the picture from the camera.
    true = float(scene[0][HEIGHT // 2, WIDTH // 2])
    made = resolve_geometry(*predictions(*scene), anchor=KnownDistance(true, (WIDTH / 2, HEIGHT / 2)))
    assert float(made.depth[0, HEIGHT // 2, WIDTH // 2]) == pytest.approx(true, rel=0.01)


def test_an_object_in_front_is_cut_out(scene):
    depth, normals = scene[0].clone(), scene[1].clone()
    depth[40:60, 50:80], normals[40:60, 50:80] = 1.2, torch.tensor([0.0, 0.0, -1.0])
    made = resolve_geometry(*predictions(depth, normals))
    assert bool(made.edges[0, 45:55, 48:52].any(-1).all())
    assert bool(made.cuts.right[0, 45:55, 47:52].any(-1).all())
    assert not bool(made.edges[0, 5:30].any())


def test_masked_pixels_are_neither_valid_nor_connected(scene):
    valid = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    valid[0, :20] = False
    made = resolve_geometry(*predictions(*scene), valid=valid)
    assert torch.equal(made.valid, valid)
    assert bool(made.cuts.down[0, :20].all())
    assert not bool(made.edges[0, :20].any())


def test_pixels_that_are_not_finite_are_not_valid(scene):
    depth, normals = predictions(*scene)
    depth.values[0, 10, 10], normals.vectors[0, 20, 20, 1] = torch.nan, torch.inf
    made = resolve_geometry(depth, normals)
    assert not bool(made.valid[0, 10, 10])
    assert not bool(made.valid[0, 20, 20])
    assert int((~made.valid).sum()) == 2
    assert bool(made.points.isfinite().all())


def test_the_ends_of_a_clipped_map_are_marked(scene):
    depth, normals = predictions(*scene)
    clipped = DepthPrediction(depth.values.clamp(0.2, 0.7), "disparity", None, INFO)
    made = resolve_geometry(clipped, normals)
    expected = (clipped.values <= 0.2) | (clipped.values >= 0.7)
    assert float((made.clipped == expected).float().mean()) > 0.99
    assert not bool(resolve_geometry(depth, normals).clipped.float().mean() > 0.02)


def test_a_constant_map_becomes_a_flat_wall_and_says_so():
    _, normals = plane(60.0, (0.0, 0.0, -1.0), HEIGHT, WIDTH)
    depth = DepthPrediction(torch.full((1, HEIGHT, WIDTH), 0.5), "depth", None, INFO)
    made = resolve_geometry(depth, NormalPrediction(normals[None], None, INFO))
    assert made.focal_source == ("prior",)
    assert made.calibration.reason[0].startswith("the map is constant")
    assert torch.allclose(made.depth, torch.ones(1, HEIGHT, WIDTH), atol=1e-3)
    assert not bool(made.edges.any())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (30, 1), (3, 2)])
def test_tiny_pictures_use_the_prior(height, width):
    depth = DepthPrediction(
        torch.linspace(0.2, 0.8, height * width).view(1, height, width), "depth", None, INFO
    )
    toward = torch.tensor([0.0, 0.0, -1.0]).repeat(1, height, width, 1)
    made = resolve_geometry(depth, NormalPrediction(toward, None, INFO))
    assert made.focal_source == ("prior",)
    assert bool(made.points.isfinite().all())
    assert bool((made.depth > 0).all())


def test_gradients_are_not_kept(scene):
    depth, normals = predictions(*scene)
    depth.values.requires_grad_()
    assert not resolve_geometry(depth, normals, refine=False).points.requires_grad


def test_normals_that_are_nowhere_finite_are_refused(scene):
    depth, _ = predictions(*scene)
    nothing = NormalPrediction(torch.full((1, HEIGHT, WIDTH, 3), torch.nan), None, INFO)
    with pytest.raises(GeometryError, match="the normals of picture 0 are not finite anywhere"):
        resolve_geometry(depth, nothing)


def test_a_mask_of_nothing_is_refused(scene):
    with pytest.raises(GeometryError, match="a mask keeps no pixel"):
        resolve_geometry(*predictions(*scene), valid=torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool))


def test_predictions_of_different_sizes_are_refused(scene):
    depth, _ = predictions(*scene)
    other = NormalPrediction(torch.ones(1, HEIGHT, WIDTH // 2, 3), None, INFO)
    with pytest.raises(ShapeError, match="normals has shape"):
        resolve_geometry(depth, other)


def test_an_impossible_field_of_view_is_refused(scene):
    with pytest.raises(OptionError, match="fov_x_deg"):
        resolve_geometry(*predictions(*scene), fov_x_deg=0.0)
