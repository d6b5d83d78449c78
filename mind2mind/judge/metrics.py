"""How near two pictures, or two sets of points, are to each other; the points are codes, features or pixels."""

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
    within = sum(mean_of_pairs(d) for d in apart)
    return ((2 * between - within) / (2 * between).clamp_min(1e-12)).item()


def coverage(real: Tensor, fake: Tensor, k: int = 3) -> dict[str, float]:
    """Shares from 0 to 1 of fake (M, d) against real (N, d), by the balls to each item's k-th neighbour; N, M > k.

    Precision and recall of arXiv 1904.06991, coverage of arXiv 2002.09797, and the symmetric ones of arXiv
    2306.09618: of each the smaller one of itself and its complement, which asks the other set's balls.
    """
    radius_real, radius_fake = (
        torch.cdist(a, a).kthvalue(k + 1, dim=1).values for a in (real, fake)
    )  # + itself
    distance = torch.cdist(real, fake)  # (N, M)
    in_real, in_fake = distance <= radius_real[:, None], distance <= radius_fake[None]
    precision, recall = in_real.any(dim=0).float().mean().item(), in_fake.any(dim=1).float().mean().item()
    covered, holding = in_real.any(dim=1).float().mean().item(), in_fake.any(dim=0).float().mean().item()
    return {
        "precision": precision,
        "recall": recall,
        "coverage": covered,
        "symPrecision": min(precision, holding),
        "symRecall": min(recall, covered),
    }


def one_nearest(real: Tensor, fake: Tensor) -> float:
    """Leave-one-out accuracy of telling the two sets apart by the nearest neighbour; 0.5 is perfect, sizes equal."""
    both = torch.cat([real, fake])
    distance = torch.cdist(both, both).fill_diagonal_(torch.inf)
    of_fake = torch.arange(len(both)) >= len(real)
    return (of_fake[distance.argmin(dim=1)] == of_fake).float().mean().item()


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared MMD with KID's kernel (x y / d + 1)^3 (arXiv 1801.01401) of (N, d), (M, d); 0: equal laws."""
    xx, yy, xy = (
        (a.double() @ b.double().T / a.shape[1] + 1) ** 3
        for a, b in ((real, real), (fake, fake), (real, fake))
    )
    return (mean_of_pairs(xx) + mean_of_pairs(yy) - 2 * xy.mean()).item()


def mean_of_pairs(square: Tensor) -> Tensor:
    """Mean of a square matrix without its diagonal."""
    n = len(square)
    return (square.sum() - square.diagonal().sum()) / max(1, n * (n - 1))


def nearest(queries: Tensor, w: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """For each query (N, d) the distances to its nearest of w (M, d), (N, count), and their numbers."""
    exact = "donot_use_mm_for_euclid_dist"  # near 0, where it matters
    apart = (torch.cdist(rows, w, compute_mode=exact) for rows in queries.split(ROWS))
    found = [distances.topk(count, largest=False) for distances in apart]
    if not found:
        return torch.empty(0, count), torch.empty(0, count, dtype=torch.long)
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
