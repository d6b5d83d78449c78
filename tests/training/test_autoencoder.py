"""The default recipe's term and what it does to its pictures, against closed forms."""

from dataclasses import replace

import pytest
import torch

from mind2mind.config import ARCHITECTURES, PRETRAIN_BROAD, PRETRAIN_DEFAULT, Architecture
from mind2mind.errors import ConfigError
from mind2mind.training.autoencoder import PixelTrainee, distort, pixel_term
from mind2mind.training.source import new_alae

PLAIN = replace(PRETRAIN_DEFAULT, squared=0.0, detail=0.0, hardest=0.0, latent_noise=0.0)
TINY = Architecture(layer_count=3, latent_size=16, start_channels=8, max_channels=16, mapping_layers=2)


def test_an_even_error_costs_its_size_at_each_scale_and_is_no_detail():
    x = torch.zeros(2, 3, 16, 16)
    assert pixel_term(x + 0.1, x, PLAIN).item() == pytest.approx(3 * 0.1)
    assert pixel_term(x + 0.1, x, replace(PLAIN, squared=10.0)).item() == pytest.approx(0.3 + 10 * 0.01)
    assert pixel_term(x + 0.1, x, replace(PLAIN, detail=5.0)).item() == pytest.approx(0.3, abs=1e-6)


def test_a_single_wrong_pixel_is_detail():
    x = torch.zeros(1, 1, 16, 16)
    y = x.clone()
    y[0, 0, 8, 8] = 1.0
    # the blur leaves 1/25 at 25 places: 1 - 1/25 remain at the pixel, 1/25 at 24 others
    fine = (24 / 25 + 24 / 25) / 256
    plain = pixel_term(y, x, PLAIN).item()
    assert plain == pytest.approx(1 / 256 + (1 / 4) / 64 + (1 / 16) / 16)
    assert pixel_term(y, x, replace(PLAIN, detail=1.0)).item() == pytest.approx(plain + fine)


def test_the_worst_pixels_count_by_their_worst_channel():
    x = torch.zeros(1, 3, 10, 10)
    y = x.clone()
    y[0, 1, 2, 3], y[0, 2, 2, 3], y[0, 0, 7, 7], y[0, 0, 9, 9] = 0.5, 0.4, -0.3, 0.2
    more = pixel_term(y, x, replace(PLAIN, hardest=2.0)) - pixel_term(y, x, PLAIN)
    assert more.item() == pytest.approx(2 * (0.5 + 0.3) / 2)  # 2 % of 100 pixels are two


def test_distorted_pictures_stay_in_range_and_repeat():
    x = torch.rand(64, 1, 32, 32) * 2 - 1
    first, again, other = (distort(x, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == x.shape
    assert first.min() >= -1
    assert first.max() <= 1 + 1e-5
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    black = torch.full((8, 1, 32, 32), -1.0)
    assert torch.allclose(distort(black, torch.Generator().manual_seed(0)), black)


def test_a_quarter_is_outlined():
    """Of a bright square an outline keeps the border and blackens the middle."""
    x = torch.full((400, 1, 32, 32), -1.0)
    x[:, :, 8:24, 8:24] = 1.0
    y = distort(x, torch.Generator().manual_seed(0))
    lit = (y > 0).float().mean(dim=(1, 2, 3))
    hollow = [
        (p[0, 12:20, 12:20] < -0.9).float().mean() > 0.3 and share > 0.05
        for p, share in zip(y, lit, strict=True)
    ]
    assert 0.12 < sum(hollow) / len(hollow) < 0.35


def test_only_the_broad_recipe_distorts(monkeypatch):
    monkeypatch.setattr("mind2mind.training.autoencoder.compiled", lambda function: function)
    counts = []

    def counted(x, draw):
        counts.append(len(x))
        return distort(x, draw)

    monkeypatch.setattr("mind2mind.training.autoencoder.distort", counted)
    pictures = (torch.rand(32, 3, 16, 16) * 255).byte()
    for recipe in (PRETRAIN_DEFAULT, PRETRAIN_BROAD):
        PixelTrainee(new_alae(TINY, 0), recipe, 0, 1000).advance(pictures)
    assert counts == [PRETRAIN_BROAD.batch_size // 2]


def test_noise_on_the_codes_is_in_their_own_deviations(monkeypatch):
    """However large the codes, the decoder sees the same relative noise; without it the term is the plain one."""
    monkeypatch.setattr("mind2mind.training.autoencoder.compiled", lambda function: function)
    trainee = PixelTrainee(new_alae(TINY, 0), PRETRAIN_DEFAULT, 0, 1000)
    x = torch.rand(16, 3, 16, 16) * 2 - 1
    seen = []
    monkeypatch.setattr(trainee.alae, "decode", lambda styles, blend: seen.append(styles[:, 0]) or x)
    with torch.no_grad():
        w = trainee.alae.encode(x)
        noise = torch.randn(16, 16)
        trainee._pixel_loss(x, noise, 1.0)
        trainee._pixel_loss(x, 0 * noise, 1.0)
    assert torch.allclose((seen[0] - w) / w.std(dim=0), noise, atol=1e-4)
    assert torch.equal(seen[1], w)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="latent_noise"):
        replace(PRETRAIN_DEFAULT, latent_noise=-0.1)
    with pytest.raises(ConfigError, match="hardest"):
        replace(PRETRAIN_DEFAULT, hardest=-0.1)
    with pytest.raises(ConfigError, match="distorted"):
        replace(PRETRAIN_DEFAULT, distorted=1.5)
    grey32 = ARCHITECTURES["grey32"]
    assert (grey32.resolution, grey32.image_channels) == (32, 1)
