"""ZeroGPU lends a GPU for the length of a call to functions it can see; elsewhere this file does nothing.

Such a Space refuses to start without one function under `spaces.GPU`. The calls that encode or decode carry
`gpu`; training does not, since its two small networks run on the CPU.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

SECONDS = 60  # asked for per call: a visitor without an account has two minutes a day


def gpu(function: F) -> F:
    """`function` under `spaces.GPU` on ZeroGPU, `function` itself anywhere else."""
    if not on_zerogpu():
        return function
    decorated: F = importlib.import_module("spaces").GPU(duration=SECONDS)(function)
    return decorated


def on_zerogpu() -> bool:
    """Whether this is a ZeroGPU Space with the package `spaces`."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "true", "yes"):
        return False
    try:
        importlib.import_module("spaces")
    except ImportError:
        return False
    return True
