"""The official files' layouts: ALAE's (its averaged `*_s` networks and `dlatent_avg`) and MindGAN's.

Only these parts are looked at; whatever else a training run saved is left unread. Nothing may be missing,
left over or of another shape: the reference loads such files with a warning and goes on with random weights.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mind2mind.alae import ALAE
from mind2mind.config import ARCHITECTURES, Architecture, MindGANSizes
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import read_json
from mind2mind.mindgan import MindGAN
from mind2mind.networks import channels
from mind2mind.unpickle import StoredTensor, WeightsFile

ALAE_SECTIONS = {
    "discriminator_s": "encoder.",
    "generator_s": "decoder.",
    "mapping_fl_s": "mapping_f.",
    "mapping_tl_s": "mapping_d.",
}
MINDGAN_SECTIONS = {"Generator": "generator.", "Critic": "critic."}
Shapes = Mapping[str, tuple[int, ...]]


def kind_of(file: WeightsFile) -> str:
    """`alae`, `mindgan` or `unknown`."""
    if isinstance(file.content.get("models"), Mapping):
        return "alae"
    return "mindgan" if set(MINDGAN_SECTIONS) <= set(file.content) else "unknown"


def alae_from(file: WeightsFile, architecture: Architecture | None = None) -> ALAE:
    """An ALAE from an official file: its averaged networks and mean code, float32 on the CPU.

    `architecture` is what it must be; None infers it.

    Raises:
        WeightsError: the file is not such an ALAE.
    """
    if kind_of(file) != "alae":
        what = "a MindGAN's file" if kind_of(file) == "mindgan" else "not an ALAE's file: it has no `models`"
        raise WeightsError(
            f"{file.path} is {what}.", "Give an official ALAE file, such as model_submitted.pth."
        )
    models = file.content["models"]
    stored = _sections(file.path, models, ALAE_SECTIONS)
    average = models.get("dlatent_avg")
    if isinstance(average, Mapping) and isinstance(average.get("buff"), StoredTensor):
        stored["w_avg"] = average["buff"]
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    try:
        found = infer_architecture(shapes)
    except (LookupError, ValueError, ConfigError) as error:
        if architecture is None:
            fix = "Name the architecture to see what is wrong, or give a complete ALAE checkpoint."
            raise WeightsError(f"{file.path}: its architecture cannot be told ({error!s}).", fix) from error
        found = None
    if architecture is None or (found and same_sizes(found, architecture)):
        fix = "Give a complete ALAE checkpoint; this one may be damaged or of a variant."
    else:
        fix = (
            f"Leave the architecture out, or name the right one; the file looks like {found or 'none known'}."
        )
    chosen = architecture or found
    assert chosen is not None
    with torch.device("meta"):
        alae = ALAE(chosen)
    check_shapes(alae, shapes | _cut(shapes, chosen), str(file.path), fix)
    tensors = file.tensors(stored)
    tensors["w_avg"] = tensors["w_avg"][: chosen.style_count]  # celeba-hq256 was trained with nine layers
    fill(alae, tensors, str(file.path), "cpu", fix)
    return alae


def _cut(shapes: Shapes, architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The mean code's shape once its rows beyond 2L are cut off."""
    shape = shapes.get("w_avg", ())
    return {"w_avg": (min(shape[0], architecture.style_count), *shape[1:])} if shape else {}


def mindgan_from(file: WeightsFile, parameters: Path | None = None) -> MindGAN:
    """A MindGAN from an official file, float32 on the CPU.

    `parameters` is the parameters.json that it must agree with; None takes the one beside it, if any.

    Raises:
        WeightsError: the file is no MindGAN, or does not agree with its parameters.
    """
    if kind_of(file) != "mindgan":
        what = "an ALAE's file" if kind_of(file) == "alae" else "not a MindGAN's file: it has no `Generator`"
        raise WeightsError(f"{file.path} is {what}.", "Give an official MindGAN file, such as model299.pth.")
    stored = _sections(file.path, file.content, MINDGAN_SECTIONS)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    beside = file.path.with_name("parameters.json")
    named = parameters or (beside if beside.exists() else None)
    z_dim, *generator_widths, latent_size = _widths(shapes, "generator.", file.path)
    _, *critic_widths, _ = _widths(shapes, "critic.", file.path)
    fix = "Give a complete MindGAN checkpoint, such as model299.pth."
    if named:
        z_dim, generator_widths, critic_widths = _read_parameters(named)
        fix = f"Give the parameters of this file ({named} is of another), or leave them out."
    try:
        sizes = MindGANSizes(
            latent_size=latent_size,
            z_dim=z_dim,
            generator_widths=tuple(generator_widths),
            critic_widths=tuple(critic_widths),
        )
        with torch.device("meta"):
            gan = MindGAN(sizes)
    except (ConfigError, TypeError) as error:
        raise WeightsError(f"{named or file.path} holds no sizes of a MindGAN: {error}.", fix) from error
    check_shapes(gan, shapes, str(file.path), fix)
    fill(gan, file.tensors(stored), str(file.path), "cpu", fix)
    return gan


def _sections(path: Path, content: Mapping[Any, Any], sections: Mapping[str, str]) -> dict[str, StoredTensor]:
    """The tensors of these sections under our own names."""
    missing = [name for name in sections if not isinstance(content.get(name), Mapping)]
    if missing:
        raise WeightsError(f"{path} lacks {', '.join(missing)}.", "Give a complete official checkpoint.")
    return {
        prefix + str(key): value
        for section, prefix in sections.items()
        for key, value in content[section].items()
        if isinstance(value, StoredTensor)
    }


def _widths(shapes: Shapes, prefix: str, path: Path) -> list[int]:
    """Numbers in and out of each layer of a perceptron."""
    pattern = re.compile(re.escape(prefix) + r"model\.(\d{1,3})\.weight")
    layers = sorted((int(m[1]), shape) for name, shape in shapes.items() if (m := pattern.fullmatch(name)))
    if not layers or any(len(shape) != 2 for _, shape in layers):
        raise WeightsError(
            f"{path} has no layers `{prefix}model.N.weight`.", "Give an official MindGAN file."
        )
    return [layers[0][1][1], *(shape[0] for _, shape in layers)]


def _read_parameters(path: Path) -> tuple[int, list[int], list[int]]:
    try:
        values = read_json(path)
        return values["z_dim"], list(values["hidden_generator_c"]), list(values["hidden_critic_c"])
    except (DataError, KeyError, TypeError) as error:
        fix = "Give the parameters.json that came with the MindGAN, or leave it out."
        raise WeightsError(f"{path} holds no parameters of a MindGAN: {error}.", fix) from error


def infer_architecture(shapes: Shapes) -> Architecture:
    """The sizes of the ALAE whose tensors have these shapes.

    Truncation is not in the file: it comes from the published architecture of these sizes, else from the
    reference's defaults.

    Raises:
        LookupError, ValueError, ConfigError: the names or shapes are not an ALAE's.
    """
    layers = [int(m[1]) for name in shapes if (m := re.match(r"encoder\.encode_block\.(\d{1,3})\.", name))]
    mappings = [int(m[1]) for name in shapes if (m := re.match(r"mapping_f\.map_blocks\.(\d{1,3})\.", name))]
    layer_count = max(layers, default=0) + 1
    start, image_channels = shapes["encoder.from_rgb.0.from_rgb.weight"][:2]
    inferred = Architecture(
        layer_count=layer_count,
        latent_size=shapes["mapping_d.map_blocks.0.weight"][1],
        start_channels=start,
        max_channels=shapes[f"encoder.encode_block.{layer_count - 1}.conv_2.weight"][0],
        mapping_layers=max(mappings, default=0) + 1,
        image_channels=image_channels,
    )
    return next((a for a in ARCHITECTURES.values() if same_sizes(a, inferred)), inferred)


def same_sizes(a: Architecture, b: Architecture) -> bool:
    """Whether the networks are the same: truncation aside, and max_channels where it is not reached."""

    def sizes(x: Architecture) -> tuple[Any, ...]:
        widths = channels(x.layer_count, x.start_channels, x.max_channels)
        return (widths, x.latent_size, x.mapping_layers, x.image_channels)

    return sizes(a) == sizes(b)


def check_shapes(module: nn.Module, shapes: Shapes, name: str, fix: str) -> None:
    """Raises a WeightsError that lists what is missing, unexpected or of another shape, five of each."""
    wanted = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    wrong = [f"{k} {shapes[k]} for {wanted[k]}" for k in wanted if k in shapes and shapes[k] != wanted[k]]
    complaints = {
        "missing": [key for key in wanted if key not in shapes],
        "unexpected": [key for key in shapes if key not in wanted],
        "of wrong shape": wrong,
    }
    listed = "; ".join(f"{what}: {first(keys)}" for what, keys in complaints.items() if keys)
    if listed:
        raise WeightsError(f"{name} does not fit. {listed[0].upper()}{listed[1:]}.", fix)


def fill(
    module: nn.Module, tensors: dict[str, Tensor], name: str, device: torch.device | str, fix: str
) -> None:
    """Gives a module built on the meta device its weights: float32 on `device`, evaluated and not trained.

    Building on `meta` draws no random numbers, so that loading leaves torch's global generator alone.
    """
    check_shapes(module, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, name, fix)
    if bad := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise WeightsError(f"{name} holds weights that are not finite numbers: {first(bad)}.", fix)
    coefficients = {key: vars(parameter).copy() for key, parameter in module.named_parameters()}
    own = {key: tensor.to(device, torch.float32) for key, tensor in tensors.items()}  # read for us alone
    module.load_state_dict(own, assign=True)
    for key, parameter in module.named_parameters():
        vars(parameter).update(coefficients[key])  # `lr_coef`, for those who train on
    module.eval().requires_grad_(False)


def first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
