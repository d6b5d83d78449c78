"""Drawing: everything that turns codes into pictures, and pictures into films.

The functions take a `Model`; `Draw`, the facade's part, takes what users call one. The picture of a seed has a
generator for its z and another one for its noise, so that it is the same picture in any batch. Truncation is linear
in w. A code that a person sees is refined where the model asks for it: after the truncation, in every frame; only a
picture's own code is drawn as the encoder gave it.
"""

import contextlib
import ctypes
import io
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mind2mind.config import FEW, MANY, Crop, Limits, batch_of, check_seeds
from mind2mind.data.codes import of_pixels
from mind2mind.data.dataset import NOTHING, Pictures, Report
from mind2mind.data.faces import Face
from mind2mind.data.images import (
    collage,
    grid,
    save_png,
    to_image,
    to_tensor,
)
from mind2mind.errors import ConfigError, DataError, one_of
from mind2mind.files import atomic
from mind2mind.judge.verdict import Verdict, reconstruct
from mind2mind.models.bundle import Model
from mind2mind.models.catalogue import Catalogue
from mind2mind.networks.alae import Noise, no_noise, noise_per_picture

NOISES = ("none", "fixed", "random")
NOISE_STREAM = 0x9E3779B9  # noise of seed s is drawn from s ^ this: below 2**32, and never s itself
PREVIEWED, PREVIEW_SIDE = 16, 256  # pictures of a preview, fewer of large ones; pixels of each at most


def noise_of(kind: str, seeds: Sequence[int]) -> Noise:
    """The decoder's noise for pictures of these seeds; `fixed` is the same maps for every picture."""
    if one_of("noise", kind, NOISES) == "none":
        return no_noise
    own = [(seed if kind == "random" else 0) ^ NOISE_STREAM for seed in seeds]
    return noise_per_picture([torch.Generator().manual_seed(seed) for seed in own])


def codes_of(model: Model, seeds: Sequence[int], psi: float = 1.0) -> Tensor:
    """W of these seeds as they are drawn, truncated and refined, (N, latent_size), on the CPU."""
    z = model.draw_z([torch.Generator().manual_seed(seed) for seed in check_seeds(seeds)])
    return model.refined(pull(model, model.map(z), psi))


def pull(model: Model, w: Tensor, psi: float) -> Tensor:
    """Truncation: w (N, latent_size) pulled towards the mean code; psi 1 changes nothing."""
    if not isinstance(psi, int | float) or not -2 <= psi <= 2:  # from the API it may be anything
        raise ConfigError(f"psi is {psi}.", "Choose a number from -2 to 2; 1 changes nothing.")
    mean = model.w_avg.mean(dim=0).to(w)
    return w if psi == 1 else mean + psi * (w - mean)


def draw(model: Model, w: Tensor, noise: str = "none", seeds: Sequence[int] = ()) -> Iterator[Image.Image]:
    """Pictures of codes w (N, latent_size) as they are; `seeds` (N) are those of the noise, 0 where there are none.

    With a code for each style input w is (N, 2L, latent_size).
    """
    alae, seeds = model.alae, seeds or [0] * len(w)
    size = batch_of(alae.architecture.resolution)
    styles_of_all = w if w.dim() == 3 else alae.styles(w)
    for i in range(0, len(w), size):
        with torch.inference_mode():
            styles = styles_of_all[i : i + size].to(alae.w_avg.device)
            x = alae.decode(styles, noise=noise_of(noise, seeds[i : i + size])).cpu()
        yield from map(to_image, x)


def sample(
    model: Model, seeds: Sequence[int], *, psi: float = 1.0, noise: str = "random", w: Tensor | None = None
) -> list[Image.Image]:
    """The pictures of these seeds; `info` of each says how to draw it again.

    Args:
        model: what draws them.
        seeds: 0 to 2**32 - 1.
        psi: the truncation, -2 to 2.
        noise: one of NOISES.
        w: what `codes_of` makes of the seeds and psi, (N, latent_size), where it is known.
    """
    seeds = check_seeds(seeds)
    if not seeds:
        return []
    images = [*draw(model, codes_of(model, seeds, psi) if w is None else w, noise, seeds)]
    for seed, image in zip(seeds, images, strict=True):
        image.info.update(provenance(model, seed=seed, psi=psi, noise=noise))
    return images


def save_sheet(model: Model, path: Path) -> None:
    """Writes a grid of the first seeds' pictures: a bundle's preview."""
    seeds = range(min(PREVIEWED, 4 * batch_of(model.alae.architecture.resolution)))
    f_draws = model.prior == "normal"  # its rare codes are poor
    psi = model.alae.architecture.truncation_psi if f_draws else 1.0
    pictures = sample(model, seeds, psi=psi)
    for picture in pictures:
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    sheet = grid(pictures)
    sheet.info.update(provenance(model, seeds=f"0-{len(seeds) - 1}", psi=psi, noise="random"))
    save_png(sheet, path)


def provenance(model: Model, **settings: Any) -> dict[str, str]:
    """What a picture's file says of its making."""
    told = {"model": model.card.id, "hash": model.hash, **settings}
    return {name: str(value) for name, value in told.items()}


def pixels_of(model: Model, image: Image.Image, face: Face | None = None) -> Tensor:
    """A picture as the model takes it, uint8 (1, C, H, W), cut as its card says; its `face` may be known.

    Raises:
        DataError: it shows no face where the model needs one.
    """
    a = model.alae.architecture
    return to_tensor(image, a.resolution, a.image_channels, model.card.crop, face)[None]


def pictures_for(
    model: Model, sources: Sequence[Path], crop: Crop | None, limits: Limits, before: Report = NOTHING
) -> Pictures:
    """The readable pictures among `sources`, at the model's size; without a crop, cut as its card says."""
    a = model.alae.architecture
    return Pictures(
        sources,
        resolution=a.resolution,
        channels=a.image_channels,
        crop=crop or model.card.crop,
        faces_wanted=model.card.crop == "face",
        limits=limits,
        before=before,
    )


# Interpolation

PATHS = ("mind", "straight")
SEARCHED, DESCENT = 4096, (200, 0.05)  # samples looked at, then steps and rate, to find the z of a picture
LEAST_ANGLE = 1e-4  # between two z, in radians; nearer ones are joined by a straight line


@dataclass(frozen=True, eq=False)
class Stop:
    """A place that a way leads through."""

    w: Tensor  # (1, latent_size): its code as it is drawn, truncated
    scores: Tensor  # (1, z_dim): the normal scores of its z; (1, 0) where the way is straight
    psi: float = 1.0  # the truncation of the codes around it


class Way:
    """The codes on the way through two or more stops.

    A straight one is straight in w. The one through the mind is a great circle in the normal scores of z, every code
    of which is one that the model might draw by itself; what a stop's code differs from g(z) fades along it, and so
    does its truncation. Every code is refined, and yet at the stops it is theirs to the last bit but one: what
    refining would change there fades along the way, too.
    """

    def __init__(self, model: Model, stops: Sequence[Stop], through: bool) -> None:
        self.model, self.through = model, through
        self.w, self.scores = torch.cat([s.w for s in stops]), torch.cat([s.scores for s in stops])
        self.psi = torch.tensor([[s.psi] for s in stops])
        self.rest = self.w - self._minds(self.scores, self.psi) if through else self.w

    @cached_property
    def gone(self) -> Tensor:
        """What refining would change at the stops."""
        return self.w - self.model.refined(self.w)

    def _minds(self, scores: Tensor, psi: Tensor) -> Tensor:
        w = self.model.map(self.model.z_of(scores))
        return pull(self.model, w, 0).lerp(w, psi)

    def at(self, places: Tensor, refine: bool = True) -> Tensor:
        """The codes at these places (N,), from 0 at the first stop by 1 to each next: (N, latent_size).

        Not to `refine` them is a hurry's way.
        """
        first = places.floor().long().clamp(0, len(self.w) - 2)
        t = (places - first).float()[:, None]

        def between(rows: Tensor) -> Tensor:
            return rows[first] * (1 - t) + rows[first + 1] * t  # exact at both ends

        w = between(self.rest)
        if self.through:
            w = w + self._minds(slerp(self.scores[first], self.scores[first + 1], t), between(self.psi))
        return self.model.refined(w) + between(self.gone) if refine and self.model.refinements else w


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Between a and b (N, d) on the great circle, at t (N, 1) from 0 to 1; exact at both ends."""
    cosine = torch.cosine_similarity(a, b, dim=1)[:, None].clamp(-1, 1)
    angle = cosine.acos().clamp(LEAST_ANGLE, math.pi - LEAST_ANGLE)
    return (a * ((1 - t) * angle).sin() + b * (t * angle).sin()) / angle.sin()


def scores_of(model: Model, w: Tensor) -> Tensor:
    """Normal scores (1, z_dim) of a z whose code is near w (1, latent_size): the nearest of many, then by descent."""
    start = torch.randn(SEARCHED, model.z_dim, generator=torch.Generator().manual_seed(0))
    codes, steps = model.map(model.z_of(start)), DESCENT[0]
    std = codes.std(dim=0).clamp_min(1e-6)
    scores = start[((codes - w) / std).square().sum(dim=1).argmin()][None].clone().requires_grad_()
    optimiser = torch.optim.Adam([scores], lr=DESCENT[1])
    device = model.w_avg.device
    for _ in range(steps):
        apart = (model.g(model.z_of(scores).to(device)).cpu() - w) / std
        loss = apart.square().mean() + 0.01 * scores.square().mean()  # no z that is never drawn
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return scores.detach()


# Films

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
    ending = "" if path.is_dir() else path.suffix.lower()
    if ending not in (*ENDINGS, ""):
        fix = f"Choose {', '.join(ENDINGS)} or a folder for its frames."
        raise ConfigError(f"A clip cannot be written as {ending}.", fix)
    colour = (frame.convert("RGB") for frame in frames)
    first = next(colour, None)
    if first is None:
        raise DataError("A clip without a frame cannot be written.", "Ask for one frame or more.")
    stream: Iterator[Image.Image] = itertools.chain([first], colour)
    if not ending:
        _save_folder(stream, path)
        return
    with atomic(path) as temporary:
        if ending == ".mp4":
            _save_mp4(stream, temporary, fps)
        else:
            kind: dict[str, Any] = {"format": "WEBP", "quality": 90}
            if ending == ".gif":  # quantised by us: left to Pillow, RGB frames take a hundred times as long
                kind = {"format": "GIF", "disposal": 1}
                stream = (frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in stream)
            first, *kind["append_images"] = stream
            first.save(temporary, save_all=True, duration=round(1000 / fps), loop=0, **kind)


def _save_mp4(frames: Iterator[Image.Image], path: Path, fps: float) -> None:
    import av

    rate, quality = Fraction(fps).limit_denominator(1001), {"crf": "18", "preset": "veryfast"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        try:
            stream = film.add_stream("libx264", rate, quality, pix_fmt="yuv420p")
        except ValueError as error:  # PyAV's UnknownCodecError
            raise DataError("MP4 needs libx264, which PyAV lacks here.", "Choose .webp.") from error
        for number, frame in enumerate(map(_even, frames)):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode(None))


def _even(frame: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3): 256 px a side or more by a whole factor; even (4:2:0 asks for it) by doubling an edge."""
    factor = max(1, math.ceil(SMALLEST / min(frame.size)))
    pixels = np.asarray(frame).repeat(factor, 0).repeat(factor, 1)
    return np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")


def _save_folder(frames: Iterator[Image.Image], folder: Path) -> None:
    written = set()
    for i, frame in enumerate(frames):
        path = folder / f"frame-{i:05d}.png"
        with atomic(path) as temporary:
            frame.save(temporary, format="PNG")
        written.add(path)
    for stale in set(folder.glob("frame-[0-9][0-9][0-9][0-9][0-9].png")) - written:
        stale.unlink()  # of an earlier, longer clip


# What a picture costs on this computer: found by drawing and encoding one


MANY_SECONDS = 5.0  # FEW where MANY take longer
LIVE_SECONDS = 0.2  # a slider whose picture takes longer draws when it is let go
SMOOTH_SECONDS = 0.1  # where refining takes longer, it waits until the slider is let go
TRIES, TRY_SECONDS = 5, 0.5  # measured at most so often, and twice what takes longer than that in all
MAPS = 10  # of the largest size that one picture needs at a time; measured 8 to 10 at 1024 px


@dataclass(frozen=True, slots=True)
class Cost:
    """On this computer, while nothing else uses it."""

    draw_seconds: float  # one picture decoded and made a PNG
    encode_seconds: float  # one picture
    memory: int  # bytes, about: the weights, and what one picture needs
    refinements: int = 0  # of a code, a decoding and an encoding each

    @property
    def live(self) -> bool:
        """Whether a slider's picture can follow while it is dragged."""
        return self.draw_seconds <= LIVE_SECONDS

    @property
    def seen_seconds(self) -> float:
        """One picture as it is seen at rest: refined."""
        return self.draw_seconds + self.refinements * (self.draw_seconds + self.encode_seconds)

    @property
    def smooth(self) -> bool:
        """Whether it is drawn as well meanwhile as at rest."""
        return self.live and (not self.refinements or self.seen_seconds <= SMOOTH_SECONDS)

    @property
    def count(self) -> int:
        """How many pictures to ask for by default."""
        return MANY if MANY * self.draw_seconds <= MANY_SECONDS else FEW


def measure(model: Model) -> Cost:
    """Draws one picture and encodes it, some times each: the first one finds memory and plans of convolutions."""
    alae, a = model.alae, model.alae.architecture
    w = codes_of(model, [0])

    def drawing() -> None:
        (image,) = draw(model, w, "random")
        image.save(io.BytesIO(), format="PNG")

    pixels = torch.zeros(1, a.image_channels, a.resolution, a.resolution, dtype=torch.uint8)
    weights = sum(t.numel() * t.element_size() for t in alae.state_dict().values())
    largest = 4 * a.start_channels * a.resolution**2
    encode_seconds = _fastest(lambda: of_pixels(alae, pixels))
    return Cost(_fastest(drawing), encode_seconds, weights + MAPS * largest, model.refinements)


def _fastest(work: Callable[[], object]) -> float:
    """Seconds; the least, since whatever else this computer does only adds to them."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < TRIES and sum(times) < TRY_SECONDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


# The facade's part


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture as the model sees it, and G(E(picture)); psnr in dB."""

    name: str
    original: Image.Image
    rebuilt: Image.Image
    psnr: float
    aligned: tuple[Image.Image, Image.Image] | None = None  # small: before and after, where that differs
    verdict: Verdict = Verdict.UNMEASURED  # whether the model knows such pictures, where one was asked for


class Draw:
    """Pictures of seeds, codes and other pictures. Any thread may call any method.

    Args:
        models: finds models by what users call them: a catalogue id, a token, a folder.
        limits: of the pictures that are given.
    """

    grid, collage = staticmethod(grid), staticmethod(collage)
    save_png, save_clip = staticmethod(save_png), staticmethod(save_clip)

    def __init__(self, models: Catalogue, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self._costs: dict[tuple[str, str], Cost] = {}

    def sample(
        self, ref: str, seeds: Sequence[int], *, psi: float = 1.0, noise: str = "random"
    ) -> list[Image.Image]:
        """The pictures of these seeds (0 to 2**32 - 1); noise is none, fixed or random."""
        return sample(self.models.load(ref), seeds, psi=psi, noise=noise)

    def reconstruct(
        self, ref: str, paths: Sequence[Path], *, crop: Crop | None = None
    ) -> Iterator[Reconstruction | Report]:
        """Each picture of folders, zips and files beside G(E(picture)), without noise; the report last.

        Without a `crop` pictures are cut as the source's card says.
        """
        model = self.models.source(ref)
        pictures = pictures_for(model, paths, crop, self.limits)
        for picture in pictures:
            (rebuilt,), ratio = reconstruct(model.alae, picture.pixels[None])
            face = pictures.crop == "face"  # else it is only what would be
            aligned = pictures.before_and_after(picture) if face else None
            original = to_image(picture.pixels)
            yield Reconstruction(picture.name, original, to_image(rebuilt), ratio.item(), aligned)
        yield pictures.report

    def cost(self, ref: str) -> Cost:
        """What a picture of this model costs here; measured once for each source, when it is first asked for."""
        model = self.models.load(ref)
        key = (model.source_hash, str(model.w_avg.device))
        if key not in self._costs:  # two who ask at once both measure: nobody waits for another's model
            self._costs.setdefault(key, measure(model))
        return self._costs[key]


# Memory: a picture of 1024 px passes through some hundred maps of up to 64 MB. glibc asks the system for each and
# gives it back at once, and the system fills every page with zeros again: half of the time of such a picture.

# From glibc's malloc.h; each takes a number of bytes, the last one a count
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT_BYTES = 2**30


def keep_freed() -> bool:
    """Makes this process keep up to 1 GiB of freed memory; gives whether it could (glibc only).

    One arena for all threads, since others hold no block above 64 MB.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # musl and others have no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        settings = ((ARENA_MAX, 1), (MMAP_THRESHOLD, KEPT_BYTES), (TRIM_THRESHOLD, KEPT_BYTES))
        return [mallopt(name, value) for name, value in settings] == [1] * len(settings)
    return False


def give_back() -> None:
    """Gives what is free now back to the system: for a process that only waits from here on."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
