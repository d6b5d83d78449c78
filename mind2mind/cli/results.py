"""Commands for what came out: runs (the app's list), result (of one run), publish (a model to the Hub)."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mind2mind.cli.common import Result, Terminal, door
from mind2mind.cli.models import check_online
from mind2mind.errors import ConfigError


@door("mind2mind runs", "mind2mind runs --rename TOKEN --title Ducks", "mind2mind runs --delete TOKEN")
def runs(
    terminal: Terminal,
    rename: Annotated[str | None, typer.Option(metavar="TOKEN", help="Give this run a --title.")] = None,
    title: Annotated[str | None, typer.Option(help="The new title of the run and its model.")] = None,
    delete: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Delete this run with all that belongs to it.")
    ] = None,
) -> Result:
    """List the app's runs on this computer; rename or delete one. A run made here is a folder of yours."""
    from mind2mind.remote import size_text

    if (rename is None) != (title is None):
        raise ConfigError("--rename and --title go together.", "Give both.")
    studio = terminal.studio()
    if rename is not None and title is not None:
        studio.rename(rename, title)
    if delete is not None:
        studio.delete(delete)
        terminal.note(f"{delete} is gone.")
    entries = studio.entries()
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
    "mind2mind result my-run",
    "mind2mind result my-run --out everything.zip",
    "mind2mind result my-run --film training.mp4",
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
    found = studio.outcome(run)
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
        "film": studio.film(run, film) if film else None,
        "everything": studio.everything(run, out) if out else None,
    }
    lines = [found.quality.told] if found.quality else []
    lines += [originality.told, f"Again: {found.command}"]
    return Result(
        document, [*lines, *(str(document[key]) for key in ("film", "everything") if document[key])]
    )


@door("mind2mind publish my-run me/ducks", "mind2mind publish my-run me/ducks --public")
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
    card = studio.card_for(model, repository)
    if show:
        return Result({"card": card}, [card])
    check_online("publish")
    url = studio.publish(model, repository, private=not public)
    return Result({"url": url, "private": not public}, [url])
