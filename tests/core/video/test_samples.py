import torch

from lotus_core.video.samples import Sample, pack_samples, take_sample, unpack_samples

from .scenes import relief, textured


def test_a_sample_holds_every_sixth_pixel_at_768():
    values = torch.rand(432, 768)
    assert torch.equal(take_sample(values, None).values, values[::6, ::6].flatten())


def test_clipped_values_are_not_valid():
    values = torch.tensor([[0.0, 0.003, 0.5], [0.999, 1.0, 0.2]])
    sample = take_sample(values, None)
    assert sample.valid.tolist() == [False, False, True, False, False, True]


def test_the_spread_is_that_of_the_valid_values():
    values = torch.cat([torch.zeros(40), torch.tensor([0.4, 0.5, 0.6])]).view(1, -1)
    assert take_sample(values, None).spread.median == 0.5


def test_a_fresh_sample_has_no_correction():
    sample = take_sample(relief(), textured())
    assert (sample.scale, sample.shift) == (1.0, 0.0)
    assert sample.thumbnail is not None


def same(a: Sample, b: Sample):
    assert torch.equal(a.values, b.values)
    assert torch.equal(a.valid, b.valid)
    assert a.spread.median == b.spread.median
    assert a.spread.mad == b.spread.mad
    assert (a.scale, a.shift) == (b.scale, b.shift)
    assert (a.thumbnail is None) == (b.thumbnail is None)
    if a.thumbnail is not None:
        assert torch.equal(a.thumbnail, b.thumbnail)


def test_packed_samples_come_back_as_they_were():
    samples = [
        Sample(**{**vars(take_sample(relief() * k, textured(seed=k))), "scale": 1.0 + k, "shift": -0.1 * k})
        for k in range(1, 4)
    ]
    packed = pack_samples("recent", samples)
    assert all(name.startswith("recent.") for name in packed)
    for a, b in zip(samples, unpack_samples("recent", packed), strict=True):
        same(a, b)


def test_samples_without_pictures_come_back_without():
    packed = pack_samples("s", [take_sample(relief(), None)])
    same(unpack_samples("s", packed)[0], take_sample(relief(), None))


def test_no_samples_pack_to_nothing():
    assert pack_samples("s", []) == {}
    assert unpack_samples("s", {}) == []
