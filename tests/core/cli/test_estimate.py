"""The estimating commands on models whose output is known: an evenly grey picture's map is its grey."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lotus_core.cli import estimate
from lotus_core.inference import predict


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def item(ran, index: int = 0) -> dict:
    return ran.document["items"][index]


def test_depth_of_a_grey_photo_is_its_grey(lotus, known_models, grey_photo, tmp_path):
    ran = lotus(
        "depth", grey_photo(level=51), "-o", tmp_path / "out", "--model", "disparity-d", "--format", "npy"
    )
    assert (ran.code, ran.out) == (0, f"1 done, 0 failed; results in {tmp_path / 'out'}\n")
    found = np.load(tmp_path / "out/photo_disparity.npy")
    assert found.shape == (16, 24)
    assert found == pytest.approx(0.2, abs=1e-5)  # 51 / 255


def test_default_files_are_a_picture_and_16_bit_data(lotus, known_models, grey_photo, tmp_path):
    lotus("depth", grey_photo(), "-o", tmp_path / "out", "--model", "depth-d")
    assert files_in(tmp_path / "out") == ["photo_depth.png", "photo_depth16.png"]


def test_normal_of_lotus_blue_faces_the_camera(lotus, known_models, tmp_path):
    blue = np.full((16, 16, 3), (128, 128, 255), np.uint8)  # toward the camera, in Lotus's colours
    Image.fromarray(blue).save(tmp_path / "wall.png")
    ran = lotus(
        "normal", tmp_path / "wall.png", "-o", tmp_path / "out", "--model", "normal-d", "--format", "npy,png"
    )
    assert ran.code == 0
    found = np.load(tmp_path / "out/wall_normal.npy")
    assert np.abs(found - (0.0, 0.0, -1.0)).max() < 0.01
    with Image.open(tmp_path / "out/wall_normal.png") as image:
        assert np.abs(np.array(image).astype(int) - (128, 128, 255)).max() <= 1


def test_joint_writes_both(lotus, known_models, grey_photo, tmp_path):
    ran = lotus("joint", grey_photo(), "-o", tmp_path / "out", "--model", "disparity-d", "normal-d")
    assert ran.code == 0
    assert known_models == ["disparity-d", "normal-d"]
    assert files_in(tmp_path / "out") == [
        "photo_depth.png",
        "photo_disparity16.png",
        "photo_normal.png",
        "photo_normal16.png",
    ]


def test_joint_takes_its_models_one_by_one(lotus, known_models, grey_photo, tmp_path):
    words = ["--normal-model", "normal-d", "--depth-model", "depth-d"]
    assert lotus("joint", grey_photo(), "-o", tmp_path / "out", *words).code == 0
    assert known_models == ["depth-d", "normal-d"]


def test_joint_refuses_models_named_twice(lotus, known_models, grey_photo, tmp_path):
    words = ["--model", "depth-d", "normal-d", "--depth-model", "disparity-d"]
    ran = lotus("joint", grey_photo(), "-o", tmp_path / "out", *words)
    assert ran.code == 2
    assert "--model must be the only option that names models" in ran.err


def test_reconstruct_uses_the_other_position_of_the_switch(lotus, known_models, grey_photo, tmp_path):
    words = ["--model", "depth-d", "--format", "npy"]
    ran = lotus("reconstruct", grey_photo(level=51), "-o", tmp_path / "out", *words)
    assert ran.code == 0
    # the stand-in negates latents there: -(2 * 0.2 - 1) -> 0.8
    assert np.load(tmp_path / "out/photo_reconstruction.npy") == pytest.approx(0.8, abs=1e-5)


def test_ensemble_of_a_generative_model_leaves_its_uncertainty(lotus, known_models, grey_photo, tmp_path):
    words = ["--model", "disparity-g", "--ensemble", 3, "--seed", 5, "--format", "png,npy,npz"]
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", *words, "--json")
    assert ran.code == 0
    assert (ran.document["options"]["ensemble_size"], ran.document["options"]["seed"]) == (3, 5)
    spread = np.load(tmp_path / "out/photo_disparity_uncertainty.npy")
    assert spread.shape == (16, 24)
    assert spread.max() > 0
    assert (tmp_path / "out/photo_depth_uncertainty.png").is_file()


def test_seed_changes_the_map_of_a_generative_model(lotus, known_models, grey_photo, tmp_path):
    maps = []
    for seed in (1, 1, 2):
        words = ["--model", "disparity-g", "--seed", seed, "--format", "npy"]
        lotus("depth", grey_photo(), "-o", tmp_path / "out", *words)
        maps.append(np.load(tmp_path / "out/photo_disparity.npy"))
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_ensemble_of_a_discriminative_model_is_refused_before_anything_runs(
    lotus, known_models, grey_photo, tmp_path
):
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", "--model", "depth-d", "--ensemble", 4)
    assert ran.code == 2
    assert (
        "--ensemble must be 1 for depth-d: a discriminative (d) model gives the same map every time"
        in ran.err
    )


def test_normal_model_for_depth_is_refused_before_anything_runs(lotus, known_models, grey_photo, tmp_path):
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", "--model", "normal-d", "--json")
    assert ran.code == 2
    assert ran.document["error"]["type"] == "ModelTaskError"
    assert "needs a depth or disparity model (found: normal-d, which estimates normal)" in ran.err


def test_depth_model_for_normals_is_refused_before_anything_runs(lotus, known_models, grey_photo, tmp_path):
    ran = lotus("normal", grey_photo(), "-o", tmp_path / "out", "--model", "depth-d")
    assert (ran.code, "needs a normal model (found: depth-d" in ran.err) == (2, True)


@pytest.mark.parametrize("resolution", ["-5", "9000", "8"])
def test_resolution_outside_its_range_is_bad_usage(lotus, known_models, grey_photo, tmp_path, resolution):
    words = ["--model", "depth-d", f"--resolution={resolution}"]
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", *words)
    assert ran.code == 2
    assert (
        f"resolution must be 0 (the image's own size) or 16 to 8192 pixels (found: {resolution})" in ran.err
    )
    assert known_models == []  # refused before a model was loaded
    assert not (tmp_path / "out").exists()


def test_no_model_on_this_machine_is_explained(lotus, grey_photo, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("LOTUS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    ran = lotus("joint", grey_photo(), "-o", tmp_path / "out")
    assert ran.code == 2
    assert "lotus models pull lotus-depth-d-v2-0-disparity" in ran.err
    assert "--depth-model lotus-tiny-depth-d" in ran.err


def test_output_below_a_file_is_refused_before_a_model_is_loaded(lotus, known_models, grey_photo, tmp_path):
    (tmp_path / "file").touch()
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "file" / "out", "--model", "depth-d")
    assert ran.code == 2
    assert "cannot be written" in ran.err
    assert "choose a folder that you may write to" in ran.err
    assert known_models == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission_is_refused(lotus, known_models, grey_photo, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "locked", "--model", "depth-d")
    assert (ran.code, "choose a folder that you may write to" in ran.err) == (2, True)


def test_missing_exr_package_is_told_before_a_model_is_loaded(
    lotus, known_models, grey_photo, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", "--model", "depth-d", "--format", "exr")
    assert ran.code == 2
    assert 'pip install "lotus-geometry[exr]"' in ran.err
    assert known_models == []


def test_image_that_cannot_be_read_stops_nothing(lotus, known_models, grey_photo, tmp_path):
    good, empty = grey_photo("a.png"), tmp_path / "in" / "b.png"
    empty.touch()
    small, last = grey_photo("c.png", width=8), grey_photo("d.png")
    ran = lotus("depth", good, empty, small, last, "-o", tmp_path / "out", "--model", "depth-d", "--json")
    assert ran.code == 1
    assert [i["status"] for i in ran.document["items"]] == ["done", "failed", "failed", "done"]
    assert item(ran, 1)["error"]["type"] == "ImageError"
    assert item(ran, 1)["error"]["message"].endswith(
        "b.png is empty (found: 0 bytes): copy or download it again."
    )
    assert "c.png is too small (found: 8x16 pixels)" in item(ran, 2)["error"]["message"]
    assert files_in(tmp_path / "out") == ["a_depth.png", "a_depth16.png", "d_depth.png", "d_depth16.png"]


def test_input_that_is_not_there_is_listed(lotus, known_models, grey_photo, tmp_path):
    ran = lotus("depth", tmp_path / "nowhere.png", grey_photo(), "-o", tmp_path / "out", "--model", "depth-d")
    assert ran.code == 1
    assert "there is no file" in ran.err
    assert ran.out.startswith("1 done, 1 failed")


def test_folder_without_images_fails_without_loading_a_model(lotus, known_models, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = lotus("depth", tmp_path / "empty", "-o", tmp_path / "out", "--model", "depth-d")
    assert (ran.code, "no image in the folder" in ran.err, known_models) == (1, True, [])


def test_error_that_is_none_of_ours_stops_nothing_and_is_shown(
    lotus, known_models, grey_photo, tmp_path, monkeypatch
):
    real = predict.predict_depth
    calls = []

    def sometimes(model, pixels, options):
        calls.append(None)
        if len(calls) == 1:
            raise RuntimeError("a kernel failed")
        return real(model, pixels, options)

    monkeypatch.setattr(predict, "predict_depth", sometimes)
    photos = [grey_photo("a.png"), grey_photo("b.png")]
    ran = lotus("depth", *photos, "-o", tmp_path / "out", "--model", "depth-d", "--json")
    assert ran.code == 1
    assert item(ran, 0)["error"]["message"] == "unexpected RuntimeError: a kernel failed"
    assert item(ran, 1)["status"] == "done"
    assert "Traceback" in ran.err


def test_ctrl_c_keeps_what_is_done_and_says_so(lotus, known_models, grey_photo, tmp_path, monkeypatch):
    real = estimate._work

    def stopped_at_b(job, item, report):
        if item.path.name == "b.png":
            raise KeyboardInterrupt
        real(job, item, report)

    monkeypatch.setattr(estimate, "_work", stopped_at_b)
    photos = [grey_photo(f"{name}.png") for name in "abc"]
    ran = lotus("depth", *photos, "-o", tmp_path / "out", "--model", "depth-d", "--json")
    assert ran.code == 130
    assert ran.document["interrupted"] is True
    assert files_in(tmp_path / "out") == ["a_depth.png", "a_depth16.png"]


def test_clamped_pixels_are_a_warning_for_every_image(lotus, known_models, tmp_path):
    for name in ("a", "b"):
        Image.fromarray(np.full((16, 16), 1.5, np.float32)).save(tmp_path / f"{name}.tif")
    photos = [tmp_path / "a.tif", tmp_path / "b.tif"]
    ran = lotus("depth", *photos, "-o", tmp_path / "out", "--model", "depth-d", "--json")
    assert ran.code == 0
    for k in range(2):
        assert "pixels outside [0, 1] were clamped" in item(ran, k)["warnings"][0]
    assert ran.err.count("warning: ") == 2


def test_pixels_that_are_nan_fail_with_their_number(lotus, known_models, tmp_path):
    values = np.full((16, 16), 0.5, np.float32)
    values[3, 4:6] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    ran = lotus("depth", tmp_path / "a.tif", "-o", tmp_path / "out", "--model", "depth-d", "--json")
    assert ran.code == 1
    assert "NaN or infinity (found: 2 such pixels)" in item(ran)["error"]["message"]


def test_document_says_what_was_run_and_found(lotus, known_models, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    exif.get_ifd(0x8769)[0xA405] = 28
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(tmp_path / "in/a.jpg", exif=exif)
    words = ["--model", "disparity-d", "--resolution", "64", "--format", "npz"]
    ran = lotus("depth", tmp_path / "in", "-o", tmp_path / "out", *words, "--json")
    document = ran.document
    assert (document["command"], document["done"], document["failed"]) == ("depth", 1, 0)
    assert document["models"][0]["name"] == "disparity-d"
    assert document["options"]["resolution"] == 64
    found = item(ran)
    assert (found["width"], found["height"], found["focal_35mm_mm"]) == (16, 32, 28.0)
    assert found["files"] == [str(tmp_path / "out" / "a_disparity.npz")]
    assert ran.err == ""


def test_inputs_of_one_name_do_not_overwrite_each_other(lotus, known_models, grey_photo, tmp_path):
    grey_photo("a.png", level=0)
    grey_photo("a.jpg", level=255)
    ran = lotus("depth", tmp_path / "in", "-o", tmp_path / "out", "--model", "depth-d", "--format", "npy")
    assert ran.code == 0
    assert files_in(tmp_path / "out") == ["a_jpg_depth.npy", "a_png_depth.npy"]
    assert np.load(tmp_path / "out/a_png_depth.npy").max() < 0.1
    assert np.load(tmp_path / "out/a_jpg_depth.npy").min() > 0.9


def test_photo_with_the_name_of_a_result_is_not_overwritten(lotus, known_models, grey_photo, tmp_path):
    photos = [grey_photo("a.png"), grey_photo("a_depth.png", level=200)]
    before = photos[1].read_bytes()
    ran = lotus("depth", *photos, "-o", tmp_path / "in", "--model", "depth-d", "--format", "png", "--json")
    assert ran.code == 1
    assert "is an input of this run" in item(ran, 0)["error"]["message"]
    assert item(ran, 1)["status"] == "done"
    assert photos[1].read_bytes() == before


def test_colormap_and_reverse_reach_the_picture(lotus, known_models, tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None], 16, axis=0)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    words = ["--model", "disparity-d", "--format", "png", "--resolution", "0"]
    reds = []
    for extra in ([], ["--reverse"]):
        lotus(
            "depth", tmp_path / "ramp.png", "-o", tmp_path / "out", *words, "--colormap", "spectral", *extra
        )
        with Image.open(tmp_path / "out/ramp_depth.png") as image:
            left, right = image.getpixel((0, 8)), image.getpixel((63, 8))
        reds.append((left[0] > left[2], right[0] > right[2]))
    assert reds == [(False, True), (True, False)]  # near, at the right, is red; then far is


def test_progress_bar_is_drawn_on_a_terminal(lotus, known_models, grey_photo, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    words = ["depth", grey_photo("a.png"), grey_photo("b.png"), "-o", tmp_path / "out", "--model", "depth-d"]
    ran = lotus(*words)
    assert "depth: 100%" in ran.err
    assert "2/2" in ran.err
    assert ran.out.startswith("2 done, 0 failed")
    assert lotus(*words, "--quiet").err == ""
