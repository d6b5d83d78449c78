"""The app in a real browser: draw, drag, upload, train, use."""

import contextlib
import re
import shutil
import zipfile

import pytest
from browsing import FAINT, SOME_STEPS, expect, fits, give, pixels, tab, take_long, until
from gradio_client import Client
from live import ROOT, free_port, live_app
from tiny import make_pictures, make_weights
from web import forwarding

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]


def pictures_to_learn(folder):
    """30 pictures, and one file that is none."""
    files = sorted((ROOT / "assets/aliens").glob("*.webp"))[:30] or sorted(
        make_pictures(folder, 30).iterdir()
    )
    (folder / "notes.txt").parent.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text("not a picture")
    return [*files, folder / "notes.txt"]


def test_from_thirty_pictures_to_new_ones(visitor, shots, tmp_path):
    """Upload, check, train, lose the tab, find the run again, stop it, and sample the result."""
    page, other = visitor(), visitor()
    tab(page, "Transfer")
    give(page, *pictures_to_learn(tmp_path))
    expect(page.locator("#transfer-summary")).to_contain_text("30 pictures can be used, 1 cannot")
    expect(page.locator("#transfer-compared img")).to_have_count(12)
    page.screenshot(path=shots / "transfer-check.png", full_page=True)
    take_long(page)
    page.locator("#transfer-start").click()
    expect(page.locator("#transfer-status")).to_contain_text("Training")
    expect(page.locator("#transfer-previews img")).to_have_count(16)
    expect(page.locator("#transfer-distances polyline").first).to_be_visible()
    expect(page.locator("#run-chip")).to_contain_text("%")
    tab(page, "Models")
    until(page, lambda: None if re.match(r"\d+ % · Mind2Mind", page.title()) else page.title())
    page.locator("#run-chip button").click()
    expect(page.locator("#transfer-stop")).to_be_in_viewport()
    page.screenshot(path=shots / "transfer-live.png", full_page=True)

    page.reload()
    tab(page, "Transfer")
    expect(page.locator("#transfer-previews img")).to_have_count(16)
    page.get_by_role("button", name="Share").click()
    link = page.locator("#transfer-link").locator("input, textarea").first.input_value()
    phone = visitor(width=390, query=f"&run={link.partition('?run=')[2]}")
    expect(phone.locator("#transfer-previews img")).to_have_count(16)
    stranger = visitor(query=f"&run={'x' * 22}")
    expect(stranger.locator("#transfer-message")).to_contain_text("no run under this link")
    expect(stranger.locator("#transfer-status")).to_be_hidden()
    expect(page.locator("#transfer-status")).to_contain_text(SOME_STEPS)
    page.locator("#transfer-stop").click()
    expect(page.locator("#transfer-status")).to_contain_text("Stopped")
    expect(page.locator("#transfer-samples img")).to_have_count(64)
    page.screenshot(path=shots / "transfer-result.png", full_page=True)
    with page.expect_download() as download:
        page.locator("#transfer-download").click()
    download.value.save_as(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert any(name.endswith("model.safetensors") for name in archive.namelist())

    before = pixels(page, "#explore-wall img")
    page.locator("#transfer-use").click()
    expect(page.locator("#explore-go")).to_be_visible()
    until(page, lambda: pixels(page, "#explore-wall img") == before and "the same pictures")
    page.screenshot(path=shots / "sample-of-the-result.png", full_page=True)

    other.reload()  # somebody else sees nothing of it
    other.locator("#model input").click()
    assert other.get_by_role("option").count() == len(list_of_models(page)) - 1
    tab(other, "Transfer")
    expect(other.locator("#transfer-files")).to_be_visible()
    expect(other.locator("#transfer-status")).to_be_hidden()


def test_two_visitors_train_at_once_and_each_sees_its_own(visitor, tmp_path):
    pages = [visitor(), visitor()]
    for i, page in enumerate(pages):
        tab(page, "Transfer")
        files = sorted(make_pictures(tmp_path / str(i), 12 + i).iterdir())
        give(page, *files)
        expect(page.locator("#transfer-summary")).to_contain_text(f"{12 + i} pictures can be used")
        take_long(page)
    for page in pages:
        page.locator("#transfer-start").click()
    for page in pages:
        expect(page.locator("#transfer-status")).to_contain_text(re.compile("Training|Waiting"))
    for i, page in enumerate(pages):  # one worker trains one after the other
        expect(page.locator("#transfer-status")).to_contain_text("Training")
        page.locator("#transfer-stop").click()
        expect(page.locator("#transfer-status")).to_contain_text("Stopped")
        page.reload()
        tab(page, "Transfer")
        expect(page.locator("#transfer-steps")).to_contain_text(f"{12 + i} pictures")
        page.get_by_role("button", name="Your runs").click()
        expect(page.locator("#transfer-runs label")).to_have_count(1)
        expect(page.locator("#transfer-runs label")).to_contain_text(f"{12 + i} pictures")


def test_a_folder_and_a_zip_are_taken(visitor, tmp_path):
    page = visitor()
    tab(page, "Transfer")
    folder = make_pictures(tmp_path / "set", 6)
    with page.expect_file_chooser() as chooser:
        page.locator("#transfer-folder").click()
    chooser.value.set_files(folder)
    expect(page.locator("#transfer-summary")).to_contain_text("6 pictures can be used")
    expect(page.locator("#transfer-name").locator("input, textarea")).to_have_value("set")  # as the folder
    shutil.make_archive(str(tmp_path / "set"), "zip", make_pictures(folder / "deeper", 3, seed=1).parent)
    give(page, tmp_path / "set.zip")
    expect(page.locator("#transfer-summary")).to_contain_text("9 pictures can be used")


def list_of_models(page):
    page.locator("#model input").click()
    return page.get_by_role("option").all_inner_texts()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling_and_reads_well(visitor, shots, theme):
    page = visitor(width=390, theme=theme)
    for name in ("Explore", "Interpolate", "Transfer", "Models"):
        tab(page, name)
        expect(page.get_by_role("tabpanel").locator("visible=true").first).to_be_visible()
        fits(page)
        until(page, lambda: page.evaluate(FAINT))
        page.screenshot(path=shots / f"phone-{name.lower()}-{theme}.png", full_page=True)


@pytest.mark.parametrize("whole", [False, True])
def test_the_page_works_under_a_path_of_a_proxy(chromium, tmp_path, whole):
    """Also of one that does not say how it is called itself, if the app is told its whole address."""
    port, path, weights = free_port(), "/toons/heads", make_weights(tmp_path / "weights")
    given = f"http://127.0.0.1:{port}{path}" if whole else f"{path.strip('/')}/"
    with (
        live_app(tmp_path / "app", weights, settings={"GRADIO_ROOT_PATH": given}) as app,
        forwarding(app.url, path, port, tells=not whole) as url,
        contextlib.closing(chromium.new_page()) as page,
    ):
        strays = []
        inside = (url, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(inside) else strays.append(r.url))
        page.on("response", lambda r: None if r.ok else strays.append(f"{r.status} {r.url}"))
        page.goto(url)
        expect(page.locator("#explore-wall img")).to_have_count(16)
        pixels(page, "#explore-wall img")
        tab(page, "Transfer")
        give(page, *sorted(make_pictures(tmp_path / "pictures", 4).iterdir()))
        expect(page.locator("#transfer-summary")).to_contain_text("4 pictures can be used")
        assert not strays
        assert Client(url, verbose=False).predict(seed=1, count=1, api_name="/sample")
