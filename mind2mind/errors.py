"""The one family of errors a user may meet. Each names the fact and the remedy."""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path


def _interpreter() -> str:
    """`.venv/bin/python` where the interpreter that runs lies below the current folder, else `python`."""
    with contextlib.suppress(OSError, ValueError):  # there is no current folder any more; not below it
        return str(Path(sys.executable).relative_to(Path.cwd()))
    return "python"


# How remedies and examples call the command line, and what installs packages for it: to be pasted
COMMAND, PIP = f"{_interpreter()} -m mind2mind", f"{_interpreter()} -m pip install"


class Mind2MindError(Exception):
    """Something the user can mend.

    Args:
        problem: the fact, with the values that matter ("The picture has 900 megapixels, more than 100").
        fix: the remedy ("Make it smaller."). It is required: an error without a remedy cannot be written.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)  # both in args, so that it survives pickling between processes
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem} {self.fix}"


class ConfigError(Mind2MindError):
    """A number or a name makes no sense."""


class WeightsError(Mind2MindError):
    """A weights file is missing, damaged, of another network, or not safe to open."""


class DataError(Mind2MindError):
    """A picture, a folder or a file of codes cannot be used."""


class TrainingError(Mind2MindError):
    """A training run diverged or cannot begin."""


class RunError(Mind2MindError):
    """A run does not exist, is busy, or may not be touched now."""


def one_of(what: str, name: str, choices: Iterable[str]) -> str:
    """The name, which is one of the choices.

    Raises:
        ConfigError: it is none of them, or anything else: it may come from anywhere.
    """
    if name not in tuple(choices):
        raise ConfigError(f"There is no {what} {str(name)[:80]!r}.", f"Choose one of {', '.join(choices)}.")
    return name
