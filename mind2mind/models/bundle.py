"""Models as bundles: saved, and opened again.

A bundle is a folder: `model.safetensors`, `config.json`, `README.md` (its card). A source is an ALAE, with a
MindGAN as its prior where F is none; a transfer is a MindGAN's generator with the source it was trained on,
known by the hash of its weights. Sources are stored in half precision unless asked otherwise: each weight
is rounded to 11 bits (under 0.05 %; below 6e-5 to steps of 6e-8), the blurs and all zeros stay exact, and a
weight that half precision cannot hold is an error. In memory everything is float32.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mind2mind.config import Architecture, Crop, MindGANSizes
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import load_tensors, read_json, save_tensors, sha256, write_json, write_text
from mind2mind.judge.metrics import span
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import Perceptron, draw_z, samples

# --- What a bundle says of itself: config.json for programs, README.md (the card) for people.

CONFIG, CARD, PREVIEW, WEIGHTS = "config.json", "README.md", "preview.png", "model.safetensors"
PARTS = (CONFIG, CARD, PREVIEW, WEIGHTS)  # of a bundle: all there is in its folder
SOURCE, TRANSFER, VERSION = "mind2mind/source", "mind2mind/transfer", 1
LONGEST = 200  # characters of an id or a title
AGAIN = "Download or make the model again."


@dataclass(frozen=True)
class Card:
    """What a person wants to know of a model."""

    id: str
    title: str
    knows: str  # one line: what it knows
    credit: str
    licence: str
    numbers: dict[str, Any] = field(default_factory=dict)  # name -> value, as measured
    notes: str = ""
    crop: Crop = "centre"  # of the pictures it was trained on


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a bundle, of a format and version that this program knows.

    Raises:
        WeightsError: it is missing, damaged, or of another program or version.
    """
    try:
        config = read_json(folder / CONFIG)
    except DataError as error:
        fix = f"Give the folder of a model: one with {WEIGHTS} and {CONFIG}."
        raise WeightsError(f"{folder} is not a model's folder: {error.problem}", fix) from error
    if config.get("format") not in (SOURCE, TRANSFER):
        fix = "Give a model made by Mind2Mind; official files go through `convert`."
        raise WeightsError(f"{folder / CONFIG} is of the format {config.get('format')!r}.", fix)
    if config.get("version") != VERSION:
        raise WeightsError(
            f"{folder / CONFIG} is of version {config.get('version')}, not {VERSION}.", "Update Mind2Mind."
        )
    return config


def expect(folder: Path, kind: str) -> dict[str, Any]:
    """The config.json of a bundle that is to be a SOURCE or a TRANSFER; WeightsError if it is not."""
    config = read_config(folder)
    if config["format"] != kind:
        found = config["format"].partition("/")[2]
        fix = "Give the one that is asked for: a transfer opens with its source, a source by itself."
        raise WeightsError(f"{folder} holds a {found}, not a {kind.partition('/')[2]}.", fix)
    return config


def card_from(config: Mapping[str, Any], folder: Path) -> Card:
    """The card that the config.json in `folder` holds; WeightsError if it is damaged."""
    try:
        card = Card(**{f.name: config[f.name] for f in fields(Card) if f.name != "crop" or "crop" in config})
    except KeyError as error:
        raise WeightsError(f"{folder / CONFIG} lacks {error}.", AGAIN) from error
    texts = (card.id, card.title, card.knows, card.credit, card.licence, card.notes)
    if (
        not all(isinstance(text, str) for text in texts)
        or max(map(len, texts[:2])) > LONGEST
        or not isinstance(card.numbers, dict)
        or card.crop not in get_args(Crop)
    ):
        raise WeightsError(f"The card in {folder / CONFIG} is damaged.", AGAIN)
    return card


def official_card(path: Path, out: Path, what: str, credit: str) -> Card:
    """Of an official file that goes into the folder `out`, whose name is the model's id."""
    knows = "what it was trained on by its authors"
    return Card(
        out.resolve().name,
        f"{what} ({path.name})",
        knows,
        credit,
        "Apache-2.0",
        notes="Converted from the official file.",
    )


def write_config(
    folder: Path, kind: str, card: Card, rest: dict[str, Any], settings: Mapping[str, Any]
) -> None:
    """Writes a bundle's config.json, with `rest` for its weights, and its card, which lists `settings`."""
    write_json(folder / CONFIG, {"format": kind, "version": VERSION, **asdict(card), **rest})
    write_text(folder / CARD, card_text(card, kind.partition("/")[2], settings))


def usage(ref: str) -> str:
    """The line of Python that draws with a model by its folder, or by its id in the catalogue."""
    return f"pictures = mind2mind.Studio().draw.sample({json.dumps(ref)}, seeds=range(16))"


def card_text(card: Card, kind: str, settings: Mapping[str, Any]) -> str:
    """A bundle's README.md."""

    def table(head: str, rows: Mapping[str, Any]) -> str:
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join([f"## {head}", "", "| | |", "|---|---|", *lines]) if lines else ""

    parts = [
        f"# {card.title}",
        f"![Samples]({PREVIEW})",
        f"A {kind} model of Mind2Mind. It knows: {card.knows}.",
        f"Licence: {card.licence}. Credit: {card.credit}.",
        card.notes,
        table("Numbers", card.numbers),
        table("Settings", settings),
        f"## Use\n\nIn the folder that holds this model's folder:\n\n"
        f"```python\nimport mind2mind\n\n{usage(card.id)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def slug(title: str) -> str:
    """A title as an id: letters, digits and hyphens, at most 40."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return "-".join(part for part in plain.split("-") if part)[:40].strip("-") or "transfer"


def transfer_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a transfer lists as its settings, from its config.json."""
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in config["sizes"].items()}
    return {"source model": config["source"]["id"] or "not recorded", **sizes, **config["extra"]}


def retitle(folder: Path, title: str) -> None:
    """Gives the bundle of a transfer another title and id, in its config and on its card."""
    config = expect(folder, TRANSFER)
    card = replace(card_from(config, folder), title=title, id=slug(title))
    rest = {name: config[name] for name in ("sizes", "source", "extra")}
    write_config(folder, TRANSFER, card, rest, transfer_settings(config))


Shapes = Mapping[str, tuple[int, ...]]
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


def check_shapes(module: nn.Module, shapes: Shapes, name: str, fix: str) -> None:
    """Raises a WeightsError that lists what is missing, unexpected or of another shape, five of each."""
    wanted = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    wrong = [f"{k} {shapes[k]} for {wanted[k]}" for k in wanted if k in shapes and shapes[k] != wanted[k]]
    complaints = {
        "missing": [key for key in wanted if key not in shapes],
        "unexpected": [key for key in shapes if key not in wanted],
        "of wrong shape": wrong,
    }
    listed = "; ".join(f"{what}: {first(keys)}" for what, keys in complaints.items() if keys)
    if listed:
        raise WeightsError(f"{name} does not fit. {listed[0].upper()}{listed[1:]}.", fix)


def fill(
    module: nn.Module, tensors: dict[str, Tensor], name: str, device: torch.device | str, fix: str
) -> None:
    """Gives a module built on the meta device its weights: float32 on `device`, evaluated and not trained.

    Building on `meta` draws no random numbers, so that loading leaves torch's global generator alone.
    """
    check_shapes(module, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, name, fix)
    if bad := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise WeightsError(f"{name} holds weights that are not finite numbers: {first(bad)}.", fix)
    coefficients = {key: vars(parameter).copy() for key, parameter in module.named_parameters()}
    own = {key: tensor.to(device, torch.float32) for key, tensor in tensors.items()}  # read for us alone
    module.load_state_dict(own, assign=True)
    for key, parameter in module.named_parameters():
        vars(parameter).update(coefficients[key])  # `lr_coef`, for those who train on
    module.eval().requires_grad_(False)


def first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
