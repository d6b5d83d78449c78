"""ALAE's training against the reference: losses, gradients and a trajectory (parity/README.md)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import SECTIONS, alae_of, config_of, drawn, fill_by_recipe, image, load

from mind2mind.config import PRETRAIN_PAPER, Growth
from mind2mind.networks.alae import ALAE
from mind2mind.training.adversarial import (
    AdversarialTrainee,
    Chance,
    discriminator_loss,
    generate,
    generator_loss,
    latent_loss,
)
from mind2mind.training.autoencoder import adam

CONFIGS = ("alae_lc3.npz", "alae_lc4.npz", "alae_lc5.npz", "alae_lc6f.npz")
PARTS = ("encoder", "decoder", "mapping_f", "mapping_d")
SETTINGS = {"mixing": 0.9, "w_avg_beta": 0.995}


@pytest.fixture(params=CONFIGS)
def case(request):
    expected = load(request.param)
    config = config_of(expected)
    real = image(config, config["layer_count"] - 1)
    return request.param, expected, config, alae_of(config).requires_grad_(True), real


def norms(alae, part):
    parameters = list(getattr(alae, part).parameters())
    gradients = [p.grad.double() for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients]) if gradients else torch.zeros(1)
    return len(parameters), len(gradients), flat.norm().item(), flat.abs().sum().item()


def same_gradients(alae, expected, key):
    for part in PARTS:
        np.testing.assert_allclose(
            norms(alae, part), expected[f"{key}/{SECTIONS[part]}"], rtol=1e-2, err_msg=f"{key} {part}"
        )


@pytest.mark.parametrize("blend", [1, 0.5])
def test_losses_of_fixed_pictures(case, blend):
    _, expected, config, alae, real = case
    lod, key = config["layer_count"] - 1, f"loss/blend{blend}"
    fake = drawn(config["tag"], "fake", tuple(real.shape), "n") * 0.5
    loss = discriminator_loss(alae, real, fake, gamma=10.0, lod=lod, blend=blend)
    plain = discriminator_loss(alae, real, fake, gamma=0.0, lod=lod, blend=blend)
    np.testing.assert_allclose(loss.item(), expected[f"{key}/loss_d"], rtol=1e-4)
    np.testing.assert_allclose((loss - plain).item(), expected[f"{key}/r1_loss"], rtol=1e-4)
    np.testing.assert_allclose(
        generator_loss(alae, fake, lod=lod, blend=blend).item(), expected[f"{key}/loss_g_of_fake"], rtol=1e-4
    )
    loss.backward()
    same_gradients(alae, expected, f"{key}/grad_of_loss_d")


@pytest.mark.parametrize("step", ["d", "g", "ae", "ae_zreg"])
def test_losses_of_training(case, step):
    _, expected, config, alae, real = case
    chance = Chance.of(config["base_seed"])
    z = chance.z(config["batch"], config["latent_size"])
    at = {"lod": config["layer_count"] - 1, "blend": 1.0}
    if step == "d":
        with torch.no_grad():
            _, fake = generate(alae, z, chance, **SETTINGS, **at)
        loss = discriminator_loss(alae, real, fake, gamma=10.0, **at)
    elif step == "g":
        alae.encoder.requires_grad_(False)
        loss = generator_loss(alae, generate(alae, z, chance, **SETTINGS, **at)[1], **at)
    else:
        w, fake = generate(alae, z, chance, mixing=0.0, w_avg_beta=0.995, **at)
        loss = latent_loss(alae, fake, z if step == "ae_zreg" else w, **at)
    np.testing.assert_allclose(loss.item(), expected[f"train_loss/{step}"], rtol=1e-4)
    sums = expected[f"train_loss/{step}/dlatent_avg_sum"]
    np.testing.assert_allclose(alae.w_avg.double().sum().item(), sums, rtol=1e-4)
    loss.backward()
    same_gradients(alae, expected, f"train_loss/{step}/grad")


def by_name(tensors):
    """The reference's names for state_dict entries, as the parity file has them."""
    names = {}
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        names["dlatent_avg.buff" if key == "w_avg" else f"{SECTIONS[part]}.{rest}"] = value
    return names


def same_sums(tensors, names, reference, share):
    for name, sums in zip(names, reference, strict=True):
        if name in tensors:
            x = tensors[name].detach().double()
            ours = [x.sum(), x.abs().sum(), x.square().sum()]
            np.testing.assert_allclose(ours, sums, atol=share * sums[1], rtol=0, err_msg=name)


@pytest.mark.parametrize("kind", ["zero", "none"])
def test_three_iterations(kind, monkeypatch):
    expected = load("alae_lc3.npz")
    config = config_of(expected)
    alae, real = alae_of(config).requires_grad_(True), image(config, config["layer_count"] - 1)
    recipe = replace(PRETRAIN_PAPER, growth=Growth(epochs_per_lod=0))  # full size from the start
    trainee = AdversarialTrainee(alae, recipe, 0, 1000)
    if kind == "none":  # as newer versions of torch do it
        whole = torch.optim.Adam.zero_grad
        monkeypatch.setattr(torch.optim.Adam, "zero_grad", lambda self, set_to_none: whole(self))
    second = dict(fill_by_recipe(ALAE(alae.architecture), config["tag"] + "/ema").named_parameters())
    trainee.average = {name: value.detach().clone() for name, value in second.items()}
    chance = Chance.of(config["base_seed"])
    losses = []
    for i in range(3):
        losses.append(trainee.train_on(real * (1 - 0.1 * i), chance).tolist())
        trainee.forget(0.5 ** (128 / 10_000))
    np.testing.assert_allclose(losses, expected[f"traj/{kind}/losses"], rtol=1e-3)
    names = list(expected["traj/names"])
    ours = by_name(alae.state_dict())
    assert sorted(ours) == sorted(names)
    same_sums(ours, names, expected[f"traj/{kind}/model"], 1e-2)
    same_sums(by_name(trainee.average), names, expected[f"traj/{kind}/ema"], 1e-2)
    # the two ways differ in D alone, and only a little: the right one must be the nearer
    other = expected[f"traj/{'none' if kind == 'zero' else 'zero'}/losses"]
    apart = [np.abs(np.array(losses) - x).max() for x in (expected[f"traj/{kind}/losses"], other)]
    assert apart[0] < 0.2 * apart[1]


def test_equalised_adam_by_hand():
    """LREQAdam's rule (reference custom_adam.py), whose epsilon stands before the correction of the bias."""
    p, plain = torch.nn.Parameter(torch.tensor([1.0, -2.0])), torch.nn.Parameter(torch.tensor([3.0]))
    p.lr_coef = 0.5
    optimiser = adam([p, plain], betas=(0.0, 0.99))
    for group in optimiser.param_groups:
        group["lr"] = 0.1 * group["lr_coef"]
    v, value = np.zeros(2), np.array([1.0, -2.0])
    for t, gradient in enumerate(([1.0, 4.0], [0.0, -2.0], [0.0, 0.0]), start=1):
        p.grad = torch.tensor(gradient)  # `plain` has none and is left alone
        optimiser.step()
        g = np.array(gradient)
        v = 0.99 * v + 0.01 * g**2
        value = value - 0.1 * 0.5 * np.sqrt(1 - 0.99**t) * g / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(p.detach().numpy(), value, rtol=1e-5)
    np.testing.assert_allclose(optimiser.state[p]["exp_avg_sq"].numpy(), v, rtol=1e-5)
    assert optimiser.state[p]["step"] == 3
    assert plain.item() == 3 and not optimiser.state[plain]
    plain.grad = torch.tensor([5.0])
    optimiser.step()
    assert plain.item() == pytest.approx(3 - 0.1, abs=1e-6)  # the first step is one of the learning rate
