"""What comes out of a run: originality, the result, the film, everything in a zip, the list, the Hub."""

import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from test_worker import assert_same_run
from tiny import RECIPE, carry_out, make_pictures, make_studio, prepared, trained
from typer.testing import CliRunner

from mind2mind import draw as gallery
from mind2mind.cli import commands
from mind2mind.config import DEFAULT, PUBLIC, changed
from mind2mind.data.images import grid
from mind2mind.errors import COMMAND, ConfigError, DataError, Mind2MindError, RunError, WeightsError
from mind2mind.files import load_tensors
from mind2mind.judge import evaluate
from mind2mind.judge.verdict import Grade, likeness
from mind2mind.models import catalogue
from mind2mind.models.bundle import describe
from mind2mind.networks.mindgan import samples
from mind2mind.runs import findings
from mind2mind.runs import worker as execution
from mind2mind.runs.queue import Launcher
from mind2mind.studio import Studio
from mind2mind.training.transfer import Ending

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def done(studio, place):
    return trained(studio, place / "pictures", title="My ducks", visitor="me")


# What samples are worth


def law(count, seed, size=32):
    """Codes with a few strong directions, as those of pictures have."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.randn(6, size, generator=torch.Generator().manual_seed(0))
    return torch.randn(count, 6, generator=draw) @ directions + 0.3 * torch.randn(count, size, generator=draw)


def worth(samples, originals):
    return likeness(samples, originals).worth


@pytest.mark.parametrize("count", [20, 50, 200, 1000])
def test_an_honest_generator_is_good_in_all_three(count):
    found = [worth(law(1000, seed), law(count, seed + 500)) for seed in range(20)]
    for name in ("quality", "variety", "originality"):
        grades = [one.grades[name] for one in found]
        assert Grade.POOR not in grades or (count < 100 and grades.count(Grade.POOR) <= 1), name
        assert grades.count(Grade.GOOD) >= 15, name
    mean = np.mean([one.copies / one.samples for one in found])
    assert mean < ({20: 0.12, 50: 0.1}.get(count, 0.04)), "about 1 % by chance, more only where there are few"


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("count", [20, 50, 400])
def test_one_that_repeats_its_originals_is_found_out(count, moved):
    originals = law(count, 1)
    chosen = torch.arange(1000) % count
    copies = originals[chosen] + moved * originals.std(dim=0) * law(1000, 2).sign() * 0.5
    seen = likeness(copies, originals)
    assert seen.worth.grades["originality"] is Grade.POOR and seen.worth.copies > 950
    assert seen.worth.worst is Grade.POOR and "repeats" in seen.worth.told["originality"]
    assert torch.equal(seen.nearest, chosen)
    if not moved:
        assert seen.distance.max() < 1e-6


def test_one_that_repeats_half_of_the_time_is_found_out_too():
    originals = law(200, 1)
    seen = likeness(torch.cat([law(500, 2), originals[torch.arange(500) % 200]]), originals)
    assert seen.worth.grades["originality"] is Grade.POOR and 450 < seen.worth.copies < 600
    assert seen.near[500:].all()


def test_near_copies_among_the_originals_hide_no_copying():
    originals = law(200, 1)
    twins = torch.cat([originals, originals[:60] + 1e-4])  # a third of all have one
    moved = twins[torch.arange(1000) % 260] + 0.02
    assert worth(moved, twins).grades["originality"] is Grade.POOR
    honest = worth(law(1000, 5), twins)
    assert honest.grades["originality"] is Grade.GOOD and honest.by_chance > 300


def test_one_picture_for_all_is_no_variety_and_no_copy():
    originals, made = law(200, 1), law(1000, 2)
    for share, grade in ((1.0, Grade.GOOD), (0.8, Grade.GOOD), (0.5, Grade.FAIR), (0.019, Grade.POOR)):
        found = worth(made.mean(dim=0) + share * (made - made.mean(dim=0)), originals)
        assert found.grades["variety"] is grade and found.variety == pytest.approx(share, rel=0.15)
        assert found.grades["originality"] is not Grade.POOR
    assert found.worst is Grade.POOR and "2% as much" in found.told["variety"]


def test_pictures_of_another_kind_are_of_no_quality():
    """However varied they are."""
    found = worth(law(300, 2) + 4 * law(400, 1).std(dim=0), law(400, 1))
    assert found.grades["quality"] is Grade.POOR and found.grades["variety"] is Grade.GOOD
    noise = torch.randn(300, 32, generator=torch.Generator().manual_seed(3)) * law(400, 1).std(dim=0)
    assert worth(noise, law(400, 1)).grades["quality"] is Grade.POOR


@pytest.mark.parametrize("count", [1, 2, 19])
def test_few_originals_tell_nothing(count):
    originals = law(count, 1)
    seen = likeness(originals, originals)
    assert seen.worth is None and not seen.near.any() and seen.distance.max() < 1e-6


# The result


def test_the_result_of_a_run(studio, done):
    result = studio.runs.result(done)
    assert len(result.samples) == len(result.originals) == len(result.near) == 64
    first = studio.draw.sample(done, [result.seeds[0]])[0]
    assert np.array_equal(np.asarray(result.samples[0]), np.asarray(first))
    status = result.status
    assert (status.info.worth.originals, status.info.worth.samples) == (120, 256)
    assert status.info.worth == studio.runs.find(done).info.worth  # measured once, when the run ended
    assert [word.split()[0] for word in status.told] == ["Quality", "Variety", "Originality", "Judged"]
    with pytest.raises(RunError):
        studio.runs.result("a" * 22)


def test_the_numbers_of_a_run_in_every_space(studio, done):
    numbers = studio.runs.numbers(done)
    assert (numbers.samples, numbers.pictures) == (256, 120) and set(numbers.spaces) == {
        "codes", "pixels", "independent"
    }  # fmt: skip
    assert numbers.rebuilt == studio.runs.find(done).info.found.psnr_mean
    assert numbers.codes.energy < numbers.before  # it learnt
    assert numbers.gap is not None and 0 < numbers.independent.one_nearest <= 1
    with pytest.raises(RunError):
        studio.runs.numbers("a" * 22)


# An earlier step is kept


def bundle_files(run):
    return {path.name: path.read_bytes() for path in run.bundle.iterdir()}


def test_a_run_keeps_an_earlier_step_and_goes_on_from_its_last_all_the_same(studio, place):
    token, other = (trained(studio, place / "pictures") for _ in range(2))
    run = studio.runs.find(token)
    last, was = bundle_files(run), studio.runs.status(token)
    for step in (was.preview_steps[0], was.preview_steps[7]):
        status, told = studio.runs.keep(token, step), load_tensors(run.preview_path(step))[0]["w"]
        model = studio.models.load(token)
        assert torch.equal(samples(model.g, model.z_dim, len(told)), told)
        assert (
            status.info.kept == step and status.info.worth != was.info.worth and status.result != was.result
        )
        assert model.card.numbers["kept_step"] == step and status.step == was.step == 40
        assert model.card.numbers["quality"] == round(status.info.worth.quality, 3)
    at = [row["gap"] for row in run.metrics() if row["step"] <= step]
    assert studio.runs.numbers(token).gap == at[-1] != studio.runs.numbers(other).gap
    again = studio.runs.keep(token, None)
    assert (again.result, again.info.worth) == (was.result, was.info.worth) and bundle_files(run) == last
    studio.runs.keep(token, was.preview_steps[3])
    for each in (token, other):
        studio.runs.resume(each, extra_steps=20)
        assert carry_out(studio, each).info.kept is None
    assert_same_run(run, studio.runs.find(other))
    for each in (token, other):
        studio.runs.delete(each)


def test_what_cannot_be_kept_leaves_the_model_as_it_is(studio, done):
    run = studio.runs.find(done)
    before, steps = bundle_files(run), run.preview_steps()
    path = run.preview_path(steps[2])
    whole = path.read_bytes()
    save_file({"w": load_file(path)["w"]}, path)  # as runs of before did
    try:
        with pytest.raises(WeightsError, match="was not kept"):
            studio.runs.keep(done, steps[2])
    finally:
        path.write_bytes(whole)
    with pytest.raises(RunError, match="no preview at step 999"):
        studio.runs.keep(done, 999)
    with pytest.raises(RunError, match="only shows"):
        studio.runs.keep(studio.runs.status(done).look, steps[2])
    run.update(state="queued")
    with pytest.raises(RunError, match="is queued"):
        studio.runs.keep(done, steps[2])
    run.update(state="done")
    assert bundle_files(run) == before and studio.runs.status(done).info.kept is None


def test_killed_while_it_keeps_a_step_the_run_has_its_old_model(studio, done, place):
    run = studio.runs.find(done)
    before, step = bundle_files(run), run.preview_steps()[5]
    script = f"""import os
from mind2mind import draw
from mind2mind.studio import Studio
draw.save_sheet = lambda *_: os._exit(9)
Studio("cpu", {str(studio.home)!r}, weights={str(place / "weights")!r}).runs.keep({done!r}, {step})"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", script], env=env, timeout=120).returncode == 9
    assert (run.folder / "bundle.new/model.safetensors").exists() and bundle_files(run) == before
    assert studio.runs.status(done).info.kept is None
    assert studio.runs.keep(done, step).info.kept == step and not (run.folder / "bundle.new").exists()
    assert studio.runs.keep(done, None).info.kept is None and bundle_files(run) == before


def test_without_the_extra_a_run_has_the_other_numbers(studio, done, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    evaluate._network.cache_clear()
    assert set(studio.runs.numbers(done).spaces) == {"codes", "pixels"}


def test_why_a_run_ended_does_not_hide_what_the_check_found(studio, done):
    assert studio.runs.status(done).info.reason == Ending.THROUGH
    assert studio.runs.prepared(done).reason.startswith("Of their contrast")


def test_a_run_that_learnt_by_heart_is_found_out(studio, done, monkeypatch):
    from mind2mind.data import codes

    made = codes.load(studio.home / "runs" / done / "codes.safetensors")
    by_heart = made.w.repeat(9, 1)
    monkeypatch.setattr(gallery, "codes_of", lambda model, seeds, psi=1.0: by_heart[: len(seeds)])
    monkeypatch.setattr("mind2mind.networks.mindgan.samples", lambda g, z_dim, count, seed: by_heart[:count])
    run = studio.runs.find(done)
    was, card = run.info.worth, bundle_files(run)
    run.update(worth=None)  # its worker was killed before it could judge them
    result = studio.runs.result(done)
    assert result.status.info.worth.grades["originality"] is Grade.POOR and all(result.near)
    assert result.status.info.worth == run.info.worth != was
    assert describe(run.bundle).numbers["near_copies"] == 1
    for name, content in card.items():
        (run.bundle / name).write_bytes(content)
    run.update(worth=was)


def test_a_run_of_few_pictures_is_not_judged(studio, place, tmp_path):
    few = trained(studio, make_pictures(tmp_path / "few", 19), steps=3)
    result = studio.runs.result(few)
    assert result.status.info.worth is None and "judge by eye" in result.status.told[0]
    studio.runs.delete(few)


def test_the_command_repeats_the_run(studio, place, tmp_path, monkeypatch):
    """What is shown is run as it is, and gives the same weights."""
    token = prepared(studio, place / "pictures", title="Ducks", crop="fit")
    recipe = changed(DEFAULT, {"generator_widths": "16", "critic_widths": "16", "z_dim": 8, "batch_size": 16})
    studio.runs.start(token, recipe=recipe, steps=15, seed=4)
    carry_out(studio, token)
    result = studio.runs.result(token)
    words = shlex.split(result.command)
    assert words[1:4] == ["-m", "mind2mind", "transfer"]
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(place / "weights"))
    monkeypatch.setenv("MIND2MIND_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Launcher, "ensure", lambda self, run: execution.carry_out(run, Studio("cpu").models))
    words = [str(place / "pictures") if word == "PICTURES" else word for word in words[3:]]
    assert CliRunner().invoke(commands, words).exit_code == 0
    again = load_file(tmp_path / "my-run" / "bundle" / "model.safetensors")
    first = load_file(studio.home / "runs" / token / "bundle" / "model.safetensors")
    assert all(torch.equal(again[name], first[name]) for name in first)
    studio.runs.delete(token)


# Film and zip


def frames_of(path):
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_the_film_shows_the_previews_in_order(studio, done, tmp_path):
    steps = studio.runs.status(done).preview_steps
    frames = frames_of(studio.runs.film(done, tmp_path / "film.mp4"))
    assert len(frames) == 2 * len(steps) - 1 + 12
    sheets = list(findings.film(studio.models, studio.runs.find(done)))
    for number, step in ((0, steps[0]), (2, steps[1]), (-1, steps[-1])):
        exact = np.asarray(grid(studio.runs.preview(done, step)))
        assert np.array_equal(np.asarray(sheets[number]), exact)
    token = prepared(studio, studio.home.parent / "pictures")
    with pytest.raises(DataError):
        studio.runs.film(token, tmp_path / "none.mp4")
    studio.runs.delete(token)


def test_everything_in_one_zip(studio, done, tmp_path):
    path = studio.runs.pack(done, tmp_path / "all")
    assert path == tmp_path / "all.zip"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "out")
    for name in ("my-ducks/model.safetensors", "my-ducks/README.md", "samples/1063.png", "samples/sheet.png",
                 "film.mp4", "codes.safetensors", "report.json", "metrics.jsonl", "curves.png"):  # fmt: skip
        assert name in names
    last = (tmp_path / "out/curves.csv").read_text().splitlines()[-1].split(",")
    assert int(last[0]) == studio.runs.status(done).step == 40
    told = json.loads((tmp_path / "out/run.json").read_text())
    assert told["title"] == "My ducks" and told["steps"] == 40 and told["found"]["count"] == 120
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*.[jt]*") if p.is_file())
    for secret in (done, "visitor", "address", str(studio.home)):
        assert secret.encode() not in everything
    assert (
        studio.runs.result(done).command.replace("my-run", "my-ducks")
        in (tmp_path / "out/README.txt").read_text()
    )


def test_the_card_says_how_to_load_it_and_that_is_true(studio, done, place, tmp_path):
    """In a fresh process, beside and in the unzipped folder, by the very lines of the card."""
    with zipfile.ZipFile(studio.models.export(done, tmp_path / "x.zip")) as archive:
        archive.extractall(tmp_path / "my-ducks")
    card = (tmp_path / "my-ducks/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    check = "\nassert len(pictures) == 16 and pictures[0].size == (16, 16)\n"
    inside = code.replace('"my-ducks"', '"."')
    assert inside != code
    script = f"{code}{check}import os\nos.chdir('my-ducks')\n{inside}{check}pictures[0].save('../a.png')"
    env = os.environ | {
        "PYTHONPATH": str(ROOT), "MIND2MIND_WEIGHTS": str(place / "weights"),
        "MIND2MIND_HOME": str(tmp_path / "home"),
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, check=True, timeout=120)
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(studio.draw.sample(done, [0])[0]))


def test_the_card_tells_settings_counts_numbers_and_credits(studio, done):
    card = (studio.home / "runs" / done / "bundle/README.md").read_text()
    for line in ("# My ducks", "Credit: nobody.", "Licence: none.", "| pictures | 120 |", "| seed | 3 |",
                 "| crop | centre |", "| source model | tiny |", "| near_copies | ", "| steps | 40 |"):  # fmt: skip
        assert line in card
    assert f"Made by `{COMMAND} transfer PICTURES --model tiny --out my-ducks" in card


# Bundles of others


def bundle_of(studio, done, folder, **files):
    """The run's bundle as a zip with some of its files replaced."""
    source = studio.home / "runs" / done / "bundle"
    path = folder / "changed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "README.md", "model.safetensors"):
            archive.writestr(name, files.get(name.split(".")[0], (source / name).read_bytes()))
    return path


def refused(studio, path, match=None):
    before = sorted((studio.home / "models").glob("*"))
    with pytest.raises(Mind2MindError, match=match):
        studio.models.take_in(path)
    assert sorted((studio.home / "models").glob("*")) == before


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_under_another_name_is_never_opened(studio, done, tmp_path):
    mark = tmp_path / "run by the pickle"
    torch.save({"g": Evil(mark)}, tmp_path / "evil.pt")
    for content in (pickle.dumps(Evil(mark)), (tmp_path / "evil.pt").read_bytes()):
        refused(studio, bundle_of(studio, done, tmp_path, model=content), "safetensors")
    assert not mark.exists()


def test_wrong_weights_are_refused(studio, done, tmp_path):
    whole = load_file(studio.home / "runs" / done / "bundle/model.safetensors")
    name = next(name for name in whole if name.endswith("weight"))

    def saved(tensors):
        save_file(tensors, tmp_path / "w.safetensors")
        return (tmp_path / "w.safetensors").read_bytes()

    shaped = whole | {name: whole[name][:-1].clone()}
    nan = whole | {name: whole[name] * float("nan")}
    more = whole | {"g.extra": torch.zeros(3)}
    less = {key: value for key, value in whole.items() if key != name}
    text = whole | {name: torch.zeros(whole[name].shape, dtype=torch.bool)}
    for tensors in (shaped, nan, more, less):
        refused(studio, bundle_of(studio, done, tmp_path, model=saved(tensors)))
    header = (2**60).to_bytes(8, "little") + b"{}"  # claims a header of 10**18 bytes
    refused(studio, bundle_of(studio, done, tmp_path, model=header))
    studio.runs.delete(
        studio.models.take_in(bundle_of(studio, done, tmp_path, model=saved(text)))
    )  # zeros: dull, sound


def test_a_zip_bomb_and_a_slip_are_refused(studio, done, tmp_path, monkeypatch):
    monkeypatch.setitem(catalogue.CAPS, "model.safetensors", 1_000_000)
    bomb = bundle_of(studio, done, tmp_path, model=bytes(20_000_000))
    assert bomb.stat().st_size < 100_000
    refused(studio, bomb, "larger than 1,000,000")
    slip = tmp_path / "slip.zip"
    config = (studio.home / "runs" / done / "bundle/config.json").read_bytes()
    with zipfile.ZipFile(slip, "w") as archive:
        archive.writestr("../../../config.json", config)
        archive.writestr("/tmp/README.md", "x")
        archive.writestr("..\\..\\model.safetensors", b"x")
    before = sorted(tmp_path.parent.rglob("*"))
    refused(studio, slip)
    assert sorted(tmp_path.parent.rglob("*")) == before


HOSTILE = [None, 3, -1, 1e308, "", "x" * 100_000, "../../etc", [], [[]], {}, {"a": 1}, True, [2**40], [-1]]


def test_any_config_is_taken_or_refused_in_words(studio, done, tmp_path):
    config = json.loads((studio.home / "runs" / done / "bundle/config.json").read_bytes())
    spots = [(config, key) for key in config] + [
        (config[part], key) for part in ("sizes", "source", "extra") for key in config[part]
    ]
    for holder, key in spots:
        kept = holder[key]
        for value in HOSTILE:
            holder[key] = value
            try:
                ref = studio.models.take_in(
                    bundle_of(studio, done, tmp_path, config=json.dumps(config).encode())
                )
            except Mind2MindError:
                continue
            studio.draw.sample(ref, [0])
            studio.runs.delete(ref)
        holder[key] = kept


# The list


def test_the_list_of_ones_runs(studio, place, done):
    other = prepared(studio, place / "pictures", visitor="you", title="Others")
    (mine,) = studio.runs.list("me")
    assert (mine.token, mine.info.title, mine.state, mine.info.model) == (done, "My ducks", "done", "tiny")
    assert mine.info.found.count == 120 and mine.usable
    there = sum(p.stat().st_size for p in (studio.home / "runs" / done).rglob("*") if p.is_file())
    assert mine.info.bytes == pytest.approx(there, rel=0.01)
    assert abs(time.time() - mine.info.created) < 600
    assert {entry.token for entry in studio.runs.list()} == {done, other}
    studio.runs.delete(other)


def test_another_title_goes_with_the_model(studio, place, tmp_path, monkeypatch):
    token = trained(studio, place / "pictures", 5, title="Ducks")
    before = studio.draw.sample(token, [1])[0]
    card = studio.home / "runs" / token / "bundle/README.md"
    text = card.read_text()
    studio.runs.rename(token, "  Red\n geese ")
    assert studio.runs.status(token).info.title == studio.models.load(token).card.title == "Red geese"
    assert card.read_text() == text.replace("# Ducks", "# Red geese").replace('"ducks"', '"red-geese"')
    assert np.array_equal(np.asarray(studio.draw.sample(token, [1])[0]), np.asarray(before))
    for title in ("", " \n", "x" * 201):
        with pytest.raises(ConfigError):
            studio.runs.rename(token, title)
    monkeypatch.setattr("mind2mind.runs.run.JUDGING_SECONDS", 0.1)
    with studio.runs.find(token).hold(), pytest.raises(RunError, match="at work"):
        studio.runs.rename(token, "While it runs")
    assert studio.runs.status(token).info.title == "Red geese"
    studio.runs.delete(token)


def test_deleting_everything_of_mine_takes_nothing_of_others(place, tmp_path):
    (tmp_path / "weights").symlink_to(place / "weights")
    studio = make_studio(tmp_path, PUBLIC)
    small = make_pictures(tmp_path / "small", 6)
    mine = [prepared(studio, small, visitor="me") for _ in range(2)]
    other = prepared(studio, small, visitor="you")
    kept = trained(studio, small, 3, visitor="you")
    opened = [studio.models.take_in(studio.models.export(kept, tmp_path / "b.zip")) for _ in range(2)]
    studio.runs.start(mine[0], recipe=RECIPE, steps=5)
    assert studio.runs.delete_all("me", [opened[0], kept, "../weights", "a" * 22]) == 3
    assert studio.runs.list("me") == [] and {e.token for e in studio.runs.list("you")} == {other, kept}
    assert [p.name for p in (studio.home / "models").iterdir()] == [opened[1]]
    assert not any((studio.home / "runs" / token).exists() for token in mine)
    assert (tmp_path / "weights/tiny").is_dir()
    assert studio.runs.list() == []  # of nobody in particular: nothing, on a public server


# The Hub


class Hub:
    """What `huggingface_hub.HfApi` would do, at its boundary."""

    def __init__(self, monkeypatch, fails=None, status=None):
        import huggingface_hub

        self.calls, self.files = [], {}
        hub = self

        class HfApi:
            def __init__(self, token=None):
                hub.token = token

            def create_repo(self, repo_id, *, private, exist_ok):
                hub.calls.append(("create", repo_id, private, exist_ok))
                hub.may("create")
                return f"https://hub.example/{repo_id}"

            def create_commit(self, repo_id, operations, *, commit_message):
                hub.calls.append(("upload", repo_id))
                hub.may("upload")
                for operation in operations:
                    with operation.as_file() as file:
                        hub.files[operation.path_in_repo] = file.read()

            def delete_repo(self, repo_id):
                hub.calls.append(("delete", repo_id))

        self.may = lambda what: self._fail(status) if what == fails else None
        monkeypatch.setattr(huggingface_hub, "HfApi", HfApi)

    def _fail(self, status):
        error = OSError("The Hub says <no>\nand more")
        error.response = type("Response", (), {"status_code": status})()
        raise error


def test_publishing_sends_the_bundle_and_nothing_else(studio, done, monkeypatch, tmp_path):
    hub = Hub(monkeypatch)
    assert studio.models.publish(done, "me/ducks", "hf_x") == "https://hub.example/me/ducks"
    assert hub.token == "hf_x"
    assert hub.calls == [("create", "me/ducks", True, False), ("upload", "me/ducks")]
    assert set(hub.files) == {"README.md", "config.json", "model.safetensors", "preview.png"}
    card = hub.files["README.md"].decode()
    assert card == studio.models.card_for(done, "me/ducks")
    front = card.split("---\n")[1].splitlines()
    assert {"license: other", "license_name: none", "library_name: mind2mind"} <= set(front)
    assert "mind2mind download me/ducks" in card and card.count("## Use") == 1
    assert done not in b"".join(hub.files.values()).decode("latin-1")
    with zipfile.ZipFile(tmp_path / "back.zip", "w") as archive:
        for name, content in hub.files.items():
            archive.writestr(name, content)
    studio.runs.delete(studio.models.take_in(tmp_path / "back.zip"))  # what was sent is a bundle
    hub = Hub(monkeypatch)
    studio.models.publish(done, "me/ducks", "hf_x", private=False)
    assert hub.calls[0] == ("create", "me/ducks", False, False)


@pytest.mark.parametrize(
    ("fails", "status", "match"),
    [("create", 409, "already"), ("create", 403, "does not let"), ("upload", 500, "did not take")],
)
def test_what_the_hub_refuses_is_told(studio, done, monkeypatch, fails, status, match):
    hub = Hub(monkeypatch, fails, status)
    with pytest.raises(WeightsError, match=match) as caught:
        studio.models.publish(done, "me/ducks", "hf_x")
    assert "and more" not in str(caught.value) and "hf_x" not in str(caught.value)
    assert (("delete", "me/ducks") in hub.calls) == (fails == "upload")  # only what we made ourselves


@pytest.mark.parametrize(
    "name", ["ducks", "me/", "../x", "me/ducks@main", "me/a b", "", "a/b/c", "me/x--y/z"]
)
def test_names_that_are_none_are_refused(studio, done, monkeypatch, name):
    hub = Hub(monkeypatch)
    with pytest.raises(ConfigError):
        studio.models.publish(done, name, "hf_x")
    assert hub.calls == []


def test_only_transfers_are_published_and_by_ones_own_login(studio, done, place, monkeypatch):
    hub = Hub(monkeypatch)
    with pytest.raises(WeightsError, match="source"):
        studio.models.publish("tiny", "me/tiny", "hf_x")
    monkeypatch.setattr(studio.models, "public", True)
    with pytest.raises(ConfigError, match="Visitors"):
        studio.models.publish(done, "me/ducks")  # with the server's own login
    assert hub.calls == []


def test_a_licence_the_hub_knows_is_named_as_it_does(studio, done, tmp_path):
    folder = tmp_path / "b"
    shutil.copytree(studio.home / "runs" / done / "bundle", folder)
    config = json.loads((folder / "config.json").read_text())
    for licence, line in (("CC BY-SA 4.0", "cc-by-sa-4.0"), ("Apache-2.0", "apache-2.0"), ("a: [b", "other")):
        (folder / "config.json").write_text(json.dumps(config | {"licence": licence, "title": 'x"\n---\ny'}))
        front = studio.models.card_for(str(folder), "me/x").split("\n---\n")[0]
        assert f"license: {line}\n" in front and 'model_name: x" --- y\n' in front


# The command line


@pytest.fixture
def command(place, studio, monkeypatch):
    """Runs a command over the same home and models, and gives its document or its lines."""
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(place / "weights"))
    monkeypatch.setenv("MIND2MIND_HOME", str(studio.home))

    def run(*words, code=0):
        done = CliRunner().invoke(commands, [*words, "--device", "cpu"])
        assert done.exit_code == code, done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr

    return run


def test_the_result_on_the_command_line(command, studio, done, tmp_path):
    result = studio.runs.result(done)
    text = command("result", done, "--film", str(tmp_path / "f.webp"), "--out", str(tmp_path / "all.zip"))
    for part in (*result.status.told, result.command):
        assert part in text
    assert (tmp_path / "f.webp").exists() and zipfile.is_zipfile(tmp_path / "all.zip")
    told = command("result", done, "--json")
    assert told["worth"]["quality"] == result.status.info.worth.quality and told["everything"] is None
    assert set(told["worth"]["grades"]) == {"quality", "variety", "originality"}
    command("result", "a" * 22, code=2)


def test_an_earlier_step_is_kept_on_the_command_line(command, studio, done):
    steps, was = studio.runs.status(done).preview_steps, bundle_files(studio.runs.find(done))
    told = command("result", done, "--keep", str(steps[5]), "--json")
    assert (told["kept"], told["preview_steps"]) == (steps[5], steps)
    assert bundle_files(studio.runs.find(done)) != was
    for wrong in ("best", "-1"):
        command("result", done, "--keep", wrong, code=2)
    assert f"Choose one of {steps[0]}, {steps[1]}" in command("result", done, "--keep", "999", code=2)
    assert command("result", done, "--keep", "last", "--json")["kept"] is None
    assert bundle_files(studio.runs.find(done)) == was


def test_the_list_on_the_command_line(command, studio, place):
    token = prepared(studio, place / "pictures", title="Old")
    assert token in command("runs")
    told = command("runs", "--rename", token, "--title", "New", "--json")
    assert [run["title"] for run in told["runs"] if run["token"] == token] == ["New"]
    command("runs", "--rename", token, code=2)
    assert token not in [run["token"] for run in command("runs", "--delete", token, "--json")["runs"]]
    command("runs", "--delete", token, code=2)


def test_publishing_on_the_command_line(command, done, monkeypatch):
    hub = Hub(monkeypatch)
    assert "mind2mind download me/ducks" in command("publish", done, "me/ducks", "--show") and hub.calls == []
    assert command("publish", done, "me/ducks", "--json") == {
        "url": "https://hub.example/me/ducks",
        "private": True,
    }
    assert hub.token is None and hub.calls[0] == ("create", "me/ducks", True, False)
    command("publish", done, "me/ducks", "--public")
    assert hub.calls[2] == ("create", "me/ducks", False, False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "forbids" in command("publish", done, "me/ducks", code=2)
