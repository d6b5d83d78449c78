"""Step 1 of the tab Transfer: pictures in. Several uploads add up to one set, which the source model reads.

What is added to a set is read as the rest of it; another source or crop reads all of it anew.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.errors import Mind2MindError
from mind2mind.intake import Prepared
from mind2mind.ui import findings, words
from mind2mind.ui.check import Check
from mind2mind.ui.common import (
    LIVE,
    MODEL_WORK,
    QUIET,
    Visit,
    cost_of,
    known_ref,
    told,
    uploaded,
)
from mind2mind.ui.consent import Consent
from mind2mind.ui.examples import examples
from mind2mind.ui.steps import CHECK, TRAIN, Steps, Updates
from mind2mind.ui.zerogpu import check_seconds, gpu

if TYPE_CHECKING:
    from mind2mind.studio import EncodeProgress

Added = tuple[str, list[str]]  # a title and the paths of uploads, as this session remembers them


class Pictures:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.examples = examples(models={m.id for m in self.studio.models() if m.kind == "source"})
        self.consent = Consent(steps)
        self.check = Check(steps)
        self.read, self.extend = gpu(self._read, check_seconds), gpu(self._extend, check_seconds)

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
                [
                    ("the square in the middle", "centre"),
                    ("the whole picture, with bars", "fit"),
                    ("the face, aligned and cropped", "face"),
                ],
                value=self.crop_of(sources[0][1]),
                elem_id="transfer-crop",
                label="Use of each picture",
                info="Another choice reads all pictures of the set again.",
            )
        self.over = gr.Button("Start over with an empty set", visible=False, elem_id="transfer-over")
        self.added: gr.State = gr.State(None)  # `Added`

    def _build_uploads(self) -> None:
        with gr.Column(scale=1, min_width=280), self.consent.build():
            gr.HTML(
                findings.limits(self.studio.limits), visible=self.studio.public, elem_id="transfer-limits"
            )
            self.files = gr.File(
                file_count="multiple", label="Drop pictures, or one zip", height=150, elem_id="transfer-files"
            )
            self.folder = gr.UploadButton(
                "Choose a folder …", file_count="directory", elem_id="transfer-folder"
            )

    def _build_examples(self) -> None:
        gr.HTML(words.note("Or try an example:"))
        self.sets = gr.Gallery(
            [(e.collage(), e.title) for e in self.examples],
            label="Examples",
            show_label=False,
            columns=3,
            allow_preview=False,
            object_fit="cover",
            buttons=[],
            interactive=False,
            elem_id="transfer-sets",
            elem_classes="m2m-sets",
        )
        gr.HTML(words.credits(self.examples))

    @property
    def outputs(self) -> list[Any]:
        """What these handlers and `shown` may update, beside what all may."""
        return [self.source, self.crop, self.added, self.over, *self.consent.outputs, *self.check.outputs]

    def wire(self, outputs: list[Any]) -> None:
        """The events; `outputs` are the components of all steps."""
        visit = self.steps.visit
        settings: dict[str, Any] = {"outputs": outputs, **QUIET, **MODEL_WORK}
        self.consent.wire()
        self.tell_price_on(self.source.change)
        chosen = [self.source, self.crop, self.added]
        for box in (self.files, self.folder):
            box.upload(self.add, [visit, box, *chosen], **settings)
        self.sets.select(self.add_example, [visit, *chosen], **settings)
        self.source.input(self.crop_of, self.source, self.crop, **LIVE).then(
            self.again, [visit, *chosen], **settings
        )
        self.crop.input(self.again, [visit, *chosen], **settings)
        self.check.align.click(self.align_faces, [visit, self.source, self.added], **settings)
        self.check.take.click(self.take_other, [visit, self.added], **settings)
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
        yield from self._added(Visit.of(stored), list(example.files), source, crop, added, example.title)

    def add(
        self, stored: Any, files: list[str] | str | None, source: str, crop: Any, added: Added | None = None
    ) -> Iterator[Updates]:
        """Uploaded files: reads, checks and encodes them, and shows what can be rebuilt."""
        with told():
            self.consent.check(Visit.of(stored))
            paths = uploaded(files)
            title = (
                paths[0].stem if len(paths) == 1 else f"{len(paths)} files of {time.strftime('%d %b, %H:%M')}"
            )
        yield from self._added(Visit.of(stored), paths, source, crop, added, title)

    def again(self, stored: Any, source: str, crop: Any, added: Added | None) -> Iterator[Updates]:
        """Reads the whole set once more, with another source or crop."""
        prepared = self._waiting(Visit.of(stored))
        if prepared is None or (prepared.model, prepared.crop) == (source, crop):
            yield {}
        elif not added:
            yield {self.steps.message: words.note("Add your pictures again to have them read this way.")}
        else:
            title, files = added
            yield from self._checked(Visit.of(stored), list(map(Path, files)), source, crop, title)

    def align_faces(self, stored: Any, source: str, added: Added | None) -> Iterator[Updates]:
        """The same pictures, their faces aligned."""
        yield from self.again(stored, source, "face", added)

    def take_other(self, stored: Any, added: Added | None) -> Iterator[Updates]:
        """The same pictures, read by the model that knows them better."""
        prepared = self._waiting(Visit.of(stored))
        if prepared and prepared.others:
            other = prepared.others[0]["id"]
            crop = "centre" if prepared.crop == "face" else prepared.crop
            yield from self.again(stored, other, crop, added)

    def start_over(self, stored: Any) -> Updates:
        """Empties the set."""
        visit = Visit.of(stored)
        self._drop_unused(visit)
        emptied = {self.added: None, self.over: gr.Button(visible=False), self.steps.message: ""}
        return self.steps.only() | emptied | {self.steps.visit: visit.at(None).stored()}

    def _waiting(self, visit: Visit) -> Prepared | None:
        """The set that is there, if it has not been trained on."""
        status = self.steps.status(visit.token)
        return self.studio.prepared(status.token) if status and status.state == "prepared" else None

    def _added(
        self, visit: Visit, paths: Sequence[Path], source: str, crop: Any, added: Added | None, title: str
    ) -> Iterator[Updates]:
        """To the set that is there, if it is read the same way; else to a new one."""
        present = self._waiting(visit)
        if present is None or (present.model, present.crop) != (source, crop):
            yield from self._checked(visit, paths, source, crop, title)
            return
        title, before = added or (title, [])
        files = [Path(path) for path in before]
        with told():
            events = self.extend(paths, present.token)
            yield from self._shown_when_read(visit, events, source, title, [*files, *paths])

    def _checked(
        self, visit: Visit, paths: Sequence[Path], source: str, crop: Any, title: str
    ) -> Iterator[Updates]:
        """A new set in the place of the one that is there."""
        with told():
            ref = known_ref(self.studio, source)
            events = self.read(paths, ref, crop, visit.visitor, title)
            yield from self._shown_when_read(visit, events, source, title, paths)

    def _shown_when_read(
        self,
        visit: Visit,
        events: "Iterator[EncodeProgress | Prepared]",
        source: str,
        title: str,
        paths: Sequence[Path],
    ) -> Iterator[Updates]:
        message = self.steps.message
        yield {message: words.note("Reading the pictures …"), **self.steps.only()}
        self.studio.warm_up()
        try:
            for event in events:
                if isinstance(event, Prepared):
                    yield self._ready(visit, event) | {self.added: (title, [str(path) for path in paths])}
                else:
                    yield {message: words.reading(event, cost_of(self.studio, source))}
        except (Mind2MindError, gr.Error):  # what was there before is there still
            there = (CHECK, TRAIN) if self._waiting(visit) else ()
            yield self.steps.only(*there) | {message: ""}
            raise

    def _read(
        self, paths: Sequence[Path], ref: str, crop: Any, visitor: str, title: str
    ) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.prepare(paths, ref, crop=crop, visitor=visitor, title=title)

    def _extend(self, paths: Sequence[Path], token: str) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.add(token, paths)

    def _ready(self, visit: Visit, prepared: Prepared) -> Updates:
        if visit.token != prepared.token:
            self._drop_unused(visit)
        visit = visit.at(prepared.token)
        seen = self.steps.only(CHECK, TRAIN)
        return self.shown(prepared) | seen | {self.steps.visit: visit.stored(), self.steps.message: ""}

    def _drop_unused(self, visit: Visit) -> None:
        """Pictures that were only looked at need not be kept."""
        if (status := self.steps.status(visit.token)) and status.state == "prepared":
            self.studio.delete(status.token)

    def shown(self, prepared: Prepared, ready: bool = True) -> Updates:
        """The set as it was read, and step 2; `ready` says that the run has not been started."""
        return {
            self.source: prepared.model,
            self.crop: prepared.crop,
            self.over: gr.Button(visible=ready),
            **self.check.shown(prepared, ready),
        }
