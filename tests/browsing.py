"""Fixtures of the tests in Chromium: the app, the browser, visitors. Without Chromium skipped, except in CI."""

import io
import os
import shutil
from pathlib import Path

import pytest
from live import ROOT, live_app
from PIL import Image
from tiny import make_weights

if "CI" in os.environ:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PATIENCE = 60_000  # ms: other work may be going on
expect.set_options(timeout=PATIENCE)
SHIPPED = ROOT / "weights"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    shipped = "MIND2MIND_WEIGHTS" in os.environ or any(SHIPPED.glob("*/config.json"))
    with live_app(folder, None if shipped else make_weights(folder / "weights")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        assert "CI" not in os.environ, "CI needs Chromium: apt-get install chromium"
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    given = os.environ.get("MIND2MIND_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visitor(app, chromium):
    """Opens the page as a new visitor; at the end nothing may have gone wrong or outside in any of them."""
    contexts, outside, errors = [], [], []

    def guard(route):
        if route.request.url.startswith((app.url, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    def open_page(width=1280, theme="light", query=""):
        context = chromium.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        context.route("**/*", guard)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"{app.url}?__theme={theme}{query}")
        expect(page.locator("#sample-gallery img")).to_have_count(16)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not outside and not errors


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def pixels(page, image):
    """What an <img> shows."""
    data = page.request.get(page.locator(image).first.get_attribute("src")).body()
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()
