"""Painted cats, the domain of a source to be: what each shows is drawn from a seed, and known.

The parts are David Revoy's, CC BY 4.0: aligned, with alpha, 1024 pixels a side. They come with the package robohash,
in the extra `data`: pip install -e ".[data]". Attributes are drawn here, one independent draw each.
"""

import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from PIL import Image

from mind2mind.data.toon import BACKGROUNDS
from mind2mind.errors import PIP, DataError, one_of

CREDIT = (
    "Cats by David Revoy (https://www.peppercarrot.com/extras/html/2016_cat-generator/), CC BY 4.0, as robohash "
    "ships them"
)

# In the order of the package's files. Bodies differ in their outline, too; None has no hue to speak of.
BODY_HUES = (351, 86, None, None, 4, 39, 338, 20, 214, 45, 38, None, 35, None, 28)
FURS = (
    "stripes", "broad stripes", None, "rosettes", "dark patches", "light patches", None, "light muzzle",
    "light blocks", "light spots",
)  # fmt: skip
EYES, MOUTHS = 15, 10
ACCESSORIES = (
    "red scarf", "bell", "red collar", "headband", "pink bow", "black hat", "red headphones", "blue scarf", "barrel",
    "typewriter", "gem", "bandana", "blue bow", "red hat", "silver headphones", None,
)  # fmt: skip
COLOURED = tuple(body for body, hue in enumerate(BODY_HUES) if hue is not None)
HUE_SPREAD = 15  # degrees to either side of a body's own hue
TEAL = (165, 195)  # degrees


@dataclass(frozen=True)
class Cat:
    """What one picture shows. None is no hue, no pattern, no accessory."""

    body: int
    hue: int | None  # of the body, in degrees
    fur: str | None
    eyes: int
    mouth: int
    accessory: str | None
    background: str  # hex without '#'


@dataclass(frozen=True, kw_only=True)
class CatDomain:
    """How often what the targets are made of occurs; all else is uniform."""

    headphones: float = 0.03
    leopard: float = 0.03
    teal: float = 0.03  # of the coloured bodies
    bodies: tuple[int, ...] = tuple(range(len(BODY_HUES)))


DOMAINS = {
    "source": CatDomain(),
    "headphones": CatDomain(headphones=1.0),
    "leopards": CatDomain(leopard=1.0),
    "teal": CatDomain(teal=1.0, bodies=COLOURED),
}


def draw(domain: str, seed: int) -> Cat:
    """The cat number `seed` of a domain, the same on every machine.

    Raises:
        ConfigError: there is no such domain.
    """
    d = DOMAINS[one_of("cat domain", domain, DOMAINS)]
    rng = random.Random(f"cats/{domain}/{seed}")
    headphones, leopard, teal = (rng.random() < share for share in (d.headphones, d.leopard, d.teal))
    body = rng.choice(d.bodies)
    own = BODY_HUES[body]
    hue = rng.randint(*TEAL) if teal else (own or 0) + rng.randint(-HUE_SPREAD, HUE_SPREAD)
    return Cat(
        body=body,
        hue=None if own is None else hue % 360,
        fur="rosettes" if leopard else rng.choice([fur for fur in FURS if fur != "rosettes"]),
        eyes=rng.randrange(EYES),
        mouth=rng.randrange(MOUTHS),
        accessory="red headphones"
        if headphones
        else rng.choice([a for a in ACCESSORIES if a != "red headphones"]),
        background=rng.choice(BACKGROUNDS),
    )


def render(cat: Cat, size: int) -> Image.Image:
    """The picture of a cat: RGB, `size` pixels a side.

    Raises:
        DataError: the package with the parts is not installed.
    """
    body, own = _part("body", cat.body, size), BODY_HUES[cat.body]
    coat = body.copy() if own is None or cat.hue is None else _turned(body, cat.hue - own)
    coat.alpha_composite(_part("fur", FURS.index(cat.fur), size))
    coat.putalpha(body.getchannel("A"))  # some furs are painted beyond the body
    picture = Image.new("RGBA", (size, size), f"#{cat.background}")
    picture.alpha_composite(coat)
    for kind, number in (
        ("eyes", cat.eyes), ("mouth", cat.mouth), ("accessories", ACCESSORIES.index(cat.accessory)),
    ):  # fmt: skip
        picture.alpha_composite(_part(kind, number, size))
    return picture.convert("RGB")


@cache
def _part(kind: str, number: int, size: int) -> Image.Image:
    """RGBA, `size` pixels a side."""
    try:
        parts = files("robohash").joinpath("sets", "set4")
    except ImportError as error:
        raise DataError("Painting cats needs the package 'robohash'.", f'Run: {PIP} -e ".[data]"') from error
    (folder,) = (folder for folder in parts.iterdir() if folder.name.endswith(kind))
    (file,) = (file for file in folder.iterdir() if file.name.startswith(f"{number:03d}#"))
    with file.open("rb") as stream, Image.open(stream) as image:
        return image.convert("RGBA").resize((size, size), Image.Resampling.LANCZOS)


def _turned(part: Image.Image, degrees: int) -> Image.Image:
    """The picture with its hues turned; alpha, saturation and brightness stay."""
    hue, saturation, value = part.convert("RGB").convert("HSV").split()
    turned = hue.point([(level + round(degrees * 256 / 360)) % 256 for level in range(256)])
    image = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    image.putalpha(part.getchannel("A"))
    return image
