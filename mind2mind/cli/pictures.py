"""Commands around pictures: sample, interpolate, reconstruct, encode; and what is said of a set that was read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer import Argument, Option

from mind2mind.cli import terminal
from mind2mind.cli.terminal import Result, command
from mind2mind.config import batch_of
from mind2mind.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

    from mind2mind.data.dataset import Reading, Report
    from mind2mind.explore import View
    from mind2mind.runs.findings import Encoding, Prepared
    from mind2mind.runs.run import Found

SAMPLES = 16  # when --count is left out
CLIP = "interpolation.mp4"
WAYS = "mind: through codes that the model draws by itself; straight: in a straight line."
MOVES = "Along the model's directions, in standard deviations: 0,2 is 2 along the second."
NEAR = "The way to a neighbour: 3,1 is the first picture like the third one like that of the seed."
CROSSOVER = "From this layer on; 0 is all of --style."
NAMED = 5  # skipped files of a kind that are named, at most
IN_GRID = 64  # pictures of a grid, at most
NAME_BYTES = 80  # of a picture's name that are kept; file systems take 255, some fewer
Last = TypeVar("Last", bound="Encoding | Prepared")


def numbers(text: str) -> tuple[float, ...]:
    """`0,2.5` as numbers, whole ones as such."""
    try:
        return tuple(int(part) if part.strip().isdecimal() else float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 0,2.") from error


NUMBERS: dict[str, Any] = {"parser": numbers, "metavar": "NUMBERS"}


@command("Pictures")
def sample(
    model: terminal.Model,
    seed: Annotated[str, Option(help="The first seed (with --count), or a list such as 0,3,5-9.")] = "0",
    count: Annotated[int | None, Option(min=1, help="How many pictures.", show_default=str(SAMPLES))] = None,
    psi: terminal.Psi = 1.0,
    noise: terminal.Noise = "random",
    moves: Annotated[Any, Option(help=MOVES, **NUMBERS)] = None,
    near: Annotated[Any, Option(help=NEAR, **NUMBERS)] = None,
    alike: Annotated[
        bool, Option("--alike", help="The first one and others like it, all of its seed.")
    ] = False,
    style: Annotated[int | None, Option(min=0, help="The seed whose colours and details all get.")] = None,
    crossover: Annotated[int | None, Option(min=0, help=CROSSOVER, show_default="the middle")] = None,
    out: Annotated[Path, Option(help="The folder for the PNGs and their grid.")] = Path("samples"),
) -> Result:
    """Draw new pictures: one PNG each, and a grid. The same seed is the same picture.

    Examples:
        sample --model toon128 --count 16 --seed 7 --out samples
        sample --model my-run --seed 0,3,5-9 --psi 0.7 --noise none --out few
        sample --model toon64 --seed 7 --alike --moves 0,2 --out alike
        sample --model toon64 --seed 0-9 --style 12 --out mixed
    """
    from mind2mind.explore import View

    seeds, studio = terminal.seeds_of(seed, count, SAMPLES), terminal.studio()
    views = [View(seed=each, psi=psi, noise=noise, moves=moves or (), near=near or ()) for each in seeds]
    if alike:
        views = studio.explore.alike(views[0], len(views))
    shown: list[Image.Image] = []
    rows = []
    step = batch_of(studio.models.load(model).alae.architecture.resolution)
    for first in terminal.tracked(range(0, len(views), step), "Drawing"):
        chunk = views[first : first + step]
        pictures = studio.explore.draw(model, chunk, style=style, crossover=crossover)
        out.mkdir(parents=True, exist_ok=True)  # only now: a wrong model leaves no folder behind
        for view, picture in zip(chunk, pictures, strict=True):
            path = out / f"{'_'.join([f'seed-{view.seed:07d}', *map(str, view.near)])}.png"
            studio.draw.save_png(picture, path)
            rows.append({"seed": view.seed, "path": path})
        shown += pictures[: IN_GRID - len(shown)]
    grid = out / "grid.png"
    sheet = studio.draw.grid(shown)
    sheet.info |= shown[0].info | {"seed": ",".join(view.stem for view in views[: len(shown)])}
    studio.draw.save_png(sheet, grid)
    document = {"model": model, "psi": psi, "noise": noise, "pictures": rows, "grid": grid}
    return Result(document, [*(row["path"] for row in rows), grid])


@command("Pictures")
def interpolate(
    endpoints: Annotated[list[str], Argument(metavar="A B C", help="Two or more, each a seed or a picture.")],
    model: terminal.Model,
    frames: Annotated[int, Option(min=2, max=10_000, help="How many frames in all.")] = 60,
    psi: terminal.Psi = 1.0,
    noise: terminal.Noise = "none",
    path: Annotated[str | None, Option(help=WAYS, show_default="mind between seeds, else straight")] = None,
    loop: Annotated[bool, Option("--loop", help="Back to the first at the end.")] = False,
    out: Annotated[Path, Option(help="An .mp4, .webp or .gif, or a folder for PNGs.")] = Path(CLIP),
) -> Result:
    """Walk from seed to seed or picture to picture, as a clip or as single frames.

    Examples:
        interpolate 3 8 21 --model toon128 --out walk.mp4
        interpolate me.png 7 --model toon128 --path mind --frames 30 --loop --out walk.webp
    """
    if out.suffix and out.is_dir():
        raise DataError(f"{out} is a folder.", "Choose another --out, or one without an ending for PNGs.")
    if frames < len(endpoints):
        raise ConfigError(f"{frames} frames cannot show {len(endpoints)} ends.", "Ask for more frames.")
    studio, ends = terminal.studio(), [_endpoint(text, psi) for text in endpoints]
    walk = studio.explore.interpolate(model, ends, frames=frames, noise=noise, path=path, loop=loop)
    out.parent.mkdir(parents=True, exist_ok=True)
    studio.draw.save_clip(terminal.tracked(walk, "Drawing", frames), out)
    document = {"model": model, "ends": endpoints, "frames": frames, "psi": psi, "noise": noise, "path": out}
    return Result(document, [out])


def _endpoint(text: str, psi: float) -> "View":
    """`12` is a seed; anything else is a picture, and so is `./12`."""
    from mind2mind.explore import View

    if text.isdecimal():
        return View(terminal.seeds_of(text, 1, 1)[0], psi=psi)
    if not Path(text).is_file():
        raise DataError(f"There is no picture {text}.", "Give a seed (a whole number) or a picture's path.")
    return View(photo=Path(text), psi=psi)


@command("Pictures")
def reconstruct(
    pictures: terminal.Pictures,
    model: terminal.Model,
    crop: terminal.Crop = None,
    out: Annotated[Path, Option(help="The folder for the pairs.")] = Path("reconstructions"),
) -> Result:
    """Show what a model can rebuild of pictures: each beside its reconstruction, with the PSNR in dB.

    Where a face was aligned, the picture before stands on the left.

    Examples:
        reconstruct photos/ --model toon128 --out rebuilt
        reconstruct me.jpg --model ffhq --crop face --out rebuilt
    """
    from mind2mind.data.dataset import Report

    studio = terminal.studio()
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    events = terminal.tracked(studio.draw.reconstruct(model, pictures, crop=crop), "Rebuilding")
    for number, made in enumerate(events, start=1):
        if isinstance(made, Report):
            skipped = [{"name": verdict.name, "reason": verdict.reason} for verdict in made.skipped]
            _tell_remarks(made)
            continue
        stem = re.sub(r"[^\w.-]+", "_", Path(made.name).stem).encode()[:NAME_BYTES].decode(errors="ignore")
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{number:05d}-{stem}.png"
        before = [made.aligned[0].resize(made.original.size)] if made.aligned else []
        shown = studio.draw.grid([*before, made.original, made.rebuilt], 3)
        shown.info.update(model=model, picture=made.name, psnr=f"{made.psnr:.2f}")
        studio.draw.save_png(shown, path)
        rows.append({"name": made.name, "psnr": made.psnr, "path": path})
    for row in skipped:
        terminal.note(f"skipped {row['name']}: {row['reason']}")
    if not rows:
        raise DataError("None of these files can be used as a picture.", "Give PNG, JPEG or WebP pictures.")
    mean = sum(row["psnr"] for row in rows) / len(rows)
    document = {"model": model, "pictures": rows, "skipped": skipped, "psnr_mean": mean}
    lines = [f"{row['path']}\t{row['psnr']:.2f} dB" for row in rows]
    return Result(document, [*lines, f"mean\t{mean:.2f} dB"])


@command("Pictures")
def encode(
    pictures: terminal.Pictures,
    model: terminal.Model,
    crop: terminal.Crop = None,
    out: Annotated[Path, Option(help="The file of codes.")] = Path("codes.safetensors"),
    report: Annotated[Path | None, Option(help="A JSON file for what became of each picture.")] = None,
) -> Result:
    """Encode pictures: a file of codes, and a report on each picture.

    Pictures that --out already holds codes of are not encoded again.

    Examples:
        encode photos/ --model toon128 --out codes.safetensors --report report.json
        encode photos.zip --model toon128 --crop fit --out codes.safetensors --json
    """
    made = last_of(terminal.studio().runs.encode(pictures, model, crop=crop, out=out))
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(terminal.as_json(made.report.to_dict()), encoding="utf-8")
    document = {"codes": out, "report": report, **told(made.report, made.found)}
    return Result(document, [path for path in (out, report) if path])


def last_of(events: "Iterator[Reading | Last]") -> "Last":
    """What pictures become when they are encoded, after a bar that shows how far that is."""
    from mind2mind.data.dataset import Reading

    last = None
    with terminal.bar("Encoding", left=True) as show:
        for event in events:
            if isinstance(event, Reading):
                show(completed=event.done, total=event.total, note=f"{event.done} pictures")
            else:
                last = event
    assert last is not None  # or there is an exception
    return last


def told(report: "Report", made: "Found") -> dict[str, Any]:
    """Says on stderr what became of the pictures; gives the same for the document."""
    reasons = dict(report.reasons())
    terminal.note(f"{len(report.used)} pictures encoded, {len(report.skipped)} skipped.")
    for reason, number in reasons.items():
        names = ", ".join([file.name for file in report.skipped if file.skipped is reason][:NAMED])
        terminal.note(f"  {number} x {reason}: {names}{', ...' if number > NAMED else ''}")
    _tell_remarks(report)
    terminal.note(f"Their reconstructions reach {made.psnr_mean:.1f} dB: {made.verdict}.")
    terminal.note(made.reason)
    for said in filter(None, (report.advice(), report.missing())):
        terminal.note(said)
    return {
        "pictures": len(report.used),
        "skipped": reasons,
        "faces": dict(report.faces()),
        "flags": dict(report.flags()),
        "psnr_mean": made.psnr_mean,
        "verdict": made.verdict,
        "verdict_reason": made.reason,
        "advice": report.advice(),
        "missing": report.missing(),
    }


def _tell_remarks(report: "Report") -> None:
    """Says on stderr what used pictures lack, whose faces are aligned, and what helps those that are not."""
    from mind2mind.data.faces import Remark

    for remark, number in [*report.flags().items(), *report.faces().items()]:
        terminal.note(f"  {number} x {remark}")
    if report.faces()[Remark.NOT_ALIGNED]:
        terminal.note("This model knows faces aligned as FFHQ does: --crop face aligns and crops them.")
