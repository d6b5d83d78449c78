"""From a folder of pictures to the bundle of a source model.

Loads the pictures, trains an ALAE on them (`pretrain`), encodes them, lets a MindGAN learn their codes as
its prior where the recipe does not train F, and writes the bundle with its card and preview.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mind2mind import draw as gallery
from mind2mind.config import (
    LOCAL,
    PRIOR,
    PRIOR_STEPS,
    Architecture,
    Limits,
    PaperRecipe,
    PretrainRecipe,
    batch_of,
)
from mind2mind.data import codes
from mind2mind.data.dataset import Pictures
from mind2mind.data.images import from_uint8, grid, save_png, to_image
from mind2mind.errors import ConfigError, DataError, TrainingError
from mind2mind.judge.metrics import ROWS, psnr
from mind2mind.judge.verdict import own_numbers
from mind2mind.models.bundle import Card, load_source, save_source
from mind2mind.networks.alae import ALAE
from mind2mind.training.adversarial import AdversarialTrainee
from mind2mind.training.autoencoder import PixelTrainee, Trainee
from mind2mind.training.transfer import Progress, exported, train

# --- What a source's card tells of it, measured on pictures that it was not trained on.

KNOWN_NUMBERS = 10**8  # of the training pictures that retrieval and PCA know: 8,000 of 64 px


def card_numbers(alae: ALAE, training: Tensor, held_out: Tensor) -> dict[str, float]:
    """The numbers of a trained ALAE's card, from uint8 pictures (N, C, H, W) and (M, C, H, W)."""
    return {
        "held_out_pictures": len(held_out),
        **own_numbers(alae, held_out),
        **_baselines(training, held_out),
    }


def _baselines(training: Tensor, held_out: Tensor) -> dict[str, float]:
    """What the held-out pictures lose if shown as the nearest training picture, or as their 64 first components.

    Mean PSNR in dB; both know as many training pictures as KNOWN_NUMBERS allows.
    """
    known = training[: max(2, KNOWN_NUMBERS // training[0].numel())]
    x, y = (from_uint8(pictures).flatten(1) for pictures in (known, held_out))
    nearest_one = torch.cat([torch.cdist(part, x).argmin(dim=1) for part in y.split(ROWS)])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        _, _, axes = torch.pca_lowrank(x, q=min(64, *x.shape), niter=4)
    mean = x.mean(dim=0)
    projected = (y - mean) @ axes @ axes.T + mean

    def mean_psnr(shown: Tensor) -> float:
        return round(psnr(shown.view(held_out.shape), y.view(held_out.shape)).mean().item(), 2)

    return {
        "nearest_picture_psnr": mean_psnr(x[nearest_one]),
        "pca64_psnr": mean_psnr(projected.clamp(-1, 1)),
    }


# --- Trains an ALAE on any folder of pictures: how a source model comes to know its domain.
# One loop for every recipe: `pixelwise` (E and G learn to rebuild) and `adversarial` (ALAE's own training, which
# grows from 4 px) say what a step is. This file drives them, looks at held-out pictures and tells of it all.

CHECKPOINT = "last.safetensors"
FEWEST_PICTURES = 16
SHOWN = 32  # held-out pictures and samples in a preview


@dataclass(frozen=True, slots=True)
class PretrainProgress:
    """Numbers, every `log_every` thousand pictures."""

    kimg: float  # thousands of pictures seen
    total_kimg: float
    losses: dict[str, float]  # each term's mean since the last event
    held_out_psnr: float  # dB, mean over the held-out pictures at this resolution, noise off
    resolution: int  # px a side that are trained now; full size unless the recipe grows
    seconds: float  # since this call began
    seconds_left: float


@dataclass(frozen=True, slots=True)
class PretrainPreview:
    """Pictures (N, C, H, W) of full size, nominally in [-1, 1], on the CPU; of a lower level they are enlarged."""

    kimg: float
    originals: Tensor  # held out
    reconstructions: Tensor
    samples: Tensor | None  # F's, of the same z each time; None where the recipe does not train F


@dataclass(frozen=True, slots=True)
class PretrainSaved:
    kimg: float
    path: Path


@dataclass(frozen=True, slots=True)
class PretrainFinished:
    """Always last. The model given to `pretrain` now holds the averaged weights."""

    kimg: float
    stopped: bool
    seconds: float


PretrainEvent = PretrainProgress | PretrainPreview | PretrainSaved | PretrainFinished


def pretrain(
    alae: ALAE,
    pictures: Tensor,
    held_out: Tensor,
    recipe: PretrainRecipe | PaperRecipe,
    *,
    total_kimg: float,
    out: Path,
    seed: int = 0,
    resume: bool = False,
    log_every: float = 5.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[PretrainEvent]:
    """Trains the ALAE in place and yields events; the checkpoint is `out/last.safetensors`.

    Args:
        alae: the network, already on its device.
        pictures, held_out: uint8 (N, C, H, W) at the network's full size; `held_out` is never trained on.
        total_kimg: thousands of pictures in all, a batch more at most. A resumed training may be given
            another number: the pixel term's learning rate then follows the new schedule from there, and ALAE's
            own training stays longer at full size.
        log_every: thousands of pictures between two looks at the held-out ones; a checkpoint goes with each.
        should_stop: polled every step; a stopped training is saved first.

    Raises:
        DataError: too few pictures, or of another size than the network's.
        TrainingError: there is nothing to resume, or the loss became nan (the last checkpoint is kept).
    """
    a = alae.architecture
    shape = (a.image_channels, a.resolution, a.resolution)
    if len(pictures) < FEWEST_PICTURES or len(held_out) < 1:
        raise DataError(
            f"There are {len(pictures)} pictures to train on and {len(held_out)} held out.",
            f"A source model needs at least {FEWEST_PICTURES} and 1; some thousands make a good one.",
        )
    if tuple(pictures.shape[1:]) != shape or tuple(held_out.shape[1:]) != shape:
        raise DataError(
            f"The pictures are {tuple(pictures.shape[1:])}, the architecture wants {shape} (C, H, W).",
            "Choose the architecture of the pictures' size and channels.",
        )
    trainee = new_trainee(alae, recipe, seed, max(1, round(total_kimg * 1000)))
    if resume:
        check_resumable(out)
        trainee.load(out / CHECKPOINT)
    return _loop(trainee, pictures, held_out, total_kimg, out, log_every, should_stop)


def check_resumable(out: Path) -> None:
    """Raises TrainingError where there is nothing to go on from."""
    if not (out / CHECKPOINT).exists():
        raise TrainingError(
            f"There is no checkpoint {out / CHECKPOINT}.", "Leave --resume out to begin anew."
        )


def new_trainee(alae: ALAE, recipe: PretrainRecipe | PaperRecipe, seed: int, total: int) -> Trainee:
    """What trains the network by this recipe, on `total` pictures."""
    if isinstance(recipe, PaperRecipe):
        return AdversarialTrainee(alae, recipe, seed, total)
    return PixelTrainee(alae, recipe, seed, total)


def kimg_for(
    alae: ALAE,
    pictures: Tensor,
    recipe: PretrainRecipe | PaperRecipe,
    minutes: float,
    measuring: float = 20.0,
) -> float:
    """How many thousands of pictures fit into `minutes` here and now; the given network is used up.

    Every stage of the training is tried, for about `measuring` seconds in all or for 30 steps each, but at least
    for one step after a first that is not counted.
    """
    trainee = new_trainee(alae, recipe, 0, 10**9)
    stages = trainee.stages()
    seconds = 0.0  # that one picture takes, on average over the stages
    for share, moment in stages:
        trainee.seen = moment
        trainee.advance(pictures).tolist()
        begun, first, steps = time.monotonic(), trainee.seen, 0
        while steps < 30 and (steps == 0 or time.monotonic() - begun < measuring / len(stages)):
            trainee.advance(pictures).tolist()
            steps += 1
        seconds += share * (time.monotonic() - begun) / (trainee.seen - first)
    return max(0.001, 60 * minutes / seconds / 1000)


def _loop(
    trainee: Trainee,
    pictures: Tensor,
    held_out: Tensor,
    total_kimg: float,
    out: Path,
    log_every: float,
    should_stop: Callable[[], bool],
) -> Iterator[PretrainEvent]:
    total, every = max(1, round(total_kimg * 1000)), max(1, round(log_every * 1000))
    first, begun, stopped = trainee.seen, time.monotonic(), False
    sums, since = torch.zeros(len(trainee.losses), device=trainee.device), 0
    while trainee.seen < total and not (stopped := should_stop()):
        before = trainee.seen // every
        sums += trainee.advance(pictures)
        since += 1
        if trainee.seen // every > before or trainee.seen >= total:
            losses = _checked(trainee, sums / since, out)
            sums.zero_()
            since = 0
            preview, quality, resolution = _look(trainee, held_out)
            seconds = time.monotonic() - begun
            done = trainee.work(trainee.seen)
            left = seconds / (done - trainee.work(first)) * max(0.0, trainee.work(total) - done)
            kimg = trainee.seen / 1000
            yield PretrainProgress(kimg, total_kimg, losses, quality, resolution, seconds, left)
            yield preview
            trainee.save(out / CHECKPOINT)
            yield PretrainSaved(kimg, out / CHECKPOINT)
    if stopped:
        _checked(trainee, sums, out)
        trainee.save(out / CHECKPOINT)
        yield PretrainSaved(trainee.seen / 1000, out / CHECKPOINT)
    trainee.swap()
    yield PretrainFinished(trainee.seen / 1000, stopped, time.monotonic() - begun)


def _checked(trainee: Trainee, losses: Tensor, out: Path) -> dict[str, float]:
    """The losses by their names; raises TrainingError where one is no number."""
    named = dict(zip(trainee.losses, losses.tolist(), strict=True))
    if not all(map(math.isfinite, named.values())):
        raise TrainingError(
            f"The loss became nan before step {trainee.step}.",
            f"{out / CHECKPOINT} is as it was. Begin anew with a lower learning rate or another seed.",
        )
    return named


@torch.no_grad()
def _look(trainee: Trainee, held_out: Tensor) -> tuple[PretrainPreview, float, int]:
    """The averaged weights' work on held-out pictures, the mean PSNR of all in dB, and the pixels a side."""
    trainee.swap()
    try:
        values: list[Tensor] = []
        shown: list[Tensor] = []
        for chunk in held_out.split(batch_of(held_out.shape[-1])):
            x, y = trainee.look(from_uint8(chunk.to(trainee.device)))
            values.append(psnr(y.float().clamp(-1, 1), x))
            shown = shown or [x[:SHOWN], y[:SHOWN]]
        samples = trainee.samples(SHOWN)
    finally:
        trainee.swap()
    side = held_out.shape[-1]
    originals, reconstructions = (_enlarged(x, side) for x in shown)
    preview = PretrainPreview(
        trainee.seen / 1000, originals, reconstructions, None if samples is None else _enlarged(samples, side)
    )
    return preview, torch.cat(values).mean().item(), shown[0].shape[-1]


def _enlarged(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x.float(), size=side, mode="nearest").cpu()


HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 1000  # of the pictures, in the order of their names, from the end
PRIOR_CODES = 30_000
PREVIEWED = 32
STAND_IN = (
    "The encoder and the decoder were trained by the pixel term. F and D are as they were initialised: a MindGAN "
    "trained on the codes of the training pictures draws the samples in F's place."
)


@dataclass(frozen=True, slots=True)
class Loading:
    """Pictures read so far."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PriorProgress:
    """The training of the prior, after that of the autoencoder."""

    step: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Made:
    """Always last: the bundle is in `folder`, its numbers on the card."""

    folder: Path
    card: Card


MakeEvent = PretrainEvent | Loading | PriorProgress | Made


def make_source(
    sources: Sequence[Path],
    architecture: Architecture,
    recipe: PretrainRecipe | PaperRecipe,
    out: Path,
    *,
    kimg: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    resume: bool = False,
    start: Path | None = None,
    device: str | torch.device = "cpu",
    limits: Limits = LOCAL,
    card: Card | None = None,
    prior_steps: int = PRIOR_STEPS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[MakeEvent]:
    """Trains a source model and writes its bundle into `out`; yields events, `Made` last.

    While it trains, `out/reconstructions.png` shows held-out pictures beside what becomes of them, and where the
    recipe trains F `out/samples.png` shows its samples. A stopped training is saved (`out/last.safetensors`) and
    no bundle is written: resume it.

    Args:
        kimg, minutes: how long, exactly one of them; minutes become thousands of pictures in a warm-up.
        start: the bundle of a source of this architecture whose weights the training begins with.
        card: what to tell of the model; None takes its name from `out`.
        prior_steps: generator steps of the MindGAN that stands in for F where the recipe does not train it.

    Raises:
        ConfigError: not exactly one of kimg and minutes, or `start` is of another architecture.
        DataError: too few usable pictures, or more than fit into memory.
        TrainingError: see `pretrain`.
    """
    if (kimg is None) == (minutes is None):
        raise ConfigError("The length of the training is not clear.", "Give either --kimg or --minutes.")
    if resume:
        check_resumable(out)  # not only after an hour of reading pictures
    alae, numbers = new_alae(architecture, seed), dict[str, Any]()
    if start:
        numbers["started_from"] = _begin(alae, start)
    pictures = Pictures(
        sources, resolution=architecture.resolution, channels=architecture.image_channels, limits=limits
    )
    _check_memory(architecture, pictures.count)
    card = card or Card(id=out.name, title=out.name, knows="what it was trained on", credit="", licence="")
    plan = _Plan(recipe, kimg, minutes, seed, resume, prior_steps, should_stop)
    return _make(pictures, alae.to(device), plan, out, card, numbers)


def _begin(alae: ALAE, start: Path) -> str:
    """Gives the ALAE the weights of a bundle, and says which those are."""
    model = load_source(start)
    if model.alae.architecture != alae.architecture:
        raise ConfigError(
            f"'{model.card.id}' is of another architecture than the model to be.",
            f"Give the architecture of {start}, or leave it out.",
        )
    alae.load_state_dict(model.alae.state_dict())
    return f"{model.card.id} ({model.card.numbers.get('kimg', 'unknown')} kimg)"


def _check_memory(architecture: Architecture, count: int) -> None:
    needed = count * architecture.image_channels * architecture.resolution**2
    free = psutil.virtual_memory().available
    if needed > 0.7 * free:
        raise DataError(
            f"{count} pictures of {architecture.resolution} px need {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free.",
            "Give fewer pictures or choose a smaller architecture.",
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a source is trained; the fields are arguments of `make_source`."""

    recipe: PretrainRecipe | PaperRecipe
    kimg: float | None
    minutes: float | None
    seed: int
    resume: bool
    prior_steps: int
    should_stop: Callable[[], bool]

    def length(self, alae: ALAE, training: Tensor) -> float:
        """Thousands of pictures; a given time is turned into them by a warm-up of another such ALAE."""
        if self.minutes is None:
            assert self.kimg is not None
            return self.kimg
        warm = new_alae(alae.architecture, self.seed).to(alae.w_avg.device)
        return kimg_for(warm, training, self.recipe, self.minutes)


def _make(
    pictures: Pictures, alae: ALAE, plan: _Plan, out: Path, card: Card, numbers: dict[str, Any]
) -> Iterator[MakeEvent]:
    training, held_out = yield from _read(pictures)
    finished = None
    for event in pretrain(
        alae, training, held_out, plan.recipe, total_kimg=plan.length(alae, training), out=out,
        seed=plan.seed, resume=plan.resume, should_stop=plan.should_stop,
    ):  # fmt: skip
        yield event
        if isinstance(event, PretrainPreview):
            pairs = torch.cat([event.originals, event.reconstructions], dim=3)
            _save_grid([to_image(pair) for pair in pairs], out / "reconstructions.png")
            if event.samples is not None:
                _save_grid([to_image(sample) for sample in event.samples], out / "samples.png")
        if isinstance(event, PretrainFinished):
            finished = event
    if finished is None or finished.stopped:
        return
    yield from finish(
        alae, training, held_out, out, card, seed=plan.seed,
        prior_steps=0 if plan.recipe.trains_f else plan.prior_steps,
        refinements=plan.recipe.refinements,
        numbers={**numbers, "kimg": finished.kimg, "training_pictures": len(training)},
    )  # fmt: skip


def _read(pictures: Pictures) -> Generator[Loading, None, tuple[Tensor, Tensor]]:
    """All pictures, uint8 (N, C, H, W): those to train on, and those held out."""
    count = 0
    pixels = torch.empty(
        pictures.count, pictures.channels, pictures.resolution, pictures.resolution, dtype=torch.uint8
    )
    for picture in pictures:
        pixels[count] = picture.pixels
        count += 1
        if count % 100 == 0:
            yield Loading(count, pictures.count)
    held = min(HELD_OUT_MOST, round(count * HELD_OUT_SHARE))
    if held < 1:
        raise DataError(
            f"Only {count} pictures can be used.", "A source model needs some thousands of one kind."
        )
    return pixels[: count - held], pixels[count - held : count]


def new_alae(architecture: Architecture, seed: int) -> ALAE:
    """An untrained ALAE, the same for the same seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and no other device's
        return ALAE(architecture)


def finish(
    alae: ALAE,
    training: Tensor,
    held_out: Tensor,
    out: Path,
    card: Card,
    *,
    prior_steps: int,
    refinements: int = 0,
    seed: int = 0,
    numbers: dict[str, Any],
) -> Iterator[MakeEvent]:
    """Measures a trained autoencoder and writes its bundle; with `prior_steps`, trains its prior first."""
    alae.eval()
    prior = None
    if prior_steps:
        w = codes.of_pixels(alae, training[:PRIOR_CODES])
        alae.w_avg.copy_(w.mean(dim=0))
        folder, device = out / "prior", alae.w_avg.device
        for event in train(w, PRIOR, prior_steps, seed=seed, folder=folder, device=device):
            if isinstance(event, Progress):
                yield PriorProgress(event.step, event.total_steps)
        prior, _, _ = exported(folder)
        numbers = {**numbers, "prior_steps": prior_steps}
        card = replace(card, notes=card.notes or STAND_IN)
    card = replace(card, numbers={**numbers, **card_numbers(alae, training, held_out), **card.numbers})
    save_source(out, alae, card, prior=prior, refinements=refinements)
    _preview(out, alae.w_avg.device)
    yield Made(out, card)


def _preview(out: Path, device: torch.device) -> None:
    """The first seeds' pictures, as the bundle draws them."""
    model = load_source(out, device)
    _save_grid(gallery.draw(model, gallery.codes_of(model, range(PREVIEWED))), out / "preview.png")


def _save_grid(pictures: Sequence[Image.Image], path: Path) -> None:
    save_png(grid(pictures, columns=8, gap=0), path)
