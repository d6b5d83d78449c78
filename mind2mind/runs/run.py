"""Where a run stands, told to anybody who holds its token."""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_dir

from mind2mind.data import codes
from mind2mind.data.codes import Codes
from mind2mind.errors import DataError, RunError
from mind2mind.files import read_json, write_json, write_text

# --- A run's folder: what a run is on the disk. States, lock, metrics, deletion; no models here.
# Only the holder of a run's lock writes its `run.json`; its worker holds the lock while it carries the run out.
# So a run that says it is running while nobody holds its lock was interrupted. A stop is a flag file, which
# needs no lock. Metrics are a line of JSON per event, cut back to the checkpoint when a run goes on.

VERSION = 1
STATES = ("prepared", "queued", "running", "stopping", "stopped", "done", "failed", "interrupted")
ALIVE = ("queued", "running", "stopping")
LOG_LINES, LOG_BYTES = 30, 4000  # of the end of a failed run's log
JSON, CODES, REPORT, METRICS, LOG = "run.json", "codes.safetensors", "report.json", "metrics.jsonl", "log.txt"
_FILES = (CODES, codes.BESIDE, REPORT, METRICS, LOG, "last.safetensors", "best.safetensors")
_FOLDERS = ("previews", "alignment", "bundle", "bundle.new")


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file now."""
    try:
        with FileLock(path, timeout=0.03, poll_interval=0.01):  # others may only be asking, too
            return False
    except Timeout:
        return True


def is_run(folder: Path) -> bool:
    """Whether a run lies in this folder."""
    return (folder / JSON).exists()


def occupied(folder: Path) -> bool:
    """Whether a folder holds files that a run would take for its own."""
    return any((folder / name).exists() for name in (JSON, *_FILES, *_FOLDERS))


def _sound(info: dict[str, Any]) -> bool:
    """Whether a run.json holds what everything else relies on, in the right kinds."""
    needed: dict[str, Any] = {"state": str, "created": (int, float), "updated": (int, float)}
    optional: dict[str, Any] = {
        "model": str,
        "counts": dict,
        "recipe": dict,
        "steps": int,
        "reached": int,
        "seconds": (int, float),
    }
    return all(isinstance(info.get(key), kind) for key, kind in needed.items()) and all(
        info.get(key) is None or isinstance(info[key], kind) for key, kind in optional.items()
    )


class Run:
    """One run's folder. Nothing is kept in memory: each look reads the disk.

    Args:
        folder: where it lies.
        token: what it is called by; on the command line that is the folder itself.
    """

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.folder = folder
        self.token = token or str(folder)
        self.lock = folder / "run.lock"
        self.bundle, self.codes, self.report = folder / "bundle", folder / CODES, folder / REPORT
        self.log, self._metrics = folder / LOG, folder / METRICS
        self._json, self._stop, self._discard = folder / JSON, folder / "stop", folder / "discard"

    @property
    def exists(self) -> bool:
        return self._json.exists() and not self._discard.exists()

    @property
    def info(self) -> dict[str, Any]:
        """The content of run.json.

        Raises:
            RunError: there is no such run, or it is of another version.
        """
        if not self.exists:
            raise RunError("There is no such run.", "It may have been deleted; begin a new one.")
        info = read_json(self._json)
        if info.get("version") != VERSION:
            raise RunError("This run was made by another version.", "Begin a new one with the same pictures.")
        if not _sound(info):
            raise RunError(f"{self._json} is damaged.", "Begin a new run with the same pictures.")
        return info

    def create(self, **info: Any) -> None:
        """Writes the first run.json: state prepared."""
        now = time.time()
        write_json(
            self._json, {"version": VERSION, "state": "prepared", "created": now, "updated": now} | info
        )

    def update(self, **changes: Any) -> None:
        """Changes run.json; only for the lock's holder."""
        write_json(self._json, self.info | changes | {"updated": time.time()})

    @contextlib.contextmanager
    def hold(self, timeout: float = 2.0) -> Iterator[None]:
        """Holds the run's lock.

        Raises:
            RunError: somebody else holds it, after `timeout` seconds of waiting, or erased the run meanwhile.
        """
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise RunError("The run is at work.", "Stop it first, or wait for its end.") from error
        except FileNotFoundError as error:
            raise RunError("The run was deleted meanwhile.", "Begin a new one.") from error
        try:
            yield
        finally:
            lock.release()

    @property
    def state(self) -> str:
        """One of STATES."""
        state: str = self.info["state"]
        if state != "running":
            return state
        if is_held(self.lock):
            return "stopping" if self.stop_requested else "running"
        state = self.info["state"]  # it may have ended between the two looks
        return "interrupted" if state == "running" else state

    @property
    def stop_requested(self) -> bool:
        return self._stop.exists()

    @property
    def has_model(self) -> bool:
        """Whether there is a bundle to sample from."""
        return (self.bundle / "config.json").exists()

    def request_stop(self, wanted: bool = True) -> None:
        if wanted:
            self._stop.touch()
        else:
            self._stop.unlink(missing_ok=True)

    def delete(self, timeout: float = 5.0) -> None:
        """Gone at once for everybody; a worker that is still at it erases the files when it lets go."""
        with contextlib.suppress(FileNotFoundError, RunError):  # its worker may erase it meanwhile
            self._discard.touch()
            self.request_stop()
            with self.hold(timeout):
                pass
            self.erase()

    @property
    def discarded(self) -> bool:
        return self._discard.exists()

    def erase(self) -> None:
        """Removes a run's own files and nothing else: with `--out` the folder may hold more."""
        for name in _FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        leftovers = self.folder.glob(".*.tmp")
        for path in [self._json, *(self.folder / name for name in _FILES), *leftovers, self._stop, self.lock]:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._discard.unlink(missing_ok=True)
            self.folder.rmdir()

    # Metrics and previews

    def append_metrics(self, values: dict[str, Any]) -> None:
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Every whole line; a kill may have cut the last one off."""
        values = []
        with contextlib.suppress(FileNotFoundError):
            for line in self._metrics.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    values.append(json.loads(line))
        return values

    @property
    def alignment(self) -> Path:
        """The folder with pictures before and after their faces were aligned."""
        return self.folder / "alignment"

    def log_tail(self) -> str:
        """The last lines of log.txt."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LOG_BYTES))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:])
        return ""

    def preview_path(self, step: int) -> Path:
        return self.folder / "previews" / f"{step:08d}.safetensors"

    def preview_steps(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / "previews").glob("[0-9]*.safetensors"))

    def cut_back(self, step: int | None) -> None:
        """Forgets metrics and previews after `step`, the checkpoint's; None forgets all of them."""
        last = -1 if step is None else step
        kept = [values for values in self.metrics() if values["step"] <= last]
        write_text(self._metrics, "".join(json.dumps(values) + "\n" for values in kept))
        for number in self.preview_steps():
            if number > last:
                self.preview_path(number).unlink()


def codes_of(run: Run) -> tuple[Codes, list[int]]:
    """What a run learns from: the codes of its pictures but the excluded ones, and their rows in its files."""
    made, excluded = codes.load(run.codes), set(run.info.get("excluded") or ())
    rows = [row for row, name in enumerate(made.names) if name not in excluded]
    return made.take(rows), rows


# --- The home: the folder of the app's runs and opened bundles, each found by its token; the queue; cleaning.

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


def bundle_of(home: Path, ref: str, folders: bool) -> tuple[Path, str] | None:
    """The bundle's folder and the source of the run that a token, or a folder where that may be, names; else None.

    Raises:
        RunError: there is no such run, or it has no model yet.
    """
    if folders and is_run(Path(ref)):
        run = Run(Path(ref))
    elif is_token(ref):
        run = find_run(home, ref)
    else:
        return None
    if not run.has_model:
        fix = "Wait for its end, or stop it and keep the work."
        raise RunError(f"The run is {run.state} and has no model yet.", fix)
    return run.bundle, run.info["model"]


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


METRICS_SHOWN = 500  # points of a curve; more cannot be seen


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One look at a run."""

    token: str
    title: str
    state: str  # one of runs.STATES
    step: int
    total_steps: int  # 0 until the budget has become a number of steps
    seconds: float  # of training so far
    seconds_left: float | None
    metrics: list[dict[str, Any]]  # the fields of transfer.Progress, oldest first, at most METRICS_SHOWN
    preview_step: int | None  # the newest
    preview_steps: list[int]
    error: str | None  # problem and advice
    place_in_queue: int | None  # 1 is next
    reason: str | None  # why it ended
    quality: float | None
    floor: float | None
    usable: bool  # there is a bundle to sample from
    recipe: str = ""  # its name, with what was changed in it; empty before the start
    log: str = ""  # the end of its log.txt, if it failed


def status_of(run: Run, waiting: Sequence[Run] = ()) -> RunStatus:
    """Where a run stands; `waiting` is its queue, in order."""
    state, info = run.state, run.info
    metrics, previews = run.metrics(), run.preview_steps()
    last = metrics[-1] if metrics else {}
    told, total, seconds = last.get("step", 0), info.get("steps") or 0, last.get("seconds", 0.0)
    running = state in ("running", "stopping") and told and total
    tokens = [other.token for other in waiting]
    thin = -(-len(metrics) // METRICS_SHOWN) or 1
    error = " ".join(part for part in (info.get("error"), info.get("advice")) if part)
    return RunStatus(
        token=run.token,
        title=info.get("title", ""),
        state=state,
        step=max(told, info.get("reached") or 0),
        total_steps=total,
        seconds=seconds,
        seconds_left=seconds / told * (total - told) if running else None,
        metrics=metrics[::-thin][::-1],  # the newest stays
        preview_step=previews[-1] if previews else None,
        preview_steps=previews,
        error=error or None,
        place_in_queue=tokens.index(run.token) + 1 if state == "queued" and run.token in tokens else None,
        reason=info.get("reason"),
        quality=info.get("quality", last.get("quality")),
        floor=info.get("floor", last.get("floor")),
        usable=run.has_model,
        recipe=(info.get("recipe") or {}).get("name", ""),
        log=run.log_tail() if state == "failed" else "",
    )
