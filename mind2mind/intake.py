"""From a user's pictures to codes: encoded once, and checked against what the model can rebuild."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mind2mind import codes, gallery, verdict
from mind2mind.checkpoints import Model
from mind2mind.codes import Codes, EncodeProgress
from mind2mind.config import Crop, Limits
from mind2mind.datasets import Picture, Pictures, Report
from mind2mind.errors import DataError, RunError
from mind2mind.files import read_json, write_json
from mind2mind.images import grid, save_png, to_image
from mind2mind.runs import Run, occupied

SHOWN = 8  # pictures before and after their faces are aligned, at most
CHECKED = 32  # pictures that the mean PSNR is measured on, drawn from all of them; fewer of large ones


@dataclass(frozen=True, eq=False)
class Encoding:
    """What became of the pictures. The last event of an encoding."""

    codes: Codes
    report: Report
    psnr_mean: float  # dB, of the reconstructions of up to CHECKED pictures
    verdict: str  # whether the model knows them, in words
    reason: str  # a sentence of why: see the module `verdict`
    aligned: tuple[tuple[Image.Image, Image.Image], ...] = ()  # some, before and after; small


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run that waits for its start. The last event of `Studio.prepare`."""

    token: str  # what the run is called by from now on
    folder: Path
    report: Report
    count: int  # pictures that were encoded
    psnr_mean: float
    verdict: str
    reason: str


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture as the model sees it, and G(E(picture)); psnr in dB."""

    name: str
    original: Image.Image
    rebuilt: Image.Image
    psnr: float
    aligned: tuple[Image.Image, Image.Image] | None = None  # small: before and after, where that differs


def pictures_for(model: Model, sources: Sequence[Path], crop: Crop | None, limits: Limits) -> Pictures:
    """The readable pictures among `sources`, at the model's size; without a crop, cut as its card says."""
    a = model.alae.architecture
    return Pictures(
        sources,
        resolution=a.resolution,
        channels=a.image_channels,
        crop=crop or model.card.crop,
        faces_wanted=model.card.crop == "face",
        limits=limits,
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
    judged = verdict.judge(verdict.scores(pixels, torch.tensor(ratios)), model.card.numbers)
    aligned = tuple(picture.aligned for picture in some.kept if picture.aligned)[:SHOWN]
    yield Encoding(encoded, report, mean, judged.word, judged.reason, aligned)


def keep(
    run: Run, encoding: Iterator[EncodeProgress | Encoding], info: Mapping[str, Any]
) -> Iterator[EncodeProgress | Prepared]:
    """Writes what an encoding ends with into the run's folder; nothing is written before that."""
    for event in encoding:
        if isinstance(event, EncodeProgress):
            yield event
            continue
        made, report = event.codes, event.report
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.hold():
            if occupied(run.folder):  # somebody was quicker
                raise RunError(f"There is already a run in {run.folder}.", "Choose another folder.")
            codes.save(run.folder / "codes.safetensors", made)
            write_json(run.folder / "report.json", report.to_dict())
            for number, couple in enumerate(event.aligned):
                save_png(grid(couple, columns=1), run.alignment / f"{number}.png")
            run.create(
                source_id=made.source_id,
                source_hash=made.source_hash,
                counts={"used": len(made), "skipped": len(report.skipped)},
                psnr_mean=event.psnr_mean,
                verdict=event.verdict,
                reason=event.reason,
                **info,
            )
        yield Prepared(run.token, run.folder, report, len(made), event.psnr_mean, event.verdict, event.reason)


def kept(run: Run) -> Prepared:
    """What `keep` has written, read back."""
    info, report = run.info, Report.from_dict(read_json(run.folder / "report.json"))
    return Prepared(
        run.token,
        run.folder,
        report,
        info["counts"]["used"],
        info["psnr_mean"],
        info["verdict"],
        info.get("reason", ""),  # runs of before know none
    )


def _why_none(report: Report) -> str:
    reasons = ", ".join(f"{count} x {reason}" for reason, count in report.reasons().most_common(5))
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
