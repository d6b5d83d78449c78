"""Painted cats: attributes say what the pixels show, and never change for a seed."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from mind2mind.data import drawn
from mind2mind.data.drawn import Cat, draw
from mind2mind.errors import ConfigError

painted = pytest.mark.skipif(not find_spec("robohash"), reason="needs the extra data")
PLAIN = Cat(body=6, hue=338, fur=None, eyes=2, mouth=2, accessory=None, background="b6e3f4")
COUNT = 4000
CATS = [draw("cats", "source", seed) for seed in range(COUNT)]


def pixels(cat, size=128):
    return np.asarray(cat.render(size)).astype(int)


def test_a_known_cat_stays_as_it_is():
    """Data sets are named by their seeds: these must never change."""
    assert draw("cats", "source", 0) == Cat(
        body=0, hue=346, fur="light blocks", eyes=10, mouth=6, accessory="red hat", background="ffdfbf"
    )
    assert draw("cats", "source", 5) != draw("cats", "teal", 5)


def test_the_source_has_the_frequencies_it_says():
    """Five standard deviations of a binomial with 4000 draws are 0.02 at most."""

    def share(holds):
        return sum(map(holds, CATS)) / COUNT

    assert share(lambda c: c.accessory == "red headphones") == pytest.approx(0.03, abs=0.014)
    assert share(lambda c: c.fur == "rosettes") == pytest.approx(0.03, abs=0.014)
    teal = share(lambda c: c.hue is not None and drawn.TEAL[0] <= c.hue <= drawn.TEAL[1])
    assert teal == pytest.approx(0.03 * len(drawn.COLOURED) / len(drawn.BODY_HUES), abs=0.013)
    tigers = share(lambda c: c.fur == "broad stripes" and c.body in drawn.ORANGE)
    assert tigers == pytest.approx(0.97 / 9 * len(drawn.ORANGE) / len(drawn.BODY_HUES), abs=0.015)
    assert share(lambda c: c.fur is None) == pytest.approx(0.97 * 2 / 9, abs=0.035)
    for name in ("body", "eyes", "mouth"):
        values = [getattr(cat, name) for cat in CATS]
        for value in set(values):
            assert values.count(value) / COUNT == pytest.approx(1 / len(set(values)), abs=0.025), name


def test_a_hue_is_near_its_body_s_own_unless_it_is_teal():
    for cat in CATS:
        own = drawn.BODY_HUES[cat.body]
        assert (cat.hue is None) == (own is None)
        if own is not None and not drawn.TEAL[0] <= cat.hue <= drawn.TEAL[1]:
            assert min((cat.hue - own) % 360, (own - cat.hue) % 360) <= drawn.HUE_SPREAD


def test_targets_are_what_their_names_say():
    shown = {name: [draw("cats", name, seed) for seed in range(200)] for name in Cat.domains}
    assert all(c.accessory == "red headphones" for c in shown["headphones"])
    assert all(c.fur == "rosettes" for c in shown["leopards"])
    assert all(drawn.TEAL[0] <= c.hue <= drawn.TEAL[1] for c in shown["teal"])
    tigers = shown["tigers"]
    assert all(c.fur == "broad stripes" and c.body in drawn.ORANGE and 10 <= c.hue <= 65 for c in tigers)
    assert {c.body for c in tigers} == set(drawn.ORANGE)
    with pytest.raises(ConfigError, match="There is no domain of cats 'aliens'"):
        draw("cats", "aliens", 0)


@pytest.mark.parametrize("body", drawn.COLOURED)
@painted
def test_a_body_is_of_its_hue(body):
    for hue in (drawn.BODY_HUES[body], 180):
        image = replace(PLAIN, body=body, hue=hue).render(64)
        forehead = np.asarray(image.convert("HSV").getchannel("H"))[12:16, 34:40]
        off = (np.median(forehead) * 360 / 256 - hue + 180) % 360 - 180
        assert abs(off) <= 4


@painted
def test_each_part_changes_the_picture():
    choices = {
        "body": (range(len(drawn.BODY_HUES)), 15),
        "fur": (drawn.FURS, 9),
        "eyes": (range(drawn.CAT_EYES), 15),
        "mouth": (range(drawn.CAT_MOUTHS), 10),
        "accessory": (drawn.ACCESSORIES, 16),
        "background": (drawn.BACKGROUNDS, 6),
    }
    for part, (variants, kinds) in choices.items():
        shown = {replace(PLAIN, **{part: variant}).render(64).tobytes() for variant in variants}
        assert len(shown) == kinds, part


@pytest.mark.parametrize(
    ("accessory", "looks"),
    [
        ("red scarf", lambda r, g, b: r > 2 * max(g, b)),
        ("red collar", lambda r, g, b: r > 2 * max(g, b)),
        ("headband", lambda r, g, b: r > 2 * max(g, b)),
        ("red hat", lambda r, g, b: r > 2 * max(g, b)),
        ("blue scarf", lambda r, g, b: b > 1.5 * r),
        ("blue bow", lambda r, g, b: b > 1.2 * r),
        ("black hat", lambda r, g, b: max(r, g, b) < 80),
        ("typewriter", lambda r, g, b: max(r, g, b) < 100),
        ("bandana", lambda r, g, b: max(r, g, b) - min(r, g, b) < 10),
        ("silver headphones", lambda r, g, b: min(r, g, b) > 90 and max(r, g, b) - min(r, g, b) < 40),
    ],
)
@painted
def test_accessories_are_of_their_colours(accessory, looks):
    cat = replace(PLAIN, body=1, hue=86)  # green, as none of them
    changed = pixels(replace(cat, accessory=accessory))
    where = np.abs(changed - pixels(cat)).max(axis=2) > 60
    assert looks(*np.median(changed[where], axis=0)), np.median(changed[where], axis=0)


@pytest.mark.parametrize("fur", [fur for fur in drawn.FURS if fur])
@painted
def test_fur_is_on_the_cat_alone(fur):
    plain, furred = pixels(PLAIN), pixels(replace(PLAIN, fur=fur))
    ground = (plain == plain[0, 64]).all(axis=2)
    assert ground.sum() > 5000
    assert np.abs(plain - furred)[ground].max() <= 2  # bodies are not quite without alpha there


@painted
def test_a_cat_is_the_same_at_any_size_and_whole():
    small = CATS[3].render(64)
    assert (small.mode, small.size) == ("RGB", (64, 64))
    halved = np.asarray(CATS[3].render(128).reduce(2)).astype(int)
    assert np.abs(halved - np.asarray(small)).mean() < 3
