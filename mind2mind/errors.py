"""The one family of errors a user may meet. Each names the fact and the remedy."""

import contextlib
import errno
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


class FaultError(Mind2MindError):
    """A fault of the program, which no user can mend."""


FULL = errno.ENOSPC, errno.EDQUOT
ROOM = "Make room, or choose another folder (MIND2MIND_HOME is that of runs and downloads)."
_RIGHTS = "Choose a folder that you may write to (MIND2MIND_HOME is that of runs and downloads)."
_THERE = "Check that the disk, or the network that it is on, is still there."
_REMEDIES = dict.fromkeys(FULL, ROOM) | {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR), _RIGHTS),
    **dict.fromkeys((errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN), _THERE),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Close other programs, or allow more: `ulimit -n 4096`."),
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.ENOENT: "Check the path; it may have been deleted meanwhile.",
}


def in_words(error: Exception, what: str = "") -> Mind2MindError:
    """An error of any kind as fact and remedy; one that is nobody's but ours becomes a `FaultError`.

    `what` is the beginning of the sentence on a refusal of the system; empty is the file's name.
    """
    if isinstance(error, Mind2MindError):
        return error
    if isinstance(error, OSError) and not isinstance(error, ConnectionError) and (error.errno or what):
        fact = "the disk is full" if error.errno in FULL else error.strerror or str(error)
        subject, fix = what or error.filename, "Choose another path, or make room."
        problem = f"{subject}: {fact}." if subject else f"{fact[:1].upper()}{fact[1:]}."
        return DataError(problem, _REMEDIES.get(error.errno or 0, fix))
    if isinstance(error, MemoryError):
        return DataError("The memory is full.", "Close other programs, or use fewer or smaller pictures.")
    fix = "This is a fault of the program: its log has the details."
    return FaultError(f"{type(error).__name__}: {error}.", fix)


def one_of(what: str, name: str, choices: Iterable[str]) -> str:
    """The name, which is one of the choices.

    Raises:
        ConfigError: it is none of them, or anything else: it may come from anywhere.
    """
    if name not in tuple(choices):
        raise ConfigError(f"There is no {what} {str(name)[:80]!r}.", f"Choose one of {', '.join(choices)}.")
    return name
