"""Runs: transfers from the pictures to the result, in the order in which they were handed in.

`Runs` is the facade's part; whoever holds a run's token may see, stop and delete it, and a second token only looks.
Training is a worker process's: `start` queues a run and sees to it that a worker is there. Whatever decides by
counting (the queue, a visitor's runs) does so under one lock of the home.
"""

import builtins
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from mind2mind import draw
from mind2mind.config import BUDGETS, DEFAULT, Crop, Limits, Recipe, check_seeds
from mind2mind.data import codes
from mind2mind.data.dataset import Reading
from mind2mind.data.images import to_image
from mind2mind.errors import ConfigError, DataError, Mind2MindError, RunError, TrainingError
from mind2mind.files import check_disk, load_tensors, locked, read_meta
from mind2mind.models import bundle
from mind2mind.models.catalogue import Catalogue
from mind2mind.runs import findings
from mind2mind.runs.findings import Encoding, Numbers, Outcome, Prepared
from mind2mind.runs.run import (
    LOCK,
    LOG,
    WORKER_LOCK,
    WORKER_LOG,
    Found,
    Run,
    RunInfo,
    RunStatus,
    State,
    clean,
    codes_of,
    find_run,
    in_hand,
    is_held,
    new_run,
    runs_in,
    status_of,
)
from mind2mind.training import transfer
from mind2mind.training.transfer import Ending

# Worker processes: one for the app's home, or one for a run's own folder

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
        self._failures: Counter[Path] = Counter()
        self._guard = threading.Lock()

    def warm(self, source: str) -> None:
        """Starts the home's worker, with the model of a run to come, unless one is there: it takes seconds."""
        with self._guard:
            child = self.children.get(self.home)
            if child is None or child.poll() == 0:  # `ensure` counts the ends that were errors
                self.home.mkdir(parents=True, exist_ok=True)
                self._start(self.home, source)

    def ensure(self, run: Run) -> None:
        """Starts a worker for the queued `run` unless one is there.

        After ATTEMPTS workers in a row that ended with an error before they took the run, the run has failed.
        """
        target = self.home if run.home else run.folder
        with self._guard:
            child = self.children.pop(target, None)  # each end counts once
            code = child.poll() if child else None
            if child and code is None:
                self.children[target] = child
                return
            if child:
                self._failures[target] = self._failures[target] + 1 if code else 0
            if self._failures[target] < ATTEMPTS:
                self._start(target)
                return
            self._failures[target] = 0
        with contextlib.suppress(Mind2MindError), run.hold():
            if run.info.state == State.QUEUED:
                problem = f"The worker process ended with code {code} before it could begin."
                run.update(state=State.FAILED, error=problem, advice="Its log says why; then resume the run.")

    def _start(self, target: Path, *more: str) -> None:
        lock, log_name = (WORKER_LOCK, WORKER_LOG) if target == self.home else (LOCK, LOG)
        if is_held(target / lock):  # by another app's
            return
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MIND2MIND_WEIGHTS": str(self.weights),
            "MIND2MIND_HOME": str(self.home),  # its downloaded models
            "PYTHONPATH": os.pathsep.join(paths),
        }
        with (target / log_name).open("ab") as log:
            child = subprocess.Popen(
                [*self.command, str(target), str(self.idle_seconds), *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=package,  # never the run's folder: `-m` would import what lies there
                start_new_session=os.name != "nt",
                creationflags=DETACHED if os.name == "nt" else 0,
            )
        be_modest(child.pid)
        self.children[target] = child


OVERTIME = 1.5  # a run that takes this much of its budget ends, saved and told so


class Runs:
    """Transfers, from the pictures to the result. Any thread may call any method.

    Args:
        home: the folder of the app's runs.
        weights: the catalogue's folder, handed on to workers.
        limits: what users may ask for; where they hold, runs are known by their tokens only.
        models: finds models by what users call them.
    """

    def __init__(self, home: Path, weights: Path, limits: Limits, models: Catalogue) -> None:
        self.home, self.limits, self.models = home, limits, models
        self.public = limits.keep_hours is not None
        self.launcher = Launcher(home, weights)

    def find(self, token: str, *, owned: bool = False) -> Run:
        """A run by token, or by folder on a server that is not public.

        Raises:
            RunError: there is none, or the token only looks where the run must be `owned`.
        """
        return find_run(self.home, str(token), not self.public, owned)

    # From pictures to a run that waits for its start

    def encode(
        self, paths: Sequence[Path], ref: str, *, crop: Crop | None = None, out: Path | None = None
    ) -> Iterator[Reading | Encoding]:
        """Encodes pictures, into the file `out` if one is given; the last event holds codes, report and verdict.

        Without a `crop` pictures are cut as the source's card says.
        Pictures whose codes are already in `out`, made by the same source, are not encoded again.

        Raises:
            DataError: `out` is a file of something else; it stays as it is.
        """
        source = self.models.source_ref(ref)
        pictures = draw.pictures_for(self.models.load(source), paths, crop, self.limits)
        try:
            before = codes.load(out) if out is not None and out.exists() else None
        except Mind2MindError as error:
            raise DataError(f"{error.problem} It was left as it is.", "Choose another file.") from error
        return findings.encode(self.models, source, pictures, before, out)

    def prepare(
        self,
        paths: Sequence[Path],
        ref: str,
        *,
        crop: Crop | None = None,
        folder: Path | None = None,
        visitor: str | None = None,
        address: str | None = None,
        title: str = "",
    ) -> Iterator[Reading | Prepared]:
        """Checks and encodes pictures into a new run, which then waits for its start.

        Where the limits allow a visitor no more of these, it takes the place of the oldest.

        Args:
            paths: folders, zips and pictures; of the originals only thumbnails are kept.
            ref: the source (of a transfer, its source).
            crop: `centre` takes the largest square, `fit` the whole picture with bars, `face` the largest
                face as FFHQ aligns it; None is what the source's card says.
            folder: the run's folder; None is a new one in the home, whose worker is started meanwhile.
            visitor: whom `list` shows it to.
            address: where a caller who names itself calls from: the limits count that, too.
            title: what the run and its model are called.

        Raises:
            DataError: none of the pictures can be used, or the disk is full.
            RunError: there is already a run in `folder`, or something else.
        """
        check_disk(self.home, self.limits.disk_bytes)
        run = new_run(self.home) if folder is None else Run(Path(folder).absolute())
        run.check_free()
        source = self.models.source_ref(ref)
        model = self.models.load(source)
        if folder is None:
            self.launcher.warm(source)
        pictures = draw.pictures_for(model, paths, crop, self.limits)

        def begin(found: Found) -> RunInfo:
            self._make_room(visitor, address)
            return RunInfo(
                model=source,
                source_hash=model.source_hash,
                crop=pictures.crop,
                found=found,
                visitor=visitor,
                address=address,
                title=title[:200],
            )

        return findings.keep(run, self.models, source, pictures, begin)

    def add(self, token: str, paths: Sequence[Path]) -> Iterator[Reading | Prepared]:
        """Adds pictures to a run that waits for its start; read as the ones it has, and counted with them.

        Raises:
            DataError: none of the new ones can be used, or the disk is full.
            RunError: the run has been started.
        """
        check_disk(self.home, self.limits.disk_bytes)
        run = self.find(token, owned=True)
        source, crop, before = run.info.model, run.info.crop, findings.prepared(run).report
        pictures = draw.pictures_for(self.models.load(source), paths, crop, self.limits, before)
        return findings.keep(run, self.models, source, pictures)

    def exclude(self, token: str, names: Collection[str]) -> Prepared:
        """Leaves pictures of these names out of the training, and no others; they stay in the run's folder.

        Raises:
            DataError: there is no picture of such a name.
            RunError: the run has been started.
        """
        return findings.exclude(self.find(token, owned=True), self.models, names)

    def prepared(self, token: str) -> Prepared:
        """What the check of a run's pictures found: the last event of its `prepare`, at any later time."""
        return findings.prepared(self.find(token))

    def thumbnails(
        self, token: str, first: int = 0, count: int = 200, names: Collection[str] | None = None
    ) -> builtins.list[tuple[str, Image.Image]]:
        """A run's pictures by name, excluded ones too: `count` from number `first` on, or those of these `names`."""
        path = self.find(token).codes
        known = read_meta(path)["names"]
        rows = list(range(len(known))[first : first + count])
        if names is not None:
            rows = [row for row, name in enumerate(known) if name in names]
        small = map(to_image, codes.thumbnails(path, rows))
        return list(zip([known[row] for row in rows], small, strict=True))

    def comparison(self, token: str, count: int = 8) -> builtins.list[tuple[Image.Image, Image.Image]]:
        """Some of a run's pictures (thumbnails), each with its reconstruction.

        Those that were looked at come first, the ones of which the least comes back before the others.
        """
        run = self.find(token)
        model, (made, rows) = self.models.load(run.info.model), codes_of(run)
        scores = run.info.found.scores
        known = sorted((scores[name][1], i) for i, name in enumerate(made.names) if name in scores)
        others = [i for i, name in enumerate(made.names) if name not in scores]
        some = [*(i for _, i in known), *others][:count]
        originals = map(to_image, codes.thumbnails(run.codes, [rows[i] for i in some]))
        return list(zip(originals, draw.draw(model, made.w[some]), strict=True))

    def alignment(self, token: str) -> builtins.list[Image.Image]:
        """Some of a run's pictures, each above what the crop makes of it; none where it changes nothing."""
        couples = []
        for path in sorted(self.find(token).alignment.glob("*.png")):
            with Image.open(path) as couple:
                couples.append(couple.convert("RGB"))
        return couples

    def pace(self, token: str, recipe: Recipe = DEFAULT) -> float:
        """Steps a second that training on a run's pictures makes here; about, by a short warm-up."""
        run, seconds = self.find(token), BUDGETS["Standard"].seconds
        mind = self.models.load(run.info.model).mind
        return transfer.steps_for(codes_of(run)[0].w, recipe, seconds, mind) / seconds

    # The queue

    def start(
        self,
        token: str,
        *,
        recipe: Recipe = DEFAULT,
        seconds: float | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> RunStatus:
        """Queues a prepared run with a budget of training time, or of steps; a minute if neither is given.

        Raises:
            ConfigError: the budget or the seed makes no sense.
            RunError: the run is not a prepared one, or the limits allow no more runs now.
        """
        draw.give_back()  # what the encoding took; the training is in another process
        if seconds is None and steps is None:
            seconds = BUDGETS["Standard"].seconds
        if (seconds is not None and not 0 < seconds < 1e7) or (steps is not None and not 0 < steps < 1e8):
            raise ConfigError("The budget must be positive.", "Give a number of seconds or of steps.")
        check_seeds([seed])
        most = self.limits.run_seconds
        if seconds is not None and most is not None:
            seconds = min(seconds, most)
        run = self.find(token, owned=True)
        if (used := run.info.found.count) < 2:
            there = "There is only one picture (copies do not count)" if used else "No picture is left"
            raise TrainingError(
                f"{there}: nothing varies that could be learnt.",
                "Add more: 20 begin to vary, 200 make a good set.",
            )
        return self._enqueue(
            run,
            (State.PREPARED,),
            recipe=recipe,
            seconds=seconds,
            steps=steps,
            seed=seed,
            deadline=most if steps is not None else OVERTIME * (seconds or 0),
        )

    def resume(self, token: str, extra_steps: int = 0) -> RunStatus:
        """Queues a run again: with `extra_steps` for so many from the step reached, which one that is done needs."""
        if extra_steps < 0:
            raise ConfigError(f"{extra_steps} extra steps are too few.", "Give 0 or more.")
        run, ended = self.find(token, owned=True), (State.STOPPED, State.INTERRUPTED, State.FAILED)
        if not extra_steps:
            return self._enqueue(run, ended)
        last = run.folder / transfer.LAST
        steps = (read_meta(last)["step"] if last.exists() else 0) + extra_steps
        most = self.limits.run_seconds
        return self._enqueue(run, (*ended, State.DONE), seconds=None, steps=steps, deadline=most)

    def stop(self, token: str) -> None:
        """Asks a run to stop and keep its work, or takes it out of the queue; nothing if it has already ended."""
        run = self.find(token, owned=True)
        if run.state == State.QUEUED:
            with contextlib.suppress(RunError), run.hold(timeout=0.5):
                if run.info.state == State.QUEUED:
                    run.update(state=run.info.before, reason=Ending.STOPPED)
                    return
        if run.state.alive:
            run.stop_flag.touch()

    def status(self, token: str) -> RunStatus:
        """Where a run stands. A queued one whose worker died gets another worker."""
        run, usual = self.find(token), BUDGETS["Standard"].seconds
        if run.state == State.QUEUED:
            self.launcher.ensure(run)
        status = status_of(run)
        if status.state != State.QUEUED or not run.home:
            return status
        queue = takewhile(lambda both: both[0].folder != run.folder, in_hand(self.home))
        ahead = [info for other, info in queue if info.state == State.QUEUED or other.state.alive]
        place = 1 + sum(info.state == State.QUEUED for info in ahead)
        return replace(status, place_in_queue=place, wait=sum(info.seconds or usual for info in ahead))

    def list(self, visitor: str | None = None) -> builtins.list[RunStatus]:
        """The home's runs, the newest first: a visitor's, or on a server that is not public everybody's."""
        found = []
        for run, info in [] if visitor is None and self.public else reversed(runs_in(self.home)):
            if visitor in (None, info.visitor):
                with contextlib.suppress(RunError, DataError):  # deleted meanwhile
                    found.append(status_of(run, brief=True))
        return found

    def at_work(self) -> builtins.list[tuple[str, str]]:
        """Token and title of all visitors' runs that wait for a worker or have one: for who runs the server."""
        return [(run.token, info.title) for run, info in in_hand(self.home) if run.state.alive]

    def rename(self, token: str, title: str) -> None:
        """Gives a run, and the model it has made, another title.

        Raises:
            ConfigError: the title is empty or too long.
            RunError: the run is at work.
        """
        title = " ".join(title.split())
        if not title or len(title) > bundle.LONGEST:
            raise ConfigError(f"A title has 1 to {bundle.LONGEST} characters.", "Give another one.")
        run = self.find(token, owned=True)
        with run.hold():
            run.update(title=title)
            if run.has_model:
                bundle.amend(run.bundle, {}, title)

    def delete(self, token: str) -> None:
        """Deletes a run, running or not, or an opened bundle, with all that belongs to it, at once.

        What a browser uploaded lies in the app's upload cache, which is emptied elsewhere.
        """
        if folder := bundle.opened(self.home, token):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self.find(token, owned=True).delete()

    def delete_all(self, visitor: str, models: Sequence[str] = ()) -> int:
        """Deletes all runs of a visitor, and those of `models` that are opened bundles; gives how many."""
        tokens = [run.token for run in self.list(visitor)]
        tokens += [token for token in models if bundle.opened(self.home, token)]
        for token in tokens:
            with contextlib.suppress(RunError, DataError):
                self.delete(token)
        return len(tokens)

    def clean(self) -> int:
        """Deletes what visitors left more than `keep_hours` ago, where that is limited; gives how many.

        What is left of runs that were deleted while a worker had them, and was killed, goes anyway.
        """
        return clean(self.home, self.limits.keep_hours)

    # What comes of a run

    def preview(self, token: str, step: int | None = None) -> builtins.list[Image.Image]:
        """A run's samples of the same z at `step` (the newest when None); none where there is no such preview."""
        run = self.find(token)
        steps = run.preview_steps()
        if not steps or (step is not None and step not in steps):
            return []
        tensors, _ = load_tensors(run.preview_path(steps[-1] if step is None else step), ["w"])
        source = findings.drawing(self.models, run)
        return [*draw.draw(source, source.refined(tensors["w"]))]

    def trial(self, token: str, seeds: Sequence[int]) -> tuple[builtins.list[Image.Image], int]:
        """Pictures of these seeds by a run as it stands, at work or not, and of which step they are.

        While it trains that is at most some seconds old.

        Raises:
            WeightsError: the run has saved nothing yet.
        """
        run = self.find(token)
        g, sizes, meta = transfer.current(run.folder)
        source = findings.drawing(self.models, run)
        return draw.sample(source.drawing(g, sizes.z_dim), seeds), meta["step"]

    def judge(self, token: str) -> RunStatus:
        """Where a run stands, with what its model's samples are worth: measured here if its worker did not.

        A run that is at work again is left as it is.
        """
        run = self.find(token)
        if run.has_model and not run.state.alive and run.info.worth is None:
            with run.hold():
                findings.judge(self.models, run)
        return self.status(token)

    def result(self, token: str, seeds: Sequence[int] | None = None, *, judged: bool = True) -> Outcome:
        """What came of a run: samples and the nearest originals, quality, originality, how to repeat it.

        Args:
            token: the run's.
            seeds: of the samples; None is as many as are drawn quickly.
            judged: whether to wait for what they are worth, see `judge`.

        Raises:
            RunError: it has no model yet.
        """
        status = self.judge(token) if judged else self.status(token)
        return findings.outcome(self.models, self.find(token), status, seeds)

    def keep(self, token: str, step: int | None) -> RunStatus:
        """Makes the generator of the preview at `step` the model of a run, or the last one again (None).

        The run goes on from its last state all the same, and has the last one then.

        Raises:
            RunError: there is no such preview, or the run is at work or has no model yet.
            WeightsError: the generator was not kept with the preview.
        """
        run = self.find(token, owned=True)
        with run.hold():
            if (state := run.info.state) in (State.PREPARED, State.QUEUED):
                raise RunError(f"The run is {state}.", _ADVICE[state])
            self.models.load(run.token)  # its source is still the one that it was made on
            if not findings.bundle(run, self.models.load(run.info.model), step):
                steps = ", ".join(map(str, run.preview_steps()))
                raise RunError(f"The run has no preview at step {step}.", f"Choose one of {steps}.")
            findings.judge(self.models, run)
        return self.status(token)

    def numbers(self, token: str) -> Numbers:
        """How near the new pictures of a run come to those it learnt from, in every space that is there.

        Raises:
            RunError: it has no model yet.
            DataError: it learnt from too few pictures.
        """
        return findings.numbers(self.models, self.find(token))

    def film(self, token: str, path: Path) -> Path:
        """The previews of a run as a clip (see `draw.save_clip`); gives its path.

        Raises:
            DataError: there are none.
        """
        draw.save_clip(findings.film(self.models, self.find(token)), Path(path), findings.FPS)
        return Path(path)

    def part(self, token: str, path: Path) -> None:
        """One thing of a run that has a model: its samples, codes or curves, as the ending of `path` says.

        Raises:
            RunError: the token only looks, and the codes are asked for.
        """
        findings.part(self.models, self.find(token, owned=path.suffix == ".safetensors"), path)

    def pack(self, token: str, path: Path) -> Path:
        """All of a run that has a model in one zip, samples and film included; gives the file's path."""
        return findings.pack(self.models, self.find(token, owned=True), Path(path))

    def _enqueue(self, run: Run, allowed: tuple[State, ...], **settings: Any) -> RunStatus:
        # one decision at a time for the home's runs; a run elsewhere has no queue
        gate = locked(self.home / "gate.lock") if run.home else contextlib.nullcontext()
        with gate:
            self._check_limits(run)
            with run.hold():
                state = run.info.state
                if state == State.RUNNING:  # we hold its lock: nobody runs it
                    state = State.INTERRUPTED
                if state not in allowed:
                    raise RunError(f"The run is {state}.", _ADVICE[state])
                run.stop_flag.unlink(missing_ok=True)
                queued = {"state": State.QUEUED, "before": state, "queued_at": time.time()}
                run.update(error=None, advice=None, fault=False, reason=None, **queued, **settings)
        return self.status(run.token)

    def _check_limits(self, run: Run) -> None:
        limits, info, queued, own, near = self.limits, run.info, 0, 0, 0
        for other, known in in_hand(self.home):
            with contextlib.suppress(RunError, DataError):  # deleted meanwhile
                state = other.state
                queued += state == State.QUEUED
                if state.alive and other.folder != run.folder:
                    own += known.visitor == info.visitor
                    near += known.address is not None and known.address == info.address
        if limits.runs_per_visitor is not None and own >= limits.runs_per_visitor:
            raise RunError(f"You already have {own} run at work or waiting.", "Wait for its end, or stop it.")
        if limits.runs_per_address is not None and near >= limits.runs_per_address:
            raise RunError(f"{near} runs of your address are at work or waiting.", "Wait for one to end.")
        if limits.queue is not None and queued >= limits.queue:
            raise RunError(f"{queued} runs are waiting, more are not taken.", "Try again in some minutes.")

    def _make_room(self, visitor: str | None, address: str | None) -> None:
        """Deletes the visitor's oldest sets that wait for their start, so that one more is within the limit."""
        most, asked = self.limits.prepared_per_visitor, (State.PREPARED, visitor, address)
        if most is not None:
            there = [(run, (info.state, info.visitor, info.address)) for run, info in runs_in(self.home)]
            own = [run for run, says in there if says == asked]
            for run in own[: len(own) + 1 - most]:
                run.delete()


_ADVICE = {
    State.PREPARED: "Start it first.",
    State.QUEUED: "Wait for its turn, or stop it.",
    State.DONE: "Resume it with extra steps, or begin a new run.",
    State.STOPPED: "Resume it.",
    State.INTERRUPTED: "Resume it.",
    State.FAILED: "Resume it, or begin a new run with other settings.",
}
