"""Latents: encoding, keeping, and reading them back."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lotus_core.errors import CorruptSampleError, StorageError
from lotus_core.inference.latent_codec import LatentCodec
from lotus_core.training.annotation import annotation
from lotus_core.training.clock import Deadline
from lotus_core.training.config import LatentsConfig
from lotus_core.training.latents import (
    LatentExample,
    LatentSet,
    encode_pictures,
    latent_shape,
    open_latent_sets,
    stacked,
    write_latents,
)
from lotus_core.training.networks import load_vae
from lotus_core.training.scene_set import open_scene_sets
from lotus_core.training.stages.latents import encode_latents, plan_latents
from tests.core.training.small import example, examples

MINI = Path(__file__).parents[2] / "golden" / "ckpt" / "mini-d" / "vae"


@pytest.fixture(scope="module")
def mini_vae():
    return load_vae(MINI)


def test_the_mode_is_what_inference_encodes(mini_vae):
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        expected = LatentCodec(mini_vae).encode(pictures)
    assert torch.equal(encode_pictures(mini_vae, pictures), expected)


def test_draws_from_the_posterior_have_its_mean_and_spread(mini_vae):
    pictures = torch.rand(1, 3, 8, 8) * 2 - 1
    many = pictures.expand(4000, -1, -1, -1)
    with torch.no_grad():
        said = mini_vae.encode(pictures).latent_dist
    found = (
        encode_pictures(mini_vae, many, torch.Generator().manual_seed(0)) / mini_vae.config["scaling_factor"]
    )
    assert torch.allclose(found.mean(0), said.mean[0], atol=4 * said.std.max().item() / 4000**0.5)
    assert torch.allclose(found.std(0), said.std[0], rtol=0.08)


def test_draws_repeat_by_their_generator(mini_vae):
    pictures = torch.rand(1, 3, 8, 8)
    one, other = (encode_pictures(mini_vae, pictures, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)


def test_latents_have_an_eighth_of_the_side():
    assert latent_shape(5, 96, 128) == (5, 4, 12, 16)


def kept(folder, count=3, size="32x32", **changes):
    generator = torch.Generator().manual_seed(count)
    tensors = {
        key: torch.randn((count, 4, 4, 4), generator=generator) for key in ("image", "depth", "normal")
    }
    tensors |= {
        f"known_{key}": torch.rand((count, 4, 4), generator=generator) > 0.5 for key in ("depth", "normal")
    }
    tensors |= changes
    path = folder / f"latents-{size}-{count}.safetensors"
    write_latents(path, tensors, [f"scene {n}" for n in range(count)])
    return path, tensors


@pytest.mark.parametrize("target", ["depth", "normal"])
def test_what_was_kept_comes_back_in_half_precision(tmp_path, target):
    path, tensors = kept(tmp_path)
    dataset = LatentSet((path,), target)
    assert len(dataset) == 3
    for row in range(3):
        item = dataset[row]
        assert torch.equal(item.image, tensors["image"][row].half().float())
        assert torch.equal(item.annotation, tensors[target][row].half().float())
        assert torch.equal(item.known, tensors[f"known_{target}"][row])
        assert item.name == f"{path.name}[{row}]"


def test_shards_follow_one_another_and_sizes_are_apart(tmp_path):
    kept(tmp_path, 3)
    kept(tmp_path, 2)
    kept(tmp_path, 4, "32x64")
    sets = open_latent_sets(tmp_path, "depth")
    assert [len(part) for part in sets] == [5, 4]


def test_the_names_of_the_scenes_are_kept_in_the_file(tmp_path):
    path, _ = kept(tmp_path)
    with safe_open(path, "pt") as file:
        assert file.metadata()["names"].splitlines() == ["scene 0", "scene 1", "scene 2"]


def test_latents_that_are_not_finite_are_refused_one_by_one(tmp_path):
    image = torch.zeros(3, 4, 4, 4)
    image[1, 0, 0, 0] = float("nan")
    path, _ = kept(tmp_path, image=image)
    dataset = LatentSet((path,), "depth")
    assert dataset[0].image.isfinite().all()
    with pytest.raises(CorruptSampleError, match=r"latents-32x32-3.safetensors\[1\] are not finite"):
        dataset[1]


def test_a_damaged_shard_is_told_with_what_to_do(tmp_path):
    (tmp_path / "latents-32x32-0.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(StorageError, match=r"cannot be read .*delete it and encode it again"):
        open_latent_sets(tmp_path, "depth")


def test_an_empty_folder_says_which_stage_fills_it(tmp_path):
    with pytest.raises(StorageError, match="stage is latents"):
        open_latent_sets(tmp_path, "depth")


def test_a_batch_keeps_the_order_of_its_examples():
    items = [
        LatentExample(torch.full((4, 2, 2), n), -torch.full((4, 2, 2), n), torch.ones(2, 2) > 0, str(n))
        for n in (3.0, 1.0)
    ]
    batch = stacked(items)
    assert batch.images[:, 0, 0, 0].tolist() == [3.0, 1.0]
    assert batch.annotations[:, 0, 0, 0].tolist() == [-3.0, -1.0]
    assert batch.known.shape == (2, 1, 2, 2)
    assert batch.names == ("3.0", "1.0")


def config(scenes, vae, **more):
    settings = {
        "stage": "latents",
        "vae": str(vae),
        "per_shard": 4,
        "data": [{"kind": "scenes", "folder": str(scenes)}],
        **more,
    }
    return LatentsConfig.model_validate(settings)


def test_every_example_is_planned_once_a_view(scenes, vae):
    shards = plan_latents(config(scenes, vae, views=3), (examples(10), examples(4)))
    for view in range(3):
        for dataset, count in enumerate((10, 4)):
            rows = [
                row
                for shard in shards
                if (shard.view, shard.dataset) == (view, dataset)
                for row in range(shard.start, shard.stop)
            ]
            assert rows == list(range(count))
    assert len({shard.file_name for shard in shards}) == len(shards)


def test_latents_are_those_of_the_picture_and_its_annotations(tmp_path, scenes, vae):
    assert encode_latents(config(scenes, vae), tmp_path, Deadline()) is True
    sample = open_scene_sets(scenes)[0][2]
    found = open_latent_sets(tmp_path, "depth")[0][2]
    network = load_vae(vae)
    image, depth = (
        encode_pictures(network, picture[None])[0]
        for picture in (sample.image, annotation(sample, "depth", "disparity"))
    )
    assert torch.allclose(found.image, image, atol=1e-2)
    assert torch.allclose(found.annotation, depth, atol=1e-2)
    assert found.known.all()  # surface or sky everywhere


def test_the_second_view_is_mirrored(tmp_path, scenes, vae):
    encode_latents(config(scenes, vae, views=2), tmp_path, Deadline())
    network = load_vae(vae)
    sample = open_scene_sets(scenes)[0][0]
    mirrored = annotation(sample, "depth", "disparity").flip(-1)
    expected = encode_pictures(network, mirrored[None])[0]
    dataset = open_latent_sets(tmp_path, "depth")[0]
    # shards of view 0 come first by name: 6 examples, then those of view 1
    assert torch.allclose(dataset[6].annotation, expected, atol=1e-2)


def test_later_views_look_different_and_the_first_does_not(tmp_path, scenes, vae):
    encode_latents(config(scenes, vae, views=2, appearance=1.0), tmp_path / "varied", Deadline())
    encode_latents(config(scenes, vae, views=2), tmp_path / "plain", Deadline())
    varied, plain = (open_latent_sets(tmp_path / name, "depth")[0] for name in ("varied", "plain"))
    assert torch.equal(varied[0].image, plain[0].image)
    assert not torch.equal(varied[6].image, plain[6].image)
    assert torch.equal(varied[6].annotation, plain[6].annotation)


def test_a_stopped_stage_goes_on_where_it_was(tmp_path, scenes, vae):
    assert encode_latents(config(scenes, vae), tmp_path, Deadline(at=0.0)) is False
    assert not list(tmp_path.iterdir())
    encode_latents(config(scenes, vae), tmp_path, Deadline())
    first = sorted(tmp_path.iterdir())
    times = [path.stat().st_mtime_ns for path in first[1:]]
    first[0].unlink()
    assert encode_latents(config(scenes, vae), tmp_path, Deadline()) is True
    assert sorted(tmp_path.iterdir()) == first
    assert [path.stat().st_mtime_ns for path in first[1:]] == times


def test_a_scene_that_cannot_be_read_is_left_out_and_named(tmp_path, scenes, vae, monkeypatch, caplog):
    from lotus_core.training.scene_set import SceneSet

    read = SceneSet.__getitem__

    def sometimes(self, index):
        if len(self) == 6 and index == 1:
            raise CorruptSampleError("scene 1 cannot be read", path="scenes", remedy="render it again")
        return read(self, index)

    monkeypatch.setattr(SceneSet, "__getitem__", sometimes)
    assert encode_latents(config(scenes, vae), tmp_path, Deadline()) is True
    assert [len(part) for part in open_latent_sets(tmp_path, "depth")] == [5, 4]
    assert "scene 1 cannot be read" in caplog.text


def test_an_unknown_strip_is_unknown_in_the_latents():
    from lotus_core.training.annotation import known
    from lotus_core.training.latents import known_cells

    sample = example(0)
    cells = known_cells(known(sample, "depth")[None, None])[0, 0]
    assert cells.tolist() == [[True] * 4] * 3 + [[False, True, True, True]]
    normals = known_cells(known(sample, "normal")[None, None])[0, 0]
    assert normals.tolist() == [[False] * 4, [True] * 4, [True] * 4, [False, True, True, True]]
