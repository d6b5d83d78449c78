"""What a run's folder has to show: its pictures beside their reconstructions, its previews, its originals."""

from collections.abc import Sequence

from PIL import Image

from mind2mind import codes, gallery
from mind2mind.files import load_tensors
from mind2mind.images import to_image
from mind2mind.library import Library
from mind2mind.metrics import nearest as nearest_of
from mind2mind.metrics import standardisation
from mind2mind.runs import Run

CODES = "codes.safetensors"


def comparison(library: Library, run: Run, count: int) -> list[tuple[Image.Image, Image.Image]]:
    """`count` of a run's pictures (thumbnails), spread over all of them, each with its reconstruction."""
    model, made = library.model(run.info["model"]), codes.load(run.folder / CODES)
    count = min(count, len(made))
    rows = [i * len(made) // count for i in range(count)]
    originals = [to_image(made.thumbnails[i]) for i in rows]
    return list(zip(originals, gallery.draw(model.alae, made.w[rows]), strict=True))


def alignment(run: Run) -> list[Image.Image]:
    """Some of a run's pictures above what aligning their faces makes of them; none where it changes nothing."""
    couples = []
    for path in sorted(run.alignment.glob("*.png")):
        with Image.open(path) as couple:
            couples.append(couple.convert("RGB"))
    return couples


def nearest(library: Library, run: Run, seeds: Sequence[int]) -> list[tuple[Image.Image, Image.Image, float]]:
    """Each seed's sample, the original nearest to it, and the distance of their standardised codes."""
    model, made = library.model(run.token), codes.load(run.folder / CODES)
    mean, std = standardisation(made.w)
    w = gallery.codes_of(model, seeds)
    distance, index = nearest_of((w - mean) / std, (made.w - mean) / std)
    samples = gallery.sample(model, seeds, 1.0, "random")
    originals = [to_image(made.thumbnails[int(i)]) for i in index]
    distances = (distance / w.shape[1] ** 0.5).tolist()
    return list(zip(samples, originals, distances, strict=True))


def preview(library: Library, run: Run, step: int | None) -> list[Image.Image]:
    """The samples at `step`, or the newest; none where there is no such preview."""
    steps = run.preview_steps()
    if not steps or (step is not None and step not in steps):
        return []
    tensors, _ = load_tensors(run.preview_path(steps[-1] if step is None else step))
    return gallery.draw(library.model(run.info["model"]).alae, tensors["w"])
