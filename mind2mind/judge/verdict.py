"""Two verdicts: whether a source model knows pictures, and what the samples of a generator are worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mind2mind.config import batch_of
from mind2mind.data.images import from_uint8
from mind2mind.judge.metrics import ROWS, nearest, psnr, standardisation
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


_SAID = {
    Verdict.UNKNOWN: "this model does not know such pictures",
    Verdict.UNMEASURED: "unknown: this model's card has no number to compare with",
    Verdict.UNTRAINED: "unknown: this model is not trained well enough to tell",
}
KNOWN, SWAPPED = "held_out_snr", "swapped_halves_snr"  # on a card, mean scores in dB
GOOD_FROM, USABLE_FROM = 0.8, 0.5  # of the way from SWAPPED to KNOWN, for a set
# The same for a single picture, as pictures of one kind differ much: of 240 toon heads of all four domains the worst
# stands at 0.68; of 120 grey and mirrored ones a twentieth stands above 0.65
ALONE_GOOD_FROM, STRANGER_BELOW = 0.65, 0.25
LEAST_VARIANCE = (1 / 255) ** 2  # of pixels in [0, 1]: less is a plain colour


class Judgement(NamedTuple):
    """A verdict on a set of pictures."""

    verdict: Verdict
    reason: str  # one sentence, or "" where there is nothing to compare with
    score: float  # dB
    strangers: Sequence[int] = ()  # numbers of pictures that hardly come back, if the set itself is known


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
    numbers = {"held_out_psnr": ratios.mean(), "held_out_psnr_p10": ratios.quantile(0.1)}
    numbers |= {KNOWN: known.mean(), SWAPPED: swapped.mean()}
    return {name: round(number.item(), 2) for name, number in numbers.items()}


def judge(
    values: Tensor, numbers: Mapping[str, Any], good_from: float = GOOD_FROM, usable_from: float = USABLE_FROM
) -> Judgement:
    """The verdict on a set by its pictures' scores (N,) in dB and the numbers of the model's card."""
    score = values.mean().item()
    known, swapped = numbers.get(KNOWN), numbers.get(SWAPPED)
    if not (isinstance(known, int | float) and isinstance(swapped, int | float)) or not math.isfinite(score):
        return Judgement(Verdict.UNMEASURED, "", score)
    if known <= swapped:
        reason = "This model rebuilds its own pictures no better than foreign ones."
        return Judgement(Verdict.UNTRAINED, reason, score)
    place = (values - swapped) / (known - swapped)
    at = place.mean()
    verdict = Verdict.GOOD if at >= good_from else Verdict.USABLE if at >= usable_from else Verdict.UNKNOWN
    back, own = share(score), share(known)
    reason = f"Of their contrast {back} comes back; of this model's own pictures it is {own}."
    strangers = (place < STRANGER_BELOW) & (verdict is not Verdict.UNKNOWN)
    if strangers.any():
        reason += f" {int(strangers.sum())} of the {len(values)} looked at hardly come back at all."
    return Judgement(verdict, reason, score, tuple(strangers.nonzero().flatten().tolist()))


def share(score: float) -> str:
    """A score in dB as the share of the contrast that comes back, for people."""
    return f"{100 * (1 - 10 ** (-score / 10)):.1f} %"


# --- What a generator's samples are worth, told from their codes as they are drawn, in three words.
# Quality: the share of samples that lie among the originals, nearer to one of them than its third neighbour is
# (the precision of arXiv 1904.06991), beside the same share of the originals, each against the others. Variety: the
# mean distance of two samples beside that of two originals. Originality: how many samples are near copies.
#
# How far pictures of one set are apart differs from set to set; so the set itself says what is too near. A
# sample is a near copy if it is nearer to a picture it learnt from than 99 % of those pictures are to the one
# most like them, or than half of the usual such distance (a set may hold near copies of its own), and if it is
# twice as near to that picture as to the fifth nearest (in the middle of many is dull, but no copy). A generator
# that knows the law of the pictures and none by heart makes about 1 % of them by chance, or fewer; one that
# repeats pictures, also slightly changed ones, makes nothing else. Measured on the example set Aliens with 2,000
# samples each: our generator 0 %, also with half of its variety; copies of the codes 100 %, moved at random by
# 0.3 of the set's deviations 100 %, by 0.5 of them 94 %.

NEIGHBOUR = 3  # of an original: what is nearer lies among the originals
QUANTILE = 0.01  # of the distances between originals; what is nearer is a near copy
NEIGHBOURS, SHARE_OF_THEIRS = 5, 0.5  # of this neighbour's distance: what is farther is in the middle of many
SHARE_OF_USUAL = 0.5  # and so is what is nearer than this share of their median
FEWEST = 20  # originals; fewer say nothing about what is usual
COPYING_FROM = 0.1  # share of near copies, ten times that of chance
COPYING_FROM_FEW = 12.0  # over the number of originals: with few the quantile itself is a matter of chance
MOST = 2000  # originals whose neighbours are looked for; more do not move a quantile
GOOD_WORTH, FAIR_WORTH = 0.75, 0.4  # of what is usual; less is poor


class Grade(str, Enum):
    """How well a generator does in one respect."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Of samples, beside FEWEST originals or more that their generator learnt from."""

    samples: int
    originals: int
    quality: float  # share of the samples that lie among the originals
    usual: float  # share of the originals that lie among the others
    variety: float  # mean distance of two samples over that of two originals
    copies: int  # samples that are near copies
    by_chance: int  # how many of so many real pictures would be

    @property
    def grades(self) -> dict[str, Grade]:
        """Of each of the three."""
        copying = self.copies >= self.samples * max(COPYING_FROM, COPYING_FROM_FEW / self.originals)
        original = Grade.GOOD if self.copies <= 3 * self.by_chance else Grade.FAIR
        return {
            "quality": _grade(self.quality / max(self.usual, 0.01)),
            "variety": _grade(self.variety),
            "originality": Grade.POOR if copying else original,
        }

    @property
    def worst(self) -> Grade:
        """Of the three."""
        return max(self.grades.values(), key=[*Grade].index)

    @property
    def told(self) -> dict[str, str]:
        """The word and a sentence on each of the three."""
        grades = {name: f"{name.capitalize()} {grade.value}: " for name, grade in self.grades.items()}
        copies = f"{self.copies:,} of {self.samples:,} new pictures are near copies of yours"
        copying = f"{copies}: the model repeats them instead of making new ones. Add more pictures."
        repeats = self.grades["originality"] is Grade.POOR
        chance = f"{copies}; by chance it would be about {self.by_chance:,}."
        return {
            "quality": f"{grades['quality']}{self.quality:.0%} of the new pictures lie among yours, where "
            f"{self.usual:.0%} of yours lie among the others.",
            "variety": f"{grades['variety']}the new pictures vary {min(1.0, self.variety):.0%} as much as yours.",
            "originality": grades["originality"] + (copying if repeats else chance),
        }

    @property
    def facts(self) -> dict[str, Any]:
        """The numbers and the words, for programs."""
        return {**asdict(self), "grades": {name: grade.value for name, grade in self.grades.items()}}


def _grade(share: float) -> Grade:
    return Grade.GOOD if share >= GOOD_WORTH else Grade.FAIR if share >= FAIR_WORTH else Grade.POOR


class Likeness(NamedTuple):
    """How near samples come to the originals.

    Distances are those of standardised codes over the root of their size: 0 is a copy, and about 1.4 is what two
    codes drawn at random have.
    """

    distance: Tensor  # (N,) from each sample to the nearest original
    nearest: Tensor  # (N,) that original's number
    near: Tensor  # (N,) bool: a near copy; none where there are fewer than FEWEST originals
    worth: Worth | None  # None where there are fewer than FEWEST originals


def likeness(samples: Tensor, originals: Tensor) -> Likeness:
    """How near samples (N, d) come to the originals (M, d) that a generator learnt from, N >= 2, M >= 1."""
    mean, std = standardisation(originals)
    scale = originals.shape[1] ** 0.5
    real, fake = (originals - mean) / std / scale, (samples - mean) / std / scale
    distances, indices = nearest(fake, real, min(NEIGHBOURS, len(real)))
    distance, index = distances[:, 0], indices[:, 0]
    if len(real) < FEWEST:
        return Likeness(distance, index, torch.zeros(len(fake), dtype=torch.bool), None)
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:MOST]
    own = nearest(real[some], real, NEIGHBOURS + 1)[0][:, 1:]  # the first is itself
    bound = max(torch.quantile(own[:, 0], QUANTILE).item(), SHARE_OF_USUAL * own[:, 0].median().item())

    def copied(d: Tensor) -> Tensor:
        return (d[:, 0] < bound) & (d[:, 0] < SHARE_OF_THEIRS * d[:, -1])

    around, others = nearest(real[some], real[some], NEIGHBOUR + 1)
    apart = (torch.cdist(rows, real[some]) for rows in fake.split(ROWS))
    among = torch.cat([(d <= around[:, -1]).any(dim=1) for d in apart])
    near = copied(distances)
    # the two of all that are the most alike are as likely to be any two: so often is a new one among them
    chance = max(QUANTILE, 2 / (len(real) + 1), copied(own).float().mean().item())
    worth = Worth(
        samples=len(fake),
        originals=len(real),
        quality=among.float().mean().item(),
        usual=len(others[:, 1:].unique()) / len(some),  # among the others is who is one of another's nearest
        variety=_spread(fake) / _spread(real[some]),
        copies=int(near.sum()),
        by_chance=math.ceil(len(fake) * chance),
    )
    return Likeness(distance, index, near, worth)


def _spread(w: Tensor) -> float:
    """Mean distance of two of w (N, d)."""
    some = w[:MOST]
    return (torch.cdist(some, some).sum() / max(1, len(some) * (len(some) - 1))).item()
