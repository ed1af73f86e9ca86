from __future__ import annotations

import pytest
import torch

from lotus_core.geometry.multigrid import Stencil, VCycle, solve


def random_stencil(height, width, seed=0, batch=1, screen=0.05):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return Stencil.of(
        draw(batch, height, width - 1) + 0.1,
        draw(batch, height - 1, width) + 0.1,
        screen * (draw(batch, height, width) + 0.5),
    )


def dense(stencil):
    height, width = stencil.screen.shape[1:]
    identity = torch.eye(height * width, dtype=stencil.screen.dtype).view(-1, height, width)
    columns = [stencil.apply(unit[None]).flatten() for unit in identity]
    return torch.stack(columns, dim=1)


def test_a_worked_system():
    # Two pixels, link 2, screens 1 and 3: A = [[3, -2], [-2, 5]]
    stencil = Stencil.of(torch.tensor([[[2.0]]]), torch.zeros(1, 0, 2), torch.tensor([[[1.0, 3.0]]]))
    assert torch.equal(dense(stencil), torch.tensor([[3.0, -2.0], [-2.0, 5.0]]))


@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 6), (6, 1), (2, 2)])
def test_the_system_is_symmetric_and_positive_definite(height, width):
    matrix = dense(random_stencil(height, width))
    assert torch.allclose(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) > 0


def test_constants_feel_the_screen_alone():
    stencil = random_stencil(6, 9)
    ones = torch.ones_like(stencil.screen)
    assert torch.allclose(stencil.apply(ones), stencil.screen)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 9), (1, 13), (5, 1), (1, 1)])
def test_coarsening_keeps_the_total_screen_and_halves_the_sides(height, width):
    stencil = random_stencil(height, width)
    coarse = stencil.coarsened()
    assert coarse.screen.shape == (1, (height + 1) // 2, (width + 1) // 2)
    assert coarse.right.shape == (1, (height + 1) // 2, (width + 1) // 2 - 1)
    assert coarse.down.shape == (1, (height + 1) // 2 - 1, (width + 1) // 2)
    assert float(coarse.screen.sum()) == pytest.approx(float(stencil.screen.sum()))


def test_coarse_links_are_half_the_sum_of_those_that_cross():
    stencil = Stencil.of(torch.ones(1, 2, 3), torch.ones(1, 1, 4), torch.ones(1, 2, 4))
    coarse = stencil.coarsened()
    # Two rows cross the middle with a link of 1 each, times one half.
    assert coarse.right.tolist() == [[[1.0]]]


def test_the_cycle_is_symmetric_as_conjugate_gradients_need():
    stencil = random_stencil(9, 11)
    cycle = VCycle(stencil)
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(1, 9, 11, generator=generator, dtype=torch.float64)
    b = torch.randn(1, 9, 11, generator=generator, dtype=torch.float64)
    assert float((a * cycle.apply(b)).sum()) == pytest.approx(float((b * cycle.apply(a)).sum()), rel=1e-9)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 7), (1, 9), (9, 1), (1, 1), (2, 3)])
def test_solutions_agree_with_a_dense_solver(height, width):
    stencil = random_stencil(height, width)
    right = torch.randn(1, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = solve(stencil, right, torch.zeros_like(right), iterations=25)
    expected = torch.linalg.solve(dense(stencil), right.flatten()).view_as(right)
    assert torch.allclose(found, expected, atol=1e-6)


def test_few_iterations_go_a_long_way_on_a_large_stiff_grid():
    stencil = random_stencil(96, 128, screen=1e-4)
    truth = (
        torch.randn(1, 96, 128, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        .cumsum(1)
        .cumsum(2)
    )
    right = stencil.apply(truth)
    start = torch.zeros_like(truth)
    errors = [
        float((solve(stencil, right, start, iterations=n) - truth).norm() / truth.norm()) for n in (2, 6, 12)
    ]
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.01


def test_grids_of_a_batch_are_solved_independently():
    stencil = random_stencil(10, 12, batch=3)
    right = torch.randn(3, 10, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    together = solve(stencil, right, torch.zeros_like(right), iterations=6)
    one = Stencil.of(stencil.right[1:2], stencil.down[1:2], stencil.screen[1:2])
    alone = solve(one, right[1:2], torch.zeros_like(right[1:2]), iterations=6)
    assert torch.allclose(together[1:2], alone, atol=1e-9)


def test_an_exact_start_stays():
    stencil = random_stencil(6, 6)
    truth = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = solve(stencil, stencil.apply(truth), truth, iterations=3)
    assert torch.allclose(found, truth, atol=1e-9)
