"""Which way of learning codes is best, and what each budget buys: the figures behind `config`.

`python tests/tools/experiment.py ways TRAINING TEST` encodes both folders and lets each contestant learn the
training codes: a full-covariance Gaussian in w, the recipe `paper`, the recipe `default` on PCA codes, and
`default`. `python tests/tools/experiment.py budgets` learns each example set of cartoon heads with each budget.
All are judged by distances to test codes, which nobody trained on, in the space of the test codes' standardised
principal components.
"""

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
from torch import Tensor

from mind2mind.config import BUDGETS, DEFAULT, PAPER, Recipe
from mind2mind.data import codes
from mind2mind.data import make as make_data
from mind2mind.judge.metrics import (
    PrincipalAxes,
    energy_distance,
    nearest,
    standardisation,
)
from mind2mind.networks.mindgan import draw_z
from mind2mind.studio import Studio
from mind2mind.training.transfer import QUALITY_AXES, exported, steps_for, train

log = logging.getLogger(__name__)

SETS = ("aliens", "bearded", "neonhair")  # of cartoon heads, in assets/
ASSETS = Path(__file__).resolve().parents[2] / "assets"
TEST_PICTURES, TEST_SIZE, TEST_SEED = 1000, 64, 20_000_000  # no set holds pictures of these seeds
SAMPLES = 2048
PCA_SHARE = 0.99  # of the variance that PCA codes keep


# Distances between two sets of codes: the kernel distance KID (arXiv 1801.01401), the Fréchet distance (arXiv
# 1706.08500) and the sliced Wasserstein distance.


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD with the kernel (x.y / d + 1)**3 between x (N, d) and y (M, d), N, M >= 2."""
    d = x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / d + 1) ** 3

    within = _mean_of_pairs(kernel(x, x)) + _mean_of_pairs(kernel(y, y))
    return (within - 2 * kernel(x, y).mean()).item()


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


def _mean_of_pairs(square: Tensor) -> Tensor:
    """Mean of a square matrix without its diagonal."""
    n = len(square)
    return (square.sum() - square.diagonal().sum()) / max(1, n * (n - 1))


Way = Callable[[Tensor, float, int], Tensor]
"""(codes (N, d), seconds of training, seed) -> samples (SAMPLES, d)."""


def gaussian(w: Tensor, seconds: float, seed: int) -> Tensor:
    """Samples of the Gaussian with the codes' mean and covariance."""
    generator = torch.Generator().manual_seed(seed)
    mean, std = standardisation(w)
    covariance = torch.cov(((w - mean) / std).T.double())
    values, axes = torch.linalg.eigh(covariance)  # singular where there are fewer codes than dimensions
    root = axes * values.clamp_min(0).sqrt()
    drawn = torch.randn(SAMPLES, w.shape[1], generator=generator, dtype=torch.float64) @ root.T
    samples: Tensor = drawn.float() * std + mean
    return samples


def by_recipe(recipe: Recipe) -> Way:
    """Samples of a MindGAN trained by a recipe for so many seconds."""

    def learn(w: Tensor, seconds: float, seed: int) -> Tensor:
        with TemporaryDirectory() as folder:
            for _ in train(w, recipe, steps_for(w, recipe, seconds), Path(folder), seed=seed):
                pass
            g, sizes, _ = exported(Path(folder))
        with torch.no_grad():
            samples: Tensor = g(draw_z(SAMPLES, sizes.z_dim, torch.Generator().manual_seed(seed)))
        return samples

    return learn


def on_pca_codes(recipe: Recipe) -> Way:
    """The same MindGAN on the principal components that hold PCA_SHARE of the variance, each of unit size."""

    def learn(w: Tensor, seconds: float, seed: int) -> Tensor:
        axes = PrincipalAxes.of(w, w.shape[1])
        projected = axes.project(w)
        share = projected.var(dim=0).cumsum(0) / projected.var(dim=0).sum()
        kept = int((share < PCA_SHARE).sum()) + 1
        samples = by_recipe(recipe)(projected[:, :kept], seconds, seed)
        return samples @ axes.axes[:, :kept].T * axes.std + axes.mean

    return learn


CONTESTANTS: dict[str, Way] = {
    "Gaussian in w": gaussian,
    "paper": by_recipe(PAPER),
    "PCA codes, default": on_pca_codes(DEFAULT),
    "default": by_recipe(DEFAULT),
}


def judge(samples: Tensor, training: Tensor, test: Tensor) -> dict[str, float]:
    """Distances of samples (M, d) to test codes (N, d); `copies` near 0 would mean copies of training codes."""
    axes = PrincipalAxes.of(test, QUALITY_AXES)
    fake, real = axes.project(samples), axes.project(test)
    shares = coverage(real, fake[: len(real)])
    mean, std = standardisation(test)
    new, _ = nearest((test - mean) / std, (training - mean) / std)
    made, _ = nearest((samples - mean) / std, (training - mean) / std)
    return {
        "kernel": kernel_distance(fake, real),
        "energy x1000": 1000 * energy_distance(fake, real),
        "Fréchet": frechet_distance(fake, real),
        "sliced": sliced_wasserstein(fake, real),
        "precision": shares.precision,
        "recall": shares.recall,
        "coverage": shares.coverage,
        "copies": (made.median() / new.median()).item(),
    }


def compare(training: Tensor, test: Tensor, seconds: float, seeds: int) -> dict[str, dict[str, float]]:
    """Each contestant's numbers, means over the seeds, and their deviation for the kernel distance."""
    table = {"training codes themselves": judge(training, training, test)}
    for name, learn in CONTESTANTS.items():
        begun = time.monotonic()
        rows = [judge(learn(training, seconds, seed), training, test) for seed in range(seeds)]
        table[name] = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
        table[name]["kernel sd"] = statistics.pstdev(row["kernel"] for row in rows)
        table[name]["seconds"] = (time.monotonic() - begun) / seeds
    return table


MEASURED = ("energy x1000", "precision", "coverage", "copies")


def budgets(studio: Studio, model: str, sets: Sequence[Path], seconds: Mapping[str, float]) -> dict[str, Any]:
    """What each budget comes to on each set of cartoon heads, and a sentence on it for `config.BUDGETS`.

    A set is judged by TEST_PICTURES others of its domain, drawn with seeds that no set has.
    """
    table: dict[str, Any] = {name: {} for name in seconds}
    for folder in sets:
        training, test = _codes(studio, folder, model), _others(studio, folder.name, model)
        for name, budget in seconds.items():
            begun = time.monotonic()
            row = judge(by_recipe(DEFAULT)(training, budget, 0), training, test)
            table[name][folder.name] = {key: row[key] for key in MEASURED} | {
                "seconds": time.monotonic() - begun
            }
            log.warning("%s, %s: %s", name, folder.name, table[name][folder.name])
    for rows in table.values():
        mean = {key: statistics.fmean(row[key] for row in rows.values()) for key in MEASURED}
        rows["measured"] = (
            f"on the example sets {mean['precision']:.0%} of the new pictures were like real ones, and "
            f"{mean['coverage']:.0%} of the real ones had a new one like them."
        )
    return table


def _others(studio: Studio, domain: str, model: str) -> Tensor:
    with TemporaryDirectory() as folder:
        for _ in make_data.toon(domain, TEST_PICTURES, TEST_SIZE, TEST_SEED, Path(folder)):
            pass
        return _codes(studio, Path(folder), model)


def main() -> None:
    """Prints the table as JSON."""
    parser = argparse.ArgumentParser(prog="python tests/tools/experiment.py", description=__doc__)
    parser.add_argument("--model", default="toon64")
    commands = parser.add_subparsers(required=True, dest="command")
    ways = commands.add_parser("ways", help="compare ways of learning codes")
    ways.add_argument("training", type=Path, help="folder of pictures to learn")
    ways.add_argument("test", type=Path, help="folder of other pictures of the same kind")
    ways.add_argument("--seconds", type=float, default=60, help="of training, for each contestant")
    ways.add_argument("--seeds", type=int, default=3)
    bought = commands.add_parser("budgets", help="measure what each budget comes to")
    bought.add_argument("--only", choices=[*BUDGETS], action="append", help="a budget; all if none is given")
    bought.add_argument("--sets", type=Path, nargs="+", default=[ASSETS / name for name in SETS])
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the worker does
    studio = Studio()
    if options.command == "budgets":
        seconds = {name: BUDGETS[name].seconds for name in options.only or BUDGETS}
        print(json.dumps(budgets(studio, options.model, options.sets, seconds), indent=1))
        return
    training, test = (_codes(studio, folder, options.model) for folder in (options.training, options.test))
    print(json.dumps(compare(training, test, options.seconds, options.seeds), indent=1))


def _codes(studio: Studio, folder: Path, model: str) -> Tensor:
    *_, encoding = studio.runs.encode([folder], model)
    assert not isinstance(encoding, codes.EncodeProgress)
    return encoding.codes.w


if __name__ == "__main__":
    main()
