"""The catalogue of models: which there are, where they lie, and what their cards say.

Bundled models are the folders of `weights/` beside the package that hold a bundle, downloaded ones those of
`downloads/` in the home. A model is known by its id, which is the folder's name (`owner--name` is the Hub's
`owner/name`).
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mind2mind.cards import CONFIG, PREVIEW, SOURCE, read_config
from mind2mind.config import Architecture
from mind2mind.errors import ConfigError, WeightsError
from mind2mind.remote import folder_name, id_of

log = logging.getLogger(__name__)

FIRST = "toon64"  # the model that the app begins with
MOST_TOLD = 1000  # characters of each line of a card


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model's card, without its weights."""

    id: str
    title: str
    knows: str  # one line: what it knows
    credit: str
    licence: str
    kind: str  # source or transfer
    resolution: int | None  # pixels a side; None for a transfer, which draws as its source does
    channels: int | None  # 1 or 3
    numbers: dict[str, Any]
    preview: Path | None
    folder: Path
    notes: str = ""
    crop: str = "centre"  # of the pictures it was trained on


def weights_folder() -> Path:
    """Where the bundled models lie: `$MIND2MIND_WEIGHTS`, or `weights/` beside the package."""
    given = os.environ.get("MIND2MIND_WEIGHTS")
    return Path(given) if given else Path(__file__).resolve().parent.parent / "weights"


def describe(folder: Path) -> ModelInfo:
    """What the bundle in `folder` says of itself.

    Raises:
        WeightsError: there is no bundle, or its config.json is damaged.
    """
    config = read_config(folder)
    try:
        is_source = config["format"] == SOURCE
        architecture = Architecture.from_dict(config["architecture"]) if is_source else None
        preview = folder / PREVIEW
        return ModelInfo(
            **{name: _line(config[name]) for name in ("id", "title", "knows", "credit", "licence")},
            kind="source" if is_source else "transfer",
            resolution=architecture.resolution if architecture else None,
            channels=architecture.image_channels if architecture else None,
            numbers=dict(config.get("numbers", {})),
            preview=preview if preview.exists() else None,
            folder=folder,
            notes=str(config.get("notes", "")),
            crop=str(config.get("crop", "centre")),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise WeightsError(
            f"The config.json in {folder} is damaged: {error}.", "Copy or make the model again."
        ) from error


def _line(value: object) -> str:
    """One line for a page or a terminal, whatever a stranger wrote on the card."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[:MOST_TOLD])
    return " ".join(text.split())


def named_source(config: Mapping[str, Any]) -> str | None:
    """The id of the source that a transfer's config names, "" if it names none; None for a source."""
    if config["format"] == SOURCE:
        return None
    made_on = config.get("source")
    return str(made_on.get("id", "")) if isinstance(made_on, dict) else ""


def downloads_folder(home: Path) -> Path:
    """Where downloaded models lie."""
    return home / "downloads"


def catalogue(*shelves: Path) -> list[ModelInfo]:
    """The models in these folders, FIRST and then by name; damaged ones are left out, with a warning in the log."""
    found: dict[str, ModelInfo] = {}
    for config in (config for shelf in shelves for config in sorted(shelf.glob(f"*/{CONFIG}"))):
        try:
            model_id = id_of(config.parent.name)
            found.setdefault(model_id, replace(describe(config.parent), id=model_id))
        except WeightsError as error:  # noqa: PERF203
            log.warning("%s", error)
    return sorted(found.values(), key=lambda info: info.id != FIRST)  # the others stay as they are


def bundled(shelf: Path, model_id: str) -> Path | None:
    """The folder of a catalogue id in this folder, or None."""
    name = folder_name(model_id)
    plain = name == Path(name).name and not name.startswith(".") and len(name) < 200 and "\0" not in name
    folder = shelf / name
    return folder if plain and (folder / CONFIG).exists() else None


def shelved(shelves: Sequence[Path], model_id: str) -> Path | None:
    """The folder of a catalogue id in the first of these folders that has it, or None."""
    return next(filter(None, (bundled(shelf, model_id) for shelf in shelves)), None)
