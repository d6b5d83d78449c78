"""Folders, zips and files of pictures -> a stream of tensors, and a report on each file.

Files are listed and counted at once, then read one at a time: one bad file is skipped and told of, and never
stops the rest. Members of a zip are read into memory and nowhere else, so their names cannot lead anywhere.
Two pictures are duplicates when the model would see the same pixels.
"""

import hashlib
import logging
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, get_args

from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from mind2mind.config import LOCAL, Crop, Limits, size_text
from mind2mind.data import faces, images
from mind2mind.data.faces import Face, Remark
from mind2mind.data.images import LOST, Flag, PictureError, Reason
from mind2mind.errors import DataError, in_words, one_of
from mind2mind.files import remedy

log = logging.getLogger(__name__)

# --- What there is to read in folders, zips and single files: names, sizes and where.


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: on disk, or the member of a zip. One with a refusal is not read."""

    name: str
    path: Path
    size: int = 0  # bytes
    opened: Callable[[], IO[bytes]] | None = None  # gives the content of a zip's member
    refusal: tuple[Reason, str] | None = None  # and the rest of the sentence


SYSTEM = (Reason.SYSTEM, "it holds thumbnails or deleted files. Give it by itself to use what is in it")


def files_of(sources: Sequence[Path], taken: Collection[str] = ()) -> list[File]:
    """The files of all sources, hidden ones left out; by name within each source, none of them `taken`.

    A folder that a system keeps for itself stands for what is in it, and for all that are called like it.

    Raises:
        DataError: a source is missing or no zip.
    """
    listed = [file for source in sources for file in _list(Path(source), len(sources) > 1)]
    names, passed, result = set(taken), set(), []
    for file in listed:
        if file.refusal == SYSTEM:
            if (folder := file.name.rsplit("/", 1)[-1].lower()) in passed:
                continue
            passed.add(folder)
        # uploads lose their folders, so that names may collide: the second a.png becomes a (2).png
        name, number, ending = file.name, 1, Path(file.name).suffix
        while name in names:
            number += 1
            name = f"{file.name.removesuffix(ending)} ({number}){ending}"
        names.add(name)
        result.append(replace(file, name=name))
    return result


def _list(source: Path, prefixed: bool) -> list[File]:
    """The files of one source, hidden ones left out, by name."""
    try:
        status = source.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", error)
        raise DataError(f"{source} cannot be opened: {why}.", "Check the path.") from error
    prefix = f"{source.name}/" if prefixed else ""
    if stat.S_ISDIR(status.st_mode):
        return sorted(_walk(source, prefix), key=lambda file: file.name)
    if source.suffix.lower() == ".zip":
        return sorted(_members(source, prefix), key=lambda file: file.name)
    return [] if _hidden(source.name) else [File(_shown(source.name), source, status.st_size)]


def _walk(folder: Path, prefix: str) -> Iterator[File]:
    """Every file below a folder; links are followed, each folder is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting, library = [(folder, prefix)], folder.name if folder.suffix == ".photoslibrary" else ""
    while waiting:
        path, name = waiting.pop()
        try:
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield File(_shown(name), path, status.st_size, refusal=_nested(name))
            elif _SYSTEM.search(f"{library}/{name[len(prefix) :]}/"):
                yield File(_shown(name), path, refusal=SYSTEM)
            elif (status.st_dev, status.st_ino) not in entered:
                entered.add((status.st_dev, status.st_ino))
                inside = prefix if path == folder else f"{name}/"
                there = sorted(path.iterdir(), reverse=True)
                waiting += [(p, inside + p.name) for p in there if not _hidden(p.name)]
        except OSError as error:
            yield File(_shown(name), path, refusal=(Reason.UNREADABLE, str(error.strerror)))


# Numbers from PKWARE's APPNOTE, 4.4.5; Zstandard came with Python 3.14
READ = {0, 8, 12, 14, getattr(zipfile, "ZIP_ZSTANDARD", 0)}
METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 98: "PPMd"}


def _members(path: Path, prefix: str) -> Iterator[File]:
    try:
        archive = zipfile.ZipFile(path)  # open for as long as its files are wanted
    except NotImplementedError as error:
        raise DataError(f"{path.name} is not read: {error}.", "Unpack it and give the folder.") from error
    except Exception as error:  # BadZipFile, OSError, struct.error, UnicodeDecodeError ...
        fix = remedy(path, "Copy or make it again.")
        raise DataError(f"{path.name} is no whole zip file.", fix) from error
    members = archive.infolist()
    unsaid = [m.orig_filename for m in members if not m.flag_bits & UTF_8 and not m.orig_filename.isascii()]
    encoding = _encoding("/".join(unsaid).encode("cp437"))
    for member in members:
        name = member.orig_filename
        if not member.flag_bits & UTF_8:
            name = name.encode("cp437").decode(encoding, "replace")
        name = _shown(name)
        if system := _SYSTEM.search(name):
            yield File(prefix + name[: system.end()], path, refusal=SYSTEM)
            continue
        if member.is_dir() or not name or any(map(_hidden, name.split("/"))):
            continue
        refusal, method = _nested(name), member.compress_type
        if member.flag_bits & 1:
            refusal = (Reason.ENCRYPTED, "the zip asks for a password")
        elif method not in READ:
            refusal = (Reason.PACKED, f"the compression {METHODS.get(method, method)} is not read")
        yield File(prefix + name, path, member.file_size, partial(archive.open, member), refusal)


def _shown(name: str) -> str:
    """A name fit to show: no controls, no way up, no undecodable bytes, at most 200 characters."""
    whole = name.replace("\\", "/").encode("utf-8", "replace").decode()
    parts = ("".join(c for c in part if c.isprintable()) for part in whole.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))[-200:]


# The letters of names in zips that do not say how they are written: encodings, the bytes of the usual letters (in
# Korea the usual syllables, in Japan kana and the kanji of level 1, in China the hanzi of level 1), and the least
# share of them. Of 48 names or small sets of names in all of them 43 come out right.
UTF_8 = 0x800  # the flag of a zip's member that does
KOREAN = "가강고공구그기나남다대도동라로리마만무미민바보부비사산상새서선성수스시신아어여오용우원유이인일장전제주지하"
LETTERS = {
    "utf-8": (rb".+", 0.0),
    "cp949": (b"|".join(syllable.encode("cp949") for syllable in KOREAN), 0.3),
    "cp932": (rb"[\x82\x83\x88-\x97].", 0.7),
    "gb18030": (rb"[\xb0-\xd7][\xa1-\xfe]", 0.8),
    "big5": (rb"[\xa4-\xc6].", 0.8),
    "cp866": (rb"[\x80-\xaf\xe0-\xf1]", 1.0),
}


def _encoding(whole: bytes) -> str:
    """What these names, none of them ASCII, are most likely written in."""
    strange = re.search(rb"[\x80-\xff]{3}|(?<![A-Za-z])[\x80-\xff]{1,2}(?![A-Za-z ])", whole)
    for encoding, (usual, least) in LETTERS.items():
        if encoding != "utf-8" and not strange:
            break
        with suppress(UnicodeDecodeError):
            letters = [letter.encode(encoding) for letter in whole.decode(encoding) if letter > "\x7f"]
            if sum(bool(re.fullmatch(usual, each, re.DOTALL)) for each in letters) >= least * len(letters):
                return encoding
    western = [letter for letter in whole.decode("cp437") if letter > "\x7f"]
    return "cp437" if all(letter.isalpha() and letter < "\u0370" for letter in western) else "cp850"


# By Synology, QNAP, Windows, macOS, Linux, Lightroom, Picasa, Capture One and others
_SYSTEM = re.compile(
    r"(?i)(^|/)(@(eadir|tmp|recycle|recently-snapshot)|#(recycle|snapshot)|\$recycle\.bin|recycle[rd]|lost\+found|"
    r"found\.\d{3}|system volume information|network trash folder|temporary items|[._@]*thumb(nail)?s?|captureone|"
    r"\.(trash(es|-\d+)?|picasaoriginals|appledouble)|[^/]*\.lrdata|[^/]*\.photoslibrary/(?!originals/|masters/)[^/]*)(?=/)"
)
# Files of systems, of zips, and those that lie beside pictures we made
_HIDDEN = re.compile(
    r"(?i)\..*|__macosx|(eh)?thumbs.*\.db|(desktop|picasa)\.ini|about\.json|attributes\.jsonl|"
    r"syno(photo|file|video|index)_.*|\$[ri][0-9a-z]{6}(\..*)?"
)


def _hidden(name: str) -> bool:
    """Files that nobody put there as pictures."""
    return bool(_HIDDEN.fullmatch(name)) and not _SYSTEM.search(f"{name}/")


def _nested(name: str) -> tuple[Reason, str] | None:
    return (Reason.NESTED, "it is not opened") if name.lower().endswith(".zip") else None


# --- What became of each file of a set of pictures, and what to expect of so many.


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file."""

    name: str  # path inside its folder or zip; unique in the report
    skipped: Reason | None = None  # why; None for a picture that is used
    face: Remark | None = None  # of a picture that is used, where faces were looked for
    flags: tuple[Flag, ...] = ()  # of a picture that is used
    reason: str = ""  # sentences: why it was skipped; for a used picture remarks, mostly none
    width: int = 0  # px, upright; 0 where unknown
    height: int = 0
    sha256: str = ""  # of the pixels as the model sees them
    size: int = 0  # bytes of the file

    @property
    def status(self) -> str:
        """`used` or `skipped`."""
        return "skipped" if self.skipped else "used"


ADVICE = (  # up to so many usable pictures, what to expect of them
    (0, "No picture can be used, so there is nothing to learn from. See the reasons per file."),
    (1, "Only one picture: a generator could do no more than repeat it. Add more, 20 at the very least."),
    (4, "Only {} pictures: the results will repeat them. Add more, 20 at the very least."),
    (19, "{} pictures are very few: expect near copies of them. 50 or more give new ones a chance."),
    (49, "{} pictures are few: expect little variety and some near copies. 200 would do better."),
    (199, "{} pictures will do for a first result; more would bring more variety."),
    (float("inf"), "{:,} pictures: enough for a varied result, if the source model knows such pictures."),
)


@dataclass(frozen=True)
class Report:
    """What became of all files read, in reading order."""

    files: tuple[FileReport, ...] = ()

    @property
    def used(self) -> list[FileReport]:
        return [file for file in self.files if not file.skipped]

    @property
    def skipped(self) -> list[FileReport]:
        return [file for file in self.files if file.skipped]

    def reasons(self) -> Counter[Reason]:
        """How many files were skipped for what."""
        return Counter(file.skipped for file in self.files if file.skipped)

    def faces(self) -> Counter[Remark]:
        """How many used pictures have which remark on their face."""
        return Counter(file.face for file in self.files if file.face)

    def flags(self) -> Counter[Flag]:
        """How many used pictures have which flag."""
        return Counter(flag for file in self.files for flag in file.flags)

    def missing(self) -> str:
        """What the set as a whole lacks most; nothing where that cannot be known."""
        flags, count = self.flags(), len(self.used)
        faces = sum(file.face in (Remark.FITS, Remark.ALIGNED, Remark.NOT_ALIGNED) for file in self.used)
        for flag, number in flags.most_common():
            if flag not in (Flag.RANGE, Flag.ASIDE) and count > 4 and 2 * number > count:
                fit = ", or choose the crop fit" if flag is Flag.CUT else ""
                return f"{number:,} of {count:,} pictures are {flag.lower()}: add some that are not{fit}."
        if faces >= 20 and not flags[Flag.ASIDE]:
            return f"All {faces:,} faces are seen from the front: add some from the side if new ones should be, too."
        return ""

    def sizes(self) -> dict[str, int]:
        """How many used pictures have a shorter side of so many pixels: {"64 to 127": 3, "128 to 255": 20}."""
        powers = Counter(min(f.width, f.height).bit_length() - 1 for f in self.used if f.width and f.height)
        span = range(min(powers), max(powers) + 1) if powers else ()
        return {f"{2**power} to {2 ** (power + 1) - 1}": powers[power] for power in span}

    def advice(self, excluded: int = 0) -> str:
        """What to expect of so many pictures, without the excluded ones, in plain words."""
        count = len(self.used) - excluded
        return next(text for most, text in ADVICE if count <= most).format(count)

    def to_dict(self) -> dict[str, Any]:
        return {"version": 2, "files": [{"status": file.status} | asdict(file) for file in self.files]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """Reads what `to_dict` made, now or in version 1.

        Raises:
            DataError: the values are no report of these versions.
        """
        try:
            files = values["files"] if values["version"] == 2 else [*map(_with_kind, values["verdicts"])]
            return cls(TypeAdapter(tuple[FileReport, ...]).validate_python(files))
        except (KeyError, TypeError, ValueError) as error:
            fix = "Read the pictures again."
            raise DataError("The report on the pictures cannot be read.", fix) from error


def _with_kind(file: dict[str, Any]) -> dict[str, Any]:
    """A file of version 1, where only the beginning of the sentence told the kind."""
    skipped = file["status"] == "skipped"
    kinds: type[Reason] | type[Remark] = Reason if skipped else Remark
    found = next((kind for kind in kinds if file["reason"].startswith(kind.value)), None)
    return file | ({"skipped": found or Reason.FOREIGN} if skipped else {"face": found})


NOTHING = Report()


# --- The pictures themselves, one at a time.


def _odd(file: File, error: Exception) -> PictureError:
    """What no picture should do to what looks at it; it is logged in full."""
    log.warning("%s could not be used.", file.name, exc_info=error)
    return PictureError(Reason.UNREADABLE, in_words(error).problem.rstrip("."))


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """One usable picture."""

    name: str
    sha256: str  # of the pixels
    pixels: Tensor  # uint8 (C, H, W)
    face: Face | None = None  # where one was looked for and is not aligned
    oblong: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a reading of pictures is; for whoever reads a whole set and tells of it."""

    done: int
    total: int  # an upper bound: of some files no picture may come


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
        ConfigError: there is no such crop.
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
        one_of("crop", crop, get_args(Crop))
        self.looks = crop == "face" or faces_wanted
        self.resolution, self.channels, self.crop, self.limits = resolution, channels, crop, limits
        self.before = before
        self._files = files_of(sources, {file.name for file in before.files})
        self._reports: list[FileReport] = []
        sizes = [file.size for file in self._files] + [file.size for file in before.files]
        if len(sizes) > limits.files:
            problem = f"There are {len(sizes):,} files, more than the {limits.files:,} allowed."
            raise DataError(problem, "Leave some out.")
        # those that are too large by themselves are not read, and so their bytes do not count
        total, most = sum(size for size in sizes if size <= limits.file_bytes), limits.total_bytes
        if total > most:
            problem = f"The files have {size_text(total)} in all, more than the {size_text(most)} allowed."
            raise DataError(problem, "Leave some out.")

    @property
    def count(self) -> int:
        """Files to read; an upper bound of the pictures to come."""
        return len(self._files)

    @property
    def report(self) -> Report:
        """What became of the files so far; complete once the stream has ended."""
        return Report(tuple(self._reports))

    def again(self, names: Collection[str], *, resolution: int, channels: int, crop: Crop) -> "Pictures":
        """Those of these names, for a model of another size."""
        other = copy(self)
        other.resolution, other.channels, other.crop = resolution, channels, crop
        other.looks, other.before, other._reports = crop == "face", NOTHING, []
        other._files = [file for file in self._files if file.name in names]
        return other

    def before_and_after(self, picture: Picture) -> tuple[Image.Image, Image.Image] | None:
        """A picture of these as it is, and cropped, or as aligning its face would make it; None where they agree."""
        if not picture.face and (self.looks or not picture.oblong):
            return None
        file = next(file for file in self._files if file.name == picture.name)
        with suppress(DataError):  # it may have vanished
            image = self._open(file, self._side if picture.face else images.SHOWN)
            return images.before_and_after(image, "face" if picture.face else self.crop, picture.face)
        return None

    def __iter__(self) -> Iterator[Picture]:
        """Reads from the beginning, one file at a time."""
        self._reports, cut = [], self.crop == "face"
        first = {file.sha256: file.name for file in self.before.used}  # hash -> name
        for file in self._files:
            report = FileReport(file.name, size=file.size)
            try:
                image = self._open(file, self._side)
                width, height = image.info["size"]
                face = images.face_of(image) if cut else faces.look(image) if self.looks else None
                pixels = images.to_tensor(image, self.resolution, self.channels, self.crop, face)
                digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
                report = replace(report, width=width, height=height, sha256=digest)
                if digest in first:
                    raise PictureError(Reason.DUPLICATE, f"the same pixels as {first[digest]}")
                kind, said = faces.remark(face, cut) if self.looks else (None, "")
                flags = dict(self._flags(image, pixels, face))
            except Exception as error:  # whatever it is, the other files are read
                refused = error if isinstance(error, PictureError) else _odd(file, error)
                self._reports.append(replace(report, skipped=refused.reason, reason=refused.problem))
                continue
            first[digest] = file.name
            if min(width, height) < self.resolution:
                said += f" Enlarged to {self.resolution} pixels."
            said = "".join([said, *(f" {flag}: {detail}." for flag, detail in flags.items())]).lstrip()
            self._reports.append(replace(report, face=kind, flags=tuple(flags), reason=said))
            face = face if face and not face.aligned else None
            yield Picture(file.name, digest, pixels, face, oblong=width != height)

    def _flags(self, image: Image.Image, pixels: Tensor, face: Face | None) -> Iterator[tuple[Flag, str]]:
        """What is to be said of a picture and of its square, with the rest of each sentence."""
        if image.info["guessed"]:
            yield Flag.RANGE, image.info["guessed"]
        if self.crop == "centre" and (lost := 1 - min(image.size) / max(image.size)) > LOST:
            yield Flag.CUT, f"the square in the middle leaves {lost:.0%} of the picture out"
        if self.crop == "face" and face and (made_up := face.beyond(image.size)) > LOST / 2:
            yield Flag.BEYOND, f"{made_up:.0%} of its square lie outside the picture and are made up"
        if face and face.aside:
            yield Flag.ASIDE, "the face is turned away"
        yield from images.checked(pixels, enlarged=min(image.size) < self.resolution)

    @property
    def _side(self) -> int:
        """Pixels that a side of an opened picture has or has more than, where there are so many."""
        return max(2 * faces.SEEN, 8 * self.resolution) if self.crop == "face" else 2 * self.resolution

    def _open(self, file: File, side: int) -> Image.Image:
        """The picture of a file, with sides of `side` px or more where it has them.

        Raises:
            PictureError: it has none.
        """
        if file.refusal:
            raise PictureError(*file.refusal)
        source: Path | bytes = file.path
        if file.opened:
            images.check_bytes(file.size, self.limits)
            try:
                with file.opened() as stream:
                    source = stream.read(self.limits.file_bytes + 1)  # whatever size the zip claims
            except (NotImplementedError, RuntimeError) as error:  # a Python without bz2, encrypted names ...
                raise PictureError(Reason.PACKED, str(error)) from error
            except Exception as error:  # zlib.error, BadZipFile, EOFError ...
                fix, head = "Make the zip again.", f"{Reason.DAMAGED} in its zip"
                raise PictureError(Reason.DAMAGED, "", fix, head) from error
        return images.open_picture(source, self.limits, side=side)
