"""Training an autoencoder: its loss falls, it resumes exactly, it stops, and a bundle comes of it."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from mind2mind import config
from mind2mind.config import BLEND_KIMG, PRETRAIN_DEFAULT, Architecture
from mind2mind.data.dataset import Reading
from mind2mind.errors import ConfigError, DataError, TrainingError
from mind2mind.files import load_tensors, read_meta, save_tensors
from mind2mind.models.bundle import Card, load_source
from mind2mind.networks.alae import ALAE
from mind2mind.training.autoencoder import PixelTrainee
from mind2mind.training.source import (
    CHECKPOINT,
    Made,
    PretrainProgress,
    kept_kimg,
    make_source,
    new_alae,
    pretrain,
)
from mind2mind.training.transfer import Progress

TINY = Architecture(layer_count=3, latent_size=16, start_channels=8, max_channels=16, mapping_layers=2)
CARD = Card(id="discs", title="Discs", knows="coloured discs", credit="us", licence="CC0")
RECIPE = replace(PRETRAIN_DEFAULT, batch_size=8, warmup_steps=5)
GROWING = replace(RECIPE, blend_kimg=BLEND_KIMG)


@pytest.fixture(autouse=True)
def _not_compiled(monkeypatch):
    """Compiling takes longer than these trainings; `test_compiled_steps_are_the_same` does it once."""
    monkeypatch.setattr("mind2mind.training.autoencoder.compiled", lambda function: function)


def discs(count, seed=0):
    """uint8 pictures (count, 3, 16, 16): a coloured disc on a coloured ground."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    pictures = []
    for _ in range(count):
        cx, cy, r = (
            torch.rand(3, generator=generator) * torch.tensor([8, 8, 3]) + torch.tensor([4, 4, 2])
        ).tolist()
        inside = ((x - cx) ** 2 + (y - cy) ** 2 < r**2)[None]
        fore, ground = torch.rand(2, 3, 1, 1, generator=generator)
        pictures.append((torch.where(inside, fore, ground) * 255).byte())
    return torch.stack(pictures)


def run(alae, out, recipe=RECIPE, **options):
    settings = {"total_kimg": 0.8, "out": out, "log_every": 0.2, "seed": 1} | options
    return list(pretrain(alae, discs(64), discs(8, seed=9), recipe, **settings))


def test_it_learns_and_its_events_tell(tmp_path):
    alae = new_alae(TINY, 0)
    events = run(alae, tmp_path, total_kimg=1.6)
    assert events[-1].losses["pixel"] < 0.6 * events[0].losses["pixel"]
    assert events[-1].held_out_psnr > events[0].held_out_psnr + 2
    with torch.no_grad():
        x = discs(8, seed=9).float() / 127.5 - 1
        mse = ((alae.reconstruct(x).clamp(-1, 1) - x) / 2).square().mean(dim=(1, 2, 3))
    # the model is left with the averaged weights, the ones that were measured
    assert (-10 * mse.log10()).mean().item() == pytest.approx(events[-1].held_out_psnr, abs=0.05)


@pytest.mark.parametrize("recipe", [RECIPE, GROWING])
def test_a_resumed_training_equals_an_unkilled_one(tmp_path, recipe):
    run(new_alae(TINY, 0), tmp_path / "whole", recipe, total_kimg=0.3)
    calls = iter(range(1000))
    stop = {"should_stop": lambda: next(calls) >= 15}
    run(new_alae(TINY, 0), tmp_path / "parts", recipe, total_kimg=0.3, **stop)
    assert kept_kimg(tmp_path / "parts") == 0.12
    run(new_alae(TINY, 5), tmp_path / "parts", recipe, total_kimg=0.3, resume=True)
    one, _ = load_tensors(tmp_path / "whole" / CHECKPOINT)
    two, _ = load_tensors(tmp_path / "parts" / CHECKPOINT)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


@pytest.mark.slow
def test_a_compiled_step_is_the_same(tmp_path, monkeypatch):
    plain = run(new_alae(TINY, 0), tmp_path / "plain", total_kimg=0.04, log_every=0.04)
    monkeypatch.undo()
    fast = run(new_alae(TINY, 0), tmp_path / "fast", total_kimg=0.04, log_every=0.04)
    assert fast[0].losses["pixel"] == pytest.approx(
        plain[0].losses["pixel"], rel=0.01
    )  # bfloat16, in another order


def test_too_few_pictures_are_refused(tmp_path):
    for i, picture in enumerate(discs(15)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"{i:03d}.png")
    with pytest.raises(DataError, match="Only 15 pictures"):
        list(make_source([tmp_path], TINY, RECIPE, tmp_path / "out", kimg=1, card=CARD))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sizes": replace(TINY, latent_size=8)}, "architecture"),
        ({"recipe": replace(RECIPE, name="broad")}, "recipe"),
        ({"recipe": replace(RECIPE, learning_rate=0.1)}, "recipe"),
        ({"recipe": GROWING}, "recipe"),
        ({"seed": 2}, "seed"),
        ({"total_kimg": 0.8}, "length"),
        ({"seed": 2, "total_kimg": 0.8}, "seed and another length"),
    ],
)
def test_other_settings_are_not_resumed(tmp_path, change, named):
    run(new_alae(TINY, 0), tmp_path, total_kimg=0.02)
    settings = {"sizes": TINY, "recipe": RECIPE, "seed": 1, "total_kimg": 0.02} | change
    alae, recipe = ALAE(settings.pop("sizes")), settings.pop("recipe")
    with pytest.raises(TrainingError, match=f"begun with another {named}[.]"):
        list(pretrain(alae, discs(64), discs(8), recipe, out=tmp_path, resume=True, **settings))


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path):
    """It kept a recipe without its later fields, or its name alone, and neither architecture nor length."""
    run(new_alae(TINY, 0), tmp_path, total_kimg=0.02)
    tensors, meta = load_tensors(tmp_path / CHECKPOINT)
    del meta["recipe"]["blend_kimg"]
    save_tensors(tmp_path / CHECKPOINT, tensors, meta)
    assert run(new_alae(TINY, 0), tmp_path, total_kimg=0.02, resume=True) == []
    old = {name: meta[name] for name in ("step", "seed", "kimg")} | {"losses": ["pixel"], "recipe": "default"}
    save_tensors(tmp_path / CHECKPOINT, tensors, old)
    assert run(new_alae(TINY, 0), tmp_path, total_kimg=0.04, resume=True)[-1].kimg == 0.04
    save_tensors(tmp_path / CHECKPOINT, tensors, old | {"recipe": "broad"})
    with pytest.raises(TrainingError, match="another recipe"):
        run(new_alae(TINY, 0), tmp_path, total_kimg=0.04, resume=True)


def test_held_out_pictures_are_looked_at_by_the_rule_for_batches(tmp_path, monkeypatch):
    looked, looking = [], PixelTrainee.look
    monkeypatch.setattr(config, "BATCH_PIXELS", 3 * 16**2)
    monkeypatch.setattr(PixelTrainee, "look", lambda self, x: (looked.append(len(x)), looking(self, x))[1])
    run(new_alae(TINY, 0), tmp_path, total_kimg=0.01)
    with Image.open(tmp_path / "reconstructions.png") as shown:
        assert looked == [3, 3, 2] and shown.size == (8 * 2 * 16, 16)


def test_nan_is_an_error_and_the_checkpoint_is_kept(tmp_path):
    run(new_alae(TINY, 0), tmp_path, total_kimg=0.02)
    before = (tmp_path / CHECKPOINT).read_bytes()
    broken = new_alae(TINY, 0)
    with torch.no_grad():
        broken.decoder.const.fill_(torch.nan)
    with pytest.raises(TrainingError, match="nan"):
        run(broken, tmp_path, log_every=0.02)
    calls = iter(range(9))
    with pytest.raises(TrainingError, match="nan"):
        run(broken, tmp_path, should_stop=lambda: next(calls) >= 3)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_from_a_folder_to_a_bundle(tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "discs"
    folder.mkdir()
    for i, picture in enumerate(discs(120)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{i:03d}.png")
    events = list(make_source([folder], TINY, RECIPE, out, kimg=0.1, card=CARD, prior_steps=20))
    kinds = {type(event) for event in events}
    assert {Reading, PretrainProgress, Progress, Made} <= kinds
    model = load_source(out)
    assert model.card.numbers["held_out_pictures"] == 6
    assert model.card.numbers["training_pictures"] == 114
    assert model.prior == "uniform"  # a MindGAN stands in for F
    assert (out / "preview.png").exists()
    assert not (out / "samples.png").exists()  # F is not trained
    with pytest.raises(ConfigError, match="length"):
        make_source([folder], TINY, RECIPE, out, card=CARD)
    with pytest.raises(TrainingError, match="no checkpoint"):  # at the call, before any picture is read
        make_source([folder], TINY, RECIPE, tmp_path / "new", kimg=1, resume=True, card=CARD)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of pictures, and the bundle of a source that was trained on them."""
    folder, bundle = (tmp_path_factory.mktemp(name) for name in ("pictures", "first"))
    for i, picture in enumerate(discs(40)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{i:03d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mind2mind.training.autoencoder.compiled", lambda function: function)
        list(make_source([folder], TINY, RECIPE, bundle, kimg=1.6, prior_steps=20, card=CARD))
    return folder, bundle


STILL = replace(RECIPE, learning_rate=1e-12)  # what comes out is what went in


def test_a_training_may_begin_with_a_source(tmp_path, begun):
    folder, first = begun
    *_, made = make_source(
        [folder], TINY, STILL, tmp_path, kimg=0.008, prior_steps=20, start=first, seed=5, card=CARD
    )
    before, after = (load_source(path).alae.encoder.state_dict() for path in (first, tmp_path))
    for name, value in before.items():
        assert torch.allclose(after[name], value, atol=1e-4), name
    assert made.card.numbers["started_from"] == "discs (1.6 kimg)"


def test_a_source_of_half_the_size_is_grown(tmp_path, begun):
    folder, first = begun
    larger = replace(TINY, layer_count=4, start_channels=4)
    *_, made = make_source(
        [folder], larger, STILL, tmp_path, kimg=0.008, prior_steps=20, start=first, card=CARD
    )
    inner, grown = (load_source(path).alae for path in (first, tmp_path))
    w = torch.randn(2, 16)
    small, large = inner.decode(inner.styles(w)), grown.decode(grown.styles(w), lod=2)
    assert torch.allclose(small, large, atol=1e-3)
    assert torch.allclose(inner.encode(small), grown.encode(small, lod=2), atol=1e-3)
    assert made.card.numbers["started_from"] == "discs (1.6 kimg)"
    assert read_meta(tmp_path / CHECKPOINT)["recipe"]["blend_kimg"] == BLEND_KIMG


@pytest.mark.parametrize(
    "change",
    [{"latent_size": 8}, {"layer_count": 5, "start_channels": 2}, {"layer_count": 4}, {"layer_count": 1}],
)
def test_a_source_that_does_not_fit_is_refused(tmp_path, begun, change):
    folder, first = begun
    with pytest.raises(ConfigError, match="does not grow into it"):
        make_source(
            [folder], replace(TINY, **change), RECIPE, tmp_path / "out", kimg=1, start=first, card=CARD
        )


def test_the_outermost_level_is_blended_in():
    """Evenly, over as many pictures as the recipe says or half of all."""

    def blends(total, seen):
        trainee = PixelTrainee(new_alae(TINY, 0), GROWING, 0, total)
        for trainee.seen in seen:
            yield trainee.blend

    assert [*blends(100_000, (0, 9_000, 36_000, 100_000))] == [0, 0.25, 1, 1]
    assert [*blends(1_000, (0, 100, 500, 1_000))] == [0, 0.2, 1, 1]
    assert PixelTrainee(new_alae(TINY, 0), RECIPE, 0, 1_000).blend == 1
