"""The web app. The only folder that imports gradio, and not before its environment is set.

Gradio reads where its files lie, and whether it may call home, when it is imported.
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from mind2mind.config import LOCAL, PUBLIC

if TYPE_CHECKING:
    import gradio as gr

    from mind2mind.studio import Studio

HOST = "127.0.0.1"


def make_studio(public: bool = False) -> "Studio":
    """The studio with the limits of this door: on Spaces they are always the public ones."""
    from mind2mind.ui.shared import on_zerogpu

    on_zerogpu()  # imports `spaces` there, which must come before anything touches the GPU
    from mind2mind.studio import Studio

    return Studio(limits=PUBLIC if public or "SPACE_ID" in os.environ else LOCAL)


def make_demo(studio: "Studio") -> "gr.Blocks":
    """The page over the studio."""
    set_environment(studio.home)
    from mind2mind.ui.page import build

    return build(studio)


def launch(demo: "gr.Blocks", studio: "Studio", host: str = HOST, port: int | None = None) -> None:
    """Serves the page until the process ends; another host than loopback is warned of.

    Without a port it takes the first free one from 7860 on.
    """
    from mind2mind.ui.page import serve

    serve(demo, studio, host, port)


def set_environment(home: Path) -> None:
    """No request to anywhere; files of Gradio in a folder of this process, those of dead ones wiped."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if "SPACE_ID" not in os.environ:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = (
        home / "gradio" / str(os.getpid())
    )  # outside of the working directory, or dotfiles stop an upload
    for old in (home / "gradio").glob("*"):
        if not (old.name.isdigit() and psutil.pid_exists(int(old.name))) or old == folder:
            shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
