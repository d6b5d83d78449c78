"""The tab Sample: a model, a seed, and pictures nobody has seen."""

import time
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from mind2mind.config import FEW, MANY, TOLD_SECONDS
from mind2mind.draw import Cost, Draw
from mind2mind.errors import DataError
from mind2mind.studio import Studio
from mind2mind.ui.shared import (
    MOST_PICTURES,
    OnDemand,
    brief,
    checked_seed,
    clock,
    cost_of,
    fresh,
    is_key,
    knowledge,
    known_ref,
    model_field,
    new_seed,
    note,
    on,
    on_slide,
    plural,
    save_pictures,
    seed_field,
    wall,
    wanted,
)

NOISES = [("new with each seed", "random"), ("the same for all", "fixed"), ("none", "none")]
TOLD_BYTES = 5e8
Drawn = tuple[str, list[str]]  # the model's ref and the files that are shown, as this session remembers them


def drawing(cost: Cost) -> str:
    """Under a choice of models: what drawing with the chosen one takes, where that is noticeable."""
    if cost.count * cost.draw_seconds < TOLD_SECONDS:
        return ""
    memory = f" and {cost.memory / 1e9:.1f} GB of memory" if cost.memory > TOLD_BYTES else ""
    return note(
        f"Large pictures: each takes about {brief(cost.draw_seconds)}{memory} here, {cost.count} of them about "
        f"{clock(cost.count * cost.draw_seconds)}."
    )


class SampleTab:
    """Builds the tab; its methods are the handlers."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def build(self, opening: Any) -> None:
        """The components and their events; inside a gr.Tab. Draws at `opening`, too: an event."""
        self.drawn: gr.State = gr.State(None)  # `Drawn`
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self._build_choices()
            with gr.Column(scale=2, min_width=320):
                self.gallery = wall("sample-gallery", "m2m-tiles")
                self.about = gr.HTML(elem_id="sample-about")
                with gr.Row():
                    OnDemand("Download as one PNG", "sample-sheet").wire(self.sheet_of, self.drawn)
                    OnDemand("Download all as a zip", "sample-zip").wire(self.zip_of, self.drawn)
        self._wire(opening)

    def _build_choices(self) -> None:
        self.model = model_field(self.studio, "sample-model")
        knows, takes, count = self.describe(self.model.value, MANY)
        self.knows, self.takes = gr.HTML(knows), gr.HTML(takes, elem_id="sample-takes")
        self.seed = seed_field("Seed", 0, "sample-seed", "The same seed gives the same pictures.")
        with gr.Row(elem_classes="m2m-side"):
            self.lock = gr.Checkbox(
                False, label="Keep this seed", container=False, min_width=140, elem_id="sample-lock"
            )
            self.dice = gr.Button("Roll the dice", size="sm", min_width=110, elem_id="sample-dice")
        slider: dict[str, Any] = {"buttons": ["reset"]}
        self.count = gr.Slider(
            1, MOST_PICTURES, count, step=1, label="How many pictures", elem_id="sample-count", **slider
        )
        self.go = gr.Button("Draw new pictures", variant="primary", elem_id="sample-go")
        with gr.Accordion("More", open=False):
            less = "Below 1 closer to the average: safer, less varied."
            self.psi = gr.Slider(
                0, 1.5, 1, step=0.05, label="Truncation ψ", info=less, elem_id="sample-psi", **slider
            )
            finest = "Decides the finest details."
            self.noise = gr.Radio(NOISES, value="random", label="Noise", info=finest, elem_id="sample-noise")
            self.open = gr.UploadButton(
                "Open a downloaded model …", file_types=[".zip"], size="sm", elem_id="sample-open"
            )

    def _wire(self, opening: Any) -> None:
        settings = [self.model, self.seed, self.count, self.psi, self.noise]
        shown = [self.gallery, self.drawn, self.about]
        draw: dict[str, Any] = {"do": self.draw, "inputs": settings, "outputs": shown, "network": True}
        slowly: dict[str, Any] = {"live": True, "show_progress": "full"}
        on(opening, **draw, show_progress="full")
        rolled = on(self.go.click, self.next_seed, [self.seed, self.lock], self.seed)
        on(rolled.then, **draw, **slowly, show_progress_on=self.gallery)
        on(on(self.dice.click, new_seed, None, self.seed).then, **draw, **slowly)
        on(self.seed.input, lambda: True, None, self.lock, live=True)
        on([self.seed.submit, self.noise.input], **draw, live=True)
        on_slide(self.count, self.draw_slid, settings, shown, self.count.change)
        on_slide(self.psi, self.draw_slid, settings, shown)
        described = [self.knows, self.takes, self.count]
        chosen = on(self.model.change, self.describe, [self.model, self.count], described, live=True)
        on(chosen.then, **draw, **slowly)

    def next_seed(self, seed: float | None, lock: bool) -> int:
        """The seed that a press of the button draws with."""
        return checked_seed(seed) if lock else new_seed()

    def describe(self, ref: str, count: float) -> tuple[str, str, Any]:
        """What the chosen model knows, what it costs, how many to ask for unless the visitor chose a number."""
        cost = cost_of(self.studio, ref)
        number = cost.count if count in (MANY, FEW) else gr.skip()
        model = next((m for m in self.studio.models.list() if m.id == ref), None)
        if model is None:
            return note("A model you trained. Only you see it."), drawing(cost), number
        size = f" {model.resolution} x {model.resolution} pixels." if model.resolution else ""
        knows = f'<div class="m2m-note"><p>Knows {knowledge(model)}.{size}</p></div>'
        return knows, drawing(cost), number

    def draw_slid(self, held: str | None, model: str, *settings: Any) -> Any:
        """As `draw`, for a slider: slow models wait until it is let go."""
        return self.draw(model, *settings) if wanted(self.studio, held, model) else gr.skip()

    def draw(self, model: str, seed: float, count: float, psi: float, noise: str) -> tuple[Any, Drawn, str]:
        """Pictures of the seeds from `seed` on, what can be downloaded of them, and what they are."""
        first, begun = checked_seed(seed), time.monotonic()
        seeds = range(first, first + int(count))
        images = self.studio.draw.sample(known_ref(self.studio, model), seeds, psi=psi, noise=noise)
        stem = "mine" if is_key(model) else model.replace("/", "-")
        files = save_pictures(images, stem, model)
        said = f"seed {first}" if count == 1 else f"seeds {first} to {seeds[-1]}"
        about = f"{plural(len(images), 'picture')}, {said}, in {time.monotonic() - begun:.1f} s."
        shown = [(file, f"Picture of seed {seed}") for file, seed in zip(files, seeds, strict=True)]
        return shown, (model, files), note(about)

    def sheet_of(self, drawn: Drawn | None) -> str:
        """The pictures that are shown as one PNG."""
        model, files = _present(drawn)
        path = fresh(f"{files[0].stem}-sheet.png", model)
        images = [Image.open(file) for file in files]
        sheet = Draw.grid(images)
        sheet.info = images[0].info | {"count": str(len(images))}
        Draw.save_png(sheet, path)
        return str(path)

    def zip_of(self, drawn: Drawn | None) -> str:
        """The pictures that are shown in one zip, stored: PNGs do not get smaller."""
        model, files = _present(drawn)
        path = fresh(f"{files[0].stem}.zip", model)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, file.name)
        return str(path)


def _present(drawn: Drawn | None) -> tuple[str, list[Path]]:
    """What was drawn, if it is still there: on a public server it is tidied up."""
    model, files = drawn or ("", [])
    if not files or not all(Path(file).exists() for file in files):
        raise DataError("These pictures are no longer kept here.", "Draw them again: press Enter in Seed.")
    return model, [Path(file) for file in files]
