"""The four networks against the reference's outputs, and what parity cannot show."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import alae_of, bump_noise, close, config_of, drawn, image, load, same_picture, shared_noise

from mind2mind.config import ARCHITECTURES
from mind2mind.networks.alae import (
    Blur,
    Down,
    MappingD,
    MappingF,
    Up,
    no_noise,
    noise_per_picture,
    random_noise,
    wide_kernel,
)

SETS = ["lc3", "lc4", "lc5", "lc6f"]


@pytest.fixture(scope="module", params=SETS)
def case(request):
    expected = load(f"alae_{request.param}.npz")
    config = config_of(expected)
    return alae_of(config), config, expected


@pytest.fixture(scope="module")
def small():
    config = config_of(load("alae_lc3.npz"))
    return alae_of(config), config


def styles_of(config):
    shape = (config["batch"], 2 * config["layer_count"], config["latent_size"])
    return drawn(config["tag"], "w", shape, "n") * 0.7


def lods_and_blends(config):
    top = config["layer_count"]
    return [(lod, blend) for lod in range(top) for blend in (1, 0.5) if lod or blend == 1]


def test_encoder_and_head_at_every_level_and_blend(case):
    alae, config, expected = case
    for lod, blend in lods_and_blends(config):
        w = alae.encode(image(config, lod), lod, blend)
        close(w[:, None], expected[f"enc/lod{lod}/blend{blend}/Z"])
        close(alae.realness(w), expected[f"enc/lod{lod}/blend{blend}/d"])


def test_decoder_with_the_bump_at_every_level_and_blend(case):
    alae, config, expected = case
    for lod, blend in lods_and_blends(config):
        x = alae.decode(styles_of(config), lod, blend, bump_noise)
        same_picture(x, expected, f"dec/lod{lod}/blend{blend}/noise_off")


def test_torchs_cpu_generator_draws_what_the_reference_drew(case):
    _, config, expected = case
    seeded = torch.Generator().manual_seed(config["base_seed"])
    np.testing.assert_array_equal(torch.randn(32, generator=seeded), expected["rng/randn_first32"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["base_seed"])
        np.testing.assert_array_equal(torch.randn(32), expected["rng/randn_first32"])


def test_decoder_with_drawn_noise(case):
    alae, config, expected = case
    top, styles = config["layer_count"] - 1, styles_of(config)
    for blend in (1, 0.5):
        seeded = random_noise(torch.Generator().manual_seed(config["base_seed"]))
        x = alae.decode(styles, top, blend, seeded)
        same_picture(x, expected, f"dec/lod{top}/blend{blend}/noise_seeded")
    shared = shared_noise(torch.Generator().manual_seed(config["base_seed"]))
    x = alae.decode(styles, top, 1, shared)
    same_picture(x, expected, f"dec/lod{top}/blend1/noise_batch_constant")


def test_no_noise_is_noise_of_weight_zero(case):
    alae, config, expected = case
    top = config["layer_count"] - 1
    x = alae.decode(styles_of(config), noise=no_noise)
    same_picture(x, expected, f"dec/lod{top}/blend1/noise_zero")


def test_mappings(case):
    alae, config, expected = case
    z = drawn(config["tag"], "z", (config["batch"], config["latent_size"]), "n")
    w = alae.map(z)
    close(w, expected["F/w"])
    assert list(alae.styles(w).shape) == list(expected["F/shape"])
    close(alae.realness(z), expected["D/pred"])


def test_a_picture_is_the_same_in_any_batch(small):
    alae, config = small
    styles = styles_of(config)

    def generators(seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = alae.decode(styles, noise=noise_per_picture(generators([1, 2, 3])))
    alone = alae.decode(styles[1:2], noise=noise_per_picture(generators([2])))
    assert not torch.allclose(together[1], alae.decode(styles)[1], atol=1e-2)
    close(together[1:2], alone.numpy(), share=1e-5)


def test_blending_needs_a_level_below(small):
    alae, config = small
    with pytest.raises(AssertionError, match="level of detail 0"):
        alae.decode(styles_of(config), 0, 0.5)
    with pytest.raises(AssertionError, match="level of detail 0"):
        alae.encode(image(config, 0), 0, 0.5)


def test_widths_are_those_of_the_published_ffhq_model():
    assert ARCHITECTURES["ffhq"].widths == [16, 32, 64, 128, 256, 512, 512, 512, 512, 512]


def test_wide_kernel_is_the_full_convolution_with_ones():
    weight = torch.arange(9.0).reshape(1, 1, 3, 3)
    ones = torch.ones(1, 1, 2, 2)
    full = torch.nn.functional.conv2d(torch.nn.functional.pad(weight, (1, 1, 1, 1)), ones)
    assert torch.equal(wide_kernel(weight), full)


def test_a_scale_is_a_convolution_beside_pooling_or_doubling():
    """At the borders, too; the weights of a fused one lie the other way round."""
    torch.manual_seed(0)
    x, down = torch.randn(2, 3, 8, 8), Down(3, 5)
    pooled = F.avg_pool2d(F.conv2d(x, down.weight, padding=1), 2)
    assert torch.allclose(down(x), pooled, atol=1e-5)
    up, fused = Up(3, 5, fused=False), Up(3, 5, fused=True)
    doubled = F.conv2d(F.interpolate(x, scale_factor=2), up.weight, padding=1)
    with torch.no_grad():
        fused.weight.copy_(up.weight.transpose(0, 1).flip(2, 3))
    assert torch.allclose(up(x), doubled, atol=1e-5)
    assert torch.allclose(fused(x), doubled, atol=1e-5)


def test_blur_keeps_a_constant_inside_and_is_exact_in_half_precision():
    blur = Blur(2)
    assert torch.allclose(blur(torch.ones(1, 2, 5, 5))[..., 1:-1, 1:-1], torch.ones(3, 3))
    assert torch.equal(blur.weight.half().float(), blur.weight)


def test_equalised_rates_are_carried_by_the_parameters():
    f, d = MappingF(32, 2), MappingD(32)
    for layer in (f.map_blocks[0].fc, d.map_blocks[0]):
        assert layer.weight.lr_coef == pytest.approx(math.sqrt(2 / 32) * 0.1)
        assert layer.bias.lr_coef == pytest.approx(0.1)
    assert f.map_blocks[0].fc.weight.std().item() == pytest.approx(math.sqrt(2 / 32), rel=0.1)
