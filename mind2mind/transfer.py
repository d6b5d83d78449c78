"""Learns the distribution of a target's codes: MindGAN's training as a generator of events.

Mind2Mind (arXiv 1906.11613), section "Algorithm"; loop and numbers of the recipe `paper` as in the reference
module_mind/train.py. The steps are the learner's; here they are counted, looked at, saved and told of.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mind2mind.config import Recipe
from mind2mind.errors import ConfigError, TrainingError
from mind2mind.learner import LAST, Learner

LOOKS = 40  # at the quality, in a run
LOGS = 200
PREVIEWS = 20
SAVE_SECONDS = 5.0
WARM_UP_SECONDS = 0.5
FAR_LOOKS = 2  # in a row that end a training: one may be chance


@dataclass(frozen=True, slots=True)
class Progress:
    """Numbers, about 200 times a run; means since the last event."""

    step: int
    total_steps: int
    critic_loss: float
    generator_loss: float
    gap: float  # mean c(real) - mean c(fake)
    gradient_penalty: float
    quality: float | None  # energy distance of samples to the held-out codes, 0 to 1, lower is better
    floor: float | None  # the same of the training codes: what a perfect generator would reach
    seconds: float  # of training, interruptions left out


@dataclass(frozen=True, slots=True)
class Preview:
    """Samples of the same z as every other preview of the run."""

    step: int
    w: Tensor  # (n, latent_size) on the CPU; whoever shows it decodes it


@dataclass(frozen=True, slots=True)
class Saved:
    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Finished:
    """Always last, unless an exception ends the stream."""

    step: int
    stopped: bool
    reason: str
    best_step: int
    quality: float | None  # of the best step
    seconds: float


Event = Progress | Preview | Saved | Finished


def never() -> bool:
    """The `should_stop` of a run that nobody stops."""
    return False


def train(
    codes: Tensor,
    recipe: Recipe,
    steps: int,
    *,
    seed: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    should_stop: Callable[[], bool] = never,
    preview_count: int = 16,
) -> Iterator[Event]:
    """Trains a MindGAN on codes (N, latent_size) and yields events.

    Args:
        codes: the encoded target.
        recipe: how to train.
        steps: generator steps in all, `recipe.critic_steps` critic steps each.
        folder: where `last.safetensors` (the complete state) and `best.safetensors` (g) are kept; None
            keeps nothing.
        resume: go on from `folder/last.safetensors`, where there is one.
        should_stop: polled every step; a stopped run is saved first.

    Raises:
        ConfigError: steps below 1.
        TrainingError: fewer than two distinct codes, or codes that are not numbers; while training: a loss
            became nan (the message names the step; the last good weights are kept).
    """
    if steps < 1:
        raise ConfigError(f"{steps} steps are no training.", "Ask for 1 step or more.")
    if codes.dim() != 2 or not torch.isfinite(codes).all():
        raise TrainingError(
            "The codes are not a table of finite numbers.",
            "Encode the pictures again; the file may be damaged.",
        )
    if len(torch.unique(codes, dim=0)) < 2:
        raise TrainingError(
            f"There are {len(codes)} pictures but fewer than two different ones: nothing varies to be learnt.",
            "Add pictures: 20 begin to vary, 200 make a good set.",
        )
    learner = Learner(codes, recipe, steps, seed, torch.device(device))
    if resume and folder is not None and (folder / LAST).exists():
        learner.load(folder)
    return _loop(learner, folder, should_stop, preview_count)


def steps_for(codes: Tensor, recipe: Recipe, seconds: float, *, device: str | torch.device = "cpu") -> int:
    """How many steps, looks at the quality included, fit into `seconds`; by a warm-up of WARM_UP_SECONDS at most."""
    learner = Learner(codes, recipe, 1_000_000, 0, torch.device(device))
    for _ in range(3):
        learner.advance()
    learner.check()  # waits for the device
    begun, learner.step = time.monotonic(), 0
    while learner.step < 200 and time.monotonic() - begun < min(WARM_UP_SECONDS, seconds / 10):
        learner.advance()
        learner.check()
    a_step = (time.monotonic() - begun) / learner.step
    begun = time.monotonic()
    learner.look()
    looks = LOOKS * (time.monotonic() - begun)
    return max(1, int(max(seconds - looks, 0.5 * seconds) / a_step))


def _loop(
    learner: Learner, folder: Path | None, should_stop: Callable[[], bool], preview_count: int
) -> Iterator[Event]:
    """Advances, looks, saves and tells. A checkpoint is only written after the losses were found good."""
    steps, begun, saved = learner.steps, time.monotonic() - learner.seconds, time.monotonic()
    log_every, look_every, preview_every = (max(1, steps // n) for n in (LOGS, LOOKS, PREVIEWS))
    stopped, reason = False, ""
    if learner.step == 0:
        yield Preview(0, learner.samples(preview_count, seed=0))
    while learner.step < steps and not reason:
        if stopped := should_stop():
            reason = "It was stopped."
            break
        learner.advance()
        last, looks = learner.step == steps, learner.step % look_every == 0
        learner.seconds = time.monotonic() - begun
        if looks or last:
            learner.check()
            if learner.look():
                _keep_best(learner, folder)
        if learner.step % log_every == 0 or last:
            learner.check()
            yield _progress(learner)
        if learner.step % preview_every == 0 or last:
            yield Preview(learner.step, learner.samples(preview_count, seed=0))
        reason = _why_over(learner, look_every)
        if folder is not None and not learner.far_looks and time.monotonic() - saved > SAVE_SECONDS:
            learner.check()
            learner.save(folder)
            saved = time.monotonic()
            yield Saved(learner.step, folder / LAST)
    learner.check()
    if folder is not None and not learner.far_looks:  # else one goes on better from the checkpoint before
        learner.save(folder)
        yield Saved(learner.step, folder / LAST)
    # after the checkpoint: a run that is resumed must come to the same as one that was not stopped
    if stopped and learner.step > 0 and learner.look():
        _keep_best(learner, folder)
    reason = reason or "It went through all its steps."
    yield Finished(learner.step, stopped, reason, learner.best_step, learner.best_quality, learner.seconds)


def _progress(learner: Learner) -> Progress:
    critic, generator, gap, gradient_penalty = learner.mean_losses()
    return Progress(
        step=learner.step,
        total_steps=learner.steps,
        critic_loss=critic,
        generator_loss=generator,
        gap=gap,
        gradient_penalty=gradient_penalty,
        quality=learner.last_quality,
        floor=learner.floor,
        seconds=learner.seconds,
    )


def _keep_best(learner: Learner, folder: Path | None) -> None:
    """Exports g if it is the best so far.

    The newest is where nothing is measured, without `keep_best`, and until the learning rate begins to fall:
    early samples are varied but blurred, which the few held-out codes do not tell.
    """
    quality = learner.last_quality
    settling = learner.step > learner.steps * (1 - learner.recipe.decay_share)
    best = learner.best_quality if learner.recipe.keep_best and settling else None
    if quality is not None and best is not None and not quality < best:
        return
    learner.best_quality, learner.best_step = quality, learner.step
    if folder is not None:
        learner.save_best(folder, quality)


def _why_over(learner: Learner, look_every: int) -> str:
    """Why the training ends before its last step; empty if it goes on."""
    if learner.far_looks == FAR_LOOKS:
        return (
            f"The training collapsed before step {learner.step}: the new pictures were no longer like yours. "
            f"The generator of step {learner.best_step} is kept. "
            "If it is not good enough, begin again with a lower learning rate or a higher gradient penalty."
        )
    patience = learner.recipe.patience
    if (
        patience
        and learner.best_quality is not None
        and learner.step - learner.best_step > patience * look_every
    ):
        return f"Quality has not improved since step {learner.best_step}; the generator of that step is kept."
    return ""
