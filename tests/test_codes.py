"""Codes are encoded once, come back from their file as they were, and belong to one source model."""

import pytest
import torch
from PIL import Image

from mind2mind.config import Architecture
from mind2mind.data import codes
from mind2mind.data.codes import Codes, EncodeProgress, encode, load, save
from mind2mind.data.dataset import Picture, Pictures
from mind2mind.data.images import from_uint8
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import save_tensors
from mind2mind.models.bundle import Card, Model
from mind2mind.networks.alae import ALAE


def tiny_model(layers=2, seed=0, weights="0" * 64):
    architecture = Architecture(
        layer_count=layers, latent_size=6, start_channels=4, max_channels=8, mapping_layers=2
    )
    torch.manual_seed(seed)
    alae = ALAE(architecture).eval().requires_grad_(False)
    card = Card(id="tiny", title="Tiny", knows="noise", credit="", licence="")
    return Model(card, "source", weights, alae, alae.mapping_f, "normal", 6, alae.w_avg, "tiny", weights)


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


def encoded(model, stream, **options):
    *progress, last = encode(model, stream, **options)
    assert all(isinstance(event, EncodeProgress) for event in progress)
    return last.codes, [event.done for event in progress]


def counting(model):
    object.__setattr__(model, "alae", Counting(model.alae))
    return model.alae.sizes


def test_codes_are_what_the_encoder_says():
    model = tiny_model()
    made, done = encoded(model, pictures(7), batch_size=3)
    assert done == [3, 6, 7]
    x = from_uint8(torch.stack([picture.pixels for picture in pictures(7)]))
    torch.testing.assert_close(made.w, model.alae.encode(x))
    assert made.w.dtype == torch.float32
    assert made.names == tuple(f"{i}.png" for i in range(7))
    assert (made.source_id, made.source_hash, len(made)) == ("tiny", "0" * 64, 7)
    assert torch.equal(made.thumbnails, torch.stack([picture.pixels for picture in pictures(7)]))


def test_pictures_are_taken_one_batch_at_a_time():
    taken = []
    stream = (taken.append(i) or picture for i, picture in enumerate(pictures(9)))
    events = encode(tiny_model(), stream, batch_size=2)
    next(events)
    assert len(taken) == 2
    assert torch.is_grad_enabled()  # between events nothing of ours is left on


def test_known_pictures_are_not_encoded_again():
    model = tiny_model()
    known, _ = encoded(model, pictures(5))
    sizes = counting(model)
    made, _ = encoded(model, pictures(6, first=2), known=known)
    assert sizes == [3]  # 5, 6 and 7; 2, 3 and 4 were known
    assert torch.equal(made.w[:3], known.w[2:])
    assert made.names == tuple(f"{i}.png" for i in range(2, 8))
    sizes.clear()
    encoded(model, pictures(5), known=known)
    assert sizes == []


def test_codes_of_another_source_are_of_no_use():
    known, _ = encoded(tiny_model(weights="1" * 64), pictures(3))
    model = tiny_model()
    sizes = counting(model)
    encoded(model, pictures(3), known=known)
    assert sizes == [3]


def test_large_pictures_come_in_smaller_batches(monkeypatch):
    monkeypatch.setattr(codes, "BATCH_PIXELS", 2 * 8**2)
    assert encoded(tiny_model(), pictures(4))[1] == [2, 4]
    with pytest.raises(ConfigError):
        encode(tiny_model(), pictures(1), batch_size=0)


def test_thumbnails_have_128_pixels_at_most():
    made, _ = encoded(tiny_model(layers=7), pictures(2, side=256))
    assert made.thumbnails.shape == (2, 3, 128, 128)
    mean = next(iter(pictures(1, side=256))).pixels[0, :2, :2].float().mean()
    assert abs(float(made.thumbnails[0, 0, 0, 0]) - float(mean)) <= 0.5


def test_no_pictures_give_no_codes(tmp_path):
    made, done = encoded(tiny_model(), ())
    assert (done, made.w.shape, made.thumbnails.shape) == ([], (0, 6), (0, 3, 8, 8))
    save(tmp_path / "none.safetensors", made)
    assert len(load(tmp_path / "none.safetensors")) == 0


def test_a_file_gives_back_what_was_saved(tmp_path):
    made, _ = encoded(tiny_model(), pictures(4))
    made = Codes(made.w, ("ü 顔.png", "b/../c", "", "??"), *list(vars(made).values())[2:])
    path = tmp_path / "codes.safetensors"
    save(path, made)
    back = load(path)
    assert torch.equal(back.w, made.w)
    assert torch.equal(back.thumbnails, made.thumbnails)
    assert (back.names, back.hashes) == (made.names, made.hashes)
    assert (back.source_id, back.source_hash) == (made.source_id, made.source_hash)
    assert [child.name for child in tmp_path.iterdir()] == ["codes.safetensors"]


def test_files_that_are_no_codes_are_refused(tmp_path):
    path = tmp_path / "codes.safetensors"
    with pytest.raises(WeightsError):
        load(path)
    made, _ = encoded(tiny_model(), pictures(4))
    save(path, made)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(WeightsError):
        load(path)
    save_tensors(path, {"w": made.w}, {})
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
        ({"w": torch.zeros(4, 6).half()}, "float16"),
        ({"thumbnails": torch.zeros(4, 8, dtype=torch.uint8)}, "thumbnails are"),
        ({"w": torch.full((4, 6), float("nan"))}, "not a finite number"),
    ],
)
def test_codes_that_do_not_fit_together_are_refused(tmp_path, change, complaint):
    made, _ = encoded(tiny_model(), pictures(4))
    save(tmp_path / "x", Codes(**(vars(made) | change)))
    with pytest.raises(DataError, match=complaint):
        load(tmp_path / "x")


def test_from_files_to_codes(tmp_path):
    for picture in pictures(3):
        Image.fromarray(picture.pixels.permute(1, 2, 0).numpy()).save(tmp_path / picture.name)
    (tmp_path / "note.txt").write_text("not a picture")
    model = tiny_model()
    stream = Pictures([tmp_path], resolution=8, channels=3)
    made, _ = encoded(model, stream)
    assert made.hashes == tuple(verdict.sha256 for verdict in stream.report.used)
    direct, _ = encoded(model, pictures(3))
    assert torch.equal(made.w, direct.w)
