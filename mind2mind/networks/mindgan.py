"""MindGAN: the small Wasserstein GAN that learns the distribution of codes.

Mind2Mind (arXiv 1906.11613): generator g maps z to w, critic c maps w to a number, both plain perceptrons
with ReLUs. The losses are WGAN-GP's (arXiv 1704.00028) with an epsilon (drift) penalty on real codes; the energy
distance, a term of the generator's that needs no critic, is ours.
Attribute names are the official checkpoints' keys (`model.0.weight`, ...).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mind2mind.config import MindGANSizes
from mind2mind.networks.alae import MAPPING_SLOPE, MappingF, of_one_length


class Perceptron(nn.Module):
    """Linear layers with ReLUs between them and none at the end.

    As `mapping` it has ALAE's F inside: its ReLUs are leaky, and it brings z to one length first.
    """

    def __init__(self, sizes: Sequence[int], mapping: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(MAPPING_SLOPE) if mapping else nn.ReLU()]
        self.model, self.mapping = nn.Sequential(*layers[:-1]), mapping

    @classmethod
    def of_mapping(cls, f: MappingF) -> "Perceptron":
        """What draws as F does, with a last layer that an affine map can be folded into.

        Its prior is another, but of so many numbers a uniform z of one length is as good as a normal one.
        """
        layers: list[nn.Linear] = [block.fc for block in f.map_blocks]  # type: ignore[misc, union-attr]
        size = layers[0].in_features
        mind = cls([size] * (len(layers) + 2), mapping=True)
        *own, last = mind.layers
        with torch.no_grad():
            for layer, source in zip(own, layers, strict=True):
                layer.load_state_dict(source.state_dict())
            last.weight.copy_(torch.eye(size))
            last.bias.zero_()
        return mind

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(of_one_length(x) if self.mapping else x)
        return y

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear ones."""
        return [layer for layer in self.model if isinstance(layer, nn.Linear)]

    def input_gradient(self, x: Tensor) -> Tensor:
        """d(sum of the outputs) / dx, (B, n_in), itself differentiable in the weights.

        Between its kinks a ReLU network is linear: the gradient is the product of the weights, masked by
        which units are on. The double backward of arXiv 1704.00028 gives the same number at more cost.
        """
        *hidden, last = self.layers
        on = []
        with torch.no_grad():
            for layer in hidden:
                x = layer(x).relu_()
                on.append(x > 0)
        gradient = last.weight.sum(dim=0).expand(len(x), -1)
        for layer, mask in zip(reversed(hidden), reversed(on), strict=True):
            gradient = (gradient * mask) @ layer.weight
        return gradient

    @property
    def sizes(self) -> list[int]:
        """Numbers in, and out of each layer."""
        return [self.layers[0].in_features, *(layer.out_features for layer in self.layers)]

    def fold_affine(self, mean: Tensor, std: Tensor) -> None:
        """Makes the output `y * std + mean` by changing the last layer; mean and std are (n_out,)."""
        last = self.layers[-1]
        with torch.no_grad():
            last.weight.mul_(std[:, None])
            last.bias.mul_(std).add_(mean)


class MindGAN(nn.Module):
    """Generator g: z (B, z_dim) -> w (B, latent_size) and critic c: w -> (B, 1)."""

    def __init__(self, sizes: MindGANSizes) -> None:
        super().__init__()
        self.sizes = sizes
        generator = [sizes.z_dim, *sizes.generator_widths, sizes.latent_size]
        self.generator = Perceptron(generator, sizes.mapping)
        self.critic = Perceptron([sizes.latent_size, *sizes.critic_widths, 1])

    @classmethod
    def untrained(cls, sizes: MindGANSizes, seed: int) -> "MindGAN":
        """Torch's usual initial weights, from a generator of their own: other threads draw undisturbed."""
        with torch.device("meta"):
            gan = cls(sizes)
        gan.to_empty(device="cpu")
        draw = torch.Generator().manual_seed(seed)
        for layer in gan.modules():
            if isinstance(layer, nn.Linear):
                most = layer.in_features**-0.5
                for parameter in layer.parameters():
                    nn.init.uniform_(parameter, -most, most, generator=draw)
        return gan


def draw_z(count: int, z_dim: int, generator: torch.Generator) -> Tensor:
    """The prior: uniform in [-1, 1), (count, z_dim), on the generator's device."""
    return torch.rand(count, z_dim, generator=generator, device=generator.device) * 2 - 1


@torch.no_grad()
def samples(g: nn.Module, z_dim: int, count: int, seed: int = 0) -> Tensor:
    """Codes of a generator g, (count, latent_size), on the CPU and the same for the same seed."""
    z = draw_z(count, z_dim, torch.Generator().manual_seed(seed))
    w: Tensor = g(z.to(next(g.parameters()).device))
    return w.cpu()


def mean_code(g: nn.Module, z_dim: int, count: int = 4096) -> Tensor:
    """w_avg of a transfer: the mean of `count` samples of g, (latent_size,)."""
    return samples(g, z_dim, count).mean(dim=0)


class CriticLoss(NamedTuple):
    """The parts of the critic's loss, 0-d tensors; `total` is what is minimised."""

    total: Tensor
    gap: Tensor  # mean c(real) - mean c(fake): the estimate of the Wasserstein distance
    gradient_penalty: Tensor  # unweighted
    epsilon_penalty: Tensor  # unweighted


def critic_loss(
    critic: Perceptron, real: Tensor, fake: Tensor, t: Tensor, gradient_penalty: float, epsilon_penalty: float
) -> CriticLoss:
    """WGAN-GP with drift: real, fake (B, latent_size), mixing weights t (B, 1) in [0, 1).

    -mean c(real) + mean c(fake) + gp * mean (|grad c(x_t)| - 1)^2 + eps * mean c(real)^2,
    with x_t = t * real + (1 - t) * fake.
    """
    c_real, c_fake = critic(torch.cat([real, fake])).chunk(2)
    gradient = critic.input_gradient(t * real + (1 - t) * fake)
    gp = (gradient.norm(dim=1) - 1).square().mean()
    eps = c_real.square().mean()
    gap = c_real.mean() - c_fake.mean()
    return CriticLoss(-gap + gradient_penalty * gp + epsilon_penalty * eps, gap, gp, eps)


def generator_loss(critic: Perceptron, fake: Tensor) -> Tensor:
    """-mean c(fake), 0-d."""
    loss: Tensor = -critic(fake).mean()
    return loss


def energy_loss(real: Tensor, fake: Tensor) -> Tensor:
    """2 E|x - y| - E|y - y'|, 0-d: the energy distance of fake y (M, d) to real x (N, d) but for E|x - x'|.

    Székely and Rizzo 2013; without the pairs of an item with itself, and so unbiased.
    """
    within: Tensor = torch.cdist(fake, fake).sum() / (len(fake) * (len(fake) - 1))
    return 2 * torch.cdist(real, fake).mean() - within
