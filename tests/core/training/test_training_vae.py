"""The small VAE: what it is fed, what it is asked for, and what it leaves behind."""

import json
from dataclasses import replace

import pytest
import torch

from lotus_core.training.config import VaeConfig
from lotus_core.training.networks import load_vae
from lotus_core.training.objective import MicroStep
from lotus_core.training.posterior import decoded, posterior
from lotus_core.training.sources import Sources
from lotus_core.training.vae import RoundTrip, VaeBatch, VaeObjective
from tests.core.training.small import Examples, example, examples, vae_settings

EXACT = {"kl_weight": 0.0, "latent_noise": 0.0}


def objective(data=None, **settings):
    config = VaeConfig.model_validate(vae_settings("unused", **settings))
    return VaeObjective(config, Sources((data or examples(8),), (1.0,)))


def batch_of(pictures, is_normal=None, valid=None):
    count, _, height, width = pictures.shape
    return VaeBatch(
        pictures,
        torch.zeros(count, dtype=torch.bool) if is_normal is None else torch.tensor(is_normal),
        torch.ones(count, 1, height, width, dtype=torch.bool) if valid is None else valid,
        tuple(str(index) for index in range(count)),
    )


class Says(torch.nn.Module):
    """Stands for the round trip and answers with given pictures."""

    def __init__(self, answer, mean=0.0, logvar=0.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer, self.mean, self.logvar = answer, mean, logvar

    def forward(self, pictures, noise, latent_noise):
        from lotus_core.training.posterior import Posterior

        shape = noise.shape
        return self.answer, Posterior(torch.full(shape, self.mean), torch.full(shape, self.logvar))


def losses(settings, truth, answer, **more):
    batch = batch_of(truth, more.pop("is_normal", None), more.pop("valid", None))
    return objective(**settings).losses(Says(answer, **more), batch, MicroStep(0, 0))


def test_a_perfect_round_trip_costs_nothing():
    truth = torch.rand(2, 3, 16, 16) * 2 - 1
    found = losses({**EXACT, "angle_weight": 1.0, "edge_weight": 1.0}, truth, truth, is_normal=[True, False])
    assert found.total.item() == pytest.approx(0.0, abs=1e-6)


def test_a_shift_costs_its_size_and_twice_its_square_and_no_edges():
    truth = torch.zeros(1, 3, 16, 16)
    found = losses({**EXACT, "edge_weight": 1.0}, truth, truth + 0.5)
    assert found.parts["pixel"].item() == pytest.approx(0.5 + 2 * 0.25)
    assert found.parts["edge"].item() == pytest.approx(0.0, abs=1e-7)


def test_a_lost_edge_costs_the_difference_of_neighbours():
    truth = torch.zeros(1, 3, 4, 4)
    answer = truth.clone()
    answer[..., 2:] = 1.0  # one step in three differences along rows, none along columns
    found = losses({**EXACT, "edge_weight": 1.0}, truth, answer)
    assert found.parts["edge"].item() == pytest.approx((1 / 3 + 0) / 2)


def test_the_angle_counts_normal_maps_alone_where_they_are_known():
    truth = torch.zeros(2, 3, 8, 8)
    truth[:, 2] = 1.0
    answer = torch.zeros(2, 3, 8, 8)
    answer[:, 0] = 1.0  # a right angle: cosine 0 everywhere
    valid = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    valid[0, 0, :2] = False  # a quarter is unknown
    found = losses({**EXACT, "angle_weight": 1.0}, truth, answer, is_normal=[True, False], valid=valid)
    assert found.parts["angle"].item() == pytest.approx(0.75 / 2)


def test_the_divergence_is_that_of_normal_distributions():
    truth = torch.zeros(1, 3, 16, 16)
    found = losses({"kl_weight": 2.0}, truth, truth, mean=3.0, logvar=0.0)
    assert found.parts["divergence"].item() == pytest.approx(4.5)  # half of the mean squared
    assert found.total.item() == pytest.approx(9.0)
    assert losses(EXACT, truth, truth, logvar=0.0).parts["divergence"].item() == 0.0


def test_shares_of_pictures_normals_and_depth_are_those_of_the_config():
    feed = objective(picture_share=0.5, normal_share=0.3, schedule={"steps": 1, "batch_size": 8}).feed(0, 1)
    batches = [feed.at(step).batch for step in range(60)]
    normal = torch.cat([batch.is_normal for batch in batches]).float().mean().item()
    pictures = torch.cat([batch.pictures for batch in batches])
    grey = (pictures[:, 0] == pictures[:, 1]).flatten(1).all(1).float().mean().item()
    assert normal == pytest.approx(0.3, abs=0.07)
    assert grey == pytest.approx(0.2, abs=0.06)


def test_the_parts_of_two_processes_are_the_whole_batch():
    made = objective(schedule={"steps": 1, "batch_size": 4}, appearance=1.0)
    whole = made.feed(0, 1).at(3).batch
    parts = [made.feed(rank, 2).at(3).batch for rank in range(2)]
    assert torch.equal(torch.cat([part.pictures for part in parts]), whole.pictures)
    assert parts[0].names + parts[1].names == whole.names


def test_crops_have_their_size_and_lie_inside_the_picture():
    made = objective(crop=(16, 24), crop_share=1.0, picture_share=1.0)
    batches = [made.feed(0, 1).at(step).batch for step in range(12)]
    assert {tuple(batch.pictures.shape[2:]) for batch in batches} == {(16, 24)}
    assert {tuple(batch.valid.shape[2:]) for batch in batches} == {(16, 24)}
    places = {made._window([example(0)], step)[0].start for step in range(40)}
    assert min(places) >= 0
    assert max(places) <= 16
    assert len(places) > 5


def test_some_batches_stay_whole_and_without_crop_all_do():
    made = objective(crop=(16, 16), crop_share=0.5)
    widths = [made.feed(0, 1).at(step).batch.pictures.shape[-1] for step in range(40)]
    assert 8 < widths.count(16) < 32
    whole = objective(crop=None)
    assert {whole.feed(0, 1).at(step).batch.pictures.shape[-1] for step in range(10)} == {32}


def test_a_window_cuts_a_picture_and_its_mask_alike():
    base = example(5)
    valid = base.valid.clone()
    normal = base.normal * valid
    data = Examples([replace(base, normal=normal, valid=valid)] * 4)
    made = objective(data, crop=(16, 16), crop_share=1.0, picture_share=0.0, normal_share=1.0)
    batch = made.feed(0, 1).at(0).batch
    known = batch.pictures.square().sum(1) > 0.5
    assert torch.equal(known, batch.valid[:, 0])


def test_the_same_seed_is_the_same_network_and_another_is_not():
    one, other, third = (objective(seed=seed).module.vae.encoder.conv_in.weight for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_noise_in_the_latents_is_relative_to_their_spread():
    vae = objective().module.vae
    trip = RoundTrip(vae)
    pictures, noise = torch.rand(2, 3, 16, 16), torch.ones(2, 4, 2, 2)
    with torch.no_grad():
        found, said = trip(pictures, noise, 0.5)
        spread = said.mean.std() * 0.5
        expected = decoded(vae, said.mean + (said.std.square() + spread.square()).sqrt())
    assert torch.allclose(found, expected, atol=1e-6)


def test_training_brings_the_round_trip_closer():
    made = objective(optimizer={"learning_rate": 5e-3}, **EXACT)
    step = torch.optim.AdamW(made.module.parameters(), lr=5e-3)
    feed = made.feed(0, 1)
    values = []
    for index in range(40):
        loss = made.losses(made.module, feed.at(index % 4).batch, MicroStep(index, index)).total
        step.zero_grad()
        loss.backward()
        step.step()
        values.append(loss.item())
    assert sum(values[-4:]) < 0.8 * sum(values[:4])


def test_latents_of_the_written_vae_have_unit_spread(tmp_path):
    made = objective(schedule={"steps": 1, "batch_size": 4})
    made.export(tmp_path)
    vae = load_vae(tmp_path / "vae")
    feed = made.feed(0, 1)
    with torch.no_grad():
        latents = torch.cat(
            [posterior(vae, feed.at(step).batch.pictures).mean.flatten() for step in range(64)]
        )
    assert (latents * vae.config["scaling_factor"]).std().item() == pytest.approx(1.0, rel=0.05)
    config = json.loads((tmp_path / "vae" / "config.json").read_text())
    assert config["_class_name"] == "AutoencoderKL"
    assert config["norm_num_groups"] == 2
    assert not list(tmp_path.rglob("*.bin"))


def test_the_sheet_shows_three_kinds_above_their_round_trips():
    sheet = objective().pictures()
    # 4 examples of 3 kinds in 2 rows, each 32 pixels and a gap of 2
    assert sheet.shape == (3, 2 * 34, 12 * 34)
    assert sheet.min() >= 0
    assert sheet.max() <= 1


def test_names_are_those_of_the_examples():
    made = objective()
    batch = made.feed(0, 1).at(0).batch
    assert set(made.names(batch)) <= {f"example {seed}" for seed in range(8)}


def test_a_vae_goes_on_from_a_written_one(tmp_path):
    first = objective(seed=3)
    first.export(tmp_path)
    second = objective(start=str(tmp_path / "vae"), channels=None)
    assert torch.equal(second.module.vae.decoder.conv_out.weight, first.module.vae.decoder.conv_out.weight)
    assert all(value.requires_grad for value in second.module.parameters())


def test_the_decoder_alone_can_be_trained_and_kept_latents_stay_valid(tmp_path):
    objective(seed=3).export(tmp_path / "before")
    made = objective(start=str(tmp_path / "before" / "vae"), channels=None, decoder_only=True)
    optimizer = torch.optim.AdamW([p for p in made.module.parameters() if p.requires_grad], lr=0.05)
    made.losses(made.module, made.feed(0, 1).at(0).batch, MicroStep(0, 0)).total.backward()
    optimizer.step()
    made.export(tmp_path / "after")
    before, after = load_vae(tmp_path / "before" / "vae"), load_vae(tmp_path / "after" / "vae")
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(posterior(before, pictures).mean, posterior(after, pictures).mean)
    assert before.config["scaling_factor"] == after.config["scaling_factor"]
    assert not torch.equal(before.decoder.conv_in.weight, after.decoder.conv_in.weight)


def test_an_exported_network_does_not_name_the_folder_it_was_read_from(tmp_path):
    objective(seed=3).export(tmp_path / "before")
    objective(start=str(tmp_path / "before" / "vae"), channels=None).export(tmp_path / "after")
    assert str(tmp_path) not in (tmp_path / "after" / "vae" / "config.json").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": None}, "give either start"),
        ({"start": "vae"}, "give either start"),
        ({"decoder_only": True}, "decoder_only needs start"),
    ],
)
def test_contradictions_about_the_start_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        objective(**settings)
