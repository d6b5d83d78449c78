"""Toon heads: the same on every machine, and what the attributes say is what the pixels show."""

import json
from collections import Counter
from dataclasses import asdict, replace

import pytest
from PIL import Image

from mind2mind.data import make as make_data
from mind2mind.errors import ConfigError, DataError

pytest.importorskip("resvg_py")
pytest.importorskip("dicebear")

SIZE = 64
# Where a part shows in every face, whatever the other parts are (found on 300 faces of the source)
SKIN, HAIR, CLOTHES, BACKGROUND = (34, 24), (31, 8), (21, 63), (1, 1)


def near(pixel, colour):
    wanted = bytes.fromhex(colour)
    return max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) <= 2


def test_a_face_is_the_same_each_time():
    assert make_data.draw("source", 5) == make_data.draw("source", 5)
    faces = {make_data.draw("source", seed) for seed in range(50)}
    assert len(faces) == 50
    assert make_data.draw("source", 5) != make_data.draw("aliens", 5)
    face = make_data.draw("source", 5)
    assert make_data.render(face, SIZE).tobytes() == make_data.render(face, SIZE).tobytes()


def test_a_known_face_stays_as_it_is():
    """Data sets are named by their seeds: these must never change."""
    face = make_data.draw("source", 0)
    assert (face.skin, face.hair_colour, face.hair, face.rear_hair) == ("c68e7a", "b58143", "undercut", None)
    assert (face.beard, face.eyes, face.mouth, face.background) == (None, "happy", "laugh", "b6e3f4")


@pytest.mark.parametrize("domain", make_data.DOMAINS)
def test_the_pixels_show_the_attributes(domain):
    for seed in range(1000, 1025):
        face = make_data.draw(domain, seed)
        image = make_data.render(face, SIZE)
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
        assert near(image.getpixel(SKIN), face.skin), seed
        assert near(image.getpixel(HAIR), face.hair_colour), seed
        assert near(image.getpixel(CLOTHES), face.clothes_colour), seed
        assert near(image.getpixel(BACKGROUND), face.background), seed


def test_each_part_changes_the_picture():
    face = make_data.draw("source", 0)
    changes = {
        "beard": make_data.BEARDS,
        "rear_hair": make_data.REAR_HAIR,
        "hair": make_data.HAIR,
        "eyebrows": make_data.EYEBROWS,
        "eyes": make_data.EYES,
        "mouth": make_data.MOUTHS,
        "clothes": make_data.CLOTHES,
    }
    for part, variants in changes.items():
        shown = {make_data.render(replace(face, **{part: variant}), SIZE).tobytes() for variant in variants}
        assert len(shown) == len(variants), part


def test_the_source_has_the_frequencies_it_says():
    """Five standard deviations of a binomial with 4000 draws are 0.04 at most."""
    count = 4000
    faces = [make_data.draw("source", seed) for seed in range(count)]
    source = make_data.DOMAINS["source"]

    def share(holds):
        return sum(map(holds, faces)) / count

    assert share(lambda f: f.skin in make_data.ALIEN_SKIN) == pytest.approx(source.alien_skin, abs=0.03)
    assert share(lambda f: f.hair_colour in make_data.NEON_HAIR) == pytest.approx(source.neon_hair, abs=0.03)
    assert share(lambda f: f.beard is not None) == pytest.approx(source.beard, abs=0.035)
    assert share(lambda f: f.rear_hair is not None) == pytest.approx(source.rear_hair, abs=0.04)
    for mouth, times in Counter(f.mouth for f in faces).items():
        assert times / count == pytest.approx(1 / len(make_data.MOUTHS), abs=0.035), mouth
    both = share(lambda f: f.skin in make_data.ALIEN_SKIN and f.beard is not None)
    assert both == pytest.approx(source.alien_skin * source.beard, abs=0.02)  # independent of each other


def test_targets_are_what_their_names_say():
    faces = {name: [make_data.draw(name, seed) for seed in range(200)] for name in make_data.DOMAINS}
    assert all(f.beard in ("fullBeard", "longBeard", "chinMoustache") for f in faces["bearded"])
    assert not any(f.rear_hair for f in faces["bearded"])
    assert all(f.skin in make_data.ALIEN_SKIN for f in faces["aliens"])
    assert all(f.hair_colour in make_data.NEON_HAIR for f in faces["neonhair"])
    with pytest.raises(ConfigError, match="There is no toon domain 'cats'"):
        make_data.draw("cats", 0)


def test_the_command_writes_pictures_and_their_attributes(tmp_path):
    assert list(make_data.toon("bearded", 3, 32, 40, tmp_path, processes=1)) == [1, 2, 3]
    rows = [json.loads(line) for line in (tmp_path / "attributes.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [40, 41, 42]
    for row in rows:
        face = make_data.draw("bearded", row["seed"])
        assert row == {"file": row["file"], "seed": row["seed"], "domain": "bearded"} | asdict(face)
        with Image.open(tmp_path / row["file"]) as image:
            assert image.tobytes() == make_data.render(face, 32).tobytes()


@pytest.mark.parametrize("name", ["attributes.jsonl", "mine.png"])
def test_a_folder_that_holds_pictures_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(DataError, match="already holds"):
        next(make_data.toon("bearded", 3, 32, 40, tmp_path, processes=1))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
