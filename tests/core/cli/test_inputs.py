"""Files, folders, patterns; and that two inputs never share a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.cli.inputs import collect, unique_stems
from lotus_core.errors import ImageError, OptionError


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Return a folder with images, other files and a sub-folder; it is also the working folder."""
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.png",
        "sub/c.webp",
        "sub/deep/d.tiff",
        ".cache/e.png",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(found) -> list[str]:
    return [item.path.name for item in found.items]


def stems(found) -> list[str]:
    return [item.stem.as_posix() for item in found.items]


def test_file_is_itself(photos):
    found = collect([str(photos / "b.jpg")], Path("out"))
    assert (names(found), stems(found), found.problems) == (["b.jpg"], ["b"], ())


def test_folder_is_its_images_by_name_without_hidden_and_other_files(photos):
    assert names(collect([str(photos)], Path("out"))) == ["a.PNG", "b.jpg"]


def test_recursive_folder_keeps_its_sub_folders_in_the_names(photos):
    found = collect([str(photos)], Path("out"), recursive=True)
    assert stems(found) == ["a", "b", "sub/c", "sub/deep/d"]


def test_pattern_is_expanded(photos):
    assert names(collect(["photos/*.jpg"], Path("out"))) == ["b.jpg"]
    assert names(collect(["photos/**/*.[tw]*"], Path("out"))) == ["notes.txt", "c.webp", "d.tiff"]


def test_file_whose_name_looks_like_a_pattern_is_a_file(photos):
    odd = photos / "x[1].png"
    odd.write_bytes(b"x")
    assert names(collect([str(odd)], Path("out"))) == ["x[1].png"]


def test_home_folder_is_expanded(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.setenv("USERPROFILE", str(photos))
    assert names(collect(["~/b.jpg"], Path("out"))) == ["b.jpg"]


def test_file_that_is_not_there_stays_an_item_to_be_reported(photos):
    assert names(collect(["photos/nowhere.png"], Path("out"))) == ["nowhere.png"]


def test_file_named_twice_is_done_once(photos):
    found = collect(["photos/b.jpg", "photos", "./photos/../photos/b.jpg"], Path("out"))
    assert names(found) == ["b.jpg", "a.PNG"]


def test_empty_folder_is_a_problem_with_advice(photos):
    (photos / "empty").mkdir()
    found = collect([str(photos / "empty")], Path("out"))
    assert found.items == ()
    assert found.problems[0].text == str(photos / "empty")
    assert isinstance(found.problems[0].error, ImageError)
    assert "no image in the folder" in str(found.problems[0].error)
    assert "--recursive" in str(found.problems[0].error)


def test_pattern_without_a_match_is_a_problem(photos):
    problem = collect(["photos/*.exr"], Path("out")).problems[0]
    assert (problem.text, "no file matches" in str(problem.error)) == ("photos/*.exr", True)


def test_output_folder_that_is_an_input_folder_is_refused(photos):
    with pytest.raises(OptionError, match="--output must be a folder that is not itself an input"):
        collect(["photos"], Path("photos/../photos"))


def test_results_of_an_earlier_run_inside_the_folder_are_not_taken(photos):
    (photos / "out").mkdir()
    (photos / "out" / "b_depth.png").write_bytes(b"x")
    assert "b_depth.png" not in names(collect([str(photos)], photos / "out", recursive=True))


def test_same_name_with_two_suffixes_gets_the_suffix(photos):
    (photos / "b.png").write_bytes(b"x")
    assert stems(collect(["photos"], Path("out"))) == ["a", "b_jpg", "b_png"]


def test_same_name_in_two_folders_is_numbered(tmp_path):
    for folder in ("x", "y", "z"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"x")
    found = collect([str(tmp_path / f / "a.png") for f in "xyz"], tmp_path / "out")
    assert stems(found) == ["a_png", "a_png_2", "a_png_3"]


def test_letter_case_alone_does_not_tell_names_apart():
    assert [s.name for s in unique_stems([(Path("A.png"), Path()), (Path("a.jpg"), Path())])] == [
        "A_png",
        "a_jpg",
    ]


def test_made_up_name_avoids_one_that_is_there():
    files = [(Path("a.png"), Path()), (Path("a.jpg"), Path()), (Path("a_png.gif"), Path())]
    assert [s.name for s in unique_stems(files)] == ["a_png_2", "a_jpg", "a_png"]


def test_name_without_a_suffix_is_numbered():
    assert [s.name for s in unique_stems([(Path("x/a"), Path()), (Path("y/a"), Path())])] == ["a", "a_2"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "A", "a_png", "a_png_2", "b"]),
            st.sampled_from([".png", ".PNG", ".jpg", ""]),
        ),
        max_size=12,
    )
)
def test_no_two_stems_are_alike(parts):
    found = unique_stems([(Path(name + suffix), Path()) for name, suffix in parts])
    assert len({stem.as_posix().casefold() for stem in found}) == len(parts)
