"""The tab Sample: a model, a seed, and pictures nobody has seen."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from mind2mind.config import FEW, MANY, TOLD_SECONDS
from mind2mind.errors import DataError
from mind2mind.ui.shared import (
    HIGHEST_SEED,
    LAST,
    LETTING_GO,
    LIVE,
    MODEL_WORK,
    MOST_PICTURES,
    PRIVATE,
    OnDemand,
    _knows,
    brief,
    checked_seed,
    clock,
    cost_of,
    gpu,
    holding,
    is_key,
    known_ref,
    new_seed,
    note,
    plural,
    save_pictures,
    save_sheet,
    save_zip,
    told,
    wall,
    wanted,
)

if TYPE_CHECKING:
    from mind2mind.draw import Cost
    from mind2mind.models.bundle import ModelInfo
    from mind2mind.studio import Studio

# --- What is said of a model.

TOLD_BYTES = 5e8


NOISES = [("new with each seed", "random"), ("the same for all", "fixed"), ("none", "none")]


def knows(model: "ModelInfo | None") -> str:
    """Under a choice of models: what the chosen one knows, and its size."""
    if model is None:
        return note("A model you trained. Only you see it.")
    size = f" {model.resolution} x {model.resolution} pixels." if model.resolution else ""
    return f'<div class="m2m-note"><p>Knows {_knows(model)}.{size}</p></div>'


def drawing(cost: "Cost | None") -> str:
    """Under a choice of models: what drawing with the chosen one takes, where that is noticeable."""
    if cost is None or cost.count * cost.draw_seconds < TOLD_SECONDS:
        return ""
    memory = f" and {cost.memory / 1e9:.1f} GB of memory" if cost.memory > TOLD_BYTES else ""
    return note(
        f"Large pictures: each takes about {brief(cost.draw_seconds)}{memory} here, {cost.count} of them about "
        f"{clock(cost.count * cost.draw_seconds)}."
    )


FIRST_SEED = 0
Drawn = tuple[str, list[str]]  # the model's ref and the files that are shown, as this session remembers them


class SampleTab:
    """Builds the tab; its methods are the handlers."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio

    def build(self) -> None:
        """The components; inside a gr.Tab."""
        self.held = gr.Textbox(visible=False)
        self.drawn: gr.State = gr.State(None)  # `Drawn`
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self._build_choices()
                with gr.Accordion("More", open=False):
                    self._build_more()
            with gr.Column(scale=2, min_width=320):
                self.gallery = wall("sample-gallery", "m2m-tiles")
                self.about = gr.HTML(elem_id="sample-about")
                with gr.Row():
                    self.sheet = OnDemand("Download as one PNG", "sample-sheet")
                    self.archive = OnDemand("Download all as a zip", "sample-zip")

    def _build_choices(self) -> None:
        models = self.studio.models.list()
        cost = cost_of(self.studio, models[0].id)
        self.model = gr.Dropdown(
            [(m.title, m.id) for m in models], value=models[0].id, label="Model", elem_id="sample-model"
        )
        self.knows = gr.HTML(knows(models[0]))
        self.takes = gr.HTML(drawing(cost), elem_id="sample-takes")
        self.seed = gr.Number(
            FIRST_SEED, label="Seed", info="The same seed gives the same pictures.", precision=0,
            minimum=0, maximum=HIGHEST_SEED, elem_id="sample-seed",
        )  # fmt: skip
        with gr.Row(elem_classes="m2m-side"):
            self.lock = gr.Checkbox(
                False, label="Keep this seed", container=False, min_width=140, elem_id="sample-lock"
            )
            self.dice = gr.Button("Roll the dice", size="sm", min_width=110, elem_id="sample-dice")
        self.count = gr.Slider(
            1, MOST_PICTURES, cost.count if cost else MANY, step=1, label="How many pictures",
            elem_id="sample-count", buttons=["reset"],
        )  # fmt: skip
        self.go = gr.Button("Draw new pictures", variant="primary", elem_id="sample-go")

    def _build_more(self) -> None:
        self.psi = gr.Slider(
            0, 1.5, 1, step=0.05, label="Truncation ψ", elem_id="sample-psi", buttons=["reset"],
            info="Below 1 closer to the average: safer, less varied.",
        )  # fmt: skip
        self.noise = gr.Radio(
            NOISES, value="random", label="Noise", elem_id="sample-noise", info="Decides the finest details."
        )
        self.open = gr.UploadButton(
            "Open a downloaded model …", file_types=[".zip"], size="sm", elem_id="sample-open"
        )

    @property
    def _drawing(self) -> dict[str, Any]:
        """What every event that draws gives and gets."""
        settings = [self.model, self.seed, self.count, self.psi, self.noise]
        pictures = [self.gallery, self.drawn, self.about]
        return {"fn": gpu(self.draw), "inputs": settings, "outputs": pictures, **MODEL_WORK}

    def wire(self) -> None:
        """The events."""
        draw = self._drawing
        seeds = gr.on([self.go.click], self.next_seed, [self.seed, self.lock], self.seed, **PRIVATE)
        seeds.then(**draw, show_progress_on=self.gallery, **LAST)
        self.dice.click(new_seed, None, self.seed, **PRIVATE).then(**draw, **LAST)
        self.seed.input(lambda: True, None, self.lock, **LIVE)
        gr.on([self.seed.submit, self.noise.input], **draw, **LIVE)
        slid = draw | {"fn": gpu(self.draw_slid), "inputs": [self.held, *draw["inputs"]], **LIVE}
        for slider, changed in ((self.count, self.count.change), (self.psi, self.psi.input)):
            changed(**slid, js=holding(slider.elem_id))
            slider.release(**slid, js=LETTING_GO)
        self.model.change(self.describe, self.model, self.knows, **LIVE).then(
            self.price, [self.model, self.count], [self.takes, self.count], **PRIVATE
        ).then(**draw, **LAST)
        self.sheet.wire(self.sheet_of, self.drawn)
        self.archive.wire(self.zip_of, self.drawn)

    def draw_on(self, event: Any) -> None:
        """Draws on one more event: the page's opening."""
        event(**self._drawing, **PRIVATE)

    def next_seed(self, seed: float | None, lock: bool) -> int:
        """The seed that a press of the button draws with."""
        with told():
            return checked_seed(seed) if lock else new_seed()

    def describe(self, model: str) -> str:
        """What the chosen model knows."""
        return knows(next((m for m in self.studio.models.list() if m.id == model), None))

    def price(self, model: str, count: float) -> tuple[str, Any]:
        """What the chosen model costs, and how many pictures to ask for unless the visitor chose a number."""
        cost = cost_of(self.studio, model)
        own = count not in (MANY, FEW)
        return drawing(cost), gr.skip() if own or cost is None else cost.count

    def draw_slid(self, held: str | None, model: str, *settings: Any) -> tuple[Any, ...]:
        """As `draw`, for a slider: slow models wait until it is let go."""
        cost = cost_of(self.studio, model)
        live = cost is None or cost.count == MANY
        return self.draw(model, *settings) if wanted(held, live) else (gr.skip(),) * 3

    def draw(self, model: str, seed: float, count: float, psi: float, noise: str) -> tuple[Any, Drawn, str]:
        """Pictures of the seeds from `seed` on, what can be downloaded of them, and what they are."""
        with told():
            first, begun = checked_seed(seed), time.monotonic()
            seeds = range(first, first + int(count))
            images = self.studio.draw.sample(known_ref(self.studio, model), seeds, psi=psi, noise=noise)
            files = [str(path) for path in save_pictures(images, _stem(model), model)]
            seeds_said = f"seed {first}" if count == 1 else f"seeds {first} to {seeds[-1]}"
            text = f"{plural(len(images), 'picture')}, {seeds_said}, in {time.monotonic() - begun:.1f} s."
            shown = [(file, f"Picture of seed {seed}") for file, seed in zip(files, seeds, strict=True)]
            return shown, (model, files), note(text)

    def sheet_of(self, drawn: Drawn | None) -> str:
        """The pictures that are shown as one PNG."""
        model, files = _present(drawn)
        images = []
        for file in files:
            with Image.open(file) as image:
                image.load()
                images.append(image)
        return str(save_sheet(images, f"{files[0].stem}-sheet", model))

    def zip_of(self, drawn: Drawn | None) -> str:
        """The pictures that are shown in one zip."""
        model, files = _present(drawn)
        return str(save_zip(files, files[0].stem, model))


def _stem(model: str) -> str:
    return "mine" if is_key(model) else model.replace("/", "-")


def _present(drawn: Drawn | None) -> tuple[str, list[Path]]:
    """What was drawn, if it is still there: on a public server it is tidied up."""
    with told():
        model, files = drawn or ("", [])
        if not files or not all(Path(file).exists() for file in files):
            raise DataError(
                "These pictures are no longer kept here.", "Draw them again: press Enter in Seed."
            )
        return model, [Path(file) for file in files]
