"""Toon heads, the domain of a bundled model: what each shows is drawn from a seed, and known.

The art is DiceBear's `toon-head` style: "Remix of ToonHead
(https://www.figma.com/community/file/1589627891082866389) by Johan Melin, CC BY 4.0". Attributes are drawn here, one
independent draw each, and handed to the style as the only choice, so that what a picture shows is known and not
guessed. The rendering packages are the extra `data`: pip install -e ".[data]".
"""

import io
import json
import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from PIL import Image

from mind2mind.errors import PIP, DataError, one_of

CREDIT = (
    "Remix of ToonHead (https://www.figma.com/community/file/1589627891082866389) by Johan Melin, CC BY 4.0"
)

NATURAL_SKIN = ("5c3829", "f1c3a5", "a36b4f", "c68e7a", "b98e6a")  # the style's own palette
ALIEN_SKIN = ("8fd694", "5bb98c", "7ab8e0", "b79ad9")
NATURAL_HAIR = ("2c1b18", "d6b370", "724133", "a55728", "b58143")  # the style's own palette
NEON_HAIR = ("ff4fa3", "27c4f5", "7bd943", "8c5bff")
CLOTHES_COLOURS = (  # the style's own palette
    "151613", "0b3286", "545454", "147f3c", "f97316", "ec4899", "731ac3", "b11f1f", "e8e9e6", "eab308",
)  # fmt: skip
BACKGROUNDS = ("b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf", "c8e6c9")

HAIR = ("bun", "sideComed", "spiky", "undercut")
REAR_HAIR = ("longStraight", "longWavy", "neckHigh", "shoulderHigh")
BEARDS = ("chin", "chinMoustache", "fullBeard", "longBeard", "moustacheTwirl")
EYEBROWS = ("angry", "happy", "neutral", "raised", "sad")
EYES = ("bow", "happy", "humble", "wide", "wink")
MOUTHS = ("agape", "angry", "laugh", "sad", "smile")
CLOTHES = ("dress", "openJacket", "shirt", "tShirt", "turtleNeck")


@dataclass(frozen=True)
class ToonFace:
    """What one picture shows. Colours are hex without '#'; None means that the part is absent."""

    skin: str
    hair_colour: str
    hair: str
    rear_hair: str | None
    beard: str | None
    eyebrows: str
    eyes: str
    mouth: str
    clothes: str
    clothes_colour: str
    background: str


@dataclass(frozen=True, kw_only=True)
class ToonDomain:
    """How often the attributes occur; everything not named here is uniform over the style's variants."""

    alien_skin: float = 0.0
    neon_hair: float = 0.0
    beard: float = 0.25
    beards: tuple[str, ...] = BEARDS
    hair: tuple[str, ...] = HAIR
    rear_hair: float = 0.5


DOMAINS = {
    # broad, since the frozen autoencoder can only rebuild what it has seen
    "source": ToonDomain(alien_skin=0.15, neon_hair=0.15),
    "bearded": ToonDomain(
        beard=1.0,
        beards=("fullBeard", "longBeard", "chinMoustache"),
        hair=("sideComed", "spiky", "undercut"),
        rear_hair=0.0,
    ),
    "aliens": ToonDomain(alien_skin=1.0),
    "neonhair": ToonDomain(neon_hair=1.0),
}


def draw(domain: str, seed: int) -> ToonFace:
    """The face number `seed` of a domain, the same on every machine.

    Raises:
        ConfigError: there is no such domain.
    """
    d = DOMAINS[one_of("toon domain", domain, DOMAINS)]
    rng = random.Random(f"toon/{domain}/{seed}")
    return ToonFace(
        skin=rng.choice(ALIEN_SKIN if rng.random() < d.alien_skin else NATURAL_SKIN),
        hair_colour=rng.choice(NEON_HAIR if rng.random() < d.neon_hair else NATURAL_HAIR),
        hair=rng.choice(d.hair),
        rear_hair=rng.choice(REAR_HAIR) if rng.random() < d.rear_hair else None,
        beard=rng.choice(d.beards) if rng.random() < d.beard else None,
        eyebrows=rng.choice(EYEBROWS),
        eyes=rng.choice(EYES),
        mouth=rng.choice(MOUTHS),
        clothes=rng.choice(CLOTHES),
        clothes_colour=rng.choice(CLOTHES_COLOURS),
        background=rng.choice(BACKGROUNDS),
    )


def render(face: ToonFace, size: int = 64) -> Image.Image:
    """The picture of a face: RGB, `size` pixels a side, framed like FFHQ.

    Raises:
        DataError: the rendering packages are not installed.
    """
    *_, svg_to_bytes = _renderer()
    png = bytes(svg_to_bytes(svg_string=svg_of(face, size), width=size, height=size))
    return Image.open(io.BytesIO(png)).convert("RGB")


def svg_of(face: ToonFace, size: int = 64) -> str:
    """The drawing of a face, as an SVG of `size` pixels a side.

    Raises:
        DataError: the rendering packages are not installed.
    """
    avatar, style, _ = _renderer()
    options: dict[str, Any] = {"seed": "0", "size": size, "scale": 1.25, "translateY": 4}
    for part in ("hair", "rearHair", "beard", "eyebrows", "eyes", "mouth", "clothes"):
        variant = face.rear_hair if part == "rearHair" else getattr(face, part)
        options[f"{part}Probability"] = 100 if variant else 0
        options[f"{part}Variant"] = [variant] if variant else []
    colours = {"skin": face.skin, "hair": face.hair_colour, "clothes": face.clothes_colour}
    options |= {f"{part}Color": [colour] for part, colour in colours.items()}
    return str(avatar(style, options | {"backgroundColor": [face.background]}).to_string())


@cache
def _renderer() -> tuple[Any, Any, Any]:
    """What draws an avatar, its style, and what makes an SVG a PNG."""
    try:
        from dicebear import Avatar, Style
        from resvg_py import svg_to_bytes
    except ImportError as error:
        problem = f"Drawing toon heads needs the package {error.name!r}."
        raise DataError(problem, f'Run: {PIP} -e ".[data]"') from error
    style = files("dicebear_styles").joinpath("toon-head.json")
    return Avatar, Style(json.loads(style.read_text())), svg_to_bytes
