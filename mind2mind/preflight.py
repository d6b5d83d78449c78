"""Before any training: whether another installed model knows the pictures better, and what to do if none does."""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from mind2mind import gallery, verdict
from mind2mind.config import Crop
from mind2mind.datasets import Pictures
from mind2mind.errors import Mind2MindError
from mind2mind.intake import Encoding, Prepared
from mind2mind.library import Library
from mind2mind.sources import ModelInfo

log = logging.getLogger(__name__)

SAMPLE = 16  # pictures that another model is judged by
SECONDS = 5.0  # after which no further model is tried
SMALL = 64  # px; models of such pictures take a blink
LARGEST = 256  # px; models of larger pictures take seconds for each, so they are named, not tried
Surveyed = dict[str, dict[str, float]]  # by a model's id and a picture's name: its score, dB
RANKS = {verdict.USABLE: 1, verdict.GOOD: 2}


@dataclass(frozen=True)
class Rivals:
    """The other installed models: what they make of the pictures of a set, and which of them know it better."""

    library: Library
    present: str  # the id of the model that the set was read with

    def scores(self, pictures: Pictures, made: Encoding) -> Surveyed:
        """The scores of the first SAMPLE of the pictures judged in `made`; kept, since the pictures are not.

        Where there is nothing to gain, only small models are tried: more pictures may change that.
        """
        names, begun = list(made.judged)[:SAMPLE], time.monotonic()
        found: Surveyed = {}
        for info in self._models(SMALL if made.verdict == verdict.GOOD else LARGEST):
            if time.monotonic() - begun > SECONDS:
                break
            try:
                found[info.id] = _scores(self.library, info, pictures, names)
            except Mind2MindError as error:
                log.warning("%s could not be tried: %s", info.id, error)
        return found

    def better(self, surveyed: Surveyed, excluded: Collection[str], word: str) -> list[dict[str, str]]:
        """The models that know what is left better than `word` says of the present one, the best first."""
        found = []
        for info in self._models(LARGEST):
            scores = surveyed.get(info.id, {})
            left = [score for name, score in scores.items() if name not in excluded] or list(scores.values())
            if not left:
                continue
            judged = verdict.judge(torch.tensor(left), info.numbers)
            if RANKS.get(judged.word, 0) > RANKS.get(word, 0):
                found.append((RANKS[judged.word], judged.score, info, judged))
        return [
            {"id": info.id, "title": info.title, "verdict": judged.word, "reason": judged.reason}
            for *_, info, judged in sorted(found, key=lambda each: each[:2], reverse=True)
        ]

    def _models(self, largest: int) -> list[ModelInfo]:
        others = (m for m in self.library.models() if m.kind == "source" and m.id != self.present)
        return [m for m in others if (m.resolution or largest + 1) <= largest and m.crop != "face"]


def _scores(library: Library, info: ModelInfo, pictures: Pictures, names: Sequence[str]) -> dict[str, float]:
    model = library.source(info.id)
    a = model.alae.architecture
    crop: Crop = "centre" if pictures.crop == "face" else pictures.crop
    again = list(pictures.again(names, resolution=a.resolution, channels=a.image_channels, crop=crop))
    if not again:
        return {}
    pixels = torch.stack([picture.pixels for picture in again])
    _, ratios = gallery.rebuild(model, pixels)
    values = verdict.scores(pixels, torch.tensor(ratios)).tolist()
    return {picture.name: value for picture, value in zip(again, values, strict=True)}


def ways_out(prepared: Prepared) -> list[str]:
    """What can be done when the model does not know the pictures; nothing if it does."""
    ways = [f"{other['title']} knows them better ({other['verdict']}): take it." for other in prepared.others]
    if prepared.verdict != verdict.UNKNOWN:
        return ways
    return [
        *ways,
        "For photographs of faces there is the official FFHQ model: get it under Models, or by "
        "`mind2mind download ffhq`.",
        "With some thousands of pictures of this kind, train a source model of your own: `mind2mind pretrain`.",
        "Or go on all the same: the result will look like the reconstructions.",
    ]
