"""The facade: pictures and seeds in, pictures and events out. App and command line call nothing below it.

It owns the device, the models in memory and the runs' home. Any thread may call any method.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from mind2mind.config import LOCAL, Limits
from mind2mind.draw import Draw, keep_freed
from mind2mind.explore import Explore
from mind2mind.files import check_disk, locked, new_token
from mind2mind.models.catalogue import pick_device, weights_folder
from mind2mind.runs.queue import Runs
from mind2mind.runs.run import LOCK, home_folder, models_of


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
        self.weights = Path(weights or weights_folder()).absolute()
        self.models = models_of(self.home, self.weights, self.device, limits)
        self.draw = Draw(self.models, limits)
        self.explore = Explore(self.draw)
        self.runs = Runs(self.home, self.weights, limits, self.models)

    def check_disk(self, coming: int = 0) -> None:
        """Raises DataError if so many bytes more do not fit on the home's disk, or within the limits."""
        check_disk(self.home, self.limits.disk_bytes, coming)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of this process in the home, within the block; those of dead ones are wiped.

        A lock says who lives: in another container a process may have the same number.
        """
        folder = self.home / "gradio" / new_token()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with locked(self.home / "gradio.lock"):
                for old in folder.parent.glob("*"):
                    with suppress(Timeout), locked(old / LOCK, 0):
                        shutil.rmtree(old, ignore_errors=True)
                folder.mkdir()
                held.enter_context(locked(folder / LOCK))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            yield folder
