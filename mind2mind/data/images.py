"""Pictures between PIL and tensors: crop, resize, ranges, grids, and PNGs that know where they come from."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from mind2mind.config import Crop, Limits
from mind2mind.data import faces
from mind2mind.errors import ConfigError, DataError
from mind2mind.files import atomic

# --- The only door for a picture nobody has vouched for: a file of any kind -> RGB or L, or the reason why not.
# Formats from a list, the size checked between header and pixels, upright, opaque, 8 bits. ICC profiles are
# ignored: pixels are taken for sRGB, so that wide-gamut photos come out a little paler. Moving pictures give
# their first frame.

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF and HEIC"

# First bytes of what we read, and of what we refuse, by the name its owner knows
_OURS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|RIFF.{4}WEBP|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|.{4}ftyp(hei[cxms]|hevc|mif1|msf1)",
    re.DOTALL,
)
_OTHERS = {
    "AVIF": rb".{4}ftypavi[fs]",
    "Video": rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ",
    "PDF": rb"%PDF",
    "Photoshop": rb"8BPS",
    "Zip": rb"PK\x03\x04",
    "RAR": rb"Rar!",
    "7-Zip": rb"7z\xbc\xaf",
    "JPEG 2000": rb"\0\0\0\x0cjP  ",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "ICO": rb"\0\0\x01\0",
    "PostScript": rb"%!PS",
    "GIMP": rb"gimp xcf",
    "SVG": rb".{0,400}<svg",
}


def open_picture(
    source: Path | bytes | BinaryIO, limits: Limits, name: str = "", *, side: int = 0
) -> Image.Image:
    """A picture as RGB or L, upright, transparency on white.

    Args:
        source: a path, the file's bytes, or an open file.
        limits: bounds of bytes, pixels and the smallest side.
        name: put before the problem, where the message stands alone.
        side: if given, a JPEG may be decoded at a smaller scale whose sides are all still `side` or more.

    Returns:
        The picture; `info["size"]` is its (width, height) before `side` had its say.

    Raises:
        DataError: it is none of ours, damaged, too small or too large; the problem says which in plain words.
    """
    with in_plain_words(f"{name}: " if name else ""), _stream(source, limits) as stream:
        image = _identify(stream)
        _check_size(image.size, limits)
        full = image.size
        if side:
            image.draft(None, (side, side))
        decoded = image.size
        image.load()
        upright = _opaque(_upright(image))
        if upright.size != decoded:
            full = full[::-1]
        upright.info = {"size": full}
        return upright


@contextmanager
def in_plain_words(prefix: str) -> Iterator[None]:
    """Whatever a decoder may throw at a bad file becomes a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(prefix + error.problem, error.fix) from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{prefix}Too large: it has far too many pixels.", "Use a smaller copy.") from error
    except MemoryError as error:
        raise DataError(f"{prefix}Too large for the memory there is.", "Use a smaller copy.") from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise DataError(f"{prefix}Unreadable: {error.strerror}.", "Check the path and its rights.") from error
    except Exception as error:  # decoders raise nearly anything: OSError, SyntaxError, struct.error ...
        words = str(error).lower()
        if any(hint in words for hint in ("truncated", "end of file", "unexpected end", "not enough")):
            raise DataError(f"{prefix}The file is cut off.", "Copy or download it again.") from error
        raise DataError(f"{prefix}The file is damaged.", "Copy or download it again.") from error


@contextmanager
def _stream(source: Path | bytes | BinaryIO, limits: Limits) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        stream: BinaryIO = io.BytesIO(source)
    elif isinstance(source, Path):
        if source.exists() and not source.is_file():  # opening a pipe would wait for ever
            raise DataError("Not a file.", f"Give a picture: {READABLE} are read.")
        stream = source.open("rb")
    else:
        stream = source
    try:
        length = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if length == 0:
            raise DataError("Empty: the file has 0 bytes.", "Copy or download it again.")
        if length > limits.file_bytes:
            most = f"{limits.file_bytes / 1e6:,.0f} MB"
            raise DataError(f"Too large: {length / 1e6:,.1f} MB, more than {most}.", "Use a smaller copy.")
        yield stream
    finally:
        if stream is not source:
            stream.close()


def check_bytes(length: int, limits: Limits) -> None:
    """Raises DataError when a file of so many bytes is too large."""
    if length > limits.file_bytes:
        most = f"{limits.file_bytes / 1e6:,.0f} MB"
        raise DataError(f"Too large: {length / 1e6:,.1f} MB, more than {most}.", "Use a smaller copy.")


def _identify(stream: BinaryIO) -> Image.Image:
    _register_heif()
    try:
        return Image.open(stream, formats=FORMATS)
    except (OSError, SyntaxError, ValueError):  # UnidentifiedImageError is an OSError
        length = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        raise _refusal(stream.read(512), length) from None


@cache
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def _refusal(head: bytes, length: int) -> DataError:
    if _OURS.match(head):
        cut = head.startswith(b"RIFF") and int.from_bytes(head[4:8], "little") + 8 > length
        problem = "The file is cut off." if cut else "The file is damaged."
        return DataError(problem, "Copy or download it again.")
    for kind, signature in _OTHERS.items():
        if re.match(signature, head, re.DOTALL):
            return DataError(f"{kind} is not read: {READABLE} are.", "Save it as JPEG or PNG.")
    return DataError("Not a picture.", f"{READABLE} are read, whatever their names end in.")


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if min(size) < limits.smallest_side:
        raise DataError(
            f"Too small: {width} x {height} pixels, a side is smaller than {limits.smallest_side}.",
            "Use a larger copy.",
        )
    if width * height > limits.pixels:
        raise DataError(
            f"Too large: {width} x {height} pixels, more than {limits.pixels / 1e6:,.0f} megapixels.",
            "Use a smaller copy.",
        )


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # a damaged EXIF block is no reason to refuse the pixels
        return ImageOps.exif_transpose(image)
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """Any mode -> RGB or L."""
    if image.mode[0] in "IF":
        return _to_8_bits(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """16 bits are scaled from 0..65535; 32-bit and float pictures from the usual range they fit in."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    top = 65535.0
    if not image.mode.startswith("I;16"):
        tops = ([1.0] if image.mode == "F" else []) + [255.0, 65535.0]
        top = next((t for t in tops if values.max() <= t), float(values.max()))
    return Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))


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
