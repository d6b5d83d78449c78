"""The reader of toon heads reads the renderer's own pictures without a fault, and smudges as what they are."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from mind2mind.data.drawn import ToonFace, draw
from mind2mind.data.images import from_uint8
from mind2mind.studio import Studio

pytest.importorskip("resvg_py")
pytest.importorskip("dicebear")

from tools import toon_reading as reading
from tools.toon_reading import lay, rgb

FACES = [draw("toon", domain, 70_000_000 + i) for i in range(6) for domain in ToonFace.domains]


@pytest.fixture(scope="module")
def pictures():
    """As rendered, (24, 3, 64, 64) in [-1, 1]."""
    images = [face.render(64) for face in FACES]
    return reading.as_tensor(images)


def test_layers_lay_together_to_the_rendered_face(pictures):
    for face, x in zip(FACES, pictures, strict=True):
        assert ((lay(face) - x) * 127.5).square().mean().sqrt() < 1.5  # levels of 255


def test_each_patch_shows_its_colour_in_every_face():
    for seed in range(200):
        face = draw("toon", "bearded" if seed % 2 else "source", 80_000_000 + seed)
        x = lay(face)
        for name, (rows, columns) in reading.PATCHES.items():
            seen = x[:, rows, columns].flatten(1) - rgb(getattr(face, name))[:, None]
            assert seen.abs().max() * 127.5 < 3, (seed, name)


def test_originals_keep_everything(pictures):
    rates = reading.kept_rates(FACES, pictures)
    assert rates.pop("mistaken") == {}
    assert set(rates.values()) == {100.0}
    assert set(rates) == {"mean", "least", *reading.COLOURS, *reading.SHAPES}


def test_mistakes_are_named():
    faces = [replace(FACES[0], beard=None, mouth=mouth) for mouth in ("smile", "smile", "laugh", "agape")]
    pictures = torch.stack(
        [lay(replace(face, mouth="sad" if i < 2 else face.mouth)) for i, face in enumerate(faces)]
    )
    rates = reading.kept_rates(faces, pictures)
    assert rates["mistaken"] == {"mouth: smile as sad": 50.0}
    assert rates["mouth"] == rates["least"] == 50.0


def test_another_face_keeps_only_what_the_two_share(pictures):
    for face, other, x in zip(FACES, FACES[1:], pictures[1:], strict=False):
        told = reading.shown(face, x)
        for name in reading.COLOURS:
            assert told[name] == getattr(other, name), name


@pytest.mark.parametrize("name", reading.SHAPES)
def test_one_wrong_shape_is_found(name):
    face = replace(FACES[0], hair="spiky", rear_hair=None, beard=None)
    for variant in reading.SHAPES[name]:
        told = reading.shown(face, lay(replace(face, **{name: variant})))
        assert told[name] == variant
        assert all(told[colour] == getattr(face, colour) for colour in reading.COLOURS)


def test_blur_loses_small_shapes_first(pictures):
    blurred = [gaussian_blur(pictures, [13, 13], [sigma, sigma]) for sigma in (0.7, 1.5, 3.0)]
    means = [reading.kept_rates(FACES, y)["mean"] for y in blurred]
    assert 100 >= means[0] > means[1] > means[2]
    assert reading.kept_rates(FACES, blurred[1])["mouth"] < 75


@pytest.mark.parametrize(("size", "count"), [(64, 8), (128, 3)])
def test_rendered_faces_are_read_as_they_are(size, count):
    pictures = reading.as_tensor([face.render(size) for face in FACES[:count]])
    for face, x in zip(FACES[:count], pictures, strict=True):
        found = reading.read(x)
        assert found.face == face
        assert found.psnr > 44
        assert max(found.apart.values()) < 3


def test_two_hair_styles_at_once_are_like_no_face(pictures):
    for face, x in zip(FACES[:4], pictures, strict=False):
        other = lay(replace(face, hair="bun" if face.hair != "bun" else "spiky"))
        assert reading.read((x + other) / 2).psnr < 30


def test_samples_are_compared_with_the_data():
    faces = [draw("toon", "source", seed) for seed in range(20_000, 22_000)]

    def of(shown: list[ToonFace], ratio: float):
        return [reading.Reading(face, dict.fromkeys(reading.COLOURS, 1.0), ratio) for face in shown]

    told = reading.sample_numbers(of(faces, 40.0), "source", 35.0)
    assert abs(told["frequency_off_most"]["points"]) < 5
    assert told["crisp_percent"] == told["all_colours_read_percent"] == 100
    bald = [replace(face, rear_hair=None) for face in faces]
    told = reading.sample_numbers(of(bald, 30.0), "source", 35.0)
    assert told["frequency_off_most"]["attribute"] == "rear_hair"
    assert told["frequency_off_most"]["points"] == pytest.approx(50, abs=3)
    assert told["crisp_percent"] == 0


def test_stated_colour_distances_are_half_the_way_between_two_classes():
    assert reading.colour_distance("skin") == pytest.approx((13**2 + 16**2) ** 0.5 / 2)


def test_the_bundled_model_keeps_the_colours(pictures, tmp_path):
    pixels = ((pictures + 1) * 127.5).round().byte()
    torch.testing.assert_close(from_uint8(pixels), pictures)
    studio = Studio("cpu", tmp_path)
    table = reading.measure(studio, "toon64", iter([("some", FACES, pixels)]))["some"]
    assert table["pictures"] == 24
    assert table["psnr"]["mean"] > 30
    for name in ("skin", "hair_colour", "background"):
        assert table["kept"][name] > 90
