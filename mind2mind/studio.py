"""The facade: pictures and seeds in, pictures and events out. App and command line call nothing below it.

It owns the device, the models in memory and the runs' home. Any thread may call any method.
"""

import builtins
from collections.abc import Generator
from pathlib import Path

import torch

from mind2mind.config import LOCAL, Limits
from mind2mind.draw import Draw, keep_freed
from mind2mind.errors import ConfigError
from mind2mind.files import kept_secret
from mind2mind.models import catalogue as bundles
from mind2mind.models import hub as downloads
from mind2mind.models import hub as publish
from mind2mind.models.bundle import Model
from mind2mind.models.catalogue import Library, ModelInfo, Remote, pick_device
from mind2mind.runs.queue import Runs, check_disk
from mind2mind.runs.run import home_folder


class Models:
    """What models there are, here and elsewhere."""

    def __init__(self, home: Path, weights: Path, device: torch.device, limits: Limits) -> None:
        self.home, self.limits = home, limits
        self.public = limits.keep_hours is not None
        self.library = Library(home, weights, device, folders=not self.public)
        self.downloads = downloads.Downloads(home, self.library)

    def list(self) -> builtins.list[ModelInfo]:
        """The catalogue."""
        return self.library.models()

    def load(self, ref: str) -> Model:
        """A model by catalogue id, token or folder (a bundle's or a run's).

        Raises:
            WeightsError: there is none, or it is damaged.
            RunError: it is a run that has no model yet.
        """
        return self.library.model(ref)

    def available(self) -> builtins.list[Remote]:
        """Published models that can be downloaded and are not here."""
        return self.downloads.available()

    def download(self, ref: str, *, accept_changed: bool = False) -> Generator[downloads.Event, None, None]:
        """Brings a published model, or `owner/name[@revision]` of the Hub, into the catalogue; see Downloads.get.

        Raises:
            ConfigError: the server is public.
        """
        self._own("download")
        return self.downloads.get(ref, accept_changed=accept_changed)

    def delete(self, model_id: str) -> int:
        """Deletes a downloaded model, or what a broken download left of it; gives the bytes freed.

        Raises:
            WeightsError: it was not downloaded.
            ConfigError: the server is public.
        """
        self._own("remove")
        return self.downloads.remove(model_id)

    def export(self, token: str, path: Path) -> Path:
        """The bundle of a run (or of any other reference) as a zip; gives the file's path."""
        self.load(token)
        return bundles.pack(self.library.locate(token)[0], Path(path))

    def take_in(self, path: Path) -> str:
        """Takes in an exported transfer, a zip or a folder, and gives the token it is known by here.

        Raises:
            WeightsError: it is none, damaged, or its source is not here.
        """
        check_disk(self.home, self.limits)
        return bundles.take_in(self.library, Path(path))

    def card_for(self, ref: str, repository: str) -> str:
        """The card with which `publish` would send a transfer to the Hub's repository `owner/name`."""
        return publish.card_for(self.library.locate(ref)[0], repository)

    def publish(self, ref: str, repository: str, token: str | None = None, *, private: bool = True) -> str:
        """Sends a transfer (a run, an opened bundle) to a new repository on the Hub; gives its address.

        Args:
            ref: the transfer.
            repository: `owner/name`.
            token: of the Hub; None is the one kept by `hf auth login`, which is never used for visitors.
            private: only its owner sees it.
        """
        if token is None:
            self._own("publish")
        return publish.publish(self.library.locate(ref)[0], repository, token, private=private)

    def _own(self, verb: str) -> None:
        if self.public:
            raise ConfigError(f"Visitors cannot {verb} models here.", "Run Mind2Mind on your own computer.")


class Studio:
    """Everything the product can do.

    Args:
        device: auto (CUDA, else MPS, else the CPU), or a device of torch.
        home: the runs' folder; None is `$MIND2MIND_HOME`, else the platform's data directory.
        limits: what users may ask for; under PUBLIC models and runs are known by id and token only.
        weights: the folder of the catalogue's models; None is the bundled one.

    Raises:
        ConfigError: there is no such device.
    """

    def __init__(
        self,
        device: str = "auto",
        home: Path | None = None,
        limits: Limits = LOCAL,
        weights: Path | None = None,
    ) -> None:
        keep_freed()
        self.device = pick_device(device)
        self.home = home_folder(home)
        self.limits = limits
        self.public = limits.keep_hours is not None
        self.weights = Path(weights or bundles.weights_folder()).absolute()
        self.models = Models(self.home, self.weights, self.device, limits)
        self.draw = Draw(self.models.library, limits)
        self.runs = Runs(self.home, self.weights, limits, self.models.library)

    @property
    def secret(self) -> str:
        """What the app hides in browsers is hidden with; kept with the data, so that it outlives a restart."""
        return kept_secret(self.home / "browser.key")
