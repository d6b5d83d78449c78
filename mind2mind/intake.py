"""From a user's pictures to codes: encoded once, and checked against what the model can rebuild."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from mind2mind import codes, gallery, verdict
from mind2mind.checkpoints import Model
from mind2mind.codes import Codes, EncodeProgress
from mind2mind.config import Crop, Limits
from mind2mind.datasets import Picture, Pictures
from mind2mind.errors import DataError
from mind2mind.images import to_image
from mind2mind.report import NOTHING, Report

SHOWN = 8  # pictures before and after the crop, at most
CHECKED = 32  # pictures that the mean PSNR is measured on, drawn from all of them; fewer of large ones


@dataclass(frozen=True, eq=False)
class Encoding:
    """What became of the pictures. The last event of an encoding."""

    codes: Codes
    report: Report
    psnr_mean: float  # dB, of the reconstructions of up to CHECKED pictures
    verdict: str  # whether the model knows them, in words
    reason: str  # a sentence of why: see the module `verdict`
    aligned: tuple[tuple[Image.Image, Image.Image], ...] = ()  # some, before and after the crop; small
    judged: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # name: PSNR, score; dB
    seconds: float = 0.0  # reading and encoding took


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run that waits for its start. The last event of `Studio.prepare`."""

    token: str  # what the run is called by from now on
    folder: Path
    report: Report
    count: int  # pictures that will be trained on
    psnr_mean: float
    verdict: str
    reason: str
    model: str = ""  # the source: a catalogue id or a folder
    crop: str = "centre"
    excluded: tuple[str, ...] = ()  # names of pictures that are not trained on
    near: tuple[tuple[str, str], ...] = ()  # names: a near duplicate, and the picture it is like
    judged: int = 0  # pictures that the verdict rests on
    seconds: float = 0.0  # reading and encoding took
    others: tuple[Mapping[str, str], ...] = ()  # models that know them better: id, title, verdict, reason


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture as the model sees it, and G(E(picture)); psnr in dB."""

    name: str
    original: Image.Image
    rebuilt: Image.Image
    psnr: float
    aligned: tuple[Image.Image, Image.Image] | None = None  # small: before and after, where that differs


def pictures_for(
    model: Model, sources: Sequence[Path], crop: Crop | None, limits: Limits, before: Report = NOTHING
) -> Pictures:
    """The readable pictures among `sources`, at the model's size; without a crop, cut as its card says."""
    a = model.alae.architecture
    return Pictures(
        sources,
        resolution=a.resolution,
        channels=a.image_channels,
        crop=crop or model.card.crop,
        faces_wanted=model.card.crop == "face",
        limits=limits,
        before=before,
    )


def encode(
    model: Model, pictures: Pictures, known: Codes | None = None
) -> Iterator[EncodeProgress | Encoding]:
    """Encodes every picture that is not among the `known` ones, and rebuilds some.

    Raises:
        DataError: none of them can be used.
    """
    some = _Some(pictures, max(8, min(CHECKED, 2 * gallery.batch_size(model.alae))))
    encoded: Codes | None = None
    begun = time.monotonic()
    for event in codes.encode(model, some, known=known):
        if isinstance(event, codes.Encoded):
            encoded = event.codes
        else:
            yield EncodeProgress(event.done, pictures.count)
    report = pictures.report
    if encoded is None or not some.kept:
        raise DataError(_why_none(report), "Give pictures (PNG, JPEG, WebP ...): files, folders or a zip.")
    pixels = torch.stack([picture.pixels for picture in some.kept])
    _, ratios = gallery.rebuild(model, pixels)
    mean = sum(ratios) / len(ratios)
    values = verdict.scores(pixels, torch.tensor(ratios))
    judged = verdict.judge(values, model.card.numbers)
    scored = {p.name: (float(r), float(v)) for p, r, v in zip(some.kept, ratios, values, strict=True)}
    seconds = time.monotonic() - begun
    aligned = _cropped(pictures, some.kept, report)
    yield Encoding(encoded, report, mean, judged.word, judged.reason, aligned, scored, seconds)


def _cropped(
    pictures: Pictures, kept: Sequence[Picture], report: Report
) -> tuple[tuple[Image.Image, Image.Image], ...]:
    """Some before and after the crop, where it changes anything."""
    if pictures.looks:
        return tuple(picture.aligned for picture in kept if picture.aligned)[:SHOWN]
    oblong = {v.name for v in report.used if v.width != v.height}
    names = [picture.name for picture in kept if picture.name in oblong]
    return tuple(pictures.before_and_after(names[:SHOWN]))


def _why_none(report: Report) -> str:
    reasons = ", ".join(
        f"{count} x {reason.rstrip('.')}" for reason, count in report.reasons().most_common(5)
    )
    return f"None of the pictures can be used ({reasons})." if reasons else "There are no pictures."


class _Some:
    """Passes pictures on and keeps an even draw of them (reservoir sampling, the same draw each time)."""

    def __init__(self, pictures: Iterable[Picture], count: int) -> None:
        self.pictures, self.count = pictures, count
        self.kept: list[Picture] = []

    def __iter__(self) -> Iterator[Picture]:
        draw = random.Random(0)
        for number, picture in enumerate(self.pictures):
            place = number if number < self.count else draw.randrange(number + 1)
            if place < self.count:
                self.kept[place : place + 1] = [picture]
            yield picture


def reconstruct(model: Model, pictures: Pictures) -> Iterator[Reconstruction | Report]:
    """Each usable picture beside what the model makes of it; the report on all files comes last."""
    for picture in pictures:
        (rebuilt,), (ratio,) = gallery.rebuild(model, picture.pixels[None])
        original = to_image(picture.pixels)
        aligned = picture.aligned if pictures.crop == "face" else None  # else it is only what would be
        yield Reconstruction(picture.name, original, rebuilt, float(ratio), aligned)
    yield pictures.report
