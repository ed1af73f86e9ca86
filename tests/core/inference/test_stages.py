from __future__ import annotations

import logging

import pytest
import torch

from lotus_core.errors import LotusWarning, MemoryLimitError, NonFiniteError
from lotus_core.inference.folding import fold_vae
from lotus_core.inference.image import from_network, to_network, working_size
from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth
from lotus_core.inference.stages import Stages
from lotus_core.inference.strips import StripPass
from lotus_core.loading.checkpoint import load_parts

from .models import BlockCodec, FakePlacement, passing_model

SIZE = working_size(32, 32, 0)
IMAGES = torch.full((1, 32, 32, 3), 0.75)
TEXTURED = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))


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
    with pytest.warns(
        LotusWarning, match=r"overflowed in float16 and was computed again in fp32: set precision"
    ):
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
    with pytest.raises(
        NonFiniteError, match=r"decoding with test-depth-d gives NaN or infinity in fp32.*damaged"
    ):
        stages.decode(torch.zeros(1, 4, 4, 4), SIZE)


def test_nan_in_fp16_and_in_fp32_is_an_error():
    stages = Stages(passing_model(codec=BrokenCodec(), placement=FakePlacement(torch.float16)))
    with pytest.warns(LotusWarning), pytest.raises(NonFiniteError):
        stages.decode(torch.zeros(1, 4, 4, 4), SIZE)


@pytest.fixture(scope="module")
def small_codec():
    return fold_vae(load_parts("lotus-tiny-depth-d").vae.float())


@pytest.fixture
def cramped(small_codec, monkeypatch):
    """A model whose VAE never fits in one piece, and how often that was tried."""
    tried = []

    def out_of_memory(x):
        tried.append(len(x))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")

    whole = (small_codec.encode, small_codec.decode)
    monkeypatch.setattr(small_codec, "encode", out_of_memory)
    monkeypatch.setattr(small_codec, "decode", out_of_memory)
    return passing_model(codec=small_codec), tried, whole


def test_a_vae_without_room_goes_on_in_strips_with_the_same_result_and_says_so(cramped, caplog):
    model, tried, (encode, decode) = cramped
    stages = Stages(model)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        latents = stages.encode(TEXTURED, SIZE)
        maps = stages.decode(latents, SIZE)
        expected = encode(to_network(TEXTURED, SIZE))
        torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(maps, from_network(decode(expected), SIZE), atol=1e-5, rtol=0)
    assert "out of memory while encoding 32x32 pixels: going on strip by strip" in caplog.text
    assert "out of memory while decoding 32x32 pixels" in caplog.text
    assert tried == [1, 1]


def test_after_one_failure_the_stage_stays_in_strips(cramped):
    model, tried, _ = cramped
    stages = Stages(model)
    for _ in range(3):
        stages.encode(TEXTURED, SIZE)
    assert tried == [1]


def test_several_pictures_are_first_tried_one_by_one(cramped):
    model, tried, _ = cramped
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Stages(model).encode(TEXTURED.expand(3, -1, -1, -1), SIZE)
    depths = predict_depth(model, TEXTURED.expand(3, -1, -1, -1), InferenceOptions(resolution=0))
    assert depths.values.shape == (3, 32, 32)
    assert tried[:4] == [3, 3, 2, 1]


def test_strips_ask_for_little_memory_and_whether_to_stop(cramped):
    model, *_ = cramped
    Stages(model).encode(TEXTURED, SIZE)
    whole, strips = (asked[1] for asked in model.placement.asked)
    assert strips == 2 * 256 * 2**20  # what is free is plenty: as high as strips get
    assert whole > 0
    assert model.placement.checks > 5


class FewBytes(StripPass):
    """Runs out of memory with strips above a limit."""

    limit = 0
    seen: list[int] = []  # noqa: RUF012

    def __init__(self, device, dtype, strip_bytes, between_layers):
        super().__init__(device, dtype, strip_bytes, between_layers)
        self.strip_bytes = strip_bytes

    def encode(self, layers, rgb):
        self.seen.append(self.strip_bytes)
        if self.strip_bytes > self.limit:
            raise RuntimeError("MPS backend out of memory")
        return super().encode(layers, rgb)


def test_strips_become_lower_until_they_fit(cramped, monkeypatch):
    model, *_ = cramped
    monkeypatch.setattr("lotus_core.inference.stages.StripPass", FewBytes)
    monkeypatch.setattr(FewBytes, "limit", 20 * 2**20)
    monkeypatch.setattr(FewBytes, "seen", [])
    stages = Stages(model)
    stages.encode(TEXTURED, SIZE)
    stages.encode(TEXTURED, SIZE)
    assert [size // 2**20 for size in FewBytes.seen] == [256, 64, 16, 16]


def test_a_vae_that_does_not_even_fit_row_by_row_says_what_to_do(cramped, monkeypatch):
    model, *_ = cramped
    monkeypatch.setattr("lotus_core.inference.stages.StripPass", FewBytes)
    with pytest.raises(
        MemoryLimitError, match=r"encoding with test-depth-d does not fit the memory of cpu, not even row"
    ):
        Stages(model).encode(TEXTURED, SIZE)


def test_other_errors_of_the_vae_pass_through(cramped, monkeypatch, small_codec):
    model, *_ = cramped

    def broken(x):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(small_codec, "encode", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        Stages(model).encode(TEXTURED, SIZE)
