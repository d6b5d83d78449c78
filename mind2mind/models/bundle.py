"""Models as bundles: saved, and opened again.

A bundle is a folder: `model.safetensors`, `config.json`, `README.md` (its card), `preview.png`. A source is an
ALAE, with a MindGAN as its prior where F is none; a transfer is a MindGAN's generator with the source it was
trained on, known by the hash of that source's encoder and decoder. Sources are stored in half precision unless
asked otherwise: each weight is rounded to 11 bits (under 0.05 %; below 6e-5 to steps of 6e-8), the blurs and all
zeros stay exact, and a weight that half precision cannot hold is an error. In memory everything is float32.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mind2mind import files
from mind2mind.config import Architecture, Crop, MindGANSizes, batch_of
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.judge.metrics import span
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import Perceptron, draw_z, samples

CONFIG, CARD, PREVIEW, WEIGHTS = "config.json", "README.md", "preview.png", "model.safetensors"
PARTS = (CONFIG, CARD, PREVIEW, WEIGHTS)  # of a bundle: all there is in its folder
OPENED = "models"  # the home's folder of bundles that visitors brought, each by its token
FORMAT, VERSION = "mind2mind/", 1  # the kind follows
LONGEST, MOST_TOLD = 200, 1000  # characters of an id or a title; of any other line of a card
AGAIN = "Download or make the model again."
UNTRAINED = ("mapping_f.", "mapping_d.")  # where a perceptron draws the codes; earlier bundles hold them
MOST_REFINEMENTS = 8  # a bundle asks for no more
# Refining draws to what is frequent in the source. So a transfer's codes move only along axes that hold this share of
# the variance of the codes it learnt from: 99.8 % of aliens on toon64 keep alien skin. Where those are not known, it
# is that of its samples: 96.8 %
SPAN_SHARE, SPAN_SAMPLES = 0.99, 4096
ALMOST_ONE = 1 - 1e-6  # the prior's end has no finite normal score

Kind = Literal["source", "transfer"]


# --- What a bundle says of itself: config.json for programs, README.md (the card) for people.


@dataclass(frozen=True)
class Card:
    """What a person wants to know of a model; all of it is kept in config.json."""

    id: str
    title: str
    knows: str  # one line: what it knows
    credit: str
    licence: str
    numbers: dict[str, Any] = field(default_factory=dict)  # name -> value, as measured
    notes: str = ""
    crop: Crop = "centre"  # of the pictures it was trained on
    directions: tuple[str, ...] = ()  # what changes along each direction of its mind, "" where nobody knows


@dataclass(frozen=True)
class ModelInfo(Card):
    """A model's card, with what its config.json says besides and where it lies; no weights."""

    architecture: Architecture | None = None  # None for a transfer, which draws as its source does
    needs: str | None = None  # the source that a transfer draws with, "" if it names none; None for a source
    needs_hash: str = ""  # by which the transfer knows it, "" if it does not
    mapping: bool = False  # whether a transfer's generator is one of F's kind
    refinements: int = 0  # of each sample's code, for a source
    earlier_hashes: frozenset[str] = frozenset()  # by which records of before know a source
    folder: Path = Path()  # of one that is here

    @property
    def kind(self) -> Kind:
        return "source" if self.needs is None else "transfer"

    @property
    def resolution(self) -> int | None:
        """Pixels a side; None for a transfer."""
        return self.architecture.resolution if self.architecture else None

    @property
    def channels(self) -> int | None:
        """1 or 3; None for a transfer."""
        return self.architecture.image_channels if self.architecture else None

    @property
    def preview(self) -> Path | None:
        """The picture of its samples, if there is one."""
        path = self.folder / PREVIEW
        return path if path.exists() else None


def describe(folder: Path, kind: Kind | None = None) -> ModelInfo:
    """What the bundle in `folder` says of itself; each text is one line for a page or a terminal.

    Raises:
        WeightsError: there is no bundle (of this `kind`), or its config.json is damaged, or of another program
            or version.
    """
    try:
        config = files.read_json(folder / CONFIG)
    except DataError as error:
        fix = files.remedy(folder / CONFIG, f"Give the folder of a model: one with {WEIGHTS} and {CONFIG}.")
        raise WeightsError(f"{folder} is not a model's folder: {error.problem}", fix) from error
    found = str(config.get("format")).removeprefix(FORMAT)
    if found not in get_args(Kind) or config.get("version") != VERSION:
        raise WeightsError(
            f"{folder / CONFIG} is of the format {config.get('format')!r}, version {config.get('version')}.",
            "Give a model made by Mind2Mind; official files go through `convert`. Update Mind2Mind for a newer one.",
        )
    if kind not in (None, found):
        fix = "Give the one that is asked for: a transfer opens with its source, a source by itself."
        raise WeightsError(f"{folder} holds a {found}, not a {kind}.", fix)
    try:
        made_on, is_source = config.get("source"), found == "source"
        made_on = made_on if isinstance(made_on, dict) else {}
        info = ModelInfo(
            **{name: _line(config[name]) for name in ("id", "title", "knows", "credit", "licence")},
            numbers=dict(config.get("numbers", {})),
            notes=str(config.get("notes", "")),
            crop=config.get("crop", "centre"),
            directions=tuple(_line(name)[:LONGEST] for name in config.get("directions", [])),
            architecture=Architecture.from_dict(config["architecture"]) if is_source else None,
            needs=None if is_source else _line(made_on.get("id", ""))[:LONGEST],
            needs_hash=str(made_on.get("hash", "")),
            mapping=not is_source and dict(config.get("sizes", {})).get("mapping") is True,
            refinements=min(max(0, int(config.get("refinements", 0))), MOST_REFINEMENTS),
            earlier_hashes=frozenset(map(str, config.get("earlier_hashes", []))),
            folder=folder,
        )
        if max(len(info.id), len(info.title)) > LONGEST or info.crop not in get_args(Crop):
            raise ValueError("its id, title or crop makes no sense")
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise WeightsError(f"{folder / CONFIG} is damaged: {error}.", AGAIN) from error
    return info


def _line(value: object) -> str:
    """One line, whatever a stranger wrote on the card."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[:MOST_TOLD])
    return " ".join(text.split())


def _write(
    folder: Path, kind: Kind, card: Card, rest: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Writes a bundle's config.json, with `rest` for its weights, and its card, which lists `settings`."""
    told = {f.name: getattr(card, f.name) for f in fields(Card)}
    files.write_json(folder / CONFIG, {"format": FORMAT + kind, "version": VERSION, **told, **rest})

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
    files.write_text(folder / CARD, "\n\n".join(part for part in parts if part) + "\n")


def usage(ref: str) -> str:
    """The line of Python that draws with a model by its folder, or by its id in the catalogue."""
    return f"pictures = mind2mind.Studio().draw.sample({json.dumps(ref)}, seeds=range(16))"


def slug(title: str) -> str:
    """A title as an id: letters, digits and hyphens, at most 40."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return "-".join(part for part in plain.split("-") if part)[:40].strip("-") or "transfer"


def amend(folder: Path, numbers: Mapping[str, Any], title: str | None = None) -> None:
    """Adds numbers to the card of a transfer; with another title, its id follows from that.

    Raises:
        WeightsError: there is no transfer in `folder`, or its config.json is damaged.
    """
    card, config = describe(folder, "transfer"), files.read_json(folder / CONFIG)
    rest = {name: config[name] for name in ("sizes", "source", "extra")}
    title = title or card.title
    card = replace(card, title=title, id=slug(title), numbers={**card.numbers, **numbers})
    _write(folder, "transfer", card, rest, _transfer_settings(rest))
    os.utime(folder / WEIGHTS)  # for those who hold the model with its old card


def _transfer_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a transfer lists as its settings."""
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in config["sizes"].items()}
    return {"source model": config["source"]["id"] or "not recorded", **sizes, **config["extra"]}


def move_in(fresh: Path, folder: Path) -> None:
    """Puts the bundle in `fresh` in place of the one in `folder`: who reads meanwhile finds whole files.

    Raises:
        OSError: the folder cannot be written.
    """
    if not (folder / CONFIG).exists():  # something else is in the way, if anything
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
        return
    for part in (CARD, PREVIEW, CONFIG, WEIGHTS):  # a new model is known by the time of its weights
        if (fresh / part).exists():
            (fresh / part).replace(folder / part)
    shutil.rmtree(fresh)


def opened(home: Path, token: str) -> Path | None:
    """The folder of the opened bundle that a token names; None if it names none."""
    folder = home / OPENED / token
    return folder if files.is_token(token) and folder.is_dir() else None


def unpack(path: Path, most: Mapping[str, int], folder: Path) -> None:
    """Writes the files of these names that lie in a zip beside the first of them; each has at most so many bytes.

    It is read with distrust: no path or size that the zip tells is believed.

    Raises:
        WeightsError: it is no whole zip, lacks the first of them, or one is larger.
    """
    first, *_ = most
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
            place = min(name.parent for name in names if name.name == first)
            found = {}
            for name in most:
                if place / name in names:
                    with archive.open(str(place / name)) as member:
                        found[name] = member.read(most[name] + 1)
    except Exception as error:  # a damaged or hostile zip may raise anything
        problem = f"{path.name} is no whole zip file with a {first}: {error}."
        raise WeightsError(problem, files.remedy(path, "Download or export it again.")) from error
    if large := [name for name, content in found.items() if len(content) > most[name]]:
        problem = f"{large[0]} in {path.name} is larger than {most[large[0]]:,} bytes."
        raise WeightsError(problem, "No model has one so large: get another file.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        (folder / name).write_bytes(content)


# --- Models: built on torch's meta device, then filled. So loading draws no random numbers.


@dataclass(frozen=True, eq=False)
class Model:
    """A generator of codes g with the decoder that draws them; all frozen, on one device, float32."""

    card: ModelInfo
    hash: str  # SHA-256 of its model.safetensors
    alae: ALAE
    g: nn.Module  # z (N, z_dim) -> w (N, latent_size)
    prior: Literal["normal", "uniform"]
    z_dim: int
    w_avg: Tensor  # (2L, latent_size)
    source_id: str  # its own for a source
    source_hash: str  # `identity` of its encoder and decoder
    earlier_hashes: frozenset[str] = frozenset()  # by which records of before know the source
    refinements: int = 0  # of each sample's code, see `ALAE.refine`
    within: Tensor | None = None  # (latent_size, latent_size), what a transfer's codes are refined in

    def is_on(self, source_hash: str) -> bool:
        """Whether codes or a transfer that recorded this hash of their source are this one's."""
        return source_hash == self.source_hash or source_hash in self.earlier_hashes

    def drawing(self, g: nn.Module, z_dim: int, **own: Any) -> "Model":
        """The source, drawing what a transfer's generator makes; `own` are the transfer's other fields.

        Its codes are refined within the model's span, or else that of its own samples.
        """
        model = self if self.within is not None else self.within_span(samples(g, z_dim, SPAN_SAMPLES))
        return replace(model, g=g.to(self.w_avg.device), prior="uniform", z_dim=z_dim, **own)

    def within_span(self, w: Tensor) -> "Model":
        """The model, whose codes are refined only in what these codes (N, latent_size) vary in."""
        if not self.refinements:
            return self
        return replace(self, within=span(w[:SPAN_SAMPLES], SPAN_SHARE).to(self.w_avg))

    @property
    def mind(self) -> Perceptron:
        """What a transfer to other pictures begins with."""
        return self.g if isinstance(self.g, Perceptron) else Perceptron.of_mapping(self.alae.mapping_f)

    @torch.no_grad()
    def refined(self, w: Tensor) -> Tensor:
        """Codes (N, latent_size) of g as they are drawn, on the CPU."""
        batches = w.to(self.w_avg.device).split(batch_of(self.alae.architecture.resolution))
        return torch.cat([self.alae.refine(some, self.refinements, self.within).cpu() for some in batches])

    def draw_z(self, generators: Sequence[torch.Generator]) -> Tensor:
        """z (N, z_dim), each from a CPU generator of its own."""
        draw: Callable[..., Tensor] = draw_z if self.prior == "uniform" else torch.randn
        return torch.cat([draw(1, self.z_dim, generator=generator) for generator in generators])

    def z_of(self, scores: Tensor) -> Tensor:
        """z of normal scores, (N, z_dim) each: the same quantiles of the prior as those of a normal law."""
        return torch.erf(scores * 0.5**0.5) if self.prior == "uniform" else scores

    def scores_of(self, z: Tensor) -> Tensor:
        """What `z_of` makes z of."""
        return torch.erfinv(z.clamp(-ALMOST_ONE, ALMOST_ONE)) * 2**0.5 if self.prior == "uniform" else z

    @torch.no_grad()
    def map(self, z: Tensor) -> Tensor:
        """g: z (N, z_dim) -> w (N, latent_size), on the CPU."""
        w: Tensor = self.g(z.to(self.w_avg.device))
        return w.cpu()


def identity(alae: ALAE) -> str:
    """SHA-256, in hex, of what codes depend on: the tensors of the encoder and the decoder.

    By name, with their shapes, as little-endian float32: neither the mean code, F and D nor the file's layout,
    its precision and the card matter.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(alae.state_dict().items()):
        if name.startswith(("encoder.", "decoder.")):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


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

    With a `prior` F and D are taken to be untrained, and left out.

    `refinements` is how often each sample's code is refined, those of transfers on it too.

    Raises:
        WeightsError: a weight is not finite, or too large for `dtype`.
        DataError: the folder cannot be written.
    """
    state = alae.state_dict()
    if prior is not None:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(UNTRAINED)}
        state |= {f"prior.{name}": tensor for name, tensor in prior.state_dict().items()}
    stored = {name: tensor.to(dtype) for name, tensor in state.items()}
    if bad := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        fix = "Save at torch.float32; if that fails too, the training diverged: take an earlier checkpoint."
        raise WeightsError(f"These weights are not finite numbers at {dtype}: {_first(bad)}.", fix)
    files.save_tensors(folder / WEIGHTS, stored)
    architecture = asdict(alae.architecture)
    rest = {"architecture": architecture, "refinements": refinements}
    settings = {**architecture, "stored as": str(dtype).removeprefix("torch.")}
    _write(folder, "source", card, rest, settings)


def load_source(folder: Path, device: torch.device | str = "cpu") -> Model:
    """A source from its bundle.

    Raises:
        WeightsError: the bundle is incomplete, damaged, or its weights do not fit its architecture.
    """
    info = describe(folder, "source")
    assert info.architecture is not None  # a source has one
    tensors, _ = files.load_tensors(folder / WEIGHTS)
    prior = _generator(tensors, "prior.", folder, device)
    with torch.device("meta"):
        alae = ALAE(info.architecture)
    if prior:
        del alae.mapping_f, alae.mapping_d
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(UNTRAINED)}
    fill(alae, tensors, str(folder), device, AGAIN)
    digest = files.sha256(folder / WEIGHTS)  # by which sources were known before
    return Model(
        card=info,
        hash=digest,
        alae=alae,
        g=prior or alae.mapping_f,
        prior="uniform" if prior else "normal",
        z_dim=prior.sizes[0] if prior else info.architecture.latent_size,
        w_avg=alae.w_avg,
        source_id=info.id,
        source_hash=identity(alae),
        earlier_hashes=info.earlier_hashes | {digest},
        refinements=info.refinements,
    )


def save_transfer(
    folder: Path,
    g: Perceptron,
    w_avg: Tensor,
    card: Card,
    *,
    source: Model,
    sizes: MindGANSizes,
    extra: Mapping[str, Any],
) -> None:
    """Writes the bundle of a transfer, float32.

    Args:
        folder: the bundle's.
        g: with every affine map folded in.
        w_avg: (latent_size,), the mean of g's samples.
        card: what to tell of it.
        source: what g was trained on; with its `within_span`, which is kept, if it refines codes.
        sizes: of g and of the critic it was trained against.
        extra: settings worth keeping (recipe, steps, seed ...), JSON values.

    Raises:
        DataError: the folder cannot be written.
    """
    state = {f"g.{name}": tensor.float() for name, tensor in g.state_dict().items()}
    span = {} if source.within is None else {"within": source.within.cpu()}
    files.save_tensors(folder / WEIGHTS, {**state, "w_avg": w_avg.float(), **span})
    made_on = {"id": source.card.id, "hash": source.source_hash}
    config = {"sizes": asdict(sizes), "source": made_on, "extra": dict(extra)}
    _write(folder, "transfer", card, config, _transfer_settings(config))


def load_transfer(folder: Path, source: Model) -> Model:
    """A transfer from its bundle, with the source it was made on.

    Raises:
        WeightsError: the bundle is incomplete or damaged, or was made on another source.
    """
    info = describe(folder, "transfer")
    tensors, _ = files.load_tensors(folder / WEIGHTS)
    g = _generator(tensors, "g.", folder, source.w_avg.device, info.mapping)
    w_avg = tensors.get("w_avg")
    z_dim, *_, size = g.sizes if g else (0, 0)
    if g is None or w_avg is None or w_avg.shape != (size,) or not w_avg.isfinite().all():
        raise WeightsError(f"{folder / WEIGHTS} holds no transfer.", AGAIN)
    fits = source.card.kind == "source" and size == source.alae.architecture.latent_size
    if not fits or (info.needs_hash and not source.is_on(info.needs_hash)):
        known = info.needs_hash[:12] or "hash not recorded"
        raise WeightsError(
            f"{folder} was made on the source '{info.needs or f'of latent size {size}'}' "
            f"({known}), not on '{source.card.id}' ({source.source_hash[:12]}).",
            "Open it with the source it was made on, or train it again on this one.",
        )
    w_avg, within = w_avg.to(source.w_avg).expand(source.w_avg.shape), tensors.get("within")
    if within is not None and (within.shape != (size, size) or not within.isfinite().all()):
        raise WeightsError(f"{folder / WEIGHTS} holds a span that makes no sense.", AGAIN)
    if within is not None and source.refinements:
        source = replace(source, within=within.to(source.w_avg))
    digest = files.sha256(folder / WEIGHTS)
    return source.drawing(g, z_dim, card=info, hash=digest, w_avg=w_avg)


def widths_of(tensors: Mapping[str, Tensor], prefix: str = "") -> list[int]:
    """Numbers in and out of each layer of the perceptron whose tensors have these names after `prefix`.

    Raises:
        LookupError: there is none.
    """
    pattern = re.compile(re.escape(prefix) + r"model\.(\d{1,3})\.weight")
    layers = sorted(
        (int(m[1]), tuple(t.shape)) for name, t in tensors.items() if (m := pattern.fullmatch(name))
    )
    return [layers[0][1][1], *(shape[0] for _, shape in layers)]


def _generator(
    tensors: dict[str, Tensor], prefix: str, folder: Path, device: torch.device | str, mapping: bool = False
) -> Perceptron | None:
    """The generator whose tensors have this prefix, taken out of `tensors`; None if there is none."""
    own = {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
    if not own:
        return None
    try:
        with torch.device("meta"):
            g = Perceptron(widths_of(own), mapping)
    except (LookupError, RuntimeError) as error:
        raise WeightsError(f"{folder / WEIGHTS} holds no generator: {error}.", AGAIN) from error
    fill(g, own, str(folder), device, AGAIN)
    return g


def fill(
    module: nn.Module, tensors: dict[str, Tensor], name: str, device: torch.device | str, fix: str
) -> None:
    """Gives a module built on the meta device its weights: float32 on `device`, evaluated and not trained.

    Building on `meta` draws no random numbers, so that loading leaves torch's global generator alone.

    Raises:
        WeightsError: tensors are missing, unexpected or of another shape, in torch's words, or not finite.
    """
    if bad := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise WeightsError(f"{name} holds weights that are not finite numbers: {_first(bad)}.", fix)
    own = {key: tensor.to(device, torch.float32) for key, tensor in tensors.items()}  # read for us alone
    try:
        module.load_state_dict(own, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{name} does not fit. {shorten(str(error), MOST_TOLD)}", fix) from error
    module.eval().requires_grad_(False)


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
