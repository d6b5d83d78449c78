"""One file from a web address, whole or not at all; what a broken download left is gone on with.

The part lies beside the file to be (`NAME.part`), with a note of which file it is the beginning of. The rest is asked
for by HTTP Range and If-Range: a server whose file has changed in between sends the whole of it, and the download
begins anew. Whoever wants to stop just stops asking for events: the part is kept. What is not the file is deleted.
"""

import re
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mind2mind.config import size_text
from mind2mind.errors import COMMAND, ConfigError, DataError, WeightsError
from mind2mind.files import read_json, sha256, write_json, writing

if TYPE_CHECKING:
    import httpx

PATIENCE = 20.0  # s without an answer or a byte, after which a connection counts as broken
TRIES, WORTH = 4, 1 << 20  # so many in a row that bring less than WORTH bytes are the last
PAUSE = 1.0  # s before the second try, twice as long before the third ...
EVERY = 0.2  # s between events
SPARE = 64 << 20  # bytes that stay free on the disk
REASONS = {401: "It asks for a log-in.", 403: "It may be closed now.", 404: "It may have moved."}
OTHERWISE = f"Convert a file that you got in another way: {COMMAND} convert FILE --out FOLDER"
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "mind2mind"}  # bytes are counted as they lie there


@dataclass(frozen=True, slots=True)
class Downloading:
    """How far the download of a file is."""

    file: str  # what it is called
    done: int  # bytes, those of earlier connections included
    total: int | None  # None if the server does not tell
    rate: float  # bytes a second, of this connection

    @property
    def standing(self) -> str:
        """How far it is, in words."""
        done, speed = size_text(self.done), f"{size_text(round(self.rate))} a second"
        if not self.total or not self.rate:
            return f"{done}, {speed}"
        seconds = (self.total - self.done) / self.rate
        left = f"about {seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
        return f"{done} of {size_text(self.total)}, {speed}, {left} left"


def fetch(
    url: str,
    path: Path,
    name: str,
    *,
    digest: str | None = None,
    most: int = 8 << 30,
    room: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Generator[Downloading, None, str]:
    """Gets a file, over several connections if need be, and returns its SHA-256; one that is there is only checked.

    Args:
        url: where from.
        path: where it goes.
        name: what it is called in events.
        digest: its SHA-256 in hex, where it is known.
        most: bytes that it has at most; an official ALAE should have below 1 GB.
        room: bytes that will be needed on the disk beside it.
        headers: to be sent along; credentials go to this address and not to where it leads.

    Raises:
        WeightsError: the address cannot be reached or refuses, or what it gave is not the file.
        DataError: the disk is full or cannot be written.
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """
    with writing(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = _Part(url, path.with_name(f"{path.name}.part"), most, room)
            for rate in _over_http(part, {**HEADERS, **(headers or {})}):
                yield Downloading(name, part.done, part.total, rate)
            part.path.replace(path)
            part.note.unlink(missing_ok=True)
        found = sha256(path)
        if digest not in (None, found):
            path.unlink()
            problem = f"What {url} gave is not the file it should be: its SHA-256 is {found}, not {digest}."
            fix = "It was damaged on its way: try again. If its authors replaced it, add --accept-changed."
            raise WeightsError(problem, fix)
        return found


def _over_http(part: "_Part", headers: Mapping[str, str]) -> Iterator[float]:
    """Connections until the part is whole; gives the rate now and then, in bytes a second."""
    import httpx

    tries = 0
    with http_client(headers) as client:
        while part.total is None or part.done < part.total:
            before = part.done
            rest = {"Range": f"bytes={part.done}-", "If-Range": part.tag} if part.done and part.tag else {}
            try:
                with client.stream("GET", part.url, headers=rest) as response:
                    yield from part.take(response)
            except (httpx.HTTPError, ConnectionError) as error:
                tries = 1 if part.done - before >= WORTH else tries + 1
                unreached = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) and not part.done
                if tries >= TRIES or unreached or isinstance(error, httpx.TooManyRedirects):
                    broke = f"broke off after {part.done:,} of {part.total or 0:,} bytes"
                    problem = f"{part.url} {broke if part.done else 'cannot be reached'}"
                    fix = f"Check the internet connection; what is there is kept. {OTHERWISE}"
                    raise WeightsError(f"{problem}: {str(error) or type(error).__name__}.", fix) from error
                time.sleep(PAUSE * 2 ** (tries - 1))


def http_client(headers: Mapping[str, str]) -> "httpx.Client":
    """What fetches, through the proxy that the environment names.

    Raises:
        ConfigError: that or the certificates it names cannot be used.
    """
    import httpx

    try:
        return httpx.Client(timeout=PATIENCE, follow_redirects=True, headers=headers)
    except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
        names = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        fix = (
            f"Look at {names} in the environment, and at NO_PROXY: addresses of IPv6 have no brackets there."
        )
        raise ConfigError(
            f"The proxy or the certificates cannot be used: {str(error).rstrip('.')}.", fix
        ) from error


class _Part:
    """What is there of a file.

    Attributes:
        done: bytes.
        total: bytes of the whole file; None if the server did not tell.
        tag: a strong ETag or a date, by which the server knows the file again.
    """

    done: int = 0
    total: int | None = None
    tag: str | None = None

    def __init__(self, url: str, path: Path, most: int, room: int) -> None:
        self.url, self.most, self.room = url, most, room
        self.path, self.note = path, path.with_name(f"{path.name}.json")
        with suppress(DataError, OSError, LookupError, TypeError):
            note, there = read_json(self.note), path.stat().st_size
            if note["url"] == url and note["tag"] and there <= note["total"]:
                self.done, self.total, self.tag = there, note["total"], note["tag"]

    def take(self, response: "httpx.Response") -> Iterator[float]:
        """Writes what an answer gives.

        Raises:
            ConnectionError: it is not all of it, or not the rest that was asked for.
            WeightsError: it is not the file, or larger than `most`.
            DataError: the disk has no room.
        """
        code, host = response.status_code, response.url.host
        if code in (408, 429, 500, 502, 503, 504):
            raise ConnectionError(f"{host} answered {code}")
        if code not in (200, 206, 416):
            fix = f"{REASONS.get(code, 'Try again later.')} {OTHERWISE}"
            raise WeightsError(f"{host} does not give {self.url} (answer {code}).", fix)
        chunks = response.iter_raw()
        chunk = next(chunks, b"")
        html = "html" in response.headers.get("Content-Type", "")
        page = html or (code == 200 and chunk.lstrip()[:1] == b"<")
        if page or (self.url.startswith("https:") and response.url.scheme != "https"):
            what = "a web page" if page else "something without encryption"
            fix = "This network may want a log-in, or the server is too busy: open the address in a browser."
            raise WeightsError(f"{host} gave {what} and not the file {self.url}.", f"{fix} {OTHERWISE}")
        rest = rf"bytes {self.done}-\d+/{self.total}"
        if code != 206 or not re.fullmatch(rest, response.headers.get("Content-Range", "")):
            self.delete()
            if code != 200:
                raise ConnectionError(f"the server answered {code} when asked for the rest")
            length, etag = response.headers.get("Content-Length"), response.headers.get("ETag", "")
            self.total = int(length) if length else None
            self.tag = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        self.check()
        write_json(self.note, {"url": self.url, "tag": self.tag, "total": self.total})
        begun, first, last_told = time.monotonic(), self.done, 0.0
        with self.path.open("ab") as file:
            while chunk:
                file.write(chunk)
                self.done += len(chunk)
                if self.done > self.most:
                    self.check()
                now = time.monotonic()
                if now - last_told >= EVERY:
                    last_told = now
                    yield (self.done - first) / max(now - begun, 1e-3)
                chunk = next(chunks, b"")
        if self.done < (self.total or 0):
            raise ConnectionError(f"it ended after {self.done:,} of {self.total:,} bytes")
        self.total = self.done  # the server may have told none, and ended its answer in order

    def check(self) -> None:
        """Raises where the file is too large, or the disk has no room for the rest of it."""
        total = max(self.total or 0, self.done)
        if total > self.most:
            self.delete()
            fix = f"Try again later. {OTHERWISE}"
            raise WeightsError(f"{self.url} gives {total:,} bytes, more than {self.most:,}.", fix)
        needed, free = total - self.done + self.room + SPARE, shutil.disk_usage(self.path.parent).free
        if free < needed:
            problem = f"{needed:,} bytes are needed on the disk of {self.path.parent}, and {free:,} are free."
            fix = "Make room, or set MIND2MIND_HOME to a folder on another disk. What is there is kept."
            raise DataError(problem, fix)

    def delete(self) -> None:
        self.done, self.total, self.tag = 0, None, None
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
