"""A model bundle as one zip: packed for download, unpacked with distrust, and taken into the home.

Only the known names are read, each up to a size of its own; nothing is extracted by a name from the zip, so
neither paths nor sizes in it are believed. The preview is not taken over: whoever opens the bundle draws it.
"""

import json
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from mind2mind import gallery
from mind2mind.cards import CARD, CONFIG, PARTS, PREVIEW, WEIGHTS
from mind2mind.errors import WeightsError
from mind2mind.files import atomic
from mind2mind.home import OPENED, new_token
from mind2mind.library import Library

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bundle gives the same bytes
_CAPS = {CONFIG: 1_000_000, CARD: 1_000_000, WEIGHTS: 200_000_000}  # bytes


def zip_at(path: Path) -> Path:
    """The path, which gets the ending .zip where it is missing."""
    return path if path.suffix.lower() == ".zip" else path.with_name(path.name + ".zip")


def pack(folder: Path, path: Path) -> Path:
    """Writes the bundle in `folder` to a zip at `path`; the ending .zip is added where it is missing."""
    path = zip_at(path)
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PARTS:
            if (folder / name).exists():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, (folder / name).read_bytes())
    return path


def take_in(library: Library, path: Path) -> str:
    """Opens an exported transfer, a zip or a folder; gives the token that it is known by from now on.

    Raises:
        WeightsError: it is none, damaged, or its source is not here.
    """
    token = new_token()
    folder = library.home / OPENED / token
    try:
        unpack(path, folder)
        model = library.model(token)
        if model.kind != "transfer":
            raise WeightsError(
                f"'{model.card.id}' is a source, not a transfer.", "Give its folder as the model."
            )
        gallery.save_sheet(model, folder / PREVIEW)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, WeightsError):  # names what was given, not where it was unpacked
            raise WeightsError(error.problem.replace(str(folder), path.name), error.fix) from error
        raise
    return token


def unpack(source: Path, folder: Path) -> None:
    """Copies a bundle from a zip, or from a folder, into `folder`; it is not checked further here.

    Raises:
        WeightsError: no zip, damaged, without a bundle in it, or too large.
    """
    found = _from_folder(source) if source.is_dir() else _from_zip(source)
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in found]:
        raise WeightsError(
            f"{source.name} holds no {' and no '.join(missing)}.",
            "Give a model that was exported here: a zip or a folder with both of them.",
        )
    try:
        json.loads(found[CONFIG])
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{CONFIG} in {source.name} is damaged.", "Export or download it again."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)


def _from_folder(source: Path) -> dict[str, bytes]:
    found = {}
    for name, cap in _CAPS.items():
        path = source / name
        if path.is_file():
            if path.stat().st_size > cap:
                raise _too_large(name, cap)
            found[name] = path.read_bytes()
    return found


def _from_zip(source: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                name = PurePosixPath(entry.filename).name  # a folder around the bundle is fine
                if name in _CAPS and name not in found:
                    with archive.open(entry) as member:
                        found[name] = member.read(_CAPS[name] + 1)
                    if len(found[name]) > _CAPS[name]:
                        raise _too_large(name, _CAPS[name])
    except WeightsError:
        raise
    except Exception as error:  # a damaged or hostile zip may raise anything
        raise WeightsError(
            f"{source.name} is no whole zip file: {error}.", "Export or download it again."
        ) from error
    return found


def _too_large(name: str, cap: int) -> WeightsError:
    return WeightsError(f"{name} is larger than {cap:,} bytes.", "No model made here is so large.")
