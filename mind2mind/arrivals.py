"""What has been fetched becomes a bundle of ours: converted, with a card and a preview."""

import logging
import shutil
from pathlib import Path

from PIL import Image

from mind2mind import gallery
from mind2mind.cards import Card
from mind2mind.checkpoints import Model, convert
from mind2mind.config import ARCHITECTURES
from mind2mind.fetch import Fetched
from mind2mind.images import grid, save_png
from mind2mind.remote import Remote, folder_name
from mind2mind.submitted import take_out

log = logging.getLogger(__name__)

PREVIEWED, PREVIEW_SIDE = 4, 256  # pictures, and pixels of each at most
PREVIEW_MOST = 8192  # pixels a side of one that comes with a model


def convert_official(remote: Remote, fetched: Fetched, parts: Path, source: Model | None) -> Path:
    """The bundle of a fetched file, in a folder in `parts`; a MindGAN's zip needs its source.

    Raises:
        WeightsError: the file is not what the table says.
        DataError: the disk is full.
    """
    bundle = parts / folder_name(remote.id)
    shutil.rmtree(bundle, ignore_errors=True)  # of a conversion that was broken off
    notes = f"Converted from {remote.url} ({fetched.bytes:,} bytes, SHA-256 {fetched.sha256})."
    notes = f"{remote.notes} {notes}".strip()
    card = Card(remote.id, remote.title, remote.knows, remote.credit, remote.licence, notes=notes)
    if source is None:
        architecture = ARCHITECTURES[remote.architecture] if remote.architecture else None
        return convert(fetched.path, bundle, architecture=architecture, card=card)
    weights, parameters = take_out(fetched.path, parts)
    return convert(weights, bundle, parameters=parameters, card=card, source=source)


def check_preview(path: Path) -> None:
    """Deletes a preview that is no ordinary PNG: the page shows it."""
    if not path.exists():
        return
    try:
        with Image.open(path, formats=["PNG"]) as image:
            fine = max(image.size) <= PREVIEW_MOST
            if fine:
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        fine = False
    if not fine:
        path.unlink()


def draw_preview(model: Model, path: Path) -> None:
    """Draws one for a model that has none; what it shows is small, since a 1024 px picture takes a while."""
    if path.exists():
        return
    psi = model.alae.architecture.truncation_psi if model.kind == "source" else 1.0
    try:
        pictures = gallery.sample(model, range(PREVIEWED), psi, "random")
        for picture in pictures:
            picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        meta = gallery.provenance(model, seeds=f"0-{PREVIEWED - 1}", psi=psi, noise="random")
        save_png(grid(pictures), path, meta)
    except (RuntimeError, MemoryError) as error:  # too little memory for it: the model is here all the same
        log.warning("The preview of %s could not be drawn: %s", model.card.id, error)
