from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lotus_core.training.scenes import Light, Optics, Sky, render
from lotus_core.training.scenes.shading import expose, shade, sky_colour
from lotus_core.training.scenes.tracing import Pairs, trace
from tests.core.training.scenes.worlds import along_y, builder, white_sky, world

GREY = Optics(exposure=0.3, white_balance=torch.ones(3), contrast=1.0, noise=0.0, vignette=0.0)


def noise():
    return torch.Generator().manual_seed(0)


def gradient_sky(clouds=0.0):
    low, high = torch.tensor([1.0, 0.8, 0.6]), torch.tensor([0.1, 0.3, 0.9])
    return Sky(low, high, clouds, 0.3, torch.ones(3), torch.ones(3), math.inf)


def wall(colour=(0.5, 0.25, 0.1), lights=(), gloss=0.0, sky=None):
    """A plain plate that faces the camera at (0, 0, 1), two metres away."""
    made = builder()
    material = made.material(("plain",), colour=colour)
    made.add("box", (0.0, 2.5, 1.0), (2.0, 0.5, 2.0), material)
    scene = world(made, lights=lights)
    materials = replace(scene.materials, gloss=torch.full_like(scene.materials.gloss, gloss))
    return replace(scene, materials=materials, sky=sky or white_sky())


def light_of(scene, direction=(0.0, 1.0, 0.0)):
    directions = torch.tensor([direction])
    origin = torch.tensor([0.0, 0.0, 1.0])
    hits = trace(scene, origin, directions, Pairs(torch.tensor([0]), torch.tensor([0])))
    return shade(scene, origin, directions, hits, 1e-3)[0]


def test_the_sky_goes_from_horizon_to_zenith():
    colours = sky_colour(gradient_sky(), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.8, -0.6]]))
    assert colours[0].tolist() == pytest.approx([1.0, 0.8, 0.6])
    assert colours[1].tolist() == pytest.approx([0.1, 0.3, 0.9])
    assert colours[2].tolist() == pytest.approx([1.0, 0.8, 0.6])  # below the horizon


def test_clouds_change_the_sky_but_not_the_horizon():
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=noise()).abs(), dim=-1)
    clear, cloudy = sky_colour(gradient_sky(), directions), sky_colour(gradient_sky(0.8), directions)
    assert float((clear - cloudy).abs().max()) > 0.1
    level = torch.tensor([[0.6, 0.8, 0.0]])
    assert torch.allclose(sky_colour(gradient_sky(), level), sky_colour(gradient_sky(0.8), level))


def test_rays_that_miss_see_the_sky():
    assert light_of(wall(), (0.0, -1.0, 0.0)).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_ambient_light_is_reflected_by_the_surface_s_colour():
    # A wall stands half between up and down; both give 0.3.
    assert light_of(wall()).tolist() == pytest.approx([0.15, 0.075, 0.03], rel=1e-4)


@pytest.mark.parametrize(("angle", "cosine"), [(0.0, 1.0), (60.0, 0.5), (80.0, 0.1736)])
def test_sunlight_falls_with_the_cosine(angle, cosine):
    radians = math.radians(angle)
    towards = torch.tensor([math.sin(radians), -math.cos(radians), 0.0])
    sun = Light(towards, torch.full((3,), 2.0), is_sun=True)
    extra = light_of(wall(lights=(sun,))) - light_of(wall())
    assert extra.tolist() == pytest.approx([0.5 * 2 * cosine, 0.25 * 2 * cosine, 0.1 * 2 * cosine], rel=1e-3)


def test_the_light_of_a_lamp_falls_with_the_squared_distance():
    near = Light(torch.tensor([0.0, 1.0, 1.0]), torch.ones(3), is_sun=False)
    far = Light(torch.tensor([0.0, 0.0, 1.0]), torch.ones(3), is_sun=False)
    base = light_of(wall())
    ratio = (light_of(wall(lights=(near,))) - base) / (light_of(wall(lights=(far,))) - base)
    assert ratio.tolist() == pytest.approx([4.0] * 3, rel=1e-3)


def test_light_from_behind_adds_nothing():
    sun = Light(torch.tensor([0.0, 1.0, 0.0]), torch.full((3,), 2.0), is_sun=True)
    assert torch.allclose(light_of(wall(lights=(sun,))), light_of(wall()))


def test_glossy_surfaces_have_a_highlight_in_the_light_s_colour():
    sun = Light(torch.tensor([0.0, -1.0, 0.0]), torch.tensor([1.0, 2.0, 3.0]), is_sun=True)
    extra = light_of(wall(lights=(sun,), gloss=0.5)) - light_of(wall(lights=(sun,)))
    assert extra.tolist() == pytest.approx([0.5, 1.0, 1.5], rel=1e-3)  # the mirror direction is the camera's


def test_haze_mixes_in_the_horizon():
    # Two metres away at a haze distance of two metres: 1 - 1 / e of the light is haze.
    plain, hazy = wall(), wall(sky=white_sky(haze_distance=2.0))
    share = 1 - math.exp(-1)
    expected = (1 - share) * light_of(plain) + share
    assert light_of(hazy).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_exposure_brings_any_light_to_the_same_picture():
    linear = torch.rand(20, 30, 3, generator=noise()) + 0.2
    dim, _ = expose(linear, GREY, None, noise())
    bright, gain = expose(50 * linear, GREY, None, noise())
    assert torch.allclose(dim, bright, atol=1e-4)
    assert gain == pytest.approx(0.3 / float(50 * linear.mean()), rel=1e-3)


def test_a_given_gain_is_used_as_it_is():
    picture, gain = expose(torch.full((2, 2, 3), 0.5), GREY, 1.0, noise())
    assert gain == 1.0
    # Light 0.5: tone 0.5 * (1 + 0.5 / 9) / 1.5, then a gamma of 2.2
    assert float(picture[0, 0, 0]) == pytest.approx((0.5 * (1 + 0.5 / 9) / 1.5) ** (1 / 2.2), rel=1e-4)


def test_brighter_light_never_gives_a_darker_pixel():
    ramp = torch.linspace(0, 20, 100).view(1, 100, 1).expand(1, 100, 3)
    picture, _ = expose(ramp, GREY, 1.0, noise())
    assert float(picture[0, :, 0].diff().min()) >= 0.0
    assert float(picture.max()) <= 1.0


def test_a_vignette_darkens_the_corners():
    picture, _ = expose(torch.full((21, 21, 3), 0.3), replace(GREY, vignette=0.5), 1.0, noise())
    assert float(picture[0, 0, 0]) < float(picture[10, 10, 0])


def test_white_balance_tints_the_picture():
    tinted = replace(GREY, white_balance=torch.tensor([1.2, 1.0, 0.8]))
    picture, _ = expose(torch.full((2, 2, 3), 0.3), tinted, 1.0, noise())
    assert float(picture[0, 0, 0]) > float(picture[0, 0, 1]) > float(picture[0, 0, 2])


def test_sensor_noise_has_its_standard_deviation():
    picture, _ = expose(torch.full((100, 100, 3), 0.3), replace(GREY, noise=0.02), 1.0, noise())
    assert float(picture.std()) == pytest.approx(0.02, rel=0.05)


def test_a_lit_scene_has_finite_colours():
    sun = Light(torch.tensor([0.0, 0.0, 1.0]), torch.ones(3), is_sun=True)
    assert bool(render(wall(lights=(sun,)), along_y()).rgb.isfinite().all())
