"""ALAE: generating as the reference does, from its primitives; precision; devices; no side effects."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import (
    SECTIONS,
    alae_of,
    bump_noise,
    close,
    config_of,
    drawn,
    image,
    load,
    same_picture,
    truncated,
)

from mind2mind.config import ARCHITECTURES
from mind2mind.networks.alae import ALAE, mix, no_noise, random_noise

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture(params=["lc3", "lc4", "lc5", "lc6f"])
def case(request):
    expected = load(f"alae_{request.param}.npz")
    config = config_of(expected)
    return alae_of(config), config, expected


def z_of(config):
    return drawn(config["tag"], "z", (config["batch"], config["latent_size"]), "n")


def test_generate_with_and_without_truncation(case):
    alae, config, expected = case
    w = alae.map(z_of(config))
    close(w[:, None], expected["gen/s"])
    styles = alae.styles(w)
    pulled = truncated(alae, styles, config["psi"], config["cutoff"])
    same_picture(alae.decode(pulled, noise=bump_noise), expected, "gen/truncated")
    same_picture(alae.decode(styles, noise=bump_noise), expected, "gen/no_truncation")


def test_generate_with_mixing_and_moving_average(case):
    """Draws in the reference's order: whether to mix, z2, the crossover, the noises."""
    alae, config, expected = case
    draw, python = torch.Generator().manual_seed(config["base_seed"]), random.Random(config["base_seed"])
    styles = alae.styles(alae.map(z_of(config)))
    alae.w_avg.lerp_(styles.mean(dim=0), 1 - 0.995)
    assert python.random() < 1.0
    second = alae.styles(alae.map(torch.randn(config["batch"], config["latent_size"], generator=draw)))
    crossover = python.randint(1, 2 * config["layer_count"])
    x = alae.decode(mix(styles, second, crossover), noise=random_noise(draw))
    same_picture(x, expected, "gen/mixed_seeded")
    close(alae.w_avg, expected["gen/mixed_seeded/dlatent_avg_after"])


def test_a_grown_network_begins_as_the_one_that_it_grew_from():
    inner, grown = ALAE(ARCHITECTURES["toon64"]), ALAE(ARCHITECTURES["toon128"])
    inner.w_avg.normal_()
    grown.grow(inner)
    with torch.no_grad():
        x = torch.randn(2, 3, 128, 128)
        w = inner.encode(F.avg_pool2d(x, 2))
        assert torch.equal(grown.encode(x, blend=0.0), w)
        enlarged = F.interpolate(inner.decode(inner.styles(w)), scale_factor=2, mode="nearest")
        assert torch.equal(grown.decode(grown.styles(w), blend=0.0), enlarged)
        assert torch.equal(grown.map(w), inner.map(w)) and torch.equal(grown.realness(w), inner.realness(w))
        assert torch.equal(
            grown.encoder.encode_block[0](grown.encoder.from_rgb[0](x))[1], torch.zeros(2, 128)
        )
    assert torch.equal(grown.w_avg[:10], inner.w_avg) and torch.equal(grown.w_avg[11], inner.w_avg[9])


def test_what_a_network_that_grows_lacks_stays():
    inner, grown = ALAE(ARCHITECTURES["toon64"]), ALAE(ARCHITECTURES["toon128"])
    del inner.mapping_f, inner.mapping_d
    before = grown.mapping_f.state_dict()["map_blocks.0.fc.weight"].clone()
    grown.grow(inner)
    assert torch.equal(grown.mapping_f.state_dict()["map_blocks.0.fc.weight"], before)


@pytest.mark.parametrize("case", ["lc3", "lc6f"], indirect=True)  # unfused, fused
@pytest.mark.parametrize("blend", [1, 0.5])
def test_adversarial_losses_and_their_gradients(case, blend):
    """Softplus losses and R1 from encode and realness: the second derivative goes through every layer."""
    alae, config, expected = case
    alae.requires_grad_(True)
    top = config["layer_count"] - 1
    real = image(config, top).requires_grad_(True)
    fake = drawn(config["tag"], "fake", tuple(real.shape), "n") * 0.5
    d_real = alae.realness(alae.encode(real, top, blend))
    d_fake = alae.realness(alae.encode(fake, top, blend))
    (gradient,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
    r1 = gradient.square().sum(dim=(1, 2, 3))
    loss = (F.softplus(d_fake) + F.softplus(-d_real) + 5 * r1).mean()
    key = f"loss/blend{blend}"
    close(d_real, expected[f"{key}/d_real"])
    close(d_fake, expected[f"{key}/d_fake"])
    close(r1, expected[f"{key}/r1_per_sample"])
    np.testing.assert_allclose(loss.item(), expected[f"{key}/loss_d"], rtol=1e-4)
    np.testing.assert_allclose(
        F.softplus(-d_fake).mean().item(), expected[f"{key}/loss_g_of_fake"], rtol=1e-4
    )
    loss.backward()
    for part in ("encoder", "mapping_d"):
        parameters = list(getattr(alae, part).parameters())
        gradients = [p.grad.double() for p in parameters if p.grad is not None]
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()
        total, with_gradient, reference, _ = expected[f"{key}/grad_of_loss_d/{SECTIONS[part]}"]
        assert (len(parameters), len(gradients)) == (total, with_gradient)
        np.testing.assert_allclose(norm, reference, rtol=1e-2)


def test_mixing_swaps_at_the_crossover():
    a, b = torch.zeros(1, 6, 4), torch.ones(1, 6, 4)
    assert mix(a, b, 2)[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1]
    assert torch.equal(mix(a, b, 6), a)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_named_architecture_can_be_built(name):
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        alae = ALAE(architecture)
        x = torch.empty(2, architecture.image_channels, architecture.resolution, architecture.resolution)
        assert alae.encode(x).shape == (2, architecture.latent_size)
        assert alae.reconstruct(x).shape == x.shape


def test_bfloat16_stays_near_float32():
    expected = load("alae_lc4.npz")
    config = config_of(expected)
    alae, x = alae_of(config), image(config, config["layer_count"] - 1)
    w = alae.encode(x)
    y = alae.decode(alae.styles(w))
    alae.bfloat16()
    low_w = alae.encode(x.bfloat16())
    low_y = alae.decode(alae.styles(w.bfloat16()))
    assert low_w.dtype == low_y.dtype == torch.bfloat16
    assert (low_w.float() - w).norm() / w.norm() < 0.03
    assert (low_y.float() - y).norm() / y.norm() < 0.06


def test_nothing_global_is_touched():
    def state():
        flags = (torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32)
        return torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), flags

    before = state()
    alae = ALAE(ARCHITECTURES["toon64"])
    numbers, words = torch.get_rng_state(), random.getstate()
    with torch.inference_mode():
        alae.decode(alae.styles(alae.map(torch.zeros(1, 128))), noise=random_noise(torch.Generator()))
        alae.reconstruct(torch.zeros(1, 3, 64, 64))
    assert state() == before
    assert torch.equal(torch.get_rng_state(), numbers)
    assert random.getstate() == words


@gpu
def test_the_gpu_agrees():
    config = config_of(load("alae_lc6f.npz"))
    alae, x = alae_of(config), image(config, config["layer_count"] - 1)
    w = alae.encode(x)
    y = alae.decode(alae.styles(w), noise=no_noise)
    with torch.backends.cudnn.flags(allow_tf32=False):
        alae.cuda()
        close(alae.encode(x.cuda()), w.numpy())
        close(alae.decode(alae.styles(w.cuda())), y.numpy())
        noisy = alae.decode(alae.styles(w.cuda()), noise=random_noise(torch.Generator().manual_seed(3)))
    seeded = random_noise(torch.Generator().manual_seed(3))
    close(noisy, alae.cpu().decode(alae.styles(w), noise=seeded).numpy())
