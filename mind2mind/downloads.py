"""Models from elsewhere into bundles of the home: fetched, checked, converted, and only then in the catalogue.

`downloads/<id>/` are the bundles, `downloads/downloads.json` says where each came from and which SHA-256 the
fetched file had: where none is published, the first one counts and later downloads are compared with it.
`downloads/.parts/<id>/` holds what is not done yet, under a lock, so that two processes do not meet in it.
"""

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mind2mind import arrivals, hub, sources
from mind2mind.cards import CONFIG, PREVIEW, SOURCE, read_config
from mind2mind.checkpoints import Model, load_source, load_transfer
from mind2mind.errors import ConfigError, DataError, RunError, WeightsError
from mind2mind.fetch import Fetched, FetchProgress, fetch
from mind2mind.files import read_json, write_json
from mind2mind.library import Library
from mind2mind.remote import REMOTE, HubId, Remote, folder_name, hub_id, is_repository, size_text
from mind2mind.unpickle import LEGACY_MAGIC
from mind2mind.wanted import Wanted

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
                    f"For another revision remove it first: mind2mind download --remove {model_id}.",
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
                f"Try again; if its authors replaced it: {remote.command} --accept-changed.",
            )
        yield Converting(remote.id)
        try:
            bundle = arrivals.convert_official(remote, fetched, parts, source)
            model = self._load(bundle, source)
        except (WeightsError, ConfigError) as error:
            shutil.rmtree(parts, ignore_errors=True)
            problem = f"What {remote.url} gave is not {remote.title}: {error.problem}"
            raise WeightsError(problem, f"Try again later. {error.fix}") from error
        note = {"from": remote.url, "bytes": fetched.bytes, "sha256": fetched.sha256}
        yield self._place(remote.id, bundle, model, note)

    def _from_hub(self, wanted: HubId) -> Iterator[Event]:
        repository, parts = wanted.repository, self._parts(wanted.repository)
        state = hub.look_up(wanted, parts)
        work, source, fetched = parts / state.commit, None, None
        for file in state.files:  # config.json first: what is none of ours ends before its weights come
            rest = sum(f.bytes for f in state.files) - file.bytes
            fetched = yield from _told(repository, file.name, hub.fetch_file(state, file, work, rest))
            if file.name == CONFIG:
                needs = sources.named_source(read_config(work))
                source = (yield from self._source(needs, repository)) if needs is not None else None
        assert fetched is not None  # look_up promises the weights, and they come last
        yield Converting(repository)
        write_json(work / CONFIG, read_json(work / CONFIG) | {"id": repository})  # as it is called here
        sources.describe(work)
        model = self._load(work, source)
        arrivals.check_preview(work / PREVIEW)
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
        arrivals.draw_preview(model, folder / PREVIEW)
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
