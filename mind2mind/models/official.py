"""An official .pth file becomes a bundle of ours: an ALAE, or a MindGAN on the ALAE it was trained on."""

import io
import math
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mind2mind.config import ARCHITECTURES, CELEBA_HQ256, FFHQ, Architecture, MindGANSizes
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import read_json
from mind2mind.models.bundle import (
    CONFIG,
    WEIGHTS,
    Card,
    Model,
    Shapes,
    check_shapes,
    fill,
    official_card,
    save_source,
    save_transfer,
)
from mind2mind.networks.alae import ALAE, channels
from mind2mind.networks.mindgan import MindGAN, mean_code

# --- Reads torch's .pth files without trusting them.
# A .pth file is a pickle, and a pickle may run any code. Here nothing named in one is ever imported: six names
# have a meaning of our own, every other becomes an inert object, and tensors are read from the file only when
# asked for. Both of torch's formats are read (the zip of 1.6 and later, the older one before it). What training
# runs leave in such files besides weights (trackers, numpy arrays) is not in the way: it becomes inert.

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how torch's files before 1.6 begin
PICKLE_BYTES = 100_000_000  # an ALAE's pickle has 0.1 MB
DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
AGAIN = "Download or copy it again."


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that is still in its file."""

    storage: _Storage
    offset: int  # in numbers, like the strides
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Inert:
    """Stands for every class and function that is not allowed: takes anything, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    negative = min((offset, *shape, *strides)) < 0
    if negative or (0 not in shape and last >= storage.numel) or math.prod(shape) > storage.numel:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} reaches beyond its storage")
    return StoredTensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda") and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return partial(_tensor)  # a new object each time: a pickle may write on what it is given
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return partial(lambda tensor, *_: tensor)
        return type(name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _device, numel, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or (view and view[0] is not None):
            return _Inert()
        return _Storage(str(key), dtype, int(numel))


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """What a .pth file holds: its dictionary, with tensors as `StoredTensor`."""

    path: Path
    content: Mapping[Any, Any]
    places: Mapping[str, int] | str  # byte where each storage begins; of a zip, the folder of its members

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Reads these tensors, and no others, as float32.

        Raises:
            WeightsError: the file is cut off or damaged.
        """
        try:
            with self.path.open("rb") as file:
                archive = zipfile.ZipFile(file) if isinstance(self.places, str) else None
                return {name: self._read(file, archive, tensor) for name, tensor in stored.items()}
        except (OSError, KeyError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{self.path} is cut off or damaged: {error}.", AGAIN) from error

    def _read(self, file: BinaryIO, archive: zipfile.ZipFile | None, tensor: StoredTensor) -> Tensor:
        storage = tensor.storage
        length = storage.numel * storage.dtype.itemsize
        if archive:
            member = archive.getinfo(f"{self.places}/data/{storage.key}")
            if member.file_size != length or member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} has {member.file_size} bytes, not {length}")
            data = archive.read(member)
        else:
            assert not isinstance(self.places, str)
            file.seek(self.places[storage.key])
            data = file.read(length)
        if len(data) != length:
            raise EOFError(f"{len(data)} of a tensor's {length} bytes are there")
        if length == 0:
            return torch.zeros(tensor.shape)
        flat = torch.frombuffer(bytearray(data), dtype=storage.dtype)
        return flat.as_strided(tensor.shape, tensor.strides, tensor.offset).to(torch.float32).contiguous()


def read_pth(path: Path) -> WeightsFile:
    """Opens a .pth file of either format; no code of the file runs and no tensor is read yet.

    Raises:
        WeightsError: there is no such file, or it is none of torch's, or damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
            _check_head(path, head)
            file.seek(0)
            opened = _read_zip(path, file) if head.startswith(b"PK") else _read_legacy(path, file)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} could not be read: {error.strerror}.", "Check the path.") from error
    except Exception as error:  # a damaged or hostile pickle may raise anything
        problem = f"{path} is cut off, damaged or no weights file: {type(error).__name__}: {error}."
        raise WeightsError(problem, AGAIN) from error
    if not isinstance(opened.content, Mapping):
        raise WeightsError(
            f"{path} holds no dictionary of weights.", "Give an official ALAE or MindGAN file."
        )
    return opened


def _check_head(path: Path, head: bytes) -> None:
    if not head:
        raise WeightsError(f"{path} is empty.", AGAIN)
    if head.lstrip().startswith(b"<"):
        fix = "The download gave an error page: open its address in a browser and save the file from there."
        raise WeightsError(f"{path} is a web page, not a weights file.", fix)
    if head[8:9] == b"{":
        fix = "Keep it as model.safetensors in its folder beside config.json, and give that folder."
        raise WeightsError(f"{path} is a safetensors file, not an official .pth.", fix)
    if not head.startswith((b"PK", LEGACY_MAGIC)):
        raise WeightsError(
            f"{path} is not a file of torch's.", "Give the official .pth file as it was downloaded."
        )


def _read_zip(path: Path, file: BinaryIO) -> WeightsFile:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1 or archive.getinfo(names[0]).file_size > PICKLE_BYTES:
            raise ValueError("it has no data.pkl of torch's")
        folder = names[0].partition("/")[0]
        order = f"{folder}/byteorder"
        if order in archive.namelist() and _begins(archive, order) != b"little":
            raise ValueError("its numbers are big-endian")
        content = _Unpickler(io.BytesIO(archive.read(names[0]))).load()
    return WeightsFile(path, content, folder)


def _begins(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        return member.read(16)


def _read_legacy(path: Path, file: BinaryIO) -> WeightsFile:
    """Five pickles (magic number, version, system, content, keys of the storages), then the storages."""
    seen: dict[str, _Storage] = {}

    class Unpickler(_Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            storage = super().persistent_load(pid)
            if isinstance(storage, _Storage):
                seen[storage.key] = storage
            return storage

    _magic, _version, system, content, keys = (Unpickler(file).load() for _ in range(5))
    if system.get("little_endian") is not True:
        raise ValueError("its numbers are big-endian")
    places, size = {}, path.stat().st_size
    for key in keys:
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != seen[key].numel:
            raise ValueError(f"a storage has {numel} numbers, not {seen[key].numel}")
        places[key] = file.tell()
        file.seek(numel * seen[key].dtype.itemsize, io.SEEK_CUR)
        if file.tell() > size:
            raise EOFError("a tensor's numbers are missing")
    return WeightsFile(path, content, places)


# --- The official files' layouts: ALAE's (its averaged `*_s` networks and `dlatent_avg`) and MindGAN's.
# Only these parts are looked at; whatever else a training run saved is left unread. Nothing may be missing,
# left over or of another shape: the reference loads such files with a warning and goes on with random weights.

ALAE_SECTIONS = {
    "discriminator_s": "encoder.",
    "generator_s": "decoder.",
    "mapping_fl_s": "mapping_f.",
    "mapping_tl_s": "mapping_d.",
}
MINDGAN_SECTIONS = {"Generator": "generator.", "Critic": "critic."}


def kind_of(file: WeightsFile) -> str:
    """`alae`, `mindgan` or `unknown`."""
    if isinstance(file.content.get("models"), Mapping):
        return "alae"
    return "mindgan" if set(MINDGAN_SECTIONS) <= set(file.content) else "unknown"


def alae_from(file: WeightsFile, architecture: Architecture | None = None) -> ALAE:
    """An ALAE from an official file: its averaged networks and mean code, float32 on the CPU.

    `architecture` is what it must be; None infers it.

    Raises:
        WeightsError: the file is not such an ALAE.
    """
    if kind_of(file) != "alae":
        what = "a MindGAN's file" if kind_of(file) == "mindgan" else "not an ALAE's file: it has no `models`"
        raise WeightsError(
            f"{file.path} is {what}.", "Give an official ALAE file, such as model_submitted.pth."
        )
    models = file.content["models"]
    stored = _sections(file.path, models, ALAE_SECTIONS)
    average = models.get("dlatent_avg")
    if isinstance(average, Mapping) and isinstance(average.get("buff"), StoredTensor):
        stored["w_avg"] = average["buff"]
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    try:
        found = infer_architecture(shapes)
    except (LookupError, ValueError, ConfigError) as error:
        if architecture is None:
            fix = "Name the architecture to see what is wrong, or give a complete ALAE checkpoint."
            raise WeightsError(f"{file.path}: its architecture cannot be told ({error!s}).", fix) from error
        found = None
    if architecture is None or (found and same_sizes(found, architecture)):
        fix = "Give a complete ALAE checkpoint; this one may be damaged or of a variant."
    else:
        fix = (
            f"Leave the architecture out, or name the right one; the file looks like {found or 'none known'}."
        )
    chosen = architecture or found
    assert chosen is not None
    with torch.device("meta"):
        alae = ALAE(chosen)
    check_shapes(alae, shapes | _cut(shapes, chosen), str(file.path), fix)
    tensors = file.tensors(stored)
    tensors["w_avg"] = tensors["w_avg"][: chosen.style_count]  # celeba-hq256 was trained with nine layers
    fill(alae, tensors, str(file.path), "cpu", fix)
    return alae


def _cut(shapes: Shapes, architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The mean code's shape once its rows beyond 2L are cut off."""
    shape = shapes.get("w_avg", ())
    return {"w_avg": (min(shape[0], architecture.style_count), *shape[1:])} if shape else {}


def mindgan_from(file: WeightsFile, parameters: Path | None = None) -> MindGAN:
    """A MindGAN from an official file, float32 on the CPU.

    `parameters` is the parameters.json that it must agree with; None takes the one beside it, if any.

    Raises:
        WeightsError: the file is no MindGAN, or does not agree with its parameters.
    """
    if kind_of(file) != "mindgan":
        what = "an ALAE's file" if kind_of(file) == "alae" else "not a MindGAN's file: it has no `Generator`"
        raise WeightsError(f"{file.path} is {what}.", "Give an official MindGAN file, such as model299.pth.")
    stored = _sections(file.path, file.content, MINDGAN_SECTIONS)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    beside = file.path.with_name("parameters.json")
    named = parameters or (beside if beside.exists() else None)
    z_dim, *generator_widths, latent_size = _widths(shapes, "generator.", file.path)
    _, *critic_widths, _ = _widths(shapes, "critic.", file.path)
    fix = "Give a complete MindGAN checkpoint, such as model299.pth."
    if named:
        z_dim, generator_widths, critic_widths = _read_parameters(named)
        fix = f"Give the parameters of this file ({named} is of another), or leave them out."
    try:
        sizes = MindGANSizes(
            latent_size=latent_size,
            z_dim=z_dim,
            generator_widths=tuple(generator_widths),
            critic_widths=tuple(critic_widths),
        )
        with torch.device("meta"):
            gan = MindGAN(sizes)
    except (ConfigError, TypeError) as error:
        raise WeightsError(f"{named or file.path} holds no sizes of a MindGAN: {error}.", fix) from error
    check_shapes(gan, shapes, str(file.path), fix)
    fill(gan, file.tensors(stored), str(file.path), "cpu", fix)
    return gan


def _sections(path: Path, content: Mapping[Any, Any], sections: Mapping[str, str]) -> dict[str, StoredTensor]:
    """The tensors of these sections under our own names."""
    missing = [name for name in sections if not isinstance(content.get(name), Mapping)]
    if missing:
        raise WeightsError(f"{path} lacks {', '.join(missing)}.", "Give a complete official checkpoint.")
    return {
        prefix + str(key): value
        for section, prefix in sections.items()
        for key, value in content[section].items()
        if isinstance(value, StoredTensor)
    }


def _widths(shapes: Shapes, prefix: str, path: Path) -> list[int]:
    """Numbers in and out of each layer of a perceptron."""
    pattern = re.compile(re.escape(prefix) + r"model\.(\d{1,3})\.weight")
    layers = sorted((int(m[1]), shape) for name, shape in shapes.items() if (m := pattern.fullmatch(name)))
    if not layers or any(len(shape) != 2 for _, shape in layers):
        raise WeightsError(
            f"{path} has no layers `{prefix}model.N.weight`.", "Give an official MindGAN file."
        )
    return [layers[0][1][1], *(shape[0] for _, shape in layers)]


def _read_parameters(path: Path) -> tuple[int, list[int], list[int]]:
    try:
        values = read_json(path)
        return values["z_dim"], list(values["hidden_generator_c"]), list(values["hidden_critic_c"])
    except (DataError, KeyError, TypeError) as error:
        fix = "Give the parameters.json that came with the MindGAN, or leave it out."
        raise WeightsError(f"{path} holds no parameters of a MindGAN: {error}.", fix) from error


def infer_architecture(shapes: Shapes) -> Architecture:
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
        widths = channels(x.layer_count, x.start_channels, x.max_channels)
        return (widths, x.latent_size, x.mapping_layers, x.image_channels)

    return sizes(a) == sizes(b)


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
