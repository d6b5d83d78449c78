"""Trains an ALAE on any folder of pictures: how a source model comes to know its domain.

The pixel term alone so far: E and G learn to rebuild, F and D keep their initial weights. The steps run
compiled where there is a compiler, in bfloat16, without noise; everything random is drawn from the step's
own seed, so that a resumed training goes on as if nothing had happened.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.alae import ALAE
from mind2mind.config import PretrainRecipe
from mind2mind.errors import DataError, TrainingError
from mind2mind.files import load_tensors, save_tensors
from mind2mind.images import from_uint8
from mind2mind.metrics import psnr

log = logging.getLogger(__name__)

CHECKPOINT = "last.safetensors"
Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class PretrainProgress:
    """Numbers, every `log_every` thousand pictures."""

    kimg: float  # thousands of pictures seen
    total_kimg: float
    loss: float  # the pixel term, mean since the last event
    held_out_psnr: float  # dB, mean over the held-out pictures, noise off
    seconds: float  # since this call began
    seconds_left: float


@dataclass(frozen=True, slots=True)
class PretrainPreview:
    """Held-out pictures and their reconstructions, (N, C, H, W) in [-1, 1], on the CPU."""

    kimg: float
    originals: Tensor
    reconstructions: Tensor


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
    recipe: PretrainRecipe,
    *,
    total_kimg: float,
    out: Path,
    seed: int = 0,
    resume: bool = False,
    log_every: float = 5.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[PretrainEvent]:
    """Trains E and G in place and yields events; the checkpoint is `out/last.safetensors`.

    Args:
        alae: the network, already on its device.
        pictures, held_out: uint8 (N, C, H, W) at the network's full size; `held_out` is never trained on.
        total_kimg: thousands of pictures in all. A resumed training may be given another number: the
            learning rate then follows the new schedule from there.
        log_every: thousands of pictures between two looks at the held-out ones; a checkpoint goes with each.
        should_stop: polled every step; a stopped training is saved first.

    Raises:
        DataError: too few pictures, or of another size than the network's.
        TrainingError: there is nothing to resume, or the loss became nan (the last checkpoint is kept).
    """
    shape = (alae.architecture.image_channels, alae.architecture.resolution, alae.architecture.resolution)
    if len(pictures) < recipe.batch_size or len(held_out) < 1:
        raise DataError(
            f"There are {len(pictures)} pictures to train on and {len(held_out)} held out.",
            f"A source model needs at least {recipe.batch_size} and 1; some thousands make a good one.",
        )
    if tuple(pictures.shape[1:]) != shape or tuple(held_out.shape[1:]) != shape:
        raise DataError(
            f"The pictures are {tuple(pictures.shape[1:])}, the architecture wants {shape} (C, H, W).",
            "Choose the architecture of the pictures' size and channels.",
        )
    state = _State(alae, recipe, seed)
    if resume:
        state.load(out / CHECKPOINT)
    return _loop(state, pictures, held_out, total_kimg, out, log_every, should_stop)


def kimg_for(alae: ALAE, pictures: Tensor, recipe: PretrainRecipe, minutes: float) -> float:
    """How many thousands of pictures fit into `minutes` here and now; the given network is used up."""
    state = _State(alae, recipe, seed=0)
    loss_of = compiled(state.pixel_loss)
    for _ in range(3):
        state.advance(loss_of, pictures, 1_000_000)
    begun, first = time.monotonic(), state.step
    while state.step - first < 30 and time.monotonic() - begun < 20:
        state.advance(loss_of, pictures, 1_000_000).item()
    per_second = (state.step - first) * recipe.batch_size / (time.monotonic() - begun)
    return max(recipe.batch_size / 1000, per_second * 60 * minutes / 1000)


class _State:
    """Everything that a checkpoint must hold, and the step that moves it."""

    def __init__(self, alae: ALAE, recipe: PretrainRecipe, seed: int) -> None:
        self.alae, self.recipe, self.seed, self.step = alae, recipe, seed, 0
        self.device = alae.w_avg.device
        alae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trained = {
            name: parameter
            for name, parameter in alae.named_parameters()
            if name.startswith(("encoder.", "decoder.")) and "noise_weight" not in name
        }
        self.ema = {name: parameter.detach().clone() for name, parameter in self.trained.items()}
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in self.trained.values():
            groups.setdefault(getattr(parameter, "lr_coef", 1.0), []).append(parameter)
        self.optimiser = torch.optim.Adam(
            [{"params": group, "coefficient": coefficient} for coefficient, group in groups.items()],
            betas=recipe.betas,
            fused=True,
        )

    def pixel_loss(self, x: Tensor) -> Tensor:
        y = self.alae.reconstruct(x)
        scales = self.recipe.scales
        return torch.stack([F.l1_loss(F.avg_pool2d(y, s), F.avg_pool2d(x, s)) for s in scales]).sum()

    def advance(self, loss_of: Step, pictures: Tensor, total_steps: int) -> Tensor:
        """One step; returns the loss, still on the device."""
        draw = torch.Generator().manual_seed((self.seed << 32) + self.step)
        chosen = torch.randint(0, len(pictures), (self.recipe.batch_size,), generator=draw)
        x = from_uint8(pictures[chosen].to(self.device)).contiguous(memory_format=torch.channels_last)
        learning_rate = self.recipe.learning_rate * self._schedule(total_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate * group["coefficient"]
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = loss_of(x)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        half_lives = self.recipe.batch_size / (1000 * self.recipe.ema_kimg)
        beta = min(0.5**half_lives, self.step / (self.step + 10))  # a short memory at first
        torch._foreach_lerp_(list(self.ema.values()), [p.detach() for p in self.trained.values()], 1 - beta)
        return loss.detach()

    def _schedule(self, total_steps: int) -> float:
        left = (total_steps - self.step) / max(1, total_steps * self.recipe.decay_share)
        return min(1.0, (self.step + 1) / self.recipe.warmup_steps, max(left, 0.01))

    def swap(self) -> None:
        """Exchanges the weights with their average; twice is nothing."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                now = parameter.detach().clone()
                parameter.copy_(self.ema[name])
                self.ema[name].copy_(now)

    def save(self, path: Path) -> None:
        tensors = {f"weights.{name}": p for name, p in self.alae.state_dict().items()}
        tensors |= {f"ema.{name}": p for name, p in self.ema.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        save_tensors(path, tensors, {"step": self.step, "seed": self.seed})

    def load(self, path: Path) -> None:
        if not path.exists():
            raise TrainingError(f"There is no checkpoint {path}.", "Leave --resume out to begin anew.")
        tensors, meta = load_tensors(path)
        self.step, self.seed = meta["step"], meta["seed"]
        weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
        try:
            self.alae.load_state_dict(weights)
            for name, parameter in self.trained.items():
                self.ema[name].copy_(tensors[f"ema.{name}"])
                if (
                    f"adam.step.{name}" in tensors
                ):  # the in- and outputs of lower levels of detail get no gradient
                    self.optimiser.state[parameter] = {
                        key: _like(tensors[f"adam.{key}.{name}"], parameter)
                        for key in ("step", "exp_avg", "exp_avg_sq")
                    }
        except (RuntimeError, KeyError) as error:
            raise TrainingError(
                f"{path} is of another architecture: {error}.", "Resume with the one it was begun with."
            ) from error


def _like(saved: Tensor, parameter: Tensor) -> Tensor:
    value = saved.to(parameter.device)
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def _loop(
    state: _State,
    pictures: Tensor,
    held_out: Tensor,
    total_kimg: float,
    out: Path,
    log_every: float,
    should_stop: Callable[[], bool],
) -> Iterator[PretrainEvent]:
    batch = state.recipe.batch_size
    total_steps = max(1, round(total_kimg * 1000 / batch))
    every = max(1, round(log_every * 1000 / batch))
    loss_of, first_step, begun = compiled(state.pixel_loss), state.step, time.monotonic()
    loss_sum, since, stopped = torch.zeros((), device=state.device), 0, False
    while state.step < total_steps and not (stopped := should_stop()):
        loss_sum += state.advance(loss_of, pictures, total_steps)
        since += 1
        if state.step % every == 0 or state.step == total_steps:
            mean_loss = loss_sum.item() / since
            if not math.isfinite(mean_loss):
                raise TrainingError(
                    f"The loss became nan before step {state.step}.",
                    f"Lower the learning rate (now {state.recipe.learning_rate}); {out / CHECKPOINT} is kept.",
                )
            loss_sum.zero_()
            since = 0
            preview, quality = _look(state, held_out)
            seconds = time.monotonic() - begun
            left = seconds / (state.step - first_step) * (total_steps - state.step)
            kimg = state.step * batch / 1000
            yield PretrainProgress(kimg, total_kimg, mean_loss, quality, seconds, left)
            yield preview
            state.save(out / CHECKPOINT)
            yield PretrainSaved(kimg, out / CHECKPOINT)
    if stopped:
        state.save(out / CHECKPOINT)
        yield PretrainSaved(state.step * batch / 1000, out / CHECKPOINT)
    state.swap()
    yield PretrainFinished(state.step * batch / 1000, stopped, time.monotonic() - begun)


def _look(state: _State, held_out: Tensor) -> tuple[PretrainPreview, float]:
    """The averaged weights' reconstructions of the first held-out pictures and the mean PSNR of all."""
    state.swap()
    try:
        quality, shown = held_out_psnr(state.alae, held_out), from_uint8(held_out[:32])
        with torch.no_grad():
            rebuilt = state.alae.reconstruct(shown.to(state.device)).float().cpu()
    finally:
        state.swap()
    return PretrainPreview(state.step * state.recipe.batch_size / 1000, shown, rebuilt), quality


@torch.no_grad()
def held_out_psnr(alae: ALAE, pictures: Tensor, batch_size: int = 64) -> float:
    """Mean PSNR in dB of the reconstructions of uint8 pictures (N, C, H, W), noise off, clamped to [-1, 1]."""
    values = []
    for chunk in pictures.split(batch_size):
        x = from_uint8(chunk.to(alae.w_avg.device))
        values.append(psnr(alae.reconstruct(x).clamp(-1, 1), x))
    return torch.cat(values).mean().item()


def compiled(function: Step) -> Step:
    """The function through torch.compile where this machine can, else as it is."""
    fast: Step = torch.compile(function)
    tried = False

    def call(x: Tensor) -> Tensor:
        nonlocal fast, tried
        if tried:
            return fast(x)
        tried = True
        try:
            return fast(x)
        except Exception as error:  # no compiler, an unsupported platform: slower, not wrong
            log.warning("torch.compile is of no use here (%s); going on without it.", type(error).__name__)
            fast = function
            return fast(x)

    return call
