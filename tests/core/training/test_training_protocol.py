"""The doubled batch and its two losses, on numbers worked by hand."""

import pytest
import torch

from lotus_core.training.config import Noise, Start, Switcher
from lotus_core.training.denoiser import Denoiser, task_labels
from lotus_core.training.diffusion import Diffusion
from lotus_core.training.latents import LatentBatch, known_cells
from lotus_core.training.networks import starting_parts
from lotus_core.training.protocol import DoubledBatch, doubled, reconstructed_rows, two_losses


def batch(count=2, known=None):
    images = torch.arange(count * 4.0).view(count, 4, 1, 1).expand(-1, -1, 2, 2)
    known = torch.ones(count, 1, 2, 2, dtype=torch.bool) if known is None else known
    return LatentBatch(images, -images, known, tuple(map(str, range(count))))


def test_one_unknown_pixel_makes_its_cell_unknown_and_no_other():
    known = torch.ones(1, 1, 16, 24, dtype=torch.bool)
    known[0, 0, 7, 8] = False
    cells = known_cells(known)
    assert cells.shape == (1, 1, 2, 3)
    assert cells[0, 0].tolist() == [[True, False, True], [True, True, True]]


@pytest.mark.parametrize(
    ("share", "first", "expected"),
    [
        (1.0, 0, [0, 1, 2, 3]),
        (0.5, 0, [0, 2]),
        (0.25, 0, [0]),
        (0.25, 4, [0]),
        (0.125, 4, []),
        (0.25, 2, [2]),
    ],
)
def test_rows_to_be_painted_back_are_spread_over_the_whole_batch(share, first, expected):
    switcher = Switcher(share=share, later_share=share)
    assert reconstructed_rows(switcher, 0, first, 4).tolist() == expected


def test_fewer_rows_are_painted_back_once_that_is_learned():
    switcher = Switcher(share=1.0, later_share=0.25, later_step=100)
    assert len(reconstructed_rows(switcher, 99, 0, 8)) == 8
    assert len(reconstructed_rows(switcher, 100, 0, 8)) == 2


def test_without_the_detail_preserver_no_row_is_painted_back():
    assert reconstructed_rows(Switcher(enabled=False), 0, 0, 8).tolist() == []


def test_a_discriminative_batch_is_the_picture_twice_and_its_two_targets():
    source = batch()
    rows, times = torch.tensor([0, 1]), torch.full((4,), 999)
    made = doubled(source, rows, "d", Diffusion(Noise()), torch.zeros(4, 4, 2, 2), times)
    assert torch.equal(made.sample, torch.cat([source.images, source.images]))
    assert torch.equal(made.target, torch.cat([source.annotations, source.images]))
    assert made.annotations == 2


def test_a_generative_batch_has_the_picture_first_and_the_noisy_target_after_it():
    source, noise = batch(), torch.randn(3, 4, 2, 2)
    made = doubled(source, torch.tensor([1]), "g", Diffusion(Noise()), noise, torch.full((3,), 999))
    assert made.sample.shape == (3, 8, 2, 2)
    assert torch.equal(made.sample[:, :4], torch.cat([source.images, source.images[1:]]))
    target = torch.cat([source.annotations, source.images[1:]])
    assert torch.allclose(made.sample[:, 4:], 0.0682664 * target + 0.9976671 * noise, atol=1e-4)


def losses_of(prediction, target, known):
    made = DoubledBatch(target, torch.full((len(target),), 999), target, known, len(known))
    return two_losses(prediction, made)


def test_the_losses_are_two_means_and_only_the_annotations_is_masked():
    # annotation off by 1 in known cells and by 100 in unknown ones; reconstruction off by 3 everywhere
    target = torch.zeros(2, 4, 1, 2)
    prediction = torch.stack([torch.tensor([[[1.0, 100.0]]] * 4), torch.full((4, 1, 2), 3.0)])[:, :, 0]
    known = torch.tensor([[[[True, False]]]])
    losses = losses_of(prediction.view(2, 4, 1, 2), target, known)
    assert losses.annotation.item() == 1.0
    assert losses.reconstruction.item() == 9.0


def test_nothing_known_is_a_loss_of_zero_and_no_nan():
    target = torch.zeros(1, 4, 1, 2)
    losses = losses_of(target + 5, target, torch.zeros(1, 1, 1, 2, dtype=torch.bool))
    assert losses.annotation.item() == 0.0
    assert losses.reconstruction.item() == 0.0


def test_unknown_cells_send_no_gradient():
    prediction = torch.ones(1, 4, 1, 2, requires_grad=True)
    losses = losses_of(prediction, torch.zeros(1, 4, 1, 2), torch.tensor([[[[True, False]]]]))
    losses.annotation.backward()
    assert prediction.grad is not None
    assert (prediction.grad[..., 1] == 0).all()
    assert torch.allclose(prediction.grad[..., 0], torch.full((1, 4, 1), 0.5))  # 2 * 1 / 4


def test_two_processes_of_unequal_masks_average_to_the_whole_batchs_loss():
    prediction, target = torch.randn(2, 4, 1, 4), torch.zeros(2, 4, 1, 4)
    known = torch.tensor([[True, True, True, False], [True, False, False, False]]).view(2, 1, 1, 4)
    whole = losses_of(prediction, target, known).annotation
    counts = torch.tensor([16.0, 0.0])  # known numbers of both parts together: (3 + 1) cells of 4 channels

    def together(values):
        return torch.full_like(values, 2.0) if torch.equal(values, torch.ones(2)) else counts

    parts = [
        two_losses(
            prediction[row : row + 1],
            DoubledBatch(target[:1], torch.zeros(1), target[row : row + 1], known[row : row + 1], 1),
            together,
        ).annotation
        for row in range(2)
    ]
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-6)


def test_labels_are_sines_then_cosines_annotations_first():
    labels = task_labels(1, 2)
    assert labels[0].tolist() == pytest.approx([0.841471, 0.0, 0.540302, 1.0], abs=1e-6)
    assert labels[2].tolist() == pytest.approx([0.0, 0.841471, 1.0, 0.540302], abs=1e-6)


def test_the_switch_changes_what_the_network_says(vae):
    start = Start(vae=str(vae), channels=(8, 16), attention=(False, True), heads=2, norm_groups=4, context=8)
    parts = starting_parts(start, "d", 0)
    module = Denoiser(parts.unet, parts.prompt_embeds)
    sample = torch.randn(1, 4, 4, 4).expand(2, -1, -1, -1)
    with torch.no_grad():
        both = module(sample, torch.full((2,), 999), 1)
        same = module(sample, torch.full((2,), 999), 2)
    assert not torch.allclose(both[0], both[1], atol=1e-4)
    assert torch.allclose(same[0], same[1], atol=1e-6)
    assert torch.allclose(both[0], same[0], atol=1e-6)
