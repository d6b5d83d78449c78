"""Files that are either whole or not there: written under a temporary name, synced and renamed."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, SoftFileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mind2mind.config import size_text
from mind2mind.errors import ROOM, DataError, WeightsError, in_words

POINTER = b"version https://git-lfs"  # begins what Git LFS puts in a file's place


def remedy(path: Path, otherwise: str) -> str:
    """What helps with a file that cannot be read: `otherwise`, unless only a pointer of Git LFS is there."""
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            return "Only a pointer of Git LFS is there: run git lfs pull where the file is from."
    return otherwise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what is written there replaces `path` when the block ends well.

    Raises:
        DataError: the disk is full or the folder may not be written; `path` is as it was.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")  # nobody else's, and short: names have limits
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names `path` where the system refuses to write it in this block.

    Raises:
        DataError: the disk is full or the folder may not be written.
    """
    try:
        yield
    except OSError as error:
        raise in_words(error, f"{path} could not be written") from error


def write_text(path: Path, text: str) -> None:
    """Replaces a text file (UTF-8) as a whole."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Replaces a JSON file as a whole."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DataError: there is no such file, or it holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        fix = remedy(path, "Check the path, or make the file again.")
        raise DataError(f"{path} could not be read: {error}.", fix) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object.", "Make the file again.")
    return content


def save_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any] | None = None) -> None:
    """One safetensors file; `meta` (anything JSON can hold) travels in its header."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(whole, temporary, {"mind2mind": json.dumps(meta or {})})
            temporary.chmod(0o644)  # safetensors writes for the owner's eyes only
        except SafetensorError as error:  # safetensors hides the OSError of a full disk
            raise OSError(str(error)) from error


def load_tensors(
    path: Path, names: Collection[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU; all, or those named) and the meta data of a safetensors file.

    Raises:
        WeightsError: there is no such file, or it is no whole safetensors file.
    """
    # copies: the file is mapped into memory, and could not be replaced on Windows while it is
    with _opened(path) as file:
        wanted = file.keys() if names is None else names
        return {name: file.get_tensor(name).clone() for name in wanted}, read_meta(path)


def load_rows(path: Path, name: str, rows: Sequence[int]) -> Tensor:
    """These rows of one tensor of a safetensors file; nothing else of it is read.

    Raises:
        WeightsError: there is no such file or tensor, it has not so many rows, or the file is damaged.
    """
    with _opened(path) as file:
        whole = file.get_slice(name)
        found = torch.cat([whole[0:0], *(whole[row : row + 1] for row in rows)])
        if len(found) < len(rows):
            raise ValueError(f"{name} has {whole.get_shape()[0]:,} rows")
        return found


def read_meta(path: Path) -> dict[str, Any]:
    """The meta data of a safetensors file written by `save_tensors`, without its tensors.

    Raises:
        WeightsError: there is no such file, or its beginning is damaged.
    """
    with _opened(path) as file:
        meta: dict[str, Any] = json.loads((file.metadata() or {}).get("mind2mind", "{}"))
        return meta


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError, ValueError) as error:
        fix = remedy(path, "It is missing, cut off or no safetensors file: copy or make it again.")
        raise WeightsError(f"{path} could not be read: {error}.", fix) from error


def bytes_in(folder: Path) -> int:
    """The size of all files in a folder, nested ones too; those that vanish meanwhile do not count."""
    total = 0
    for place, _, names in os.walk(folder):  # rglob ends at a folder that vanishes
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


NO_LOCKS = errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP  # Lustre, NFS without lockd, some FUSE


def locked(path: Path, timeout: float = -1, **more: Any) -> AbstractContextManager[object]:
    """Takes a lock file's lock, for a block; where the file system has no locks a file that names the holder is one.

    Args:
        path: of the lock file.
        timeout: seconds to wait; below 0 for ever.
        more: of filelock.

    Raises:
        Timeout: somebody else holds it.
        OSError: the file cannot be made.
    """
    try:
        return FileLock(path, timeout, fallback_to_soft=False, **more).acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return SoftFileLock(f"{path}.soft", timeout, **more).acquire()


def check_disk(home: Path, most: int | None, coming: int = 0) -> None:
    """DataError if the home holds `most` bytes with those that are `coming`, or these do not fit on its disk.

    None is any number.
    """
    if most is not None and bytes_in(home) + coming >= most:
        fix = "Delete what you no longer need, or come back in some hours."
        raise DataError("The server's disk is full.", fix)
    if coming:
        home.mkdir(parents=True, exist_ok=True)  # it may have been deleted meanwhile
        if (free := shutil.disk_usage(home).free) < coming:
            problem = f"The disk is full: {size_text(coming)} are to come, and {size_text(free)} are free."
            raise DataError(problem, ROOM)


def new_token() -> str:
    """128 bits that nobody guesses; a token that begins with a hyphen would be an option on the command line."""
    token = secrets.token_urlsafe(16)
    return new_token() if token.startswith("-") else token


def is_token(text: str) -> bool:
    """Whether it may be one."""
    return re.fullmatch(r"[A-Za-z0-9_-]{22}", text) is not None


def sha256(path: Path) -> str:
    """The content's SHA-256, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
