"""Files to hand out: made in folders that Gradio may serve, and forgotten with what they were made of."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL.Image import Image

from mind2mind.images import grid, save_png
from mind2mind.ui.common import PRIVATE

SAVE = """(file) => { if (!file) return; const link = document.createElement('a');
  link.href = file.url; link.download = file.orig_name || ''; link.click(); }"""  # JavaScript


def fresh(name: str, ref: str) -> Path:
    """A path of that name in a new folder among the files that Gradio may hand out; `ref` made it."""
    made = Path(get_upload_folder()) / "made"
    made.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_mark(ref), dir=made)) / name


def once(name: str, ref: str, version: str) -> Path:
    """A path of that name, the same for this version of what `ref` made: a file there need not be made again."""
    own = hashlib.sha256(f"{ref} {version}".encode()).hexdigest()[:16]
    folder = Path(get_upload_folder()) / "made" / f"{_mark(ref)}{own}"
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # tidied up by age
    return folder / name


def forget_made(ref: str) -> None:
    """Deletes the files that were made for download with this model."""
    for folder in (Path(get_upload_folder()) / "made").glob(f"{_mark(ref)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _mark(ref: str) -> str:
    return hashlib.sha256(ref.encode()).hexdigest()[:16] + "-"  # a token opens a run: it is in no address


def save_pictures(images: Sequence[Image], stem: str, ref: str) -> list[Path]:
    """Each picture as a PNG that says in itself which model and seed made it."""
    folder = fresh("x", ref).parent
    paths = [folder / f"{stem}-{image.info.get('seed', i)}.png" for i, image in enumerate(images)]
    for image, path in zip(images, paths, strict=True):
        save_png(image, path, _meta(image))
    return paths


def save_sheet(images: Sequence[Image], stem: str, ref: str) -> Path:
    """All pictures in one PNG."""
    path = fresh(f"{stem}.png", ref)
    save_png(grid(images), path, _meta(images[0]) | {"count": str(len(images))})
    return path


def save_zip(paths: Sequence[Path], stem: str, ref: str) -> Path:
    """Files in one zip, stored: PNGs do not get smaller."""
    path = fresh(f"{stem}.zip", ref)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in paths:
            archive.write(file, file.name)
    return path


def _meta(image: Image) -> dict[str, str]:
    return {str(k): v for k, v in image.info.items() if isinstance(v, str)}


class OnDemand:
    """A button that has a file made when it is pressed, and saves it in the same click."""

    def __init__(self, label: str, elem_id: str) -> None:
        self.button = gr.Button(label, elem_id=elem_id)
        self.file = gr.DownloadButton(visible=False, elem_id=f"{elem_id}-file")

    def wire(self, make: Callable[..., Any], inputs: Any, **settings: Any) -> None:
        """`make` gives the file, or the button that offers it once more."""
        made = self.button.click(make, inputs, self.file, show_progress_on=self.button, **PRIVATE, **settings)
        made.success(None, self.file, js=SAVE, **PRIVATE)
