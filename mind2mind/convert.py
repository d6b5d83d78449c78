"""An official .pth file becomes a bundle of ours: an ALAE, or a MindGAN on the ALAE it was trained on."""

from dataclasses import replace
from pathlib import Path

import torch

from mind2mind.cards import CONFIG, WEIGHTS, Card, official_card
from mind2mind.checkpoints import Model, save_source, save_transfer
from mind2mind.config import CELEBA_HQ256, FFHQ, Architecture
from mind2mind.errors import ConfigError, DataError
from mind2mind.mindgan import mean_code
from mind2mind.official import alae_from, kind_of, mindgan_from
from mind2mind.unpickle import read_pth

ALIGNED_FACES = (FFHQ, CELEBA_HQ256)  # what official files of these sizes were trained on


def convert(
    path: Path,
    out: Path,
    *,
    architecture: Architecture | None = None,
    parameters: Path | None = None,
    card: Card | None = None,
    source: Model | None = None,
) -> Path:
    """An official .pth file of either kind into a bundle in `out`; the file is not needed afterwards.

    A source keeps float32. A MindGAN needs `source`, the converted ALAE it was trained on.

    Raises:
        WeightsError: the file cannot be read or does not fit.
        ConfigError: a MindGAN without a source, or with one that cannot be its own.
        DataError: `out` already holds a bundle, or cannot be written.
    """
    path, out = Path(path), Path(out)
    if (out / CONFIG).exists() or (out / WEIGHTS).exists():
        raise DataError(f"There is already a model in {out}.", "Choose another folder for the new one.")
    file = read_pth(path)
    if kind_of(file) == "mindgan":
        gan = mindgan_from(file, parameters)
        _check_source(source, path, gan.sizes.latent_size)
        w_avg = mean_code(gan.generator, gan.sizes.z_dim)
        card = card or official_card(path, out, "MindGAN", "Frégier and Gouray, Mind2Mind (arXiv 1906.11613)")
        card = replace(card, crop=source.card.crop) if source else card
        extra = {"converted from": path.name}
        save_transfer(out, gan.generator, w_avg, card, source=source, sizes=gan.sizes, extra=extra)
        return out
    alae = alae_from(file, architecture)
    credit = "Pidhorskyi, Adjeroh and Doretto, Adversarial Latent Autoencoders (arXiv 2004.04467)"
    card = card or official_card(path, out, "ALAE", credit)
    if alae.architecture in ALIGNED_FACES:
        card = replace(card, crop="face")
    save_source(out, alae, card, dtype=torch.float32)
    return out


def _check_source(source: Model | None, path: Path, latent_size: int) -> None:
    if source is None:
        raise ConfigError(
            f"{path.name} is a MindGAN, which draws with the ALAE it was trained on.",
            "Convert that one first, and give it as --source.",
        )
    if source.kind != "source":
        raise ConfigError(f"'{source.card.id}' is a transfer itself.", "Give the converted ALAE as --source.")
    size = source.alae.architecture.latent_size
    if size != latent_size:
        raise ConfigError(
            f"{path.name} makes codes of {latent_size} numbers; those of '{source.card.id}' have {size}.",
            "Give the ALAE it was trained on as --source.",
        )
