"""Step 1 of the tab Transfer: pictures in. Several uploads add up to one set, which the source model reads."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from mind2mind.intake import Prepared
from mind2mind.ui import findings, words
from mind2mind.ui import result_words as say
from mind2mind.ui.check import Check
from mind2mind.ui.common import LIVE, MODEL_WORK, QUIET, cost_of, told, uploaded
from mind2mind.ui.consent import Consent
from mind2mind.ui.examples import examples
from mind2mind.ui.reading import Added, Reading
from mind2mind.ui.steps import Steps, Updates
from mind2mind.ui.visit import Visit
from mind2mind.ui.walls import wall

CROPS = [
    ("the square in the middle", "centre"),
    ("the whole picture, with bars", "fit"),
    ("the face, aligned and cropped", "face"),
]


class Pictures:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.examples = examples(models={m.id for m in self.studio.models() if m.kind == "source"})
        hours = self.studio.limits.keep_hours
        self.consent = Consent(self.studio, "transfer", lambda: say.clock(hours) if hours else "")
        self.check = Check(steps)
        self.reading = Reading(steps, self.shown)

    def crop_of(self, source: str) -> str:
        """How this source's card says that pictures become square."""
        return next((m.crop for m in self.studio.models() if m.id == source), "centre")

    def build(self) -> None:
        """Step 1."""
        sources = [(m.title, m.id) for m in self.studio.models() if m.kind == "source"]
        gr.HTML(
            words.step(
                1, "Your pictures", "20 are a beginning, 200 are good. They should show one kind of thing."
            )
        )
        self.source = gr.Dropdown(
            sources,
            value=sources[0][1],
            label="Source model",
            visible=len(sources) > 1,
            elem_id="transfer-source",
            info="The model that already knows pictures like yours.",
        )
        self.takes = gr.HTML(elem_id="transfer-takes")
        with gr.Row():
            self._build_uploads()
            with gr.Column(scale=1, min_width=280, visible=bool(self.examples)):
                self._build_examples()
        with gr.Accordion("More", open=False) as self.more:
            self.crop = gr.Radio(
                CROPS,
                value=self.crop_of(sources[0][1]),
                elem_id="transfer-crop",
                label="Use of each picture",
                info="Another choice reads all pictures of the set again.",
            )
        self.over = gr.Button("Start over with an empty set", visible=False, elem_id="transfer-over")
        self.reading.build()

    def _build_uploads(self) -> None:
        with gr.Column(scale=1, min_width=280):
            self.consent.build()
            with gr.Column(visible=not self.consent.needed, min_width=280) as self.uploads:
                gr.HTML(
                    findings.limits(self.studio.limits), visible=self.studio.public, elem_id="transfer-limits"
                )
                self.files = gr.File(
                    file_count="multiple", label="Drop pictures, or one zip", height=150,
                    elem_id="transfer-files",
                )  # fmt: skip
                self.folder = gr.UploadButton(
                    "Choose a folder …", file_count="directory", elem_id="transfer-folder"
                )
        self.consent.opens.append(self.uploads)

    def _build_examples(self) -> None:
        gr.HTML(words.note("Or try an example:"))
        collages = [(e.collage(), e.title) for e in self.examples]
        self.sets = wall("transfer-sets", "m2m-sets", collages, label="Examples", to_pick=True)
        gr.HTML(words.credits(self.examples))

    @property
    def outputs(self) -> list[Any]:
        """What these handlers and `shown` may update, beside what all may."""
        own = [self.files, self.source, self.crop, self.reading.added, self.over]
        return [*own, *self.consent.outputs, *self.check.outputs]

    def wire(self, outputs: list[Any]) -> None:
        """The events; `outputs` are the components of all steps."""
        visit = self.steps.visit
        settings: dict[str, Any] = {"outputs": outputs, **QUIET, **MODEL_WORK}
        self.consent.wire(visit)
        self.tell_price_on(self.source.change)
        added = self.reading.added
        chosen = [self.source, self.crop, added]
        for box in (self.files, self.folder):
            box.upload(self.add, [visit, box, *chosen], **settings)
        self.sets.select(self.add_example, [visit, *chosen], **settings)
        self.source.input(self.crop_of, self.source, self.crop, **LIVE).then(
            self.again, [visit, *chosen], **settings
        )
        self.crop.input(self.again, [visit, *chosen], **settings)
        self.check.align.click(self.align_faces, [visit, self.source, added], **settings)
        self.check.take.click(self.take_other, [visit, added], **settings)
        self.over.click(self.start_over, visit, outputs, **QUIET)
        self.check.wire(outputs)

    @property
    def turns(self) -> list[Any]:
        """The events that turn to other pictures, and so away from the run that is followed."""
        return [self.files.upload, self.folder.upload, self.sets.select, self.over.click]

    def tell_price_on(self, event: Any) -> None:
        """Says what the chosen source costs on one more event: the tab's opening."""
        event(self.price, self.source, self.takes, **LIVE)

    # Handlers

    def price(self, source: str) -> str:
        """What reading pictures in with this source costs."""
        return words.encoding(cost_of(self.studio, source))

    def add_example(
        self, stored: Any, source: str, crop: Any, added: Added | None, chosen: gr.SelectData
    ) -> Iterator[Updates]:
        """An example set; it brings its source model along if the chosen one does not suit it."""
        example = self.examples[chosen.index]
        if (suited := example.source(source)) != source:
            source, crop = suited, self.crop_of(suited)
        yield {self.source: source}
        files, visit = list(example.files), Visit.of(stored)
        yield from self.reading.add(visit, files, source, crop, added, example.title)

    def add(
        self, stored: Any, files: list[str] | str | None, source: str, crop: Any, added: Added | None = None
    ) -> Iterator[Updates]:
        """Uploaded files: reads, checks and encodes them, and shows what can be rebuilt.

        The box is emptied first: what it holds it would send again with the next files.
        """
        yield {self.files: None}
        with told():
            self.consent.check(stored)
            paths = uploaded(files)
            title = (
                paths[0].stem if len(paths) == 1 else f"{len(paths)} files of {time.strftime('%d %b, %H:%M')}"
            )
        yield from self.reading.add(Visit.of(stored), paths, source, crop, added, title)

    def again(self, stored: Any, source: str, crop: Any, added: Added | None) -> Iterator[Updates]:
        """Reads the whole set once more, with another source or crop."""
        prepared = self.reading.waiting(Visit.of(stored))
        title, files = added or ("", [])
        paths = [Path(file) for file in files]
        if prepared is None or (prepared.model, prepared.crop) == (source, crop):
            yield self.steps.unchanged
        elif not paths or not all(path.exists() for path in paths):  # reloaded, or tidied up meanwhile
            yield {self.steps.message: words.note("Add your pictures again to have them read this way.")}
        else:
            yield from self.reading.anew(Visit.of(stored), paths, source, crop, title)

    def align_faces(self, stored: Any, source: str, added: Added | None) -> Iterator[Updates]:
        """The same pictures, their faces aligned."""
        yield from self.again(stored, source, "face", added)

    def take_other(self, stored: Any, added: Added | None) -> Iterator[Updates]:
        """The same pictures, read by the model that knows them better."""
        prepared = self.reading.waiting(Visit.of(stored))
        if prepared and prepared.others:
            other = prepared.others[0]["id"]
            crop = "centre" if prepared.crop == "face" else prepared.crop
            yield from self.again(stored, other, crop, added)

    def start_over(self, stored: Any) -> Updates:
        """Empties the set."""
        visit = Visit.of(stored)
        self.reading.drop(visit)
        emptied = {self.reading.added: None, self.over: gr.Button(visible=False), self.steps.message: ""}
        return self.steps.only() | emptied | {self.steps.visit: visit.at(None).stored()}

    def shown(self, prepared: Prepared, ready: bool = True) -> Updates:
        """The set as it was read, and step 2; `ready` says that the run has not been started."""
        return {
            self.source: prepared.model,
            self.crop: prepared.crop,
            self.over: gr.Button(visible=ready),
            **self.check.shown(prepared, ready),
        }
