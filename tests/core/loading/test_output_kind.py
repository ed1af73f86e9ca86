"""What a checkpoint estimates."""

from __future__ import annotations

import pytest

from lotus_core.errors import OptionError, OutputKindError
from lotus_core.loading.catalog import models
from lotus_core.loading.output_kind import output_from_name, require_output, unknown_output

NAMES = {
    # Kijai/lotus-comfyui and Comfy-Org/lotus
    "lotus-depth-d-v-1-1-fp16.safetensors": "depth",
    "lotus-depth-d-v1-1.safetensors": "depth",
    "lotus-depth-g-v1-0.safetensors": "depth",
    "lotus-depth-g-v1-0-fp16.safetensors": "depth",
    "lotus-normal-d-v1-0.safetensors": "normal",
    "lotus-normal-g-v1-0-fp16.safetensors": "normal",
    # the authors' repositories
    "jingheya/lotus-depth-g-v2-1-disparity": "disparity",
    "lotus-depth-d-v2-0-disparity": "disparity",
    "lotus-normal-d-v1-1": "normal",
    # what users make of them
    "Lotus_Normal_G": "normal",
    "myLotusDepth": "depth",
    "LOTUS DEPTH.sft": "depth",
    "lotus-normals": "normal",
    "depthmap_v3": "depth",
    "disparity2": "disparity",
}


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_a_name_that_says_it_is_understood(name: str, kind: str) -> None:
    assert output_from_name(name) == kind


@pytest.mark.parametrize(
    "name", ["mini-d", "lotus-g-v1-0", "unet", "", "model.safetensors", "abnormal", "normalized"]
)
def test_a_name_that_says_nothing_gives_nothing(name: str) -> None:
    assert output_from_name(name) is None


@pytest.mark.parametrize("name", ["lotus-depth-normal", "normal_disparity.safetensors", "depthmap-normalmap"])
def test_a_name_that_contradicts_itself_is_an_error(name: str) -> None:
    with pytest.raises(OutputKindError, match="says both normals and depth") as caught:
        output_from_name(name)
    assert 'pass output="depth" (high = far), "disparity" (high = near) or "normal"' in str(caught.value)


def test_every_published_name_says_what_the_catalogue_says() -> None:
    published = [entry for entry in models() if entry.layout != "bundled"]
    assert len(published) >= 10
    for entry in published:
        assert output_from_name(entry.weights) == entry.output
        assert output_from_name(entry.flat_name) == entry.output


@pytest.mark.parametrize("kind", ["depth", "disparity", "normal"])
def test_a_given_kind_is_kept(kind: str) -> None:
    assert require_output(kind) == kind


@pytest.mark.parametrize("kind", ["Depth", "normals", "", "auto"])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    with pytest.raises(OptionError, match='output must be "depth", "disparity" or "normal"'):
        require_output(kind)


def test_the_question_names_the_checkpoint_and_the_choices() -> None:
    text = str(unknown_output("mini-d"))
    assert text == (
        "nothing says what mini-d estimates (found: the name 'mini-d'): "
        'pass output="depth" (high = far), "disparity" (high = near) or "normal".'
    )
