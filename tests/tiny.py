"""A source model of 16 px that needs no training, and pictures for it."""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mind2mind.config import LOCAL, Architecture, Recipe
from mind2mind.models.bundle import Card, save_source
from mind2mind.networks.alae import ALAE
from mind2mind.runs import worker as execution
from mind2mind.runs.findings import Prepared
from mind2mind.studio import Studio

SIZES = Architecture(layer_count=3, latent_size=16, start_channels=8, max_channels=16, mapping_layers=2)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 12345\n"

RECIPE = Recipe(
    name="tiny",
    z_dim=8,
    generator_widths=(16,),
    critic_widths=(16,),
    batch_size=16,
    standardise=True,
    ema_half_life=10,
    decay_share=0.5,
    held_out_share=0.1,
)


def make_weights(folder: Path, *, name: str = "tiny", seed: int = 0) -> Path:
    """A catalogue folder with one source in it; gives the folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        alae = ALAE(SIZES)
        alae.w_avg.normal_()
        for parameter_name, parameter in alae.named_parameters():
            if "noise_weight" in parameter_name:
                parameter.data.fill_(0.1)  # so that noise is seen
    numbers = {"held_out_snr": 10.0, "swapped_halves_snr": 0.5}
    card = Card(id=name, title="Tiny", knows="noise", credit="nobody", licence="none", numbers=numbers)
    save_source(folder / name, alae, card)
    return folder


def make_pictures(folder: Path, count: int, *, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    return folder


def make_studio(folder: Path, limits=LOCAL) -> Studio:
    """A studio with a home and a catalogue of its own; nobody carries its runs out but `carry_out`."""
    weights = folder / "weights" if (folder / "weights").exists() else make_weights(folder / "weights")
    studio = Studio("cpu", folder / "home", limits, weights)
    studio.runs.launcher.ensure = lambda run: None
    studio.runs.launcher.warm = lambda source: None
    return studio


def carry_out(studio: Studio, token: str):
    """What a worker does with a queued run, in this process; gives the run's status."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker; two are many times slower beside another process
    try:
        execution.carry_out(studio.runs.find(token), studio.models)
    finally:
        torch.set_num_threads(threads)
    return studio.runs.status(token)


def prepared(studio: Studio, pictures: Path, **settings) -> str:
    *_, last = studio.runs.prepare([pictures], "tiny", **settings)
    assert isinstance(last, Prepared)
    return last.token


def trained(studio: Studio, pictures: Path, steps: int = 40, **settings) -> str:
    """The token of a run that is done."""
    token = prepared(studio, pictures, **settings)
    studio.runs.start(token, recipe=RECIPE, steps=steps, seed=3)
    assert carry_out(studio, token).state == "done"
    return token


def followed(studio: Studio, token: str):
    """The last status of a run."""
    while (status := studio.runs.status(token)).state.alive:
        time.sleep(0.05)
    return status


def png_meta(path: Path) -> dict[str, str]:
    """What a PNG says of itself."""
    with Image.open(path) as image:
        return dict(image.text)
