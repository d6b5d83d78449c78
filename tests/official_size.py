"""An official ALAE file of full ffhq size, as a training run leaves it, with random weights: 650 MB.

Models in training and averaged copies, `dlatent_avg`, optimisers' states and the objects of `tracker`, a module
that nobody has. The weights are drawn at such scales that pictures vary with the code and cover the range.
"""

import sys
import types
from contextlib import contextmanager
from pathlib import Path

import torch

from mind2mind.config import ARCHITECTURES
from mind2mind.models.official import SECTIONS
from mind2mind.networks.alae import ALAE

ROOT = Path(__file__).resolve().parent.parent
RGB_STD = 0.2  # of the pictures, roughly, where [-1, 1] is the range


def write(path: Path, *, zipped: bool) -> Path:
    """Writes the file in today's format or in that of torch before 1.6."""
    own = _averaged(seed=0)
    models = {name: _section(own, prefix) for name, prefix in SECTIONS.items() if name.endswith("_s")}
    training = {
        name.removesuffix("_s"): {key: tensor * 0.99 for key, tensor in state.items()}
        for name, state in models.items()
    }
    encoder = [*training["discriminator"].values(), *training["mapping_tl"].values()]
    decoder = [*training["generator"].values(), *training["mapping_fl"].values()]
    auxiliary = {"encoder_optimizer": _optimiser(encoder), "decoder_optimizer": _optimiser(decoder)}
    content = {
        "models": {**training, "dlatent_avg": {"buff": own["w_avg"]}, **models},
        "auxiliary": {**auxiliary, "scheduler": {"last_epoch": 157}},
    }
    with _trackers() as running_mean:
        content["auxiliary"]["tracker"] = {"tracks": {"loss_d": running_mean, "loss_g": running_mean}}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def _averaged(seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        alae = ALAE(ARCHITECTURES["ffhq"])
        for name, parameter in alae.named_parameters():
            if "noise_weight" in name:
                parameter.normal_(0, 0.05)
            elif "bias" in name:
                parameter.normal_(0, 0.1)
        alae.decoder.const.normal_(1, 0.5)
        for to_rgb in alae.decoder.to_rgb:
            weight = to_rgb.to_rgb.weight
            weight.normal_(0, RGB_STD / weight.shape[1] ** 0.5)
        alae.w_avg.copy_(
            alae.map(torch.randn(256, ARCHITECTURES["ffhq"].latent_size)).mean(dim=0).expand_as(alae.w_avg)
        )
        return alae.state_dict()


def _section(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _optimiser(parameters: list[torch.Tensor]) -> dict[str, object]:
    state = {i: {"step": 1000, "exp_avg_sq": tensor.square()} for i, tensor in enumerate(parameters)}
    return {"state": state, "param_groups": [{"lr": 0.003, "params": list(state)}]}


@contextmanager
def _trackers():
    """Within the block there is a module `tracker`; gives one of its objects."""
    module = types.ModuleType("tracker")
    module.RunningMeanTorch = type("RunningMeanTorch", (), {"__module__": "tracker"})
    sys.modules["tracker"] = module
    running_mean = module.RunningMeanTorch()
    running_mean.values = [torch.zeros(1)]
    try:
        yield running_mean
    finally:
        del sys.modules["tracker"]
