"""ALAE's own training: all four networks, growing from 4 px, in float32 (arXiv 2004.04467).

Reference: train_alae.py, model.py. Numerically the original, but for these: the average starts as a copy of
the weights and not as other random ones; pictures of a level are means of squares of pixels, not rounded;
each picture is seen once in an epoch, and a batch may begin in one and end in the next. (On CUDA torch rounds
the factors of convolutions to TF32 unless told not to.)
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.config import Growth, PaperRecipe, mixed
from mind2mind.data.images import from_uint8
from mind2mind.errors import ConfigError
from mind2mind.networks.alae import ALAE, mix, random_noise
from mind2mind.training.autoencoder import Trainee

# --- LREQAdam: the optimiser of ALAE's equalised learning rate.
# The stored weights are the effective ones; what StyleGAN does by scaling them in the forward pass is here a
# factor of each parameter's step, its `lr_coef` (set in `layers`, 1 where it is missing). Reference: custom_adam.py.


class LREQAdam(torch.optim.Optimizer):
    """Adam without its first moment: p -= lr * lr_coef * sqrt(1 - beta2**t) * g / (sqrt(v) + eps).

    A parameter whose gradient is None is skipped; one of zeros lets v decay and t count, without moving the
    parameter. State of each parameter: `step` (t, on the CPU) and `exp_avg_sq` (v).

    Args:
        params: parameters or groups of them, as of any optimiser of torch.
        betas: (0, beta2).

    Raises:
        ConfigError: beta1 is not 0.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1.5e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        eps: float = 1e-8,
    ) -> None:
        if betas[0] != 0:
            raise ConfigError(f"LREQAdam has no first moment, and beta1 is {betas[0]}.", "Set beta1 to 0.")
        super().__init__(params, {"lr": lr, "beta2": betas[1], "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._move(moved, group["lr"], group["beta2"], group["eps"])
        return loss

    def _move(self, parameters: list[Tensor], lr: float, beta2: float, eps: float) -> None:
        sizes = []
        for p in parameters:
            state = self.state[p]
            if not state:
                state["step"], state["exp_avg_sq"] = torch.zeros(()), torch.zeros_like(p)
            state["step"] += 1
            sizes.append(-lr * getattr(p, "lr_coef", 1.0) * (1 - beta2 ** state["step"].item()) ** 0.5)
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        squares: list[Tensor] = [self.state[p]["exp_avg_sq"] for p in parameters]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, eps)
        torch._foreach_addcdiv_(parameters, gradients, roots, sizes)


# --- The growing schedule of ALAE's own training: what holds after how many pictures.
# Reference: lod_driver.py. The reference counts epochs of a data set; here the number of pictures seen decides
# alone, with the published ratios, so that nothing but that number needs to be kept for a resumed training.


@dataclass(frozen=True, slots=True)
class Level:
    """What holds at one moment of the training."""

    lod: int  # of 4 * 2**lod px; where it changes, the optimisers' state is emptied
    blend: float  # of the level with the one below; 1 is the level alone
    batch_size: int
    learning_rate: float


def level_at(growth: Growth, layer_count: int, seen: int, total: int) -> Level:
    """The level after `seen` of `total` pictures (more than `total` is allowed: full size goes on).

    A level below full size lasts epochs_per_lod / epochs of the total. In the first half of each but the
    lowest the new layers are blended in along half a cosine wave.
    """
    lod, blend = layer_count - 1, 1.0
    if growth.epochs_per_lod:
        lod = min(lod, growth.epochs * seen // (growth.epochs_per_lod * total))
        since = growth.epochs * seen / total - growth.epochs_per_lod * lod  # epochs of this level
        transition = growth.epochs_per_lod // 2
        if lod > 0 and since < transition:
            blend = 0.5 + 0.5 * math.sin(math.pi * since / transition - math.pi / 2)
    batch_size = growth.batch_sizes[min(lod, len(growth.batch_sizes) - 1)]
    learning_rate = growth.learning_rates[min(lod, len(growth.learning_rates) - 1)]
    return Level(lod, blend, batch_size, learning_rate)


def shares(growth: Growth, layer_count: int) -> list[float]:
    """The share of all pictures that each level of detail gets; they sum to 1."""
    each = growth.epochs_per_lod / growth.epochs
    below = [max(0.0, min(each, 1 - each * lod)) for lod in range(layer_count - 1)]
    return [*below, max(0.0, 1 - sum(below))]


def at_level(x: Tensor, layer_count: int, level: Level) -> Tensor:
    """Full-size pictures (B, C, H, W) as the networks see them at a level, (B, C, 4*2**lod, 4*2**lod).

    Means of squares of pixels; while a level is blended in, so are its details.
    """
    x = F.avg_pool2d(x, 2 ** (layer_count - 1 - level.lod))
    if level.blend == 1:
        return x
    coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="nearest")
    return x * level.blend + coarse * (1 - level.blend)


# --- What ALAE's training minimises, and the samples that it is computed on.
# ALAE (arXiv 2004.04467; reference: model.py, losses.py): E and D tell real pictures from samples by their
# codes, G and F make samples that pass for real, and E finds the code back that a sample was made from. Plain
# functions of networks and tensors: who calls them decides what is optimised, and with which randomness.
# Letters in the shapes: B batch, L layer_count. `lod` and `blend` as in `networks`; None is full size.


@dataclass(frozen=True, slots=True)
class Chance:
    """Where a training step's randomness comes from."""

    choices: random.Random  # whether and where styles are mixed
    draws: torch.Generator  # z and the decoder's noise

    @classmethod
    def of(cls, seed: int, device: torch.device | str = "cpu") -> "Chance":
        """Both sources begun anew from one seed (0 .. 2**63 - 1); the tensors are drawn on `device`."""
        return cls(random.Random(seed), torch.Generator(device).manual_seed(seed))

    def z(self, count: int, latent_size: int) -> Tensor:
        """(count, latent_size), standard normal, on the generator's device."""
        return torch.randn(count, latent_size, generator=self.draws, device=self.draws.device)


def generate(
    alae: ALAE,
    z: Tensor,
    chance: Chance,
    *,
    mixing: float,
    w_avg_beta: float,
    lod: int | None = None,
    blend: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Samples as in training, with noise: the codes w (B, latent_size) of z, before mixing, and the pictures.

    Moves `alae.w_avg` towards the mean of these codes, without a gradient.

    Args:
        z: (B, latent_size), standard normal.
        mixing: the probability that the styles from some place on, the same for the whole batch, come from
            other codes.
        w_avg_beta: what w_avg keeps of itself.
    """
    lod = alae.architecture.layer_count - 1 if lod is None else lod
    w = alae.map(z.to(alae.w_avg.device))
    with torch.no_grad():
        alae.w_avg.lerp_(w.detach().mean(dim=0).to(alae.w_avg).expand_as(alae.w_avg), 1 - w_avg_beta)
    styles = alae.styles(w)
    if mixing and chance.choices.random() < mixing:
        other = alae.styles(alae.map(chance.z(*z.shape).to(w.device)))
        styles = mix(styles, other, chance.choices.randint(1, 2 * (lod + 1)))
    return w, alae.decode(styles, lod, blend, random_noise(chance.draws))


def discriminator_loss(
    alae: ALAE, real: Tensor, fake: Tensor, *, gamma: float, lod: int | None = None, blend: float = 1.0
) -> Tensor:
    """Logistic loss of E and D with gamma / 2 times the R1 penalty; gamma 0 leaves it out (lazy R1).

    The penalty is a gradient whose gradient is taken: call this outside of torch.compile.
    """
    real = real.detach().requires_grad_(gamma > 0)
    d_real = alae.realness(alae.encode(real, lod, blend))
    d_fake = alae.realness(alae.encode(fake, lod, blend))
    loss = F.softplus(d_fake) + F.softplus(-d_real)
    if gamma > 0:
        loss = loss + gamma / 2 * r1_penalty(d_real, real)
    return loss.mean()


def r1_penalty(d_real: Tensor, real: Tensor) -> Tensor:
    """|grad of D(E(x)) with respect to x|**2 of each picture, (B,); arXiv 1801.04406."""
    (gradient,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def generator_loss(alae: ALAE, fake: Tensor, *, lod: int | None = None, blend: float = 1.0) -> Tensor:
    """Non-saturating logistic loss of G and F: samples that D takes for real."""
    return F.softplus(-alae.realness(alae.encode(fake, lod, blend))).mean()


def latent_loss(
    alae: ALAE, fake: Tensor, code: Tensor, *, lod: int | None = None, blend: float = 1.0
) -> Tensor:
    """Latent reciprocity: the mean squared difference of E(fake) and the code that it was made from.

    `code` (B, latent_size) is w, or z in the reference's z-regression; no gradient flows into it.
    """
    return F.mse_loss(alae.encode(fake, lod, blend), code.detach())


class AdversarialTrainee(Trainee):
    """E, D, G and F in training on `total` pictures.

    A resumed training keeps the levels that it was begun with: with more pictures, full size lasts longer.

    Args:
        zero_gradients: between steps gradients become zeros, as in the torch of the paper's time, and not None:
            D, which the third step has no gradient for, then forgets a little of its second moment there.
    """

    losses = ("d", "g", "ae")

    def __init__(
        self, alae: ALAE, recipe: PaperRecipe, seed: int, total: int, *, zero_gradients: bool = True
    ) -> None:
        self.optimiser_e = LREQAdam(
            [*alae.encoder.parameters(), *alae.mapping_d.parameters()], betas=recipe.betas
        )
        self.optimiser_g = LREQAdam(
            [*alae.decoder.parameters(), *alae.mapping_f.parameters()], betas=recipe.betas
        )
        alae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimisers = [self.optimiser_e, self.optimiser_g]
        super().__init__(alae, dict(alae.named_parameters()), optimisers, recipe, seed)
        self.recipe, self.total, self.zero_gradients = recipe, total, zero_gradients
        self.growth = recipe.growth_of(alae.architecture)
        self.layer_count = alae.architecture.layer_count
        self.level = level_at(self.growth, self.layer_count, 0, total)  # of the last step

    def advance(self, pictures: Tensor) -> Tensor:
        """One step of each kind; their losses, (3,)."""
        level = level_at(self.growth, self.layer_count, self.seen, self.total)
        for optimiser in (self.optimiser_e, self.optimiser_g):
            if level.lod != self.level.lod:
                optimiser.state.clear()
            for group in optimiser.param_groups:
                group["lr"] = level.learning_rate
        self.level = level
        chance = Chance.of(mixed(self.seed, self.step), self.device)
        losses = self.train_on(self.batch(pictures, level, chance), chance)
        self.step += 1
        self.seen += level.batch_size
        self.forget(0.5 ** (level.batch_size / (1000 * self.recipe.ema_kimg)))
        return losses

    def batch(self, pictures: Tensor, level: Level, chance: Chance) -> Tensor:
        """The next pictures of an endless row of shufflings of all, as the networks see them at the level."""
        count, size = len(pictures), level.batch_size
        first, last = self.seen // count, (self.seen + size - 1) // count
        row = torch.cat([_shuffled(count, self.seed, epoch) for epoch in range(first, last + 1)])
        chosen = row[self.seen - first * count :][:size]
        x = at_level(from_uint8(pictures[chosen].to(self.device)), self.layer_count, level)
        if self.recipe.flip:
            mirrored = torch.rand(size, 1, 1, 1, generator=chance.draws, device=self.device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last)

    def train_on(self, real: Tensor, chance: Chance) -> Tensor:
        """The three steps on pictures (B, C, H, W) of the present level; the losses of D, G and E, (3,)."""
        alae, recipe, latent_size = self.alae, self.recipe, self.alae.architecture.latent_size
        at: dict[str, Any] = {"lod": self.level.lod, "blend": self.level.blend}
        drawn: dict[str, Any] = {"w_avg_beta": recipe.w_avg_beta, **at}
        with torch.no_grad():
            z = chance.z(len(real), latent_size)
            _, fake = generate(alae, z, chance, mixing=recipe.style_mixing, **drawn)
        loss_d = discriminator_loss(alae, real, fake, gamma=recipe.gamma, **at)
        self._minimise(loss_d, self.optimiser_e)
        z = chance.z(len(real), latent_size)
        _, fake = generate(alae, z, chance, mixing=recipe.style_mixing, **drawn)
        loss_g = generator_loss(alae, fake, **at)
        self._minimise(loss_g, self.optimiser_g)
        z = chance.z(len(real), latent_size)
        w, fake = generate(alae, z, chance, mixing=0.0, **drawn)
        loss_ae = latent_loss(alae, fake, z if recipe.z_regression else w, **at)
        self._minimise(loss_ae, self.optimiser_e, self.optimiser_g)
        return torch.stack([loss_d, loss_g, loss_ae]).detach()

    def _minimise(self, loss: Tensor, *optimisers: LREQAdam) -> None:
        """One step of these optimisers; no other parameter gets a gradient."""
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=not self.zero_gradients)
        moved = [p for o in optimisers for group in o.param_groups for p in group["params"]]
        loss.backward(inputs=moved)
        for optimiser in optimisers:
            optimiser.step()

    def stages(self) -> list[tuple[float, int]]:
        """The levels of detail, each while it is blended in."""
        each = self.growth.epochs_per_lod / self.growth.epochs
        return [
            (share, math.ceil(self.total * each * (lod + 0.2)))
            for lod, share in enumerate(shares(self.growth, self.layer_count))
            if share > 0
        ]

    def work(self, seen: int) -> float:
        """A step costs about twice that of the level below (measured on toon64)."""
        *below, _ = shares(self.growth, self.layer_count)
        done, cost = 0.0, 0.0
        for lod, share in enumerate(below):
            pictures = min(share * self.total, seen - done)
            done, cost = done + pictures, cost + pictures * 2.0**lod
        return cost + (seen - done) * 2.0 ** len(below)

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and reconstructions of the present level."""
        level = self.level
        x = at_level(x, self.layer_count, level)
        w = self.alae.encode(x, level.lod, level.blend)
        return x, self.alae.decode(self.alae.styles(w), level.lod, level.blend)

    def samples(self, count: int) -> Tensor:
        """F's, at psi 1, without noise."""
        z = Chance.of(0).z(count, self.alae.architecture.latent_size)
        styles = self.alae.styles(self.alae.map(z.to(self.device)))
        return self.alae.decode(styles, self.level.lod, self.level.blend)

    def _meta(self) -> dict[str, Any]:
        return super()._meta() | {"total": self.total, "level": asdict(self.level)}

    def _restore_meta(self, meta: dict[str, Any]) -> None:
        super()._restore_meta(meta)
        self.total, self.level = meta["total"], Level(**meta["level"])

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        if self.zero_gradients:  # parameters of levels that are through count their steps on
            for name, parameter in self.trained.items():
                if self.optimisers[name].state[parameter]:
                    parameter.grad = torch.zeros_like(parameter)


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(mixed(seed, epoch) ^ 1))
