"""Screened Poisson systems on a pixel grid: a 5-point stencil, solved by conjugate gradients with a V-cycle."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

COARSEST_SIDE = 4
COARSEST_SWEEPS = 12
SMOOTHING = 0.8
"""Damping of the Jacobi sweeps."""

COARSE_STIFFNESS = 0.5
"""Factor on the coarse edges: piecewise constant coarse grids are too stiff by about two."""


@dataclass(frozen=True)
class Stencil:
    """A symmetric positive definite system for each of B grids.

    ``(A u)_p = screen_p u_p + sum over the four neighbours of link_pq (u_p - u_q)``.

    Attributes:
        right: (B, H, W - 1) float, links between a pixel and the next on its right, not negative.
        down: (B, H - 1, W) float, links to the next below, not negative.
        screen: (B, H, W) float, positive.
        diagonal: (B, H, W) float, sum of the screen and the pixel's links.
    """

    right: Tensor
    down: Tensor
    screen: Tensor
    diagonal: Tensor

    @classmethod
    def of(cls, right: Tensor, down: Tensor, screen: Tensor) -> Stencil:
        """Return the system with given links and screen."""
        diagonal = screen.clone()
        diagonal[:, :, :-1] += right
        diagonal[:, :, 1:] += right
        diagonal[:, :-1] += down
        diagonal[:, 1:] += down
        return cls(right, down, screen, diagonal)

    def apply(self, values: Tensor) -> Tensor:
        """Return A u, (B, H, W) float, of (B, H, W) values."""
        out = self.diagonal * values
        out[:, :, :-1].addcmul_(self.right, values[:, :, 1:], value=-1)
        out[:, :, 1:].addcmul_(self.right, values[:, :, :-1], value=-1)
        out[:, :-1].addcmul_(self.down, values[:, 1:], value=-1)
        out[:, 1:].addcmul_(self.down, values[:, :-1], value=-1)
        return out

    def coarsened(self) -> Stencil:
        """Return the system of 2 x 2 aggregates with piecewise constant values, its links softened."""
        height, width = self.screen.shape[1:]
        rows, columns = (height + 1) // 2, (width + 1) // 2
        right = functional.pad(self.right, (0, 2 * columns - width, 0, 2 * rows - height))[:, :, 1::2]
        down = functional.pad(self.down, (0, 2 * columns - width, 0, 2 * rows - height))[:, 1::2]
        right = right[:, :, : columns - 1].unflatten(1, (rows, 2)).sum(2)
        down = down[:, : rows - 1].unflatten(2, (columns, 2)).sum(3)
        return Stencil.of(right * COARSE_STIFFNESS, down * COARSE_STIFFNESS, _restrict(self.screen))


class VCycle:
    """A fixed symmetric approximation of a system's inverse.

    Args:
        stencil: The system.
    """

    def __init__(self, stencil: Stencil) -> None:
        self._levels = [stencil]
        while max(self._levels[-1].screen.shape[1:]) > COARSEST_SIDE:
            self._levels.append(self._levels[-1].coarsened())
        self._damping = [SMOOTHING / level.diagonal.clamp_min(1e-20) for level in self._levels]

    def apply(self, residual: Tensor, level: int = 0) -> Tensor:
        """Return an approximation of A^-1 r, (B, H, W) float."""
        stencil, damping = self._levels[level], self._damping[level]
        values = damping * residual
        if level == len(self._levels) - 1:
            for _ in range(COARSEST_SWEEPS):
                values = values + damping * (residual - stencil.apply(values))
            return values
        coarse = self.apply(_restrict(residual - stencil.apply(values)), level + 1)
        values = values + _prolong(coarse, *residual.shape[1:])
        return values + damping * (residual - stencil.apply(values))


def solve(stencil: Stencil, right_side: Tensor, start: Tensor, *, iterations: int) -> Tensor:
    """Return an approximate solution of A u = b after some conjugate gradient iterations.

    Args:
        stencil: The system A.
        right_side: (B, H, W) float, b.
        start: (B, H, W) float, first guess.
        iterations: Number of iterations; each divides the error by about four.

    Returns:
        (B, H, W) float.
    """
    cycle = VCycle(stencil)
    values = start
    residual = right_side - stencil.apply(values)
    step = direction = cycle.apply(residual)
    energy = _dot(residual, step)
    for index in range(iterations):
        image = stencil.apply(direction)
        length = energy / _dot(direction, image).clamp_min(1e-30)
        values = values + length * direction
        if index == iterations - 1:
            break
        residual = residual - length * image
        step = cycle.apply(residual)
        new_energy = _dot(residual, step)
        direction = step + (new_energy / energy.clamp_min(1e-30)) * direction
        energy = new_energy
    return values


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2), keepdim=True)


def _restrict(values: Tensor) -> Tensor:
    """Return sums over 2 x 2 aggregates."""
    height, width = values.shape[1:]
    if height % 2 or width % 2:
        values = functional.pad(values, (0, width % 2, 0, height % 2))
    rows = values[:, 0::2] + values[:, 1::2]
    return rows[:, :, 0::2] + rows[:, :, 1::2]


def _prolong(values: Tensor, height: int, width: int) -> Tensor:
    return values.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :height, :width]
