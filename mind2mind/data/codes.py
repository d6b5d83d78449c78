"""Codes: what the frozen encoder makes of a set of pictures, kept in one file.

Each picture is encoded once. Its row carries the file's name and the hash of the pixels encoded, so that a
picture met again, under whatever name, need not be encoded again; the file carries the id and the hash of
the source model, since codes mean nothing to another one. Small copies of the pictures travel along.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mind2mind.config import batch_of
from mind2mind.data.dataset import Picture
from mind2mind.data.images import from_uint8
from mind2mind.errors import ConfigError, DataError
from mind2mind.files import load_tensors, save_tensors
from mind2mind.models.bundle import Model
from mind2mind.networks.alae import ALAE
from mind2mind.runs.run import Run

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


def near_duplicates(pictures: Tensor) -> list[tuple[int, int]]:
    """Of uint8 pictures (N, C, H, W): the numbers of each near duplicate and of the first picture like it.

    No picture is both: what others are compared with is never itself a near duplicate.
    """
    vectors = _vectors(pictures[:MOST])
    found: dict[int, int] = {}
    for start in range(0, len(vectors), BLOCK):
        alike = vectors[start : start + BLOCK] @ vectors.T > 1 - NEAR
        for row, column in alike.nonzero().tolist():
            later, earlier = start + row, column
            if earlier < later and later not in found and earlier not in found:
                found[later] = earlier
    return sorted(found.items())


def _vectors(pictures: Tensor) -> Tensor:
    """(N, C * SIDE**2), without mean and of length 1; of plain pictures 0, which is like nothing."""
    small = [F.adaptive_avg_pool2d(part.float(), SIDE).flatten(1) for part in pictures.split(BLOCK)]
    x = torch.cat(small) if small else torch.empty(0, 1)
    x = x - x.mean(dim=1, keepdim=True)
    length: Tensor = x.norm(dim=1, keepdim=True)
    return x / length.clamp_min(1.0)


FORMAT, VERSION = "mind2mind/codes", 1
THUMBNAIL = 128  # px a side at most
BATCH_PIXELS = 16 * 256**2  # of a batch: 1 picture of 1024 px; 2 were no faster and took 300 MB more


@dataclass(frozen=True, eq=False)
class Codes:
    """N encoded pictures, row by row, on the CPU."""

    w: Tensor  # float32 (N, latent_size)
    names: tuple[str, ...]
    hashes: tuple[str, ...]  # sha256 of the pixels encoded
    source_id: str
    source_hash: str
    thumbnails: Tensor  # uint8 (N, C, t, t), t = min(resolution, 128)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class EncodeProgress:
    """After each batch."""

    done: int  # pictures encoded or known so far
    total: int | None = None  # files there are, where that is known: an upper bound of the pictures


@dataclass(frozen=True, slots=True)
class Encoded:
    """Always last."""

    codes: Codes


def encode(
    model: Model, pictures: Iterable[Picture], *, known: Codes | None = None, batch_size: int = 32
) -> Iterator[EncodeProgress | Encoded]:
    """Encodes pictures of the source model's size and channels as they come.

    Only one batch of pictures is held at a time; what grows is the codes and the thumbnails.

    Args:
        model: the source model, or a transfer, whose encoder is its source's.
        pictures: in the order wanted.
        known: codes made earlier; pictures found there are not encoded again. Those of another source model
            are of no use and ignored.
        batch_size: pictures at a time; fewer where they are large.

    Raises:
        ConfigError: batch_size is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}.", "It must be 1 or more.")
    source_hash = model.source_hash
    rows = {}
    if known is not None and known.source_hash == source_hash:
        rows = dict(zip(known.hashes, known.w, strict=True))
    size = max(1, min(batch_size, BATCH_PIXELS // model.alae.architecture.resolution**2))
    return _encode(model, pictures, rows, size)


def _encode(
    model: Model, pictures: Iterable[Picture], rows: dict[str, Tensor], size: int
) -> Iterator[EncodeProgress | Encoded]:
    a = model.alae.architecture
    names: list[str] = []
    hashes: list[str] = []
    w, thumbnails = [torch.empty(0, a.latent_size)], [_thumbnails(_blank(a.image_channels, a.resolution))]
    for batch in _batches(pictures, size):
        w.append(_codes_of(model.alae, batch, rows))
        thumbnails.append(_thumbnails(torch.stack([picture.pixels for picture in batch])))
        names += [picture.name for picture in batch]
        hashes += [picture.sha256 for picture in batch]
        yield EncodeProgress(len(names))
    yield Encoded(
        Codes(
            torch.cat(w),
            tuple(names),
            tuple(hashes),
            model.source_id,
            model.source_hash,
            torch.cat(thumbnails),
        )
    )


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    batch: list[Picture] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@torch.no_grad()
def of_pixels(alae: ALAE, pixels: Tensor) -> Tensor:
    """E of uint8 pictures (N, C, H, W): float32 (N, latent_size) on the CPU."""
    device, size = alae.w_avg.device, batch_of(pixels.shape[-1])
    return torch.cat([alae.encode(from_uint8(x.to(device))).float().cpu() for x in pixels.split(size)])


def _codes_of(alae: ALAE, batch: list[Picture], rows: dict[str, Tensor]) -> Tensor:
    """(N, latent_size), float32 on the CPU, known rows as they are."""
    new = [picture.pixels for picture in batch if picture.sha256 not in rows]
    fresh = iter(of_pixels(alae, torch.stack(new)) if new else ())
    return torch.stack([rows[p.sha256] if p.sha256 in rows else next(fresh) for p in batch])


def _blank(channels: int, side: int) -> Tensor:
    return torch.empty(0, channels, side, side, dtype=torch.uint8)


def _thumbnails(pixels: Tensor) -> Tensor:
    """uint8 (N, C, H, H) -> (N, C, t, t), each pixel the mean of those it stands for."""
    factor = pixels.shape[-1] // THUMBNAIL
    if factor <= 1:
        return pixels
    return F.avg_pool2d(pixels.float(), factor).round_().byte()


def save(path: Path, codes: Codes) -> None:
    """Writes codes as one safetensors file, whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "source_id": codes.source_id,
        "source_hash": codes.source_hash,
        "names": codes.names,
        "hashes": codes.hashes,
    }
    save_tensors(path, {"w": codes.w, "thumbnails": codes.thumbnails}, meta)


def load(path: Path) -> Codes:
    """The codes of a file written by `save`.

    Raises:
        WeightsError: there is no such file, or it is no whole safetensors file.
        DataError: it holds no codes, those of a newer version, or codes that do not fit together.
    """
    tensors, meta = load_tensors(path)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataError(f"{path} holds no codes.", "Make it again with the command encode.")
    if meta.get("version") != VERSION:
        raise DataError(
            f"{path} holds codes of version {meta.get('version')}; this program reads {VERSION}.",
            "Make it again with the command encode, or update the program.",
        )
    try:
        codes = Codes(
            tensors["w"],
            tuple(meta["names"]),
            tuple(meta["hashes"]),
            meta["source_id"],
            meta["source_hash"],
            tensors["thumbnails"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} lacks a part ({error}).", "Make it again with the command encode."
        ) from error
    if complaint := _complaint(codes):
        raise DataError(f"{path} is damaged: {complaint}.", "Make it again with the command encode.")
    return codes


def of_run(run: Run) -> Codes:
    """What a run learns from: its pictures but the excluded ones."""
    made, excluded = load(run.codes), set(run.info.get("excluded") or ())
    rows = [row for row, name in enumerate(made.names) if name not in excluded]
    return made if len(rows) == len(made) else _rows(made, rows)


def _rows(made: Codes, rows: list[int]) -> Codes:
    return replace(
        made,
        w=made.w[rows],
        names=tuple(made.names[row] for row in rows),
        hashes=tuple(made.hashes[row] for row in rows),
        thumbnails=made.thumbnails[rows],
    )


def join(a: Codes, b: Codes) -> Codes:
    """Two sets of one source model as one.

    Raises:
        DataError: they are of two.
    """
    if a.source_hash != b.source_hash:
        raise DataError("These codes are of another source model.", "Read all pictures again with one.")
    return replace(
        a,
        w=torch.cat([a.w, b.w]),
        names=a.names + b.names,
        hashes=a.hashes + b.hashes,
        thumbnails=torch.cat([a.thumbnails, b.thumbnails]),
    )


def _complaint(codes: Codes) -> str:
    counts = {len(codes.names), len(codes.hashes), len(codes.w), len(codes.thumbnails)}
    if len(counts) != 1:
        return "codes, names, hashes and thumbnails differ in number"
    if codes.w.dtype != torch.float32 or codes.w.dim() != 2:
        return f"the codes are {codes.w.dtype} of shape {tuple(codes.w.shape)}"
    if codes.thumbnails.dtype != torch.uint8 or codes.thumbnails.dim() != 4:
        return f"the thumbnails are {codes.thumbnails.dtype} of shape {tuple(codes.thumbnails.shape)}"
    return "" if bool(codes.w.isfinite().all()) else "a code is not a finite number"
