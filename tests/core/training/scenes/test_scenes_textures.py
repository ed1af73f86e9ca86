from __future__ import annotations

import pytest
import torch

from lotus_core.training.scenes.textures import LEVELS, PATTERNS, SIZE, atlas, fractal_noise, sample


def sampled(name, uv, footprint=1e-4):
    uv = torch.as_tensor(uv, dtype=torch.float32).reshape(-1, 2)
    layer = torch.full((uv.shape[0],), PATTERNS.index(name))
    return sample(layer, uv, torch.full((uv.shape[0],), footprint))


def grid(count=64):
    axis = (torch.arange(count) + 0.5) / count
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)


def test_the_atlas_holds_every_level_of_every_pattern():
    texels = sum((SIZE >> level) ** 2 for level in range(LEVELS))
    assert atlas().shape == (len(PATTERNS), texels)
    assert float(atlas().min()) >= 0.0
    assert float(atlas().max()) <= 1.0


def test_the_atlas_is_always_the_same():
    first = atlas().clone()
    atlas.cache_clear()
    assert torch.equal(first, atlas())


def test_plain_is_zero_everywhere():
    assert float(sampled("plain", grid()).abs().max()) == 0.0


def test_a_checkerboard_has_its_squares():
    # Four squares to a tile: centres at 1/8, 3/8, ...
    assert sampled("checker", [[0.125, 0.125], [0.375, 0.125], [0.375, 0.375], [0.125, 0.375]]).tolist() == [
        0,
        1,
        0,
        1,
    ]


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_repeat_every_tile(name):
    uv = grid(16)
    for shift in ([1.0, 0.0], [0.0, -2.0], [-3.0, 5.0]):
        assert torch.allclose(sampled(name, uv + torch.tensor(shift)), sampled(name, uv), atol=1e-3)


@pytest.mark.parametrize("name", ["clouds", "marble", "plaster", "wood"])
def test_noisy_patterns_have_no_seam_at_the_tile_s_border(name):
    across = torch.linspace(0.0, 1.0, 50)
    step = 0.5 / SIZE
    left = sampled(name, torch.stack([torch.full_like(across, 1 - step), across], dim=-1))
    right = sampled(name, torch.stack([torch.full_like(across, step), across], dim=-1))
    inside = sampled(name, torch.stack([torch.full_like(across, 0.5 + 2 * step), across], dim=-1))
    beside = sampled(name, torch.stack([torch.full_like(across, 0.5 + 4 * step), across], dim=-1))
    assert float((left - right).abs().mean()) < 3 * float((inside - beside).abs().mean()) + 0.05


@pytest.mark.parametrize("name", [name for name in PATTERNS if name != "plain"])
def test_patterns_vary(name):
    assert float(sampled(name, grid()).std()) > 0.02


@pytest.mark.parametrize("name", PATTERNS)
def test_far_away_a_pattern_fades_to_its_mean(name):
    near, far = sampled(name, grid()), sampled(name, grid(), footprint=10.0)
    assert float(far.std()) < 0.05
    assert float(far.mean()) == pytest.approx(float(near.mean()), abs=0.05)


def test_detail_falls_with_the_footprint():
    spreads = [
        float(sampled("speckle", grid(), footprint).std()) for footprint in (1 / 128, 4 / 128, 16 / 128)
    ]
    assert spreads[0] > spreads[1] > spreads[2]


def test_values_are_interpolated_between_texels():
    texel = 1.0 / SIZE
    first, second = (3.5 * texel, 9.5 * texel), (4.5 * texel, 9.5 * texel)
    ends = sampled("clouds", [first, second])
    middle = sampled("clouds", [(4.0 * texel, 9.5 * texel)])
    assert float(middle) == pytest.approx(float(ends.mean()), abs=1e-5)


def test_fractal_noise_fills_its_range():
    noise = fractal_noise(torch.Generator().manual_seed(0))
    assert noise.shape == (SIZE, SIZE)
    assert float(noise.min()) == 0.0
    assert float(noise.max()) == 1.0
