"""The training loop: its events, its exact resume, its errors, and that it learns."""

import itertools
from dataclasses import replace

import pytest
import torch

from mind2mind.config import DEFAULT, PAPER
from mind2mind.errors import ConfigError, TrainingError, WeightsError
from mind2mind.files import load_tensors
from mind2mind.judge.metrics import energy_distance
from mind2mind.networks.mindgan import MindGAN, draw_z, mean_code, samples
from mind2mind.training import transfer
from mind2mind.training.transfer import (
    BEST,
    FEWEST_MEASURED,
    HELD_OUT_FROM,
    LAST,
    Ending,
    Finished,
    Preview,
    Progress,
    current,
    exported,
    split,
    steps_for,
    train,
)

SMALL = replace(
    DEFAULT,
    z_dim=8,
    generator_widths=(32, 32),
    critic_widths=(32, 32),
    batch_size=32,
    critic_steps=2,
)


def two_moons(count=300, seed=0):
    """Codes (count, 2) on two arcs: what no Gaussian can draw."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(count, generator=generator) * torch.pi
    upper = torch.rand(count, generator=generator) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], dim=1) * 5 + 3  # neither centred nor of unit size


def finished(events):
    *_, last = events
    assert isinstance(last, Finished)
    return last


def polled(times):
    """A should_stop that says yes after so many steps."""
    calls = itertools.count()
    return lambda: next(calls) >= times


def test_events_come_in_order_and_end_with_finished(tmp_path):
    events = list(train(two_moons(), SMALL, 40, tmp_path))
    assert isinstance(events[0], Preview)
    assert events[0].step == 0
    last = finished(events)
    assert (last.step, last.reason) == (40, Ending.THROUGH)
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == sorted(steps)
    assert steps[-1] == 40
    shapes = {tuple(event.w.shape) for event in events if isinstance(event, Preview)}
    assert shapes == {(16, 2)}
    assert (tmp_path / LAST).exists()
    assert (tmp_path / BEST).exists()


@pytest.mark.parametrize("recipe", [SMALL, replace(SMALL, standardise=False, ema_half_life=0)])
def test_a_resumed_run_equals_an_unkilled_one(tmp_path, recipe):
    codes, whole, parts = two_moons(), tmp_path / "whole", tmp_path / "parts"
    finished(train(codes, recipe, 60, whole, seed=3))
    for stop_after in (1, 17, 33):  # as if killed: the state is saved at an arbitrary step
        finished(train(codes, recipe, 60, parts, seed=3, resume=True, should_stop=polled(stop_after)))
    finished(train(codes, recipe, 60, parts, seed=3, resume=True))
    one, meta_one = load_tensors(whole / LAST)
    two, meta_two = load_tensors(parts / LAST)
    assert meta_one["step"] == meta_two["step"] == 60
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    timeless = {"seconds"}
    assert {k: v for k, v in meta_one.items() if k not in timeless} == {
        k: v for k, v in meta_two.items() if k not in timeless
    }


def far_from(monkeypatch, looks):
    """At these looks at the quality (0 is that of the floor) the samples are as far from the codes as one picture."""
    calls = itertools.count()
    monkeypatch.setattr(transfer.Learner, "_distance", lambda *_: 0.4 if next(calls) in looks else 0.05)


def rates_of(monkeypatch):
    """The share of the learning rate of every step that is taken from now on."""
    rates, advance = [], transfer.Learner.advance
    monkeypatch.setattr(transfer.Learner, "advance", lambda self: (rates.append(self.rate()), advance(self)))
    return rates


def test_added_steps_go_on_from_where_an_early_stop_was(tmp_path, monkeypatch):
    rates = rates_of(monkeypatch)
    first = finished(train(two_moons(), SMALL, 400, tmp_path, should_stop=polled(250)))
    assert (first.step, first.reason) == (250, Ending.STOPPED)
    went_down = rates[:]
    second = finished(train(two_moons(), SMALL, 350, tmp_path, resume=True))
    assert (second.step, second.reason) == (350, Ending.THROUGH)
    assert len(rates) == 350
    assert rates == sorted(rates, reverse=True) and 0.5 < went_down[-1] < 1 and rates[-1] < 0.02
    assert went_down[-1] - rates[first.step] < 0.01


def test_steps_added_to_a_finished_run_are_not_of_no_avail(tmp_path, monkeypatch):
    rates = rates_of(monkeypatch)
    finished(train(two_moons(), SMALL, 60, tmp_path))
    before = load_tensors(tmp_path / LAST)[0]
    finished(train(two_moons(), SMALL, 100, tmp_path, resume=True))
    assert rates[60] == transfer.AGAIN and rates[60:] == sorted(rates[60:], reverse=True)
    after = load_tensors(tmp_path / LAST)[0]
    assert (after["average.0"] - before["average.0"]).abs().max() > 1e-3


def test_a_recipe_without_decay_keeps_its_rate_in_added_steps(tmp_path, monkeypatch):
    rates, even = rates_of(monkeypatch), replace(SMALL, decay_share=0.0)
    finished(train(two_moons(), even, 10, tmp_path))
    finished(train(two_moons(), even, 20, tmp_path, resume=True))
    assert rates == [1.0] * 20


def test_added_steps_that_are_interrupted_end_with_the_same_numbers(tmp_path):
    codes, whole, parts = two_moons(), tmp_path / "whole", tmp_path / "parts"
    for folder, moments in ((whole, []), (parts, [0, 7, 20])):
        finished(train(codes, SMALL, 30, folder))
        for moment in moments:
            finished(train(codes, SMALL, 70, folder, resume=True, should_stop=polled(moment)))
        finished(train(codes, SMALL, 70, folder, resume=True))
    (one, meta), (two, other) = load_tensors(whole / LAST), load_tensors(parts / LAST)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert meta | {"seconds": 0} == other | {"seconds": 0}


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(tmp_path):
    def losses(seed):
        events = train(two_moons(), SMALL, 20, tmp_path, seed=seed)
        return [event.critic_loss for event in events if isinstance(event, Progress)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_it_learns_clusters_that_no_gaussian_draws(tmp_path):
    centres = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)) * 10 + 3

    def clusters(count, seed):
        generator = torch.Generator().manual_seed(seed)
        which = torch.randint(5, (count,), generator=generator)
        return centres[which] + 0.5 * torch.randn(count, 8, generator=generator)

    def distance(w):
        return torch.cdist(w, centres).min(dim=1).values.median()

    codes = clusters(600, 1)
    recipe = replace(
        SMALL,
        generator_widths=(128, 128),
        critic_widths=(128, 128),
        critic_steps=5,
        batch_size=64,
        energy=0.0,
    )
    finished(train(codes, recipe, 800, tmp_path))
    g, sizes, meta = exported(tmp_path)
    with torch.no_grad():
        samples = g(draw_z(2000, sizes.z_dim, torch.Generator().manual_seed(1)))
    gaussian = torch.distributions.MultivariateNormal(codes.mean(dim=0), torch.cov(codes.T)).sample((2000,))
    assert distance(samples) < 0.6 * distance(gaussian)
    assert meta["distance"] is not None
    torch.testing.assert_close(mean_code(g, sizes.z_dim), codes.mean(dim=0), atol=1.5, rtol=0)


def mind_of(spread=1.0):
    """An untrained generator (8 -> 2) whose codes lie elsewhere."""
    gan = MindGAN.untrained(SMALL.sizes(2), 5)
    gan.generator.fold_affine(torch.tensor([-4.0, 9.0]), torch.tensor([spread, 2 * spread]))
    return gan.generator


def test_it_begins_as_a_copy_of_the_sources_mind(tmp_path):
    mind, begun = mind_of(), replace(SMALL, from_mind=True, z_dim=5, generator_widths=(8,))
    before = {name: value.clone() for name, value in mind.state_dict().items()}
    first, *_ = train(two_moons(), begun, 5, tmp_path, mind=mind)
    torch.testing.assert_close(first.w, samples(mind, 8, 16), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in mind.state_dict().items())
    other, *_ = train(two_moons(), replace(SMALL, from_mind=False), 5, tmp_path / "b", mind=mind)
    assert not torch.allclose(other.w, first.w, atol=0.1)


def test_a_run_that_began_with_a_mind_is_resumed_without_it(tmp_path):
    begun, codes, mind = replace(SMALL, from_mind=True, generator_widths=(8,)), two_moons(), mind_of()
    finished(train(codes, begun, 40, tmp_path / "whole", mind=mind))
    finished(train(codes, begun, 40, tmp_path / "parts", mind=mind, should_stop=polled(13)))
    finished(train(codes, begun, 40, tmp_path / "parts", resume=True))  # the source has another mind by now
    (one, _), (two, _) = load_tensors(tmp_path / "whole" / LAST), load_tensors(tmp_path / "parts" / LAST)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert exported(tmp_path / "parts")[1].generator_widths == (32, 32)  # the mind's, not the recipe's


def test_the_energy_term_brings_the_spread_back(tmp_path):
    """In so few steps the critic alone leaves the samples far away."""
    codes, apart = two_moons(), []
    for energy in (0.0, 100.0):
        finished(train(codes, replace(SMALL, energy=energy), 150, tmp_path / str(energy)))
        g, sizes, _ = exported(tmp_path / str(energy))
        apart.append(energy_distance(samples(g, sizes.z_dim, 500), codes))
    assert apart[1] < 0.5 * apart[0]


def test_the_floor_of_few_codes_is_what_new_ones_of_their_law_have():
    law, apart = two_moons(20_000), []
    for i in range(40):
        learner = transfer.Learner(law[100 * i :][:100], SMALL, 10)
        apart.append(learner._distance(law[10_000:][100 * i :][:100]))
    assert sum(apart) / 40 == pytest.approx(learner.floor, rel=0.4) and learner.floor == 0.005
    repeated = learner.codes[torch.randint(100, (1024,), generator=torch.Generator().manual_seed(0))]
    assert learner._distance(repeated) == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize(
    ("count", "jitter", "share"),
    [(20, 0.2, 0.6), (100, 0.2, 0.4), (200, 0.2, 0.2), (1000, 0.2, 0.2), (20, 0.9, 0.9)],
)
def test_jitter_moves_few_codes_further(count, jitter, share):
    """The moves add their share of the codes' variance."""
    codes, draw = torch.randn(count, 64, generator=torch.Generator().manual_seed(0)), torch.Generator()
    learner = transfer.Learner(codes, replace(SMALL, jitter=jitter, batch_size=1024), 10)
    moved = torch.cat([learner._batch(draw.manual_seed(i)) for i in range(8)])
    assert moved.var() / learner.real.var() == pytest.approx(1 + share**2, abs=0.03)


def test_stop_keeps_the_work(tmp_path):
    last = finished(train(two_moons(), SMALL, 1000, tmp_path, should_stop=polled(5)))
    assert (last.step, last.reason) == (5, Ending.STOPPED)
    g, sizes, meta = exported(tmp_path)
    assert meta["step"] == 5
    assert g(torch.zeros(1, sizes.z_dim)).shape == (1, 2)


def test_a_collapse_ends_the_training_with_the_best_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "SAVE_SECONDS", 0.0)
    far_from(monkeypatch, range(10, 99))
    last = finished(train(two_moons(), SMALL, 400, tmp_path))
    assert (last.step, last.reason) == (240, Ending.COLLAPSED)
    assert load_tensors(tmp_path / BEST)[1]["step"] == 200
    checkpoint = load_tensors(tmp_path / LAST)[1]
    assert 200 <= checkpoint["step"] < 220 and checkpoint["far_looks"] == 0  # what it goes on from is sound


def test_one_look_may_be_chance(tmp_path, monkeypatch):
    far_from(monkeypatch, {5, 7, 15})
    assert finished(train(two_moons(), SMALL, 400, tmp_path)).step == 400


@pytest.mark.parametrize("count", [15, 300, 1500])
def test_one_picture_for_all_is_far(count, monkeypatch):
    state = transfer.Learner(torch.randn(count, 24, generator=torch.Generator().manual_seed(0)), SMALL, 10)
    state.nearest = 0.05
    for value in state.average:
        value.zero_()
    assert not state.look() and state.far_looks == 1
    assert (state.distance is None) == (count < FEWEST_MEASURED)
    monkeypatch.setattr(transfer, "samples", lambda *_, **__: torch.randn(2048, 24))  # as good as can be
    assert state.look() and state.far_looks == 0 and state.nearest < transfer.SOUND


def test_the_generator_of_a_run_at_work_is_that_of_its_checkpoint(tmp_path):
    codes, z = two_moons(), draw_z(16, SMALL.z_dim, torch.Generator().manual_seed(0))
    with pytest.raises(WeightsError, match="no generator yet"):
        current(tmp_path)
    *_, preview = (e for e in train(codes, SMALL, 30, tmp_path) if isinstance(e, Preview))
    g, sizes, meta = current(tmp_path)
    assert (meta["step"], sizes.latent_size) == (30, 2)
    torch.testing.assert_close(g(z).detach(), preview.w)
    (tmp_path / LAST).unlink()  # before the first checkpoint
    assert current(tmp_path)[2]["step"] == load_tensors(tmp_path / BEST)[1]["step"]


def test_nan_names_the_step_and_keeps_the_last_good_weights(tmp_path, monkeypatch):
    advance = transfer.Learner.advance

    def wild(learner):
        if learner.step == 33:
            learner.real.fill_(float("inf"))
        advance(learner)

    monkeypatch.setattr(transfer.Learner, "advance", wild)
    with pytest.raises(TrainingError, match="became nan at step 33"):
        list(train(two_moons(), SMALL, 200, tmp_path))
    for path in tmp_path.glob("*.safetensors"):
        tensors, _ = load_tensors(path)
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


@pytest.mark.parametrize("count", [2, 5, 19, 20, 999, 1000])
def test_few_codes_are_judged_by_themselves_and_very_few_not_at_all(tmp_path, count):
    *events, last = train(two_moons(count), SMALL, 10, tmp_path)
    assert last.step == 10
    meta, told = exported(tmp_path)[2], next(e for e in reversed(events) if isinstance(e, Progress))
    assert told.held_out == meta["held_out"] == (100 if count >= HELD_OUT_FROM else 0)
    assert (meta["distance"] is None) == (meta["floor"] is None) == (count < FEWEST_MEASURED)
    if count in (20, 999):
        assert meta["floor"] == 1 / (2 * count) and meta["distance"] > meta["floor"]


def test_bad_codes_are_refused_at_the_call(tmp_path):
    with pytest.raises(TrainingError, match="fewer than two different"):
        train(torch.ones(50, 4), SMALL, 10, tmp_path)
    with pytest.raises(TrainingError, match="fewer than two different"):
        train(torch.ones(1, 4), SMALL, 10, tmp_path)
    with pytest.raises(TrainingError, match="finite"):
        train(torch.full((50, 4), torch.nan), SMALL, 10, tmp_path)
    with pytest.raises(ConfigError):
        train(two_moons(), SMALL, 0, tmp_path)


def test_a_run_of_other_settings_is_not_resumed(tmp_path):
    finished(train(two_moons(), SMALL, 5, tmp_path))
    with pytest.raises(TrainingError, match="other settings"):
        train(two_moons(), SMALL, 10, tmp_path, seed=1, resume=True)
    with pytest.raises(TrainingError, match="other settings"):
        train(two_moons(), replace(SMALL, learning_rate=1e-4), 10, tmp_path, resume=True)
    with pytest.raises(TrainingError, match="does not fit"):
        train(torch.rand(50, 3), SMALL, 10, tmp_path, resume=True)


def test_export_before_anything_was_saved(tmp_path):
    with pytest.raises(WeightsError):
        exported(tmp_path)


def test_held_out_codes_are_never_trained_on():
    codes = torch.arange(1200.0)[:, None].repeat(1, 2)
    training, held_out = split(codes, 0.1)
    assert (len(training), len(held_out)) == (1080, 120)
    assert not set(training[:, 0].tolist()) & set(held_out[:, 0].tolist())
    assert len(split(codes[: HELD_OUT_FROM - 1], 0.1)[1]) == 0


def test_paper_recipe_is_the_papers():
    assert (PAPER.learning_rate, PAPER.betas, PAPER.batch_size, PAPER.z_dim) == (1e-3, (0.0, 0.5), 128, 128)
    assert (PAPER.gradient_penalty, PAPER.epsilon_penalty, PAPER.critic_steps) == (10.0, 0.01, 5)
    assert (PAPER.generator_widths, PAPER.critic_widths) == ((128, 256, 512), (512, 256, 128))
    assert not (PAPER.standardise or PAPER.ema_half_life or PAPER.decay_share or PAPER.held_out_share)


def test_a_budget_becomes_steps(monkeypatch):
    """A clock that advances a tenth of a second a step, and by a second a look."""
    now, advance, look = [0.0], transfer.Learner.advance, transfer.Learner.look
    monkeypatch.setattr(transfer.time, "monotonic", lambda: now[0])

    def slowly(doing, seconds):
        def done(learner):
            now[0] += seconds
            return doing(learner)

        return done

    monkeypatch.setattr(transfer.Learner, "advance", slowly(advance, 0.1))
    monkeypatch.setattr(transfer.Learner, "look", slowly(look, 1.0))
    assert steps_for(two_moons(), SMALL, 100) == 666  # a look at every 20th, as near as they come
    assert steps_for(two_moons(500), SMALL, 1000) in (9599, 9600)  # 40 looks take 40 seconds
    assert steps_for(two_moons(100), SMALL, 1000) == 2000  # more would repeat them
    assert steps_for(two_moons(), SMALL, 50) == 333
    assert steps_for(two_moons(), SMALL, 0.01) == 1


def test_training_leaves_the_global_generator_alone(tmp_path, monkeypatch):
    """Not even for a moment: other threads draw from it."""
    before, first = torch.get_rng_state(), torch.default_generator.initial_seed()
    monkeypatch.setattr(torch.random, "fork_rng", None)
    monkeypatch.setattr(torch, "manual_seed", None)
    finished(train(two_moons(), SMALL, 3, tmp_path))
    assert torch.equal(before, torch.get_rng_state()) and torch.default_generator.initial_seed() == first
