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
from urllib.parse import urlsplit

from mind2mind.config import size_text
from mind2mind.errors import COMMAND, PIP, ConfigError, DataError, WeightsError
from mind2mind.files import read_json, sha256, write_json

if TYPE_CHECKING:
    import httpx

PATIENCE, CONNECT = (
    30.0,
    10.0,
)  # s without a byte, or without an answer, after which a connection counts as broken
TRIES, WORTH = 4, 1 << 20  # so many in a row that bring less than WORTH bytes are the last
PAUSE = 1.0  # s before the second try, twice as long before the third ...
EVERY = 0.2  # s between events
MOST = 8 << 30  # bytes of any file; an official ALAE should have below 1 GB
SPARE = 64 << 20  # bytes that stay free on the disk
RETRIED = (408, 429, 500, 502, 503, 504)
REASONS = {401: "It asks for a log-in.", 403: "It may be closed now.", 404: "It may have moved."}
OTHERWISE = f"Convert a file that you got in another way: {COMMAND} convert FILE --out FOLDER"
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "mind2mind"}  # bytes are counted as they lie there
DRIVE = "drive.google.com"


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
        said = f"{size_text(self.done)}, {size_text(round(self.rate))} a second"
        if not self.total or self.rate <= 0:
            return said
        seconds = (self.total - self.done) / self.rate
        left = f"about {seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"
        return said.replace(",", f" of {size_text(self.total)},", 1) + f", {left}"


def fetch(
    url: str,
    path: Path,
    name: str,
    *,
    digest: str | None = None,
    most: int = MOST,
    room: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Generator[Downloading, None, str]:
    """Gets a file, over several connections if need be, and returns its SHA-256; one that is there is only checked.

    Args:
        url: where from; of Google Drive by the package gdown, which knows Drive's questions and tells no progress.
        path: where it goes.
        name: what it is called in events.
        digest: its SHA-256 in hex, where it is known.
        most: bytes that it has at most.
        room: bytes that will be needed on the disk beside it.
        headers: to be sent along; credentials go to this address and not to where it leads.

    Raises:
        WeightsError: the address cannot be reached or refuses, or what it gave is not the file.
        DataError: the disk is full or cannot be written.
        ConfigError: gdown is missing; the environment names a proxy or certificates that cannot be used.
    """
    part = _Part(url, path, name)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            if urlsplit(url).hostname == DRIVE:
                _from_drive(part)
            else:
                with _client(headers or {}) as client:
                    yield from _insist(client, part, most, room)
            part.path.replace(path)
            part.note.unlink(missing_ok=True)
        found = sha256(path)
        if digest not in (None, found):
            path.unlink()
            fix = "It was damaged on its way, or has been changed where it lies. Try again."
            problem = f"What {url} gave is not the file it should be: its SHA-256 is {found}, not {digest}."
            raise WeightsError(problem, fix)
    except OSError as error:
        fix = "Make room, or set MIND2MIND_HOME to another folder; the same command then goes on."
        raise DataError(f"{path} could not be written: {error.strerror or error}.", fix) from error
    return found


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

    def __init__(self, url: str, target: Path, name: str) -> None:
        self.url, self.host, self.name = url, urlsplit(url).hostname or url, name
        self.path, self.note = (target.with_name(target.name + end) for end in (".part", ".part.json"))
        with suppress(DataError, OSError, LookupError, TypeError):
            note, there = read_json(self.note), self.path.stat().st_size
            if note["url"] == url and note["tag"] and there <= (note["total"] or there):
                self.done, self.total, self.tag = there, note["total"], note["tag"]

    def begin(self, response: "httpx.Response") -> bool:
        """Takes an answer whose body is the rest, or a new beginning; False if it is neither."""
        told = re.fullmatch(rf"bytes {self.done}-\d+/(\d{{1,18}})", response.headers.get("Content-Range", ""))
        if response.status_code == 206 and told and self.total in (None, int(told[1])):
            self.total = int(told[1])
            return True
        self.delete()
        length = re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", ""), re.ASCII)
        self.total = int(length[0]) if length else None
        etag = response.headers.get("ETag", "")
        self.tag = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        return response.status_code == 200

    def check(self, most: int, room: int) -> None:
        """Raises where the file is too large, or the disk has no room for the rest of it."""
        total = max(self.total or 0, self.done)
        if total > most:
            self.delete()
            fix = f"Try again later. {OTHERWISE}"
            raise WeightsError(f"{self.url} gives {total:,} bytes, more than {most:,}.", fix)
        needed, free = total - self.done + room + SPARE, shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise DataError(
                f"{needed:,} bytes are needed on the disk of {self.path.parent}, and {free:,} are free.",
                "Make room, or set MIND2MIND_HOME to a folder on another disk. What is there so far is kept.",
            )

    def delete(self) -> None:
        self.done, self.total, self.tag = 0, None, None
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _client(headers: Mapping[str, str]) -> "httpx.Client":
    import httpx

    timeout = httpx.Timeout(PATIENCE, connect=CONNECT)
    try:
        return httpx.Client(timeout=timeout, follow_redirects=True, headers={**HEADERS, **headers})
    except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
        fix = "Look at HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR in the environment."
        raise ConfigError(f"The proxy or the certificates cannot be used: {error}.", fix) from error


def _insist(client: "httpx.Client", part: _Part, most: int, room: int) -> Iterator[Downloading]:
    """Connections until the part is whole."""
    import httpx

    tries = 0
    while part.total is None or part.done < part.total:
        before = part.done
        try:
            yield from _connection(client, part, most, room)
        except httpx.HTTPError as error:
            tries = 1 if part.done - before >= WORTH else tries + 1
            unreached = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) and not part.done
            if tries >= TRIES or unreached or isinstance(error, httpx.TooManyRedirects):
                reason = str(error) or type(error).__name__
                broke = (
                    f"The connection to {part.host} broke after {part.done:,} of {part.total or 0:,} bytes"
                )
                problem = f"{broke if part.done else f'{part.host} cannot be reached'}: {reason}."
                fix = f"Check the internet connection; what is there is kept. {OTHERWISE}"
                raise WeightsError(problem, fix) from error
            time.sleep(PAUSE * 2 ** (tries - 1))


def _connection(client: "httpx.Client", part: _Part, most: int, room: int) -> Iterator[Downloading]:
    """One answer and its bytes."""
    import httpx

    rest = {"Range": f"bytes={part.done}-", "If-Range": part.tag} if part.done and part.tag else {}
    with client.stream("GET", part.url, headers=rest) as response:
        code, host = response.status_code, response.url.host
        if code in RETRIED:
            raise httpx.TransportError(f"{host} answered {code}")
        if code not in (200, 206, 416):
            fix = f"{REASONS.get(code, 'Try again later.')} {OTHERWISE}"
            raise WeightsError(f"{host} does not give {part.url} (answer {code}).", fix)
        chunks = response.iter_raw()
        chunk = next(chunks, b"")
        page = "html" in response.headers.get("Content-Type", "") or (
            code == 200 and chunk.lstrip()[:1] == b"<"
        )
        if page or (part.url.startswith("https:") and response.url.scheme != "https"):
            what = "a web page" if page else "something without encryption"
            fix = "This network may want a log-in, or the server is too busy: open the address in a browser."
            raise WeightsError(f"{host} gave {what} and not the file {part.url}.", f"{fix} {OTHERWISE}")
        if not part.begin(response):
            raise httpx.TransportError(f"the server answered {code} when asked for the rest")
        part.check(most, room)
        write_json(part.note, {"url": part.url, "tag": part.tag, "total": part.total})
        begun, first, told = time.monotonic(), part.done, 0.0
        with part.path.open("ab") as file:
            while chunk:
                file.write(chunk)
                part.done += len(chunk)
                if part.done > most:
                    part.check(most, room)
                now = time.monotonic()
                if now - told >= EVERY:
                    told, rate = now, (part.done - first) / max(now - begun, 1e-3)
                    yield Downloading(part.name, part.done, part.total, rate)
                chunk = next(chunks, b"")
    if part.done < (part.total or 0):
        raise httpx.TransportError(f"it ended after {part.done:,} of {part.total:,} bytes")
    part.total = part.done  # the server may have told none, and ended its answer in order


def _from_drive(part: _Part) -> None:
    try:
        import gdown  # type: ignore  # not among the requirements, and without types
    except ImportError as error:
        fix = f"Install it: {PIP} gdown"
        raise ConfigError("Files on Google Drive need the package gdown.", fix) from error
    try:
        gdown.download(url=part.url, output=str(part.path), quiet=True, resume=True)
    except Exception as error:  # of gdown and of the libraries it calls
        said = " ".join(str(error).split())[:300] or type(error).__name__
        fix = f"Open the address in a browser, or try again later. {OTHERWISE}"
        raise WeightsError(f"Google Drive does not give {part.url}: {said}.", fix) from error
