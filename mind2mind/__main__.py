"""`python -m mind2mind`: the command line."""

import sys


def main() -> None:
    """Runs the command of `sys.argv`."""
    from mind2mind.cli import build

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names that the terminal cannot show must not stop anything
            stream.reconfigure(errors="backslashreplace")
    build()()


if __name__ == "__main__":
    main()
