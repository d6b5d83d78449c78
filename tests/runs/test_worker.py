import itertools
import os
import random
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tiny import RECIPE, carry_out, followed, make_pictures, make_studio, make_weights, prepared

from mind2mind.config import FEWEST_STEPS
from mind2mind.errors import RunError, WeightsError
from mind2mind.files import load_tensors, locked, new_token
from mind2mind.models.bundle import describe, load_transfer
from mind2mind.runs import findings, worker
from mind2mind.runs import worker as execution
from mind2mind.runs.queue import ATTEMPTS, NICENESS, Launcher
from mind2mind.runs.run import Run, is_held
from mind2mind.training import transfer
from mind2mind.training.transfer import Ending

STEPS = 200
QUICK = """
import mind2mind.training.transfer as t
t.SAVE_SECONDS, t.DISTANCE_SAMPLES = 0.05, 64
from mind2mind.runs.worker import main
main()
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The folder of a prepared run of 120 pictures, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    studio = make_studio(folder)
    return studio.runs.find(prepared(studio, make_pictures(folder / "pictures", 120))).folder


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "DISTANCE_SAMPLES", 64)
    return make_studio(tmp_path)


def copied(studio, template) -> str:
    token = new_token()
    shutil.copytree(template, studio.home / "runs" / token)
    return token


def started(studio, template, *, recipe=RECIPE, **settings) -> str:
    token = copied(studio, template)
    studio.runs.start(token, recipe=recipe, **({"steps": 20} | settings))
    return token


def assert_same_run(one, other):
    """The same weights to the last bit, and the same curve."""
    for name in ("last.safetensors", "best.safetensors", "bundle/model.safetensors"):
        (a, meta_a), (b, meta_b) = (load_tensors(run.folder / name) for run in (one, other))
        assert a.keys() == b.keys()
        assert all(a[key].equal(b[key]) for key in a), name
        assert {**meta_a, "seconds": 0} == {**meta_b, "seconds": 0}
    a, b = one.metrics(), other.metrics()
    assert [m["step"] for m in a] == [m["step"] for m in b]
    assert [{**m, "seconds": 0} for m in a] == [{**m, "seconds": 0} for m in b]
    assert one.preview_steps() == other.preview_steps()
    for step in one.preview_steps():
        x, y = (load_tensors(run.preview_path(step))[0]["w"] for run in (one, other))
        assert x.equal(y)


@pytest.mark.slow
def test_a_worker_killed_at_any_moment_resumes_to_the_same_numbers(tmp_path, template):
    studio = make_studio(tmp_path)
    studio.runs.launcher = launcher = Launcher(studio.home, studio.weights)
    launcher.command, launcher.idle_seconds = [sys.executable, "-c", QUICK], 0.1
    killed, whole = started(studio, template, steps=STEPS), copied(studio, template)
    after = random.Random(time.time_ns()).randrange(STEPS // 2)
    while (status := studio.runs.status(killed)).state.alive:
        time.sleep(0.01)
        if status.step > after:
            launcher.children[studio.home].kill()
            launcher.children[studio.home].wait()
    assert studio.runs.status(killed).state == "interrupted"
    studio.runs.resume(killed)
    studio.runs.start(whole, recipe=RECIPE, steps=STEPS)
    assert followed(studio, killed).state == "done"
    assert followed(studio, whole).state == "done"
    assert_same_run(studio.runs.find(killed), studio.runs.find(whole))
    assert launcher.children[studio.home].wait(timeout=60) == 0  # idle


class Killed(BaseException):
    """Ends a run in this process as abruptly as can be."""


@pytest.mark.parametrize("where", ["append_metrics", "save", "keep", "preview_path", "update", "bundle"])
def test_killed_in_any_place_it_resumes_to_the_same_numbers(studio, template, monkeypatch, where):
    monkeypatch.setattr(transfer, "SAVE_SECONDS", 0.0)
    token, whole = started(studio, template), started(studio, template)
    owner = {"save": transfer.Learner, "keep": transfer.Learner, "bundle": execution}.get(where, Run)
    doing, left = (
        getattr(owner, where),
        {"update": 2, "bundle": 1, "keep": 1}.get(where, random.randrange(2, 12)),
    )

    def deadly(*args, **settings):
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return doing(*args, **settings)

    monkeypatch.setattr(owner, where, deadly)
    with pytest.raises(Killed):
        carry_out(studio, token)
    assert studio.runs.status(token).state == "interrupted"
    monkeypatch.setattr(owner, where, doing)
    studio.runs.resume(token)
    assert carry_out(studio, token).state == "done"
    assert carry_out(studio, whole).state == "done"
    assert_same_run(studio.runs.find(token), studio.runs.find(whole))


def stopping_at(studio, monkeypatch, token, step):
    """Asks for a stop as soon as the run has come so far."""
    append = Run.append_metrics

    def and_stop(run, values):
        append(run, values)
        if values["step"] == step:
            studio.runs.stop(token)
            assert studio.runs.status(token).state == "stopping"

    monkeypatch.setattr(Run, "append_metrics", and_stop)


def test_a_stop_keeps_the_work_and_resume_goes_on(studio, template, monkeypatch):
    token = started(studio, template)
    stopping_at(studio, monkeypatch, token, 10)
    status = carry_out(studio, token)
    assert (status.state, status.step, status.usable) == ("stopped", 10, True)
    studio.runs.resume(token)
    status = carry_out(studio, token)
    assert (status.state, status.step, status.info.reason) == ("done", 20, Ending.THROUGH)
    studio.runs.resume(token, extra_steps=5)
    assert (carry_out(studio, token).step, studio.runs.status(token).total_steps) == (25, 25)


def test_more_steps_are_counted_from_the_step_reached(studio, template, monkeypatch):
    token = started(studio, template, steps=400)
    stopping_at(studio, monkeypatch, token, 10)
    assert carry_out(studio, token).step == 10
    studio.runs.resume(token, extra_steps=15)
    status = carry_out(studio, token)
    assert (status.step, status.total_steps, status.info.reason) == (25, 25, Ending.THROUGH)


def test_a_stop_between_two_looks_tells_the_step_that_was_reached(studio, template, monkeypatch):
    looks, train = itertools.count(1), transfer.train

    def stopped_at_the_fourth_look(*args, should_stop, **settings):
        def look():
            if next(looks) == 4:
                studio.runs.stop(token)
            return should_stop()

        return train(*args, should_stop=look, **settings)

    token = started(studio, template, steps=1000)  # metrics at every fifth
    monkeypatch.setattr(transfer, "train", stopped_at_the_fourth_look)
    status = carry_out(studio, token)
    assert (status.state, status.step, status.usable, status.metrics) == ("stopped", 3, True, [])
    assert describe(studio.runs.find(token).bundle).numbers["steps"] == 3
    studio.runs.resume(token)
    assert (studio.runs.status(token).step, studio.runs.status(token).seconds_left) == (3, None)


def test_a_stop_before_the_beginning(studio, template):
    token = started(studio, template)
    studio.runs.find(token).stop_flag.touch()  # as if the worker had just taken it
    assert carry_out(studio, token).state == "prepared"
    studio.runs.start(token, recipe=RECIPE, steps=5)
    assert carry_out(studio, token).state == "done"


def test_time_that_is_up_ends_a_run_as_if_it_were_through(studio, template):
    token = copied(studio, template)
    studio.runs.start(token, recipe=RECIPE, seconds=0.5)
    run = studio.runs.find(token)
    run.update(steps=1_000_000)  # as if the warm-up had been far too fast
    status = carry_out(studio, token)
    assert (status.state, status.usable) == ("done", True)
    assert status.info.reason == Ending.TIME_UP


def test_seconds_become_steps_once(studio, template, monkeypatch):
    monkeypatch.setattr(transfer, "steps_for", lambda codes, recipe, seconds, mind: int(seconds * 10))
    token = copied(studio, template)
    studio.runs.start(token, recipe=RECIPE, seconds=3)
    assert carry_out(studio, token).total_steps == 30
    assert studio.runs.find(token).info.steps == 30


def test_a_run_by_time_ends_before_it_repeats_its_pictures(studio, template):
    few = replace(RECIPE, steps_per_picture=1)  # 120 pictures
    by_time, by_steps = copied(studio, template), copied(studio, template)
    studio.runs.start(by_time, recipe=few, seconds=1000)
    status = carry_out(studio, by_time)
    assert (status.state, status.step, status.info.reason) == ("done", FEWEST_STEPS, Ending.ENOUGH)
    studio.runs.start(by_steps, recipe=few, steps=FEWEST_STEPS + 1)
    assert carry_out(studio, by_steps).info.reason == Ending.THROUGH


def test_steps_that_were_asked_for_are_no_early_end(studio, template):
    token = copied(studio, template)
    studio.runs.start(token, recipe=replace(RECIPE, steps_per_picture=1), seconds=1000)
    studio.runs.find(token).update(steps=10)
    assert carry_out(studio, token).info.reason == Ending.THROUGH
    studio.runs.resume(token, extra_steps=FEWEST_STEPS - 10)
    status = carry_out(studio, token)
    assert (status.step, status.info.reason) == (FEWEST_STEPS, Ending.THROUGH)


def test_nan_is_an_error_that_names_the_step_and_keeps_the_last_good_weights(studio, template, monkeypatch):
    advance = transfer.Learner.advance

    def diverges(state):
        if state.step == 32:
            state.real.fill_(float("nan"))
        return advance(state)

    monkeypatch.setattr(transfer.Learner, "advance", diverges)
    token = started(studio, template, steps=60)
    status = carry_out(studio, token)
    assert status.state == "failed"
    assert "nan at step 32" in status.error
    assert "kept" in status.error
    assert status.usable
    assert len(studio.draw.sample(token, [1])) == 1
    assert "Traceback" in (studio.runs.find(token).folder / "log.txt").read_text()
    monkeypatch.setattr(transfer.Learner, "advance", advance)
    studio.runs.resume(token)
    assert carry_out(studio, token).state == "done"


def test_a_training_that_diverges_at_once_fails_with_advice(studio, template, monkeypatch):
    advance = transfer.Learner.advance
    monkeypatch.setattr(
        transfer.Learner, "advance", lambda state: (state.real.fill_(float("nan")), advance(state))
    )
    status = carry_out(studio, started(studio, template))
    assert (status.state, status.usable) == ("failed", False)
    assert "learning rate" in status.error and not status.info.fault


def test_a_fault_of_ours_fails_the_run_and_is_logged(studio, template, monkeypatch):
    def broken(*args, **settings):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(transfer, "train", broken)
    token = started(studio, template)
    status = carry_out(studio, token)
    assert status.state == "failed"
    assert "ZeroDivisionError: by zero" in status.error and status.info.fault
    assert "broken" in (studio.runs.find(token).folder / "log.txt").read_text()


def test_another_source_under_the_same_name_is_refused(studio, template):
    token = started(studio, template)
    make_weights(studio.weights, seed=1)
    status = carry_out(studio, token)
    assert status.state == "failed"
    assert "another one now" in status.error


def test_a_bundle_that_does_not_reload_is_not_done(studio, template, monkeypatch):
    def unreadable(folder, source):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(findings, "load_transfer", unreadable)
    token = started(studio, template)
    status = carry_out(studio, token)
    assert (status.state, status.usable) == ("failed", False)
    assert status.error.startswith("The disk is full. Make room")
    monkeypatch.undo()
    studio.runs.resume(token)
    assert carry_out(studio, token).state == "done"


def test_a_run_is_saved_before_it_is_judged_and_judged_later_if_its_worker_was_killed(
    studio, template, monkeypatch
):
    killed, whole = started(studio, template), started(studio, template)
    judge = execution.judge

    def deadly(models, run):
        raise Killed

    monkeypatch.setattr(execution, "judge", deadly)
    with pytest.raises(Killed):
        carry_out(studio, killed)
    status = studio.runs.status(killed)
    assert (status.state, status.usable, status.info.worth) == ("done", True, None)
    assert status.told == ["They are not judged yet."]
    monkeypatch.setattr(execution, "judge", judge)
    carry_out(studio, whole)
    assert studio.runs.judge(killed).info.worth == studio.runs.status(whole).info.worth is not None
    one, other = (describe(studio.runs.find(token).bundle).numbers for token in (killed, whole))
    assert {**one, "seconds": 0} == {**other, "seconds": 0} and 0 <= one["quality"] <= 1


def test_a_run_that_cannot_be_judged_is_done_all_the_same(studio, template, monkeypatch):
    def failing(models, run):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(execution, "judge", failing)
    token = started(studio, template)
    status = carry_out(studio, token)
    assert (status.state, status.usable, status.info.worth) == ("done", True, None)
    assert "could not be judged" in studio.runs.find(token).log.read_text()


def test_who_goes_on_with_a_run_waits_until_it_is_judged(studio, template, monkeypatch):
    token, judge, asked = started(studio, template), execution.judge, []

    def slow(models, run):
        asked.append(threading.Thread(target=studio.runs.resume, args=[token, 5]))
        asked[0].start()
        judge(models, run)
        assert asked[0].is_alive()

    monkeypatch.setattr(execution, "judge", slow)
    carry_out(studio, token)
    asked[0].join()
    assert studio.runs.status(token).state == "queued"


def test_there_is_a_model_at_every_moment_of_a_second_training(studio, template, monkeypatch):
    token, there = started(studio, template), []
    run = studio.runs.find(token)
    carry_out(studio, token)
    before = (run.bundle / "model.safetensors").read_bytes()
    for name in ("rename", "replace"):
        moving = getattr(Path, name)

        def and_look(self, target, moving=moving):
            there.append(load_transfer(run.bundle, studio.models.load("tiny")))
            return moving(self, target)

        monkeypatch.setattr(Path, name, and_look)
    studio.runs.resume(token, extra_steps=5)
    assert carry_out(studio, token).state == "done" and len(there) > 4
    assert (run.bundle / "model.safetensors").read_bytes() != before
    assert not (run.folder / "bundle.new").exists()


def test_a_run_deleted_at_work_leaves_nothing(studio, template, monkeypatch):
    token = started(studio, template)
    run, append = studio.runs.find(token), Run.append_metrics

    def and_delete(self, values):
        append(self, values)
        if values["step"] == 10:
            run.delete(timeout=0.01)

    monkeypatch.setattr(Run, "append_metrics", and_delete)
    execution.carry_out(run, studio.models)
    assert not run.folder.exists()
    with pytest.raises(RunError):
        studio.runs.status(token)


def test_the_queue_is_served_in_order_by_one_worker(studio, template, monkeypatch):
    tokens, order = [started(studio, template, steps=2) for _ in range(3)], []
    other = threading.Event()  # has come and gone

    def carry_out(run, _):
        assert other.wait(60)
        order.append(run.token)
        run.update(state="done")

    monkeypatch.setattr(worker, "carry_out", carry_out)
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    server = threading.Thread(target=worker.serve, args=(studio.home, 0.5))
    server.start()
    while not is_held(studio.home / "worker.lock") and server.is_alive():
        time.sleep(0.01)
    worker.serve(studio.home, 60)  # it ends, since another one serves
    other.set()
    server.join()
    assert order == tokens


def test_a_worker_begins_while_an_app_asks_for_one(studio, monkeypatch):
    began = threading.Event()
    monkeypatch.setattr(worker, "clean", lambda _: began.set())
    server = threading.Thread(target=worker.serve, args=(studio.home, 0))
    with locked(studio.home / "worker.lock"):  # as `is_held` does, for a moment
        server.start()
        time.sleep(0.05)
    server.join()
    assert began.is_set()


def test_a_worker_that_cannot_begin_fails_the_run(studio, template):
    token = started(studio, template)
    studio.runs.launcher = Launcher(studio.home, studio.weights)
    begun = "import os; open(os.environ['MIND2MIND_HOME'] + '/began', 'a').write('x'); raise SystemExit(3)"
    studio.runs.launcher.command = [sys.executable, "-c", begun]
    status = followed(studio, token)
    assert status.state == "failed"
    assert "code 3" in status.error
    assert len((studio.home / "began").read_text()) == ATTEMPTS > 1


def test_the_worker_is_there_before_the_run(studio, template):
    launcher = studio.runs.launcher = Launcher(studio.home, studio.weights)
    launcher.command = [sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)"]
    launcher.warm("tiny")
    child = launcher.children[studio.home]
    launcher.warm("tiny")
    launcher.ensure(studio.runs.find(copied(studio, template)))
    assert launcher.children == {studio.home: child}
    assert os.name == "nt" or psutil.Process(child.pid).nice() == NICENESS
    child.kill()
    child.wait()
    launcher.warm("tiny")  # its end was an error, which only a queued run counts
    assert launcher.children == {studio.home: child}


def test_a_warm_worker_has_the_source_and_takes_the_run_at_once(studio, template, monkeypatch):
    done = []

    def carry_out(run, models):
        done.append((run.token, models._kept.cache_info().currsize))
        run.update(state="done")

    monkeypatch.setattr(worker, "carry_out", carry_out)
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(studio.weights))
    studio.home.mkdir(exist_ok=True)
    server = threading.Thread(target=worker.serve, args=(studio.home, 1.0, "tiny"))
    server.start()
    token = started(studio, template, steps=2)
    server.join()
    assert done == [(token, 1)]


def test_a_run_at_work_draws_any_seed(studio, template, monkeypatch):
    token = started(studio, template, steps=60)
    run = studio.runs.find(token)
    with pytest.raises(WeightsError, match="no generator yet"):
        studio.runs.trial(token, [1])
    append, drawn = Run.append_metrics, []

    def and_try(self, values):
        append(self, values)
        if (run.folder / transfer.BEST).exists():
            drawn.append(studio.runs.trial(token, [1, 2]))

    monkeypatch.setattr(Run, "append_metrics", and_try)
    carry_out(studio, token)
    images, step = studio.runs.trial(token, [1, 2])
    assert step == 60 and 0 < drawn[0][1] < 60
    assert images[0].tobytes() != drawn[0][0][0].tobytes() != drawn[0][0][1].tobytes()
    assert images[0].info["seed"] == "1"


def test_a_collapse_is_done_with_the_reason_and_a_model(studio, template, monkeypatch):
    calls = iter([0.05] * 4 + [0.5] * 99)
    monkeypatch.setattr(transfer.Learner, "_distance", lambda *_: next(calls))
    status = carry_out(studio, started(studio, template, steps=200))
    assert (status.state, status.usable) == ("done", True)
    assert status.info.reason == Ending.COLLAPSED and "lower learning rate" in Ending.explained(
        status.info.reason
    )
    assert 0 < status.step < status.total_steps
