"""Toon heads: attributes say what the pixels show, and never change for a seed."""

from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import pytest

from mind2mind.data import drawn
from mind2mind.data.drawn import ToonFace, draw
from mind2mind.errors import ConfigError

painted = pytest.mark.skipif(
    not (find_spec("resvg_py") and find_spec("dicebear")), reason="needs the extra data"
)

SIZE = 64
# Where a part shows in every face, whatever the other parts are (found on 300 faces of the source)
SKIN, HAIR, CLOTHES, BACKGROUND = (34, 24), (31, 8), (21, 63), (1, 1)


def near(pixel, colour):
    wanted = bytes.fromhex(colour)
    return max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) <= 2


@painted
def test_a_face_is_the_same_each_time():
    assert draw("toon", "source", 5) == draw("toon", "source", 5)
    faces = {draw("toon", "source", seed) for seed in range(50)}
    assert len(faces) == 50
    assert draw("toon", "source", 5) != draw("toon", "aliens", 5)
    face = draw("toon", "source", 5)
    assert face.render(SIZE).tobytes() == face.render(SIZE).tobytes()


@painted
def test_a_known_face_stays_as_it_is():
    """Data sets are named by their seeds: these must never change."""
    face = draw("toon", "source", 0)
    assert (face.skin, face.hair_colour, face.hair, face.rear_hair) == ("c68e7a", "b58143", "undercut", None)
    assert (face.beard, face.eyes, face.mouth, face.background) == (None, "happy", "laugh", "b6e3f4")


@pytest.mark.parametrize("domain", ToonFace.domains)
@painted
def test_the_pixels_show_the_attributes(domain):
    for seed in range(1000, 1025):
        face = draw("toon", domain, seed)
        image = face.render(SIZE)
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
        assert near(image.getpixel(SKIN), face.skin), seed
        assert near(image.getpixel(HAIR), face.hair_colour), seed
        assert near(image.getpixel(CLOTHES), face.clothes_colour), seed
        assert near(image.getpixel(BACKGROUND), face.background), seed


@painted
def test_each_part_changes_the_picture():
    face = draw("toon", "source", 0)
    changes = {
        "beard": drawn.BEARDS,
        "rear_hair": drawn.REAR_HAIR,
        "hair": drawn.HAIR,
        "eyebrows": drawn.EYEBROWS,
        "eyes": drawn.EYES,
        "mouth": drawn.MOUTHS,
        "clothes": drawn.CLOTHES,
    }
    for part, variants in changes.items():
        shown = {replace(face, **{part: variant}).render(SIZE).tobytes() for variant in variants}
        assert len(shown) == len(variants), part


@painted
def test_the_source_has_the_frequencies_it_says():
    """Five standard deviations of a binomial with 4000 draws are 0.04 at most."""
    count = 4000
    faces = [draw("toon", "source", seed) for seed in range(count)]
    source = ToonFace.domains["source"]

    def share(holds):
        return sum(map(holds, faces)) / count

    assert share(lambda f: f.skin in drawn.ALIEN_SKIN) == pytest.approx(source["alien_skin"], abs=0.03)
    assert share(lambda f: f.hair_colour in drawn.NEON_HAIR) == pytest.approx(source["neon_hair"], abs=0.03)
    assert share(lambda f: f.beard is not None) == pytest.approx(0.25, abs=0.035)
    assert share(lambda f: f.rear_hair is not None) == pytest.approx(0.5, abs=0.04)
    for mouth, times in Counter(f.mouth for f in faces).items():
        assert times / count == pytest.approx(1 / len(drawn.MOUTHS), abs=0.035), mouth
    both = share(lambda f: f.skin in drawn.ALIEN_SKIN and f.beard is not None)
    assert both == pytest.approx(source["alien_skin"] * 0.25, abs=0.02)  # independent of each other


@painted
def test_targets_are_what_their_names_say():
    faces = {name: [draw("toon", name, seed) for seed in range(200)] for name in ToonFace.domains}
    assert all(f.beard in ("fullBeard", "longBeard", "chinMoustache") for f in faces["bearded"])
    assert not any(f.rear_hair for f in faces["bearded"])
    assert all(f.skin in drawn.ALIEN_SKIN for f in faces["aliens"])
    assert all(f.hair_colour in drawn.NEON_HAIR for f in faces["neonhair"])
    with pytest.raises(ConfigError, match="There is no domain of toon 'cats'"):
        draw("toon", "cats", 0)
