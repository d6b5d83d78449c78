"""Commands that read pictures: reconstruct, encode; and what is said of a set that was read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mind2mind.cli.arguments import CropOption, ModelOption, PicturesArgument, folder_of
from mind2mind.cli.common import Result, Terminal, door
from mind2mind.errors import DataError

if TYPE_CHECKING:
    from mind2mind.codes import EncodeProgress
    from mind2mind.intake import Encoding, Prepared
    from mind2mind.report import Report

NEAR_TOLD = 10  # near duplicates that are named
Last = TypeVar("Last", bound="Encoding | Prepared")


@door(
    "mind2mind reconstruct photos/ --model toon64 --out rebuilt",
    "mind2mind reconstruct me.jpg --model ffhq --crop face --out rebuilt",
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
    from mind2mind import images
    from mind2mind.report import Report

    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    with terminal.bar("Rebuilding") as bar:
        for number, made in enumerate(terminal.studio().reconstruct(model, pictures, crop=crop), start=1):
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
    "mind2mind encode photos/ --model toon64 --out codes.safetensors --report report.json",
    "mind2mind encode photos.zip --model toon64 --crop fit --out codes.safetensors --json",
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
    from mind2mind import codes, files

    known = out if out.exists() else None
    if known is not None and not _holds_codes(known):
        raise DataError(f"{out} holds no codes and was left as it is.", "Choose another --out.")
    made = last_of(terminal, terminal.studio().encode(pictures, model, crop=crop, known=known))
    codes.save(out, made.codes)
    if report is not None:
        files.write_json(report, made.report.to_dict())
    document = {"codes": out, "report": report, **told(terminal, made)}
    return Result(document, [str(path) for path in (out, report) if path is not None])


def last_of(terminal: Terminal, events: "Iterator[EncodeProgress | Last]") -> "Last":
    """What pictures become when they are encoded, after a bar that shows how far that is."""
    from mind2mind.codes import EncodeProgress

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
    from mind2mind import codes, files

    try:
        meta: Any = files.read_meta(path)
        return bool(meta["format"] == codes.FORMAT)
    except Exception:  # it may be anything
        return False


def tell_faces(terminal: Terminal, report: "Report") -> None:
    """Says on stderr whose faces are aligned, and what helps those that are not."""
    for remark, number in report.faces().items():
        terminal.note(f"  {number} x {remark}")
    if report.not_aligned:
        terminal.note("This model knows faces aligned as FFHQ does: --crop face aligns and crops them.")


def told_before(terminal: Terminal, prepared: "Prepared") -> dict[str, Any]:
    """Says what else is known before a training: pictures left out, near duplicates, better models."""
    from mind2mind.preflight import ways_out

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
        "better_models": [other["id"] for other in prepared.others],
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
