"""What comes from and goes to the internet: files, models that their authors published, bundles on the Hub.

A file comes whole or not at all. Its part lies beside the file to be (`NAME.part`), with a note of which file it is
the beginning of; the rest is asked for by HTTP Range and If-Range: a server whose file has changed in between sends
the whole of it, and the download begins anew. Whoever wants to stop just stops asking for events: the part is kept.
What is not the file is deleted.

None of the published files has a stated size or hash: the server tells the size, and the hash is kept at the first
download. Of a repository on the Hugging Face Hub only a bundle's files are fetched, all of one commit; of a transfer
that is published only these go there, no codes and no copies of the originals. The Hub is asked by `huggingface_hub`;
the bytes come as all others do. Only Google Drive has a client of its own.
"""

import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mind2mind.config import ARCHITECTURES, size_text
from mind2mind.errors import COMMAND, PIP, ConfigError, DataError, WeightsError
from mind2mind.files import check_disk, read_json, sha256, write_json, writing
from mind2mind.models.bundle import CARD, CONFIG, PARTS, WEIGHTS, ModelInfo, describe, slug, usage
from mind2mind.models.official import ALAE_CREDIT, MINDGAN_CREDIT

if TYPE_CHECKING:
    import httpx
    from huggingface_hub import HfApi


# --- One file from a web address

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
        problem = f"The proxy or the certificates cannot be used: {str(error).rstrip('.')}."
        names = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        fix = f"Look at {names} in the environment; an address of IPv6 has no brackets in NO_PROXY."
        raise ConfigError(problem, fix) from error


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
        check_disk(self.path.parent, None, total - self.done + self.room + SPARE)

    def delete(self) -> None:
        self.done, self.total, self.tag = 0, None, None
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


# --- What can be had: a table, which touches no network.


@dataclass(frozen=True)
class Remote(ModelInfo):
    """A published model: what it is, whose, and where its file lies."""

    url: str = ""
    kept_bytes: int = 0  # of its bundle once converted, float32

    @property
    def command(self) -> str:
        """What fetches it."""
        return f"{COMMAND} download {self.id}"


BUCKET = "https://alaeweights.s3.us-east-2.amazonaws.com/"  # of ALAE's authors
DRIVE = "https://drive.google.com/"
_LICENCE = "Apache-2.0 as its authors state; trained on "
_FFHQ = "FFHQ, which is for non-commercial use"
_CELEBA = "CelebA, which is for non-commercial research"
_LSUN = "LSUN, whose pictures have no stated licence"
# By the architecture: what they know, what they were trained on, the bytes of their bundle
_ALAE = {
    "ffhq": ("photographs of faces, aligned as those of FFHQ", _FFHQ, 217_198_444),
    "celeba": ("faces of well-known people", _CELEBA, 53_537_864),
    "celeba-hq256": ("faces of well-known people, aligned as those of CelebA-HQ", _CELEBA, 215_915_604),
    "bedroom": ("photographs of bedrooms", _LSUN, 170_587_732),
}
_FILES = {
    "ffhq": ("ffhq", "model_submitted", "FFHQ"),
    "ffhq-157": ("ffhq", "model_157", "FFHQ, epoch 157"),
    "ffhq-194": ("ffhq", "model_194", "FFHQ, epoch 194"),
    "celeba": ("celeba", "model_final", "CelebA"),
    "celeba-hq256": ("celeba-hq256", "model_262r", "CelebA-HQ, epoch 262"),
    "celeba-hq256-580r": ("celeba-hq256", "model_580r", "CelebA-HQ, epoch 580"),
    "bedroom": ("bedroom", "model_final", "LSUN Bedroom"),
}
REMOTE = {
    id: Remote(
        id=id,
        title=f"ALAE {title}",
        knows=_ALAE[name][0],
        credit=ALAE_CREDIT,
        licence=_LICENCE + _ALAE[name][1],
        architecture=ARCHITECTURES[name],
        url=f"{BUCKET}{name}/{file}.pth",
        kept_bytes=_ALAE[name][2],
    )
    for id, (name, file, title) in _FILES.items()
}
REMOTE["mindgan-celeba"] = Remote(
    id="mindgan-celeba",
    title="MindGAN, CelebA from FFHQ",
    knows="faces as in CelebA, drawn with the model ffhq",
    credit=MINDGAN_CREDIT,
    licence=_LICENCE + _CELEBA,
    notes="The authors' own transfer.",
    needs="ffhq",
    url=f"{DRIVE}uc?id=17ZUtqR6nYw1pUxzKKyb5EJUTZF7s1SYW",  # a zip
    kept_bytes=2_000_000,  # by the published sizes of its layers
)


# --- Names: `owner/name` of a repository, with `@revision` where one is meant; its folder is `owner--name`.

_NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?"  # as the Hub names owners and repositories
_HUB = re.compile(rf"({_NAME}/{_NAME})(?:@([\w][\w./-]{{0,199}}))?", re.ASCII)


def hub_id(text: str) -> tuple[str, str | None] | None:
    """The repository and the revision that `text` may name, or None. A path such as `runs/mine` looks the same."""
    match = _HUB.fullmatch(text)
    if match is None or "--" in match[1] or ".." in text:  # neither occurs on the Hub
        return None
    return match[1], match[2]


def folder_name(model_id: str) -> str:
    """The folder of a model's id: `owner/name` becomes `owner--name`."""
    return model_id.replace("/", "--") if hub_id(model_id) == (model_id, None) else model_id


def id_of(folder: str) -> str:
    """The other way round."""
    model_id = folder.replace("--", "/")
    return model_id if hub_id(model_id) else folder


def how_to_get(model_id: str) -> str:
    """How to get a model that is not here, a sentence and a space; "" where that is not known."""
    if model_id in REMOTE:
        return f"Get it with `{REMOTE[model_id].command}`. "
    if found := hub_id(model_id):
        known = f"It is then known as {found[0]}. " if found[1] else ""
        return f"If it is a repository on the Hugging Face Hub, get it with `{COMMAND} download {model_id}`. {known}"
    return ""


def from_drive(url: str, path: Path) -> None:
    """Gets a file from Google Drive by the package gdown, which knows Drive's questions and tells no progress.

    Raises:
        ConfigError: gdown is missing.
        WeightsError: Drive refuses.
    """
    try:
        import gdown  # type: ignore  # not among the requirements, and without types

        path.parent.mkdir(parents=True, exist_ok=True)
        gdown.download(url=url, output=str(path), quiet=True, resume=True)
    except ImportError as error:
        problem, fix = "Files on Google Drive need the package gdown.", f"Install it: {PIP} gdown"
        raise ConfigError(problem, fix) from error
    except Exception as error:  # of gdown and of the libraries it calls
        said = " ".join(str(error).split())[:300] or type(error).__name__
        fix = f"Open the address in a browser, or try again later. {OTHERWISE}"
        raise WeightsError(f"Google Drive does not give {url}: {said}.", fix) from error


# --- The Hub

# Bytes at most, in the order of fetching; previews are drawn here
CAPS = {CONFIG: 1 << 20, CARD: 1 << 20, WEIGHTS: 2 << 30}
# The Hub's names of licences that sources have; any other is told as it is written
LICENCES = ("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-sa-3.0")


@contextmanager
def _hub(token: str | None, refusals: Mapping[int, tuple[str, str]], otherwise: str) -> Iterator["HfApi"]:
    """The Hub's client.

    Raises:
        ConfigError: the environment forbids calls to the Hub, or see `http_client`.
        WeightsError: what `refusals` say of the answer's code, else `otherwise` with what the client said.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise ConfigError("HF_HUB_OFFLINE forbids calls to the Hub.", "Unset it and begin again.")
    http_client({}).close()
    try:
        yield HfApi(token=token)
    except Exception as error:  # the client raises those of several libraries
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status in refusals:
            raise WeightsError(*refusals[status]) from error
        said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise WeightsError(f"{otherwise}: {said}", "Try again in a moment.") from error


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit: the bytes and the SHA-256 (None for small ones) of a bundle's files in it."""

    address: str  # what comes before a file's name
    commit: str
    files: dict[str, tuple[int, str | None]]  # in the order of fetching
    headers: dict[str, str]  # the user's token


def look_up(repository: str, revision: str | None) -> Repository:
    """What is there now, at which commit.

    Raises:
        ConfigError: see `_hub`.
        WeightsError: there is no such repository or revision, it holds no bundle, or the Hub is not reached.
    """
    from huggingface_hub import get_token

    name = f"'{repository}'" + (f" at '{revision}'" if revision else "")
    fix = "Check its name. For one that is private log in first: hf auth login, or set HF_TOKEN."
    missing = (f"The Hub shows no repository {name}.", fix)
    with _hub(None, dict.fromkeys((401, 403, 404), missing), f"The Hub says nothing about {name}") as api:
        told = api.model_info(repository, revision=revision or "main", files_metadata=True)
        found = {
            file.rfilename: (int(file.size or 0), file.lfs.sha256 if file.lfs else None)
            for file in told.siblings or ()
        }
        commit, address = str(told.sha), f"{api.endpoint}/{repository}/resolve/{told.sha}/"
    if lacking := [part for part in (CONFIG, WEIGHTS) if part not in found]:
        fix = "Give a repository with a model that was made by Mind2Mind."
        raise WeightsError(f"{name} holds no {' and no '.join(lacking)}.", fix)
    files = {part: found[part] for part in CAPS if part in found}
    token = get_token()
    return Repository(address, commit, files, {"Authorization": f"Bearer {token}"} if token else {})


def card_for(folder: Path, repository: str) -> str:
    """What the repository's README.md will be: the transfer's card, with the front matter that the Hub reads.

    Raises:
        ConfigError: this is no name of a repository.
        WeightsError: there is no transfer in `folder`.
    """
    from huggingface_hub import ModelCardData

    if hub_id(repository) != (repository, None):
        fix = "Give owner/name: letters, digits, - _ and ."
        raise ConfigError(f"'{repository[:80]}' is no name of a repository.", fix)
    info = describe(folder, "transfer")
    licence = info.licence.lower().replace(" ", "-")
    data = ModelCardData(
        license=licence if licence in LICENCES else "other",
        license_name=None if licence in LICENCES else slug(licence),
        library_name="mind2mind",
        pipeline_tag="unconditional-image-generation",
        tags=["mind2mind", "gan", "transfer-learning"],
        model_name=info.title,
    )
    text, _, _ = (folder / CARD).read_text(encoding="utf-8").partition("\n## Use\n")
    use = (
        f"## Use\n\n```sh\npython -m mind2mind download {repository}\n```\n\n"
        f"```python\nimport mind2mind\n\n{usage(repository)}\n```\n"
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text.rstrip()}\n\n{use}"


def publish(folder: Path, repository: str, token: str | None, *, private: bool = True) -> str:
    """Makes the repository `owner/name` and sends the bundle in `folder` there; gives its address.

    Args:
        folder: of a transfer's bundle.
        repository: a new one; one that exists is not touched.
        token: of the Hub; None is the one that `hf auth login` has kept.
        private: only its owner sees it.

    Raises:
        ConfigError: this is no name of a repository, or see `_hub`.
        WeightsError: there is no transfer in `folder`, or the Hub refuses or is not reached.
    """
    from huggingface_hub import CommitOperationAdd

    fix = "Sign in again, and take your own name, or that of an organisation that you may write to."
    forbidden = (f"The Hub does not let you make '{repository}'.", fix)
    taken = (f"There is already a repository '{repository}'.", "Choose another name.")
    refusals = {401: forbidden, 403: forbidden, 409: taken}
    card = card_for(folder, repository)
    parts = [
        CommitOperationAdd(part, card.encode() if part == CARD else folder / part)
        for part in PARTS
        if (folder / part).exists()
    ]
    with _hub(token, refusals, f"The Hub did not take '{repository}'") as api:
        url = api.create_repo(repository, private=private, exist_ok=False)
        try:
            api.create_commit(repository, parts, commit_message="A transfer of Mind2Mind")
        except Exception:  # an empty repository would stand in the way of the next try
            with suppress(Exception):
                api.delete_repo(repository)
            raise
    return str(url)
