"""Toon heads in a fraction of a millisecond: each layer is rendered once, and pictures are laid together.

`make_data.render` draws a face anew each time, some 80 a second. To ask which of the faces a picture
shows, thousands are needed: here every part (a hair style in one colour, a mouth ...) is rendered by the
same renderer alone, on nothing, and kept; a face is its nine layers laid over its background. That equals
the rendered face to within a few levels of 255 (tests/test_toon_reading.py). Needs the extra `data`.
"""

import io
import re
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mind2mind.make_data import ToonFace, draw, svg_of

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
_ANY_FACE = draw("source", 0)


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
    svg = _only(part, svg_of(face, size))
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    pixels = np.array(Image.open(io.BytesIO(png)).convert("RGBA"))
    rgba = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return (2 * rgba[:3] - 1) * rgba[3:], 1 - rgba[3:]


def _only(part: str, svg: str) -> str:
    """The drawing without its background and without the uses of all parts but one."""
    name = re.sub("_(.)", lambda letter: letter[1].upper(), part)  # the style says rearHair
    svg = re.sub(r'(<g clip-path="[^"]*">)<rect [^>]*/>', r"\1", svg)
    return re.sub(rf'<use [^>]*href="#(?!{name}-)[^>]*/>', "", svg)
