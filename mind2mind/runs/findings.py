"""What models find in a run: in its pictures before it starts, and in what it has learnt.

Pictures are read and encoded once, checked against what the model knows, and kept in the run's folder; more are
added, and some left out. Those stay on the disk and in the report; `codes_of` gives the ones that are trained on. The
verdict is on those that are left, by the scores of the ones that were looked at. Other installed models are tried,
too: one of them may know the pictures better.

What came of a run is said here alone: for the page, for the command line, and in the zip for whoever made it.
"""

import itertools
import json
import logging
import math
import random
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mind2mind import draw
from mind2mind.config import Crop, batch_of
from mind2mind.data import codes
from mind2mind.data.codes import Codes, near_duplicates
from mind2mind.data.dataset import Picture, Pictures, Reading, Report
from mind2mind.data.images import Reason, grid, save_png, to_image, to_tensor
from mind2mind.errors import COMMAND, ConfigError, DataError, Mind2MindError, RunError
from mind2mind.files import atomic, load_tensors, read_json, read_meta, write_json
from mind2mind.judge import evaluate, verdict
from mind2mind.judge.evaluate import Nearness, nearness, principal_pixels
from mind2mind.judge.metrics import PrincipalAxes, energy_distance
from mind2mind.judge.verdict import FEWEST, Verdict, likeness
from mind2mind.models.bundle import (
    PARTS,
    PREVIEW,
    Card,
    Model,
    ModelInfo,
    amend,
    describe,
    load_transfer,
    move_in,
    save_transfer,
    slug,
    usage,
)
from mind2mind.models.catalogue import Catalogue, zip_at
from mind2mind.networks import mindgan
from mind2mind.runs.run import JSON, TAKEN, Better, Found, Run, RunInfo, RunStatus, State, codes_of
from mind2mind.training.transfer import BEST, DISTANCE_AXES, read_generator

log = logging.getLogger(__name__)

SHOWN = 8  # pictures before and after the crop, at most
CHECKED = 32  # pictures that the mean PSNR is measured on, drawn from all of them; fewer of large ones
SAMPLE = 16  # pictures that another model is judged by
SECONDS = 5.0  # after which no further model is tried
SMALL = 64  # px; models of such pictures take a blink
LARGEST = 256  # px; models of larger pictures take seconds for each, so they are named, not tried
Scores = Mapping[
    str, tuple[float, float]
]  # by a picture's name: the PSNR of its reconstruction, its score; dB
Surveyed = Mapping[str, Mapping[str, float]]  # by a model's id and a picture's name: its score, dB
RANKS = {Verdict.USABLE: 1, Verdict.GOOD: 2}


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoding:
    """What became of the pictures. The last event of an encoding."""

    codes: Codes
    thumbnails: Tensor  # uint8 (N, C, t, t)
    report: Report
    found: Found  # its scores are those of up to CHECKED pictures
    aligned: tuple[tuple[Image.Image, Image.Image], ...]  # some, before and after the crop; small


@dataclass(frozen=True, kw_only=True)
class Prepared(Found):
    """A run that waits for its start, with what was found. The last event of `Runs.prepare`."""

    token: str  # what the run is called by from now on
    report: Report
    model: str = ""  # the source: a catalogue id or a folder
    crop: str = "centre"

    @property
    def ways_out(self) -> list[str]:
        """What can be done when the model does not know the pictures; nothing if it does."""
        ways = [f"{other.title} knows them better ({other.verdict}): take it." for other in self.others]
        if self.verdict is not Verdict.UNKNOWN:
            return ways
        return [
            *ways,
            "For photographs of faces there is the official FFHQ model: get it under Models, or by "
            f"`{COMMAND} download ffhq`.",
            "With some thousands of pictures of this kind, train a source model of your own: "
            f"`{COMMAND} pretrain PICTURES --minutes 60 --out FOLDER`.",
            "Or go on all the same: the result will look like the reconstructions.",
        ]


def prepared(run: Run) -> Prepared:
    """What was written, read back."""
    info = run.info
    return Prepared(
        **vars(info.found),
        token=run.token,
        report=Report.from_dict(read_json(run.report)),
        model=info.model,
        crop=info.crop,
    )


# Reading


def encode(
    models: Catalogue,
    source: str,
    pictures: Pictures,
    known: Codes | None = None,
    out: Path | None = None,
) -> Iterator[Reading | Encoding]:
    """Encodes every picture that is not among the `known` ones, into the file `out` if one is given; rebuilds some.

    Raises:
        DataError: none of them can be used.
    """
    model = models.load(source)
    some: list[Picture] = []
    most = max(8, min(CHECKED, 2 * batch_of(model.alae.architecture.resolution)))
    begun = time.monotonic()
    made, thumbnails = yield from codes.encode(
        model.alae,
        _keeping(some, most, pictures),
        source_id=model.source_id,
        source_hash=model.source_hash,
        known=known and _of(model, known),
        total=pictures.count,
    )
    report = pictures.report
    if not some:
        why = ", ".join(f"{count} x {reason}" for reason, count in report.reasons().most_common(5))
        problem = f"None of the pictures can be used ({why})." if why else "There are no pictures."
        fix = "Give pictures (PNG, JPEG, WebP ...): files, folders or a zip."
        if Reason.PACKED in report.reasons():
            fix = "Unpack it and give the folder."
        raise DataError(problem, fix)
    if out is not None:
        codes.save(out, made)
    scores, seconds = _scores(model, some), time.monotonic() - begun
    found = Found(count=len(made), skipped=len(report.skipped), scores=scores, seconds=seconds)
    yield Encoding(
        codes=made,
        thumbnails=thumbnails,
        report=report,
        found=_judged(models, source, found),
        aligned=tuple(itertools.islice(filter(None, map(pictures.before_and_after, some)), SHOWN)),
    )


def _keeping(some: list[Picture], most: int, pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Passes pictures on and puts an even draw of them into `some` (reservoir sampling, the same draw each time)."""
    draw = random.Random(0)
    for number, picture in enumerate(pictures):
        place = number if number < most else draw.randrange(number + 1)
        if place < most:
            some[place : place + 1] = [picture]
        yield picture


# Keeping


def keep(
    run: Run,
    models: Catalogue,
    source: str,
    pictures: Pictures,
    begin: Callable[[Found], RunInfo] | None = None,
) -> Iterator[Reading | Prepared]:
    """Encodes pictures into a run's folder; nothing is written before the end.

    Args:
        run: a new one, or one that waits for its start.
        models: finds models.
        source: what encodes them, and what the run is made on.
        pictures: all of a new run, or the new ones.
        begin: what the new run is to say of itself; None adds to one that is there.

    Raises:
        DataError: none of the pictures can be used.
        RunError: somebody was quicker: the run is there, or was started.
    """
    for event in encode(models, source, pictures):
        if isinstance(event, Reading):
            yield event
            continue
        surveyed = _survey(models, source, pictures, event.found)
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.hold(), ExitStack() as undo:
            made, small, report, found = event.codes, event.thumbnails, event.report, event.found
            if begin:
                run.check_free()
                undo.callback(run.erase)
            else:
                waiting(run)
                before, old = prepared(run), _of(models.load(source), codes.load(run.codes))
                made, report = old.join(made), Report(before.report.files + report.files)
                small = torch.cat([codes.thumbnails(run.codes, range(len(old))), small])
                # where a model was tried on both: on one alone it would be judged by half of the set
                both = before.surveyed.keys() & surveyed.keys()
                surveyed = {id: {**before.surveyed[id], **surveyed[id]} for id in both}
                found = replace(
                    found,
                    excluded=before.excluded,
                    scores=_merged(before.scores, len(old), found),
                    seconds=before.seconds + found.seconds,
                )
            areas = {file.name: file.width * file.height for file in report.used}
            near = near_duplicates(small, [areas.get(name, 0) for name in made.names])
            found = replace(
                found,
                count=len(made) - len(found.excluded),
                skipped=len(report.skipped),
                near=tuple((made.names[copy], made.names[largest]) for copy, largest in near),
                surveyed=surveyed,
            )
            found = _judged(models, source, found)
            codes.save(run.codes, made, small)
            write_json(run.report, report.to_dict())
            shown = len(list(run.alignment.glob("*.png")))
            for number, couple in enumerate(event.aligned[: SHOWN - shown], start=shown):
                save_png(grid(couple, columns=1), run.alignment / f"{number}.png")
            if begin:
                run.write(begin(found))
            else:
                run.update(found=found)
            undo.pop_all()
        yield prepared(run)


def exclude(run: Run, models: Catalogue, names: Collection[str]) -> Prepared:
    """Leaves out the pictures of these names, and no others, from the training.

    Raises:
        DataError: there is no picture of such a name.
        RunError: the run has been started.
    """
    with run.hold():
        info, all_names = waiting(run), read_meta(run.codes)["names"]
        if unknown := sorted(set(names) - set(all_names)):
            raise DataError(f"There is no picture '{unknown[0]}' in this set.", "Take a name of the report.")
        excluded = tuple(name for name in all_names if name in set(names))
        found = replace(info.found, count=len(all_names) - len(excluded), excluded=excluded)
        run.update(found=_judged(models, info.model, found))
    return prepared(run)


def waiting(run: Run) -> RunInfo:
    """What a run says of itself, if it waits for its start.

    Raises:
        RunError: it has been started.
    """
    info = run.info
    if info.state != State.PREPARED:
        raise RunError("The run has been started: its pictures stay as they are.", "Begin a new one.")
    return info


def _of(model: Model, made: Codes) -> Codes:
    """Codes that a source made, under the hash by which it is known now."""
    return replace(made, source_hash=model.source_hash) if model.is_on(made.source_hash) else made


def _merged(before: Scores, count: int, new: Found) -> Scores:
    """The scores of both, in proportion to the pictures they stand for, at most CHECKED."""
    room = max(CHECKED, len(before), len(new.scores))
    share = round(room * count / (count + new.count))
    old = list(before.items())[: max(share, room - len(new.scores))]
    return dict([*old, *list(new.scores.items())[: room - len(old)]])


# Judging: the model that the pictures were read with, and the others


def _judged(models: Catalogue, source: str, found: Found) -> Found:
    """With the verdict on the pictures that are left, and the models that know them better, the best first."""
    left = [name for name in found.scores if name not in found.excluded] or list(found.scores)
    ratios, values = torch.tensor([found.scores[name] for name in left], dtype=torch.float32).T
    own = verdict.judge(values, models.load(source).card.numbers)
    better = []
    for info in _others(models, source, LARGEST):
        tried = found.surveyed.get(info.id, {})
        rest = [score for name, score in tried.items() if name not in found.excluded] or list(tried.values())
        judged = verdict.judge(torch.tensor(rest), info.numbers) if rest else own
        if RANKS.get(judged.verdict, 0) > RANKS.get(own.verdict, 0):
            other = Better(id=info.id, title=info.title, verdict=judged.verdict)
            better.append((RANKS[judged.verdict], judged.score, other))
    better.sort(key=lambda each: each[:2], reverse=True)
    others = tuple(other for *_, other in better)
    mean = ratios.mean().item()
    return replace(
        found,
        psnr_mean=mean,
        verdict=own.verdict,
        reason=own.reason,
        others=others,
        strangers=tuple(left[i] for i in own.strangers),
    )


def _survey(models: Catalogue, source: str, pictures: Pictures, made: Found) -> Surveyed:
    """By each other model the scores of the first SAMPLE pictures judged; kept, since the pictures are not.

    Where there is nothing to gain, only small models are tried: more pictures may change that.
    """
    names, begun = list(made.scores)[:SAMPLE], time.monotonic()
    crop: Crop = "centre" if pictures.crop == "face" else pictures.crop
    found = {}
    for info in _others(models, source, SMALL if made.verdict is Verdict.GOOD else LARGEST):
        if time.monotonic() - begun > SECONDS:
            break
        try:
            model = models.source(info.id)
            a = model.alae.architecture
            again = pictures.again(names, resolution=a.resolution, channels=a.image_channels, crop=crop)
            found[info.id] = {name: score for name, (_, score) in _scores(model, [*again]).items()}
        except Mind2MindError as error:
            log.warning("%s could not be tried: %s", info.id, error)
    return found


def _others(models: Catalogue, source: str, largest: int) -> list[ModelInfo]:
    others = (m for m in models.list() if m.kind == "source" and m.id != source)
    return [m for m in others if (m.resolution or largest + 1) <= largest and m.crop != "face"]


def _scores(model: Model, some: Sequence[Picture]) -> Scores:
    """How much of each picture comes back."""
    if not some:
        return {}
    ratios, values = verdict.measured(model.alae, torch.stack([picture.pixels for picture in some]))
    measured = zip(ratios.tolist(), values.tolist(), strict=True)
    return dict(zip((picture.name for picture in some), measured, strict=True))


# --- What a run's folder has to show: its pictures beside their reconstructions, its previews, its originals.

FPS = 8  # of the film
HELD = 12  # frames: how long its end is seen
BETWEEN = 1  # frames drawn between two previews of a small model
SMOOTH_SIDE, WIDE_SIDE = 128, 512  # px: larger ones get no frames between; from there on 4 pictures a frame


def drawing(library: Catalogue, run: Run) -> Model:
    """The source of a run, which refines codes within what the run's own vary in: so its previews are drawn."""
    source = library.load(run.info.model)
    return source.within_span(codes_of(run)[0].w) if source.refinements else source


def film(library: Catalogue, run: Run) -> Iterator[Image.Image]:
    """The previews from first to last, a sheet a frame, at FPS frames a second; the last one is held.

    Between two previews of a small model some frames are drawn on the straight lines between their codes.
    """
    source = drawing(library, run)
    side = source.alae.architecture.resolution
    count, between = 4 if side >= WIDE_SIDE else 16, BETWEEN if side <= SMOOTH_SIDE else 0
    stops = [load_tensors(run.preview_path(step), ["w"])[0]["w"][:count] for step in run.preview_steps()]
    ways = stops[:1]
    for a, b in itertools.pairwise(stops):
        ways += [torch.lerp(a, b, i / (between + 1)) for i in range(1, between + 2)]
    sheet = None
    for w in ways:
        sheet = grid([*draw.draw(source, source.refined(w))])
        yield sheet
    if sheet is not None:
        yield from [sheet] * HELD


# --- What came out of a run.
# The app's result, the command `result` and what is downloaded say what is made here.

SEEDS = range(1000, 1064)  # of the samples shown; a slow model shows the first of them
JUDGED, JUDGED_PIXELS = 256, 2**20  # samples whose worth is measured; fewer of large ones that are refined
SLOW_SIDE = 512  # px; from there on fewer are drawn


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a run that has a model."""

    status: RunStatus
    seeds: Sequence[int]  # of the samples
    samples: list[Image.Image]
    originals: list[Image.Image]  # the nearest to each sample; thumbnails
    nearest: list[str]  # their names
    near: list[bool]  # a sample that is a near copy of its original
    distance: list[float]  # from each sample to its original; see Likeness
    command: str  # that repeats the run

    @property
    def python(self) -> str:
        """Draws with the model, beside its unzipped folder."""
        return f"import mind2mind\n{usage(self.status.name)}"


def outcome(library: Catalogue, run: Run, status: RunStatus, seeds: Sequence[int] | None = None) -> Outcome:
    """Draws what the run has learnt: the samples of `seeds`, or as many of SEEDS as are quick.

    Raises:
        RunError: it has no model yet.
    """
    model = library.load(run.token)
    seeds = SEEDS[: shown(model)] if seeds is None else seeds
    w, (made, rows) = draw.codes_of(model, seeds), codes_of(run)
    seen = likeness(w, made.w)
    nearest = seen.nearest.tolist()
    return Outcome(
        status=status,
        seeds=seeds,
        samples=draw.sample(model, seeds, w=w),
        originals=[*map(to_image, codes.thumbnails(run.codes, [rows[i] for i in nearest]))],
        nearest=[made.names[i] for i in nearest],
        near=seen.near.tolist(),
        distance=seen.distance.tolist(),
        command=run.info.command(),
    )


def judge(library: Catalogue, run: Run) -> None:
    """Measures what the samples of a run's model are worth as they are drawn, and says so on its card.

    Once only, and not of fewer than FEWEST pictures; only for the lock's holder.
    """
    if run.info.worth or run.info.found.count < FEWEST:
        return
    model = library.load(run.token)
    count = JUDGED if not model.refinements else _judged_count(model)
    w = model.refined(mindgan.samples(model.g, model.z_dim, count, seed=2))
    worth = likeness(w, codes_of(run)[0].w).worth
    assert worth, "there are as many pictures as codes"
    numbers = {
        "quality": worth.quality,
        "variety": worth.variety,
        "near_copies": worth.copies / worth.samples,
    }
    amend(run.bundle, {name: round(number, 3) for name, number in numbers.items()})
    run.update(worth=worth)


def _judged_count(model: Model) -> int:
    return max(len(SEEDS), min(JUDGED, JUDGED_PIXELS // model.alae.architecture.resolution**2))


def bundle(run: Run, source: Model, step: int | None = None) -> bool:
    """Writes the run's bundle, reloads it, draws its preview, moves it in; False if there is no generator yet.

    That is the one kept last, or that of the preview at `step`.

    Raises:
        WeightsError: it was not kept with the preview.
    """
    path = run.folder / BEST if step is None else run.preview_path(step)
    if not path.exists():
        return False
    g, sizes, meta = read_generator(path)
    w = codes_of(run)[0].w
    source = source.within_span(w)
    info, fresh = run.info, run.folder / "bundle.new"
    shutil.rmtree(fresh, ignore_errors=True)
    card = _card(run, source, meta, step)
    extra = {"recipe": meta["recipe"], "seed": info.seed, "crop": info.crop}
    save_transfer(fresh, g, mindgan.mean_code(g, sizes.z_dim), card, source=source, sizes=sizes, extra=extra)
    draw.save_sheet(load_transfer(fresh, source), fresh / PREVIEW)
    move_in(fresh, run.bundle)
    run.update(worth=None, kept=step)
    return True


def _card(run: Run, source: Model, meta: dict[str, Any], step: int | None) -> Card:
    """What was made; `meta` is what the generator's file says of it."""
    info, last = run.info, (run.metrics() or [{}])[-1]
    title = info.title or "A transfer"
    numbers = {
        "pictures": info.found.count,
        "pictures_psnr": round(info.found.psnr_mean, 2),
        "steps": max(meta["step"], last.get("step", 0), info.reached),
        "seconds": round(last.get("seconds", 0.0), 1),
        "recipe": meta["recipe"],
    }
    if step is not None:
        numbers["kept_step"] = step
    return Card(
        id=slug(title),
        title=title,
        knows=f"what {info.found.count} pictures have in common, as {source.card.title} sees them",
        credit=source.card.credit,
        licence=source.card.licence,
        numbers=numbers,
        notes="Credit and licence are the source model's; the pictures it learnt from have their own.\n\n"
        f"Made by `{info.command(out=slug(title))}`.",
        crop=info.crop,
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What can be measured of a run's new pictures, each of them decoded, beside the pictures it learnt from.

    The error in pixels is at most that of the autoencoder, plus what the codes are apart times a constant of the
    decoder (arXiv 1906.11613; the bound is ours): `rebuilt` is the part that no transfer can better.
    """

    samples: int
    pictures: int
    rebuilt: float  # dB: the mean PSNR of the pictures as the autoencoder rebuilds them
    before: float  # relative energy distance of the source's own codes to those of the pictures, 0 to 1
    gap: float | None  # of the critic, when the training ended or at the step that is kept
    codes: Nearness
    pixels: Nearness
    independent: Nearness | None  # None where the extra `measure` is not installed

    @property
    def spaces(self) -> dict[str, Nearness]:
        """Those that were measured in, by what they are called."""
        named = {"codes": self.codes, "pixels": self.pixels, "independent": self.independent}
        return {name: found for name, found in named.items() if found}


def numbers(library: Catalogue, run: Run) -> Numbers:
    """Measures a run's new pictures in every space there is.

    Raises:
        RunError: it has no model yet.
        DataError: it learnt from fewer than `evaluate.FEWEST` pictures.
    """
    model, source = library.load(run.token), library.load(run.info.model)
    made, rows = codes_of(run)
    count = _judged_count(model)
    w = model.refined(mindgan.samples(model.g, model.z_dim, count, seed=3))
    small = codes.thumbnails(run.codes, rows[: evaluate.MOST])
    a = model.alae.architecture
    drawn = draw.draw(model, w)
    new = torch.stack([to_tensor(picture, a.resolution, a.image_channels) for picture in drawn])
    pair = small, codes.shrunk(new)
    independent = None
    with suppress(ConfigError):
        independent = evaluate.independently(*pair)
    axes = PrincipalAxes.of(made.w, DISTANCE_AXES)
    real, fake, known = map(axes.project, (made.w, w, mindgan.samples(source.g, source.z_dim, count, seed=3)))
    kept = math.inf if run.info.kept is None else run.info.kept
    gaps = [row["gap"] for row in run.metrics() if "gap" in row and row["step"] <= kept]
    return Numbers(
        samples=len(w),
        pictures=len(made),
        rebuilt=run.info.found.psnr_mean,
        before=energy_distance(known, real),
        gap=gaps[-1] if gaps else None,
        codes=nearness(real, fake),
        pixels=nearness(*principal_pixels(*pair)),
        independent=independent,
    )


def shown(model: Model) -> int:
    """How many samples a result shows: 64, of 512 px 16, of 1024 px 4."""
    side = model.alae.architecture.resolution
    return len(SEEDS) if side < SLOW_SIDE else max(4, 16 * SLOW_SIDE**2 // side**2)


def part(library: Catalogue, run: Run, path: Path) -> None:
    """Writes one thing of a run that has a model, as the ending of `path` says.

    That is its samples (zip), the codes of its pictures (safetensors), or what was measured as it went on: as a table
    (csv) or as a drawing (png).
    """
    with atomic(path) as temporary:
        if path.suffix == ".safetensors":
            shutil.copyfile(run.codes, temporary)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w") as archive, tempfile.TemporaryDirectory() as folder:
                for file in _save_samples(library.load(run.token), Path(folder)):
                    archive.write(file, file.name)
        else:
            _save_curves(run, temporary, path.suffix)


def _save_samples(model: Model, folder: Path) -> list[Path]:
    samples = draw.sample(model, SEEDS[: shown(model)])
    files = {folder / f"{image.info.get('seed', 'sheet')}.png": image for image in (*samples, grid(samples))}
    for file, image in files.items():
        save_png(image, file)
    return list(files)


def _save_curves(run: Run, path: Path, kind: str) -> None:
    import pandas as pd  # slow to import, and wanted seldom
    from matplotlib.figure import Figure

    rows = pd.DataFrame(run.metrics()).set_index("step")
    if kind == ".csv":
        rows.to_csv(path)
        return
    figure = Figure(figsize=(7, 6), layout="constrained")
    shown = ("distance", "floor"), ("critic_loss", "generator_loss", "gap")
    for axes, names in zip(figure.subplots(2, sharex=True), shown, strict=True):
        for name in names:
            axes.plot(rows.index, rows[name].astype(float), label=name.replace("_", " "))
        axes.legend()
    axes.set_xlabel("step")
    figure.savefig(path, format=kind[1:])


SECRETS = ("visitor", "address")  # of run.json
FILM, CURVES, TABLE = "film.mp4", "curves.png", "curves.csv"


def pack(library: Catalogue, run: Run, path: Path) -> Path:
    """Writes the zip to `path`; the ending .zip is added where it is missing.

    Raises:
        RunError: the run has no model yet.
    """
    model, info = library.load(run.token), run.info
    path = zip_at(path)
    name = describe(run.bundle).id
    with (
        atomic(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        inside = {run.bundle / part: f"{name}/{part}" for part in PARTS}
        inside |= {run.folder / part: part for part in TAKEN}
        inside |= {file: f"samples/{file.name}" for file in _save_samples(model, Path(folder))}
        if run.preview_steps():
            draw.save_clip(film(library, run), Path(folder) / FILM, FPS)
            inside[Path(folder) / FILM] = FILM
        if run.metrics():
            for curves in (CURVES, TABLE):
                part(library, run, Path(folder) / curves)
                inside[Path(folder) / curves] = curves
        for file, place in inside.items():
            if file.exists():
                archive.write(file, place)
        told = {key: value for key, value in asdict(info).items() if key not in SECRETS}
        archive.writestr(JSON, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        archive.writestr("README.txt", _read_me(name, info.command(out=name)))
    return path


def _read_me(name: str, command: str) -> str:
    return f"""{name}/ is the model. Its README.md is its card. Python draws with it:

    import mind2mind
    {usage(name)}

The app takes it back: zip that folder, then Models, "Open a model file".
The same pictures in the same order give the same run again (on one kind of computer, to the bit):

    {command}

samples/: new pictures; each file says in itself which model and seed drew it
{FILM}: the same random inputs as the training went on
codes.safetensors: what the model's encoder made of your pictures; thumbnails.safetensors: small copies of them.
Keep both to yourself.
report.json: what became of each of your files; run.json: settings and numbers; metrics.jsonl: the curves, which
{CURVES} draws and {TABLE} lists
"""
