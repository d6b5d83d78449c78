"""What ALAE's training minimises, and the samples that it is computed on.

ALAE (arXiv 2004.04467; reference: model.py, losses.py): E and D tell real pictures from samples by their
codes, G and F make samples that pass for real, and E finds the code back that a sample was made from. Plain
functions of networks and tensors: who calls them decides what is optimised, and with which randomness.

Letters in the shapes: B batch, L layer_count. `lod` and `blend` as in `networks`; None is full size.
"""

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mind2mind.alae import ALAE, mix
from mind2mind.layers import random_noise


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
