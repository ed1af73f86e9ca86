"""The bundled models on rendered rooms: frames, kinds and signs are right from the picture to the score."""

from __future__ import annotations

import pytest
import torch

from lotus_core.evaluation.alignment import align_depth
from lotus_core.evaluation.normal_metrics import angular_error_deg
from lotus_core.evaluation.rendered import SceneDepth, SceneNormals, SceneRange
from lotus_core.evaluation.round_trip import vae_round_trip
from lotus_core.inference.model import load_model
from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth, predict_normals

ROOMS = SceneRange(500_000, 2, 64, 96, "room")
OWN_SIZE = InferenceOptions(resolution=0)


@pytest.fixture(scope="module")
def normal_model():
    return load_model("lotus-tiny-normal-d", device="cpu", precision="fp32")


def test_every_axis_of_the_truth_points_where_the_models_does(normal_model):
    samples = [SceneNormals(ROOMS).load(name) for name in ROOMS.names()]
    vectors = predict_normals(normal_model, torch.stack([s.rgb for s in samples]), OWN_SIZE).vectors
    truth, valid = (torch.stack([getattr(s, part) for s in samples]) for part in ("normals", "valid"))
    right = float(angular_error_deg(vectors, truth)[valid].mean())
    for axis in range(3):
        turned = truth.clone()
        turned[..., axis] *= -1
        assert float(angular_error_deg(vectors, turned)[valid].mean()) > right + 3.0, "xyz"[axis]


def test_the_bundled_vae_keeps_normals_and_pictures(normal_model):
    trip = vae_round_trip(normal_model, SceneNormals(ROOMS))
    assert trip.normals_mean_deg < 25.0
    assert trip.rgb_psnr_db > 15.0
    assert trip.rgb_mean_shift < 0.1


def test_a_high_disparity_is_near():
    model = load_model("lotus-tiny-depth-d", device="cpu", precision="fp32")
    for name in ROOMS.names():
        sample = SceneDepth(ROOMS).load(name)
        prediction = predict_depth(model, sample.rgb[None], OWN_SIZE)
        assert prediction.kind == "disparity"
        assert align_depth(prediction.values[0], sample.depth, sample.valid, "disparity").scale > 0
