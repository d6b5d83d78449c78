"""Commands around files and the installation: make-data, models, convert."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from mind2mind.cli.arguments import choice_of, folder_of
from mind2mind.cli.common import Result, Terminal, door
from mind2mind.config import ARCHITECTURES
from mind2mind.errors import DataError

COLLECTIONS = {"toon": "toon heads whose every attribute is known"}


@door(
    "mind2mind make-data toon --domain source --count 8000 --out data/source",
    "mind2mind make-data toon --domain bearded --count 200 --size 64 --seed 1 --out data/bearded",
)
def make_data(
    terminal: Terminal,
    collection: Annotated[str, typer.Argument(help=f"One of: {', '.join(COLLECTIONS)}.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="The folder for the PNGs and attributes.jsonl.", show_default=False)
    ],
    domain: Annotated[str, typer.Option(help="source, bearded, aliens or neonhair.")] = "source",
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many pictures.")] = 200,
    size: Annotated[int, typer.Option(min=8, max=2048, help="Pixels a side.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Picture i is face number seed + i.")] = 0,
) -> Result:
    """Draw a set of pictures whose attributes are known, with the attributes as JSON lines."""
    choice_of("collection", collection, COLLECTIONS)
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


@door("mind2mind models", "mind2mind models --json")
def models(terminal: Terminal) -> Result:
    """List the models that are there or can be had."""
    rows = [
        {
            "id": info.id,
            "title": info.title,
            "kind": info.kind,
            "resolution": info.resolution,
            "channels": info.channels,
            "knows": info.knows,
            "licence": info.licence,
            "credit": info.credit,
            "numbers": info.numbers,
        }
        for info in terminal.studio().models()
    ]
    width = max((len(str(row["id"])) for row in rows), default=0)
    lines = [
        f"{row['id']:<{width}}  {row['kind']:<8}  {row['resolution'] or '':>4} px  {row['knows']}"
        for row in rows
    ]
    if not rows:
        terminal.note("There is no model here. Make one with `mind2mind pretrain` or `mind2mind convert`.")
    return Result({"models": rows}, lines)


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
    from mind2mind import checkpoints

    with terminal.bar("Converting"):
        bundle = checkpoints.convert(
            file,
            out,
            architecture=sizes,
            parameters=parameters,
            source=None if source is None else terminal.studio().model(source),
        )
    return Result({"bundle": bundle}, [str(bundle)])
