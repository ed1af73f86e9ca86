"""YAML files, the changes of the command line, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from lotus_core.errors import InputError, OptionError
from lotus_core.training.config import LotusConfig, read_config
from tests.core.training.small import lotus_settings

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_of_the_repository_is_valid(path):
    assert read_config(path).stage in {"scenes", "vae", "latents", "lotus", "bundle"}


@pytest.mark.parametrize("mode", ["d", "g"])
@pytest.mark.parametrize("target", ["depth", "normal"])
def test_the_published_recipe_is_the_references(mode, target):
    # train_scripts/train_lotus_{g,d}_{depth,normal}.sh
    config = read_config(CONFIGS / f"lotus-{target}-{mode}.yaml")
    assert (config.mode, config.target, config.seed) == (mode, target, 42)
    assert config.optimizer.learning_rate == 3e-5
    assert (config.optimizer.beta1, config.optimizer.beta2, config.optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert (config.optimizer.weight_decay, config.optimizer.max_gradient_norm) == (1e-2, 1.0)
    schedule = config.schedule
    assert (schedule.steps, schedule.batch_size * schedule.accumulation) == (20_000, 16 * 8)
    assert (schedule.warmup_steps, schedule.decay_steps) == (0, 0)
    assert (config.noise.prediction, config.noise.steps) == ("x0", 1)
    assert config.switcher.enabled
    assert config.switcher.share == config.switcher.later_share == 1.0
    assert [(data.kind, data.share, data.size) for data in config.data] == [
        ("hypersim", 0.9, (576, 768)),
        ("virtual-kitti", 0.1, (352, 1216)),
    ]
    assert config.accelerator.mixed_precision == "fp16"
    assert config.accelerator.gradient_checkpointing


def test_the_bundled_models_never_see_a_scene_of_the_evaluation():
    config = read_config(CONFIGS / "tiny-scenes.yaml")
    assert config.first_seed >= 1_000_000


def test_the_bundled_models_share_vae_latents_and_context():
    depth, normal = (read_config(CONFIGS / f"tiny-{target}-d.yaml") for target in ("depth", "normal"))
    assert depth.start == normal.start
    assert depth.data == normal.data
    assert depth.seed == normal.seed


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


SCENES = "stage: scenes\ncount: 4\nsizes: [[32, 32]]\n"


def test_changes_reach_into_nested_settings_and_lists(tmp_path):
    path = CONFIGS / "lotus-depth-g.yaml"
    config = read_config(path, {"schedule.steps": 7, "data.1.folder": "elsewhere", "noise.prediction": "v"})
    assert (config.schedule.steps, config.data[1].folder, config.noise.prediction) == (7, "elsewhere", "v")
    assert read_config(path).schedule.steps == 20_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCENES + "colour: red\n", r"colour must be extra inputs are not permitted \(found: 'red'\)"),
        (
            SCENES.replace("count: 4", "count: 0"),
            r"count must be input should be greater than 0 \(found: 0\)",
        ),
        ("stage: cooking\n", "stage must be .*found"),
        (SCENES + "supersample: [1, 9]\n", r"supersample\.1 must be"),
    ],
)
def test_unknown_keys_and_impossible_values_are_named(tmp_path, text, message):
    with pytest.raises(OptionError, match=message):
        read_config(written(tmp_path, text))


@pytest.mark.parametrize("text", ["- a\n- list\n", "just words", "{broken: [", "\x00"])
def test_a_file_that_is_no_config_is_told(tmp_path, text):
    with pytest.raises(InputError, match="config"):
        read_config(written(tmp_path, text))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml cannot be read"):
        read_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "changes",
    [{"count.more": 1}, {"sizes.5": [32, 32]}, {"sizes.x": [32, 32]}],
)
def test_changes_that_lead_nowhere_are_told(tmp_path, changes):
    with pytest.raises(OptionError):
        read_config(written(tmp_path, SCENES), changes)


@pytest.mark.parametrize("noise", [{"prediction": "epsilon"}, {"prediction": "v"}, {"steps": 10}])
def test_a_discriminative_model_knows_neither_noise_nor_steps(noise):
    with pytest.raises(ValidationError, match="mode d sees no noise"):
        LotusConfig.model_validate(lotus_settings("latents", "vae", noise=noise))
    LotusConfig.model_validate(lotus_settings("latents", "vae", mode="g", noise=noise))


def test_settings_cannot_be_changed_afterwards(tmp_path):
    config = read_config(written(tmp_path, SCENES))
    with pytest.raises(ValidationError, match="frozen"):
        config.count = 5
