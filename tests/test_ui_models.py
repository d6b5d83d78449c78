"""The tab Models: its handlers as plain functions, and a download in a real browser."""

import shutil
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from live import live_app
from reference import PARITY
from test_browser import FLAGS, PATIENCE, expect, sync_api
from tiny import make_studio, make_weights
from web import COMMIT, put_on_hub, serving

from mind2mind import fetch, ui
from mind2mind.config import PUBLIC
from mind2mind.remote import REMOTE

PAGE = SimpleNamespace(session_hash="page")


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    monkeypatch.setattr(fetch, "EVERY", 0.0)
    with serving() as web:
        small = replace(
            REMOTE["ffhq"], id="small", url=web.url + "/small.pth", architecture=None, kept_bytes=10**6
        )
        monkeypatch.setitem(REMOTE, "small", small)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", web.url)
        web.put("/small.pth", (PARITY / "official_layout_small.pth").read_bytes())
        yield web


def tab_of(studio):
    ui.set_environment(studio.home)
    from mind2mind.ui.assembly import Page

    return Page(studio)


@pytest.fixture
def page(web, tmp_path):
    return tab_of(make_studio(tmp_path))


def choices(component):
    return [value for _, value in component.choices]


def test_a_download_from_the_first_press_to_the_lists(page, web):
    tab = page.models
    row, button = tab.rows["small"]
    first, *updates = tab._getter("small")(PAGE)
    assert first[tab.stop].visible and not first[button].interactive and not first[tab.from_hub].interactive
    told = [update[tab.status] for update in updates]
    assert "Downloading ALAE FFHQ" in told[0] and 'aria-valuenow="100"' in "".join(told)
    assert "small is here" in told[-1] and not tab.stops
    after = tab.look(PAGE)
    assert not after[row].visible and after[button].interactive and not after[tab.stop].visible
    assert "ALAE FFHQ" in after[tab.here] and 'alt="Samples of ALAE FFHQ"' in after[tab.here]
    assert choices(after[tab.removable]) == ["small"]
    assert [choices(dropdown) for dropdown in page.known_models(None)] == [["tiny", "small"]] * 2
    assert choices(page.known_sources()) == ["tiny", "small"] and page.known_sources().visible
    assert "small is gone" in tab.forget("small")[tab.status]
    assert tab.look(PAGE)[row].visible


def test_stop_keeps_the_part(page, web):
    tab = page.models
    updates = tab._getter("small")(PAGE)
    next(updates)
    next(updates)
    assert tab.halt(PAGE).interactive is False
    assert set(tab.look(PAGE)) == {tab.here}  # the buttons wait
    *_, last = updates
    assert "What is there is kept" in last[tab.status] and not tab.stops
    assert (page.studio.home / "downloads/.parts/small/file.pth.part").exists()
    *_, last = tab._getter("small")(PAGE)
    assert "is here" in last[tab.status]


def test_what_goes_wrong_is_told_escaped_and_stays(page, web):
    tab = page.models
    for ref, words in (
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt; could not be downloaded"),
        ("me/none", "no repository"),
    ):
        *_, last = tab.get_from_hub(f" {ref} ", PAGE)
        assert words in last[tab.status] and "m2m-poor" in last[tab.status] and not tab.stops
    import gradio as gr

    with pytest.raises(gr.Error, match="was not downloaded"):
        tab.forget(None)


def test_a_card_escapes_what_a_stranger_wrote(page, web, tmp_path):
    folder = make_weights(tmp_path / "theirs", name="theirs", seed=1) / "theirs"
    config = (folder / "config.json").read_text()
    evil = "<script>alert(1)</script>"
    (folder / "config.json").write_text(config.replace("Tiny", evil).replace('"noise"', f'"{evil}"'))
    put_on_hub(web, "me/toys", folder)
    list(page.models.get_from_hub("me/toys", PAGE))
    shown = page.models.look(PAGE)[page.models.here]
    assert "me/toys" in shown and "<script" not in shown and "&lt;script" in shown


def test_visitors_see_the_list_and_no_buttons(web, tmp_path):
    page = tab_of(make_studio(tmp_path, PUBLIC))
    assert page.models.everything == [page.models.here] and set(page.models.look(PAGE)) == {page.models.here}
    texts = [str(c.get("props", {}).get("value")) for c in page.demo.get_config_file()["components"]]
    assert any("ALAE CelebA" in text for text in texts) and "Download" not in texts


@pytest.mark.browser
@pytest.mark.slow
def test_a_visitor_downloads_stops_goes_on_and_draws(tmp_path, monkeypatch):
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here")
    theirs = make_weights(tmp_path / "theirs", name="theirs", seed=1) / "theirs"
    config = (theirs / "config.json").read_text()
    (theirs / "config.json").write_text(config.replace('"Tiny"', '"Toys"'))
    with serving() as web:
        put_on_hub(web, "me/toys", theirs)
        weights = web.pages[f"/me/toys/resolve/{COMMIT}/model.safetensors"]
        weights.gate, weights.holds = threading.Event(), len(weights.content) // 2
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with (
            live_app(tmp_path / "app", make_weights(tmp_path / "weights")) as app,
            sync_api.sync_playwright() as p,
        ):
            browser = p.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(app.url)
            page.get_by_role("tab", name="Models").click()
            expect(page.locator("#models-here")).to_contain_text("Tiny")
            page.locator("#models-repository input, #models-repository textarea").fill("me/toys")
            page.locator("#models-from-hub").click()
            expect(page.locator("#models-status")).to_contain_text("Downloading model.safetensors")
            page.locator("#models-stop").click()
            expect(page.locator("#models-stop")).to_contain_text("Stopping")
            weights.gate.set()
            expect(page.locator("#models-status")).to_contain_text("What is there is kept")
            expect(page.locator("#models-stop")).to_be_hidden()
            page.locator("#models-from-hub").click()
            expect(page.locator("#models-here")).to_contain_text("Toys")
            expect(page.locator("#models-here img")).to_have_attribute("alt", "Samples of Toys")
            page.get_by_role("tab", name="Sample").click()
            page.locator("#sample-model input").click()
            page.get_by_role("option", name="Toys").click()
            expect(page.locator("#sample-about")).to_contain_text("16 pictures")
            page.get_by_role("tab", name="Models").click()
            page.set_viewport_size({"width": 390, "height": 900})
            page.wait_for_function("document.documentElement.scrollWidth <= 390")
            browser.close()
            assert app.connections == ""
