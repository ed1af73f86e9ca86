"""Eight views of a scene of the repository's own renderer: rooms with boxes, balls and cylinders, exact depth."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lotus_core.geometry.anchors import DepthAnchors
from lotus_core.geometry.multiview import FusionOptions, fuse_views
from lotus_core.training.scenes import Frame, render, sample_views
from tests.core.geometry.multiview.rig import View, predict

HEIGHT, WIDTH, COUNT = 60, 80, 8


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    scene, cameras = sample_views(1, COUNT, layout="showroom", height=HEIGHT, width=WIDTH, arc_deg=40.0)
    return [render(scene, camera) for camera in cameras]


def blotches(generator: torch.Generator) -> torch.Tensor:
    """Smooth noise of unit deviation, (H, W)."""
    coarse = torch.randn(1, 1, HEIGHT // 6, WIDTH // 6, generator=generator)
    fine = functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic")[0, 0]
    return fine / fine.std()


def sparse_points(frames: list[Frame]) -> DepthAnchors:
    """Known depths of some pixels of each view, 1 % off, as structure from motion finds them."""
    generator = torch.Generator().manual_seed(5)
    views, pixels, depths = [], [], []
    for index, frame in enumerate(frames):
        row, column = (torch.randint(2, side - 2, (40,), generator=generator) for side in (HEIGHT, WIDTH))
        views.append(torch.full((40,), index))
        pixels.append(torch.stack([column, row], dim=-1) + 0.5)
        depths.append(frame.depth[row, column] * (1 + 0.01 * torch.randn(40, generator=generator)))
    return DepthAnchors(torch.cat(views), torch.cat(pixels), torch.cat(depths))


def fuse(frames: list[Frame], kind, noise: float = 0.0, degrees: float = 0.0, anchors=None):
    """Fuse maps whose depth errs by a share and whose normals err by an angle."""
    generator = torch.Generator().manual_seed(3)
    predictions = []
    for frame in frames:
        depth = frame.depth * (1 + noise * blotches(generator))
        wrong = (
            torch.stack([blotches(generator) for _ in range(3)], dim=-1) * degrees * torch.pi / 180 / 2**0.5
        )
        normals = functional.normalize(frame.normals + wrong, dim=-1)
        predictions.append(predict(View(frame.camera, depth, normals, frame.rgb), kind))
    return fuse_views(
        predictions,
        [frame.camera for frame in frames],
        anchors,
        images=[frame.rgb for frame in frames],
        options=FusionOptions(voxel=0.12),
    )


def errors(fused, frames) -> tuple[float, float]:
    """AbsRel of the fused pixels in metres, and the standard deviation of the views' scales."""
    relative, scales = [], []
    for depth, kept, frame in zip(fused.depths, fused.supported, frames, strict=True):
        ratio = (depth / frame.depth)[kept]
        relative.append((ratio - 1).abs())
        scales.append(ratio.log().median())
    return float(torch.cat(relative).mean()), float(torch.stack(scales).std())


@pytest.fixture(scope="module", params=["depth", "disparity"])
def exact(request, frames):
    """Return what exact maps fuse to."""
    return fuse(frames, request.param)


def test_exact_maps_fuse_to_a_few_thousandths_in_metres(exact, frames):
    """The bar of one thousandth is for 256 x 192 (see benchmarks): a tenth as many pixels know less."""
    error, spread = errors(exact, frames)
    assert error < 4e-3
    assert spread < 2e-3
    assert float(exact.alignment.agreement.agreement.min()) > 0.95


@pytest.mark.parametrize(("kind", "bar"), [("depth", 0.03), ("disparity", 0.045)])
def test_maps_with_errors_of_a_network_stay_within_their_bar(kind, bar, frames):
    """2 % of depth and 6 degrees of normals; sparse points fix what so few pixels leave open."""
    error, spread = errors(fuse(frames, kind, 0.02, 6.0, sparse_points(frames)), frames)
    assert error < bar
    assert spread < 0.01


def test_the_surface_faces_its_cameras(exact, frames):
    mesh = exact.mesh
    middle = torch.stack([f.camera.world_from_camera[:3, 3] for f in frames]).mean(0)
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    toward = ((middle - a) * torch.linalg.cross(b - a, c - a)).sum(-1) > 0
    assert float(toward.float().mean()) > 0.95


def test_the_floor_of_the_room_is_at_height_zero(exact):
    """The renderer's world has z up and the floor at z = 0: the world of the poses is kept."""
    mesh = exact.mesh
    assert mesh.normals is not None
    up = mesh.normals[:, 2] > 0.98
    low = up & (mesh.vertices[:, 2] < 0.15)
    assert int(low.sum()) > 50
    assert float(mesh.vertices[low, 2].median()) == pytest.approx(0.0, abs=0.03)
    assert float(mesh.vertices[:, 2].quantile(0.002)) > -0.1  # nothing lies under the floor
