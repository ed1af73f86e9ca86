import pytest
import torch

from lotus_core.errors import LotusWarning, NonFiniteError
from lotus_core.inference.image import working_size
from lotus_core.inference.stages import Stages

from .models import BlockCodec, FakePlacement, passing_model

SIZE = working_size(32, 32, 0)
IMAGES = torch.full((1, 32, 32, 3), 0.75)


class OverflowingCodec(BlockCodec):
    """Goes through numbers beyond 65504, like a VAE whose activations do not fit fp16."""

    def decode(self, x0):
        return (super().decode(x0) * 3e5) / 3e5

    def encode(self, rgb):
        return (super().encode(rgb) * 3e5) / 3e5


class BrokenCodec(BlockCodec):
    def decode(self, x0):
        return super().decode(x0) * float("nan")


def test_the_three_stages_follow_each_other():
    stages = Stages(passing_model())
    latents = stages.encode(IMAGES, SIZE)
    assert latents.shape == (1, 4, 4, 4)
    maps = stages.decode(stages.denoise(latents, None, "annotation"), SIZE)
    torch.testing.assert_close(maps, torch.full((1, 3, 32, 32), 0.75))


def test_every_stage_asks_whether_to_stop():
    placement = FakePlacement()
    stages = Stages(passing_model(placement=placement))
    stages.decode(stages.denoise(stages.encode(IMAGES, SIZE), None, "annotation"), SIZE)
    assert placement.checks == 3


def test_overflow_in_fp16_is_computed_again_in_fp32_and_said():
    codec = OverflowingCodec()
    stages = Stages(passing_model(codec=codec, placement=FakePlacement(torch.float16)))
    with pytest.warns(LotusWarning, match=r"overflowed in float16 and was computed again in fp32: set precision"):
        latents = stages.encode(IMAGES, SIZE)
    torch.testing.assert_close(latents, torch.full((1, 4, 4, 4), 0.5), atol=1e-3, rtol=0)
    assert codec.dtypes == [torch.float16, torch.float32]


def test_after_one_overflow_the_part_stays_in_fp32():
    codec = OverflowingCodec()
    stages = Stages(passing_model(codec=codec, placement=FakePlacement(torch.float16)))
    with pytest.warns(LotusWarning):
        latents = stages.encode(IMAGES, SIZE)
    stages.decode(latents, SIZE)
    assert codec.dtypes == [torch.float16, torch.float32, torch.float32]


def test_nan_in_fp32_is_an_error_that_names_the_weights():
    stages = Stages(passing_model(codec=BrokenCodec()))
    with pytest.raises(NonFiniteError, match=r"decoding with test-depth-d gives NaN or infinity in fp32.*damaged"):
        stages.decode(torch.zeros(1, 4, 4, 4), SIZE)


def test_nan_in_fp16_and_in_fp32_is_an_error():
    stages = Stages(passing_model(codec=BrokenCodec(), placement=FakePlacement(torch.float16)))
    with pytest.warns(LotusWarning), pytest.raises(NonFiniteError):
        stages.decode(torch.zeros(1, 4, 4, 4), SIZE)
