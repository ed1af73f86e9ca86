"""Options of the estimating commands, and the values they become."""

from __future__ import annotations

import argparse

import pytest

from lotus_core.cli import arguments
from lotus_core.cli.main import build_parser
from lotus_core.conventions import NormalConvention
from lotus_core.errors import OptionError
from lotus_core.inference.options import InferenceOptions
from lotus_core.rendering.colormap import COLORMAPS


def parse(*words: str) -> argparse.Namespace:
    parser, _ = build_parser()
    return parser.parse_args([*words, "in.png", "-o", "out"])


def test_defaults_are_those_of_the_library():
    assert arguments.inference_options(parse("depth")) == InferenceOptions()


def test_every_inference_option_reaches_the_library():
    words = ["--resolution", "512", "--seed", "7", "--ensemble", "5", "--batch-size", "2"]
    args = parse("depth", *words, "--upsample", "nearest-exact")
    expected = InferenceOptions(
        resolution=512, seed=7, ensemble_size=5, batch_size=2, upsample="nearest-exact"
    )
    assert arguments.inference_options(args) == expected


def test_batch_size_may_be_auto():
    assert arguments.inference_options(parse("depth", "--batch-size", "auto")).batch_size == "auto"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resolution", "-5"], r"resolution must be 0 .* or 16 to 8192 pixels \(found: -5\)"),
        (["--resolution", "9000"], r"resolution must be .* \(found: 9000\)"),
        (["--seed", "-1"], r"seed must be an integer from 0"),
        (["--ensemble", "0"], r"ensemble_size must be an integer from 1 to 64"),
        (["--batch-size", "0"], r"batch_size must be"),
    ],
)
def test_value_outside_its_range_is_refused_by_the_library(words, message):
    with pytest.raises(OptionError, match=message):
        arguments.inference_options(parse("depth", *words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resolution", "big"], "invalid int value: 'big'"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
        (["--colormap", "jet"], "invalid choice: 'jet'"),
        (["--upsample", "bicubic"], "invalid choice: 'bicubic'"),
        (["--format", "jpg"], "unknown format jpg: choose from png, png16, exr, npy, npz"),
        (["--format", ","], "no format: choose from"),
        (["--batch-size", "many"], "choose auto or a whole number, not 'many'"),
        (["--kind", "metric"], "invalid choice: 'metric'"),
        (["--normal-convention", "opengl"], "unrecognized arguments: --normal-convention"),
    ],
)
def test_line_that_cannot_be_read_is_bad_usage(lotus, words, message):
    ran = lotus("depth", "in.png", "-o", "out", *words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_output_is_required(lotus):
    ran = lotus("normal", "in.png")
    assert (ran.code, "-o/--output" in ran.err) == (2, True)


def test_formats_are_split_each_once_in_order():
    assert arguments.parse_formats("npz, PNG,npz,exr") == ("npz", "png", "exr")


def test_names_are_trimmed_told_without_case_and_each_once():
    assert arguments.parse_names(" b ,A,,b", ("a", "b", "c"), "letter") == ("b", "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,D, e", "unknown letter d, e: choose from a, b"), (" , ", "no letter: choose from a, b")],
)
def test_names_that_are_not_offered_are_told_with_those_that_are(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{message}$"):
        arguments.parse_names(text, ("a", "b"), "letter")


def test_formats_default_to_a_picture_and_16_bit_data():
    assert parse("depth").formats == ("png", "png16")


def test_style_defaults_make_a_controlnet_hint():
    assert arguments.style(parse("joint")) == arguments.Style("grey", False, NormalConvention.LOTUS)


def test_style_follows_the_options():
    args = parse("joint", "--colormap", "turbo", "--reverse", "--normal-convention", "directx")
    assert arguments.style(args) == arguments.Style("turbo", True, NormalConvention.DIRECTX)


def test_style_of_a_command_without_style_options_is_the_default():
    assert arguments.style(parse("reconstruct")) == arguments.Style("grey", False, NormalConvention.LOTUS)


def test_colour_maps_offered_are_those_that_exist():
    assert arguments.COLORMAP_NAMES == COLORMAPS


@pytest.mark.parametrize(
    ("command", "present", "absent"),
    [
        ("depth", ["--colormap", "--kind", "--ensemble"], ["--normal-convention", "--depth-model"]),
        ("normal", ["--normal-convention", "--kind", "--ensemble"], ["--colormap", "--depth-model"]),
        ("joint", ["--colormap", "--normal-convention", "--depth-model", "--normal-model"], ["--kind"]),
        ("reconstruct", ["--model", "--vae", "--seed"], ["--colormap", "--ensemble"]),
    ],
)
def test_each_command_has_the_options_that_mean_something_to_it(lotus, command, present, absent):
    text = lotus(command, "--help").out
    for option in present:
        assert f"{option} " in text
    for option in absent:
        assert f"{option} " not in text
