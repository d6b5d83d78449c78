"""Models as cards: a picture, what it knows, whose it is, what was measured. Small, escaped pieces of HTML."""

import base64
import html
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from mind2mind.remote import size_text
from mind2mind.ui.words import linked

if TYPE_CHECKING:
    from mind2mind.remote import Remote
    from mind2mind.sources import ModelInfo

SIDE = 320  # pixels of a preview on its card
KINDS = {"source": "source model", "transfer": "transfer"}


def cards(models: "Sequence[ModelInfo]") -> str:
    """The models that are here."""
    return f'<div class="m2m-cards">{"".join(map(_card, models))}</div>'


def _card(model: "ModelInfo") -> str:
    size = sum(path.stat().st_size for path in model.folder.glob("*") if path.is_file())
    facts = [KINDS[model.kind], _pixels(model.resolution), size_text(size)]
    preview = _picture(model.preview, model.title) if model.preview else ""
    return (
        f'<article class="m2m-card">{preview}<div><h3>{html.escape(model.title)}</h3>'
        f"{_lines(model.knows, facts, model.id, model.licence, model.credit)}{_more(model)}</div></article>"
    )


def offer(remote: "Remote") -> str:
    """One that can be had; it has no picture until it is here."""
    needs = f"draws with {remote.needs}, which comes along" if remote.needs else ""
    facts = [
        KINDS[remote.kind],
        _pixels(remote.resolution),
        f"{size_text(remote.kept_bytes)} on your disk",
        needs,
    ]
    lines = _lines(remote.knows, facts, remote.id, remote.licence, remote.credit)
    return f'<article class="m2m-card"><div><h3>{html.escape(remote.title)}</h3>{lines}</div></article>'


def offers(remotes: "Sequence[Remote]") -> str:
    """All of them, to look at."""
    return f'<div class="m2m-cards">{"".join(map(offer, remotes))}</div>'


def _lines(knows: str, facts: Sequence[str], model_id: str, licence: str, credit: str) -> str:
    told = " · ".join(html.escape(fact) for fact in facts if fact)
    whose = f"Credit: {linked(credit.rstrip('.'))}." + (
        "" if licence in credit else f" Licence: {linked(licence)}."
    )
    return (
        f"<p>Knows {html.escape(knows.rstrip('.'))}.</p>"
        f'<p class="m2m-note"><code>{html.escape(model_id)}</code> · {told}</p>'
        f'<p class="m2m-note">{whose}</p>'
    )


def _pixels(resolution: int | None) -> str:
    return f"{resolution} x {resolution} pixels" if resolution else ""


def _more(model: "ModelInfo") -> str:
    rows = "".join(
        f"<tr><th>{html.escape(str(name).replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in model.numbers.items()
    )
    table = f'<div class="m2m-table"><table>{rows}</table></div>' if rows else ""
    notes = "".join(f"<p>{linked(part)}</p>" for part in model.notes.split("\n\n") if part)
    if not table and not notes:
        return ""
    title = "Numbers and notes" if rows else "Notes"
    return f'<details><summary>{title}</summary>{table}<div class="m2m-note">{notes}</div></details>'


def _picture(path: Path, title: str) -> str:
    try:
        data = _shrunk(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # a card without it is one, too
        return ""
    return f'<img src="data:image/webp;base64,{data}" alt="Samples of {html.escape(title)}">'


@lru_cache(maxsize=64)
def _shrunk(path: Path, changed: int) -> str:
    """In the page itself: files outside of Gradio's cache have no address. `changed` makes a new file new."""
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "WEBP", quality=85)
    return base64.b64encode(stream.getvalue()).decode()
