from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.errors import GeometryError, OptionError, ShapeError
from lotus_core.geometry.multiview import FusedViews, FusionOptions, fuse_views
from lotus_core.geometry.points import project, transform_points
from tests.core.geometry.multiview.rig import (
    HEIGHT,
    WIDTH,
    arc,
    look_from,
    paint,
    predict,
    see,
    surface_distance,
    turned,
)

VOXEL = 0.08
COARSE = FusionOptions(voxel=0.15)


@pytest.fixture(scope="module", params=["depth", "disparity"])
def fused(request, four_views) -> FusedViews:
    return fuse_views(
        [predict(view, request.param) for view in four_views],
        [view.camera for view in four_views],
        images=[view.picture for view in four_views],
        options=FusionOptions(voxel=VOXEL),
    )


@pytest.fixture
def predictions(four_views):
    return [predict(view) for view in four_views]


@pytest.fixture
def cameras(four_views):
    return [view.camera for view in four_views]


def test_depth_is_that_of_the_scene_in_the_unit_of_the_poses(fused, four_views):
    errors = [
        ((depth - view.depth).abs() / view.depth)[kept]
        for depth, view, kept in zip(fused.depths, four_views, fused.supported, strict=True)
    ]
    assert float(torch.cat(errors).mean()) < 2e-3


def test_most_of_what_two_views_see_is_supported(fused):
    """The outer views look past the others at one side."""
    assert [float(kept.float().mean()) > 0.6 for kept in fused.supported] == [True] * 4
    assert float(fused.supported[1].float().mean()) > 0.9


def test_the_mesh_lies_within_half_a_voxel_of_the_surface(fused):
    away = surface_distance(fused.mesh.vertices) / fused.voxel
    assert fused.voxel == VOXEL
    assert float(away.quantile(0.95)) < 0.5
    assert float(away.median()) < 0.1


def test_faces_wind_toward_the_cameras_and_normals_agree(fused, cameras):
    a, b, c = fused.mesh.vertices[fused.mesh.faces].unbind(1)
    facing = torch.linalg.cross(b - a, c - a)
    middle = torch.stack([camera.world_from_camera[:3, 3] for camera in cameras]).mean(0)
    assert float((((middle - a) * facing).sum(-1) > 0).float().mean()) > 0.99
    assert fused.mesh.normals is not None
    assert torch.allclose(fused.mesh.normals.norm(dim=-1), torch.tensor(1.0), atol=1e-4)
    at_corner = fused.mesh.normals[fused.mesh.faces].mean(1)
    assert float(((at_corner * facing).sum(-1) > 0).float().mean()) > 0.99


def test_the_floor_is_below_and_faces_up(fused):
    """The world is OpenCV's: the floor is at y = 1.5, and up is -y."""
    vertices, normals = fused.mesh.vertices, fused.mesh.normals
    assert normals is not None
    floor = (vertices[:, 1] - 1.5).abs() < 0.05
    inner = floor & (vertices[:, 0].abs() < 1.5) & (vertices[:, 2] < 5.5)
    assert int(inner.sum()) > 50
    assert float(normals[inner, 1].median()) < -0.99


def test_colours_are_those_of_the_surface(fused):
    assert fused.mesh.colours is not None
    away = (fused.mesh.colours - paint(fused.mesh.vertices)).abs().mean()
    assert float(away) < 0.08  # the pictures are coarse: 64 pixels across


def test_everything_is_on_the_cpu_and_of_its_documented_type(fused):
    assert fused.mesh.vertices.dtype == torch.float32
    assert fused.mesh.faces.dtype == torch.int64
    assert [d.shape for d in fused.depths] == [(HEIGHT, WIDTH)] * 4
    assert all(kept.dtype == torch.bool for kept in fused.supported)


def test_without_pictures_there_are_no_colours(predictions, cameras):
    made = fuse_views(predictions, cameras, options=COARSE)
    assert made.mesh.colours is None


def test_without_a_size_voxels_are_a_256th_of_the_scene(predictions, cameras, monkeypatch):
    """The room is about 6.5 m along its longest visible side."""
    from lotus_core.geometry.multiview import fusion

    monkeypatch.setattr(fusion, "VOXELS_ACROSS", 48)
    made = fuse_views(predictions, cameras)
    assert 4.0 / 48 < made.voxel < 9.0 / 48


def test_masked_pixels_are_not_in_the_mesh(predictions, cameras):
    """Everything in the left half of every picture is masked: nothing of the surface projects there only."""
    mask = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    mask[:, : WIDTH // 2] = False
    made = fuse_views(predictions, cameras, masks=[mask] * 4, options=COARSE)
    assert not any(kept[:, : WIDTH // 2].any() for kept in made.supported)
    seen = torch.zeros(len(made.mesh.vertices), dtype=torch.bool)
    for camera in cameras:
        local = transform_points(made.mesh.vertices, camera.camera_from_world)
        pixels, depth = project(local[None], camera.intrinsics[None])
        x, y = pixels[0].unbind(-1)
        seen |= (depth[0] > 0) & (x >= WIDTH / 2 - 4) & (x < WIDTH + 1) & (y > -1) & (y < HEIGHT + 1)
    assert float(seen.float().mean()) > 0.99


def test_a_view_of_another_size_takes_part(four_views):
    large = see(look_from(0.4, -0.1, 0.3, height=60, width=90))
    seen = [*four_views[:3], large]
    made = fuse_views([predict(v) for v in seen], [v.camera for v in seen], options=COARSE)
    assert made.depths[3].shape == (60, 90)
    error = ((made.depths[3] - large.depth).abs() / large.depth)[made.supported[3]]
    assert float(error.mean()) < 5e-3


def test_support_of_none_keeps_what_one_view_alone_sees(predictions, cameras):
    all_kept = fuse_views(predictions, cameras, options=replace(COARSE, least_support=0))
    both = fuse_views(predictions, cameras, options=COARSE)
    for more, less in zip(all_kept.supported, both.supported, strict=True):
        assert not (less & ~more).any()
        assert int(more.sum()) > int(less.sum())


def test_noise_of_single_views_averages_out(four_views):
    """Independent blotches of 2 % in every view: the fused depth errs less than the aligned maps do."""
    generator = torch.Generator().manual_seed(4)
    noisy = []
    for view in four_views:
        blotches = torch.nn.functional.interpolate(
            torch.randn(1, 1, 6, 8, generator=generator), (HEIGHT, WIDTH), mode="bilinear"
        )[0, 0]
        noisy.append(predict(replace(view, depth=view.depth * (1 + 0.02 * blotches))))
    made = fuse_views(
        noisy,
        [view.camera for view in four_views],
        images=[view.picture for view in four_views],
        options=replace(COARSE, refine=False),
    )
    before, after = [], []
    for index, view in enumerate(four_views):
        kept = made.supported[index]
        plain = made.alignment.resolve_depth(index, noisy[index].depth.values[0])
        for depth, errors in ((plain, before), (made.depths[index], after)):
            errors.append(((depth - view.depth).abs() / view.depth)[kept])
    assert float(torch.cat(after).mean()) < 0.9 * float(torch.cat(before).mean())


def test_progress_is_told_from_the_first_step_to_the_last(predictions, cameras):
    heard = []
    fuse_views(predictions, cameras, options=COARSE, progress=lambda done, total: heard.append((done, total)))
    assert {total for _, total in heard} == {16}
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[0][0] > 0
    assert heard[-1][0] == 16


def test_whoever_hears_of_progress_may_stop_it(predictions, cameras):
    class Stop(BaseException):
        pass

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        fuse_views(predictions, cameras, options=COARSE, progress=stop)


def test_nothing_given_is_changed(predictions, cameras):
    before = [p.depth.values.clone() for p in predictions]
    fuse_views(predictions, cameras, options=COARSE)
    assert all(torch.equal(p.depth.values, b) for p, b in zip(predictions, before, strict=True))


@pytest.mark.parametrize(
    ("named", "wording"),
    [
        ({"voxel": 0.0}, "voxel must be a positive length"),
        ({"voxel": float("nan")}, "voxel must be a positive length"),
        ({"least_support": 7}, "least_support must be a whole number from 0 to 6"),
        ({"least_support": True}, "least_support must be a whole number from 0 to 6"),
        ({"least_agreement": 1.2}, "least_agreement must be a share from 0 to 1"),
    ],
)
def test_options_outside_their_range_are_refused(named, wording):
    with pytest.raises(OptionError, match=wording):
        FusionOptions(**named)


def test_a_camera_of_another_size_is_refused(predictions, cameras):
    cameras[0] = look_from(0.0, 0.0, 0.0, height=20, width=30)
    with pytest.raises(ShapeError, match="the map of view 0"):
        fuse_views(predictions, cameras)


def test_a_wrong_pose_gives_no_mesh(predictions, cameras):
    cameras[1] = turned(cameras[1], 30.0)
    with pytest.raises(GeometryError, match=r"view 1|match"):
        fuse_views(predictions, cameras)


def test_views_that_share_nothing_give_no_mesh():
    cameras = [look_from(0.0, 0.0, 2.0), look_from(0.1, 0.0, 1.5, at=(0.1, 0.0, -2.0))]
    with pytest.raises(GeometryError, match="shares nothing"):
        fuse_views([predict(see(c)) for c in cameras], cameras)


def test_more_support_than_there_are_views_gives_no_mesh():
    seen = [see(camera) for camera in arc(2, spread_deg=20.0)]
    with pytest.raises(GeometryError, match="no view supports another"):
        fuse_views(
            [predict(v) for v in seen], [v.camera for v in seen], options=replace(COARSE, least_support=3)
        )


def test_without_a_surface_the_whole_is_refused_also_with_a_given_voxel(predictions, cameras):
    masks = [torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)] * 4
    with pytest.raises(GeometryError, match="view 0"):
        fuse_views(predictions, cameras, masks=masks, options=COARSE)
