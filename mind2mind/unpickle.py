"""Reads torch's .pth files without trusting them.

A .pth file is a pickle, and a pickle may run any code. Here nothing named in one is ever imported: six names
have a meaning of our own, every other becomes an inert object, and tensors are read from the file only when
asked for. Both of torch's formats are read (the zip of 1.6 and later, the older one before it). What training
runs leave in such files besides weights (trackers, numpy arrays) is not in the way: it becomes inert.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mind2mind.errors import WeightsError

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
