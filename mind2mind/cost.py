"""What a model costs on this computer: seconds for a picture, and memory.

Measured by drawing and encoding one picture, once for each source model; transfers cost what their source
does. The rules that follow from it (how many pictures are asked for, whether a slider draws while it is
dragged) are here, and nowhere else.
"""

import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mind2mind import gallery
from mind2mind.checkpoints import Model
from mind2mind.images import from_uint8

MANY, FEW = 16, 4  # pictures asked for where nothing else is said
MANY_SECONDS = 5.0  # FEW where MANY take longer
LIVE_SECONDS = 0.2  # a slider whose picture takes longer draws when it is let go
TOLD_SECONDS = 2.0  # what takes longer is said before
TRIES, TRY_SECONDS = 5, 0.5  # measured at most so often, and twice what takes longer than that in all
MAPS = 10  # of the largest size that one picture needs at a time; measured 8 to 10 at 1024 px


@dataclass(frozen=True, slots=True)
class Cost:
    """On this computer, while nothing else uses it."""

    draw_seconds: float  # one picture decoded and made a PNG
    encode_seconds: float  # one picture
    memory: int  # bytes, about: the weights, and what one picture needs

    @property
    def live(self) -> bool:
        """Whether a slider's picture can follow while it is dragged."""
        return self.draw_seconds <= LIVE_SECONDS

    @property
    def count(self) -> int:
        """How many pictures to ask for by default."""
        return MANY if MANY * self.draw_seconds <= MANY_SECONDS else FEW


class Meter:
    """Measures each source model once; any thread may ask."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Cost] = {}
        self._guard = threading.Lock()  # two at a time would measure each other

    def cost(self, model: Model) -> Cost:
        """The cost of `model`, on the device it lies on."""
        key = (model.source_hash, str(model.w_avg.device))
        with self._guard:
            if key not in self._known:
                self._known[key] = measure(model)
            return self._known[key]


def measure(model: Model) -> Cost:
    """Draws one picture and encodes it, some times each: the first one finds memory and plans of convolutions."""
    alae, a = model.alae, model.alae.architecture
    w = gallery.codes_of(model, [0])

    def draw() -> None:
        (image,) = gallery.draw(alae, w, "random")
        image.save(io.BytesIO(), format="PNG")

    shape = (1, a.image_channels, a.resolution, a.resolution)
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=noise)

    @torch.inference_mode()
    def encode() -> None:
        alae.encode(from_uint8(pixels).to(alae.w_avg.device)).cpu()

    weights = sum(t.numel() * t.element_size() for t in alae.state_dict().values())
    largest = 4 * a.start_channels * a.resolution**2
    return Cost(_fastest(draw), _fastest(encode), weights + MAPS * largest)


def _fastest(work: Callable[[], None]) -> float:
    """Seconds; the least, since whatever else this computer does only adds to them."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < TRIES and sum(times) < TRY_SECONDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)
