"""The experiments' own parts: regions, subsets, scores, and a whole one at the smallest size."""

import json
import math

import pytest
import torch

from experiments.__main__ import main
from experiments.regions import near_depth_edges, thin_structures
from experiments.report import END, MARK, table, write_report
from experiments.run import BASE
from experiments.score import mean_and_spread
from experiments.subsets import latents_of_first_scenes
from experiments.variants import EXPERIMENTS, SEEDS, Experiment, Variant
from lotus_core.training.config import LotusConfig, Start, VaeConfig, read_config
from lotus_core.training.export import write_checkpoint
from lotus_core.training.latents import write_latents
from lotus_core.training.networks import starting_parts
from lotus_core.training.sources import Sources
from lotus_core.training.vae import VaeObjective
from tests.core.training.small import examples, vae_settings


def test_pixels_within_two_of_a_jump_are_near_an_edge():
    depth = torch.full((5, 12), 2.0)
    depth[:, 6:] = 3.0
    near = near_depth_edges(depth, radius=2)
    assert near[0].int().tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_slopes_are_no_edges_and_the_skyline_is_one():
    slope = torch.linspace(1, 2, 40)[:, None].expand(40, 3)
    assert not near_depth_edges(slope).any()
    skyline = torch.full((6, 3), 10.0)
    skyline[:3] = float("inf")
    assert near_depth_edges(skyline, radius=1)[:, 0].tolist() == [False, False, True, True, False, False]


def test_a_pole_is_thin_and_a_wall_is_not():
    surface = torch.zeros(20, 20, dtype=torch.long)
    surface[:, 3:6] = 1  # 3 wide
    surface[:, 10:16] = 2  # 6 wide
    thin = thin_structures(surface, width=4)
    assert thin[:, 3:6].all()
    assert not thin[:, 10:16].any()


def test_the_sky_is_never_thin_and_a_strip_along_the_border_is():
    surface = torch.zeros(12, 12, dtype=torch.long)
    surface[:, :2] = -1
    surface[:2, 2:] = 5
    thin = thin_structures(surface, width=3)
    assert not thin[:, :2].any()
    assert thin[:2, 2:].all()


def test_mean_and_spread_of_a_hand_worked_case():
    assert mean_and_spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_spread([4.0]) == (4.0, 0.0)


def latents(folder, scenes, vae=None):
    """Two sizes, two views, shards of 4 scenes, as the stage `latents` names them."""
    for view in range(2):
        for number, size in enumerate(("32x32", "32x48")):
            h, w = (int(side) // 8 for side in size.split("x"))
            for start in range(0, scenes, 4):
                generator = torch.Generator().manual_seed(start + 100 * view)
                maps = {
                    key: torch.randn((4, 4, h, w), generator=generator)
                    for key in ("image", "depth", "normal")
                }
                masks = {f"known_{key}": torch.ones(4, h, w, dtype=torch.bool) for key in ("depth", "normal")}
                name = f"latents-{size}-{number:02d}-{view}-{start:06d}-{start + 4:06d}.safetensors"
                write_latents(folder / name, {**maps, **masks}, ["a", "b", "c", "d"])
    return folder


@pytest.mark.parametrize(("wanted", "expected"), [(1, 4), (4, 4), (5, 8), (12, 12), (999, 16)])
def test_a_subset_takes_whole_shards_with_all_their_views(tmp_path, wanted, expected):
    folder = latents(tmp_path / "all", 8)
    assert latents_of_first_scenes(folder, wanted, tmp_path / "some") == expected
    names = sorted(path.name for path in (tmp_path / "some").iterdir())
    assert len(names) == 2 * expected // 4
    assert all((tmp_path / "some" / name).is_file() for name in names)


def test_a_smaller_subset_takes_the_links_of_a_larger_one_away(tmp_path):
    folder = latents(tmp_path / "all", 8)
    latents_of_first_scenes(folder, 16, tmp_path / "some")
    assert latents_of_first_scenes(folder, 4, tmp_path / "some") == 4
    assert len(list((tmp_path / "some").iterdir())) == 2


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_variant_is_a_valid_config_of_equal_budget(experiment):
    base = read_config(BASE)
    assert len(SEEDS) >= 3
    for variant in experiment.variants:
        config = read_config(BASE, {**variant.changes, "seed": 1})
        assert isinstance(config, LotusConfig)
        assert (config.start.checkpoint is None) == ("from scratch" in variant.name)
        assert config.start.vae == base.start.vae
        assert (config.schedule, config.optimizer) == (base.schedule, base.optimizer)


RESULTS = [
    {"variant": "one", "seed": seed, "abs_rel": value, "delta1": 80.0}
    for seed, value in enumerate((0.1, 0.2, 0.3))
]
EXAMPLE = Experiment("example", "A claim.", (Variant("one"), Variant("not run")), ("abs_rel", "delta1"))


def test_a_table_gives_mean_and_spread_and_leaves_out_what_was_not_run():
    lines = table(EXAMPLE, RESULTS).splitlines()
    assert lines[0] == "| | seeds | abs rel | delta1 |"
    assert lines[2:] == ["| one | 3 | 0.2 ± 0.1 | 80 ± 0 |"]


def test_a_whole_experiment_runs_resumes_and_reports(tmp_path, monkeypatch):
    vae_folder, checkpoint = tmp_path / "vae", tmp_path / "checkpoint"
    config = VaeConfig.model_validate(vae_settings("unused"))
    VaeObjective(config, Sources((examples(2),), (1.0,))).export(vae_folder)
    sizes = {"channels": (8, 16), "attention": (False, True), "heads": 2, "norm_groups": 4}
    small = Start(vae=str(vae_folder / "vae"), **sizes)
    write_checkpoint(checkpoint, starting_parts(small, "d", 0), "d", "normal", None)
    folder = latents(tmp_path / "latents", 8)
    monkeypatch.setattr("experiments.run.SEEDS", (0, 1))
    monkeypatch.setattr("experiments.run.score", _small_score)
    arguments = [
        "detail",
        "-o",
        str(tmp_path / "out"),
        "--latents",
        str(folder),
        "--start",
        str(checkpoint),
    ]
    for change in ("schedule.steps=1", "schedule.batch_size=2"):
        arguments += ["--set", change]
    assert main([*arguments, "--time-limit", "0"]) == 1
    assert main(arguments) == 0
    results = sorted((tmp_path / "out" / "detail").glob("*/*/result.json"))
    assert len(results) == 4
    before = [path.stat().st_mtime_ns for path in results]
    assert main(arguments) == 0
    assert [path.stat().st_mtime_ns for path in results] == before
    values = json.loads(results[0].read_text())
    assert values["abs_rel"] > 0
    assert math.isfinite(values["noise_spread"])
    assert math.isfinite(values["reconstruction_db"])
    document = tmp_path / "findings.md"
    document.write_text(f"# Findings\n{MARK.format('detail')}\nold\n{END}\nlast words\n")
    write_report(tmp_path / "out", document)
    text = document.read_text()
    assert "| with detail preserver | 2 |" in text
    assert "old" not in text
    assert text.endswith("last words\n")
    assert (tmp_path / "images" / "finding-detail.png").stat().st_size > 1000


def _small_score(objective, *, reconstruct):
    from experiments.score import score

    asked = score(objective, count=2, size=(32, 32), reconstruct=reconstruct)
    assert score(objective, count=1, size=(32, 32), reconstruct=False).reconstruction_db is None
    return asked
