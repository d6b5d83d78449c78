"""Whether a source model knows pictures: how much of them comes back, beside how much of its own kind does.

The score of a picture is the signal-to-noise ratio of its reconstruction in dB: the variance of its pixels
over the mean squared error, which is its PSNR plus its contrast in dB. PSNR by itself flatters pale and
empty pictures; here 0 says that a plain colour would have done as well, and no score is below that. The
score of a set is the mean. People read it as a share: of the contrast, 1 - 10 ** (-score / 10) comes back.

Each model brings its own measures, the mean scores of its held-out pictures and of pictures that it cannot
know though they have the same colours and contrast: the same ones with their upper and lower halves swapped.
On the scale from the latter (0) to the former (1) a set is good from GOOD_FROM on, and the model does not
know it below USABLE_FROM, where it is nearer to the latter; between the two it is usable. On toon64 all sets
of 20 pictures of the three example domains stand above 0.85, and those of every other kind tried below 0.1
(avatars of 20 other styles, photographs, patterns, toon heads turned, moved or of another size); grey and
mirrored toon heads, which it half knows, stand at 0.5.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mind2mind.alae import ALAE
from mind2mind.images import from_uint8
from mind2mind.metrics import psnr

GOOD, USABLE, UNKNOWN = "good", "usable", "this model does not know such pictures"
KNOWN, SWAPPED = "held_out_snr", "swapped_halves_snr"  # on a card, mean scores in dB
GOOD_FROM, USABLE_FROM = 0.8, 0.5  # of the way from SWAPPED to KNOWN, for a set
STRANGER_BELOW = 0.25  # the same for a single picture: pictures of one kind differ much
LEAST_VARIANCE = (1 / 255) ** 2  # of pixels in [0, 1]: less is a plain colour


class Verdict(NamedTuple):
    """What a model can make of a set of pictures."""

    word: str  # GOOD, USABLE, UNKNOWN, or "unknown: ..." where nothing can be said
    reason: str  # one sentence, or "" where there is nothing to compare with
    score: float  # dB


def scores(pixels: Tensor, ratios: Tensor) -> Tensor:
    """The score of each of uint8 pictures (N, C, H, W), dB, from the PSNR of their reconstructions (N,)."""
    variance = (pixels.float() / 255).var(dim=(2, 3), correction=0).mean(dim=1)
    return (ratios + 10 * torch.log10(variance.clamp_min(LEAST_VARIANCE))).clamp_min(0)


@torch.no_grad()
def reconstruction_psnr(alae: ALAE, pixels: Tensor) -> Tensor:
    """PSNR of the reconstructions of uint8 pictures (N, C, H, W) without noise, (N,) in dB, on the CPU."""
    ratios = []
    for x in pixels.split(64):
        real = from_uint8(x.to(alae.w_avg.device))
        ratios.append(psnr(real, alae.reconstruct(real).clamp(-1, 1)).cpu())
    return torch.cat(ratios)


def own_numbers(alae: ALAE, held_out: Tensor) -> dict[str, float]:
    """What a card must hold for `judge`, in dB, from held-out pictures, uint8 (N, C, H, W)."""
    swapped = held_out.roll(held_out.shape[2] // 2, dims=2)
    means = [
        scores(pixels, reconstruction_psnr(alae, pixels)).mean().item() for pixels in (held_out, swapped)
    ]
    return {KNOWN: round(means[0], 2), SWAPPED: round(means[1], 2)}


def judge(values: Tensor, numbers: Mapping[str, Any]) -> Verdict:
    """The verdict on a set by its pictures' scores (N,) in dB and the numbers of the model's card."""
    score = values.mean().item()
    known, swapped = numbers.get(KNOWN), numbers.get(SWAPPED)
    if not (isinstance(known, int | float) and isinstance(swapped, int | float)) or not math.isfinite(score):
        return Verdict("unknown: this model's card has no number to compare with", "", score)
    if known <= swapped:
        reason = "This model rebuilds its own pictures no better than foreign ones."
        return Verdict("unknown: this model is not trained well enough to tell", reason, score)
    place = (values - swapped) / (known - swapped)
    word = UNKNOWN if place.mean() < USABLE_FROM else USABLE if place.mean() < GOOD_FROM else GOOD
    reason = (
        f"Of their contrast {share(score)} comes back; of this model's own pictures it is {share(known)}."
    )
    strangers = int((place < STRANGER_BELOW).sum())
    if strangers and word != UNKNOWN:
        reason += f" {strangers} of the {len(values)} looked at hardly come back at all."
    return Verdict(word, reason, score)


def share(score: float) -> str:
    """A score in dB as the share of the contrast that comes back, for people."""
    return f"{100 * (1 - 10 ** (-score / 10)):.1f} %"
