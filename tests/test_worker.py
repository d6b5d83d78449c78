import random
import sys
import threading
import time

import pytest
from tiny import RECIPE, carry_out, followed, make_pictures, make_studio, make_weights, prepared

from mind2mind import transfer, worker
from mind2mind.config import Recipe
from mind2mind.errors import RunError
from mind2mind.files import load_tensors
from mind2mind.launch import ATTEMPTS, Launcher
from mind2mind.runs import is_held

STEPS = 400


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"), 120)


@pytest.fixture
def studio(tmp_path):
    return make_studio(tmp_path)


def started(studio, pictures, *, recipe=RECIPE, **settings) -> str:
    token = prepared(studio, pictures)
    studio.start(token, recipe=recipe, **({"steps": 40} | settings))
    return token


def assert_same_run(one, other, kills):
    """The same weights to the last bit, and the same curve.

    A loss is the mean since the last line, and the first line after a kill only knows the steps since the
    checkpoint; the same for the quality until the next look at it.
    """
    for name in ("last.safetensors", "best.safetensors", "bundle/model.safetensors"):
        (a, meta_a), (b, meta_b) = (load_tensors(run.folder / name) for run in (one, other))
        assert a.keys() == b.keys()
        assert all(a[key].equal(b[key]) for key in a), name
        assert {**meta_a, "seconds": 0} == {**meta_b, "seconds": 0}
    a, b = one.metrics(), other.metrics()
    assert [m["step"] for m in a] == [m["step"] for m in b]
    assert sum(x["critic_loss"] != y["critic_loss"] for x, y in zip(a, b, strict=True)) <= kills
    assert all(x["quality"] in (y["quality"], None) for x, y in zip(a, b, strict=True))
    assert one.preview_steps() == other.preview_steps()
    for step in one.preview_steps():
        x, y = (load_tensors(run.preview_path(step))[0]["w"] for run in (one, other))
        assert x.equal(y)


@pytest.mark.slow
def test_a_worker_killed_at_any_moment_resumes_to_the_same_numbers(tmp_path, pictures):
    studio = make_studio(tmp_path)
    studio.desk.launcher = launcher = Launcher(studio.home, studio.weights)
    quick = "import mind2mind.transfer as t; t.SAVE_SECONDS = 0.05; from mind2mind.worker import main; main()"
    launcher.command, launcher.idle_seconds = [sys.executable, "-c", quick], 0.1
    killed, whole = started(studio, pictures, steps=STEPS), prepared(studio, pictures)
    kills, draw = 0, random.Random(int(time.time()))
    for after in sorted(draw.randrange(STEPS // 2) for _ in range(2)):
        for status in studio.attach(killed, every=0.01):
            if status.step > after:
                launcher.children[studio.home].kill()
                launcher.children[studio.home].wait()
        if studio.status(killed).state == "interrupted":
            kills += 1
            assert not is_held(studio.desk.find(killed).lock)
            studio.resume(killed)
    assert kills > 0
    assert followed(studio, killed).state == "done"
    studio.start(whole, recipe=RECIPE, steps=STEPS)
    assert followed(studio, whole).state == "done"
    assert_same_run(studio.desk.find(killed), studio.desk.find(whole), kills)
    assert launcher.children[studio.home].wait(timeout=60) == 0  # idle


class Killed(BaseException):
    """Ends a run in this process as abruptly as can be."""


@pytest.mark.parametrize(
    "where", ["append_metrics", "save", "save_best", "preview_path", "update", "_bundle"]
)
def test_killed_in_any_place_it_resumes_to_the_same_numbers(studio, pictures, monkeypatch, where):
    monkeypatch.setattr(transfer, "SAVE_SECONDS", 0.0)
    token, whole = started(studio, pictures), started(studio, pictures)
    owner = {"save": transfer._State, "save_best": transfer._State, "_bundle": worker}.get(where, worker.Run)
    doing, left = getattr(owner, where), {"update": 2, "_bundle": 1, "save_best": 9}.get(where, 12)

    def deadly(*args, **settings):
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return doing(*args, **settings)

    monkeypatch.setattr(owner, where, deadly)
    with pytest.raises(Killed):
        carry_out(studio, token)
    assert studio.status(token).state == "interrupted"
    monkeypatch.setattr(owner, where, doing)
    studio.resume(token)
    assert carry_out(studio, token).state == "done"
    assert carry_out(studio, whole).state == "done"
    assert_same_run(studio.desk.find(token), studio.desk.find(whole), kills=1)


def stopping_at(studio, monkeypatch, token, step):
    """Asks for a stop as soon as the run has come so far."""
    monkeypatch.setattr(worker, "STOP_SECONDS", 0.0)
    append = worker.Run.append_metrics

    def and_stop(run, values):
        append(run, values)
        if values["step"] == step:
            studio.stop(token)
            assert studio.status(token).state == "stopping"

    monkeypatch.setattr(worker.Run, "append_metrics", and_stop)


def test_a_stop_keeps_the_work_and_resume_goes_on(studio, pictures, monkeypatch):
    token = started(studio, pictures)
    stopping_at(studio, monkeypatch, token, 10)
    status = carry_out(studio, token)
    assert (status.state, status.step, status.usable) == ("stopped", 10, True)
    first = studio.sample(token, [1])[0]
    studio.resume(token)
    status = carry_out(studio, token)
    assert (status.state, status.step, status.reason) == ("done", 40, "It went through all its steps.")
    assert studio.sample(token, [1])[0].tobytes() != first.tobytes()
    studio.resume(token, extra_steps=5)
    assert (carry_out(studio, token).step, studio.status(token).total_steps) == (45, 45)


def test_a_stop_before_the_beginning(studio, pictures):
    token = started(studio, pictures)
    studio.desk.find(token).request_stop()  # as if the worker had just taken it
    assert carry_out(studio, token).state == "prepared"
    studio.start(token, recipe=RECIPE, steps=5)
    assert carry_out(studio, token).state == "done"


def test_time_that_is_up_ends_a_run_as_if_it_were_through(studio, pictures):
    token = prepared(studio, pictures)
    studio.start(token, recipe=RECIPE, seconds=0.5)
    run = studio.desk.find(token)
    run.update(steps=1_000_000)  # as if the warm-up had been far too fast
    status = carry_out(studio, token)
    assert (status.state, status.usable) == ("done", True)
    assert "time was up" in status.reason


def test_seconds_become_steps_once(studio, pictures, monkeypatch):
    monkeypatch.setattr(transfer, "steps_for", lambda codes, recipe, seconds, **_: int(seconds * 10))
    token = prepared(studio, pictures)
    studio.start(token, recipe=RECIPE, seconds=3)
    assert carry_out(studio, token).total_steps == 30
    assert studio.desk.find(token).info["steps"] == 30


def test_nan_is_an_error_that_names_the_step_and_keeps_the_last_good_weights(studio, pictures, monkeypatch):
    advance = transfer._State.advance

    def diverges(state):
        if state.step == 20:
            state.real.fill_(float("nan"))
        return advance(state)

    monkeypatch.setattr(transfer._State, "advance", diverges)
    token = started(studio, pictures)
    status = carry_out(studio, token)
    assert status.state == "failed"
    assert "nan at step 20" in status.error
    assert "kept" in status.error
    assert status.usable
    assert len(studio.sample(token, [1])) == 1
    assert "Traceback" in (studio.desk.find(token).folder / "log.txt").read_text()
    monkeypatch.setattr(transfer._State, "advance", advance)
    studio.resume(token)
    assert carry_out(studio, token).state == "done"


def test_a_diverging_recipe_fails_with_advice(studio, pictures):
    wild = Recipe(name="wild", z_dim=8, generator_widths=(16,), critic_widths=(16,), learning_rate=1e30)
    status = carry_out(studio, started(studio, pictures, recipe=wild))
    assert (status.state, status.usable) == ("failed", False)
    assert "learning rate" in status.error


def test_a_fault_of_ours_fails_the_run_and_is_logged(studio, pictures, monkeypatch):
    def broken(*args, **settings):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(transfer, "train", broken)
    token = started(studio, pictures)
    status = carry_out(studio, token)
    assert status.state == "failed"
    assert "ZeroDivisionError: by zero" in status.error
    assert "broken" in (studio.desk.find(token).folder / "log.txt").read_text()


def test_another_source_under_the_same_name_is_refused(studio, pictures):
    token = started(studio, pictures)
    make_weights(studio.weights, seed=1)
    status = carry_out(studio, token)
    assert status.state == "failed"
    assert "another one now" in status.error


def test_a_bundle_that_does_not_reload_is_not_done(studio, pictures, monkeypatch):
    def unreadable(folder, source):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "load_transfer", unreadable)
    token = started(studio, pictures)
    status = carry_out(studio, token)
    assert (status.state, status.usable) == ("failed", False)
    assert "No space left" in status.error
    monkeypatch.undo()
    studio.desk.launcher.ensure = lambda run: None
    studio.resume(token)
    assert carry_out(studio, token).state == "done"


def test_a_run_deleted_at_work_leaves_nothing(studio, pictures, monkeypatch):
    token = started(studio, pictures)
    run, append = studio.desk.find(token), worker.Run.append_metrics

    def and_delete(self, values):
        append(self, values)
        if values["step"] == 10:
            run.delete(timeout=0.01)

    monkeypatch.setattr(worker.Run, "append_metrics", and_delete)
    worker.carry_out(run, studio)
    assert not run.folder.exists()
    with pytest.raises(RunError):
        studio.status(token)


def test_the_queue_is_served_in_order_by_one_worker(studio, pictures, monkeypatch):
    tokens, order = [started(studio, pictures, steps=2) for _ in range(3)], []
    monkeypatch.setattr(
        worker, "carry_out", lambda run, _: order.append(run.token) or run.update(state="done")
    )
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    server = threading.Thread(target=worker.serve, args=(studio.home, 0.5))
    server.start()
    while not is_held(studio.home / "worker.lock") and server.is_alive():
        time.sleep(0.01)
    worker.serve(studio.home, 60)  # another one ends at once
    server.join()
    assert order == tokens


def test_a_worker_that_cannot_begin_fails_the_run(studio, pictures):
    token = started(studio, pictures)
    studio.desk.launcher = Launcher(studio.home, studio.weights)
    studio.desk.launcher.command = [sys.executable, "-c", "raise SystemExit(3)"]
    status = followed(studio, token)
    assert status.state == "failed"
    assert "code 3" in status.error
    assert ATTEMPTS > 1
