"""The tab Sample: a model, a seed, and pictures nobody has seen."""

import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.ui import words
from mind2mind.ui.common import (
    HIGHEST_SEED,
    LIVE,
    MODEL_WORK,
    MOST_PICTURES,
    NOISES,
    PRIVATE,
    checked_seed,
    known_ref,
    new_seed,
    save_pictures,
    save_sheet,
    save_zip,
    told,
    wall,
)
from mind2mind.ui.zerogpu import gpu

if TYPE_CHECKING:
    from mind2mind.studio import Studio

COUNT = 16
FIRST_SEED = 0


class SampleTab:
    """Builds the tab; its methods are the handlers."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.titles = {m.id: m.title for m in studio.models()}

    def build(self) -> None:
        """The components; inside a gr.Tab."""
        models = self.studio.models()
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self.model = gr.Dropdown(
                    [(m.title, m.id) for m in models],
                    value=models[0].id,
                    label="Model",
                    elem_id="sample-model",
                )
                self.knows = gr.HTML(words.knows(models[0]))
                self.seed = gr.Number(
                    FIRST_SEED,
                    label="Seed",
                    info="The same seed gives the same pictures.",
                    precision=0,
                    minimum=0,
                    maximum=HIGHEST_SEED,
                    elem_id="sample-seed",
                )
                with gr.Row(elem_classes="m2m-side"):
                    self.lock = gr.Checkbox(
                        False, label="Keep this seed", container=False, min_width=140, elem_id="sample-lock"
                    )
                    self.dice = gr.Button("Roll the dice", size="sm", min_width=110, elem_id="sample-dice")
                self.count = gr.Slider(
                    1,
                    MOST_PICTURES,
                    COUNT,
                    step=1,
                    label="How many pictures",
                    elem_id="sample-count",
                    buttons=["reset"],
                )
                self.go = gr.Button("Draw new pictures", variant="primary", elem_id="sample-go")
                with gr.Accordion("More", open=False):
                    self.psi = gr.Slider(
                        0,
                        1.5,
                        1,
                        step=0.05,
                        label="Truncation ψ",
                        elem_id="sample-psi",
                        buttons=["reset"],
                        info="Below 1 closer to the average: safer, less varied.",
                    )
                    self.noise = gr.Radio(
                        NOISES,
                        value="random",
                        label="Noise",
                        elem_id="sample-noise",
                        info="Decides the finest details.",
                    )
                    self.open = gr.UploadButton(
                        "Open a downloaded model …", file_types=[".zip"], size="sm", elem_id="sample-open"
                    )
            with gr.Column(scale=2, min_width=320):
                self.gallery = wall("sample-gallery", "m2m-tiles")
                self.about = gr.HTML(elem_id="sample-about")
                with gr.Row():
                    self.sheet = gr.DownloadButton("Download as one PNG", elem_id="sample-sheet")
                    self.archive = gr.DownloadButton("Download all as a zip", elem_id="sample-zip")

    def wire(self) -> None:
        """The events."""
        settings = [self.model, self.seed, self.count, self.psi, self.noise]
        pictures = [self.gallery, self.sheet, self.archive, self.about]
        draw: dict[str, Any] = {"fn": gpu(self.draw), "inputs": settings, "outputs": pictures, **MODEL_WORK}
        seeds = gr.on([self.go.click], self.next_seed, [self.seed, self.lock], self.seed, **PRIVATE)
        seeds.then(**draw, show_progress_on=self.gallery, **PRIVATE)
        self.dice.click(new_seed, None, self.seed, **PRIVATE).then(**draw, **PRIVATE)
        self.seed.input(lambda: True, None, self.lock, **LIVE)
        gr.on([self.seed.submit, self.count.change, self.psi.input, self.noise.input], **draw, **LIVE)
        self.model.change(self.describe, self.model, self.knows, **LIVE).then(**draw, **PRIVATE)

    def draw_on(self, event: Any) -> None:
        """Draws on one more event: the page's opening."""
        settings = [self.model, self.seed, self.count, self.psi, self.noise]
        event(
            gpu(self.draw),
            settings,
            [self.gallery, self.sheet, self.archive, self.about],
            **MODEL_WORK,
            **PRIVATE,
        )

    def next_seed(self, seed: float | None, lock: bool) -> int:
        """The seed that a press of the button draws with."""
        with told():
            return checked_seed(seed) if lock else new_seed()

    def describe(self, model: str) -> str:
        """What the chosen model knows."""
        return words.knows(next((m for m in self.studio.models() if m.id == model), None))

    def draw(self, model: str, seed: float, count: float, psi: float, noise: str) -> tuple[Any, ...]:
        """Pictures of the seeds from `seed` on, and the files to download."""
        with told():
            first, begun = checked_seed(seed), time.monotonic()
            seeds = range(first, first + int(count))
            images = self.studio.sample(known_ref(self.studio, model), seeds, psi=psi, noise=noise)
            stem = model if model in self.titles else "mine"
            paths = save_pictures(images, stem, model)
            seeds_said = f"seed {first}" if count == 1 else f"seeds {first} to {seeds[-1]}"
            text = (
                f"{words.plural(len(images), 'picture')}, {seeds_said}, in {time.monotonic() - begun:.1f} s."
            )
            sheet = save_sheet(images, f"{stem}-{first}-sheet", model)
            archive = save_zip(paths, f"{stem}-{first}", model)
            return [str(p) for p in paths], str(sheet), str(archive), words.note(text)
