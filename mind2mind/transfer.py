"""Learns the distribution of a target's codes: MindGAN's training as a generator of events.

Mind2Mind (arXiv 1906.11613), section "Algorithm"; loop and numbers of the recipe `paper` as in the reference
module_mind/train.py. The codes stay in one tensor on the device. Everything random in step s is drawn from
generators seeded by (seed, s), and schedules depend on steps alone: a resumed run equals an unkilled one.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mind2mind.config import MindGANSizes, Recipe
from mind2mind.errors import ConfigError, TrainingError, WeightsError
from mind2mind.files import load_tensors, save_tensors
from mind2mind.metrics import PrincipalAxes, kernel_distance, standardisation
from mind2mind.mindgan import CriticLoss, MindGAN, Perceptron, critic_loss, draw_z, generator_loss

LAST, BEST = "last.safetensors", "best.safetensors"
MIN_HELD_OUT_CODES = 100  # below this every code is trained on and quality is not measured
HELD_OUT_LEAST = 32  # where anything is held out
QUALITY_AXES = 32  # principal components that the kernel distance is measured on
QUALITY_SAMPLES = 2048
LOOKS = 40  # at the quality, in a run
LOGS = 200
PREVIEWS = 20
SAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Numbers, about 200 times a run; means since the last event."""

    step: int
    total_steps: int
    critic_loss: float
    generator_loss: float
    gap: float  # mean c(real) - mean c(fake)
    gradient_penalty: float
    quality: float | None  # kernel distance (KID) of samples to the held-out codes, lower is better
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
            "The codes are not a table of finite numbers.", "Encode the pictures again; the file may be damaged."
        )
    if len(torch.unique(codes, dim=0)) < 2:
        raise TrainingError(
            f"There are {len(codes)} pictures but fewer than two different ones: nothing varies to be learnt.",
            "Add pictures: 20 begin to vary, 200 make a good set.",
        )
    state = _State(codes, recipe, steps, seed, torch.device(device))
    if resume and folder is not None and (folder / LAST).exists():
        state.load(folder)
    return _loop(state, folder, should_stop, preview_count)


def exported(folder: Path) -> tuple[Perceptron, MindGANSizes, dict[str, Any]]:
    """The run's best generator (z -> w of the source), its sizes and how good it is.

    Raises:
        WeightsError: the run has saved none yet.
    """
    if not (folder / BEST).exists():
        raise WeightsError(f"The run in {folder} has saved no generator yet.", "Let it train a little longer.")
    tensors, meta = load_tensors(folder / BEST)
    sizes = MindGANSizes.from_dict(meta["sizes"])
    with torch.device("meta"):
        g = MindGAN(sizes).generator
    g.load_state_dict(tensors, assign=True)
    return g.eval(), sizes, meta


@torch.no_grad()
def mean_code(g: Perceptron, z_dim: int, count: int = 4096) -> Tensor:
    """w_avg of a transfer: the mean of `count` samples of g, (latent_size,)."""
    return g(draw_z(count, z_dim, torch.Generator().manual_seed(0))).mean(dim=0)


def steps_for(codes: Tensor, recipe: Recipe, seconds: float, *, device: str | torch.device = "cpu") -> int:
    """How many steps fit into `seconds` here and now, by a warm-up of at most 2 seconds."""
    state = _State(codes, recipe, 1_000_000, 0, torch.device(device))
    for _ in range(3):
        state.advance()
    begun, state.step = time.monotonic(), 0
    while state.step < 200 and time.monotonic() - begun < min(2.0, seconds / 5):
        state.advance().total.item()
    state.quality()
    return max(1, int(seconds * state.step / (time.monotonic() - begun)))


class _State:
    """The two networks, their optimisers and average, and the step that moves them."""

    def __init__(
        self, codes: Tensor, recipe: Recipe, steps: int, seed: int, device: torch.device
    ) -> None:
        self.recipe, self.steps, self.seed, self.device = recipe, steps, seed, device
        self.step, self.seconds = 0, 0.0
        latent_size = codes.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gan = MindGAN(recipe.sizes(latent_size))
        self.gan.to(device)
        self.average = [p.detach().clone() for p in self.gan.generator.parameters()]
        self.optimiser_g, self.optimiser_c = (
            torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=recipe.betas, fused=True)
            for net in (self.gan.generator, self.gan.critic)
        )
        train_codes, self.held_out = split(codes, recipe.held_out_share)
        mean, std = standardisation(train_codes)
        if not recipe.standardise:
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        self.mean, self.std = mean, std
        self.real = ((train_codes - mean) / std).to(device)
        self.axes = PrincipalAxes.of(train_codes, QUALITY_AXES)
        self.floor = self._distance(train_codes) if len(self.held_out) else None
        self.best_quality: float | None = None
        self.best_step = 0
        self.bad_step = torch.full((), -1, device=device)  # the first step whose loss was not a number

    def advance(self) -> CriticLoss:
        """`critic_steps` steps of the critic on one real batch, one of the generator; nothing is read back."""
        recipe, g, c = self.recipe, self.gan.generator, self.gan.critic
        real = self._batch()
        draw = torch.Generator(self.device).manual_seed(_mixed(self.seed, self.step))
        z = draw_z((recipe.critic_steps + 1) * len(real), recipe.z_dim, draw)
        *z_critic, z_generator = z.split(len(real))
        t = torch.rand(recipe.critic_steps, len(real), 1, generator=draw, device=self.device)
        self._set_learning_rate()
        with torch.no_grad():
            fakes = g(torch.cat(z_critic)).split(len(real))
        for fake, t_step in zip(fakes, t, strict=True):
            loss = critic_loss(c, real, fake, t_step, recipe.gradient_penalty, recipe.epsilon_penalty)
            self.optimiser_c.zero_grad()
            loss.total.backward()
            self.optimiser_c.step()
        c.requires_grad_(False)
        loss_g = generator_loss(c, g(z_generator))
        self.optimiser_g.zero_grad()
        loss_g.backward()
        self.optimiser_g.step()
        c.requires_grad_(True)
        self.generator_loss = loss_g.detach()
        self._note_bad(loss.total.detach() + self.generator_loss)
        self.step += 1
        self._average()
        return CriticLoss(*(part.detach() for part in loss))

    def _batch(self) -> Tensor:
        """Shuffled anew each epoch; the last, smaller batch is used too, as in the reference."""
        per_epoch = -(-len(self.real) // self.recipe.batch_size)
        epoch, number = divmod(self.step, per_epoch)
        if number == 0 or not hasattr(self, "_order"):
            shuffle = torch.Generator().manual_seed(_mixed(self.seed, epoch) ^ 1)
            self._order = torch.randperm(len(self.real), generator=shuffle).to(self.device)
        return self.real[self._order[number * self.recipe.batch_size :][: self.recipe.batch_size]]

    def _set_learning_rate(self) -> None:
        left = self.steps - self.step
        share = left / (self.steps * self.recipe.decay_share) if self.recipe.decay_share else 1.0
        for optimiser in (self.optimiser_g, self.optimiser_c):
            optimiser.param_groups[0]["lr"] = self.recipe.learning_rate * max(0.0, min(1.0, share))

    def _note_bad(self, loss: Tensor) -> None:
        first = (self.bad_step < 0) & ~torch.isfinite(loss)
        self.bad_step = torch.where(first, self.step, self.bad_step)

    def _average(self) -> None:
        half_life = self.recipe.ema_half_life
        beta = min(0.5 ** (1 / half_life), self.step / (self.step + 10)) if half_life else 0.0
        now = [p.detach() for p in self.gan.generator.parameters()]
        torch._foreach_lerp_(self.average, now, 1 - beta)

    def check(self) -> None:
        """Raises TrainingError if a loss was not a number; the one place that waits for the device."""
        if (bad := int(self.bad_step)) >= 0:
            raise TrainingError(
                f"The loss became nan at step {bad}.",
                f"The last good weights are kept. Lower the learning rate (now {self.recipe.learning_rate}) or "
                f"raise the gradient penalty (now {self.recipe.gradient_penalty}).",
            )

    def generator(self) -> Perceptron:
        """A copy of g with the averaged weights and the standardisation folded in, on the CPU."""
        g = copy.deepcopy(self.gan.generator).cpu()
        with torch.no_grad():
            for parameter, value in zip(g.parameters(), self.average, strict=True):
                parameter.copy_(value)
        g.fold_affine(self.mean, self.std)
        return g.eval()

    @torch.no_grad()
    def samples(self, count: int, seed: int) -> Tensor:
        """(count, latent_size) on the CPU, the same z for the same seed."""
        z = draw_z(count, self.recipe.z_dim, torch.Generator().manual_seed(seed))
        return self.generator()(z)

    def quality(self) -> float | None:
        """Kernel distance of samples to the held-out codes; None where nothing is held out."""
        return self._distance(self.samples(QUALITY_SAMPLES, seed=1)) if len(self.held_out) else None

    def _distance(self, w: Tensor) -> float:
        return kernel_distance(self.axes.project(w[:QUALITY_SAMPLES]), self.axes.project(self.held_out))

    def save(self, folder: Path) -> None:
        tensors = {f"gan.{name}": value for name, value in self.gan.state_dict().items()}
        tensors |= {f"average.{i}": value for i, value in enumerate(self.average)}
        for name, optimiser in (("g", self.optimiser_g), ("c", self.optimiser_c)):
            for i, slots in optimiser.state_dict()["state"].items():
                tensors |= {f"adam.{name}.{i}.{slot}": value for slot, value in slots.items()}
        meta = {
            "step": self.step,
            "seconds": self.seconds,
            "seed": self.seed,
            "best_step": self.best_step,
            "best_quality": self.best_quality,
            "recipe": asdict(self.recipe),
        }
        save_tensors(folder / LAST, tensors, meta)

    def save_best(self, folder: Path, quality: float | None) -> None:
        meta = {
            "sizes": asdict(self.gan.sizes),
            "step": self.step,
            "quality": quality,
            "floor": self.floor,
            "recipe": self.recipe.name,
            "seed": self.seed,
        }
        save_tensors(folder / BEST, self.generator().state_dict(), meta)

    def load(self, folder: Path) -> None:
        tensors, meta = load_tensors(folder / LAST)
        if Recipe.from_dict(meta["recipe"]) != self.recipe or meta["seed"] != self.seed:
            raise TrainingError(
                f"The run in {folder} was begun with other settings.",
                "Resume it with its own recipe and seed, or begin a new run.",
            )
        try:
            self._restore(tensors)
        except (RuntimeError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{folder / LAST} does not fit these codes: {error}.", "Resume with the run's own codes."
            ) from error
        self.step, self.seconds = meta["step"], meta["seconds"]
        self.best_step, self.best_quality = meta["best_step"], meta["best_quality"]

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        self.gan.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("gan.")})
        for i, value in enumerate(self.average):
            value.copy_(tensors[f"average.{i}"])
        for name, optimiser in (("g", self.optimiser_g), ("c", self.optimiser_c)):
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"adam.{name}."):
                    _, _, i, slot = key.split(".")
                    slots.setdefault(int(i), {})[slot] = value
            optimiser.load_state_dict(
                {"state": slots, "param_groups": optimiser.state_dict()["param_groups"]}
            )


def split(codes: Tensor, held_out_share: float) -> tuple[Tensor, Tensor]:
    """Training and held-out codes, chosen the same way at each call; of fewer than 100 nothing is held out."""
    count = 0
    if held_out_share and len(codes) >= MIN_HELD_OUT_CODES:
        count = max(HELD_OUT_LEAST, round(len(codes) * held_out_share))
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
    return codes[order[count:]].float().cpu(), codes[order[:count]].float().cpu()


def _mixed(seed: int, number: int) -> int:
    """One well spread 63 bit seed from two numbers (splitmix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) >> 1


def _loop(
    state: _State, folder: Path | None, should_stop: Callable[[], bool], preview_count: int
) -> Iterator[Event]:
    """Advances, looks, saves and tells. A checkpoint is only written after the losses were found good."""
    steps, begun, saved = state.steps, time.monotonic() - state.seconds, time.monotonic()
    log_every, look_every, preview_every = (max(1, steps // n) for n in (LOGS, LOOKS, PREVIEWS))
    stopped, reason, window, quality = False, "It went through all its steps.", _Window(), None
    if state.step == 0:
        yield Preview(0, state.samples(preview_count, seed=0))
    while state.step < steps:
        if stopped := should_stop():
            reason = "It was stopped."
            break
        window.add(state.advance(), state.generator_loss)
        last, looks = state.step == steps, state.step % look_every == 0
        state.seconds = time.monotonic() - begun
        if looks or last:
            state.check()
            quality = state.quality()
            _keep_best(state, folder, quality)
        if state.step % log_every == 0 or last:
            state.check()
            yield window.progress(state, quality)
        if state.step % preview_every == 0 or last:
            yield Preview(state.step, state.samples(preview_count, seed=0))
        if folder is not None and time.monotonic() - saved > SAVE_SECONDS:
            state.check()
            state.save(folder)
            saved = time.monotonic()
            yield Saved(state.step, folder / LAST)
        if _exhausted(state, look_every):
            reason = f"Quality has not improved since step {state.best_step}."
            break
    state.check()
    if stopped and state.step > 0:
        _keep_best(state, folder, state.quality())
    if folder is not None:
        state.save(folder)
        yield Saved(state.step, folder / LAST)
    yield Finished(state.step, stopped, reason, state.best_step, state.best_quality, state.seconds)


def _keep_best(state: _State, folder: Path | None, quality: float | None) -> None:
    """Exports g if it is the best so far; without `keep_best`, or without a measure, the newest is."""
    if quality is not None and state.recipe.keep_best and state.best_quality is not None:
        if quality >= state.best_quality:
            return
    state.best_quality, state.best_step = quality, state.step
    if folder is not None:
        state.save_best(folder, quality)


def _exhausted(state: _State, look_every: int) -> bool:
    patience = state.recipe.patience
    if not patience or state.best_quality is None:
        return False
    return state.step - state.best_step > patience * look_every


class _Window:
    """Sums of the losses since the last event, kept on the device."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.count = 0

    def add(self, loss: CriticLoss, generator: Tensor) -> None:
        values = [loss.total, generator, loss.gap, loss.gradient_penalty]
        self.sums = [a + b for a, b in zip(self.sums, values, strict=True)] if self.sums else values
        self.count += 1

    def progress(self, state: _State, quality: float | None) -> Progress:
        means = (torch.stack(self.sums) / self.count).tolist()
        self.__init__()  # type: ignore[misc]
        return Progress(state.step, state.steps, *means, quality, state.floor, state.seconds)
