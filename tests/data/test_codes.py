"""Codes are encoded once, come back as they were, and belong to one source model; copies of pictures are found."""

import io
import json
import math
import struct
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageOps

from mind2mind.config import Architecture
from mind2mind.data import codes
from mind2mind.data.codes import BESIDE, load, near_duplicates, save, thumbnails
from mind2mind.data.dataset import Picture, Pictures, Reading
from mind2mind.data.drawn import draw
from mind2mind.data.images import from_uint8, to_tensor
from mind2mind.errors import DataError, WeightsError
from mind2mind.files import read_meta, save_tensors
from mind2mind.networks.alae import ALAE


def tiny_alae(layers=2, seed=0):
    architecture = Architecture(
        layer_count=layers, latent_size=6, start_channels=4, max_channels=8, mapping_layers=2
    )
    torch.manual_seed(seed)
    return ALAE(architecture).eval().requires_grad_(False)


class Counting:
    """An ALAE that remembers how many pictures it was given at a time."""

    def __init__(self, alae):
        self.alae, self.sizes = alae, []
        self.architecture, self.w_avg = alae.architecture, alae.w_avg

    def encode(self, x):
        assert not torch.is_grad_enabled()
        self.sizes.append(len(x))
        return self.alae.encode(x)


def pictures(count, side=8, first=0):
    for i in range(first, first + count):
        generator = torch.Generator().manual_seed(i)
        pixels = torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8)
        yield Picture(f"{i}.png", f"hash {i}", pixels)


def events_of(alae, stream, source="0" * 64, known=None):
    return codes.encode(alae, stream, source_id="tiny", source_hash=source, total=9, known=known)


def encoded(alae, stream, **options):
    def events():
        yield (yield from events_of(alae, stream, **options))

    *progress, (made, small) = events()
    assert all(isinstance(event, Reading) for event in progress)
    return SimpleNamespace(codes=made, thumbnails=small), [event.done for event in progress]


def test_codes_are_what_the_encoder_says(monkeypatch):
    monkeypatch.setattr(codes, "batch_of", lambda resolution: 3)
    alae = tiny_alae()
    last, done = encoded(alae, pictures(7))
    assert done == [3, 6, 7]
    x = torch.stack([picture.pixels for picture in pictures(7)])
    made = last.codes
    torch.testing.assert_close(made.w, alae.encode(from_uint8(x)))
    assert made.w.dtype == torch.float32
    assert made.names == tuple(f"{i}.png" for i in range(7))
    assert (made.source_id, made.source_hash, len(made)) == ("tiny", "0" * 64, 7)
    assert torch.equal(last.thumbnails, x)


def test_pictures_are_taken_one_batch_at_a_time(monkeypatch):
    monkeypatch.setattr(codes, "batch_of", lambda resolution: 2)
    taken = []
    events = events_of(tiny_alae(), (taken.append(i) or picture for i, picture in enumerate(pictures(9))))
    next(events)
    assert len(taken) == 2
    assert torch.is_grad_enabled()  # between events nothing of ours is left on


def test_known_pictures_are_not_encoded_again():
    alae = Counting(tiny_alae())
    known = encoded(alae.alae, pictures(5))[0].codes
    made = encoded(alae, pictures(6, first=2), known=known)[0].codes
    assert alae.sizes == [3]  # 5, 6 and 7; 2, 3 and 4 were known
    assert torch.equal(made.w[:3], known.w[2:])
    assert made.names == tuple(f"{i}.png" for i in range(2, 8))
    alae.sizes.clear()
    encoded(alae, pictures(5), known=known)
    assert alae.sizes == []


def test_codes_of_another_source_are_of_no_use():
    known = encoded(tiny_alae(), pictures(3), source="1" * 64)[0].codes
    alae = Counting(tiny_alae())
    made = encoded(alae, pictures(3), known=known)[0].codes
    assert alae.sizes == [3]
    with pytest.raises(DataError, match="another source model"):
        known.join(made)


def test_large_pictures_come_in_smaller_batches():
    assert encoded(tiny_alae(layers=7), pictures(17, side=256))[1] == [16, 17]
    assert encoded(tiny_alae(), pictures(65))[1] == [64, 65]


def test_thumbnails_have_128_pixels_at_most():
    made, _ = encoded(tiny_alae(layers=7), pictures(2, side=256))
    assert made.thumbnails.shape == (2, 3, 128, 128)
    mean = next(iter(pictures(1, side=256))).pixels[0, :2, :2].float().mean()
    assert abs(float(made.thumbnails[0, 0, 0, 0]) - float(mean)) <= 0.5


def test_no_pictures_give_no_codes(tmp_path):
    made, done = encoded(tiny_alae(), ())
    assert (done, made.codes.w.shape, made.thumbnails.shape) == ([], (0, 6), (0, 3, 8, 8))
    save(tmp_path / "none.safetensors", made.codes, made.thumbnails)
    assert len(load(tmp_path / "none.safetensors")) == 0


def test_a_file_gives_back_what_was_saved(tmp_path):
    last, _ = encoded(tiny_alae(), pictures(4))
    made = replace(last.codes, names=("ü 顔.png", "b/../c", "", "??"))
    path = tmp_path / "codes.safetensors"
    save(path, made, last.thumbnails)
    back = load(path)
    assert torch.equal(back.w, made.w)
    assert torch.equal(thumbnails(path, range(4)), last.thumbnails)
    assert torch.equal(thumbnails(path, [3, 1]), last.thumbnails[[3, 1]])
    assert (back.names, back.hashes) == (made.names, made.hashes)
    assert (back.source_id, back.source_hash) == (made.source_id, made.source_hash)
    assert {child.name for child in tmp_path.iterdir()} == {"codes.safetensors", BESIDE}
    with pytest.raises(WeightsError, match="thumbnails has 4 rows"):
        thumbnails(path, [4])


def test_rows_are_taken_and_sets_joined():
    made = encoded(tiny_alae(), pictures(5))[0].codes
    some = made.take([3, 0])
    assert (some.names, some.hashes) == (("3.png", "0.png"), ("hash 3", "hash 0"))
    assert torch.equal(some.w, made.w[[3, 0]])
    both = some.join(made)
    assert both.names == some.names + made.names and torch.equal(both.w[2:], made.w) and len(both) == 7


def test_older_files_hold_the_thumbnails_inside(tmp_path):
    last, _ = encoded(tiny_alae(), pictures(4))
    save(tmp_path / "new", last.codes)
    path = tmp_path / "codes.safetensors"
    save_tensors(path, {"w": last.codes.w, "thumbnails": last.thumbnails}, read_meta(tmp_path / "new"))
    assert load(path).names == last.codes.names
    assert torch.equal(thumbnails(path, [2]), last.thumbnails[[2]])


def test_one_thumbnail_of_many_is_read_without_the_rest(tmp_path):
    """The file is sparse: 2 GB of zeros that take no room on the disk, but would take it in memory."""
    resource = pytest.importorskip("resource")
    count, shape = 40_000, (3, 128, 128)
    size = count * math.prod(shape)
    entry = {"dtype": "U8", "shape": [count, *shape], "data_offsets": [0, size]}
    header = json.dumps({"thumbnails": entry}).encode()
    with (tmp_path / BESIDE).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    assert thumbnails(tmp_path / "codes.safetensors", [39_999]).shape == (1, *shape)
    assert thumbnails(tmp_path / "codes.safetensors", range(20_000, 20_060)).shape == (60, *shape)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < 100e6 < size


def test_files_that_are_no_codes_are_refused(tmp_path):
    path = tmp_path / "codes.safetensors"
    with pytest.raises(WeightsError):
        load(path)
    made = encoded(tiny_alae(), pictures(4))[0].codes
    save(path, made)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(WeightsError):
        load(path)
    save_tensors(path, {"w": made.w}, {})
    with pytest.raises(DataError, match="holds no codes"):
        load(path)
    save_tensors(path, {"weight": made.w}, {})
    with pytest.raises(DataError, match="holds no codes"):
        load(path)
    save_tensors(path, {"w": made.w}, {"format": "mind2mind/codes", "version": 99})
    with pytest.raises(DataError, match="version 99"):
        load(path)
    save_tensors(path, {"w": made.w}, {"format": "mind2mind/codes", "version": 1})
    with pytest.raises(DataError, match="lacks a part"):
        load(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"names": ("a",)}, "differ in number"),
        ({"w": torch.zeros(4, 6).half()}, "vectors of finite float32"),
        ({"w": torch.zeros(4)}, "vectors of finite float32"),
        ({"w": torch.full((4, 6), float("nan"))}, "vectors of finite float32"),
    ],
)
def test_codes_that_do_not_fit_together_are_refused(tmp_path, change, complaint):
    made = encoded(tiny_alae(), pictures(4))[0].codes
    save(tmp_path / "x", replace(made, **change))
    with pytest.raises(DataError, match=complaint):
        load(tmp_path / "x")


def test_from_files_to_codes(tmp_path):
    for picture in pictures(3):
        Image.fromarray(picture.pixels.permute(1, 2, 0).numpy()).save(tmp_path / picture.name)
    (tmp_path / "note.txt").write_text("not a picture")
    stream = Pictures([tmp_path], resolution=8, channels=3)
    made = encoded(tiny_alae(), stream)[0].codes
    assert made.hashes == tuple(verdict.sha256 for verdict in stream.report.used)
    assert torch.equal(made.w, encoded(tiny_alae(), pictures(3))[0].codes.w)


# Near duplicates


def saved(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **settings)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def tensors(images):
    return torch.stack([to_tensor(image, 64, 3) for image in images])


@pytest.fixture(scope="module")
def faces():
    return [draw("toon", "source", seed).render(64) for seed in range(100)]


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [
        (lambda image: saved(image, quality=75), 0.9, 1.0),
        (lambda image: image.resize((32, 32)), 1.0, 1.0),
        (lambda image: image.resize((200, 200), Image.Resampling.BICUBIC), 1.0, 1.0),
        (ImageOps.mirror, 0.0, 0.06),  # a face that is nearly symmetric is nearly its mirror image
    ],
)
def test_copies_are_found(faces, change, least, most):
    copies = [change(image) for image in faces]
    found = near_duplicates(tensors([*faces, *copies]))
    right = sum((100 + i, i) in found for i in range(100))
    assert least <= right / 100 <= most


def test_different_pictures_are_not_flagged(faces):
    assert near_duplicates(tensors(faces)) == []
    plain = torch.zeros(5, 3, 64, 64, dtype=torch.uint8)
    assert near_duplicates(plain) == [] == near_duplicates(plain[:0])


def test_what_is_kept_is_never_flagged_itself(faces):
    x = tensors(faces[:2])
    assert near_duplicates(torch.cat([x, x, x])) == [(2, 0), (3, 1), (4, 0), (5, 1)]
    assert near_duplicates(torch.cat([x, x, x]), [4, 9, 9, 4, 9, 25]) == [(0, 2), (1, 5), (3, 5), (4, 2)]
    assert near_duplicates(torch.cat([x, x]), [0, 0, 0, 0]) == [(2, 0), (3, 1)]  # unknown in old reports
