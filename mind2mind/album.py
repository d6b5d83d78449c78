"""What a run's folder has to show: its pictures beside their reconstructions, its previews, its originals."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from PIL import Image

from mind2mind import codes, gallery, originality, trained
from mind2mind.checkpoints import Model
from mind2mind.codes import Codes
from mind2mind.files import load_tensors
from mind2mind.images import grid, to_image
from mind2mind.library import Library
from mind2mind.originality import Originality
from mind2mind.runs import Run

FPS = 8  # of the film
HELD = 12  # frames: how long its end is seen
BETWEEN = 1  # frames drawn between two previews of a small model
SMOOTH_SIDE, WIDE_SIDE = 128, 512  # px: larger ones get no frames between; from there on 4 pictures a frame


def comparison(
    library: Library, run: Run, count: int, only: int | None = None
) -> list[tuple[Image.Image, Image.Image]]:
    """`count` of a run's pictures, spread over all, each with its reconstruction; `only` one of these."""
    model, made = library.model(run.info["model"]), codes.of_run(run)
    count = min(count, len(made))
    rows = [i * len(made) // count for i in range(count)]
    rows = rows if only is None else rows[only : only + 1]
    originals = [to_image(made.thumbnails[i]) for i in rows]
    return list(zip(originals, gallery.draw(model.alae, made.w[rows]), strict=True))


def thumbnails(run: Run, first: int, count: int) -> list[tuple[str, Image.Image]]:
    """Names and small copies of `count` of a run's pictures, excluded ones too, from number `first` on."""
    made = codes.load(run.codes)
    rows = range(len(made))[first : first + count]
    return [(made.names[row], to_image(made.thumbnails[row])) for row in rows]


def alignment(run: Run) -> list[Image.Image]:
    """Some of a run's pictures above what the crop makes of them; none where it changes nothing."""
    couples = []
    for path in sorted(run.alignment.glob("*.png")):
        with Image.open(path) as couple:
            couples.append(couple.convert("RGB"))
    return couples


def nearest(library: Library, run: Run, seeds: Sequence[int]) -> list[tuple[Image.Image, Image.Image, float]]:
    """Each seed's sample, the original nearest to it, and the distance of their standardised codes."""
    samples, originals, seen = beside_originals(library.model(run.token), codes.of_run(run), seeds)
    return list(zip(samples, originals, seen.distance.tolist(), strict=True))


def beside_originals(
    model: Model, made: Codes, seeds: Sequence[int]
) -> tuple[list[Image.Image], list[Image.Image], Originality]:
    """Each seed's sample, the original nearest to it (a thumbnail), and how near they are as they are drawn."""
    w = gallery.codes_of(model, seeds)
    seen = originality.judge(w, made.w)
    originals = [to_image(made.thumbnails[int(i)]) for i in seen.nearest]
    return gallery.sampled(model, w, seeds, 1.0, "random"), originals, seen


def preview(library: Library, run: Run, step: int | None) -> list[Image.Image]:
    """The samples at `step`, or the newest; none where there is no such preview."""
    steps = run.preview_steps()
    if not steps or (step is not None and step not in steps):
        return []
    tensors, _ = load_tensors(run.preview_path(steps[-1] if step is None else step))
    return gallery.draw(library.model(run.info["model"]).alae, tensors["w"])


def trial(library: Library, run: Run, seeds: Sequence[int]) -> tuple[list[Image.Image], int]:
    """Pictures of these seeds by the generator as the run saved it last, and of which step that is."""
    g, sizes, step = trained.current(run.folder)
    source = library.model(run.info["model"])
    return gallery.sample(source.drawing(g, sizes.z_dim), seeds, 1.0, "random"), step


def film(library: Library, run: Run) -> Iterator[Image.Image]:
    """The previews from first to last, a sheet a frame, at FPS frames a second; the last one is held.

    Between two previews of a small model some frames are drawn on the straight lines between their codes.
    """
    alae = library.model(run.info["model"]).alae
    side = alae.architecture.resolution
    count, between = 4 if side >= WIDE_SIDE else 16, BETWEEN if side <= SMOOTH_SIDE else 0
    stops = [load_tensors(run.preview_path(step))[0]["w"][:count] for step in run.preview_steps()]
    ways = stops[:1]
    for a, b in itertools.pairwise(stops):
        ways += [torch.lerp(a, b, i / (between + 1)) for i in range(1, between + 2)]
    sheet = None
    for w in ways:
        sheet = grid(gallery.draw(alae, w))
        yield sheet
    if sheet is not None:
        yield from [sheet] * HELD
