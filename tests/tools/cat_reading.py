"""What a model keeps of painted cats, attribute by attribute, read against the renderer.

`python tests/tools/cat_reading.py --model cats64` rebuilds pictures that no training saw, whose attributes are known.
An attribute is kept if the reconstruction is nearer (in mean squared error) to its original than to the same cat with
any other choice of it; a hue if it is nearer than the same cat turned by 30 degrees to either side. Needs the extra
`data`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from mind2mind.data import drawn
from mind2mind.data.drawn import Cat, draw
from mind2mind.data.images import from_uint8
from mind2mind.judge.verdict import reconstruct
from mind2mind.models.bundle import Model
from mind2mind.studio import Studio

SEED = 30_000_000  # of the first cat; no training sees such seeds
TURNED = 30  # degrees
CHOICES: dict[str, tuple[Any, ...]] = {
    "body": tuple(range(len(drawn.BODY_HUES))),
    "fur": drawn.FURS,
    "eyes": tuple(range(drawn.CAT_EYES)),
    "mouth": tuple(range(drawn.CAT_MOUTHS)),
    "accessory": drawn.ACCESSORIES,
    "background": drawn.BACKGROUNDS,
}


def others(cat: Cat, attribute: str) -> Iterator[Cat]:
    """The same cat with every other choice of one attribute."""
    if attribute == "hue":
        if cat.hue is not None:
            yield from (replace(cat, hue=(cat.hue + turn) % 360) for turn in (-TURNED, TURNED))
        return
    own = getattr(cat, attribute)
    for choice in dict.fromkeys(CHOICES[attribute]):
        if choice != own:
            yield replace(cat, **{attribute: choice})


def measure(model: Model, domain: str, count: int) -> dict[str, float]:
    """The mean PSNR of the reconstructions in dB, and of each attribute the share in per cent that is kept."""
    size = model.alae.architecture.resolution
    cats = [draw("cats", domain, SEED + i) for i in range(count)]
    originals = torch.stack([_pixels(cat, size) for cat in cats])
    rebuilt, ratios = reconstruct(model.alae, originals)
    kept: dict[str, list[bool]] = {name: [] for name in ("hue", *CHOICES)}
    for cat, original, y in zip(cats, from_uint8(originals), rebuilt.clamp(-1, 1), strict=True):
        own = (y - original).square().mean()
        for name, values in kept.items():
            away = [from_uint8(_pixels(other, size)) for other in others(cat, name)]
            away = [x for x in away if not torch.equal(x, original)]  # some choices hide behind others
            if away:
                values.append(bool(own < (torch.stack(away) - y).square().mean(dim=(1, 2, 3)).min()))
    shares = {name: round(100 * statistics.fmean(values), 1) for name, values in kept.items()}
    mean = round(statistics.fmean(shares.values()), 1)
    return {"psnr": round(ratios.mean().item(), 2), **shares, "on average": mean}


def _pixels(cat: Cat, size: int) -> Tensor:
    return pil_to_tensor(cat.render(size))


def main() -> None:
    """Prints the numbers of each domain as JSON."""
    parser = argparse.ArgumentParser(prog="python tests/tools/cat_reading.py", description=__doc__)
    parser.add_argument("--model", default="cats64")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--domains", nargs="+", default=[*Cat.domains])
    options = parser.parse_args()
    model = Studio().models.source(options.model)
    print(json.dumps({name: measure(model, name, options.count) for name in options.domains}, indent=1))


if __name__ == "__main__":
    main()
