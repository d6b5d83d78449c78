"""Draws the bundled domain: toon heads whose every attribute is known.

The art is DiceBear's `toon-head` style: "Remix of ToonHead
(https://www.figma.com/community/file/1589627891082866389) by Johan Melin, CC BY 4.0". Attributes are drawn
here, one independent draw each, and handed to the style as the only choice, so that what a picture shows
is known and not guessed. The rendering packages are the extra `data`: pip install -e ".[data]".
"""

import io
import json
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from mind2mind.errors import ConfigError, DataError

CREDIT = (
    "Remix of ToonHead (https://www.figma.com/community/file/1589627891082866389) by Johan Melin, CC BY 4.0"
)

NATURAL_SKIN = ("5c3829", "f1c3a5", "a36b4f", "c68e7a", "b98e6a")  # the style's own palette
ALIEN_SKIN = ("8fd694", "5bb98c", "7ab8e0", "b79ad9")
NATURAL_HAIR = ("2c1b18", "d6b370", "724133", "a55728", "b58143")  # the style's own palette
NEON_HAIR = ("ff4fa3", "27c4f5", "7bd943", "8c5bff")
CLOTHES_COLOURS = [
    "151613",
    "0b3286",
    "545454",
    "147f3c",
    "f97316",
    "ec4899",
    "731ac3",
    "b11f1f",
    "e8e9e6",
    "eab308",
]  # the style's own palette
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
    if domain not in DOMAINS:
        raise ConfigError(f"There is no toon domain {domain!r}.", f"Choose one of {', '.join(DOMAINS)}.")
    d = DOMAINS[domain]
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
    svg = svg_of(face, size)
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return Image.open(io.BytesIO(png)).convert("RGB")


def svg_of(face: ToonFace, size: int = 64) -> str:
    """The drawing of a face, as an SVG of `size` pixels a side.

    Raises:
        DataError: the rendering packages are not installed.
    """
    try:
        import resvg_py  # noqa: F401  complained of here, with the other one
        from dicebear import Avatar
    except ImportError as error:
        raise DataError(
            f"Drawing toon heads needs the package {error.name!r}.", 'Run: pip install -e ".[data]"'
        ) from error
    drawing: str = Avatar(_style(), _options(face, size)).to_string()
    return drawing


@cache
def _style() -> Any:
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath("toon-head.json").read_text()))


def _options(face: ToonFace, size: int) -> dict[str, Any]:
    parts = {
        "hair": face.hair,
        "rearHair": face.rear_hair,
        "beard": face.beard,
        "eyebrows": face.eyebrows,
        "eyes": face.eyes,
        "mouth": face.mouth,
        "clothes": face.clothes,
    }
    options: dict[str, Any] = {"seed": "0", "size": size, "scale": 1.25, "translateY": 4}
    for part, variant in parts.items():
        options[f"{part}Probability"] = 0 if variant is None else 100
        if variant is not None:
            options[f"{part}Variant"] = [variant]
    colours = {"skin": face.skin, "hair": face.hair_colour, "clothes": face.clothes_colour}
    options |= {f"{part}Color": [colour] for part, colour in colours.items()}
    return options | {"backgroundColor": [face.background]}


def _write_one(out: Path, domain: str, size: int, seed: int) -> dict[str, Any]:
    face = draw(domain, seed)
    name = f"{domain}-{seed:07d}.png"
    render(face, size).save(out / name)
    return {"file": name, "seed": seed, "domain": domain} | asdict(face)


def toon(domain: str, count: int, size: int, seed: int, out: Path, processes: int = 2) -> Iterator[int]:
    """Writes `count` PNGs and `attributes.jsonl` (one JSON object a picture) into `out`; yields the number done.

    Picture i is face number seed + i of the domain.

    Raises:
        ConfigError: there is no such domain.
        DataError: `out` already holds PNGs or attributes.
    """
    draw(domain, seed)  # complains about the domain at the call of next(), before any process starts
    check_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool, (out / "attributes.jsonl").open("w") as lines:
        rows = pool.map(partial(_write_one, out, domain, size), range(seed, seed + count), chunksize=32)
        for done, row in enumerate(rows, start=1):
            lines.write(json.dumps(row) + "\n")
            yield done


def check_empty(out: Path) -> None:
    """Raises DataError when a folder already holds PNGs or attributes."""
    if (out / "attributes.jsonl").exists() or next(out.glob("*.png"), None):
        raise DataError(f"{out} already holds pictures or their attributes.", "Choose a new folder.")
