"""What a source's card tells of it, measured on pictures that it was not trained on."""

import torch
from torch import Tensor

from mind2mind.alae import ALAE
from mind2mind.images import from_uint8
from mind2mind.metrics import psnr
from mind2mind.verdict import own_numbers, reconstruction_psnr

KNOWN_NUMBERS = 10**8  # of the training pictures that retrieval and PCA know: 8,000 of 64 px


def card_numbers(alae: ALAE, training: Tensor, held_out: Tensor) -> dict[str, float]:
    """The numbers of a trained ALAE's card, from uint8 pictures (N, C, H, W) and (M, C, H, W)."""
    values = reconstruction_psnr(alae, held_out)
    return {
        "held_out_pictures": len(held_out),
        "held_out_psnr": round(values.mean().item(), 2),
        "held_out_psnr_p10": round(values.quantile(0.1).item(), 2),
        **own_numbers(alae, held_out),
        **_baselines(training, held_out),
    }


def _baselines(training: Tensor, held_out: Tensor) -> dict[str, float]:
    """What the held-out pictures lose if shown as the nearest training picture, or as their 64 first components.

    Mean PSNR in dB; both know as many training pictures as KNOWN_NUMBERS allows.
    """
    known = training[: max(2, KNOWN_NUMBERS // training[0].numel())]
    x, y = (from_uint8(pictures).flatten(1) for pictures in (known, held_out))
    nearest_one = torch.cat([torch.cdist(part, x).argmin(dim=1) for part in y.split(64)])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        _, _, axes = torch.pca_lowrank(x, q=min(64, *x.shape), niter=4)
    mean = x.mean(dim=0)
    projected = (y - mean) @ axes @ axes.T + mean

    def mean_psnr(shown: Tensor) -> float:
        return round(psnr(shown.view(held_out.shape), y.view(held_out.shape)).mean().item(), 2)

    return {
        "nearest_picture_psnr": mean_psnr(x[nearest_one]),
        "pca64_psnr": mean_psnr(projected.clamp(-1, 1)),
    }
