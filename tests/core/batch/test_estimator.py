import pytest
import torch

from lotus_core.batch.estimator import Estimator
from lotus_core.batch.job import Job
from lotus_core.errors import ImageError, ModelTaskError
from lotus_core.inference.options import InferenceOptions
from tests.core.inference.models import passing_model

from .conftest import estimator, job


def grey(level, height=16, width=24):
    return torch.full((1, height, width, 3), level)


def test_it_says_what_it_is():
    found = estimator(job(options=InferenceOptions(resolution=0, seed=5)), "depth")
    assert (found.kind, found.model_name, found.options["seed"]) == ("depth", "test", 5)


def test_every_image_gets_its_own_map():
    found = estimator().run([grey(0.25), grey(0.75)])
    assert [float(e.values.mean()) for e in found] == pytest.approx([0.25, 0.75])
    assert [e.values.shape for e in found] == [(16, 24)] * 2
    assert all(e.error is None and e.ms > 0 for e in found)


def test_normals_are_vectors():
    (found,) = estimator(job(task="normal"), "normal").run([grey(0.5)])
    assert found.values.shape == (16, 24, 3)
    assert float(found.values.norm(dim=-1).mean()) == pytest.approx(1.0)


def test_one_that_fails_does_not_take_the_others_with_it():
    found = estimator().run([grey(0.25), grey(float("nan")), grey(0.75)])
    assert [e.values is None for e in found] == [False, True, False]
    assert isinstance(found[1].error, ImageError)
    assert float(found[2].values.mean()) == pytest.approx(0.75)


def test_an_unexpected_error_is_that_images_alone():
    model = passing_model("d", "depth")
    encode = model.vae.encode

    def fails_on_white(rgb):
        if float(rgb.max()) > 0.99:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return encode(rgb)

    model.vae.encode = fails_on_white
    found = Estimator(job(), model).run([grey(0.5), grey(1.0)])
    assert found[0].error is None
    assert str(found[1].error) == "CUDA error: unspecified launch failure"


@pytest.mark.parametrize(("task", "output"), [("depth", "normal"), ("normal", "depth")])
def test_a_model_of_another_task_is_refused_at_once(task, output):
    with pytest.raises(ModelTaskError):
        estimator(job(task=task), output)


def test_the_job_names_the_model_to_load():
    named = Job("lotus-tiny-depth-d", options=InferenceOptions(resolution=32), loading={"device": "cpu"})
    found = Estimator(named)
    assert found.model_name == "lotus-tiny-depth-d"
    assert found.kind == "disparity"
    assert found.run([grey(0.5, 32, 32)])[0].values.shape == (32, 32)
