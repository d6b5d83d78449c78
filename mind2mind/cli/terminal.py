"""What the commands share: their options, where text goes, how a command ends, how it is interrupted.

A command is a function that gives a `Result`. `command` makes it one of `commands`, the whole command line.
Its result is printed on stdout, as lines or as one JSON document, and everything else on stderr. It ends with
0 (done), 1 (a fault of ours: traceback), 2 (wrong use or bad input: fact and remedy) or 130 (stopped by the
user). Nothing here imports torch: the help must be quick.
"""

import contextlib
import inspect
import itertools
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

import typer
from typer import Argument, Option
from typer.core import TyperCommand, TyperGroup

from mind2mind.config import SEEDS
from mind2mind.errors import COMMAND, ConfigError, DataError, Mind2MindError

if TYPE_CHECKING:
    from mind2mind.studio import Studio

STOPPED = 130
STOPPING = "Stopping: waiting until the work is saved. Ctrl-C once more leaves at once."
MOST_SEEDS = 100_000
JSON_ASKED = "mind2mind.json"
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]  # click's own, or that of the copy inside typer
HELP = """Mind2Mind turns a folder of pictures into a generator of new pictures like them.

COMMAND --help shows examples. Results go to stdout, everything else to stderr.
Exit codes: 0 done, 1 a fault of ours, 2 wrong use or bad input, 130 stopped with the work kept.
"""
Function = TypeVar("Function", bound=Callable[..., "Result"])

# --- The options of all commands, those of several, and what is read from them.


def picture_path(text: str | Path) -> Path:
    """The path of an argument; an empty one would be the current folder, with all that lies in it."""
    if not str(text):
        raise typer.BadParameter("A picture's path is empty. For the current folder write a dot.")
    return Path(text)


Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], Option(help="Where the networks run.")]
Json = Annotated[bool, Option("--json", help="One JSON document on stdout, the rest on stderr.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Results and errors only.")]
MODEL = Option("--model", "-m", help="A name that `models` lists, or the folder of a bundle or a run.")
Model = Annotated[str, MODEL]
Psi = Annotated[float, Option(min=-2.0, max=2.0, help="Truncation: 1 is none, 0 is the mean picture.")]
Noise = Annotated[
    Literal["none", "fixed", "random"], Option(help="The decoder's noise: fine detail by chance.")
]
CROP_HELP = "How pictures become square: cut, fitted with bars, or faces aligned as FFHQ does."
Crop = Annotated[
    Literal["centre", "fit", "face"] | None, Option(help=CROP_HELP, show_default="as the model's card says")
]
PICTURES = Argument(metavar="PICTURES", help="Pictures, folders and zips.", parser=picture_path)
Pictures = Annotated[list[Path], PICTURES]


def seeds_of(text: str, count: int | None, default_count: int) -> list[int]:
    """`7` with a count gives 7, 8, ...; `0,3,5-9` is a list of its own.

    Raises:
        ConfigError: the text is no such list, or its length contradicts `count`.
    """
    parts = [re.fullmatch(r"\s*([0-9]{1,10})(?:\s*-\s*([0-9]{1,10}))?\s*", part) for part in text.split(",")]
    spans = [range(int(part[1]), int(part[2] or part[1]) + 1) for part in parts if part]
    if len(spans) < len(parts):
        fix = "Write one number (with --count), or a list such as 0,3,5-9."
        raise ConfigError(f"{text!r} is not a list of seeds.", fix)
    if not all(spans):
        raise ConfigError(f"A range in {text!r} ends before it begins.", "Write the smaller seed first.")
    if text.strip().isdecimal():
        spans, count = [range(spans[0][0], spans[0][0] + (count or default_count))], None
    size, last = sum(map(len, spans)), max(span[-1] for span in spans)
    if last >= SEEDS or size > MOST_SEEDS:
        fix = f"Ask for at most {MOST_SEEDS} at a time, with seeds up to {SEEDS - 1}."
        raise ConfigError(f"Seeds {text!r} ask for {size} pictures up to seed {last}.", fix)
    seeds = list(dict.fromkeys(itertools.chain(*spans)))
    if count not in (None, len(seeds)):
        problem = f"--seed {text} names {len(seeds)} seeds and --count says {count}."
        raise ConfigError(problem, "Leave --count out.")
    return seeds


def choice_of(what: str, name: str, choices: Mapping[str, Any]) -> Any:
    """The choice of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in choices:
        raise ConfigError(f"There is no {what} {name!r}.", f"Choose one of {', '.join(choices)}.")
    return choices[name]


def check_online(verb: str) -> None:
    """ConfigError where the environment forbids what the user asks of the Hub."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in (
        "1",
        "on",
        "yes",
        "true",
    ):  # as huggingface_hub reads it
        raise ConfigError("HF_HUB_OFFLINE forbids calls to the Hub.", f"Unset it, then {verb}.")


def studio(device: str) -> "Studio":
    """The facade, on the device asked for."""
    from mind2mind.studio import Studio

    return Studio(device=device)


# --- Stderr, for the person who watches.

_quiet = False  # of the command that runs


def note(text: str) -> None:
    """One line on stderr, unless --quiet."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)


class Show(Protocol):
    """Moves a progress bar; `total` None and an empty `name` leave them as they are, `note` stands behind it."""

    def __call__(self, done: float, total: float | None = None, note: str = "", name: str = "") -> None: ...


@contextlib.contextmanager
def bar(description: str, total: float | None = None, *, left: bool = False) -> Iterator[Show]:
    """A bar on stderr while the block lasts; `total` None: the end is not known.

    `left` shows the time that is left, by the pace so far.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()]
    columns += [TextColumn("left:"), TimeRemainingColumn()] if left else []
    columns += [TextColumn("{task.fields[note]}", markup=False)]
    with Progress(*columns, console=Console(stderr=True), disable=_quiet) as progress:
        task = progress.add_task(description, total=total, note="")

        def show(done: float, total: float | None = None, note: str = "", name: str = "") -> None:
            progress.update(task, completed=done, total=total or None, note=note, description=name or None)

        yield show


@contextlib.contextmanager
def stop_on_ctrl_c(told: str = STOPPING) -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl-C only asks for a stop; a second one interrupts as usual.

    Args:
        told: what the first one is answered with.

    Yields:
        whether a stop was asked for.
    """
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if told:
            note(told)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


# --- How a command begins and ends.


@dataclass(frozen=True)
class Result:
    """What a command has to say on stdout, and its exit code."""

    document: Mapping[str, Any]  # for --json
    lines: Sequence[object] = ()  # without it
    code: int = 0


def facts(record: object, *names: str) -> dict[str, Any]:
    """These attributes of a record, for a document."""
    return {name: getattr(record, name) for name in names}


def as_json(document: Mapping[str, Any]) -> str:
    """Strict JSON: paths as text, nan and infinity as null."""
    plain = json.loads(json.dumps(document, default=str), parse_constant=lambda _: None)
    return json.dumps(plain, indent=1, allow_nan=False)


class _Command(TyperCommand):
    """A command whose function gives a `Result`."""

    def invoke(self, ctx: Any) -> None:
        global _quiet
        _quiet, wants_json = ctx.params["quiet"], ctx.params["json"]
        logging.getLogger("mind2mind").setLevel(logging.ERROR if _quiet else logging.WARNING)
        stdout = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints must not spoil the document
            try:
                result = super().invoke(ctx)
            except Mind2MindError as error:
                result = _failed(error)
            except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                result = _failed(DataError(f"{error.filename}: {error.strerror}.", "Choose another path."))
            except KeyboardInterrupt:
                note("Stopped. What was already written is kept.")
                result = Result(_error("Stopped by the user.", ""), code=STOPPED)
            except Exception as error:
                if wants_json:
                    fault = _error(f"{type(error).__name__}: {error}", "This is a fault of ours.")
                    print(as_json(fault), file=stdout, flush=True)
                raise
        for line in [as_json(result.document)] if wants_json else result.lines:
            print(line, file=stdout)
        stdout.flush()
        if result.code:
            raise typer.Exit(result.code)


def _failed(error: Mind2MindError) -> Result:
    print(f"error: {error.problem}\n{error.fix}", file=sys.stderr)
    return Result(_error(error.problem, error.fix, kind=type(error).__name__), code=2)


def _error(problem: str, fix: str, **more: str) -> dict[str, Any]:
    return {"error": {"problem": problem, "fix": fix, **more}}


class _Commands(TyperGroup):
    """All commands; with --json what typer itself complains of is a document, too."""

    def parse_args(self, ctx: Any, args: Any) -> Any:
        ctx.meta[JSON_ASKED] = "--json" in args
        with _usage_errors_told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _usage_errors_told(ctx):
            return super().invoke(ctx)


@contextlib.contextmanager
def _usage_errors_told(ctx: Any) -> Iterator[None]:
    try:
        yield
    except USAGE_ERROR as error:
        if ctx.meta[JSON_ASKED]:
            at = getattr(error, "ctx", None) or ctx
            fix = f"{at.command_path} --help tells how it is used."
            print(as_json(_error(error.format_message(), fix, kind="ConfigError")), flush=True)
        raise


commands = typer.Typer(
    cls=_Commands,
    help=HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a fault of ours shows Python's own traceback
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def command(panel: str) -> Callable[[Function], Function]:
    """Makes a function a command, under that heading of the help; its docstring is its own help.

    What stands under `Examples:` there, a command a line, is shown as it can be pasted.
    """

    def register(function: Function) -> Function:
        text, _, examples = (inspect.getdoc(function) or "").partition("Examples:\n")
        lines = ["Examples:", *(f"{COMMAND} {line.strip()}" for line in examples.splitlines())]
        add = commands.command(cls=_Command, help=text, epilog="\n\n".join(lines), rich_help_panel=panel)
        return add(function)

    return register
