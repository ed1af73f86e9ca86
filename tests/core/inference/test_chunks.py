import logging

import pytest
import torch

from lotus_core.errors import MemoryLimitError
from lotus_core.inference.chunks import MAX_CHUNK, chunks_of, is_out_of_memory, retry_smaller
from lotus_core.inference.image import working_size
from lotus_core.inference.memory import activation_bytes

from .models import FakePlacement, passing_model

SIZE = working_size(64, 64, 0)


def images(count):
    return torch.arange(count).float().view(count, 1, 1, 1).expand(count, 64, 64, 3)


def lengths(chunks):
    return [len(chunk) for chunk in chunks]


def test_a_given_batch_size_is_kept():
    assert lengths(chunks_of(images(7), [passing_model()], SIZE, 3)) == [3, 3, 1]


def test_chunks_keep_the_order():
    chunks = list(chunks_of(images(5), [passing_model()], SIZE, 2))
    assert torch.equal(torch.cat(chunks), images(5))


def test_auto_takes_all_that_fits_up_to_its_limit():
    model = passing_model(placement=FakePlacement(free=2**40))
    assert lengths(chunks_of(images(MAX_CHUNK + 3), [model], SIZE, "auto")) == [MAX_CHUNK, 3]


def test_auto_falls_to_one_picture_when_nothing_fits():
    model = passing_model(placement=FakePlacement(free=0))
    assert lengths(chunks_of(images(3), [model], SIZE, "auto")) == [1, 1, 1]


def test_auto_goes_by_the_model_with_the_least_room():
    roomy, tight = passing_model(placement=FakePlacement(free=2**40)), passing_model(placement=FakePlacement(free=0))
    assert lengths(chunks_of(images(2), [roomy, tight], SIZE, "auto")) == [1, 1]


def test_auto_never_asks_for_more_than_is_free():
    model = passing_model(placement=FakePlacement(free=80 * 2**20))
    for chunk in chunks_of(images(16), [model], SIZE, "auto"):
        assert activation_bytes("decode", model.widths, len(chunk), *SIZE.latent, 4) <= 80 * 2**20


def out_of_memory_above(limit, seen):
    def compute(part):
        seen.append(len(part))
        if len(part) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return part

    return compute


def test_a_chunk_that_does_not_fit_is_halved_until_it_does(caplog):
    seen = []
    with caplog.at_level(logging.WARNING):
        parts = list(retry_smaller(images(5), out_of_memory_above(2, seen), passing_model(), SIZE))
    assert torch.equal(torch.cat(parts), images(5))
    assert seen == [5, 3, 2, 1, 2]
    assert "out of memory with 5 pictures at once: trying 3" in caplog.text


def test_one_picture_that_does_not_fit_says_what_would():
    with pytest.raises(MemoryLimitError, match=r"one picture at 64x64 does not fit.*resolution below 64, or choose fp16"):
        list(retry_smaller(images(2), out_of_memory_above(0, []), passing_model(), SIZE))


def test_other_errors_pass_through():
    def broken(part):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(retry_smaller(images(2), broken, passing_model(), SIZE))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_lack_of_memory_is_recognised_on_every_device(error, expected):
    assert is_out_of_memory(error) is expected
