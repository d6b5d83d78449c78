"""How near pictures and sets of codes are to each other, measured without any network.

The distance between two sets of codes is the energy distance (Székely and Rizzo 2013) on principal axes. It is
one in the space of codes: never call it FID.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 256  # whose distances to all others are looked at together


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal to noise ratio of each pair, (N,) in dB; x, y (N, C, H, W) in [-1, 1]."""
    mse = ((x - y) / 2).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(mse.clamp_min(1e-10))


class PrincipalAxes(NamedTuple):
    """The first principal components of standardised codes."""

    mean: Tensor  # (d,)
    std: Tensor  # (d,)
    axes: Tensor  # (d, k), orthonormal columns

    @classmethod
    def of(cls, w: Tensor, count: int) -> "PrincipalAxes":
        """From codes w (N, d); at most min(count, N - 1, d) components."""
        mean, std = standardisation(w)
        _, _, axes = torch.linalg.svd((w - mean) / std, full_matrices=False)
        return cls(mean, std, axes[: max(1, min(count, len(w) - 1))].T)

    def project(self, w: Tensor) -> Tensor:
        """(N, d) -> (N, k)."""
        return ((w - self.mean) / self.std) @ self.axes


def span(w: Tensor, share: float) -> Tensor:
    """What keeps of differences of codes (N, d), multiplied from the right, what codes like w (M, d) differ in.

    The projection (d, d) on those principal axes of w, standardised, that hold `share` of its variance.
    """
    found = PrincipalAxes.of(w, w.shape[1])
    variance = found.project(w).var(dim=0)  # falling
    kept = found.axes[:, variance.cumsum(0) - variance < share * variance.sum()]
    projection: Tensor = (kept / found.std[:, None]) @ (kept.T * found.std)
    return projection


def standardisation(w: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each dimension of w (N, d); no deviation is below 1 % of their mean."""
    mean, std = w.mean(dim=0), w.std(dim=0, correction=0)
    return mean, std.clamp_min(max(0.01 * std.mean().item(), 1e-8))


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Relative energy distance of x (N, d) and y (M, d): 0 for equal laws, at most 1.

    (2 E|x - y| - E|x - x'| - E|y - y'|) / (2 E|x - y|), without the pairs of an item with itself.
    """
    between = torch.cdist(x, y).mean()
    apart = (torch.cdist(a, a) for a in (x, y))
    within = sum((d.sum() - d.diagonal().sum()) / max(1, len(d) * (len(d) - 1)) for d in apart)
    return ((2 * between - within) / (2 * between).clamp_min(1e-12)).item()


def nearest(queries: Tensor, w: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """For each query (N, d) the distances to its nearest of w (M, d), (N, count), and their numbers."""
    exact = "donot_use_mm_for_euclid_dist"  # near 0, where it matters
    apart = (torch.cdist(rows, w, compute_mode=exact) for rows in queries.split(ROWS))
    found = [distances.topk(count, largest=False) for distances in apart]
    if not found:
        return torch.empty(0, count), torch.empty(0, count, dtype=torch.long)
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
