"""ALAE trained by the pixel term alone: E and G learn to rebuild, F and D keep their initial weights.

The steps run compiled where there is a compiler, in bfloat16, at full size from the start, without noise in the
decoder. Noise on w makes the decoder forgive codes that are a little off, as samples' codes are.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.config import PaperRecipe, PretrainRecipe, mixed
from mind2mind.data.images import from_uint8
from mind2mind.errors import TrainingError
from mind2mind.files import load_tensors, save_tensors
from mind2mind.networks.alae import ALAE

log = logging.getLogger(__name__)

# --- An ALAE in training: its weights, their average, the optimisers' state, and the checkpoint of it all.
# What a step does is the affair of `pixelwise` and `adversarial`; `pretrain` drives either. Everything random
# in step s is drawn from generators seeded by (seed, s), and schedules depend on the pictures seen alone, so
# that what is saved is all that a resumed training needs.


class Trainee(ABC):
    """Common to all recipes.

    Args:
        alae: the network, already on its device; trained in place.
        trained: the parameters that move, by name; their average is what comes of the training.
        optimisers: of disjoint parts of them.
        recipe: its name goes into the checkpoint.
        seed: of all that is random.
    """

    losses: Sequence[str]  # names of what `advance` returns

    def __init__(
        self,
        alae: ALAE,
        trained: Mapping[str, nn.Parameter],
        optimisers: Sequence[torch.optim.Optimizer],
        recipe: PretrainRecipe | PaperRecipe,
        seed: int,
    ) -> None:
        self.alae, self.trained, self.seed, self.recipe_name = alae, dict(trained), seed, recipe.name
        self.device = alae.w_avg.device
        owner = {id(p): o for o in optimisers for group in o.param_groups for p in group["params"]}
        self.optimisers = {name: owner[id(parameter)] for name, parameter in self.trained.items()}
        self.step = self.seen = 0  # batches and pictures
        self.average = {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    @abstractmethod
    def advance(self, pictures: Tensor) -> Tensor:
        """One step on a batch of uint8 pictures (N, C, H, W) of full size; the losses, still on the device."""

    def stages(self) -> list[tuple[float, int]]:
        """Parts whose steps differ in cost: their share of all pictures, and the number seen at a time in each."""
        return [(1.0, 0)]

    def work(self, seen: int) -> float:
        """What the first `seen` pictures cost, in any unit: the time left is told by it."""
        return seen

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Full-size pictures in [-1, 1] as the network now sees them, and its reconstructions, without noise."""
        return x, self.alae.reconstruct(x)

    def samples(self, count: int) -> Tensor | None:
        """(count, C, H, W) of the same z at each call, of the size that is trained; None if F is not trained."""
        return None

    def forget(self, beta: float) -> None:
        """The average keeps `beta` of itself and takes the rest from the weights."""
        now = [parameter.detach() for parameter in self.trained.values()]
        torch._foreach_lerp_(list(self.average.values()), now, 1 - beta)

    def swap(self) -> None:
        """Exchanges the weights with their average; twice is nothing."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                now = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(now)

    def save(self, path: Path) -> None:
        """Writes the checkpoint; its meta data hold `kimg`, the thousands of pictures seen."""
        tensors = {f"weights.{name}": value for name, value in self.alae.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in self.average.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimisers[name].state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        save_tensors(path, tensors, self._meta())

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint.

        Raises:
            TrainingError: it is of another architecture or recipe.
            WeightsError: it cannot be read.
        """
        tensors, meta = load_tensors(path)
        try:
            self._restore_meta(meta)
            self._restore(tensors)
        except (RuntimeError, KeyError) as error:
            raise TrainingError(
                f"{path} is of another architecture or recipe: {error}.",
                "Resume with what it was begun with.",
            ) from error

    def _meta(self) -> dict[str, Any]:
        kept = {"step": self.step, "seed": self.seed, "kimg": self.seen / 1000}
        return kept | {"losses": list(self.losses), "recipe": self.recipe_name}

    def _restore_meta(self, meta: dict[str, Any]) -> None:
        if meta["losses"] != list(self.losses):
            raise RuntimeError(f"it minimises {', '.join(meta['losses'])}")
        if meta.get("recipe", self.recipe_name) != self.recipe_name:  # the first checkpoints do not say
            raise RuntimeError(f"its recipe is {meta['recipe']}, not {self.recipe_name}")
        self.step, self.seed, self.seen = meta["step"], meta["seed"], round(meta["kimg"] * 1000)

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        prefix = "weights."
        self.alae.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        for name, value in self.average.items():
            value.copy_(tensors[f"ema.{name}"])
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "adam":
                slot, _, name = rest.partition(".")
                parameter, optimiser = self.trained[name], self.optimisers[name]
                optimiser.state[parameter][slot] = _placed(value, parameter, optimiser)


def _placed(value: Tensor, parameter: nn.Parameter, optimiser: torch.optim.Optimizer) -> Tensor:
    """A saved slot of an optimiser where that optimiser wants it."""
    if value.shape == parameter.shape:
        return torch.empty_like(parameter).copy_(value)  # in the parameter's memory format
    return value.to(parameter.device) if optimiser.defaults.get("fused") else value


Step = Callable[[Tensor, Tensor], Tensor]
DETAIL = 5  # px: the blur that fine detail is what it takes away
WORST = 0.02  # share of a picture's pixels: small parts, such as a mouth, are lost in a mean over all


class PixelTrainee(Trainee):
    """E and G in training on `total` pictures; a schedule resumed with another total follows that one."""

    losses = ("pixel",)

    def __init__(self, alae: ALAE, recipe: PretrainRecipe, seed: int, total: int) -> None:
        alae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = {
            name: parameter
            for name, parameter in alae.named_parameters()
            if name.startswith(("encoder.", "decoder.")) and "noise_weight" not in name
        }
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in trained.values():
            groups.setdefault(getattr(parameter, "lr_coef", 1.0), []).append(parameter)
        self.optimiser = torch.optim.Adam(
            [{"params": group, "coefficient": coefficient} for coefficient, group in groups.items()],
            betas=recipe.betas,
            fused=True,
        )
        super().__init__(alae, trained, [self.optimiser], recipe, seed)
        self.recipe, self.total_steps = recipe, math.ceil(total / recipe.batch_size)
        self._loss_of = compiled(self._pixel_loss)

    def _pixel_loss(self, x: Tensor, noise: Tensor) -> Tensor:
        w = self.alae.encode(x)
        w = w + noise * w.detach().std(dim=0)
        return pixel_term(self.alae.decode(self.alae.styles(w)), x, self.recipe)

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
        learning_rate = self.recipe.learning_rate * self._schedule()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate * group["coefficient"]
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self._loss_of(x, noise)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.seen += len(x)
        half_lives = self.recipe.batch_size / (1000 * self.recipe.ema_kimg)
        self.forget(min(0.5**half_lives, self.step / (self.step + 10)))  # a short memory at first
        return loss.detach().view(1)

    def _schedule(self) -> float:
        left = (self.total_steps - self.step) / max(1, self.total_steps * self.recipe.decay_share)
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
    tried = False

    def call(x: Tensor, noise: Tensor) -> Tensor:
        nonlocal fast, tried
        if tried:
            return fast(x, noise)
        tried = True
        try:
            return fast(x, noise)
        except Exception as error:  # no compiler, an unsupported platform: slower, not wrong
            log.warning("torch.compile is of no use here (%s); going on without it.", type(error).__name__)
            fast = function
            return fast(x, noise)

    return call
