"""What training leaves behind opens elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

import lotus_core
from lotus_core.errors import CheckpointError, OptionError
from lotus_core.training.config import BundleConfig, Start
from lotus_core.training.export import write_checkpoint
from lotus_core.training.networks import starting_parts
from lotus_core.training.stages.bundle import write_bundle

MINI = Path(__file__).parents[2] / "golden" / "ckpt"


@pytest.fixture
def small_start(vae):
    return Start(vae=str(vae), channels=(8, 16), attention=(False, True), heads=2, norm_groups=4, context=8)


def exported(folder, start, mode="d", output="disparity", seed=0, source=None):
    write_checkpoint(folder, starting_parts(start, mode, seed), mode, output, source)
    return folder


@pytest.mark.parametrize("mode", ["d", "g"])
def test_a_checkpoint_written_again_is_the_same_model(tmp_path, mode):
    source = MINI / f"mini-{mode}"
    folder = exported(tmp_path / "again", Start(checkpoint=str(source)), mode, "depth", source=source)
    ours, theirs = (
        lotus_core.load_model(path, output="depth", precision="fp32") for path in (folder, source)
    )
    latents = torch.randn(1, 4, 6, 8)
    assert torch.allclose(ours.denoise(latents), theirs.denoise(latents), atol=1e-5)
    assert torch.allclose(ours.decode(latents), theirs.decode(latents), atol=1e-5)


def test_the_files_are_those_that_the_references_pipeline_reads(tmp_path):
    source = MINI / "mini-g"
    folder = exported(tmp_path / "again", Start(checkpoint=str(source)), "g", "depth", source=source)
    ours, theirs = (json.loads((path / "model_index.json").read_text()) for path in (folder, source))
    assert ours.keys() == theirs.keys()
    del ours["_diffusers_version"], theirs["_diffusers_version"]
    assert ours == theirs
    # the reference's pipelines are Stable Diffusion's with another call: what loads them is diffusers' own code
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    assert pipeline.unet.config["in_channels"] == 8
    assert isinstance(pipeline.scheduler, DDPMScheduler)
    assert pipeline.scheduler.alphas_cumprod[999].sqrt().item() == pytest.approx(0.0683, abs=5e-5)
    assert pipeline.text_encoder is not None


@pytest.mark.parametrize("output", ["depth", "disparity", "normal"])
def test_the_file_itself_says_what_it_estimates(tmp_path, small_start, output):
    folder = exported(tmp_path / "model", small_start, output=output)
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert lotus_core.load_model(moved).info.output == output


def test_only_safetensors_and_json_are_written(tmp_path, small_start):
    folder = exported(tmp_path / "model", small_start)
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".safetensors", ".json"}


@pytest.fixture
def models(tmp_path, small_start):
    exported(tmp_path / "depth", small_start, seed=1)
    starts = small_start.model_copy(
        update={"prompt_embeds": str(tmp_path / "depth" / "prompt_embeds.safetensors")}
    )
    exported(tmp_path / "normal", starts, output="normal", seed=2)
    return {"tiny-depth-d": str(tmp_path / "depth"), "tiny-normal-d": str(tmp_path / "normal")}


def bundle(vae, models, max_bytes=10**7):
    return BundleConfig(stage="bundle", vae=str(vae), models=models, max_bytes=max_bytes)


def test_a_bundle_holds_one_vae_one_context_and_every_denoiser_in_half_precision(tmp_path, vae, models):
    folder = tmp_path / "bundle"
    write_bundle(bundle(vae, models), folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.safetensors"))
    assert files == [
        "prompt_embeds.safetensors",
        "tiny-depth-d/unet/diffusion_pytorch_model.safetensors",
        "tiny-normal-d/unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    for name, path in models.items():
        half = load_file(folder / name / "unet" / "diffusion_pytorch_model.safetensors")
        full = load_file(Path(path) / "unet" / "diffusion_pytorch_model.safetensors")
        assert {tensor.dtype for tensor in half.values()} == {torch.float16}
        assert all(torch.equal(half[key], full[key].half()) for key in full)
    context = load_file(folder / "prompt_embeds.safetensors")["prompt_embeds"]
    model = lotus_core.load_model(folder / "tiny-normal-d", vae=folder / "vae", prompt_embeds=context)
    assert model.info.output == "normal"


def test_a_bundle_over_its_size_is_not_written(tmp_path, vae, models):
    with pytest.raises(OptionError, match="max_bytes must be at least"):
        write_bundle(bundle(vae, models, 1000), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_model_of_another_context_or_vae_does_not_join(tmp_path, vae, models, small_start):
    exported(tmp_path / "stranger", small_start, seed=9)
    with pytest.raises(CheckpointError, match="odd does not share the bundle's context"):
        write_bundle(bundle(vae, {**models, "odd": str(tmp_path / "stranger")}), tmp_path / "bundle")
    with pytest.raises(CheckpointError, match="tiny-depth-d does not share the bundle's encoder"):
        write_bundle(bundle(MINI / "mini-d" / "vae", models), tmp_path / "bundle")


def test_a_polished_decoder_takes_the_place_of_the_models_own(tmp_path, vae, models):
    polished = tmp_path / "polished"
    shutil.copytree(vae, polished)
    file = polished / "diffusion_pytorch_model.safetensors"
    tensors = {key: value.clone() for key, value in load_file(file).items()}
    tensors["decoder.conv_out.bias"] += 0.25
    save_file(tensors, file, {"format": "pt"})
    write_bundle(bundle(polished, models), tmp_path / "bundle")
    written = load_file(tmp_path / "bundle" / "vae" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(written["decoder.conv_out.bias"], tensors["decoder.conv_out.bias"].half())
