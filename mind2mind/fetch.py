"""One file from a web address, whole or not at all; what a broken download left is gone on with.

The rest is asked for by HTTP Range and If-Range: a server whose file has changed in between sends the whole of
it, and the download begins anew. Whoever wants to stop just stops asking for events: the part is kept.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mind2mind.errors import ConfigError
from mind2mind.parts import Part
from mind2mind.wanted import (
    HEAD,
    NotTheFileError,
    TryAgainError,
    Wanted,
    beginning,
    broken,
    check_answer,
    check_kind,
    check_size,
    checked,
    confirmation,
    unwritable,
    web_page,
    wrong_size,
)

if TYPE_CHECKING:
    import httpx  # imported when something is fetched: nothing touches the network before

PATIENCE = 30.0  # s without a byte, after which a connection counts as broken
CONNECT = 10.0  # s
TRIES = 4  # in a row that bring less than WORTH
WORTH = 1 << 20  # bytes
PAUSE = 1.0  # s before the second try, twice as long before the third ...
EVERY = 0.2  # s between events
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "mind2mind"}  # bytes are counted as they lie there


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


def fetch(wanted: Wanted) -> Iterator[FetchProgress | Fetched]:
    """Gets a file, over several connections if need be; one that is there already is only checked.

    Raises:
        WeightsError: the address cannot be reached or refuses, or what it gave is not the file.
        DataError: the disk is full or cannot be written.
        ConfigError: the proxy or the certificates that the environment names cannot be used.
    """
    part = Part(wanted.url, wanted.path)
    try:
        if part.adopt() and (earlier := _earlier(wanted, part)):
            yield earlier
            return
        if not part.whole:
            with _client(wanted.headers) as connected:
                yield from _insist(connected, wanted, part)
        digest = checked(wanted, part)
        part.finish()
    except NotTheFileError as error:
        part.forget()
        raise error.args[0] from None
    except OSError as error:
        raise unwritable(part.path, error) from error
    yield Fetched(wanted.path, part.bytes, digest)


def _earlier(wanted: Wanted, part: Part) -> Fetched | None:
    """What an earlier call got whole, if it is the file."""
    try:
        digest = checked(wanted, part)
    except NotTheFileError:
        part.forget()
        return None
    part.finish()
    return Fetched(wanted.path, part.bytes, digest)


def _client(headers: Mapping[str, str]) -> "httpx.Client":
    import httpx

    timeout = httpx.Timeout(PATIENCE, connect=CONNECT)
    try:
        return httpx.Client(timeout=timeout, follow_redirects=True, headers={**HEADERS, **headers})
    except OSError as error:
        fix = "Look at SSL_CERT_FILE and SSL_CERT_DIR in the environment."
        raise ConfigError(f"The certificates cannot be read: {error.strerror or error}.", fix) from error
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
        except (httpx.HTTPError, TryAgainError) as error:
            tries = 1 if part.bytes - before >= WORTH else tries + 1
            unreached = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) and not part.bytes
            if tries >= TRIES or unreached or isinstance(error, httpx.TooManyRedirects):
                raise broken(wanted, part, error) from error
            time.sleep(PAUSE * 2 ** (tries - 1))


def _connection(connected: "httpx.Client", wanted: Wanted, part: Part) -> Iterator[FetchProgress]:
    """One answer and its bytes; two where a page asks to confirm."""
    url = wanted.url
    for may_confirm in (True, False):
        with connected.stream("GET", url, headers=part.headers()) as response:
            check_answer(wanted, response)
            if "html" in response.headers.get("Content-Type", ""):
                page = beginning(response.iter_bytes())
                confirmed = confirmation(page, str(response.url)) if may_confirm else None
                if confirmed is None:
                    raise web_page(wanted, page)
                url = confirmed
                continue
            if not part.begin(response.status_code, response.headers):
                raise TryAgainError(f"the server answered {response.status_code} when asked for the rest")
            check_size(wanted, part)
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
                check_kind(wanted, part)
                known = True
            if part.bytes > (part.total or wanted.most):
                raise wrong_size(wanted, part.bytes)
            now = time.monotonic()
            if now - told >= EVERY:
                told = now
                yield FetchProgress(part.bytes, part.total, (part.bytes - first) / max(now - begun, 1e-3))
    if part.total is None:  # the server told no size, and ended its answer in order
        part.total = part.bytes
    elif part.bytes < part.total:
        raise TryAgainError(f"it ended after {part.bytes:,} of {part.total:,} bytes")
