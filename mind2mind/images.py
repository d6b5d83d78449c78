"""Pictures between PIL and tensors: crop, resize, ranges, grids, and PNGs that know where they come from."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from mind2mind import faces
from mind2mind.config import Crop
from mind2mind.errors import ConfigError
from mind2mind.files import atomic
from mind2mind.opening import in_plain_words
from mind2mind.opening import open_picture as open_picture  # belongs here for all who use pictures


def check_crop(crop: str) -> None:
    """Raises ConfigError when there is no such crop."""
    if crop not in get_args(Crop):
        raise ConfigError(f"There is no crop {crop!r}.", f"Choose one of {', '.join(get_args(Crop))}.")


def to_tensor(image: Image.Image, resolution: int, channels: int, crop: Crop = "centre") -> Tensor:
    """uint8 (channels, resolution, resolution); a picture already of that size passes bit for bit.

    Args:
        image: RGB or L.
        resolution: pixels a side.
        channels: 1 or 3; grey is repeated, colour is weighted to grey.
        crop: `centre` takes the largest square in the middle, `fit` the whole picture with bars in the mean
            colour of its border, `face` the largest face as FFHQ cuts it out (see `faces`).

    Raises:
        ConfigError: there is no such crop, or the package that finds faces is not installed.
        DataError: the crop is `face` and no face was found.
    """
    check_crop(crop)
    image = image.convert("RGB" if channels == 3 else "L")
    square = {"centre": _centre, "fit": _fit, "face": face_square}[crop](image, resolution)
    array = np.array(square)
    return torch.from_numpy(array.reshape(resolution, resolution, channels)).permute(2, 0, 1).contiguous()


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # antialiased both ways


def _centre(image: Image.Image, resolution: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _resize(image.crop((left, top, left + side, top + side)), (resolution, resolution))


def face_square(image: Image.Image, resolution: int, face: faces.Face | None = None) -> Image.Image:
    """The largest face as FFHQ cuts it out; of a picture that shows it so already the square in the middle.

    Raises:
        ConfigError, DataError: as `faces.look`, where no `face` is given.
    """
    face = face or faces.look(image)
    return _centre(image, resolution) if face.aligned else faces.cut(image, face.quad, resolution)


def _fit(image: Image.Image, resolution: int) -> Image.Image:
    scale = resolution / max(image.size)
    small = _resize(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    if small.size == (resolution, resolution):
        return small
    pixels = np.asarray(small, dtype=np.float64).reshape(small.height, small.width, -1)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean(0).round().astype(int)
    colour = tuple(border.tolist()) if small.mode == "RGB" else int(border[0])
    canvas = Image.new(small.mode, (resolution, resolution), colour)
    canvas.paste(small, ((resolution - small.width) // 2, (resolution - small.height) // 2))
    return canvas


def in_a_square(image: Image.Image, side: int) -> Image.Image:
    """The whole picture, `side` pixels at most, in the middle of a white square."""
    canvas = Image.new("RGB", (side, side), "white")
    scale = side / max(image.size)
    small = _resize(
        image.convert("RGB"), (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    )
    canvas.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return canvas


def from_uint8(x: Tensor) -> Tensor:
    """uint8 (.., C, H, W) -> float32 in [-1, 1]: x / 127.5 - 1, as in the reference."""
    return x.float().div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8, clamped and rounded."""
    return x.float().add(1).mul_(127.5).round_().clamp_(0, 255).byte()


def to_image(x: Tensor) -> Image.Image:
    """A picture (C, H, W), float in [-1, 1] or uint8 in 0..255, as PIL (L or RGB)."""
    pixels = x if x.dtype == torch.uint8 else to_uint8(x.detach())
    array = pixels.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def grid(images: Sequence[Image.Image], columns: int | None = None, gap: int = 2) -> Image.Image:
    """Pictures of one size side by side on white, row by row; as square as can be without `columns`."""
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    rows = math.ceil(len(images) / columns)
    width, height = (max(side) + gap for side in zip(*(image.size for image in images), strict=True))
    sheet = Image.new("RGB", (columns * width - gap, rows * height - gap), "white")
    for i, image in enumerate(images):
        sheet.paste(image.convert("RGB"), (i % columns * width, i // columns * height))
    return sheet


def save_png(image: Image.Image, path: Path, meta: dict[str, str] | None = None) -> None:
    """Writes a PNG as a whole; `meta` (where the picture comes from) goes into its text chunks."""
    chunks = PngInfo()
    for key, value in (meta or {}).items():
        chunks.add_text(key, value.encode("utf-8", "backslashreplace").decode())  # file names hold any bytes
    with atomic(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=chunks)


def png_meta(path: Path) -> dict[str, str]:
    """The text chunks of a PNG.

    Raises:
        DataError: it is no whole PNG.
    """
    with in_plain_words(f"{path.name}: "), path.open("rb") as stream:
        image: Any = Image.open(stream, formats=("PNG",))
        image.load()
        return {str(key): str(value) for key, value in image.text.items()}
