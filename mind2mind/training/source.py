"""From a folder of pictures to the bundle of a source model.

`make_source` reads the pictures, trains an ALAE on them (`pretrain`), encodes them, lets a MindGAN learn their codes
as its prior where the recipe does not train F, and writes the bundle with its card and preview. The recipe's trainee
says what a step of the training is: `autoencoder` (E and G learn to rebuild) or `adversarial` (ALAE's own training,
which grows from 4 px). Here either is driven, looked at on held-out pictures, and told of.
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
from torch import Tensor

from mind2mind.config import (
    BLEND_KIMG,
    PRIOR,
    PRIOR_STEPS,
    Architecture,
    PaperRecipe,
    PretrainRecipe,
    SourceRecipe,
    batch_of,
    size_text,
)
from mind2mind.data import codes
from mind2mind.data.dataset import Pictures, Reading
from mind2mind.data.images import from_uint8, grid, save_png, to_image
from mind2mind.draw import save_sheet
from mind2mind.errors import ConfigError, DataError, RunError, TrainingError
from mind2mind.files import read_meta
from mind2mind.judge.metrics import nearest, psnr
from mind2mind.judge.verdict import own_numbers
from mind2mind.models.bundle import PREVIEW, WEIGHTS, Card, ModelInfo, load_source, save_source
from mind2mind.networks.alae import ALAE
from mind2mind.training.adversarial import AdversarialTrainee
from mind2mind.training.autoencoder import PixelTrainee, Trainee
from mind2mind.training.transfer import Progress, exported, train

TRAINEES: dict[type, type[Trainee]] = {PretrainRecipe: PixelTrainee, PaperRecipe: AdversarialTrainee}
CHECKPOINT = "last.safetensors"
FEWEST_PICTURES = 16
SHOWN = 32  # held-out pictures and samples in a preview
HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 1000  # of the pictures, in the order of their names, from the end
PRIOR_CODES = 30_000
KNOWN_NUMBERS = 10**8  # of the training pictures that retrieval and PCA know: 8,000 of 64 px
TRIED_SECONDS, TRIED_STEPS = 20.0, 30  # of every stage, to see how fast the training is
STAND_IN = (
    "The encoder and the decoder were trained by the pixel term. F and D were not trained and are left out: a "
    "MindGAN trained on the codes of the training pictures draws the samples in F's place."
)


@dataclass(frozen=True, slots=True)
class PretrainProgress:
    """Every `log_every` thousand pictures; the checkpoint, and the pictures in its folder, are as new."""

    kimg: float  # thousands of pictures seen
    total_kimg: float
    losses: dict[str, float]  # each term's mean since the last event
    held_out_psnr: float  # dB, mean over the held-out pictures at this resolution, noise off
    resolution: int  # px a side that are trained now; full size unless the recipe grows
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Made:
    """Always last: the bundle is in `folder`, its numbers on the card."""

    folder: Path
    card: Card


MakeEvent = Reading | PretrainProgress | Progress | Made


def make_source(
    sources: Sequence[Path],
    architecture: Architecture,
    recipe: SourceRecipe,
    out: Path,
    *,
    kimg: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    resume: bool = False,
    start: Path | None = None,
    device: str | torch.device = "cpu",
    card: Card,
    prior_steps: int = PRIOR_STEPS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[MakeEvent]:
    """Trains a source model and writes its bundle into `out`; yields events, `Made` last.

    `Reading` tells of the reading, `PretrainProgress` of the autoencoder, and `Progress` of the MindGAN that stands
    in for F.

    While it trains, `out/reconstructions.png` shows held-out pictures beside what becomes of them, and where the
    recipe trains F `out/samples.png` shows its samples. A stopped training is saved (`out/last.safetensors`) and
    no bundle is written: resume it.

    Args:
        kimg, minutes: how long, exactly one of them; minutes become thousands of pictures in a warm-up, once: a
            training that is resumed keeps them.
        start: the bundle of a source whose weights the training begins with. It is of this architecture, or of
            its `inner` one: then the outermost level is new and blended in.
        card: what to tell of the model; its numbers are added.
        prior_steps: generator steps of the MindGAN that stands in for F where the recipe does not train it.

    Raises:
        ConfigError: not exactly one of kimg and minutes, or `start` does not fit the architecture.
        DataError: too few usable pictures, or more than fit into memory.
        RunError: `out` holds a training or a bundle, and it is not to be resumed.
        TrainingError: see `pretrain`.
    """
    if bool(kimg) == bool(minutes):
        raise ConfigError("The length of the training is not clear.", "Give either --kimg or --minutes.")
    if resume and kept_kimg(out) is None:  # said at once, not after an hour of reading pictures
        raise TrainingError(f"There is no checkpoint {out / CHECKPOINT}.", "Leave --resume out to begin.")
    if not resume and any((out / name).exists() for name in (CHECKPOINT, WEIGHTS)):
        raise RunError(f"There is already a training in {out}.", "Resume it, or choose another folder.")
    alae, numbers = new_alae(architecture, seed), dict[str, Any]()
    if start:
        begun = _begin_with(alae, start)
        if begun.resolution != architecture.resolution and isinstance(recipe, PretrainRecipe):
            recipe = replace(recipe, blend_kimg=BLEND_KIMG)  # the paper's blends each level in anyway
        numbers["started_from"] = f"{begun.id} ({begun.numbers.get('kimg', 'unknown')} kimg)"
    alae.to(device)
    pictures = Pictures(sources, resolution=architecture.resolution, channels=architecture.image_channels)
    needed = pictures.count * architecture.image_channels * architecture.resolution**2
    free = psutil.virtual_memory().available
    if needed > 0.7 * free:
        problem = f"The pictures need {size_text(needed)} of memory, and {size_text(free)} are free."
        raise DataError(problem, "Give fewer pictures or choose a smaller architecture.")

    def make() -> Iterator[MakeEvent]:
        training, held_out = yield from _read(pictures)
        planned = kimg or (read_meta(out / CHECKPOINT).get("length", 0) / 1000 if resume else 0)
        total = planned or kimg_for(new_alae(architecture, seed).to(device), training, recipe, minutes or 0)
        seen = yield from pretrain(
            alae, training, held_out, recipe, total_kimg=total, out=out, seed=seed, resume=resume,
            should_stop=should_stop,
        )  # fmt: skip
        if seen is None:
            return
        alae.eval()
        numbers.update(kimg=seen, training_pictures=len(training))
        prior, notes = None, card.notes
        if isinstance(recipe, PretrainRecipe):
            w = codes.of_pixels(alae, training[:PRIOR_CODES])
            alae.w_avg.copy_(w.mean(dim=0))
            events = train(w, PRIOR, prior_steps, out / "prior", seed=seed, device=device)
            yield from (event for event in events if isinstance(event, Progress))
            prior, _, _ = exported(out / "prior")
            numbers["prior_steps"], notes = prior_steps, notes or STAND_IN
        numbers.update(card_numbers(alae, training, held_out) | card.numbers)
        told = replace(card, notes=notes, numbers=numbers)
        save_source(out, alae, told, prior=prior, refinements=recipe.refinements)
        save_sheet(load_source(out, device), out / PREVIEW)
        yield Made(out, told)

    return make()


def _begin_with(alae: ALAE, start: Path) -> ModelInfo:
    """Gives a network the weights of the bundle in `start`; returns that one's card.

    Raises:
        ConfigError: it is neither of the network's architecture nor of its `inner` one.
    """
    begun = load_source(start)
    own = begun.alae.architecture
    if own == alae.architecture:
        alae.load_state_dict(begun.alae.state_dict(), strict=False)  # it may lack F and D
    elif own == alae.architecture.inner:
        alae.grow(begun.alae)
    else:
        problem = f"'{begun.card.id}' is of another architecture than this, and does not grow into it."
        fix = f"Give the architecture of {start} or the one of twice its size, or leave it out."
        raise ConfigError(problem, fix)
    return begun.card


def _read(pictures: Pictures) -> Generator[Reading, None, tuple[Tensor, Tensor]]:
    """All pictures, uint8 (N, C, H, W): those to train on, and those held out."""
    count, side = 0, pictures.resolution
    pixels = torch.empty(pictures.count, pictures.channels, side, side, dtype=torch.uint8)
    for count, picture in enumerate(pictures, start=1):
        pixels[count - 1] = picture.pixels
        if count % 100 == 0:
            yield Reading(count, pictures.count)
    if count < FEWEST_PICTURES:
        raise DataError(f"Only {count} pictures can be used.", "A source needs some thousands of one kind.")
    held = min(HELD_OUT_MOST, round(count * HELD_OUT_SHARE))
    return pixels[: count - held], pixels[count - held : count]


def new_alae(architecture: Architecture, seed: int) -> ALAE:
    """An untrained ALAE, the same for the same seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and no other device's
        return ALAE(architecture)


def card_numbers(alae: ALAE, training: Tensor, held_out: Tensor) -> dict[str, float]:
    """The numbers of a trained ALAE's card, from uint8 pictures (N, C, H, W) and (M, C, H, W), which it never saw.

    `nearest_picture_psnr` and `pca64_psnr` are what the held-out pictures lose if they are shown as the nearest
    training picture, or as their 64 first components; both know as many training pictures as KNOWN_NUMBERS allows.
    """
    known = training[: max(2, KNOWN_NUMBERS // training[0].numel())]
    x, y = from_uint8(known).flatten(1), from_uint8(held_out).flatten(1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        _, _, axes = torch.pca_lowrank(x, q=min(64, *x.shape), niter=4)
    mean = x.mean(dim=0)

    def mean_psnr(shown: Tensor) -> float:
        return round(psnr(shown.view(held_out.shape), y.view(held_out.shape)).mean().item(), 2)

    return {
        "held_out_pictures": len(held_out),
        **own_numbers(alae, held_out),
        "nearest_picture_psnr": mean_psnr(x[nearest(y, x)[1][:, 0]]),
        "pca64_psnr": mean_psnr(((y - mean) @ axes @ axes.T + mean).clamp(-1, 1)),
    }


def pretrain(
    alae: ALAE,
    pictures: Tensor,
    held_out: Tensor,
    recipe: SourceRecipe,
    *,
    total_kimg: float,
    out: Path,
    seed: int = 0,
    resume: bool = False,
    log_every: float = 5.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[PretrainProgress, None, float | None]:
    """Trains an ALAE, already on its device, which ends with the average of its weights.

    Yields what is seen of held-out pictures and writes it into `out`: `reconstructions.png`, and `samples.png` where
    F is trained. Returns how many thousands of pictures it has seen; None if it was stopped.

    Args:
        alae: the network; trained in place.
        pictures: uint8 (N, C, H, W), of the network's size.
        held_out: others, for the numbers and previews.
        recipe: how to train.
        total_kimg: thousands of pictures to see in all.
        out: the folder of the checkpoint `last.safetensors`.
        seed: of everything random.
        resume: go on from the checkpoint, with the settings that it was begun with; only ALAE's own training takes
            more pictures than then, and stays longer at full size.
        log_every: thousands of pictures between two looks at the held-out ones; a checkpoint goes with each.
        should_stop: polled every step; a stopped training is saved first.

    Raises:
        WeightsError: there is nothing to resume.
        TrainingError: what is to be resumed was begun with other settings; while training: the loss became nan (the
            last checkpoint is kept).
    """
    total, every = max(1, round(total_kimg * 1000)), max(1, round(log_every * 1000))
    trainee = TRAINEES[type(recipe)](alae, recipe, seed, total)
    if resume:
        trainee.load(out / CHECKPOINT)

    def save(losses: Tensor) -> dict[str, float]:
        """Writes a checkpoint, if the losses are numbers; gives them by name."""
        named = dict(zip(trainee.losses, losses.tolist(), strict=True))
        if not all(map(math.isfinite, named.values())):
            fix = f"{out / CHECKPOINT} is as it was. Begin anew with a lower learning rate or another seed."
            raise TrainingError(f"The loss became nan before step {trainee.step}.", fix)
        trainee.save(out / CHECKPOINT)
        return named

    begun, first = time.monotonic(), trainee.work(trainee.seen)
    sums, since = torch.zeros(len(trainee.losses), device=trainee.device), 0
    while trainee.seen < total:
        if should_stop():
            save(sums)
            return None
        before = trainee.seen // every
        sums += trainee.advance(pictures)
        since += 1
        if trainee.seen // every > before or trainee.seen >= total:
            losses = save(sums / since)
            sums.zero_()
            since = 0
            (seen_psnr, side), done = _look(trainee, held_out, out), trainee.work(trainee.seen)
            left = (time.monotonic() - begun) / (done - first) * max(0.0, trainee.work(total) - done)
            yield PretrainProgress(trainee.seen / 1000, total_kimg, losses, seen_psnr, side, left)
    trainee.swap()
    return trainee.seen / 1000


def kimg_for(alae: ALAE, pictures: Tensor, recipe: SourceRecipe, minutes: float) -> float:
    """How many thousands of pictures fit into `minutes` here and now; the given network is used up.

    Every stage of the training is tried, for about TRIED_SECONDS in all or for TRIED_STEPS each, but at least
    for one step after a first that is not counted.
    """
    trainee = TRAINEES[type(recipe)](alae, recipe, 0, 10**9)
    stages = [share for share, _ in trainee.stages()]
    seconds = 0.0  # that one picture takes, on average over the stages
    for i, share in enumerate(stages):
        if share > 0:
            trainee.seen = math.ceil(trainee.total * (sum(stages[:i]) + 0.2 * share))
            trainee.advance(pictures).tolist()
            begun, first = time.monotonic(), trainee.seen
            for _ in range(TRIED_STEPS):
                trainee.advance(pictures).tolist()
                if time.monotonic() - begun >= TRIED_SECONDS / len(stages):
                    break
            seconds += share * (time.monotonic() - begun) / (trainee.seen - first)
    return max(0.001, 60 * minutes / seconds / 1000)


def kept_kimg(out: Path) -> float | None:
    """Thousands of pictures that the checkpoint in `out` has seen; None where there is none."""
    return float(read_meta(out / CHECKPOINT)["kimg"]) if (out / CHECKPOINT).exists() else None


@torch.no_grad()
def _look(trainee: Trainee, held_out: Tensor, out: Path) -> tuple[float, int]:
    """How well held-out pictures come back by the averaged weights, in dB, and of what size; shows it in `out`."""
    values: list[Tensor] = []
    shown: list[Tensor] = []
    trainee.swap()
    for chunk in held_out.split(batch_of(held_out.shape[-1])):
        x, y = trainee.look(from_uint8(chunk.to(trainee.device)))
        values.append(psnr(y.float().clamp(-1, 1), x))
        if sum(map(len, shown)) < SHOWN:
            shown.append(torch.cat([x, y], dim=3))
    samples = trainee.samples(SHOWN)
    trainee.swap()
    for name, pictures in (("reconstructions", torch.cat(shown)[:SHOWN]), ("samples", samples)):
        if pictures is not None:
            enlarged = F.interpolate(pictures.float(), scale_factor=held_out.shape[-1] // x.shape[-1])
            images = [to_image(picture) for picture in enlarged.cpu()]
            save_png(grid(images, columns=8, gap=0), out / f"{name}.png")
    return torch.cat(values).mean().item(), x.shape[-1]
