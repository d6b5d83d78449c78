"""What a bundle says of itself: config.json for programs, README.md (the card) for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from mind2mind.config import Crop
from mind2mind.errors import DataError, WeightsError
from mind2mind.files import read_json, write_json, write_text

CONFIG, CARD, PREVIEW, WEIGHTS = "config.json", "README.md", "preview.png", "model.safetensors"
PARTS = (CONFIG, CARD, PREVIEW, WEIGHTS)  # of a bundle: all there is in its folder
SOURCE, TRANSFER, VERSION = "mind2mind/source", "mind2mind/transfer", 1
LONGEST = 200  # characters of an id or a title
AGAIN = "Download or make the model again."


@dataclass(frozen=True)
class Card:
    """What a person wants to know of a model."""

    id: str
    title: str
    knows: str  # one line: what it knows
    credit: str
    licence: str
    numbers: dict[str, Any] = field(default_factory=dict)  # name -> value, as measured
    notes: str = ""
    crop: Crop = "centre"  # of the pictures it was trained on


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a bundle, of a format and version that this program knows.

    Raises:
        WeightsError: it is missing, damaged, or of another program or version.
    """
    try:
        config = read_json(folder / CONFIG)
    except DataError as error:
        fix = f"Give the folder of a model: one with {WEIGHTS} and {CONFIG}."
        raise WeightsError(f"{folder} is not a model's folder: {error.problem}", fix) from error
    if config.get("format") not in (SOURCE, TRANSFER):
        fix = "Give a model made by Mind2Mind; official files go through `convert`."
        raise WeightsError(f"{folder / CONFIG} is of the format {config.get('format')!r}.", fix)
    if config.get("version") != VERSION:
        raise WeightsError(
            f"{folder / CONFIG} is of version {config.get('version')}, not {VERSION}.", "Update Mind2Mind."
        )
    return config


def expect(folder: Path, kind: str) -> dict[str, Any]:
    """The config.json of a bundle that is to be a SOURCE or a TRANSFER; WeightsError if it is not."""
    config = read_config(folder)
    if config["format"] != kind:
        found = config["format"].partition("/")[2]
        fix = "Give the one that is asked for: a transfer opens with its source, a source by itself."
        raise WeightsError(f"{folder} holds a {found}, not a {kind.partition('/')[2]}.", fix)
    return config


def card_from(config: Mapping[str, Any], folder: Path) -> Card:
    """The card that the config.json in `folder` holds; WeightsError if it is damaged."""
    try:
        card = Card(**{f.name: config[f.name] for f in fields(Card) if f.name != "crop" or "crop" in config})
    except KeyError as error:
        raise WeightsError(f"{folder / CONFIG} lacks {error}.", AGAIN) from error
    texts = (card.id, card.title, card.knows, card.credit, card.licence, card.notes)
    if (
        not all(isinstance(text, str) for text in texts)
        or max(map(len, texts[:2])) > LONGEST
        or not isinstance(card.numbers, dict)
        or card.crop not in get_args(Crop)
    ):
        raise WeightsError(f"The card in {folder / CONFIG} is damaged.", AGAIN)
    return card


def official_card(path: Path, out: Path, what: str, credit: str) -> Card:
    """Of an official file that goes into the folder `out`, whose name is the model's id."""
    knows = "what it was trained on by its authors"
    return Card(
        out.resolve().name,
        f"{what} ({path.name})",
        knows,
        credit,
        "Apache-2.0",
        notes="Converted from the official file.",
    )


def write_config(
    folder: Path, kind: str, card: Card, rest: dict[str, Any], settings: Mapping[str, Any]
) -> None:
    """Writes a bundle's config.json, with `rest` for its weights, and its card, which lists `settings`."""
    write_json(folder / CONFIG, {"format": kind, "version": VERSION, **asdict(card), **rest})
    write_text(folder / CARD, card_text(card, kind.partition("/")[2], settings))


def usage(ref: str) -> str:
    """The line of Python that draws with a model by its folder, or by its id in the catalogue."""
    return f"pictures = mind2mind.Studio().sample({json.dumps(ref)}, seeds=range(16))"


def card_text(card: Card, kind: str, settings: Mapping[str, Any]) -> str:
    """A bundle's README.md."""

    def table(head: str, rows: Mapping[str, Any]) -> str:
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join([f"## {head}", "", "| | |", "|---|---|", *lines]) if lines else ""

    parts = [
        f"# {card.title}",
        f"![Samples]({PREVIEW})",
        f"A {kind} model of Mind2Mind. It knows: {card.knows}.",
        f"Licence: {card.licence}. Credit: {card.credit}.",
        card.notes,
        table("Numbers", card.numbers),
        table("Settings", settings),
        f"## Use\n\nIn the folder that holds this model's folder:\n\n"
        f"```python\nimport mind2mind\n\n{usage(card.id)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def slug(title: str) -> str:
    """A title as an id: letters, digits and hyphens, at most 40."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return "-".join(part for part in plain.split("-") if part)[:40].strip("-") or "transfer"


def transfer_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a transfer lists as its settings, from its config.json."""
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in config["sizes"].items()}
    return {"source model": config["source"]["id"] or "not recorded", **sizes, **config["extra"]}


def retitle(folder: Path, title: str) -> None:
    """Gives the bundle of a transfer another title and id, in its config and on its card."""
    config = expect(folder, TRANSFER)
    card = replace(card_from(config, folder), title=title, id=slug(title))
    rest = {name: config[name] for name in ("sizes", "source", "extra")}
    write_config(folder, TRANSFER, card, rest, transfer_settings(config))
