"""Pictures side by side, each with words for those who cannot see it."""

import inspect
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL.Image import Image

from mind2mind.images import grid


def wall(
    elem_id: str,
    classes: str,
    value: Sequence[Any] | None = None,
    *,
    label: str = "Pictures",
    columns: int = 4,
    to_pick: bool = False,
) -> gr.Gallery:
    """Pictures in as many columns as fit; lossless. One `to_pick` gives its clicks to a handler."""
    return gr.Gallery(
        value,
        label=label,
        show_label=False,
        columns=columns,
        height="auto",
        format="png",
        object_fit="contain",
        allow_preview=not to_pick,
        buttons=[] if to_pick else ["download", "fullscreen"],
        interactive=False,
        elem_id=elem_id,
        elem_classes=classes.split(),
    )


def pairs(
    couples: Sequence[tuple[Image, Image]], said: str = "Two pictures, one above the other:"
) -> list[tuple[Image, str]]:
    """Two pictures on top of each other, each couple as large as its first; `said` as in `captioned`."""
    return captioned([grid([a, b.resize(a.size)], columns=1) for a, b in couples], said)


def captioned(images: Sequence[Any], said: str) -> list[tuple[Any, str]]:
    """For a wall: each picture with `said` and its number, read to those who cannot see it."""
    return [(image, f"{said} {number}") for number, image in enumerate(images, 1)]


def described(text: str) -> dict[str, Any]:
    """The alternative text of a `gr.Image`, for the versions of Gradio that take one (6.25 does not)."""
    return {"alt_text": text} if "alt_text" in inspect.signature(gr.Image).parameters else {}
