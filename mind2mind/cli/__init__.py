"""The command line: `commands`, a typer app, to which each module here adds the commands that it defines."""

from mind2mind.cli import pictures, runs, models, system  # noqa: F401, I001 - in the order of the help
from mind2mind.cli.terminal import commands

__all__ = ["commands"]
