"""A transfer's bundle to the Hugging Face Hub, as a repository of its own: private unless asked otherwise.

Only the four files of a bundle go there: no codes, no copies of the originals. The card gets the front matter
that the Hub reads. `huggingface_hub` is called here and nowhere else for that.
"""

import hashlib
import json
import logging
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout
from PIL import Image

from mind2mind import draw as gallery
from mind2mind.config import ARCHITECTURES, size_text
from mind2mind.data.images import grid, save_png
from mind2mind.errors import COMMAND, ConfigError, DataError, RunError, WeightsError
from mind2mind.files import atomic, read_json, write_json
from mind2mind.models import bundle as cards
from mind2mind.models import catalogue as sources
from mind2mind.models.bundle import (
    CARD,
    CONFIG,
    PARTS,
    PREVIEW,
    SOURCE,
    TRANSFER,
    WEIGHTS,
    Card,
    Model,
    load_source,
    load_transfer,
    read_config,
)
from mind2mind.models.catalogue import (
    REMOTE,
    HubId,
    Library,
    Remote,
    folder_name,
    hub_id,
    is_repository,
)
from mind2mind.models.fetch import Fetched, FetchProgress, Wanted, fetch
from mind2mind.models.official import LEGACY_MAGIC, convert

log = logging.getLogger(__name__)

# --- Repositories on the Hugging Face Hub that hold a bundle of ours: which files, of which commit.
# Only the four files of a bundle are ever asked for. A branch or tag is resolved to a commit first, so that all
# are of one state and that state can be named later. The Hub tells sizes and hashes; the bytes are fetched as
# all others are (`fetch`), since what the app sets against calls of its libraries (HF_HUB_OFFLINE) would stop
# `huggingface_hub` from what the user asked for.

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


# --- What has been fetched becomes a bundle of ours: taken out of its zip, converted, with a card and a preview.
# MindGAN's authors published a zip: its weights and its parameters are taken out, nothing else. Both get names of
# our own, and are cut off at sizes of our own: neither paths nor sizes in the zip are believed.


PREVIEWED, PREVIEW_SIDE = 4, 256  # pictures, and pixels of each at most
PREVIEW_MOST = 8192  # pixels a side of one that comes with a model
FOLDER = "submitted"
NAMES = ("model299.pth", "model_299.pth")  # the authors' name, and the one their code writes
PARAMETERS = "parameters.json"
MOST_WEIGHTS, MOST_PARAMETERS = 500_000_000, 1_000_000  # bytes; a MindGAN with its optimisers has some 12 MB


def convert_official(remote: Remote, fetched: Fetched, parts: Path, source: Model | None) -> Path:
    """The bundle of a fetched file, in a folder in `parts`; a MindGAN's zip needs its source.

    Raises:
        WeightsError: the file is not what the table says.
        DataError: the disk is full.
    """
    bundle = parts / folder_name(remote.id)
    shutil.rmtree(bundle, ignore_errors=True)  # of a conversion that was broken off
    notes = f"Converted from {remote.url} ({fetched.bytes:,} bytes, SHA-256 {fetched.sha256})."
    notes = f"{remote.notes} {notes}".strip()
    card = Card(remote.id, remote.title, remote.knows, remote.credit, remote.licence, notes=notes)
    if source is None:
        architecture = ARCHITECTURES[remote.architecture] if remote.architecture else None
        return convert(fetched.path, bundle, architecture=architecture, card=card)
    weights, parameters = take_out(fetched.path, parts)
    return convert(weights, bundle, parameters=parameters, card=card, source=source)


def take_out(archive: Path, folder: Path) -> tuple[Path, Path | None]:
    """Writes the MindGAN in `archive` into `folder`; gives the paths of its weights and of its parameters.

    Raises:
        WeightsError: it is no whole zip, holds no MindGAN, or one that is too large.
        DataError: the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            weights = _weights(opened, archive)
            beside = str(PurePosixPath(weights).parent / PARAMETERS)
            target = folder / NAMES[0]
            _copy(opened, weights, target, MOST_WEIGHTS)
            if beside not in opened.namelist():
                return target, None
            _copy(opened, beside, folder / PARAMETERS, MOST_PARAMETERS)
            return target, folder / PARAMETERS
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        UnicodeError,
        ValueError,
    ) as error:
        problem = f"{archive.name} is no whole zip file: {error}."  # RuntimeError: it has a password
        raise WeightsError(problem, "Download it again.") from error


def _weights(opened: zipfile.ZipFile, archive: Path) -> str:
    """The name in the zip of the weights: those in a folder called `submitted`, or the only ones."""
    found = [name for name in opened.namelist() if name.endswith(".pth") and "__MACOSX" not in name]
    submitted = [name for name in found if FOLDER in PurePosixPath(name).parts]
    named = [name for name in submitted if PurePosixPath(name).name in NAMES]
    for choice in (named, submitted, found):
        if len(choice) == 1:
            return choice[0]
    listed = f"{len(found)} .pth files, of which {len(submitted)} in a folder '{FOLDER}'"
    raise WeightsError(
        f"{archive.name} holds {listed}: which is the MindGAN cannot be told.",
        f"Unpack it, and convert the file: {COMMAND} convert FILE --source ffhq --out weights/mindgan",
    )


def _copy(opened: zipfile.ZipFile, name: str, target: Path, most: int) -> None:
    with atomic(target) as temporary, opened.open(name) as member, temporary.open("wb") as file:
        size = 0
        try:
            while chunk := member.read(1 << 20):
                size += len(chunk)
                if size > most:
                    problem = f"{PurePosixPath(name).name} in the zip is larger than {most:,} bytes."
                    raise WeightsError(problem, "No MindGAN is so large.")
                file.write(chunk)
        except zlib.error as error:
            raise zipfile.BadZipFile(str(error)) from error


def check_preview(path: Path) -> None:
    """Deletes a preview that is no ordinary PNG: the page shows it."""
    if not path.exists():
        return
    try:
        with Image.open(path, formats=["PNG"]) as image:
            fine = max(image.size) <= PREVIEW_MOST
            if fine:
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        fine = False
    if not fine:
        path.unlink()


def draw_preview(model: Model, path: Path) -> None:
    """Draws one for a model that has none; what it shows is small, since a 1024 px picture takes a while."""
    if path.exists():
        return
    psi = model.alae.architecture.truncation_psi if model.kind == "source" else 1.0
    try:
        pictures = gallery.sample(model, range(PREVIEWED), psi=psi)
        for picture in pictures:
            picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        meta = gallery.provenance(model, seeds=f"0-{PREVIEWED - 1}", psi=psi, noise="random")
        save_png(grid(pictures), path, meta)
    except (RuntimeError, MemoryError) as error:  # too little memory for it: the model is here all the same
        log.warning("The preview of %s could not be drawn: %s", model.card.id, error)


# --- Models from elsewhere into bundles of the home: fetched, checked, converted, and only then in the catalogue.
# `downloads/<id>/` are the bundles, `downloads/downloads.json` says where each came from and which SHA-256 the
# fetched file had: where none is published, the first one counts and later downloads are compared with it.
# `downloads/.parts/<id>/` holds what is not done yet, under a lock, so that two processes do not meet in it.

ZIP = b"PK\x03\x04"
RECORD = "downloads.json"


@dataclass(frozen=True, slots=True)
class Downloading:
    """Bytes of one file of a model."""

    id: str
    file: str
    done: int
    total: int | None
    rate: float  # bytes a second

    @property
    def seconds_left(self) -> float | None:
        """None while that is not known."""
        return None if self.total is None or self.rate <= 0 else (self.total - self.done) / self.rate

    @property
    def standing(self) -> str:
        """How far it is, in words."""
        of = f" of {size_text(self.total)}" if self.total else ""
        seconds = self.seconds_left or 0.0
        left = f", about {seconds / 60:.0f} min left" if seconds > 90 else f", {seconds:.0f} s left"
        return f"{size_text(self.done)}{of}, {size_text(round(self.rate))} a second{left if of else ''}"


@dataclass(frozen=True, slots=True)
class Converting:
    """All bytes are here; the file becomes a bundle."""

    id: str


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A model is in the catalogue: the last event, and before it the same for a source that it needs."""

    id: str
    folder: Path
    sha256: str  # of the fetched weights
    commit: str | None  # of a Hub repository
    new: bool  # False: it was already here


Event = Downloading | Converting | Downloaded


class Downloads:
    """The downloaded models of one home.

    Args:
        home: holds `downloads/`.
        library: finds the sources that transfers need.
    """

    def __init__(self, home: Path, library: Library) -> None:
        self.folder, self.library = sources.downloads_folder(home), library

    def get(self, ref: str, *, accept_changed: bool = False) -> Generator[Event, None, None]:
        """Downloads a model of the table, or `owner/name[@revision]` from the Hub, with the source it needs.

        Whoever stops asking for events stops it; what is there is kept, and the same call goes on from it.

        Args:
            ref: an id of `remote.REMOTE`, or a Hub id.
            accept_changed: whether the file may differ from the one that was downloaded before.

        Raises:
            WeightsError: there is no such model, it cannot be reached, or what came is not it.
            DataError: the disk is full or cannot be written.
            RunError: another process is downloading it.
        """
        if ref in REMOTE:
            return self._get(HubId(ref), lambda: self._official(REMOTE[ref], accept_changed))
        if wanted := hub_id(ref):
            return self._get(wanted, lambda: self._from_hub(wanted))
        raise WeightsError(
            f"'{ref}' is nothing that can be downloaded.",
            f"Choose one of {', '.join(REMOTE)}, or give owner/name of a repository on the Hugging Face Hub.",
        )

    def available(self) -> list[Remote]:
        """What could be downloaded and is not here."""
        return [r for r in REMOTE.values() if not sources.shelved(self.library.shelves, r.id)]

    def remove(self, model_id: str) -> int:
        """Deletes a downloaded model and what a broken download of it left; gives the bytes freed.

        Raises:
            WeightsError: there is nothing of it here.
            RunError: it is being downloaded.
        """
        known = model_id in REMOTE or sources.bundled(self.folder, model_id) or is_repository(model_id)
        folders = [self.folder / folder_name(model_id), self._parts(model_id)] if known else []
        with self._locked(model_id) if known else nullcontext():
            files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
            if not files:
                here = ", ".join(info.id for info in sources.catalogue(self.folder)) or "none"
                raise WeightsError(f"'{model_id}' was not downloaded.", f"Downloaded models here: {here}.")
            freed = sum(path.stat().st_size for path in files)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _get(self, wanted: HubId, bring: Callable[[], Iterator[Event]]) -> Generator[Event, None, None]:
        model_id = wanted.repository
        with self._locked(model_id):
            folder = sources.shelved(self.library.shelves, model_id)
            if folder is None:
                yield from bring()
                return
            noted = self._noted(model_id)
            commit = noted.get("commit")
            at = wanted.revision
            if at and at != noted.get("revision") and not (len(at) >= 7 and str(commit).startswith(at)):
                raise DataError(
                    f"'{model_id}' is already here, at {commit or 'no known commit'}.",
                    f"For another revision remove it first: {COMMAND} download --remove {model_id}",
                )
            yield Downloaded(model_id, folder, str(noted.get("sha256", "")), commit, new=False)

    def _official(self, remote: Remote, accept_changed: bool) -> Iterator[Event]:
        parts = self._parts(remote.id)
        source = (yield from self._source(remote.needs, remote.id)) if remote.needs else None
        file = parts / ("file.zip" if remote.needs else "file.pth")
        magics = (ZIP,) if remote.needs else (ZIP, LEGACY_MAGIC)
        fetched = yield from _told(
            remote.id, remote.title, fetch(Wanted(remote.url, file, magics, room=remote.kept_bytes))
        )
        before = self._noted(remote.id)
        if not accept_changed and before.get("sha256", fetched.sha256) != fetched.sha256:
            shutil.rmtree(parts, ignore_errors=True)
            raise WeightsError(
                f"{remote.url} is not the file that was downloaded at {before.get('when')}: its SHA-256 is "
                f"{fetched.sha256}, not {before['sha256']}.",
                f"Try again; if its authors replaced it: {remote.command} --accept-changed",
            )
        yield Converting(remote.id)
        try:
            bundle = convert_official(remote, fetched, parts, source)
            model = self._load(bundle, source)
        except (WeightsError, ConfigError) as error:
            shutil.rmtree(parts, ignore_errors=True)
            problem = f"What {remote.url} gave is not {remote.title}: {error.problem}"
            raise WeightsError(problem, f"Try again later. {error.fix}") from error
        note = {"from": remote.url, "bytes": fetched.bytes, "sha256": fetched.sha256}
        yield self._place(remote.id, bundle, model, note)

    def _from_hub(self, wanted: HubId) -> Iterator[Event]:
        repository, parts = wanted.repository, self._parts(wanted.repository)
        state = look_up(wanted, parts)
        work, source, fetched = parts / state.commit, None, None
        for file in state.files:  # config.json first: what is none of ours ends before its weights come
            rest = sum(f.bytes for f in state.files) - file.bytes
            fetched = yield from _told(repository, file.name, fetch_file(state, file, work, rest))
            if file.name == CONFIG:
                needs = sources.named_source(read_config(work))
                source = (yield from self._source(needs, repository)) if needs is not None else None
        assert fetched is not None  # look_up promises the weights, and they come last
        yield Converting(repository)
        write_json(work / CONFIG, read_json(work / CONFIG) | {"id": repository})  # as it is called here
        sources.describe(work)
        model = self._load(work, source)
        check_preview(work / PREVIEW)
        note = {"from": repository, "revision": wanted.revision or "main", "commit": state.commit}
        yield self._place(repository, work, model, note | {"bytes": fetched.bytes, "sha256": fetched.sha256})

    def _source(self, needs: str, needed_by: str) -> Generator[Event, None, Model]:
        """The source that a transfer draws with, downloaded if need be."""
        if sources.shelved(self.library.shelves, needs) is None:
            if not needs or needs == needed_by or not (needs in REMOTE or hub_id(needs)):
                named = f"the source '{needs}'" if needs else "a source that its card does not name"
                raise WeightsError(
                    f"'{needed_by}' draws with {named}, which is not here and cannot be downloaded.",
                    "Ask whoever made it for the source model, and copy its folder to weights/.",
                )
            yield from self.get(needs)
        folder, _ = self.library.locate(needs)
        if read_config(folder)["format"] != SOURCE:
            fix = "Ask whoever made it for the right one."
            raise WeightsError(f"'{needs}', which '{needed_by}' names as its source, is a transfer.", fix)
        return self.library.model(needs)

    def _load(self, bundle: Path, source: Model | None) -> Model:
        device = self.library.device
        return load_source(bundle, device) if source is None else load_transfer(bundle, source)

    def _place(self, model_id: str, bundle: Path, model: Model, note: dict[str, Any]) -> Downloaded:
        """The bundle into the catalogue, the rest away; its preview is drawn if it has none."""
        folder = self.folder / folder_name(model_id)
        try:
            with FileLock(self.folder / ".record.lock", timeout=10):  # first: a model is never without it
                path = self.folder / RECORD
                record = read_json(path) if path.exists() else {}
                when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
                write_json(path, record | {model_id: note | {"when": when}})
            shutil.rmtree(folder, ignore_errors=True)  # something without a config.json
            bundle.replace(folder)
        except (OSError, Timeout) as error:
            raise DataError(
                f"{folder} could not be written: {error}.", "Make room, then try again."
            ) from error
        shutil.rmtree(self._parts(model_id), ignore_errors=True)
        draw_preview(model, folder / PREVIEW)
        return Downloaded(model_id, folder, str(note["sha256"]), note.get("commit"), new=True)

    def _noted(self, model_id: str) -> dict[str, Any]:
        """What is known of the download of a model; {} if nothing is."""
        path = self.folder / RECORD
        note = read_json(path).get(model_id) if path.exists() else None
        return note if isinstance(note, dict) else {}

    def _parts(self, model_id: str) -> Path:
        return self.folder / ".parts" / folder_name(model_id)

    @contextmanager
    def _locked(self, model_id: str) -> Iterator[None]:
        path = self.folder / ".locks" / f"{folder_name(model_id)}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # an app asks for each event in another thread
            lock = FileLock(path, timeout=0, thread_local=False).acquire()
        except Timeout as error:
            fix = "Wait for its end, or stop it; what is there is kept."
            raise RunError(f"'{model_id}' is being downloaded already.", fix) from error
        except OSError as error:
            fix = "Set MIND2MIND_HOME to a folder that you may write to."
            raise DataError(f"{path.parent} cannot be written: {error.strerror or error}.", fix) from error
        with lock:
            yield


def _told(
    model_id: str, name: str, events: Iterator[FetchProgress | Fetched]
) -> Generator[Event, None, Fetched]:
    """The events of a file as those of its model; gives the last."""
    fetched = None
    for event in events:  # to their end: a check may come after the last
        if isinstance(event, Fetched):
            fetched = event
        else:
            yield Downloading(model_id, name, event.done, event.total, event.rate)
    assert fetched is not None  # or there is an exception
    return fetched


# The Hub's names of licences that sources have; any other is told as it is written
LICENCES = ("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-sa-3.0")
PROMISE = "Your pictures and their codes stay here: only the model, its card and 16 samples are sent."


def card_for(folder: Path, repository: str) -> str:
    """What the repository's README.md will be.

    Raises:
        ConfigError: this is no name of a repository.
        WeightsError: there is no transfer in `folder`.
    """
    _check_name(repository)
    config = read_config(folder)
    if config["format"] != TRANSFER:
        raise WeightsError(f"'{config.get('id')}' is a source, not a transfer.", "Publish what you trained.")
    card = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).exists() else ""
    text, _, _ = card.partition("\n## Use\n")
    return f"{_front_matter(config)}\n{text.rstrip()}\n\n{_use(repository)}"


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
    from huggingface_hub import HfApi

    text, api = card_for(folder, repository), HfApi(token=token)
    with tempfile.TemporaryDirectory() as work:
        for part in PARTS:
            if (folder / part).exists():
                shutil.copy(folder / part, work)
        (Path(work) / CARD).write_text(text, encoding="utf-8")
        made = False
        try:
            url = api.create_repo(repository, private=private, exist_ok=False)
            made = True
            api.upload_folder(repo_id=repository, folder_path=work, commit_message="A transfer of Mind2Mind")
        except Exception as error:  # the Hub's client raises those of several libraries
            if made:  # an empty repository would stand in the way of the next try
                with suppress(Exception):
                    api.delete_repo(repository)
            raise _refused(repository, error) from error
    return str(url)


def _refused(repository: str, error: Exception) -> WeightsError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 409:
        return WeightsError(f"There is already a repository '{repository}'.", "Choose another name.")
    if status in (401, 403):
        return WeightsError(
            f"The Hub does not let you make '{repository}'.",
            "Sign in again, and take your own name, or that of an organisation that you may write to.",
        )
    said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    return WeightsError(f"The Hub did not take '{repository}': {said}", "Try again in a moment.")


def _check_name(repository: str) -> None:
    if not is_repository(repository):
        raise ConfigError(
            f"'{repository[:80]}' is no name of a repository.", "Give owner/name: letters, digits, - _ and ."
        )


def _front_matter(config: dict[str, object]) -> str:
    licence = str(config.get("licence", ""))
    name = licence.lower().replace(" ", "-")
    lines = ["---", f"license: {name if name in LICENCES else 'other'}"]
    if name not in LICENCES:
        lines += [f"license_name: {cards.slug(licence)}"]
    lines += [
        "library_name: mind2mind",
        "pipeline_tag: unconditional-image-generation",
        "tags: [mind2mind, gan, transfer-learning]",
        f"model_name: {json.dumps(str(config.get('title', '')))}",  # JSON's strings are YAML's
        "---",
    ]
    return "\n".join(lines) + "\n"


def _use(repository: str) -> str:
    return (
        f"## Use\n\n```sh\npython -m mind2mind download {repository}\n```\n\n"
        f"```python\nimport mind2mind\n\n{cards.usage(repository)}\n```\n"
    )
