"""One file from a web address, whole or not at all; what a broken download left is gone on with.

The rest is asked for by HTTP Range and If-Range: a server whose file has changed in between sends the whole of
it, and the download begins anew. Whoever wants to stop just stops asking for events: the part is kept.
"""

import errno
import html
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from mind2mind.errors import COMMAND, ConfigError, DataError, WeightsError
from mind2mind.files import read_json, sha256, write_json

if TYPE_CHECKING:
    import httpx

# --- What is there of a file that is being fetched: the bytes so far, and which file they are the beginning of.
# The part lies beside the file to be (`NAME.part`) with a note of where it is from (`NAME.part.json`).

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


# --- What is wanted from the web, and what may come instead.
# Each becomes an error that says so. One page is no error: Drive's question whether a file too large to be checked
# is wanted all the same; `confirmation` answers it for the user, who has asked for the file.

SPARE = 64 << 20  # bytes that stay free on the disk
MOST = 8 << 30  # bytes of any file; an official ALAE should have below 1 GB
PAGE = 1 << 20  # bytes of a web page that are looked at
HEAD = 512  # bytes that tell a file's kind
RETRIED = (408, 429, 500, 502, 503, 504)
OTHERWISE = f"Convert a file that you got in another way: {COMMAND} convert FILE --out FOLDER"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to get.

    Args:
        url: where from.
        path: where it goes.
        magics: how such files begin; () is any way.
        sha256: in hex, where it is known.
        bytes: its size, where it is known.
        most: bytes that it has at most, where it is not.
        room: bytes that will be needed on the disk beside it.
        headers: to be sent along; credentials go to this address and not to where it leads.
        refusals: by the answer's code, what it means here: the problem and its fix.
    """

    url: str
    path: Path
    magics: tuple[bytes, ...] = ()
    sha256: str | None = None
    bytes: int | None = None
    most: int = MOST
    room: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.url).hostname or self.url


class TryAgainError(Exception):
    """A connection brought nothing more; another may."""


class NotTheFileError(Exception):
    """What came is something else, and is not kept. Its argument is the error for the user."""


def check_answer(wanted: Wanted, response: "httpx.Response") -> None:
    """Raises what an answer's code and place mean, unless a body may follow that is the file."""
    code, host = response.status_code, response.url.host
    if wanted.url.startswith("https:") and response.url.scheme != "https":
        raise WeightsError(
            f"{wanted.host} sent us on to {host}, without encryption.",
            "This network may want a log-in first: open any page in a browser, then try again.",
        )
    if code in RETRIED:
        raise TryAgainError(f"{host} answered {code}")
    if code in wanted.refusals:
        raise WeightsError(*wanted.refusals[code])
    if code not in (200, 206, 416):
        reason = {401: "It asks for a log-in.", 403: "It may be closed now.", 404: "It may have moved."}
        fix = f"{reason.get(code, 'Try again later.')} {OTHERWISE}"
        raise WeightsError(f"{host} does not give {wanted.url} (answer {code}).", fix)


def check_size(wanted: Wanted, part: Part) -> None:
    """Raises where the size that the server told cannot be the file's, or the disk has no room for it."""
    if part.total is not None and (part.total > wanted.most or wanted.bytes not in (None, part.total)):
        raise wrong_size(wanted, part.total)
    folder = next(p for p in part.path.absolute().parents if p.exists())
    needed = (part.total or wanted.bytes or 0) - part.bytes + wanted.room + SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{needed:,} bytes are needed on the disk of {folder}, and {free:,} are free.",
            "Make room, or set MIND2MIND_HOME to a folder on another disk. What is there so far is kept.",
        )


def check_kind(wanted: Wanted, part: Part) -> None:
    """Raises NotTheFileError where the part does not begin as such files do."""
    with part.path.open("rb") as file:
        head = file.read(HEAD)
    if not wanted.magics or head.startswith(wanted.magics):
        return
    if head.lstrip()[:1] == b"<":
        raise NotTheFileError(web_page(wanted, head.decode("utf-8", "replace")))
    problem = f"What {wanted.url} gave is not the file it should be: it begins with {head[:8]!r}."
    raise NotTheFileError(WeightsError(problem, f"Try again later. {OTHERWISE}"))


def checked(wanted: Wanted, part: Part) -> str:
    """The hash of a part that is whole; raises NotTheFileError where it is something else."""
    check_kind(wanted, part)
    if wanted.bytes not in (None, part.bytes):
        raise wrong_size(wanted, part.bytes)
    digest = sha256(part.path)
    if wanted.sha256 in (None, digest):
        return digest
    problem = f"What {wanted.url} gave is not the file it should be: SHA-256 {digest}, not {wanted.sha256}."
    fix = "It was damaged on its way, or whoever publishes it has changed it. Try again."
    raise NotTheFileError(WeightsError(problem, fix))


def wrong_size(wanted: Wanted, size: int) -> NotTheFileError:
    """It has another size."""
    expected = f"{wanted.bytes:,}" if wanted.bytes is not None else f"at most {wanted.most:,}"
    problem = f"{wanted.url} gives {size:,} bytes instead of {expected}."
    return NotTheFileError(WeightsError(problem, f"Try again later. {OTHERWISE}"))


def unwritable(path: Path, error: OSError) -> DataError:
    """The disk does not take it."""
    what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    fix = "Make room, or set MIND2MIND_HOME to another folder; the same command then goes on."
    return DataError(f"{path} could not be written: {what}.", fix)


def broken(wanted: Wanted, part: Part, error: Exception) -> WeightsError:
    """No connection brings more."""
    reason = str(error) or type(error).__name__
    if not part.bytes:
        fix = "Check the internet connection; what is already here works without it."
        return WeightsError(f"{wanted.host} cannot be reached: {reason}.", f"{fix} {OTHERWISE}")
    of = f" of {part.total:,}" if part.total else ""
    problem = f"The connection to {wanted.host} broke after {part.bytes:,}{of} bytes: {reason}."
    return WeightsError(problem, "What is there is kept: the same command goes on from it.")


def web_page(wanted: Wanted, page: str) -> WeightsError:
    """A page came."""
    said = f" (“{title(page)}”)" if title(page) else ""
    return WeightsError(
        f"{wanted.host} gave a web page{said} and not the file {wanted.url}.",
        "This network may want a log-in, or too many people fetched the file today: open the address in a "
        f"browser, or try again later. {OTHERWISE}",
    )


def beginning(chunks: Iterable[bytes]) -> str:
    """The text of a page, cut off after PAGE bytes."""
    content = b""
    for chunk in chunks:
        content += chunk
        if len(content) > PAGE:
            break
    return content[:PAGE].decode("utf-8", "replace")


def title(page: str) -> str:
    """The page's title, on one line of at most 100 characters."""
    match = re.search(r"<title[^>]*>(.*?)</title", page, re.IGNORECASE | re.DOTALL)
    line = " ".join(html.unescape(match[1]).split())[:100] if match else ""
    return "".join(letter for letter in line if letter.isprintable())  # it may be shown by a terminal


def confirmation(page: str, url: str) -> str | None:
    """Where Drive's question leads, whether one wants a file too large to be checked; never to another host.

    Args:
        page: what lies at `url`.
        url: the page's own address.
    """
    form = _Form()
    form.feed(page)
    if form.action is None:
        return None
    with suppress(ValueError):  # what makes no address
        target, own = urlsplit(urljoin(url, form.action)), urlsplit(url)
        if (target.scheme, target.netloc) == (own.scheme, own.netloc):
            return target._replace(query=urlencode(form.values), fragment="").geturl()
    return None


class _Form(HTMLParser):
    """The form called `download-form`, with its hidden values."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "form" and at.get("id") == "download-form":
            self.action = at.get("action", "")
        elif tag == "input" and self.action is not None and at.get("name"):
            self.values[at["name"]] = at.get("value", "")


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
