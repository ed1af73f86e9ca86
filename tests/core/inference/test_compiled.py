from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.inference import compiled
from lotus_core.inference.compiled import Graphs, compile_codec, compile_step
from lotus_core.inference.latent_codec import Codec
from lotus_core.inference.one_step import OneStep


class SmallStep(OneStep):
    """Stands for a network: the result depends on the task and on every pixel."""

    in_channels = 4

    def forward(self, sample, task="annotation"):
        return sample * (2.0 if task == "annotation" else 3.0) + sample.mean()


class SmallCodec(Codec):
    scaling_factor, latent_channels = 0.5, 4

    def _encode(self, rgb):
        return (
            torch.nn.functional.avg_pool2d(rgb, 8).mean(1, keepdim=True).expand(-1, 4, -1, -1)
            * self.scaling_factor
        )

    def _decode(self, x0):
        return x0[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3) / self.scaling_factor


@pytest.fixture
def compilations(monkeypatch):
    """Counts calls of torch.compile, without its seconds of work."""
    calls = []
    monkeypatch.setattr(compiled.torch, "compile", lambda f, **options: calls.append(options) or f)
    return calls


def test_a_size_is_compiled_once_for_each_task(compilations):
    step = compile_step(SmallStep())
    for size in ((8, 8), (8, 12), (8, 8)):
        x = torch.randn(1, 4, *size)
        assert torch.equal(step(x), SmallStep()(x))
        assert torch.equal(step(x, "reconstruction"), SmallStep()(x, "reconstruction"))
    assert len(step.graphs) == len(compilations) == 4
    assert all(options["dynamic"] is False for options in compilations)


def test_other_dtypes_are_compiled_apart(compilations):
    step = compile_step(SmallStep())
    step(torch.zeros(1, 4, 8, 8))
    step(torch.zeros(1, 4, 8, 8, dtype=torch.float64))
    assert len(compilations) == 2


def test_options_reach_torch_compile(compilations):
    compile_step(SmallStep(), mode="max-autotune")(torch.zeros(1, 4, 8, 8))
    assert compilations[0]["mode"] == "max-autotune"


def test_sizes_beyond_the_limit_run_as_they_are(compilations, monkeypatch):
    monkeypatch.setattr(compiled, "MAX_GRAPHS", 2)
    graphs = Graphs(lambda x: x + 1, {})
    for n in (1, 2, 3, 4, 1):
        assert torch.equal(graphs(torch.zeros(n)), torch.ones(n))
    assert len(graphs) == len(compilations) == 2


def test_both_directions_of_a_codec_are_compiled(compilations):
    codec, plain = compile_codec(SmallCodec()), SmallCodec()
    rgb, x0 = torch.rand(1, 3, 16, 24) * 2 - 1, torch.randn(1, 4, 2, 3)
    assert torch.equal(codec.encode(rgb), plain.encode(rgb))
    assert torch.equal(codec.decode(x0), plain.decode(x0))
    assert len(compilations) == 2
    assert (codec.scaling_factor, codec.latent_channels) == (0.5, 4)


def test_inputs_are_checked_before_they_are_compiled(compilations):
    with pytest.raises(ShapeError, match="image latents alone"):
        compile_step(SmallStep())(torch.zeros(1, 8, 8, 8))
    with pytest.raises(ShapeError, match="multiples of 8"):
        compile_codec(SmallCodec()).encode(torch.zeros(1, 3, 8, 9))
    assert not compilations
