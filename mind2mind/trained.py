"""What a run has learnt so far: its generators, out of the files that the training keeps in its folder."""

from pathlib import Path
from typing import Any

import torch

from mind2mind.config import MindGANSizes
from mind2mind.errors import WeightsError
from mind2mind.files import load_tensors
from mind2mind.learner import BEST, LAST
from mind2mind.mindgan import MindGAN, Perceptron


def exported(folder: Path) -> tuple[Perceptron, MindGANSizes, dict[str, Any]]:
    """The run's best generator (z -> w of the source), its sizes and how good it is.

    Raises:
        WeightsError: the run has saved none yet.
    """
    if not (folder / BEST).exists():
        raise WeightsError(
            f"The run in {folder} has saved no generator yet.", "Let it train a little longer."
        )
    tensors, meta = load_tensors(folder / BEST)
    sizes = MindGANSizes.from_dict(meta["sizes"])
    with torch.device("meta"):
        g = MindGAN(sizes).generator
    g.load_state_dict(tensors, assign=True)
    return g.eval(), sizes, meta


def current(folder: Path) -> tuple[Perceptron, MindGANSizes, int]:
    """The averaged generator as the run saved it last, its sizes, and of which step it is.

    While it trains that is every SAVE_SECONDS; before the first time it is the best one so far.

    Raises:
        WeightsError: the run has saved none yet.
    """
    if not (folder / LAST).exists():
        g, sizes, meta = exported(folder)
        return g, sizes, meta["step"]
    tensors, meta = load_tensors(folder / LAST)
    try:
        sizes = MindGANSizes.from_dict(meta["sizes"])
        g = MindGAN(sizes).generator
        with torch.no_grad():
            for i, parameter in enumerate(g.parameters()):
                parameter.copy_(tensors[f"average.{i}"])
        g.fold_affine(tensors["mean"], tensors["std"])
    except (KeyError, RuntimeError) as error:
        fix = "Resume the run: it is saved again."
        raise WeightsError(f"{folder / LAST} is damaged, or of an earlier version.", fix) from error
    return g.eval(), sizes, meta["step"]
