"""Commands that draw new pictures: sample, interpolate."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mind2mind.cli.arguments import ModelOption, NoiseOption, PsiOption, folder_of, seeds_of
from mind2mind.cli.common import Bar, Result, Terminal, door
from mind2mind.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

SAMPLES = 16  # when --count is left out
IN_GRID = 64  # pictures of a grid, at most
FRAMES = 60
FRAMES_PER_SECOND = 24
CLIP_ENDINGS = (".mp4", ".webp", ".gif", "")  # none: a folder of PNGs


@door(
    "mind2mind sample --model toon64 --count 16 --seed 7 --out samples",
    "mind2mind sample --model my-run --seed 0,3,5-9 --psi 0.7 --noise none --out few",
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
    from mind2mind import images

    studio = terminal.studio()
    shown: list[Image.Image] = []
    rows = []
    step = studio.at_a_time(model)
    with terminal.bar("Drawing", len(seeds), left=True) as bar:
        for first in range(0, len(seeds), step):
            chunk = seeds[first : first + step]
            pictures = studio.sample(model, chunk, psi=psi, noise=noise)
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
    "mind2mind interpolate 3 8 21 --model toon64 --out walk.mp4",
    "mind2mind interpolate me.png 7 --model toon64 --frames 30 --loop --out walk.webp",
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
    from mind2mind.clips import save_clip

    walk = terminal.studio().interpolate(model, ends, frames=frames, psi=psi, noise=noise, loop=loop)
    with terminal.bar("Drawing", frames, left=True) as bar:
        folder_of(out.parent)
        save_clip(_counted(walk, bar), out, FRAMES_PER_SECOND)
    document = {"model": model, "ends": endpoints, "frames": frames, "psi": psi, "noise": noise, "path": out}
    return Result(document, [str(out)])


def _counted(frames: "Iterable[Image.Image]", bar: Bar) -> "Iterator[Image.Image]":
    for done, frame in enumerate(frames, start=1):
        bar.show(done, note=f"frame {done}")
        yield frame
