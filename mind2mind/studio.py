"""The facade: pictures and seeds in, pictures and events out. App and command line call nothing below it.

It owns the device, the models in memory and the runs' home. Training itself is the worker's: `start` queues
a run and sees to it that a worker process is there; `attach` follows it through its folder. Whoever holds a
run's token may see, stop and delete it; there is no other key. Any thread may call any method.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from PIL import Image

from mind2mind import (
    album,
    bundles,
    clips,
    codes,
    intake,
    ledger,
    memory,
    outcome,
    parcel,
    preflight,
    publish,
    selection,
    transfer,
)
from mind2mind.codes import EncodeProgress
from mind2mind.config import BUDGETS, LOCAL, Crop, Limits, Recipe
from mind2mind.desk import Desk, named_recipe
from mind2mind.files import kept_secret
from mind2mind.intake import Prepared
from mind2mind.ledger import Entry
from mind2mind.models import Models
from mind2mind.outcome import Outcome
from mind2mind.status import RunStatus


class Studio(Models):
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
        super().__init__(device, home, limits, weights)
        self.desk = Desk(self.home, self.weights, limits)

    # Runs

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
        run, source = self.desk.new(folder), self.library.source_ref(ref)
        model = self.model(source)
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
        self.desk.check_disk()
        run = self.desk.find(token)
        model, before = self.library.source(run.info["model"]), selection.kept(run).report
        pictures = intake.pictures_for(model, paths, run.info["crop"], self.limits, before)
        encoding, numbers = intake.encode(model, pictures), model.card.numbers
        return selection.add(run, encoding, numbers, pictures, self._rivals(run.info["model"]))

    def exclude(self, token: str, names: Collection[str]) -> Prepared:
        """Leaves pictures of these names out of the training, and no others; they stay in the run's folder.

        Raises:
            DataError: there is no picture of such a name.
            RunError: the run has been started.
        """
        run = self.desk.find(token)
        present = run.info["model"]
        return selection.exclude(run, names, self.model(present).card.numbers, self._rivals(present))

    def _rivals(self, present: str) -> preflight.Rivals:
        return preflight.Rivals(self.library, present)

    def thumbnails(self, token: str, first: int = 0, count: int = 200) -> list[tuple[str, Image.Image]]:
        """A run's pictures, excluded ones too, by name; `count` of them from number `first` on."""
        return album.thumbnails(self.desk.find(token), first, count)

    def pace(self, token: str, recipe: str | Recipe = "default") -> float:
        """Steps a second that training on a run's pictures makes here; about, by a short warm-up."""
        w, seconds = codes.of_run(self.desk.find(token)).w, BUDGETS["Standard"].seconds
        return transfer.steps_for(w, named_recipe(recipe), seconds) / seconds

    def prepared(self, token: str) -> Prepared:
        """What the check of a run's pictures found: the last event of its `prepare`, at any later time."""
        return selection.kept(self.desk.find(token))

    def comparison(
        self, token: str, count: int = 8, only: int | None = None
    ) -> list[tuple[Image.Image, Image.Image]]:
        """Some of a run's pictures (thumbnails), spread over all of them, each with its reconstruction.

        `only` is the number of the one that is wanted of these, from 0.
        """
        return album.comparison(self.library, self.desk.find(token), count, only)

    def alignment(self, token: str) -> list[Image.Image]:
        """Some of a run's pictures, each above what aligning its face makes (or, under another crop, made) of it."""
        return album.alignment(self.desk.find(token))

    def nearest(self, token: str, seeds: Sequence[int]) -> list[tuple[Image.Image, Image.Image, float]]:
        """Each seed's sample, the original nearest to it, and their distance.

        The distance is that of the standardised codes over the root of their size: 0 is a copy, and about
        1.4 is what two pictures drawn at random have.
        """
        return album.nearest(self.library, self.desk.find(token), seeds)

    def preview(self, token: str, step: int | None = None) -> list[Image.Image]:
        """A run's samples of the same z at `step` (the newest when None); none before the first preview."""
        return album.preview(self.library, self.desk.find(token), step)

    def trial(self, token: str, seeds: Sequence[int]) -> tuple[list[Image.Image], int]:
        """Pictures of these seeds by a run as it stands, at work or not, and of which step they are.

        While it trains that is at most some seconds old.

        Raises:
            WeightsError: the run has saved nothing yet.
        """
        return album.trial(self.library, self.desk.find(token), seeds)

    @property
    def secret(self) -> str:
        """What the app hides in browsers is hidden with; kept with the data, so that it outlives a restart."""
        return kept_secret(self.home / "browser.key")

    def warm_up(self) -> None:
        """Starts the worker process ahead of a run, so that it is there when the run is."""
        self.desk.launcher.warm()

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
        return self.desk.start(token, recipe=recipe, seconds=seconds, steps=steps, seed=seed)

    def resume(self, token: str, extra_steps: int = 0) -> RunStatus:
        """Queues a run that was stopped, interrupted or failed; `extra_steps` lengthens one that is done."""
        return self.desk.resume(token, extra_steps)

    def stop(self, token: str) -> None:
        """Asks a run to stop and keep its work; takes it out of the queue if it has not begun."""
        self.desk.stop(token)

    def delete(self, token: str) -> None:
        """Deletes a run (or an opened bundle) with all that belongs to it, at once, running or not."""
        self.desk.delete(token)

    def status(self, token: str) -> RunStatus:
        """Where a run stands. A queued one whose worker died gets another worker."""
        return self.desk.status(token)

    def attach(self, token: str, every: float = 0.5) -> Iterator[RunStatus]:
        """Follows a run: its status at once, then every `every` seconds; ends when the run has ended."""
        return self.desk.attach(token, every)

    def runs(self, visitor: str | None = None) -> list[RunStatus]:
        """The home's runs, the newest first: a visitor's, or on a server that is not public everybody's."""
        return [] if visitor is None and self.public else self.desk.runs(visitor)

    # Results

    def outcome(self, token: str) -> Outcome:
        """What came of a run: samples and the nearest originals, quality, originality, how to repeat it.

        Raises:
            RunError: it has no model yet.
        """
        return outcome.outcome(self.library, self.desk.find(token), self.status(token))

    def film(self, token: str, path: Path) -> Path:
        """The previews of a run as a clip (see `clips`); gives its path.

        Raises:
            DataError: there are none.
        """
        clips.save_clip(album.film(self.library, self.desk.find(token)), Path(path), album.FPS)
        return Path(path)

    def everything(self, token: str, path: Path) -> Path:
        """All of a run that has a model in one zip, samples and film included; gives the file's path."""
        return parcel.pack(self.library, self.desk.find(token), Path(path))

    def export(self, token: str, path: Path) -> Path:
        """The bundle of a run (or of any other reference) as a zip; gives the file's path."""
        self.model(token)
        return bundles.pack(self.library.locate(token)[0], Path(path))

    def open_bundle(self, path: Path) -> str:
        """Takes in an exported transfer, a zip or a folder, and gives the token it is known by here.

        Raises:
            WeightsError: it is none, damaged, or its source is not here.
        """
        self.desk.check_disk()
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

    def entries(self, visitor: str | None = None) -> list[Entry]:
        """The home's runs as a list, the newest first: a visitor's, or on a server that is not public all."""
        return [] if visitor is None and self.public else ledger.entries(self.home, self.limits, visitor)

    def rename(self, token: str, title: str) -> None:
        """Gives a run and its model another title.

        Raises:
            ConfigError: the title is empty or too long.
            RunError: the run is at work.
        """
        ledger.rename(self.desk.find(token), title)

    def delete_all(self, visitor: str, models: Sequence[str] = ()) -> int:
        """Deletes all runs of a visitor, and the opened bundles of these tokens, at once; gives how many."""
        return ledger.delete_all(self.home, visitor, models)

    def clean(self) -> int:
        """Deletes what visitors left more than `keep_hours` ago, where that is limited; gives how many."""
        return self.desk.clean()
