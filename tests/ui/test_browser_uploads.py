"""What a visitor uploads in a real browser: uploads add up, and none is taken without the tick."""

import pytest
from browsing import expect, tab
from live import live_app
from tiny import make_pictures, make_weights

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
    expect(page.locator("#upload-a")).to_be_hidden()
    tab(page, "Transfer")
    expect(page.locator("#transfer-files")).to_be_hidden()
    page.locator("#transfer-consent input").check()
    box, summary = page.locator("#transfer-files input[type=file]"), page.locator("#transfer-summary")
    box.set_input_files(sorted(make_pictures(tmp_path / "a", 4).iterdir()))
    expect(summary).to_contain_text("4 pictures can be used")
    box.set_input_files(sorted(make_pictures(tmp_path / "b", 3, seed=1).iterdir()))
    expect(summary).to_contain_text("7 pictures can be used")
    expect(summary).not_to_contain_text("cannot")  # the first four were not sent again
    tab(page, "Interpolate")
    expect(page.locator("#interpolate-consent input")).to_be_checked()
    before = page.locator("#end-a img").get_attribute("src")
    with page.expect_file_chooser() as chooser:
        page.locator("#upload-a").click()
    chooser.value.set_files(tmp_path / "a/000.png")
    expect(page.locator("#end-a img")).not_to_have_attribute("src", before)
