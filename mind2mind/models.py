"""Models, and what is drawn and encoded with them: the half of the facade that needs no runs."""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from mind2mind import codes, downloads, gallery, intake, memory, sources
from mind2mind.checkpoints import Model
from mind2mind.codes import EncodeProgress
from mind2mind.config import LOCAL, Crop, Limits
from mind2mind.cost import Cost, Meter
from mind2mind.errors import ConfigError
from mind2mind.gallery import Endpoint, Endpoints
from mind2mind.home import home_folder
from mind2mind.intake import Encoding, Reconstruction
from mind2mind.library import Library, pick_device
from mind2mind.remote import Remote
from mind2mind.report import Report
from mind2mind.sources import ModelInfo


class Models:
    """What can be done with the models at hand; the arguments are Studio's."""

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
        self.library = Library(self.home, self.weights, self.device, folders=not self.public)
        self.downloads = downloads.Downloads(self.home, self.library)
        self.endpoints = Endpoints(limits)
        self.meter = Meter()

    # Models

    def models(self) -> list[ModelInfo]:
        """The catalogue."""
        return self.library.models()

    def model(self, ref: str) -> Model:
        """A model by catalogue id, token or folder (a bundle's or a run's).

        Raises:
            WeightsError: there is none, or it is damaged.
            RunError: it is a run that has no model yet.
        """
        return self.library.model(ref)

    def available(self) -> list[Remote]:
        """Published models that can be downloaded and are not here."""
        return self.downloads.available()

    def download(self, ref: str, *, accept_changed: bool = False) -> Generator[downloads.Event, None, None]:
        """Brings a published model, or `owner/name[@revision]` of the Hub, into the catalogue; see Downloads.get.

        Raises:
            ConfigError: the server is public.
        """
        self._own("download")
        return self.downloads.get(ref, accept_changed=accept_changed)

    def remove_model(self, model_id: str) -> int:
        """Deletes a downloaded model, or what a broken download left of it; gives the bytes freed.

        Raises:
            WeightsError: it was not downloaded.
            ConfigError: the server is public.
        """
        self._own("remove")
        return self.downloads.remove(model_id)

    def _own(self, verb: str) -> None:
        if self.public:
            raise ConfigError(f"Visitors cannot {verb} models here.", "Run Mind2Mind on your own computer.")

    def cost(self, ref: str) -> Cost:
        """What a picture of this model costs here; measured when it is first asked for."""
        return self.meter.cost(self.model(ref))

    def at_a_time(self, ref: str) -> int:
        """Pictures decoded together: more are drawn as fast, and to the same bytes, in pieces of so many."""
        return gallery.batch_size(self.model(ref).alae)

    # Pictures

    def sample(
        self, ref: str, seeds: Sequence[int], *, psi: float = 1.0, noise: str = "random"
    ) -> list[Image.Image]:
        """The pictures of these seeds (0 to 2**32 - 1); noise is none, fixed or random."""
        return gallery.sample(self.model(ref), seeds, psi, noise)

    def code(self, ref: str, endpoint: Endpoint, psi: float = 1.0) -> Tensor:
        """The code of a seed or a picture, (1, latent_size), on the CPU."""
        model = self.model(ref)
        return gallery.pull(model, self.endpoints.code(model, endpoint), psi)

    def blend(
        self, ref: str, a: Endpoint, b: Endpoint, t: float, *, psi: float = 1.0, noise: str = "none"
    ) -> Image.Image:
        """The picture at t (0 is a, 1 is b) on the straight line between two codes."""
        model = self.model(ref)
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
        model = self.model(ref)
        stops = [self.endpoints.code(model, endpoint) for endpoint in endpoints]
        return gallery.interpolate(model, stops, frames, psi, noise, loop)

    def reconstruct(
        self, ref: str, paths: Sequence[Path], *, crop: Crop | None = None
    ) -> Iterator[Reconstruction | Report]:
        """Each picture of folders, zips and files beside G(E(picture)), without noise; the report last.

        Without a `crop` pictures are cut as the source's card says.
        """
        model = self.library.source(ref)
        return intake.reconstruct(model, intake.pictures_for(model, paths, crop, self.limits))

    def encode(
        self, paths: Sequence[Path], ref: str, *, crop: Crop | None = None, known: Path | None = None
    ) -> Iterator[EncodeProgress | Encoding]:
        """Encodes pictures; the last event holds codes, report and verdict. `codes.save` writes them.

        Without a `crop` pictures are cut as the source's card says.
        Pictures whose codes are in the file `known`, made by the same source, are not encoded again.
        """
        model = self.library.source(ref)
        before = codes.load(known) if known is not None else None
        return intake.encode(model, intake.pictures_for(model, paths, crop, self.limits), before)

    def aligned(self, ref: str, path: Path) -> tuple[Image.Image, Image.Image] | None:
        """A picture before and after its face is aligned (small), where the model needs that and it is not.

        Raises:
            DataError: the picture cannot be read, or shows no face.
        """
        return gallery.aligned(self.model(ref), path, self.limits)
