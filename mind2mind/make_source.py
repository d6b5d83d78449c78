"""From a folder of pictures to the bundle of a source model.

Loads the pictures, trains an ALAE on them (`pretrain`), encodes them, lets a MindGAN learn their codes as
its prior where the recipe does not train F, and writes the bundle with its card and preview.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image
from torch import Tensor

from mind2mind import codes, gallery
from mind2mind.alae import ALAE
from mind2mind.checkpoints import Card, load_source, save_source
from mind2mind.config import (
    LOCAL,
    PRIOR,
    PRIOR_STEPS,
    Architecture,
    Limits,
    PaperRecipe,
    PretrainRecipe,
)
from mind2mind.datasets import Pictures
from mind2mind.errors import ConfigError, DataError
from mind2mind.held_out import card_numbers
from mind2mind.images import grid, save_png, to_image
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

HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 1000  # of the pictures, in the order of their names, from the end
PRIOR_CODES = 30_000
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
    alae, numbers = new_alae(architecture, seed), dict[str, Any]()
    if start:
        numbers["started_from"] = _begin(alae, start)
    pictures = Pictures(
        sources, resolution=architecture.resolution, channels=architecture.image_channels, limits=limits
    )
    _check_memory(architecture, pictures.count)
    card = card or Card(id=out.name, title=out.name, knows="what it was trained on", credit="", licence="")
    plan = _Plan(recipe, kimg, minutes, seed, resume, prior_steps, should_stop)
    return _make(pictures, alae.to(device), plan, out, card, numbers)


def _begin(alae: ALAE, start: Path) -> str:
    """Gives the ALAE the weights of a bundle, and says which those are."""
    model = load_source(start)
    if model.alae.architecture != alae.architecture:
        raise ConfigError(
            f"'{model.card.id}' is of another architecture than the model to be.",
            f"Give the architecture of {start}, or leave it out.",
        )
    alae.load_state_dict(model.alae.state_dict())
    return f"{model.card.id} ({model.card.numbers.get('kimg', 'unknown')} kimg)"


def _check_memory(architecture: Architecture, count: int) -> None:
    needed = count * architecture.image_channels * architecture.resolution**2
    free = psutil.virtual_memory().available
    if needed > 0.7 * free:
        raise DataError(
            f"{count} pictures of {architecture.resolution} px need {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free.",
            "Give fewer pictures or choose a smaller architecture.",
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a source is trained; the fields are arguments of `make_source`."""

    recipe: PretrainRecipe | PaperRecipe
    kimg: float | None
    minutes: float | None
    seed: int
    resume: bool
    prior_steps: int
    should_stop: Callable[[], bool]

    def length(self, alae: ALAE, training: Tensor) -> float:
        """Thousands of pictures; a given time is turned into them by a warm-up of another such ALAE."""
        if self.minutes is None:
            assert self.kimg is not None
            return self.kimg
        warm = new_alae(alae.architecture, self.seed).to(alae.w_avg.device)
        return kimg_for(warm, training, self.recipe, self.minutes)


def _make(
    pictures: Pictures, alae: ALAE, plan: _Plan, out: Path, card: Card, numbers: dict[str, Any]
) -> Iterator[MakeEvent]:
    training, held_out = yield from _read(pictures)
    finished = None
    for event in pretrain(
        alae, training, held_out, plan.recipe, total_kimg=plan.length(alae, training), out=out,
        seed=plan.seed, resume=plan.resume, should_stop=plan.should_stop,
    ):  # fmt: skip
        yield event
        if isinstance(event, PretrainPreview):
            pairs = torch.cat([event.originals, event.reconstructions], dim=3)
            _save_grid([to_image(pair) for pair in pairs], out / "reconstructions.png")
            if event.samples is not None:
                _save_grid([to_image(sample) for sample in event.samples], out / "samples.png")
        if isinstance(event, PretrainFinished):
            finished = event
    if finished is None or finished.stopped:
        return
    yield from finish(
        alae, training, held_out, out, card, seed=plan.seed,
        prior_steps=0 if plan.recipe.trains_f else plan.prior_steps,
        refinements=plan.recipe.refinements,
        numbers={**numbers, "kimg": finished.kimg, "training_pictures": len(training)},
    )  # fmt: skip


def _read(pictures: Pictures) -> Generator[Loading, None, tuple[Tensor, Tensor]]:
    """All pictures, uint8 (N, C, H, W): those to train on, and those held out."""
    count = 0
    pixels = torch.empty(
        pictures.count, pictures.channels, pictures.resolution, pictures.resolution, dtype=torch.uint8
    )
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
    return pixels[: count - held], pixels[count - held : count]


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
        w = codes.of_pixels(alae, training[:PRIOR_CODES])
        alae.w_avg.copy_(w.mean(dim=0))
        folder, device = out / "prior", alae.w_avg.device
        for event in train(w, PRIOR, prior_steps, seed=seed, folder=folder, device=device):
            if isinstance(event, Progress):
                yield PriorProgress(event.step, event.total_steps)
        prior, _, _ = exported(folder)
        numbers = {**numbers, "prior_steps": prior_steps}
        card = replace(card, notes=card.notes or STAND_IN)
    card = replace(card, numbers={**numbers, **card_numbers(alae, training, held_out), **card.numbers})
    save_source(out, alae, card, prior=prior, refinements=refinements)
    _preview(out, alae.w_avg.device)
    yield Made(out, card)


def _preview(out: Path, device: torch.device) -> None:
    """The first seeds' pictures, as the bundle draws them."""
    model = load_source(out, device)
    _save_grid(gallery.draw(model.alae, gallery.codes_of(model, range(PREVIEWED))), out / "preview.png")


def _save_grid(pictures: Sequence[Image.Image], path: Path) -> None:
    save_png(grid(pictures, columns=8, gap=0), path)
