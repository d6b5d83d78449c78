"""How good, how varied and how original samples are, measured on codes and pictures without any network.

Distances between two sets of codes, (N, d) and (M, d): the energy distance (Székely and Rizzo 2013), the
kernel distance KID (arXiv 1801.01401), the Fréchet distance (arXiv 1706.08500) and the sliced Wasserstein
distance. These are distances in the space of codes: never call one of them FID.
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
    within = _mean_of_pairs(torch.cdist(x, x)) + _mean_of_pairs(torch.cdist(y, y))
    return ((2 * between - within) / (2 * between).clamp_min(1e-12)).item()


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD with the kernel (x.y / d + 1)**3 between x (N, d) and y (M, d), N, M >= 2."""
    d = x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / d + 1) ** 3

    within = _mean_of_pairs(kernel(x, x)) + _mean_of_pairs(kernel(y, y))
    return (within - 2 * kernel(x, y).mean()).item()


def _mean_of_pairs(square: Tensor) -> Tensor:
    """Mean of a square matrix without its diagonal."""
    n = len(square)
    return (square.sum() - square.diagonal().sum()) / max(1, n * (n - 1))


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Fréchet distance of the Gaussians fitted to x (N, d) and y (M, d); biased upwards unless N, M >> d."""
    x, y = x.double(), y.double()
    cov_x, cov_y = torch.cov(x.T), torch.cov(y.T)
    eigenvalues = torch.linalg.eigvals(cov_x @ cov_y).real.clamp_min(0)
    means = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    covariances = cov_x.trace() + cov_y.trace() - 2 * eigenvalues.sqrt().sum()
    return float(means + covariances)


def sliced_wasserstein(x: Tensor, y: Tensor, slices: int = 256, seed: int = 0) -> float:
    """Mean 1-Wasserstein distance of x (N, d) and y (M, d) over random directions, by 512 quantiles."""
    directions = torch.randn(x.shape[1], slices, generator=torch.Generator().manual_seed(seed))
    directions = (directions / directions.norm(dim=0)).to(x)
    q = torch.linspace(0, 1, 512).to(x)
    apart = torch.quantile(x @ directions, q, dim=0) - torch.quantile(y @ directions, q, dim=0)
    return apart.abs().mean().item()


class Coverage(NamedTuple):
    """Shares from 0 to 1 (arXiv 1904.06991, arXiv 2002.09797), k nearest neighbours."""

    precision: float  # samples that lie within the real set
    recall: float  # real codes that lie within the samples
    coverage: float  # real codes with a sample among their neighbours


def coverage(real: Tensor, fake: Tensor, k: int = 3) -> Coverage:
    """Precision, recall and coverage of fake (M, d) against real (N, d); N, M > k."""
    radius_real, radius_fake = (
        torch.cdist(a, a).kthvalue(k + 1, dim=1).values
        for a in (real, fake)  # + 1: itself
    )
    distance = torch.cdist(real, fake)  # (N, M)
    in_real = distance <= radius_real[:, None]
    in_fake = distance <= radius_fake[None]
    return Coverage(
        in_real.any(dim=0).float().mean().item(),
        in_fake.any(dim=1).float().mean().item(),
        in_real.any(dim=1).float().mean().item(),
    )


def nearest(queries: Tensor, w: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """For each query (N, d) the distances to its nearest of w (M, d), (N, count), and their numbers."""
    exact = "donot_use_mm_for_euclid_dist"  # near 0, where it matters
    found = [
        torch.cdist(rows, w, compute_mode=exact).topk(count, largest=False) for rows in queries.split(ROWS)
    ]
    if not found:
        return torch.empty(0, count), torch.empty(0, count, dtype=torch.long)
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
