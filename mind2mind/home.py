"""The home: the folder of the app's runs and opened bundles, each found by its token; the queue; cleaning."""

import contextlib
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from platformdirs import user_data_dir

from mind2mind.errors import DataError, RunError
from mind2mind.runs import ALIVE, Run, is_held

RUNS, OPENED = "runs", "models"  # folders
WAKE = "wake"  # a file, touched when a run is queued: the worker sees it at once
WORKER_LOCK, WORKER_LOG = "worker.lock", "worker.log"  # of the one worker that serves the home
LEFTOVER_SECONDS = 3600  # a folder without a run in it may be a run in the making for so long


def home_folder(given: Path | None = None) -> Path:
    """The folder `given`, else `$MIND2MIND_HOME`, else the platform's place for data."""
    return Path(given or os.environ.get("MIND2MIND_HOME") or user_data_dir("mind2mind")).absolute()


def new_token() -> str:
    """128 bits that nobody guesses: whoever holds a run's token may see and stop it."""
    return secrets.token_urlsafe(16)


def is_token(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{22}", text) is not None


def new_run(home: Path) -> Run:
    """A run that is not on the disk yet."""
    token = new_token()
    return Run(home / RUNS / token, token)


def is_inside(home: Path, run: Run) -> bool:
    """Whether a run is the home's, and so stands in its queue; on the command line it may lie anywhere."""
    return run.folder.parent == home / RUNS


def find_run(home: Path, token: str) -> Run:
    """The run of a token.

    Raises:
        RunError: there is none.
    """
    run = Run(home / RUNS / token, token)
    if not is_token(token) or not run.exists:
        raise RunError("There is no such run.", "Check the link; runs are deleted after a while.")
    return run


def runs_in(home: Path) -> list[Run]:
    """All runs of the app, oldest first; damaged ones are left out."""
    folders = (home / RUNS).iterdir() if (home / RUNS).is_dir() else ()
    found = []
    for folder in folders:
        run = Run(folder, folder.name)
        with contextlib.suppress(RunError, DataError, KeyError):
            found.append((run.info["created"], run.token, run))
    return [run for *_, run in sorted(found, key=lambda item: item[:2])]


def runs_of(home: Path, visitor: str | None) -> list[Run]:
    """A visitor's runs, or with None everybody's, the newest first."""
    found = []
    for run in reversed(runs_in(home)):
        with contextlib.suppress(RunError, DataError):
            if visitor is None or run.info.get("visitor") == visitor:
                found.append(run)
    return found


def opened(home: Path, token: str) -> Path | None:
    """The folder of the opened bundle that a token names; None if it names none."""
    folder = home / OPENED / token
    return folder if is_token(token) and folder.is_dir() else None


def waiting(home: Path) -> list[Run]:
    """The queued runs, in the order in which they are carried out."""
    queued = []
    for run in runs_in(home):
        with contextlib.suppress(RunError, DataError):
            info = run.info
            if info["state"] == "queued":
                queued.append((info["queued_at"], run.token, run))
    return [run for *_, run in sorted(queued, key=lambda item: item[:2])]


def clean(home: Path, hours: float) -> int:
    """Deletes runs and opened bundles of more hours ago, and leftovers of runs; gives how many."""
    cleaned, now = 0, time.time()
    for run in runs_in(home):
        with contextlib.suppress(RunError, DataError):
            if run.state not in ALIVE and now - run.info["updated"] > hours * 3600:
                run.delete()
                cleaned += 1
    ages = dict.fromkeys((home / OPENED).glob("*"), hours * 3600) | dict.fromkeys(
        _leftovers(home), LEFTOVER_SECONDS
    )
    for folder, most in ages.items():
        with contextlib.suppress(OSError):
            if now - folder.stat().st_mtime > most:
                shutil.rmtree(folder, ignore_errors=True)
                cleaned += 1
    return cleaned


def _leftovers(home: Path) -> list[Path]:
    found = [Run(folder) for folder in (home / RUNS).glob("*")]
    return [run.folder for run in found if not run.exists and not is_held(run.lock)]
