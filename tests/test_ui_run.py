"""Step 3 of the tab Transfer: the panel, the run on the page, links to it, what others see."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from test_ui import STATUS, checked, gradios_files, page, uploads  # noqa: F401  (two are fixtures)
from tiny import RECIPE, carry_out

from mind2mind.config import DEFAULT, PAPER, SETTINGS
from mind2mind.files import read_json
from mind2mind.runs.run import new_token
from mind2mind.training import transfer as learner
from mind2mind.ui.training import standing
from mind2mind.ui.transfer import linked_run


def request(**query) -> gr.Request:
    return SimpleNamespace(query_params=query)


@pytest.fixture
def run(page, tmp_path):  # noqa: F811
    """What the browser keeps of a prepared run."""
    stored = checked(page, uploads(tmp_path / "in"))[page.transfer.steps.visit]
    yield stored
    page.transfer.result.forget(stored)


def test_the_panel_is_made_from_the_recipe(page):  # noqa: F811
    panel = page.transfer.training.advanced
    assert [field.label for field in panel.fields] == [setting.label for setting in SETTINGS.values()]
    assert all(
        setting.help in field.info for field, setting in zip(panel.fields, SETTINGS.values(), strict=True)
    )
    assert panel.chosen("paper", *panel.values("paper")) is PAPER
    assert panel.fields[[*SETTINGS].index("generator_widths")].value == "256,256"
    assert panel.fields[[*SETTINGS].index("jitter")].value == DEFAULT.jitter


def test_what_is_changed_in_the_panel_is_trained_by(page, run):  # noqa: F811
    tab = page.transfer
    values = dict.fromkeys(SETTINGS) | {"jitter": 0.4, "generator_widths": "32, 16"}
    tab.training.begin(run, 30, "paper", *values.values())
    kept = read_json(page.studio.runs.find(run["token"]).folder / "run.json")["recipe"]
    assert (kept["jitter"], kept["generator_widths"], kept["learning_rate"]) == (0.4, [32, 16], 1e-3)
    shown = standing(page.studio.runs.status(run["token"]))
    assert "Advanced: generator_widths 32,16, jitter 0.4." in shown
    page.studio.runs.stop(run["token"])


@pytest.mark.parametrize(("name", "value"), [("jitter", 7), ("generator_widths", "9999"), ("batch_size", 1)])
def test_a_setting_out_of_range_is_told(page, run, name, value):  # noqa: F811
    values = dict.fromkeys(SETTINGS) | {name: value}
    with pytest.raises(gr.Error, match=name):
        page.transfer.training.begin(run, 30, "default", *values.values())
    with pytest.raises(gr.Error, match="no recipe"):
        page.transfer.training.begin(run, 30, "cake")
    assert page.studio.runs.status(run["token"]).state == "prepared"


def test_a_link_shows_the_run_on_another_device_and_a_wrong_one_nothing(page, run):  # noqa: F811
    tab = page.transfer
    there = tab.arrive(None, request(run=run["token"]))
    shown = tab.steps.parts["check"]
    assert there[tab.steps.visit]["token"] == run["token"] and there[shown].visible
    assert there[tab.steps.visit]["visitor"] != run["visitor"]
    assert [r.token for r in page.studio.runs.statuses(there[tab.steps.visit]["visitor"])] == []
    for wrong in (new_token(), "..", run["token"][:-1], str(page.studio.home)):
        nothing = tab.arrive(None, request(run=wrong))
        assert nothing[tab.steps.visit]["token"] is None and shown not in nothing
        assert "no run under this link" in nothing[tab.steps.message]
    assert tab.arrive(run, request())[tab.steps.visit]["token"] == run["token"]
    assert linked_run(request()) is None
    assert page.first_tab(request(run="x")).selected == "transfer"


def test_only_what_has_changed_is_sent(page, run):  # noqa: F811
    training = page.transfer.training
    status = replace(STATUS, metrics=[{"step": 50, "critic_loss": 1.0, "generator_loss": 1.0, "gap": 1.0}])
    assert training._changes(status, status) == {}
    first = training._changes(None, status)
    assert {training.status, training.stop, training.losses} <= first.keys()
    later = training._changes(status, replace(status, step=60, seconds=10.0))
    assert training.losses in later and training.stop not in later
    stopping = training._changes(status, replace(status, state="stopping"))
    assert not stopping[training.stop].interactive and training.losses not in stopping
    ended = training._changes(status, replace(status, state="done"))
    assert not (
        ended[training.stop].visible or ended[training.discard].visible or ended[training.sure].visible
    )


def test_any_seed_can_be_tried_while_it_trains(page, run, monkeypatch):  # noqa: F811
    training = page.transfer.training
    monkeypatch.setattr(learner, "QUALITY_SAMPLES", 64)
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    with pytest.raises(gr.Error, match="not begun"):
        training.try_now(run, 5)
    carry_out(page.studio, run["token"])
    pictures, about = training.try_now(run, 5)
    assert len(pictures) == 8 and "Seeds 5 to 12, as the run drew them at step 20" in about
    with pytest.raises(gr.Error, match="seed"):
        training.try_now(run, -1)


def test_more_steps_after_the_end(page, run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(learner, "QUALITY_SAMPLES", 64)
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    carry_out(page.studio, run["token"])
    assert page.transfer.result.finish(run)[page.transfer.result.go_on] == "Train 1,000 steps more"
    page.transfer.training.train_on(run)
    assert page.studio.runs.find(run["token"]).info["steps"] == 1020
    page.studio.runs.stop(run["token"])


def test_nothing_that_stops_or_discards_waits_in_a_queue(page):  # noqa: F811
    training = page.transfer.training
    for button in (training.stop, training.discard, training.discard_all):
        (event,) = (
            e for e in page.demo.fns.values() if (button._id, "click") in e.targets and e.fn is not None
        )
        assert not event.queue


def test_a_failure_shows_cause_advice_and_the_end_of_the_log():
    status = replace(STATUS, state="failed", error="It broke. Mend it.", log="Traceback\n<b>bold</b>")
    shown = standing(status)
    assert "It broke. Mend it." in shown and "&lt;b&gt;bold&lt;/b&gt;" in shown and "<details" in shown
