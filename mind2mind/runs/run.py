"""A run on the disk: its folder, what run.json holds, its lock, and where it stands. No models here.

Only the holder of a run's lock writes its run.json; its worker holds the lock while it carries the run out. So a run
that says it is running while nobody holds its lock was interrupted. A stop is a flag file, which needs no lock.
Metrics are a line of JSON per event, cut back to the checkpoint when a run goes on.

The app's runs lie in its home, each in a folder named by a token that nobody guesses; on the command line a run may
lie anywhere, and its folder is what it is called. Whoever holds a run's token may do everything with it. A second
token, made from the first, only looks. Each run that waits for a worker or has one is marked in the home's folder
`queue`: so nobody who looks at one run reads all the others.
"""

import base64
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from platformdirs import user_data_dir
from pydantic import TypeAdapter

from mind2mind.config import LOCAL, Crop, Limits, Recipe, as_options
from mind2mind.data import codes
from mind2mind.data.codes import Codes
from mind2mind.draw import save_sheet
from mind2mind.errors import COMMAND, ConfigError, DataError, RunError, in_words
from mind2mind.files import bytes_in, is_token, locked, new_token, read_json, write_json, write_text
from mind2mind.judge.verdict import FEWEST, Verdict, Worth
from mind2mind.models.bundle import OPENED, slug
from mind2mind.models.catalogue import Catalogue, weights_folder

VERSION = 2
CPU = torch.device("cpu")
LOG_LINES = 30  # of the end of a failed run's log
METRICS_SHOWN = 500  # points of a curve; more cannot be seen
RACY_SECONDS = 2.0
ASKING_SECONDS = 0.03  # at most, that whoever only asks whether a lock is held waits for it
JUDGING_SECONDS = 60.0  # at most, of a run's samples when it has ended
LEFTOVER_SECONDS = 3600  # a folder without a run in it may be a run in the making for so long
JSON, CODES, REPORT, METRICS = "run.json", "codes.safetensors", "report.json", "metrics.jsonl"
LOCK, LOG = "run.lock", "log.txt"
TAKEN = (CODES, codes.BESIDE, REPORT, METRICS, LOG)  # along by whoever made the run
_FILES = (*TAKEN, "last.safetensors", "best.safetensors")
_FOLDERS = ("previews", "alignment", "bundle", "bundle.new")
RUNS, QUEUE = "runs", "queue"  # folders of the home
NO_RUN = "There is no such run.", "Check the link; runs are deleted after a while."
WORKER_LOCK, WORKER_LOG = "worker.lock", "worker.log"  # of the one worker that serves the home


# What run.json holds


class State(str, Enum):
    """Where a run is on its way."""

    PREPARED = "prepared"
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def alive(self) -> bool:
        """Whether it waits for a worker or has one."""
        return self in (State.QUEUED, State.RUNNING, State.STOPPING)

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """Another model, which knows the pictures of a run better."""

    id: str
    title: str
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the check of a run's pictures found."""

    count: int  # pictures that are trained on
    skipped: int = 0
    psnr_mean: float = 0.0  # dB
    verdict: Verdict = Verdict.UNMEASURED  # whether the model knows them
    reason: str = ""  # a sentence of why
    excluded: tuple[str, ...] = ()  # names of pictures that are not trained on
    near: tuple[tuple[str, str], ...] = ()  # names: a near duplicate, and the picture it is like
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # name: PSNR, score; dB
    surveyed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by other models: name: score
    others: tuple[Better, ...] = ()  # models that know them better
    strangers: tuple[str, ...] = ()  # names of those that hardly come back, among the ones that have a score
    seconds: float = 0.0  # reading and encoding took

    @property
    def judged(self) -> int:
        """Pictures that the verdict rests on."""
        return len(self.scores)


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The content of run.json."""

    version: int = VERSION
    state: State = State.PREPARED
    created: float = field(default_factory=time.time)  # seconds since 1970
    updated: float = 0.0
    bytes: int = 0  # on the disk, when it was last written
    title: str = ""
    visitor: str | None = None
    address: str | None = None  # where a caller who names itself calls from
    model: str  # the source: a catalogue id, or a folder
    source_hash: str
    crop: Crop
    found: Found
    # What was ordered
    recipe: Recipe | None = None
    seconds: float | None = None
    steps: int | None = None  # a budget in seconds becomes steps when the training begins
    seed: int = 0
    deadline: float | None = None  # seconds of training after which it ends
    queued_at: float = 0.0
    before: State = State.PREPARED  # what it is again when it leaves the queue without having begun
    # What came of it
    reached: int = 0  # steps
    reason: str | None = None  # the value of an Ending; in runs of before a sentence
    error: str | None = None
    advice: str | None = None
    fault: bool = False  # whether the error is ours: no user can mend it
    worth: Worth | None = None  # of its samples; None with few pictures, and until they are judged
    kept: int | None = None  # the step of the preview whose generator is the model; None is the last one's

    def command(self, out: str = "my-run") -> str:
        """The command line that repeats the run, with the same pictures in the same order.

        It asks for steps: seconds come to other steps on another computer.
        """
        words = ["transfer", "PICTURES", "--model", self.model, "--out", out, "--crop", self.crop]
        if self.steps:
            words += ["--steps", str(self.steps)]
        if self.recipe:
            words += as_options(self.recipe)
        return f"{COMMAND} {shlex.join([*words, '--seed', str(self.seed)])}"


_RUN_INFO = TypeAdapter(RunInfo)


def _from_version_1(old: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What version 1 held on one level, some of it under other names or not yet."""
    found = {
        "count": old["counts"]["used"],
        "skipped": old["counts"].get("skipped", 0),
        "psnr_mean": old["psnr_mean"],
        "verdict": {str(verdict): verdict for verdict in Verdict}[old["verdict"]],
        "reason": old.get("verdict_reason", ""),
        "scores": old.get("judged") or {},
        "surveyed": old.get("surveyed") or {},
        "seconds": old.get("encode_seconds") or 0.0,
    } | {name: old.get(name) or () for name in ("excluded", "near", "others")}
    kept = {name: value for name, value in old.items() if value is not None}
    return {"crop": "centre", "bytes": bytes_in(folder)} | kept | {"version": VERSION, "found": found}


@lru_cache(maxsize=1000)
def _read(path: Path, stamp: tuple[int, ...]) -> RunInfo:
    """The run.json at `path`, which is replaced and never changed: another `stamp` is another file."""
    values = read_json(path)
    if values.get("version") not in (1, VERSION):
        raise RunError("This run was made by another version.", "Begin a new one with the same pictures.")
    try:
        values = _from_version_1(values, path.parent) if values["version"] == 1 else values
        return _RUN_INFO.validate_python(values)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise RunError(f"{path} is damaged.", "Begin a new run with the same pictures.") from error


# A run's folder


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file now, or only another user may ask."""
    try:
        with locked(path, ASKING_SECONDS, poll_interval=0.01):  # others may only be asking, too
            return False
    except OSError:  # Timeout is one
        return True


class Run:
    """One run's folder. Each look reads the disk.

    Args:
        folder: where it lies.
        token: what it is called by, or one that only looks; None on the command line, where it is the folder.
    """

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.folder, self.token = folder, token or str(folder)
        self.home = folder.parent.parent if token else None
        self.look = look_of(folder.name) if token else None  # the token that only looks
        self.lock, self.bundle, self.log = folder / LOCK, folder / "bundle", folder / LOG
        self.codes, self.report = folder / CODES, folder / REPORT
        self.alignment = folder / "alignment"  # pictures before and after their faces were aligned
        self._json, self._metrics = folder / JSON, folder / METRICS
        self.stop_flag = folder / "stop"  # it is there while a stop is asked for
        self._discard = folder / "discard"
        self._mark = self.home / QUEUE / folder.name if self.home else None

    @property
    def exists(self) -> bool:
        return self._json.exists() and not self.discarded

    @property
    def info(self) -> RunInfo:
        """The content of run.json.

        Raises:
            RunError: there is no such run, it is damaged, or it is of another version.
        """
        try:
            found = self._json.stat()
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except OSError as error:  # a disk that does not answer: the run is not gone
            raise in_words(error) from error
        if found is None or self.discarded:
            raise RunError(*NO_RUN)
        # a file so new may be replaced by one of the same time and size: it is read each time
        read = _read if time.time() - found.st_mtime > RACY_SECONDS else _read.__wrapped__
        return read(self._json, (found.st_mtime_ns, found.st_size, found.st_ino))

    def update(self, **changes: Any) -> None:
        """Changes run.json; only for the lock's holder."""
        self.write(replace(self.info, **changes))

    def write(self, info: RunInfo) -> None:
        """Replaces run.json, or writes the first one."""
        waits = info.state in (State.QUEUED, State.RUNNING)
        if waits:  # first: a mark too many is passed over, one too few is a run that waits for ever
            self.mark_waiting()
        info = replace(info, updated=time.time(), bytes=bytes_in(self.folder))
        write_json(self._json, asdict(info))
        if self._mark and not waits:
            self._mark.unlink(missing_ok=True)

    def mark_waiting(self) -> None:
        """Puts a run of the home among those that wait for a worker or have one."""
        if self._mark:
            self._mark.parent.mkdir(exist_ok=True)
            self._mark.touch()

    def check_free(self) -> None:
        """RunError if its folder holds files that a run would take for its own."""
        if self.exists:
            raise RunError(f"There is already a run in {self.folder}.", "Resume it, or choose a new folder.")
        if any((self.folder / name).exists() for name in (JSON, *_FILES, *_FOLDERS)):
            raise RunError(f"{self.folder} holds files of something else.", "Choose a new folder.")

    @contextlib.contextmanager
    def hold(self, timeout: float | None = None) -> Iterator[None]:
        """Holds the run's lock.

        Raises:
            RunError: somebody else holds it, after `timeout` seconds of waiting, or erased the run meanwhile; None
                are 2 seconds, and more of a run that has ended: it is only being judged.
        """
        if timeout is None:
            timeout = JUDGING_SECONDS if self.has_model and not self.info.state.alive else 2.0
        try:
            lock = locked(self.lock, timeout)
        except Timeout as error:
            raise RunError("The run is at work.", "Stop it first, or wait for its end.") from error
        except FileNotFoundError as error:
            raise RunError("The run was deleted meanwhile.", "Begin a new one.") from error
        with lock:
            yield

    @property
    def state(self) -> State:
        state = self.info.state
        if state != State.RUNNING:
            return state
        if is_held(self.lock):
            return State.STOPPING if self.stop_flag.exists() else State.RUNNING
        state = self.info.state  # it may have ended between the two looks
        return State.INTERRUPTED if state == State.RUNNING else state

    @property
    def has_model(self) -> bool:
        """Whether there is a bundle to sample from."""
        return (self.bundle / "config.json").exists()

    def delete(self, timeout: float = 5.0) -> None:
        """Gone at once for everybody; a worker that is still at it erases the files when it lets go."""
        with contextlib.suppress(FileNotFoundError, RunError):  # its worker may erase it meanwhile
            self._discard.touch()
            self.stop_flag.touch()
            with self.hold(timeout):
                pass
            self.erase()

    @property
    def discarded(self) -> bool:
        """Whether it was deleted; its files are there until nobody holds its lock."""
        return self._discard.exists()

    def erase(self) -> None:
        """Removes a run's own files and nothing else: with `--out` the folder may hold more."""
        paths = [self._json, *(self.folder / name for name in _FILES), *self.folder.glob(".*.tmp")]
        if self._mark:
            paths.append(self._mark)
        for name in _FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for path in [*paths, self.stop_flag, *self.folder.glob(f"{LOCK}*"), self._discard]:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
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
                    if "quality" in values[-1]:  # as runs of before call it
                        values[-1]["distance"] = values[-1].pop("quality")
        return values

    def log_tail(self) -> str:
        """The last lines of log.txt."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:])
        return ""

    def preview_path(self, step: int) -> Path:
        return self.folder / "previews" / f"{step:08d}.safetensors"

    def preview_steps(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / "previews").glob("[0-9]*.safetensors"))

    def cut_back(self, step: int) -> None:
        """Forgets metrics and previews after `step`, the checkpoint's; -1 forgets all of them."""
        kept = [values for values in self.metrics() if values["step"] <= step]
        write_text(self._metrics, "".join(json.dumps(values) + "\n" for values in kept))
        for number in self.preview_steps():
            if number > step:
                self.preview_path(number).unlink()


def codes_of(run: Run) -> tuple[Codes, list[int]]:
    """What a run learns from: the codes of its pictures but the excluded ones, and their rows in its files."""
    made, excluded = codes.load(run.codes), set(run.info.found.excluded)
    rows = [row for row, name in enumerate(made.names) if name not in excluded]
    return made.take(rows), rows


# The home


def home_folder(given: Path | None = None) -> Path:
    """The folder `given`, else `$MIND2MIND_HOME`, else the platform's place for data."""
    return Path(given or os.environ.get("MIND2MIND_HOME") or user_data_dir("mind2mind")).absolute()


def look_of(token: str) -> str:
    """The token that only looks: who knows it does not know the one it is made from."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"look {token}".encode()).digest()[:16]).decode()[:22]


def new_run(home: Path) -> Run:
    """A run that is not on the disk yet."""
    token = new_token()
    return Run(home / RUNS / token, token)


def find_run(home: Path, token: str, folders: bool, owned: bool = False) -> Run:
    """The run of a token, of one that only looks, or of a folder where that may be.

    Raises:
        RunError: there is none, or the token only looks where the run must be `owned`.
    """
    folder = Path(token).absolute()
    if folders and not is_token(token) and Run(folder).exists:
        return Run(folder, folder.name if folder.parent == home / RUNS else None)
    run = Run(home / RUNS / token, token)
    if is_token(token) and not run.exists:
        seen_by = (each for each in (home / RUNS).glob("*") if look_of(each.name) == token)
        run = Run(next(seen_by, run.folder), token)
    if not is_token(token) or not run.exists:
        raise RunError(*NO_RUN)
    if owned and run.token == run.look:
        raise RunError("This link only shows the run.", "Use the one of whoever began the run.")
    return run


def bundle_of(home: Path, ref: str, folders: bool, owned: bool = False) -> tuple[Path, str] | None:
    """The bundle's folder and the source of the run that a token, or a folder where that may be, names; else None.

    Raises:
        RunError: there is no such run, it has no model yet, or the token only looks where it must be `owned`.
    """
    if not is_token(ref) and not (folders and Run(Path(ref)).exists):
        return None
    run = find_run(home, ref, folders, owned)
    if not run.has_model:
        fix = "Wait for its end, or stop it and keep the work."
        raise RunError(f"The run is {run.state} and has no model yet.", fix)
    return run.bundle, run.info.model


def models_of(
    home: Path, weights: Path | None = None, device: torch.device = CPU, limits: Limits = LOCAL
) -> Catalogue:
    """The models of a home: bundled in the folder `weights`, downloaded, opened, and made by its runs."""
    find_run = partial(bundle_of, home, folders=limits.keep_hours is None)
    weights = weights or weights_folder()
    return Catalogue(home, weights, device, limits, find_run=find_run, draw_preview=save_sheet)


def runs_in(home: Path) -> list[tuple[Run, RunInfo]]:
    """All runs of the app, oldest first, with what they say of themselves; damaged ones are left out."""
    return _sorted((home / RUNS).glob("*"), lambda info: info.created)


def in_hand(home: Path) -> list[tuple[Run, RunInfo]]:
    """The runs that wait for a worker or have (or had) one, in the order of the queue."""
    marks = (home / QUEUE).glob("*")
    return _sorted((home / RUNS / mark.name for mark in marks), lambda info: info.queued_at)


def waiting(home: Path) -> list[Run]:
    """The queued runs, in the order in which they are carried out."""
    return [run for run, info in in_hand(home) if info.state == State.QUEUED]


def _sorted(folders: Iterator[Path], key: Callable[[RunInfo], float]) -> list[tuple[Run, RunInfo]]:
    found = []
    for run in (Run(folder, folder.name) for folder in folders):
        with contextlib.suppress(RunError, DataError):
            found.append((run, run.info))
    return sorted(found, key=lambda both: (key(both[1]), both[0].token))


def clean(home: Path, hours: float | None = None) -> int:
    """Deletes runs and opened bundles of more `hours` ago, and leftovers; gives how many.

    Deleted runs whose worker was killed before it could erase them go, too; queued runs without a mark get one.
    """
    cleaned, now = 0, time.time()
    oldest = 0.0 if hours is None else now - hours * 3600
    for folder in (home / RUNS).glob("*"):
        run = Run(folder, folder.name)
        with contextlib.suppress(RunError, DataError, OSError):
            if run.discarded:
                run.delete(timeout=0)
            elif not run.exists:
                if folder.stat().st_mtime < now - LEFTOVER_SECONDS and not is_held(run.lock):
                    shutil.rmtree(folder, ignore_errors=True)
                    cleaned += 1
            elif run.info.state == State.QUEUED:
                run.mark_waiting()
            elif run.info.updated < oldest and not run.state.alive:
                run.delete()
                cleaned += 1
    for folder in (home / OPENED).glob("*"):
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
            cleaned += 1
    return cleaned


# Where a run stands


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One look at a run. A list of runs lacks what is not in run.json: metrics, previews, log."""

    token: str
    look: str | None = None  # the token that only looks; None for a run on the command line
    info: RunInfo
    state: State  # while a worker has it that is more than its run.json says
    step: int
    total_steps: int  # 0 until the budget has become a number of steps
    seconds: float  # of training so far
    seconds_left: float | None
    metrics: list[dict[str, Any]]  # the fields of transfer.Progress, oldest first, at most METRICS_SHOWN
    preview_steps: list[int]
    place_in_queue: int | None = None  # 1 is next
    wait: float | None = None  # seconds until its turn, about
    error: str | None  # problem and advice
    distance: float | None  # see transfer.Progress
    floor: float | None
    usable: bool  # there is a bundle to sample from
    log: str = ""  # the end of its log.txt, if it failed

    @property
    def preview_step(self) -> int | None:
        """The newest preview's."""
        return self.preview_steps[-1] if self.preview_steps else None

    @property
    def name(self) -> str:
        """Of its model, and of the files made of it: the title as an id."""
        return slug(self.info.title)

    @property
    def result(self) -> tuple[Any, ...]:
        """Another one whenever what comes of it is another."""
        info = self.info
        return self.token, info.title, self.state, self.step, info.kept, info.worth is not None

    @property
    def told(self) -> list[str]:
        """What the samples are worth, a sentence each."""
        if worth := self.info.worth:
            return [*worth.told.values(), "Judged by your own pictures, as the model reads them."]
        if self.info.found.count < FEWEST:
            return [f"With fewer than {FEWEST} pictures its worth cannot be told from numbers: judge by eye."]
        return ["They are not judged yet."]

    def facts(self, *names: str) -> dict[str, Any]:
        """What goes by these names here or in run.json, for programs; `worth` is its numbers and words."""
        info = self.info
        more = {"pictures": info.found.count, "worth": info.worth and info.worth.facts}
        known = vars(info) | vars(self) | more
        return {name: known[name] for name in names}

    @property
    def owned(self) -> bool:
        """Whether it was asked for by a token that may change it, not by one that only looks."""
        return self.token != self.look


def status_of(run: Run, *, brief: bool = False) -> RunStatus:
    """Where a run stands, but for its place in a queue; `brief` is as in a list, from its run.json alone."""
    state, info = run.state, run.info
    metrics, previews = ([], []) if brief else (run.metrics(), run.preview_steps())
    last = metrics[-1] if metrics else {}
    told, total, seconds = last.get("step", 0), info.steps or 0, last.get("seconds", 0.0)
    running = state in (State.RUNNING, State.STOPPING) and told and total
    thin = -(-len(metrics) // METRICS_SHOWN) or 1
    return RunStatus(
        token=run.token,
        look=run.look,
        info=info,
        state=state,
        step=max(told, info.reached),
        total_steps=total,
        seconds=seconds,
        seconds_left=seconds / told * (total - told) if running else None,
        metrics=metrics[::-thin][::-1],  # the newest stays
        preview_steps=previews,
        error=" ".join(part for part in (info.error, info.advice) if part) or None,
        distance=last.get("distance"),
        floor=last.get("floor"),
        usable=run.has_model,
        log=run.log_tail() if state == State.FAILED and not brief else "",
    )
