"""One file from a web address, whole or not at all; what a broken download left is gone on with.

The rest is asked for by HTTP Range and If-Range: a server whose file has changed in between sends the whole of
it, and the download begins anew. Whoever wants to stop just stops asking for events: the part is kept.
"""

import errno
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import sha256
from mind2mind.parts import Part
from mind2mind.webpages import confirmation, title

if TYPE_CHECKING:
    import httpx  # imported when something is fetched: nothing touches the network before

PATIENCE = 30.0  # s without a byte, after which a connection counts as broken
CONNECT = 10.0  # s
TRIES = 4  # in a row that bring less than WORTH
WORTH = 1 << 20  # bytes
PAUSE = 1.0  # s before the second try, twice as long before the third ...
EVERY = 0.2  # s between events
SPARE = 64 << 20  # bytes that stay free on the disk
MOST = 8 << 30  # bytes of any file; an official ALAE should have below 1 GB
PAGE = 1 << 20  # bytes of a web page that are looked at
HEAD = 512  # bytes that tell a file's kind
RETRIED = (408, 429, 500, 502, 503, 504)
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "mind2mind"}  # bytes are counted as they lie there
OTHERWISE = "A file that you got in another way goes through `mind2mind convert`."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to get.

    Args:
        url: where from.
        path: where it goes.
        magics: how such files begin; () is any way.
        sha256: in hex, where it is known.
        bytes: its size, where it is known.
        room: bytes that will be needed on the disk beside it.
        headers: to be sent along; credentials go to this address and not to where it leads.
        refusals: by the answer's code, what it means here: the problem and its fix.
    """

    url: str
    path: Path
    magics: tuple[bytes, ...] = ()
    sha256: str | None = None
    bytes: int | None = None
    room: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.url).hostname or self.url


@dataclass(frozen=True, slots=True)
class FetchProgress:
    done: int  # bytes, those of earlier tries included
    total: int | None  # None if the server does not tell
    rate: float  # bytes a second, of this connection


@dataclass(frozen=True, slots=True)
class Fetched:
    """The last event: the file is there."""

    path: Path
    bytes: int
    sha256: str


class _TryAgainError(Exception):
    """A connection brought nothing more; another may."""


class _NotTheFileError(Exception):
    """What came is something else, and is not kept. Its argument is the error for the user."""


def fetch(wanted: Wanted) -> Iterator[FetchProgress | Fetched]:
    """Gets a file, over several connections if need be; one that is there already is only checked.

    Raises:
        WeightsError: the address cannot be reached or refuses, or what it gave is not the file.
        DataError: the disk is full or cannot be written.
        ConfigError: the proxy that the environment names cannot be used.
    """
    part = Part(wanted.url, wanted.path)
    try:
        if part.adopt() and (earlier := _earlier(wanted, part)):
            yield earlier
            return
        if not part.whole:
            with _client(wanted.headers) as connected:
                yield from _insist(connected, wanted, part)
        digest = _checked(wanted, part)
        part.finish()
    except _NotTheFileError as error:
        part.forget()
        raise error.args[0] from None
    except OSError as error:
        raise _unwritable(part.path, error) from error
    yield Fetched(wanted.path, part.bytes, digest)


def _earlier(wanted: Wanted, part: Part) -> Fetched | None:
    """What an earlier call got whole, if it is the file."""
    try:
        digest = _checked(wanted, part)
    except _NotTheFileError:
        part.forget()
        return None
    part.finish()
    return Fetched(wanted.path, part.bytes, digest)


def _client(headers: Mapping[str, str]) -> "httpx.Client":
    import httpx

    timeout = httpx.Timeout(PATIENCE, connect=CONNECT)
    try:
        return httpx.Client(timeout=timeout, follow_redirects=True, headers={**HEADERS, **headers})
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        fix = "Look at HTTPS_PROXY, ALL_PROXY and NO_PROXY in the environment."
        raise ConfigError(f"The proxy cannot be used: {error}.", fix) from error


def _insist(connected: "httpx.Client", wanted: Wanted, part: Part) -> Iterator[FetchProgress]:
    """Connections until the part is whole."""
    import httpx

    tries = 0
    while not part.whole:
        before = part.bytes
        try:
            yield from _connection(connected, wanted, part)
        except (httpx.HTTPError, _TryAgainError) as error:
            tries = 1 if part.bytes - before >= WORTH else tries + 1
            unreached = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) and not part.bytes
            if tries >= TRIES or unreached or isinstance(error, httpx.TooManyRedirects):
                raise _broken(wanted, part, error) from error
            time.sleep(PAUSE * 2 ** (tries - 1))


def _connection(connected: "httpx.Client", wanted: Wanted, part: Part) -> Iterator[FetchProgress]:
    """One answer and its bytes; two where a page asks to confirm."""
    url = wanted.url
    for may_confirm in (True, False):
        with connected.stream("GET", url, headers=part.headers()) as response:
            _check_answer(wanted, response)
            if "html" in response.headers.get("Content-Type", ""):
                page = _beginning(response)
                confirmed = confirmation(page, str(response.url)) if may_confirm else None
                if confirmed is None:
                    raise _web_page(wanted, page)
                url = confirmed
                continue
            if not part.begin(response.status_code, response.headers):
                raise _TryAgainError(f"the server answered {response.status_code} when asked for the rest")
            _check_size(wanted, part)
            yield from _receive(response, wanted, part)
            return


def _receive(response: "httpx.Response", wanted: Wanted, part: Part) -> Iterator[FetchProgress]:
    begun, first, told, known = time.monotonic(), part.bytes, 0.0, part.bytes >= HEAD
    part.path.parent.mkdir(parents=True, exist_ok=True)
    part.remember()
    with part.path.open("r+b" if part.bytes else "wb", buffering=0) as file:
        file.seek(part.bytes)
        file.truncate()
        for chunk in response.iter_raw():
            rest = memoryview(chunk)
            while rest:  # unbuffered: what is counted lies in the file
                count = file.write(rest)
                part.bytes += count
                rest = rest[count:]
            if not known and part.bytes >= HEAD:
                _check_kind(wanted, part)
                known = True
            if part.bytes > (part.total or MOST):
                raise _wrong_size(wanted, part.bytes)
            now = time.monotonic()
            if now - told >= EVERY:
                told = now
                yield FetchProgress(part.bytes, part.total, (part.bytes - first) / max(now - begun, 1e-3))
    if part.total is None:  # the server told no size, and ended its answer in order
        part.total = part.bytes
    elif part.bytes < part.total:
        raise _TryAgainError(f"it ended after {part.bytes:,} of {part.total:,} bytes")


def _check_answer(wanted: Wanted, response: "httpx.Response") -> None:
    code, host = response.status_code, response.url.host
    if wanted.url.startswith("https:") and response.url.scheme != "https":
        raise WeightsError(
            f"{wanted.host} sent us on to {host}, without encryption.",
            "This network may want a log-in first: open any page in a browser, then try again.",
        )
    if code in RETRIED:
        raise _TryAgainError(f"{host} answered {code}")
    if code in wanted.refusals:
        raise WeightsError(*wanted.refusals[code])
    if code not in (200, 206, 416):
        reason = {401: "It asks for a log-in.", 403: "It may be closed now.", 404: "It may have moved."}
        fix = f"{reason.get(code, 'Try again later.')} {OTHERWISE}"
        raise WeightsError(f"{host} does not give {wanted.url} (answer {code}).", fix)


def _check_size(wanted: Wanted, part: Part) -> None:
    if part.total is not None and (part.total > MOST or wanted.bytes not in (None, part.total)):
        raise _wrong_size(wanted, part.total)
    folder = next(p for p in part.path.absolute().parents if p.exists())
    needed = (part.total or wanted.bytes or 0) - part.bytes + wanted.room + SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{needed:,} bytes are needed on the disk of {folder}, and {free:,} are free.",
            "Make room, or set MIND2MIND_HOME to a folder on another disk. What is there so far is kept.",
        )


def _check_kind(wanted: Wanted, part: Part) -> None:
    with part.path.open("rb") as file:
        head = file.read(HEAD)
    if not wanted.magics or head.startswith(wanted.magics):
        return
    if head.lstrip()[:1] == b"<":
        raise _NotTheFileError(_web_page(wanted, head.decode("utf-8", "replace")))
    problem = f"What {wanted.url} gave is not the file it should be: it begins with {head[:8]!r}."
    raise _NotTheFileError(WeightsError(problem, f"Try again later. {OTHERWISE}"))


def _checked(wanted: Wanted, part: Part) -> str:
    """The hash of a part that is whole."""
    _check_kind(wanted, part)
    if wanted.bytes not in (None, part.bytes):
        raise _wrong_size(wanted, part.bytes)
    digest = sha256(part.path)
    if wanted.sha256 in (None, digest):
        return digest
    problem = f"What {wanted.url} gave is not the file it should be: SHA-256 {digest}, not {wanted.sha256}."
    fix = "It was damaged on its way, or whoever publishes it has changed it. Try again."
    raise _NotTheFileError(WeightsError(problem, fix))


def _wrong_size(wanted: Wanted, size: int) -> _NotTheFileError:
    expected = f"{wanted.bytes:,}" if wanted.bytes is not None else f"at most {MOST:,}"
    problem = f"{wanted.url} gives {size:,} bytes instead of {expected}."
    return _NotTheFileError(WeightsError(problem, f"Try again later. {OTHERWISE}"))


def _unwritable(path: Path, error: OSError) -> DataError:
    what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    fix = "Make room, or set MIND2MIND_HOME to another folder; the same command then goes on."
    return DataError(f"{path} could not be written: {what}.", fix)


def _broken(wanted: Wanted, part: Part, error: Exception) -> WeightsError:
    reason = str(error) or type(error).__name__
    if not part.bytes:
        fix = "Check the internet connection; what is already here works without it."
        return WeightsError(f"{wanted.host} cannot be reached: {reason}.", f"{fix} {OTHERWISE}")
    of = f" of {part.total:,}" if part.total else ""
    problem = f"The connection to {wanted.host} broke after {part.bytes:,}{of} bytes: {reason}."
    return WeightsError(problem, "What is there is kept: the same command goes on from it.")


def _beginning(response: "httpx.Response") -> str:
    content = b""
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > PAGE:
            break
    return content[:PAGE].decode("utf-8", "replace")


def _web_page(wanted: Wanted, page: str) -> WeightsError:
    said = f" (“{title(page)}”)" if title(page) else ""
    return WeightsError(
        f"{wanted.host} gave a web page{said} and not the file {wanted.url}.",
        "This network may want a log-in, or too many people fetched the file today: open the address in a "
        f"browser, or try again later. {OTHERWISE}",
    )
