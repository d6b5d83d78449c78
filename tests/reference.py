"""The reference's outputs under parity/ and the weights and inputs that belong to them (parity/README.md)."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from mind2mind.config import Architecture, MindGANSizes
from mind2mind.models.official import alae_from, mindgan_from, read_pth
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import MindGAN

PARITY = Path(__file__).parent / "parity"
SECTIONS = {
    "encoder": "discriminator_s",
    "decoder": "generator_s",
    "mapping_f": "mapping_fl_s",
    "mapping_d": "mapping_tl_s",
    "generator": "Generator",
    "critic": "Critic",
}


def load(name):
    with np.load(PARITY / name) as file:
        return {key: file[key] for key in file.files}


def config_of(expected):
    return json.loads(str(expected["config"]))


def tensor_by_recipe(tag, name, shape):
    n = np.random.default_rng(zlib.crc32(f"{tag}:{name}".encode())).standard_normal(shape)
    last = name.rpartition(".")[2]
    if last == "weight":
        n = n * np.sqrt(2 / np.prod(shape[1:]))
    elif last == "const":
        n = 1 + 0.5 * n
    else:
        n = n * (0.3 if last == "buff" else 0.1)
    return torch.from_numpy(n.astype(np.float32))


def drawn(tag, name, shape, kind):
    r = np.random.default_rng(zlib.crc32(f"{tag}:input.{name}".encode()))
    x = r.uniform(-1, 1, shape) if kind == "u" else r.standard_normal(shape)
    return torch.from_numpy(x.astype(np.float32))


def fill_by_recipe(module, tag):
    state = module.state_dict()
    for key in state:
        part, _, rest = key.partition(".")
        if key == "w_avg":
            state[key] = tensor_by_recipe(tag, "dlatent_avg.buff", tuple(state[key].shape))
        elif not key.endswith("blur.weight"):
            state[key] = tensor_by_recipe(tag, f"{SECTIONS[part]}.{rest}", tuple(state[key].shape))
    module.load_state_dict(state)
    return module


def architecture_of(config):
    return Architecture(
        layer_count=config["layer_count"],
        latent_size=config["latent_size"],
        start_channels=config["startf"],
        max_channels=config["maxf"],
        mapping_layers=config["mapping_layers"],
        image_channels=config["channels"],
        truncation_psi=config["psi"],
        truncation_cutoff=config["cutoff"],
    )


def alae_of(config):
    return fill_by_recipe(ALAE(architecture_of(config)), config["tag"]).requires_grad_(False)


def mindgan_of(config):
    widths = {"generator_widths": tuple(config["g"]), "critic_widths": tuple(config["c"])}
    return fill_by_recipe(MindGAN(MindGANSizes(z_dim=config["z"], **widths)), config["tag"])


def image(config, lod):
    side = 4 * 2**lod
    shape = (config["batch"], config["channels"], side, side)
    return drawn(config["tag"], f"image.lod{lod}", shape, "u")


def close(x, reference, share=1e-4):
    """Within `share` of the reference's largest value: the tolerance of parity/README.md."""
    x, reference = x.detach().cpu().double().numpy(), np.asarray(reference, np.float64)
    assert x.shape == reference.shape
    worst = np.abs(x - reference).max() / np.abs(reference).max()
    assert worst <= share, f"{worst:.1e} of the largest value, more than {share:.0e}"


def same_picture(x, expected, key):
    """Compares a picture with the stored subsampling and with the statistics of the whole."""
    step = {64: 3, 128: 5, 256: 9}.get(x.shape[-1], 1)
    close(x[:, :, ::step, ::step], expected[key])
    x = x.detach().cpu().double()
    stats = [x.mean(), x.std(correction=0), x.abs().max()]
    np.testing.assert_allclose(stats, expected[f"{key}/stats"], rtol=1e-4, atol=1e-4)


def bump_noise(x, weight, block):
    """The reference's `noise=False`, which is a fixed bump and not silence."""
    s = (block + 1) ** 0.5
    return x + s * torch.exp(-(x**2) / (2 * s**2)) / (2 * np.pi) ** 0.5 * 0.8


def shared_noise(generator):
    """The reference's `noise='batch_constant'`: each map is shared by the whole batch."""
    return lambda x, weight, block: x + weight * torch.randn((1, 1, *x.shape[2:]), generator=generator)


def truncated(alae, styles, psi, cutoff):
    """The reference's truncation: the first `cutoff` styles pulled towards w_avg by 1 - psi."""
    return torch.cat([alae.w_avg[:cutoff].lerp(styles[:, :cutoff], psi), styles[:, cutoff:]], dim=1)


def read_official_alae(path: Path, architecture: Architecture | None = None) -> ALAE:
    return alae_from(path, read_pth(path), architecture)


def read_official_mindgan(path: Path, parameters: Path | None = None) -> MindGAN:
    return mindgan_from(path, read_pth(path), parameters)
