"""Which pictures are trained on: thumbnails to click, and near duplicates to leave out at once."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from PIL import Image

from mind2mind.errors import DataError
from mind2mind.intake import Prepared
from mind2mind.ui import findings
from mind2mind.ui.common import MODEL_WORK, QUIET, told
from mind2mind.ui.steps import Steps, Updates
from mind2mind.ui.visit import Visit
from mind2mind.ui.walls import pairs, wall

PAGE = 60  # thumbnails at a time
PAIRS = 16  # near duplicates shown
LEFT_OUT = "left out"


class Picking:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps, summary: Callable[[Prepared], Updates]) -> None:
        self.steps, self.studio, self.summary = steps, steps.studio, summary

    def build(self) -> None:
        """Inside step 2."""
        self.near = gr.HTML(elem_id="transfer-near")
        self.near_pairs = wall("transfer-near-pairs", "m2m-pairs")
        self.drop = gr.Button("Leave the near duplicates out", visible=False, elem_id="transfer-drop-near")
        with gr.Accordion("All pictures", open=False, elem_id="transfer-all"):
            self.told = gr.HTML(elem_id="transfer-picking")
            self.page = gr.Slider(1, 2, 1, step=1, label="Page", visible=False, elem_id="transfer-page")
            self.thumbnails = wall("transfer-thumbnails", "m2m-tiles m2m-small", columns=6, to_pick=True)
            self.all = gr.Button("Take all in again", visible=False, elem_id="transfer-take-all")

    @property
    def outputs(self) -> list[Any]:
        """What `shown` updates."""
        return [self.near, self.near_pairs, self.drop, self.told, self.page, self.thumbnails, self.all]

    def wire(self, outputs: list[Any]) -> None:
        """The events; `outputs` are the components of all steps."""
        visit, settings = self.steps.visit, {"outputs": outputs, **QUIET, **MODEL_WORK}
        self.thumbnails.select(self.toggle, [visit, self.page], **settings)
        self.page.release(self.turn, [visit, self.page], self.thumbnails, **QUIET)
        self.drop.click(self.drop_near, [visit, self.page], **settings)
        self.all.click(self.take_all, [visit, self.page], **settings)

    def shown(self, prepared: Prepared, page: int = 1, ready: bool = True) -> Updates:
        """The thumbnails of a page; without `ready` the run has been started, and nothing can be left out."""
        encoded = prepared.count + len(prepared.excluded)
        pages = -(-encoded // PAGE)
        left = [name for name, _ in prepared.near if name not in prepared.excluded]
        return {
            self.near: findings.near(prepared) if ready else "",
            self.near_pairs: self._pairs(prepared) if ready and left else gr.Gallery([], visible=False),
            self.drop: gr.Button(visible=ready and bool(left)),
            self.told: findings.picking(prepared) if ready else "",
            self.page: gr.Slider(maximum=max(2, pages), value=page, visible=pages > 1),
            self.thumbnails: self._thumbnails(prepared, page),
            self.all: gr.Button(visible=ready and bool(prepared.excluded)),
        }

    def _thumbnails(self, prepared: Prepared, page: int) -> gr.Gallery:
        shown = self.studio.thumbnails(prepared.token, (page - 1) * PAGE, PAGE)
        excluded = set(prepared.excluded)
        pictures = [
            (_pale(i), f"{name} · {LEFT_OUT}") if name in excluded else (i, name) for name, i in shown
        ]
        return gr.Gallery(pictures, selected_index=None)

    def _pairs(self, prepared: Prepared) -> gr.Gallery:
        near = [pair for pair in prepared.near if pair[0] not in prepared.excluded][:PAIRS]
        count = prepared.count + len(prepared.excluded)
        pictures = dict(self.studio.thumbnails(prepared.token, 0, count))
        couples = [(pictures[like], pictures[name]) for name, like in near]
        return gr.Gallery(pairs(couples, "A picture, below it one like it:"), visible=True)

    # Handlers

    def toggle(self, stored: Any, page: float, chosen: gr.SelectData) -> Updates:
        """Leaves the clicked picture out, or takes it in again."""
        with told():
            prepared = self._prepared(stored)
            names = [name for name, _ in self.studio.thumbnails(prepared.token, (int(page) - 1) * PAGE, PAGE)]
            if not 0 <= chosen.index < len(names):
                raise DataError("There is no such picture on this page.", "Turn the page.")
            return self._exclude(prepared, {*prepared.excluded} ^ {names[chosen.index]}, page)

    def drop_near(self, stored: Any, page: float) -> Updates:
        """Leaves all near duplicates out."""
        with told():
            prepared = self._prepared(stored)
            return self._exclude(prepared, {*prepared.excluded, *(name for name, _ in prepared.near)}, page)

    def take_all(self, stored: Any, page: float) -> Updates:
        """Takes everything in again."""
        with told():
            return self._exclude(self._prepared(stored), set(), page)

    def turn(self, stored: Any, page: float) -> gr.Gallery:
        """Another page of thumbnails."""
        with told():
            return self._thumbnails(self._prepared(stored), int(page))

    def _prepared(self, stored: Any) -> Prepared:
        return self.studio.prepared(Visit.of(stored).needed_token)

    def _exclude(self, prepared: Prepared, names: set[str], page: float) -> Updates:
        after = self.studio.exclude(prepared.token, names)
        return self.summary(after) | self.shown(after, int(page))


def _pale(image: Image.Image) -> Image.Image:
    """A picture that is left out."""
    whole = image.convert("RGB")
    return Image.blend(whole, Image.new("RGB", whole.size, "white"), 0.75)
