"""Trains an ALAE on any folder of pictures: how a source model comes to know its domain.

One loop for every recipe: `pixelwise` (E and G learn to rebuild) and `adversarial` (ALAE's own training, which
grows from 4 px) say what a step is. This file drives them, looks at held-out pictures and tells of it all.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mind2mind.adversarial import AdversarialTrainee
from mind2mind.alae import ALAE
from mind2mind.config import PaperRecipe, PretrainRecipe
from mind2mind.errors import DataError, TrainingError
from mind2mind.images import from_uint8
from mind2mind.metrics import psnr
from mind2mind.pixelwise import PixelTrainee
from mind2mind.trainee import Trainee

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
        for chunk in held_out.split(64):
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
