"""What the commands share: their options, where text goes, how a command ends, how it is interrupted.

A command is a function that gives a `Result`. `command` makes it one of `commands`, the whole command line, and adds
the options that all of them take. Its result is printed on stdout, as lines or as one JSON document, and everything
else on stderr. It ends with 0 (done), 1 (a fault of ours: traceback), 2 (wrong use or bad input: fact and remedy) or
130 (stopped by the user). Nothing here imports torch: the help must be quick.
"""

import contextlib
import functools
import inspect
import itertools
import json
import logging
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from mind2mind import config
from mind2mind.config import SEEDS
from mind2mind.errors import COMMAND, ConfigError, FaultError, Mind2MindError, in_words

if TYPE_CHECKING:
    from mind2mind.studio import Studio

STOPPED = 130
HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
MOST_SEEDS = 100_000
HELP = """Mind2Mind turns a folder of pictures into a generator of new pictures like them.

COMMAND --help shows examples. Results go to stdout, everything else to stderr.
Exit codes: 0 done, 1 a fault of ours, 2 wrong use or bad input, 130 stopped with the work kept.
"""
Item = TypeVar("Item")
Function = TypeVar("Function", bound=Callable[..., "Result"])

# --- The options of all commands, those of several, and what is read from them.


def picture_path(text: str | Path) -> Path:
    """The path of an argument; an empty one would be the current folder, with all that lies in it."""
    if not str(text):
        raise typer.BadParameter("A picture's path is empty. For the current folder write a dot.")
    return Path(text)


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Option(help="Where the networks run.")] = "auto"
    json: Annotated[bool, Option("--json", help="One JSON document on stdout, the rest on stderr.")] = False
    quiet: Annotated[bool, Option("--quiet", "-q", help="Results and errors only.")] = False


options = Options()  # of the command that runs
MODEL = Option("--model", "-m", help="A name that `models` lists, or the folder of a bundle or a run.")
Model = Annotated[str, MODEL]
Psi = Annotated[float, Option(min=-2.0, max=2.0, help="Truncation: 1 is none, 0 is the mean picture.")]
Noise = Annotated[Literal["none", "fixed", "random"], Option(help="The decoder's noise: chance in detail.")]
CROP = "How pictures become square: cut, fitted with bars, or faces aligned as FFHQ does."
Crop = Annotated[config.Crop | None, Option(help=CROP, show_default="as the model's card says")]
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


def studio() -> "Studio":
    """The facade, on the device asked for."""
    from mind2mind.studio import Studio

    return Studio(options.device)


# --- Stderr, for the person who watches.


def note(text: str) -> None:
    """One line on stderr, unless --quiet."""
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def bar(description: str, total: float | None = None, *, left: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on stderr while the block lasts; `total` None: the end is not known.

    `left` shows the time that is left, by the pace so far.

    Yields:
        what moves it: `completed`, and where they change `total`, `description` and the `note` behind the bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()]
    columns += [TextColumn("left:"), TimeRemainingColumn()] if left else []
    columns += [TextColumn("{task.fields[note]}", markup=False)]
    with Progress(*columns, console=Console(stderr=True), disable=options.quiet) as progress:
        yield functools.partial(progress.update, progress.add_task(description, total=total, note=""))


def tracked(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """The items as they come, with a bar on stderr; `total` None: that of a sequence, else the end is not known."""
    from rich.console import Console
    from rich.progress import track

    return track(items, description, total, console=Console(stderr=True), disable=options.quiet)


@contextlib.contextmanager
def answering(answer: Callable[[int, Any], Any]) -> Iterator[None]:
    """Within the block `answer` is called by Ctrl-C, SIGTERM and SIGHUP, but for those that nohup and & ignore."""

    def heard(number: int, frame: Any) -> None:
        if number == HANGUP:  # the terminal is gone: whatever writes there would fail
            null = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                if stat.S_ISCHR(os.fstat(stream).st_mode):
                    os.dup2(null, stream)
        answer(number, frame)

    signals = [each for each in (signal.SIGINT, signal.SIGTERM, HANGUP) if each is not None]
    before = {n: signal.signal(n, heard) for n in signals if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl-C, SIGTERM or SIGHUP only asks for a stop; another Ctrl-C interrupts.

    The others do not: a terminal that closes may send both of them, one of them twice.

    Yields:
        whether a stop was asked for.
    """
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if not asked.is_set():
            asked.set()
            note("Stopping: waiting until the work is saved. Ctrl-C once more leaves at once.")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    with answering(ask):
        yield asked.is_set


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


def told_error(problem: str, fix: str, **more: str) -> dict[str, Any]:
    """Says on stderr, even with --quiet, what is wrong; gives the same for the document."""
    print(f"error: {problem}\n{fix}", file=sys.stderr)
    return {"error": {"problem": problem, "fix": fix, **more}}


class _Commands(TyperGroup):
    """All commands, and what is told of one that fails."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        given = sys.argv[1:] if args is None else args
        failure: Mind2MindError
        try:
            sys.exit(super().main(args if given else ["--help"], COMMAND, standalone_mode=False))
        except typer.TyperException as error:  # wrong use
            at = getattr(error, "ctx", None)
            path = at.command_path if at else COMMAND
            failure = ConfigError(error.format_message(), f"{path} --help tells how it is used.")
        except Exception as error:
            failure = in_words(error)
            if isinstance(failure, FaultError):
                if "--json" in given:
                    print(as_json({"error": facts(failure, "problem", "fix")}), flush=True)
                raise
        document = told_error(failure.problem, failure.fix, kind=type(failure).__name__)
        if "--json" in given:
            print(as_json(document), flush=True)
        sys.exit(2)


commands = typer.Typer(
    cls=_Commands,
    help=HELP,
    add_completion=False,
    pretty_exceptions_enable=False,  # a fault of ours shows Python's own traceback
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def command(panel: str, more: Sequence[inspect.Parameter] = ()) -> Callable[[Function], Function]:
    """Makes a function a command, under that heading of the help; its docstring is its own help.

    What stands under `Examples:` there, a command a line, is shown as it can be pasted. Its options are its
    parameters, those of `Options`, and `more`, which it takes as `**` keywords.
    """
    shared = inspect.signature(Options).parameters

    def register(function: Function) -> Function:
        def run(**values: Any) -> None:
            global options
            options = Options(**{name: values.pop(name) for name in shared})
            logging.getLogger("mind2mind").setLevel(logging.ERROR if options.quiet else logging.WARNING)
            # whatever a library prints must not spoil the document
            with contextlib.redirect_stdout(sys.stderr), answering(signal.default_int_handler):
                try:
                    result = function(**values)
                except KeyboardInterrupt:
                    note("Stopped. What was already written is kept.")
                    result = Result({"error": {"problem": "Stopped by the user.", "fix": ""}}, code=STOPPED)
            for line in [as_json(result.document)] if options.json else result.lines:
                print(line)
            sys.stdout.flush()
            raise typer.Exit(result.code)

        named = inspect.signature(function).parameters.values()
        own = [each for each in named if each.kind != each.VAR_KEYWORD]
        run.__signature__ = inspect.Signature([*own, *shared.values(), *more])  # type: ignore[attr-defined]
        text, _, examples = (inspect.getdoc(function) or "").partition("Examples:\n")
        lines = ["Examples:", *(f"{COMMAND} {line.strip()}" for line in examples.splitlines())]
        name = function.__name__.replace("_", "-")
        commands.command(name, help=text, epilog="\n\n".join(lines), rich_help_panel=panel)(run)
        return function

    return register
