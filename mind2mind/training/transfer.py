"""Learns the distribution of a target's codes: MindGAN's training as a generator of events.

Mind2Mind (arXiv 1906.11613), section "Algorithm"; loop and numbers of the recipe `paper` as in the reference
module_mind/train.py. The recipe `default` begins with the source's own mind, its generator of codes, and adds the
energy distance to what the generator minimises. `train` checks its arguments and drives a `Learner`, which holds the
two networks, their optimisers and average, and knows the step that moves them. The codes stay in one tensor on the
device and no step waits for it: whether a loss was a number is noted there and read when somebody looks.

Everything random in step s is drawn from generators seeded by (seed, s), and schedules depend on steps alone: what is
saved is all that a resumed training needs to end with the numbers of one that was not interrupted.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mind2mind.config import MindGANSizes, Recipe, mixed
from mind2mind.errors import ConfigError, TrainingError, WeightsError
from mind2mind.files import load_tensors, save_tensors
from mind2mind.judge.metrics import PrincipalAxes, energy_distance, standardisation
from mind2mind.networks.mindgan import (
    MindGAN,
    Perceptron,
    critic_loss,
    draw_z,
    energy_loss,
    generator_loss,
    samples,
)

LAST, BEST = "last.safetensors", "best.safetensors"  # the complete state; the generator
LOOKS, LOGS, PREVIEWS = 40, 200, 20  # in a run, or in what is added to one
LOOK_STEPS = 20  # at least between two looks: one costs about as much as a step
PREVIEWED = 16  # samples in a preview
LARGEST_KEPT = 2**20  # parameters of a generator that is kept with each preview
SAVE_SECONDS = 5.0
WARM_UP_SECONDS = 0.5
# Below the first every code is trained on: 32 held-out codes ranked generators by chance (correlation with the truth
# 0.26), 300 do by 0.82
HELD_OUT_FROM, HELD_OUT_MOST = 1000, 2000
FEWEST_MEASURED = 20  # codes
DISTANCE_AXES = 32  # principal components that the energy distance is measured on
DISTANCE_SAMPLES = 1024
# Of relative energy distances. Samples that are all one picture, in the middle of the codes, have 0.29 (in many
# dimensions 1 - 1/sqrt(2)); a training that goes well ends below 0.05.
NOT_SEEN, FAR, SOUND = 1.0, 0.25, 0.1
FAR_LOOKS = 2  # in a row that end a training: one may be chance
# The least share of the learning rate that added steps begin with: the rate of a run that is through is 0. Measured
# on 300 codes of a mixture in 32 dimensions, 600 steps and 1,000 more, energy distance to other codes x1000: 8.6
# before, 8.6 with 0.02, 7.8 with 0.1, 7.3 with 0.25, 6.7 with 0.5, 5.8 with 1. A quarter learns without a large jump.
AGAIN = 0.25
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Progress:
    """Numbers, about 200 times a run; means since the last event."""

    step: int
    total_steps: int
    critic_loss: float
    generator_loss: float
    gap: float  # mean c(real) - mean c(fake)
    gradient_penalty: float
    distance: float | None  # energy distance of samples to the held-out codes, if any, else to all
    floor: float | None  # the same of other real pictures: what a perfect generator would reach
    held_out: int  # codes
    seconds: float  # of training, interruptions left out


@dataclass(frozen=True, slots=True)
class Preview:
    """Samples of the same z as every other preview of the run."""

    step: int
    w: Tensor  # (n, latent_size) on the CPU; whoever shows it decodes it
    g: dict[str, Tensor]  # the tensors of the generator that made them; none of one above LARGEST_KEPT
    meta: dict[str, Any]  # see `read_generator`


class Ending(str, Enum):
    """Why a run ended, or came back from the queue. The value is kept in run.json."""

    THROUGH = "through"
    ENOUGH = "enough"
    NO_BETTER = "no better"
    COLLAPSED = "collapsed"
    TIME_UP = "time up"
    STOPPED = "stopped"

    @staticmethod
    def explained(reason: str | None) -> str:
        """The sentence for people, empty without a reason; runs of earlier versions hold the sentence itself."""
        return _SENTENCES.get(reason or "", reason or "")


_SENTENCES: dict[str, str] = {
    Ending.THROUGH: "It went through all its steps.",
    Ending.ENOUGH: "It ended early: more steps would only repeat your pictures. With more of them it trains longer.",
    Ending.NO_BETTER: "Quality stopped improving. The best generator is kept.",  # of earlier versions
    Ending.COLLAPSED: "The training collapsed: the new pictures were no longer like yours. The last generator before "
    "that is kept. If it is not good enough, begin again with a lower learning rate or a higher gradient penalty.",
    Ending.TIME_UP: "Its time was up. What it had learnt until then is kept.",
    Ending.STOPPED: "It was stopped.",
}


@dataclass(frozen=True, slots=True)
class Finished:
    """Always last, unless an exception ends the stream."""

    step: int
    reason: Ending


Event = Progress | Preview | Finished


def train(
    codes: Tensor,
    recipe: Recipe,
    steps: int,
    folder: Path,
    *,
    mind: Perceptron | None = None,
    seed: int = 0,
    resume: bool = False,
    device: str | torch.device = CPU,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Trains a MindGAN on codes (N, latent_size) and yields events.

    Args:
        codes: the encoded target.
        recipe: how to train.
        steps: generator steps in all, `recipe.critic_steps` critic steps each.
        folder: where `last.safetensors` (the complete state) and `best.safetensors` (g) are kept.
        mind: the source's own generator of codes, on the CPU, which a recipe with `from_mind` begins with. Without
            one it begins with random weights.
        resume: go on from `folder/last.safetensors`, where there is one. With the number of steps that it was saved
            with, the run ends with the numbers of one that was not interrupted. Another number plans the steps from
            there on anew: the learning rate goes on where it was, at AGAIN of the recipe's at least, and falls to 0
            over them (a recipe without decay keeps its rate).
        should_stop: polled every step; a stopped run is saved first.

    Raises:
        ConfigError: steps below 1.
        TrainingError: fewer than two distinct codes, or codes that are not numbers; while training: a loss
            became nan (the message names the step; what was kept before is good).
    """
    if steps < 1:
        raise ConfigError(f"The number of steps is {steps}.", "Give 1 or more.")
    if codes.dim() != 2 or not torch.isfinite(codes).all():
        raise TrainingError("The codes are not a table of finite numbers.", "Encode the pictures again.")
    if len(torch.unique(codes, dim=0)) < 2:
        problem = (
            f"Of {len(codes)} pictures there are fewer than two different ones: nothing varies to be learnt."
        )
        raise TrainingError(problem, "Add pictures: 20 begin to vary, 200 make a good set.")
    going_on = resume and (folder / LAST).exists()
    learner = Learner(codes, recipe, steps, seed, torch.device(device), None if going_on else mind)
    if going_on:
        learner.load(folder)
    return _loop(learner, folder, should_stop)


def steps_for(codes: Tensor, recipe: Recipe, seconds: float, mind: Perceptron | None = None) -> int:
    """How many steps, with their looks, fit into `seconds` by a short warm-up; those of `recipe.enough` at most."""
    learner = Learner(codes, recipe, 1_000_000, mind=mind)
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
    a_look = time.monotonic() - begun
    fitting = max(1, int(seconds / (a_step + a_look / LOOK_STEPS)), int((seconds - LOOKS * a_look) / a_step))
    return int(min(fitting, recipe.enough(len(codes))))


def _loop(learner: "Learner", folder: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Advances, looks, saves and tells."""
    begun, saved = time.monotonic() - learner.seconds, time.monotonic()
    planned = learner.steps - learner.since
    log_every, look_every, preview_every = (max(1, planned // n) for n in (LOGS, LOOKS, PREVIEWS))
    look_every = max(look_every, LOOK_STEPS)
    ending = None
    if learner.step == 0:
        yield learner.preview()
    while learner.step < learner.steps and not ending:
        if should_stop():
            ending = Ending.STOPPED
            break
        learner.advance()
        last = learner.step == learner.steps
        learner.seconds = time.monotonic() - begun
        if (learner.step % look_every == 0 or last) and learner.look():
            learner.keep(folder)
        if learner.step % log_every == 0 or last:
            yield learner.progress()
        if learner.step % preview_every == 0 or last:
            yield learner.preview()
        if learner.far_looks == FAR_LOOKS:
            ending = Ending.COLLAPSED
        if not learner.far_looks and time.monotonic() - saved > SAVE_SECONDS:
            learner.save(folder)
            saved = time.monotonic()
    if not learner.far_looks:  # else one goes on better from the checkpoint before
        learner.save(folder)
    # after the checkpoint: a run that is resumed must come to the same as one that was not stopped
    if ending is Ending.STOPPED and learner.step > 0 and learner.look():
        learner.keep(folder)
    yield Finished(learner.step, ending or Ending.THROUGH)


class Learner:
    """A MindGAN that learns codes (N, latent_size); `train` drives it and tells of it."""

    # What a checkpoint keeps beside the tensors, the recipe and the seed
    KEPT = (
        "step", "seconds", "steps", "since", "rate_then", "distance", "nearest", "far_looks", "summed",
    )  # fmt: skip

    def __init__(
        self,
        codes: Tensor,
        recipe: Recipe,
        steps: int,
        seed: int = 0,
        device: torch.device = CPU,
        mind: Perceptron | None = None,
    ) -> None:
        self.recipe, self.steps, self.seed, self.device = recipe, steps, seed, device
        self.step, self.seconds = 0, 0.0
        self.since, self.rate_then = 0, 1.0  # the step and share of the learning rate that the plan begins at
        train_codes, held_out = split(codes, recipe.held_out_share)
        mean, std = standardisation(train_codes)
        if not recipe.standardise:
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        self.codes = train_codes
        self._standardise(mean, std)
        sizes, mind = recipe.sizes(codes.shape[1]), mind if recipe.from_mind else None
        if mind is not None:
            z_dim, *widths, _ = mind.sizes
            sizes = replace(sizes, z_dim=z_dim, generator_widths=tuple(widths), mapping=mind.mapping)
        gan = MindGAN.untrained(sizes, seed)
        if mind is not None:
            gan.generator.load_state_dict(mind.state_dict())
            gan.generator.fold_affine(-mean / std, 1 / std)
        self._learn(gan)
        self.axes = PrincipalAxes.of(train_codes, DISTANCE_AXES)
        self.held_out = len(held_out)
        self.reference = (held_out if len(held_out) else train_codes)[:DISTANCE_SAMPLES]
        # Samples that repeat the codes they are measured by are at 0 from them, new ones of the same law at this
        self.own_share = 0.0 if len(held_out) else 1 / (2 * len(self.reference))
        self.floor: float | None = None
        if len(codes) >= FEWEST_MEASURED:
            self.floor = self._distance(train_codes) if len(held_out) else self.own_share
        self.distance: float | None = None
        self.nearest = NOT_SEEN  # the smallest distance seen
        self.far_looks = 0  # in a row, at which the samples were far from what they had been
        self.bad_step = torch.full((), -1, device=device)  # the first step whose loss was not a number
        self.sums = torch.zeros(4, device=device)  # of the losses since the last Progress
        self.summed = 0

    def _standardise(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std
        self.real = ((self.codes - mean) / std).to(self.device)

    def _learn(self, gan: MindGAN) -> None:
        """Makes these the networks in training, with an average and optimisers that begin anew."""
        self.gan = gan.to(self.device)
        self.average = [p.detach().clone() for p in gan.generator.parameters()]
        adam = partial(torch.optim.Adam, lr=self.recipe.learning_rate, betas=self.recipe.betas, fused=True)
        self.optimisers = {"g": adam(gan.generator.parameters()), "c": adam(gan.critic.parameters())}

    def advance(self) -> None:
        """`critic_steps` steps of the critic on one real batch, one of the generator; nothing is read back."""
        recipe, g, c = self.recipe, self.gan.generator, self.gan.critic
        draw = torch.Generator(self.device).manual_seed(mixed(self.seed, self.step))
        real = self._batch(draw)
        z = draw_z((recipe.critic_steps + 1) * len(real), self.gan.sizes.z_dim, draw)
        *z_critic, z_generator = z.split(len(real))
        t = torch.rand(recipe.critic_steps, len(real), 1, generator=draw, device=self.device)
        for optimiser in self.optimisers.values():
            optimiser.param_groups[0]["lr"] = recipe.learning_rate * self.rate()
        with torch.no_grad():
            fakes = g(torch.cat(z_critic)).split(len(real))
        for fake, t_step in zip(fakes, t, strict=True):
            loss = critic_loss(c, real, fake, t_step, recipe.gradient_penalty, recipe.epsilon_penalty)
            self.optimisers["c"].zero_grad()
            loss.total.backward()
            self.optimisers["c"].step()
        c.requires_grad_(False)
        fake = g(z_generator)
        loss_g = generator_loss(c, fake)
        if recipe.energy:
            loss_g = loss_g + recipe.energy * energy_loss(real, fake)
        self.optimisers["g"].zero_grad()
        loss_g.backward()
        self.optimisers["g"].step()
        c.requires_grad_(True)
        losses = torch.stack([loss.total, loss_g, loss.gap, loss.gradient_penalty]).detach()
        self.sums += losses
        self.summed += 1
        first_bad = (self.bad_step < 0) & ~torch.isfinite(losses.sum())
        self.bad_step = torch.where(first_bad, self.step, self.bad_step)
        self.step += 1
        half_life = recipe.ema_half_life
        beta = min(0.5 ** (1 / half_life), self.step / (self.step + 10)) if half_life else 0.0
        torch._foreach_lerp_(self.average, [p.detach() for p in g.parameters()], 1 - beta)

    def _batch(self, draw: torch.Generator) -> Tensor:
        """The next codes, shuffled anew each epoch; its last, smaller batch is used too, as in the reference.

        With jitter they are any, however few there are, and each is moved along the difference of two others, the
        further the fewer there are: new ones within the set's own spread.
        """
        count, size = len(self.real), self.recipe.batch_size
        if share := self.recipe.jitter_for(count):
            i, a, b = torch.randint(count, (3, size), generator=draw, device=self.device)
            moved: Tensor = self.real[i] + share * 0.5**0.5 * (self.real[a] - self.real[b])
            return moved
        epoch, number = divmod(self.step, -(-count // size))
        chosen = shuffled(count, self.seed, epoch)[number * size :][:size]
        batch: Tensor = self.real[chosen.to(self.device)]
        return batch

    def rate(self) -> float:
        """The share, 0 to 1, of the recipe's learning rate that the next step goes by."""
        if not self.recipe.decay_share:
            return 1.0
        falling = (self.steps - self.since) * (1 if self.since else self.recipe.decay_share)
        return self.rate_then * max(0.0, min(1.0, (self.steps - self.step) / falling))

    def check(self) -> None:
        """Raises TrainingError if a loss or g is not finite; the one place that waits for the device."""
        bad = int(self.bad_step)
        if bad < 0 and not all(value.isfinite().all() for value in self.average):
            bad = self.step
        if bad >= 0:
            rate, penalty = self.recipe.learning_rate, self.recipe.gradient_penalty
            fix = f"Lower the learning rate (now {rate}) or raise the gradient penalty (now {penalty})."
            raise TrainingError(f"The loss became nan at step {bad}.", fix)

    def generator(self) -> Perceptron:
        """The averaged g with the standardisation folded in: z -> w, on the CPU."""
        return _averaged(self.gan.sizes, self.average, self.mean, self.std)

    def preview(self) -> Preview:
        """As every preview of the run."""
        g = self.generator()
        small = sum(p.numel() for p in g.parameters()) <= LARGEST_KEPT
        w = samples(g, self.gan.sizes.z_dim, PREVIEWED)
        return Preview(self.step, w, g.state_dict() if small else {}, self._meta())

    def look(self) -> bool:
        """Measures the samples; returns whether they are still like the codes.

        Their energy distance to the held-out codes, or where there are none to all of them, is kept, and tells
        whether the training collapsed: whether samples that had been nearer than SOUND are now further than
        FAR. Raises TrainingError as `check` does.
        """
        self.check()
        distance = self._distance(samples(self.generator(), self.gan.sizes.z_dim, DISTANCE_SAMPLES, seed=1))
        self.distance = None if self.floor is None else distance
        far = self.nearest < SOUND and not distance < FAR
        self.far_looks = self.far_looks + 1 if far else 0
        self.nearest = min(self.nearest, distance)
        return not far

    def _distance(self, w: Tensor) -> float:
        x, y = (self.axes.project(a) for a in (w[:DISTANCE_SAMPLES], self.reference))
        return energy_distance(x, y) + self.own_share

    def keep(self, folder: Path) -> None:
        """Exports g into `folder`."""
        save_tensors(folder / BEST, self.generator().state_dict(), self._meta())

    def _meta(self) -> dict[str, Any]:
        meta = {"sizes": asdict(self.gan.sizes), "recipe": self.recipe.name, "seed": self.seed}
        measured = {"distance": self.distance, "floor": self.floor, "held_out": self.held_out}
        return {**meta, "step": self.step, **measured}

    def progress(self) -> Progress:
        """Where the training stands; begins the means of the losses anew. Raises TrainingError as `check` does."""
        self.check()
        critic, generator, gap, gradient_penalty = (self.sums / max(1, self.summed)).tolist()
        self.sums.zero_()
        self.summed = 0
        return Progress(
            self.step, self.steps, critic, generator, gap, gradient_penalty,
            self.distance, self.floor, self.held_out, self.seconds,
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        """Writes the complete state, if it is good. Raises TrainingError as `check` does."""
        self.check()
        tensors = {f"gan.{name}": value for name, value in self.gan.state_dict().items()}
        tensors |= {f"average.{i}": value for i, value in enumerate(self.average)}
        for name, optimiser in self.optimisers.items():
            for number, slots in optimiser.state_dict()["state"].items():
                tensors |= {f"adam.{name}.{number}.{slot}": value for slot, value in slots.items()}
        tensors |= {"sums": self.sums, "mean": self.mean, "std": self.std}
        meta = {name: getattr(self, name) for name in self.KEPT}
        meta |= {"sizes": asdict(self.gan.sizes), "recipe": asdict(self.recipe), "seed": self.seed}
        save_tensors(folder / LAST, tensors, meta)

    def load(self, folder: Path) -> None:
        """Goes on from what was saved.

        Raises:
            TrainingError: it is of another recipe, seed, or set of codes.
        """
        tensors, meta = load_tensors(folder / LAST)
        if Recipe.from_dict(meta["recipe"]) != self.recipe or meta["seed"] != self.seed:
            problem = f"The run in {folder} was begun with other settings."
            raise TrainingError(problem, "Resume it with its own recipe and seed, or begin a new run.")
        try:
            self._standardise(tensors["mean"], tensors["std"])  # earlier versions held other codes out
            sizes = MindGANSizes.from_dict(meta["sizes"])  # as its mind's were
            self._learn(MindGAN.untrained(sizes, self.seed))
            self.gan.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("gan.")})
            self.sums.copy_(tensors["sums"])
            for i, value in enumerate(self.average):
                value.copy_(tensors[f"average.{i}"])
            for key, value in tensors.items():
                if key.startswith("adam."):
                    _, name, number, slot = key.split(".")
                    optimiser = self.optimisers[name]
                    parameter = optimiser.param_groups[0]["params"][int(number)]
                    optimiser.state[parameter][slot] = value.to(self.device)
        except (RuntimeError, KeyError, ValueError) as error:
            problem = f"{folder / LAST} does not fit these codes: {error}."
            raise TrainingError(problem, "Resume with the run's own codes.") from error
        steps = self.steps
        for name in self.KEPT:
            setattr(self, name, meta.get(name, getattr(self, name)))  # earlier versions kept fewer
        if steps != self.steps:
            self.rate_then = max(self.rate(), AGAIN)
            self.steps, self.since = steps, self.step


@lru_cache(maxsize=2)
def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """The numbers below `count` in the order of this epoch of a training."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(mixed(seed, epoch) ^ 1))


def split(codes: Tensor, held_out_share: float) -> tuple[Tensor, Tensor]:
    """Training and held-out codes, chosen the same way at each call; of fewer than 1,000 nothing is held out."""
    few = len(codes) < HELD_OUT_FROM
    count = 0 if few else min(round(len(codes) * held_out_share), HELD_OUT_MOST)
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
    return codes[order[count:]].float().cpu(), codes[order[:count]].float().cpu()


def exported(folder: Path) -> tuple[Perceptron, MindGANSizes, dict[str, Any]]:
    """The run's generator (z -> w of the source) as it was kept last, its sizes, and what was measured of it.

    Raises:
        WeightsError: the run has saved none yet.
    """
    if not (folder / BEST).exists():
        raise WeightsError(f"The run in {folder} has saved no generator yet.", "Let it train longer.")
    return read_generator(folder / BEST)


def read_generator(path: Path) -> tuple[Perceptron, MindGANSizes, dict[str, Any]]:
    """A generator from a file of its own or of a preview, its sizes, and what was measured of it.

    Raises:
        WeightsError: it was not kept with the preview.
    """
    tensors, meta = load_tensors(path)
    tensors.pop("w", None)
    if not tensors:
        problem = (
            "The generator of this step was not kept: it is too large, or the run is of an earlier version."
        )
        raise WeightsError(problem, "Keep the last.")
    sizes = MindGANSizes.from_dict(meta["sizes"])
    return _perceptron(sizes, tensors), sizes, meta


def current(folder: Path) -> tuple[Perceptron, MindGANSizes, dict[str, Any]]:
    """The averaged generator as the run saved it last, its sizes, and what is known of it, such as its step.

    While it trains that is every SAVE_SECONDS; before the first time it is the one kept last.

    Raises:
        WeightsError: the run has saved none yet.
    """
    if not (folder / LAST).exists():
        return exported(folder)
    tensors, meta = load_tensors(folder / LAST)
    try:
        sizes = MindGANSizes.from_dict(meta["sizes"])
        average = [tensors[f"average.{i}"] for i in range(2 * len(sizes.generator_widths) + 2)]
        return _averaged(sizes, average, tensors["mean"], tensors["std"]), sizes, meta
    except (KeyError, RuntimeError, ValueError) as error:
        fix = "Resume the run: it is saved again."
        raise WeightsError(f"{folder / LAST} is damaged, or of an earlier version.", fix) from error


def _averaged(sizes: MindGANSizes, average: list[Tensor], mean: Tensor, std: Tensor) -> Perceptron:
    """A generator of copies of these parameters with the standardisation folded in, on the CPU."""
    names = _perceptron(sizes).state_dict()
    g = _perceptron(sizes, {name: a.cpu().clone() for name, a in zip(names, average, strict=True)})
    g.fold_affine(mean, std)
    return g


def _perceptron(sizes: MindGANSizes, state: dict[str, Tensor] | None = None) -> Perceptron:
    """A generator with these very tensors; without any, it only knows its shapes."""
    with torch.device("meta"):
        g = MindGAN(sizes).generator
    if state:
        g.load_state_dict(state, assign=True)
    return g.eval()
