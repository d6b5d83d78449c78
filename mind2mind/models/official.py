"""An official .pth file becomes a bundle of ours: an ALAE, or a MindGAN on the ALAE it was trained on.

A .pth file is a pickle, and a pickle may run any code: torch reads it with `weights_only`, which refuses every
name that it does not know. What training runs leave in such files besides weights (their tracker's objects, numpy's
arrays) is read as an object that does nothing. Of an ALAE's file only the averaged `*_s` networks and `dlatent_avg`
are taken. Nothing may be missing, left over or of another shape: the reference loads such files with a warning and
goes on with random weights.
"""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mind2mind.config import ARCHITECTURES, Architecture, MindGANSizes
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import read_json, remedy
from mind2mind.models import bundle
from mind2mind.models.bundle import CONFIG, WEIGHTS, Card, Model
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import MindGAN, mean_code

SECTIONS = {  # of the files that are looked at, and what their tensors' names begin with here
    "discriminator_s": "encoder.",
    "generator_s": "decoder.",
    "mapping_fl_s": "mapping_f.",
    "mapping_tl_s": "mapping_d.",
    "dlatent_avg": "w_avg.",
    "Generator": "generator.",
    "Critic": "critic.",
}
# Official files of these sizes were trained on them
ALIGNED_FACES = ARCHITECTURES["ffhq"], ARCHITECTURES["celeba-hq256"]
ALAE_CREDIT = "Pidhorskyi, Adjeroh and Doretto, Adversarial Latent Autoencoders (arXiv 2004.04467)"
MINDGAN_CREDIT = "Frégier and Gouray, Mind2Mind (arXiv 1906.11613)"
MINDGAN_FILE, PARAMETERS = "model299.pth", "parameters.json"  # as its authors call them
MOST = {MINDGAN_FILE: 100_000_000, PARAMETERS: 1_000_000}  # bytes; with its optimisers it has some 12 MB


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
    if (out / CONFIG).exists() or (out / WEIGHTS).exists():
        raise DataError(f"There is already a model in {out}.", "Choose another folder for the new one.")
    tensors = read_pth(path)
    is_mindgan = "generator.model.0.weight" in tensors
    what, credit = ("MindGAN", MINDGAN_CREDIT) if is_mindgan else ("ALAE", ALAE_CREDIT)
    card = card or Card(
        id=out.resolve().name,
        title=f"{what} ({path.name})",
        knows="what it was trained on by its authors",
        credit=credit,
        licence="Apache-2.0",
        notes="Converted from the official file.",
    )
    if not is_mindgan:
        alae = alae_from(path, tensors, architecture)
        card = replace(card, crop="face") if alae.architecture in ALIGNED_FACES else card
        bundle.save_source(out, alae, card, dtype=torch.float32)
        return out
    gan = mindgan_from(path, tensors, parameters)
    size = gan.sizes.latent_size
    if source is None or source.card.kind != "source" or source.alae.architecture.latent_size != size:
        raise ConfigError(
            f"{path.name} is a MindGAN: it draws with the ALAE it was trained on, whose codes have {size} numbers.",
            "Convert that one first, and give it as --source.",
        )
    w_avg, extra = mean_code(gan.generator, gan.sizes.z_dim), {"converted from": path.name}
    card = replace(card, crop=source.card.crop)
    bundle.save_transfer(out, gan.generator, w_avg, card, source=source, sizes=gan.sizes, extra=extra)
    return out


# --- Reading


class _Inert:
    """Stands for what is in the files besides weights: takes anything, does nothing."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


_NUMPY = [f"numpy.{c}.multiarray.{name}" for c in ("core", "_core") for name in ("_reconstruct", "scalar")]
_INERT = ["tracker.RunningMeanTorch", "numpy.ndarray", "numpy.dtype", *_NUMPY]


def read_pth(path: Path) -> dict[str, Tensor]:
    """The weights in an official file of either of torch's formats, by our own names; no code of the file runs.

    Those of the newer format stay in the file until they are used.

    Raises:
        WeightsError: there is no such file, or it is none of torch's, damaged, or wants to run code.
    """
    again = "Download or copy it again."
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(f"{path} could not be read: {error.strerror}.", "Check the path.") from error
    try:
        if head.lstrip().startswith(b"<"):
            again = "Open the address of the download in a browser and save the file from there."
            raise ValueError("it is a web page")
        if head[8:9] == b"{":
            again = f"If it is one, keep it as {WEIGHTS} in its folder beside {CONFIG}, and give that folder."
            raise ValueError("it is a safetensors file")
        if zipped := zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():  # torch does not look
                    raise ValueError(f"{damaged} is damaged")
        with torch.serialization.safe_globals([(_Inert, name) for name in _INERT]):
            content = torch.load(path, map_location="cpu", mmap=zipped, weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        if refused := re.search(r"GLOBAL ([\w.]+)", str(error)):
            fix = "Do not trust it: get the file from where its authors publish it."
            raise WeightsError(f"{path} asks for {refused[1]}, which is no weight.", fix) from error
        said = str(error).strip().rpartition("WeightsUnpickler error: ")[2].partition("\n")[0]
        problem = f"{path} is cut off, damaged or no weights file: {type(error).__name__}: {said}."
        raise WeightsError(problem, remedy(path, again)) from error
    models = content.get("models", content) if isinstance(content, Mapping) else None  # an ALAE's are there
    sections = models if isinstance(models, Mapping) else {}
    tensors = {
        prefix + str(key): value.detach()
        for section, prefix in SECTIONS.items()
        if isinstance(part := sections.get(section), Mapping)
        for key, value in part.items()
        if _is_plain(value)
    }
    if not tensors:
        fix = "Give an official file: an ALAE's, such as model_submitted.pth, or a MindGAN's, such as model299.pth."
        raise WeightsError(f"{path} holds no ALAE and no MindGAN.", fix)
    return tensors


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor with all its numbers in the file: not sparse, quantised, or one number repeated."""
    return (
        isinstance(value, Tensor)
        and (value.layout, value.device.type, value.is_quantized) == (torch.strided, "cpu", False)
        and value.nbytes <= value.untyped_storage().nbytes()
    )


# --- ALAE


def alae_from(path: Path, tensors: Mapping[str, Tensor], architecture: Architecture | None = None) -> ALAE:
    """An ALAE from the tensors of the official file at `path`: its averaged networks and mean code, on the CPU.

    `architecture` is what it must be; None infers it.

    Raises:
        WeightsError: the file is not such an ALAE.
    """
    try:
        found = infer_architecture({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except (LookupError, ValueError, ConfigError) as error:
        fix = "Give a complete official ALAE file, such as model_submitted.pth."
        raise WeightsError(f"{path}: its architecture cannot be told ({error!s}).", fix) from error
    chosen = architecture or found
    own = dict(tensors)
    if "w_avg.buff" in own:  # as long as the layers it was trained with: celeba-hq256 once had nine
        own["w_avg"] = own.pop("w_avg.buff")[: chosen.style_count]
    with torch.device("meta"):
        alae = ALAE(chosen)
    fix = f"Give a complete ALAE checkpoint, and its architecture or none; this one looks like {found}."
    bundle.fill(alae, own, str(path), "cpu", fix)
    return alae


def infer_architecture(shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
    """The sizes of the ALAE whose tensors have these shapes.

    Truncation is not in the file: it comes from the published architecture of these sizes, else from the
    reference's defaults.

    Raises:
        LookupError, ValueError, ConfigError: the names or shapes are not an ALAE's.
    """
    layers = [int(m[1]) for name in shapes if (m := re.match(r"encoder\.encode_block\.(\d{1,3})\.", name))]
    mappings = [int(m[1]) for name in shapes if (m := re.match(r"mapping_f\.map_blocks\.(\d{1,3})\.", name))]
    layer_count = max(layers, default=0) + 1
    start, image_channels = shapes["encoder.from_rgb.0.from_rgb.weight"][:2]
    inferred = Architecture(
        layer_count=layer_count,
        latent_size=shapes["mapping_d.map_blocks.0.weight"][1],
        start_channels=start,
        max_channels=shapes[f"encoder.encode_block.{layer_count - 1}.conv_2.weight"][0],
        mapping_layers=max(mappings, default=0) + 1,
        image_channels=image_channels,
    )
    return next((a for a in ARCHITECTURES.values() if same_sizes(a, inferred)), inferred)


def same_sizes(a: Architecture, b: Architecture) -> bool:
    """Whether the networks are the same: truncation aside, and max_channels where it is not reached."""

    def sizes(x: Architecture) -> tuple[Any, ...]:
        return (x.widths, x.latent_size, x.mapping_layers, x.image_channels)

    return sizes(a) == sizes(b)


# --- MindGAN


def mindgan_from(path: Path, tensors: dict[str, Tensor], parameters: Path | None = None) -> MindGAN:
    """A MindGAN from the tensors of the official file at `path`, on the CPU.

    `parameters` is the parameters.json that it must agree with; None takes the one beside it, if any.

    Raises:
        WeightsError: the file is no MindGAN, or does not agree with its parameters.
    """
    beside = path.with_name(PARAMETERS)
    named = parameters or (beside if beside.exists() else None)
    fix = f"Give a complete MindGAN checkpoint, such as {MINDGAN_FILE}, with its own {PARAMETERS} or none."
    try:
        z_dim, *generator_widths, latent_size = bundle.widths_of(tensors, "generator.")
        _, *critic_widths, _ = bundle.widths_of(tensors, "critic.")
        sizes = MindGANSizes(
            latent_size=latent_size,
            z_dim=z_dim,
            generator_widths=tuple(generator_widths),
            critic_widths=tuple(critic_widths),
        )
        with torch.device("meta"):
            gan = MindGAN(sizes)
        told = read_json(named) if named else {}
        names = {"z_dim": z_dim, "hidden_generator_c": generator_widths, "hidden_critic_c": critic_widths}
        if named and any(told[name] != width for name, width in names.items()):
            raise ValueError(f"the file's own are {names}")
    except (DataError, ConfigError, LookupError, ValueError) as error:
        raise WeightsError(f"{named or path} holds no sizes of this MindGAN: {error}.", fix) from error
    bundle.fill(gan, tensors, str(path), "cpu", fix)
    return gan
