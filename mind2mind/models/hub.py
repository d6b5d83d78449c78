"""Models elsewhere: what their authors published, and bundles on the Hugging Face Hub, to fetch and to publish.

None of the published files has a stated size or hash: the server tells the size, and the hash is kept at the first
download. Of a repository on the Hub only a bundle's files are fetched, all of one commit; of a transfer that is
published only these go there, no codes and no copies of the originals. The Hub is asked by `huggingface_hub`; the
bytes come as all others do (`fetch`), which stops, goes on, and checks hashes. Only Google Drive has a client of its
own.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mind2mind.config import ARCHITECTURES
from mind2mind.errors import COMMAND, PIP, ConfigError, WeightsError
from mind2mind.models.bundle import CARD, CONFIG, PARTS, WEIGHTS, ModelInfo, describe, slug, usage
from mind2mind.models.fetch import OTHERWISE
from mind2mind.models.official import ALAE_CREDIT, MINDGAN_CREDIT

if TYPE_CHECKING:
    from huggingface_hub import HfApi


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
    except ImportError as error:
        raise ConfigError(
            "Files on Google Drive need the package gdown.", f"Install it: {PIP} gdown"
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        gdown.download(url=url, output=str(path), quiet=True, resume=True)
    except Exception as error:  # of gdown and of the libraries it calls
        said = " ".join(str(error).split())[:300] or type(error).__name__
        fix = f"Open the address in a browser, or try again later. {OTHERWISE}"
        raise WeightsError(f"Google Drive does not give {url}: {said}.", fix) from error


# --- The Hub

# Bytes at most, in the order of fetching; previews are drawn here
CAPS = {CONFIG: 1 << 20, CARD: 1 << 20, WEIGHTS: 2 << 30}
# The Hub's names of licences that sources have; any other is told as it is written
LICENCES = ("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-sa-3.0")
_ASKING = threading.Lock()


@contextmanager
def _hub(token: str | None, refusals: Mapping[int, tuple[str, str]], otherwise: str) -> Iterator["HfApi"]:
    """The Hub's client, for what the user asks of it: also in the app, which sets HF_HUB_OFFLINE for its libraries.

    Raises:
        WeightsError: what `refusals` say of the answer's code, else `otherwise` with what the client said.
    """
    from huggingface_hub import HfApi, constants

    with _ASKING:
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
        try:
            yield HfApi(token=token)
        except Exception as error:  # the client raises those of several libraries
            status = getattr(getattr(error, "response", None), "status_code", 0)
            if status in refusals:
                raise WeightsError(*refusals[status]) from error
            said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            raise WeightsError(f"{otherwise}: {said}", "Try again in a moment.") from error
        finally:
            constants.HF_HUB_OFFLINE = before


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
        files = {name: found[name] for name in CAPS if name in found}
        commit, address = str(told.sha), f"{api.endpoint}/{repository}/resolve/{told.sha}/"
    if lacking := [part for part in (CONFIG, WEIGHTS) if part not in files]:
        fix = "Give a repository with a model that was made by Mind2Mind."
        raise WeightsError(f"{name} holds no {' and no '.join(lacking)}.", fix)
    for part, (size, _) in files.items():
        if size > CAPS[part]:
            problem = f"{part} in {name} has {size:,} bytes, more than {CAPS[part]:,}."
            raise WeightsError(problem, "No model made by Mind2Mind is so large.")
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
        ConfigError: this is no name of a repository.
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
