import json

import pytest
import torch

from lotus_core.errors import OptionError, StorageError, VideoError
from lotus_core.video.spool import Spool

JOB = {"model": "a", "options": {"seed": 0}}


def maps(count, *, channels=(), seed=0):
    return torch.rand(count, 12, 20, *channels, generator=torch.Generator().manual_seed(seed))


def state(number):
    return {"history": torch.full((2, number + 1), float(number))}


def filled(folder, counts=(3, 2), **options):
    spool = Spool(folder, JOB, resume=False)
    for number, count in enumerate(counts):
        spool.add(
            maps(count, seed=number, **options), [100 * number + i for i in range(count)], state(number)
        )
    return spool


def test_maps_come_back_to_sixteen_bits(tmp_path):
    spool = filled(tmp_path / "s")
    for number, segment in enumerate(spool.segments()):
        expected = maps(len(segment.maps), seed=number)
        assert (segment.maps - expected).abs().max() <= 0.5 / 65535 + 1e-7


def test_normals_come_back_too(tmp_path):
    spool = filled(tmp_path / "s", channels=(3,))
    (first, _) = spool.segments()
    assert first.maps.shape == (3, 12, 20, 3)
    assert (first.maps - maps(3, channels=(3,))).abs().max() <= 0.5 / 65535 + 1e-7


def test_values_outside_zero_to_one_are_clamped(tmp_path):
    spool = Spool(tmp_path / "s", JOB, resume=False)
    spool.add(torch.tensor([[[-0.5, 0.0], [1.0, 1.5]]]), [0], {})
    (segment,) = spool.segments()
    assert segment.maps.flatten().tolist() == [0.0, 0.0, 1.0, 1.0]


def test_numbers_and_times_are_kept(tmp_path):
    spool = filled(tmp_path / "s")
    assert spool.frames == 5
    assert spool.ticks == (0, 1, 2, 100, 101)
    assert [(s.start, s.ticks) for s in spool.segments()] == [(0, (0, 1, 2)), (3, (100, 101))]


def test_states_come_back_in_order(tmp_path):
    spool = filled(tmp_path / "s")
    assert [s["history"].shape[1] for s in spool.states()] == [1, 2]
    assert torch.equal(spool.last_state()["history"], state(1)["history"])


def test_an_unfinished_run_is_gone_on_with(tmp_path):
    filled(tmp_path / "s")
    again = Spool(tmp_path / "s", JOB, resume=True)
    assert again.ticks == (0, 1, 2, 100, 101)
    again.add(maps(1, seed=9), [200], {})
    assert [s.start for s in again.segments()] == [0, 3, 5]


def test_a_segment_without_its_state_does_not_count(tmp_path):
    """What a kill between the two files leaves: the segment is computed again, over the old one."""
    filled(tmp_path / "s")
    (tmp_path / "s" / "000001.safetensors").unlink()
    again = Spool(tmp_path / "s", JOB, resume=True)
    assert again.frames == 3
    again.add(maps(4, seed=7), [5, 6, 7, 8], {})
    assert [len(s.maps) for s in again.segments()] == [3, 4]


def test_an_unfinished_run_is_not_thrown_away_unasked(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(OptionError, match=r"--resume must be given: .* holds an unfinished run"):
        Spool(tmp_path / "s", JOB, resume=False)


def test_a_run_of_another_job_is_not_mixed_in(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(OptionError, match="holds a run of another input, model or option"):
        Spool(tmp_path / "s", {**JOB, "model": "b"}, resume=True)


def test_resuming_nothing_begins(tmp_path):
    spool = Spool(tmp_path / "s", JOB, resume=True)
    assert spool.frames == 0
    assert list(spool.segments()) == []
    assert list(spool.states()) == []


def test_the_job_is_readable(tmp_path):
    filled(tmp_path / "s")
    assert json.loads((tmp_path / "s" / "job.json").read_text()) == JOB


def test_removing_leaves_nothing(tmp_path):
    filled(tmp_path / "s").remove()
    assert not (tmp_path / "s").exists()


def test_a_missing_segment_is_named(tmp_path):
    spool = filled(tmp_path / "s")
    (tmp_path / "s" / "000000.mkv").unlink()
    with pytest.raises(VideoError, match=r"000000\.mkv cannot be read"):
        list(spool.segments())


def test_a_shortened_segment_is_named(tmp_path):
    spool = filled(tmp_path / "s")
    other = filled(tmp_path / "t", counts=(1,))
    assert other.frames == 1
    (tmp_path / "t" / "000000.mkv").replace(tmp_path / "s" / "000000.mkv")
    with pytest.raises(VideoError, match=r"was altered .*1 of 3 frames in segment 0"):
        list(spool.segments())


def test_a_damaged_state_is_named(tmp_path):
    filled(tmp_path / "s")
    (tmp_path / "s" / "000001.safetensors").write_bytes(b"nonsense")
    with pytest.raises(StorageError, match=r"000001\.safetensors cannot be read"):
        Spool(tmp_path / "s", JOB, resume=True)


def test_a_full_disk_leaves_the_segments_before(tmp_path, file_size_limit):
    spool = filled(tmp_path / "s")
    with file_size_limit(1000), pytest.raises(StorageError, match="was not written"):
        spool.add(torch.rand(8, 64, 64), list(range(8)), {})
    assert Spool(tmp_path / "s", JOB, resume=True).frames == 5
