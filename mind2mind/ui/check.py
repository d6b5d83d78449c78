"""Step 2 of the tab Transfer: what the source model makes of the pictures, before any training."""

from typing import Any

import gradio as gr
from PIL.Image import Image

from mind2mind.intake import Prepared
from mind2mind.ui import findings, words
from mind2mind.ui.common import MODEL_WORK, PRIVATE, QUIET, told
from mind2mind.ui.picking import Picking
from mind2mind.ui.steps import Steps, Updates
from mind2mind.ui.visit import Visit
from mind2mind.ui.walls import captioned, pairs, wall
from mind2mind.ui.zerogpu import gpu, on_zerogpu

COMPARED = 8
CLOSER = 320  # px a side of the slider
CROPPED = "Your picture, below it what the model gets of it:"
REBUILT = "Your picture, below it what the model makes of it:"

# Gradio's slider gives its two pictures no words; it shows them a moment after the change
CLOSER_WORDS = """() => { for (const wait of [0, 100, 500, 2000]) setTimeout(() => {
  document.querySelectorAll('#transfer-closer img').forEach((picture, i) => {
    picture.alt = i ? 'Its reconstruction' : 'Your picture'; }); }, wait); }"""


class Check:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.comparison = gpu(self.studio.comparison)
        self.picking = Picking(steps, self.summed_up)

    def build(self) -> None:
        """Inside its part of the page."""
        gr.HTML(words.step(2, "What the model makes of them"))
        self.summary = gr.HTML(elem_id="transfer-summary")
        self.ways = gr.HTML(elem_id="transfer-ways")
        self.take = gr.Button(visible=False, variant="primary", elem_id="transfer-take")
        self.faces = gr.HTML(elem_id="transfer-faces")
        self.aligned = wall("transfer-aligned", "m2m-pairs")
        self.align = gr.Button("Align and crop the faces", visible=False, elem_id="transfer-align")
        gr.HTML(
            words.note(
                "Above your pictures, below what the model can rebuild of them. "
                "New pictures are drawn the same way: they can only be as good as the lower ones. "
                "Click one to see it larger below: on the left yours, on the right its reconstruction."
            )
        )
        self.compared = wall("transfer-compared", "m2m-pairs", to_pick=True)
        self.closer = gr.ImageSlider(
            label="Your picture and its reconstruction",
            show_label=False,  # it would lie on the picture
            format="png",
            height=CLOSER,
            interactive=False,
            buttons=["fullscreen"],
            elem_id="transfer-closer",
            elem_classes=["m2m-closer"],
        )
        self.costs = gr.HTML(elem_id="transfer-costs")
        self.picking.build()
        with gr.Accordion("Every file", open=False):
            self.sizes = gr.HTML(elem_id="transfer-sizes")
            self.report = gr.HTML(elem_id="transfer-report")

    @property
    def outputs(self) -> list[Any]:
        """What `shown` updates."""
        told_of = [self.summary, self.ways, self.take, self.faces, self.aligned, self.align]
        return [
            *told_of,
            self.compared,
            self.closer,
            self.costs,
            self.sizes,
            self.report,
            *self.picking.outputs,
        ]

    def wire(self, outputs: list[Any]) -> None:
        """The events of this step alone; `outputs` are the components of all steps."""
        self.compared.select(self.look_closer, self.steps.visit, self.closer, **QUIET, **MODEL_WORK)
        self.closer.change(None, js=CLOSER_WORDS, **PRIVATE)
        self.picking.wire(outputs)

    def shown(self, prepared: Prepared, ready: bool) -> Updates:
        """Step 2 of these pictures; `ready` says that the run has not been started."""
        couples = self.comparison(prepared.token, count=COMPARED)
        aligned, faces = self.studio.alignment(prepared.token), words.faces(prepared.report)
        return {
            **self.summed_up(prepared),
            self.faces: faces or (findings.cropped(prepared.crop) if aligned else ""),
            self.aligned: gr.Gallery(captioned(aligned, CROPPED), visible=bool(aligned)),
            self.align: gr.Button(visible=ready and prepared.report.not_aligned > 0),
            self.compared: gr.Gallery(pairs(couples, REBUILT), selected_index=None),
            self.closer: _slid(couples),
            self.costs: findings.costs(prepared, self._pace(prepared) if ready else None),
            self.sizes: findings.sizes(prepared.report.sizes()),
            self.report: words.table(prepared.report),
            **self.picking.shown(prepared, ready=ready),
        }

    def summed_up(self, prepared: Prepared) -> Updates:
        """The verdict, and what can be done about it."""
        better = f"Read them with {prepared.others[0]['title']} instead" if prepared.others else ""
        return {
            self.summary: findings.checked(prepared),
            self.ways: findings.ways(prepared),
            self.take: gr.Button(better, visible=bool(better)),
        }

    def _pace(self, prepared: Prepared) -> float | None:
        """Steps a second; on ZeroGPU this process is not the one that trains."""
        return None if prepared.count < 2 or on_zerogpu() else self.studio.pace(prepared.token)

    def look_closer(self, stored: Any, chosen: gr.SelectData) -> tuple[Image, Image] | None:
        """The clicked picture and its reconstruction, one under the other."""
        with told():
            token = Visit.of(stored).needed_token
            return _slid(self.comparison(token, count=COMPARED, only=int(chosen.index)))


def _slid(couples: list[tuple[Image, Image]]) -> tuple[Image, Image] | None:
    """The first of them, for the slider."""
    if not couples:
        return None
    original, rebuilt = couples[0]
    side = max(CLOSER, *rebuilt.size)
    return original.resize((side, side)), rebuilt.resize((side, side))
