"""Pictures between files, PIL and tensors: opened safely, cropped, resized, laid out in grids, written as PNGs.

`open_picture` is the only door for a picture nobody has vouched for: a file of any kind -> RGB or L, or the reason
why not. Formats come from a list, the size is checked between header and pixels, and what comes out is upright,
opaque and has 8 bits. ICC profiles are ignored: pixels are taken for sRGB, so that wide-gamut photos come out a
little paler. Moving pictures give their first frame.
"""

import io
import logging
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, get_args

import numpy as np
import pillow_heif
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin
from torch import Tensor

from mind2mind.config import LOCAL, Crop, Limits, size_text
from mind2mind.data import faces
from mind2mind.errors import DataError, one_of
from mind2mind.files import POINTER, atomic

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF and HEIC"
pillow_heif.register_heif_opener()
# Pillow takes a PNG with a profile or a text above 1 MB for an attack, and 64-bit floats for no picture
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**26
for _order, _mode in ((b"II", "F;64F"), (b"MM", "F;64BF")):
    TiffImagePlugin.OPEN_INFO[_order, 1, (3,), 1, (64,), ()] = ("F", _mode)

# First bytes of what we read, and of what we refuse, by the name its owner knows
_OURS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|RIFF.{4}WEBP|GIF8|BM.{4}\0{4}|II[*+]\0|MM\0[*+]|"
    rb".{4}ftyp(hei[cxms]|hevc|m[is]f1(?!.{0,40}avi[fs]))",
    re.DOTALL,
)
_OTHERS = {
    "AVIF": rb".{4}ftyp.{0,44}avi[fs]",
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


class Reason(faces.Said):
    """Why a file cannot be used."""

    DAMAGED = "The file is damaged"
    CUT_OFF = "The file is cut off"
    EMPTY = "Empty"
    UNREADABLE = "Unreadable"
    TOO_SMALL = "Too small"
    TOO_LARGE = "Too large"
    NOT_A_FILE = "Not a file"
    NOT_A_PICTURE = "Not a picture"
    POINTER = "Only a pointer of Git LFS"
    FOREIGN = "Not in a format that is read"
    NO_FACE = "No face was found"
    DUPLICATE = "Duplicate"
    SYSTEM = "System folder"
    NESTED = "Zip in a folder or zip"
    ENCRYPTED = "Encrypted"
    PACKED = "In a zip that must be unpacked first"


class Flag(faces.Said):
    """What is to be said of a picture that is used all the same."""

    RANGE = "Range guessed"
    BLURRED = "Blurred"
    DARK = "Very dark"
    BRIGHT = "Very bright"
    CUT = "Much cut off"
    BEYOND = "Too near the edge"
    ASIDE = "Seen from the side"


class PictureError(DataError):
    """A file that cannot be used as a picture.

    Args:
        reason: the kind of problem, which heads the sentence unless `head` does.
        detail: the rest of the sentence.
        fix: the remedy.
    """

    def __init__(
        self, reason: Reason, detail: str = "", fix: str = "Copy or download it again.", head: str = ""
    ) -> None:
        super().__init__(f"{head or reason}{detail and ': '}{detail}.", fix)
        self.args = (reason, detail, fix, head)  # so that it survives pickling
        self.reason = reason


SMALLER = "Use a smaller copy."


def open_picture(source: Path | bytes, limits: Limits, name: str = "", *, side: int = 0) -> Image.Image:
    """A picture as RGB or L, upright, transparency on white.

    Args:
        source: a path, or the file's bytes.
        limits: bounds of bytes, pixels and the smallest side.
        name: put before the problem, where the message stands alone.
        side: if given, a JPEG may be decoded at a smaller scale whose sides are all still `side` or more.

    Returns:
        The picture; `info["size"]` is its (width, height) before `side` had its say, `info["guessed"]` a sentence
        on the range that its values were read in, if they do not say it.

    Raises:
        PictureError: it is none of ours, damaged, too small or too large; the problem says which in plain words.
    """
    try:
        # opening a pipe would wait for ever
        if isinstance(source, Path) and source.exists() and not source.is_file():
            raise PictureError(Reason.NOT_A_FILE, fix=f"Give a picture: {READABLE} are read.")
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            length = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            check_bytes(length, limits)
            image = _identify(stream, length)
            _check_size(image.size, limits)
            full = image.size
            if side:
                image.draft(None, (side, side))
            decoded, deep = image.size, any(mode in str(image.tile) for mode in SWAPPED)
            upright, guessed = _upright(image), ""
            if upright.mode[0] in "IF":
                upright, guessed = _to_8_bits(np.asarray(upright))
            elif deep and np.asarray(upright).max() < 64:  # hardly anything in the upper 8 of 16 bits
                lower = np.asarray(_upright(_lower(stream)))
                upright, guessed = _to_8_bits(256 * np.asarray(upright).astype(np.uint16) + lower)
            opaque = _opaque(upright)
            opaque.info = {"size": full if upright.size == decoded else full[::-1], "guessed": guessed}
            return opaque
    except Exception as error:
        refused = _in_plain_words(error)
        if name:
            refused.problem = f"{name}: {refused.problem}"
        raise refused from error


def _in_plain_words(error: Exception) -> PictureError:
    """Decoders raise nearly anything: OSError, SyntaxError, struct.error ..."""
    if isinstance(error, PictureError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return PictureError(Reason.TOO_LARGE, "it has far too many pixels", SMALLER)
    if "MAX_TEXT" in str(error):  # Pillow's word
        large = "its colour profile or its text has more than 64 MB"
        return PictureError(Reason.TOO_LARGE, large, "Save it again without them.")
    if isinstance(error, MemoryError):
        return PictureError(Reason.TOO_LARGE, "", SMALLER, head="Too large for the memory there is")
    if isinstance(error, OSError) and error.strerror:
        return PictureError(Reason.UNREADABLE, error.strerror, "Check the path and its rights.")
    cut = re.search("truncated|end of file|unexpected end|not enough", str(error).lower())
    return PictureError(Reason.CUT_OFF if cut else Reason.DAMAGED)


def check_bytes(length: int, limits: Limits) -> None:
    """Raises PictureError when a file of so many bytes is empty or too large."""
    if length == 0:
        raise PictureError(Reason.EMPTY, "the file has 0 bytes")
    if length > limits.file_bytes:
        large = f"{size_text(length)}, more than {size_text(limits.file_bytes)}"
        raise PictureError(Reason.TOO_LARGE, large, SMALLER)


def _identify(stream: IO[bytes], length: int) -> ImageFile.ImageFile:
    try:
        image = Image.open(stream, formats=FORMATS)
        if "libtiff" in str(image.tile) and isinstance(args := image.tile[0].args, tuple):
            native = re.sub("B(?=[FS]$)", "N", args[0])  # the order of this computer, whatever the file's
            image.tile[0] = image.tile[0]._replace(args=(native, *args[1:]))
        return image
    except (OSError, SyntaxError, ValueError):  # UnidentifiedImageError is an OSError
        stream.seek(0)
        head = stream.read(512)
    if _OURS.match(head):
        if head.startswith(b"RIFF") and int.from_bytes(head[4:8], "little") + 8 > length:
            raise PictureError(Reason.CUT_OFF)
        raise _why_not(stream, head)
    if head.startswith(POINTER):
        raise PictureError(
            Reason.POINTER, "git lfs pull fetches the picture", "Run it where the file is from."
        )
    for kind, signature in _OTHERS.items():
        if re.match(signature, head, re.DOTALL):
            fix = "Save it as JPEG or PNG."
            raise PictureError(Reason.FOREIGN, f"{READABLE} are", fix, head=f"{kind} is not read")
    raise PictureError(Reason.NOT_A_PICTURE, fix=f"{READABLE} are read, whatever their names end in.")


def _why_not(stream: IO[bytes], head: bytes) -> Exception:
    """What ails a file that begins like one of ours: `Image.open` does not say it, its readers do."""
    try:
        kind = next(kind for kind in FORMATS if (accepts := Image.OPEN[kind][1]) and accepts(head[:16]))
        stream.seek(0)
        Image.OPEN[kind][0](stream, "")
    except Exception as error:
        foreign = re.search("unknown|unsupported|cannot handle", str(error).lower())
        if not foreign and not isinstance(error.__cause__, KeyError):  # it knows nothing by that number
            return error
        detail, fix = "save it as JPEG or PNG with 8 bits", "Then give the copy."
        return PictureError(Reason.FOREIGN, detail, fix, head=f"{kind} of this kind is not read")
    return PictureError(Reason.DAMAGED)


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    pixels = f"{size[0]} x {size[1]} pixels"
    if min(size) < limits.smallest_side:
        small = f"{pixels}, a side is smaller than {limits.smallest_side}"
        raise PictureError(Reason.TOO_SMALL, small, "Use a larger copy.")
    if math.prod(size) > limits.pixels:
        large = f"{pixels}, more than {limits.pixels / 1e6:,.0f} megapixels"
        raise PictureError(Reason.TOO_LARGE, large, SMALLER)


def _opaque(image: Image.Image) -> Image.Image:
    """Any mode -> RGB or L."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    with suppress(Exception):  # a damaged EXIF block is no reason to refuse the pixels
        return ImageOps.exif_transpose(image)
    return image


# How Pillow reads 16 bits a channel: the upper 8; with the order of the bytes (L, B, or N: the computer's own) turned
# round it reads the lower 8
_NATIVE = "NB" if sys.byteorder == "little" else "NL"
SWAPPED = {f"{m};16{two[0]}": f"{m};16{two[1]}" for m in ("RGB", "RGBA") for two in ("BL", "LB", _NATIVE)}


def _lower(stream: IO[bytes]) -> Image.Image:
    """The lower 8 of 16 bits a channel."""
    stream.seek(0)
    image = Image.open(stream, formats=FORMATS)
    for i, (_, _, _, args) in enumerate(image.tile):
        other = (
            SWAPPED[args] if isinstance(args, str) else tuple(SWAPPED.get(each, each) for each in args or ())
        )
        image.tile[i] = image.tile[i]._replace(args=other)
    return image


def _to_8_bits(values: NDArray[Any]) -> tuple[Image.Image, str]:
    """Grey (H, W) or colour (H, W, 3) from the smallest usual range that holds the values, and what was guessed.

    Of floats one in a thousand may lie outside: highlights, fill values, infinities.
    """
    floats = values.dtype.kind == "f"
    known = values[np.isfinite(values)] if floats else values
    inner = (0.001, 0.999) if floats else (0.0, 1.0)
    low, high = np.quantile(known, inner).tolist() if known.size else (0.0, 0.0)
    top = next(
        (top for top in [1.0] * floats + [255.0, 1023.0, 4095.0, 16383.0, 65535.0] if high <= top), high
    )
    if 0 < high < top / 8:  # else nearly black
        top = high
    bottom = -1.0 if top == 1 and -1 <= low < -0.1 else 0.0
    shown = np.nan_to_num(values.astype(np.float32), nan=bottom, copy=False).clip(bottom, top)
    said = ""
    if bottom or top not in ((65535.0,) if values.dtype.kind == "u" else (1.0, 255.0, 65535.0)):
        said = f"its values lie between {low:,.4g} and {high:,.5g}, and {top:,.5g} is drawn white"
    if strange := int((~np.isfinite(values)).sum()):
        said += f"{said and '; '}values that are infinite or no numbers: {strange:,}"
    shown = ((shown - bottom) * (255 / (top - bottom))).round()
    return Image.fromarray(shown.astype(np.uint8)), said


# --- Crops, and pictures as tensors.


def to_tensor(
    image: Image.Image,
    resolution: int,
    channels: int,
    crop: Crop = "centre",
    face: faces.Face | None = None,
) -> Tensor:
    """uint8 (channels, resolution, resolution); a picture already of that size passes bit for bit.

    Args:
        image: RGB or L.
        resolution: pixels a side.
        channels: 1 or 3; grey is repeated, colour is weighted to grey.
        crop: `centre` takes the largest square in the middle, `fit` the whole picture with bars in the mean
            colour of its border, `face` the largest face as FFHQ cuts it out (see `faces`).
        face: for the crop `face`, where it was found before.

    Raises:
        ConfigError: there is no such crop.
        PictureError: the crop is `face` and no face was found.
    """
    one_of("crop", crop, get_args(Crop))
    image = image.convert("RGB" if channels == 3 else "L")
    face = (face or face_of(image)) if crop == "face" else None
    if face and not face.aligned:
        square = faces.cut(image, face.quad, resolution)
    else:
        square = _fit(image, resolution) if crop == "fit" else _centre(image, resolution)
    array = np.array(square)
    return torch.from_numpy(array.reshape(resolution, resolution, channels)).permute(2, 0, 1).contiguous()


def face_of(image: Image.Image) -> faces.Face:
    """The largest face.

    Raises:
        PictureError: there is none.
    """
    if face := faces.look(image):
        return face
    fix = "Give a picture of a face seen from the front, or choose the crop centre."
    raise PictureError(Reason.NO_FACE, "the crop centre takes such a picture as it is", fix)


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # antialiased both ways


def _centre(image: Image.Image, resolution: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _resize(image.crop((left, top, left + side, top + side)), (resolution, resolution))


def _fit(image: Image.Image, side: int, colour: str | tuple[int, ...] | int | None = None) -> Image.Image:
    """The whole picture in the middle of a square; its bars have the mean colour of its border if none is given."""
    scale = side / max(image.size)
    small = _resize(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    if small.size == (side, side):
        return small
    if colour is None:
        pixels = np.asarray(small, dtype=np.float64).reshape(small.height, small.width, -1)
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        mean = border.mean(0).round().astype(int).tolist()
        colour = tuple(mean) if small.mode == "RGB" else mean[0]
    canvas = Image.new(small.mode, (side, side), colour)
    canvas.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return canvas


# --- What a picture lacks, as the model gets it. The blur is that of Crete et al. (SPIE 6492, 2007), turned round.
# Measured on 23 photographs (scikit-image's, scikit-learn's, gradio's; tests/pictures) at 64 px and on the 1,300
# examples. Sharp: 0.50 to 0.83, 0.58 to 0.93. After a Gaussian blur of 2 % of the side 21 photographs are below,
# of 4 % all, and all example heads. Light: in each photograph 1 % are above 135 (examples: 116); three stops darker
# 21 are dim. In each 1 % are below 113 (examples: 90); three stops brighter 3 without black glare.

SHARP = 0.4  # the least share of the differences between neighbours that a mean over 5 px takes away
DIM, GLARING = 100, 150  # of 255: 99 % of the pixels lie below in all channels, above in all
LOST = 0.34  # the largest share of the picture that a crop cuts off unremarked: that of 3:2


def checked(pixels: Tensor, enlarged: bool) -> Iterator[tuple[Flag, str]]:
    """Flags on exposure and, unless it is enlarged, blur of a picture, uint8 (C, H, W); the rest of the sentences."""
    grey = F.adaptive_avg_pool2d(pixels.float().mean(0, keepdim=True), min(128, pixels.shape[-1]))
    dim, glaring = (x.float().flatten() for x in (pixels.amax(0), pixels.amin(0)))
    below, above = dim.kthvalue(max(1, len(dim) * 99 // 100))[0], glaring.kthvalue(max(1, len(dim) // 100))[0]
    if below < DIM:
        yield Flag.DARK, "hardly anything in it is bright"
    elif above > GLARING:
        yield Flag.BRIGHT, "hardly anything in it is dark"
    kept = []
    for view in (grey, grey.mT):
        edges, soft = view[..., 2:-2].diff().abs(), F.avg_pool2d(view, (1, 5), 1).diff().abs()
        kept.append(((edges - soft).clamp_min(0).sum() / edges.sum()).nan_to_num(1.0).item())
    if max(kept) < SHARP and not enlarged:
        yield Flag.BLURRED, "it has no sharp edge at the model's size"


SHOWN = 256  # px a side of the pictures before and after a crop


def before_and_after(
    image: Image.Image, crop: Crop, face: faces.Face | None = None
) -> tuple[Image.Image, Image.Image]:
    """Small: the whole picture, with the face's square drawn in, and what the crop makes of it; SHOWN px a side."""
    before = _fit(image.convert("RGB"), SHOWN, "white")
    if face:
        scale = SHOWN / max(image.size)
        corner = (SHOWN - scale * np.array(image.size)) / 2
        outline = [tuple(point) for point in face.quad * scale + corner]
        for colour, width in (("white", 5), ("black", 2)):
            ImageDraw.Draw(before).line([*outline, outline[0]], fill=colour, width=width)
    return before, to_image(to_tensor(image, SHOWN, 3, crop, face))


def from_uint8(x: Tensor) -> Tensor:
    """uint8 (.., C, H, W) -> float32 in [-1, 1]: x / 127.5 - 1, as in the reference."""
    return x.float().div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Pictures, float in [-1, 1] (what lies beyond is clamped), as uint8 in 0..255."""
    return x.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255).byte()


def to_image(x: Tensor) -> Image.Image:
    """A picture (C, H, W), float in [-1, 1] (what lies beyond is clamped) or uint8 in 0..255, as PIL (L or RGB)."""
    array = (x if x.dtype == torch.uint8 else to_uint8(x)).permute(1, 2, 0).cpu().numpy()
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


def collage(paths: Sequence[Path], columns: int | None = None) -> Image.Image:
    """Pictures side by side, as large as the first; those that cannot be read are left out, with a warning.

    Raises:
        PictureError: none can be read.
    """
    images, refused = [], []
    for path in paths:
        try:
            images.append(open_picture(path, LOCAL, str(path)))
        except PictureError as error:  # noqa: PERF203
            refused.append(error)
    if not images:
        raise refused[0]
    for why in refused:
        log.warning("Left out: %s", why)
    return grid([image.resize(images[0].size) for image in images], columns)


def save_png(image: Image.Image, path: Path) -> None:
    """Writes a PNG as a whole; what the picture says of its making in words (`info`) goes into its text chunks."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in image.info.items():
        if isinstance(value, str):  # file names hold any bytes
            chunks.add_text(str(key), value.encode("utf-8", "backslashreplace").decode())
    with atomic(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=chunks)
