"""Commands that train: transfer (a folder of pictures becomes a generator) and pretrain (a source model)."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mind2mind.cli.arguments import (
    Crop,
    CropOption,
    PicturesArgument,
    choice_of,
    folder_of,
    picture_path,
    recipe_options,
)
from mind2mind.cli.common import STOPPED, Result, StopRequest, Terminal, door, stop_on_ctrl_c
from mind2mind.cli.pictures import told, told_before
from mind2mind.config import (
    ARCHITECTURES,
    BUDGETS,
    DEFAULT,
    PRETRAIN_DEFAULT,
    PRETRAIN_RECIPES,
    RECIPES,
    Recipe,
)
from mind2mind.errors import ConfigError, Mind2MindError, RunError
from mind2mind.settings import changed

if TYPE_CHECKING:
    from mind2mind.intake import Prepared
    from mind2mind.make_source import MakeEvent
    from mind2mind.runs import RunStatus
    from mind2mind.studio import Studio

FAULT = "fault of the program"  # how the worker marks a failure that no user can mend
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
        float | None,
        typer.Option(min=1, help="Of training; encoding is extra.", show_default=str(SECONDS)),
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
        if not (out / "run.json").is_file():
            raise RunError(f"There is no run in {out}.", "Leave --resume out to begin one.")
        studio = terminal.studio()
        return _go_on(terminal, studio, out, training)
    if not pictures or model is None:
        raise ConfigError(
            "There are no pictures, or no --model.", "Give both; or --resume, to go on with a run."
        )
    studio = terminal.studio()
    prepared = _prepare(terminal, studio, pictures, model, crop, out)
    token, told_of = prepared.token, _without(terminal, studio, prepared, without or [], without_near)
    return _follow(terminal, studio, token, out, told_of, partial(_begin, training, studio, token))


def _begin(training: Training, studio: "Studio", token: str) -> None:
    """Starts a new run; one that cannot begin must not block the next try in the same folder."""
    try:
        training.start(studio, token)
    except Mind2MindError:
        studio.delete(token)
        raise


def _prepare(
    terminal: Terminal, studio: "Studio", pictures: list[Path], model: str, crop: Crop | None, out: Path
) -> "Prepared":
    """Encodes into the run's folder."""
    from mind2mind.intake import Prepared

    prepared: Prepared | None = None
    with terminal.bar("Encoding", left=True) as bar:
        for event in studio.prepare(pictures, model, crop=crop, folder=out, title=out.resolve().name):
            if isinstance(event, Prepared):
                prepared = event
            else:
                bar.show(event.done, event.total, f"{event.done} pictures")
    assert prepared is not None  # the last event, or an exception
    return prepared


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


def _go_on(terminal: Terminal, studio: "Studio", out: Path, training: Training) -> Result:
    token = str(out.absolute())
    if studio.status(token).state == "prepared":  # stopped before it began
        return _follow(terminal, studio, token, out, {}, partial(training.start, studio, token))
    resume = partial(studio.resume, token, extra_steps=training.steps or 0)
    return _follow(terminal, studio, token, out, {}, resume)


def _follow(
    terminal: Terminal,
    studio: "Studio",
    token: str,
    out: Path,
    told_of: Mapping[str, Any],
    begin: Callable[[], object],
) -> Result:
    """Sets a run going with `begin` and shows it until its end; Ctrl-C stops it and waits for the save.

    Another Ctrl-C does not wait; the run is asked to stop all the same.
    """
    with stop_on_ctrl_c(terminal) as stop, terminal.bar("Training") as bar:
        try:
            begin()
            sent = False
            for status in studio.attach(token, every=0.2):
                if stop() and not sent:
                    studio.stop(token)
                    sent = True
                bar.show(status.step, status.total_steps or None, _standing(status))
        except KeyboardInterrupt:
            with stop_on_ctrl_c(replace(terminal, quiet=True)), contextlib.suppress(Mind2MindError):
                studio.stop(token)
            terminal.note(f"The run saves its work and stops. {_go_on_hint(out)}")
            raise
    return _ended(terminal, status, out, told_of)


def _ended(terminal: Terminal, status: "RunStatus", out: Path, told_of: Mapping[str, Any]) -> Result:
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
        "samples": bundle / "preview.png" if status.usable else None,
        "bundle": bundle if status.usable else None,
        **told_of,
    }
    lines = [str(document["samples"]), str(bundle)] if status.usable else []
    if status.state == "done":
        terminal.note(status.reason or "Done.")
        return Result(document, lines)
    if status.state == "failed":
        print(f"error: {status.error}", file=sys.stderr)
        document["error"] = {"problem": status.error, "fix": f"{out / 'log.txt'} tells more."}
        return Result(document, lines, 1 if FAULT in (status.error or "") else 2)
    if status.state == "interrupted":
        problem = f"The training's process ended at step {status.step}, before its time."
        print(f"error: {problem}\n{_go_on_hint(out)}", file=sys.stderr)
        document["error"] = {"problem": problem, "fix": _go_on_hint(out)}
        return Result(document, lines, 1)
    terminal.note(f"The run is {status.state} and kept. {_go_on_hint(out)}")
    return Result(document, lines, STOPPED)


def _go_on_hint(out: Path) -> str:
    return f"Go on with: mind2mind transfer --resume --out {out}"


def _standing(status: "RunStatus") -> str:
    """Where a run stands, in some words."""
    if status.state == "queued":
        return "waiting for its turn"
    parts = [f"step {status.step} of {status.total_steps}"] if status.total_steps else [status.state]
    if status.seconds_left is not None:
        parts.append(f"{status.seconds_left:.0f} s left")
    if status.quality is not None:
        floor = "" if status.floor is None else f" (best possible {status.floor:.3f})"
        parts.append(f"quality {status.quality:.3f}{floor}")
    return ", ".join(parts)


PRETRAIN_RECIPE_HELP = (
    "default learns to rebuild, at full size from the start; paper is ALAE's own adversarial training, which also "
    "learns to sample. It grows from 4 px, and each size gets the share of all pictures that the published "
    "settings give it. The published trainings saw 3,600 kimg (mnist) to 85,000 kimg (bedroom)."
)


@door(
    "mind2mind pretrain photos/ --architecture toon64 --minutes 60 --out my-source",
    "mind2mind pretrain photos/ --architecture toon64 --kimg 500 --out my-source --resume",
)
def pretrain(
    terminal: Terminal,
    pictures: PicturesArgument,
    out: Annotated[Path, typer.Option(help="The folder of the new bundle.", show_default=False)],
    architecture: Annotated[str, typer.Option(help=f"One of: {', '.join(ARCHITECTURES)}.")] = "toon64",
    recipe: Annotated[str, typer.Option(help=PRETRAIN_RECIPE_HELP)] = PRETRAIN_DEFAULT.name,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="How long to train; or --kimg.")] = None,
    kimg: Annotated[
        float | None, typer.Option(min=0.001, help="Thousands of pictures to see in all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    start: Annotated[
        Path | None,
        typer.Option(help="The folder of a source of this architecture to begin with.", show_default="none"),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="What the model is called.", show_default="the folder's name")
    ] = None,
    knows: Annotated[str, typer.Option(help="What it knows, in a line.")] = "what it was trained on",
    credit: Annotated[str, typer.Option(help="Who made the pictures.")] = "not stated",
    licence: Annotated[str, typer.Option(help="Of the model.")] = "not stated",
) -> Result:
    """Train a source model (an ALAE) on some thousands of pictures of one kind."""
    sizes = choice_of("architecture", architecture, ARCHITECTURES)
    chosen = choice_of("recipe", recipe, PRETRAIN_RECIPES)
    if (minutes is None) == (kimg is None):
        raise ConfigError("The length of the training is not clear.", "Give either --minutes or --kimg.")
    if not resume and any((out / name).exists() for name in ("last.safetensors", "model.safetensors")):
        raise RunError(f"There is already a training in {out}.", "Add --resume, or choose another --out.")
    from mind2mind.checkpoints import Card
    from mind2mind.make_source import make_source
    from mind2mind.studio import pick_device

    name = out.resolve().name
    card = Card(id=name, title=title or name, knows=knows, credit=credit, licence=licence)
    with stop_on_ctrl_c(terminal) as stop:
        events = make_source(
            pictures, sizes, chosen, folder_of(out), kimg=kimg, minutes=minutes, seed=seed, resume=resume,
            start=start, device=pick_device(terminal.device), card=card, should_stop=stop,
        )  # fmt: skip
        return _make(terminal, events, stop, out)


def _make(terminal: Terminal, events: "Iterator[MakeEvent]", stop: StopRequest, out: Path) -> Result:
    from mind2mind.files import read_meta
    from mind2mind.make_source import Loading, Made, PriorProgress
    from mind2mind.pretrain import PretrainProgress

    made: Made | None = None
    kimg: float | None = None
    with terminal.bar("Preparing") as bar:
        for event in events:
            if isinstance(event, Loading):
                bar.show(event.done, event.total, f"{event.done} of {event.total} pictures", "Loading")
            elif isinstance(event, PretrainProgress):
                kimg = event.kimg
                note = (
                    f"{kimg:.1f} of {event.total_kimg:.1f} kimg, {event.seconds_left / 60:.0f} min left, "
                    f"held out {event.held_out_psnr:.1f} dB at {event.resolution} px"
                )
                bar.show(kimg, event.total_kimg, note, "Training")
            elif isinstance(event, PriorProgress):
                bar.show(event.step, event.total_steps, f"step {event.step} of {event.total_steps}", "Prior")
            elif isinstance(event, Made):
                made = event
            if stop() and isinstance(event, (Loading, PriorProgress)):
                break  # the training itself looks at `stop`, and saves
    if made is None:
        kept = (out / "last.safetensors").exists()
        if kept:  # more was trained since the last event
            kimg = read_meta(out / "last.safetensors")["kimg"]
        terminal.note(
            "Stopped; the same command with --resume goes on." if kept else "Stopped before it began."
        )
        return Result({"state": "stopped", "folder": out, "kimg": kimg}, code=STOPPED)
    preview = out / "preview.png"
    document = {"state": "done", "bundle": made.folder, "samples": preview, "numbers": made.card.numbers}
    return Result(document, [str(preview), str(made.folder)])
