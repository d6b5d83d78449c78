"""The process that carries runs out: `python -m mind2mind.runs.worker FOLDER`.

FOLDER is the app's home, whose queued runs are carried out in order until there has been nothing to do for
a while, or one run's own folder. One thread and a raised niceness, so that the app beside it stays quick
(on two cores under load a second thread slowed the loop to a quarter).
A run comes from its codes to a bundle that reloads, or to the reason why there is none. Killed at any moment, it goes
on from its last checkpoint to the same numbers.
"""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import Timeout

from mind2mind.errors import FaultError, Mind2MindError, RunError, WeightsError, in_words
from mind2mind.files import locked, read_meta, save_tensors
from mind2mind.models.catalogue import Catalogue
from mind2mind.runs.findings import bundle, judge
from mind2mind.runs.queue import IDLE_SECONDS, be_modest
from mind2mind.runs.run import (
    ASKING_SECONDS,
    WORKER_LOCK,
    Run,
    State,
    clean,
    codes_of,
    home_folder,
    models_of,
    waiting,
)
from mind2mind.training import transfer
from mind2mind.training.transfer import Ending

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05  # between two looks at the queue, which is a folder with a file for each run


# One run


def carry_out(run: Run, models: Catalogue) -> None:
    """Carries one queued run out to a final state; never raises for what goes wrong in it."""
    try:
        with run.hold(timeout=10), _logged(run):
            if run.info.state == State.QUEUED and run.stop_flag.exists():
                run.update(state=run.info.before, reason=Ending.STOPPED)
            elif run.info.state == State.QUEUED:
                run.update(state=State.RUNNING)
                try:
                    _train(run, models)
                except RunError:
                    raise
                except Exception as error:
                    log.exception("The run failed.")
                    _fail(run, models, error)
                _judge(run, models)
    except Mind2MindError as error:  # deleted meanwhile, or the disk is too full even to say so
        log.warning("%s", error)
    if run.discarded:
        run.erase()


def _judge(run: Run, models: Catalogue) -> None:
    """Says what the samples are worth; the run has ended, and whoever asks for its result can say so, too."""
    try:
        if run.has_model:
            judge(models, run)
    except Exception:
        log.exception("The samples could not be judged.")


def _train(run: Run, models: Catalogue) -> None:
    """From codes to a bundle that reloads; then the run is done, or stopped with its work kept."""
    info = run.info
    source = models.load(info.model)
    if not source.is_on(info.source_hash):
        raise WeightsError(
            f"The model '{info.model}' is another one now than when the pictures were encoded.",
            "Put the old one back, or begin a new run with the same pictures.",
        )
    w = codes_of(run)[0].w
    assert info.recipe and (info.steps or info.seconds), "it was started with them"
    steps = info.steps or transfer.steps_for(w, info.recipe, info.seconds or 0, source.mind)
    run.update(steps=steps)
    checkpoint = run.folder / transfer.LAST
    reached = read_meta(checkpoint)["step"] if checkpoint.exists() else -1
    run.cut_back(reached)
    end = time.monotonic() + (math.inf if info.deadline is None else info.deadline)

    def is_over() -> bool:
        return run.stop_flag.exists() or time.monotonic() > end

    log.info("Training from step %d of %d.", max(0, reached), steps)
    for event in transfer.train(
        w, info.recipe, steps, run.folder, mind=source.mind, seed=info.seed, resume=True, should_stop=is_over
    ):
        if isinstance(event, transfer.Progress):
            run.append_metrics(asdict(event))
        elif isinstance(event, transfer.Preview):
            save_tensors(run.preview_path(event.step), {"w": event.w, **event.g}, event.meta)
        elif isinstance(event, transfer.Finished):
            run.update(reached=event.step)  # the last metrics may be some steps older
            stopped = event.reason is Ending.STOPPED and run.stop_flag.exists()
            reason = Ending.TIME_UP if event.reason is Ending.STOPPED and not stopped else event.reason
            if reason is Ending.THROUGH and info.seconds and steps == info.recipe.enough(len(w)):
                reason = Ending.ENOUGH
            if not bundle(run, source) and not stopped:
                raise WeightsError("The training left no generator.", "Resume the run, or give it more time.")
            log.info("Ended at step %d: %s", event.step, reason.value)
            run.update(state=State.STOPPED if stopped else State.DONE, reason=reason)


def _fail(run: Run, models: Catalogue, error: Exception) -> None:
    """Keeps the last good weights as a bundle, if there are any, and names the cause."""
    failure = in_words(error)
    problem, advice, fault = failure.problem, failure.fix, isinstance(failure, FaultError)
    try:
        if bundle(run, models.load(run.info.model)):
            advice += " What it had learnt until then is kept and can be sampled."
    except Exception:
        log.exception("The last good weights could not be bundled.")
    run.update(state=State.FAILED, error=problem, advice=advice, fault=fault)


@contextlib.contextmanager
def _logged(run: Run) -> Iterator[None]:
    """Everything the package logs meanwhile goes to the run's log.txt."""
    handler = logging.FileHandler(run.log, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("mind2mind")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


# The queue


def main() -> int:
    """Serves the folder given on the command line."""
    folder = Path(sys.argv[1])
    be_modest()
    torch.set_num_threads(1)
    logging.getLogger("mind2mind").setLevel(logging.INFO)
    if (run := Run(folder)).exists:
        carry_out(run, models_of(home_folder()))
    else:
        serve(folder, float(sys.argv[2]) if len(sys.argv) > 2 else IDLE_SECONDS, *sys.argv[3:])
    return 0


def serve(home: Path, idle_seconds: float, source: str | None = None) -> None:
    """Carries out the home's queued runs in order; ends when idle, or if another worker serves the home.

    `source` is the model of a run that is likely to come: it is loaded ahead.
    """
    models = models_of(home)
    while True:
        try:
            with locked(home / WORKER_LOCK, 10 * ASKING_SECONDS, poll_interval=0.01):  # an app may be asking
                clean(home)
                if source:
                    with contextlib.suppress(Mind2MindError):
                        models.load(source)
                    import torch._dynamo  # noqa: F401  an optimiser's first step does, which takes a second
                _serve(home, models, idle_seconds)
        except Timeout:
            return
        if not waiting(home):  # one that came between the last look and the release would wait for ever
            return


def _serve(home: Path, models: Catalogue, idle_seconds: float) -> None:
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < idle_seconds:
        if queue := waiting(home):
            carry_out(queue[0], models)
            idle_since = time.monotonic()
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
