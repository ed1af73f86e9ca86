"""Virtual KITTI 2, from a small folder in the published layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lotus_core.errors import CorruptSampleError, DatasetError, OptionError
from lotus_core.training.data import open_dataset
from tests.core.evaluation.layouts import pack_tar, picture, save

HEADER = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n"


@dataclass(frozen=True)
class Camera:
    """Size, focal length and principal point in pixels whose centres are whole numbers, as the data set counts."""

    height: int
    width: int
    focal: float
    x: float
    y: float

    @property
    def row(self) -> str:
        return f"{self.focal} {self.focal} {self.x} {self.y}"


PUBLISHED = Camera(375, 1242, 725.0087, 620.5, 187.0)
SMALL = Camera(88, 304, 180.0, 151.5, 40.0)  # a quarter of the published crop, for speed


def street(camera: Camera, camera_height: float = 6.0) -> np.ndarray:
    """Centimetres of a road under a sky, the camera some metres above the road."""
    slope = (np.arange(camera.height) - camera.y) / camera.focal
    with np.errstate(divide="ignore"):
        metres = np.where(slope > 0, camera_height / slope, 655.35)
    return np.minimum(metres * 100, 65535).round().astype(np.uint16)[:, None].repeat(camera.width, 1)


def write_frame(
    root, scene="02", frame=0, *, camera=SMALL, depth=None, prefixes=("", "", ""), intrinsics=True
):
    rgb, dep, text = (root / prefix / f"Scene{scene}/clone" for prefix in prefixes)
    save(rgb / f"frames/rgb/Camera_0/rgb_{frame:05}.jpg", picture(camera.height, camera.width))
    save(dep / f"frames/depth/Camera_0/depth_{frame:05}.png", street(camera) if depth is None else depth)
    if intrinsics:
        text.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{i} {c} {camera.row}\n" for i in range(2) for c in (0, 1))
        (text / "intrinsic.txt").write_text(HEADER + rows)


def road_is_up(sample) -> bool:
    """Whether all that is near points up in Lotus's frame; far rows are too coarse in centimetres."""
    near = sample.valid & (sample.depth < 40.0)
    up = torch.tensor([0.0, 1.0, 0.0])[:, None]
    return bool(near.any()) and torch.allclose(sample.normal[:, near], up, atol=0.05)


def test_an_example_has_the_published_crop_and_documented_parts(tmp_path):
    write_frame(tmp_path, camera=PUBLISHED)
    sample = open_dataset("virtual-kitti", tmp_path)[0]
    assert sample.image.shape == sample.normal.shape == (3, 352, 1216)
    assert float(sample.image.mean()) == pytest.approx(0.2 * 2 - 1, abs=0.01)
    assert sample.name.endswith("Scene02/clone/frames/rgb/Camera_0/rgb_00000.jpg")
    # metres: the last row of the picture is 374, 187 pixels below the horizon
    assert float(sample.depth[-1, 600]) == pytest.approx(6.0 / (187 / 725.0087), abs=0.005)
    assert road_is_up(sample)


def test_what_is_80_m_away_is_sky_and_all_else_is_known(tmp_path):
    write_frame(tmp_path)
    sample = open_dataset("virtual-kitti", tmp_path)[0]
    assert bool(sample.sky[0].all())
    assert bool(sample.depth[sample.sky].isinf().all())
    assert float(sample.depth[sample.valid].max()) < 80.0
    assert bool((sample.valid ^ sample.sky).all())
    assert not sample.normal[:, sample.sky].any()


@pytest.mark.parametrize(
    "prefixes", [("", "", ""), ("rgb", "depth", "textgt"), ("vkitti/rgb", "vkitti/depth", "vkitti/textgt")]
)
def test_the_three_archives_may_lie_together_or_apart(tmp_path, prefixes):
    write_frame(tmp_path, prefixes=prefixes)
    assert road_is_up(open_dataset("virtual-kitti", tmp_path)[0])


def test_the_intrinsics_of_the_frames_camera_are_used(tmp_path):
    write_frame(tmp_path)
    wrong = "0 1 90.0 90.0 10 10\n"
    (tmp_path / "Scene02/clone/intrinsic.txt").write_text(f"{HEADER}{wrong}0 0 {SMALL.row}\n")
    assert road_is_up(open_dataset("virtual-kitti", tmp_path)[0])
    (tmp_path / "Scene02/clone/intrinsic.txt").write_text(
        f"{HEADER}0 0 {SMALL.focal} {SMALL.focal} 151.5 0\n"
    )
    assert not road_is_up(open_dataset("virtual-kitti", tmp_path)[0])


def test_without_the_file_every_frame_has_the_published_camera(tmp_path):
    write_frame(tmp_path, camera=PUBLISHED, intrinsics=False)
    assert road_is_up(open_dataset("virtual-kitti", tmp_path)[0])


def test_scene_01_is_left_for_validation(tmp_path):
    write_frame(tmp_path, "01")
    write_frame(tmp_path, "18", 1)
    train, val = open_dataset("virtual-kitti", tmp_path), open_dataset("virtual-kitti", tmp_path, split="val")
    assert (len(train), len(val)) == (1, 1)
    assert "Scene18" in train[0].name
    assert "Scene01" in val[0].name


def test_another_size_is_the_crop_made_smaller(tmp_path):
    write_frame(tmp_path)
    sample = open_dataset("virtual-kitti", tmp_path, size=(176, 608))[0]
    assert sample.image.shape == (3, 176, 608)
    assert sample.depth.shape == (176, 608)


def test_a_smaller_picture_is_enlarged_to_the_crop(tmp_path):
    save(tmp_path / "Scene02/clone/frames/rgb/Camera_0/rgb_00000.jpg", picture(100, 400))
    save(
        tmp_path / "Scene02/clone/frames/depth/Camera_0/depth_00000.png", np.full((100, 400), 500, np.uint16)
    )
    sample = open_dataset("virtual-kitti", tmp_path)[0]
    assert sample.image.shape == (3, 352, 1216)
    assert float(sample.depth.mean()) == pytest.approx(5.0)


def test_a_tar_is_as_good_as_the_folder(tmp_path):
    write_frame(tmp_path / "set")
    archive = pack_tar(tmp_path / "set", tmp_path / "out" / "vkitti.tar")
    found, expected = (open_dataset("virtual-kitti", place)[0] for place in (archive, tmp_path / "set"))
    assert torch.equal(found.normal, expected.normal)


@pytest.mark.parametrize("kind", ["rgb/Camera_0/rgb_00000.jpg", "depth/Camera_0/depth_00000.png"])
def test_a_damaged_file_is_named(tmp_path, kind):
    write_frame(tmp_path)
    path = tmp_path / "Scene02/clone/frames" / kind
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CorruptSampleError, match="is truncated or damaged") as caught:
        open_dataset("virtual-kitti", tmp_path)[0]
    assert caught.value.path == path


def test_a_depth_of_another_size_is_named(tmp_path):
    write_frame(tmp_path, depth=street(SMALL)[:-1])
    with pytest.raises(
        CorruptSampleError, match=r"depth_00000.png does not fit its picture \(found: shape \(87, 304\)"
    ):
        open_dataset("virtual-kitti", tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [("0 0 many\n", "intrinsic.txt is damaged"), ("7 0 1 1 1 1\n", "no row for frame 0 of camera 0")],
)
def test_intrinsics_that_do_not_help_are_named(tmp_path, text, message):
    write_frame(tmp_path)
    (tmp_path / "Scene02/clone/intrinsic.txt").write_text(HEADER + text)
    with pytest.raises(CorruptSampleError, match=message.replace(".", r"\.")):
        open_dataset("virtual-kitti", tmp_path)[0]


def test_a_folder_without_its_scenes_says_what_is_expected(tmp_path):
    write_frame(tmp_path, "01")
    with pytest.raises(DatasetError, match=r"\(found: 1 frames of other scenes\).*scenes 02, 06, 18, 20"):
        open_dataset("virtual-kitti", tmp_path)


def test_an_unknown_split_is_refused(tmp_path):
    write_frame(tmp_path)
    with pytest.raises(OptionError, match='"train" or "val"'):
        open_dataset("virtual-kitti", tmp_path, split="test")
