"""What was written is what is read, for random contents."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lotus_core.geometry.camera import pixel_rays
from lotus_core.io.exr import write_exr
from lotus_core.training.data.archives import open_tree
from lotus_core.training.data.hypersim import SPLIT_FILE, Hypersim
from lotus_core.training.data.pixels import exr_rgb, integers, npy, raw_float32, rgb01
from lotus_core.training.data.plane_fit import normals_by_plane_fit
from lotus_core.training.data.resizing import lower_middle, resize_plane
from tests.core.evaluation.layouts import pack_tar, pack_zip
from tests.core.training.data.test_hypersim import HEADER, write_frame

SEEDS = st.integers(0, 2**31)
SIDES = st.integers(1, 17)
FEW = settings(max_examples=25, deadline=None)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@FEW
@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_pictures_of_eight_bits(seed, height, width):
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    assert np.array_equal((rgb01(png(array)) * 255).round().astype(np.uint8), array)
    assert np.array_equal(integers(png(array)), array)


@FEW
@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_depth_of_sixteen_bits(seed, height, width):
    array = np.random.default_rng(seed).integers(0, 65_536, (height, width)).astype(np.uint16)
    assert np.array_equal(integers(png(array)), array)


@FEW
@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_bare_floats_and_numpy_files(seed, height, width):
    array = np.random.default_rng(seed).normal(size=(height, width)).astype("<f4")
    array[0, 0] = np.inf
    buffer = io.BytesIO()
    np.save(buffer, array)
    assert np.array_equal(raw_float32(height, width)(array.tobytes()), array)
    assert np.array_equal(npy(buffer.getvalue()), array)


@pytest.mark.parametrize("seed", range(5))
def test_normals_in_an_exr(tmp_path, seed):
    array = np.random.default_rng(seed).normal(size=(5, 7, 3)).astype(np.float32)
    planes = {name: torch.from_numpy(array[..., i].copy()) for i, name in enumerate("RGB")}
    assert np.array_equal(exr_rgb(write_exr(tmp_path / "n.exr", planes).read_bytes()), array)


@pytest.mark.parametrize("seed", range(4))
def test_any_tree_of_files_in_any_wrapping(tmp_path, seed):
    rng = np.random.default_rng(seed)
    files = {
        "/".join(f"d{rng.integers(3)}" for _ in range(rng.integers(0, 3))) + f"/f{i}.bin": rng.bytes(int(n))
        for i, n in enumerate(rng.integers(0, 5000, 12))
    }
    files = {name.lstrip("/"): data for name, data in files.items()}
    for name, data in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    places = (
        tmp_path / "set",
        pack_tar(tmp_path / "set", tmp_path / "out/a.tar"),
        pack_zip(tmp_path / "set", tmp_path / "out/a.zip"),
    )
    for place in places:
        tree = open_tree(place)
        assert {name: tree.read(name) for name in tree.names()} == files


@FEW
@given(seed=SEEDS)
def test_a_random_plane_gives_its_own_normal(seed):
    rng = np.random.default_rng(seed)
    normal = torch.from_numpy(np.append(rng.uniform(-0.6, 0.6, 2), -1.0))
    normal = normal / normal.norm()
    k = torch.tensor([[40.0, 0, 16], [0, 36.0, 12], [0, 0, 1]], dtype=torch.float64)
    depth = -rng.uniform(1, 20) / (pixel_rays(k[None], 24, 32)[0].double() @ normal)
    valid = depth > 0
    found = normals_by_plane_fit(depth.float(), valid, k)
    assert torch.allclose(found[valid], normal.float().expand(int(valid.sum()), 3), atol=2e-3)


@FEW
@given(seed=SEEDS, height=SIDES, width=SIDES, new_height=SIDES, new_width=SIDES)
def test_resizing_a_map_invents_no_value(seed, height, width, new_height, new_width):
    plane = torch.from_numpy(np.random.default_rng(seed).normal(size=(height, width)))
    found = resize_plane(plane.float(), (new_height, new_width))
    assert found.shape == (new_height, new_width)
    assert set(found.flatten().tolist()) <= set(plane.float().flatten().tolist())


@FEW
@given(
    height=st.integers(4, 20),
    width=st.integers(4, 20),
    inner_height=st.integers(1, 4),
    inner_width=st.integers(1, 4),
)
def test_the_lower_middle_touches_the_bottom_and_is_centred(height, width, inner_height, inner_width):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    part = lower_middle(torch.stack([rows, columns]), (inner_height, inner_width))
    assert int(part[0].max()) == height - 1
    left, right = int(part[1].min()), width - 1 - int(part[1].max())
    assert right - left in (0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_any_assignment_of_frames_to_splits_is_followed(tmp_path, seed):
    rng = np.random.default_rng(seed)
    expected: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    lines = []
    for frame in range(8):
        write_frame(tmp_path, "ai_001_001", frame)
        split, released = rng.choice(list(expected)), bool(rng.random() < 0.7)
        lines.append(f"ai_001_001,cam_00,{frame},{released},,{split}")
        if released:
            expected[split].add(f"frame.{frame:04}.tonemap.jpg")
    (tmp_path / SPLIT_FILE).write_text(HEADER + "\n".join(lines) + "\n")
    for split, names in expected.items():
        if names:
            dataset = Hypersim(open_tree(tmp_path), split, (48, 64))
            found = {dataset[index].name.rsplit("/", 1)[-1] for index in range(len(dataset))}
            assert found == names
