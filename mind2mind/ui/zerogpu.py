"""ZeroGPU lends a GPU for the length of a call to functions it can see; elsewhere this file does nothing.

Such a Space refuses to start without one function under `spaces.GPU`. Whatever runs a network that encodes or
decodes goes through `gpu`; training does not, since its two small networks run on the CPU. A call runs in a
process of its own and is sent to and fro by pickle: plain values only, never Gradio's components.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

SECONDS = 60  # asked for per call: a visitor without an account has two minutes a day
CHECK_SECONDS, CHECK_BYTES = 120, 20_000_000  # to check more than so many bytes of pictures


def gpu(function: F, seconds: int | Callable[..., int] = SECONDS) -> F:
    """`function` under `spaces.GPU` on ZeroGPU, `function` itself anywhere else.

    Args:
        function: takes and gives what pickle can carry. Under `spaces.GPU` its errors are told, since only
            those of Gradio come back in words.
        seconds: the GPU time to ask for, or a function of the arguments that gives it.
    """
    if not on_zerogpu():
        return function
    decorated: F = importlib.import_module("spaces").GPU(duration=seconds)(_telling(function))
    return decorated


def check_seconds(pictures: Any, *_: Any, **__: Any) -> int:
    """The GPU time to ask for to check these uploads."""
    files = [pictures] if isinstance(pictures, str) else pictures or ()
    return CHECK_SECONDS if sum(Path(f).stat().st_size for f in files) > CHECK_BYTES else SECONDS


def _telling(function: Callable[..., Any]) -> Callable[..., Any]:
    from mind2mind.ui.common import (
        told,
    )  # not above: gradio comes after its environment, torch after `spaces`

    @functools.wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        with told():
            return function(*args, **settings)

    @functools.wraps(function)
    def stream(*args: Any, **settings: Any) -> Iterator[Any]:
        with told():
            yield from function(*args, **settings)

    return stream if inspect.isgeneratorfunction(function) else call


def on_zerogpu() -> bool:
    """Whether this is a ZeroGPU Space with the package `spaces`."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "true", "yes"):
        return False
    try:
        importlib.import_module("spaces")
    except ImportError:
        return False
    return True
