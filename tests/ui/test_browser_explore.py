"""The tab Explore in a real browser: pictures first, and every way from one to others."""

import zipfile

import pytest
from browsing import expect, images_of, pixels, tab, until
from live import ROOT
from tiny import make_pictures, png_meta

from mind2mind.ui.explore import FIRST_SEED

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]

SHARE = """() => [...document.images].map(i => i.getBoundingClientRect()).reduce((sum, box) => {
    const side = (from, to, end) => Math.max(0, Math.min(to, end) - Math.max(from, 0));
    return sum + side(box.left, box.right, innerWidth) * side(box.top, box.bottom, innerHeight);
}, 0) / innerWidth / innerHeight"""
LARGE = "#explore-large img"


def changes(page, image=LARGE):
    """Once the picture is another."""
    before = pixels(page, image)
    return lambda: until(page, lambda: pixels(page, image) == before and f"{image} as before")


def test_the_first_screen_is_pictures(visitor, app, shots):
    page = visitor()
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(page.locator(".m2m-hero")).to_contain_text("Turns a folder of pictures into a generator")
    expect(page.locator("#explore-sliders input").first).to_be_visible()
    page.screenshot(path=shots / "explore.png")
    assert page.evaluate(SHARE) > 0.5
    phone = visitor(width=390)
    expect(phone.locator("#explore-sliders input").first).to_be_visible()
    phone.screenshot(path=shots / "explore-phone.png")
    assert phone.locator(LARGE).bounding_box()["y"] < 400
    assert phone.locator("#explore-wall img").first.bounding_box()["y"] < 844
    assert app.connections == ""


def test_pictures_are_drawn_and_saved_with_their_provenance(visitor, tmp_path):
    page = visitor()
    new = changes(page)
    page.locator("#explore-go").click()
    new()
    page.locator("#explore-seed input").fill("42")
    page.locator("#explore-seed input").press("Enter")
    expect(page.locator("#explore-said")).to_contain_text("Seed 42")
    for button, ending in (("#explore-zip", ".zip"), ("#explore-sheet", ".png"), ("#explore-save", ".png")):
        with page.expect_download() as download:
            page.locator(button).click()
        download.value.save_as(tmp_path / f"{button[1:]}{ending}")
    with zipfile.ZipFile(tmp_path / "explore-zip.zip") as archive:
        assert len(archive.namelist()) == 16
        archive.extract(archive.namelist()[0], tmp_path)
        assert png_meta(tmp_path / archive.namelist()[0])["seed"] == "42"
    assert png_meta(tmp_path / "explore-sheet.png")["count"] == "16"
    assert png_meta(tmp_path / "explore-save.png")["seed"] == "42"


def test_a_picked_picture_is_changed_and_found_again(visitor):
    """By a click, by keys, by the strip, by a direction; then kept, found after a reload, and by its link."""
    page = visitor()
    top = page.evaluate("scrollY")
    page.locator("#explore-wall .m2m-tile").nth(3).click()
    expect(page.locator("#explore-said")).to_contain_text(f"Seed {FIRST_SEED + 3}")
    assert page.evaluate("scrollY") == top
    page.keyboard.press("ArrowRight")
    expect(page.locator("#explore-said")).to_contain_text(f"Seed {FIRST_SEED + 4}")
    new = changes(page)
    page.locator("#explore-strip .m2m-tile").nth(1).click()
    new()
    new = changes(page)
    page.locator("#explore-sliders input").nth(1).press("End")
    new()
    expect(page.locator("#explore-said")).to_contain_text("changed")
    page.locator("#explore-keep").click()
    expect(page.locator("#explore-keep")).to_have_text("♥ Kept")
    kept = images_of(page, LARGE)[0]
    link = page.locator("#explore-said a").get_attribute("href")
    page.reload()
    tab(page, "Favourites")
    expect(page.locator("#explore-favourites img")).to_have_count(1)
    expect(page.locator("#explore-history img").first).to_be_visible()
    page.locator("#explore-favourites .m2m-tile").click()
    until(page, lambda: images_of(page, LARGE)[0].tobytes() != kept.tobytes() and "not the favourite")
    other = visitor(query="&" + link.partition("?")[2])
    until(other, lambda: images_of(other, LARGE)[0].tobytes() != kept.tobytes() and "not that of the link")


def test_neighbours_map_and_mixing(visitor, shots):
    page = visitor()
    before = [image.tobytes() for image in images_of(page, "#explore-wall img")]
    page.locator("#explore-alike").click()
    until(
        page,
        lambda: [i.tobytes() for i in images_of(page, "#explore-wall img")][1:] == before[1:] and "as before",
    )
    assert images_of(page, "#explore-wall img")[0].tobytes() == before[0]
    tab(page, "Map")
    cells = page.locator(".m2m-plane img")
    expect(cells).to_have_count(49)
    page.locator(".m2m-plane").press("ArrowRight")
    expect(cells).to_have_count(56)  # another column, and those that were there
    box = page.locator(".m2m-plane").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 20, steps=5)
    page.mouse.up()
    until(page, lambda: cells.count() < 63 and "no new row")
    page.screenshot(path=shots / "map.png")
    page.locator(".m2m-plane").press("Enter")
    expect(page.locator("#explore-said")).to_contain_text("of its map")
    tab(page, "Mix")
    expect(page.locator("#explore-mixed img")).to_have_count(24)
    new = changes(page, "#explore-mixed img >> nth=5")
    page.locator("#explore-crossover input[type=range]").press("Home")
    new()
    page.screenshot(path=shots / "mix.png")
    page.locator("#explore-mixed .m2m-tile").nth(5).click()
    expect(page.locator("dialog img")).to_be_visible()
    shown = page.locator("dialog p").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog p")).not_to_have_text(shown)
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_a_picture_of_ones_own_begins_and_a_bad_one_is_told(visitor, tmp_path):
    page = visitor()
    known = sorted((ROOT / "assets/aliens").glob("*.webp"))[:1] or sorted(
        make_pictures(tmp_path / "a", 1).iterdir()
    )
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    for file, said in ((known[0], "Your picture"), (tmp_path / "bad.png", "Your picture")):
        with page.expect_file_chooser() as chooser:
            page.locator("#explore-photo").click()
        chooser.value.set_files(file)
        expect(page.locator("#explore-said")).to_contain_text(said)
        if file.name == "bad.png":
            expect(page.get_by_text("Not a picture")).to_be_visible()
    expect(page.locator("#explore-rebuilt img")).to_have_count(2)
    expect(page.locator("#explore-rebuilt")).to_contain_text("dB")
