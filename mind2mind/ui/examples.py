"""The example sets in `assets/`: a folder of pictures each, with an about.json that says whose they are."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mind2mind.errors import DataError
from mind2mind.files import read_json
from mind2mind.images import grid

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SHOWN = 9


@dataclass(frozen=True)
class Example:
    """A set of pictures to try a transfer with."""

    files: tuple[Path, ...]
    title: str
    credit: str
    models: tuple[str, ...] = ()  # ids of the source models it suits, the best one first; none: any

    def source(self, chosen: str) -> str:
        """The source model to take: the chosen one if the set suits it, else the set's own."""
        return chosen if not self.models or chosen in self.models else self.models[0]

    def collage(self) -> Image.Image:
        """The first pictures side by side."""
        opened = []
        for path in self.files[:SHOWN]:
            with Image.open(path) as image:
                opened.append(image.convert("RGB"))
        return grid([image.resize(opened[0].size) for image in opened])


def examples(assets: Path = ASSETS, models: Collection[str] | None = None) -> list[Example]:
    """What there is, by name; a folder without a readable about.json or without pictures is none.

    Given the ids of the source models there are, sets that suit none of them are left out.
    """
    found = []
    for about in sorted(assets.glob("*/about.json")):
        files = tuple(sorted(about.parent.glob("*.png")))
        try:
            told = read_json(about)
        except DataError:
            continue
        suits = tuple(map(str, told.get("models", ())))
        there = suits if models is None else tuple(model for model in suits if model in models)
        if files and (there or not suits):
            title = str(told.get("title", about.parent.name))
            found.append(Example(files, title, str(told.get("credit", "")), there))
    return found
