"""What a model keeps of toon heads, attribute by attribute, read against the renderer.

`python tests/tools/toon_reading.py --model toon64` rebuilds held-out pictures whose attributes are known, and
reads samples whose attributes nobody knows. Needs the extra `data`.

A colour is the mean over pixels that show it in every face; its class is the nearest of the palette. It is
kept if that class is the label's. A shape is kept if the reconstruction is nearer (in mean squared error) to
its original than to the same picture with any other variant of that one attribute.

A sample is read by the rendered face that is nearest to it: colours as above, shapes by descent over groups
of attributes that overlap. The PSNR between the two says how crisp it is, for a smudged or doubled outline
is like none of the faces; reconstructions of held-out pictures, read in the same way, are the measure.
"""

import argparse
import io
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mind2mind.config import LOCAL
from mind2mind.data import drawn
from mind2mind.data.drawn import ToonFace, draw
from mind2mind.data.images import from_uint8, open_picture, to_image, to_tensor
from mind2mind.files import write_json
from mind2mind.judge.metrics import psnr
from mind2mind.judge.verdict import reconstruct
from mind2mind.models.bundle import Model
from mind2mind.studio import Studio

# --- Toon heads in a fraction of a millisecond: each layer is rendered once, and pictures are laid together.
# `ToonFace.render` draws a face anew each time, some 80 a second. To ask which of the faces a picture
# shows, thousands are needed: here every part (a hair style in one colour, a mouth ...) is rendered by the
# same renderer alone, on nothing, and kept; a face is its nine layers laid over its background. That equals
# the rendered face to within a few levels of 255 (tests/tools/test_toon_reading.py). Needs the extra `data`.

LAYERS = ("rear_hair", "body", "head", "clothes", "mouth", "beard", "eyes", "eyebrows", "hair")  # upwards
COLOUR_OF = {  # what else than its variant a layer depends on
    "rear_hair": "hair_colour",
    "body": "skin",
    "head": "skin",
    "clothes": "clothes_colour",
    "beard": "hair_colour",
    "eyebrows": "hair_colour",
    "hair": "hair_colour",
}
_ANY_FACE = draw("toon", "source", 0)


def rgb(colour: str) -> Tensor:
    """Hex without '#' -> (3,) in [-1, 1]."""
    return torch.tensor(list(bytes.fromhex(colour))).float() / 127.5 - 1


def lay(face: ToonFace, size: int = 64) -> Tensor:
    """The picture of a face: (3, size, size) in [-1, 1].

    Raises:
        DataError: the rendering packages are not installed.
    """
    x = rgb(face.background)[:, None, None].expand(3, size, size)
    for part in LAYERS:
        variant = getattr(face, part, "")  # body and head have only one
        if variant is not None:
            colour = getattr(face, COLOUR_OF[part]) if part in COLOUR_OF else ""
            paint, seen_through = _layer(part, variant, colour, size)
            x = torch.addcmul(paint, x, seen_through)
    return x


@cache
def _layer(part: str, variant: str, colour: str, size: int) -> tuple[Tensor, Tensor]:
    """A part alone: its colour times its opacity, (3, size, size), and what shows through, (1, size, size)."""
    import resvg_py

    face = replace(_ANY_FACE, **({part: variant} if variant else {}))
    if colour:
        face = replace(face, **{COLOUR_OF[part]: colour})
    svg = _only(part, face.svg(size))
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    pixels = np.array(Image.open(io.BytesIO(png)).convert("RGBA"))
    rgba = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return (2 * rgba[:3] - 1) * rgba[3:], 1 - rgba[3:]


def _only(part: str, svg: str) -> str:
    """The drawing without its background and without the uses of all parts but one."""
    name = re.sub("_(.)", lambda letter: letter[1].upper(), part)  # the style says rearHair
    svg = re.sub(r'(<g clip-path="[^"]*">)<rect [^>]*/>', r"\1", svg)
    return re.sub(rf'<use [^>]*href="#(?!{name}-)[^>]*/>', "", svg)


COLOURS = {
    "skin": (*drawn.NATURAL_SKIN, *drawn.ALIEN_SKIN),
    "hair_colour": (*drawn.NATURAL_HAIR, *drawn.NEON_HAIR),
    "background": drawn.BACKGROUNDS,
    "clothes_colour": tuple(drawn.CLOTHES_COLOURS),
}
PATCHES_SIZE = 64  # px a side, of the pictures that these are places in
# Rows and columns that show the colour in every face, whatever the parts are (found on 1,000 of them)
PATCHES: dict[str, tuple[Any, Any]] = {
    "skin": (slice(41, 43), slice(22, 28)),
    "hair_colour": (slice(11, 16), slice(24, 39)),
    "background": (slice(20, 40), slice(0, 8)),
    "clothes_colour": ([62, 63, 63, 63, 63], [21, 20, 21, 42, 43]),
}
SHAPES: dict[str, tuple[Any, ...]] = {  # each variant a name, or None where the part may be absent
    "hair": drawn.HAIR,
    "rear_hair": (None, *drawn.REAR_HAIR),
    "beard": (None, *drawn.BEARDS),
    "eyebrows": drawn.EYEBROWS,
    "eyes": drawn.EYES,
    "mouth": drawn.MOUTHS,
    "clothes": drawn.CLOTHES,
}
OVERLAPPING = (("hair", "rear_hair"), ("beard", "mouth"), ("eyes", "eyebrows"), ("clothes",))
# The seven that a source model must keep; the others are reported beside them
NAMED = ("skin", "hair_colour", "beard", "background", "hair", "eyes", "mouth")
HELD_OUT = {  # domain -> first seed and number: no training sees them
    "source": (10_000_000, 1000),
    "aliens": (20_000_000, 300),
    "bearded": (30_000_000, 300),
    "neonhair": (40_000_000, 300),
}
MISTAKES = 5  # that are told of
DATA_SEEDS = 30_000  # faces that the data's frequencies are counted on


class Reading(NamedTuple):
    """The face that a picture is nearest to."""

    face: ToonFace
    apart: dict[str, float]  # colour attribute -> distance to its class, in levels of 255 (RGB, Euclidean)
    psnr: float  # dB between the picture and that face's rendering: how crisp the picture is


def colour_distance(attribute: str) -> float:
    """Within this (levels of 255) a colour is read for certain: half the way between the two nearest classes."""
    palette = torch.stack([rgb(colour) for colour in COLOURS[attribute]]) * 127.5
    return float(torch.pdist(palette).min()) / 2


def read_colours(x: Tensor) -> tuple[dict[str, str], dict[str, float]]:
    """The class of each colour of a picture (3, size, size) in [-1, 1], and its distance in levels of 255."""
    classes, apart = {}, {}
    x = F.avg_pool2d(x, x.shape[-1] // PATCHES_SIZE)
    for attribute, palette in COLOURS.items():
        rows, columns = PATCHES[attribute]
        seen = x[:, rows, columns].flatten(1).mean(dim=1)
        distance = (torch.stack([rgb(colour) for colour in palette]) - seen).norm(dim=1) * 127.5
        classes[attribute] = palette[int(distance.argmin())]
        apart[attribute] = float(distance.min())
    return classes, apart


def error(x: Tensor, face: ToonFace) -> float:
    """Mean squared error between a picture (3, size, size) in [-1, 1] and the rendering of a face."""
    return float((x - lay(face, x.shape[-1])).square().mean())


def read(x: Tensor) -> Reading:
    """The face whose rendering is nearest to a picture (3, size, size) in [-1, 1]; see this module's docstring."""
    classes, apart = read_colours(x)
    face = replace(draw("toon", "source", 0), **classes)
    least, before = error(x, face), float("inf")
    while least < before:
        before = least
        for group in OVERLAPPING:
            for variants in product(*(SHAPES[attribute] for attribute in group)):
                other = replace(face, **dict(zip(group, variants, strict=True)))
                if (e := error(x, other)) < least:
                    face, least = other, e
    return Reading(face, apart, float(psnr(x[None], lay(face, x.shape[-1])[None])))


def shown(face: ToonFace, y: Tensor) -> dict[str, str | None]:
    """What the reconstruction y (3, size, size) in [-1, 1] of a face shows: the class of each attribute."""
    found: dict[str, str | None] = {**read_colours(y)[0]}
    for attribute, variants in SHAPES.items():
        errors = {v: error(y, replace(face, **{attribute: v})) for v in variants}
        own = getattr(face, attribute)
        found[attribute] = min(variants, key=lambda v: (errors[v], v == own))  # a draw is not the own one's
    return found


def kept_rates(faces: Sequence[ToonFace], pictures: Tensor) -> dict[str, Any]:
    """What pictures (N, 3, size, size) keep of each attribute of their faces, in per cent, and what they mistake.

    `mean` and `least` are over the NAMED attributes; `mistaken` are the most frequent confusions, in per cent of
    the pictures.
    """
    own, told = [asdict(face) for face in faces], [shown(*pair) for pair in zip(faces, pictures, strict=True)]
    pairs = list(zip(own, told, strict=True))
    rates = {
        name: 100 * statistics.fmean(a[name] == b[name] for a, b in pairs) for name in (*COLOURS, *SHAPES)
    }
    wrong = Counter((name, a[name], b[name]) for name in rates for a, b in pairs if a[name] != b[name])
    named = [rates[name] for name in NAMED]
    mistaken = {
        f"{name}: {a} as {b}": 100 * count / len(faces) for (name, a, b), count in wrong.most_common(MISTAKES)
    }
    return {"mean": statistics.fmean(named), "least": min(named), **rates, "mistaken": mistaken}


def frequencies(faces: Sequence[ToonFace]) -> dict[tuple[str, str | None], float]:
    """Per cent of the faces that have each class of each attribute."""
    classes: dict[str, Sequence[str | None]] = {**COLOURS, **SHAPES}
    counts = {name: Counter(getattr(face, name) for face in faces) for name in classes}
    return {(name, v): 100 * counts[name][v] / len(faces) for name in classes for v in classes[name]}


def sample_numbers(readings: Sequence[Reading], domain: str, crisp_from: float) -> dict[str, Any]:
    """What samples show, against the faces of a domain; crisp ones are as near to a face as `crisp_from` dB."""
    limits = {name: colour_distance(name) for name in COLOURS}
    certain = {name: [r.apart[name] <= limits[name] for r in readings] for name in COLOURS}
    data = frequencies([draw("toon", domain, seed) for seed in range(DATA_SEEDS)])
    own = frequencies([r.face for r in readings])
    off = {key: own[key] - data[key] for key in data}
    worst = max(off, key=lambda key: abs(off[key]))
    return {
        "samples": len(readings),
        "colour_distances": limits,
        "colour_read_percent": {name: 100 * statistics.fmean(values) for name, values in certain.items()},
        "all_colours_read_percent": 100
        * statistics.fmean(all(row) for row in zip(*certain.values(), strict=True)),
        "frequency_off_most": {"attribute": worst[0], "class": worst[1], "points": off[worst]},
        "frequency_off_most_by_attribute": {
            name: max((off[key] for key in off if key[0] == name), key=abs) for name in (*COLOURS, *SHAPES)
        },
        "crisp_psnr": quantiles([r.psnr for r in readings]),
        "crisp_percent": 100 * statistics.fmean(r.psnr >= crisp_from for r in readings),
        "different_faces": len({r.face for r in readings}),
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Mean, least, and the 5, 10 and 50 per cent quantiles."""
    q5, q10, q50 = np.quantile(values, [0.05, 0.1, 0.5]).tolist()
    return {"mean": statistics.fmean(values), "least": min(values), "p5": q5, "p10": q10, "p50": q50}


def faces_of(folder: Path, size: int) -> tuple[list[ToonFace], Tensor]:
    """What `make-data toon` wrote: the faces, and their pictures as uint8 (N, 3, size, size)."""
    rows = [json.loads(line) for line in (folder / "attributes.jsonl").read_text().splitlines()]
    faces = [ToonFace(**{field.name: row[field.name] for field in fields(ToonFace)}) for row in rows]
    return faces, torch.stack([to_tensor(open_picture(folder / row["file"], LOCAL), size, 3) for row in rows])


def held_out(domain: str, size: int) -> tuple[list[ToonFace], Tensor]:
    """The faces of HELD_OUT and their pictures as uint8 (N, 3, size, size)."""
    first, count = HELD_OUT[domain]
    faces = [draw("toon", domain, seed) for seed in range(first, first + count)]
    return faces, torch.stack([to_tensor(face.render(size), size, 3) for face in faces])


def rebuilt(model: Model, pixels: Tensor) -> Tensor:
    """G(E(x)) of uint8 pictures (N, 3, size, size), as users see it: rounded to 255 levels, in [-1, 1]."""
    return as_tensor([to_image(y) for some in pixels.split(64) for y in reconstruct(model.alae, some)[0]])


def as_tensor(images: Sequence[Image.Image]) -> Tensor:
    """Square pictures of one size -> (N, 3, size, size) in [-1, 1]."""
    return from_uint8(torch.stack([to_tensor(image, image.width, 3) for image in images]))


def measure(studio: Studio, ref: str, sets: Iterator[tuple[str, list[ToonFace], Tensor]]) -> dict[str, Any]:
    """PSNR and kept attributes of each set of (name, faces, uint8 pictures)."""
    table: dict[str, Any] = {}
    for name, faces, pixels in sets:
        y = rebuilt(studio.models.load(ref), pixels)
        ratios = psnr(from_uint8(pixels), y).tolist()
        table[name] = {"pictures": len(faces), "psnr": quantiles(ratios), "kept": kept_rates(faces, y)}
    return table


def measure_samples(studio: Studio, ref: str, count: int, domain: str) -> dict[str, Any]:
    """Samples of a model at psi 1, noise as users get it, beside reconstructions of the source's held-out."""
    source = studio.models.load(studio.models.source_ref(ref))
    _, pixels = held_out("source", source.alae.architecture.resolution)
    real = [read(y) for y in rebuilt(source, pixels[: min(count, len(pixels))])]
    measured = quantiles([reading.psnr for reading in real])
    made = [read(y) for y in as_tensor(studio.draw.sample(ref, range(count)))]
    return {"reconstructions_crisp_psnr": measured} | sample_numbers(made, domain, measured["p5"])


def main() -> None:
    """Prints the numbers as JSON."""
    parser = argparse.ArgumentParser(prog="python tests/tools/toon_reading.py", description=__doc__)
    parser.add_argument("--model", default="toon64")
    parser.add_argument("--pictures", type=Path, action="append", help="folder of `make-data toon` instead")
    parser.add_argument("--samples", type=int, default=1000, help="0: none")
    parser.add_argument("--domain", default="source", help="that the samples should be of")
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    options = parser.parse_args()
    studio = Studio()
    size = studio.models.load(options.model).alae.architecture.resolution
    if options.pictures:
        sets = ((folder.name, *faces_of(folder, size)) for folder in options.pictures)
    else:
        sets = ((domain, *held_out(domain, size)) for domain in HELD_OUT)
    document: dict[str, Any] = {
        "model": options.model,
        "reconstructions": measure(studio, options.model, sets),
    }
    if options.samples:
        document["samples"] = measure_samples(studio, options.model, options.samples, options.domain)
    if options.out:
        write_json(options.out, document)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
