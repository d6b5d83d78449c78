"""From a folder of pictures to the bundle of a source model.

Loads the pictures, trains an ALAE on them (`pretrain`), encodes them, lets a MindGAN learn their codes as
its prior where the recipe does not train F, and writes the bundle with its card and preview.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torchvision.utils import make_grid

from mind2mind.alae import ALAE
from mind2mind.checkpoints import Card, Model, load_source, save_source
from mind2mind.config import DEFAULT, LOCAL, Architecture, Limits, PaperRecipe, PretrainRecipe
from mind2mind.datasets import Pictures
from mind2mind.errors import ConfigError, DataError
from mind2mind.files import atomic
from mind2mind.images import from_uint8, to_image
from mind2mind.metrics import psnr
from mind2mind.pretrain import (
    PretrainEvent,
    PretrainFinished,
    PretrainPreview,
    check_resumable,
    kimg_for,
    pretrain,
)
from mind2mind.trained import exported
from mind2mind.transfer import Progress, train
from mind2mind.verdict import own_numbers

HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 1000  # of the pictures, in the order of their names, from the end
BASELINE_NUMBERS = 10**8  # of the training pictures that retrieval and PCA know: 8,000 of 64 px
PRIOR_CODES = 20_000
# Of so many codes none needs to be held out, and none is learnt by heart
PRIOR_RECIPE = replace(DEFAULT, name="prior", held_out_share=0.0, jitter=0.0)
PRIOR_STEPS = 8000
PREVIEWED = 32
STAND_IN = (
    "The encoder and the decoder were trained by the pixel term. F and D are as they were initialised: a MindGAN "
    "trained on the codes of the training pictures draws the samples in F's place."
)


@dataclass(frozen=True, slots=True)
class Loading:
    """Pictures read so far."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PriorProgress:
    """The training of the prior, after that of the autoencoder."""

    step: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Made:
    """Always last: the bundle is in `folder`, its numbers on the card."""

    folder: Path
    card: Card


MakeEvent = PretrainEvent | Loading | PriorProgress | Made


def make_source(
    sources: Sequence[Path],
    architecture: Architecture,
    recipe: PretrainRecipe | PaperRecipe,
    out: Path,
    *,
    kimg: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    resume: bool = False,
    start: Path | None = None,
    device: str | torch.device = "cpu",
    limits: Limits = LOCAL,
    card: Card | None = None,
    prior_steps: int = PRIOR_STEPS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[MakeEvent]:
    """Trains a source model and writes its bundle into `out`; yields events, `Made` last.

    While it trains, `out/reconstructions.png` shows held-out pictures beside what becomes of them, and where the
    recipe trains F `out/samples.png` shows its samples. A stopped training is saved (`out/last.safetensors`) and
    no bundle is written: resume it.

    Args:
        kimg, minutes: how long, exactly one of them; minutes become thousands of pictures in a warm-up.
        start: the bundle of a source of this architecture whose weights the training begins with.
        card: what to tell of the model; None takes its name from `out`.
        prior_steps: generator steps of the MindGAN that stands in for F where the recipe does not train it.

    Raises:
        ConfigError: not exactly one of kimg and minutes, or `start` is of another architecture.
        DataError: too few usable pictures, or more than fit into memory.
        TrainingError: see `pretrain`.
    """
    if (kimg is None) == (minutes is None):
        raise ConfigError("The length of the training is not clear.", "Give either --kimg or --minutes.")
    if resume:
        check_resumable(out)  # not only after an hour of reading pictures
    begun = _begun(start, architecture) if start else None
    pictures = Pictures(
        sources, resolution=architecture.resolution, channels=architecture.image_channels, limits=limits
    )
    _check_memory(architecture, pictures.count)
    return _make(
        pictures, architecture, recipe, out, kimg, minutes, seed, resume, begun, torch.device(device),
        card or Card(id=out.name, title=out.name, knows="what it was trained on", credit="", licence=""),
        prior_steps, should_stop,
    )  # fmt: skip


def _begun(start: Path, architecture: Architecture) -> Model:
    model = load_source(start)
    if model.alae.architecture != architecture:
        raise ConfigError(
            f"'{model.card.id}' is of another architecture than the model to be.",
            f"Give the architecture of {start}, or leave it out.",
        )
    return model


def _check_memory(architecture: Architecture, count: int) -> None:
    needed = count * architecture.image_channels * architecture.resolution**2
    free = psutil.virtual_memory().available
    if needed > 0.7 * free:
        raise DataError(
            f"{count} pictures of {architecture.resolution} px need {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free.",
            "Give fewer pictures or choose a smaller architecture.",
        )


def _make(
    pictures: Pictures,
    architecture: Architecture,
    recipe: PretrainRecipe | PaperRecipe,
    out: Path,
    kimg: float | None,
    minutes: float | None,
    seed: int,
    resume: bool,
    begun: Model | None,
    device: torch.device,
    card: Card,
    prior_steps: int,
    should_stop: Callable[[], bool],
) -> Iterator[MakeEvent]:
    side, count = architecture.resolution, 0
    pixels = torch.empty(pictures.count, architecture.image_channels, side, side, dtype=torch.uint8)
    for picture in pictures:
        pixels[count] = picture.pixels
        count += 1
        if count % 100 == 0:
            yield Loading(count, pictures.count)
    held = min(HELD_OUT_MOST, round(count * HELD_OUT_SHARE))
    if held < 1:
        raise DataError(
            f"Only {count} pictures can be used.", "A source model needs some thousands of one kind."
        )
    training, held_out = pixels[: count - held], pixels[count - held : count]
    alae = new_alae(architecture, seed).to(device)
    numbers: dict[str, Any] = {}
    if begun:
        alae.load_state_dict(begun.alae.state_dict())
        numbers["started_from"] = f"{begun.card.id} ({begun.card.numbers.get('kimg', 'unknown')} kimg)"
    if kimg is None:
        assert minutes is not None
        kimg = kimg_for(new_alae(architecture, seed).to(device), training, recipe, minutes)
    finished = None
    for event in pretrain(
        alae, training, held_out, recipe, total_kimg=kimg, out=out, seed=seed, resume=resume,
        should_stop=should_stop,
    ):  # fmt: skip
        yield event
        if isinstance(event, PretrainPreview):
            save_pairs(event.originals, event.reconstructions, out / "reconstructions.png")
            if event.samples is not None:
                save_grid(event.samples, out / "samples.png")
        if isinstance(event, PretrainFinished):
            finished = event
    if finished is None or finished.stopped:
        return
    yield from finish(
        alae, training, held_out, out, card, seed=seed,
        prior_steps=0 if recipe.trains_f else prior_steps,
        refinements=recipe.refinements,
        numbers={**numbers, "kimg": finished.kimg, "training_pictures": len(training)},
    )  # fmt: skip


def new_alae(architecture: Architecture, seed: int) -> ALAE:
    """An untrained ALAE, the same for the same seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and no other device's
        return ALAE(architecture)


def finish(
    alae: ALAE,
    training: Tensor,
    held_out: Tensor,
    out: Path,
    card: Card,
    *,
    prior_steps: int,
    refinements: int = 0,
    seed: int = 0,
    numbers: dict[str, Any],
) -> Iterator[MakeEvent]:
    """Measures a trained autoencoder and writes its bundle; with `prior_steps`, trains its prior first."""
    alae.eval()
    prior = None
    if prior_steps:
        codes = encode_all(alae, training[:PRIOR_CODES])
        alae.w_avg.copy_(codes.mean(dim=0))
        folder, device = out / "prior", alae.w_avg.device
        for event in train(codes, PRIOR_RECIPE, prior_steps, seed=seed, folder=folder, device=device):
            if isinstance(event, Progress):
                yield PriorProgress(event.step, event.total_steps)
        prior, _, _ = exported(folder)
        numbers = {**numbers, "prior_steps": prior_steps}
        card = replace(card, notes=card.notes or STAND_IN)
    own = {**reconstruction_numbers(alae, held_out), **own_numbers(alae, held_out)}
    card = replace(card, numbers={**numbers, **own, **baselines(training, held_out), **card.numbers})
    save_source(out, alae, card, prior=prior, refinements=refinements)
    _preview(out, alae.w_avg.device)
    yield Made(out, card)


@torch.no_grad()
def _preview(out: Path, device: torch.device) -> None:
    """The first seeds' pictures, as the bundle draws them."""
    model = load_source(out, device)
    w = model.draw_w([torch.Generator().manual_seed(seed) for seed in range(PREVIEWED)])
    samples = model.alae.decode(model.alae.styles(w)).cpu()
    save_grid(samples, out / "preview.png")


@torch.no_grad()
def encode_all(alae: ALAE, pictures: Tensor, batch_size: int = 64) -> Tensor:
    """uint8 pictures (N, C, H, W) -> codes (N, latent_size) on the CPU."""
    device = alae.w_avg.device
    return torch.cat([alae.encode(from_uint8(x.to(device))).cpu() for x in pictures.split(batch_size)])


@torch.no_grad()
def reconstruction_numbers(alae: ALAE, held_out: Tensor) -> dict[str, float]:
    """Mean and 10 % quantile of the held-out pictures' PSNR in dB, noise off."""
    device = alae.w_avg.device
    values = torch.cat([
        psnr(alae.reconstruct(x).clamp(-1, 1), x)
        for x in (from_uint8(chunk.to(device)) for chunk in held_out.split(64))
    ])  # fmt: skip
    return {
        "held_out_pictures": len(held_out),
        "held_out_psnr": round(values.mean().item(), 2),
        "held_out_psnr_p10": round(values.quantile(0.1).item(), 2),
    }


@torch.no_grad()
def baselines(training: Tensor, held_out: Tensor) -> dict[str, float]:
    """What the held-out pictures lose if shown as the nearest training picture, or as their 64 first components.

    Mean PSNR in dB; both know as many training pictures as BASELINE_NUMBERS allows.
    """
    known = training[: max(2, BASELINE_NUMBERS // training[0].numel())]
    x, y = (from_uint8(pictures).flatten(1) for pictures in (known, held_out))
    nearest_one = torch.cat([torch.cdist(part, x).argmin(dim=1) for part in y.split(64)])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        _, _, axes = torch.pca_lowrank(x, q=min(64, *x.shape), niter=4)
    mean = x.mean(dim=0)
    projected = (y - mean) @ axes @ axes.T + mean
    as_pictures = held_out.shape
    return {
        "nearest_picture_psnr": _mean_psnr(x[nearest_one].view(as_pictures), y.view(as_pictures)),
        "pca64_psnr": _mean_psnr(projected.clamp(-1, 1).view(as_pictures), y.view(as_pictures)),
    }


def _mean_psnr(x: Tensor, y: Tensor) -> float:
    return round(psnr(x, y).mean().item(), 2)


def save_pairs(originals: Tensor, reconstructions: Tensor, path: Path) -> None:
    """A grid of original and reconstruction side by side, (N, C, H, W) each in [-1, 1]."""
    save_grid(torch.cat([originals, reconstructions], dim=3), path)


def save_grid(pictures: Tensor, path: Path) -> None:
    """Pictures (N, C, H, W), nominally in [-1, 1], eight in a row."""
    with atomic(path) as temporary:
        to_image(make_grid(pictures.clamp(-1, 1), nrow=8, padding=0)).save(temporary, format="PNG")
