"""Finds a model by what users call it, and keeps the last few in memory.

A reference is a catalogue id, a token (of a finished run or of an opened bundle) or, unless the server is
public, a folder: a bundle's or a run's.
"""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from mind2mind import remote, sources
from mind2mind.cards import CONFIG, SOURCE, WEIGHTS, read_config
from mind2mind.checkpoints import Model, load_source, load_transfer
from mind2mind.errors import ConfigError, RunError, WeightsError
from mind2mind.home import find_run, is_token, opened
from mind2mind.runs import Run, is_run
from mind2mind.sources import ModelInfo

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
        self.shelves = (weights, sources.downloads_folder(home))
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
        return sources.catalogue(*self.shelves)

    def source_ref(self, ref: str) -> str:
        """The source that `ref` was made on, or `ref` itself: a catalogue id, or a folder wherever one stands."""
        folder, hint = self.locate(ref)
        named = sources.named_source(read_config(folder))
        source = ref if named is None else hint or named
        is_folder = source and not sources.shelved(self.shelves, source) and Path(source).is_dir()
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
        name = source_ref or sources.named_source(config)
        if not name:
            raise WeightsError(
                f"The card of '{config.get('id')}' does not say which source model it draws with.",
                "Convert or make it again with its source (mind2mind convert FILE --source MODEL).",
            )
        try:
            if source_ref is None and not sources.shelved(self.shelves, name):  # a bundle names no folders
                raise WeightsError("It is not in the catalogue.", remote.how_to_get(name))
            return self.model(name)
        except WeightsError as error:
            raise WeightsError(
                f"The source model '{name}' that '{config.get('id')}' was made on is not here.",
                f"{error} A transfer draws with its source: get that one first.",
            ) from error

    def locate(self, ref: str) -> tuple[Path, str | None]:
        """The bundle's folder, and what its source is called if that is known without opening it."""
        ref = str(ref)
        if folder := sources.shelved(self.shelves, ref):
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
        if self.folders and (remote.hub_id(ref) or ref in remote.REMOTE):
            raise WeightsError(f"The model '{ref}' is not here.", f"{remote.how_to_get(ref)} {fix}")
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
