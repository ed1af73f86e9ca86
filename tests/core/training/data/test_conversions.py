"""Conversions of the training data against the published preparation, written a second time in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.training.data.hypersim import camera_normals, z_depth
from lotus_core.training.data.plane_fit import PlaneFit, normals_by_plane_fit

SEEDS = st.integers(0, 2**31)


def published_distance_to_depth(distance: np.ndarray) -> np.ndarray:
    """z-depth of a 1024 x 768 map by the focal length of 886.81 pixels that Hypersim's authors give."""
    height, width = distance.shape
    x = np.linspace(-0.5 * width + 0.5, 0.5 * width - 0.5, width)[None].repeat(height, 0)
    y = np.linspace(-0.5 * height + 0.5, 0.5 * height - 0.5, height)[:, None].repeat(width, 1)
    plane = np.stack([x, y, np.full_like(x, 886.81)], axis=2)
    return distance / np.linalg.norm(plane, axis=2) * 886.81


def test_depths_agree_with_the_published_formula():
    distance = np.random.default_rng(0).uniform(0.5, 30.0, (768, 1024))
    found = z_depth(torch.from_numpy(distance)).numpy()
    assert np.allclose(found, published_distance_to_depth(distance), rtol=2e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_depth_is_the_third_coordinate_of_the_point(seed):
    # points in space, their distance from the camera, and back
    rng = np.random.default_rng(seed)
    height, width = 12, 16
    focal = width / 2 / np.tan(np.radians(30))
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    z = rng.uniform(0.5, 20.0, (height, width))
    distance = z * np.sqrt(x[None] ** 2 + y[:, None] ** 2 + 1)
    assert np.allclose(z_depth(torch.from_numpy(distance)).numpy(), z, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_normals_face_the_camera_whatever_their_first_sense(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(8, 10, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    once = camera_normals(torch.from_numpy(vectors))
    turned = camera_normals(torch.from_numpy(vectors * rng.choice([-1.0, 1.0], (8, 10, 1))))
    assert torch.allclose(once, turned)
    assert torch.allclose(once.norm(dim=0), torch.ones(8, 10, dtype=torch.float64))
    focal = 5 / np.tan(np.radians(30))
    x = (np.arange(10) + 0.5 - 5) / focal
    y = (np.arange(8) + 0.5 - 4) / focal
    ray_x, ray_y = np.meshgrid(x, y)
    opencv = -once.numpy()  # Lotus's axes are OpenCV's turned round
    assert float((opencv[0] * ray_x + opencv[1] * ray_y + opencv[2]).max()) <= 1e-9


def svd_normals(points: np.ndarray, side: int) -> np.ndarray:
    """Normal of every inner pixel: the direction of least spread of the points around it."""
    reach = side // 2
    height, width = points.shape[:2]
    normals = np.zeros_like(points)
    for row in range(reach, height - reach):
        for column in range(reach, width - reach):
            near = points[row - reach : row + reach + 1, column - reach : column + reach + 1].reshape(-1, 3)
            normal = np.linalg.svd(near - near.mean(0))[2][-1]
            normals[row, column] = -normal if normal @ points[row, column] > 0 else normal
    return normals


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fitted_planes_agree_with_the_points_own_least_spread(seed):
    # a smooth bowl: both fits see the same neighbours and differ only in what they call an error
    rng = np.random.default_rng(seed)
    height, width, focal = 20, 24, 30.0
    k = torch.tensor([[focal, 0, 12], [0, focal, 10], [0, 0, 1]], dtype=torch.float64)
    x = (np.arange(width) + 0.5 - 12) / focal
    y = (np.arange(height) + 0.5 - 10) / focal
    ray = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
    a, b, c = rng.uniform(-0.8, 0.8, 3)
    depth = 4.0 + a * ray[..., 0] + b * ray[..., 1] + c * (ray[..., 0] ** 2 + ray[..., 1] ** 2)
    expected = svd_normals(ray * depth[..., None], 5)
    found = normals_by_plane_fit(
        torch.from_numpy(depth), torch.ones(height, width, dtype=torch.bool), k, PlaneFit(tolerance=10.0)
    ).numpy()
    inner = (slice(2, -2), slice(2, -2))
    cosine = (found[inner] * expected[inner]).sum(-1)
    assert float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max()) < 1.0


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_unit_of_depth_does_not_change_the_normals(seed):
    rng = np.random.default_rng(seed)
    depth = torch.from_numpy(2.0 + rng.random((10, 12)).cumsum(1) * 0.02)
    valid = torch.from_numpy(rng.random((10, 12)) < 0.9)
    k = torch.tensor([[30.0, 0, 6], [0, 30.0, 5], [0, 0, 1]])
    metres, centimetres = (normals_by_plane_fit(f * depth, valid, k) for f in (1.0, 100.0))
    assert torch.allclose(metres, centimetres, atol=2e-3)
