"""The tab Interpolate: its handlers as plain functions."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from test_ui import gradios_files  # noqa: F401  (a fixture)
from tiny import make_pictures, make_studio, make_weights, png_meta

from mind2mind.draw import Cost
from mind2mind.errors import ConfigError, DataError
from mind2mind.explore import View
from mind2mind.ui.explore import to_query
from mind2mind.ui.interpolate import LETTERS, Route
from mind2mind.ui.page import Page
from mind2mind.ui.shared import Visit

A, B, C = View(1), View(5, near=(2,), moves=(1.5,)), View(9, psi=0.7)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    studio = make_studio(tmp_path_factory.mktemp("ui"))
    make_weights(studio.weights, name="other", seed=3)
    return Page(studio).interpolate


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return next(make_pictures(tmp_path_factory.mktemp("photo"), 1).iterdir())


def sources(shown):
    return re.findall('src="([^"]+)"', shown)


def near(one, other):
    """A picture drawn alone may differ from one among others by a level, and its JPEG by some."""
    a, b = (
        np.int16(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
        for source in (one, other)
    )
    return a.shape == b.shape and np.abs(a - b).max() <= 6


def shown(tab, route, at=0, t=0.0):
    """What stands there in the end."""
    *_, (film, slider, stops, picture, strip) = tab.show(route, at, t)
    return stops, strip, slider, picture, film


# What is shown


@pytest.mark.parametrize("count", range(2, 7))
def test_every_stop_is_a_frame_of_the_strip(tab, photo, count):
    route = Route("tiny", (A, B, C, View(2, photo=photo), View(3), View(4))[:count])
    stops, strip, slider, picture, film = shown(tab, route, count - 1, 1.0)
    frames, each = sources(strip), sources(stops)
    assert len(each) == count and frames[:: (len(frames) - 1) // (count - 1)] == each
    assert 9 <= len(frames) <= 11 and near(frames[-1], sources(picture)[0]) and film == ""
    assert re.findall("<span>(.)</span>", slider) == list(LETTERS[:count])
    assert stops.count('aria-pressed="true"') == strip.count('aria-pressed="true"') == 1


@pytest.mark.parametrize("count", range(2, 7))
def test_the_slider_meets_every_frame_of_the_strip(tab, count):
    route = Route("tiny", (A, B, C, View(4), View(5), View(6))[:count])
    _, strip, slider, *_ = shown(tab, route)
    frames, step = sources(strip), float(re.findall('step="([^"]+)"', slider)[0])
    assert 0.008 < step < 0.011
    for i in (0, 3, 7, len(frames) - 1):
        place = i / (len(frames) - 1)
        t, picture = tab.slide({"t": round(place / step) * step, "held": ""}, route)
        assert t == pytest.approx(place) and near(sources(picture)[0], frames[i])
    assert not near(frames[0], frames[-1])


def test_a_stop_that_is_clicked_is_picked(tab):
    route = Route("tiny", (A, B, C))
    assert tab.pick(2, route) == 2
    for wrong in (3, -1, None, "1"):
        with pytest.raises(DataError, match="no such picture"):
            tab.pick(wrong, route)


def test_the_slider_meets_the_stops_and_the_file_is_the_picture(tab):
    route = Route("tiny", (A, B, C))
    t, picture = tab.slide({"t": 0.5, "held": ""}, route)
    stops, *_ = shown(tab, route)
    assert t == 0.5 and near(sources(picture)[0], sources(stops)[1])
    file = Path(tab.file_of(route, 0.5))
    assert file.name == "tiny-1-5_2-9-0.50.png"
    with Image.open(file) as saved:
        assert saved.size == (16, 16)
    assert png_meta(file)["model"] == "tiny"


def test_straight_is_another_way_between_the_same_ends(tab):
    route = Route("tiny", (A, C))
    straight = replace(route, path="straight")
    mind, other = (sources(shown(tab, each)[1]) for each in (route, straight))
    assert near(mind[0], other[0]) and near(mind[-1], other[-1]) and not near(mind[4], other[4])


def test_the_film_begins_and_ends_at_the_stops(tab):
    route = Route("tiny", (A, B))
    film, strip = sources(tab.frames_of(route)), sources(shown(tab, route)[1])
    assert len(film) == 37 and near(film[0], strip[0]) and near(film[-1], strip[-1])
    assert len(sources(tab.frames_of(Route("tiny", (A, B, C, A, B, C))))) <= 111


@pytest.mark.parametrize(
    ("seconds", "steps", "film"), [(0.01, 8, 36), (0.25, 8, 32), (0.5, 4, 16), (1.0, 2, 8)]
)
def test_a_slow_model_shows_what_it_has_and_draws_fewer(tab, monkeypatch, seconds, steps, film):
    """The sentence at once, then the stops, the picture, the strip; and the way is drawn no picture twice."""
    route, drawn, along = Route("tiny", (A, B)), [], tab.studio.explore.along
    monkeypatch.setattr(tab.studio.draw, "cost", lambda ref: Cost(seconds, 0.0, 0))

    def counted(ref, stops, places, **more):
        drawn.extend(places)
        return along(ref, stops, places, **more)

    monkeypatch.setattr(tab.studio.explore, "along", counted)
    updates = list(tab.show(route, 0, 0.3))
    said = [[i for i, each in enumerate(update) if isinstance(each, str)] for update in updates]
    assert said == [[*range(count)] for count in ((2, 3, 4, 5) if seconds > 0.1 else (5,))]
    assert ("the strip has few" in updates[0][1]) == (steps < 8)
    assert ("let the slider go" in updates[0][1]) == (seconds > 0.2)
    assert len(drawn) == steps + 2 and len(sources(tab.frames_of(route))) == film + 1


def test_a_picture_of_ones_own_is_seen_beside_what_the_model_makes_of_it(tab, photo):
    route = tab.with_picture(Route("tiny", (A, B)), 1, str(photo))
    assert "does not know such pictures" in tab.rebuild(route, 1)
    assert tab.rebuild(route, 0) == ""


# The route


def test_one_stop_changes_and_nothing_else(tab, photo):
    route = Route("tiny", (A, B))
    assert tab.of_seed(route, 1, 7) == Route("tiny", (A, View(7)))
    assert tab.of_seed(route, 1, 5) == route  # what was varied and moved stays as it is
    assert tab.with_picture(route, 1, str(photo)) == Route("tiny", (A, View(5, photo=photo)))
    for wrong in (None, -1, 1.5, 2**40):
        with pytest.raises(ConfigError, match="seed"):
            tab.of_seed(route, 1, wrong)


def test_stops_are_added_deleted_and_swapped(tab):
    route = Route("tiny", (A, B))
    for count in range(3, 7):
        route, *at = route.longer()
        assert (len(route.stops), *at) == (count, count - 1, 1.0)
    with pytest.raises(DataError, match="6 stops"):
        route.longer()
    route = Route("tiny", (A, B, C))
    assert route.swapped(0, 1) == (Route("tiny", (B, A, C)), 1, 0.5)
    assert route.swapped(2, 1) == (Route("tiny", (A, C, B)), 1, 0.5)
    assert route.swapped(0, -1)[0] == route == route.swapped(2, 3)[0]
    assert route.without(0) == (Route("tiny", (B, C)), 0, 0.0)
    assert route.without(2) == (Route("tiny", (A, B)), 1, 1.0)
    with pytest.raises(DataError, match="two ends"):
        Route("tiny", (A, B)).without(0)


def test_the_fields_are_those_of_the_picked_stop(tab, photo):
    seed, mine, back, forth, delete, add = tab.fields_of(Route("tiny", (A, B)), 1)
    assert (seed.value, seed.label, mine.visible) == (5, "Seed of B", False)
    assert [button.interactive for button in (back, forth, delete, add)] == [True, False, False, True]
    seed, mine, *buttons = tab.fields_of(Route("tiny", (View(1, photo=photo), *[A] * 5)), 0)
    assert (seed.visible, mine.visible) == (False, True)
    assert [button.interactive for button in buttons] == [False, True, True, False]


def test_with_another_model_photos_and_seeds_stay_and_moves_go(tab, photo):
    route = Route("tiny", (B, View(3, photo=photo, moves=(1.0,))), "straight")
    plain = Route("other", (replace(B, moves=()), View(3, photo=photo)), "straight")
    assert tab.with_model("other", route) == plain == tab.follow(True, "other", route)
    assert tab.follow(False, "other", route) == tab.with_model("tiny", route) == route
    with pytest.raises(ConfigError, match="no model"):
        tab.with_model("../weights/tiny", route)


def test_explores_picture_becomes_an_end(tab):
    route = Route("tiny", (A, B, C))
    assert tab.end_is(0, route, "tiny", View(8)) == (Route("tiny", (View(8), B, C)), 0, 0.0)
    assert tab.end_is(-1, Route(), "tiny", View(8, moves=(1.0,))) == (
        Route("tiny", (View(1), View(8, moves=(1.0,)))), 1, 1.0,
    )  # fmt: skip


def test_a_favourite_becomes_the_picked_stop(tab):
    links = [to_query("other", View(4)), to_query("tiny", B)]
    stored, route = {"favourites": links, "history": []}, Route("tiny", (A, C))
    wall, kept = tab.explore.kept_wall("favourites", stored, "tiny")
    assert len(sources(wall)) == 1 and tab.with_favourite(0, route, 1, kept) == Route("tiny", (A, B))
    with pytest.raises(DataError, match="no such picture"):
        tab.with_favourite(1, route, 1, kept)


def test_a_bad_picture_is_told_before_anything_changes(tab, tmp_path):
    bad = tmp_path / "bad<i>.png"
    bad.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad<i>\.png"):
        tab.taken(Visit.of(None).stored(), str(bad), Route("tiny"))


# Clips


@pytest.mark.parametrize("kind", ["MP4", "WebP", "GIF"])
@pytest.mark.parametrize(("enlarge", "side"), [(True, 64), (False, 16)])
def test_a_clip_is_named_by_its_stops_and_as_long_as_asked_for(tab, photo, kind, enlarge, side):
    route = Route("tiny", (A, View(2, photo=photo)))
    button = tab.clip_of(route, 1, kind, enlarge, True)
    path = Path(value_of(button))
    assert path.name == f"tiny-1-photo.{kind.lower()}" and path.name in button.label
    if kind == "MP4":  # which is never shown smaller
        with av.open(str(path)) as film:
            assert sum(1 for _ in film.decode(video=0)) == 24
            assert (film.streams.video[0].width, film.streams.video[0].average_rate) == (256, 24)
        return
    with Image.open(path) as film:
        durations = []
        for frame in range(film.n_frames):
            film.seek(frame)
            film.load()
            durations.append(film.info["duration"])
        assert film.size == (side, side) and sum(durations) == pytest.approx(1000, rel=0.05)


def value_of(button):
    return button.value["path"] if isinstance(button.value, dict) else button.value


def test_a_large_picture_does_not_shrink_in_a_clip(tab, monkeypatch):
    large = [Image.new("RGB", (1024, 1024), colour) for colour in ("red", "green")]
    monkeypatch.setattr(tab.studio.explore, "interpolate", lambda *a, **k: iter(large))
    with Image.open(tab.save(Route("tiny"), 2, "WebP", True, False)) as film:
        assert film.size == (1024, 1024)
