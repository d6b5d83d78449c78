"""The command line: the table of commands, assembled into one typer app."""

import typer

from mind2mind.cli import models, pictures
from mind2mind.cli import models as data
from mind2mind.cli import models as pretraining
from mind2mind.cli import pictures as reading
from mind2mind.cli import runs as results
from mind2mind.cli import runs as training
from mind2mind.cli import system as doctor
from mind2mind.cli import system as serve
from mind2mind.cli.terminal import Command, Commands

COMMANDS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    ("Pictures", (pictures.sample, pictures.interpolate, reading.reconstruct, reading.encode)),
    ("Training", (training.transfer, pretraining.pretrain)),
    ("Results", (results.runs, results.result, results.publish)),
    ("Models and data", (models.models, models.download, data.convert, data.make_data)),
    ("Around it", (serve.app, doctor.doctor)),
)
HELP = """Mind2Mind turns a folder of pictures into a generator of new pictures like them.

COMMAND --help shows examples. Results go to stdout, everything else to stderr.
Exit codes: 0 done, 1 a fault of ours, 2 wrong use or bad input, 130 stopped with the work kept.
"""


def build() -> typer.Typer:
    """The app with all commands."""
    app = typer.Typer(
        cls=Commands,
        help=HELP,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a fault of ours shows Python's own traceback
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    for panel, commands in COMMANDS:
        for command in commands:
            app.command(command.name, epilog=command.epilog, rich_help_panel=panel)(command.function)
    return app
