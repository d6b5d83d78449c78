"""ALAE's own training: its growing schedule in closed form, and short ones: through all levels, to a bundle."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_source import TINY, discs
from torch.nn import functional as F
from typer.testing import CliRunner

from mind2mind.cli import commands
from mind2mind.config import (
    ARCHITECTURES,
    PRETRAIN_DEFAULT,
    PRETRAIN_PAPER,
    Growth,
)
from mind2mind.data.images import from_uint8, to_image
from mind2mind.errors import ConfigError, TrainingError
from mind2mind.files import load_tensors, read_meta
from mind2mind.judge.metrics import energy_distance
from mind2mind.models.bundle import load_source
from mind2mind.training import source
from mind2mind.training.adversarial import AdversarialTrainee, Level, at_level, level_at, shares
from mind2mind.training.source import (
    CHECKPOINT,
    STAND_IN,
    kept_kimg,
    kimg_for,
    new_alae,
    pretrain,
)

# 24 steps: eight of each level, the first four of the upper two in transition
GROWTH = Growth(epochs=12, epochs_per_lod=4, batch_sizes=(16,), learning_rates=(4e-3, 3e-3))
RECIPE = replace(PRETRAIN_PAPER, growth=GROWTH, ema_kimg=0.2)


def reference_schedule(growth, layer_count, epoch, seen_in_epoch, size):
    """The reference's driver as its description has it: whole epochs, and the pictures seen in this one."""
    per_lod = growth.epochs_per_lod
    lod = min(layer_count - 1, epoch // per_lod)
    if not (epoch % per_lod < per_lod // 2 and epoch // per_lod == lod and lod > 0):
        return lod, 1.0
    r = ((epoch % per_lod) * size + seen_in_epoch) / ((per_lod // 2) * size)
    return lod, 0.5 + 0.5 * math.sin(math.pi * r - math.pi / 2)


@pytest.mark.parametrize("name", ["ffhq", "celeba-hq256", "bedroom", "celeba", "mnist"])
def test_the_levels_are_those_of_the_reference(name):
    architecture = ARCHITECTURES[name]
    growth, size = PRETRAIN_PAPER.growth_of(architecture), 2048
    for epoch in range(growth.epochs):
        for seen in range(0, size, 512):
            level = level_at(growth, architecture.layer_count, epoch * size + seen, growth.epochs * size)
            lod, blend = reference_schedule(growth, architecture.layer_count, epoch, seen, size)
            assert level.lod == lod
            assert level.blend == pytest.approx(blend, abs=1e-9)
            assert (level.blend == 1) == (blend == 1)


def test_the_published_tables():
    def table(name):
        architecture = ARCHITECTURES[name]
        growth = PRETRAIN_PAPER.growth_of(architecture)
        starts = [
            math.ceil(10**6 * growth.epochs_per_lod * i / growth.epochs)
            for i in range(architecture.layer_count)
        ]
        levels = [level_at(growth, architecture.layer_count, start, 10**6) for start in starts]
        assert [level.lod for level in levels] == list(range(architecture.layer_count))
        return [level.batch_size for level in levels], [level.learning_rate for level in levels]

    assert table("ffhq") == ([512, 256, 128, 64, 32, 16, 16, 16, 16], [1.5e-3] * 6 + [2e-3, 3e-3, 3e-3])
    assert table("celeba-hq256") == ([128, 128, 128, 64, 32, 16, 16], [1.5e-3] * 7)
    assert table("celeba") == ([128, 128, 128, 64, 32, 16], [1.5e-3] * 6)
    assert table("toon64") == ([128, 128, 128, 64, 32], [1.5e-3] * 5)
    assert shares(PRETRAIN_PAPER.growth_of(ARCHITECTURES["celeba"]), 6) == pytest.approx(
        [6 / 80] * 5 + [50 / 80]
    )
    assert shares(Growth(epochs_per_lod=0), 4) == [0, 0, 0, 1]
    assert shares(Growth(epochs=3, epochs_per_lod=2), 4) == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert level_at(Growth(epochs_per_lod=0), 4, 0, 10) == Level(3, 1.0, 64, 1.5e-3)
    assert level_at(Growth(), 4, 10**6, 10).lod == 3  # beyond the end
    with pytest.raises(ConfigError, match="batch_sizes"):
        Growth(batch_sizes=(16, 0))
    with pytest.raises(ConfigError, match="betas"):
        replace(PRETRAIN_PAPER, betas=(0.0, 1.0))


def test_real_pictures_in_transition():
    x = torch.rand(2, 3, 16, 16)
    y = at_level(x, 3, Level(1, 0.25, 8, 1e-3))
    assert y.shape == (2, 3, 8, 8)
    own = x[:, :, :2, :2].mean(dim=(2, 3))
    below = x[:, :, :4, :4].mean(dim=(2, 3))
    assert torch.allclose(y[:, :, 0, 0], 0.25 * own + 0.75 * below, atol=1e-6)
    assert torch.equal(at_level(x, 3, Level(2, 1.0, 8, 1e-3)), x)


def events_of(alae, out, *, recipe=RECIPE, **options):
    settings = {"total_kimg": 24 * 16 / 1000, "out": out, "log_every": 0.128, "seed": 1} | options
    return pretrain(alae, discs(50), discs(16, seed=9), recipe, **settings)


def run(*arguments, **options):
    return list(events_of(*arguments, **options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A short training in one go: its folder, its events, and the pictures that were there at each."""
    folder, shown = tmp_path_factory.mktemp("whole"), []
    for event in events_of(new_alae(TINY, 0), folder):
        files = (Image.open(folder / f"{name}.png") for name in ("reconstructions", "samples"))
        shown.append((event, *map(np.asarray, files)))
    return folder, shown


def test_it_grows_and_tells(whole):
    folder, shown = whole
    events = [event for event, *_ in shown]
    assert [event.resolution for event in events] == [4, 8, 16]
    assert all(set(event.losses) == {"d", "g", "ae"} for event in events)
    assert [event.seconds_left > 0 for event in events] == [True, True, False]
    for _, reconstructions, samples in shown:  # of 16 pictures, eight in a row
        assert reconstructions.shape == (2 * 16, 8 * 2 * 16, 3) and samples.shape == (4 * 16, 8 * 16, 3)
    small = F.avg_pool2d(from_uint8(discs(16, seed=9)), 4)
    first = shown[0][1][:16, :16]
    assert np.array_equal(first[::4, ::4], np.asarray(to_image(small[0])))
    assert np.array_equal(first, first[::4, ::4].repeat(4, 0).repeat(4, 1))
    assert events[-1].kimg == read_meta(folder / CHECKPOINT)["kimg"] == 0.384


@pytest.mark.parametrize("stop_after", [8, 18])  # where a level begins, and in a transition
def test_a_resumed_training_equals_an_unkilled_one(tmp_path, stop_after, whole):
    calls = iter(range(100))
    run(new_alae(TINY, 0), tmp_path, should_stop=lambda: next(calls) >= stop_after)
    assert kept_kimg(tmp_path) == stop_after * 16 / 1000
    run(new_alae(TINY, 5), tmp_path, resume=True)  # what counts is the checkpoint
    one, two = load_tensors(whole[0] / CHECKPOINT)[0], load_tensors(tmp_path / CHECKPOINT)[0]
    assert one.keys() == two.keys()
    assert "adam.exp_avg_sq.decoder.const" in one
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_more_pictures_prolong_full_size(whole):
    trainee = AdversarialTrainee(new_alae(TINY, 5), RECIPE, 1, 10_000)
    trainee.load(whole[0] / CHECKPOINT)
    trainee.advance(discs(50))
    assert (trainee.level.lod, trainee.level.blend) == (2, 1.0)


def test_another_recipe_is_not_resumed(whole):
    for recipe in (PRETRAIN_DEFAULT, replace(RECIPE, gamma=5.0)):
        with pytest.raises(TrainingError, match="another recipe"):
            run(new_alae(TINY, 0), whole[0], recipe=recipe, resume=True)


def test_every_picture_is_seen_once_in_an_epoch():
    trainee = AdversarialTrainee(new_alae(TINY, 0), replace(RECIPE, growth=Growth(epochs_per_lod=0)), 0, 100)
    pictures = torch.arange(50).view(50, 1, 1, 1).expand(50, 3, 16, 16).byte()
    level, seen = replace(trainee.level, batch_size=20), []
    for _ in range(5):  # the third batch ends in the second epoch
        seen += trainee.batch(pictures, level)[:, 0, 0, 0].tolist()
        trainee.seen += 20
    ours = [round((x + 1) * 127.5) for x in seen]
    assert sorted(ours[:50]) == sorted(ours[50:]) == list(range(50))
    assert ours[:50] != ours[50:]


def test_minutes_become_pictures(monkeypatch):
    monkeypatch.setattr(source, "TRIED_SECONDS", 0.3)
    recipe = replace(RECIPE, growth=replace(GROWTH, batch_sizes=(8,)))
    one, ten = (kimg_for(new_alae(TINY, 0), discs(50), recipe, minutes) for minutes in (1, 10))
    assert 4 < ten / one < 25  # in theory 10


def test_from_the_command_line_to_a_bundle_that_samples_through_f(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    monkeypatch.setenv("MIND2MIND_HOME", str(tmp_path / "home"))
    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(discs(40)):
        to_image(picture).save(tmp_path / f"pictures/{i:02d}.png")
    out = tmp_path / "discs"

    def called(*arguments):
        result = CliRunner().invoke(commands, [*map(str, arguments), "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    settings = ("--architecture", "tiny", "--recipe", "paper", "--kimg", 0.6, "--device", "cpu", "--out", out)
    document = called("pretrain", tmp_path / "pictures", *settings)
    assert document["numbers"]["kimg"] == 0.64  # whole batches
    tensors, meta = load_tensors(out / CHECKPOINT)
    assert meta["recipe"]["name"] == "paper" and meta["level"]["lod"] == TINY.layer_count - 1
    model = load_source(out)
    # F draws with a normal z, nothing else was trained to; w_avg is the training's own
    assert (model.prior, model.g) == ("normal", model.alae.mapping_f) and not (out / "prior").exists()
    assert STAND_IN not in model.card.notes and model.refinements == 0
    half = model.w_avg.half()
    assert torch.equal(half, tensors["weights.w_avg"].half()) and half.abs().max() > 0
    weight = "mapping_f.map_blocks.0.fc.weight"
    assert torch.equal(model.alae.state_dict()[weight].half(), tensors[f"ema.{weight}"].half())
    for name, size in (("samples", (8 * 16, 4 * 16)), ("reconstructions", (2 * 2 * 16, 16))):
        with Image.open(out / f"{name}.png") as image:
            assert image.size == size
    (drawn,) = called("sample", "--model", out, "--count", 1, "--seed", 5, "--psi", 1, "--noise", "none",
                      "--out", tmp_path / "drawn")["pictures"]  # fmt: skip
    z = torch.randn(1, TINY.latent_size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        y = model.alae.decode(model.alae.styles(model.alae.map(z)))[0]
    with Image.open(drawn["path"]) as image:
        assert image.tobytes() == to_image(y.clamp(-1, 1)).tobytes()


@pytest.mark.slow
def test_it_learns(tmp_path):
    """Samples from F come nearer to the pictures than those of an untrained one, and E finds their codes back."""

    def measured():
        z = torch.randn(256, TINY.latent_size, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            w = alae.map(z)
            x = alae.decode(alae.styles(w)).clamp(-1, 1)
            error = (alae.encode(x) - w).square().mean() / w.var(dim=0).mean()
        return energy_distance(x.flatten(1), from_uint8(small(256, seed=9)).flatten(1)), error.item()

    def small(count, seed=0):
        return F.avg_pool2d(discs(count, seed).float(), 2).byte()

    alae = new_alae(replace(TINY, layer_count=2), 0)
    distance, error = measured()
    growth = Growth(epochs=10, epochs_per_lod=2, batch_sizes=(16, 8), learning_rates=(4e-3,))
    recipe = replace(RECIPE, growth=growth, ema_kimg=0.5)
    list(
        pretrain(
            alae, small(512), small(16, seed=9), recipe, total_kimg=4, out=tmp_path, log_every=100, seed=1
        )
    )
    trained_distance, trained_error = measured()
    assert trained_distance < 0.7 * distance
    assert trained_error < 0.5 < error
