"""Folders, zips and files of pictures -> a stream of tensors, and a verdict per file.

Files are listed and counted at once, then read one at a time: one bad file is skipped and told of, and never
stops the rest. Members of a zip are read into memory and nowhere else, so their names cannot lead anywhere.
Two pictures are duplicates when the model would see the same pixels.
"""

import hashlib
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from mind2mind import faces
from mind2mind.config import LOCAL, Crop, Limits
from mind2mind.errors import DataError
from mind2mind.images import check_crop, face_square, in_a_square, open_picture, to_image, to_tensor
from mind2mind.listing import File, files_of
from mind2mind.opening import check_bytes
from mind2mind.report import NOTHING, Report, Verdict

SMALL = 256  # px a side of the pictures before and after the crop


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """One usable picture."""

    name: str
    sha256: str  # of the pixels
    pixels: Tensor  # uint8 (C, H, W)
    aligned: tuple[Image.Image, Image.Image] | None = None  # small: before and after, where that differs


class Pictures:
    """The pictures of folders (nested), zips and files as a stream; `report` fills while it is read.

    Args:
        sources: folders, zips, files; zips inside folders or zips are refused.
        resolution: pixels a side of the tensors.
        channels: 1 or 3.
        crop: the square in the middle, the whole picture with bars, or the largest face as FFHQ aligns it.
        faces_wanted: whether to look for faces under another crop too, and remark on those not aligned.
        limits: how many files, bytes and pixels; what one file exceeds only costs that file.
        before: what was read into the same set: it counts for the limits, and its pictures are not taken again.

    Raises:
        ConfigError: there is no such crop; while reading, that the package that finds faces is missing.
        DataError: a source is missing or no zip, or there are more files or bytes than the limits allow.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        *,
        resolution: int,
        channels: int,
        crop: Crop = "centre",
        faces_wanted: bool = False,
        limits: Limits = LOCAL,
        before: Report = NOTHING,
    ) -> None:
        check_crop(crop)
        self.looks = crop == "face" or (faces_wanted and faces.available())
        self.resolution, self.channels, self.crop, self.limits = resolution, channels, crop, limits
        self.before = before
        self._files = files_of(sources, {v.name for v in before.verdicts})
        self._verdicts: list[Verdict] = []
        _check_totals(self._files, limits, before)

    @property
    def count(self) -> int:
        """Files to read; an upper bound of the pictures to come."""
        return len(self._files)

    @property
    def report(self) -> Report:
        """The verdicts so far; complete once the stream has ended."""
        return Report(tuple(self._verdicts))

    def again(
        self, names: Collection[str], *, resolution: int, channels: int, crop: Crop | None = None
    ) -> "Pictures":
        """Those of these names, for a model of another size; under another crop, if given."""
        other = copy(self)
        other.resolution, other.channels, other.crop = resolution, channels, crop or self.crop
        other.looks, other.before, other._verdicts = other.crop == "face", NOTHING, []
        wanted = set(names)
        other._files = [file for file in self._files if file.name in wanted]
        return other

    def before_and_after(self, names: Collection[str]) -> list[tuple[Image.Image, Image.Image]]:
        """These pictures as they are, and the square that the model gets of them; small."""
        couples = []
        with ExitStack() as stack:
            archives: dict[Path, zipfile.ZipFile] = {}
            for file in self._files:
                if file.name not in names:
                    continue
                with suppress(DataError):
                    source = _content(file, self.limits, archives, stack)
                    image = open_picture(source, self.limits, side=SMALL).convert("RGB")
                    after = to_image(to_tensor(image, SMALL, 3, self.crop))
                    couples.append((in_a_square(image, SMALL), after))
        return couples

    def __iter__(self) -> Iterator[Picture]:
        """Reads from the beginning, one file at a time."""
        self._verdicts = []
        first = {v.sha256: v.name for v in self.before.used}  # hash -> name
        with ExitStack() as stack:
            archives: dict[Path, zipfile.ZipFile] = {}
            for file in self._files:
                picture, verdict = self._judge(file, first, archives, stack)
                self._verdicts.append(verdict)
                if picture is not None:
                    yield picture

    def _judge(
        self, file: File, first: dict[str, str], archives: dict[Path, zipfile.ZipFile], stack: ExitStack
    ) -> tuple[Picture | None, Verdict]:
        try:
            source = _content(file, self.limits, archives, stack)
            side = max(2 * faces.SEEN, 8 * self.resolution) if self.crop == "face" else 2 * self.resolution
            image = open_picture(source, self.limits, side=side)
            width, height = image.info["size"]
            pixels, remark, aligned = self._square(image)
        except DataError as error:
            return None, Verdict(file.name, "skipped", error.problem, size=file.size)
        digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
        if digest in first:
            reason = f"Duplicate: the same pixels as {first[digest]}."
            return None, Verdict(file.name, "skipped", reason, width, height, digest, file.size)
        first[digest] = file.name
        if min(width, height) < self.resolution:
            remark = f"{remark} Enlarged to {self.resolution} pixels.".lstrip()
        verdict = Verdict(file.name, "used", remark, width, height, digest, file.size)
        return Picture(file.name, digest, pixels, aligned), verdict

    def _square(self, image: Image.Image) -> tuple[Tensor, str, tuple[Image.Image, Image.Image] | None]:
        """The pixels, what is to be said of the face, and small pictures before and after its alignment."""
        if not self.looks:
            return to_tensor(image, self.resolution, self.channels, self.crop), "", None
        try:
            face = faces.look(image)
        except DataError:
            if self.crop == "face":
                raise
            return to_tensor(image, self.resolution, self.channels, self.crop), faces.NO_FACE, None
        if self.crop == "face":
            square = face_square(image, self.resolution, face)
            pixels, remark = to_tensor(square, self.resolution, self.channels), face.said
        else:
            pixels = to_tensor(image, self.resolution, self.channels, self.crop)
            remark = face.said if face.aligned else faces.NOT_ALIGNED
        return pixels, remark, None if face.aligned else faces.before_and_after(image, face)


def _content(
    file: File, limits: Limits, archives: dict[Path, zipfile.ZipFile], stack: ExitStack
) -> Path | bytes:
    if file.refusal:
        raise DataError(file.refusal, "Leave it out.")
    if file.member is None:
        return file.path
    check_bytes(file.size, limits)
    try:
        if file.path not in archives:
            archives[file.path] = stack.enter_context(zipfile.ZipFile(file.path))
        with archives[file.path].open(file.member) as stream:
            return stream.read(limits.file_bytes + 1)  # whatever size the zip claims
    except Exception as error:  # zlib.error, BadZipFile, NotImplementedError, EOFError ...
        raise DataError("The file is damaged in its zip.", "Make the zip again.") from error


def _check_totals(files: list[File], limits: Limits, before: Report) -> None:
    """Files that are too large by themselves are not read, and so their bytes do not count."""
    count = len(files) + len(before.verdicts)
    if count > limits.files:
        raise DataError(
            f"There are {count:,} files, more than the {limits.files:,} allowed.", "Leave some out."
        )
    sizes = [*(file.size for file in files), *(verdict.size for verdict in before.verdicts)]
    total = sum(size for size in sizes if size <= limits.file_bytes)
    if total > limits.total_bytes:
        have, most = f"{total / 1e6:,.1f} MB", f"{limits.total_bytes / 1e6:,.0f} MB"
        raise DataError(f"The files have {have} in all, more than the {most} allowed.", "Leave some out.")
