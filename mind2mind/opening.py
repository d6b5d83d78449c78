"""The only door for a picture nobody has vouched for: a file of any kind -> RGB or L, or the reason why not.

Formats from a list, the size checked between header and pixels, upright, opaque, 8 bits. ICC profiles are
ignored: pixels are taken for sRGB, so that wide-gamut photos come out a little paler. Moving pictures give
their first frame.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from mind2mind.config import Limits
from mind2mind.errors import DataError

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
