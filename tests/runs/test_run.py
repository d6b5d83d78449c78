import errno
import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from mind2mind.config import DEFAULT, LOCAL
from mind2mind.errors import DataError, RunError
from mind2mind.files import atomic, bytes_in, is_token, new_token, save_tensors
from mind2mind.judge.verdict import Verdict
from mind2mind.runs.queue import Runs
from mind2mind.runs.run import (
    LOG_LINES,
    METRICS_SHOWN,
    Found,
    Run,
    RunInfo,
    State,
    find_run,
    is_held,
    models_of,
    new_run,
    runs_in,
    status_of,
    waiting,
)

INFO = RunInfo(
    model="tiny",
    source_hash="0" * 64,
    crop="centre",
    found=Found(count=2, psnr_mean=9.0, verdict=Verdict.GOOD, reason="So it is."),
)


def made(home, **info) -> Run:
    run = new_run(home)
    run.folder.mkdir(parents=True)
    run.write(replace(INFO, **info))
    return run


def test_tokens_are_unguessable_and_their_own_kind():
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(is_token(token) and not token.startswith("-") for token in tokens)
    for text in ("", "abc", "../" * 7 + "a", "a" * 21 + "/", "a" * 23, "a" * 21 + "\n", "a" * 22 + "\n"):
        assert not is_token(text)


def test_find_takes_tokens_only(tmp_path):
    run = made(tmp_path)
    assert find_run(tmp_path, run.token, folders=False).folder == run.folder
    for token in (new_token(), "", "..", f"../runs/{run.token}", str(run.folder), run.token + "/"):
        with pytest.raises(RunError):
            find_run(tmp_path, token, folders=False)


def test_a_running_run_that_nobody_holds_was_interrupted(tmp_path):
    run = made(tmp_path)
    assert run.state == "prepared"
    with run.hold():
        run.update(state="running")
        assert (run.state, is_held(run.lock)) == ("running", True)
        run.stop_flag.touch()
        assert run.state == "stopping"
    assert (run.state, is_held(run.lock)) == ("interrupted", False)
    run.update(state="done")
    assert run.state == "done"


def test_a_run_that_ends_between_two_looks_was_not_interrupted(tmp_path, monkeypatch):
    run = made(tmp_path)
    run.update(state="running")

    def ends_meanwhile(path):
        run.update(state="done")
        return False

    monkeypatch.setattr("mind2mind.runs.run.is_held", ends_meanwhile)
    assert run.state == "done"


def test_two_who_write_one_file_at_once_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with atomic(path) as one:
        one.write_text("first")
        with atomic(path) as other:
            other.write_text("second")
            assert one.read_text() == "first" and not path.exists()
        assert path.read_text() == "second"
    assert path.read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_vanishes_while_it_is_measured_does_not_count(tmp_path):
    """Folders and files in the making come and go in the home of a running app."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_bytes(bytes(100))
    ended = threading.Event()

    def come_and_go():
        while not ended.is_set():
            for name in ("a", "b", "c"):
                (tmp_path / name / "deeper").mkdir(parents=True)
                (tmp_path / name / "deeper/file").touch()
            for name in ("a", "b", "c"):
                shutil.rmtree(tmp_path / name)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert {bytes_in(tmp_path) for _ in range(3000)} == {100}
    finally:
        ended.set()
        thread.join()


def test_one_holder_at_a_time(tmp_path):
    run = made(tmp_path)
    with run.hold(), pytest.raises(RunError, match="at work"), Run(run.folder).hold(timeout=0.01):
        pass
    with Run(run.folder).hold(timeout=0.01):
        pass


HOLDER = """
import errno, fcntl, sys, time
from pathlib import Path
def refuse(*_):
    raise OSError(int(sys.argv[2]), "no locks here")
fcntl.flock = refuse
from mind2mind.runs.run import Run
with Run(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_a_run_has_one_holder_and_a_killed_one_lets_go(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    run = made(tmp_path)
    with run.hold(), pytest.raises(RunError, match="at work"), Run(run.folder).hold(timeout=0.01):
        pass
    run.update(state="running")
    assert run.state == "interrupted"
    command = [sys.executable, "-c", HOLDER, str(run.folder), str(number)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert run.state == "running"
    with pytest.raises(RunError, match="at work"), run.hold(timeout=0.01):
        pass
    holder.kill()
    holder.wait()
    assert run.state == "interrupted"
    run.delete()
    assert not run.folder.exists()


def test_another_version_is_refused(tmp_path):
    run = made(tmp_path)
    told = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(told | {"version": 99}))
    with pytest.raises(RunError, match="version"):
        _ = run.state
    assert runs_in(tmp_path) == []


def test_the_queue_is_in_order_of_queueing(tmp_path):
    late, early, other = made(tmp_path), made(tmp_path), made(tmp_path)
    late.update(state="queued", queued_at=2.0)
    early.update(state="queued", queued_at=1.0)
    other.update(state="done")
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "run.json").write_text("{")
    queue = waiting(tmp_path)
    assert [run.token for run in queue] == [early.token, late.token]
    runs = Runs(tmp_path, tmp_path, LOCAL, models_of(tmp_path))
    runs.launcher.ensure = lambda run: None
    assert [runs.status(run.token).place_in_queue for run in (early, late, other)] == [1, 2, None]
    assert {run.token for run, _ in runs_in(tmp_path)} == {late.token, early.token, other.token}


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    run = made(tmp_path)
    for step in (10, 20, 30, 40):
        run.append_metrics({"step": step, "seconds": step / 10})
        save_tensors(run.preview_path(step), {"w": torch.zeros(1, 2)})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "sec')  # killed while writing
    assert [values["step"] for values in run.metrics()] == [10, 20, 30, 40]
    run.cut_back(25)
    assert [values["step"] for values in run.metrics()] == run.preview_steps() == [10, 20]
    run.append_metrics({"step": 30})
    assert [json.loads(line)["step"] for line in (run.folder / "metrics.jsonl").open()] == [10, 20, 30]
    run.cut_back(-1)
    assert run.metrics() == run.preview_steps() == []


def test_the_status_follows_the_metrics(tmp_path):
    run = made(tmp_path, steps=2000, title="ducks")
    for step in range(1, 1201):
        run.append_metrics({"step": step, "seconds": step / 100, "distance": 0.5, "floor": 0.1})
    now = status_of(run)
    assert (now.info.title, now.step, now.total_steps, now.seconds, now.distance) == (
        "ducks",
        1200,
        2000,
        12.0,
        0.5,
    )
    assert (now.seconds_left, now.preview_step, now.usable, now.error) == (None, None, False, None)
    assert len(now.metrics) <= METRICS_SHOWN
    assert now.metrics[-1]["step"] == 1200
    with run.hold():
        run.update(state="running")
        assert status_of(run).seconds_left == pytest.approx(8.0)


def test_deleting_removes_a_runs_own_files_only(tmp_path):
    run = made(tmp_path)
    (run.folder / "bundle").mkdir()
    (run.folder / "bundle" / "config.json").touch()
    (run.folder / "mine.txt").touch()
    run.delete()
    assert [path.name for path in run.folder.iterdir()] == ["mine.txt"]
    other = made(tmp_path)
    other.delete()
    assert not other.folder.exists()


def test_a_run_at_work_is_gone_at_once_and_erased_when_let_go(tmp_path):
    run, held = made(tmp_path), threading.Event()

    def work():
        with FileLock(run.lock):
            held.set()
            while not run.stop_flag.exists():
                time.sleep(0.01)

    worker = threading.Thread(target=work)
    worker.start()
    held.wait()
    run.delete()
    worker.join()
    with pytest.raises(RunError):
        find_run(tmp_path, run.token, folders=False)
    assert not run.folder.exists()


def test_a_worker_may_erase_a_run_before_who_deletes_it(tmp_path, monkeypatch):
    run = made(tmp_path)

    class Late(FileLock):
        def acquire(self, *args, **options):
            run.erase()
            raise FileNotFoundError(self.lock_file)  # the folder went between two of its calls

    monkeypatch.setattr("mind2mind.files.FileLock", Late)
    run.delete()
    assert not run.folder.exists()
    run.delete()  # once more does nothing
    with pytest.raises(RunError, match="deleted meanwhile"), run.hold():
        pass


def test_a_deleted_run_is_invisible_even_while_its_worker_hangs(tmp_path):
    run = made(tmp_path)
    with FileLock(run.lock):
        Run(run.folder).delete(timeout=0.01)
        assert runs_in(tmp_path) == []
        assert run.discarded
        with pytest.raises(RunError):
            _ = run.info


def test_what_a_killed_worker_left_of_a_deleted_run_is_erased(tmp_path):
    run = made(tmp_path, state=State.RUNNING)
    worker = FileLock(run.lock)
    worker.acquire()
    run.delete(timeout=0.01)
    worker.release()  # it was killed: nobody erases what it had
    assert run.folder.exists()
    Runs(tmp_path, tmp_path, LOCAL, models_of(tmp_path)).clean()
    assert not run.folder.exists() and list((tmp_path / "queue").iterdir()) == []


@pytest.mark.parametrize(
    "edited",
    ['{"version": 1}', '{"version": 1, "state": "stopped"}', '{"version": 1, "state": 7}', "[]", "{"],
)
def test_an_edited_run_json_is_told_of(tmp_path, edited):
    (tmp_path / "run.json").write_text(edited)
    with pytest.raises((RunError, DataError)):
        _ = Run(tmp_path).info


def test_what_is_written_is_read_back_and_what_makes_no_sense_is_told_of(tmp_path):
    found = replace(INFO.found, near=(("b.png", "a.png"),), scores={"a.png": (9.0, 0.5)}, excluded=("b.png",))
    run = made(tmp_path, found=found, recipe=DEFAULT, state=State.STOPPED)
    assert replace(run.info, updated=0.0, bytes=0) == replace(
        INFO, found=found, recipe=DEFAULT, state=State.STOPPED, created=run.info.created
    )
    told = json.loads((run.folder / "run.json").read_text())
    for wrong in (
        {"state": "asleep"},
        {"found": told["found"] | {"verdict": "splendid"}},
        {"found": {}},
        {"recipe": told["recipe"] | {"batch_size": -1}},
        {"steps": "many"},
    ):
        (run.folder / "run.json").write_text(json.dumps(told | wrong))
        with pytest.raises(RunError, match="damaged"):
            _ = run.info
    (run.folder / "run.json").write_text(json.dumps(told | {"of a later time": 1}))
    assert run.info.state is State.STOPPED


def test_a_folder_with_other_files_is_no_place_for_a_run(tmp_path):
    Run(tmp_path).check_free()
    (tmp_path / "report.json").write_text("mine")
    with pytest.raises(RunError, match="something else"):
        Run(tmp_path).check_free()


def test_a_failed_run_shows_the_end_of_its_log(tmp_path):
    run = made(tmp_path, recipe=replace(DEFAULT, name="default with jitter 0.1"))
    lines = [f"line {i} ä" for i in range(2000)]
    (run.folder / "log.txt").write_text("\n".join(lines), encoding="utf-8")
    assert (status_of(run).log, status_of(run).info.recipe.name) == ("", "default with jitter 0.1")
    run.update(state="failed")
    assert status_of(run).log.splitlines() == lines[-LOG_LINES:]
    (run.folder / "log.txt").unlink()
    assert status_of(run).log == ""
