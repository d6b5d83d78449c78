"""Pictures on the page: walls of them, enlarged here since browsers blur small ones, and what is written beside them.

A wall is HTML, its events are in assets/app.js. What it shows is for the eye; files to keep are made apart.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL.Image import Image, Resampling

from mind2mind.draw import Draw

TILE, LARGE = 256, 768  # px a side that a picture on a wall, and the large one, is shown at most
MOST_ENLARGED = 4  # times; more shows nothing but blur
QUALITY = 92  # of the JPEGs, without subsampled colour


@dataclass(frozen=True)
class Tile:
    """A picture on a wall."""

    image: Image
    name: str  # read to those who cannot see it
    caption: str = ""  # seen below it
    pale: bool = False  # left out
    more: str = ""  # small print below the caption


def enlarged(image: Image, side: int) -> Image:
    """At most `side` px on the longer side, by Lanczos: smaller pictures grow up to MOST_ENLARGED times."""
    factor = min(side / max(image.size), MOST_ENLARGED)
    if factor == 1:
        return image
    return image.resize([max(1, round(length * factor)) for length in image.size], Resampling.LANCZOS)


def inline(image: Image, side: int = TILE) -> str:
    """The address of a picture that stands in the page itself."""
    stream = io.BytesIO()
    enlarged(image.convert("RGB"), side).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def picture(image: Image, name: str, side: int = LARGE) -> str:
    """One that is only looked at."""
    return f'<img class="m2m-large" src="{inline(image, side)}" alt="{html.escape(name)}" draggable="false">'


def tiles(
    shown: Iterable[Tile | None], chosen: int | None = None, side: int = TILE, columns: int | None = None
) -> str:
    """What a wall shows, None being a gap; one of them may be `chosen`, and the columns fixed."""
    parts = []
    for i, tile in enumerate(shown):
        if tile is None:
            parts.append("<div></div>")
            continue
        small = f"<small>{html.escape(tile.more)}</small>" if tile.more else ""
        caption = f"<span>{html.escape(tile.caption)}{small}</span>" if tile.caption or small else ""
        parts.append(
            f'<button type="button" class="m2m-tile{" m2m-pale" if tile.pale else ""}" data-i="{i}" '
            f'tabindex="{-1 if i != (chosen or 0) else 0}" aria-pressed="{str(i == chosen).lower()}" '
            f'aria-label="{html.escape(tile.name)}"><img src="{inline(tile.image, side)}" alt="" '
            f'decoding="sync" draggable="false">{caption}</button>'
        )
    fixed = f' style="grid-template-columns:repeat({columns},1fr)"' if columns else ""
    return f'<div class="m2m-wall"{fixed}>{"".join(parts)}</div>'


def numbered(images: Sequence[Image], name: str, **tile: Any) -> list[Tile]:
    """Each picture with `name` and its number."""
    return [Tile(image, f"{name} {number}", **tile) for number, image in enumerate(images, 1)]


def pairs(couples: Iterable[tuple[Image, Image]], name: str) -> list[Tile]:
    """Two pictures on top of each other, each couple as large as its first."""
    return numbered([Draw.grid([a, b.resize(a.size)], columns=1) for a, b in couples], name)


def wall(elem_id: str, classes: str = "", value: str = "", *, picks: bool = False, **looks: Any) -> gr.HTML:
    """A wall of `tiles`. A click enlarges the picture, or `picks` it: the event `select`, which has its `index`.

    The arrow keys lead from one to the next.
    """
    how = "pick" if picks else "view"
    return gr.HTML(
        value,
        js_on_load=f"m2m.wall(element, watch, trigger, '{how}')",
        elem_id=elem_id,
        elem_classes=["m2m-pictures", *classes.split()],
        **looks,
    )
