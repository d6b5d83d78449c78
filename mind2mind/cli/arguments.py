"""The arguments that several commands share, and how seeds, choices and folders are read."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mind2mind.config import RECIPES
from mind2mind.errors import ConfigError, DataError
from mind2mind.seeds import SEEDS
from mind2mind.settings import SETTINGS, Setting, as_text

MOST_SEEDS = 100_000

Device = Literal["auto", "cpu", "cuda", "mps"]
Crop = Literal["centre", "fit", "face"]
NoiseKind = Literal["none", "fixed", "random"]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, the rest on stderr.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the networks run.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")]
ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="A name from `mind2mind models`, or the folder of a bundle or a run."),
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
                f"{name} {as_text(getattr(r, setting.name))}" for name, r in RECIPES.items()
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
