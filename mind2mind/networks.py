"""ALAE's four networks: encoder, decoder, mapping F and head D.

ALAE (arXiv 2004.04467) in its published form: a StyleGAN decoder, a mirrored encoder that reads its
code from the statistics of its features, and two small mappings. Plain ints in, tensors out. Attribute
names are the official checkpoints' keys, so that those files load without renaming. Left out: the
ablations (fully connected encoders, DCGAN) that no published model uses.

Letters in the shapes: B batch, C channels, H and W pixels, L layer_count. Level of detail (`lod`) l has
4 * 2**l pixels a side; L - 1 is full size, 2**(L + 1).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.layers import Blur, Down, Noise, Up, conv, linear, lrelu, no_noise, statistics

DECODER_EPS = 1e-8  # instance norm of the decoder (reference net.py)
ENCODER_EPS = 1e-5  # instance norm of the encoder: the reference leaves torch's default here
PIXEL_NORM_EPS = 1e-8
MIN_VARIANCE = 1e-12  # ours: a flat map's deviation has an infinite gradient, which ended a training in nan
FUSED_FROM = 128  # px: resampling is part of the convolution from 64 <-> 128 px upwards
MAPPING_LRMUL = 0.1  # learning rate multiplier of F and D
TO_RGB_GAIN = 0.03


def channels(layer_count: int, start_channels: int, max_channels: int) -> list[int]:
    """Widths c(0) .. c(L), from full size down: min(max_channels, start_channels * 2**i)."""
    return [min(max_channels, start_channels * 2**i) for i in range(layer_count + 1)]


def _lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    return a + t * (b - a)


def _check_blend(lod: int, blend: float) -> None:
    assert blend == 1 or lod >= 1, f"level of detail 0 has nothing below it to blend with (blend={blend})"


class FromRGB(nn.Module):
    def __init__(self, image_channels: int, n: int) -> None:
        super().__init__()
        self.from_rgb = conv(image_channels, n, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return lrelu(lrelu(self.from_rgb(x)))  # twice in the reference: the slope is 0.04


class ToRGB(nn.Module):
    def __init__(self, n: int, image_channels: int) -> None:
        super().__init__()
        self.to_rgb = conv(n, image_channels, 1, gain=TO_RGB_GAIN, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        rgb: Tensor = self.to_rgb(x)
        return rgb


class EncodeBlock(nn.Module):
    """Two convolutions, the second halving; the code is read from both maps' means and deviations."""

    def __init__(self, n_in: int, n_out: int, latent_size: int, fused: bool) -> None:
        super().__init__()
        self.conv_1 = conv(n_in, n_in, 3)
        self.bias_1 = nn.Parameter(torch.zeros(1, n_in, 1, 1))
        self.blur = Blur(n_in)
        self.conv_2 = Down(n_in, n_out, fused)
        self.bias_2 = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        self.style_1 = linear(2 * n_in, latent_size)
        self.style_2 = linear(2 * n_out, latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, stats_1 = self._normalise(lrelu(self.conv_1(x) + self.bias_1))
        x, stats_2 = self._normalise(lrelu(self.conv_2(self.blur(x)) + self.bias_2))
        return x, self.style_1(stats_1) + self.style_2(stats_2)  # (B, n_out, H/2, W/2), (B, latent_size)

    @staticmethod
    def _normalise(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = statistics(x)
        std = var.clamp_min(MIN_VARIANCE).sqrt()  # else as in the reference, which adds no epsilon
        stats = torch.cat([mean, std], dim=1).flatten(1)  # (B, 2C)
        return (x - mean) * torch.rsqrt(var + ENCODER_EPS), stats


class Encoder(nn.Module):
    """E: pictures in [-1, 1] -> w.

    Reference: net.py `EncoderDefault`.
    """

    def __init__(
        self, layer_count: int, start_channels: int, max_channels: int, latent_size: int, image_channels: int
    ) -> None:
        super().__init__()
        c = channels(layer_count, start_channels, max_channels)
        self.layer_count = layer_count
        self.from_rgb = nn.ModuleList(FromRGB(image_channels, c[i]) for i in range(layer_count))
        self.encode_block = nn.ModuleList(
            EncodeBlock(c[i], c[i + 1], latent_size, fused=2 ** (layer_count + 1 - i) >= FUSED_FROM)
            for i in range(layer_count)
        )

    def forward(self, x: Tensor, lod: int | None = None, blend: float = 1.0) -> Tensor:
        """x (B, image_channels, 4*2**lod, 4*2**lod) -> w (B, latent_size). `lod` None is full size."""
        lod = self.layer_count - 1 if lod is None else lod
        _check_blend(lod, blend)
        first = self.layer_count - 1 - lod
        h, w = self.encode_block[first](self.from_rgb[first](x))
        if blend != 1:
            w = w * blend
            h = _lerp(self.from_rgb[first + 1](F.avg_pool2d(x, 2)), h, blend)
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
        mean, var = statistics(x)
        scale, shift = style[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return (x - mean) * torch.rsqrt(var + DECODER_EPS) * (scale + 1) + shift


class Decoder(nn.Module):
    """G: styles -> pictures, nominally in [-1, 1] and not clamped.

    Reference: net.py `GeneratorDefault`.
    """

    def __init__(
        self, layer_count: int, start_channels: int, max_channels: int, latent_size: int, image_channels: int
    ) -> None:
        super().__init__()
        c = channels(layer_count, start_channels, max_channels)[::-1]  # from 4x4 up; c[0] == c(L)
        self.layer_count = layer_count
        self.const = nn.Parameter(torch.ones(1, c[1], 4, 4))
        self.decode_block = nn.ModuleList(
            DecodeBlock(i, c[i], c[i + 1], latent_size) for i in range(layer_count)
        )
        self.to_rgb = nn.ModuleList(ToRGB(c[i + 1], image_channels) for i in range(layer_count))

    def forward(
        self, styles: Tensor, lod: int | None = None, blend: float = 1.0, noise: Noise = no_noise
    ) -> Tensor:
        """styles (B, 2L, latent_size) -> pictures (B, image_channels, 4*2**lod, 4*2**lod)."""
        lod = self.layer_count - 1 if lod is None else lod
        _check_blend(lod, blend)
        x, below = self.const, self.const
        for i, block in enumerate(self.decode_block[: lod + 1]):
            below, x = x, block(x, styles[:, 2 * i], styles[:, 2 * i + 1], noise)
        rgb: Tensor = self.to_rgb[lod](x)
        if blend != 1:
            rgb_below = F.interpolate(self.to_rgb[lod - 1](below), scale_factor=2, mode="nearest")
            rgb = _lerp(rgb_below, rgb, blend)
        return rgb


class _MappingLayer(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.fc = linear(size, size, lrmul=MAPPING_LRMUL)

    def forward(self, x: Tensor) -> Tensor:
        return lrelu(self.fc(x))


class MappingF(nn.Module):
    """F: z (B, latent_size) -> w (B, latent_size), the source's own latents (net.py `MappingF`)."""

    def __init__(self, latent_size: int, mapping_layers: int) -> None:
        super().__init__()
        self.map_blocks = nn.ModuleList(_MappingLayer(latent_size) for _ in range(mapping_layers))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS)
        for block in self.map_blocks:
            x = block(x)
        return x


class MappingD(nn.Module):
    """D head: w (B, latent_size) -> realness (B,).

    Three linear layers with no activation between them; of its 2 * latent_size outputs only number
    `latent_size` is used, as in the reference (net.py `MappingD`).
    """

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        sizes = [latent_size, latent_size, latent_size, 2 * latent_size]
        self.map_blocks = nn.ModuleList(linear(a, b, lrmul=MAPPING_LRMUL) for a, b in pairwise(sizes))
        self.latent_size = latent_size

    def forward(self, w: Tensor) -> Tensor:
        for block in self.map_blocks:
            w = block(w)
        return w[:, self.latent_size]
