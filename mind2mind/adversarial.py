"""ALAE's own training: all four networks, growing from 4 px, in float32 (arXiv 2004.04467).

Reference: train_alae.py, model.py. Numerically the original, but for these: the average starts as a copy of
the weights and not as other random ones; pictures of a level are means of squares of pixels, not rounded;
each picture is seen once in an epoch, and a batch may begin in one and end in the next. (On CUDA torch rounds
the factors of convolutions to TF32 unless told not to.)
"""

import math
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mind2mind.alae import ALAE
from mind2mind.config import PaperRecipe
from mind2mind.growth import Level, at_level, level_at, shares
from mind2mind.images import from_uint8
from mind2mind.lreq import LREQAdam
from mind2mind.objectives import Chance, discriminator_loss, generate, generator_loss, latent_loss
from mind2mind.seeds import mixed
from mind2mind.trainee import Trainee


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
