"""What the tabs share: settings of events, errors for the eye, models by name, checks at the door."""

import html
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr

from mind2mind.cost import Cost
from mind2mind.errors import ConfigError, DataError, Mind2MindError
from mind2mind.sources import describe
from mind2mind.ui.visit import Visit, is_key
from mind2mind.ui.zerogpu import on_zerogpu

HIGHEST_SEED = 2**31 - 1
MOST_PICTURES = 64
NOISES = [("new with each seed", "random"), ("the same for all", "fixed"), ("none", "none")]
MODEL_WORK: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 2}  # calls that run a network
PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # of the page, not of the API
QUIET: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
# What comes faster than it is answered (clicks in a row, what is dragged): the last one is answered, too
LAST: dict[str, Any] = {"trigger_mode": "always_last", **PRIVATE}
LIVE: dict[str, Any] = {**LAST, **QUIET}


@contextmanager
def told() -> Iterator[None]:
    """Shows the user what went wrong and what helps. The toast renders HTML: names are escaped."""
    try:
        yield
    except Mind2MindError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from error


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
        shown = "empty" if value is None else str(value)[:40]
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
