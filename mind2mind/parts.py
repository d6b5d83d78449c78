"""What is there of a file that is being fetched: the bytes so far, and which file they are the beginning of.

The part lies beside the file to be (`NAME.part`) with a note of where it is from (`NAME.part.json`).
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mind2mind.errors import DataError
from mind2mind.files import read_json, write_json

_COUNT = r"(\d{1,18})"  # of bytes, in a header


class Part:
    """The beginning of the file at `url`, which will lie at `path`.

    Attributes:
        bytes: how many there are.
        total: how many the whole file has; None if the server did not tell.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.target = url, path
        self.path = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")
        self.tag: str | None = None  # a strong ETag or a date: by it the server knows the file again
        self.total: int | None = None
        self.bytes = 0
        with suppress(DataError, OSError, LookupError, TypeError, ValueError):
            note = read_json(self.note)
            if note["url"] == url and note["tag"]:
                total = None if note["total"] is None else int(note["total"])
                size = self.path.stat().st_size
                if total is None or size <= total:
                    self.bytes, self.total, self.tag = size, total, str(note["tag"])

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.total is not None and self.bytes == self.total

    def headers(self) -> dict[str, str]:
        """What asks a server for the rest; for the whole if the file has changed in between."""
        return {"Range": f"bytes={self.bytes}-", "If-Range": self.tag} if self.bytes and self.tag else {}

    def begin(self, code: int, headers: Mapping[str, str]) -> bool:
        """Takes an answer's code and headers: its body is the rest, or a new beginning. False: it is neither."""
        match = re.fullmatch(rf"bytes {_COUNT}-\d+/{_COUNT}", headers.get("Content-Range", ""), re.ASCII)
        if code == 206 and match and int(match[1]) == self.bytes and self.total in (None, int(match[2])):
            self.total = int(match[2])
            return True
        self.forget()
        if code != 200:
            return False
        length = re.fullmatch(_COUNT, headers.get("Content-Length", ""), re.ASCII)
        self.total = int(length[1]) if length else None
        etag = headers.get("ETag", "")
        self.tag = etag if etag.startswith('"') else headers.get("Last-Modified")  # a weak ETag does not do
        return True

    def adopt(self) -> bool:
        """Takes the whole file of an earlier call for a part; False if there is none."""
        if not self.target.exists():
            return False
        self.target.replace(self.path)
        self.bytes = self.total = self.path.stat().st_size
        return True

    def remember(self) -> None:
        """Writes the note."""
        write_json(self.note, {"url": self.url, "tag": self.tag, "total": self.total})

    def forget(self) -> None:
        """Deletes what is there."""
        self.bytes, self.tag, self.total = 0, None, None
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """The part becomes the file."""
        self.path.replace(self.target)
        self.note.unlink(missing_ok=True)
