"""What there is to read in folders, zips and single files: names, sizes and where."""

import os
import stat
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mind2mind.errors import DataError


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: on disk, or the member of a zip. One with a refusal is not read."""

    name: str
    path: Path
    size: int = 0  # bytes
    member: zipfile.ZipInfo | None = None
    refusal: str = ""


def files_of(sources: Sequence[Path], taken: Collection[str] = ()) -> list[File]:
    """The files of all sources, hidden ones left out; by name within each source, none of them `taken`.

    Raises:
        DataError: a source is missing or no zip.
    """
    return _unique([file for source in sources for file in _list(Path(source), len(sources) > 1)], taken)


def _list(source: Path, prefixed: bool) -> list[File]:
    """The files of one source, hidden ones left out, by name."""
    try:
        mode = source.stat().st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"{source} cannot be opened: {_why(error)}.", "Check the path.") from error
    prefix = f"{source.name}/" if prefixed else ""
    if stat.S_ISDIR(mode):
        return sorted(_walk(source, prefix), key=lambda file: file.name)
    if source.suffix.lower() == ".zip":
        return sorted(_members(source, prefix), key=lambda file: file.name)
    return [] if _hidden(source.name) else [File(_shown(source.name), source, source.stat().st_size)]


def _walk(folder: Path, prefix: str) -> Iterator[File]:
    """Every file below a folder; links are followed, each folder is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [(folder, prefix)]
    while waiting:
        here, name = waiting.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(here))
        except OSError as error:
            yield File(_shown(name), here, refusal=f"Unreadable: {_why(error)}.")
            continue
        for entry in entries:
            path, inner = Path(entry.path), f"{name}{entry.name}"
            if _hidden(entry.name):
                continue
            try:
                status = entry.stat()
            except OSError as error:
                yield File(_shown(inner), path, refusal=f"Unreadable: {_why(error)}.")
                continue
            if stat.S_ISDIR(status.st_mode):
                waiting.append((path, f"{inner}/"))
            else:
                yield File(_shown(inner), path, status.st_size, refusal=_nested(entry.name))


def _members(archive: Path, prefix: str) -> Iterator[File]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except Exception as error:  # BadZipFile, OSError, struct.error, UnicodeDecodeError ...
        raise DataError(f"{archive.name} is no whole zip file.", "Copy or make it again.") from error
    for member in members:
        name = _shown(member.filename)
        if member.is_dir() or not name or any(_hidden(part) for part in name.split("/")):
            continue
        refusal = "Encrypted: the zip asks for a password." if member.flag_bits & 1 else _nested(name)
        yield File(prefix + name, archive, member.file_size, member, refusal)


def _shown(name: str) -> str:
    """A name fit to show: no controls, no way up, no undecodable bytes, at most 200 characters."""
    whole = name.replace("\\", "/").encode("utf-8", "replace").decode()
    parts = ("".join(c for c in part if c.isprintable()) for part in whole.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))[-200:]


def _hidden(name: str) -> bool:
    """Files that nobody put there as pictures: those of systems, and those that lie beside pictures we made."""
    return name.startswith(".") or name.lower() in (
        "__macosx", "thumbs.db", "desktop.ini", "about.json", "attributes.jsonl",
    )  # fmt: skip


def _nested(name: str) -> str:
    return "Zip in a folder or zip: it is not opened." if name.lower().endswith(".zip") else ""


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _unique(files: list[File], taken_before: Collection[str]) -> list[File]:
    """Uploads lose their folders, so that names may collide: the second a.png becomes a (2).png."""
    taken = set(taken_before)
    result = []
    for file in files:
        name, copy = file.name, 1
        while name in taken:
            copy += 1
            stem, dot, ending = file.name.rpartition(".")
            name = f"{stem} ({copy}){dot}{ending}" if dot and stem else f"{file.name} ({copy})"
        taken.add(name)
        result.append(replace(file, name=name))
    return result
