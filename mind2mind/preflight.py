"""Before any training: whether another installed model knows the pictures better, and what to do if none does."""

import logging
import time
from collections.abc import Sequence

import torch

from mind2mind import gallery, verdict
from mind2mind.config import Crop
from mind2mind.datasets import Pictures
from mind2mind.errors import Mind2MindError
from mind2mind.intake import Prepared
from mind2mind.library import Library
from mind2mind.sources import ModelInfo

log = logging.getLogger(__name__)

SAMPLE = 16  # pictures that another model is judged by
SECONDS = 5.0  # after which no further model is tried
LARGEST = 256  # px; models of larger pictures take seconds for each, so they are named, not tried
RANKS = {verdict.USABLE: 1, verdict.GOOD: 2}


def others(
    library: Library, models: Sequence[ModelInfo], pictures: Pictures, names: Sequence[str], word: str
) -> list[dict[str, str]]:
    """The models that know these pictures better than `word` says of the present one, the best first.

    Args:
        library: opens them.
        models: what is installed.
        pictures: the set that was read.
        names: pictures of it to judge by; the first SAMPLE are.
        word: the verdict on the present model.
    """
    found, begun = [], time.monotonic()
    for info in models:
        if RANKS.get(word, 0) == max(RANKS.values()) or time.monotonic() - begun > SECONDS:
            break
        if info.kind != "source" or (info.resolution or LARGEST + 1) > LARGEST or info.crop == "face":
            continue
        try:
            judged = _judged(library, info, pictures, names[:SAMPLE])
        except Mind2MindError as error:
            log.warning("%s could not be tried: %s", info.id, error)
            continue
        if judged is not None and RANKS.get(judged.word, 0) > RANKS.get(word, 0):
            found.append((RANKS[judged.word], judged.score, info, judged))
    return [
        {"id": info.id, "title": info.title, "verdict": judged.word, "reason": judged.reason}
        for *_, info, judged in sorted(found, key=lambda each: each[:2], reverse=True)
    ]


def _judged(
    library: Library, info: ModelInfo, pictures: Pictures, names: Sequence[str]
) -> verdict.Verdict | None:
    model = library.source(info.id)
    a = model.alae.architecture
    crop: Crop = "centre" if pictures.crop == "face" else pictures.crop
    again = list(pictures.again(names, resolution=a.resolution, channels=a.image_channels, crop=crop))
    if not again:
        return None
    pixels = torch.stack([picture.pixels for picture in again])
    _, ratios = gallery.rebuild(model, pixels)
    return verdict.judge(verdict.scores(pixels, torch.tensor(ratios)), model.card.numbers)


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
