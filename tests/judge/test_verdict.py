"""A model says that it knows what it rebuilds as well as its own, and that it does not know what it cannot."""

import io
import json
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mind2mind.data.images import from_uint8, to_image
from mind2mind.judge.metrics import psnr
from mind2mind.judge.verdict import KNOWN, SWAPPED, Verdict, judge, own_numbers, scores, share
from mind2mind.studio import Studio

ASSETS, PICTURES = Path(__file__).parents[2] / "assets", Path(__file__).parents[1] / "pictures"
CARD = {KNOWN: 22.0, SWAPPED: 2.0}  # half way: 12; four fifths of it: 18


def test_a_score_is_psnr_plus_contrast():
    halves = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    halves[..., 4:] = 255  # variance 1/4 of pixels in [0, 1]: -6.02 dB
    assert scores(halves, torch.tensor([20.0])).item() == pytest.approx(20 - 6.0206, abs=1e-3)
    assert scores(halves, torch.tensor([5.0])).item() == 0  # a plain grey would have done better


def test_a_score_says_what_share_of_the_variance_comes_back():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, 3, 16, 16), generator=draw, dtype=torch.uint8)
    x = from_uint8(pixels)
    y = x + 0.2 * torch.randn(x.shape, generator=draw)
    lost = (y - x).square().mean((1, 2, 3)) / x.var(dim=(2, 3), correction=0).mean(1)
    found = scores(pixels, psnr(x, y))
    torch.testing.assert_close(1 - 10 ** (-found / 10), 1 - lost)
    assert share(found[0].item()) == f"{100 * (1 - lost[0].item()):.1f} %"


def test_plain_colours_score_nothing_however_well_they_are_rebuilt():
    plain = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    assert scores(plain, torch.tensor([19.0, 45.0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (25.0, Verdict.GOOD),
        (18.0, Verdict.GOOD),
        (17.9, Verdict.USABLE),
        (12.0, Verdict.USABLE),
        (11.9, Verdict.UNKNOWN),
        (0.0, Verdict.UNKNOWN),
    ],
)
def test_the_words_follow_the_models_own_numbers(score, verdict):
    judged = judge(torch.full((20,), score), CARD)
    assert judged.verdict is verdict
    assert share(score) in judged.reason
    assert "looked at" not in judged.reason


def test_the_reason_is_a_sentence_with_numbers():
    for score, expected in ((20.0, "99.0 %"), (1.0, "20.6 %")):
        assert judge(torch.tensor([score]), CARD).reason == (
            f"Of their contrast {expected} comes back; of this model's own pictures it is 99.4 %."
        )


def test_strangers_in_a_good_set_are_counted():
    judged = judge(torch.tensor([22.0] * 18 + [0.0, 6.9]), CARD)
    assert judged.verdict is Verdict.GOOD
    assert judged.reason.endswith(" 2 of the 20 looked at hardly come back at all.")


@pytest.mark.parametrize("numbers", [{}, {KNOWN: 18.0}, {KNOWN: "18", SWAPPED: 2.0}])
def test_without_measures_nothing_is_said(numbers):
    assert judge(torch.tensor([20.0]), numbers).verdict is Verdict.UNMEASURED
    assert judge(torch.tensor([float("nan")]), CARD).verdict is Verdict.UNMEASURED
    assert judge(torch.tensor([20.0]), {KNOWN: 2.0, SWAPPED: 2.0}).verdict is Verdict.UNTRAINED


def test_a_model_measures_itself_on_its_own_pictures_and_on_swapped_ones():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (80, 1, 8, 8), generator=draw, dtype=torch.uint8)
    x[:, :, :4] //= 8  # dark above, bright below

    def reconstruct(real):  # knows nothing but dark above, bright below
        known = real[:, :, :4].mean() < real[:, :, 4:].mean()
        return real + 0.02 if known else real.mean(dim=(2, 3), keepdim=True).expand_as(real)

    numbers = own_numbers(SimpleNamespace(w_avg=torch.zeros(1), reconstruct=reconstruct), x)
    expected = scores(x, torch.full((80,), 40.0)).mean()  # 0.02 of 2 is 1 %
    assert numbers[KNOWN] == pytest.approx(expected.item(), abs=0.1)
    assert numbers[SWAPPED] == pytest.approx(0, abs=0.01)


# The bundled model


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return Studio("cpu", tmp_path_factory.mktemp("home"))


def judged(studio, images, folder: Path, model: str = "toon64"):
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i:03d}.png")
    *_, last = studio.runs.encode([folder], model)
    return last.found


def of_style(name: str, count: int = 20):
    """Avatars of another style: personas is CC BY 4.0 (Draftbit), pixel-art CC0 (DiceBear)."""
    dicebear, resvg = pytest.importorskip("dicebear"), pytest.importorskip("resvg_py")
    style = dicebear.Style(json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text()))
    for seed in range(count):
        options = {"seed": str(seed), "size": 64, "backgroundColor": ["b6e3f4", "ffd5dc"]}
        svg = dicebear.Avatar(style, options).to_string()
        png = bytes(resvg.svg_to_bytes(svg_string=svg, width=64, height=64))
        yield Image.open(io.BytesIO(png)).convert("RGB")


def photo_like(count: int = 20):
    """Colour noise with the spectrum of photographs, 1/f."""
    draw = np.random.default_rng(0)
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    f[0, 0] = 1
    for _ in range(count):
        x = np.fft.ifft2(np.fft.fft2(draw.normal(size=(3, 64, 64))) / f).real
        x = 127 + 50 * (x - x.mean()) / x.std()
        yield to_image(torch.from_numpy(x.clip(0, 255).astype(np.uint8)))


@pytest.mark.parametrize("name", ["aliens", "bearded", "neonhair"])
def test_twenty_toon_heads_are_known(studio, tmp_path, name):
    paths = sorted((ASSETS / name).glob("*.webp"))[:20]
    last = judged(studio, map(Image.open, paths), tmp_path / "set")
    assert last.verdict is Verdict.GOOD
    assert "looked at" not in last.reason


@pytest.mark.parametrize("model", ["toon64", "toon128", "cats64", "cats128"])
def test_no_painted_source_knows_emoji(studio, tmp_path, model):
    """Microsoft's Fluent emoji (MIT), as the npm package @lobehub/fluent-emoji-3d 1.1.0 has them."""
    sheet = Image.open(PICTURES / "emoji.webp")
    tiles = [(x, y, x + 128, y + 128) for y in range(0, 512, 128) for x in range(0, 640, 128)]
    last = judged(studio, map(sheet.crop, tiles), tmp_path / "set", model)
    assert last.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("kind", ["personas", "pixel-art", "photo-like", "upside down"])
def test_twenty_foreign_pictures_are_not(studio, tmp_path, kind):
    if kind == "photo-like":
        images = photo_like()
    elif kind == "upside down":
        images = (Image.open(path).rotate(180) for path in sorted((ASSETS / "aliens").glob("*.webp"))[:20])
    else:
        images = of_style(kind)
    last = judged(studio, images, tmp_path / "set")
    assert last.verdict is Verdict.UNKNOWN
    assert "of this model's own pictures it is 99." in last.reason
