"""Both data sets fed to training together: nine to one, each batch of one, damaged files skipped and named."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import CorruptSampleError
from lotus_core.training.data import open_dataset
from lotus_core.training.feed import Feed
from lotus_core.training.order import Order
from tests.core.training.data import test_hypersim as hypersim
from tests.core.training.data import test_virtual_kitti as virtual_kitti

SHARES = (0.9, 0.1)


@pytest.fixture
def folders(tmp_path):
    for frame in range(6):
        hypersim.write_frame(tmp_path / "hypersim/train", frame=frame, level=40 + 20 * frame)
    for frame in range(2):
        virtual_kitti.write_frame(tmp_path / "vkitti", frame=frame)
    return tmp_path


@pytest.fixture
def sources(folders):
    return (
        open_dataset("hypersim", folders / "hypersim", size=(48, 64)),
        open_dataset("virtual-kitti", folders / "vkitti", size=(88, 304)),
    )


def collate(samples, micro_step, first):
    """A batch as (sizes of the pictures, names)."""
    return {tuple(s.image.shape) for s in samples}, [s.name for s in samples]


def feed(sources, batch_size=2, seed=0) -> Feed:
    sizes = [len(source) for source in sources]
    return Feed(sources, Order(sizes, SHARES, batch_size, seed), collate)


def test_nine_batches_of_ten_are_hypersim(sources):
    order = Order([len(source) for source in sources], SHARES, 2, 0)
    picks = [order(step).source for step in range(4000)]
    assert picks.count(0) / len(picks) == pytest.approx(0.9, abs=0.02)


def test_a_batch_is_of_one_data_set_and_of_one_size(sources):
    fed = feed(sources)
    kinds = set()
    for step in range(24):
        sizes, names = fed.at(step).batch
        assert len(sizes) == 1
        kinds |= sizes
        assert len({"vkitti" in name for name in names}) == 1
    assert kinds == {(3, 48, 64), (3, 88, 304)}


def test_every_example_comes_once_before_any_comes_again(sources):
    order = Order([6], (1.0,), 2, 3)
    seen = [index for step in range(3) for index in order(step).indices]
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]


def test_a_damaged_picture_is_skipped_counted_and_named(folders):
    [path] = (folders / "hypersim").rglob("frame.0003.normal_cam.hdf5")
    path.write_bytes(path.read_bytes()[:50])
    source = open_dataset("hypersim", folders / "hypersim", size=(48, 64))
    fed = Feed([source], Order([6], (1.0,), 6, 0), collate)
    result = fed.at(0)
    [error] = result.skipped
    assert error.path == path
    assert f"{path} is truncated or damaged" in str(error)
    names = result.batch[1]
    assert len(names) == 6
    assert not any("frame.0003" in name for name in names)


def test_a_data_set_of_which_nothing_can_be_read_stops_the_run(folders):
    for path in (folders / "vkitti").rglob("*.png"):
        path.write_bytes(b"")
    source = open_dataset("virtual-kitti", folders / "vkitti")
    with pytest.raises(CorruptSampleError, match="examples in a row cannot be read"):
        Feed([source], Order([2], (1.0,), 1, 0), collate).at(0)


def test_examples_are_read_by_several_threads(sources):
    fed = Feed(sources, Order([6, 2], SHARES, 2, 0), collate, workers=4)
    steps = fed.from_step(0)
    ahead = [next(steps).batch for _ in range(12)]
    steps.close()
    assert ahead == [feed(sources).at(step).batch for step in range(12)]


def test_both_data_sets_speak_of_the_same_frame(sources):
    # a wall seen head-on and a road: toward the camera is +z, up is +y
    wall, road = sources[0][0], sources[1][0]
    assert torch.allclose(wall.normal[:, wall.valid].mean(1), torch.tensor([0.0, 0.0, 1.0]), atol=1e-5)
    near = road.valid & (road.depth < 40)
    assert float(road.normal[1][near].mean()) > 0.99
