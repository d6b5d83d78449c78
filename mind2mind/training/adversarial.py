"""ALAE's own training (arXiv 2004.04467): all four networks, growing from 4 px, in float32.

E and D tell real pictures from samples by their codes, G and F make samples that pass for real, and E finds the code
back that a sample was made from. Losses are plain functions of networks and tensors: who calls them decides what is
optimised, and with which randomness. `lod` and `blend` are as in `networks.alae`.

Reference: train_alae.py, model.py, losses.py, lod_driver.py. Numerically the original, but for these: the average
starts as a copy of the weights and not as other random ones; pictures of a level are means of squares of pixels, not
rounded; each picture is seen once in an epoch, and a batch may begin in one and end in the next; the number of
pictures seen, not of epochs, decides on the level, with the published ratios. (On CUDA torch rounds the factors of
convolutions to TF32 unless told not to.)
"""

import math
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mind2mind.config import Growth, PaperRecipe, mixed
from mind2mind.data.images import from_uint8
from mind2mind.networks.alae import ALAE, mix, random_noise
from mind2mind.training.autoencoder import Trainee
from mind2mind.training.transfer import shuffled


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
    alae: ALAE, z: Tensor, chance: Chance, *, mixing: float, w_avg_beta: float, lod: int, blend: float
) -> tuple[Tensor, Tensor]:
    """Samples as in training, with noise: the codes w (B, latent_size) of z, before mixing, and the pictures.

    Moves `alae.w_avg` towards the mean of these codes, without a gradient.

    Args:
        z: (B, latent_size), standard normal.
        mixing: the probability that the styles from some place on, the same for the whole batch, come from
            other codes.
        w_avg_beta: what w_avg keeps of itself.
    """
    w = alae.map(z.to(alae.w_avg.device))
    with torch.no_grad():
        alae.w_avg.lerp_(w.detach().mean(dim=0).to(alae.w_avg).expand_as(alae.w_avg), 1 - w_avg_beta)
    styles = alae.styles(w)
    if mixing and chance.choices.random() < mixing:
        other = alae.styles(alae.map(chance.z(*z.shape).to(w.device)))
        styles = mix(styles, other, chance.choices.randint(1, 2 * (lod + 1)))
    return w, alae.decode(styles, lod, blend, random_noise(chance.draws))


def discriminator_loss(
    alae: ALAE, real: Tensor, fake: Tensor, gamma: float, lod: int, blend: float
) -> Tensor:
    """Logistic loss of E and D with gamma / 2 times the R1 penalty (arXiv 1801.04406); gamma 0 leaves it out.

    The penalty, |grad of D(E(x)) with respect to x|**2 of each picture, is a gradient whose gradient is taken: call
    this outside of torch.compile.
    """
    real = real.detach().requires_grad_(gamma > 0)
    d_real = alae.realness(alae.encode(real, lod, blend))
    d_fake = alae.realness(alae.encode(fake, lod, blend))
    loss = F.softplus(d_fake) + F.softplus(-d_real)
    if gamma > 0:
        (gradient,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
        loss = loss + gamma / 2 * gradient.square().sum(dim=(1, 2, 3))
    return loss.mean()


def generator_loss(alae: ALAE, fake: Tensor, lod: int, blend: float) -> Tensor:
    """Non-saturating logistic loss of G and F: samples that D takes for real."""
    return F.softplus(-alae.realness(alae.encode(fake, lod, blend))).mean()


def latent_loss(alae: ALAE, fake: Tensor, code: Tensor, lod: int, blend: float) -> Tensor:
    """Latent reciprocity: the mean squared difference of E(fake) and the code that it was made from.

    `code` (B, latent_size) is w, or z in the reference's z-regression; no gradient flows into it.
    """
    return F.mse_loss(alae.encode(fake, lod, blend), code.detach())


class AdversarialTrainee(Trainee):
    """E, D, G and F in training on `total` pictures.

    A resumed training keeps the levels that it was begun with: with more pictures, full size lasts longer.
    """

    losses = ("d", "g", "ae")
    parts = ("encoder|mapping_d", "decoder|mapping_f")
    fixed = ("recipe", "architecture", "seed")
    recipe: PaperRecipe

    def __init__(self, alae: ALAE, recipe: PaperRecipe, seed: int, total: int) -> None:
        super().__init__(alae, recipe, seed, total)
        self.optimiser_e, self.optimiser_g = self.optimisers
        self.growth = recipe.growth_of(alae.architecture)
        self.layer_count = alae.architecture.layer_count
        self.level = level_at(self.growth, self.layer_count, 0, total)  # of the last step
        self.set_rate(self.level.learning_rate)

    def advance(self, pictures: Tensor) -> Tensor:
        """One step of each kind; their losses, (3,)."""
        level = level_at(self.growth, self.layer_count, self.seen, self.total)
        if level.lod != self.level.lod:
            for optimiser in self.optimisers:
                optimiser.state.clear()
        self.set_rate(level.learning_rate)
        self.level = level
        chance = Chance.of(mixed(self.seed, self.step), self.device)
        losses = self.train_on(self.batch(pictures, level), chance)
        self.step += 1
        self.seen += level.batch_size
        self.forget(0.5 ** (level.batch_size / (1000 * self.recipe.ema_kimg)))
        return losses

    def batch(self, pictures: Tensor, level: Level) -> Tensor:
        """The next pictures of an endless row of shufflings of all, as the networks see them at the level."""
        count, size = len(pictures), level.batch_size
        first, last = self.seen // count, (self.seen + size - 1) // count
        row = torch.cat([shuffled(count, self.seed, epoch) for epoch in range(first, last + 1)])
        chosen = row[self.seen - first * count :][:size]
        x = at_level(from_uint8(pictures[chosen].to(self.device)), self.layer_count, level)
        return x.contiguous(memory_format=torch.channels_last)

    def train_on(self, real: Tensor, chance: Chance) -> Tensor:
        """The three steps on pictures (B, C, H, W) of the present level; the losses of D, G and E, (3,)."""
        alae, recipe = self.alae, self.recipe
        at: dict[str, Any] = {"lod": self.level.lod, "blend": self.level.blend}

        def sampled(mixing: float) -> tuple[Tensor, Tensor]:
            """w and pictures."""
            z = chance.z(len(real), alae.architecture.latent_size)
            return generate(alae, z, chance, mixing=mixing, w_avg_beta=recipe.w_avg_beta, **at)

        with torch.no_grad():
            _, fake = sampled(recipe.style_mixing)
        loss_d = discriminator_loss(alae, real, fake, gamma=recipe.gamma, **at)
        self._minimise(loss_d, self.optimiser_e)
        _, fake = sampled(recipe.style_mixing)
        loss_g = generator_loss(alae, fake, **at)
        self._minimise(loss_g, self.optimiser_g)
        w, fake = sampled(0.0)
        loss_ae = latent_loss(alae, fake, w, **at)
        self._minimise(loss_ae, self.optimiser_e, self.optimiser_g)
        return torch.stack([loss_d, loss_g, loss_ae]).detach()

    def _minimise(self, loss: Tensor, *optimisers: torch.optim.Adam) -> None:
        """One step of these optimisers; no other parameter gets a gradient.

        Between steps gradients become zeros, as in the torch of the paper's time, and not None: D, which the third
        step has no gradient for, then forgets a little of its second moment there.
        """
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=False)
        moved = [p for o in optimisers for group in o.param_groups for p in group["params"]]
        loss.backward(inputs=moved)
        for optimiser in optimisers:
            optimiser.step()

    def stages(self) -> list[tuple[float, float]]:
        """The levels of detail: a step costs about twice that of the level below (measured on toon64)."""
        return [(share, 2.0**lod) for lod, share in enumerate(shares(self.growth, self.layer_count))]

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

    def meta(self) -> dict[str, Any]:
        """See `Trainee.meta`; the level of the last step besides."""
        return super().meta() | {"level": asdict(self.level)}

    def load(self, path: Path) -> dict[str, Any]:
        """See `Trainee.load`."""
        meta = super().load(path)
        self.level = Level(**meta["level"])
        for name, parameter in self.trained.items():
            if slots := self.owners[name].state[parameter]:
                slots.setdefault("exp_avg", torch.zeros_like(parameter))  # not kept by earlier versions
                parameter.grad = torch.zeros_like(parameter)  # those of past levels count their steps on
        return meta
