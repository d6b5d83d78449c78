"""Starts worker processes, one for the app's home or for a run's own folder; notices when they fail."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from mind2mind.errors import Mind2MindError, RunError
from mind2mind.home import WORKER_LOCK, WORKER_LOG, is_inside
from mind2mind.runs import Run, is_held

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
        self.command = [sys.executable, "-m", "mind2mind.worker"]
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
        package = str(Path(__file__).resolve().parent.parent)
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
