"""The facade: pictures and seeds in, pictures and events out. App and command line call nothing below it.

It owns the device, the models in memory and the runs' home. Training itself is the worker's: `start` queues
a run and sees to it that a worker process is there; `attach` follows it through its folder. Whoever holds a
run's token may see, stop and delete it; there is no other key. Any thread may call any method.
"""

import builtins
from collections.abc import Collection, Generator, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mind2mind import draw as clips
from mind2mind import draw as gallery
from mind2mind import draw as memory
from mind2mind.config import BUDGETS, LOCAL, Crop, Limits, Recipe
from mind2mind.data import codes
from mind2mind.data.codes import EncodeProgress
from mind2mind.data.dataset import Report
from mind2mind.draw import Endpoint, Endpoints
from mind2mind.errors import ConfigError
from mind2mind.files import kept_secret
from mind2mind.models import catalogue as bundles
from mind2mind.models import catalogue as sources
from mind2mind.models import hub as downloads
from mind2mind.models import hub as publish
from mind2mind.models.bundle import Model
from mind2mind.models.catalogue import Cost, Library, Meter, ModelInfo, Remote, pick_device
from mind2mind.runs import prepared as intake
from mind2mind.runs import prepared as preflight
from mind2mind.runs import prepared as selection
from mind2mind.runs import queue as ledger
from mind2mind.runs import results as album
from mind2mind.runs import results as outcome
from mind2mind.runs import results as parcel
from mind2mind.runs.prepared import Encoding, Prepared, Reconstruction
from mind2mind.runs.queue import Desk, Entry, check_disk, named_recipe
from mind2mind.runs.results import Outcome
from mind2mind.runs.run import RunStatus, codes_of, home_folder
from mind2mind.training import transfer


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


class Draw:
    """Pictures of seeds, codes and other pictures."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self.endpoints = Endpoints(limits)
        self.meter = Meter()

    def cost(self, ref: str) -> Cost:
        """What a picture of this model costs here; measured when it is first asked for."""
        return self.meter.cost(self.models.load(ref))

    def at_a_time(self, ref: str) -> int:
        """Pictures decoded together: more are drawn as fast, and to the same bytes, in pieces of so many."""
        return gallery.batch_size(self.models.load(ref).alae)

    def sample(
        self, ref: str, seeds: Sequence[int], *, psi: float = 1.0, noise: str = "random"
    ) -> list[Image.Image]:
        """The pictures of these seeds (0 to 2**32 - 1); noise is none, fixed or random."""
        return gallery.sample(self.models.load(ref), seeds, psi, noise)

    def code(self, ref: str, endpoint: Endpoint, psi: float = 1.0) -> Tensor:
        """The code of a seed or a picture, (1, latent_size), on the CPU."""
        model = self.models.load(ref)
        return gallery.pull(model, self.endpoints.code(model, endpoint), psi)

    def blend(
        self, ref: str, a: Endpoint, b: Endpoint, t: float, *, psi: float = 1.0, noise: str = "none"
    ) -> Image.Image:
        """The picture at t (0 is a, 1 is b) on the straight line between two codes."""
        model = self.models.load(ref)
        ends = self.endpoints.code(model, a), self.endpoints.code(model, b)
        return gallery.blend(model, *ends, t, psi, noise)

    def interpolate(
        self,
        ref: str,
        endpoints: Sequence[Endpoint],
        *,
        frames: int = 60,
        psi: float = 1.0,
        noise: str = "none",
        loop: bool = False,
    ) -> Iterator[Image.Image]:
        """The frames of a way through all endpoints; with `loop` it leads back to the first.

        Raises:
            ConfigError: fewer than two endpoints or frames.
        """
        model = self.models.load(ref)
        stops = [self.endpoints.code(model, endpoint) for endpoint in endpoints]
        return gallery.interpolate(model, stops, frames, psi, noise, loop)

    def reconstruct(
        self, ref: str, paths: Sequence[Path], *, crop: Crop | None = None
    ) -> Iterator[Reconstruction | Report]:
        """Each picture of folders, zips and files beside G(E(picture)), without noise; the report last.

        Without a `crop` pictures are cut as the source's card says.
        """
        model = self.models.library.source(ref)
        return intake.reconstruct(model, intake.pictures_for(model, paths, crop, self.limits))

    def aligned(self, ref: str, path: Path) -> tuple[Image.Image, Image.Image] | None:
        """A picture before and after its face is aligned (small), where the model needs that and it is not.

        Raises:
            DataError: the picture cannot be read, or shows no face.
        """
        return gallery.aligned(self.models.load(ref), path, self.limits)


class Runs(Desk):
    """Transfers, from the pictures to the result."""

    def __init__(self, home: Path, weights: Path, limits: Limits, models: Models) -> None:
        super().__init__(home, weights, limits)
        self.models = models

    def encode(
        self, paths: Sequence[Path], ref: str, *, crop: Crop | None = None, known: Path | None = None
    ) -> Iterator[EncodeProgress | Encoding]:
        """Encodes pictures; the last event holds codes, report and verdict. `codes.save` writes them.

        Without a `crop` pictures are cut as the source's card says.
        Pictures whose codes are in the file `known`, made by the same source, are not encoded again.
        """
        model = self.models.library.source(ref)
        before = codes.load(known) if known is not None else None
        return intake.encode(model, intake.pictures_for(model, paths, crop, self.limits), before)

    def prepare(
        self,
        paths: Sequence[Path],
        ref: str,
        *,
        crop: Crop | None = None,
        folder: Path | None = None,
        visitor: str | None = None,
        address: str | None = None,
        title: str = "",
    ) -> Iterator[EncodeProgress | Prepared]:
        """Checks and encodes pictures into a new run, which then waits for its start.

        Args:
            paths: folders, zips and pictures; of the originals only thumbnails are kept.
            ref: the source (of a transfer, its source).
            crop: `centre` takes the largest square, `fit` the whole picture with bars, `face` the largest
                face as FFHQ aligns it; None is what the source's card says.
            folder: the run's folder; None is a new one in the home.
            visitor: whom `runs` shows it to.
            address: where a caller who names itself calls from: the limits count that, too.
            title: what the run and its model are called.

        Raises:
            DataError: none of the pictures can be used, or the disk is full.
            RunError: there is already a run in `folder`.
        """
        run, source = self.new(folder), self.models.library.source_ref(ref)
        model = self.models.load(source)
        pictures = intake.pictures_for(model, paths, crop, self.limits)
        owner = {"visitor": visitor, "address": address, "title": title[:200]}
        info = {"model": source, "crop": pictures.crop, **owner}
        return selection.keep(run, intake.encode(model, pictures), info, pictures, self._rivals(source))

    def add(self, token: str, paths: Sequence[Path]) -> Iterator[EncodeProgress | Prepared]:
        """Adds pictures to a run that waits for its start; read as the ones it has, and counted with them.

        Raises:
            DataError: none of the new ones can be used, or the disk is full.
            RunError: the run has been started.
        """
        check_disk(self.home, self.limits)
        run = self.find(token)
        model, before = self.models.library.source(run.info["model"]), selection.kept(run).report
        pictures = intake.pictures_for(model, paths, run.info["crop"], self.limits, before)
        encoding, numbers = intake.encode(model, pictures), model.card.numbers
        return selection.add(run, encoding, numbers, pictures, self._rivals(run.info["model"]))

    def exclude(self, token: str, names: Collection[str]) -> Prepared:
        """Leaves pictures of these names out of the training, and no others; they stay in the run's folder.

        Raises:
            DataError: there is no picture of such a name.
            RunError: the run has been started.
        """
        run = self.find(token)
        present = run.info["model"]
        return selection.exclude(run, names, self.models.load(present).card.numbers, self._rivals(present))

    def _rivals(self, present: str) -> preflight.Rivals:
        return preflight.Rivals(self.models.library, present)

    def thumbnails(
        self, token: str, first: int = 0, count: int = 200
    ) -> builtins.list[tuple[str, Image.Image]]:
        """A run's pictures, excluded ones too, by name; `count` of them from number `first` on."""
        return album.thumbnails(self.find(token), first, count)

    def pace(self, token: str, recipe: str | Recipe = "default") -> float:
        """Steps a second that training on a run's pictures makes here; about, by a short warm-up."""
        w, seconds = codes_of(self.find(token))[0].w, BUDGETS["Standard"].seconds
        return transfer.steps_for(w, named_recipe(recipe), seconds) / seconds

    def prepared(self, token: str) -> Prepared:
        """What the check of a run's pictures found: the last event of its `prepare`, at any later time."""
        return selection.kept(self.find(token))

    def comparison(
        self, token: str, count: int = 8, only: int | None = None
    ) -> builtins.list[tuple[Image.Image, Image.Image]]:
        """Some of a run's pictures (thumbnails), spread over all of them, each with its reconstruction.

        `only` is the number of the one that is wanted of these, from 0.
        """
        return album.comparison(self.models.library, self.find(token), count, only)

    def alignment(self, token: str) -> builtins.list[Image.Image]:
        """Some of a run's pictures, each above what aligning its face makes (or, under another crop, made) of it."""
        return album.alignment(self.find(token))

    def nearest(
        self, token: str, seeds: Sequence[int]
    ) -> builtins.list[tuple[Image.Image, Image.Image, float]]:
        """Each seed's sample, the original nearest to it, and their distance.

        The distance is that of the standardised codes over the root of their size: 0 is a copy, and about
        1.4 is what two pictures drawn at random have.
        """
        return album.nearest(self.models.library, self.find(token), seeds)

    def preview(self, token: str, step: int | None = None) -> builtins.list[Image.Image]:
        """A run's samples of the same z at `step` (the newest when None); none before the first preview."""
        return album.preview(self.models.library, self.find(token), step)

    def trial(self, token: str, seeds: Sequence[int]) -> tuple[list[Image.Image], int]:
        """Pictures of these seeds by a run as it stands, at work or not, and of which step they are.

        While it trains that is at most some seconds old.

        Raises:
            WeightsError: the run has saved nothing yet.
        """
        return album.trial(self.models.library, self.find(token), seeds)

    def warm_up(self) -> None:
        """Starts the worker process ahead of a run, so that it is there when the run is."""
        self.launcher.warm()

    def start(
        self,
        token: str,
        *,
        recipe: str | Recipe = "default",
        seconds: float | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> RunStatus:
        """Queues a prepared run with a budget of training time, or of steps; two minutes if neither is given.

        Raises:
            ConfigError: the recipe, the budget or the seed makes no sense.
            RunError: the run is not a prepared one, or the limits allow no more runs now.
        """
        memory.give_back()  # what the encoding took; the training is in another process
        return super().start(token, recipe=recipe, seconds=seconds, steps=steps, seed=seed)

    def resume(self, token: str, extra_steps: int = 0) -> RunStatus:
        """Queues a run that was stopped, interrupted or failed; `extra_steps` lengthens one that is done."""
        return super().resume(token, extra_steps)

    def stop(self, token: str) -> None:
        """Asks a run to stop and keep its work; takes it out of the queue if it has not begun."""
        super().stop(token)

    def delete(self, token: str) -> None:
        """Deletes a run (or an opened bundle) with all that belongs to it, at once, running or not."""
        super().delete(token)

    def status(self, token: str) -> RunStatus:
        """Where a run stands. A queued one whose worker died gets another worker."""
        return super().status(token)

    def attach(self, token: str, every: float = 0.5) -> Iterator[RunStatus]:
        """Follows a run: its status at once, then every `every` seconds; ends when the run has ended."""
        return super().attach(token, every)

    def statuses(self, visitor: str | None = None) -> builtins.list[RunStatus]:
        """The home's runs, the newest first: a visitor's, or on a server that is not public everybody's."""
        return [] if visitor is None and self.public else super().runs(visitor)

    def result(self, token: str) -> Outcome:
        """What came of a run: samples and the nearest originals, quality, originality, how to repeat it.

        Raises:
            RunError: it has no model yet.
        """
        return outcome.outcome(self.models.library, self.find(token), self.status(token))

    def film(self, token: str, path: Path) -> Path:
        """The previews of a run as a clip (see `clips`); gives its path.

        Raises:
            DataError: there are none.
        """
        clips.save_clip(album.film(self.models.library, self.find(token)), Path(path), album.FPS)
        return Path(path)

    def pack(self, token: str, path: Path) -> Path:
        """All of a run that has a model in one zip, samples and film included; gives the file's path."""
        return parcel.pack(self.models.library, self.find(token), Path(path))

    def list(self, visitor: str | None = None) -> builtins.list[Entry]:
        """The home's runs as a list, the newest first: a visitor's, or on a server that is not public all."""
        return [] if visitor is None and self.public else ledger.entries(self.home, self.limits, visitor)

    def rename(self, token: str, title: str) -> None:
        """Gives a run and its model another title.

        Raises:
            ConfigError: the title is empty or too long.
            RunError: the run is at work.
        """
        ledger.rename(self.find(token), title)

    def delete_all(self, visitor: str, models: Sequence[str] = ()) -> int:
        """Deletes all runs of a visitor, and the opened bundles of these tokens, at once; gives how many."""
        return ledger.delete_all(self.home, visitor, models)

    def clean(self) -> int:
        """Deletes what visitors left more than `keep_hours` ago, where that is limited; gives how many."""
        return super().clean()


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
        memory.keep_freed()
        self.device = pick_device(device)
        self.home = home_folder(home)
        self.limits = limits
        self.public = limits.keep_hours is not None
        self.weights = Path(weights or sources.weights_folder()).absolute()
        self.models = Models(self.home, self.weights, self.device, limits)
        self.draw = Draw(self.models, limits)
        self.runs = Runs(self.home, self.weights, limits, self.models)

    @property
    def secret(self) -> str:
        """What the app hides in browsers is hidden with; kept with the data, so that it outlives a restart."""
        return kept_secret(self.home / "browser.key")
