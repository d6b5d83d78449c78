"""The tab Transfer: a folder of pictures in, a generator of new ones out, in four steps on one page.

A run lives in the worker and in its folder. The page only follows it by its token, which the browser keeps:
a closed tab loses nothing.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL.Image import Image

from mind2mind.errors import RunError
from mind2mind.intake import Prepared
from mind2mind.ui import chart, words
from mind2mind.ui.common import (
    LIVE,
    MODEL_WORK,
    PRIVATE,
    QUIET,
    Visit,
    cost_of,
    forget_made,
    fresh,
    known_ref,
    pairs,
    told,
    uploaded,
)
from mind2mind.ui.transfer_page import SAMPLED, TransferPage
from mind2mind.ui.zerogpu import check_seconds, gpu

if TYPE_CHECKING:
    from mind2mind.runs import RunStatus
    from mind2mind.studio import EncodeProgress, Studio

ALIVE = ("queued", "running", "stopping")
COMPARED = 8
RESULT_SEEDS = range(1000, 1000 + SAMPLED)
Updates = dict[Any, Any]


class TransferTab(TransferPage):
    """The page with its handlers. Each gives updates by component."""

    def __init__(self, studio: "Studio") -> None:
        super().__init__(studio)
        self.read, self.harvest = gpu(self._read, check_seconds), gpu(self._harvest)
        self.comparison, self.preview = gpu(studio.comparison), gpu(studio.preview)
        self.follows: list[Any] = []

    def wire(self) -> None:
        """The events."""
        outputs: dict[str, Any] = {"outputs": self.everything, **QUIET}
        self.tell_price_on(self.source.change)
        self.source.change(self.crop_of, self.source, self.crop, **LIVE)
        self.align.click(self.align_faces, [self.visit, self.added, self.source], **outputs, **MODEL_WORK)
        for box in (self.files, self.folder):
            box.upload(self.check, [self.visit, box, self.source, self.crop], **outputs, **MODEL_WORK)
        self.sets.select(self.check_example, [self.visit, self.source, self.crop], **outputs, **MODEL_WORK)
        self.follow_after(self.start.click(self.begin, [self.visit, self.seconds, self.recipe], **outputs))
        self.follow_after(self.go_on.click(self.train_on, self.visit, **outputs))
        self.follow_after(self.earlier.input(self.look_at, [self.visit, self.earlier], **outputs))
        self.stop.click(self.halt, self.visit, self.stop, queue=False, **QUIET)
        self.delete.click(self.forget, self.visit, **outputs)

    def tell_price_on(self, event: Any) -> None:
        """Says what the chosen source costs on one more event: the tab's opening."""
        event(self.price, self.source, self.takes, **LIVE)

    def follow_after(self, event: Any) -> None:
        """After what begins or opens a run: follow it to its end, then show what came of it."""
        outputs: dict[str, Any] = {"inputs": self.visit, "outputs": self.everything, **QUIET}
        followed = event.success(self.follow, concurrency_limit=None, **outputs)
        self.follows.append(followed)
        followed.success(self.result, **outputs, **MODEL_WORK)

    def unfollow(self) -> None:
        """What turns to another run ends the following of the one before; call when all is wired."""
        turns = [self.files.upload, self.folder.upload, self.sets.select, self.align.click, self.delete.click]
        gr.on([*turns, self.earlier.input], None, cancels=self.follows, **PRIVATE)

    # Handlers

    def price(self, source: str) -> str:
        """What reading pictures in with this source costs."""
        return words.encoding(cost_of(self.studio, source))

    def check_example(self, stored: Any, source: str, crop: Any, chosen: gr.SelectData) -> Iterator[Updates]:
        """Step 1 with an example set; it brings its source model along if the chosen one does not suit it."""
        example = self.examples[chosen.index]
        if (suited := example.source(source)) != source:
            source, crop = suited, self.crop_of(suited)
        yield {self.source: gr.Dropdown(value=source)}
        yield from self._checked(stored, example.files, source, crop, example.title)

    def check(self, stored: Any, files: list[str] | str | None, source: str, crop: Any) -> Iterator[Updates]:
        """Step 1 with uploaded files: reads, checks and encodes them, and shows what can be rebuilt."""
        with told():
            paths = uploaded(files)
            title = (
                paths[0].stem if len(paths) == 1 else f"{len(paths)} files of {time.strftime('%d %b, %H:%M')}"
            )
        yield from self._checked(stored, paths, source, crop, title)

    def align_faces(self, stored: Any, added: tuple[str, list[str]] | None, source: str) -> Iterator[Updates]:
        """Step 1 once more with the same pictures, their faces aligned."""
        with told():
            title, files = added or ("", [])
            paths = uploaded(files)
        yield {self.crop: "face"}
        yield from self._checked(stored, paths, source, "face", title)

    def _checked(
        self, stored: Any, paths: Sequence[Path], source: str, crop: Any, title: str
    ) -> Iterator[Updates]:
        visit = Visit.of(stored)
        hidden = {
            part: gr.Column(visible=False) for part in (self.train_part, self.live_part, self.result_part)
        }
        yield {
            self.message: words.note("Reading the pictures …"),
            self.check_part: gr.Column(visible=False),
            **hidden,
        }
        with told():
            ref = known_ref(self.studio, source)
            for event in self.read(paths, ref, crop, visit.visitor, title):
                if isinstance(event, Prepared):
                    added = (title, [str(path) for path in paths])
                    offered = gr.Button(visible=event.report.not_aligned > 0)
                    yield self._ready(visit, event) | {self.added: added, self.align: offered}
                else:
                    yield {self.message: words.reading(event, cost_of(self.studio, source))}

    def _read(
        self, paths: Sequence[Path], ref: str, crop: Any, visitor: str, title: str
    ) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.prepare(paths, ref, crop=crop, visitor=visitor, title=title)

    def _ready(self, visit: Visit, prepared: Prepared) -> Updates:
        self._drop_unused(visit)
        visit = visit.at(prepared.token)
        return self._check(prepared) | {
            self.visit: visit.stored(),
            self.message: "",
            self.train_part: gr.Column(visible=True),
        }

    def _drop_unused(self, visit: Visit) -> None:
        """Pictures that were only looked at need not be kept."""
        if visit.token and (status := self._status(visit.token)) and status.state == "prepared":
            self.studio.delete(visit.token)

    def _check(self, prepared: Prepared) -> Updates:
        couples = self.comparison(prepared.token, count=COMPARED)
        shown = self.studio.alignment(prepared.token)
        return {
            self.check_part: gr.Column(visible=True),
            self.summary: words.checked(
                prepared.report, prepared.count, prepared.verdict, prepared.psnr_mean, prepared.reason
            ),
            self.faces: words.faces(prepared.report),
            self.aligned: gr.Gallery(shown, visible=bool(shown)),
            self.align: gr.Button(visible=False),
            self.compared: pairs(couples),
            self.report: words.table(prepared.report),
        }

    def _status(self, token: str) -> "RunStatus | None":
        try:
            return self.studio.status(token)
        except RunError:
            return None

    def begin(self, stored: Any, seconds: int, recipe: str) -> Updates:
        """Step 3: queues the run."""
        with told():
            visit = Visit.of(stored)
            self.studio.start(visit.needed_token, seconds=seconds, recipe=recipe)
            return self._watching()

    def train_on(self, stored: Any) -> Updates:
        """Goes on with a run that was stopped or interrupted; a finished one trains as long again."""
        with told():
            status = self.studio.status(Visit.of(stored).needed_token)
            self.studio.resume(status.token, extra_steps=status.total_steps if status.state == "done" else 0)
            return self._watching()

    def _watching(self) -> Updates:
        return {
            self.train_part: gr.Column(visible=False),
            self.result_part: gr.Column(visible=False),
            self.live_part: gr.Column(visible=True),
            self.stop: gr.Button("Stop and keep the work", interactive=True, visible=True),
        }

    def look_at(self, stored: Any, token: str | None) -> Updates:
        """Opens one of the visitor's earlier runs."""
        return self.reopen(Visit.of(stored).at(token).stored())

    def reopen(self, stored: Any) -> Updates:
        """The page as it was: with the browser's run, if it is still there."""
        with told():
            visit = Visit.of(stored)
            status = self._status(visit.token) if visit.token else None
            visit = visit.at(status.token if status else None)
            updates: Updates = {self.visit: visit.stored(), self.earlier: self._earlier(visit)}
            if status is None:
                return updates
            ready = status.state == "prepared"
            shown = {
                self.train_part: gr.Column(visible=ready),
                self.live_part: gr.Column(visible=not ready),
                self.result_part: gr.Column(visible=False),
            }
            return updates | self._check(self.studio.prepared(status.token)) | shown

    def _earlier(self, visit: Visit) -> gr.Dropdown:
        runs = [r for r in self.studio.runs(visit.visitor) if r.state != "prepared"]
        choices = [(f"{r.title or 'Run'} · {r.state}", r.token) for r in reversed(runs)]
        chosen = visit.token if visit.token in {token for _, token in choices} else None
        return gr.Dropdown(choices=choices, value=chosen)

    def follow(self, stored: Any) -> Iterator[Updates]:
        """The run as it goes, until it ends; from the first look on. It works on in the worker without us."""
        visit, shown = Visit.of(stored), None
        yield {self.message: ""}
        if not visit.token or not (status := self._status(visit.token)) or status.state == "prepared":
            return
        with told():
            for status in self.studio.attach(visit.token):
                updates = self._live(status)
                if status.preview_step is not None and status.preview_step != shown:
                    shown = status.preview_step
                    updates[self.previews] = self.preview(status.token, shown)
                yield updates

    def _live(self, status: "RunStatus") -> Updates:
        alive = status.state in ALIVE
        return {
            self.live_part: gr.Column(visible=True),
            self.stop: gr.Button(interactive=status.state in ("queued", "running"), visible=alive),
            self.status: words.run(status),
            self.losses: chart.losses(status.metrics, status.total_steps),
            self.qualities: chart.qualities(status.metrics, status.total_steps),
            self.quality: words.quality(status),
        }

    def result(self, stored: Any) -> Updates:
        """Step 4: new pictures beside the nearest originals, and the model to take along."""
        visit = Visit.of(stored)
        status = self._status(visit.token) if visit.token else None
        if status is None or status.state == "prepared" or status.state in ALIVE:
            return {self.message: ""}
        with told():
            couples, bundle = self.harvest(status.token) if status.usable else ([], None)
            return {
                self.result_part: gr.Column(visible=True),
                self.samples: gr.Gallery(pairs(couples), visible=status.usable),
                self.use: gr.Button(visible=status.usable),
                self.download: gr.DownloadButton(value=bundle, visible=status.usable),
                self.go_on: "Train longer" if status.state == "done" else "Go on training",
                self.earlier: self._earlier(visit),
            }

    def _harvest(self, token: str) -> tuple[list[tuple[Image, Image]], str]:
        couples = [(new, near) for new, near, _ in self.studio.nearest(token, RESULT_SEEDS)]
        return couples, str(self.studio.export(token, fresh("mind2mind-model.zip", token)))

    def halt(self, stored: Any) -> Any:
        """Asks the run to stop; it saves its work first."""
        with told():
            self.studio.stop(Visit.of(stored).needed_token)
            return gr.Button("Stopping …", interactive=False)

    def forget(self, stored: Any) -> Updates:
        """Deletes the run with everything in it, at once."""
        with told():
            visit = Visit.of(stored)
            self.studio.delete(visit.needed_token)
            forget_made(visit.needed_token)
            visit = visit.without(visit.needed_token)
            parts = (self.check_part, self.train_part, self.live_part, self.result_part)
            return {
                self.visit: visit.stored(),
                self.earlier: self._earlier(visit),
                self.message: words.note(
                    "The run is deleted, and its copies of your pictures. What you uploaded goes with the "
                    "next clean-up: within a day on a public server, at home when the app is started again."
                ),
                **{part: gr.Column(visible=False) for part in parts},
            }
