"""What can be drawn with a model: samples of seeds, mixtures of codes, reconstructions of pictures.

Plain functions on a `Model`; only `Endpoints` keeps something, the codes last used. The picture of seed s
has a z generator (seed s) and a noise generator (seed s + 2**32) of its own, so that it is the same picture
in any batch. Truncation and interpolation are linear in w.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mind2mind import faces
from mind2mind.alae import ALAE
from mind2mind.checkpoints import Model
from mind2mind.config import Crop, Limits
from mind2mind.errors import ConfigError
from mind2mind.images import from_uint8, grid, open_picture, save_png, to_image, to_tensor
from mind2mind.layers import Noise, no_noise, noise_per_picture
from mind2mind.metrics import psnr
from mind2mind.seeds import SEEDS, check_seeds

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
