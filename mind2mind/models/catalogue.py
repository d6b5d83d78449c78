"""What a model costs on this computer: seconds for a picture, and memory.

Measured by drawing and encoding one picture, once for each source model; transfers cost what their source
does. The rules that follow from it (how many pictures are asked for, whether a slider draws while it is
dragged) are here, and nowhere else.
"""

import json
import logging
import os
import re
import shutil
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from mind2mind.config import ARCHITECTURES, Architecture
from mind2mind.errors import COMMAND, ConfigError, RunError, WeightsError
from mind2mind.files import atomic
from mind2mind.models.bundle import (
    CARD,
    CONFIG,
    PARTS,
    PREVIEW,
    SOURCE,
    WEIGHTS,
    Model,
    load_source,
    load_transfer,
    read_config,
)
from mind2mind.runs.run import OPENED, Run, find_run, is_run, is_token, new_token, opened

log = logging.getLogger(__name__)

# --- What can be had from elsewhere: the models their authors published, and the names of Hub repositories.
# A table and a grammar; nothing here touches the network. None of these files has a published size or hash: the
# size is told by the server, the hash is kept at the first download (see `downloads`).

BUCKET = "https://alaeweights.s3.us-east-2.amazonaws.com/"  # of ALAE's authors
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
MINDGAN_FILE = "17ZUtqR6nYw1pUxzKKyb5EJUTZF7s1SYW"  # a zip with output/submitted/, of MindGAN's authors

_ALAE = "Pidhorskyi, Adjeroh and Doretto, Adversarial Latent Autoencoders (arXiv 2004.04467)"
_MINDGAN = "Frégier and Gouray, Mind2Mind (arXiv 1906.11613)"
_BYTES = {"ffhq": 217_198_444, "celeba-hq256": 215_915_604, "bedroom": 170_587_732, "celeba": 53_537_864}
_REPOSITORY = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?"  # as the Hub names owners and repositories
_HUB = re.compile(rf"({_REPOSITORY}/{_REPOSITORY})(?:@([\w][\w./-]{{0,199}}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Remote:
    """A published model: what it is, whose, and where its file lies."""

    id: str
    title: str
    knows: str  # one line, as on a card
    credit: str
    licence: str
    url: str
    kept_bytes: int  # of its bundle once converted, float32
    architecture: str | None = None  # a name of config.ARCHITECTURES; None for a MindGAN
    needs: str | None = None  # the id of the source it draws with
    notes: str = ""

    @property
    def kind(self) -> str:
        """source or transfer."""
        return "transfer" if self.needs else "source"

    @property
    def resolution(self) -> int | None:
        """Pixels a side; None for a transfer, which draws as its source does."""
        return ARCHITECTURES[self.architecture].resolution if self.architecture else None

    @property
    def command(self) -> str:
        """What fetches it."""
        return f"{COMMAND} download {self.id}"


def _alae(id: str, path: str, what: str, knows: str, data: str, architecture: str) -> Remote:
    return Remote(
        id=id,
        title=f"ALAE {what}",
        knows=knows,
        credit=_ALAE,
        licence=f"Apache-2.0 as its authors state; trained on {data}",
        url=BUCKET + path,
        kept_bytes=_BYTES[architecture],
        architecture=architecture,
    )


_FFHQ = "photographs of faces, aligned as those of FFHQ"
_FFHQ_DATA = "FFHQ, which is for non-commercial use"
_CELEBA_DATA = "CelebA, which is for non-commercial research"
_TABLE = (
    _alae("ffhq", "ffhq/model_submitted.pth", "FFHQ", _FFHQ, _FFHQ_DATA, "ffhq"),
    _alae("ffhq-157", "ffhq/model_157.pth", "FFHQ, epoch 157", _FFHQ, _FFHQ_DATA, "ffhq"),
    _alae("ffhq-194", "ffhq/model_194.pth", "FFHQ, epoch 194", _FFHQ, _FFHQ_DATA, "ffhq"),
    _alae("celeba", "celeba/model_final.pth", "CelebA", "faces of well-known people", _CELEBA_DATA, "celeba"),
    _alae(
        "celeba-hq256",
        "celeba-hq256/model_262r.pth",
        "CelebA-HQ, epoch 262",
        "faces of well-known people, aligned as those of CelebA-HQ",
        _CELEBA_DATA,
        "celeba-hq256",
    ),
    _alae(
        "celeba-hq256-580r",
        "celeba-hq256/model_580r.pth",
        "CelebA-HQ, epoch 580",
        "faces of well-known people, aligned as those of CelebA-HQ",
        _CELEBA_DATA,
        "celeba-hq256",
    ),
    _alae(
        "bedroom",
        "bedroom/model_final.pth",
        "LSUN Bedroom",
        "photographs of bedrooms",
        "LSUN, whose pictures have no stated licence",
        "bedroom",
    ),
    Remote(
        id="mindgan-celeba",
        title="MindGAN, CelebA from FFHQ",
        knows="faces as in CelebA, drawn with the model ffhq",
        credit=_MINDGAN,
        licence=f"Apache-2.0 as its authors state; trained on {_CELEBA_DATA}",
        url=DRIVE + MINDGAN_FILE,
        kept_bytes=2_000_000,  # by the published sizes of its layers
        needs="ffhq",
        notes="The authors' own transfer.",
    ),
)
REMOTE = {remote.id: remote for remote in _TABLE}


@dataclass(frozen=True, slots=True)
class HubId:
    """A repository on the Hugging Face Hub: `owner/name`, or `owner/name@revision`."""

    repository: str
    revision: str | None = None  # a branch, a tag or a commit; None is the main branch


def hub_id(text: str) -> HubId | None:
    """The repository that `text` may name, or None. A path such as `runs/mine` looks the same."""
    match = _HUB.fullmatch(text)
    if match is None or "--" in match[1] or ".." in text:  # neither occurs on the Hub
        return None
    return HubId(match[1], match[2])


def is_repository(text: str) -> bool:
    """Whether `text` may name a Hub repository, without a revision."""
    found = hub_id(text)
    return found is not None and found.revision is None


def folder_name(model_id: str) -> str:
    """The folder of a model's id: `owner/name` becomes `owner--name`."""
    return model_id.replace("/", "--") if is_repository(model_id) else model_id


def id_of(folder: str) -> str:
    """The other way round."""
    model_id = folder.replace("--", "/")
    return model_id if is_repository(model_id) else folder


def how_to_get(model_id: str) -> str:
    """What to do about a model that is not here."""
    if model_id in REMOTE:
        return f"Get it with `{REMOTE[model_id].command}`."
    if found := hub_id(model_id):
        known = f" It is then known as {found.repository}." if found.revision else ""
        return f"If it is a repository on the Hugging Face Hub, get it with `{COMMAND} download {model_id}`.{known}"
    return "Copy its folder to weights/."


# --- The catalogue of models: which there are, where they lie, and what their cards say.
# Bundled models are the folders of `weights/` beside the package that hold a bundle, downloaded ones those of
# `downloads/` in the home. A model is known by its id, which is the folder's name (`owner--name` is the Hub's
# `owner/name`).


FIRST = "toon64"  # the model that the app begins with
MOST_TOLD = 1000  # characters of each line of a card


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model's card, without its weights."""

    id: str
    title: str
    knows: str  # one line: what it knows
    credit: str
    licence: str
    kind: str  # source or transfer
    resolution: int | None  # pixels a side; None for a transfer, which draws as its source does
    channels: int | None  # 1 or 3
    numbers: dict[str, Any]
    preview: Path | None
    folder: Path
    notes: str = ""
    crop: str = "centre"  # of the pictures it was trained on


def weights_folder() -> Path:
    """Where the bundled models lie: `$MIND2MIND_WEIGHTS`, or `weights/` beside the package."""
    given = os.environ.get("MIND2MIND_WEIGHTS")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "weights"


def describe(folder: Path) -> ModelInfo:
    """What the bundle in `folder` says of itself.

    Raises:
        WeightsError: there is no bundle, or its config.json is damaged.
    """
    config = read_config(folder)
    try:
        is_source = config["format"] == SOURCE
        architecture = Architecture.from_dict(config["architecture"]) if is_source else None
        preview = folder / PREVIEW
        return ModelInfo(
            **{name: _line(config[name]) for name in ("id", "title", "knows", "credit", "licence")},
            kind="source" if is_source else "transfer",
            resolution=architecture.resolution if architecture else None,
            channels=architecture.image_channels if architecture else None,
            numbers=dict(config.get("numbers", {})),
            preview=preview if preview.exists() else None,
            folder=folder,
            notes=str(config.get("notes", "")),
            crop=str(config.get("crop", "centre")),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise WeightsError(
            f"The config.json in {folder} is damaged: {error}.", "Copy or make the model again."
        ) from error


def _line(value: object) -> str:
    """One line for a page or a terminal, whatever a stranger wrote on the card."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[:MOST_TOLD])
    return " ".join(text.split())


def named_source(config: Mapping[str, Any]) -> str | None:
    """The id of the source that a transfer's config names, "" if it names none; None for a source."""
    if config["format"] == SOURCE:
        return None
    made_on = config.get("source")
    return str(made_on.get("id", "")) if isinstance(made_on, dict) else ""


def downloads_folder(home: Path) -> Path:
    """Where downloaded models lie."""
    return home / "downloads"


def catalogue(*shelves: Path) -> list[ModelInfo]:
    """The models in these folders, FIRST and then by name; damaged ones are left out, with a warning in the log."""
    found: dict[str, ModelInfo] = {}
    for config in (config for shelf in shelves for config in sorted(shelf.glob(f"*/{CONFIG}"))):
        try:
            model_id = id_of(config.parent.name)
            found.setdefault(model_id, replace(describe(config.parent), id=model_id))
        except WeightsError as error:  # noqa: PERF203
            log.warning("%s", error)
    return sorted(found.values(), key=lambda info: info.id != FIRST)  # the others stay as they are


def bundled(shelf: Path, model_id: str) -> Path | None:
    """The folder of a catalogue id in this folder, or None."""
    name = folder_name(model_id)
    plain = name == Path(name).name and not name.startswith(".") and len(name) < 200 and "\0" not in name
    folder = shelf / name
    return folder if plain and (folder / CONFIG).exists() else None


def shelved(shelves: Sequence[Path], model_id: str) -> Path | None:
    """The folder of a catalogue id in the first of these folders that has it, or None."""
    return next(filter(None, (bundled(shelf, model_id) for shelf in shelves)), None)


# --- Finds a model by what users call it, and keeps the last few in memory.
# A reference is a catalogue id, a token (of a finished run or of an opened bundle) or, unless the server is
# public, a folder: a bundle's or a run's.

KEPT = 6  # models in memory; transfers share their source's networks


class Library:
    """Models by reference.

    Args:
        home: holds `runs/`, `models/` and `downloads/`.
        weights: the catalogue's folder.
        folders: whether a reference may be a folder.
    """

    def __init__(self, home: Path, weights: Path, device: torch.device, *, folders: bool) -> None:
        self.home, self.device, self.folders = home, device, folders
        self.shelves = (weights, downloads_folder(home))
        self._kept: OrderedDict[tuple[str, int], Model] = OrderedDict()
        self._guard = threading.RLock()

    def model(self, ref: str) -> Model:
        """The model that `ref` names.

        Raises:
            WeightsError: there is none, it is damaged, or its source is missing.
            RunError: it is a run that has no model yet.
        """
        folder, source_ref = self.locate(ref)
        try:
            key = (str(folder), (folder / WEIGHTS).stat().st_mtime_ns)
        except OSError as error:
            fix = "Copy or make the model again."
            raise WeightsError(f"The model {folder.name} has no {WEIGHTS}.", fix) from error
        with self._guard:
            if key not in self._kept:
                self._kept[key] = self._load(folder, source_ref)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def models(self) -> list[ModelInfo]:
        """The catalogue."""
        return catalogue(*self.shelves)

    def source_ref(self, ref: str) -> str:
        """The source that `ref` was made on, or `ref` itself: a catalogue id, or a folder wherever one stands."""
        folder, hint = self.locate(ref)
        named = named_source(read_config(folder))
        source = ref if named is None else hint or named
        is_folder = source and not shelved(self.shelves, source) and Path(source).is_dir()
        return str(Path(source).absolute()) if is_folder else source

    def source(self, ref: str) -> Model:
        """The source of `ref`."""
        return self.model(self.source_ref(ref))

    def _load(self, folder: Path, source_ref: str | None) -> Model:
        config = read_config(folder)
        if config["format"] == SOURCE:
            return load_source(folder, self.device)
        return load_transfer(folder, self._source_of(config, source_ref))

    def _source_of(self, config: dict[str, Any], source_ref: str | None) -> Model:
        name = source_ref or named_source(config)
        if not name:
            raise WeightsError(
                f"The card of '{config.get('id')}' does not say which source model it draws with.",
                f"Convert or make it again with its source: {COMMAND} convert FILE --source MODEL --out FOLDER",
            )
        try:
            if source_ref is None and not shelved(self.shelves, name):  # a bundle names no folders
                raise WeightsError("It is not in the catalogue.", how_to_get(name))
            return self.model(name)
        except WeightsError as error:
            raise WeightsError(
                f"The source model '{name}' that '{config.get('id')}' was made on is not here.",
                f"{error} A transfer draws with its source: get that one first.",
            ) from error

    def locate(self, ref: str) -> tuple[Path, str | None]:
        """The bundle's folder, and what its source is called if that is known without opening it."""
        ref = str(ref)
        if folder := shelved(self.shelves, ref):
            return folder, None
        if self.folders and ref:  # before tokens: a folder's name may look like one
            folder = Path(ref)
            if is_run(folder):
                return _of_run(Run(folder))
            if (folder / CONFIG).exists():
                return folder, None
        if is_token(ref):
            folder = opened(self.home, ref)
            return (folder, None) if folder else _of_run(find_run(self.home, ref))
        known = ", ".join(info.id for info in self.models()) or "none is installed"
        where = ", or give the folder of a model or of a run" if self.folders else ""
        fix = f"Choose one of these: {known}{where}."
        if self.folders and (hub_id(ref) or ref in REMOTE):
            raise WeightsError(f"The model '{ref}' is not here.", f"{how_to_get(ref)} {fix}")
        raise WeightsError(f"There is no model '{ref}'.", fix)


def _of_run(run: Run) -> tuple[Path, str]:
    info = run.info
    if not run.has_model:
        raise RunError(
            f"The run is {run.state} and has no model yet.", "Wait for its end, or stop it and keep the work."
        )
    return run.bundle, info["model"]


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
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"There is no device '{name}' here.", "Choose auto or cpu.") from error
    if device.type == "meta":
        raise ConfigError("The device 'meta' computes nothing.", "Choose auto or cpu.")
    return device


# --- A model bundle as one zip: packed for download, unpacked with distrust, and taken into the home.
# Only the known names are read, each up to a size of its own; nothing is extracted by a name from the zip, so
# neither paths nor sizes in it are believed. The preview is not taken over: whoever opens the bundle draws it.

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bundle gives the same bytes
_CAPS = {CONFIG: 1_000_000, CARD: 1_000_000, WEIGHTS: 200_000_000}  # bytes


def zip_at(path: Path) -> Path:
    """The path, which gets the ending .zip where it is missing."""
    return path if path.suffix.lower() == ".zip" else path.with_name(path.name + ".zip")


def pack(folder: Path, path: Path) -> Path:
    """Writes the bundle in `folder` to a zip at `path`; the ending .zip is added where it is missing."""
    path = zip_at(path)
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PARTS:
            if (folder / name).exists():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, (folder / name).read_bytes())
    return path


def take_in(library: Library, path: Path) -> str:
    """Opens an exported transfer, a zip or a folder; gives the token that it is known by from now on.

    Raises:
        WeightsError: it is none, damaged, or its source is not here.
    """
    token = new_token()
    folder = library.home / OPENED / token
    try:
        unpack(path, folder)
        model = library.model(token)
        if model.kind != "transfer":
            raise WeightsError(
                f"'{model.card.id}' is a source, not a transfer.", "Give its folder as the model."
            )
        from mind2mind.draw import save_sheet

        save_sheet(model, folder / PREVIEW)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, WeightsError):  # names what was given, not where it was unpacked
            raise WeightsError(error.problem.replace(str(folder), path.name), error.fix) from error
        raise
    return token


def unpack(source: Path, folder: Path) -> None:
    """Copies a bundle from a zip, or from a folder, into `folder`; it is not checked further here.

    Raises:
        WeightsError: no zip, damaged, without a bundle in it, or too large.
    """
    found = _from_folder(source) if source.is_dir() else _from_zip(source)
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in found]:
        raise WeightsError(
            f"{source.name} holds no {' and no '.join(missing)}.",
            "Give a model that was exported here: a zip or a folder with both of them.",
        )
    try:
        json.loads(found[CONFIG])
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{CONFIG} in {source.name} is damaged.", "Export or download it again."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)


def _from_folder(source: Path) -> dict[str, bytes]:
    found = {}
    for name, cap in _CAPS.items():
        path = source / name
        if path.is_file():
            if path.stat().st_size > cap:
                raise _too_large(name, cap)
            found[name] = path.read_bytes()
    return found


def _from_zip(source: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                name = PurePosixPath(entry.filename).name  # a folder around the bundle is fine
                if name in _CAPS and name not in found:
                    with archive.open(entry) as member:
                        found[name] = member.read(_CAPS[name] + 1)
                    if len(found[name]) > _CAPS[name]:
                        raise _too_large(name, _CAPS[name])
    except WeightsError:
        raise
    except Exception as error:  # a damaged or hostile zip may raise anything
        raise WeightsError(
            f"{source.name} is no whole zip file: {error}.", "Export or download it again."
        ) from error
    return found


def _too_large(name: str, cap: int) -> WeightsError:
    return WeightsError(f"{name} is larger than {cap:,} bytes.", "No model made here is so large.")
