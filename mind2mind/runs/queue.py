"""Where runs are handed in: new folders, the queue with its limits, stopping, resuming, cleaning.

No models here. Whatever decides by counting (the queue, a visitor's runs) does so under one lock of the home.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from mind2mind.config import BUDGETS, RECIPES, Limits, Recipe, check_seeds
from mind2mind.errors import ConfigError, DataError, Mind2MindError, RunError, TrainingError
from mind2mind.files import bytes_in
from mind2mind.models import bundle as cards
from mind2mind.runs import run as home
from mind2mind.runs.run import (
    ALIVE,
    WORKER_LOCK,
    WORKER_LOG,
    Run,
    RunStatus,
    is_held,
    is_inside,
    is_run,
    occupied,
    opened,
    runs_of,
    status_of,
)
from mind2mind.training.transfer import Ending

# --- Starts worker processes, one for the app's home or for a run's own folder; notices when they fail.

IDLE_SECONDS = 180.0  # a worker of the home without anything to do ends itself
NICENESS = 10  # so that the app beside it stays quick
ATTEMPTS = 3
DETACHED = 0x00000208  # Windows: DETACHED_PROCESS and CREATE_NEW_PROCESS_GROUP


def be_modest(pid: int | None = None) -> None:
    """Gives a process (None is this one) less of the processor than others get."""
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process(pid).nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else NICENESS)


class Launcher:
    """Makes sure that somebody carries queued runs out.

    Args:
        home: the folder that holds `runs/`; its worker serves them all in order.
        weights: the catalogue's folder, handed on to the worker.
    """

    def __init__(self, home: Path, weights: Path) -> None:
        self.home, self.weights, self.idle_seconds = home, weights, IDLE_SECONDS
        self.command = [sys.executable, "-m", "mind2mind.runs.worker"]
        self.children: dict[Path, subprocess.Popen[bytes]] = {}
        self._failures: dict[Path, int] = {}
        self._guard = threading.Lock()

    def warm(self) -> None:
        """Starts the home's worker ahead of a run, unless one is there: its imports take seconds."""
        with self._guard:
            child = self.children.get(self.home)
            if child is not None and (child.poll() is None or child.returncode):
                return  # `ensure` counts the ends that were errors
            self.home.mkdir(parents=True, exist_ok=True)
            if not is_held(self.home / WORKER_LOCK):
                self.children[self.home] = self._start(self.home, self.home / WORKER_LOG)

    def ensure(self, run: Run) -> None:
        """Starts a worker for the queued `run` unless one is there.

        After ATTEMPTS workers in a row that ended with an error before they took the run, the run has failed.
        """
        target, lock, log = run.folder, run.lock, run.log
        if is_inside(self.home, run):
            target, lock, log = self.home, self.home / WORKER_LOCK, self.home / WORKER_LOG
        with self._guard:
            child = self.children.get(target)
            if child is not None and child.poll() is None:
                return
            if child is not None:  # each end counts once
                del self.children[target]
                self._failures[target] = self._failures.get(target, 0) + 1 if child.returncode else 0
            if child is not None and self._failures[target] >= ATTEMPTS:
                self._give_up(run, target, child.returncode)
            elif not is_held(lock):
                self.children[target] = self._start(target, log)

    def _start(self, target: Path, log_path: Path) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MIND2MIND_WEIGHTS": str(self.weights),
            "MIND2MIND_HOME": str(self.home),  # its downloaded models
            "PYTHONPATH": os.pathsep.join(paths),
        }
        with log_path.open("ab") as log:
            child = subprocess.Popen(
                [*self.command, str(target), str(self.idle_seconds)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=package,  # never the run's folder: `-m` would import what lies there
                start_new_session=os.name != "nt",
                creationflags=DETACHED if os.name == "nt" else 0,
            )
        be_modest(child.pid)
        return child

    def _give_up(self, run: Run, target: Path, code: int) -> None:
        self._failures[target] = 0
        try:
            with run.hold():
                if run.info["state"] == "queued":
                    problem = f"The worker process ended with code {code} before it could begin."
                    run.update(state="failed", error=problem, advice="Its log says why; then resume the run.")
        except (RunError, Mind2MindError):
            return


# --- The runs of one visitor as a list to put in order: what each is, renaming, deleting all.
# Deleting here is at once and complete for what the home holds: run folders with their codes and thumbnails, and
# opened bundles. What a browser uploaded lies in the app's upload cache, which its own clean-up empties.


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


OVERTIME = 1.5  # a run that takes this much of its budget ends, saved and told so


class Desk:
    """The runs of one home, and run folders elsewhere by their path where no limits hold."""

    def __init__(self, home: Path, weights: Path, limits: Limits) -> None:
        self.home, self.limits = home, limits
        self.public = limits.keep_hours is not None
        self.launcher = Launcher(home, weights)

    def find(self, token: str) -> Run:
        """A run by token, or by folder on a server that is not public.

        Raises:
            RunError: there is none.
        """
        token, folder = str(token), Path(token).absolute()
        if not self.public and not home.is_token(token) and is_run(folder):
            return Run(folder)
        return home.find_run(self.home, token)

    def new(self, folder: Path | None) -> Run:
        """A run that is not on the disk yet.

        Raises:
            DataError: the disk is full.
            RunError: the folder holds a run, or something else.
        """
        check_disk(self.home, self.limits)
        if folder is None:
            return home.new_run(self.home)
        run = Run(Path(folder).absolute())
        if run.exists:
            raise RunError(f"There is already a run in {folder}.", "Resume it, or choose another folder.")
        if occupied(run.folder):
            raise RunError(f"{folder} holds files of something else.", "Choose a new folder.")
        return run

    def start(
        self, token: str, *, recipe: str | Recipe, seconds: float | None, steps: int | None, seed: int
    ) -> RunStatus:
        """Queues a prepared run; see Studio.start."""
        chosen = named_recipe(recipe)
        if seconds is None and steps is None:
            seconds = BUDGETS["Standard"].seconds
        if (seconds is not None and not 0 < seconds < 1e7) or (steps is not None and not 0 < steps < 1e8):
            raise ConfigError("This is no budget.", "Give a positive number of seconds or of steps.")
        check_seeds([seed])
        most = self.limits.run_seconds
        if seconds is not None and most is not None:
            seconds = min(seconds, most)
        deadline = most if steps is not None else OVERTIME * (seconds or 0)
        settings = {
            "recipe": asdict(chosen),
            "seconds": seconds,
            "steps": steps,
            "seed": seed,
            "deadline": deadline,
        }
        run = self.find(token)
        if (used := run.info["counts"]["used"]) < 2:
            there = "There is only one picture (copies do not count)" if used else "No picture is left"
            raise TrainingError(
                f"{there}: nothing varies that could be learnt.",
                "Add more: 20 begin to vary, 200 make a good set.",
            )
        return self._enqueue(run, ("prepared",), settings)

    def resume(self, token: str, extra_steps: int = 0) -> RunStatus:
        """Queues a run again; see Studio.resume."""
        if extra_steps < 0:
            raise ConfigError(f"{extra_steps} extra steps are too few.", "Give 0 or more.")
        run = self.find(token)
        allowed = ("stopped", "interrupted", "failed", *(("done",) if extra_steps else ()))
        settings: dict[str, Any] = {}
        if extra_steps:
            settings = {
                "steps": (run.info.get("steps") or 0) + extra_steps,
                "deadline": self.limits.run_seconds,
            }
        return self._enqueue(run, allowed, settings)

    def _enqueue(self, run: Run, allowed: tuple[str, ...], settings: dict[str, Any]) -> RunStatus:
        with self._gate(run):
            self._check_limits(run)
            with run.hold():
                state = run.info["state"]
                state = "interrupted" if state == "running" else state  # we hold its lock: nobody runs it
                if state not in allowed:
                    raise RunError(f"The run is {state}.", _ADVICE.get(state, "Begin a new one."))
                run.request_stop(False)
                ended = {"error": None, "advice": None, "reason": None}
                run.update(state="queued", before=state, queued_at=time.time(), **ended, **settings)
        if home.is_inside(self.home, run):
            (self.home / home.WAKE).touch()
        return self.status(run.token)

    @contextlib.contextmanager
    def _gate(self, run: Run) -> Iterator[None]:
        """One decision at a time for the home's runs; a run elsewhere has no queue."""
        if not home.is_inside(self.home, run):
            yield
            return
        gate = FileLock(self.home / "gate.lock")
        try:
            gate.acquire(timeout=10)
        except Timeout as error:
            raise RunError("The queue is busy.", "Try again in a moment.") from error
        try:
            yield
        finally:
            gate.release()

    def _check_limits(self, run: Run) -> None:
        limits = self.limits
        if limits.queue is None and limits.runs_per_visitor is None:
            return
        info, queued, own, near = run.info, 0, 0, 0
        for other in home.runs_in(self.home):
            with contextlib.suppress(RunError, DataError):
                state, known = other.state, other.info
                queued += state == "queued"
                if state in ALIVE and other.token != run.token:
                    own += known.get("visitor") == info.get("visitor")
                    near += known.get("address") is not None and known["address"] == info.get("address")
        if limits.runs_per_visitor is not None and own >= limits.runs_per_visitor:
            raise RunError(f"You already have {own} run at work or waiting.", "Wait for its end, or stop it.")
        if limits.runs_per_address is not None and near >= limits.runs_per_address:
            raise RunError(f"{near} runs of your address are at work or waiting.", "Wait for one to end.")
        if limits.queue is not None and queued >= limits.queue:
            raise RunError(f"{queued} runs are waiting, more are not taken.", "Try again in some minutes.")

    def stop(self, token: str) -> None:
        """Stops a run, or takes it out of the queue; nothing if it has already ended."""
        run = self.find(token)
        if run.state == "queued":
            with contextlib.suppress(RunError), run.hold(timeout=0.5):
                if run.info["state"] == "queued":
                    run.update(state=run.info["before"], reason=Ending.STOPPED)
                    return
        if run.state in ALIVE:
            run.request_stop()

    def status(self, token: str) -> RunStatus:
        """Where a run stands; sees to it that a queued one has a worker."""
        run = self.find(token)
        if run.state == "queued":
            self.launcher.ensure(run)
        return status_of(run, home.waiting(self.home) if home.is_inside(self.home, run) else [])

    def attach(self, token: str, every: float) -> Iterator[RunStatus]:
        """The status of a run, every so many seconds until it has ended."""
        while True:
            status = self.status(token)
            yield status
            if status.state not in ALIVE:
                return
            time.sleep(every)

    def runs(self, visitor: str | None) -> list[RunStatus]:
        """Where a visitor's runs stand, or with None everybody's; the newest first."""
        found = []
        for run in home.runs_of(self.home, visitor):
            with contextlib.suppress(RunError, DataError):
                found.append(self.status(run.token))
        return found

    def delete(self, token: str) -> None:
        """Deletes a run, running or not, or an opened bundle."""
        if folder := home.opened(self.home, token):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self.find(token).delete()

    def clean(self) -> int:
        """Deletes what is older than `keep_hours`; see Studio.clean."""
        hours = self.limits.keep_hours
        return 0 if hours is None else home.clean(self.home, hours)


def check_disk(home: Path, limits: Limits) -> None:
    """DataError if the home already holds as much as the limits allow."""
    most = limits.disk_bytes
    if most is not None and bytes_in(home) >= most:
        raise DataError(
            "The server's disk is full.", "Delete what you no longer need, or come back in some hours."
        )


_ADVICE = {
    "prepared": "Start it first.",
    "queued": "Wait for its turn, or stop it.",
    "running": "Wait for its end, or stop it.",
    "done": "Resume it with extra steps, or begin a new run.",
    "stopped": "Resume it.",
    "interrupted": "Resume it.",
    "failed": "Resume it, or begin a new run with other settings.",
}


def named_recipe(recipe: str | Recipe) -> Recipe:
    """The recipe of this name.

    Raises:
        ConfigError: there is none.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ConfigError(f"There is no recipe '{recipe}'.", f"Choose one of {', '.join(RECIPES)}.")
    return RECIPES[recipe]
