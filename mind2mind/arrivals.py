"""What has been fetched becomes a bundle of ours: taken out of its zip, converted, with a card and a preview.

MindGAN's authors published a zip: its weights and its parameters are taken out, nothing else. Both get names of
our own, and are cut off at sizes of our own: neither paths nor sizes in the zip are believed.
"""

import logging
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from PIL import Image

from mind2mind import gallery
from mind2mind.cards import Card
from mind2mind.checkpoints import Model
from mind2mind.config import ARCHITECTURES
from mind2mind.convert import convert
from mind2mind.errors import WeightsError
from mind2mind.fetch import Fetched
from mind2mind.files import atomic
from mind2mind.images import grid, save_png
from mind2mind.remote import Remote, folder_name

log = logging.getLogger(__name__)

PREVIEWED, PREVIEW_SIDE = 4, 256  # pictures, and pixels of each at most
PREVIEW_MOST = 8192  # pixels a side of one that comes with a model
FOLDER = "submitted"
NAMES = ("model299.pth", "model_299.pth")  # the authors' name, and the one their code writes
PARAMETERS = "parameters.json"
MOST_WEIGHTS, MOST_PARAMETERS = 500_000_000, 1_000_000  # bytes; a MindGAN with its optimisers has some 12 MB


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


def take_out(archive: Path, folder: Path) -> tuple[Path, Path | None]:
    """Writes the MindGAN in `archive` into `folder`; gives the paths of its weights and of its parameters.

    Raises:
        WeightsError: it is no whole zip, holds no MindGAN, or one that is too large.
        DataError: the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            weights = _weights(opened, archive)
            beside = str(PurePosixPath(weights).parent / PARAMETERS)
            target = folder / NAMES[0]
            _copy(opened, weights, target, MOST_WEIGHTS)
            if beside not in opened.namelist():
                return target, None
            _copy(opened, beside, folder / PARAMETERS, MOST_PARAMETERS)
            return target, folder / PARAMETERS
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        UnicodeError,
        ValueError,
    ) as error:
        problem = f"{archive.name} is no whole zip file: {error}."  # RuntimeError: it has a password
        raise WeightsError(problem, "Download it again.") from error


def _weights(opened: zipfile.ZipFile, archive: Path) -> str:
    """The name in the zip of the weights: those in a folder called `submitted`, or the only ones."""
    found = [name for name in opened.namelist() if name.endswith(".pth") and "__MACOSX" not in name]
    submitted = [name for name in found if FOLDER in PurePosixPath(name).parts]
    named = [name for name in submitted if PurePosixPath(name).name in NAMES]
    for choice in (named, submitted, found):
        if len(choice) == 1:
            return choice[0]
    listed = f"{len(found)} .pth files, of which {len(submitted)} in a folder '{FOLDER}'"
    raise WeightsError(
        f"{archive.name} holds {listed}: which is the MindGAN cannot be told.",
        "Unpack it, and give the file to `mind2mind convert --source ffhq`.",
    )


def _copy(opened: zipfile.ZipFile, name: str, target: Path, most: int) -> None:
    with atomic(target) as temporary, opened.open(name) as member, temporary.open("wb") as file:
        size = 0
        try:
            while chunk := member.read(1 << 20):
                size += len(chunk)
                if size > most:
                    problem = f"{PurePosixPath(name).name} in the zip is larger than {most:,} bytes."
                    raise WeightsError(problem, "No MindGAN is so large.")
                file.write(chunk)
        except zlib.error as error:
            raise zipfile.BadZipFile(str(error)) from error


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
