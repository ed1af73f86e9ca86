import copy

import numpy as np
import pytest
import torch

from lotus_core.errors import ModelTaskError, OptionError, ShapeError
from lotus_core.inference.memory import activation_bytes
from lotus_core.inference.model import choose_device, initial_noise, load_model, vae_digests

from .conftest import GOLDEN, TASK_OF_GOLDEN
from .models import FakePlacement, passing_model


@pytest.fixture(scope="module")
def models():
    return {
        mode: load_model(
            GOLDEN / "ckpt" / f"mini-{mode}",
            precision="fp32",
            device="cpu",
            output="depth",
            prompt_embeds=torch.from_numpy(
                np.load(GOLDEN / "golden/pipe/native_r0/input.npz")["prompt_embeds"]
            ),
        )
        for mode in "dg"
    }


@pytest.mark.parametrize("mode", ["d", "g"])
@pytest.mark.parametrize("side", ["anno", "recon"])
def test_the_stages_match_the_reference(models, golden_case, mode, side):
    model = models[mode]
    noise = golden_case.input("noise") if mode == "g" else None
    x0 = model.denoise(golden_case.input("rgb_latents"), noise, TASK_OF_GOLDEN[side])
    torch.testing.assert_close(x0, golden_case.output(mode, side, "unet_out"), atol=1e-4, rtol=0)
    decoded = model.decode(golden_case.output(mode, side, "unet_out"))
    torch.testing.assert_close(decoded, golden_case.output(mode, side, "decoded"), atol=2e-5, rtol=0)


def test_what_the_model_is_comes_from_its_weights(models):
    assert models["d"].info.mode == "d"
    assert models["g"].info.mode == "g"
    assert models["g"].info.cross_attention_dim == 64
    assert models["g"].info.default_resolution == 768


def test_a_generative_model_without_noise_takes_that_of_seed_0(models, golden_case):
    latents = golden_case.input("rgb_latents")
    given = models["g"].denoise(latents, initial_noise(latents.shape, 0))
    assert torch.equal(models["g"].denoise(latents), given)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.encode(torch.zeros(1, 3, 20, 16)), "multiples of 8"),
        (lambda m: m.encode(torch.zeros(3, 16, 16)), "(B, 3, H, W)"),
        (lambda m: m.denoise(torch.zeros(1, 3, 4, 4)), "(B, 4, h, w)"),
        (lambda m: m.decode(torch.zeros(1, 8, 4, 4)), "(B, 4, h, w)"),
    ],
)
def test_other_shapes_are_refused(call, words):
    with pytest.raises(ShapeError) as caught:
        call(passing_model())
    assert words in str(caught.value)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match="noise has shape"):
        passing_model(mode="g").denoise(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 5))


def test_noise_for_a_discriminative_model_is_refused():
    with pytest.raises(OptionError, match="a discriminative model takes none"):
        passing_model().denoise(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4))


def test_an_unknown_task_is_refused():
    with pytest.raises(OptionError, match="task must be"):
        passing_model().denoise(torch.zeros(1, 4, 4, 4), task="depth")


def test_every_stage_tells_the_placement_its_part_and_its_bytes():
    placement = FakePlacement(torch.bfloat16)
    model = passing_model(placement=placement)
    model.decode(model.denoise(model.encode(torch.zeros(2, 3, 16, 24))))
    assert [(part, dtype) for part, _, dtype in placement.asked] == [
        ("vae", torch.bfloat16),
        ("unet", torch.bfloat16),
        ("vae", torch.bfloat16),
    ]
    assert placement.asked[2][1] == activation_bytes("decode", model.widths, 2, 2, 3, 2)


def test_results_are_fp32_whatever_the_compute_type():
    model = passing_model(placement=FakePlacement(torch.bfloat16))
    assert model.encode(torch.zeros(1, 3, 16, 16)).dtype == torch.float32


def test_depth_kind_and_normals_are_told_apart():
    assert passing_model(output="disparity").depth_kind() == "disparity"
    passing_model(output="normal").require_normals()
    with pytest.raises(
        ModelTaskError, match=r"needs a depth or disparity model \(found: test-normal-d, which"
    ):
        passing_model(output="normal").depth_kind()


class TestInitialNoise:
    def test_it_is_standard_normal(self):
        noise = initial_noise((1, 4, 96, 96), 3)
        assert abs(noise.mean().item()) < 0.02
        assert abs(noise.std().item() - 1) < 0.02

    def test_every_picture_of_a_batch_gets_the_same(self):
        noise = initial_noise((3, 4, 5, 6), 3)
        assert noise.shape == (3, 4, 5, 6)
        assert torch.equal(noise[0], noise[2])

    def test_seeds_differ(self):
        assert not torch.equal(initial_noise((1, 4, 5, 6), 3), initial_noise((1, 4, 5, 6), 4))

    def test_the_global_generator_is_left_alone(self):
        before = torch.random.get_rng_state()
        initial_noise((1, 4, 5, 6), 3)
        assert torch.equal(torch.random.get_rng_state(), before)


class TestVaeDigests:
    def test_one_changed_decoder_weight_changes_the_decoders_alone(self, mini_vae):
        other = copy.deepcopy(mini_vae)
        other.decoder.conv_out.bias.data[0] += 1
        ours, theirs = vae_digests(mini_vae), vae_digests(other)
        assert ours.encoder == theirs.encoder
        assert ours.decoder != theirs.decoder

    def test_one_changed_encoder_weight_changes_the_encoders_alone(self, mini_vae):
        other = copy.deepcopy(mini_vae)
        other.quant_conv.weight.data[0] += 1
        ours, theirs = vae_digests(mini_vae), vae_digests(other)
        assert ours.encoder != theirs.encoder
        assert ours.decoder == theirs.decoder


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(OptionError, match="an accelerator of this machine"):
        choose_device(name)
