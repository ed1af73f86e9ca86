from __future__ import annotations

import torch

from lotus_core.inference.folding.workspace import Workspace


def test_the_same_name_returns_the_same_memory():
    work = Workspace(True)
    first = work.take("lines", 4, 5)
    second = work.take("lines", 2, 3)
    assert second.data_ptr() == first.data_ptr()
    assert second.shape == (2, 3)


def test_other_names_return_other_memory():
    work = Workspace(True)
    a, b = work.take("a", 8).fill_(1.0), work.take("b", 8).fill_(2.0)
    assert a.tolist() == [1.0] * 8
    assert b.tolist() == [2.0] * 8


def test_a_larger_request_gets_larger_memory():
    work = Workspace(True)
    work.take("lines", 2)
    grown = work.take("lines", 3, 4)
    assert grown.shape == (3, 4)
    assert grown.dtype is torch.float32
    assert grown.is_contiguous()


def test_remembers_whether_to_filter():
    assert Workspace(True).filtering
    assert not Workspace(False).filtering
