"""How fast MindGAN trains here: steps a second, beside what its matrix products alone would allow.

`python tests/tools/bench_steps.py` times single steps of `paper` at 512 numbers and of `default` at 128 and 512 in
turn, and takes medians. The products' limit is their number of operations over the speed of a large product. Then it
trains `default` on an example set and prints after how many seconds it is within 10 % of its way to the end.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
from torch.utils.flop_counter import FlopCounterMode

from mind2mind.config import DEFAULT, PAPER, Recipe
from mind2mind.networks.mindgan import MindGAN
from mind2mind.studio import Studio
from mind2mind.training.transfer import Learner, Progress, steps_for, train

CASES = ((PAPER, 512), (DEFAULT, 128), (DEFAULT, 512))
ASSETS = Path(__file__).resolve().parents[2] / "assets"
WITHIN = 0.1


def product_speed(tries: int = 50) -> float:
    """Operations a second of a 256 x 512 x 512 product of float32."""
    a, b, times = torch.randn(256, 512), torch.randn(512, 512), []
    for _ in range(tries):
        begun = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - begun)
    return 2 * 256 * 512 * 512 / statistics.median(times)


def learner(recipe: Recipe, size: int) -> Learner:
    """One that has begun, with a mind of the bundled models' widths."""
    mind = MindGAN.untrained(DEFAULT.sizes(size), 0).generator
    begun = Learner(
        torch.randn(1000, size, generator=torch.Generator().manual_seed(0)), recipe, 10_000, mind=mind
    )
    for _ in range(5):
        begun.advance()
    return begun


def speeds(tries: int) -> dict[str, Any]:
    """Of all cases, a step of each in turn."""
    learners = [learner(*case) for case in CASES]
    times: list[list[float]] = [[] for _ in CASES]
    products = [product_speed()]
    for number in range(tries):
        for own, seen in zip(learners, times, strict=True):
            begun = time.perf_counter()
            own.advance()
            seen.append(time.perf_counter() - begun)
        if number % 10 == 0:
            products.append(product_speed())
    table = {}
    for (recipe, size), own, seen in zip(CASES, learners, times, strict=True):
        with FlopCounterMode(display=False) as counted:
            own.advance()
        limit = statistics.median(products) / counted.get_total_flops()
        step = statistics.median(seen)
        table[f"{recipe.name}, {size} numbers"] = {
            "steps/s": 1 / step,
            "the products' limit, steps/s": limit,
            "share of the limit": 1 / step / limit,
        }
    return table


def time_to_quality(name: str, model: str, seconds: float) -> dict[str, float]:
    """After how much of a budget `default` has gone all but WITHIN of its way, by the distance to its codes."""
    studio = Studio()
    *_, encoded = studio.runs.encode([ASSETS / name], model)
    w, mind = encoded.codes.w, studio.models.source(model).mind
    steps = steps_for(w, DEFAULT, seconds, mind)
    with TemporaryDirectory() as folder:
        events = [e for e in train(w, DEFAULT, steps, Path(folder), mind=mind) if isinstance(e, Progress)]
    seen = [(e.seconds, e.distance) for e in events if e.distance is not None]
    first, last = seen[0][1], seen[-1][1]
    reached = next(after for after, distance in seen if distance <= last + WITHIN * (first - last))
    return {
        "steps": steps,
        "seconds": seen[-1][0],
        "within 10 % after": reached,
        "first": first,
        "last": last,
    }


def main() -> None:
    """Prints the table as JSON."""
    parser = argparse.ArgumentParser(prog="python tests/tools/bench_steps.py", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="the worker takes one")
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--set", default="aliens", help="an example set of cartoon heads")
    parser.add_argument("--seconds", type=float, default=60, help="of training on it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = speeds(options.tries) | {options.set: time_to_quality(options.set, "toon64", options.seconds)}
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
