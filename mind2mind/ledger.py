"""The runs of one visitor as a list to put in order: what each is, renaming, deleting all.

Deleting here is at once and complete for what the home holds: run folders with their codes and thumbnails, and
opened bundles. What a browser uploaded lies in the app's upload cache, which its own clean-up empties.
"""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mind2mind import cards
from mind2mind.config import Limits
from mind2mind.errors import ConfigError, DataError, RunError
from mind2mind.files import bytes_in
from mind2mind.home import opened, runs_of
from mind2mind.runs import Run


@dataclass(frozen=True, slots=True)
class Entry:
    """One run in the list."""

    token: str
    title: str
    state: str  # one of runs.STATES
    created: float  # seconds since 1970
    model: str  # the source it was made on
    pictures: int
    bytes: int  # on the disk
    usable: bool  # there is a model to sample from
    deleted_at: float | None  # when it will be deleted of itself, if nobody uses it; None is never


def entries(home: Path, limits: Limits, visitor: str | None) -> list[Entry]:
    """A visitor's runs, or with None all of the home, the newest first."""
    found = []
    for run in runs_of(home, visitor):
        with contextlib.suppress(RunError, DataError):
            found.append(entry(run, limits))
    return found


def entry(run: Run, limits: Limits) -> Entry:
    """One run's line in the list."""
    info = run.info
    return Entry(
        token=run.token,
        title=info.get("title", ""),
        state=run.state,
        created=info["created"],
        model=info.get("model", ""),
        pictures=(info.get("counts") or {}).get("used", 0),
        bytes=bytes_in(run.folder),
        usable=run.has_model,
        deleted_at=None if limits.keep_hours is None else info["updated"] + limits.keep_hours * 3600,
    )


def rename(run: Run, title: str) -> None:
    """Gives a run, and the model it has made, another title.

    Raises:
        ConfigError: the title is empty or too long.
        RunError: the run is at work.
    """
    title = " ".join(title.split())
    if not title or len(title) > cards.LONGEST:
        raise ConfigError(f"A title has 1 to {cards.LONGEST} characters.", "Give another one.")
    with run.hold():
        run.update(title=title)
        if run.has_model:
            cards.retitle(run.bundle, title)
            os.utime(run.bundle / cards.WEIGHTS)  # for those who hold the model with its old card


def delete_all(home: Path, visitor: str, models: Sequence[str] = ()) -> int:
    """Deletes the visitor's runs, running or not, and the opened bundles of these tokens; gives how many."""
    gone = 0
    for run in runs_of(home, visitor):
        with contextlib.suppress(RunError, DataError):
            run.delete()
            gone += 1
    for folder in filter(None, (opened(home, token) for token in models)):
        shutil.rmtree(folder, ignore_errors=True)
        gone += 1
    return gone
