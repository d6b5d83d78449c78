"""Moving pictures: frames -> MP4, WebP, GIF or a folder of PNGs, by the path's ending."""

import contextlib
import ctypes
import hashlib
import itertools
import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mind2mind.config import SEEDS, Crop, Limits, check_seeds
from mind2mind.data import faces
from mind2mind.data.images import from_uint8, grid, open_picture, save_png, to_image, to_tensor
from mind2mind.errors import ConfigError, DataError
from mind2mind.files import atomic
from mind2mind.judge.metrics import psnr
from mind2mind.models.bundle import Model
from mind2mind.networks.alae import ALAE, Noise, no_noise, noise_per_picture

# --- Keeps freed memory for the next tensors instead of giving it back to the system.
# A picture of 1024 px passes through some hundred maps of up to 64 MB. glibc asks the system for each and gives
# it back at once, and the system fills every page with zeros again: half of the time of such a picture.

# From glibc's malloc.h; each takes a number of bytes, the last one a count
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT_BYTES = 2**30


def keep_freed() -> bool:
    """Makes this process keep up to 1 GiB of freed memory; gives whether it could (glibc only).

    One arena for all threads, since others hold no block above 64 MB.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        settings = ((ARENA_MAX, 1), (MMAP_THRESHOLD, KEPT_BYTES), (TRIM_THRESHOLD, KEPT_BYTES))
        return [mallopt(name, value) for name, value in settings] == [1] * len(settings)
    return False


def give_back() -> None:
    """Gives what is free now back to the system: for a process that only waits from here on."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


# --- What can be drawn with a model: samples of seeds, mixtures of codes, reconstructions of pictures.
# Plain functions on a `Model`; only `Endpoints` keeps something, the codes last used. The picture of seed s
# has a z generator (seed s) and a noise generator (seed s + 2**32) of its own, so that it is the same picture
# in any batch. Truncation and interpolation are linear in w.

NOISES = ("none", "fixed", "random")
NOISE_SEEDS = SEEDS  # noise of seed s is drawn from s + this
BATCH = 16
CODES_KEPT = 64


def batch_size(alae: ALAE) -> int:
    """Pictures decoded at a time: 16 up to 256 px, 4 of 512 px, 1 of 1024 px."""
    return max(1, min(BATCH, BATCH * 256**2 // alae.architecture.resolution**2))


def noise_of(kind: str, seeds: Sequence[int]) -> Noise:
    """The decoder's noise for pictures of these seeds; `fixed` is the same maps for every picture."""
    if kind not in NOISES:
        raise ConfigError(f"There is no noise {kind!r}.", f"Choose one of {', '.join(NOISES)}.")
    if kind == "none":
        return no_noise
    own = [NOISE_SEEDS + (seed if kind == "random" else 0) for seed in seeds]
    return noise_per_picture([torch.Generator().manual_seed(seed) for seed in own])


def codes_of(model: Model, seeds: Sequence[int]) -> Tensor:
    """W of these seeds as they are drawn, (N, latent_size), on the CPU."""
    w = model.draw_w([torch.Generator().manual_seed(s) for s in check_seeds(seeds)])
    return torch.cat([model.refined(some).cpu() for some in w.split(batch_size(model.alae))])


def pull(model: Model, w: Tensor, psi: float) -> Tensor:
    """Truncation: w (N, latent_size) pulled towards the mean code; psi 1 changes nothing."""
    if not isinstance(psi, int | float) or not -2 <= psi <= 2:  # from the API it may be anything
        raise ConfigError(f"psi is {psi}.", "Choose a number from -2 to 2; 1 changes nothing.")
    mean = model.w_avg.mean(dim=0).to(w)
    return w if psi == 1 else mean + psi * (w - mean)


def draw(alae: ALAE, w: Tensor, noise: str = "none", seeds: Sequence[int] | None = None) -> list[Image.Image]:
    """Pictures of codes w (N, latent_size); `seeds` (N) are those of the noise, 0 when None."""
    seeds = [0] * len(w) if seeds is None else seeds
    size = batch_size(alae)
    images: list[Image.Image] = []
    for i in range(0, len(w), size):
        x = _decode(alae, w[i : i + size], noise_of(noise, seeds[i : i + size]))
        images += [to_image(picture) for picture in x]
    return images


@torch.inference_mode()
def _decode(alae: ALAE, w: Tensor, noise: Noise) -> Tensor:
    return alae.decode(alae.styles(w.to(alae.w_avg.device)), noise=noise).cpu()


def sample(model: Model, seeds: Sequence[int], psi: float, noise: str) -> list[Image.Image]:
    """The pictures of these seeds; `info` of each says how to draw it again."""
    seeds = check_seeds(seeds)
    return sampled(model, codes_of(model, seeds), seeds, psi, noise) if seeds else []


def sampled(model: Model, w: Tensor, seeds: Sequence[int], psi: float, noise: str) -> list[Image.Image]:
    """As `sample`, of seeds whose codes w (N, latent_size) are known."""
    images = draw(model.alae, pull(model, w, psi), noise, seeds)
    for seed, image in zip(seeds, images, strict=True):
        image.info.update(provenance(model, seed=seed, psi=psi, noise=noise))
    return images


def save_sheet(model: Model, path: Path) -> None:
    """Writes a grid of the first seeds' pictures: a bundle's preview."""
    seeds = range(min(BATCH, 4 * batch_size(model.alae)))
    meta = provenance(model, seeds=f"0-{len(seeds) - 1}", psi=1.0, noise="random")
    save_png(grid(sample(model, seeds, 1.0, "random")), path, meta)


Endpoint = int | Path | Image.Image
"""A seed, the path of a picture, or a picture."""


class Endpoints:
    """Codes of seeds and pictures; the last ones used are kept, so that a slider need not encode again."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._kept: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._guard = threading.Lock()

    def code(self, model: Model, endpoint: Endpoint) -> Tensor:
        """W of a seed or a picture, (1, latent_size), on the CPU.

        Raises:
            DataError: the picture cannot be read, or shows no face where the model needs one.
            ConfigError: the seed is out of range.
        """
        if isinstance(endpoint, Path):
            endpoint = open_picture(endpoint, self.limits, endpoint.name)
        key = (model.hash, _name(endpoint))
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if isinstance(endpoint, Image.Image):
            w = encode(model, endpoint, model.card.crop)
        else:
            w = codes_of(model, [endpoint])
        with self._guard:
            self._kept[key] = w
            while len(self._kept) > CODES_KEPT:
                self._kept.popitem(last=False)
        return w


def _name(endpoint: int | Image.Image) -> str:
    if isinstance(endpoint, Image.Image):
        return f"{endpoint.mode} {endpoint.size} {hashlib.sha256(endpoint.tobytes()).hexdigest()}"
    return f"seed {endpoint}"


def provenance(model: Model, **settings: Any) -> dict[str, str]:
    """What a picture's file says of its making."""
    return {"model": model.card.id, "hash": model.hash} | {
        name: str(value) for name, value in settings.items()
    }


def blend(model: Model, a: Tensor, b: Tensor, t: float, psi: float, noise: str) -> Image.Image:
    """The picture at t (0 is a, 1 is b) on the straight line between two codes, (1, latent_size) each."""
    (image,) = draw(model.alae, pull(model, torch.lerp(a, b, t), psi), noise)
    image.info.update(provenance(model, t=t, psi=psi, noise=noise))
    return image


@torch.no_grad()
def encode(model: Model, image: Image.Image, crop: Crop = "centre") -> Tensor:
    """E of one picture, (1, latent_size), on the CPU."""
    architecture = model.alae.architecture
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    x = to_tensor(image, architecture.resolution, architecture.image_channels, crop)
    return model.alae.encode(from_uint8(x[None]).to(model.alae.w_avg.device)).cpu()


def aligned(model: Model, path: Path, limits: Limits) -> tuple[Image.Image, Image.Image] | None:
    """A picture before and after its face is aligned, small; None where the model or the picture needs it not."""
    if model.card.crop != "face":
        return None
    image = open_picture(path, limits, path.name)
    face = faces.look(image)
    return None if face.aligned else faces.before_and_after(image, face)


def way(codes: Sequence[Tensor], frames: int, loop: bool) -> Tensor:
    """`frames` codes on the straight lines through codes, (1, latent_size) each -> (frames, latent_size).

    With `loop` the way leads back to the first, which is not repeated at the end.
    """
    stops = torch.cat([*codes, codes[0]] if loop else list(codes))
    position = torch.linspace(0, len(stops) - 1, frames + 1 if loop else frames, dtype=torch.float64)[:frames]
    first = position.floor().long().clamp_max(len(stops) - 2)
    t = (position - first).float()[:, None]
    return stops[first] * (1 - t) + stops[first + 1] * t  # exact at both ends


def interpolate(
    model: Model, stops: Sequence[Tensor], frames: int, psi: float, noise: str, loop: bool
) -> Iterator[Image.Image]:
    """The frames of a way through codes, (1, latent_size) each; with `loop` it leads back to the first.

    Raises:
        ConfigError: fewer than two codes or frames, or there is no such psi or noise.
    """
    if len(stops) < 2 or frames < 2:
        raise ConfigError(
            f"{len(stops)} endpoints and {frames} frames make no film.", "Give two or more of each."
        )
    noise_of(noise, [])
    return film(model, way([pull(model, w, psi) for w in stops], frames, loop), noise)


def film(model: Model, w: Tensor, noise: str) -> Iterator[Image.Image]:
    """One picture of each code w (N, latent_size), a batch at a time; random noise changes by frame."""
    size = batch_size(model.alae)
    for i in range(0, len(w), size):
        yield from draw(model.alae, w[i : i + size], noise, range(i, i + len(w[i : i + size])))


def rebuild(model: Model, pixels: Tensor) -> tuple[list[Image.Image], list[float]]:
    """G(E(x)) of uint8 pictures (N, C, H, W) without noise: the pictures, and their PSNR in dB."""
    images: list[Image.Image] = []
    ratios: list[float] = []
    size = batch_size(model.alae)
    for i in range(0, len(pixels), size):
        y, ratio = _reconstruct(model.alae, pixels[i : i + size])
        images += [to_image(picture) for picture in y]
        ratios += ratio.tolist()
    return images, ratios


@torch.inference_mode()
def _reconstruct(alae: ALAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    x = from_uint8(pixels).to(alae.w_avg.device)
    y = alae.reconstruct(x)
    return y.cpu(), psnr(x, y.clamp(-1, 1)).cpu()


ENDINGS = (".mp4", ".webp", ".gif")
SMALLEST = 256  # px; players show smaller films badly, and 4:2:0 colour would smear their pixels


def save_clip(frames: Iterable[Image.Image], path: Path, fps: float = 24) -> None:
    """Writes frames of one size as a clip that loops where the format can; whole or not at all.

    A path without an ending, or an existing folder, receives `frame-00000.png` and so on. MP4 frames smaller
    than 256 px are enlarged by a whole factor; the other kinds keep their size.

    Raises:
        ConfigError: the ending is none of ours.
        DataError: there is no frame, or the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (*ENDINGS, "") and not path.is_dir():
        raise ConfigError(
            f"A clip cannot be written as {ending}.",
            f"Choose {', '.join(ENDINGS)} or a folder for its frames.",
        )
    colour = (frame.convert("RGB") for frame in frames)
    first = next(colour, None)
    if first is None:
        raise DataError("A clip without a frame cannot be written.", "Ask for one frame or more.")
    stream = itertools.chain([first], colour)
    if ending not in ENDINGS or path.is_dir():
        _save_folder(stream, path)
    elif ending == ".mp4":
        _save_mp4(stream, path, fps)
    elif ending == ".webp":
        _save_animated(stream, path, fps, "WEBP", quality=90)
    else:
        # quantised by us: left to Pillow, RGB frames take a hundred times as long
        reduced = (frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in stream)
        _save_animated(reduced, path, fps, "GIF", disposal=1)


def _save_animated(frames: Iterator[Image.Image], path: Path, fps: float, kind: str, **options: int) -> None:
    first, milliseconds = next(frames), round(1000 / fps)
    with atomic(path) as temporary:
        first.save(
            temporary,
            format=kind,
            save_all=True,
            append_images=list(frames),
            duration=milliseconds,
            loop=0,
            **options,
        )


def _save_mp4(frames: Iterator[Image.Image], path: Path, fps: float) -> None:
    import av

    first = _even(next(frames))
    with (
        atomic(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as film,
    ):
        try:
            stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        except ValueError as error:  # PyAV's UnknownCodecError
            raise DataError("MP4 needs libx264, which PyAV lacks here.", "Choose .webp.") from error
        stream.width, stream.height = first.size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for frame in itertools.chain([first], map(_even, frames)):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        film.mux(stream.encode(None))


def _even(frame: Image.Image) -> Image.Image:
    """At least 256 px a side by a whole factor, and even sides (4:2:0 asks for them) by doubling an edge."""
    factor = math.ceil(SMALLEST / min(frame.size))
    if factor > 1:
        frame = frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
    width, height = (side + side % 2 for side in frame.size)
    if (width, height) == frame.size:
        return frame
    padded = Image.new("RGB", (width, height))
    for x in (width - frame.width, 0):
        for y in (height - frame.height, 0):
            padded.paste(frame, (x, y))
    return padded


def _save_folder(frames: Iterator[Image.Image], folder: Path) -> None:
    written = set()
    for i, frame in enumerate(frames):
        path = folder / f"frame-{i:05d}.png"
        with atomic(path) as temporary:
            frame.save(temporary, format="PNG")
        written.add(path)
    for stale in set(folder.glob("frame-[0-9][0-9][0-9][0-9][0-9].png")) - written:
        stale.unlink()  # of an earlier, longer clip
