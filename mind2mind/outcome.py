"""What came out of a run: samples beside the nearest originals, quality and originality in words, how to repeat it.

The app's result, `mind2mind result` and what is downloaded say what is made here.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import nn

from mind2mind import album, codes, gallery, mindgan, originality
from mind2mind.checkpoints import Model
from mind2mind.codes import Codes
from mind2mind.config import Recipe
from mind2mind.errors import ConfigError
from mind2mind.library import Library
from mind2mind.originality import Originality
from mind2mind.runs import Run
from mind2mind.settings import as_options
from mind2mind.status import RunStatus

SEEDS = range(1000, 1064)  # of the samples shown; a slow model shows the first of them
JUDGED = 1000  # samples whose codes are compared with the originals: milliseconds
OF_SOURCE = 16
SLOW_SIDE = 512  # px; from there on fewer are drawn
# From the quality at the beginning (0) to the floor (1): what to call it
WORDS = ((0.97, "as close as can be"), (0.85, "close"), (0.5, "on the way"), (-1e9, "still far"))


@dataclass(frozen=True, slots=True)
class Quality:
    """How far new pictures are from the ones that were kept aside."""

    value: float  # energy distance of codes, 0 to 1
    floor: float  # of the other originals, which is what a perfect generator would reach
    first: float  # at the beginning
    word: str

    @property
    def told(self) -> str:
        """What the number means, in a sentence."""
        return (
            f"New pictures are at a distance of {self.value:.3f} ({self.word}) from some of yours that were kept "
            f"aside, where 1 is nothing in common; your other pictures, the best there can be, are at "
            f"{max(0.0, self.floor):.3f} from them, and at the beginning the new ones were at {self.first:.3f}."
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a run that has a model."""

    status: RunStatus
    seeds: range  # of the samples
    samples: list[Image.Image]
    originals: list[Image.Image]  # the nearest to each sample; thumbnails
    near: list[bool]  # a sample that is a near copy of its original
    of_source: list[Image.Image]  # samples of the source model; unpaired, its prior is another
    source_title: str
    quality: Quality | None  # None where too few pictures were there to keep some aside
    originality: Originality  # of JUDGED others: the numbers on the card
    distance: list[float]  # from each sample to its original; see Originality
    command: str  # that repeats the run


def quality(status: RunStatus) -> Quality | None:
    """The quality of a run so far, in words; None if it is not measured."""
    if status.quality is None:
        return None
    floor = status.floor if status.floor is not None else 0.0
    first = next((m["quality"] for m in status.metrics if m.get("quality") is not None), status.quality)
    way = 1 - (status.quality - floor) / (first - floor) if first > max(floor, status.quality) else 0.0
    word = next(word for least, word in WORDS if way > least)
    return Quality(status.quality, floor, first, word)


def outcome(library: Library, run: Run, status: RunStatus) -> Outcome:
    """Draws and judges what the run has learnt.

    Raises:
        RunError: it has no model yet.
    """
    model, source = library.model(run.token), library.model(run.info["model"])
    made = codes.of_run(run)
    seeds = SEEDS[: shown(model)]
    samples, originals, seen = album.beside_originals(model, made, seeds)
    return Outcome(
        status=status,
        seeds=seeds,
        samples=samples,
        originals=originals,
        near=seen.near.tolist(),
        of_source=gallery.sample(source, SEEDS[: min(OF_SOURCE, len(seeds))], 1.0, "random"),
        source_title=source.card.title,
        quality=quality(status),
        originality=judged(model.g, model.z_dim, made),
        distance=seen.distance.tolist(),
        command=command(run.info),
    )


def judged(g: nn.Module, z_dim: int, made: Codes) -> Originality:
    """Whether g repeats what it learnt from: by its codes as it gives them, before they are refined."""
    return originality.judge(mindgan.samples(g, z_dim, JUDGED), made.w)


def shown(model: Model) -> int:
    """How many samples a result shows: 64, of 512 px 16, of 1024 px 4."""
    side = model.alae.architecture.resolution
    return len(SEEDS) if side < SLOW_SIDE else max(4, 16 * SLOW_SIDE**2 // side**2)


def command(info: Mapping[str, Any], pictures: Sequence[str] = ("PICTURES",), out: str = "my-run") -> str:
    """The command line that repeats the run of this run.json, with the same pictures in the same order.

    It asks for steps: seconds come to other steps on another computer.
    """
    words = ["mind2mind", "transfer", *pictures, "--model", str(info["model"]), "--out", out]
    words += ["--crop", str(info.get("crop", "centre"))]
    if steps := info.get("steps"):
        words += ["--steps", str(steps)]
    if recipe := info.get("recipe"):
        try:
            words += as_options(Recipe.from_dict(recipe))
        except ConfigError:  # of another version
            words += ["--recipe", str(recipe.get("name"))]
    return shlex.join([*words, "--seed", str(info.get("seed", 0))])
