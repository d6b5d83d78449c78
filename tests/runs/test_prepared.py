"""A set grows by several uploads, near duplicates are proposed and pictures left out, before any training."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import RECIPE, carry_out, make_pictures, make_studio, make_weights, prepared

from mind2mind.config import Limits
from mind2mind.data import codes
from mind2mind.data.dataset import Report
from mind2mind.data.images import Reason
from mind2mind.errors import DataError, RunError
from mind2mind.judge import verdict
from mind2mind.judge.verdict import Judgement, Verdict
from mind2mind.models.bundle import load_transfer
from mind2mind.runs import findings
from mind2mind.runs.findings import Prepared
from mind2mind.runs.run import codes_of
from mind2mind.studio import Studio


@pytest.fixture
def studio(tmp_path):
    return make_studio(tmp_path)


def added(studio, token, *paths):
    *_, last = studio.runs.add(token, paths)
    return last


def pictures(folder, count, seed=0):
    return sorted(make_pictures(folder, count, seed=seed).iterdir())


# Several uploads, one set


def test_uploads_add_up(studio, tmp_path):
    token = prepared(studio, make_pictures(tmp_path / "a", 6))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/x.txt").write_text("no picture")
    last = added(
        studio, token, make_pictures(tmp_path / "b", 5, seed=1), tmp_path / "c/x.txt", tmp_path / "a"
    )
    assert (last.token, last.count) == (token, 11)
    names = [v.name for v in last.report.files]
    assert len(set(names)) == len(names) == 6 + 5 + 1 + 6
    assert last.report.reasons() == {Reason.DUPLICATE: 6, Reason.NOT_A_PICTURE: 1}
    both = tmp_path / "both"
    for name in ("a", "b"):
        for path in (tmp_path / name).iterdir():
            (both / name).mkdir(parents=True, exist_ok=True)
            (both / name / path.name).write_bytes(path.read_bytes())
    alone = studio.runs.prepared(prepared(studio, both))
    assert last.psnr_mean == pytest.approx(alone.psnr_mean, abs=1e-4) and last.judged == 11
    assert torch.equal(codes_of(studio.runs.find(token))[0].w, codes_of(studio.runs.find(alone.token))[0].w)
    assert studio.runs.prepared(token) == last or studio.runs.prepared(token).report == last.report


def test_the_limits_count_the_whole_set(tmp_path):
    studio = make_studio(tmp_path, limits=Limits(files=8, total_bytes=10_000))
    token = prepared(studio, make_pictures(tmp_path / "a", 5))
    with pytest.raises(DataError, match="There are 9 files, more than the 8 allowed"):
        added(studio, token, make_pictures(tmp_path / "b", 4, seed=1))
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.bmp")
    with pytest.raises(DataError, match="15 kB in all, more than the 10 kB allowed"):
        added(studio, token, tmp_path / "large.bmp")
    assert studio.runs.prepared(token).count == 5


def test_what_adds_nothing_changes_nothing(studio, tmp_path):
    token = prepared(studio, make_pictures(tmp_path / "a", 4))
    before = studio.runs.prepared(token)
    with pytest.raises(DataError, match=r"4 x Duplicate"):
        added(studio, token, tmp_path / "a")
    assert studio.runs.prepared(token).report == before.report


def test_a_started_run_keeps_its_pictures(studio, tmp_path):
    token = prepared(studio, make_pictures(tmp_path / "a", 4))
    studio.runs.start(token, recipe=RECIPE, steps=5)
    with pytest.raises(RunError, match="has been started"):
        added(studio, token, make_pictures(tmp_path / "b", 2, seed=1))
    with pytest.raises(RunError, match="has been started"):
        studio.runs.exclude(token, ["000.png"])


def test_a_set_of_an_older_version_grows_and_shows_its_thumbnails(tmp_path):
    """Its file of codes holds the thumbnails."""
    there = Path(__file__).parents[1] / "homes/v1"
    shutil.copytree(there, tmp_path / "v1")
    token = json.loads((there / "tokens.json").read_text())["prepared"]
    studio = Studio("cpu", tmp_path / "v1/home", weights=tmp_path / "v1/weights")
    first = [image.tobytes() for _, image in studio.runs.thumbnails(token)]
    assert len(first) == 24 and len(studio.runs.comparison(token, 30)) == 23
    assert added(studio, token, make_pictures(tmp_path / "new", 3, seed=9)).count == 26
    shown = studio.runs.thumbnails(token)
    assert [image.tobytes() for _, image in shown[:24]] == first and len(shown) == 27
    assert [name for name, _ in studio.runs.thumbnails(token, 25, 60)] == [name for name, _ in shown[25:]]


# Left out


def test_excluded_pictures_are_not_trained_on(studio, tmp_path):
    token = prepared(studio, make_pictures(tmp_path / "a", 12))
    name = studio.runs.prepared(token).report.used[3].name
    last = studio.runs.exclude(token, [name])
    assert (last.count, last.excluded, last.judged) == (11, (name,), 12)
    assert len(studio.runs.thumbnails(token)) == 12 and len(studio.runs.comparison(token, 20)) == 11
    made = codes.load(studio.runs.find(token).codes)
    left = codes_of(studio.runs.find(token))[0]
    assert name not in left.names and torch.equal(left.w, torch.cat([made.w[:3], made.w[4:]]))

    studio.runs.start(token, recipe=RECIPE, steps=20)
    assert carry_out(studio, token).state == "done"
    assert studio.models.load(token).card.numbers["pictures"] == 11
    assert studio.runs.prepared(token).excluded == (name,)  # the report of the run says so


def test_the_training_does_not_see_them(studio, tmp_path):
    """A set without two pictures trains to the same numbers as the rest of it alone."""
    files = pictures(tmp_path / "a", 14)
    *_, whole = studio.runs.prepare(files, "tiny")
    *_, rest = studio.runs.prepare(files[2:], "tiny")
    studio.runs.exclude(whole.token, [file.name for file in files[:2]])
    ends = []
    for run in (whole, rest):
        studio.runs.start(run.token, recipe=RECIPE, steps=20)
        carry_out(studio, run.token)
        ends.append(
            load_transfer(studio.runs.find(run.token).bundle, studio.models.load("tiny")).g.state_dict()
        )
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_excluding_is_taken_back_and_wrong_names_are_told(studio, tmp_path):
    token = prepared(studio, make_pictures(tmp_path / "a", 4))
    studio.runs.exclude(token, ["000.png", "001.png"])
    assert studio.runs.exclude(token, []).count == 4
    with pytest.raises(DataError, match=r"no picture 'gone\.png'"):
        studio.runs.exclude(token, ["gone.png"])


def test_the_verdict_is_on_those_that_are_left(studio, tmp_path):
    *_, last = studio.runs.prepare(pictures(tmp_path / "a", 6), "tiny")
    judged = studio.runs.find(last.token).info.found.scores
    worst = min(judged, key=lambda name: judged[name][0])
    better = studio.runs.exclude(last.token, [worst])
    assert better.psnr_mean == pytest.approx(sum(v[0] for n, v in judged.items() if n != worst) / 5, abs=1e-4)
    assert better.psnr_mean > last.psnr_mean


@pytest.mark.parametrize("method", [9, 98])
def test_a_zip_that_python_cannot_unpack_is_to_be_unpacked(studio, tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(pictures(tmp_path / "a", 1)[0], "a.png")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for start in (8, data.index(b"PK\1\2") + 10):
        data[start] = method
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(
        DataError, match=r"1 x In a zip that must be unpacked.* Unpack it and give the folder\."
    ):
        list(studio.runs.prepare([tmp_path / "a.zip"], "tiny"))


# Near duplicates


def test_near_duplicates_are_proposed_and_never_dropped(studio, tmp_path):
    files = pictures(tmp_path / "a", 4)
    array = np.asarray(Image.open(files[0])).copy()
    array[0, 0] ^= 1
    Image.fromarray(array).save(tmp_path / "a/copy.png")
    token = prepared(studio, tmp_path / "a")
    last = studio.runs.prepared(token)
    assert (last.near, last.count) == ((("copy.png", "000.png"),), 5)


def test_of_near_duplicates_the_largest_is_kept(studio, tmp_path):
    one, other, *rest = sorted((Path(__file__).parents[2] / "assets/aliens").glob("*.webp"))[:5]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    for picture, name, side in ((one, "a", 40), (other, "small", 48)):
        Image.open(picture).resize((side, side), Image.Resampling.BOX).save(tmp_path / f"a/{name}.png")
    for picture in rest:
        Image.open(picture).save(tmp_path / "a" / picture.name)
    Image.open(one).save(tmp_path / "a/z-large.png")
    token = prepared(studio, tmp_path / "a")
    assert studio.runs.prepared(token).near == (("a.png", "z-large.png"),)
    Image.open(other).save(tmp_path / "b/later.png")
    last = added(studio, token, tmp_path / "b")
    assert set(last.near) == {("a.png", "z-large.png"), ("small.png", "later.png")}


# The pre-flight


@pytest.fixture
def rival(studio, tmp_path, monkeypatch):
    """A second model, for which a bright picture has 1 dB and a dark one 9; `tiny` is the other way round."""
    make_weights(tmp_path / "weights", name="other", seed=1)
    told = []  # whose pictures are looked at: `tiny` comes first in each reading

    def scores(pixels, ratios):
        bright = pixels.float().mean(dim=(1, 2, 3)) > 127
        told.append(len(pixels))
        low, high = (9.0, 1.0) if len(told) % 2 else (1.0, 9.0)
        return torch.where(bright, torch.tensor(low), torch.tensor(high))

    def judge(values, numbers):
        word = Verdict.GOOD if values.mean() > 5 else Verdict.UNKNOWN
        return Judgement(word, "Because.", values.mean().item())

    monkeypatch.setattr(verdict, "scores", scores)
    monkeypatch.setattr(verdict, "judge", judge)
    return told


def plain(folder, count, level):
    """Pictures of nearly one grey."""
    folder.mkdir()
    for i in range(count):
        Image.new("L", (16, 16), level + i).save(folder / f"{folder.name}{i:02}.png")
    return folder


def proposed(of):
    return [other.id for other in of.others]


def test_another_model_is_proposed_if_it_does_better(studio, rival, tmp_path):
    last = studio.runs.prepared(prepared(studio, plain(tmp_path / "dark", 20, 20)))
    assert rival == [20, findings.SAMPLE] and last.verdict is Verdict.UNKNOWN
    assert proposed(last) == ["other"]
    ways = last.ways_out
    assert "knows them better (good)" in ways[0]
    assert any("download ffhq" in way for way in ways) and any("pretrain" in way for way in ways)


def test_the_proposals_follow_what_is_added_and_left_out(studio, rival, tmp_path):
    token = prepared(studio, plain(tmp_path / "bright", 4, 200))
    assert proposed(studio.runs.prepared(token)) == []  # the present model is good
    mixed = added(studio, token, plain(tmp_path / "dark", 12, 20))
    assert (mixed.verdict, proposed(mixed)) == (Verdict.UNKNOWN, ["other"])
    names = [v.name for v in mixed.report.used]
    left = studio.runs.exclude(token, {name for name in names if name.startswith("dark")})
    assert (left.verdict, proposed(left)) == (Verdict.GOOD, [])
    left = studio.runs.exclude(token, {name for name in names if name.startswith("bright")})
    assert (left.verdict, proposed(left)) == (Verdict.UNKNOWN, ["other"])


def test_a_model_not_tried_on_all_pictures_is_not_proposed(studio, rival, tmp_path, monkeypatch):
    token = prepared(studio, plain(tmp_path / "dark", 4, 20))
    monkeypatch.setattr(findings, "SECONDS", -1.0)
    rival.append(0)  # `tiny` is next
    assert proposed(added(studio, token, plain(tmp_path / "more", 4, 60))) == []


def test_only_small_models_are_tried_where_the_present_one_is_good(studio, rival, tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "SMALL", 8)
    token = prepared(studio, plain(tmp_path / "bright", 4, 200))
    assert rival == [4] and proposed(studio.runs.prepared(token)) == []


def test_those_that_hardly_come_back_are_named_as_long_as_they_are_in(studio, tmp_path, monkeypatch):
    """Of bright pictures all comes back, of dark ones nothing."""
    numbers, judge = {verdict.KNOWN: 9.0, verdict.SWAPPED: 1.0}, verdict.judge
    monkeypatch.setattr(verdict, "judge", lambda values, _: judge(values, numbers))
    levels = "scores", lambda pixels, _: 1.0 + 8.0 * (pixels.float().mean(dim=(1, 2, 3)) > 127)
    monkeypatch.setattr(verdict, *levels)
    token = prepared(studio, plain(tmp_path / "bright", 9, 200))
    assert studio.runs.prepared(token).strangers == ()
    found = added(studio, token, plain(tmp_path / "dark", 2, 20))
    assert sorted(found.strangers) == ["dark00.png", "dark01.png"]
    assert studio.runs.exclude(token, found.strangers).strangers == ()
    few = studio.runs.exclude(token, [f"bright{i:02}.png" for i in range(8)])
    assert (few.verdict, few.strangers) == (Verdict.UNKNOWN, ())  # then all are strangers


def test_a_good_model_needs_no_way_out():
    found = Prepared(token="t", report=Report(), count=9, psnr_mean=30.0, verdict=Verdict.GOOD, reason="")
    assert found.ways_out == []


def test_the_pace_is_measured(studio, tmp_path):
    token = prepared(studio, make_pictures(tmp_path / "a", 6))
    assert studio.runs.pace(token, RECIPE) > 0 and studio.runs.prepared(token).seconds > 0


def test_oblong_pictures_are_shown_before_and_after_the_crop(studio, tmp_path):
    make_pictures(tmp_path / "a", 3)
    white = Image.new("RGB", (64, 32), "white")
    white.paste("red", (0, 0, 16, 32))
    white.save(tmp_path / "a/oblong.png")
    (couple,) = studio.runs.alignment(prepared(studio, tmp_path / "a", crop="centre"))
    width, height = couple.size
    before, after = couple.crop((0, 0, width, width)), couple.crop((0, height - width, width, height))
    red = (255, 0, 0)
    assert before.getpixel((10, width // 2)) == red and after.getpixel((10, width // 2)) != red
