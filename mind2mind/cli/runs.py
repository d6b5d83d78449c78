"""Commands for what came out: runs (the app's list), result (of one run), publish (a model to the Hub)."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mind2mind.cli.models import check_online
from mind2mind.cli.pictures import last_of, told, told_before
from mind2mind.cli.terminal import (
    STOPPED,
    CropOption,
    Result,
    Terminal,
    choice_of,
    door,
    picture_path,
    recipe_options,
    stop_on_ctrl_c,
)
from mind2mind.config import BUDGETS, DEFAULT, RECIPES, Recipe, changed, size_text
from mind2mind.errors import COMMAND, ConfigError, Mind2MindError, RunError

if TYPE_CHECKING:
    from mind2mind.runs.prepared import Prepared
    from mind2mind.runs.run import RunStatus
    from mind2mind.studio import Studio

# --- A run on the terminal: shown while it goes on, stopped by Ctrl-C, and what is said of its end.

FAULT = "fault of the program"  # how the worker marks a failure that no user can mend


def follow(
    terminal: Terminal,
    studio: "Studio",
    token: str,
    out: Path,
    told_of: Mapping[str, Any],
    begin: Callable[[], object],
) -> Result:
    """Sets a run going with `begin` and shows it until its end; Ctrl-C stops it and waits for the save.

    Another Ctrl-C does not wait; the run is asked to stop all the same.

    Args:
        out: the run's folder.
        told_of: what was already said of its pictures, for the document.
    """
    with stop_on_ctrl_c(terminal) as stop, terminal.bar("Training") as bar:
        try:
            begin()
            sent = False
            for status in studio.runs.attach(token, every=0.2):
                if stop() and not sent:
                    studio.runs.stop(token)
                    sent = True
                bar.show(status.step, status.total_steps or None, _standing(status))
        except KeyboardInterrupt:
            with stop_on_ctrl_c(replace(terminal, quiet=True)), contextlib.suppress(Mind2MindError):
                studio.runs.stop(token)
            terminal.note(f"The run saves its work and stops. {_go_on_hint(out)}")
            raise
    return ended(terminal, status, out, told_of)


def ended(terminal: Terminal, status: "RunStatus", out: Path, told_of: Mapping[str, Any]) -> Result:
    """What there is to say of a run that is no longer at work."""
    from mind2mind.models.bundle import PREVIEW
    from mind2mind.runs.run import LOG
    from mind2mind.training.transfer import Ending

    bundle = out / "bundle"
    document: dict[str, Any] = {
        "run": out,
        "state": status.state,
        "step": status.step,
        "steps": status.total_steps,
        "seconds": status.seconds,
        "quality": status.quality,
        "floor": status.floor,
        "reason": status.reason,
        "samples": bundle / PREVIEW if status.usable else None,
        "bundle": bundle if status.usable else None,
        **told_of,
    }
    lines = [str(document["samples"]), str(bundle)] if status.usable else []
    if status.state == "done":
        terminal.note(Ending.explained(status.reason) or "Done.")
        return Result(document, lines)
    if status.state == "failed":
        print(f"error: {status.error}", file=sys.stderr)
        document["error"] = {"problem": status.error, "fix": f"{out / LOG} tells more."}
        return Result(document, lines, 1 if FAULT in (status.error or "") else 2)
    if status.state == "interrupted":
        problem = f"The training's process ended at step {status.step}, before its time."
        print(f"error: {problem}\n{_go_on_hint(out)}", file=sys.stderr)
        document["error"] = {"problem": problem, "fix": _go_on_hint(out)}
        return Result(document, lines, 1)
    terminal.note(f"The run is {status.state} and kept. {_go_on_hint(out)}")
    return Result(document, lines, STOPPED)


def _go_on_hint(out: Path) -> str:
    return f"Go on with: {COMMAND} transfer --resume --out {shlex.quote(str(out))}"


def _standing(status: "RunStatus") -> str:
    """Where a run stands, in some words."""
    if status.state == "queued":
        return "waiting for its turn"
    parts = [f"step {status.step} of {status.total_steps}"] if status.total_steps else [str(status.state)]
    if status.seconds_left is not None:
        parts.append(f"{status.seconds_left:.0f} s left")
    if status.quality is not None:
        floor = "" if status.floor is None else f" (best possible {status.floor:.3f})"
        parts.append(f"quality {status.quality:.3f}{floor}")
    return ", ".join(parts)


# --- The command transfer: a folder of pictures becomes a generator.

SECONDS = BUDGETS["Standard"].seconds


@dataclass(frozen=True)
class Training:
    """What `transfer` was asked to train, and for how long."""

    recipe: Recipe
    seconds: float | None
    steps: int | None
    seed: int

    def start(self, studio: "Studio", token: str) -> None:
        studio.runs.start(token, recipe=self.recipe, seconds=self.seconds, steps=self.steps, seed=self.seed)


@door(
    "transfer photos/ --model toon64 --out my-run",
    "transfer a.zip b.png --model toon64 --out my-run --seconds 30 --seed 1",
    "transfer photos/ --model toon64 --out my-run --jitter 0.1 --batch-size 64",
    "transfer --resume --out my-run",
    "sample --model my-run --count 16",
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
    prepared = last_of(terminal, studio.runs.prepare(pictures, model, crop=crop, folder=out, title=title))
    told_of = _without(terminal, studio, prepared, without or [], without_near)
    begin = partial(_begin, training, studio, prepared.token)
    return follow(terminal, studio, prepared.token, out, told_of, begin)


def _begin(training: Training, studio: "Studio", token: str) -> None:
    """Starts a new run; one that cannot begin must not block the next try in the same folder."""
    try:
        training.start(studio, token)
    except Mind2MindError:
        studio.runs.delete(token)
        raise


def _without(
    terminal: Terminal, studio: "Studio", prepared: "Prepared", names: list[str], near: bool
) -> dict[str, Any]:
    """Leaves some pictures out; gives what is to be told of all. A wrong name leaves no run behind."""
    wanted = [*names, *(name for name, _ in prepared.near if near)]
    if wanted:
        try:
            prepared = studio.runs.exclude(prepared.token, wanted)
        except Mind2MindError:
            studio.runs.delete(prepared.token)
            raise
    return told(terminal, prepared) | told_before(terminal, prepared)


def _go_on(terminal: Terminal, out: Path, training: Training) -> Result:
    from mind2mind.runs.run import is_run

    if not is_run(out):
        raise RunError(f"There is no run in {out}.", "Leave --resume out to begin one.")
    studio, token = terminal.studio(), str(out.absolute())
    begin: Callable[[], object] = partial(studio.runs.resume, token, extra_steps=training.steps or 0)
    if studio.runs.status(token).state == "prepared":  # stopped before it began
        begin = partial(training.start, studio, token)
    return follow(terminal, studio, token, out, {}, begin)


@door("runs", "runs --rename TOKEN --title Ducks", "runs --delete TOKEN")
def runs(
    terminal: Terminal,
    rename: Annotated[str | None, typer.Option(metavar="TOKEN", help="Give this run a --title.")] = None,
    title: Annotated[str | None, typer.Option(help="The new title of the run and its model.")] = None,
    delete: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Delete this run with all that belongs to it.")
    ] = None,
) -> Result:
    """List the app's runs on this computer; rename or delete one. A run made here is a folder of yours."""
    if (rename is None) != (title is None):
        raise ConfigError("--rename and --title go together.", "Give both.")
    studio = terminal.studio()
    if rename is not None and title is not None:
        studio.runs.rename(rename, title)
    if delete is not None:
        studio.runs.delete(delete)
        terminal.note(f"{delete} is gone.")
    entries = studio.runs.list()
    rows = [
        {
            "token": entry.token,
            "title": entry.title,
            "state": entry.state,
            "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created)),
            "model": entry.model,
            "pictures": entry.pictures,
            "bytes": entry.bytes,
        }
        for entry in entries
    ]
    lines = [
        f"{row['token']}  {row['created']}  {row['state']:<11}  {row['model']}  {size_text(entry.bytes):>7}  "
        f"{row['title']}"
        for row, entry in zip(rows, entries, strict=True)
    ]
    if not rows:
        terminal.note("The app has no runs here.")
    return Result({"runs": rows}, lines)


@door(
    "result my-run",
    "result my-run --out everything.zip",
    "result my-run --film training.mp4",
)
def result(
    terminal: Terminal,
    run: Annotated[str, typer.Argument(help="A run's folder, or its token in the app.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="A zip for everything: model, samples, film, codes, settings.")
    ] = None,
    film: Annotated[
        Path | None,
        typer.Option(help="A clip of the same samples as the training went on: MP4, WebP or GIF."),
    ] = None,
) -> Result:
    """Say how good, how varied and how original the result of a run is, and how to make it again."""
    studio = terminal.studio()
    found = studio.runs.result(run)
    originality = found.originality
    document = {
        "title": found.status.title,
        "state": found.status.state,
        "quality": found.quality.value if found.quality else None,
        "floor": found.quality.floor if found.quality else None,
        "word": found.quality.word if found.quality else None,
        "near_copies": None if originality.bound is None else round(originality.share, 4),
        "copies": originality.warning,
        "command": found.command,
        "film": studio.runs.film(run, film) if film else None,
        "everything": studio.runs.pack(run, out) if out else None,
    }
    lines = [found.quality.told] if found.quality else []
    lines += [originality.told, f"Again: {found.command}"]
    return Result(
        document, [*lines, *(str(document[key]) for key in ("film", "everything") if document[key])]
    )


@door("publish my-run me/ducks", "publish my-run me/ducks --public")
def publish(
    terminal: Terminal,
    model: Annotated[str, typer.Argument(help="A transfer: a run or a bundle.", show_default=False)],
    repository: Annotated[
        str, typer.Argument(help="owner/name of a new repository on the Hub.", show_default=False)
    ],
    public: Annotated[bool, typer.Option("--public", help="Everybody sees it; otherwise only you.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only print the card that would be sent.")] = False,
) -> Result:
    """Send a model to the Hugging Face Hub, with the login of `hf auth login`. Your pictures stay here."""
    studio = terminal.studio()
    card = studio.models.card_for(model, repository)
    if show:
        return Result({"card": card}, [card])
    check_online("publish")
    url = studio.models.publish(model, repository, private=not public)
    return Result({"url": url, "private": not public}, [url])
