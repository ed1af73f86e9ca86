"""Which pictures are scored."""

from __future__ import annotations

import pytest

from lotus_core.errors import DatasetError
from lotus_core.evaluation.selection import listed_names, matching_names, read_file_list


class Named:
    """A data set of names alone."""

    def __init__(self, path, *names):
        self.path = path
        self._names = sorted(names)

    def names(self):
        return self._names

    def read(self, name):
        raise AssertionError("nothing is read to find names")


def test_a_pattern_matches_from_the_start_of_a_folders_name(tmp_path):
    files = Named(
        tmp_path, "test/a_img.png", "deep/er/test/b_img.png", "latest/c_img.png", "test/a_img.png.bak"
    )
    assert matching_names(files, r"test/\w_img\.png") == ["deep/er/test/b_img.png", "test/a_img.png"]


def test_a_folder_narrows_the_search_only_if_it_is_there(tmp_path):
    mixed = Named(tmp_path, "eval/ibims/x_img.png", "eval/sintel/y_img.png")
    assert matching_names(mixed, r"\w_img\.png", folder="ibims") == ["eval/ibims/x_img.png"]
    assert len(matching_names(Named(tmp_path, "x_img.png"), r"\w_img\.png", folder="ibims")) == 1


def test_nothing_found_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match=r"found: no files\).*expected paths that end in rgb/"):
        matching_names(Named(tmp_path), r"rgb/.*")


def test_the_first_column_of_a_list_names_the_pictures(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a/rgb_1.png a/depth_1.png a/filled_1.png\n\nb/rgb_2.png None 721.5\nc.png\n")
    assert read_file_list(path) == ["a/rgb_1.png", "c.png"]  # b has no truth


def test_a_list_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        read_file_list(tmp_path / "gone.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DatasetError, match="names no picture"):
        read_file_list(tmp_path / "empty.txt")


def test_listed_pictures_are_found_by_the_end_of_their_path(tmp_path):
    found = ["set/test/a/1.png", "set/test/b/2.png"]
    assert listed_names(found, ["test/b/2.png", "a/1.png"], tmp_path) == [
        "set/test/b/2.png",
        "set/test/a/1.png",
    ]
    with pytest.raises(DatasetError, match=r"1 of 2 listed pictures .*found: no c/3\.png"):
        listed_names(found, ["a/1.png", "c/3.png"], tmp_path)
