"""What a bundle says of itself: config.json for programs, README.md (the card) for people."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mind2mind.config import Crop
from mind2mind.errors import DataError, WeightsError
from mind2mind.files import read_json, write_json, write_text

CONFIG, CARD = "config.json", "README.md"
SOURCE, TRANSFER, VERSION = "mind2mind/source", "mind2mind/transfer", 1
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
        fix = "Give the folder of a model: one with model.safetensors and config.json."
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
    config = read_config(folder)
    if config["format"] != kind:
        found = config["format"].partition("/")[2]
        fix = "Give the one that is asked for: a transfer opens with its source, a source by itself."
        raise WeightsError(f"{folder} holds a {found}, not a {kind.partition('/')[2]}.", fix)
    return config


def card_from(config: Mapping[str, Any], folder: Path) -> Card:
    try:
        return Card(**{f.name: config[f.name] for f in fields(Card) if f.name != "crop" or "crop" in config})
    except KeyError as error:
        raise WeightsError(f"{folder / CONFIG} lacks {error}.", AGAIN) from error


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
    write_json(folder / CONFIG, {"format": kind, "version": VERSION, **asdict(card), **rest})
    write_text(folder / CARD, card_text(card, kind.partition("/")[2], settings))


def card_text(card: Card, kind: str, settings: Mapping[str, Any]) -> str:
    """A bundle's README.md."""

    def table(head: str, rows: Mapping[str, Any]) -> str:
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join([f"## {head}", "", "| | |", "|---|---|", *lines]) if lines else ""

    line = f'mind2mind.Studio().sample("path/to/{card.id}", seeds=range(16))'
    parts = [
        f"# {card.title}",
        "![Samples](preview.png)",
        f"A {kind} model of Mind2Mind. It knows: {card.knows}.",
        f"Licence: {card.licence}. Credit: {card.credit}.",
        card.notes,
        table("Numbers", card.numbers),
        table("Settings", settings),
        f"## Use\n\n```python\nimport mind2mind\n\n{line}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
