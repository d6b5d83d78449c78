"""The ALAE autoencoder (arXiv 2004.04467): pictures to codes, codes to pictures.

A StyleGAN decoder G, a mirrored encoder E that reads its code from the statistics of its features, and two small
mappings F and D. Attribute names are the official checkpoints' keys, so that those files load without renaming. Left
out: the ablations (fully connected encoders, DCGAN) that no published model uses.

Pictures are (B, image_channels, H, W) in [-1, 1]; w is (B, latent_size); styles are (B, 2L, latent_size), the code
of each of the decoder's inputs. B batch, C channels, L layer_count. Level of detail (`lod`) l has 4 * 2**l pixels a
side; L - 1 is full size, 2**(L + 1).
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.config import Architecture

DECODER_EPS = 1e-8  # instance norm of the decoder (reference net.py)
ENCODER_EPS = 1e-5  # instance norm of the encoder: the reference leaves torch's default here
PIXEL_NORM_EPS = 1e-8
MIN_VARIANCE = 1e-12  # ours: a flat map's deviation has an infinite gradient, which ended a training in nan
FUSED_FROM = 128  # px: resampling is part of the convolution from 64 <-> 128 px upwards
MAPPING_LRMUL = 0.1  # learning rate multiplier of F and D
MAPPING_SLOPE = 0.2  # of F's leaky ReLUs
TO_RGB_GAIN = 0.03

Noise = Callable[[Tensor, Tensor, int], Tensor]
"""(x (B or 1, C, H, W), weight (1, C, 1, 1), block index) -> x with noise, (B or 1, C, H, W)."""


def no_noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
    """No noise at all: what reconstructions and their numbers use."""
    return x


def random_noise(generator: torch.Generator) -> Noise:
    """The reference's `noise=True`: one map a picture, but block 0's first is shared by the batch."""

    def noise(x: Tensor, weight: Tensor, block: int) -> Tensor:
        return x + weight * _randn((x.shape[0], 1, *x.shape[2:]), generator, x)

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


def centred(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x less the mean of each picture's channels; that mean and the biased variance, (B, C, 1, 1) each."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    x = x - mean
    return x, mean, x.square().mean(dim=(2, 3), keepdim=True)  # `torch.var_mean` takes ten times as long


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


# Times a 3x3 kernel as a row of 9: its full convolution with a 2x2 of ones, as a row of 16
WIDENING = F.conv_transpose2d(torch.eye(9).view(9, 1, 3, 3), torch.ones(1, 1, 2, 2)).view(9, 16)


def wide_kernel(weight: Tensor) -> Tensor:
    """(n, m, 3, 3) -> (n, m, 4, 4): the kernel that resamples by 2, too."""
    return (weight.flatten(2) @ WIDENING.to(weight)).view(*weight.shape[:2], 4, 4)


class Down(nn.Module):
    """3x3 convolution and halving: (B, n_in, H, W) -> (B, n_out, H/2, W/2)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = _init(torch.empty(n_out, n_in, 3, 3), 9 * n_in)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, wide_kernel(self.weight) * 0.25, stride=2, padding=1)


class Up(nn.Module):
    """Doubling and 3x3 convolution: (B, n_in, H, W) -> (B, n_out, 2H, 2W). Fused weights are (n_in, n_out, 3, 3)."""

    def __init__(self, n_in: int, n_out: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        shape = (n_in, n_out, 3, 3) if fused else (n_out, n_in, 3, 3)
        self.weight = _init(torch.empty(shape), 9 * n_in)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.fused else self.weight.transpose(0, 1).flip(2, 3)
        return F.conv_transpose2d(x, wide_kernel(weight), stride=2, padding=1)


class Blur(nn.Module):
    """Depthwise [1, 2, 1] blur; a constant that the official files store all the same."""

    weight: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("weight", (torch.outer(row, row) / 16).repeat(n, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=1, groups=x.shape[1])


def named(**layers: nn.Module) -> nn.Sequential:
    """Layers in a row, of the names that the official checkpoints have for them."""
    return nn.Sequential(OrderedDict(layers))


class EncodeBlock(nn.Module):
    """Two convolutions, the second halving; the code is read from both maps' means and deviations."""

    def __init__(self, n_in: int, n_out: int, latent_size: int) -> None:
        super().__init__()
        self.conv_1 = conv(n_in, n_in, 3)
        self.bias_1 = nn.Parameter(torch.zeros(1, n_in, 1, 1))
        self.blur = Blur(n_in)
        self.conv_2 = Down(n_in, n_out)
        self.bias_2 = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        self.style_1 = linear(2 * n_in, latent_size)
        self.style_2 = linear(2 * n_out, latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, stats_1 = self._normalise(lrelu(self.conv_1(x) + self.bias_1))
        x, stats_2 = self._normalise(lrelu(self.conv_2(self.blur(x)) + self.bias_2))
        return x, self.style_1(stats_1) + self.style_2(stats_2)  # (B, n_out, H/2, W/2), (B, latent_size)

    @staticmethod
    def _normalise(x: Tensor) -> tuple[Tensor, Tensor]:
        x, mean, var = centred(x)
        std = var.clamp_min(MIN_VARIANCE).sqrt()  # else as in the reference, which adds no epsilon
        stats = torch.cat([mean, std], dim=1).flatten(1)  # (B, 2C)
        return x * torch.rsqrt(var + ENCODER_EPS), stats


class Encoder(nn.Module):
    """E: pictures in [-1, 1] -> w.

    Reference: net.py `EncoderDefault`.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.layer_count, channels = a.layer_count, a.image_channels
        self.from_rgb = nn.ModuleList(  # activated twice in the reference: the slope is 0.04
            named(from_rgb=conv(channels, n, 1, bias=True), lrelu=nn.LeakyReLU(0.04)) for n in a.widths[:-1]
        )
        self.encode_block = nn.ModuleList(
            EncodeBlock(n_in, n_out, a.latent_size) for n_in, n_out in pairwise(a.widths)
        )

    def forward(self, x: Tensor, lod: int | None = None, blend: float = 1.0) -> Tensor:
        """x (B, image_channels, 4*2**lod, 4*2**lod) -> w (B, latent_size). `lod` None is full size."""
        lod = self.layer_count - 1 if lod is None else lod
        assert blend == 1 or lod >= 1, "level of detail 0 has nothing below it to blend with"
        first = self.layer_count - 1 - lod
        h, w = self.encode_block[first](self.from_rgb[first](x))
        if blend != 1:
            w = w * blend
            h = h * blend + self.from_rgb[first + 1](F.avg_pool2d(x, 2)) * (1 - blend)
        for block in self.encode_block[first + 1 :]:
            h, w_block = block(h)
            w = w + w_block
        code: Tensor = w
        return code


class DecodeBlock(nn.Module):
    """Two style-modulated convolutions; the first doubles the size (block 0 starts from a constant instead)."""

    def __init__(self, index: int, n_in: int, n_out: int, latent_size: int) -> None:
        super().__init__()
        self.index = index
        if index > 0:
            self.conv_1 = Up(n_in, n_out, fused=4 * 2**index >= FUSED_FROM)
        self.blur = Blur(n_out)
        self.noise_weight_1 = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        self.bias_1 = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        self.style_1 = linear(latent_size, 2 * n_out, gain=1)
        self.conv_2 = conv(n_out, n_out, 3)
        self.noise_weight_2 = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        self.bias_2 = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        self.style_2 = linear(latent_size, 2 * n_out, gain=1)

    def forward(self, x: Tensor, w_1: Tensor, w_2: Tensor, noise: Noise) -> Tensor:
        if self.index > 0:
            x = self.blur(self.conv_1(x))
        x = lrelu(noise(x, self.noise_weight_1, self.index) + self.bias_1)
        x = self._modulate(x, self.style_1(w_1))  # block 0's batch of 1 becomes B here
        x = lrelu(noise(self.conv_2(x), self.noise_weight_2, self.index) + self.bias_2)
        return self._modulate(x, self.style_2(w_2))

    @staticmethod
    def _modulate(x: Tensor, style: Tensor) -> Tensor:
        x, _, var = centred(x)
        scale, shift = style[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return x * torch.rsqrt(var + DECODER_EPS) * (scale + 1) + shift


class Decoder(nn.Module):
    """G: styles -> pictures, nominally in [-1, 1] and not clamped.

    Reference: net.py `GeneratorDefault`.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        upwards = a.widths[::-1]  # from 4x4 up
        self.layer_count = a.layer_count
        self.const = nn.Parameter(torch.ones(1, upwards[1], 4, 4))
        self.decode_block = nn.ModuleList(
            DecodeBlock(i, n_in, n_out, a.latent_size) for i, (n_in, n_out) in enumerate(pairwise(upwards))
        )
        self.to_rgb = nn.ModuleList(
            named(to_rgb=conv(n, a.image_channels, 1, gain=TO_RGB_GAIN, bias=True)) for n in upwards[1:]
        )

    def forward(
        self, styles: Tensor, lod: int | None = None, blend: float = 1.0, noise: Noise = no_noise
    ) -> Tensor:
        """styles (B, 2L, latent_size) -> pictures (B, image_channels, 4*2**lod, 4*2**lod)."""
        lod = self.layer_count - 1 if lod is None else lod
        assert blend == 1 or lod >= 1, "level of detail 0 has nothing below it to blend with"
        x, below = self.const, self.const
        for i, block in enumerate(self.decode_block[: lod + 1]):
            below, x = x, block(x, styles[:, 2 * i], styles[:, 2 * i + 1], noise)
        rgb: Tensor = self.to_rgb[lod](x)
        if blend != 1:
            rgb_below = F.interpolate(self.to_rgb[lod - 1](below), scale_factor=2, mode="nearest")
            rgb = rgb * blend + rgb_below * (1 - blend)
        return rgb


class MappingF(nn.Module):
    """F: z (B, latent_size) -> w (B, latent_size), the source's own latents (net.py `MappingF`)."""

    def __init__(self, latent_size: int, mapping_layers: int) -> None:
        super().__init__()
        self.map_blocks = nn.Sequential(*(
            named(fc=linear(latent_size, latent_size, lrmul=MAPPING_LRMUL), lrelu=nn.LeakyReLU(MAPPING_SLOPE))
            for _ in range(mapping_layers)
        ))  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        w: Tensor = self.map_blocks(of_one_length(z))
        return w


def of_one_length(z: Tensor) -> Tensor:
    """Pixel norm: each of z (B, d) with a mean square of 1."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS)


class MappingD(nn.Module):
    """D head: w (B, latent_size) -> realness (B,).

    Three linear layers with no activation between them; of its 2 * latent_size outputs only number
    `latent_size` is used, as in the reference (net.py `MappingD`).
    """

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        sizes = [latent_size, latent_size, latent_size, 2 * latent_size]
        self.map_blocks = nn.Sequential(*(linear(a, b, lrmul=MAPPING_LRMUL) for a, b in pairwise(sizes)))
        self.latent_size = latent_size

    def forward(self, w: Tensor) -> Tensor:
        d: Tensor = self.map_blocks(w)
        return d[:, self.latent_size]


class ALAE(nn.Module):
    """Encoder E, decoder G, mapping F and head D with the mean code `w_avg` (2L, latent_size)."""

    w_avg: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.encoder, self.decoder = Encoder(a), Decoder(a)
        self.mapping_f = MappingF(a.latent_size, a.mapping_layers)
        self.mapping_d = MappingD(a.latent_size)
        self.register_buffer("w_avg", torch.zeros(a.style_count, a.latent_size))

    @torch.no_grad()
    def grow(self, inner: "ALAE") -> None:
        """Takes the weights of an ALAE of `architecture.inner`; of F and D those that it has.

        The outermost level stays as it was initialised, but adds nothing to w.
        """
        encoder = self.encoder
        encoder.from_rgb[1:].load_state_dict(inner.encoder.from_rgb.state_dict())
        encoder.encode_block[1:].load_state_dict(inner.encoder.encode_block.state_dict())
        for style in ("style_1.weight", "style_2.weight"):
            nn.init.zeros_(encoder.encode_block[0].get_parameter(style))
        elsewhere = inner.state_dict().items()
        same = {name: value for name, value in elsewhere if not name.startswith(("encoder", "w_avg"))}
        self.load_state_dict(same, strict=False)
        self.w_avg.copy_(torch.cat([inner.w_avg, inner.w_avg[-2:]]))

    def encode(self, x: Tensor, lod: int | None = None, blend: float = 1.0) -> Tensor:
        """E: pictures of side 4 * 2**lod (full size when None) -> w (B, latent_size)."""
        w: Tensor = self.encoder(x, lod, blend)
        return w

    def realness(self, w: Tensor) -> Tensor:
        """D: w (B, latent_size) -> (B,); higher is more real."""
        d: Tensor = self.mapping_d(w)
        return d

    def map(self, z: Tensor) -> Tensor:
        """F: z (B, latent_size), standard normal -> w (B, latent_size) of the source."""
        w: Tensor = self.mapping_f(z)
        return w

    def styles(self, w: Tensor) -> Tensor:
        """w (B, latent_size) -> the same code for each style input, (B, 2L, latent_size)."""
        return w[:, None].expand(-1, self.architecture.style_count, -1)

    def decode(
        self, styles: Tensor, lod: int | None = None, blend: float = 1.0, noise: Noise = no_noise
    ) -> Tensor:
        """G: styles (B, 2L, latent_size) -> pictures of side 4 * 2**lod, nominally in [-1, 1], not clamped."""
        x: Tensor = self.decoder(styles, lod, blend, noise)
        return x

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E(x)) at full size without noise."""
        return self.decode(self.styles(self.encode(x)))

    def refine(self, w: Tensor, times: int = 1, within: Tensor | None = None) -> Tensor:
        """E(G(w)), `times` over: pulls w (B, latent_size) towards codes of pictures that the model knows.

        A code between two pictures' codes is drawn as a mixture, and encoded as what that is most like.
        Of each change only what `within` (latent_size, latent_size) keeps of it is taken over; None keeps all.
        """
        for _ in range(times):
            again = self.encode(self.decode(self.styles(w)).clamp(-1, 1))
            w = again if within is None else w + (again - w) @ within
        return w


def mix(first: Tensor, second: Tensor, crossover: int) -> Tensor:
    """Style mixing: styles from `crossover` on come from `second`; both (B, 2L, latent_size)."""
    return torch.cat([first[:, :crossover], second[:, crossover:]], dim=1)
