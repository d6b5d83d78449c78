"""LREQAdam: the optimiser of ALAE's equalised learning rate.

The stored weights are the effective ones; what StyleGAN does by scaling them in the forward pass is here a
factor of each parameter's step, its `lr_coef` (set in `layers`, 1 where it is missing). Reference: custom_adam.py.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mind2mind.errors import ConfigError


class LREQAdam(torch.optim.Optimizer):
    """Adam without its first moment: p -= lr * lr_coef * sqrt(1 - beta2**t) * g / (sqrt(v) + eps).

    A parameter whose gradient is None is skipped; one of zeros lets v decay and t count, without moving the
    parameter. State of each parameter: `step` (t, on the CPU) and `exp_avg_sq` (v).

    Args:
        params: parameters or groups of them, as of any optimiser of torch.
        betas: (0, beta2).

    Raises:
        ConfigError: beta1 is not 0.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1.5e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        eps: float = 1e-8,
    ) -> None:
        if betas[0] != 0:
            raise ConfigError(f"LREQAdam has no first moment, and beta1 is {betas[0]}.", "Set beta1 to 0.")
        super().__init__(params, {"lr": lr, "beta2": betas[1], "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._move(moved, group["lr"], group["beta2"], group["eps"])
        return loss

    def _move(self, parameters: list[Tensor], lr: float, beta2: float, eps: float) -> None:
        sizes = []
        for p in parameters:
            state = self.state[p]
            if not state:
                state["step"], state["exp_avg_sq"] = torch.zeros(()), torch.zeros_like(p)
            state["step"] += 1
            sizes.append(-lr * getattr(p, "lr_coef", 1.0) * (1 - beta2 ** state["step"].item()) ** 0.5)
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        squares: list[Tensor] = [self.state[p]["exp_avg_sq"] for p in parameters]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, eps)
        torch._foreach_addcdiv_(parameters, gradients, roots, sizes)
