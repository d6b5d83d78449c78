"""Toon heads: attributes say what the pixels show, and never change for a seed."""

from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import pytest

from mind2mind.data import toon
from mind2mind.errors import ConfigError

drawn = pytest.mark.skipif(
    not (find_spec("resvg_py") and find_spec("dicebear")), reason="needs the extra data"
)

SIZE = 64
# Where a part shows in every face, whatever the other parts are (found on 300 faces of the source)
SKIN, HAIR, CLOTHES, BACKGROUND = (34, 24), (31, 8), (21, 63), (1, 1)


def near(pixel, colour):
    wanted = bytes.fromhex(colour)
    return max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) <= 2


@drawn
def test_a_face_is_the_same_each_time():
    assert toon.draw("source", 5) == toon.draw("source", 5)
    faces = {toon.draw("source", seed) for seed in range(50)}
    assert len(faces) == 50
    assert toon.draw("source", 5) != toon.draw("aliens", 5)
    face = toon.draw("source", 5)
    assert toon.render(face, SIZE).tobytes() == toon.render(face, SIZE).tobytes()


@drawn
def test_a_known_face_stays_as_it_is():
    """Data sets are named by their seeds: these must never change."""
    face = toon.draw("source", 0)
    assert (face.skin, face.hair_colour, face.hair, face.rear_hair) == ("c68e7a", "b58143", "undercut", None)
    assert (face.beard, face.eyes, face.mouth, face.background) == (None, "happy", "laugh", "b6e3f4")


@pytest.mark.parametrize("domain", toon.DOMAINS)
@drawn
def test_the_pixels_show_the_attributes(domain):
    for seed in range(1000, 1025):
        face = toon.draw(domain, seed)
        image = toon.render(face, SIZE)
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
        assert near(image.getpixel(SKIN), face.skin), seed
        assert near(image.getpixel(HAIR), face.hair_colour), seed
        assert near(image.getpixel(CLOTHES), face.clothes_colour), seed
        assert near(image.getpixel(BACKGROUND), face.background), seed


@drawn
def test_each_part_changes_the_picture():
    face = toon.draw("source", 0)
    changes = {
        "beard": toon.BEARDS,
        "rear_hair": toon.REAR_HAIR,
        "hair": toon.HAIR,
        "eyebrows": toon.EYEBROWS,
        "eyes": toon.EYES,
        "mouth": toon.MOUTHS,
        "clothes": toon.CLOTHES,
    }
    for part, variants in changes.items():
        shown = {toon.render(replace(face, **{part: variant}), SIZE).tobytes() for variant in variants}
        assert len(shown) == len(variants), part


@drawn
def test_the_source_has_the_frequencies_it_says():
    """Five standard deviations of a binomial with 4000 draws are 0.04 at most."""
    count = 4000
    faces = [toon.draw("source", seed) for seed in range(count)]
    source = toon.DOMAINS["source"]

    def share(holds):
        return sum(map(holds, faces)) / count

    assert share(lambda f: f.skin in toon.ALIEN_SKIN) == pytest.approx(source.alien_skin, abs=0.03)
    assert share(lambda f: f.hair_colour in toon.NEON_HAIR) == pytest.approx(source.neon_hair, abs=0.03)
    assert share(lambda f: f.beard is not None) == pytest.approx(source.beard, abs=0.035)
    assert share(lambda f: f.rear_hair is not None) == pytest.approx(source.rear_hair, abs=0.04)
    for mouth, times in Counter(f.mouth for f in faces).items():
        assert times / count == pytest.approx(1 / len(toon.MOUTHS), abs=0.035), mouth
    both = share(lambda f: f.skin in toon.ALIEN_SKIN and f.beard is not None)
    assert both == pytest.approx(source.alien_skin * source.beard, abs=0.02)  # independent of each other


@drawn
def test_targets_are_what_their_names_say():
    faces = {name: [toon.draw(name, seed) for seed in range(200)] for name in toon.DOMAINS}
    assert all(f.beard in ("fullBeard", "longBeard", "chinMoustache") for f in faces["bearded"])
    assert not any(f.rear_hair for f in faces["bearded"])
    assert all(f.skin in toon.ALIEN_SKIN for f in faces["aliens"])
    assert all(f.hair_colour in toon.NEON_HAIR for f in faces["neonhair"])
    with pytest.raises(ConfigError, match="There is no toon domain 'cats'"):
        toon.draw("cats", 0)
