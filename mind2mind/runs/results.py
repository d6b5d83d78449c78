"""Everything of a run in one zip, for whoever made it: model, samples, film, codes, settings, how to repeat it.

The run.json in it lacks what is the server's or the visitor's secret. Thumbnails are small copies of the originals.
"""

import itertools
import json
import shlex
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mind2mind import draw
from mind2mind.config import as_options
from mind2mind.data import codes
from mind2mind.data.images import grid, save_png, to_image
from mind2mind.draw import save_clip
from mind2mind.errors import COMMAND
from mind2mind.files import atomic, load_tensors
from mind2mind.judge.verdict import Worth, likeness
from mind2mind.models.bundle import PARTS, Model, describe, usage
from mind2mind.models.catalogue import Catalogue, zip_at
from mind2mind.networks import mindgan
from mind2mind.runs.run import CODES, JSON, LOG, METRICS, REPORT, Run, RunInfo, RunStatus, codes_of

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
    stops = [load_tensors(run.preview_path(step))[0]["w"][:count] for step in run.preview_steps()]
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
OF_SOURCE = 16
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
    of_source: list[Image.Image]  # samples of the source model; unpaired, its prior is another
    source_title: str
    worth: Worth | None  # of other samples: the numbers on the card; None with few pictures
    distance: list[float]  # from each sample to its original; see Likeness
    command: str  # that repeats the run

    @property
    def told(self) -> list[str]:
        """What its samples are worth, a sentence each."""
        if self.worth is None:
            return ["With fewer than 20 pictures its worth cannot be told from numbers: judge by eye."]
        return [*self.worth.told.values(), "Judged by your own pictures, as the model reads them."]

    @property
    def python(self) -> str:
        """Draws with the model, beside its unzipped folder."""
        return f"import mind2mind\n{usage(self.status.name)}"


def outcome(library: Catalogue, run: Run, status: RunStatus, seeds: Sequence[int] | None = None) -> Outcome:
    """Draws and judges what the run has learnt; of the samples of `seeds`, or as many of SEEDS as are quick.

    Raises:
        RunError: it has no model yet.
    """
    model, source = library.load(run.token), library.load(run.info.model)
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
        of_source=draw.sample(source, SEEDS[: min(OF_SOURCE, shown(model))]),
        source_title=source.card.title,
        worth=status.worth or worth_of(model, made.w),
        distance=seen.distance.tolist(),
        command=command(run.info),
    )


def worth_of(model: Model, originals: Tensor) -> Worth | None:
    """What a transfer's samples are worth as they are drawn, beside the codes (N, latent_size) it learnt from."""
    count = JUDGED
    if model.refinements:
        count = max(len(SEEDS), min(JUDGED, JUDGED_PIXELS // model.alae.architecture.resolution**2))
    w = model.refined(mindgan.samples(model.g, model.z_dim, count, seed=2))
    return likeness(w, originals).worth


def shown(model: Model) -> int:
    """How many samples a result shows: 64, of 512 px 16, of 1024 px 4."""
    side = model.alae.architecture.resolution
    return len(SEEDS) if side < SLOW_SIDE else max(4, 16 * SLOW_SIDE**2 // side**2)


def command(info: RunInfo, out: str = "my-run") -> str:
    """The command line that repeats the run of this run.json, with the same pictures in the same order.

    It asks for steps: seconds come to other steps on another computer.
    """
    words = ["transfer", "PICTURES", "--model", info.model, "--out", out, "--crop", info.crop]
    if info.steps:
        words += ["--steps", str(info.steps)]
    if info.recipe:
        words += as_options(info.recipe)
    return f"{COMMAND} {shlex.join([*words, '--seed', str(info.seed)])}"


SECRETS = ("visitor", "address")  # of run.json
FILM = "film.mp4"


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
        inside |= {run.folder / part: part for part in (CODES, codes.BESIDE, REPORT, METRICS, LOG)}
        samples = draw.sample(model, SEEDS[: shown(model)])
        for image in (*samples, grid(samples)):
            file = Path(folder) / f"{image.info.get('seed', 'sheet')}.png"
            save_png(image, file)
            inside[file] = f"samples/{file.name}"
        if run.preview_steps():
            save_clip(film(library, run), Path(folder) / FILM, FPS)
            inside[Path(folder) / FILM] = FILM
        for file, place in inside.items():
            if file.exists():
                archive.write(file, place)
        told = {key: value for key, value in asdict(info).items() if key not in SECRETS}
        archive.writestr(JSON, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        archive.writestr("README.txt", _read_me(name, command(info, out=name)))
    return path


def _read_me(name: str, command: str) -> str:
    return f"""{name}/ is the model. Its README.md is its card. Python draws with it:

    import mind2mind
    {usage(name)}

The app takes it back: zip that folder, then Sample, More, "Open a downloaded model".
The same pictures in the same order give the same run again (on one kind of computer, to the bit):

    {command}

samples/: new pictures; each file says in itself which model and seed drew it
{FILM}: the same random inputs as the training went on
codes.safetensors: what the model's encoder made of your pictures; thumbnails.safetensors: small copies of them.
Keep both to yourself.
report.json: what became of each of your files; run.json: settings and numbers; metrics.jsonl: the curves
"""
