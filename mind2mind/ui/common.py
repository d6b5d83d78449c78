"""What the tabs share: errors for the eye, a visitor's own things, files to hand out, checks at the door."""

import hashlib
import html
import inspect
import os
import random
import re
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL.Image import Image

from mind2mind.cost import Cost
from mind2mind.errors import ConfigError, DataError, Mind2MindError, RunError
from mind2mind.images import grid, save_png
from mind2mind.sources import describe
from mind2mind.ui.zerogpu import on_zerogpu

HIGHEST_SEED = 2**31 - 1
MOST_PICTURES = 64
NOISES = [("new with each seed", "random"), ("the same for all", "fixed"), ("none", "none")]
MODEL_WORK: dict[str, Any] = {
    "concurrency_id": "model",
    "concurrency_limit": 2,
}  # the calls that run a network
PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # of the page, not of the API
QUIET: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
LIVE: dict[str, Any] = {
    "trigger_mode": "always_last",
    **QUIET,
}  # for what is dragged: the last value always wins

_KEY = re.compile(r"[A-Za-z0-9_-]{22}")


def described(text: str) -> dict[str, Any]:
    """The alternative text of a `gr.Image`, for the versions of Gradio that take one (6.25 does not)."""
    return {"alt_text": text} if "alt_text" in inspect.signature(gr.Image).parameters else {}


@contextmanager
def told() -> Iterator[None]:
    """Shows the user what went wrong and what helps. The toast renders HTML: names are escaped."""
    try:
        yield
    except Mind2MindError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from error


@dataclass(frozen=True)
class Visit:
    """What one browser remembers: who it is, the run it looks at, the runs it uses as models."""

    visitor: str
    token: str | None = None
    models: tuple[str, ...] = ()
    agreed: bool = False  # to what a public server asks before an upload

    @classmethod
    def of(cls, stored: Any) -> "Visit":
        """From the browser, which may send anything."""
        stored = stored if isinstance(stored, dict) else {}
        visitor, token, models = stored.get("visitor"), stored.get("token"), stored.get("models")
        return cls(
            visitor if is_key(visitor) else secrets.token_urlsafe(16),
            token if is_key(token) else None,
            tuple(filter(is_key, models if isinstance(models, list) else ())),
            stored.get("agreed") is True,
        )

    def stored(self) -> dict[str, Any]:
        """For the browser."""
        return asdict(self) | {"models": list(self.models)}

    def at(self, token: str | None) -> "Visit":
        """The same visit, looking at another run."""
        return replace(self, token=token)

    def using(self, token: str) -> "Visit":
        """With one more run among the models."""
        return replace(self, models=(*(m for m in self.models if m != token), token))

    def without(self, token: str) -> "Visit":
        """After the run was deleted."""
        return self.at(None).forgetting(token)

    def forgetting(self, token: str) -> "Visit":
        """Without this one among the models."""
        return replace(self, models=tuple(m for m in self.models if m != token))

    def agreeing(self, yes: bool) -> "Visit":
        """After the tick was set, or taken away."""
        return replace(self, agreed=yes)

    @property
    def needed_token(self) -> str:
        """The run's token.

        Raises:
            RunError: there is none.
        """
        if self.token is None:
            raise RunError("There is no run here.", "Choose pictures first.")
        return self.token


def is_key(value: object) -> bool:
    """Whether this may be a token: never a path."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def model_choices(studio: Any, visit: Visit) -> list[tuple[str, str]]:
    """The models everybody has, and those this visitor trained or opened, unless they are gone."""
    own = []
    for token in visit.models:
        with suppress(Mind2MindError):
            own.append((f"Yours: {describe(studio.library.locate(token)[0]).title}", token))
    return [(m.title, m.id) for m in studio.models()] + own


def known_ref(studio: Any, ref: str) -> str:
    """A model of the catalogue or a run's token; never a path, which the studio would open.

    Raises:
        ConfigError: it is neither.
    """
    ids = [m.id for m in studio.models()]
    if ref in ids or is_key(ref):
        return ref
    raise ConfigError(
        f"There is no model {str(ref)[:80]!r}.", f"Choose one of {', '.join(ids)}, or a run's token."
    )


def cost_of(studio: Any, ref: str) -> Cost | None:
    """What a picture of this model costs here; None where that cannot be told."""
    if on_zerogpu():  # each call would take of the visitor's GPU time
        return None
    with suppress(Mind2MindError):
        cost: Cost = studio.cost(known_ref(studio, ref))
        return cost
    return None


MOVING, LET_GO, SET_BY_US = "moving", "let go", "set"
LETTING_GO = f"(...all) => [...all.slice(0, -1), '{LET_GO}']"  # JavaScript, as `holding` gives


def holding(elem_id: str | None) -> str:
    """JavaScript that puts into a handler's last argument what happens to the slider `elem_id`.

    MOVING while the pointer holds it, SET_BY_US if the focus is elsewhere, else nothing: it was moved by a
    key, or its number was typed.
    """
    return (
        f"(...all) => {{ const box = document.getElementById('{elem_id}');"
        f" const held = box.querySelector('input[type=range]:active') ? '{MOVING}'"
        f" : box.contains(document.activeElement) ? '' : '{SET_BY_US}';"
        " return [...all.slice(0, -1), held]; }"
    )


def wanted(held: str | None, live: bool) -> bool:
    """Whether a slider's event is one to draw on: slow models wait until it is let go, others do not."""
    return held not in (SET_BY_US, LET_GO if live else MOVING)


def new_seed() -> int:
    """Short enough to be read out."""
    return random.randrange(1_000_000)


def checked_seed(seed: Any) -> int:
    """A seed as a number field gives it.

    Raises:
        ConfigError: it is empty, broken or out of range.
    """
    return whole("The seed", seed, 0, HIGHEST_SEED)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number as a number field or a caller gives it, who may give anything.

    Raises:
        ConfigError: it is none, or out of range.
    """
    if not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        shown = str(value)[:40]
        raise ConfigError(f"{name} is {shown}.", f"Give a whole number from {low:,} to {high:,}.")
    return int(value)


def uploaded(paths: Sequence[str] | str | None) -> list[Path]:
    """The uploaded files in a stable order; how many there may be is the studio's to check.

    Raises:
        DataError: there are none.
    """
    files = [Path(p) for p in ([paths] if isinstance(paths, str) else paths or ())]
    if not files:
        raise DataError(
            "There are no pictures yet.", "Drop some pictures, choose a folder, or take an example."
        )
    return sorted(files, key=lambda p: (p.name, str(p)))


def fresh(name: str, ref: str) -> Path:
    """A path of that name in a new folder among the files that Gradio may hand out; `ref` made it."""
    made = Path(get_upload_folder()) / "made"
    made.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_mark(ref), dir=made)) / name


def once(name: str, ref: str, version: str) -> Path:
    """A path of that name, the same for this version of what `ref` made: a file there need not be made again."""
    own = hashlib.sha256(f"{ref} {version}".encode()).hexdigest()[:16]
    folder = Path(get_upload_folder()) / "made" / f"{_mark(ref)}{own}"
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # tidied up by age
    return folder / name


def forget_made(ref: str) -> None:
    """Deletes the files that were made for download with this model."""
    for folder in (Path(get_upload_folder()) / "made").glob(f"{_mark(ref)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _mark(ref: str) -> str:
    return hashlib.sha256(ref.encode()).hexdigest()[:16] + "-"  # a token opens a run: it is in no address


def save_pictures(images: Sequence[Image], stem: str, ref: str) -> list[Path]:
    """Each picture as a PNG that says in itself which model and seed made it."""
    folder = fresh("x", ref).parent
    paths = [folder / f"{stem}-{image.info.get('seed', i)}.png" for i, image in enumerate(images)]
    for image, path in zip(images, paths, strict=True):
        save_png(image, path, _meta(image))
    return paths


def save_sheet(images: Sequence[Image], stem: str, ref: str) -> Path:
    """All pictures in one PNG."""
    path = fresh(f"{stem}.png", ref)
    save_png(grid(images), path, _meta(images[0]) | {"count": str(len(images))})
    return path


def save_zip(paths: Sequence[Path], stem: str, ref: str) -> Path:
    """Files in one zip, stored: PNGs do not get smaller."""
    path = fresh(f"{stem}.zip", ref)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in paths:
            archive.write(file, file.name)
    return path


def _meta(image: Image) -> dict[str, str]:
    return {str(k): v for k, v in image.info.items() if isinstance(v, str)}


def wall(elem_id: str, classes: str) -> gr.Gallery:
    """Pictures in as many columns as fit; lossless."""
    return gr.Gallery(
        label="Pictures",
        show_label=False,
        columns=4,
        height="auto",
        format="png",
        object_fit="contain",
        buttons=["download", "fullscreen"],
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
