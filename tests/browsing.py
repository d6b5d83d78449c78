"""Fixtures of the tests in Chromium: the app, the browser, visitors. Without Chromium skipped, except in CI."""

import base64
import contextlib
import io
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from live import ROOT, live_app
from PIL import Image

if "CI" in os.environ:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whatever is asked for elsewhere is not there
]  # fmt: skip
PATIENCE = 180_000  # ms: other work may be going on
expect.set_options(timeout=PATIENCE)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
GONE = "null (reading 'offsetWidth')"  # Gradio's plot, hidden while its library is still on its way
SOME_STEPS = re.compile(r"Step [1-9]")  # what a run at work says once there is something to keep


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """With the bundled models but those of 128 px, which take twice as long, or those of `$MIND2MIND_WEIGHTS`."""
    folder, weights = tmp_path_factory.mktemp("browser"), tmp_path_factory.mktemp("weights")
    for model in (ROOT / "weights").iterdir():
        if not model.name.endswith("128"):
            (weights / model.name).symlink_to(model)
    with live_app(folder, None if "MIND2MIND_WEIGHTS" in os.environ else weights) as running:
        yield running


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI needs Chromium: apt-get install chromium"
        pytest.skip("no Chromium here")
    with launched() as browser:
        yield browser


@contextlib.contextmanager
def launched():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    given = os.environ.get("MIND2MIND_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visitor(app, chromium):
    """Opens the page as a new visitor; at the end nothing may have gone wrong or outside in any of them."""
    contexts, outside, errors, before = [], [], [], len(app.log.read_text())

    def note(request):
        if not request.url.startswith((app.url, "data:", "blob:")):
            outside.append(request.url)

    def open_page(width=1280, theme="light", query=""):
        context = chromium.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        context.on("request", note)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error) if GONE not in error.message else None)
        page.goto(f"{app.url}?__theme={theme}{query}")
        expect(page.locator("#explore-wall img")).to_have_count(16)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not outside and not errors
    said = app.log.read_text()[before:]
    # who leaves a page while two of its events go on: Gradio ends the second one's stream with two tracebacks
    left = 2 * said.count("fastapi.exceptions.HTTPException: 404: Not Found")
    assert said.count("Traceback") == left, said


def until(page, condition):
    """Waits for what `expect` has no words for: until the condition gives nothing, or what it gave is told."""
    deadline = time.monotonic() + PATIENCE / 1000
    while left := condition():
        assert time.monotonic() < deadline, left
        page.wait_for_timeout(50)


WIDER = """() => [...document.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    if (box.width === 0 || box.right <= innerWidth + 1) return false;
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
        if (getComputedStyle(p).overflowX !== 'visible') return false;
    return true;
}).map(e => e.tagName + '#' + e.id + '.' + e.className).slice(0, 5).concat(
    document.documentElement.scrollWidth > innerWidth ? ['the page'] : [])"""


# What is written with less contrast than 4.5 (WCAG 2.1, 1.4.3), but for what cannot be used now.
FAINT = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = (top, below) => below.map((value, i) => (top[i] * top[3] + value * (255 - top[3])) / 255);
    const light = colour => colour.map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = e => rgba(getComputedStyle(e).backgroundColor);
    const behind = e => e ? over(ground(e), behind(e.parentElement)) : [255, 255, 255];
    const faint = e => {
        const below = behind(e), [a, b] = [below, over(rgba(getComputedStyle(e).color), below)].map(light);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) {
        const text = texts.currentNode.textContent.trim(), e = texts.currentNode.parentElement;
        const seen = e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.offsetWidth;
        if (text && seen && !e.closest(':disabled') && faint(e)) found.push(text);
    }
    return found;
}"""


def fits(page):
    """Nothing is wider than the window, once all that follows a new width has followed."""
    until(page, lambda: page.evaluate(WIDER))


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def give(page, *files):
    """Uploads pictures on the tab Transfer, at whichever step it is."""
    back = page.locator("#transfer-steps p [data-step=pictures]")
    if back.count():
        back.click()
    page.locator("#transfer-files input[type=file]").set_input_files([str(file) for file in files])


def take_long(page):
    """Chooses so many steps that a run is not done before it is stopped: one by time may end early."""
    page.get_by_label("Other …").check()
    page.locator("#transfer-unit").get_by_label("steps").check()
    page.locator("#transfer-amount input").fill("40000")
    page.locator("#transfer-amount input").blur()


def pixels(page, image):
    """What the first such <img> shows."""
    return shown_by(page, page.locator(image).first).tobytes()


def images_of(page, images):
    """What such <img>s show, as PIL images."""
    return [shown_by(page, image) for image in page.locator(images).all()]


def shown_by(page, image):
    source = image.get_attribute("src")
    if source.startswith("data:"):
        data = base64.b64decode(source.partition(",")[2])
    else:
        data = page.request.get(source).body()
    return Image.open(io.BytesIO(data)).convert("RGB")
