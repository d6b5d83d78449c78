"""A run whose process is killed at twenty random moments ends with the numbers of one that was left alone."""

import multiprocessing
import random
import time

import pytest
import torch
from test_worker import assert_same_run
from tiny import RECIPE, make_pictures, make_studio, prepared

from mind2mind.runs import worker as execution
from mind2mind.studio import Studio
from mind2mind.training import transfer

KILLS, STEPS = 20, 500
FURTHER = 16  # steps that it gets before it is killed again: it must not get through before the last kill
SAVE_SECONDS = 0.05


def carry_out(home, weights, token):
    """What a worker does, in a process that is there at once: its imports were made before it was forked."""
    torch.set_num_threads(1)
    transfer.SAVE_SECONDS, transfer.DISTANCE_SAMPLES = SAVE_SECONDS, 64
    studio = Studio("cpu", home, weights=weights)
    execution.carry_out(studio.runs.find(token), studio.models)


def step_of(run):
    metrics = run.metrics()
    return metrics[-1]["step"] if metrics else 0


def killed_after(process, run, step, seconds):
    """Kills the process some time after the run has come so far; a negative step kills it on its way there."""
    until = time.monotonic() + 60
    while step_of(run) < step:
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.join()
    assert process.exitcode < 0


@pytest.mark.slow
@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="nothing forks here")
def test_killed_twenty_times_it_ends_with_the_same_numbers(tmp_path):
    studio, draw = make_studio(tmp_path), random.Random(seed := time.time_ns())
    print(f"the moments are of seed {seed}")
    token, whole = (prepared(studio, make_pictures(tmp_path / "pictures", 120)) for _ in range(2))
    for started in (token, whole):
        studio.runs.start(started, recipe=RECIPE, steps=STEPS)
    run, context = studio.runs.find(token), multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mind2mind.runs.worker", "torch._dynamo"])  # the second is an optimiser's

    def begun(of):
        process = context.Process(target=carry_out, args=[studio.home, studio.weights, of])
        process.start()
        return process

    places = []
    for kill in range(KILLS):
        target = (
            -1 if kill % 4 == 3 else step_of(run) + draw.randrange(FURTHER)
        )  # -1: before or while it begins
        killed_after(begun(token), run, target, draw.uniform(0, 0.1 if target < 0 else 0.02))
        places.append(step_of(run))
        if studio.runs.status(token).state != "queued":
            assert studio.runs.status(token).state == "interrupted"
            studio.runs.resume(token)
    assert len(set(places)) > KILLS / 4, places
    for of in (token, whole):
        begun(of).join(300)
        assert studio.runs.status(of).state == "done"
    assert studio.runs.status(token).step == STEPS
    assert_same_run(run, studio.runs.find(whole))
