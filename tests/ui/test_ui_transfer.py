# ruff: noqa: F811
"""The tab Transfer up to the result: pictures in, some left out, the settings, the run on the page, links to it."""

import errno
import inspect
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from live import free_port
from PIL import Image
from test_ui import STATUS, checked, gradios_files, page, uploads  # noqa: F401  (two are fixtures)
from tiny import RECIPE, carry_out, make_pictures

from mind2mind.config import PAPER, PUBLIC, RECIPES, SETTINGS, changed
from mind2mind.errors import Mind2MindError
from mind2mind.explore import View
from mind2mind.files import new_token, read_json
from mind2mind.judge.verdict import Verdict
from mind2mind.runs.run import Better, State
from mind2mind.training import transfer as learner
from mind2mind.ui import training, transfer
from mind2mind.ui.shared import Visit
from mind2mind.ui.training import standing
from mind2mind.ui.transfer import linked_run


def request(**query) -> gr.Request:
    return SimpleNamespace(query_params=query)


@pytest.mark.parametrize("state", State)
def test_each_state_has_words(state):
    assert "<b>" in training.standing(replace(STATUS, state=state))


@pytest.mark.parametrize(("size", "flag"), [((64, 24), "Much cut off"), ((24, 24), "Very bright")])
def test_what_pictures_lack_is_shown(page, tmp_path, size, flag):
    for number, path in enumerate(files := uploads(tmp_path, 8)):
        image = Image.open(path).resize(size)
        if number and flag == "Very bright":
            image = Image.blend(image, Image.new("RGB", size, "white"), 0.75)
        (image if number else Image.open(path)).save(path)
    shown = checked(page, files)
    summary, report = shown[page.transfer.pictures.summary], shown[page.transfer.pictures.report]
    assert (
        f"7 x {flag}" in summary and f"7 of 8 pictures are {flag.lower()}: add some that are not" in summary
    )
    assert report.count(f"{flag}: ") == 7


def test_the_whole_way_of_a_run(page, tmp_path):
    tab = page.transfer
    files = [*uploads(tmp_path / "a"), str(tmp_path / "notes.txt")]
    Path(files[-1]).write_text("hello")
    ready = checked(page, files)
    stored, token = ready[tab.steps.visit], ready[tab.steps.visit]["token"]
    assert (
        "12 pictures can be used, 1 cannot" in ready[tab.pictures.summary]
        and "notes.txt" in ready[tab.pictures.report]
    )
    assert ready[tab.pictures.compared].count("<img") == 12 and ready[tab.steps.parts["order"]].visible
    assert [step for step, part in tab.steps.parts.items() if ready[part].visible] == ["check", "order"]
    assert "12 pictures · " in ready[tab.steps.way] and ready[tab.steps.now] == "check"

    page.studio.runs.start(token, recipe=RECIPE, seconds=None, steps=20, seed=0)
    assert "Waiting" in tab.training.show_run(Visit.of(stored))[tab.training.status]
    carry_out(page.studio, token)
    last = tab.training.show_run(Visit.of(stored))
    assert (
        "Done" in last[tab.training.status]
        and last[tab.training.losses].count("<polyline") == 3
        and not last[tab.training.stop].visible
    )
    assert tab.training.show_preview(last[tab.training.previewed]).count("<img") == 16
    assert "value" not in tab.training.show_preview(None)  # what stands there stays

    result = tab.result.finish(Visit.of(stored))
    assert result[tab.result.made].visible
    result |= tab.result.judged(Visit.of(stored), result[tab.result.drawn])
    revealed = tab.result.reveal(Visit.of(stored), result[tab.result.drawn], "live")
    assert revealed[tab.steps.parts["result"]].visible and not revealed[tab.steps.parts["live"]].visible
    assert tab.arrive(Visit.of(stored), request())[tab.steps.visit]["token"] == token  # a reload finds it
    used, sample_model, *_ = page.use(stored)
    assert (sample_model.value, used["models"]) == (token, [token])
    assert len(page.studio.draw.sample(token, [0])) == 1

    again, *_ = page.open(None, result[tab.result.download].value["path"])
    assert len(page.studio.draw.sample(again["models"][0], [0])) == 1

    files = [Path(page.explore.zip_of(ref, [View()])) for ref in (token, "tiny")]
    forgotten = tab.shelf.delete_shown(Visit.of(used))
    left = [path.exists() for path in (*files, Path(result[tab.result.download].value["path"]))]
    assert left == [False, True, False]  # what was made for the run goes with it
    assert forgotten[tab.steps.visit]["token"] is None and forgotten[tab.steps.visit]["models"] == []
    with pytest.raises(Mind2MindError, match="no such run"):
        page.studio.draw.sample(token, [0])


def test_start_and_stop(page, tmp_path):
    tab = page.transfer
    stored = checked(page, uploads(tmp_path))[tab.steps.visit]
    begun = tab.training.begin(Visit.of(stored), "Noise", 30)
    assert (
        begun[tab.steps.parts["live"]].visible
        and page.studio.runs.status(stored["token"]).info.title == "Noise"
    )
    assert begun[tab.training.previews].count("m2m-pale") == 12  # one's own, until there are new ones
    assert page.studio.runs.status(stored["token"]).state == "queued"
    tab.training.halt(Visit.of(stored))
    assert page.studio.runs.status(stored["token"]).state == "prepared"
    again = tab.training.show_run(Visit.of(stored))  # it can be started once more
    assert again[tab.steps.parts["order"]].visible and not again[tab.steps.clock].active
    guest = Visit.of(None).at(page.studio.runs.status(stored["token"]).look)  # but not by whoever only looks
    assert not tab.training.show_run(guest)[tab.steps.parts["order"]].visible
    tab.shelf.delete_shown(Visit.of(stored))


def test_two_visitors_do_not_see_each_others_runs(page, tmp_path):
    tab = page.transfer
    a = checked(page, uploads(tmp_path / "a"))[tab.steps.visit]
    b = checked(page, uploads(tmp_path / "b"))[tab.steps.visit]
    assert a["visitor"] != b["visitor"] and a["token"] != b["token"]
    assert [run.token for run in page.studio.runs.list(a["visitor"])] == [a["token"]]
    for stored in (a, b | {"models": [b["token"]]}):  # b's run has no model yet
        assert [ref for _, ref in page.known_models(stored)[0].choices] == ["tiny"]
    tab.shelf.delete_shown(Visit.of(a))
    tab.shelf.delete_shown(Visit.of(b))


def test_uploads_add_up_until_one_starts_over(page, tmp_path):
    tab = page.transfer
    first = checked(page, uploads(tmp_path / "a"))
    stored, added = first[tab.steps.visit], first[tab.pictures.added]
    more = [str(p) for p in sorted(make_pictures(tmp_path / "b", 3, seed=1).iterdir())]
    *_, last = tab.pictures.add(Visit.of(stored), True, more, "tiny", added)
    assert last[tab.steps.visit] == stored and "15 pictures can be used" in last[tab.pictures.summary]
    assert len(last[tab.pictures.added]) == 15

    with pytest.raises(Mind2MindError, match="3 x Duplicate"):  # the set stays as it was, and is seen
        list(tab.pictures.add(Visit.of(stored), True, more, "tiny", added))
    last = tab.pictures.as_before(Visit.of(stored))
    assert last[tab.steps.parts["order"]].visible and page.studio.runs.prepared(stored["token"]).count == 15

    *_, fitted = tab.pictures.again(Visit.of(stored), [*uploads(tmp_path / "a"), *more], "tiny", "fit")
    assert fitted[tab.steps.visit]["token"] != stored["token"] and fitted[tab.pictures.crop] == "fit"
    assert page.studio.runs.prepared(fitted[tab.steps.visit]["token"]).count == 15
    assert [run.token for run in page.studio.runs.list(stored["visitor"])] == [
        fitted[tab.steps.visit]["token"]
    ]

    emptied = tab.pictures.start_over(Visit.of(fitted[tab.steps.visit]))
    assert emptied[tab.steps.visit]["token"] is None and page.studio.runs.list(stored["visitor"]) == []


def test_after_a_reload_a_set_grows_but_cannot_be_read_anew(page, tmp_path):
    tab = page.transfer
    stored = checked(page, uploads(tmp_path / "a"))[tab.steps.visit]
    (told_of,) = tab.pictures.again(Visit.of(stored), None, "tiny", "fit")
    assert "Add your pictures again" in told_of[tab.steps.message]
    more = [str(p) for p in sorted(make_pictures(tmp_path / "b", 2, seed=1).iterdir())]
    *_, last = tab.pictures.add(Visit.of(stored), True, more, "tiny", None)
    assert "14 pictures can be used" in last[tab.pictures.summary]
    (told_of,) = tab.pictures.again(Visit.of(stored), last[tab.pictures.added], "tiny", "fit")
    assert "Add your pictures again" in told_of[tab.steps.message]  # the 12 would be lost
    tab.shelf.delete_shown(Visit.of(stored))


def test_a_click_leaves_a_picture_out_and_another_takes_it_in(page, tmp_path):
    tab, picking = page.transfer, page.transfer.pictures
    files = uploads(tmp_path / "a")
    with Image.open(files[0]) as image:
        red, green, blue = image.getpixel((0, 0))
        image.putpixel((0, 0), (red ^ 1, green, blue))
        image.save(tmp_path / "a/copy.png")
    ready = checked(page, [*files, str(tmp_path / "a/copy.png")])
    stored = ready[tab.steps.visit]
    assert "1 near duplicate" in ready[picking.summary] and ready[picking.near].count("<img") == 1
    assert "13 pictures can be used" in ready[tab.pictures.summary]

    after = picking.toggle(Visit.of(stored), 2, 1)
    assert "12 pictures can be used, 1 left out" in after[tab.pictures.summary]
    names = re.findall(r'aria-label="([^"]*)"', after[picking.thumbnails])
    assert [name.endswith("left out") for name in names] == [i == 2 for i in range(13)]
    assert "left out" not in picking.toggle(Visit.of(stored), 2, 1)[tab.pictures.summary]

    (dropped,) = picking.act(Visit.of(stored), {"out": "near"}, None, 1)
    assert dropped[picking.near] == "" and "near duplicate" not in dropped[picking.summary]
    assert page.studio.runs.prepared(stored["token"]).excluded == ("copy.png",)
    assert page.studio.runs.prepared(stored["token"]).count == 12
    assert "Take all in again" in dropped[picking.summary]
    (whole,) = picking.act(Visit.of(stored), {"out": "none"}, None, 1)
    assert "Take all in again" not in whole[picking.summary] and "13 pictures" in whole[picking.summary]
    with pytest.raises(Mind2MindError, match="no such picture"):
        picking.toggle(Visit.of(stored), 99, 1)
    tab.shelf.delete_shown(Visit.of(stored))


def test_leaving_all_out_says_what_to_do(page, tmp_path):
    tab = page.transfer
    stored = checked(page, uploads(tmp_path, 2))[tab.steps.visit]
    prepared = page.studio.runs.prepared(stored["token"])
    none = page.studio.runs.exclude(prepared.token, [v.name for v in prepared.report.used])
    assert "take some in again" in transfer.checked(none, "Tiny")
    with pytest.raises(Mind2MindError, match="No picture is left"):
        tab.training.begin(Visit.of(stored), "Noise", 30)
    tab.shelf.delete_shown(Visit.of(stored))


def test_a_set_is_read_by_the_model_that_knows_it_and_that_is_said(page, tmp_path, monkeypatch):
    picking, read, refs = page.transfer.pictures, page.transfer.pictures.read, []
    better = Better(id="tiny", title="Tiny toons", verdict=Verdict.GOOD)

    def unknown_at_first(paths, ref, **settings):
        refs.append(ref)
        *progress, last = read(paths, ref, **settings)
        strange = {"verdict": Verdict.UNKNOWN, "others": (better,)}
        yield from [*progress, replace(last, **strange) if len(refs) == 1 else last]

    monkeypatch.setattr(picking, "read", unknown_at_first)
    shown = checked(page, uploads(tmp_path))
    told_of = shown[page.transfer.steps.message]
    assert refs == ["tiny", "tiny"] and "does not know such pictures; Tiny toons does" in told_of
    visit = Visit.of(shown[page.transfer.steps.visit])
    assert [run.token for run in page.studio.runs.list(visit.visitor)] == [
        visit.token
    ]  # the first is deleted
    refs.clear()  # a model that was chosen stays
    *_, again = picking.again(visit, shown[picking.added], "tiny", "fit")
    assert refs == ["tiny"] and again[page.transfer.steps.message] == ""
    page.transfer.shelf.delete_shown(Visit.of(again[page.transfer.steps.visit]))


def test_a_set_is_named_by_its_folder_or_its_one_file(page, tmp_path):
    picking, steps, files = page.transfer.pictures, page.transfer.steps, uploads(tmp_path, 3)
    for given, folder, name in (
        (files, "Ducks", "Ducks"),
        (files[:1], None, "000"),
        (files, None, "Set of"),
    ):
        *_, last = picking.add(Visit.of(None), True, given, "tiny", None, folder)
        assert last[picking.name].startswith(name)
        page.transfer.shelf.delete_shown(Visit.of(last[steps.visit]))


def test_the_box_is_emptied_or_it_would_send_its_files_again(page, tmp_path):
    events = page.transfer.pictures.add(Visit.of(None), True, uploads(tmp_path, 2), "tiny")
    assert next(events) == {page.transfer.pictures.files: None}
    events.close()


def test_the_limits_are_told_before_the_upload():
    said = transfer.limits(PUBLIC)
    assert all(number in said for number in ("500 pictures", "10 MB", "40 megapixels", "200 MB"))


def test_a_run_that_is_gone_leaves_an_empty_page(page):
    tab = page.transfer
    stored = Visit.of(None).at("a" * 22).stored()
    assert tab.arrive(Visit.of(stored), request())[tab.steps.visit]["token"] is None
    shown = tab.training.show_run(Visit.of(stored))
    assert "The run is deleted" in shown[tab.steps.message] and not shown[tab.steps.clock].active
    with pytest.raises(Mind2MindError, match="no such run"):
        tab.training.begin(Visit.of(stored), "Noise", 30)


def test_too_many_files_are_refused_with_the_numbers(page, tmp_path, monkeypatch):
    monkeypatch.setattr(page.studio.runs, "limits", replace(PUBLIC, files=5))
    with pytest.raises(Mind2MindError, match=r"6 files, more than the 5 allowed"):
        checked(page, uploads(tmp_path, 6))


def test_pictures_that_are_none_are_told(page, tmp_path):
    bad = tmp_path / "a.png"
    bad.write_bytes(b"")
    with pytest.raises(Mind2MindError, match="None of the pictures can be used"):
        checked(page, [str(bad)])


def test_uploads_that_were_tidied_up_are_to_be_added_again(page, tmp_path):
    tab, files = page.transfer, uploads(tmp_path, 3)
    ready = checked(page, files)
    stored, added = ready[tab.steps.visit], ready[tab.pictures.added]
    Path(files[0]).unlink()
    (told_of,) = tab.pictures.again(Visit.of(stored), added, "tiny", "fit")
    assert "Add your pictures again" in told_of[tab.steps.message]
    tab.shelf.delete_shown(Visit.of(stored))


# The run


@pytest.fixture
def run(page, tmp_path):
    """What the browser keeps of a prepared run."""
    stored = checked(page, uploads(tmp_path / "in"))[page.transfer.steps.visit]
    yield stored
    page.transfer.shelf.delete_shown(Visit.of(stored))


def test_the_panel_is_made_from_the_recipe(page):
    panel = page.transfer.training
    assert [field.label for field in panel.fields] == [setting.label for setting in SETTINGS.values()]
    assert all(
        setting.help in field.info for field, setting in zip(panel.fields, SETTINGS.values(), strict=True)
    )
    assert changed(PAPER, dict(zip(SETTINGS, panel.values("paper"), strict=True))) == PAPER
    shown, default = dict(zip(SETTINGS, panel.fields, strict=True)), RECIPES["default"]
    assert shown["generator_widths"].value == ",".join(map(str, default.generator_widths))
    assert shown["jitter"].value == default.jitter


def test_what_is_changed_in_the_panel_is_trained_by(page, run):
    tab = page.transfer
    values = dict.fromkeys(SETTINGS) | {"jitter": 0.4, "generator_widths": "32, 16"}
    tab.training.begin(Visit.of(run), "Noise", 30, 0, "", "paper", 7, *values.values())
    assert page.studio.runs.find(run["token"]).info.seed == 7
    kept = read_json(page.studio.runs.find(run["token"]).folder / "run.json")["recipe"]
    assert (kept["jitter"], kept["generator_widths"], kept["learning_rate"]) == (0.4, [32, 16], 1e-3)
    shown = standing(page.studio.runs.status(run["token"]))
    assert "Recipe: paper with generator_widths 32,16, jitter 0.4." in shown
    page.studio.runs.stop(run["token"])


@pytest.mark.parametrize(("name", "value"), [("jitter", 7), ("generator_widths", "9999"), ("batch_size", 1)])
def test_a_setting_out_of_range_is_told(page, run, name, value):
    values = dict.fromkeys(SETTINGS) | {name: value}
    with pytest.raises(Mind2MindError, match=name):
        page.transfer.training.begin(Visit.of(run), "Noise", 30, 0, "", "default", 0, *values.values())
    with pytest.raises(Mind2MindError, match="no recipe"):
        page.transfer.training.begin(Visit.of(run), "Noise", 30, 0, "", "cake")
    assert page.studio.runs.status(run["token"]).state == "prepared"


def test_a_link_shows_the_run_on_another_device_and_a_wrong_one_nothing(page, run):
    tab = page.transfer
    there = tab.arrive(Visit.of(None), request(run=run["token"]))
    shown = tab.steps.parts["check"]
    assert there[tab.steps.visit]["token"] == run["token"] and there[shown].visible
    assert there[tab.steps.visit]["visitor"] != run["visitor"]
    assert [r.token for r in page.studio.runs.list(there[tab.steps.visit]["visitor"])] == []
    for wrong in (new_token(), "..", run["token"][:-1], str(page.studio.home)):
        nothing = tab.arrive(Visit.of(None), request(run=wrong))
        assert nothing[tab.steps.visit]["token"] is None and shown not in nothing
        assert "no run under this link" in nothing[tab.steps.message]
    assert tab.arrive(Visit.of(run), request())[tab.steps.visit]["token"] == run["token"]
    assert linked_run(request()) is None
    assert page.first_tab(request(run="x")).selected == "transfer"


def wired(page, *targets):
    """The events of these components' triggers."""
    wanted = {(component._id, trigger) for component, trigger in targets}
    return [event for event in page.demo.fns.values() if wanted & {*event.targets}]


def test_a_look_at_a_run_updates_nothing_but_what_is_compared(page, run):
    tab, training = page.transfer, page.transfer.training
    (look,) = wired(page, (tab.steps.clock, "tick"))
    assert look.outputs == [training.glance] and not inspect.isgeneratorfunction(look.fn)
    assert training.look(Visit.of(run)) == training.look(Visit.of(run))
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    waiting = training.look(Visit.of(run))
    assert (
        waiting != training.look(Visit.of(None)) != training.look(Visit.of(None))
    )  # one that is gone is told of each time
    carry_out(page.studio, run["token"])
    assert training.look(Visit.of(run)) != waiting
    ended = training.show_run(Visit.of(run))
    assert not ended[training.stop].visible and ended[training.delete].visible
    assert not ended[tab.steps.clock].active and ended[training.ended]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_run_whose_disk_does_not_answer_is_told_of_once_and_not_gone(page, run, monkeypatch, number):
    stat = Path.stat

    def unplugged(self, **options):
        if self.name == "run.json":
            raise OSError(number, os.strerror(number), str(self))
        return stat(self, **options)

    (look,) = wired(page, (page.transfer.steps.clock, "tick"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", unplugged)
        with pytest.raises(gr.Error, match="Check that the disk"):
            look.fn(run)
    (then,) = [fn for fn in page.demo.fns.values() if fn.trigger_after == look._id]
    assert then.trigger_only_on_failure and then.outputs == [page.transfer.steps.clock]
    assert then.fn().active is False
    assert page.studio.runs.status(run["token"]).state == "prepared"


def test_a_hundred_pages_that_follow_a_run_leave_the_queue_free(page, run):
    """Each look is a job of its own that ends at once: none holds one of the job slots while the run goes on."""
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    (look,) = wired(page, (page.transfer.steps.clock, "tick"))
    page.demo.queue()
    _, url, _ = page.demo.launch(
        prevent_thread_lock=True, quiet=True, server_port=free_port(), max_threads=80
    )
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            for page_number in range(100):
                call = {
                    "fn_index": look._id,
                    "session_hash": f"page{page_number}",
                    "data": [run],
                    "trigger_id": None,
                }
                client.post("gradio_api/queue/join", json=call).raise_for_status()
            drawn = Client(url, verbose=False).predict("tiny", 0, 1, 1.0, "none", api_name="/sample")
        assert len(drawn) == 1
        deadline = time.monotonic() + 60
        while any(page.demo._queue.active_jobs) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert page.studio.runs.status(run["token"]).state == "queued"
        assert len(page.demo._queue.active_jobs) == 80 and not any(page.demo._queue.active_jobs)
    finally:
        page.demo.close(verbose=False)


def test_a_result_that_comes_late_is_not_shown_beside_another_run(page, run):
    result, part = page.transfer.result, page.transfer.steps.parts["result"]
    for visit, drawn in (
        (Visit.of(run), (new_token(), "", State.DONE, 1)),
        (Visit.of(run), None),
        (Visit.of(None), None),
    ):
        assert part not in result.reveal(visit, drawn, "live")
    elsewhere = result.reveal(
        Visit.of(run), page.studio.runs.status(run["token"]).result, "pictures"
    )  # whoever looks elsewhere stays there
    assert part not in elsewhere and page.transfer.steps.now not in elsewhere
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    late = result.finish(
        Visit.of(run)
    )  # a look that was overtaken by a click asked for it: the run is followed on
    assert late[page.transfer.steps.clock].active and late[result.drawn] is None
    page.studio.runs.stop(run["token"])


def test_any_seed_can_be_tried_while_it_trains(page, run, monkeypatch):
    training = page.transfer.training
    monkeypatch.setattr(learner, "DISTANCE_SAMPLES", 64)
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    with pytest.raises(Mind2MindError, match="not begun"):
        training.try_now(Visit.of(run), 5)
    carry_out(page.studio, run["token"])
    shown = training.try_now(Visit.of(run), 5)
    assert shown.count("<img") == 8 and "Seeds 5 to 12, as the run drew them at step 20" in shown
    with pytest.raises(Mind2MindError, match="seed"):
        training.try_now(Visit.of(run), -1)


def test_more_steps_after_the_end(page, run, monkeypatch):
    monkeypatch.setattr(learner, "DISTANCE_SAMPLES", 64)
    page.studio.runs.start(run["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    carry_out(page.studio, run["token"])
    shown = page.transfer.result.finish(Visit.of(run))
    assert shown[page.transfer.result.go_on].value == "Train on" and shown[page.transfer.result.more].visible
    for amount in (0, None, 1.5):
        with pytest.raises(Mind2MindError, match="to train"):
            page.transfer.training.train_on(Visit.of(run), amount)
    page.transfer.training.train_on(Visit.of(run))
    assert page.studio.runs.find(run["token"]).info.steps == 1020
    page.studio.runs.stop(run["token"])


def test_nothing_that_stops_or_deletes_waits_in_a_queue(page):
    training = page.transfer.training
    for event in wired(page, (training.stop, "click"), (training.delete, "delete")):
        assert not event.queue


def test_a_failure_shows_cause_advice_and_the_end_of_the_log():
    status = replace(STATUS, state=State.FAILED, error="It broke. Mend it.", log="Traceback\n<b>bold</b>")
    shown = standing(status)
    assert "It broke. Mend it." in shown and "&lt;b&gt;bold&lt;/b&gt;" in shown and "<details" in shown


def test_the_chart_leaves_out_what_is_no_number():
    metrics = [
        {"step": i, "critic_loss": float("nan") if i == 5 else i, "generator_loss": -i} for i in range(300)
    ]
    metrics[7]["gap"] = float("inf")
    shown = training.curves(metrics, training.LOSSES)
    count = shown["curve"].value_counts()
    assert (count["critic"], count["generator"]) == (299, 300) and "critic's gap" not in count
    assert shown["step"].max() == 299 and len(training.curves([], training.LOSSES)) == 0
    assert len(training.curves([], training.LOSSES, smooth=True)) == 0
    assert len(training.curves(metrics, training.DISTANCE)) == 0


def test_the_smoothed_curve_goes_through_the_middle_and_does_not_lag():
    metrics = [{"step": i, "critic_loss": i + 50 * (-1) ** i} for i in range(200)]
    shown = training.curves(metrics, training.LOSSES, smooth=True)
    smooth = shown[shown["curve"] == "critic"].set_index("step")["value"]
    assert (smooth[20:180] - smooth.index[20:180]).abs().max() < 10


def test_the_distance_is_shown_with_what_is_possible():
    metrics = [{"step": i, "distance": 1 / (i + 1), "floor": 0.01} for i in range(10)] + [{"step": 10}]
    shown = training.curves(metrics, training.DISTANCE)
    assert set(shown["curve"]) == set(training.DISTANCE.values())
    floor = shown[shown["curve"] == "perfect"]
    assert floor["value"].tolist() == [0.01] * 10 and floor["step"].tolist() == [*range(10)]


def test_a_page_without_a_run_is_told_of_no_deletion(page):
    training = page.transfer.training
    assert training.show_run(Visit.of(None)) == training.steps.unchanged


def test_the_floor_is_not_drawn_before_the_first_distance(page):
    known = {"step": 0, "floor": 0.01}
    assert training.distance_chart(replace(STATUS, metrics=[known])) == ""
    both = [known, {"step": 9, "distance": 0.2, "floor": 0.01}]
    assert training.distance_chart(replace(STATUS, metrics=both)).count("<polyline") == 2


def test_a_curve_ends_where_its_values_do_on_a_logarithmic_axis():
    table = training.curves([{"step": s, "distance": 10.0**-s} for s in range(5)], training.DISTANCE)
    points = re.search(r'points="([^"]*)"', training.chart(table, 8, "Distance"))[1].split()
    assert points == ["0.00,0.00", "12.50,10.00", "25.00,20.00", "37.50,30.00", "50.00,40.00"]
    table["value"] -= 0.5  # no logarithm of these: a plain axis
    points = re.search(r'points="([^"]*)"', training.chart(table, 8, "Distance"))[1].split()
    assert points[0] == "0.00,0.00" and float(points[1].split(",")[1]) > 35


def test_a_recipe_that_cannot_finish_says_so_before_the_start(page, run):
    panel, visit = page.transfer.training, Visit.of(run)
    assert "is made for 68,000 steps" in panel.told_short(visit, 30, 0, "", "paper")
    assert "made for 68,000 steps" in panel.told_short(visit, training.OTHER, 20_000, "steps", "paper")
    assert panel.told_short(visit, training.OTHER, 70_000, "steps", "paper") == ""
    assert (
        panel.told_short(visit, 30, 0, "", "default")
        == panel.told_short(Visit.of(None), 30, 0, "", "paper")
        == ""
    )


def test_any_time_and_any_number_of_steps_can_be_set():
    assert training.budget(15, None, None) == {"seconds": 15}
    assert training.budget(training.OTHER, 90, "seconds") == {"seconds": 90}
    assert training.budget(training.OTHER, 500, "steps") == {"steps": 500}
    for wrong in (0, -1, None, 2.5, 1e9):
        with pytest.raises(Mind2MindError, match="to train"):
            training.budget(training.OTHER, wrong, "steps")


def test_what_differs_is_said_and_what_is_wrong_is_said_at_its_field(page):
    panel = page.transfer.training
    told, reset, start, *fields = panel.judged("paper", 0, *panel.values("paper"))
    assert (
        "default: paper." in told and not reset.visible and start.interactive and len(fields) == len(SETTINGS)
    )
    values = dict(zip(SETTINGS, panel.values("paper"), strict=True))
    told, reset, start, *_ = panel.judged("paper", 3, *(values | {"jitter": 0.4}).values())
    assert "jitter 0.4, seed 3" in told and reset.visible and start.interactive
    told, reset, start, *fields = panel.judged("paper", 0, *(values | {"jitter": 7}).values())
    assert "jitter" in told and reset.visible and not start.interactive
    wrong = dict(zip(SETTINGS, fields, strict=True))
    assert "jitter" in wrong["jitter"]["info"] and wrong["jitter"]["elem_classes"]
    assert wrong["batch_size"]["info"] == SETTINGS["batch_size"].explained
