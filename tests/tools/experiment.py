"""Which way of learning codes is best, and what each budget buys: the figures behind `config` and the README.

`python tests/tools/experiment.py ways TRAINING OTHERS` encodes both folders and lets each contestant learn the
training codes. They are judged by half of the others, which nobody trained on; the other half is a contestant, too:
what real pictures would reach. `python tests/tools/experiment.py budgets` learns each example set of cartoon heads
with each budget.

Judged are the codes as they are drawn, in two spaces: `codes`, the standardised principal components of the judging
codes, and `pictures`, those of the decoded pictures at 32 px, which the encoder has no part in.
"""

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
import torch.nn.functional as F
from torch import Tensor

from mind2mind.config import BUDGETS, DEFAULT, PAPER, PRIOR, Recipe, batch_of
from mind2mind.data import make as make_data
from mind2mind.data.dataset import Reading
from mind2mind.judge.metrics import (
    PrincipalAxes,
    coverage,
    energy_distance,
    mean_of_pairs,
    nearest,
    one_nearest,
    standardisation,
)
from mind2mind.judge.verdict import likeness
from mind2mind.models.bundle import Model
from mind2mind.networks.mindgan import MindGAN, draw_z, samples
from mind2mind.studio import Studio
from mind2mind.training.transfer import DISTANCE_AXES, exported, steps_for, train

log = logging.getLogger(__name__)

SETS = ("aliens", "bearded", "neonhair")  # of cartoon heads, in assets/
ASSETS = Path(__file__).resolve().parents[2] / "assets"
TEST_PICTURES, TEST_SIZE, TEST_SEED = 2000, 64, 20_000_000  # no set holds pictures of these seeds
SAMPLES = 1000
SIDE, PICTURE_AXES = 32, 64  # px and principal components in which decoded pictures are compared


def local_kernel(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared MMD with a Laplace kernel as wide as real items' usual nearest distance, over its own mean."""
    width = nearest(real, real, 2)[0][:, 1].median()
    xx, yy, xy = (
        torch.exp(-torch.cdist(a, b) / width) for a, b in ((real, real), (fake, fake), (real, fake))
    )
    own = mean_of_pairs(xx)
    return ((own + mean_of_pairs(yy) - 2 * xy.mean()) / own).item()


Way = Callable[[Model, Tensor, float, int], Tensor]
"""(source, codes (N, d), seconds of training, seed) -> codes (SAMPLES, d), before they are refined."""


def gaussian(source: Model, w: Tensor, seconds: float, seed: int) -> Tensor:
    """Of the Gaussian with the codes' mean and covariance."""
    mean, std = standardisation(w)
    values, axes = torch.linalg.eigh(torch.cov(((w - mean) / std).T.double()))  # singular with few codes
    root = axes * values.clamp_min(0).sqrt()
    draw = torch.Generator().manual_seed(seed)
    drawn = torch.randn(SAMPLES, w.shape[1], generator=draw, dtype=torch.float64) @ root.T
    return drawn.float() * std + mean


def bootstrap(source: Model, w: Tensor, seconds: float, seed: int, h: float = 0.5) -> Tensor:
    """The codes moved along differences of two others, shrunk so that their variance stays."""
    i, a, b = torch.randint(len(w), (3, SAMPLES), generator=torch.Generator().manual_seed(seed))
    mean = w.mean(dim=0)
    return mean + (1 - h * h) ** 0.5 * (w[i] - mean) + h * 0.5**0.5 * (w[a] - w[b])


def rs_imle(source: Model, w: Tensor, seconds: float, seed: int, margin: float = 0.5) -> Tensor:
    """RS-IMLE (arXiv 2409.17439): each code draws its nearest sample near, but none that is already near a code."""
    mean, std = standardisation(w)
    real, sizes = (w - mean) / std, replace(DEFAULT, from_mind=False).sizes(w.shape[1])
    g, draw = MindGAN.untrained(sizes, seed).generator, torch.Generator().manual_seed(seed)
    optimiser, begun, step = torch.optim.Adam(g.parameters(), lr=1e-3, fused=True), time.monotonic(), 0
    usual = nearest(real, real, 2)[0][:, 1].median()
    while time.monotonic() - begun < seconds:
        if step % 20 == 0:
            z = draw_z(20 * len(real), sizes.z_dim, draw)
            with torch.no_grad():
                distance = torch.cdist(real, g(z))
            near = distance.min(dim=0).values < margin * usual
            distance[:, near & ~near.all()] = torch.inf
            chosen = z[distance.argmin(dim=1)]
        rows = torch.randint(len(real), (min(256, len(real)),), generator=draw)
        loss = (g(chosen[rows]) - real[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
    return samples(g, sizes.z_dim, SAMPLES, seed) * std + mean


def by_recipe(recipe: Recipe) -> Way:
    """Of a MindGAN trained by a recipe for so many seconds."""

    def learn(source: Model, w: Tensor, seconds: float, seed: int) -> Tensor:
        with TemporaryDirectory() as folder:
            steps = steps_for(w, recipe, seconds, source.mind)
            for _ in train(w, recipe, steps, Path(folder), mind=source.mind, seed=seed):
                pass
            g, sizes, _ = exported(Path(folder))
        log.warning("%s: %d steps", recipe.name, steps)
        return samples(g, sizes.z_dim, SAMPLES, seed)

    return learn


BEFORE = replace(PRIOR, name="from random weights", jitter=0.2, ema_half_life=100)
CONTESTANTS: dict[str, Way] = {
    "source's mind, untrained": lambda source, w, seconds, seed: samples(
        source.mind, source.mind.sizes[0], SAMPLES, seed
    ),
    "Gaussian": gaussian,
    "smoothed bootstrap": bootstrap,
    "RS-IMLE": rs_imle,
    "paper": by_recipe(PAPER),
    "critic alone, random weights": by_recipe(BEFORE),
    "default": by_recipe(DEFAULT),
}


class Judge:
    """Judges codes of one source by others that nobody trained on (N, d)."""

    def __init__(self, source: Model, training: Tensor, test: Tensor) -> None:
        self.source, self.training, self.test = source, training, test
        self.axes = PrincipalAxes.of(test, DISTANCE_AXES)
        self.pictures = self._decoded(test)
        self.mean = self.pictures.mean(dim=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, _, self.picture_axes = torch.pca_lowrank(self.pictures - self.mean, q=PICTURE_AXES, niter=4)

    @torch.no_grad()
    def _decoded(self, w: Tensor) -> Tensor:
        alae = self.source.alae
        parts = (alae.decode(alae.styles(some)) for some in w.split(batch_of(alae.architecture.resolution)))
        return torch.cat([F.adaptive_avg_pool2d(x.clamp(-1, 1), SIDE).flatten(1) for x in parts])

    def __call__(self, w: Tensor, refine: bool = True) -> dict[str, float]:
        """The numbers of codes (M, d), M >= N."""
        w = w[: len(self.test)]
        if refine:
            w = self.source.within_span(self.training).refined(w)
        spaces = {
            "codes": (self.axes.project(self.test), self.axes.project(w)),
            "pictures": tuple((x - self.mean) @ self.picture_axes for x in (self.pictures, self._decoded(w))),
        }
        told: dict[str, float] = {}
        for name, (real, fake) in spaces.items():
            found = coverage(real, fake) | {
                "1-NN": one_nearest(real, fake),
                "energy x1000": 1000 * energy_distance(fake, real),
                "local kernel": local_kernel(real, fake),
            }
            told |= {f"{name}: {key}": value for key, value in found.items()}
        mean, std = standardisation(self.test)
        new, made = (nearest((x - mean) / std, (self.training - mean) / std)[0] for x in (self.test, w))
        told["distance to the training codes (1: as new ones)"] = (made.median() / new.median()).item()
        seen = likeness(w, self.training).near
        return told | {"near copies": seen.float().mean().item()}


def compare(
    source: Model, training: Tensor, others: Tensor, seconds: float, seeds: int, ways: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Each contestant's numbers, means over the seeds with their deviations; those of no training come once, too."""
    half = len(others) // 2
    judge = Judge(source, training, others[:half])
    times = -(-half // len(training))
    table: dict[str, dict[str, Any]] = {
        "other real pictures": judge(others[half:], refine=False),
        "training codes": judge(training.repeat(times, 1), refine=False),
        "floors": {"a bootstrap": 1000 / (2 * len(training)), "the mean's error": 1000 / (4 * len(training))},
    }
    for name in ways:
        begun = time.monotonic()
        made = [CONTESTANTS[name](source, training, seconds, seed) for seed in range(seeds)]
        took = (time.monotonic() - begun) / seeds
        for refine in (False, True) if name == "Gaussian" else (True,):
            rows = [judge(w, refine) for w in made]
            row = {
                key: (statistics.fmean(r[key] for r in rows), statistics.pstdev(r[key] for r in rows))
                for key in rows[0]
            }
            table[name + " as it is" * (not refine)] = row | {"seconds": took}
        log.warning("%s: %s", name, json.dumps(table[name]))
    return table


MEASURED = (
    "pictures: precision",
    "pictures: recall",
    "pictures: coverage",
    "pictures: energy x1000",
    "near copies",
)


def budgets(studio: Studio, model: str, sets: Sequence[Path], seconds: Mapping[str, float]) -> dict[str, Any]:
    """What each budget comes to on each set of cartoon heads, and a sentence on it for `config.BUDGETS`.

    A set is judged by TEST_PICTURES others of its domain, drawn with seeds that no set has.
    """
    table: dict[str, Any] = {name: {} for name in seconds}
    for folder in sets:
        source, training = studio.models.source(model), _codes(studio, folder, model)
        judge = Judge(source, training, _others(studio, folder.name, model)[: TEST_PICTURES // 2])
        for name, budget in seconds.items():
            begun = time.monotonic()
            row = judge(by_recipe(DEFAULT)(source, training, budget, 0))
            table[name][folder.name] = {key: row[key] for key in MEASURED} | {
                "seconds": time.monotonic() - begun
            }
            log.warning("%s, %s: %s", name, folder.name, table[name][folder.name])
    for rows in table.values():
        mean = {key: statistics.fmean(row[key] for row in rows.values()) for key in MEASURED}
        rows["measured"] = (
            f"on the example sets {mean['pictures: precision']:.0%} of the new pictures were like real ones, and "
            f"{mean['pictures: coverage']:.0%} of the real ones had a new one like them."
        )
    return table


def _others(studio: Studio, domain: str, model: str) -> Tensor:
    with TemporaryDirectory() as folder:
        for _ in make_data.draw_set("toon", domain, TEST_PICTURES, TEST_SIZE, TEST_SEED, Path(folder)):
            pass
        return _codes(studio, Path(folder), model)


def main() -> None:
    """Prints the table as JSON."""
    parser = argparse.ArgumentParser(prog="python tests/tools/experiment.py", description=__doc__)
    parser.add_argument("--model", default="toon64")
    commands = parser.add_subparsers(required=True, dest="command")
    ways = commands.add_parser("ways", help="compare ways of learning codes")
    ways.add_argument("training", type=Path, help="folder of pictures to learn")
    ways.add_argument("others", type=Path, help="folder of other pictures of the same kind, about 2,000")
    ways.add_argument(
        "--only", choices=[*CONTESTANTS], action="append", help="a contestant; all if none is given"
    )
    ways.add_argument("--count", type=int, help="of pictures to learn; all if it is not given")
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
    training, others = (
        _codes(studio, folder, options.model) for folder in (options.training, options.others)
    )
    source, only = studio.models.source(options.model), options.only or [*CONTESTANTS]
    table = compare(source, training[: options.count], others, options.seconds, options.seeds, only)
    print(json.dumps(table, indent=1))


def _codes(studio: Studio, folder: Path, model: str) -> Tensor:
    *_, encoding = studio.runs.encode([folder], model)
    assert not isinstance(encoding, Reading)
    return encoding.codes.w


if __name__ == "__main__":
    main()
