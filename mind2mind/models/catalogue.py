"""The catalogue of models: which there are, where they lie, what their cards say, and what else can be had.

Bundled models are the folders of `weights/` that hold a bundle, downloaded ones those of `downloads/` in the home,
opened ones (transfers that a visitor brought) those of `models/` there. A model is known by its id, which is the
folder's name (`owner--name` is the Hub's `owner/name`), an opened one by its token.

`downloads/downloads.json` says where each download came from and which SHA-256 the file had: where none is published,
the first one counts and later downloads are compared with it. `downloads/.parts/<id>/` holds what is not done yet.
"""

import builtins
import logging
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from mind2mind import files
from mind2mind.config import Limits
from mind2mind.errors import COMMAND, ConfigError, DataError, RunError, WeightsError
from mind2mind.models import bundle, hub, official
from mind2mind.models.bundle import CONFIG, OPENED, PREVIEW, WEIGHTS, Model, ModelInfo
from mind2mind.models.hub import REMOTE, Downloading, Remote, folder_name, hub_id

log = logging.getLogger(__name__)

FIRST = "toon128", "toon64"  # the app begins with the first of them that is here
KEPT = 6  # models in memory; transfers share their source's networks
RECORD = "downloads.json"
CAPS = hub.CAPS | {WEIGHTS: 200_000_000}  # bytes of an opened bundle's files


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
# What downloads.json keeps of one: the url, of the Hub's repository or of the file; the sha256 of the fetched
# weights; a repository's commit, and the revision that was asked for; when it came
Origin = dict[str, Any]


def weights_folder() -> Path:
    """Where the bundled models lie: `$MIND2MIND_WEIGHTS`, or `weights/` beside the package."""
    return Path(os.environ.get("MIND2MIND_WEIGHTS") or Path(__file__).resolve().parents[2] / "weights")


def pick_device(name: str) -> torch.device:
    """The device called `name`.

    Raises:
        ConfigError: there is none of that name here.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # the device `meta` has no number
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"There is no device '{name}' here.", "Choose auto or cpu.") from error
    return device


class Catalogue:
    """Models by reference: a catalogue id, a token or, unless the server is public, a folder (a bundle's or a run's).

    Any thread may call any method.

    Args:
        home: holds `downloads/` and `models/`.
        weights: the folder of the bundled models.
        device: where models are loaded.
        limits: what users may ask for.
        find_run: gives the bundle's folder and the source of the run that a reference names, None if it names none;
            with `owned` a token that only looks is refused.
        draw_preview: writes a picture of a model's samples to a path.
    """

    def __init__(
        self,
        home: Path,
        weights: Path,
        device: torch.device,
        limits: Limits,
        *,
        find_run: Callable[..., tuple[Path, str] | None],
        draw_preview: Callable[[Model, Path], None],
    ) -> None:
        self.home, self.device, self.limits = home, device, limits
        self.public = limits.keep_hours is not None
        self.downloads = home / "downloads"
        self.shelves = (weights, self.downloads)
        self._find_run, self._draw_preview = find_run, draw_preview
        self._kept = lru_cache(KEPT)(self._open)
        self._turn = lru_cache(KEPT)(lambda *opened: threading.Lock())

    # What is here

    def list(self) -> builtins.list[ModelInfo]:
        """The catalogue, FIRST and then by name; damaged models are left out, with one warning each in the log."""
        found: dict[str, ModelInfo] = {}
        for model_id in self.ids:
            try:
                info = self.locate(model_id)
                files.read_meta(info.folder / WEIGHTS)  # their beginning tells whether all is there
                found[model_id] = replace(info, id=model_id)
            except WeightsError as error:  # noqa: PERF203
                _tell(str(error))
        return [*(found.pop(name) for name in FIRST if name in found), *found.values()]

    @property
    def ids(self) -> builtins.list[str]:
        """Of all that lies in the catalogue, damaged or not."""
        found = (config for shelf in self.shelves for config in sorted(shelf.glob(f"*/{CONFIG}")))
        return [*dict.fromkeys(hub.id_of(config.parent.name) for config in found)]

    def load(self, ref: str) -> Model:
        """The model that `ref` names; the last few are kept in memory.

        Raises:
            WeightsError: there is none, it is damaged, or its source is missing.
            RunError: it is a run that has no model yet.
        """
        info = self.locate(ref)
        weights = info.folder / WEIGHTS
        changed = weights.stat().st_mtime_ns if weights.exists() else 0
        if info.needs == "":
            raise WeightsError(
                f"The card of '{info.id}' does not say which source model it draws with.",
                f"Convert or make it again with its source: {COMMAND} convert FILE --source MODEL --out FOLDER",
            )
        try:
            source = None if info.needs is None else self._source(info.needs)
            wanted = (info.folder, source, changed)
            with self._turn(*wanted):  # others who want this model wait for it, and nobody else does
                return self._kept(*wanted)
        except WeightsError as error:
            if info.needs is None:
                raise
            problem = f"'{info.id}' cannot be drawn with its source model '{info.needs}': {error.problem}"
            raise WeightsError(problem, error.fix) from error

    def locate(self, ref: str, *, owned: bool = False) -> ModelInfo:
        """What the card of `ref` says, in which folder its bundle lies, and what its source is called here.

        Raises:
            WeightsError: there is no such model, or it is damaged.
            RunError: it is a run that has no model yet, or where it must be `owned` the token only looks.
        """
        ref = str(ref)
        given = Path(ref) if ref and not self.public and (Path(ref) / CONFIG).exists() else None
        folder, source = self._shelved(ref) or given or bundle.opened(self.home, ref), None
        if folder is None and (found := self._find_run(ref, owned=owned)):
            folder, source = found
        if folder is None:
            known = ", ".join(info.id for info in self.list()) or "none is installed"
            where = "" if self.public else ", or give the folder of a model or of a run"
            get = "" if self.public else hub.how_to_get(ref)
            fix = f"{get}Choose one of these: {known}{where}."
            raise WeightsError(f"There is no model '{ref}' here.", fix)
        info = bundle.describe(folder)
        return replace(info, needs=source or info.needs)

    def source_ref(self, ref: str) -> str:
        """The source that `ref` was made on, or `ref` itself: a catalogue id, or a folder wherever one stands."""
        info = self.locate(ref)
        if info.needs is not None:
            return info.needs
        return ref if self._shelved(ref) else str(info.folder.absolute())

    def source(self, ref: str) -> Model:
        """The source of `ref`."""
        return self.load(self.source_ref(ref))

    def _shelved(self, model_id: str) -> Path | None:
        """The folder of a catalogue id, or None; it never leads out of the catalogue."""
        name = folder_name(model_id)
        folders = [shelf / name for shelf in self.shelves] if _is_plain(name) else []
        return next((folder for folder in folders if (folder / CONFIG).exists()), None)

    def _open(self, folder: Path, source: Model | None, changed: int = 0) -> Model:
        """The bundle in a folder; `changed` makes a new file new."""
        return bundle.load_transfer(folder, source) if source else bundle.load_source(folder, self.device)

    def _source(self, name: str) -> Model:
        """A model that draws another's codes; a transfer on a transfer might be one on itself."""
        if self.locate(name).kind != "source":
            raise WeightsError(f"'{name}' is a transfer.", "Ask whoever made the model for its source.")
        return self.load(name)

    # What can be had

    def available(self, *, here: bool = False) -> builtins.list[Remote]:
        """Published models that can be downloaded and are not here; with `here` those that are, too."""
        return [remote for remote in REMOTE.values() if here or not self._shelved(remote.id)]

    def check_network(self) -> str:
        """What the environment says of proxies.

        Raises:
            ConfigError: it names a proxy or certificates that no download can use.
        """
        hub.http_client({}).close()
        return ", ".join(name for name in os.environ if name.lower().endswith("_proxy")) or "no proxy"

    def download(self, ref: str, *, accept_changed: bool = False) -> Generator[Event, None, None]:
        """Downloads a published model, or `owner/name[@revision]` from the Hub, with the source it needs.

        Whoever stops asking for events stops it; what is there is kept, and the same call goes on from it.

        Args:
            ref: an id of one that is `available`, or a Hub id.
            accept_changed: whether the file may differ from the one that was downloaded before.

        Raises:
            ConfigError: the server is public, or the environment lets no download out.
            WeightsError: there is no such model, it cannot be reached, or what came is not it.
            DataError: the disk is full or cannot be written.
            RunError: another process is downloading it.
        """
        self._own("download")
        if ref not in REMOTE and not hub_id(ref):
            raise WeightsError(
                f"'{ref}' is nothing that can be downloaded.",
                f"Choose one of {', '.join(REMOTE)}, or give owner/name of a repository on the Hugging Face Hub.",
            )
        return self._download(ref, accept_changed)

    def _download(self, ref: str, accept_changed: bool) -> Generator[Event, None, None]:
        model_id, revision = hub_id(ref) or (ref, None)
        with self._locked(model_id):
            note, parts = self._noted().get(model_id), self._parts(model_id)
            before = note if isinstance(note, dict) else {}  # it may be of an earlier version
            digest, commit = before.get("sha256", ""), before.get("commit")
            if folder := self._shelved(model_id):
                at = revision if revision and len(revision) >= 7 else "none"
                if revision not in (None, before.get("revision")) and not str(commit).startswith(at):
                    raise DataError(
                        f"'{model_id}' is already here, at {commit or 'no known commit'}.",
                        f"For another revision delete it first: {COMMAND} download --delete {model_id}",
                    )
                yield Downloaded(model_id, folder, digest, commit, new=False)
                return
            if model_id in REMOTE:
                known = None if accept_changed else digest or None
                fetched, source, origin = yield from self._published(REMOTE[model_id], parts, known)
            else:
                fetched, source, origin = yield from self._from_hub(model_id, revision, parts)
            model = self._open(fetched, source)
            folder = self.downloads / folder_name(model_id)
            with files.writing(folder):
                origin["when"] = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
                # first: no model is without its note
                with files.locked(self.downloads / ".record.lock", timeout=10):
                    files.write_json(self.downloads / RECORD, self._noted() | {model_id: origin})
                bundle.move_in(fetched, folder)
            shutil.rmtree(parts, ignore_errors=True)
            try:
                self._draw_preview(model, folder / PREVIEW)
            except (RuntimeError, MemoryError) as error:  # too little memory: the model is here all the same
                log.warning("The preview of %s could not be drawn: %s", model_id, error)
            yield Downloaded(model_id, folder, origin["sha256"], origin["commit"], new=True)

    def _published(
        self, remote: Remote, parts: Path, known: str | None
    ) -> Generator[Event, None, tuple[Path, Model | None, Origin]]:
        """The bundle of a published file, not yet in its place, the source it needs, and where it is from.

        `known` is the SHA-256 that the file must have, if any.
        """
        source = (yield from self._needed(remote.needs, remote.id)) if remote.needs else None
        file, out = parts / ("file.zip" if source else "file.pth"), parts / "bundle"
        if remote.url.startswith(hub.DRIVE) and not file.exists():
            hub.from_drive(remote.url, file)
        digest = yield from hub.fetch(remote.url, file, remote.title, digest=known, room=remote.kept_bytes)
        yield Converting(remote.id)
        shutil.rmtree(out, ignore_errors=True)  # of a conversion that was broken off
        came = f"Converted from {remote.url} ({file.stat().st_size:,} bytes, SHA-256 {digest})."
        card = replace(remote, notes=f"{remote.notes} {came}".strip())
        try:
            if source:
                bundle.unpack(file, official.MOST, parts)
                file = parts / official.MINDGAN_FILE
            official.convert(file, out, architecture=remote.architecture, card=card, source=source)
        except (WeightsError, ConfigError) as error:
            shutil.rmtree(parts, ignore_errors=True)
            problem = f"What {remote.url} gave is not {remote.title}: {error.problem}"
            raise WeightsError(problem, f"Try again later. {error.fix}") from error
        return out, source, {"url": remote.url, "sha256": digest, "commit": None, "revision": None}

    def _from_hub(
        self, repository: str, revision: str | None, parts: Path
    ) -> Generator[Event, None, tuple[Path, Model | None, Origin]]:
        """The same of a bundle on the Hub."""
        found = hub.look_up(repository, revision)
        work, source = parts / found.commit, None
        for name, (size, wanted) in found.files.items():
            url, most = found.address + name, min(size, hub.CAPS[name])
            headers = found.headers
            digest = yield from hub.fetch(url, work / name, name, digest=wanted, most=most, headers=headers)
            if name == CONFIG:  # the first: what is none of ours ends before its weights come
                needs = bundle.describe(work).needs
                source = (yield from self._needed(needs, repository)) if needs is not None else None
        yield Converting(repository)
        config = files.read_json(work / CONFIG) | {"id": repository}  # as it is called here
        files.write_json(work / CONFIG, config)
        origin = {
            "url": found.address,
            "sha256": digest,
            "commit": found.commit,
            "revision": revision or "main",
        }
        return work, source, origin

    def _needed(self, needs: str, needed_by: str) -> Generator[Event, None, Model]:
        """The source that a transfer draws with, downloaded if need be."""
        if not self._shelved(needs):
            if not needs or needs == needed_by or not (needs in REMOTE or hub_id(needs)):
                named = f"the source '{needs}'" if needs else "a source that its card does not name"
                raise WeightsError(
                    f"'{needed_by}' draws with {named}, which is not here and cannot be downloaded.",
                    "Ask whoever made it for the source model, and copy its folder to weights/.",
                )
            yield from self.download(needs)
        return self._source(needs)

    def delete(self, model_id: str) -> int:
        """Deletes a downloaded model and what a broken download of it left; gives the bytes freed.

        Raises:
            ConfigError: the server is public.
            WeightsError: there is nothing of it here.
            RunError: it is being downloaded.
        """
        self._own("delete")
        if not _is_plain(folder_name(model_id)):
            raise WeightsError(f"'{model_id[:80]}' was not downloaded.", "Give the id of a downloaded model.")
        folders = [self.downloads / folder_name(model_id), self._parts(model_id)]
        with self._locked(model_id):
            freed = sum(map(files.bytes_in, folders))
            if not freed:
                here = ", ".join(m.id for m in self.list() if m.folder.parent == self.downloads) or "none"
                raise WeightsError(f"'{model_id}' was not downloaded.", f"Downloaded models here: {here}.")
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _noted(self) -> dict[str, Any]:
        path = self.downloads / RECORD
        return files.read_json(path) if path.exists() else {}

    def _parts(self, model_id: str) -> Path:
        return self.downloads / ".parts" / folder_name(model_id)

    def _locked(self, model_id: str) -> AbstractContextManager[object]:
        """The lock of a model's download, held until the end of the block."""
        path = self.downloads / ".locks" / f"{folder_name(model_id)}.lock"
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:  # an app asks for each event in another thread
                return files.locked(path, timeout=0, thread_local=False)
            except Timeout as error:
                fix = "Wait for its end, or stop it; what is there is kept."
                raise RunError(f"'{model_id}' is being downloaded already.", fix) from error

    # In and out

    def export(self, ref: str, path: Path) -> Path:
        """The bundle of a run (or of any other reference) as a zip; gives the file's path, which ends in .zip."""
        self.load(ref)
        folder, path = self.locate(ref, owned=True).folder, zip_at(path)
        with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name in bundle.PARTS:
                if (folder / name).exists():
                    entry = zipfile.ZipInfo(name)  # of no date: the same bundle gives the same bytes
                    archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
        return path

    def take_in(self, path: Path) -> str:
        """Takes in an exported transfer, a zip, and gives the token it is known by here.

        Raises:
            WeightsError: it is none, damaged, or its source is not here.
            DataError: the disk is full.
        """
        files.check_disk(self.home, self.limits.disk_bytes)
        token = files.new_token()
        folder = self.home / OPENED / token
        try:
            bundle.unpack(path, CAPS, folder)
            bundle.describe(folder, "transfer")
            self._draw_preview(self.load(token), folder / PREVIEW)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, WeightsError):  # names what was given, not where it was unpacked
                raise WeightsError(error.problem.replace(str(folder), path.name), error.fix) from error
            raise
        return token

    def card_for(self, ref: str, repository: str) -> str:
        """The card with which `publish` would send a transfer to the Hub's repository `owner/name`."""
        return hub.card_for(self.locate(ref).folder, repository)

    def publish(self, ref: str, repository: str, token: str | None = None, *, private: bool = True) -> str:
        """Sends a transfer (a run, an opened bundle) to a new repository on the Hub; gives its address.

        Args:
            ref: the transfer.
            repository: `owner/name`.
            token: of the Hub; None is the one kept by `hf auth login`, which is never used for visitors.
            private: only its owner sees it.

        Raises:
            ConfigError: this is no name of a repository, or the environment lets nothing out.
            WeightsError: it is no transfer, or the Hub refuses or is not reached.
        """
        if token is None:
            self._own("publish")
        return hub.publish(self.locate(ref, owned=True).folder, repository, token, private=private)

    def _own(self, verb: str) -> None:
        if self.public:
            raise ConfigError(f"Visitors cannot {verb} models here.", "Run Mind2Mind on your own computer.")


@lru_cache
def _tell(damage: str) -> None:
    log.warning("%s", damage)  # once: each look at the catalogue finds it


def _is_plain(name: str) -> bool:
    """Whether it names a folder in a folder, and nothing elsewhere."""
    return name == Path(name).name and not name.startswith(".") and 0 < len(name) < 200 and "\0" not in name


def zip_at(path: Path) -> Path:
    """The path, which gets the ending .zip where it is missing."""
    return path if path.suffix.lower() == ".zip" else path.with_name(path.name + ".zip")
