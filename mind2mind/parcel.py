"""Everything of a run in one zip, for whoever made it: model, samples, film, codes, settings, how to repeat it.

The run.json in it lacks what is the server's or the visitor's secret. Codes hold small copies of the originals.
"""

import json
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

from mind2mind import album, gallery, outcome
from mind2mind.bundles import zip_at
from mind2mind.cards import PARTS, read_config, usage
from mind2mind.clips import save_clip
from mind2mind.files import atomic
from mind2mind.images import grid, save_png
from mind2mind.library import Library
from mind2mind.runs import CODES, JSON, LOG, METRICS, REPORT, Run

SECRETS = ("visitor", "address")  # of run.json
FILES = (CODES, REPORT, METRICS, LOG)
FILM = "film.mp4"


def pack(library: Library, run: Run, path: Path) -> Path:
    """Writes the zip to `path`; the ending .zip is added where it is missing.

    Raises:
        RunError: the run has no model yet.
    """
    model, info = library.model(run.token), run.info
    path = zip_at(path)
    name = read_config(run.bundle)["id"]
    seeds = outcome.SEEDS[: outcome.shown(model)]
    with (
        atomic(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        for part in PARTS:
            if (run.bundle / part).exists():
                archive.write(run.bundle / part, f"{name}/{part}")
        for file in save_samples(gallery.sample(model, seeds, 1.0, "random"), Path(folder)):
            archive.write(file, f"samples/{file.name}", zipfile.ZIP_STORED)
        if run.preview_steps():
            save_clip(album.film(library, run), Path(folder) / FILM, album.FPS)
            archive.write(Path(folder) / FILM, FILM, zipfile.ZIP_STORED)
        for file in (run.folder / part for part in FILES):
            if file.exists():
                archive.write(file, file.name)
        told = {key: value for key, value in info.items() if key not in SECRETS}
        archive.writestr(JSON, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        archive.writestr("README.txt", _read_me(name, outcome.command(info, out=name)))
    return path


def save_samples(images: list[Image.Image], folder: Path) -> list[Path]:
    """Each sample as a PNG that says which model and seed made it, and all on one sheet; gives the files."""
    files = []
    for image in images:
        meta = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
        files.append(folder / f"{meta['seed']}.png")
        save_png(image, files[-1], meta)
    files.append(folder / "sheet.png")
    save_png(grid(images), files[-1])
    return files


def _read_me(name: str, command: str) -> str:
    return f"""{name}/ is the model. Its README.md is its card. Python draws with it:

    import mind2mind
    {usage(name)}

The app takes it back: zip that folder, then Sample, More, "Open a downloaded model".
The same pictures in the same order give the same run again (on one kind of computer, to the bit):

    {command}

samples/: new pictures; each file says in itself which model and seed drew it
{FILM}: the same random inputs as the training went on
codes.safetensors: what the model's encoder made of your pictures, with small copies of them: keep it to yourself
report.json: the verdict on each of your files; run.json: settings and numbers; metrics.jsonl: the curves
"""
