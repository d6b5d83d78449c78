"""Moving pictures: frames -> MP4, WebP, GIF or a folder of PNGs, by the path's ending."""

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from mind2mind.errors import ConfigError, DataError
from mind2mind.files import atomic

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
