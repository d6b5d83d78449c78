"""The growing schedule of ALAE's own training: what holds after how many pictures.

Reference: lod_driver.py. The reference counts epochs of a data set; here the number of pictures seen decides
alone, with the published ratios, so that nothing but that number needs to be kept for a resumed training.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from mind2mind.config import Growth


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
