"""The web app: `python app.py`, the same as `python -m mind2mind app`. On Hugging Face Spaces it is the Space."""

import sys

if __name__ == "__main__":
    from mind2mind.__main__ import main

    sys.argv.insert(1, "app")
    main()
