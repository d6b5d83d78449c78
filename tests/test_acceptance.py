"""The promise, kept on the bundled model: the aliens example set becomes a generator of aliens in a minute."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import followed, png_meta

from mind2mind import draw as gallery
from mind2mind.config import ARCHITECTURES
from mind2mind.data import codes
from mind2mind.data.drawn import ALIEN_SKIN, NATURAL_SKIN
from mind2mind.data.images import save_png
from mind2mind.judge.metrics import nearest, standardisation
from mind2mind.runs.findings import Prepared
from mind2mind.studio import Studio

ROOT = Path(__file__).parent.parent
MINUTE = 1500  # steps that one busy core makes in 60 s; left alone it makes them in 30
SETS = ("aliens", "bearded", "neonhair")
SIDE = 64  # px
CHEEK = (41, slice(22, 28))  # row and columns whose pixels are skin in every toon head of SIDE


def skin_classes(images) -> np.ndarray:
    """For each picture, whether its cheek is nearest to an alien skin's colour rather than to a natural one's."""
    palette = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in (*NATURAL_SKIN, *ALIEN_SKIN)])
    small = (image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX) for image in images)
    cheeks = np.array([np.asarray(image, float)[CHEEK].mean(axis=0) for image in small])
    distance = np.linalg.norm(cheeks[:, None] - palette[None], axis=2)
    return distance.argmin(axis=1) >= len(NATURAL_SKIN)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return Studio("cpu", tmp_path_factory.mktemp("acceptance") / "home")


@pytest.fixture(scope="module")
def prepared(studio):
    """Gives an example set as the model sees it; each is read once."""

    @functools.cache
    def of(name) -> Prepared:
        *_, last = studio.runs.prepare(sorted((ROOT / "assets" / name).glob("*.webp")), "toon64", title=name)
        return last

    return of


def test_the_bundle_is_what_its_card_says(studio):
    (info,) = [model for model in studio.models.list() if model.id == "toon64"]
    assert info.resolution == 64
    assert "Johan Melin, CC BY 4.0" in info.credit
    assert info.numbers["held_out_psnr"] >= 28
    assert studio.models.load("toon64").alae.architecture == ARCHITECTURES["toon64"]
    for path in (ROOT / "weights" / "toon64").iterdir():
        assert path.stat().st_size < 10_000_000, f"{path.name} is too large for plain git on Spaces"


@pytest.mark.parametrize("name", SETS)
def test_the_model_knows_the_example_sets(prepared, name):
    ready = prepared(name)
    assert ready.count == 200
    assert ready.verdict == "good"
    assert ready.psnr_mean > 26


def test_the_skin_is_read_right_on_the_originals():
    aliens = [Image.open(path) for path in sorted((ROOT / "assets" / "aliens").glob("*.webp"))]
    bearded = [Image.open(path) for path in sorted((ROOT / "assets" / "bearded").glob("*.webp"))]
    assert skin_classes(aliens).mean() > 0.99
    assert skin_classes(bearded).mean() < 0.01


@pytest.mark.slow
def test_a_minute_of_steps_on_the_aliens_gives_aliens(studio, prepared, tmp_path):
    token = prepared("aliens").token
    studio.runs.start(token, steps=MINUTE)
    status = followed(studio, token)
    assert status.state == "done", status.error
    seeds = range(256)
    images = studio.draw.sample(token, seeds, noise="none")
    assert skin_classes(images).mean() >= 0.98

    model, made = studio.models.load(token), codes.load(studio.home / "runs" / token / "codes.safetensors")
    w = gallery.codes_of(model, seeds)
    mean, std = standardisation(made.w)
    real = (made.w - mean) / std
    to_training, _ = nearest((w - mean) / std, real)
    among_training = torch.cdist(real, real).fill_diagonal_(torch.inf).min(dim=1).values
    # copies would lie on their originals; these lie about as far as the originals from each other
    assert to_training.median() > 0.5 * among_training.median()
    assert to_training.min() > 0.1 * among_training.median()

    save_png(images[7], tmp_path / "seven.png")
    assert png_meta(tmp_path / "seven.png")["seed"] == "7"
