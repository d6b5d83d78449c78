"""The web app: `python app.py`, then open http://127.0.0.1:7860. On Hugging Face Spaces it is the Space."""

import argparse
import logging
import os
import sys

from mind2mind.errors import Mind2MindError
from mind2mind.ui import HOST, launch

parser = argparse.ArgumentParser(description="Mind2Mind in the browser")
parser.add_argument("--host", default="0.0.0.0" if "SPACE_ID" in os.environ else HOST)
parser.add_argument("--port", type=int, help="7860 or the next free one if not given")
parser.add_argument(
    "--public", action="store_true", help="the limits for visitors who do not know each other"
)
options = parser.parse_args()

logging.basicConfig(format="%(message)s")
logging.getLogger("mind2mind").setLevel(logging.INFO)

try:
    launch(options.host, options.port, options.public)
except Mind2MindError as error:
    sys.exit(f"error: {error}")
