"""`python -m mind2mind`: the command line."""

import logging
import sys


def main() -> None:
    """Runs the command of `sys.argv`."""
    from mind2mind.cli import commands

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names that the terminal cannot show must not stop anything
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s")
    commands()


if __name__ == "__main__":
    main()
