"""The tab Transfer in a real browser: in few clicks, by the keyboard alone, and against files that are meant ill.

At the end of each test no error was in the page and no request went elsewhere (`browsing.visitor`).
"""

import re
import struct
import time
import zipfile
import zlib

import pytest
from browsing import SOME_STEPS, expect, fits, give, tab, until
from PIL import Image
from tiny import make_pictures

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]

ALT = """() => [...document.images].filter(i => !(i.alt || i.closest("button")?.ariaLabel || "").trim())
    .map(i => i.outerHTML.slice(0, 200))"""


WORDS = """() => {
    const tab = document.querySelector(".tabitem:has(#transfer-steps)"), found = [];
    const texts = document.createTreeWalker(tab, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const e = texts.currentNode.parentElement, seen = e.checkVisibility({visibilityProperty: true});
        if (seen && e.offsetWidth > 1) found.push(...texts.currentNode.textContent.match(/\\w\\S*/g) || []);
    }
    return found;
}"""


def few_words(page):
    """A step of the tab Transfer says little before anything is opened, numbers counted."""
    until(page, lambda: len(said := page.evaluate(WORDS)) > 60 and " ".join(said))


class Clicks:
    """Counts what a person presses."""

    def __init__(self):
        self.count = 0

    def __call__(self, locator):
        self.count += 1
        locator.click()


def added(page, *files, said):
    """Uploads them and waits for what the page says of them."""
    tab(page, "Transfer")
    give(page, *files)
    expect(page.locator("#transfer-summary")).to_contain_text(said)


def quickest(page):
    return page.locator("#transfer-seconds label").first


def test_from_an_example_set_to_pictures_of_ones_own_in_four_clicks(visitor, shots):
    """And each click shows what is new: the next step is in the viewport, the one before is a line."""
    page, click, begun = visitor(), Clicks(), time.monotonic()
    click(page.get_by_role("tab", name="Transfer"))
    assert page.locator("#transfer-sets img").first.bounding_box()["y"] < 400
    click(page.locator("#transfer-sets .m2m-tile").first)
    expect(page.locator("#transfer-steps [aria-current]")).to_contain_text("Check")
    expect(page.locator("#transfer-sets")).to_be_hidden()
    expect(page.locator("#transfer-summary")).to_contain_text("pictures can be used")
    expect(page.locator("#transfer-steps")).to_contain_text("200 pictures · Aliens")
    expect(page.locator("#transfer-start")).to_be_in_viewport()
    few_words(page)
    click(quickest(page))
    click(page.locator("#transfer-start"))
    expect(page.locator("#transfer-steps [aria-current]")).to_contain_text("Train")
    expect(page.locator("#transfer-previews img").first).to_be_in_viewport()
    expect(page.locator("#transfer-distances svg")).to_be_visible()
    few_words(page)
    expect(page.locator("#transfer-status")).to_contain_text("Done", timeout=600_000)
    expect(page.locator("#transfer-samples img").nth(15)).to_be_in_viewport()
    if "Its time was up" not in page.locator("#transfer-status").inner_text():  # that needs words of its own
        few_words(page)
    took = time.monotonic() - begun
    print(f"{click.count} clicks, {took:.0f} s, {page.locator('#transfer-samples img').count()} pictures")
    assert click.count <= 4
    expect(page.locator("#transfer-previews")).to_be_hidden()
    until(page, lambda: page.title() != "Mind2Mind" and page.title())
    assert page.evaluate(ALT) == []
    page.screenshot(path=shots / "transfer-four-clicks.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 900})
    fits(page)


def test_one_click_in_the_first_tab_trains_the_first_example(visitor):
    page = visitor()
    expect(page.locator("#explore-try")).to_contain_text("aliens in about 20 s")
    page.locator("#explore-try").click()
    expect(page.locator("#transfer-status")).to_contain_text(re.compile("Training|Waiting"))
    expect(page.locator("#transfer-steps")).to_contain_text("Aliens")
    page.locator("#transfer-stop").click()
    expect(page.locator("#transfer-status")).to_contain_text(re.compile("Stopped|Ready"))


def test_from_a_folder_of_ones_own_in_six_clicks(visitor, tmp_path):
    page, click = visitor(), Clicks()
    folder = make_pictures(tmp_path / "mine", 12)
    click(page.get_by_role("tab", name="Transfer"))
    with page.expect_file_chooser() as chooser:
        click(page.locator("#transfer-folder"))
    click.count += 1  # the browser's own window: choose the folder
    chooser.value.set_files(folder)
    expect(page.locator("#transfer-summary")).to_contain_text("12 pictures can be used")
    click(quickest(page))
    click(page.locator("#transfer-start"))
    expect(page.locator("#transfer-status")).to_contain_text(SOME_STEPS)
    assert click.count <= 6
    page.locator("#transfer-stop").click()
    expect(page.locator("#transfer-samples img").first).to_be_visible()


def test_the_keyboard_alone_starts_a_run(visitor):
    """From the opened page by Tab, Enter and arrow keys."""
    page = visitor()
    to(page, "[role=tab]", "Transfer")
    page.keyboard.press("Enter")
    expect(page.locator("#transfer-sets img").first).to_be_visible()
    to(page, "#transfer-sets button")
    page.keyboard.press("Enter")
    expect(page.locator("#transfer-summary")).to_contain_text("pictures can be used")
    stops = to(page, "#transfer-seconds input")
    page.keyboard.press("ArrowUp")
    stops += to(page, "#transfer-start")
    assert stops <= 8
    page.keyboard.press("Enter")
    expect(page.locator("#transfer-status")).to_contain_text(re.compile("Training|Waiting"))
    to(page, "#transfer-stop")
    page.keyboard.press("Enter")
    expect(page.locator("#transfer-status")).to_contain_text(re.compile("Stopped|Ready"))


def to(page, selector, text=""):
    """Presses Tab until what is focused is this; tells how often."""
    for count in range(1, 120):
        page.keyboard.press("Tab")
        focused = (
            "([s, t]) => { const e = document.activeElement; return e.matches(s) && e.innerText.includes(t) }"
        )
        if page.evaluate(focused, [selector, text]):
            return count
    raise AssertionError(f"The keyboard does not reach {selector}.")


def test_a_foreign_token_shows_nothing(visitor, tmp_path):
    """Two browsers: what one stores about itself, with a guessed token, opens nothing in the other."""
    mine, theirs = visitor(), visitor()
    added(mine, *sorted(make_pictures(tmp_path / "mine", 9).iterdir()), said="9 pictures can be used")
    added(
        theirs,
        *sorted(make_pictures(tmp_path / "theirs", 7, seed=1).iterdir()),
        said="7 pictures can be used",
    )
    assert set(images(mine, "#transfer-compared")).isdisjoint(images(theirs, "#transfer-compared"))
    for token in ("A" * 22, "../../etc/passwd", "x"):
        theirs.goto(re.sub(r"\?.*", f"?token={token}&run={token}", theirs.url))
        tab(theirs, "Transfer")
        expect(theirs.locator("#transfer-summary")).to_contain_text("7 pictures can be used")
        assert "9 pictures" not in theirs.locator("body").inner_text()
    kept = mine.evaluate("JSON.stringify(localStorage)")
    assert not re.search(r'token\\?":\\?"[A-Za-z0-9_-]{22}', kept)  # it is encrypted


def images(page, selector):
    return [img.get_attribute("src") for img in page.locator(f"{selector} img").all()]


def test_a_tab_closed_in_the_middle_of_a_run_finds_it_again(visitor, tmp_path):
    page = visitor()
    added(page, *sorted(make_pictures(tmp_path, 20).iterdir()), said="20 pictures can be used")
    page.locator("#transfer-seconds label").nth(2).click()
    page.locator("#transfer-start").click()
    expect(page.locator("#transfer-status")).to_contain_text("Training")
    url, context = page.url, page.context
    page.close()
    page = context.new_page()
    page.goto(url)
    tab(page, "Transfer")
    expect(page.locator("#transfer-status")).to_contain_text("Training")
    expect(page.locator("#transfer-previews img")).to_have_count(16)
    expect(page.locator("#transfer-status")).to_contain_text(SOME_STEPS)
    shown = step(page)
    page.locator("#transfer-stop").click()
    expect(page.locator("#transfer-status")).to_contain_text("Stopped")
    stopped = step(page)
    assert stopped >= shown > 0
    page.locator("#transfer-go-on").click()
    expect(page.locator("#transfer-status")).to_contain_text("Training")
    until(page, lambda: step(page) <= stopped and "it did not go on")
    page.locator("#transfer-stop").click()
    expect(page.locator("#transfer-status")).to_contain_text("Stopped")


def test_a_run_discarded_on_one_page_is_told_of_on_the_other(visitor, tmp_path):
    page = visitor()
    added(page, *sorted(make_pictures(tmp_path, 12).iterdir()), said="12 pictures can be used")
    page.locator("#transfer-seconds label").nth(2).click()
    page.locator("#transfer-start").click()
    expect(page.locator("#transfer-status")).to_contain_text(SOME_STEPS)
    other = page.context.new_page()
    other.goto(page.url)
    tab(other, "Transfer")
    expect(other.locator("#transfer-status")).to_contain_text(SOME_STEPS)
    other.locator("#transfer-delete summary").click()
    other.locator("#transfer-delete button").click()
    for each in (page, other):
        expect(each.locator("#transfer-message")).to_contain_text("The run is deleted")
        expect(each.locator("#transfer-status")).to_be_hidden()
        expect(each.locator("#transfer-sets")).to_be_visible()
    added(other, *sorted(make_pictures(tmp_path / "next", 9).iterdir()), said="9 pictures can be used")


def step(page):
    found = re.search(r"Step ([\d,]+) of", page.locator("#transfer-status").inner_text())
    return int(found[1].replace(",", "")) if found else 0


def test_every_ill_file_is_told_of_and_the_page_goes_on(visitor, tmp_path):
    """One upload of all of them beside good ones, then good ones alone: the page is still usable."""
    page, folder = visitor(), tmp_path / "ill"
    good = sorted(make_pictures(tmp_path / "good", 6).iterdir())
    files = [*good, *ill_files(folder, good[0]), *twins(tmp_path, good)]
    added(page, *files, said="pictures can be used")
    tell = page.locator("#transfer-summary").inner_text()
    assert int(re.search(r"(\d+) pictures can be used", tell)[1]) == 6 + 3, tell
    page.get_by_role("button", name="Every file").click()
    report = page.locator("#transfer-report").inner_text()
    for name, words in {
        "text.jpg": "Not a picture",
        "empty.png": "empty",
        "cut.jpg": "cut off",
        "huge.png": "pixels",
        "copy.png": "Duplicate",
    }.items():
        (line,) = [line for line in report.splitlines() if name in line]
        assert words.lower() in line.lower(), line
    assert "fête 😀.png" in report
    added(page, *good[:5], said="pictures can be used")
    assert page.locator("#transfer-start").is_enabled()


def ill_files(folder, good):
    folder.mkdir()
    (folder / "text.jpg").write_text("not a picture, whatever its name says")
    (folder / "empty.png").write_bytes(b"")
    Image.effect_noise((256, 256), 80).save(folder / "cut.jpg")
    whole = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "huge.png").write_bytes(png_of(30_000))
    (folder / "copy.png").write_bytes(good.read_bytes())
    return sorted(folder.iterdir())


def png_of(side):
    """A black picture of side x side in some 100 kB."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, line = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    lines = [packer.compress(line) for _ in range(side)]
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = b"".join(lines) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def twins(folder, good):
    """Two files of one name and one of unicode."""
    made = []
    for i, name in enumerate(("same.png", "same.png", "fête 😀.png")):
        path = make_pictures(folder / f"twin{i}", 1, seed=10 + i) / "000.png"
        made.append(path.rename(path.with_name(name)))
    return made


def test_an_ill_zip_is_told_of_and_writes_nowhere(visitor, app, tmp_path):
    """Names that climb, a bomb, folders in folders, a zip in a zip, and what is no zip at all."""
    page = visitor()
    picture = next(make_pictures(tmp_path / "in", 1).iterdir()).read_bytes()
    others = [p.read_bytes() for p in sorted(make_pictures(tmp_path / "more", 3, seed=5).iterdir())]
    with zipfile.ZipFile(tmp_path / "ill.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../climbs.png", picture)
        archive.writestr("/tmp/absolute.png", others[0])
        archive.writestr("a/b/c/d/deep.png", others[1])
        archive.writestr("a/b/c/d/tief ü.png", others[2])
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18))
        archive.writestr("__MACOSX/._deep.png", b"of a Mac")
        with archive.open("bomb.png", "w", force_zip64=True) as bomb:
            for _ in range(1100):  # a little more than one file may have
                bomb.write(bytes(1_000_000))
    assert (tmp_path / "ill.zip").stat().st_size < 5e6
    added(page, tmp_path / "ill.zip", said="can be used")
    page.get_by_role("button", name="Every file").click()
    report = page.locator("#transfer-report").inner_text()
    (line,) = [line for line in report.splitlines() if "bomb.png" in line]
    assert "skipped" in line and "more than 1.0 GB" in line, line
    assert "a/b/c/d/deep.png" in report and "tief ü.png" in report
    assert not list(app.home.rglob("climbs.png")) and not list(app.home.parent.rglob("absolute.png"))
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 no zip at all")
    give(page, tmp_path / "no.zip")
    expect(page.get_by_text(re.compile("no.zip is no whole zip", re.IGNORECASE)).first).to_be_visible()
    expect(page.locator("#transfer-start")).to_be_visible()  # the set that was there is shown again
    added(page, *sorted((tmp_path / "more").iterdir()), said="pictures can be used")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab_fits_a_phone_and_every_picture_has_words(visitor, shots, tmp_path, theme):
    page = visitor(width=390, theme=theme)
    added(page, *sorted(make_pictures(tmp_path, 12).iterdir()), said="12 pictures can be used")
    for accordion in page.get_by_role("button", name="Every file").all():
        accordion.click()
    for name in ("Models", "Interpolate", "Explore", "Transfer"):
        tab(page, name)
        fits(page)
        assert page.evaluate(ALT) == [], name
    page.screenshot(path=shots / f"phone-transfer-checked-{theme}.png", full_page=True)
