"""An ALAE in training: its weights, their average, the optimisers' state, and the checkpoint of it all.

What a step does is the affair of `pixelwise` and `adversarial`; `pretrain` drives either. Everything random
in step s is drawn from generators seeded by (seed, s), and schedules depend on the pictures seen alone, so
that what is saved is all that a resumed training needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mind2mind.alae import ALAE
from mind2mind.config import PaperRecipe, PretrainRecipe
from mind2mind.errors import TrainingError
from mind2mind.files import load_tensors, save_tensors


class Trainee(ABC):
    """Common to all recipes.

    Args:
        alae: the network, already on its device; trained in place.
        trained: the parameters that move, by name; their average is what comes of the training.
        optimisers: of disjoint parts of them.
        recipe: its name goes into the checkpoint.
        seed: of all that is random.
    """

    losses: Sequence[str]  # names of what `advance` returns

    def __init__(
        self,
        alae: ALAE,
        trained: Mapping[str, nn.Parameter],
        optimisers: Sequence[torch.optim.Optimizer],
        recipe: PretrainRecipe | PaperRecipe,
        seed: int,
    ) -> None:
        self.alae, self.trained, self.seed, self.recipe_name = alae, dict(trained), seed, recipe.name
        self.device = alae.w_avg.device
        owner = {id(p): o for o in optimisers for group in o.param_groups for p in group["params"]}
        self.optimisers = {name: owner[id(parameter)] for name, parameter in self.trained.items()}
        self.step = self.seen = 0  # batches and pictures
        self.average = {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    @abstractmethod
    def advance(self, pictures: Tensor) -> Tensor:
        """One step on a batch of uint8 pictures (N, C, H, W) of full size; the losses, still on the device."""

    def stages(self) -> list[tuple[float, int]]:
        """Parts whose steps differ in cost: their share of all pictures, and the number seen at a time in each."""
        return [(1.0, 0)]

    def work(self, seen: int) -> float:
        """What the first `seen` pictures cost, in any unit: the time left is told by it."""
        return seen

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Full-size pictures in [-1, 1] as the network now sees them, and its reconstructions, without noise."""
        return x, self.alae.reconstruct(x)

    def samples(self, count: int) -> Tensor | None:
        """(count, C, H, W) of the same z at each call, of the size that is trained; None if F is not trained."""
        return None

    def forget(self, beta: float) -> None:
        """The average keeps `beta` of itself and takes the rest from the weights."""
        now = [parameter.detach() for parameter in self.trained.values()]
        torch._foreach_lerp_(list(self.average.values()), now, 1 - beta)

    def swap(self) -> None:
        """Exchanges the weights with their average; twice is nothing."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                now = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(now)

    def save(self, path: Path) -> None:
        """Writes the checkpoint; its meta data hold `kimg`, the thousands of pictures seen."""
        tensors = {f"weights.{name}": value for name, value in self.alae.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in self.average.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimisers[name].state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        save_tensors(path, tensors, self._meta())

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint.

        Raises:
            TrainingError: it is of another architecture or recipe.
            WeightsError: it cannot be read.
        """
        tensors, meta = load_tensors(path)
        try:
            self._restore_meta(meta)
            self._restore(tensors)
        except (RuntimeError, KeyError) as error:
            raise TrainingError(
                f"{path} is of another architecture or recipe: {error}.",
                "Resume with what it was begun with.",
            ) from error

    def _meta(self) -> dict[str, Any]:
        kept = {"step": self.step, "seed": self.seed, "kimg": self.seen / 1000}
        return kept | {"losses": list(self.losses), "recipe": self.recipe_name}

    def _restore_meta(self, meta: dict[str, Any]) -> None:
        if meta["losses"] != list(self.losses):
            raise RuntimeError(f"it minimises {', '.join(meta['losses'])}")
        if meta.get("recipe", self.recipe_name) != self.recipe_name:  # the first checkpoints do not say
            raise RuntimeError(f"its recipe is {meta['recipe']}, not {self.recipe_name}")
        self.step, self.seed, self.seen = meta["step"], meta["seed"], round(meta["kimg"] * 1000)

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        prefix = "weights."
        self.alae.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        for name, value in self.average.items():
            value.copy_(tensors[f"ema.{name}"])
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "adam":
                slot, _, name = rest.partition(".")
                parameter, optimiser = self.trained[name], self.optimisers[name]
                optimiser.state[parameter][slot] = _placed(value, parameter, optimiser)


def _placed(value: Tensor, parameter: nn.Parameter, optimiser: torch.optim.Optimizer) -> Tensor:
    """A saved slot of an optimiser where that optimiser wants it."""
    if value.shape == parameter.shape:
        return torch.empty_like(parameter).copy_(value)  # in the parameter's memory format
    return value.to(parameter.device) if optimiser.defaults.get("fused") else value
