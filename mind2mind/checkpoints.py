"""Models as bundles: saved, and opened again.

A bundle is a folder: `model.safetensors`, `config.json`, `README.md` (its card). A source is an ALAE, with a
MindGAN as its prior where F is none; a transfer is a MindGAN's generator with the source it was trained on,
known by the hash of its weights. Sources are stored in half precision unless asked otherwise: each weight
is rounded to 11 bits (under 0.05 %; below 6e-5 to steps of 6e-8), the blurs and all zeros stay exact, and a
weight that half precision cannot hold is an error. In memory everything is float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mind2mind.alae import ALAE
from mind2mind.cards import (
    AGAIN,
    CONFIG,
    SOURCE,
    TRANSFER,
    WEIGHTS,
    Card,
    card_from,
    expect,
    transfer_settings,
    write_config,
)
from mind2mind.config import Architecture, MindGANSizes
from mind2mind.errors import ConfigError, WeightsError
from mind2mind.files import load_tensors, save_tensors, sha256
from mind2mind.metrics import span
from mind2mind.mindgan import Perceptron, draw_z, samples
from mind2mind.official import fill, first

__all__ = ["Card", "Model", "load_source", "load_transfer", "save_source", "save_transfer"]

MOST_REFINEMENTS = 8  # a bundle asks for no more
# Refining draws to what is frequent in the source: of aliens on toon64 95 % kept alien skin. So a transfer's codes
# move only along axes that hold this share of the variance of its samples: 100 %, see CONTRIBUTING
SPAN_SHARE, SPAN_SAMPLES = 0.99, 4096


@dataclass(frozen=True, eq=False)
class Model:
    """A generator of codes g with the decoder that draws them; all frozen, on one device, float32."""

    card: Card
    kind: Literal["source", "transfer"]
    hash: str  # SHA-256 of its model.safetensors
    alae: ALAE
    g: nn.Module  # z (N, z_dim) -> w (N, latent_size)
    prior: Literal["normal", "uniform"]
    z_dim: int
    w_avg: Tensor  # (2L, latent_size)
    source_id: str  # its own for a source
    source_hash: str
    refinements: int = 0  # of each sample's code, see `ALAE.refine`
    within: Tensor | None = None  # (latent_size, latent_size), what a transfer's codes are refined in

    def drawing(self, g: nn.Module, z_dim: int, **own: Any) -> "Model":
        """The source, drawing what a transfer's generator makes; `own` are the transfer's other fields."""
        g = g.to(self.w_avg.device)
        if self.refinements:
            own["within"] = span(samples(g, z_dim, SPAN_SAMPLES), SPAN_SHARE).to(self.w_avg)
        return replace(self, g=g, prior="uniform", z_dim=z_dim, **own)

    @torch.no_grad()
    def refined(self, w: Tensor) -> Tensor:
        """Codes (N, latent_size) of g as they are drawn; give no more than are decoded at a time."""
        return self.alae.refine(w.to(self.w_avg.device), self.refinements, self.within)

    @torch.no_grad()
    def draw_w(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Codes (N, latent_size) of g on the model's device, each from a CPU generator of its own."""
        if self.prior == "uniform":
            z = torch.cat([draw_z(1, self.z_dim, generator) for generator in generators])
        else:
            z = torch.cat([torch.randn(1, self.z_dim, generator=generator) for generator in generators])
        w: Tensor = self.g(z.to(self.w_avg.device))
        return w


def save_source(
    folder: Path,
    alae: ALAE,
    card: Card,
    *,
    prior: Perceptron | None = None,
    refinements: int = 0,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Writes the bundle of a source; without `prior`, F with a normal z is what draws its codes.

    `refinements` is how often each sample's code is refined, those of transfers on it too.

    Raises:
        WeightsError: a weight is not finite, or too large for `dtype`.
        DataError: the folder cannot be written.
    """
    state = alae.state_dict()
    sizes: dict[str, Any] | None = None
    if prior is not None:
        state |= {f"prior.{name}": tensor for name, tensor in prior.state_dict().items()}
        sizes = asdict(_sizes(prior))
    stored = {name: tensor.to(dtype) for name, tensor in state.items()}
    if bad := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        fix = "Save at torch.float32; if that fails too, the training diverged: take an earlier checkpoint."
        raise WeightsError(f"These weights are not finite numbers at {dtype}: {first(bad)}.", fix)
    save_tensors(folder / WEIGHTS, stored)
    architecture = asdict(alae.architecture)
    settings = {**architecture, "stored as": str(dtype).removeprefix("torch.")}
    rest = {"architecture": architecture, "prior": sizes, "refinements": refinements}
    write_config(folder, SOURCE, card, rest, settings)


def load_source(folder: Path, device: torch.device | str = "cpu") -> Model:
    """A source from its bundle.

    Raises:
        WeightsError: the bundle is incomplete, damaged, or its weights do not fit its architecture.
    """
    config = expect(folder, SOURCE)
    tensors, _ = load_tensors(folder / WEIGHTS)
    of_prior = {n.removeprefix("prior."): tensors.pop(n) for n in list(tensors) if n.startswith("prior.")}
    try:
        architecture = Architecture.from_dict(config["architecture"])
        sizes = MindGANSizes.from_dict(config["prior"]) if config["prior"] else None
        refinements = min(max(0, int(config.get("refinements", 0))), MOST_REFINEMENTS)
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise WeightsError(f"{folder / CONFIG} is damaged: {error}.", AGAIN) from error
    with torch.device("meta"):
        alae = ALAE(architecture)
        prior = _generator(sizes) if sizes else None
    fill(alae, tensors, str(folder), device, AGAIN)
    if prior is not None:
        fill(prior, of_prior, str(folder), device, AGAIN)
    card, digest = card_from(config, folder), sha256(folder / WEIGHTS)
    return Model(
        card=card,
        kind="source",
        hash=digest,
        alae=alae,
        g=prior or alae.mapping_f,
        prior="uniform" if prior else "normal",
        z_dim=sizes.z_dim if sizes else architecture.latent_size,
        w_avg=alae.w_avg,
        source_id=card.id,
        source_hash=digest,
        refinements=refinements,
    )


def save_transfer(
    folder: Path,
    g: Perceptron,
    w_avg: Tensor,
    card: Card,
    *,
    source: Model | None,
    sizes: MindGANSizes,
    extra: Mapping[str, Any],
) -> None:
    """Writes the bundle of a transfer, float32.

    Args:
        folder: the bundle's.
        g: with every affine map folded in.
        w_avg: (latent_size,), the mean of g's samples.
        card: what to tell of it.
        source: what g was trained on; None when that is not known (any source of the latent size then does).
        sizes: of g and of the critic it was trained against.
        extra: settings worth keeping (recipe, steps, seed ...), JSON values.

    Raises:
        DataError: the folder cannot be written.
    """
    state = {f"g.{name}": tensor.float() for name, tensor in g.state_dict().items()}
    save_tensors(folder / WEIGHTS, {**state, "w_avg": w_avg.float()})
    made_on = {"id": source.card.id if source else "", "hash": source.hash if source else ""}
    config = {"sizes": asdict(sizes), "source": made_on, "extra": dict(extra)}
    write_config(folder, TRANSFER, card, config, transfer_settings(config))


def load_transfer(folder: Path, source: Model) -> Model:
    """A transfer from its bundle, with the source it was made on.

    Raises:
        WeightsError: the bundle is incomplete or damaged, or was made on another source.
    """
    config = expect(folder, TRANSFER)
    tensors, _ = load_tensors(folder / WEIGHTS)
    try:
        sizes = MindGANSizes.from_dict(config["sizes"])
        source_id, source_hash = str(config["source"]["id"]), str(config["source"]["hash"])
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{folder / CONFIG} is damaged: {error}.", AGAIN) from error
    latent_size = source.alae.architecture.latent_size
    if source_hash not in ("", source.hash) or sizes.latent_size != latent_size:
        raise WeightsError(
            f"{folder} was made on the source '{source_id or 'of latent size ' + str(sizes.latent_size)}' "
            f"({source_hash[:12] or 'hash not recorded'}), not on '{source.card.id}' ({source.hash[:12]}).",
            "Open it with the source it was made on, or train it again on this one.",
        )
    device = source.w_avg.device
    with torch.device("meta"):
        held = _Held(sizes)
    fill(held, tensors, str(folder), device, AGAIN)
    return source.drawing(
        held.g,
        sizes.z_dim,
        card=card_from(config, folder),
        kind="transfer",
        hash=sha256(folder / WEIGHTS),
        w_avg=held.w_avg.expand(source.alae.architecture.style_count, -1),
    )


def _sizes(g: Perceptron) -> MindGANSizes:
    layers = [layer for layer in g.model if isinstance(layer, nn.Linear)]
    widths = tuple(layer.out_features for layer in layers)
    return MindGANSizes(
        latent_size=widths[-1], z_dim=layers[0].in_features, generator_widths=widths[:-1], critic_widths=()
    )


class _Held(nn.Module):
    """What a transfer's file holds."""

    w_avg: Tensor

    def __init__(self, sizes: MindGANSizes) -> None:
        super().__init__()
        self.g = _generator(sizes)
        self.register_buffer("w_avg", torch.empty(sizes.latent_size))


def _generator(sizes: MindGANSizes) -> Perceptron:
    return Perceptron([sizes.z_dim, *sizes.generator_widths, sizes.latent_size])
