import pytest
import torch

from lotus_core.video.affine import Spread, fit_affine, spread


def spreads(y, valid):
    parts = [spread(row, ok) for row, ok in zip(y, valid, strict=True)]
    return Spread(torch.stack([p.median for p in parts]), torch.stack([p.mad for p in parts]))


def fit(x, y, valid=None, weight=None):
    valid = torch.ones_like(y, dtype=torch.bool) if valid is None else valid
    return fit_affine(x, y, valid, spread(x, torch.ones_like(x, dtype=torch.bool)), spreads(y, valid), weight)


@pytest.fixture
def x():
    return torch.rand(4000, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def noise(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_spread_is_median_and_median_absolute_deviation_of_the_valid_values():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 1000.0])
    found = spread(values, torch.tensor([True] * 5 + [False]))
    assert found.median == 3.0
    assert found.mad == 1.0


def test_spread_of_nothing_is_zero():
    found = spread(torch.rand(5), torch.zeros(5, dtype=torch.bool))
    assert found.median == 0.0
    assert found.mad == 0.0


def test_an_exact_affine_map_is_found(x):
    fits = fit(x, (2.0 * x + 1.0)[None])
    assert fits.scale[0] == pytest.approx(2.0, abs=1e-4)
    assert fits.shift[0] == pytest.approx(1.0, abs=1e-4)
    assert fits.inliers[0] == pytest.approx(1.0)


def test_several_maps_are_fitted_each_by_itself(x):
    y = torch.stack([x, 0.5 * x + 0.1, 1.5 * x - 0.2])
    fits = fit(x, y)
    torch.testing.assert_close(fits.scale, torch.tensor([1.0, 0.5, 1.5]), atol=1e-4, rtol=0)
    torch.testing.assert_close(fits.shift, torch.tensor([0.0, 0.1, -0.2]), atol=1e-4, rtol=0)


def test_noise_on_both_maps_does_not_shrink_the_scale(x):
    """Ordinary least squares would give 1 / (1 + sd_noise^2 / sd_x^2) = 0.80 here."""
    sd = float(x.std())
    fits = fit(x + 0.5 * sd * noise(x.shape, 1), (x + 0.5 * sd * noise(x.shape, 2))[None])
    assert fits.scale[0] == pytest.approx(1.0, abs=0.04)


def test_a_third_of_outliers_is_ignored(x):
    y = 0.8 * x + 0.05 + 0.002 * noise(x.shape, 3)
    y[: len(x) // 3] += 0.5
    fits = fit(x, y[None])
    assert fits.scale[0] == pytest.approx(0.8, abs=0.01)
    assert fits.shift[0] == pytest.approx(0.05, abs=0.01)
    assert fits.inliers[0] == pytest.approx(2 / 3, abs=0.02)


def test_unrelated_maps_have_few_inliers(x):
    fits = fit(x, torch.rand((1, len(x)), generator=torch.Generator().manual_seed(9)))
    assert fits.inliers[0] < 0.4


def test_invalid_pixels_do_not_count(x):
    y = (1.2 * x)[None].clone()
    valid = torch.ones_like(y, dtype=torch.bool)
    y[0, :1000], valid[0, :1000] = 0.0, False
    fits = fit(x, y, valid)
    assert fits.scale[0] == pytest.approx(1.2, abs=1e-3)
    assert fits.inliers[0] == pytest.approx(1.0)


def test_a_weight_decides_between_two_equal_halves(x):
    y = torch.where(torch.arange(len(x)) % 2 == 0, x, 1.3 * x - 0.1)[None]
    weight = torch.where(torch.arange(len(x)) % 2 == 0, 1.0, 0.02)
    assert fit(x, y, weight=weight).scale[0] == pytest.approx(1.0, abs=0.03)
    assert fit(x, y, weight=weight.flip(0)).scale[0] == pytest.approx(1.3, abs=0.03)


def test_a_constant_map_has_no_fit(x):
    assert fit(x, torch.full((1, len(x)), 0.5)).inliers[0] == 0.0
    flat = torch.full_like(x, 0.5)
    assert fit(flat, x[None]).inliers[0] == 0.0


def test_no_valid_pixel_has_no_fit(x):
    y = x[None].clone()
    fits = fit(x, y, torch.zeros_like(y, dtype=torch.bool))
    assert fits.inliers[0] == 0.0
    assert torch.isfinite(fits.scale).all()
    assert torch.isfinite(fits.shift).all()


def test_fits_forth_and_back_are_each_others_inverse(x):
    y = 1.4 * x - 0.1 + 0.01 * noise(x.shape, 4)
    forth, back = fit(x, y[None]), fit(y, x[None])
    assert float(forth.scale[0] * back.scale[0]) == pytest.approx(1.0, abs=2e-3)
