"""Commands that draw new pictures: sample, interpolate."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mind2mind.cli.terminal import (
    Bar,
    CropOption,
    ModelOption,
    NoiseOption,
    PicturesArgument,
    PsiOption,
    Result,
    Terminal,
    door,
    folder_of,
    seeds_of,
)
from mind2mind.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

    from mind2mind.data.codes import EncodeProgress
    from mind2mind.data.dataset import Report
    from mind2mind.runs.prepared import Encoding, Prepared

# --- Commands that read pictures: reconstruct, encode; and what is said of a set that was read.

NEAR_TOLD = 10  # near duplicates that are named
Last = TypeVar("Last", bound="Encoding | Prepared")


@door(
    "reconstruct photos/ --model toon64 --out rebuilt",
    "reconstruct me.jpg --model ffhq --crop face --out rebuilt",
)
def reconstruct(
    terminal: Terminal,
    pictures: PicturesArgument,
    model: ModelOption,
    crop: CropOption = None,
    out: Annotated[Path, typer.Option(help="The folder for the pairs.")] = Path("reconstructions"),
) -> Result:
    """Show what a model can rebuild of pictures: each beside its reconstruction, with the PSNR in dB.

    Where a face was aligned, the picture before stands on the left.
    """
    from mind2mind.data import images
    from mind2mind.data.dataset import Report

    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    with terminal.bar("Rebuilding") as bar:
        for number, made in enumerate(
            terminal.studio().draw.reconstruct(model, pictures, crop=crop), start=1
        ):
            if isinstance(made, Report):
                skipped = [{"name": verdict.name, "reason": verdict.reason} for verdict in made.skipped]
                tell_faces(terminal, made)
                break
            bar.show(number, note=f"{number} pictures")
            stem = re.sub(r"[^\w.-]+", "_", Path(made.name).stem)[:80]
            path = folder_of(out) / f"{number:05d}-{stem}.png"
            meta = {"model": model, "picture": made.name, "psnr": f"{made.psnr:.2f}"}
            before = [made.aligned[0].resize(made.original.size)] if made.aligned else []
            images.save_png(images.grid([*before, made.original, made.rebuilt], 3), path, meta)
            rows.append({"name": made.name, "psnr": made.psnr, "path": path})
    for row in skipped:
        terminal.note(f"skipped {row['name']}: {row['reason']}")
    if not rows:
        raise DataError(
            "None of these files is a picture that can be used.", "Give PNG, JPEG or WebP pictures."
        )
    mean = sum(row["psnr"] for row in rows) / len(rows)
    document = {"model": model, "pictures": rows, "skipped": skipped, "psnr_mean": mean}
    lines = [f"{row['path']}\t{row['psnr']:.2f} dB" for row in rows]
    return Result(document, [*lines, f"mean\t{mean:.2f} dB"])


@door(
    "encode photos/ --model toon64 --out codes.safetensors --report report.json",
    "encode photos.zip --model toon64 --crop fit --out codes.safetensors --json",
)
def encode(
    terminal: Terminal,
    pictures: PicturesArgument,
    model: ModelOption,
    crop: CropOption = None,
    out: Annotated[Path, typer.Option(help="The file of codes.")] = Path("codes.safetensors"),
    report: Annotated[Path | None, typer.Option(help="A JSON file for what became of each picture.")] = None,
) -> Result:
    """Encode pictures: a file of codes, and a report on each picture.

    Pictures that --out already holds codes of are not encoded again.
    """
    from mind2mind import files
    from mind2mind.data import codes

    known = out if out.exists() else None
    if known is not None and not _holds_codes(known):
        raise DataError(f"{out} holds no codes and was left as it is.", "Choose another --out.")
    made = last_of(terminal, terminal.studio().runs.encode(pictures, model, crop=crop, known=known))
    codes.save(out, made.codes)
    if report is not None:
        files.write_json(report, made.report.to_dict())
    document = {"codes": out, "report": report, **told(terminal, made)}
    return Result(document, [str(path) for path in (out, report) if path is not None])


def last_of(terminal: Terminal, events: "Iterator[EncodeProgress | Last]") -> "Last":
    """What pictures become when they are encoded, after a bar that shows how far that is."""
    from mind2mind.data.codes import EncodeProgress

    last = None
    with terminal.bar("Encoding", left=True) as bar:
        for event in events:
            if isinstance(event, EncodeProgress):
                bar.show(event.done, event.total, f"{event.done} pictures")
            else:
                last = event
    assert last is not None  # or there is an exception
    return last


def _holds_codes(path: Path) -> bool:
    """Whether a file says that it is one of codes, whole or not."""
    from mind2mind import files
    from mind2mind.data import codes

    try:
        meta: Any = files.read_meta(path)
        return bool(meta["format"] == codes.FORMAT)
    except Exception:  # it may be anything
        return False


def tell_faces(terminal: Terminal, report: "Report") -> None:
    """Says on stderr whose faces are aligned, and what helps those that are not."""
    from mind2mind.data.faces import Remark

    for remark, number in report.faces().items():
        terminal.note(f"  {number} x {remark}")
    if report.faces()[Remark.NOT_ALIGNED]:
        terminal.note("This model knows faces aligned as FFHQ does: --crop face aligns and crops them.")


def told_before(terminal: Terminal, prepared: "Prepared") -> dict[str, Any]:
    """Says what else is known before a training: pictures left out, near duplicates, better models."""
    from mind2mind.runs.prepared import ways_out

    left = [(name, like) for name, like in prepared.near if name not in prepared.excluded]
    if prepared.excluded:
        terminal.note(f"Left out: {', '.join(prepared.excluded)}.")
    if left:
        terminal.note(f"{len(left)} near duplicates; --without-near-duplicates leaves them out:")
    for name, like in left[:NEAR_TOLD]:
        terminal.note(f"  {name} is like {like}")
    ways = ways_out(prepared)
    for way in ways:
        terminal.note(way)
    return {
        "excluded": list(prepared.excluded),
        "near_duplicates": [{"name": name, "like": like} for name, like in left],
        "better_models": [other.id for other in prepared.others],
        "advice_on_model": ways,
    }


def told(terminal: Terminal, made: "Encoding | Prepared") -> dict[str, Any]:
    """Says on stderr what became of the pictures; gives the same for the document."""
    report = made.report
    reasons = dict(report.reasons())
    terminal.note(f"{len(report.used)} pictures encoded, {len(report.skipped)} skipped.")
    for reason, number in reasons.items():
        terminal.note(f"  {number} x {reason}")
    tell_faces(terminal, report)
    terminal.note(f"Their reconstructions reach {made.psnr_mean:.1f} dB: {made.verdict}.")
    terminal.note(made.reason)
    terminal.note(report.advice())
    return {
        "pictures": len(report.used),
        "skipped": reasons,
        "faces": dict(report.faces()),
        "psnr_mean": made.psnr_mean,
        "verdict": made.verdict,
        "verdict_reason": made.reason,
        "advice": report.advice(),
    }


SAMPLES = 16  # when --count is left out
IN_GRID = 64  # pictures of a grid, at most
FRAMES = 60
FRAMES_PER_SECOND = 24
CLIP_ENDINGS = (".mp4", ".webp", ".gif", "")  # none: a folder of PNGs


@door(
    "sample --model toon64 --count 16 --seed 7 --out samples",
    "sample --model my-run --seed 0,3,5-9 --psi 0.7 --noise none --out few",
)
def sample(
    terminal: Terminal,
    model: ModelOption,
    seed: Annotated[
        str, typer.Option(help="The first seed (with --count), or a list such as 0,3,5-9.")
    ] = "0",
    count: Annotated[
        int | None, typer.Option(min=1, help="How many pictures.", show_default=str(SAMPLES))
    ] = None,
    psi: PsiOption = 1.0,
    noise: NoiseOption = "random",
    out: Annotated[Path, typer.Option(help="The folder for the PNGs and their grid.")] = Path("samples"),
) -> Result:
    """Draw new pictures: one PNG a seed, and a grid. The same seed is the same picture."""
    seeds = seeds_of(seed, count, SAMPLES)
    from mind2mind.data import images

    studio = terminal.studio()
    shown: list[Image.Image] = []
    rows = []
    with terminal.bar("Drawing", len(seeds), left=True) as bar:
        for first in range(0, len(seeds), SAMPLES):
            chunk = seeds[first : first + SAMPLES]
            pictures = studio.draw.sample(model, chunk, psi=psi, noise=noise)
            folder_of(out)  # only now: a wrong model leaves no folder behind
            for number, picture in zip(chunk, pictures, strict=True):
                path = out / f"seed-{number:07d}.png"
                images.save_png(picture, path, provenance(picture))
                rows.append({"seed": number, "path": path})
            shown += pictures[: IN_GRID - len(shown)]
            bar.show(first + len(chunk), note=f"{first + len(chunk)} of {len(seeds)}")
    grid = out / "grid.png"
    meta = provenance(shown[0]) | {"seed": ",".join(map(str, seeds[: len(shown)]))}
    images.save_png(images.grid(shown), grid, meta)
    document = {"model": model, "psi": psi, "noise": noise, "pictures": rows, "grid": grid}
    return Result(document, [*(str(row["path"]) for row in rows), str(grid)])


def provenance(picture: "Image.Image") -> dict[str, str]:
    """What the studio wrote into a picture about its making."""
    return {str(key): str(value) for key, value in picture.info.items()}


def endpoint_of(text: str) -> int | Path:
    """`12` is a seed; anything else is a picture, and so is `./12`.

    Raises:
        ConfigError: the seed is too large.
        DataError: there is no such picture.
    """
    if text.isdecimal():
        return seeds_of(text, 1, 1)[0]
    if not Path(text).is_file():
        raise DataError(
            f"There is no picture {text}.", "Give a seed (a whole number) or the path of a picture."
        )
    return Path(text)


@door(
    "interpolate 3 8 21 --model toon64 --out walk.mp4",
    "interpolate me.png 7 --model toon64 --frames 30 --loop --out walk.webp",
)
def interpolate(
    terminal: Terminal,
    endpoints: Annotated[
        list[str],
        typer.Argument(metavar="A B C", help="Two or more, each a seed or a picture.", show_default=False),
    ],
    model: ModelOption,
    frames: Annotated[int, typer.Option(min=2, max=10_000, help="How many frames in all.")] = FRAMES,
    psi: PsiOption = 1.0,
    noise: NoiseOption = "none",
    loop: Annotated[bool, typer.Option("--loop", help="Back to the first at the end.")] = False,
    out: Annotated[
        Path, typer.Option(help="A clip (.mp4, .webp, .gif); without an ending, a folder of PNGs.")
    ] = Path("interpolation.mp4"),
) -> Result:
    """Walk in a straight line from code to code, as a clip or as single frames."""
    if len(endpoints) < 2:
        raise DataError("An interpolation needs two ends.", "Give two or more seeds or pictures.")
    if out.suffix.lower() not in CLIP_ENDINGS:
        raise DataError(
            f"Clips do not end in {out.suffix}.", "Use .mp4, .webp, .gif, or no ending for a folder."
        )
    if out.suffix and out.is_dir():
        raise DataError(f"{out} is a folder.", "Choose another --out, or one without an ending for PNGs.")
    if frames < len(endpoints):
        raise ConfigError(
            f"{frames} frames cannot show {len(endpoints)} ends.", f"Ask for {len(endpoints)} or more."
        )
    ends = [endpoint_of(text) for text in endpoints]
    from mind2mind.draw import save_clip

    walk = terminal.studio().draw.interpolate(model, ends, frames=frames, psi=psi, noise=noise, loop=loop)
    with terminal.bar("Drawing", frames, left=True) as bar:
        folder_of(out.parent)
        save_clip(_counted(walk, bar), out, FRAMES_PER_SECOND)
    document = {"model": model, "ends": endpoints, "frames": frames, "psi": psi, "noise": noise, "path": out}
    return Result(document, [str(out)])


def _counted(frames: "Iterable[Image.Image]", bar: Bar) -> "Iterator[Image.Image]":
    for done, frame in enumerate(frames, start=1):
        bar.show(done, note=f"frame {done}")
        yield frame
