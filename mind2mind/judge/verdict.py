"""Two verdicts: whether a source model knows pictures, and whether a generator repeats the ones it learnt from."""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mind2mind.config import batch_of
from mind2mind.data.images import from_uint8
from mind2mind.judge.metrics import nearest, psnr, standardisation
from mind2mind.networks.alae import ALAE

# --- Whether a source model knows pictures: how much of them comes back, beside how much of its own kind does.
# The score of a picture is the signal-to-noise ratio of its reconstruction in dB: the variance of its pixels
# over the mean squared error, which is its PSNR plus its contrast in dB. PSNR by itself flatters pale and
# empty pictures; here 0 says that a plain colour would have done as well, and no score is below that. The
# score of a set is the mean. People read it as a share: of the contrast, 1 - 10 ** (-score / 10) comes back.
# Each model brings its own measures, the mean scores of its held-out pictures and of pictures that it cannot
# know though they have the same colours and contrast: the same ones with their upper and lower halves swapped.
# On the scale from the latter (0) to the former (1) a set is good from GOOD_FROM on, and the model does not
# know it below USABLE_FROM, where it is nearer to the latter; between the two it is usable. On toon64 all sets
# of 20 pictures of the three example domains stand above 0.85, and those of every other kind tried below 0.1
# (avatars of 20 other styles, photographs, patterns, toon heads turned, moved or of another size); grey and
# mirrored toon heads, which it half knows, stand at 0.5.


class Verdict(str, Enum):
    """What a model can make of pictures; as text what is said of it."""

    GOOD = "good"
    USABLE = "usable"
    UNKNOWN = "unknown"
    UNMEASURED = "unmeasured"
    UNTRAINED = "untrained"

    def __str__(self) -> str:
        return _SAID.get(self, self.value)

    @classmethod
    def _missing_(cls, value: object) -> "Verdict | None":
        """Runs of before keep what was said."""
        return next((verdict for verdict, said in _SAID.items() if said == value), None)


_SAID = {
    Verdict.UNKNOWN: "this model does not know such pictures",
    Verdict.UNMEASURED: "unknown: this model's card has no number to compare with",
    Verdict.UNTRAINED: "unknown: this model is not trained well enough to tell",
}
KNOWN, SWAPPED = "held_out_snr", "swapped_halves_snr"  # on a card, mean scores in dB
GOOD_FROM, USABLE_FROM = 0.8, 0.5  # of the way from SWAPPED to KNOWN, for a set
STRANGER_BELOW = 0.25  # the same for a single picture: pictures of one kind differ much
LEAST_VARIANCE = (1 / 255) ** 2  # of pixels in [0, 1]: less is a plain colour


class Judgement(NamedTuple):
    """A verdict on a set of pictures."""

    verdict: Verdict
    reason: str  # one sentence, or "" where there is nothing to compare with
    score: float  # dB


def scores(pixels: Tensor, ratios: Tensor) -> Tensor:
    """The score of each of uint8 pictures (N, C, H, W), dB, from the PSNR of their reconstructions (N,)."""
    variance = (pixels.float() / 255).var(dim=(2, 3), correction=0).mean(dim=1)
    return (ratios + 10 * torch.log10(variance.clamp_min(LEAST_VARIANCE))).clamp_min(0)


@torch.inference_mode()
def reconstruct(alae: ALAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """G(E(x)) of uint8 pictures (N, C, H, W) without noise, float, and its PSNR (N,) in dB; both on the CPU."""
    x = from_uint8(pixels.to(alae.w_avg.device))
    y = alae.reconstruct(x)
    return y.cpu(), psnr(x, y.clamp(-1, 1)).cpu()


def measured(alae: ALAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Of uint8 pictures (N, C, H, W): the PSNR of their reconstructions, and their scores, (N,) each, dB."""
    ratios = [reconstruct(alae, some)[1] for some in pixels.split(batch_of(pixels.shape[-1]))]
    return torch.cat(ratios), scores(pixels, torch.cat(ratios))


def own_numbers(alae: ALAE, held_out: Tensor) -> dict[str, float]:
    """What a card must hold for `judge`, and the PSNR, in dB, from held-out pictures, uint8 (N, C, H, W)."""
    ratios, known = measured(alae, held_out)
    _, swapped = measured(alae, held_out.roll(held_out.shape[2] // 2, dims=2))
    numbers = {
        "held_out_psnr": ratios.mean(),
        "held_out_psnr_p10": ratios.quantile(0.1),
        KNOWN: known.mean(),
        SWAPPED: swapped.mean(),
    }
    return {name: round(number.item(), 2) for name, number in numbers.items()}


def judge(values: Tensor, numbers: Mapping[str, Any]) -> Judgement:
    """The verdict on a set by its pictures' scores (N,) in dB and the numbers of the model's card."""
    score = values.mean().item()
    known, swapped = numbers.get(KNOWN), numbers.get(SWAPPED)
    if not (isinstance(known, int | float) and isinstance(swapped, int | float)) or not math.isfinite(score):
        return Judgement(Verdict.UNMEASURED, "", score)
    if known <= swapped:
        reason = "This model rebuilds its own pictures no better than foreign ones."
        return Judgement(Verdict.UNTRAINED, reason, score)
    place = (values - swapped) / (known - swapped)
    verdict = Verdict.UNKNOWN if place.mean() < USABLE_FROM else Verdict.USABLE
    if place.mean() >= GOOD_FROM:
        verdict = Verdict.GOOD
    reason = (
        f"Of their contrast {share(score)} comes back; of this model's own pictures it is {share(known)}."
    )
    strangers = int((place < STRANGER_BELOW).sum())
    if strangers and verdict is not Verdict.UNKNOWN:
        reason += f" {strangers} of the {len(values)} looked at hardly come back at all."
    return Judgement(verdict, reason, score)


def share(score: float) -> str:
    """A score in dB as the share of the contrast that comes back, for people."""
    return f"{100 * (1 - 10 ** (-score / 10)):.1f} %"


# --- Whether a generator draws new pictures or repeats those that it learnt from, told from their codes.
# How far pictures of one set are apart differs from set to set; so the set itself says what is too near. A
# sample is a near copy if it is nearer to a picture it learnt from than 99 % of those pictures are to the one
# most like them, or than half of the usual such distance (a set may hold near copies of its own), and if it is
# twice as near to that picture as to the fifth nearest (in the middle of many is dull, but no copy). A generator
# that knows the law of the pictures and none by heart makes about 1 % of them by chance, or fewer; one that
# repeats pictures, also slightly changed ones, makes nothing else. Measured on the example set Aliens with 2,000
# samples each: our generator 0 %, also with half of its variety; copies of the codes 100 %, moved at random by
# 0.3 of the set's deviations 100 %, by 0.5 of them 94 %.

QUANTILE = 0.01  # of the distances between originals; what is nearer is a near copy
NEIGHBOURS, SHARE_OF_THEIRS = 5, 0.5  # of this neighbour's distance: what is farther is in the middle of many
SHARE_OF_USUAL = 0.5  # and so is what is nearer than this share of their median
FEWEST = 20  # originals; fewer say nothing about what is usual
WARN_FROM = 0.1  # share of near copies, ten times that of chance
WARN_FROM_FEW = 12.0  # over the number of originals: with few the quantile itself is a matter of chance
MOST = 2000  # originals whose neighbours are looked for; more do not move a quantile


class Originality(NamedTuple):
    """How near samples come to the originals.

    Distances are those of standardised codes over the root of their size: 0 is a copy, and about 1.4 is what two
    codes drawn at random have.
    """

    distance: Tensor  # (N,) from each sample to the nearest original
    nearest: Tensor  # (N,) that original's number
    near: Tensor  # (N,) bool: a near copy
    bound: float | None  # what is nearer is a near copy; None where there are too few originals to tell
    originals: int

    @property
    def share(self) -> float:
        """Of near copies among the samples."""
        return self.near.float().mean().item() if len(self.near) else 0.0

    @property
    def warning(self) -> bool:
        """Whether the generator repeats its originals."""
        return self.bound is not None and self.share >= max(WARN_FROM, WARN_FROM_FEW / self.originals)

    @property
    def told(self) -> str:
        """What was found, in a sentence."""
        count, number = len(self.near), int(self.near.sum())
        if self.bound is None:
            return f"With fewer than {FEWEST} pictures it cannot be told whether the new ones are copies."
        if self.warning:
            return (
                f"{number:,} of {count:,} new pictures are near copies of yours: the model repeats them "
                "instead of making new ones. Add more pictures."
            )
        if number:
            return f"{number:,} of {count:,} new pictures are near copies of yours, no more than by chance."
        return f"None of {count:,} new pictures is a near copy of one of yours."


def originality_of(samples: Tensor, originals: Tensor) -> Originality:
    """How near samples (N, d) come to the originals (M, d) that a generator learnt from, M >= 1."""
    mean, std = standardisation(originals)
    real = (originals - mean) / std
    scale = originals.shape[1] ** 0.5
    distances, indices = nearest((samples - mean) / std, real, min(NEIGHBOURS, len(real)))
    distance, index = distances[:, 0] / scale, indices[:, 0]
    if len(originals) < FEWEST:
        return Originality(distance, index, torch.zeros(len(samples), dtype=torch.bool), None, len(originals))
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:MOST]
    usual = nearest(real[some], real, 2)[0][:, 1] / scale  # the first is itself
    bound = max(torch.quantile(usual, QUANTILE).item(), SHARE_OF_USUAL * usual.median().item())
    apart = distances[:, 0] < SHARE_OF_THEIRS * distances[:, -1]
    return Originality(distance, index, (distance < bound) & apart, bound, len(originals))
