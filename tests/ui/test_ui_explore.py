"""The tab Explore: its handlers as plain functions, the studio real, its model tiny."""

import base64
import io
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from tiny import make_pictures, make_studio, png_meta

from mind2mind.config import MANY
from mind2mind.errors import ConfigError, DataError
from mind2mind.explore import View
from mind2mind.ui import explore
from mind2mind.ui.page import Page
from mind2mind.ui.shared import MOST_ENLARGED, Tile, enlarged, inline, pairs, tiles


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield Page(make_studio(tmp_path_factory.mktemp("explore")))


@pytest.fixture(scope="module")
def tab(page):
    return page.explore


def shown(html):
    """The pictures that stand in a piece of the page."""
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in found]


def close(a, b):
    """Of one picture, but for what a JPEG changes."""
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).mean() < 4


def drawn(tab, view, side):
    (image,) = tab.studio.explore.draw("tiny", [view])
    return enlarged(image.convert("RGB"), side)


def test_a_wall_is_drawn_and_its_first_picture_picked(tab):
    wall, views, model, view, large, said, strip, sliders, rebuilt = tab.draw("tiny", 7, 3, "none", View())
    assert [v.seed for v in views] == [7, 8, 9] and view == views[0] and model == "tiny" and not rebuilt
    assert re.findall(r'aria-label="([^"]+)"', wall) == ["Seed 7", "Seed 8", "Seed 9"]
    assert wall.count('aria-pressed="true"') == wall.count('tabindex="0"') == 1
    assert all(close(a, drawn(tab, v, a.width)) for a, v in zip(shown(wall), views, strict=True))
    assert len(shown(strip)) == len(explore.TRUNCATIONS) and sliders.count('type="range"') >= 2
    (big,) = shown(large)
    assert close(big, drawn(tab, view, big.width)) and "seed=7" in said


def test_what_is_drawn_next_is_truncated_as_the_picked_one(tab):
    _, views, *_ = tab.draw("tiny", 0, 2, "none", View(psi=0.25))
    assert [v.psi for v in views] == [0.25, 0.25]


@pytest.mark.parametrize("count", [0, 65, 10**9, 1.5, None, "many"])
def test_as_many_pictures_as_nobody_draws_are_refused(tab, count):
    with pytest.raises(ConfigError, match="number of pictures"):
        tab.draw("tiny", 0, count, "none", View())


def test_a_click_picks_and_what_is_no_place_is_refused(tab):
    views = [View(seed=3, noise="none"), View(seed=4, noise="none")]
    view, large, *_ = tab.pick(1, "tiny", views)
    assert view == views[1] and close(shown(large)[0], drawn(tab, view, shown(large)[0].width))
    for at in (2, -1, "1", None, 0.5):
        with pytest.raises(DataError, match="no such picture"):
            tab.pick(at, "tiny", views)


def test_the_strip_truncates(tab):
    view, _, _, strip, *_ = tab.truncate(1, "tiny", View(seed=3, moves=(1.0,), noise="none"))
    assert view == View(seed=3, psi=0.25, moves=(1.0,), noise="none")
    assert re.search(r'data-i="1"[^>]*aria-pressed="true"', strip)


def test_a_slider_moves_along_its_direction(tab):
    view = View(seed=3, noise="none")
    still = tab.slide({"held": "", "values": [1, 0, 0]}, "tiny", view)
    moved = tab.slide({"held": "moving", "values": [1, 0, 3.0]}, "tiny", view)
    assert close(shown(still)[0], drawn(tab, view, shown(still)[0].width)) and moved != still
    settled, large, *_ = tab.settle({"held": "let go", "values": [0.5, 0, 3.0]}, "tiny", view)
    assert settled == View(seed=3, psi=0.5, moves=(0.0, 3.0), noise="none")
    assert close(shown(large)[0], drawn(tab, settled, shown(large)[0].width))


@pytest.mark.parametrize("values", [[float("nan")], [1, float("inf")], [1, 1e9], [1, *[0] * 99]])
def test_sliders_that_are_nowhere_are_refused(tab, values):
    with pytest.raises((ConfigError, DataError)):
        tab.settle({"held": "", "values": values}, "tiny", View())


def test_more_like_this_keeps_the_picture_first(tab):
    wall, views = tab.more_like_this("tiny", View(seed=3))
    assert views[0] == View(seed=3) and len(views) == len(set(views)) == explore.ALIKE == wall.count("<img")


def test_the_map_has_the_picked_seed_in_its_middle_and_is_kept(tab):
    mapped, ground = tab.map_of("tiny", View(seed=3, noise="none", moves=(1.0,)), None)
    assert mapped == ("tiny", View(seed=3, noise="none")) and "<img" not in ground
    assert tab.map_of("tiny", View(seed=3, noise="none"), mapped) == gr.skip()  # nothing new
    cells = tab.more_cells([[0, 0], [5, -2]], mapped)
    assert re.findall('data-at="([^"]+)"', cells) == ["0,0", "5,-2"]
    assert re.search('data-map="([^"]+)"', cells)[0] in ground
    assert close(shown(cells)[0], drawn(tab, View(seed=3, noise="none"), shown(cells)[0].width))
    view, *_ = tab.pick_cell([5, -2], mapped)
    assert view.place == (5, -2) and view.seed == 3
    with pytest.raises(ConfigError):
        tab.more_cells([[1e12, 0]], mapped)


def test_mixing_shows_sources_down_and_styles_across(tab):
    layers = tab.studio.explore.layers("tiny")
    of_styles, of_sources = (shown(tab.mix("tiny", View(seed=1), 5, c)) for c in (0, layers))
    many = explore.MIXED
    assert len(of_styles) == many + many * (many + 1)
    for row in range(many):
        begin = many + row * (many + 1)
        assert all(
            close(a, b)
            for a, b in zip(of_styles[begin + 1 : begin + 1 + many], of_styles[:many], strict=True)
        )
        assert all(close(a, of_sources[begin]) for a in of_sources[begin + 1 : begin + 1 + many])


def test_a_picture_of_ones_own_comes_with_a_verdict_and_has_no_link(tab, tmp_path):
    path = str(min(make_pictures(tmp_path, 1).iterdir()))
    view, large, said, *_, rebuilt = tab.from_photo(None, "tiny", path)
    assert view == View(photo=Path(path), noise="none") and "Link" not in said
    assert len(shown(rebuilt)) == 2 and " dB" in rebuilt and re.search("m2m-(good|fair|poor)", rebuilt)
    assert close(shown(rebuilt)[1].resize(shown(large)[0].size), shown(large)[0])
    with pytest.raises(DataError, match="is not kept here"):
        tab.favour(None, "tiny", view)


def test_a_link_leads_back_to_its_picture(tab, page):
    view = View(seed=5, near=(2, 1), place=(1.0, -3.0), psi=0.5, moves=(0.0, 1.5), noise="fixed")
    query = dict(part.split("=") for part in explore.to_query("tiny", view).replace("%2C", ",").split("&"))
    assert explore.from_query(query) == ("tiny", view)
    ref, seed, count, linked, drawn = tab.arrive(SimpleNamespace(query_params=query))
    assert (ref, seed, count, linked) == ("tiny", 5, MANY, view)
    assert tab.with_another(ref, seed, count, "none", drawn) == gr.skip()  # one draws the wall, not two
    _, views, *_ = tab.draw("tiny", 5, 3, "none", linked, first=True)
    assert views[0] == view and [v.seed for v in views[1:]] == [6, 7]


@pytest.mark.parametrize(
    "query",
    [
        {}, {"model": "tiny"}, {"model": "tiny", "seed": "x"}, {"model": "tiny", "seed": "-1"},
        {"model": "gone", "seed": "1"}, {"model": "tiny", "seed": "1e400"}, {"model": "tiny", "seed": "nan"},
        {"model": "tiny", "seed": "1", "place": "1"}, {"model": "tiny", "seed": "1", "moves": "1,x"},
    ],
)  # fmt: skip
def test_a_link_to_nothing_opens_the_page_as_ever(tab, query):
    assert tab.arrive(SimpleNamespace(query_params=query))[3] == View(explore.FIRST_SEED)


def test_favourites_come_and_go_and_belong_to_their_model(tab):
    view = View(seed=5, moves=(1.0,))
    kept, label = tab.favour(None, "tiny", view)
    assert "Kept" in label and explore.kept_views(kept, "favourites", "tiny") == [view]
    assert not explore.kept_views(kept, "favourites", "toon64")
    assert tab.seen(kept, "tiny", view) == ({**kept, "history": kept["favourites"]}, label)
    wall, _ = tab.kept_wall("history", tab.seen(None, "tiny", view)[0], "tiny")
    assert "looked at last" in wall and wall.count("<img") == 1
    assert tab.kept_wall("history", None, "tiny") == ("", [])
    emptied, label = tab.favour(kept, "tiny", view)
    assert not emptied["favourites"] and "Kept" not in label


@pytest.mark.parametrize(
    "stored", [5, "x", [], {"favourites": 3}, {"favourites": [3, "seed=x", None], "history": {}}]
)
def test_what_a_browser_says_that_it_kept_is_not_believed(tab, stored):
    assert explore.kept_views(stored, "favourites", "tiny") == []
    assert explore.kept_views(stored, "history", "tiny") == []


def test_the_files_know_what_they_are(tab):
    views = [View(seed=7, psi=0.5), View(seed=8, psi=0.5)]
    meta = png_meta(Path(tab.file_of("tiny", views[0])))
    assert (meta["model"], meta["seed"], meta["psi"]) == ("tiny", "7", "0.5")
    meta = png_meta(Path(tab.sheet_of("tiny", views)))
    assert (meta["model"], meta["psi"], meta["count"]) == ("tiny", "0.5", "2")
    with zipfile.ZipFile(tab.zip_of("tiny", views)) as opened:
        assert opened.namelist() == ["tiny-7.png", "tiny-8.png"]
    _, alike = tab.more_like_this("tiny", views[0])
    with zipfile.ZipFile(tab.zip_of("tiny", alike[:3])) as opened:  # all of one seed
        assert opened.namelist() == ["tiny-7.png", "tiny-7_1.png", "tiny-7_2.png"]


def test_another_model_draws_its_own_and_the_same_one_nothing(tab):
    assert tab.with_another("tiny", 0, 16, "none", "tiny") == gr.skip()
    _, views, model, *_, count = tab.with_another("tiny", 0, 16, "none", None)
    assert model == "tiny" and len(views) == count and views[0].psi == 1


# Pictures on the page


def test_small_pictures_are_enlarged_and_large_ones_reduced():
    small, large = Image.new("RGB", (16, 8), "red"), Image.new("RGB", (900, 300))
    assert enlarged(small, 256).size == (16 * MOST_ENLARGED, 8 * MOST_ENLARGED)
    assert enlarged(large, 256).size == (256, 85) and enlarged(small, 16) is small
    assert inline(small).startswith("data:image/jpeg;base64,")


def test_a_wall_escapes_what_strangers_wrote():
    html = tiles([Tile(Image.new("RGB", (8, 8)), '<b>"', "<i>", more="<u>"), None])
    assert not any(tag in html for tag in ("<b>", "<i>", "<u>")) and "&lt;b&gt;&quot;" in html


def test_pairs_are_as_large_as_their_first():
    (pair,) = pairs([(Image.new("RGB", (16, 16)), Image.new("RGB", (8, 8)))], "Pair")
    assert pair.name == "Pair 1" and pair.image.width == 16 and pair.image.height >= 32
