"""What a visitor uploads in a real browser: uploads add up, and none is taken without the tick."""

import errno
import re
import shutil

import pytest
from browsing import PATIENCE, expect, give, tab
from live import free_port, live_app
from tiny import make_pictures, make_weights

from mind2mind.data.dataset import Reading
from mind2mind.ui import shared
from mind2mind.ui.page import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A public one."""
    folder = tmp_path_factory.mktemp("uploads")
    with live_app(folder, make_weights(folder / "weights"), "--public") as running:
        yield running


def test_uploads_add_up_after_one_tick_for_all_tabs(visitor, tmp_path):
    page = visitor()
    tab(page, "Interpolate")
    expect(page.locator("#interpolate-clock")).to_contain_text("deleted within the hour")
    expect(page.locator("#stop-upload")).to_have_css("pointer-events", "none")
    tab(page, "Transfer")
    expect(page.locator("#transfer-uploads")).to_have_css("pointer-events", "none")
    page.locator("#transfer-consent input").check()
    expect(page.locator("#transfer-uploads")).to_have_css("pointer-events", "auto")
    summary = page.locator("#transfer-summary")
    give(page, *sorted(make_pictures(tmp_path / "a", 4).iterdir()))
    expect(summary).to_contain_text("4 pictures can be used")
    give(page, *sorted(make_pictures(tmp_path / "b", 3, seed=1).iterdir()))
    expect(summary).to_contain_text("7 pictures can be used")
    expect(summary).not_to_contain_text("cannot")  # the first four were not sent again
    tab(page, "Interpolate")
    expect(page.locator("#interpolate-consent input")).to_be_checked()
    before = page.locator("#interpolate-stops img").first.get_attribute("src")
    with page.expect_file_chooser() as chooser:
        page.locator("#stop-upload").click()
    chooser.value.set_files(tmp_path / "a/000.png")
    expect(page.locator("#interpolate-stops img").first).not_to_have_attribute("src", before)


@pytest.fixture
def serving(small_disk, tmp_path, monkeypatch):
    """An app in this process, whose home is a small disk; its address and its studio."""
    monkeypatch.setenv("MIND2MIND_HOME", str(small_disk / "home"))
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(make_weights(tmp_path / "weights")))
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "False")  # so that they are put back
    port = free_port()
    with served("127.0.0.1", port, False, "cpu", "", False) as studio:
        yield f"http://127.0.0.1:{port}/", studio


def test_whatever_goes_wrong_with_pictures_the_page_says_so_and_goes_on(
    serving, chromium, small_disk, tmp_path, monkeypatch
):
    """While they are uploaded, read, and shown: the set that was there is there still."""
    url, studio = serving
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    tab(page, "Transfer")
    summary = page.locator("#transfer-summary")
    toast, more = page.locator(".toast-body"), sorted(make_pictures(tmp_path / "b", 3, seed=1).iterdir())

    def refused(*words, uploaded=True):
        give(page, *more)
        for word in words:
            expect(toast).to_contain_text(word)
        toast.get_by_test_id("toast-close").click()
        expect(toast).to_have_count(0)
        expect(page.locator("#transfer-message")).not_to_contain_text("Read")
        if not uploaded:  # nothing came, and the page stayed where it was
            page.locator("#transfer-steps [data-step=check]").click()
        expect(page.locator("#transfer-start")).to_be_visible()
        expect(summary).to_contain_text("4 pictures can be used")

    give(page, *sorted(make_pictures(tmp_path / "a", 4).iterdir()))
    expect(summary).to_contain_text("4 pictures can be used")

    def broken(token, paths):
        yield Reading(done=1, total=3)
        raise ZeroDivisionError("odd")

    def unplugged(token, paths):
        raise OSError(errno.EIO, "Input/output error", str(studio.home))

    def nowhere(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    for name, where, does, words in (
        ("add", studio.runs, broken, ("ZeroDivisionError: odd", "fault of the program")),
        ("add", studio.runs, unplugged, ("Input/output error", "still there")),
        ("pairs", shared, nowhere, ("Read-only file system", "may write to")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, does)
            refused(*words)
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(small_disk).free))
    refused("disk is full", "Make room", uploaded=False)
    (small_disk / "filler").unlink()
    give(page, *sorted(make_pictures(tmp_path / "c", 3, seed=2).iterdir()))
    expect(summary).to_contain_text(
        re.compile("(7|10) pictures can be used")
    )  # those that were only not shown
    page.close()
