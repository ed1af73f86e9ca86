from __future__ import annotations

import gc
import logging
import weakref

import pytest
import torch

from lotus_core.errors import MemoryLimitError
from lotus_core.inference.chunks import MAX_CHUNK, map_chunks, one_too_many
from lotus_core.inference.image import working_size
from lotus_core.inference.memory import Widths, activation_bytes

from .models import FakePlacement, passing_model

SIZE = working_size(64, 64, 0)
SD2 = Widths((128, 256, 512, 512), (320, 640, 1280, 1280))


def images(count):
    return torch.arange(count).float().view(count, 1, 1, 1).expand(count, 64, 64, 3)


def chunks(count, models, batch_size):
    return list(map_chunks(images(count), lambda part: part, models, SIZE, batch_size))


def lengths(parts):
    return [len(part) for part in parts]


def test_a_given_batch_size_is_kept():
    assert lengths(chunks(7, [passing_model()], 3)) == [3, 3, 1]


def test_chunks_keep_the_order():
    assert torch.equal(torch.cat(chunks(5, [passing_model()], 2)), images(5))


def test_auto_takes_all_that_fits_up_to_its_limit():
    model = passing_model(placement=FakePlacement(free=2**40))
    assert lengths(chunks(MAX_CHUNK + 3, [model], "auto")) == [MAX_CHUNK, 3]


def test_auto_falls_to_one_picture_when_nothing_fits():
    assert lengths(chunks(3, [passing_model(placement=FakePlacement(free=0))], "auto")) == [1, 1, 1]


def test_auto_goes_by_the_model_with_the_least_room():
    roomy, tight = (passing_model(placement=FakePlacement(free=free)) for free in (2**40, 0))
    assert lengths(chunks(2, [roomy, tight], "auto")) == [1, 1]


def test_auto_never_asks_for_more_than_is_free():
    free = 24 * 2**20
    model = passing_model(placement=FakePlacement(free=free))
    found = chunks(16, [model], "auto")
    assert 1 < len(found) < 16
    for chunk in found:
        assert activation_bytes("decode", model.widths, len(chunk), *SIZE.latent, 4) <= free


def out_of_memory_above(limit, seen):
    def compute(part):
        seen.append(len(part))
        if len(part) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return part

    return compute


def test_a_chunk_that_does_not_fit_is_halved_and_no_later_one_is_larger_than_what_fitted(caplog):
    seen = []
    with caplog.at_level(logging.WARNING):
        parts = list(map_chunks(images(9), out_of_memory_above(2, seen), [passing_model()], SIZE, "auto"))
    assert torch.equal(torch.cat(parts), images(9))
    assert seen == [9, 5, 3, 2, 2, 2, 2, 1]
    assert "out of memory with 9 pictures at once: trying 5" in caplog.text


def test_a_given_batch_size_is_halved_too():
    seen = []
    list(map_chunks(images(4), out_of_memory_above(1, seen), [passing_model()], SIZE, 4))
    assert seen == [4, 2, 1, 1, 1, 1]


def test_a_chunk_that_failed_is_freed_before_the_next_try():
    kept = []

    def compute(part):
        if len(part) == 1:
            gc.collect()
            assert [reference() for reference in kept] == [None]
            return part
        big = torch.zeros(1000)
        kept.append(weakref.ref(big))
        raise RuntimeError("out of memory")

    assert lengths(map_chunks(images(2), compute, [passing_model()], SIZE, 2)) == [1, 1]


def test_what_would_fit_is_counted_when_the_failed_picture_is_gone():
    kept = []

    class Watching(FakePlacement):
        def obtainable_memory(self):
            gc.collect()
            kept.append([reference() for reference in kept])
            return self.free

    def compute(part):
        big = torch.zeros(1000)
        kept.append(weakref.ref(big))
        raise RuntimeError("out of memory")

    with pytest.raises(MemoryLimitError):
        list(map_chunks(images(1), compute, [passing_model(placement=Watching())], SIZE, 1))
    assert kept[1:] == [[None]]


def test_one_picture_that_does_not_fit_says_what_would():
    compute = out_of_memory_above(0, [])
    placement = FakePlacement(free=400 * 2**20)
    model = passing_model(placement=placement, widths=SD2)
    size = working_size(768, 1024, 0)
    expected = (
        r"one picture at 1024x768 does not fit the memory of cpu: the one step needs about 555 MB beside its "
        r"weights, 419 MB can be had \(found: CUDA out of memory. Tried to allocate 2.00 GiB\): "
        r"lower the resolution to \d+, or choose fp16 or bf16"
    )
    with pytest.raises(MemoryLimitError, match=expected):
        list(map_chunks(images(2), compute, [model], size, "auto"))


def test_a_proposed_resolution_fits_by_the_estimate():
    model = passing_model(placement=FakePlacement(torch.float16, free=150 * 2**20), widths=SD2)
    message = str(one_too_many([model], working_size(1024, 1024, 0), RuntimeError("out of memory")))
    side = int(message.split("lower the resolution to ")[1].split(".")[0])
    assert activation_bytes("denoise", SD2, 1, side // 8, side // 8, 2) <= 150 * 2**20
    assert "fp16" not in message, "it is fp16 already"


def test_half_precision_is_proposed_alone_where_no_smaller_picture_fits_in_fp32():
    model = passing_model(placement=FakePlacement(free=30 * 2**20), widths=SD2)
    message = str(one_too_many([model], working_size(256, 256, 0), RuntimeError("out of memory")))
    assert "choose fp16 or bf16" in message


def test_without_any_room_the_error_still_says_what_to_do():
    model = passing_model(placement=FakePlacement(free=0))
    message = str(one_too_many([model], SIZE, MemoryError()))
    assert "(found: MemoryError): close what else uses this memory" in message


def test_other_errors_pass_through():
    def broken(part):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(map_chunks(images(2), broken, [passing_model()], SIZE, "auto"))


def test_an_error_that_says_what_would_fit_is_not_tried_again():
    seen = []

    def compute(part):
        seen.append(len(part))
        raise MemoryLimitError("not even row by row")

    with pytest.raises(MemoryLimitError, match="not even row by row"):
        list(map_chunks(images(2), compute, [passing_model()], SIZE, "auto"))
    assert seen == [2]
