"""The objective of a Lotus model: what goes in, what is asked for, and that parts of a batch add up."""

import pytest
import torch
from torch import nn

from lotus_core.training.config import LotusConfig
from lotus_core.training.feed import Feed
from lotus_core.training.latents import LatentBatch, encode_pictures, known_cells, stacked
from lotus_core.training.lotus import LotusObjective
from lotus_core.training.networks import starting_parts
from lotus_core.training.objective import MicroStep
from lotus_core.training.pictures import annotated
from lotus_core.training.sources import Sources, open_examples
from tests.core.training.small import examples, lotus_settings


@pytest.fixture
def make(latents, vae):
    def objective(*, pictures=False, **settings):
        config = LotusConfig.model_validate(lotus_settings(latents, vae, **settings))
        parts = starting_parts(config.start, config.mode, config.seed)
        sources = Sources((examples(12),), (1.0,)) if pictures else open_examples(config.data, config.target)
        return LotusObjective(config, sources, parts)

    return objective


class Listens(nn.Module):
    """Stands for the denoiser: notes what it is asked, answers with zeros."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked = []

    def forward(self, sample, times, annotations):
        self.asked.append((sample, times, annotations))
        return torch.zeros(len(sample), 4, *sample.shape[2:])


def latent_batch(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images, annotations = (torch.randn((count, 4, 4, 4), generator=generator) for _ in range(2))
    known = torch.rand((count, 1, 4, 4), generator=generator) > 0.3
    return LatentBatch(images, annotations, known, tuple(map(str, range(count))))


@pytest.mark.parametrize(("mode", "channels"), [("d", 4), ("g", 8)])
def test_a_published_batch_is_doubled_annotations_first(make, mode, channels):
    model = Listens()
    batch = latent_batch(4)
    make(mode=mode).losses(model, batch, MicroStep(0, 0))
    sample, times, annotations = model.asked[0]
    assert sample.shape == (8, channels, 4, 4)
    assert annotations == 4
    assert set(times.tolist()) == {999}
    assert torch.equal(sample[:4, :4], batch.images)
    assert torch.equal(sample[4:, :4], batch.images)


def test_the_loss_is_the_sum_of_both_sides(make):
    batch = latent_batch(4)
    found = make().losses(Listens(), batch, MicroStep(0, 0))
    known = batch.known.expand(-1, 4, -1, -1)
    assert found.parts["annotation"].item() == pytest.approx(
        batch.annotations[known].square().mean().item(), rel=1e-5
    )
    assert found.parts["reconstruction"].item() == pytest.approx(
        batch.images.square().mean().item(), rel=1e-5
    )
    assert found.total.item() == pytest.approx(sum(part.item() for part in found.parts.values()), rel=1e-6)


def test_without_the_detail_preserver_nothing_is_doubled(make):
    model = Listens()
    found = make(switcher={"enabled": False}).losses(model, latent_batch(4), MicroStep(0, 0))
    assert len(model.asked[0][0]) == 4
    assert found.parts["reconstruction"].item() == 0.0


def test_later_in_training_fewer_rows_are_painted_back(make):
    settings = {"share": 1.0, "later_share": 0.25, "later_step": 5}
    model = Listens()
    made = make(switcher=settings)
    made.losses(model, latent_batch(4), MicroStep(4, 4))
    made.losses(model, latent_batch(4), MicroStep(5, 5))
    assert [len(sample) for sample, _, _ in model.asked] == [8, 5]


def test_noise_is_new_in_every_step_and_the_same_when_a_step_is_repeated(make):
    model = Listens()
    made = make(mode="g")
    for index in (3, 4, 3):
        made.losses(model, latent_batch(2), MicroStep(index, index))
    first, second, again = (sample[:, 4:] for sample, _, _ in model.asked)
    assert torch.equal(first, again)
    assert not torch.allclose(first, second, atol=0.1)
    # annotation and reconstruction have their own noise
    assert not torch.allclose(first[:2], first[2:], atol=0.1)


@pytest.mark.parametrize("mode", ["d", "g"])
def test_each_process_sees_its_rows_of_the_one_batch(make, mode):
    made = make(mode=mode, switcher={"share": 0.5, "later_share": 0.5}, noise={"steps": 1})
    whole = latent_batch(4)
    model = Listens()
    made.losses(model, whole, MicroStep(2, 9))
    sample, _, _ = model.asked[0]
    for rank in range(2):
        rows = slice(2 * rank, 2 * rank + 2)
        part = LatentBatch(whole.images[rows], whole.annotations[rows], whole.known[rows], whole.names[rows])
        noise, _ = made._draw(part, torch.tensor([0]), MicroStep(2, 9, rank, 2))
        all_noise, _ = made._draw(whole, torch.tensor([0, 2]), MicroStep(2, 9))
        assert torch.equal(noise[:2], all_noise[rows])
        assert torch.equal(noise[2], all_noise[4 + rank])
    # rows 0 and 2 of the whole batch are painted back
    assert torch.equal(sample[4:, :4], whole.images[[0, 2]])


def test_many_times_are_drawn_with_many_steps(make):
    model = Listens()
    made = make(mode="g", noise={"steps": 10})
    for index in range(20):
        made.losses(model, latent_batch(4), MicroStep(index, index))
    times = {time for _, drawn, _ in model.asked for time in drawn.tolist()}
    assert times == set(range(99, 1000, 100))


def test_pictures_give_the_loss_of_their_latents(make):
    made = make(pictures=True, posterior="mode", mirror=False)
    samples = examples(3)
    batch = annotated(list(samples), "depth", "disparity")
    vae = made._parts.vae
    encoded = LatentBatch(
        encode_pictures(vae, batch.images),
        encode_pictures(vae, batch.annotations),
        known_cells(batch.known),
        batch.names,
    )
    one = made.losses(made.module, batch, MicroStep(0, 0))
    other = made.losses(made.module, encoded, MicroStep(0, 0))
    assert one.total.item() == pytest.approx(other.total.item(), rel=1e-5)


def test_a_drawn_posterior_differs_from_its_mode_and_repeats_by_step(make):
    batch = annotated(list(examples(2)), "depth", "disparity")

    def total(posterior, index):
        made = make(pictures=True, posterior=posterior)
        return made.losses(Listens(), batch, MicroStep(index, index)).total.item()

    assert total("sample", 3) == total("sample", 3)
    assert total("sample", 3) != total("sample", 4)
    assert total("mode", 3) == total("mode", 4)


def test_batches_are_made_of_pictures_or_latents_as_the_source_says(make):
    picture_feed, latent_feed = make(pictures=True).feed(0, 1), make().feed(0, 1)
    assert isinstance(picture_feed, Feed)
    pictures, kept = picture_feed.at(0).batch, latent_feed.at(0).batch
    assert pictures.images.shape == (4, 3, 32, 32)
    assert kept.images.shape == (4, 4, 4, 4)
    assert make().names(kept) == kept.names


def test_half_of_the_pictures_are_mirrored_unless_told_not_to(make):
    plain = make(pictures=True, mirror=False).feed(0, 1)
    mirrored = make(pictures=True, mirror=True).feed(0, 1)
    turned = 0
    for step in range(10):
        for one, other in zip(plain.at(step).batch.images, mirrored.at(step).batch.images, strict=True):
            assert torch.equal(one, other) or torch.equal(one.flip(-1), other)
            turned += not torch.equal(one, other)
    assert 10 < turned < 30


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"target": "normal"}, "normal"),
        ({"depth_map": "disparity"}, "disparity"),
        ({"depth_map": "disparity-range"}, "disparity"),
        ({"depth_map": "linear"}, "depth"),
        ({"depth_map": "linear-range"}, "depth"),
    ],
)
def test_the_model_says_what_it_estimates(make, settings, kind):
    assert make(**settings).output == kind


def test_a_discriminative_prediction_is_the_network_at_its_last_time(make):
    made = make()
    images = torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        expected = made.module(images, torch.full((2,), 999), 2)
    assert torch.equal(made.predict(images, torch.randn(2, 4, 4, 4)), expected)


def test_the_switch_asks_for_the_picture_back(make):
    made = make(mode="g")
    images, noise = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        expected = made.module(torch.cat([images, noise], 1), torch.full((2,), 999), 0)
    assert torch.allclose(made.predict(images, noise, reconstruct=True), expected, atol=1e-6)
    assert not torch.allclose(made.predict(images, noise), expected, atol=1e-3)


def test_the_context_is_not_trained(make):
    module = make().module
    assert "prompt_embeds" not in dict(module.named_parameters())
    assert not any(key.startswith("prompt") for key in module.state_dict())
    assert all(value.requires_grad for value in module.parameters())


def test_encoding_and_decoding_use_the_vaes_scale(make):
    made = make()
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.equal(made.encode(pictures), encode_pictures(made._parts.vae, pictures))
    latents = torch.randn(1, 4, 2, 2)
    with torch.no_grad():
        scale = made._parts.vae.config["scaling_factor"]
        expected = made._parts.vae.decode(latents / scale).sample
    assert torch.allclose(made.decode(latents), expected, atol=1e-6)


def test_the_sheet_has_pictures_truth_and_prediction(make):
    # six examples of 32 pixels and a gap of 2, in three rows
    assert make().pictures().shape == (3, 3 * 34, 6 * 34)


def test_gradient_checkpointing_changes_no_gradient(make):
    batch = latent_batch(2)
    gradients = []
    for checkpointing in (False, True):
        made = make(accelerator={"gradient_checkpointing": checkpointing})
        made.losses(made.module.train(), batch, MicroStep(0, 0)).total.backward()
        gradients.append(made.module.unet.conv_in.weight.grad.clone())
    assert torch.allclose(*gradients, atol=1e-6)
    assert gradients[0].abs().max() > 0


def test_latents_learn_what_pictures_would(make):
    """A few steps on one batch bring its own loss down, for both kinds of model."""
    for mode in ("d", "g"):
        made = make(mode=mode)
        optimizer = torch.optim.AdamW(made.module.parameters(), lr=2e-3)
        batch = stacked([made._sources.datasets[0][index] for index in range(4)])
        values = []
        for _ in range(25):
            loss = made.losses(made.module, batch, MicroStep(0, 0)).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        assert values[-1] < 0.6 * values[0], mode
