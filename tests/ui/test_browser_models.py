"""A visitor in a real browser fetches a model from a Hub on the loopback, stops, goes on, and draws with it."""

import threading

import pytest
from browsing import PATIENCE, expect, fits, pixels, tab, until
from live import live_app
from tiny import make_weights
from web import COMMIT, put_on_hub, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]


def test_a_visitor_downloads_stops_goes_on_and_draws(tmp_path, monkeypatch, chromium):
    theirs = make_weights(tmp_path / "theirs", name="theirs", seed=1) / "theirs"
    config = (theirs / "config.json").read_text()
    (theirs / "config.json").write_text(config.replace('"Tiny"', '"Toys"'))
    with serving() as web:
        put_on_hub(web, "me/toys", theirs)
        weights = web.pages[f"/me/toys/resolve/{COMMIT}/model.safetensors"]
        weights.gate, weights.holds, weights.drips = threading.Event(), len(weights.content) // 2, True
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with live_app(tmp_path / "app", make_weights(tmp_path / "weights")) as app:
            page = chromium.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(app.url)
            tab(page, "Models")
            expect(page.locator("#models-here")).to_contain_text("Tiny")
            page.get_by_role("button", name="Download more models").click()
            page.locator("#models-repository input, #models-repository textarea").fill("me/toys")
            page.locator("#models-from-hub").click()
            expect(page.locator("#models-status")).to_contain_text("Downloading model.safetensors")
            page.locator("#models-stop").click()
            expect(page.locator("#models-status")).to_contain_text("What is there is kept")
            expect(page.locator("#models-stop")).to_be_hidden()
            weights.gate.set()
            page.locator("#models-from-hub").click()
            expect(page.locator("#models-here")).to_contain_text("Toys")
            theirs = page.locator(".m2m-card", has_text="Toys")
            expect(theirs.locator("img")).to_have_attribute("alt", "Samples of Toys")
            tab(page, "Explore")
            before = pixels(page, "#explore-wall img")
            tab(page, "Models")
            theirs.get_by_role("button", name="Explore").click()
            until(page, lambda: pixels(page, "#explore-wall img") == before and "the same pictures")
            assert page.locator("#model input").input_value() == "Toys"
            expect(page.locator(".toast-body")).to_have_count(0)  # no tab that was never opened complains
            tab(page, "Models")
            page.set_viewport_size({"width": 390, "height": 900})
            fits(page)
            theirs.locator("summary", has_text="Remove").click()
            theirs.get_by_role("button", name="Yes, remove it").click()
            expect(theirs).to_have_count(0)
            page.close()
            assert app.connections == ""
