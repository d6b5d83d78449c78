"""Where runs are handed in: new folders, the queue with its limits, stopping, resuming, cleaning.

No models here. Whatever decides by counting (the queue, a visitor's runs) does so under one lock of the home.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mind2mind import home
from mind2mind.config import BUDGETS, RECIPES, Limits, Recipe
from mind2mind.errors import ConfigError, DataError, RunError, TrainingError
from mind2mind.files import bytes_in
from mind2mind.launch import Launcher
from mind2mind.runs import ALIVE, Run, is_run, occupied
from mind2mind.seeds import check_seeds
from mind2mind.status import RunStatus, status_of

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
        self.check_disk()
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
                    run.update(state=run.info["before"], reason="It was taken out of the queue.")
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

    def check_disk(self) -> None:
        """DataError if the home already holds as much as the limits allow."""
        most = self.limits.disk_bytes
        if most is not None and bytes_in(self.home) >= most:
            raise DataError(
                "The server's disk is full.", "Delete what you no longer need, or come back in some hours."
            )

    def clean(self) -> int:
        """Deletes what is older than `keep_hours`; see Studio.clean."""
        hours = self.limits.keep_hours
        return 0 if hours is None else home.clean(self.home, hours)


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
