"""The tab Interpolate in a real browser: the slider, stops, pictures of one's own, Play, clips."""

import re

import numpy as np
import pytest
from browsing import expect, fits, images_of, shown_by, tab, until
from PIL import Image, ImageSequence
from tiny import make_pictures, png_meta

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]
SHOWN, STOPS, STRIP = "#interpolate-picture img", "#interpolate-stops img", "#interpolate-strip img"
SLIDER = "#interpolate-t input"


@pytest.fixture
def interpolating(visitor):
    def open_page(**how):
        page = visitor(query="&model=toon64&seed=7", **how)  # the quick one: a slow one's strip has fewer
        tab(page, "Interpolate")
        expect(page.locator(STRIP)).to_have_count(9)
        return page

    return open_page


def alike(one, other):
    """One drawn alone may differ from one among others by a level, and its JPEG by some."""
    return np.abs(np.int16(one) - np.int16(other)).max() <= 8


def shows(page, image):
    until(
        page,
        lambda: not alike(*(shown_by(page, each) for each in (page.locator(SHOWN), image))) and "another",
    )


def sources(page, images):
    return page.locator(images).evaluate_all("images => images.map(image => image.src)")


def give(page, file):
    with page.expect_file_chooser() as chooser:
        page.locator("#stop-upload").click()
    chooser.value.set_files(file)


def test_the_slider_ends_on_its_last_value(interpolating, shots):
    page = interpolating()
    middle, bar = sources(page, SHOWN), page.locator(SLIDER)
    box = bar.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for i in range(40):
        page.mouse.move(box["x"] + box["width"] * (0.5 + 0.5 * (i + 1) / 40) - 1, y)
    page.mouse.up()
    shows(page, page.locator(STOPS).last)
    page.screenshot(path=shots / "interpolate.png", full_page=True)
    bar.press("Home")  # the keyboard too
    shows(page, page.locator(STOPS).first)
    assert sources(page, SHOWN) != middle
    page.locator(STRIP).nth(3).click()
    shows(page, page.locator(STRIP).nth(3))
    expect(page.locator("#interpolate-t output")).to_have_text("0.38")
    expect(page.locator("#interpolate-strip .m2m-tile").nth(3)).to_have_attribute("aria-pressed", "true")
    page.locator(STOPS).last.click()
    shows(page, page.locator(STOPS).last)
    expect(page.locator("#stop-seed")).to_contain_text("Seed of B")


def test_everything_that_is_dragged_is_on_one_screen(interpolating, shots):
    for width, height in ((390, 844), (768, 1024), (1280, 800)):
        page = interpolating(width=width)
        page.set_viewport_size({"width": width, "height": height})
        fits(page)
        for seen in (page.locator(SHOWN), page.locator(SLIDER), *page.locator(STOPS).all()):
            box = seen.bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= height
        page.screenshot(path=shots / f"interpolate-{width}.png")


def test_stops_come_and_go_and_change_places(interpolating):
    page = interpolating()

    def said():
        return [" ".join(tile.split()) for tile in page.locator("#interpolate-stops span").all_inner_texts()]

    page.locator("#stop-add").click()
    expect(page.locator(STOPS)).to_have_count(3)
    expect(page.locator("#stop-seed")).to_contain_text("Seed of C")
    shows(page, page.locator(STOPS).nth(2))
    third = said().pop()
    page.locator("#stop-back").click()
    until(page, lambda: said() != ["A Seed 1", third.replace("C", "B"), "C Seed 2"] and said())
    page.locator("#stop-delete").click()
    expect(page.locator("#stop-seed")).to_contain_text("Seed of A")
    page.locator("#stop-seed input").fill("2")
    page.locator("#stop-seed input").press("Enter")
    until(page, lambda: said() != ["A Seed 2", "B Seed 2"] and said())
    same, other = images_of(page, STOPS)
    assert same == other
    page.locator("#stop-another").click()
    until(page, lambda: said()[0] == "A Seed 2" and "the same seed")
    one, other = images_of(page, STOPS)
    assert one != other


def test_a_picture_of_ones_own_is_a_stop_and_a_bad_one_changes_nothing(interpolating, tmp_path):
    page = interpolating()
    before, (_, b) = sources(page, STOPS), images_of(page, STOPS)
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    give(page, tmp_path / "bad.png")
    expect(page.get_by_text(re.compile("bad.png.*Not a picture"))).to_be_visible()
    give(page, next(make_pictures(tmp_path / "good", 1).iterdir()))
    expect(page.locator("#stop-rebuilt img")).to_have_count(2)
    until(page, lambda: sources(page, STOPS)[0] == before[0] and "the seed's")
    kept = sources(page, STOPS)
    assert alike(images_of(page, STOPS)[1], b)
    give(page, tmp_path / "bad.png")
    expect(page.get_by_text(re.compile("bad.png.*Not a picture")).nth(1)).to_be_visible()
    assert sources(page, STOPS) == kept
    page.locator("#stop-not-mine").click()
    until(page, lambda: sources(page, STOPS) != before and "not the seed's")
    expect(page.locator("#stop-rebuilt img")).to_have_count(0)


def test_play_runs_over_the_way_and_stops_where_it_is(interpolating):
    page = interpolating()
    play, places, at = page.locator("#interpolate-t button"), set(), 0.0

    def seen():
        places.add(page.locator("#interpolate-t output").inner_text())
        return len(places) < 5 and "it stands"

    while abs(36 * at - round(36 * at)) < 0.1:  # at a frame of the film the picture may be that very frame
        places.clear()
        play.click()
        expect(page.locator("#interpolate-film img")).to_have_count(37)
        until(page, seen)
        play.click()
        expect(play).to_have_text("Play")
        at = float(page.locator(SLIDER).input_value())
    expect(page.locator(SHOWN)).to_have_attribute("alt", f"{at:.2f} of the way from A to B")
    until(page, lambda: sources(page, SHOWN)[0] in sources(page, "#interpolate-film img") and "a frame's")


def test_explores_picture_becomes_an_end(visitor):
    page = visitor()
    tile = page.locator("#explore-wall .m2m-tile").nth(5)
    tile.click()
    picked = tile.get_attribute("aria-label")
    expect(page.locator("#explore-said")).to_contain_text(picked)
    page.locator("#explore-keep").click()
    page.locator("#explore-to-b").click()
    expect(page.locator("#interpolate-stops .m2m-tile").nth(1)).to_contain_text(picked)
    expect(page.locator("#interpolate-stops .m2m-tile").nth(0)).to_contain_text("Seed 1")
    page.locator("#interpolate-stops .m2m-tile").first.click()
    expect(page.locator("#stop-seed")).to_contain_text("Seed of A")
    page.get_by_role("button", name="Take a favourite").click()
    page.locator("#stop-favourites .m2m-tile").click()
    expect(page.locator("#interpolate-stops .m2m-tile").nth(0)).to_contain_text(picked)


def test_pictures_and_clips_are_saved(interpolating, tmp_path):
    page = interpolating()
    with page.expect_download() as download:
        page.locator("#interpolate-save").click()
    assert download.value.suggested_filename.endswith("-1-2-0.50.png")
    download.value.save_as(tmp_path / "picture.png")
    assert png_meta(tmp_path / "picture.png")["place"] == "0.5"
    page.get_by_role("button", name="Make a clip").click()
    page.locator("#clip-make").click()
    page.wait_for_function("document.querySelector('#clip-shown video')?.readyState >= 2")
    page.locator("#clip-kind").get_by_text("WebP").click()
    page.locator("#clip-make").click()
    page.wait_for_function("document.querySelector('#clip-shown img')?.naturalWidth >= 64")
    with page.expect_download() as download:
        page.locator("#clip-download").click()
    assert download.value.suggested_filename.endswith("-1-2.webp")
    download.value.save_as(tmp_path / "clip.webp")
    with Image.open(tmp_path / "clip.webp") as clip:  # equal frames in a row are one that stays
        frames = [frame.copy().info["duration"] for frame in ImageSequence.Iterator(clip)]
        assert min(clip.size) >= 64
    assert len(frames) > 50 and sum(frames) == pytest.approx(3000, rel=0.02)  # milliseconds
