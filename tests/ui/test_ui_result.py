"""Step 4 of the tab Transfer, the list of runs, the tick and the Hub: the handlers, called as functions."""

import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.helpers import special_args
from PIL import Image
from tiny import RECIPE, carry_out, make_pictures, make_studio

from mind2mind import draw as gallery
from mind2mind.config import PUBLIC, RECIPES
from mind2mind.data import codes
from mind2mind.errors import COMMAND, DataError, Mind2MindError, RunError
from mind2mind.runs.run import State
from mind2mind.ui import result as keep
from mind2mind.ui import transfer
from mind2mind.ui.interpolate import Route
from mind2mind.ui.page import Page
from mind2mind.ui.shared import Visit, inline, note, pairs, tiles


@pytest.fixture(scope="module", autouse=True)
def gradios_files(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setitem(RECIPES, "default", RECIPE)
        yield


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(make_studio(tmp_path_factory.mktemp("result")))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures") / "set", 120)


def trained(page, pictures, visit, title="My ducks", steps=30):
    """What the browser holds after a run."""
    *_, ready = page.studio.runs.prepare([pictures], "tiny", visitor=visit.visitor, title=title)
    page.studio.runs.start(ready.token, recipe=RECIPE, seconds=None, steps=steps, seed=0)
    carry_out(page.studio, ready.token)
    return visit.at(ready.token)


@pytest.fixture(scope="module")
def visit(page, pictures):
    return trained(page, pictures, Visit.of(None))


def made(page):
    return sorted((Path(os.environ["GRADIO_TEMP_DIR"]) / "made").rglob("*.*"))


# The result


def complete(page, visit):
    """The result of a run, and what it is worth, as the page has them one after the other."""
    step = page.transfer.result
    shown = step.finish(visit)
    return shown | step.judged(visit, shown[step.drawn])


def test_the_result_shows_64_samples_and_tells_of_them(page, visit):
    step = page.transfer.result
    shown = complete(page, visit)
    assert shown[step.made].visible and shown[step.samples].count("<img") == 64
    assert shown[step.nearest].count("<img") == 16
    assert "New pictures<" in shown[step.verdict] and "by your own pictures" in shown[step.verdict]
    assert "near cop" in shown[step.verdict] and "99 %" in shown[step.nearest]
    of_source = step.draw_source(visit)
    assert "Samples of Tiny. They do not pair" in of_source and of_source.count("<img") == 16
    assert shown[step.command].startswith(f"{COMMAND} transfer PICTURES --model tiny")
    assert 'sample("my-ducks"' in shown[step.python]
    names = re.findall('aria-label="([^"]*)"', shown[step.samples] + shown[step.nearest] + of_source)
    assert all(names) and len(set(names)) == len(names)
    words = re.findall(r"<b>(\w+)</b> (\w+), (\d+)%", shown[step.verdict])
    assert [word for word, _, _ in words] == ["Quality", "Variety", "Originality"]
    worth = page.studio.runs.status(visit.token).info.worth
    assert [grade for _, grade, _ in words] == [grade.value for grade in worth.grades.values()]
    assert int(words[0][2]) == round(100 * worth.quality)


def test_the_most_alike_come_first(page, visit):
    found = page.studio.runs.result(visit.token)
    order = sorted(range(64), key=found.distance.__getitem__)[:16]
    couples = [(found.samples[i], found.originals[i]) for i in order]
    shown = page.transfer.result.finish(visit)[page.transfer.result.nearest]
    assert shown.endswith(tiles(pairs(couples, keep.ALIKE)))


def test_a_model_that_repeats_is_warned_of(page, visit, monkeypatch):
    w = codes.load(page.studio.home / "runs" / visit.token / "codes.safetensors").w
    by_heart = w.repeat(9, 1)
    run = page.studio.runs.find(visit.token)
    was = run.info.worth
    run.update(worth=None)  # as before it is judged
    monkeypatch.setattr(gallery, "codes_of", lambda model, seeds, psi=1.0: by_heart[: len(seeds)])
    monkeypatch.setattr("mind2mind.networks.mindgan.samples", lambda g, z_dim, count, seed: by_heart[:count])
    step = page.transfer.result
    assert "not judged yet" in step.finish(visit)[step.verdict]
    shown = complete(page, visit)
    assert "m2m-gauge m2m-poor" in shown[step.verdict] and "repeats" in shown[step.verdict]
    assert "first 64 are near copies" in shown[step.nearest]
    run.update(worth=was)


def test_reloading_a_finished_run_writes_no_more_files(page, visit):
    step = page.transfer.result
    first = complete(page, visit)[step.download].value["path"]
    before = made(page)
    again = complete(page, visit)[step.download].value["path"]
    assert again == first and made(page) == before
    page.transfer.result.steps.studio.runs.rename(visit.token, "Other ducks")
    changed = complete(page, visit)[step.download].value["path"]
    assert Path(changed).name == "other-ducks.zip" and changed != first
    page.studio.runs.rename(visit.token, "My ducks")


def test_the_slider_goes_through_the_previews(page, visit):
    step = page.transfer.result
    steps = page.studio.runs.status(visit.token).preview_steps
    first, last = step.at(visit, 1), step.at(visit, len(steps))
    for shown, number in ((first, 0), (last, steps[-1])):
        assert shown.startswith(note(f"Step {number:,} of {steps[-1]:,}"))
    assert first.count("<img") == last.count("<img") == 16 and first != last
    assert step.at(visit, 99) == last and step.at(visit, -3) == first
    film = step.filmed(visit)
    assert (
        film.visible
        and Path(film.value["video"]["path"] if "video" in film.value else film.value["path"]).exists()
    )


def test_an_earlier_step_is_kept_and_the_last_again(page, visit):
    step, steps = page.transfer.result, page.studio.runs.status(visit.token).preview_steps
    was = complete(page, visit)
    assert was[step.keep].visible and not was[step.keep_last].visible
    shown = step.keep_this(visit, 3)
    assert f"The model is the one of step {steps[2]}." in shown[step.standing]
    assert shown[step.moment].value == 3 and shown[step.keep_last].visible
    assert shown[step.samples] != was[step.samples] and shown[step.drawn] != was[step.drawn]
    file = step.judged(visit, shown[step.drawn])[step.download].value["path"]
    assert file != was[step.download].value["path"]
    again = step.keep_it(visit)
    assert again[step.samples] == was[step.samples] and "The model is" not in again[step.standing]
    guest = Visit.of(None).at(page.studio.runs.status(visit.token).look)
    assert not step.finish(guest)[step.keep].visible
    with pytest.raises(RunError, match="only shows the run"):
        step.keep_this(guest, 3)


def test_everything_is_packed_on_a_click_and_once(page, visit):
    step = page.transfer.result
    path = Path(step.packed(visit))
    assert path.name == "my-ducks-everything.zip"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {"my-ducks/model.safetensors", "codes.safetensors", "film.mp4", "run.json"} <= set(names)
        assert sum(name.startswith("samples/1") for name in names) == 64 and archive.testzip() is None
        metrics = archive.read("metrics.jsonl").splitlines()
    assert len(metrics) == len(page.studio.runs.status(visit.token).metrics)
    when = path.stat().st_mtime_ns
    assert Path(step.packed(visit)).stat().st_mtime_ns == when


def test_each_thing_of_a_run_is_a_file_by_its_name(page, visit):
    step = page.transfer.result
    files, told = step.taken_apart(visit)
    named = {Path(file).name: Path(file) for file in files}
    assert list(named) == [
        "my-ducks.zip",
        "my-ducks-pictures.zip",
        "curves.csv",
        "curves.png",
        "codes.safetensors",
    ]
    assert all(f"{name}: " in told for name in named) and step.taken_apart(visit)[0] == files
    with zipfile.ZipFile(named["my-ducks-pictures.zip"]) as archive:
        assert len(archive.namelist()) == 65 and archive.testzip() is None
        with Image.open(archive.open("1003.png")) as kept:
            (drawn,) = page.studio.draw.sample(visit.token, [1003])
            assert kept.tobytes() == drawn.tobytes()
    assert len(codes.load(named["codes.safetensors"])) == 120
    rows = named["curves.csv"].read_text().splitlines()
    assert len(rows) == 1 + len(page.studio.runs.status(visit.token).metrics)
    guest = Visit.of(None).at(page.studio.runs.status(visit.token).look)
    files, told = step.taken_apart(guest)
    assert [Path(file).name for file in files] == ["my-ducks-pictures.zip", "curves.csv", "curves.png"]
    assert "codes" not in told
    with pytest.raises(RunError, match="only shows the run"):
        page.studio.runs.part(guest.token, Path("codes.safetensors"))


def test_the_numbers_are_measured_once_and_say_what_is_perfect(page, visit, monkeypatch):
    step = page.transfer.result
    hint, table = step.measure_now(visit, "")
    found = page.studio.runs.numbers(visit.token)
    assert "Measuring" in hint
    cells = re.findall(r"<td>(.*?)</td>", table)
    assert cells[:4] == [f"{value:.3f}" for value in list(found.codes.named.values())[:4]] and cells[5] == ""
    assert cells[-6:] == ["1", "1", "1", "0.5", "0", "0"] and len(cells) == 6 * 4
    for number in (
        f"{found.rebuilt:.1f} dB",
        f"{found.before:.3f} before",
        f"{max(0, found.codes.energy):.3f} now",
    ):
        assert number in table
    assert ".[measure]" not in table
    monkeypatch.setattr(step, "numbers", None)  # it would be called
    assert list(step.measure_now(visit, table)) == [gr.skip()]
    monkeypatch.setattr(step, "numbers", lambda token: replace(found, independent=None))
    *_, less = step.measure_now(visit, hint)
    assert ".[measure]" in less and len(re.findall("<td>", less)) == 6 * 3


def test_a_run_without_a_model_has_no_result_but_can_go_on(page, pictures):
    *_, ready = page.studio.runs.prepare([pictures], "tiny", visitor="v" * 22, title="Failed")
    page.studio.runs.find(ready.token).update(state=State.FAILED, error="It broke.", advice="Mend it.")
    step = page.transfer.result
    shown = step.finish(Visit("v" * 22, ready.token))
    assert not shown[step.made].visible and shown[step.go_on].value == "Go on training"
    assert not shown[step.more].visible
    page.studio.runs.delete(ready.token)


def test_whoever_has_the_link_of_the_page_sees_the_run_and_can_change_nothing(page, visit):
    tab, guest = page.transfer, Visit.of(None)
    mine = tab.arrive(visit, SimpleNamespace(query_params={}))
    look = mine[tab.steps.visit]["look"]
    assert look and look != visit.token and mine[tab.steps.visit]["token"] == visit.token
    opened = tab.arrive(guest, SimpleNamespace(query_params={"run": look}))
    guest = Visit.of(opened[tab.steps.visit])
    assert guest.token == guest.look == look and visit.token not in str(opened[tab.steps.visit])
    assert "Done" in opened[tab.training.status]
    shown = complete(page, guest)
    assert shown[tab.result.samples].count("<img") == 64
    assert not (opened[tab.training.stop].visible or opened[tab.training.delete].visible)
    result = tab.result
    for button in (result.go_on, result.download, result.everything):
        assert not shown[button].visible and complete(page, visit)[button].visible
    for touch in (tab.training.halt, tab.training.train_on, tab.result.packed, tab.shelf.delete_shown):
        with pytest.raises(RunError, match="only shows the run"):
            touch(guest)
    with pytest.raises(RunError, match="No run is chosen"):
        tab.shelf.renamed(guest, look, "Mine")
    assert page.studio.runs.status(visit.token).info.title == "My ducks"


def test_what_a_guest_has_made_of_a_run_goes_with_it(page, pictures):
    tab = page.transfer
    for delete in (tab.shelf.delete_shown, tab.shelf.delete_all):
        visit = trained(page, pictures, Visit.of(None), steps=3)
        guest = Visit.of(None).at(page.studio.runs.status(visit.token).look)
        before = made(page)
        tab.result.filmed(guest)
        assert len(made(page)) == len(before) + 1
        delete(visit)
        assert made(page) == before


def test_two_runs_are_seen_side_by_side(page, pictures):
    step = page.transfer.result
    first = trained(page, pictures, Visit.of(None), "First", 3)
    second = trained(page, pictures, first, "Second", 9)
    revealed = step.reveal(second, step.finish(second)[step.drawn], "live")
    assert revealed[step.comparing].visible
    assert [token for _, token in revealed[step.other].choices] == [first.token]
    shown = step.beside(second, first.token)
    assert shown.count("<img") == 32 and shown.index("Second") < shown.index("First")
    images = [page.studio.draw.sample(each.token, range(16)) for each in (second, first)]
    assert [inline(image) in shown for both in images for image in (both[0], both[-1])] == [True] * 4
    with pytest.raises(RunError, match="No run is chosen"):
        step.beside(Visit.of(None).at(second.token), first.token)
    page.transfer.shelf.delete_all(second)


# The list


def entries(page, visit):
    return page.transfer.shelf.known(visit)[page.transfer.shelf.runs].choices


def test_the_list_says_what_each_run_is(page, visit):
    ((line, token),) = entries(page, visit)
    assert token == visit.token
    assert re.fullmatch(r"My ducks · done · \d\d \w{3}, \d\d:\d\d · 120 pictures · tiny · [\d.]+ [kM]B", line)
    empty = page.transfer.shelf.known(Visit.of(None))
    assert not empty[page.transfer.shelf.box].visible


def test_renaming_and_what_is_none(page, pictures):
    shelf = page.transfer.shelf
    visit = trained(page, pictures, Visit.of(None), steps=3)
    assert shelf.chosen(visit, visit.token) == "My ducks"
    updates = shelf.renamed(visit, visit.token, "Geese")
    assert updates[shelf.runs].choices[0][0].startswith("Geese · done")
    for token, title in ((visit.token, " "), (None, "x"), ("a" * 22, "x")):
        with pytest.raises(Mind2MindError):
            shelf.renamed(visit, token, title)
    shelf.delete_all(visit)


def test_nobody_touches_the_runs_of_others(page, visit):
    shelf, other = page.transfer.shelf, Visit.of(None)
    for touch in (
        shelf.chosen,
        shelf.delete,
        page.transfer.look_at,
        lambda s, t: shelf.renamed(s, t, "Mine"),
    ):
        with pytest.raises(Mind2MindError, match="No run is chosen"):
            touch(other, visit.token)
    shelf.delete_all(other)
    assert page.studio.runs.status(visit.token).info.title == "My ducks"


def test_deleting_another_run_than_the_one_seen(page, pictures):
    shelf = page.transfer.shelf
    first = trained(page, pictures, Visit.of(None), "First", 3)
    second = trained(page, pictures, first, "Second", 3)
    used = second.using(first.token)
    updates = shelf.delete(used, first.token)
    assert updates[page.transfer.steps.visit]["token"] == second.token  # still looked at
    assert updates[page.transfer.steps.visit]["models"] == []
    assert [token for _, token in entries(page, second)] == [second.token]
    updates = shelf.delete(second, second.token)
    assert updates[page.transfer.steps.visit]["token"] is None


def test_deleting_everything_asks_first_and_leaves_nothing(page, pictures):
    shelf, steps = page.transfer.shelf, page.transfer.steps
    visit = trained(page, pictures, trained(page, pictures, Visit.of(None), steps=3), steps=3)
    bundle = complete(page, visit)[page.transfer.result.download].value["path"]
    opened, *_ = page.open(visit.stored(), bundle)
    (token,) = opened["models"]
    assert "2 runs, " in shelf.known(Visit.of(opened))[shelf.all] and len(entries(page, visit)) == 2
    updates = shelf.delete_all(Visit.of(opened))
    assert updates[steps.visit] == Visit(visit.visitor).stored()
    assert "Deleted: 3 runs" in updates[steps.message] and "started again" in updates[steps.message]
    assert entries(page, visit) == [] and not Path(bundle).exists()
    assert not (page.studio.home / "models" / token).exists()
    assert "nothing to delete" in shelf.delete_all(Visit.of(opened))[steps.message]


# The tick


@pytest.fixture
def public(tmp_path):
    return Page(make_studio(tmp_path, PUBLIC))


def test_nothing_can_be_uploaded_without_the_tick(public, pictures):
    step = public.transfer.pictures
    files = [str(path) for path in sorted(pictures.iterdir())[:5]]
    assert step.agreed.visible
    for no in (False, None, "yes"):
        with pytest.raises(Mind2MindError, match="tick"):
            list(step.add(Visit.of(None), no, files, "tiny"))
    *_, last = step.add(Visit.of(None), True, files, "tiny")
    assert "5 pictures can be used" in last[step.summary]


def test_the_tick_is_asked_for_by_the_other_tabs_and_of_callers(public, pictures):
    tab, file = public.interpolate, str(min(pictures.iterdir()))
    for do, *given in (
        (tab.taken, False, file, Route("tiny")),
        (public.explore.from_photo, None, "tiny", file),
    ):
        with pytest.raises(DataError, match="tick"):
            do(*given)
    assert tab.taken(True, file, Route("tiny")) == file
    call = {f.api_name: f.fn for f in public.demo.fns.values() if f.api_visibility == "public"}
    way = ("tiny", 1, 2, 4, "WebP")
    calls = (
        lambda: call["interpolate"](*way, file, None, False),
        lambda: call["encode"]([file], "tiny", "", "yes"),
        lambda: next(call["submit"](None, [file], "tiny", 30, 0, "default", "", 0, "", False)),
    )
    for attempt in calls:
        with pytest.raises(gr.Error, match="agreed=True"):
            attempt()
    assert Path(call["interpolate"](*way, file, None, True)).exists()
    assert Path(call["interpolate"](*way, None, None, False)).exists()  # seeds need no tick


def test_at_home_there_is_no_tick(page):
    assert not page.transfer.pictures.agreed.visible


def test_it_is_told_when_everything_is_deleted():
    assert "codes and small copies in 24 hours" in transfer.deletion(24)


# The Hub


def test_the_hub_is_offered_only_where_visitors_can_sign_in(monkeypatch):
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keep.importlib.util, "find_spec", lambda name: object())
    assert not keep.hub_login()
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert not keep.hub_login()
    monkeypatch.setenv("OAUTH_CLIENT_ID", "x")
    assert keep.hub_login()
    monkeypatch.setattr(keep.importlib.util, "find_spec", lambda name: None)
    assert not keep.hub_login()  # Gradio's extra is not installed


def test_sending_to_the_hub_shows_the_card_first_and_uses_the_visitors_login(page, visit, monkeypatch):
    step, sent = page.transfer.result, []

    def publish(ref, repository, token, *, private):
        sent.append((ref, repository, token, private))
        return f"https://hub.example/{repository}"

    monkeypatch.setattr(page.studio.models, "publish", publish)
    profile, token = SimpleNamespace(username="me"), SimpleNamespace(token="hf_x")
    card, send, _ = step.card_of(visit, "ducks", profile)
    assert card.visible and send.visible and "mind2mind download me/ducks" in card.value and not sent
    button, told = step.publish(visit, "ducks", True, profile, token)
    assert sent == [(visit.token, "me/ducks", "hf_x", True)] and not button.visible
    assert "https://hub.example/me/ducks" in told and "Only you" in told
    step.publish(visit, "group/ducks", False, profile, token)
    assert sent[1][1:] == ("group/ducks", "hf_x", False)
    for private in (None, "no", 0):  # whatever a caller sends: public only by a plain False
        step.publish(visit, "ducks", private, profile, token)
        assert sent[-1][3] is True
    stranger = SimpleNamespace(session={})
    for handler, given in ((step.card_of, ["ducks"]), (step.publish, ["ducks", True])):
        with pytest.raises(gr.Error, match="sign in"):
            special_args(handler, [visit, *given], stranger)
    with pytest.raises(Mind2MindError, match="name of a repository"):
        step.card_of(visit, "../x y", profile)
    assert "hf_x" not in str(visit.stored())


def test_with_a_login_the_page_has_it(tmp_path, monkeypatch):
    pytest.importorskip("authlib")
    pytest.importorskip("itsdangerous")
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        monkeypatch.setenv(name, "https://hub.example")
        monkeypatch.setattr(f"gradio.oauth.{name}", "https://hub.example", raising=False)  # read at import
    monkeypatch.setenv("SYSTEM", "spaces")
    assert keep.hub_login()
    page = Page(make_studio(tmp_path))
    kinds = [type(block).__name__ for block in page.demo.blocks.values()]
    assert kinds.count("LoginButton") == 1
    special = [f for f in page.demo.fns.values() if getattr(f.fn, "__name__", "") in ("publish", "card_of")]
    assert len(special) == 2 and all(f.api_visibility == "private" for f in special)
