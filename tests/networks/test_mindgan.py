"""MindGAN against the reference's outputs, losses, gradients and training."""

import numpy as np
import pytest
import torch
from reference import close, config_of, drawn, load, mindgan_of

from mind2mind.config import MindGANSizes
from mind2mind.judge.metrics import energy_distance
from mind2mind.networks.alae import MappingF
from mind2mind.networks.mindgan import (
    MindGAN,
    Perceptron,
    critic_loss,
    draw_z,
    energy_loss,
    generator_loss,
)


@pytest.fixture(params=["default", "linear"])
def case(request):
    expected = load(f"mindgan_{request.param}.npz")
    config = config_of(expected)
    return mindgan_of(config), config, expected


def inputs(config):
    real = drawn(config["tag"], "real", (config["B"], 512), "n") * 0.7
    return real, drawn(config["tag"], "z", (config["B"], config["z"]), "u")


def gradient_sums(module):
    return [
        (p.grad.double().sum().item(), p.grad.double().square().sum().item()) for p in module.parameters()
    ]


def test_outputs_losses_and_gradients(case):
    gan, config, expected = case
    real, z = inputs(config)
    fake, t = gan.generator(z), torch.from_numpy(expected["t"])
    close(fake, expected["fake"])
    close(gan.critic(real), expected["critic_real"])
    close(gan.critic(fake), expected["critic_fake"])
    loss = critic_loss(gan.critic, real, fake.detach(), t, config["gp"], config["eps"])
    for value, key in (
        (loss.total, "critic_loss"),
        (loss.gradient_penalty, "gp"),
        (loss.epsilon_penalty, "eps_penalty"),
        (generator_loss(gan.critic, fake), "generator_loss"),
    ):
        np.testing.assert_allclose(value.item(), expected[key].item(), rtol=1e-4)
    gap = (expected["c_real_mean"] - expected["c_fake_mean"]).item()
    np.testing.assert_allclose(loss.gap.item(), gap, rtol=1e-4, atol=1e-6)
    loss.total.backward()
    reference = expected["critic_grads"]
    np.testing.assert_allclose(gradient_sums(gan.critic), reference, rtol=1e-3, atol=1e-4)
    generator_loss(gan.critic, gan.generator(z)).backward()
    reference = expected["generator_grads"]
    np.testing.assert_allclose(gradient_sums(gan.generator), reference, rtol=1e-3, atol=1e-4)


def test_the_mixing_weights_are_torchs_rand(case):
    _, config, expected = case
    t = torch.rand(config["B"], 1, generator=torch.Generator().manual_seed(config["seed"]))
    np.testing.assert_array_equal(t, expected["t"])


def test_training_follows_the_reference(case):
    """Two epochs of three batches, five critic steps each on the same batch; z from numpy, t from torch."""
    gan, config, expected = case
    size, seed = config["B"], config["seed"]
    data = drawn(config["tag"], "train", (2 * size + 3, 512), "n") * 0.7
    numbers, draw_t = np.random.RandomState(seed), torch.Generator().manual_seed(seed)
    g_adam = torch.optim.Adam(gan.generator.parameters(), 1e-3, betas=(0.0, 0.5))
    c_adam = torch.optim.Adam(gan.critic.parameters(), 1e-3, betas=(0.0, 0.5))

    def fakes(count):
        return gan.generator(torch.from_numpy(numbers.uniform(-1, 1, (count, config["z"]))).float())

    c_losses, g_losses = [], []
    for _ in range(2):
        c_sum = g_sum = 0.0
        for real in (data[:size], data[size : 2 * size], data[2 * size :]):
            for _ in range(5):
                fake = fakes(len(real)).detach()
                t = torch.rand(len(real), 1, generator=draw_t)
                loss = critic_loss(gan.critic, real, fake, t, config["gp"], config["eps"]).total
                c_adam.zero_grad()
                loss.backward()
                c_adam.step()
                c_sum += loss.item() / 15
            loss = generator_loss(gan.critic, fakes(len(real)))
            g_adam.zero_grad()
            loss.backward()
            g_adam.step()
            g_sum += loss.item() / 3
        c_losses.append(c_sum)
        g_losses.append(g_sum)
    np.testing.assert_allclose(c_losses, expected["train/critic_loss"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(g_losses, expected["train/generator_loss"], rtol=1e-3, atol=1e-3)
    real, z = inputs(config)
    np.testing.assert_allclose(gan.critic(real).detach(), expected["train/critic_real_after"], atol=1e-3)
    np.testing.assert_allclose(gan.generator(z).detach(), expected["train/fake_after"], atol=1e-3)
    for module, name in ((gan.critic, "Critic"), (gan.generator, "Generator")):
        state = module.state_dict()
        assert list(state) == list(expected[f"train/{name}_keys"])
        for value, (total, absolute, squares) in zip(
            state.values(), expected[f"train/{name}_sums"], strict=True
        ):
            value = value.double()
            assert abs(value.sum().item() - total) <= 1e-3 * absolute
            assert abs(value.abs().sum().item() - absolute) <= 1e-3 * absolute
            assert abs(value.square().sum().item() - squares) <= 2e-3 * squares


def test_gradient_penalty_of_a_linear_critic_is_known():
    """c(x) = a.x has the gradient a everywhere."""
    critic = Perceptron([3, 1])
    critic.model[0].weight.data = torch.tensor([[3.0, 0.0, 4.0]])
    critic.model[0].bias.data.zero_()
    real, fake = torch.ones(8, 3), torch.zeros(8, 3)
    loss = critic_loss(critic, real, fake, torch.rand(8, 1), 10.0, 0.01)
    assert loss.gradient_penalty.item() == pytest.approx((5 - 1) ** 2)
    assert loss.gap.item() == pytest.approx(7)
    assert loss.epsilon_penalty.item() == pytest.approx(49)
    assert loss.total.item() == pytest.approx(-7 + 160 + 0.49)


def test_the_closed_form_of_the_gradient_is_autograds():
    torch.manual_seed(0)
    critic, x = Perceptron([6, 16, 8, 1]), torch.randn(9, 6, requires_grad=True)
    (wanted,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    found = critic.input_gradient(x)
    assert torch.allclose(found, wanted, atol=1e-6)
    weights = [layer.weight for layer in critic.model if hasattr(layer, "weight")]
    second = torch.autograd.grad(found.norm(dim=1).sum(), weights)
    for own, reference in zip(second, torch.autograd.grad(wanted.norm(dim=1).sum(), weights), strict=True):
        assert torch.allclose(own, reference, atol=1e-5)


def test_untrained_weights_are_those_of_torch():
    sizes = MindGANSizes(latent_size=6, z_dim=4, generator_widths=(8, 7), critic_widths=(5,))
    ours = MindGAN.untrained(sizes, 3).state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = MindGAN(sizes).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name]) for name in theirs)


def test_prior_is_uniform_and_seeded():
    z = draw_z(4000, 3, torch.Generator().manual_seed(5))
    assert z.min() >= -1
    assert z.max() < 1
    assert z.mean().abs() < 0.03
    assert z.var().item() == pytest.approx(1 / 3, abs=0.02)
    assert torch.equal(z, draw_z(4000, 3, torch.Generator().manual_seed(5)))


def test_an_affine_map_folds_into_the_last_layer():
    gan = MindGAN(MindGANSizes(latent_size=6, z_dim=4, generator_widths=(8,), critic_widths=()))
    z = draw_z(5, 4, torch.Generator().manual_seed(0))
    mean, std = torch.arange(6.0), torch.linspace(0.5, 3, 6)
    wanted = gan.generator(z) * std + mean
    gan.generator.fold_affine(mean, std)
    assert torch.allclose(gan.generator(z), wanted, atol=1e-5)


def test_the_energy_loss_is_the_energy_distance_but_for_the_real_pairs():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=draw), torch.randn(30, 3, generator=draw) + 1
    within = torch.cdist(x, x).sum() / (40 * 39)
    whole = (energy_loss(x, y) - within) / (2 * torch.cdist(x, y).mean())
    assert whole.item() == pytest.approx(energy_distance(x, y), abs=1e-5)
    assert energy_loss(torch.zeros(4, 1), torch.tensor([[3.0], [3.0]])).item() == pytest.approx(6)
    y.requires_grad_()  # equal items have a distance without a direction
    energy_loss(torch.cat([x, y.detach()[:1]]), torch.cat([y, y[:1]])).backward()
    assert y.grad.isfinite().all()


def test_a_perceptron_of_f_draws_as_f_does():
    """Of any z; and of a uniform z, as of F's normal one, codes of the same law."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = MappingF(128, 8).requires_grad_(False)
    mind, draw = Perceptron.of_mapping(f).requires_grad_(False), torch.Generator().manual_seed(1)
    z = torch.randn(2000, 128, generator=draw)
    torch.testing.assert_close(mind(z), f(z))
    sizes = MindGANSizes(latent_size=128, generator_widths=(128,) * 8, mapping=True)
    MindGAN(sizes).generator.load_state_dict(mind.state_dict())
    w = f(torch.randn(2000, 128, generator=draw))
    assert abs(energy_distance(mind(draw_z(2000, 128, draw)), w)) < 2 * abs(energy_distance(f(z), w)) + 1e-3
