"""The zip in which MindGAN's authors published it: its weights and its parameters are taken out, nothing else.

Both get names of our own, and are cut off at sizes of our own: neither paths nor sizes in the zip are believed.
"""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mind2mind.errors import WeightsError
from mind2mind.files import atomic

FOLDER = "submitted"
NAMES = ("model299.pth", "model_299.pth")  # the authors' name, and the one their code writes
PARAMETERS = "parameters.json"
MOST_WEIGHTS, MOST_PARAMETERS = 500_000_000, 1_000_000  # bytes; a MindGAN with its optimisers has some 12 MB


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
