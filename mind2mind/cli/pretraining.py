"""The command pretrain: some thousands of pictures of one kind become a source model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mind2mind.cli.arguments import PicturesArgument, choice_of, folder_of
from mind2mind.cli.common import STOPPED, Result, StopRequest, Terminal, door, stop_on_ctrl_c
from mind2mind.config import ARCHITECTURES, PRETRAIN_DEFAULT, PRETRAIN_RECIPES, PRIOR_STEPS
from mind2mind.errors import ConfigError, RunError

if TYPE_CHECKING:
    from mind2mind.make_source import MakeEvent

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
    prior_steps: Annotated[
        int,
        typer.Option(min=1, help="Of the MindGAN that draws the samples, where the recipe does not train F."),
    ] = PRIOR_STEPS,
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
    from mind2mind.cards import WEIGHTS, Card
    from mind2mind.library import pick_device
    from mind2mind.make_source import make_source
    from mind2mind.pretrain import CHECKPOINT

    if not resume and any((out / name).exists() for name in (CHECKPOINT, WEIGHTS)):
        raise RunError(f"There is already a training in {out}.", "Add --resume, or choose another --out.")
    name = out.resolve().name
    card = Card(id=name, title=title or name, knows=knows, credit=credit, licence=licence)
    with stop_on_ctrl_c(terminal) as stop:
        events = make_source(
            pictures, sizes, chosen, folder_of(out), kimg=kimg, minutes=minutes, seed=seed, resume=resume,
            start=start, device=pick_device(terminal.device), card=card, prior_steps=prior_steps,
            should_stop=stop,
        )  # fmt: skip
        return _make(terminal, events, stop, out)


def _make(terminal: Terminal, events: "Iterator[MakeEvent]", stop: StopRequest, out: Path) -> Result:
    from mind2mind.cards import PREVIEW
    from mind2mind.files import read_meta
    from mind2mind.make_source import Loading, Made, PriorProgress
    from mind2mind.pretrain import CHECKPOINT, PretrainProgress

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
        kept = (out / CHECKPOINT).exists()
        if kept:  # more was trained since the last event
            kimg = read_meta(out / CHECKPOINT)["kimg"]
        terminal.note(
            "Stopped; the same command with --resume goes on." if kept else "Stopped before it began."
        )
        return Result({"state": "stopped", "folder": out, "kimg": kimg}, code=STOPPED)
    preview = out / PREVIEW
    document = {"state": "done", "bundle": made.folder, "samples": preview, "numbers": made.card.numbers}
    return Result(document, [str(preview), str(made.folder)])
