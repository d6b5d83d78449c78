import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import RECIPE, carry_out, followed, make_pictures, make_studio, make_weights, prepared, trained

from mind2mind import draw as gallery
from mind2mind import explore
from mind2mind.config import LOCAL, PUBLIC
from mind2mind.data import codes
from mind2mind.data.images import open_picture
from mind2mind.errors import ConfigError, DataError, Mind2MindError, RunError, TrainingError, WeightsError
from mind2mind.explore import View
from mind2mind.files import new_token
from mind2mind.judge.verdict import Verdict
from mind2mind.models.catalogue import pick_device
from mind2mind.runs.findings import Prepared
from mind2mind.studio import Studio
from mind2mind.training.transfer import Ending


@pytest.fixture(scope="module")
def done(studio, place):
    """The token of a finished run."""
    return trained(studio, place / "pictures", title="My ducks")


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1


def test_making_a_studio_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MIND2MIND_HOME", str(tmp_path / "home"))
    studio = Studio("cpu")
    assert studio.home == tmp_path / "home"
    assert (studio.runs.list(), studio.runs.clean()) == ([], 0)
    assert not studio.home.exists()


def test_devices():
    assert pick_device("cpu").type == "cpu"
    pick_device("auto")
    for name in ("toaster", "meta", "cuda:99", ""):
        with pytest.raises(ConfigError):
            pick_device(name)


# Pictures


def test_a_seed_is_the_same_picture_in_any_batch(studio):
    together = studio.draw.sample("tiny", range(20), psi=0.7)
    for seed in (0, 7, 19):
        (alone,) = studio.draw.sample("tiny", [seed], psi=0.7)
        assert same(alone, together[seed])
        assert alone.info["seed"] == str(seed)
        assert (alone.info["model"], alone.info["psi"], alone.info["noise"]) == ("tiny", "0.7", "random")
    assert not same(together[0], together[1])
    assert studio.draw.sample("tiny", []) == []


def test_kinds_of_noise(studio):
    none, fixed, random = (
        studio.draw.sample("tiny", [5, 6], noise=noise) for noise in ("none", "fixed", "random")
    )
    assert not same(none[0], fixed[0])
    assert not same(fixed[0], random[0])
    model = studio.models.load("tiny")
    w = gallery.codes_of(model, [5]).expand(2, -1)
    assert same(*gallery.draw(model, w, "fixed", [5, 6]))
    assert not same(*gallery.draw(model, w, "random", [5, 6]))


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
@pytest.mark.parametrize("kind", ["random", "fixed"])
def test_a_pictures_noise_is_not_its_z(kind, seed):
    z = torch.randn(16, generator=torch.Generator().manual_seed(seed))
    noise = gallery.noise_of(kind, [seed])(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 1, 1), 0)
    assert not torch.isclose(z, noise.flatten()).any()


def test_psi_0_is_the_mean_picture(studio):
    a, b = studio.draw.sample("tiny", [1, 2], psi=0, noise="none")
    assert same(a, b)


@pytest.mark.parametrize(
    "settings", [{"psi": float("nan")}, {"psi": 9}, {"noise": "loud"}, {"seeds": [-1]}, {"seeds": [2**32]}]
)
def test_senseless_settings_are_refused(studio, settings):
    with pytest.raises(ConfigError):
        studio.draw.sample("tiny", **{"seeds": [1], **settings})


def test_a_film_begins_and_ends_at_its_endpoints(studio, place):
    picture = place / "pictures" / "003.png"
    one, mine, two = View(1), View(photo=picture), View(2)
    frames = list(studio.explore.interpolate("tiny", [one, mine, two], frames=21))
    assert len(frames) == 21
    assert same(frames[0], studio.draw.sample("tiny", [1], noise="none")[0])
    assert same(frames[10], next(studio.draw.reconstruct("tiny", [picture])).rebuilt)
    assert same(frames[20], next(studio.explore.along("tiny", [one, two], [1.0])))
    assert same(frames[5], next(studio.explore.along("tiny", [one, mine], [0.5])))
    with pytest.raises(ConfigError):
        studio.explore.interpolate("tiny", [one])
    with pytest.raises(ConfigError):
        studio.explore.interpolate("tiny", [one, two], noise="loud")


def test_a_looped_film_leads_back_without_a_double_frame(studio):
    stops = [gallery.Stop(torch.full((1, 16), value), torch.empty(1, 0)) for value in (0.0, 1.0)]
    way = gallery.Way(studio.models.load("tiny"), [*stops, stops[0]], False)
    w = way.at(torch.linspace(0, 2, 9)[:8])
    torch.testing.assert_close(w[:, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]))
    assert len(list(studio.explore.interpolate("tiny", [View(1), View(2)], frames=8, loop=True))) == 8


def test_the_slider_encodes_a_picture_once(studio, place, tmp_path, monkeypatch):
    """And reads it once: a slider asks ten times a second."""
    picture, read = tmp_path / "mine.png", []
    shutil.copy(place / "pictures" / "010.png", picture)
    monkeypatch.setattr(explore, "open_picture", lambda *args: read.append(1) or open_picture(*args))
    stops = [View(photo=picture), View(4)]
    first, *_ = [next(studio.explore.along("tiny", stops, [t])) for t in (0.0, 0.5, 1.0)]
    assert len(read) == 1
    shutil.copy(place / "pictures" / "011.png", picture)
    os.utime(picture, (1, 1))
    assert not same(next(studio.explore.along("tiny", stops, [0.0])), first) and len(read) == 2


def test_reconstructions_carry_their_numbers(studio, place):
    paths = sorted((place / "pictures").iterdir())[:3]
    *rebuilt, _ = studio.draw.reconstruct("tiny", paths)
    assert [r.name for r in rebuilt] == ["000.png", "001.png", "002.png"]
    assert same(rebuilt[1].original, Image.open(paths[1]))
    error = np.asarray(rebuilt[1].original, float) - np.asarray(rebuilt[1].rebuilt, float)
    assert rebuilt[1].psnr == pytest.approx(10 * np.log10(255**2 / (error**2).mean()), abs=0.1)
    (place / "broken.png").write_bytes(b"no picture")
    (report,) = studio.draw.reconstruct("tiny", [place / "broken.png"])
    assert [verdict.name for verdict in report.skipped] == ["broken.png"]


def test_drawing_from_many_threads(studio):
    expected = studio.draw.sample("tiny", [3])[0]
    drawn = []
    threads = [
        threading.Thread(target=lambda: drawn.append(studio.draw.sample("tiny", [3])[0])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 8
    assert all(same(image, expected) for image in drawn)


# References


@pytest.mark.parametrize("ref", ["nothing", "", ".", "a" * 22, "/"])
def test_unknown_models_are_refused_with_the_known_ones(studio, ref):
    with pytest.raises(Mind2MindError) as caught:
        studio.models.load(ref)
    assert isinstance(caught.value, RunError) or "tiny" in str(caught.value)


def test_a_model_by_id_folder_run_and_token(studio, place, done):
    run = studio.home / "runs" / done
    assert studio.models.load("tiny").hash == studio.models.load(str(place / "weights" / "tiny")).hash
    assert (
        studio.models.load(done).hash
        == studio.models.load(str(run)).hash
        == studio.models.load(str(run / "bundle")).hash
    )
    assert studio.models.load(done).alae is studio.models.load("tiny").alae  # one source in memory


def test_on_a_public_server_folders_are_no_models_and_no_runs(place, done):
    public = make_studio(place, PUBLIC)
    run = public.home / "runs" / done
    for ref in (str(run), str(place / "weights" / "tiny"), f"../runs/{done}"):
        with pytest.raises(WeightsError):
            public.models.load(ref)
        with pytest.raises(RunError):
            public.runs.status(ref)
    assert public.models.load(done).card.kind == "transfer"


# Runs


def test_preparing_tells_of_every_file(studio, place, tmp_path):
    mixed = make_pictures(tmp_path / "mixed", 5, seed=1)
    (mixed / "note.txt").write_text("no picture")
    *progress, last = studio.runs.prepare([mixed], "tiny", title="five")
    assert isinstance(last, Prepared)
    assert (last.count, len(last.report.used), len(last.report.skipped)) == (5, 5, 1)
    assert progress[-1].done == 5
    assert last.verdict is Verdict.UNKNOWN  # it is untrained, and they are noise
    assert last.reason.startswith("Of their contrast ")
    assert studio.runs.prepared(last.token).reason == last.reason
    status = studio.runs.status(last.token)
    assert (status.state, status.info.title, status.usable) == ("prepared", "five", False)
    couples = studio.runs.comparison(last.token, count=3)
    assert len(couples) == 3
    worst = min(last.scores, key=lambda name: last.scores[name][1])
    assert same(couples[0][0], Image.open(mixed / worst))
    with pytest.raises(RunError, match="no model yet"):
        studio.draw.sample(last.token, [1])


def test_nothing_usable_is_refused_and_leaves_nothing(studio, tmp_path):
    before = len(studio.runs.list())
    (tmp_path / "note.txt").write_text("no picture")
    with pytest.raises(DataError, match="None of the pictures"):
        list(studio.runs.prepare([tmp_path / "note.txt"], "tiny"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        list(studio.runs.prepare([tmp_path / "empty"], "tiny"))
    with pytest.raises(DataError):
        list(studio.runs.prepare([tmp_path / "missing"], "tiny"))
    assert len(studio.runs.list()) == before


def test_a_preparation_left_halfway_leaves_nothing(studio, place):
    before = len(studio.runs.list())
    events = studio.runs.prepare([place / "pictures"], "tiny")
    next(events)
    events.close()
    assert len(studio.runs.list()) == before


@pytest.mark.parametrize("count", [2, 5, 20])
def test_few_pictures_work(studio, tmp_path, count):
    token = prepared(studio, make_pictures(tmp_path / "few", count))
    studio.runs.start(token, recipe=RECIPE, steps=3)
    assert carry_out(studio, token).state == "done"
    assert len(studio.draw.sample(token, [1, 2])) == 2
    assert len(studio.runs.result(token, [1, 2]).samples) == 2


@pytest.mark.parametrize("copies", [1, 4])
def test_one_picture_or_copies_of_it_are_refused_with_advice(studio, tmp_path, copies):
    for i in range(copies):
        Image.new("RGB", (16, 16), "red").save(tmp_path / f"{i}.png")
    token = prepared(studio, tmp_path)
    with pytest.raises(TrainingError, match="Add more"):
        studio.runs.start(token, recipe=RECIPE, steps=3)
    assert studio.runs.status(token).state == "prepared"


def test_a_finished_run_can_be_used(studio, done):
    status = studio.runs.status(done)
    assert (status.step, status.total_steps, status.usable, status.error) == (40, 40, True, None)
    assert status.metrics[-1]["step"] == 40
    assert status.preview_step == 40
    assert len(studio.runs.preview(done)) == len(studio.runs.preview(done, 0)) == 16
    assert studio.runs.preview(done, 41) == []
    card = studio.models.load(done).card
    assert (card.title, card.credit, card.licence) == ("My ducks", "nobody", "none")
    assert card.numbers["pictures"] == 120
    assert (studio.home / "runs" / done / "bundle" / "preview.png").exists()
    assert done not in (studio.home / "runs" / done / "bundle" / "config.json").read_text()


def test_the_nearest_original_of_a_copy_is_itself(studio, done, monkeypatch):
    found = studio.runs.result(done, [1, 2, 3])
    assert len(found.distance) == 3 and all(distance > 0 for distance in found.distance)
    assert same(found.samples[0], studio.draw.sample(done, [1])[0])
    made = codes.load(studio.home / "runs" / done / "codes.safetensors")
    monkeypatch.setattr(gallery, "codes_of", lambda model, seeds, psi=1.0: made.w[[7] * len(seeds)])
    found = studio.runs.result(done, [1])
    assert found.distance == [pytest.approx(0, abs=1e-3)]
    assert same(found.originals[0], studio.runs.thumbnails(done)[7][1])


@pytest.mark.parametrize(
    "settings",
    [
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"steps": 0},
        {"steps": 3, "seed": -1},
    ],
)
def test_senseless_starts_are_refused(studio, place, settings):
    token = prepared(studio, place / "few")
    with pytest.raises(ConfigError):
        studio.runs.start(token, **settings)
    assert studio.runs.status(token).state == "prepared"
    studio.runs.delete(token)


def test_states_allow_what_makes_sense(studio, place, done):
    token = prepared(studio, place / "few")
    with pytest.raises(RunError, match="prepared"):
        studio.runs.resume(token)
    studio.runs.stop(token)
    assert studio.runs.start(token, recipe=RECIPE, steps=5).state == "queued"
    with pytest.raises(RunError, match="queued"):
        studio.runs.start(token, recipe=RECIPE, steps=5)
    studio.runs.stop(token)
    assert studio.runs.status(token).state == "prepared"
    studio.runs.start(token, recipe=RECIPE, steps=5)
    studio.runs.delete(token)
    with pytest.raises(RunError):
        studio.runs.status(token)
    with pytest.raises(RunError, match="done"):
        studio.runs.resume(done)
    with pytest.raises(ConfigError):
        studio.runs.resume(done, extra_steps=-1)


OPENED: list[str] = []
sys.addaudithook(
    lambda event, _: OPENED.append(event) if event in ("open", "os.scandir", "os.listdir") else None
)


def opened_by(look) -> int:
    """How many files and folders it opens."""
    before = len(OPENED)
    look()
    return len(OPENED) - before


def test_looking_at_a_run_costs_the_same_however_many_there_are(tmp_path, place):
    (tmp_path / "weights").symlink_to(place / "weights")
    studio = make_studio(tmp_path)
    token, other = (prepared(studio, place / "few") for _ in range(2))
    studio.runs.start(token, recipe=RECIPE, steps=5)
    few = opened_by(lambda: studio.runs.status(token))
    for _ in range(50):
        shutil.copytree(studio.home / "runs" / other, studio.home / "runs" / new_token())
    assert opened_by(lambda: studio.runs.status(token)) == few
    for path in studio.home.glob("runs/*/run.json"):
        os.utime(path, (time.time() - 60,) * 2)
    assert len(studio.runs.list()) == 52
    assert opened_by(studio.runs.list) == 1  # what was read stays known; sizes are written down


def test_a_home_of_the_first_version_goes_on(tmp_path):
    """A finished run, a set that waits and an opened bundle, as version 1 wrote them."""
    shutil.copytree(Path(__file__).parent / "homes" / "v1", tmp_path, dirs_exist_ok=True)
    studio, tokens = make_studio(tmp_path), json.loads((tmp_path / "tokens.json").read_text())
    for ref in (tokens["done"], tokens["opened"]):
        assert len(studio.draw.sample(ref, [1, 2])) == 2
    status = studio.runs.status(tokens["done"])
    assert (status.state, status.step, status.info.found.count, status.info.recipe.name) == (
        "done",
        60,
        24,
        "tiny",
    )
    assert Ending.explained(status.info.reason) == "It went through all its steps."
    assert {run.token: run.info.bytes > 10_000 for run in studio.runs.list()} == dict.fromkeys(
        (tokens["done"], tokens["prepared"]), True
    )
    assert len(studio.runs.result(tokens["done"]).samples) == 64
    studio.runs.resume(tokens["done"], extra_steps=20)
    assert carry_out(studio, tokens["done"]).step == 80
    waits = studio.runs.prepared(tokens["prepared"])
    assert (waits.count, waits.excluded, waits.judged, waits.crop) == (23, ("003.png",), 24, "centre")
    assert waits.verdict is Verdict.UNKNOWN  # of which it kept what was said
    assert len(studio.runs.thumbnails(waits.token)) == 24
    assert studio.runs.exclude(waits.token, []).count == 24
    studio.runs.start(waits.token, recipe=RECIPE, steps=5)
    assert carry_out(studio, waits.token).state == "done"


def test_a_link_that_only_looks_changes_nothing(studio, place, tmp_path):
    token = trained(studio, place / "few", 5)
    look = studio.runs.status(token).look
    assert look != token and studio.runs.status(look).token == studio.runs.status(look).look == look
    assert studio.runs.status(look).state == "done" and len(studio.runs.preview(look)) == 16
    assert same(studio.runs.result(look, [1]).samples[0], studio.draw.sample(token, [1])[0])
    for change in (
        lambda: studio.runs.stop(look),
        lambda: studio.runs.delete(look),
        lambda: studio.runs.rename(look, "Mine"),
        lambda: studio.runs.resume(look, extra_steps=5),
        lambda: studio.runs.start(look, recipe=RECIPE, steps=5),
        lambda: studio.runs.add(look, [place / "pictures"]),
        lambda: studio.runs.exclude(look, []),
        lambda: studio.runs.pack(look, tmp_path / "all.zip"),
        lambda: studio.models.export(look, tmp_path / "model.zip"),
        lambda: studio.models.publish(look, "me/ducks", "hf_x"),
    ):
        with pytest.raises(RunError, match="only shows"):
            change()
    assert look not in [run.token for run in studio.runs.list()]
    studio.runs.delete(token)
    with pytest.raises(RunError, match="no such run"):
        studio.runs.status(look)


def test_a_run_in_a_folder_of_its_own(studio, place, tmp_path):
    out = tmp_path / "out"
    token = prepared(studio, place / "few", folder=out)
    assert token == str(out)
    studio.runs.start(token, recipe=RECIPE, steps=3)
    assert carry_out(studio, token).state == "done"
    assert followed(studio, token).token == token
    assert studio.draw.sample(str(out), [1])[0].size == (16, 16)
    assert len(studio.runs.result(token, [1]).originals) == 1
    assert token not in [run.token for run in studio.runs.list()]
    with pytest.raises(RunError, match="already a run"):
        studio.runs.prepare([place / "pictures"], "tiny", folder=out)


def test_a_transfer_from_a_transfers_source(studio, place, done):
    token = prepared(studio, place / "few")
    *_, last = studio.runs.prepare([place / "pictures"], done)
    run = studio.runs.find(last.token)
    assert run.info.model == "tiny"
    for each in (token, last.token):
        studio.runs.delete(each)


# Bundles


def test_export_and_import_are_the_same_model(studio, done, tmp_path):
    path = studio.models.export(done, tmp_path / "ducks")
    assert path == tmp_path / "ducks.zip"
    assert sorted(zipfile.ZipFile(path).namelist()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preview.png",
    ]
    ref = studio.models.take_in(path)
    assert ref != done
    assert studio.models.load(ref).hash == studio.models.load(done).hash
    assert same(studio.draw.sample(ref, [4])[0], studio.draw.sample(done, [4])[0])
    assert (studio.home / "models" / ref / "preview.png").exists()
    studio.runs.delete(ref)
    with pytest.raises(RunError):
        studio.models.load(ref)


def test_a_zip_may_hold_the_bundle_in_a_folder_and_more(studio, done, tmp_path):
    path = studio.models.export(done, tmp_path / "plain.zip")
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "more.zip", "w") as more:
        more.writestr("../../evil.txt", "x")
        for name in plain.namelist():
            more.writestr(f"ducks/{name}", plain.read(name))
    ref = studio.models.take_in(tmp_path / "more.zip")
    names = {path.name for path in (studio.home / "models" / ref).iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "preview.png"}


def _zip(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def test_bad_bundles_are_refused_and_leave_nothing(studio, done, place, tmp_path):
    before = set((studio.home / "models").glob("*"))
    good = zipfile.ZipFile(studio.models.export(done, tmp_path / "good.zip"))
    config, weights = good.read("config.json"), good.read("model.safetensors")
    source = place / "weights" / "tiny"
    (tmp_path / "text.zip").write_text("no zip")
    whole = (tmp_path / "good.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    bad = [
        tmp_path / "text.zip",
        tmp_path / "cut.zip",
        tmp_path / "missing.zip",
        tmp_path,
        _zip(tmp_path / "a.zip", config__json=config),
        _zip(tmp_path / "b.zip", config__json=config, model__safetensors=weights[:100]),
        _zip(tmp_path / "c.zip", config__json=b"[" * 10_000, model__safetensors=weights),
        _zip(tmp_path / "d.zip", config__json=b" " * 2_000_000, model__safetensors=weights),
        _zip(tmp_path / "e.zip", config__json=b"{}", model__safetensors=weights),
        _zip(
            tmp_path / "f.zip", config__json=(source / "config.json").read_bytes(), model__safetensors=weights
        ),
    ]
    for path in bad:
        with pytest.raises(Mind2MindError) as told:
            studio.models.take_in(path)
        assert str(studio.home) not in str(told.value)  # where it was unpacked is nobody's matter
    assert set((studio.home / "models").glob("*")) == before


def test_a_transfer_of_another_source_is_refused(studio, done, tmp_path):
    path = studio.models.export(done, tmp_path / "x.zip")
    make_weights(tmp_path / "weights", seed=1)
    with pytest.raises(WeightsError):
        make_studio(tmp_path).models.take_in(path)
    make_weights(tmp_path / "other" / "weights", name="other")
    with pytest.raises(WeightsError, match="tiny"):
        make_studio(tmp_path / "other").models.take_in(path)


# Visitors


@pytest.fixture
def public(tmp_path, place):
    (tmp_path / "weights").symlink_to(place / "weights")
    return make_studio(tmp_path, PUBLIC)


def test_visitors_see_their_own_runs_only(public, place):
    a, b = (prepared(public, place / "few", visitor=visitor) for visitor in ("anna", "ben"))
    assert [run.token for run in public.runs.list("anna")] == [a]
    assert [run.token for run in public.runs.list("ben")] == [b]
    assert public.runs.list() == public.runs.list("carl") == []


def test_one_run_at_a_time_per_visitor(public, place):
    first, second, other = (prepared(public, place / "few", visitor=v) for v in ("anna", "anna", "ben"))
    public.runs.start(first, recipe=RECIPE, steps=5)
    with pytest.raises(RunError, match="already have 1"):
        public.runs.start(second, recipe=RECIPE, steps=5)
    public.runs.start(other, recipe=RECIPE, seconds=30)
    assert [public.runs.status(t).place_in_queue for t in (first, other)] == [1, 2]
    assert [public.runs.status(t).wait for t in (first, other)] == [
        0,
        60,
    ]  # steps are taken for the usual minute
    carry_out(public, first)
    public.runs.start(second, recipe=RECIPE, steps=5)


def test_two_prepared_sets_per_visitor(public, place):
    """Another one takes the place of the oldest; also when they were begun at once."""
    begun = [public.runs.prepare([place / "few"], "tiny", visitor="anna") for _ in range(3)]
    first, second, third = (list(events)[-1].token for events in begun)
    assert [run.token for run in public.runs.list("anna")] == [third, second]
    other = prepared(public, place / "few", visitor="ben")
    public.runs.start(second, recipe=RECIPE, steps=5)  # it waits for its start no more
    fourth = prepared(public, place / "few", visitor="anna")
    assert [run.token for run in public.runs.list("anna")] == [fourth, third, second]
    assert {run.name for run in (public.home / "runs").iterdir()} == {second, third, fourth, other}
    with pytest.raises(RunError, match="no such run"):
        public.runs.status(first)


def test_the_queue_is_finite(tmp_path, place):
    (tmp_path / "weights").symlink_to(place / "weights")
    studio = make_studio(tmp_path, replace(PUBLIC, queue=2))
    tokens = [prepared(studio, place / "few", visitor=str(i)) for i in range(3)]
    for token in tokens[:2]:
        studio.runs.start(token, recipe=RECIPE, steps=5)
    with pytest.raises(RunError, match="2 runs are waiting"):
        studio.runs.start(tokens[2], recipe=RECIPE, steps=5)


def test_a_visitors_time_is_clamped(public, place):
    token = prepared(public, place / "few", visitor="anna")
    public.runs.start(token, recipe=RECIPE, seconds=10_000)
    info = public.runs.find(token).info
    assert (info.seconds, info.deadline) == (600, 900)
    public.runs.stop(token)
    public.runs.start(token, recipe=RECIPE, steps=10_000_000)
    assert public.runs.find(token).info.deadline == 600


def test_a_full_disk_is_told_of(tmp_path, place):
    (tmp_path / "weights").symlink_to(place / "weights")
    studio = make_studio(tmp_path, replace(PUBLIC, disk_bytes=10))
    prepared(studio, place / "few", visitor="anna")
    with pytest.raises(DataError, match="disk is full"):
        studio.runs.prepare([place / "pictures"], "tiny", visitor="anna")


def test_too_many_pictures_are_refused(tmp_path, place):
    (tmp_path / "weights").symlink_to(place / "weights")
    with pytest.raises(DataError, match="120 files"):
        list(make_studio(tmp_path, replace(PUBLIC, files=100)).runs.prepare([place / "pictures"], "tiny"))


def test_cleaning_takes_what_is_old_and_not_at_work(tmp_path, place, done, studio):
    (tmp_path / "weights").symlink_to(place / "weights")
    public = make_studio(tmp_path, replace(PUBLIC, keep_hours=1))
    old, alive, new = (prepared(public, place / "few", visitor=v) for v in "abc")
    public.runs.start(alive, recipe=RECIPE, steps=5)
    bundle = public.models.take_in(studio.models.export(done, tmp_path / "x.zip"))
    for token in (old, alive):
        run, past = public.runs.find(token), time.time() - 4000
        info = json.loads((run.folder / "run.json").read_text()) | {"updated": past}
        (run.folder / "run.json").write_text(json.dumps(info))
    leftover = public.home / "runs" / "leftover"
    leftover.mkdir()
    (leftover / "run.lock").touch()
    for folder in (leftover, public.home / "models" / bundle):
        os.utime(folder, (time.time() - 4000,) * 2)
    assert public.runs.clean() == 3
    assert {run.name for run in (public.home / "runs").iterdir()} == {alive, new}
    assert make_studio(place, LOCAL).runs.clean() == 0


@pytest.mark.parametrize("psi", [None, "x", float("nan"), float("inf"), 9])
def test_a_psi_that_is_none_is_told(studio, psi):
    with pytest.raises(ConfigError, match="psi is"):
        studio.draw.sample("tiny", [0], psi=psi)


HOLDS = """
import sys, time
from pathlib import Path
from mind2mind.studio import Studio
with Studio("cpu", Path(sys.argv[1])).scratch() as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


def test_files_of_the_dead_are_wiped_and_nobody_elses(tmp_path):
    """Whatever number the processes have: in two containers it may be the same."""
    studio, root = make_studio(tmp_path), Path(__file__).parent.parent
    gradio = studio.home / "gradio"
    for number in (os.getpid(), 999_999_999):  # as they were called before
        (gradio / str(number)).mkdir(parents=True)
    command = [sys.executable, "-c", HOLDS, studio.home]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as other:
        others = Path(other.stdout.readline().strip())
        assert [*gradio.iterdir()] == [others]
        (others / "served.png").touch()
        with studio.scratch() as mine:
            with studio.scratch() as second:
                assert {*gradio.iterdir()} == {mine, second, others} and (others / "served.png").exists()
            other.kill()
            other.wait()
            assert {*gradio.iterdir()} == {mine, others}
            with studio.scratch() as second:
                assert {*gradio.iterdir()} == {mine, second}
    assert [*gradio.iterdir()] == []
