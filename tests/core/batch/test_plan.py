import fsspec
import pytest

from lotus_core.batch.plan import Unit, plan_units
from lotus_core.errors import ImageError, StorageError

from .conftest import image_bytes, write_tar


def inputs(units):
    return [name for unit in units for name in unit.inputs]


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes())
    return folder


def test_a_folder_is_its_images_with_sub_folders_in_order(tmp_path):
    touch(tmp_path, "b.png", "a.jpg", "deep/c.PNG", "notes.txt", "x.json")
    units = plan_units(str(tmp_path))
    assert [name.removeprefix(f"{tmp_path}/") for name in inputs(units)] == ["a.jpg", "b.png", "deep/c.PNG"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path, "a.png", ".b.png", ".thumbs/c.png")
    assert len(inputs(plan_units(str(tmp_path)))) == 1


def test_a_hidden_folder_may_itself_be_the_input(tmp_path):
    touch(tmp_path / ".cache" / "set", "a.png")
    assert len(inputs(plan_units(str(tmp_path / ".cache" / "set")))) == 1


def test_units_hold_a_chunk_each(tmp_path):
    touch(tmp_path, *(f"{i:02d}.png" for i in range(10)))
    units = plan_units(str(tmp_path), chunk=4)
    assert [len(unit.inputs) for unit in units] == [4, 4, 2]
    assert [unit.number for unit in units] == [0, 1, 2]
    assert {unit.source for unit in units} == {"files"}


def test_a_pattern(tmp_path):
    touch(tmp_path, "a1.png", "a2.png", "b1.png")
    assert len(inputs(plan_units(str(tmp_path / "a*.png")))) == 2


def test_a_list_is_read_relative_to_itself(tmp_path):
    touch(tmp_path, "x/a.png", "b.png")
    listing = tmp_path / "set.txt"
    listing.write_text(f"# photographs\nx/a.png\n\n{tmp_path}/b.png\ns3://bucket/c.png\nx/a.png\n")
    assert inputs(plan_units(str(listing))) == [
        f"{tmp_path}/x/a.png",
        f"{tmp_path}/b.png",
        "s3://bucket/c.png",
    ]


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path):
    listing = tmp_path / "set.txt"
    listing.write_bytes(b"\xef\xbb\xbfa.png\r\nb.png\r\n")
    assert inputs(plan_units(str(listing))) == [f"{tmp_path}/a.png", f"{tmp_path}/b.png"]


def test_shards_are_a_unit_each(tmp_path):
    for index in range(3):
        write_tar(tmp_path / f"set-{index:03d}.tar", {"a.png": image_bytes()})
    units = plan_units(str(tmp_path / "set-{000..002}.tar"))
    assert [(unit.source, len(unit.inputs)) for unit in units] == [("tar", 1)] * 3
    assert inputs(units) == [f"{tmp_path}/set-{index:03d}.tar" for index in range(3)]


def test_a_folder_of_shards_alone_is_its_shards(tmp_path):
    write_tar(tmp_path / "b.tar", {})
    write_tar(tmp_path / "a.tar", {})
    assert inputs(plan_units(str(tmp_path))) == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]


def test_a_list_may_mix_images_and_shards(tmp_path):
    listing = tmp_path / "set.txt"
    listing.write_text("a.png\nb.tar\nc.png\n")
    assert [(u.source, len(u.inputs)) for u in plan_units(str(listing))] == [("files", 2), ("tar", 1)]


def test_one_image_is_a_set(tmp_path):
    touch(tmp_path, "a.png")
    assert inputs(plan_units(str(tmp_path / "a.png"))) == [str(tmp_path / "a.png")]


def test_any_fsspec_url(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/{tmp_path.name}/b.png", b"")
    memory.pipe(f"/{tmp_path.name}/a.png", b"")
    root = f"memory://{tmp_path.name}"
    assert inputs(plan_units(root)) == [f"memory:///{tmp_path.name}/{n}.png" for n in "ab"]
    assert len(inputs(plan_units(f"{root}/a*.png"))) == 1


def test_a_shard_behind_a_query_is_told_by_its_path():
    units = plan_units("https://host/set.tar?token=1.png")
    assert [unit.source for unit in units] == ["tar"]


@pytest.mark.parametrize("name", ["", "*.png", "none.txt"])
def test_nothing_to_work_on_is_refused(tmp_path, name):
    (tmp_path / "none.txt").write_text("# nothing\n")
    with pytest.raises(ImageError, match="stands for no image and no shard"):
        plan_units(str(tmp_path / name))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"no\.txt cannot be listed"):
        plan_units(str(tmp_path / "no.txt"))


def test_an_unknown_kind_of_url_is_named():
    with pytest.raises(StorageError, match="cannot be listed"):
        plan_units("ftpx://host/folder/*")


def test_a_unit_survives_json():
    unit = Unit(7, "tar", ("a.tar",))
    line = unit.to_json()
    assert "\n" not in line
    assert Unit.from_json(line) == unit
