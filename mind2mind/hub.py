"""Repositories on the Hugging Face Hub that hold a bundle of ours: which files, of which commit.

Only the four files of a bundle are ever asked for. A branch or tag is resolved to a commit first, so that all
are of one state and that state can be named later. The Hub tells sizes and hashes; the bytes are fetched as
all others are (`fetch`), since what the app sets against calls of its libraries (HF_HUB_OFFLINE) would stop
`huggingface_hub` from what the user asked for.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mind2mind.cards import CARD, CONFIG, PREVIEW, WEIGHTS
from mind2mind.errors import WeightsError
from mind2mind.fetch import Fetched, FetchProgress, fetch
from mind2mind.files import read_json
from mind2mind.remote import HubId
from mind2mind.wanted import Wanted

# Bytes; in the order of fetching
CAPS = {CONFIG: 1 << 20, CARD: 1 << 20, PREVIEW: 32 << 20, WEIGHTS: 2 << 30}
NEEDED = (CONFIG, WEIGHTS)
MOST_TOLD = 32 << 20  # bytes of what the Hub says of a repository, all its files named
LOG_IN = "Check its name. For one that is private log in first: hf auth login, or set HF_TOKEN."


@dataclass(frozen=True, slots=True)
class HubFile:
    name: str
    bytes: int
    sha256: str | None  # of large files
    blob: str | None  # git's hash, of small ones


@dataclass(frozen=True, slots=True)
class State:
    """A repository at one commit, with the files of a bundle in it."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]


def look_up(wanted: HubId, work: Path) -> State:
    """What is there, at which commit; `work` is a folder to work in.

    Raises:
        WeightsError: there is no such repository or revision, it holds no bundle, or the Hub is not reached.
    """
    revision = wanted.revision or "main"
    url = f"{_endpoint()}/api/models/{wanted.repository}/revision/{quote(revision, safe='')}?blobs=true"
    name = f"'{wanted.repository}'" + (f" at '{wanted.revision}'" if wanted.revision else "")
    missing = (f"The Hub shows no repository {name}.", LOG_IN)
    answer = work / "revision.json"
    answer.unlink(missing_ok=True)  # of a call that was killed: maybe of another revision
    refusals = dict.fromkeys((401, 403, 404), missing)
    for _ in fetch(Wanted(url, answer, most=MOST_TOLD, headers=_credentials(), refusals=refusals)):
        pass  # a small document
    try:
        told = read_json(answer)
        commit = str(told["sha"])
        found = {str(f["rfilename"]): f for f in told["siblings"]}
        files = tuple(_file(name, found[name]) for name in CAPS if name in found)
    except (LookupError, TypeError, ValueError) as error:
        problem = f"The Hub's answer about {name} is not understood: {error!r}."
        raise WeightsError(problem, "Try again later, or update Mind2Mind.") from error
    finally:
        answer.unlink(missing_ok=True)
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise WeightsError(f"The Hub names no commit of {name}.", "Try again later.")
    if lacking := [name for name in NEEDED if name not in found]:
        fix = "Give a repository with a model that was made by Mind2Mind."
        raise WeightsError(f"{name} holds no {' and no '.join(lacking)}.", fix)
    if large := next((f for f in files if f.bytes > CAPS[f.name]), None):
        problem = f"{large.name} in {name} has {large.bytes:,} bytes, more than {CAPS[large.name]:,}."
        raise WeightsError(problem, "No model made by Mind2Mind is so large.")
    return State(wanted.repository, commit, files)


def fetch_file(state: State, file: HubFile, folder: Path, room: int) -> Iterator[FetchProgress | Fetched]:
    """Gets one file of the repository into `folder`, checked against what the Hub told of it."""
    url = f"{_endpoint()}/{state.repository}/resolve/{state.commit}/{file.name}"
    path = folder / file.name
    yield from fetch(
        Wanted(url, path, sha256=file.sha256, bytes=file.bytes, room=room, headers=_credentials())
    )
    if file.blob and not file.sha256:
        content = path.read_bytes()  # small: git keeps large ones by their SHA-256
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        if blob.hexdigest() != file.blob:
            path.unlink()
            raise WeightsError(f"{file.name} came damaged from the Hub.", "Try again.")


def _file(name: str, told: dict[str, Any]) -> HubFile:
    large = told.get("lfs") or {}
    digest, blob = large.get("sha256"), told.get("blobId")
    return HubFile(name, int(told["size"]), digest and str(digest), blob and str(blob))


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)  # HF_ENDPOINT, for mirrors


def _credentials() -> dict[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}
