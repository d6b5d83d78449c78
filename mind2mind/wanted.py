"""What is wanted from the web, and what may come instead: a refusal, a web page, something of another size or kind.

Each becomes an error that says so. One page is no error: Drive's question whether a file too large to be checked
is wanted all the same; `confirmation` answers it for the user, who has asked for the file.
"""

import errno
import html
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from mind2mind.errors import DataError, WeightsError
from mind2mind.files import sha256
from mind2mind.parts import Part

if TYPE_CHECKING:
    import httpx

SPARE = 64 << 20  # bytes that stay free on the disk
MOST = 8 << 30  # bytes of any file; an official ALAE should have below 1 GB
PAGE = 1 << 20  # bytes of a web page that are looked at
HEAD = 512  # bytes that tell a file's kind
RETRIED = (408, 429, 500, 502, 503, 504)
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
