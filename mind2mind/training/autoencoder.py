"""Training an autoencoder: what every recipe shares, and the pixel term, by which E and G learn to rebuild.

A `Trainee` is an ALAE in training: its weights, their average, the optimisers' state, and the checkpoint of it all.
`source.pretrain` drives it. Everything random in step s is drawn from generators seeded by (seed, s), and schedules
depend on the pictures seen alone: what is saved is all that a resumed training needs.

By the pixel term alone F and D keep their initial weights. The steps run compiled where there is a compiler, in
bfloat16, at full size from the start, without noise in the decoder. Noise on w makes the decoder forgive codes that
are a little off, as samples' codes are. An outermost level that is new is blended in as ALAE blends its levels, or
the network would forget what the others know.
"""

import json
import logging
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.config import PretrainRecipe, SourceRecipe, mixed
from mind2mind.data.images import from_uint8
from mind2mind.errors import TrainingError
from mind2mind.files import load_tensors, save_tensors
from mind2mind.networks.alae import ALAE

log = logging.getLogger(__name__)


def adam(parameters: Iterable[nn.Parameter], betas: tuple[float, float]) -> torch.optim.Adam:
    """Adam for ALAE's equalised learning rate: what StyleGAN does by scaling weights is a factor of each step.

    One group for each factor, a parameter's `lr_coef` (1 where it is missing). With beta1 = 0 that is the reference's
    LREQAdam but for the place of epsilon, which torch adds after the correction of the second moment's bias.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(getattr(parameter, "lr_coef", 1.0), []).append(parameter)
    rows = [{"params": group, "lr_coef": coefficient} for coefficient, group in groups.items()]
    return torch.optim.Adam(rows, betas=betas, fused=True)


class Trainee(ABC):
    """Common to all recipes.

    Args:
        alae: the network, already on its device; trained in place.
        recipe: how it is trained.
        seed: of all that is random.
        total: how many pictures are to be seen.
    """

    losses: Sequence[str]  # names of what `advance` returns
    parts: Sequence[str]  # patterns of the parameters that move, with an optimiser for each
    recipe: SourceRecipe
    fixed: Sequence[str] = ("recipe", "architecture", "seed", "length")  # what a resumed training has to have

    def __init__(self, alae: ALAE, recipe: SourceRecipe, seed: int, total: int) -> None:
        alae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.alae, self.recipe, self.seed, self.total = alae, recipe, seed, total
        named = [*alae.named_parameters()]
        parts = [{name: p for name, p in named if re.match(part, name)} for part in self.parts]
        self.optimisers = [adam(part.values(), recipe.betas) for part in parts]
        self.owners = {name: o for part, o in zip(parts, self.optimisers, strict=True) for name in part}
        self.trained = {name: parameter for part in parts for name, parameter in part.items()}
        self.device = alae.w_avg.device
        self.step = self.seen = 0  # batches and pictures
        self.average = {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    @abstractmethod
    def advance(self, pictures: Tensor) -> Tensor:
        """One step on a batch of uint8 pictures (N, C, H, W) of full size; the losses, still on the device."""

    def stages(self) -> list[tuple[float, float]]:
        """Parts whose steps differ in cost, in order: their share of all pictures, and what one picture costs."""
        return [(1.0, 1.0)]

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Full-size pictures in [-1, 1] as the network now sees them, and its reconstructions, without noise."""
        return x, self.alae.reconstruct(x)

    def samples(self, count: int) -> Tensor | None:
        """(count, C, H, W) of the same z at each call, of the size that is trained; None if F is not trained."""
        return None

    def set_rate(self, rate: float) -> None:
        """Gives every parameter this learning rate, times its `lr_coef`."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["lr_coef"]

    def forget(self, beta: float) -> None:
        """The average keeps `beta` of itself and takes the rest from the weights."""
        average = [self.average[name] for name in self.trained]
        torch._foreach_lerp_(average, [parameter.detach() for parameter in self.trained.values()], 1 - beta)

    def swap(self) -> None:
        """Exchanges the weights with their average; twice is nothing."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                now = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(now)

    def work(self, seen: float) -> float:
        """What the first `seen` pictures cost, in the unit of `stages`: the time left is told by it."""
        done = cost = each = 0.0
        for share, each in self.stages():
            pictures = min(share * self.total, seen - done)
            done, cost = done + pictures, cost + pictures * each
        return cost + (seen - done) * each

    def meta(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the tensors; `kimg` is thousands of pictures seen."""
        settings = {"recipe": asdict(self.recipe), "architecture": asdict(self.alae.architecture)}
        seen = {"seed": self.seed, "length": self.total, "step": self.step, "kimg": self.seen / 1000}
        return settings | seen

    def weights(self) -> dict[str, Tensor]:
        """The weights and their average, by their names in a checkpoint."""
        weights = {f"weights.{name}": value for name, value in self.alae.state_dict().items()}
        return weights | {f"ema.{name}": value for name, value in self.average.items()}

    def save(self, path: Path) -> None:
        """Writes the checkpoint."""
        tensors = self.weights()
        for name, parameter in self.trained.items():
            slots = self.owners[name].state[parameter]
            tensors |= {f"adam.{slot}.{name}": value for slot, value in slots.items()}
        save_tensors(path, tensors, self.meta())

    def load(self, path: Path) -> dict[str, Any]:
        """Goes on from a checkpoint; gives what `meta` was.

        Raises:
            TrainingError: it was begun with other settings.
            WeightsError: it cannot be read.
        """
        tensors, meta = load_tensors(path)
        now = json.loads(json.dumps(self.meta()))
        kept = meta.get("recipe", {})  # earlier versions kept other numbers, the first ones its name
        kept = {"name": kept} if isinstance(kept, str) else kept
        meta["recipe"] = {name: kept.get(name, value) for name, value in now["recipe"].items()}
        if changed := [name for name in self.fixed if meta.get(name, now[name]) != now[name]]:
            problem = f"{path} was begun with another {' and another '.join(changed)}."
            fix = "Resume with its own settings, or begin a new training (--start takes a bundle's weights)."
            raise TrainingError(problem, fix)
        self.step, self.seen = meta["step"], round(meta["kimg"] * 1000)
        self.total = meta.get("length", self.total)
        for name, value in self.weights().items():
            value.copy_(tensors.pop(name))
        for key, value in tensors.items():
            _, slot, name = key.split(".", 2)
            parameter = self.trained[name]
            # but for the count of steps in the parameter's memory format
            own = value.to(self.device) if slot == "step" else torch.empty_like(parameter).copy_(value)
            self.owners[name].state[parameter][slot] = own
        return meta


Step = Callable[[Tensor, Tensor, float], Tensor]
DETAIL = 5  # px: the blur that fine detail is what it takes away
WORST = 0.02  # share of a picture's pixels: small parts, such as a mouth, are lost in a mean over all


class PixelTrainee(Trainee):
    """E and G in training."""

    losses = ("pixel",)
    parts = (r"(encoder|decoder)(?!.*noise_weight)",)
    recipe: PretrainRecipe

    def __init__(self, alae: ALAE, recipe: PretrainRecipe, seed: int, total: int) -> None:
        super().__init__(alae, recipe, seed, total)
        self._loss_of = compiled(self._pixel_loss)

    @property
    def blend(self) -> float:
        """Of the outermost level with the one below; it is in after half of the pictures at the latest."""
        over = min(1000 * self.recipe.blend_kimg, self.total / 2)
        return min(1.0, self.seen / over) if over else 1.0

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Trainee.look`."""
        w = self.alae.encode(x, blend=self.blend)
        return x, self.alae.decode(self.alae.styles(w), blend=self.blend)

    def _pixel_loss(self, x: Tensor, noise: Tensor, blend: float) -> Tensor:
        w = self.alae.encode(x, blend=blend)
        w = w + noise * w.detach().std(dim=0)
        return pixel_term(self.alae.decode(self.alae.styles(w), blend=blend), x, self.recipe)

    def advance(self, pictures: Tensor) -> Tensor:
        """One step; the loss, (1,)."""
        draw = torch.Generator().manual_seed(mixed(self.seed, self.step))
        chosen = torch.randint(0, len(pictures), (self.recipe.batch_size,), generator=draw)
        x = from_uint8(pictures[chosen].to(self.device))
        if self.recipe.distorted:
            count = round(len(x) * self.recipe.distorted)
            x = torch.cat([distort(x[:count], draw), x[count:]])
        x = x.contiguous(memory_format=torch.channels_last)
        latent_size = self.alae.architecture.latent_size
        noise = self.recipe.latent_noise * torch.randn(len(x), latent_size, generator=draw).to(self.device)
        self.set_rate(self.recipe.learning_rate * self._schedule())
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self._loss_of(x, noise, self.blend)
        (optimiser,) = self.optimisers
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self.step += 1
        self.seen += len(x)
        half_lives = self.recipe.batch_size / (1000 * self.recipe.ema_kimg)
        self.forget(min(0.5**half_lives, self.step / (self.step + 10)))  # a short memory at first
        return loss.detach().view(1)

    def _schedule(self) -> float:
        steps = math.ceil(self.total / self.recipe.batch_size)
        left = (steps - self.step) / max(1, steps * self.recipe.decay_share)
        return min(1.0, (self.step + 1) / self.recipe.warmup_steps, max(left, 0.01))


def pixel_term(y: Tensor, x: Tensor, recipe: PretrainRecipe) -> Tensor:
    """How far reconstructions y are from pictures x, (B, C, H, W) in [-1, 1]; 0-d."""
    scaled = [F.l1_loss(F.avg_pool2d(y, s), F.avg_pool2d(x, s)) for s in recipe.scales]
    error = y - x
    fine = error - F.avg_pool2d(error, DETAIL, stride=1, padding=DETAIL // 2, count_include_pad=False)
    term: Tensor = torch.stack(scaled).sum()
    term = term + recipe.squared * error.square().mean() + recipe.detail * fine.abs().mean()
    if recipe.hardest:
        pixels = error.abs().amax(dim=1).flatten(1)
        term = term + recipe.hardest * pixels.topk(math.ceil(WORST * pixels.shape[1])).values.mean()
    return term


def distort(x: Tensor, draw: torch.Generator) -> Tensor:
    """Pictures (B, C, H, W) in [-1, 1] turned, scaled and moved; a quarter outlined, a quarter laid over another.

    `draw` is a generator of the CPU. What is moved in from outside is -1 (black).
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(len(x), *shape, generator=draw).to(x.device)

    angle, scale = math.pi * (uniform() - 0.5), torch.exp(1.2 * (uniform() - 0.5))
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = 0.6 * (uniform(2) - 0.5)
    affine = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
    grid = F.affine_grid(torch.cat([affine, shift[:, :, None]], dim=2), list(x.shape), align_corners=False)
    y = F.grid_sample(x + 1, grid, align_corners=False)  # zeros outside are black
    outlined = F.max_pool2d(y, 3, 1, 1) + F.max_pool2d(-y, 3, 1, 1)
    kind = uniform(1, 1, 1)
    laid = torch.maximum(y, y.roll(1, dims=0))
    return torch.where(kind < 0.25, outlined, torch.where(kind < 0.5, laid, y)) - 1


def compiled(function: Step) -> Step:
    """The function through torch.compile where this machine can, else as it is."""
    fast: Step = torch.compile(function)

    def call(x: Tensor, noise: Tensor, blend: float) -> Tensor:
        nonlocal fast
        try:
            return fast(x, noise, blend)
        except Exception as error:  # no compiler, an unsupported platform: slower, not wrong
            if fast is function:
                raise
            log.warning("torch.compile is of no use here (%s); going on without it.", type(error).__name__)
            fast = function
            return function(x, noise, blend)

    return call
