"""Folders, zips and files of pictures -> a stream of tensors, and a verdict per file.

Files are listed and counted at once, then read one at a time: one bad file is skipped and told of, and never
stops the rest. Members of a zip are read into memory and nowhere else, so their names cannot lead anywhere.
Two pictures are duplicates when the model would see the same pixels.
"""

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from mind2mind.config import LOCAL, Crop, Limits
from mind2mind.data import faces
from mind2mind.data.images import (
    check_bytes,
    check_crop,
    face_square,
    in_a_square,
    open_picture,
    to_image,
    to_tensor,
)
from mind2mind.errors import DataError

# --- What there is to read in folders, zips and single files: names, sizes and where.


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: on disk, or the member of a zip. One with a refusal is not read."""

    name: str
    path: Path
    size: int = 0  # bytes
    member: zipfile.ZipInfo | None = None
    refusal: str = ""


def files_of(sources: Sequence[Path], taken: Collection[str] = ()) -> list[File]:
    """The files of all sources, hidden ones left out; by name within each source, none of them `taken`.

    Raises:
        DataError: a source is missing or no zip.
    """
    return _unique([file for source in sources for file in _list(Path(source), len(sources) > 1)], taken)


def _list(source: Path, prefixed: bool) -> list[File]:
    """The files of one source, hidden ones left out, by name."""
    try:
        mode = source.stat().st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"{source} cannot be opened: {_why(error)}.", "Check the path.") from error
    prefix = f"{source.name}/" if prefixed else ""
    if stat.S_ISDIR(mode):
        return sorted(_walk(source, prefix), key=lambda file: file.name)
    if source.suffix.lower() == ".zip":
        return sorted(_members(source, prefix), key=lambda file: file.name)
    return [] if _hidden(source.name) else [File(_shown(source.name), source, source.stat().st_size)]


def _walk(folder: Path, prefix: str) -> Iterator[File]:
    """Every file below a folder; links are followed, each folder is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [(folder, prefix)]
    while waiting:
        here, name = waiting.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(here))
        except OSError as error:
            yield File(_shown(name), here, refusal=f"Unreadable: {_why(error)}.")
            continue
        for entry in entries:
            path, inner = Path(entry.path), f"{name}{entry.name}"
            if _hidden(entry.name):
                continue
            try:
                status = entry.stat()
            except OSError as error:
                yield File(_shown(inner), path, refusal=f"Unreadable: {_why(error)}.")
                continue
            if stat.S_ISDIR(status.st_mode):
                waiting.append((path, f"{inner}/"))
            else:
                yield File(_shown(inner), path, status.st_size, refusal=_nested(entry.name))


def _members(archive: Path, prefix: str) -> Iterator[File]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except Exception as error:  # BadZipFile, OSError, struct.error, UnicodeDecodeError ...
        raise DataError(f"{archive.name} is no whole zip file.", "Copy or make it again.") from error
    for member in members:
        name = _shown(member.filename)
        if member.is_dir() or not name or any(_hidden(part) for part in name.split("/")):
            continue
        refusal = "Encrypted: the zip asks for a password." if member.flag_bits & 1 else _nested(name)
        yield File(prefix + name, archive, member.file_size, member, refusal)


def _shown(name: str) -> str:
    """A name fit to show: no controls, no way up, no undecodable bytes, at most 200 characters."""
    whole = name.replace("\\", "/").encode("utf-8", "replace").decode()
    parts = ("".join(c for c in part if c.isprintable()) for part in whole.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))[-200:]


def _hidden(name: str) -> bool:
    """Files that nobody put there as pictures: those of systems, and those that lie beside pictures we made."""
    return name.startswith(".") or name.lower() in (
        "__macosx", "thumbs.db", "desktop.ini", "about.json", "attributes.jsonl",
    )  # fmt: skip


def _nested(name: str) -> str:
    return "Zip in a folder or zip: it is not opened." if name.lower().endswith(".zip") else ""


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _unique(files: list[File], taken_before: Collection[str]) -> list[File]:
    """Uploads lose their folders, so that names may collide: the second a.png becomes a (2).png."""
    taken = set(taken_before)
    result = []
    for file in files:
        name, copy = file.name, 1
        while name in taken:
            copy += 1
            stem, dot, ending = file.name.rpartition(".")
            name = f"{stem} ({copy}){dot}{ending}" if dot and stem else f"{file.name} ({copy})"
        taken.add(name)
        result.append(replace(file, name=name))
    return result


# --- What became of each file of a set of pictures, and what to expect of so many.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file."""

    name: str  # path inside its folder or zip; unique in the report
    status: Literal["used", "skipped"]
    reason: str = ""  # why it was skipped; for a used picture a remark, mostly none
    width: int = 0  # px, upright; 0 where unknown
    height: int = 0
    sha256: str = ""  # of the pixels as the model sees them
    size: int = 0  # bytes of the file


@dataclass(frozen=True)
class Report:
    """The verdicts on all files read, in reading order."""

    verdicts: tuple[Verdict, ...] = ()

    @property
    def used(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.status == "used"]

    @property
    def skipped(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.status == "skipped"]

    def reasons(self) -> Counter[str]:
        """How many files were skipped for what: "Too small", "Duplicate", "The file is cut off."."""
        return Counter(v.reason.partition(":")[0] for v in self.skipped)

    def faces(self) -> Counter[str]:
        """How many used pictures have which remark on their face: "Face aligned", "Face not aligned"."""
        remarks = (v.reason.partition(":")[0] for v in self.used)
        return Counter(remark for remark in remarks if remark in faces.REMARKS)

    @property
    def not_aligned(self) -> int:
        """Used pictures whose faces are not as the model needs them."""
        return self.faces()[faces.NOT_ALIGNED.partition(":")[0]]

    @property
    def turned(self) -> int:
        """Used pictures whose faces were aligned."""
        return self.faces()["Face aligned"]

    def sizes(self) -> dict[str, int]:
        """How many used pictures have a shorter side of so many pixels: {"64 to 127": 3, "128 to 255": 20}."""
        powers = Counter(min(v.width, v.height).bit_length() - 1 for v in self.used if v.width and v.height)
        span = range(min(powers), max(powers) + 1) if powers else ()
        return {f"{2**power} to {2 ** (power + 1) - 1}": powers[power] for power in span}

    def advice(self) -> str:
        """What to expect of so many pictures, in plain words."""
        return advice(len(self.used))

    def to_dict(self) -> dict[str, Any]:
        return {"version": 1, "verdicts": [asdict(v) for v in self.verdicts]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """Raises DataError when the values are no report of this version."""
        try:
            if values["version"] != 1:
                raise ValueError(f"version {values['version']}")
            return cls(tuple(Verdict(**v) for v in values["verdicts"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"This is no report on pictures ({error}).", "Read the pictures again."
            ) from error


NOTHING = Report()


def advice(count: int) -> str:
    """What to expect of `count` usable pictures, in plain words."""
    if count == 0:
        return "No picture can be used, so there is nothing to learn from. See the reasons per file."
    if count == 1:
        return (
            "Only one picture: a generator could do no more than repeat it. Add more, 20 at the very least."
        )
    if count < 5:
        return f"Only {count} pictures: the results will repeat them. Add more, 20 at the very least."
    if count < 20:
        return (
            f"{count} pictures are very few: expect near copies of them. 50 or more give new ones a chance."
        )
    if count < 50:
        return f"{count} pictures are few: expect little variety and some near copies. 200 would do better."
    if count < 200:
        return f"{count} pictures will do for a first result; more would bring more variety."
    return f"{count:,} pictures: enough for a varied result, if the source model knows such pictures."


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
