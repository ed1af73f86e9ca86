import pytest
import torch

from lotus_core.video.thumbnails import LONGEST, sampling_step, still_share, thumbnail

from .scenes import textured


@pytest.mark.parametrize(("size", "step"), [((432, 768), 6), ((576, 768), 6), ((96, 128), 1), ((40, 50), 1)])
def test_every_sixth_pixel_is_sampled_at_768(size, step):
    assert sampling_step(*size) == step


@pytest.mark.parametrize("size", [(1080, 1920), (432, 768), (100, 300)])
def test_a_thumbnail_is_about_128_long(size):
    small = thumbnail(torch.rand(*size, 3))
    assert 0.6 * LONGEST <= max(small.shape) <= 1.3 * LONGEST
    assert max(small.shape) / min(small.shape) == pytest.approx(max(size) / min(size), rel=0.05)


def test_a_thumbnail_is_luma():
    small = thumbnail(torch.tensor([1.0, 0.5, 0.25]).expand(256, 256, 3))
    assert float(small.mean()) == pytest.approx(0.299 + 0.587 * 0.5 + 0.114 * 0.25, abs=1e-5)


def test_a_single_pixel_has_a_thumbnail():
    assert thumbnail(torch.rand(1, 1, 3)).shape == (1, 1)


def test_the_same_picture_is_still():
    small = thumbnail(textured(192, 256))
    assert still_share(small, small) == 1.0


def test_a_shifted_picture_is_not_still():
    picture = textured(192, 256)
    assert still_share(thumbnail(picture), thumbnail(picture.roll(6, dims=1))) < 0.15


def test_a_covered_quarter_leaves_most_of_the_picture_still():
    picture = textured(192, 256)
    covered = picture.clone()
    covered[:96, :128] = textured(96, 128, seed=9)
    assert 0.5 < still_share(thumbnail(picture), thumbnail(covered)) < 0.95


def test_another_exposure_is_still():
    picture = textured(192, 256) * 0.6
    assert still_share(thumbnail(picture), thumbnail(picture * 1.4)) > 0.9


def test_a_blank_picture_says_nothing():
    blank = torch.full((96, 128), 0.5)
    assert still_share(blank, blank) == 0.0


def test_a_tiny_picture_says_nothing():
    tiny = torch.rand(8, 8)
    assert still_share(tiny, tiny) == 0.0
