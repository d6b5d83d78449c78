"""`python -m mind2mind`: the command line."""

import logging
import os
import sys


def main() -> None:
    """Runs the command of `sys.argv`."""
    from mind2mind.cli import commands

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names that the terminal cannot show must not stop anything
            stream.reconfigure(errors="backslashreplace")
    for name in ("no_proxy", "NO_PROXY"):  # httpx takes an IPv6 address only without its brackets
        if name in os.environ:
            os.environ[name] = os.environ[name].translate({ord("["): None, ord("]"): None})
    logging.basicConfig(format="%(message)s")
    commands()


if __name__ == "__main__":
    main()
