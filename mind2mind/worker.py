"""The process that carries runs out: `python -m mind2mind.worker FOLDER`.

FOLDER is the app's home, whose queued runs are carried out in order until there has been nothing to do for
a while, or one run's own folder. One thread and a raised niceness, so that the app beside it stays quick
(on two cores under load a second thread slowed the loop to a quarter).
"""

import contextlib
import sys
import time
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mind2mind.errors import Mind2MindError
from mind2mind.execution import carry_out
from mind2mind.home import WAKE, WORKER_LOCK, runs_in, waiting
from mind2mind.launch import IDLE_SECONDS, be_modest
from mind2mind.runs import Run, is_run
from mind2mind.studio import Studio

LOOK_SECONDS = 0.5  # between two looks at the queue
WAKE_SECONDS = 0.05  # between two looks whether to look at once


def main() -> int:
    """Serves the folder given on the command line."""
    folder = Path(sys.argv[1])
    be_modest()
    torch.set_num_threads(1)
    if is_run(folder):
        carry_out(Run(folder), Studio("cpu").library)
    else:
        serve(folder, float(sys.argv[2]) if len(sys.argv) > 2 else IDLE_SECONDS)
    return 0


def serve(home: Path, idle_seconds: float) -> None:
    """Carries out the home's queued runs in order; ends when idle, or at once if another worker serves it."""
    lock, studio = FileLock(home / WORKER_LOCK), Studio("cpu", home)
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return
        try:
            _serve(studio, idle_seconds)
        finally:
            lock.release()
        if not waiting(home):  # one that came between the last look and the release would wait for ever
            return


def _serve(studio: Studio, idle_seconds: float) -> None:
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < idle_seconds:
        if queue := waiting(studio.home):
            carry_out(queue[0], studio.library)
            idle_since = time.monotonic()
        else:
            _prepare(studio)
            _wait(studio.home / WAKE)


def _prepare(studio: Studio) -> None:
    """Loads the source of the newest run that waits for its start: it is likely the next one."""
    for run in reversed(runs_in(studio.home)):
        with contextlib.suppress(Mind2MindError):
            if run.info["state"] == "prepared":
                studio.model(run.info["model"])
                import torch._dynamo  # noqa: F401  an optimiser's first step does, which takes a second

                return


def _wait(wake: Path) -> None:
    """LOOK_SECONDS, or until `wake` is touched."""
    until, before = time.monotonic() + LOOK_SECONDS, _touched(wake)
    while time.monotonic() < until and _touched(wake) == before:
        time.sleep(WAKE_SECONDS)


def _touched(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


if __name__ == "__main__":
    sys.exit(main())
