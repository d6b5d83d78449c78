"""Codes: what the frozen encoder makes of a set of pictures, and the thumbnails of those pictures.

Each picture is encoded once. Its row carries the file's name and the hash of the pixels encoded, so that a
picture met again, under whatever name, need not be encoded again; the file carries the id and the hash of
the source model, since codes mean nothing to another one. The thumbnails lie in a file of their own beside the
codes: a page of them, or a single one, is read without the rest. Older files of codes hold them inside.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mind2mind.config import batch_of
from mind2mind.data.dataset import Picture, Reading
from mind2mind.data.images import from_uint8
from mind2mind.errors import DataError
from mind2mind.files import load_rows, load_tensors, read_meta, save_tensors
from mind2mind.networks.alae import ALAE

FORMAT, VERSION = "mind2mind/codes", 1
BESIDE = "thumbnails.safetensors"  # lies beside a run's codes
THUMBNAIL = 128  # px a side at most


@dataclass(frozen=True, eq=False)
class Codes:
    """N encoded pictures, row by row, on the CPU."""

    w: Tensor  # float32 (N, latent_size)
    names: tuple[str, ...]
    hashes: tuple[str, ...]  # sha256 of the pixels encoded
    source_id: str
    source_hash: str

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> "Codes":
        """These rows, in this order."""
        names, hashes = (tuple(each[row] for row in rows) for each in (self.names, self.hashes))
        return replace(self, w=self.w[list(rows)], names=names, hashes=hashes)

    def join(self, other: "Codes") -> "Codes":
        """Both sets as one.

        Raises:
            DataError: they are of two source models.
        """
        if self.source_hash != other.source_hash:
            raise DataError("These codes are of another source model.", "Read all pictures again with one.")
        names, hashes = self.names + other.names, self.hashes + other.hashes
        return replace(self, w=torch.cat([self.w, other.w]), names=names, hashes=hashes)


def encode(
    alae: ALAE,
    pictures: Iterable[Picture],
    *,
    source_id: str,
    source_hash: str,
    total: int,
    known: Codes | None = None,
) -> Generator[Reading, None, tuple[Codes, Tensor]]:
    """Encodes pictures of the source model's size and channels as they come.

    Tells of it after each batch. Only one of them is held at a time; what grows is the codes and the thumbnails.

    Args:
        alae: the source model's.
        pictures: in the order wanted.
        source_id, source_hash: of the source model, to be kept with the codes.
        total: how many there are at most.
        known: codes made earlier; pictures found there are not encoded again. Those of another source model
            are of no use and ignored.

    Returns:
        The codes, and the thumbnails: uint8 (N, C, t, t), t = min(resolution, THUMBNAIL).
    """
    rows: dict[str, Tensor] = {}  # by the hash of the pixels
    if known is not None and known.source_hash == source_hash:
        rows = dict(zip(known.hashes, known.w, strict=True))
    a, stream = alae.architecture, iter(pictures)
    blank = torch.empty(0, a.image_channels, a.resolution, a.resolution, dtype=torch.uint8)
    names: list[str] = []
    hashes: list[str] = []
    small = [shrunk(blank)]
    while batch := list(islice(stream, batch_of(a.resolution))):
        if new := {picture.sha256: picture.pixels for picture in batch if picture.sha256 not in rows}:
            rows |= zip(new, of_pixels(alae, torch.stack([*new.values()])), strict=True)
        small.append(shrunk(torch.stack([picture.pixels for picture in batch])))
        names += [picture.name for picture in batch]
        hashes += [picture.sha256 for picture in batch]
        yield Reading(len(names), total)
    w = torch.cat([torch.empty(0, a.latent_size), *(rows[digest][None] for digest in hashes)])
    return Codes(w, tuple(names), tuple(hashes), source_id, source_hash), torch.cat(small)


@torch.no_grad()
def of_pixels(alae: ALAE, pixels: Tensor) -> Tensor:
    """E of uint8 pictures (N, C, H, W): float32 (N, latent_size) on the CPU."""
    device, size = alae.w_avg.device, batch_of(pixels.shape[-1])
    return torch.cat([alae.encode(from_uint8(x.to(device))).float().cpu() for x in pixels.split(size)])


def shrunk(pixels: Tensor) -> Tensor:
    """uint8 (N, C, H, H) -> (N, C, t, t), each pixel the mean of those it stands for."""
    factor = pixels.shape[-1] // THUMBNAIL
    return F.avg_pool2d(pixels.float(), factor).round_().byte() if factor > 1 else pixels


def save(path: Path, codes: Codes, small: Tensor | None = None) -> None:
    """Writes codes as one safetensors file, and thumbnails (uint8, (N, C, t, t)), if given, beside it.

    Raises:
        DataError: a file cannot be written.
    """
    if small is not None:  # first: more thumbnails than codes do no harm
        save_tensors(path.with_name(BESIDE), {"thumbnails": small})
    meta = vars(codes) | {"format": FORMAT, "version": VERSION}
    save_tensors(path, {"w": meta.pop("w")}, meta)


def load(path: Path) -> Codes:
    """The codes of a file written by `save`, without any thumbnails.

    Raises:
        WeightsError: there is no such file, or it is no whole safetensors file.
        DataError: it holds no codes, those of a newer version, or codes that do not fit together.
    """
    again = "Make it again with the command encode."
    meta = read_meta(path)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataError(f"{path} holds no codes.", again)
    if meta.get("version") != VERSION:
        problem = f"{path} holds codes of version {meta.get('version')}; this program reads {VERSION}."
        raise DataError(problem, "Make it again with the command encode, or update the program.")
    try:
        names, hashes = tuple(meta["names"]), tuple(meta["hashes"])
        w = load_tensors(path, ["w"])[0]["w"]
        codes = Codes(w, names, hashes, meta["source_id"], meta["source_hash"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} lacks a part ({error}).", again) from error
    if w.dtype != torch.float32 or w.dim() != 2 or not bool(w.isfinite().all()):
        raise DataError(f"{path} is damaged: it does not hold vectors of finite float32 numbers.", again)
    if len({len(names), len(hashes), len(w)}) != 1:
        raise DataError(f"{path} is damaged: codes, names and hashes differ in number.", again)
    return codes


def thumbnails(path: Path, rows: Sequence[int]) -> Tensor:
    """These rows of the thumbnails that belong to a file of codes, uint8 (N, C, t, t); no others are read.

    Raises:
        WeightsError: there are none, or not so many.
    """
    beside = path.with_name(BESIDE)
    return load_rows(beside if beside.exists() else path, "thumbnails", rows)


# --- Near duplicates in a set of pictures: the same picture saved again, made smaller, or hardly changed.
# Two pictures are near duplicates when their 8x8 pixels correlate above 1 - NEAR. Measured on 1,200 faces of
# 64 px (200 aliens, 1,000 held-out toons): 97 % of their copies as JPEG of quality 75 and all copies of half
# the size are found, 2 % of the mirrored ones are (faces that are nearly symmetric), and one pair of different
# ones, which differ in an eyebrow. A difference hash is of no use here: with 64 bits, 98 % of different faces
# are within 4 bits of another.

SIDE = 8  # px of the pictures compared
NEAR = 1e-3  # 1 - correlation
BLOCK = 1024  # pictures compared with all others at a time
MOST = 20_000  # pictures looked at: the time grows with the square, and is about 3 s there


def near_duplicates(pictures: Tensor, areas: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Of uint8 pictures (N, C, H, W): the numbers of each near duplicate and of the largest picture like it.

    No picture is both: what others are compared with is never itself a near duplicate.

    Args:
        areas: px of each picture's file; of equals, and without, the first is the largest.
    """
    pictures = pictures[:MOST]
    order = sorted(range(len(pictures)), key=lambda number: -areas[number] if areas else 0)
    small = [F.adaptive_avg_pool2d(part.float(), SIDE).flatten(1) for part in pictures.split(BLOCK)]
    vectors = torch.cat(small)[order]
    vectors = vectors - vectors.mean(dim=1, keepdim=True)
    vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1.0)  # plain pictures are like nothing
    found: dict[int, int] = {}
    for start in range(0, len(vectors), BLOCK):
        alike = vectors[start : start + BLOCK] @ vectors.T > 1 - NEAR
        for row, earlier in alike.nonzero().tolist():
            later = start + row
            if earlier < later and later not in found and earlier not in found:
                found[later] = earlier
    return sorted((order[later], order[earlier]) for later, earlier in found.items())
