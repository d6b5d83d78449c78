"""A result in a real browser: seen, scrubbed, taken along, repeated; the list of runs; the tick of a public server.

The run is made beforehand in the app's home and opened by its link. At the end of each test no error was in the
page and no request went elsewhere (`browsing.visitor`).
"""

import os
import zipfile
from pathlib import Path

import pytest
from browsing import expect, fits, give, tab, take_long
from live import live_app
from tiny import RECIPE, carry_out, make_pictures, make_weights, prepared

from mind2mind.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest_plugins = ["browsing"]

WALLS = "#transfer-samples", "#transfer-nearest", "#transfer-moments", "#transfer-of-source"

HOME = pytest.mark.parametrize("app", [pytest.param((), id="home")], indirect=True)
PUBLIC = pytest.mark.parametrize("app", [pytest.param(("--public",), id="public")], indirect=True)


@pytest.fixture(scope="module")
def app(request, tmp_path_factory):
    """The app with a model that needs no training, at home or as a public server."""
    folder = tmp_path_factory.mktemp("result")
    with live_app(folder, make_weights(folder / "weights"), *request.param) as running:
        yield running


@pytest.fixture(scope="module")
def token(app, tmp_path_factory):
    """A finished run of somebody's."""
    studio = Studio("cpu", app.home, weights=app.spied.parent / "weights")
    studio.runs.launcher.ensure = lambda run: None
    run = prepared(studio, make_pictures(tmp_path_factory.mktemp("set"), 120), title="My ducks")
    studio.runs.start(run, recipe=RECIPE, steps=40)
    assert carry_out(studio, run).state == "done"
    return run


def opened(page, app, token, theme="light"):
    page.goto(f"{app.url}?run={token}&__theme={theme}")
    tab(page, "Transfer")
    expect(page.locator("#transfer-samples img")).to_have_count(64)


def unfold(page, *names):
    for name in names:
        page.get_by_role("button", name=name).click()


@HOME
def test_a_result_is_seen_scrubbed_and_taken_along(visitor, app, token, tmp_path, shots):
    page = visitor()
    opened(page, app, token)
    expect(page.locator("#transfer-verdict")).to_contain_text("Quality")
    unfold(page, "Copies?", "How it learnt", "The source model", "In Python")
    expect(page.locator("#transfer-nearest img")).to_have_count(16)
    expect(page.locator("#transfer-of-source img")).to_have_count(16)
    expect(page.locator("#transfer-moments")).to_contain_text(
        "Step 40 of 40"
    )  # or it comes after what is pressed
    slider = page.locator("#transfer-moment input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#transfer-moments")).to_contain_text("Step 0 of 40")
    page.keyboard.press("ArrowLeft")  # under load Gradio may have set it back to its end meanwhile, unseen
    page.keyboard.press("End")
    expect(page.locator("#transfer-moments")).to_contain_text("Step 40 of 40")
    drawn = page.locator("#transfer-samples img").first.get_attribute("src")
    page.keyboard.press("Home")
    expect(page.locator("#transfer-moments")).to_contain_text("Step 0 of 40")
    page.locator("#transfer-keep").click()
    expect(page.locator("#transfer-status")).to_contain_text("The model is the one of step 0.")
    expect(page.locator("#transfer-samples img").first).not_to_have_attribute("src", drawn)
    page.locator("#transfer-keep-last").click()
    expect(page.locator("#transfer-samples img").first).to_have_attribute("src", drawn)
    expect(page.locator("#transfer-keep-last")).to_be_hidden()
    unfold(page, "Downloads", "Numbers", "The source model")  # they closed with the model that they were of
    expect(page.locator("#transfer-of-source img")).to_have_count(16)
    page.locator("#transfer-make-film").click()
    expect(page.locator("#transfer-film video")).to_be_visible()
    names = [
        tile.get_attribute("aria-label") for wall in WALLS for tile in page.locator(f"{wall} button").all()
    ]
    assert len(names) == 64 + 16 + 16 + 16 and all(names), names
    page.screenshot(path=shots / "result.png", full_page=True)
    cells = page.locator("#transfer-measured td")
    expect(cells).to_have_count(6 * 4)
    files = page.locator("#transfer-parts")
    expect(files.locator("tr")).to_have_count(5)
    for name in ("my-ducks-pictures.zip", "curves.csv", "curves.png", "codes.safetensors"):
        with page.expect_download() as download:
            files.locator(f'[download="{name}"]').click()
        assert download.value.suggested_filename == name
        assert Path(download.value.path()).stat().st_size > 100
    expect(page.locator("#transfer-parts-are")).to_contain_text("codes.safetensors: your pictures")
    command = page.locator("#transfer-command textarea").input_value()
    assert "-m mind2mind transfer PICTURES --model tiny" in command and "--steps 40" in command
    for button, name, inside in (
        ("#transfer-download", "my-ducks.zip", "model.safetensors"),
        ("#transfer-pack", "my-ducks-everything.zip", "my-ducks/model.safetensors"),
    ):
        with page.expect_download() as download:
            page.locator(button).click()  # one click each
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        assert inside in zipfile.ZipFile(tmp_path / name).namelist()

    def zips():  # files in the making come and go beside them
        return sorted(
            Path(place, n) for place, _, names in os.walk(app.home / "gradio") for n in names if ".zip" in n
        )

    before = zips()
    for _ in range(3):  # one file for the run, not one for each look
        opened(page, app, token)
    assert zips() == before


@HOME
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_result_fits_a_phone(visitor, app, token, shots, theme):
    """Held upright from the beginning, turned, and turned back: what was drawn wide becomes narrow again."""
    page = visitor(width=390, theme=theme)
    opened(page, app, token, theme)
    unfold(page, "How it learnt", "In Python", "Numbers")
    expect(page.locator("#transfer-curves svg").first).to_be_visible()
    for width in (390, 844, 390):
        page.set_viewport_size({"width": width, "height": 900})
        fits(page)
    page.screenshot(path=shots / f"phone-result-{theme}.png", full_page=True)


@PUBLIC
def test_in_public_a_tick_opens_the_upload_and_everything_can_be_deleted(visitor, app, tmp_path, shots):
    page, other = visitor(), visitor()
    files = sorted(make_pictures(tmp_path / "set", 8).iterdir())
    tab(page, "Transfer")
    expect(page.locator("#transfer-clock")).to_contain_text("24 hours")
    expect(page.locator("#transfer-uploads")).to_have_css("pointer-events", "none")
    page.screenshot(path=shots / "public-closed.png", full_page=True)
    page.locator("#transfer-consent input").focus()
    page.keyboard.press("Space")
    expect(page.locator("#transfer-uploads")).to_have_css("pointer-events", "auto")
    page.reload()
    tab(page, "Transfer")
    expect(page.locator("#transfer-uploads")).to_be_visible()
    expect(page.locator("#transfer-uploads")).to_have_css(
        "pointer-events", "auto"
    )  # the browser remembers it
    give(page, *files)
    expect(page.locator("#transfer-summary")).to_contain_text("8 pictures can be used")
    take_long(page)
    page.locator("#transfer-start").click()
    expect(page.locator("#transfer-status")).to_contain_text("Training")
    page.locator("#transfer-stop").click()
    expect(page.locator("#transfer-status")).to_contain_text("Stopped")
    expect(page.locator("#transfer-go-on")).to_be_visible()
    unfold(page, "Your runs")
    row = page.locator("#transfer-runs label")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("8 pictures")
    page.locator("#transfer-run-title input, #transfer-run-title textarea").fill("Noise")
    page.locator("#transfer-run-rename").click()
    expect(row).to_contain_text("Noise · stopped")
    page.locator("#transfer-delete-all summary").click()
    expect(page.locator("#transfer-delete-all p")).to_contain_text("1 run")
    page.screenshot(path=shots / "public-delete-all.png", full_page=True)
    page.locator("#transfer-delete-all button").click()
    expect(page.locator("#transfer-message")).to_contain_text("Deleted: 1 run")
    assert not list((app.home / "runs").iterdir())
    tab(other, "Transfer")
    expect(other.locator("#transfer-clock")).to_be_visible()
    closed = expect(other.locator("#transfer-uploads"))
    closed.to_have_css("pointer-events", "none")  # one visitor's tick is no other's
