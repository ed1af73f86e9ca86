import dataclasses

import pytest

from lotus_core.errors import OptionError
from lotus_core.inference.options import InferenceOptions


def test_the_defaults_leave_the_size_to_the_checkpoint():
    options = InferenceOptions()
    assert (options.resolution, options.seed, options.ensemble_size) == (None, 0, 1)
    assert (options.batch_size, options.sequence, options.upsample) == ("auto", "images", "bilinear")


@pytest.mark.parametrize("resolution", [0, 16, 768, 8192])
def test_resolutions_from_16_to_8192_and_0_are_taken(resolution):
    assert InferenceOptions(resolution=resolution).resolution == resolution


@pytest.mark.parametrize("resolution", [-1, 15, 8193, 768.0, True])
def test_other_resolutions_are_refused(resolution):
    with pytest.raises(
        OptionError, match=r"resolution must be 0 \(the image's own size\) or 16 to 8192 pixels"
    ):
        InferenceOptions(resolution=resolution)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", -1, "an integer from 0 to"),
        ("seed", 2**63, "an integer from 0 to"),
        ("seed", 1.5, "an integer from 0 to"),
        ("ensemble_size", 0, "an integer from 1 to 64"),
        ("ensemble_size", 65, "an integer from 1 to 64"),
        ("batch_size", 0, '"auto" or an integer of at least 1'),
        ("batch_size", "all", '"auto" or an integer of at least 1'),
        ("sequence", "clip", "one of images, video"),
        ("upsample", "bicubic", "one of bilinear, nearest-exact"),
    ],
)
def test_values_outside_their_range_are_refused_by_name(name, value, words):
    with pytest.raises(OptionError, match=words) as caught:
        InferenceOptions(**{name: value})
    assert caught.value.option == name
    assert caught.value.value == value


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        InferenceOptions().seed = 3


def test_names_lists_every_option():
    assert InferenceOptions.names() == (
        "resolution",
        "seed",
        "ensemble_size",
        "batch_size",
        "sequence",
        "upsample",
    )
