"""What ALAE's networks are made of: the noise of the decoder, equalised layers, resampling convolutions, blur.

Shapes: B batch, C channels, H and W pixels.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Noise = Callable[[Tensor, Tensor, int], Tensor]
"""(x (B or 1, C, H, W), weight (1, C, 1, 1), block index) -> x with noise, (B or 1, C, H, W)."""


def no_noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
    """No noise at all: what reconstructions and their numbers use."""
    return x


def bump_noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
    """The reference's `noise=False`, which is a fixed bump and not silence. For parity only."""
    s = math.sqrt(block + 1)
    return x + s * torch.exp(-(x**2) / (2 * s**2)) / math.sqrt(2 * math.pi) * 0.8


def random_noise(generator: torch.Generator) -> Noise:
    """The reference's `noise=True`: one map a picture, but block 0's first is shared by the batch."""

    def noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
        return x + weight * _randn((x.shape[0], 1, *x.shape[2:]), generator, x)

    return noise


def shared_noise(generator: torch.Generator) -> Noise:
    """The reference's `noise='batch_constant'`: each map is shared by the whole batch."""

    def noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
        return x + weight * _randn((1, 1, *x.shape[2:]), generator, x)

    return noise


def noise_per_picture(generators: Sequence[torch.Generator]) -> Noise:
    """One generator a picture, so that a picture is the same in any batch."""

    def noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
        maps = [_randn((1, *x.shape[2:]), generator, x) for generator in generators]
        return x + weight * torch.stack(maps)

    return noise


def _randn(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    drawn = torch.randn(shape, generator=generator, device=generator.device)
    return drawn.to(device=like.device, dtype=like.dtype)


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each picture's channels, (B, C, 1, 1) each."""
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return mean, var


def _init(weight: Tensor, fan_in: int, gain: float = math.sqrt(2), lrmul: float = 1.0) -> nn.Parameter:
    """Equalised learning rate, implicit form: the deviation goes into the weight and, as `lr_coef`, the step."""
    std = gain / math.sqrt(fan_in)
    parameter = nn.Parameter(weight.normal_(0, std))
    parameter.lr_coef = std * lrmul  # type: ignore[attr-defined]
    return parameter


def linear(n_in: int, n_out: int, gain: float = math.sqrt(2), lrmul: float = 1.0) -> nn.Linear:
    """nn.Linear with ALAE's initialisation; each parameter carries its optimiser coefficient `lr_coef`."""
    layer = nn.Linear(n_in, n_out)
    layer.weight = _init(layer.weight.data, n_in, gain, lrmul)
    nn.init.zeros_(layer.bias)
    layer.bias.lr_coef = lrmul  # type: ignore[attr-defined, assignment]
    return layer


def conv(n_in: int, n_out: int, size: int, gain: float = math.sqrt(2), bias: bool = False) -> nn.Conv2d:
    """nn.Conv2d that keeps the size, with ALAE's initialisation."""
    layer = nn.Conv2d(n_in, n_out, size, padding=size // 2, bias=bias)
    layer.weight = _init(layer.weight.data, size * size * n_in, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
        layer.bias.lr_coef = 1.0  # type: ignore[attr-defined, assignment]
    return layer


def wide_kernel(weight: Tensor) -> Tensor:
    """(.., 3, 3) -> (.., 4, 4): the full convolution with a 2x2 of ones."""
    padded = F.pad(weight, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


class Down(nn.Module):
    """3x3 convolution and halving: (B, n_in, H, W) -> (B, n_out, H/2, W/2)."""

    def __init__(self, n_in: int, n_out: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.weight = _init(torch.empty(n_out, n_in, 3, 3), 9 * n_in)

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return F.conv2d(x, wide_kernel(self.weight) * 0.25, stride=2, padding=1)
        return F.avg_pool2d(F.conv2d(x, self.weight, padding=1), 2)


class Up(nn.Module):
    """Doubling and 3x3 convolution: (B, n_in, H, W) -> (B, n_out, 2H, 2W). Fused weights are (n_in, n_out, 3, 3)."""

    def __init__(self, n_in: int, n_out: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        shape = (n_in, n_out, 3, 3) if fused else (n_out, n_in, 3, 3)
        self.weight = _init(torch.empty(shape), 9 * n_in)

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return F.conv_transpose2d(x, wide_kernel(self.weight), stride=2, padding=1)
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), self.weight, padding=1)


class Blur(nn.Module):
    """Depthwise [1, 2, 1] blur; a constant that the official files store all the same."""

    weight: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("weight", (torch.outer(row, row) / 16).repeat(n, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=1, groups=x.shape[1])
