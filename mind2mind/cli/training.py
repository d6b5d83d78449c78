"""The command transfer: a folder of pictures becomes a generator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mind2mind.cli.arguments import CropOption, choice_of, picture_path, recipe_options
from mind2mind.cli.common import Result, Terminal, door
from mind2mind.cli.following import follow
from mind2mind.cli.reading import last_of, told, told_before
from mind2mind.config import BUDGETS, DEFAULT, RECIPES, Recipe
from mind2mind.errors import ConfigError, Mind2MindError, RunError
from mind2mind.settings import changed

if TYPE_CHECKING:
    from mind2mind.intake import Prepared
    from mind2mind.studio import Studio

SECONDS = BUDGETS["Standard"].seconds


@dataclass(frozen=True)
class Training:
    """What `transfer` was asked to train, and for how long."""

    recipe: Recipe
    seconds: float | None
    steps: int | None
    seed: int

    def start(self, studio: "Studio", token: str) -> None:
        studio.start(token, recipe=self.recipe, seconds=self.seconds, steps=self.steps, seed=self.seed)


@door(
    "mind2mind transfer photos/ --model toon64 --out my-run",
    "mind2mind transfer a.zip b.png --model toon64 --out my-run --seconds 30 --seed 1",
    "mind2mind transfer photos/ --model toon64 --out my-run --jitter 0.1 --batch-size 64",
    "mind2mind transfer --resume --out my-run",
    "mind2mind sample --model my-run --count 16",
)
@recipe_options
def transfer(
    terminal: Terminal,
    out: Annotated[Path, typer.Option(help="The folder of the run.", show_default=False)],
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PICTURES", help="Pictures, folders, zips.", show_default=False, parser=picture_path
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The source: as `sample` takes it.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Of training; encoding is extra.", show_default=str(SECONDS))
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Instead of seconds; with --resume, steps more.")
    ] = None,
    recipe: Annotated[str, typer.Option(help=" or ".join(RECIPES))] = DEFAULT.name,
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    crop: CropOption = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NAME", help="Leave this picture out; may be given several times."),
    ] = None,
    without_near: Annotated[
        bool, typer.Option("--without-near-duplicates", help="Leave near duplicates out.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    *,
    settings: Mapping[str, Any],
) -> Result:
    """Make a generator of a set of pictures. Ctrl-C stops, keeps the work, and --resume goes on.

    --device is for the encoding; the training runs on one CPU core, in a process of its own.
    """
    chosen = changed(choice_of("recipe", recipe, RECIPES), settings)
    if seconds is not None and steps is not None:
        raise ConfigError("Both --seconds and --steps are given.", "Give one of them.")
    training = Training(chosen, seconds, steps, seed)
    if resume:
        if pictures or model or seconds is not None or settings or without or without_near:
            raise ConfigError(
                "A run that goes on keeps its pictures, its model, its budget and its settings.",
                "With --resume give --out, and --steps to go on for longer.",
            )
        return _go_on(terminal, out, training)
    if not pictures or model is None:
        raise ConfigError(
            "There are no pictures, or no --model.", "Give both; or --resume, to go on with a run."
        )
    studio = terminal.studio()
    title = out.resolve().name
    prepared = last_of(terminal, studio.prepare(pictures, model, crop=crop, folder=out, title=title))
    told_of = _without(terminal, studio, prepared, without or [], without_near)
    begin = partial(_begin, training, studio, prepared.token)
    return follow(terminal, studio, prepared.token, out, told_of, begin)


def _begin(training: Training, studio: "Studio", token: str) -> None:
    """Starts a new run; one that cannot begin must not block the next try in the same folder."""
    try:
        training.start(studio, token)
    except Mind2MindError:
        studio.delete(token)
        raise


def _without(
    terminal: Terminal, studio: "Studio", prepared: "Prepared", names: list[str], near: bool
) -> dict[str, Any]:
    """Leaves some pictures out; gives what is to be told of all. A wrong name leaves no run behind."""
    wanted = [*names, *(name for name, _ in prepared.near if near)]
    if wanted:
        try:
            prepared = studio.exclude(prepared.token, wanted)
        except Mind2MindError:
            studio.delete(prepared.token)
            raise
    return told(terminal, prepared) | told_before(terminal, prepared)


def _go_on(terminal: Terminal, out: Path, training: Training) -> Result:
    from mind2mind.runs import is_run

    if not is_run(out):
        raise RunError(f"There is no run in {out}.", "Leave --resume out to begin one.")
    studio, token = terminal.studio(), str(out.absolute())
    begin: Callable[[], object] = partial(studio.resume, token, extra_steps=training.steps or 0)
    if studio.status(token).state == "prepared":  # stopped before it began
        begin = partial(training.start, studio, token)
    return follow(terminal, studio, token, out, {}, begin)
