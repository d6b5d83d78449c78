"""`python -m mind2mind`: the command line."""

import logging
import os
import sys

SPINS = "2000"  # of torch's threads that wait for each other; by default they keep a core that others need


def main() -> None:
    """Runs the command of `sys.argv`."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # on Linux; before torch is loaded
    from mind2mind.cli import commands

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names that the terminal cannot show must not stop anything
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s")
    commands()


if __name__ == "__main__":
    main()
