"""The shards of a set, by the size of their pictures."""

import re

import pytest

from lotus_core.training.shards import shards_by_size

NAME = re.compile(r"part-\d+-(?P<height>\d+)x(?P<width>\d+)\.safetensors")


def named(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")
    return [[file.name for file in files] for files in shards_by_size(folder, NAME)]


def test_sizes_are_ordered_as_numbers_and_shards_by_their_names(tmp_path):
    groups = named(
        tmp_path,
        "part-2-128x64.safetensors",
        "part-1-96x64.safetensors",
        "part-0-128x64.safetensors",
        "part-3-96x32.safetensors",
    )
    assert groups == [
        ["part-3-96x32.safetensors"],
        ["part-1-96x64.safetensors"],
        ["part-0-128x64.safetensors", "part-2-128x64.safetensors"],
    ]


@pytest.mark.parametrize(
    "name",
    ["other-0-8x8.safetensors", "part-0-8x8.safetensors.new", "part-0-8.safetensors", "part-0-8x8.json"],
)
def test_files_of_other_names_are_no_shards(tmp_path, name):
    assert named(tmp_path, name) == []


def test_a_folder_that_is_missing_has_none(tmp_path):
    assert shards_by_size(tmp_path / "gone", NAME) == []
