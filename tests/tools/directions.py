"""What a model's directions tell of drawn pictures: the names on its card come from here.

`python tests/tools/directions.py toon --model toon128` encodes pictures that no training saw, whose attributes are
known. A direction may have an attribute's name if more than 0.6 of the variance along it lies between that
attribute's classes, and the names of two if their shares add up to more than 0.85. Look at its pictures, too: they
must say the same. Needs the extra `data`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
from torch import Tensor

from mind2mind.data.codes import of_pixels
from mind2mind.data.drawn import DRAWN, draw
from mind2mind.data.images import to_tensor
from mind2mind.explore import steps_of
from mind2mind.models.bundle import Model
from mind2mind.studio import Studio

SEED, COUNT = 10_000_000, 1000
HUES = 30  # degrees of a class
ENDS = 3  # classes told at each end


def means_of(values: Tensor, classes: Sequence[Any]) -> dict[Any, Tensor]:
    """The mean (k,) of the rows of values (N, k) of each class."""
    return {c: values[[own == c for own in classes]].mean(dim=0) for c in dict.fromkeys(classes)}


def explained(values: Tensor, attributes: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Of each column of values (N, k): the share of its variance that lies between an attribute's classes."""
    total, shares = values.var(dim=0, correction=0), {}
    for name in attributes[0]:
        classes = [own[name] for own in attributes]
        means = means_of(values, classes)
        shares[name] = torch.stack([means[c] for c in classes]).var(dim=0, correction=0) / total
    return [{name: float(share[k]) for name, share in shares.items()} for k in range(values.shape[1])]


def measure(model: Model, collection: str) -> list[dict[str, Any]]:
    """Of each direction the share of the two attributes that explain most, and the first one's outermost classes."""
    a = model.alae.architecture
    drawn = [draw(collection, "source", SEED + i) for i in range(COUNT)]
    pixels = torch.stack(
        [to_tensor(each.render(a.resolution), a.resolution, a.image_channels) for each in drawn]
    )
    attributes = [asdict(each) for each in drawn]
    for own in attributes:
        if own.get("hue") is not None:
            own["hue"] = own["hue"] // HUES * HUES
    w, (steps, _) = of_pixels(model.alae, pixels), steps_of(model)
    values = (w - w.mean(dim=0)) @ torch.linalg.pinv(steps)
    table = []
    for k, shares in enumerate(explained(values, attributes)):
        first, second = sorted(shares, key=lambda name: -shares[name])[:2]
        means = means_of(values[:, k], [own[first] for own in attributes])
        ordered = sorted(means, key=lambda c: float(means[c]))
        table.append({
            first: round(shares[first], 2),
            second: round(shares[second], 2),
            "low": {str(c): round(float(means[c]), 1) for c in ordered[:ENDS]},
            "high": {str(c): round(float(means[c]), 1) for c in ordered[-ENDS:]},
        })  # fmt: skip
    return table


def main() -> None:
    """Prints a line of JSON for each direction."""
    parser = argparse.ArgumentParser(prog="python tests/tools/directions.py", description=__doc__)
    parser.add_argument("collection", choices=DRAWN)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    for told in measure(Studio().models.source(options.model), options.collection):
        print(json.dumps(told))


if __name__ == "__main__":
    main()
