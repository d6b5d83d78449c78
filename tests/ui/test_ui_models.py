"""The tab Models: its handlers as plain functions."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from reference import PARITY
from tiny import make_studio, make_weights
from web import put_on_hub, serving

from mind2mind.config import PUBLIC
from mind2mind.errors import Mind2MindError
from mind2mind.models import hub
from mind2mind.models.hub import REMOTE
from mind2mind.ui.page import Page

PAGE = SimpleNamespace(session_hash="page")


@pytest.fixture(autouse=True)
def gradios_files(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "PAUSE", 0.0)
    monkeypatch.setattr(hub, "EVERY", 0.0)
    with serving() as web:
        small = replace(
            REMOTE["ffhq"], id="small", url=web.url + "/small.pth", architecture=None, kept_bytes=10**6
        )
        monkeypatch.setitem(REMOTE, "small", small)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", web.url)
        web.put("/small.pth", (PARITY / "official_layout_small.pth").read_bytes())
        yield web


@pytest.fixture
def page(web, tmp_path):
    return Page(make_studio(tmp_path))


def choices(component):
    return [value for _, value in component.choices]


def button(ref):
    return f'data-ref="{ref}"'


def test_a_download_from_the_first_press_to_the_lists(page, web):
    tab = page.models
    first, *updates = tab.get({"ref": "small"}, PAGE)
    assert first[tab.stop].visible and not first[tab.from_hub].interactive
    assert first[tab.offers].count("disabled") == first[tab.offers].count("<button") > 0
    told = [update[tab.status] for update in updates]
    assert "Downloading ALAE FFHQ" in told[0] and 'aria-valuenow="100"' in "".join(told)
    assert "small is here" in told[-1] and not tab.stops
    after = tab.look(None, PAGE)
    assert after[tab.from_hub].interactive and not after[tab.stop].visible
    assert button("small") not in after[tab.offers] and button("ffhq") in after[tab.offers]
    assert "disabled" not in after[tab.offers]
    assert "ALAE FFHQ" in after[tab.here] and 'alt="Samples of ALAE FFHQ"' in after[tab.here]
    assert after[tab.here].count("Remove …") == 1  # what came with the program stays
    known = page.known_models(None)
    assert [choices(dropdown) for dropdown in known] == [["tiny", "small"]] * 2 and known[1].visible
    assert "small is gone" in tab.delete({"ref": "small"})
    assert button("small") in tab.look(None, PAGE)[tab.offers]


def test_a_card_leads_to_a_tab_with_its_model(page):
    model, tabs = page.show_model({"ref": "tiny", "tab": "interpolate"}, None)
    assert (model.value, tabs.selected) == ("tiny", "interpolate")
    for told in ({"ref": "gone", "tab": "explore"}, {"ref": "tiny", "tab": "x"}, {}):
        with pytest.raises(Mind2MindError, match="There is no"):
            page.show_model(told, None)


def test_stop_keeps_the_part(page, web):
    tab = page.models
    updates = tab.get("small", PAGE)
    next(updates)
    next(updates)
    assert tab.halt(PAGE).interactive is False
    assert set(tab.look(None, PAGE)) == {tab.here}  # the buttons wait
    *_, last = updates
    assert "What is there is kept" in last[tab.status] and not tab.stops
    assert (page.studio.home / "downloads/.parts/small/file.pth.part").exists()
    *_, last = tab.get("small", PAGE)
    assert "is here" in last[tab.status]


def test_enter_in_the_text_field_does_not_begin_a_second_download(page, web):
    tab = page.models
    updates = tab.get("small", PAGE)
    next(updates)
    stop = tab.stops["page"]
    with pytest.warns(UserWarning, match="One at a time"):  # a notice, where there is a page
        assert list(tab.get("me/toys", PAGE)) == []
    assert tab.stops["page"] is stop
    *_, last = updates
    assert "is here" in last[tab.status]


def test_what_goes_wrong_is_told_escaped_and_stays(page, web):
    tab = page.models
    for ref, words in (
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt; could not be downloaded"),
        ("me/none", "no repository"),
    ):
        *_, last = tab.get(f" {ref} ", PAGE)
        assert words in last[tab.status] and "m2m-poor" in last[tab.status] and not tab.stops
    with pytest.raises(Mind2MindError, match="was not downloaded"):
        tab.delete({"ref": ""})


def test_a_card_escapes_what_a_stranger_wrote(page, web, tmp_path):
    folder = make_weights(tmp_path / "theirs", name="theirs", seed=1) / "theirs"
    config = (folder / "config.json").read_text()
    evil = "<script>alert(1)</script>"
    (folder / "config.json").write_text(config.replace("Tiny", evil).replace('"noise"', f'"{evil}"'))
    put_on_hub(web, "me/toys", folder)
    list(page.models.get("me/toys", PAGE))
    shown = page.models.look(None, PAGE)[page.models.here]
    assert "me/toys" in shown and "<script" not in shown and "&lt;script" in shown


def test_visitors_see_the_list_and_no_buttons(web, tmp_path):
    page = Page(make_studio(tmp_path, PUBLIC))
    assert page.models.everything == [page.models.here] and set(page.models.look(None, PAGE)) == {
        page.models.here
    }
    texts = [str(c.get("props", {}).get("value")) for c in page.demo.get_config_file()["components"]]
    assert any("ALAE CelebA" in text for text in texts) and "Download" not in texts
