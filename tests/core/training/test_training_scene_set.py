"""Rendered scenes on disk."""

import pytest
import torch

from lotus_core.errors import CorruptFileError, CorruptSampleError, StorageError
from lotus_core.training.clock import Deadline
from lotus_core.training.config import ScenesConfig
from lotus_core.training.scene_set import SceneSet, open_scene_sets, plan_shards, write_shard
from lotus_core.training.scenes import sample_frame
from lotus_core.training.sources import open_examples, open_pictures
from lotus_core.training.stages.scenes import render_scenes


def test_sizes_and_sampling_take_turns_and_no_seed_is_left_out():
    shards = plan_shards(100, 10, 4, [(32, 32), (16, 24)], [1, 2, 1])
    assert [(s.height, s.width) for s in shards] == [(32, 32), (16, 24), (32, 32)]
    assert [s.supersample for s in shards] == [1, 2, 1]
    seeds = [seed for s in shards for seed in range(s.first_seed, s.first_seed + s.count)]
    assert seeds == list(range(100, 110))
    assert shards[1].file_name == "scenes-00001-16x24.safetensors"


def test_a_scene_comes_back_as_it_was_rendered(scenes):
    dataset = open_scene_sets(scenes)[0]
    assert len(dataset) == 6
    for row in (0, 5):
        frame, sample = sample_frame(70 + row, height=32, width=32), dataset[row]
        assert torch.allclose(sample.image, frame.rgb.movedim(-1, 0) * 2 - 1, atol=1 / 255 + 1e-6)
        assert torch.equal(sample.sky, frame.sky)
        assert torch.equal(sample.valid, frame.valid)
        near = frame.valid
        assert torch.allclose(sample.depth[near], frame.depth[near], rtol=1e-3)
        # Lotus's frame has all three axes turned against OpenCV's
        cosine = (sample.normal * -frame.normals.movedim(-1, 0)).sum(0)[near]
        assert cosine.min() > 0.9999


def test_a_folder_is_split_by_picture_size(scenes):
    sources = open_pictures([_data(scenes)])
    assert sources.sizes == (6, 4)
    assert [source[0].depth.shape for source in sources.datasets] == [(32, 32), (32, 48)]
    assert sources.shares == (0.6, 0.4)


def _data(folder, share=1.0):
    from lotus_core.training.config import SceneData

    return SceneData(kind="scenes", folder=str(folder), share=share)


def test_shares_are_those_of_the_config(scenes, latents):
    from lotus_core.training.config import LatentData

    sources = open_examples([_data(scenes, 3.0), LatentData(kind="latents", folder=str(latents))], "depth")
    assert sources.shares == pytest.approx((1.8, 1.2, 1.0))
    assert sources.sizes == (6, 4, 12)


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(StorageError, match=r"holds no rendered scenes .*stage is scenes"):
        open_scene_sets(tmp_path)


def test_a_damaged_shard_is_told_when_it_is_opened(tmp_path):
    file = tmp_path / "scenes-00000-32x32.safetensors"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptFileError, match=r"scenes-00000-32x32\.safetensors cannot be read"):
        open_scene_sets(tmp_path)


def test_a_shard_that_vanishes_makes_its_scenes_unreadable_one_by_one(tmp_path, scenes):
    source = next(scenes.glob("scenes-00000-*"))
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    dataset = SceneSet((copy,))
    copy.unlink()
    with pytest.raises(CorruptSampleError, match=r"scenes-00000-32x32\.safetensors\[2\] cannot be read"):
        dataset[2]


@pytest.mark.parametrize("index", [-1, 6])
def test_no_scene_lies_outside_the_set(scenes, index):
    with pytest.raises(IndexError):
        open_scene_sets(scenes)[0][index]


def config(**more):
    settings = {"stage": "scenes", "first_seed": 70, "count": 4, "per_shard": 2, "sizes": [[16, 16]]}
    return ScenesConfig.model_validate({**settings, **more})


def test_a_stopped_stage_leaves_whole_shards_and_goes_on(tmp_path):
    assert render_scenes(config(), tmp_path, Deadline(at=0.0)) is False
    assert not list(tmp_path.iterdir())
    write_shard(tmp_path, plan_shards(70, 4, 2, [(16, 16)])[0])
    before = next(tmp_path.iterdir()).stat().st_mtime_ns
    assert render_scenes(config(), tmp_path, Deadline()) is True
    names = sorted(item.name for item in tmp_path.iterdir())
    assert names == ["scenes-00000-16x16.safetensors", "scenes-00001-16x16.safetensors"]
    assert (tmp_path / names[0]).stat().st_mtime_ns == before


def test_two_processes_render_what_one_does(tmp_path):
    assert render_scenes(config(), tmp_path / "one", Deadline()) is True
    assert render_scenes(config(processes=2), tmp_path / "two", Deadline()) is True
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_deadline_lies_ahead_or_never():
    assert not Deadline.after_minutes(None).passed()
    assert not Deadline.after_minutes(5).passed()
    assert Deadline.after_minutes(0).passed()
