"""The pictures of a run that waits for its start: kept in its folder, added to, and some of them left out.

Pictures that are excluded stay on the disk and in the report; `codes_of` gives those that are trained
on. The verdict is on those that are left, by the scores of the ones that were looked at.
"""

import logging
import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mind2mind import draw as gallery
from mind2mind.config import Crop, batch_of
from mind2mind.data import codes
from mind2mind.data.codes import Codes, EncodeProgress, near_duplicates
from mind2mind.data.dataset import Picture, Pictures, Report
from mind2mind.data.images import grid, save_png
from mind2mind.errors import COMMAND, DataError, Mind2MindError, RunError
from mind2mind.files import read_json, read_meta, write_json
from mind2mind.judge import verdict
from mind2mind.judge.verdict import Verdict
from mind2mind.models.bundle import Model, ModelInfo
from mind2mind.models.catalogue import Catalogue
from mind2mind.runs.run import Run, occupied

log = logging.getLogger(__name__)

# --- From a user's pictures to codes: encoded once, and checked against what the model can rebuild.

SHOWN = 8  # pictures before and after the crop, at most
CHECKED = 32  # pictures that the mean PSNR is measured on, drawn from all of them; fewer of large ones


@dataclass(frozen=True, eq=False)
class Encoding:
    """What became of the pictures. The last event of an encoding."""

    codes: Codes
    thumbnails: Tensor  # uint8 (N, C, t, t)
    report: Report
    psnr_mean: float  # dB, of the reconstructions of up to CHECKED pictures
    verdict: Verdict  # whether the model knows them
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
    verdict: Verdict
    reason: str
    model: str = ""  # the source: a catalogue id or a folder
    crop: str = "centre"
    excluded: tuple[str, ...] = ()  # names of pictures that are not trained on
    near: tuple[tuple[str, str], ...] = ()  # names: a near duplicate, and the picture it is like
    judged: int = 0  # pictures that the verdict rests on
    seconds: float = 0.0  # reading and encoding took
    others: tuple[Mapping[str, str], ...] = ()  # models that know them better: id, title, verdict, reason


def encode(
    model: Model, pictures: Pictures, known: Codes | None = None
) -> Iterator[EncodeProgress | Encoding]:
    """Encodes every picture that is not among the `known` ones, and rebuilds some.

    Raises:
        DataError: none of them can be used.
    """
    some = _Some(pictures, max(8, min(CHECKED, 2 * batch_of(model.alae.architecture.resolution))))
    encoded: codes.Encoded | None = None
    begun = time.monotonic()
    known = known and _of(model, known)
    for event in codes.encode(
        model.alae, some, source_id=model.source_id, source_hash=model.source_hash, known=known
    ):
        if isinstance(event, codes.Encoded):
            encoded = event
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
    yield Encoding(
        encoded.codes,
        encoded.thumbnails,
        report,
        mean,
        judged.verdict,
        judged.reason,
        aligned,
        scored,
        seconds,
    )


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


# --- Before any training: whether another installed model knows the pictures better, and what to do if none does.


SAMPLE = 16  # pictures that another model is judged by
SECONDS = 5.0  # after which no further model is tried
SMALL = 64  # px; models of such pictures take a blink
LARGEST = 256  # px; models of larger pictures take seconds for each, so they are named, not tried
Surveyed = dict[str, dict[str, float]]  # by a model's id and a picture's name: its score, dB
RANKS = {Verdict.USABLE: 1, Verdict.GOOD: 2}


@dataclass(frozen=True)
class Rivals:
    """The other installed models: what they make of the pictures of a set, and which of them know it better."""

    library: Catalogue
    present: str  # the id of the model that the set was read with

    def scores(self, pictures: Pictures, made: Encoding) -> Surveyed:
        """The scores of the first SAMPLE of the pictures judged in `made`; kept, since the pictures are not.

        Where there is nothing to gain, only small models are tried: more pictures may change that.
        """
        names, begun = list(made.judged)[:SAMPLE], time.monotonic()
        found: Surveyed = {}
        for info in self._models(SMALL if made.verdict is Verdict.GOOD else LARGEST):
            if time.monotonic() - begun > SECONDS:
                break
            try:
                found[info.id] = _scores(self.library, info, pictures, names)
            except Mind2MindError as error:
                log.warning("%s could not be tried: %s", info.id, error)
        return found

    def better(self, surveyed: Surveyed, excluded: Collection[str], word: Verdict) -> list[dict[str, str]]:
        """The models that know what is left better than `word` says of the present one, the best first."""
        found = []
        for info in self._models(LARGEST):
            scores = surveyed.get(info.id, {})
            left = [score for name, score in scores.items() if name not in excluded] or list(scores.values())
            if not left:
                continue
            judged = verdict.judge(torch.tensor(left), info.numbers)
            if RANKS.get(judged.verdict, 0) > RANKS.get(word, 0):
                found.append((RANKS[judged.verdict], judged.score, info, judged))
        return [
            {"id": info.id, "title": info.title, "verdict": judged.verdict, "reason": judged.reason}
            for *_, info, judged in sorted(found, key=lambda each: each[:2], reverse=True)
        ]

    def _models(self, largest: int) -> list[ModelInfo]:
        others = (m for m in self.library.list() if m.kind == "source" and m.id != self.present)
        return [m for m in others if (m.resolution or largest + 1) <= largest and m.crop != "face"]


def _scores(
    library: Catalogue, info: ModelInfo, pictures: Pictures, names: Sequence[str]
) -> dict[str, float]:
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
    if prepared.verdict is not Verdict.UNKNOWN:
        return ways
    return [
        *ways,
        "For photographs of faces there is the official FFHQ model: get it under Models, or by "
        f"`{COMMAND} download ffhq`.",
        "With some thousands of pictures of this kind, train a source model of your own: "
        f"`{COMMAND} pretrain PICTURES --minutes 60 --out FOLDER`.",
        "Or go on all the same: the result will look like the reconstructions.",
    ]


Numbers = Mapping[str, Any]  # of a source model's card
Scores = Mapping[str, tuple[float, float]]


def keep(
    run: Run,
    encoding: Iterator[EncodeProgress | Encoding],
    info: Mapping[str, Any],
    pictures: Pictures,
    rivals: Rivals,
) -> Iterator[EncodeProgress | Prepared]:
    """Writes what an encoding of `pictures` ends with into the run's folder; nothing is written before that."""
    for event in encoding:
        if isinstance(event, EncodeProgress):
            yield event
            continue
        surveyed = rivals.scores(pictures, event)
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.hold():
            if occupied(run.folder):  # somebody was quicker
                raise RunError(f"There is already a run in {run.folder}.", "Choose another folder.")
            made = event.codes
            _write(run, event, made, event.thumbnails, event.report)
            run.create(
                source_id=made.source_id,
                source_hash=made.source_hash,
                surveyed=surveyed,
                others=rivals.better(surveyed, (), event.verdict),
                **_facts(made, event.thumbnails, event.report, event.judged, (), event.seconds),
                **_words(event.psnr_mean, event.verdict, event.reason),
                **info,
            )
        yield kept(run)


def add(
    run: Run,
    encoding: Iterator[EncodeProgress | Encoding],
    model: Model,
    pictures: Pictures,
    rivals: Rivals,
) -> Iterator[EncodeProgress | Prepared]:
    """The same for more pictures of a run that is there, whose source is `model`.

    Raises:
        RunError: it has been started.
    """
    for event in encoding:
        if isinstance(event, EncodeProgress):
            yield event
            continue
        new = rivals.scores(pictures, event)
        with run.hold():
            info = _waiting(run)
            before = _of(model, codes.load(run.codes))
            made, report = (
                before.join(event.codes),
                Report(_report(run).files + event.report.files),
            )
            small = torch.cat([codes.thumbnails(run.codes, range(len(before))), event.thumbnails])
            judged = _merged(info.get("judged") or {}, len(before), event)
            surveyed = _surveyed(info.get("surveyed") or {}, new)
            excluded, seconds = info.get("excluded") or [], info.get("encode_seconds") or 0.0
            _write(run, event, made, small, report)
            run.update(
                surveyed=surveyed,
                **_facts(made, small, report, judged, excluded, seconds + event.seconds),
                **_judge(judged, surveyed, excluded, model.card.numbers, rivals),
            )
        yield kept(run)


def _of(model: Model, made: codes.Codes) -> codes.Codes:
    """Codes that a source made, under the hash by which it is known now."""
    return replace(made, source_hash=model.source_hash) if model.is_on(made.source_hash) else made


def exclude(run: Run, names: Collection[str], numbers: Numbers, rivals: Rivals) -> Prepared:
    """Leaves out the pictures of these names, and no others, from the training.

    Raises:
        DataError: there is no picture of such a name.
        RunError: the run has been started.
    """
    with run.hold():
        info, all_names = _waiting(run), read_meta(run.codes)["names"]
        if unknown := sorted(set(names) - set(all_names)):
            raise DataError(f"There is no picture '{unknown[0]}' in this set.", "Take a name of the report.")
        excluded = [name for name in all_names if name in set(names)]
        counts = _counts(len(all_names), _report(run), excluded)
        scores, surveyed = info.get("judged") or {}, info.get("surveyed") or {}
        judged = _judge(scores, surveyed, excluded, numbers, rivals)
        run.update(excluded=excluded, counts=counts, **judged)
    return kept(run)


def kept(run: Run) -> Prepared:
    """What was written, read back."""
    info = run.info
    return Prepared(
        run.token,
        run.folder,
        _report(run),
        info["counts"]["used"],
        info["psnr_mean"],
        Verdict(info["verdict"]),
        info.get("verdict_reason", ""),  # from here on: what runs of before do not know
        model=info["model"],
        crop=info.get("crop", "centre"),
        excluded=tuple(info.get("excluded") or ()),
        near=tuple((name, like) for name, like in info.get("near") or ()),
        judged=len(info.get("judged") or ()),
        seconds=float(info.get("encode_seconds") or 0.0),
        others=tuple(info.get("others") or ()),
    )


def _waiting(run: Run) -> dict[str, Any]:
    info = run.info
    if info["state"] != "prepared":
        raise RunError("The run has been started: its pictures stay as they are.", "Begin a new one.")
    return info


def _report(run: Run) -> Report:
    return Report.from_dict(read_json(run.report))


def _write(run: Run, event: Encoding, made: Codes, small: Tensor, report: Report) -> None:
    codes.save(run.codes, made, small)
    write_json(run.report, report.to_dict())
    first = len(list(run.alignment.glob("*.png")))
    for number, couple in enumerate(event.aligned[: SHOWN - first], start=first):
        save_png(grid(couple, columns=1), run.alignment / f"{number}.png")


def _facts(
    made: Codes, small: Tensor, report: Report, judged: Scores, excluded: Collection[str], seconds: float
) -> dict[str, Any]:
    pairs = near_duplicates(small)
    return {
        "counts": _counts(len(made), report, excluded),
        "judged": dict(judged),
        "near": [(made.names[copy], made.names[first]) for copy, first in pairs],
        "encode_seconds": seconds,
    }


def _counts(encoded: int, report: Report, excluded: Collection[str]) -> dict[str, int]:
    return {"used": encoded - len(excluded), "excluded": len(excluded), "skipped": len(report.skipped)}


def _merged(before: Scores, count: int, event: Encoding) -> dict[str, tuple[float, float]]:
    """The scores of both, in proportion to the pictures they stand for, at most CHECKED."""
    new = len(event.codes)
    room = max(CHECKED, len(before), len(event.judged))
    share = round(room * count / (count + new))
    old = list(before.items())[: max(share, room - len(event.judged))]
    return dict([*old, *list(event.judged.items())[: room - len(old)]])


def _surveyed(before: Surveyed, new: Surveyed) -> Surveyed:
    """Of both, where a model was tried on both: on one alone it would be judged by half of the set."""
    return {model: before[model] | new[model] for model in before if model in new}


def _judge(
    judged: Scores, surveyed: Surveyed, excluded: Collection[str], numbers: Numbers, rivals: Rivals
) -> dict[str, Any]:
    left = [scores for name, scores in judged.items() if name not in set(excluded)] or list(judged.values())
    if not left:  # a run of before
        return {}
    ratios, values = torch.tensor(left, dtype=torch.float32).T
    found = verdict.judge(values, numbers)
    better = {"others": rivals.better(surveyed, excluded, found.verdict)}
    return better | _words(ratios.mean().item(), found.verdict, found.reason)


def _words(psnr_mean: float, word: Verdict, reason: str) -> dict[str, Any]:
    return {"psnr_mean": psnr_mean, "verdict": word, "verdict_reason": reason}  # `reason` is why it ended
