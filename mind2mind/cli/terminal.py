"""What every command shares: three options, where text goes, how errors end, how seeds are written.

A command is a function `(terminal, ...) -> Result`. `door` turns it into what typer runs: it adds `--json`,
`--device` and `--quiet`, prints the result (plain lines, or one JSON document) on stdout and everything else
on stderr, and ends with 0 (done), 1 (a fault of ours: traceback), 2 (wrong use or bad input: fact and remedy)
or 130 (stopped by the user).
"""

import contextlib
import functools
import inspect
import json
import logging
import math
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from mind2mind.config import RECIPES, SEEDS, SETTINGS, Setting
from mind2mind.config import as_text as written
from mind2mind.errors import COMMAND, ConfigError, DataError, Mind2MindError

if TYPE_CHECKING:
    from mind2mind.studio import Studio

# --- The arguments that several commands share, and how seeds, choices and folders are read.

MOST_SEEDS = 100_000

Device = Literal["auto", "cpu", "cuda", "mps"]
Crop = Literal["centre", "fit", "face"]
NoiseKind = Literal["none", "fixed", "random"]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, the rest on stderr.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the networks run.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")]
ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="A name that `models` lists, or the folder of a bundle or a run."),
]
PsiOption = Annotated[
    float, typer.Option("--psi", min=-2.0, max=2.0, help="Truncation: 1 is none, 0 is the mean picture.")
]
NoiseOption = Annotated[
    NoiseKind, typer.Option("--noise", help="The decoder's noise: fine detail by chance.")
]
CropOption = Annotated[
    Crop | None,
    typer.Option(
        "--crop",
        help="How pictures become square: cut, fitted with bars, or faces aligned as FFHQ does.",
        show_default="as the model's card says",
    ),
]


def picture_path(text: str | Path) -> Path:
    """The path of an argument; an empty one would be the current folder, with all that lies in it."""
    if not str(text):
        raise typer.BadParameter("A picture's path is empty. For the current folder write a dot.")
    return Path(text)


PicturesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PICTURES", help="Pictures, folders and zips.", show_default=False, parser=picture_path
    ),
]


def recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command whose last parameter is `settings` an option for each setting of a recipe instead.

    `settings` is then a dict of those that were given.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        given = {name: value for name in SETTINGS if (value := options.pop(name, None)) is not None}
        return function(*arguments, **options, settings=given)

    *own, _ = inspect.signature(function).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(setting.name, keyword, default=None, annotation=_option(setting))
        for setting in SETTINGS.values()
    ]
    call.__dict__["__signature__"] = inspect.Signature([*own, *added])
    return call


def _option(setting: Setting) -> Any:
    text = setting.kind is tuple
    return Annotated[
        (str if text else setting.kind) | None,
        typer.Option(
            min=None if text else setting.least,
            max=None if text else setting.most,
            metavar="NUMBERS" if text else None,
            help=setting.explained if text else setting.help,
            show_default="; ".join(
                f"{name} {written(getattr(r, setting.name))}" for name, r in RECIPES.items()
            ),
            rich_help_panel="Advanced",
        ),
    ]


def seeds_of(text: str, count: int | None, default_count: int) -> list[int]:
    """`7` with a count gives 7, 8, ...; `0,3,5-9` is a list of its own.

    Raises:
        ConfigError: the text is no such list, or its length contradicts `count`.
    """
    remedy = "Write one number (with --count), or a list such as 0,3,5-9."
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,10}(\s*-\s*[0-9]{1,10})?", part) for part in parts):
        raise ConfigError(f"{text!r} is no list of seeds.", remedy)
    ends = [[int(end) for end in part.split("-")] for part in parts]
    if len(parts) == 1 and len(ends[0]) == 1:
        ends = [[ends[0][0], ends[0][0] + (default_count if count is None else count) - 1]]
        count = None
    size = sum(end[-1] - end[0] + 1 for end in ends)
    if any(end[-1] < end[0] for end in ends):
        raise ConfigError(f"A range in {text!r} ends before it begins.", "Write the smaller seed first.")
    if max(end[-1] for end in ends) >= SEEDS or size > MOST_SEEDS:
        raise ConfigError(
            f"Seeds {text!r} ask for {size} pictures up to seed {max(end[-1] for end in ends)}.",
            f"Ask for at most {MOST_SEEDS} at a time, with seeds up to {SEEDS - 1}.",
        )
    seeds = list(dict.fromkeys(seed for end in ends for seed in range(end[0], end[-1] + 1)))
    if count is not None and count != len(seeds):
        raise ConfigError(
            f"--seed {text} names {len(seeds)} seeds and --count says {count}.", "Leave --count out."
        )
    return seeds


def folder_of(path: Path) -> Path:
    """The folder, made if need be.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The folder {path} could not be made: {error.strerror or error}.", "Choose another --out."
        ) from error
    return path


def choice_of(what: str, name: str, choices: Mapping[str, Any]) -> Any:
    """The choice of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in choices:
        raise ConfigError(f"There is no {what} {name!r}.", f"Choose one of {', '.join(choices)}.")
    return choices[name]


STOPPED = 130
JSON_ASKED = "mind2mind.json"
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]  # click's own, or that of the copy inside typer


@dataclass(frozen=True)
class Result:
    """What a command has to say on stdout, and its exit code."""

    document: Mapping[str, Any]  # for --json
    lines: Sequence[str] = ()  # without it
    code: int = 0


@dataclass(frozen=True)
class Command:
    """A command, ready for `typer.Typer.command(name, epilog=...)(function)`."""

    name: str
    function: Callable[..., None]
    epilog: str


class Commands(TyperGroup):
    """The group of all commands; with --json what typer itself complains of is a document, too."""

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
            document = {"problem": error.format_message(), "fix": fix, "kind": "ConfigError"}
            print(as_text({"error": document}), flush=True)
        raise


@dataclass(frozen=True)
class Bar:
    """A progress bar on stderr; `show` moves it."""

    _update: Callable[..., None]

    def show(self, done: float, total: float | None = None, note: str = "", name: str = "") -> None:
        """`total` None and an empty `name` leave them as they are; `note` stands behind the bar."""
        changes = {"total": total or None, "description": name or None}
        self._update(completed=done, note=note, **{k: v for k, v in changes.items() if v is not None})


@dataclass(frozen=True)
class Terminal:
    """The options that all commands share, and the way to stderr."""

    as_json: bool = False
    device: str = "auto"
    quiet: bool = False

    def note(self, text: str) -> None:
        """One line on stderr, unless --quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bar(self, description: str, total: float | None = None, *, left: bool = False) -> Iterator[Bar]:
        """A bar on stderr while the block lasts; `total` None: the end is not known.

        `left` shows the time that is left, by the pace so far.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            *((TextColumn("left:"), TimeRemainingColumn()) if left else ()),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True), disable=self.quiet) as progress:
            task = progress.add_task(description, total=total, note="")
            yield Bar(functools.partial(progress.update, task))

    def studio(self) -> "Studio":
        """The facade, on the device asked for."""
        from mind2mind.studio import Studio

        return Studio(device=self.device)


@dataclass
class StopRequest:
    """Whether the user pressed Ctrl-C."""

    asked: bool = field(default=False)

    def __call__(self) -> bool:
        return self.asked


@contextlib.contextmanager
def stop_on_ctrl_c(terminal: Terminal) -> Iterator[StopRequest]:
    """Within the block the first Ctrl-C only asks for a stop; a second one interrupts as usual."""
    request = StopRequest()

    def ask(number: int, frame: Any) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True
        terminal.note("Stopping: waiting until the work is saved. Ctrl-C once more leaves at once.")

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield request
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)


def door(*examples: str) -> Callable[[Callable[..., Result]], Command]:
    """Makes a command of a function whose first parameter is the terminal; `examples` end its --help."""

    def make(function: Callable[..., Result]) -> Command:
        @functools.wraps(function)
        def call(*, as_json: bool, device: str, quiet: bool, **arguments: Any) -> None:
            _run(functools.partial(function, **arguments), Terminal(as_json, device, quiet))

        _sign(call, function)
        epilog = "\n\n".join(("Examples:", *(f"{COMMAND} {example}" for example in examples)))
        return Command(function.__name__.replace("_", "-"), call, epilog)

    return make


def _sign(call: Callable[..., None], function: Callable[..., Result]) -> None:
    """Gives `call` the parameters of `function`, the terminal replaced by the shared options."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    _, *own = inspect.signature(function).parameters.values()
    shared = [
        inspect.Parameter("device", keyword, default="auto", annotation=DeviceOption),
        inspect.Parameter("as_json", keyword, default=False, annotation=JsonOption),
        inspect.Parameter("quiet", keyword, default=False, annotation=QuietOption),
    ]
    parameters = [parameter.replace(kind=keyword) for parameter in own] + shared
    call.__dict__.pop("__wrapped__")  # typer would look through it
    call.__dict__["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _run(work: Callable[[Terminal], Result], terminal: Terminal) -> None:
    logging.getLogger("mind2mind").setLevel(logging.ERROR if terminal.quiet else logging.WARNING)
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints must not spoil the document
        try:
            result = work(terminal)
        except Mind2MindError as error:
            print(f"error: {error.problem}\n{error.fix}", file=sys.stderr)
            document = {"problem": error.problem, "fix": error.fix, "kind": type(error).__name__}
            result = Result({"error": document}, code=2)
        except KeyboardInterrupt:
            terminal.note("Stopped. What was already written is kept.")
            result = Result({"error": {"problem": "Stopped by the user.", "fix": ""}}, code=STOPPED)
        except Exception as error:
            if terminal.as_json:
                fault = {"problem": f"{type(error).__name__}: {error}", "fix": "This is a fault of ours."}
                print(as_text({"error": fault}), file=stdout, flush=True)
            raise
    for line in [as_text(result.document)] if terminal.as_json else result.lines:
        print(line, file=stdout)
    stdout.flush()
    if result.code:
        raise typer.Exit(result.code)


def as_text(document: Mapping[str, Any]) -> str:
    """Strict JSON: paths as text, nan and infinity as null."""
    return json.dumps(_plain(document), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
