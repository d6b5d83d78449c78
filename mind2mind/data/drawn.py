"""Pictures drawn from seeds, so that what each shows is known: toon heads and painted cats.

Attributes are drawn here, one independent draw each, and never guessed. Toon heads are DiceBear's style `toon-head`,
which is handed each attribute as the only choice: the domain of a bundled model. The parts of the cats are David
Revoy's, aligned, with alpha, 1024 pixels a side, as the package robohash ships them: the domain of another.
What draws is the extra `data`: pip install -e ".[data]".
"""

import io
import json
import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

from PIL import Image

from mind2mind.errors import one_of

BACKGROUNDS = ("b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf", "c8e6c9")

NATURAL_SKIN = ("5c3829", "f1c3a5", "a36b4f", "c68e7a", "b98e6a")  # the style's own palette
ALIEN_SKIN = ("8fd694", "5bb98c", "7ab8e0", "b79ad9")
NATURAL_HAIR = ("2c1b18", "d6b370", "724133", "a55728", "b58143")  # the style's own palette
NEON_HAIR = ("ff4fa3", "27c4f5", "7bd943", "8c5bff")
CLOTHES_COLOURS = (  # the style's own palette
    "151613", "0b3286", "545454", "147f3c", "f97316", "ec4899", "731ac3", "b11f1f", "e8e9e6", "eab308",
)  # fmt: skip
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

    credit: ClassVar = (
        "Remix of ToonHead (https://www.figma.com/community/file/1589627891082866389) "
        "by Johan Melin, CC BY 4.0"
    )
    domains: ClassVar[dict[str, dict[str, Any]]] = {
        # broad, since the frozen autoencoder can only rebuild what it has seen
        "source": {"alien_skin": 0.15, "neon_hair": 0.15},
        "bearded": {
            "beard": 1.0,
            "beards": ("fullBeard", "longBeard", "chinMoustache"),
            "hair": ("sideComed", "spiky", "undercut"),
            "rear_hair": 0.0,
        },
        "aliens": {"alien_skin": 1.0},
        "neonhair": {"neon_hair": 1.0},
    }

    @classmethod
    def drawn(
        cls,
        rng: random.Random,
        *,
        alien_skin: float = 0.0,
        neon_hair: float = 0.0,
        beard: float = 0.25,
        beards: tuple[str, ...] = BEARDS,
        hair: tuple[str, ...] = HAIR,
        rear_hair: float = 0.5,
    ) -> "ToonFace":
        """A face with these probabilities and choices; all else is uniform over the style's variants."""
        return cls(
            skin=rng.choice(ALIEN_SKIN if rng.random() < alien_skin else NATURAL_SKIN),
            hair_colour=rng.choice(NEON_HAIR if rng.random() < neon_hair else NATURAL_HAIR),
            hair=rng.choice(hair),
            rear_hair=rng.choice(REAR_HAIR) if rng.random() < rear_hair else None,
            beard=rng.choice(beards) if rng.random() < beard else None,
            eyebrows=rng.choice(EYEBROWS),
            eyes=rng.choice(EYES),
            mouth=rng.choice(MOUTHS),
            clothes=rng.choice(CLOTHES),
            clothes_colour=rng.choice(CLOTHES_COLOURS),
            background=rng.choice(BACKGROUNDS),
        )

    def render(self, size: int) -> Image.Image:
        """The picture: RGB, `size` pixels a side, framed like FFHQ."""
        from resvg_py import svg_to_bytes

        png = bytes(svg_to_bytes(svg_string=self.svg(size), width=size, height=size))
        return Image.open(io.BytesIO(png)).convert("RGB")

    def svg(self, size: int) -> str:
        """The drawing, as an SVG of `size` pixels a side."""
        from dicebear import Avatar

        options: dict[str, Any] = {"seed": "0", "size": size, "scale": 1.25, "translateY": 4}
        for part in ("hair", "rearHair", "beard", "eyebrows", "eyes", "mouth", "clothes"):
            variant = self.rear_hair if part == "rearHair" else getattr(self, part)
            options[f"{part}Probability"] = 100 if variant else 0
            options[f"{part}Variant"] = [variant] if variant else []
        colours = {"skin": self.skin, "hair": self.hair_colour, "clothes": self.clothes_colour}
        options |= {f"{part}Color": [colour] for part, colour in colours.items()}
        return str(Avatar(_style(), options | {"backgroundColor": [self.background]}).to_string())


@cache
def _style() -> Any:
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath("toon-head.json").read_text()))


# Cats, in the order of the package's files. Bodies differ in their outline, too; None has no hue to speak of.
BODY_HUES = (351, 86, None, None, 4, 39, 338, 20, 214, 45, 38, None, 35, None, 28)
FURS = (
    "stripes", "broad stripes", None, "rosettes", "dark patches", "light patches", None, "light muzzle",
    "light blocks", "light spots",
)  # fmt: skip
CAT_EYES, CAT_MOUTHS = 15, 10
ACCESSORIES = (
    "red scarf", "bell", "red collar", "headband", "pink bow", "black hat", "red headphones", "blue scarf", "barrel",
    "typewriter", "gem", "bandana", "blue bow", "red hat", "silver headphones", None,
)  # fmt: skip
COLOURED = tuple(body for body, hue in enumerate(BODY_HUES) if hue is not None)
ORANGE = tuple(body for body in COLOURED if 25 <= (BODY_HUES[body] or 0) <= 50)
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

    credit: ClassVar = (
        "Cats by David Revoy (https://www.peppercarrot.com/extras/html/2016_cat-generator/), CC BY 4.0, as robohash "
        "ships them"
    )
    domains: ClassVar[dict[str, dict[str, Any]]] = {
        "source": {},
        "headphones": {"headphones": 1.0},
        "leopards": {"leopard": 1.0},
        "tigers": {"leopard": 0.0, "teal": 0.0, "bodies": ORANGE, "furs": ("broad stripes",)},
        "teal": {"teal": 1.0, "bodies": COLOURED},
    }

    @classmethod
    def drawn(
        cls,
        rng: random.Random,
        *,
        headphones: float = 0.03,
        leopard: float = 0.03,
        teal: float = 0.03,
        bodies: tuple[int, ...] = tuple(range(len(BODY_HUES))),
        furs: tuple[str | None, ...] = FURS,
    ) -> "Cat":
        """A cat with these probabilities (`teal` of the coloured bodies) and choices; all else is uniform."""
        wears, spotted, turned = (rng.random() < share for share in (headphones, leopard, teal))
        body = rng.choice(bodies)
        own = BODY_HUES[body]
        hue = rng.randint(*TEAL) if turned else (own or 0) + rng.randint(-HUE_SPREAD, HUE_SPREAD)
        return cls(
            body=body,
            hue=None if own is None else hue % 360,
            fur="rosettes" if spotted else _other(rng, furs, "rosettes"),
            eyes=rng.randrange(CAT_EYES),
            mouth=rng.randrange(CAT_MOUTHS),
            accessory="red headphones" if wears else _other(rng, ACCESSORIES, "red headphones"),
            background=rng.choice(BACKGROUNDS),
        )

    def render(self, size: int) -> Image.Image:
        """The picture: RGB, `size` pixels a side."""
        body, own = _part("body", self.body, size), BODY_HUES[self.body]
        coat = body.copy() if own is None or self.hue is None else _turned(body, self.hue - own)
        coat.alpha_composite(_part("fur", FURS.index(self.fur), size))
        coat.putalpha(body.getchannel("A"))  # some furs are painted beyond the body
        picture = Image.new("RGBA", (size, size), f"#{self.background}")
        picture.alpha_composite(coat)
        accessory = ACCESSORIES.index(self.accessory)
        for kind, number in (("eyes", self.eyes), ("mouth", self.mouth), ("accessories", accessory)):
            picture.alpha_composite(_part(kind, number, size))
        return picture.convert("RGB")


def _other(rng: random.Random, choices: tuple[str | None, ...], than: str) -> str | None:
    return rng.choice([choice for choice in choices if choice != than])


@cache
def _part(kind: str, number: int, size: int) -> Image.Image:
    """RGBA, `size` pixels a side."""
    parts = files("robohash").joinpath("sets", "set4")
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


DRAWN: dict[str, type[ToonFace] | type[Cat]] = {"toon": ToonFace, "cats": Cat}


def draw(collection: str, domain: str, seed: int) -> ToonFace | Cat:
    """What picture number `seed` of a domain shows, the same on every machine.

    Raises:
        ConfigError: there is no such domain.
    """
    kind = DRAWN[collection]
    how = kind.domains[one_of(f"domain of {collection}", domain, kind.domains)]
    return kind.drawn(random.Random(f"{collection}/{domain}/{seed}"), **how)
