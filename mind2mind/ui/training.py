"""Step 3 of the tab Transfer: train, and see it go. The run lives in the worker; this only follows it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from mind2mind.config import BUDGETS
from mind2mind.errors import RunError
from mind2mind.runs import ALIVE
from mind2mind.ui import chart, words
from mind2mind.ui import result_words as say
from mind2mind.ui.advanced import Advanced
from mind2mind.ui.common import MODEL_WORK, QUIET, checked_seed, told
from mind2mind.ui.steps import CHECK, LIVE_PART, Steps, Updates
from mind2mind.ui.visit import Visit
from mind2mind.ui.walls import captioned, wall
from mind2mind.ui.zerogpu import gpu

if TYPE_CHECKING:
    from mind2mind.status import RunStatus

MORE_STEPS = 1000
TRIED = 8  # pictures of "Try it now"
STOP, STOPPING = "Stop and keep the work", "Stopping …"
# JavaScript: the browser alone knows under which address the page is seen
LINK = "v => v && v.token ? location.origin + location.pathname + '?run=' + v.token : ''"


def going_on(status: "RunStatus") -> str:
    """What the button says that goes on with a run that has ended."""
    return f"Train {MORE_STEPS:,} steps more" if status.state == "done" else "Go on training"


class Training:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.advanced = Advanced()
        self.preview, self.trial = gpu(self.studio.preview), gpu(self.studio.trial)

    def build_train(self) -> None:
        """What is chosen before the start, inside its part of the page."""
        gr.HTML(words.step(3, "Train"))
        budgets = [(b.help, b.seconds) for b in BUDGETS.values()]
        self.seconds = gr.Radio(budgets, value=budgets[1][1], label="Time", elem_id="transfer-seconds")
        if any(measured := [f"{b.name}: {b.measured}" for b in BUDGETS.values() if b.measured]):
            gr.HTML(words.note(*measured))
        self.advanced.build()
        self.start = gr.Button("Start", variant="primary", elem_id="transfer-start")

    def build_live(self) -> None:
        """The run as it goes, inside its part of the page."""
        gr.HTML(words.step(3, "Training"))
        self.status = gr.HTML(elem_id="transfer-status")
        with gr.Row():
            self.stop = gr.Button(STOP, variant="primary", elem_id="transfer-stop")
            self.discard = gr.Button("Discard …", variant="stop", elem_id="transfer-discard")
        with gr.Row(visible=False) as self.sure:
            self.discard_all = gr.Button(
                "Yes, delete the run and its pictures", variant="stop", elem_id="transfer-discard-all"
            )
            self.keep = gr.Button("No, let it train", elem_id="transfer-discard-not")
        with gr.Row():
            with gr.Column(min_width=280):
                gr.HTML(words.note(chart.LOSSES_SAID))
                self.losses = chart.losses_plot("transfer-losses")
            with gr.Column(min_width=280):
                gr.HTML(words.note(chart.QUALITY_SAID))
                self.qualities = chart.qualities_plot("transfer-qualities")
                self.quality = gr.HTML(elem_id="transfer-quality")
        gr.HTML(words.note("The same 16 random inputs as training goes on:"))
        self.previews = wall("transfer-previews", "m2m-tiles m2m-small")
        with gr.Accordion("Try it now", open=False, elem_id="transfer-try"):
            self._build_trial()
        with gr.Accordion("See this run on another device", open=False, elem_id="transfer-elsewhere"):
            self.link = gr.Textbox(
                label="Link",
                info="Whoever has it sees the run with its pictures, and may stop and delete it.",
                interactive=False,
                buttons=["copy"],
                elem_id="transfer-link",
            )

    def _build_trial(self) -> None:
        gr.HTML(words.note("Pictures of any seed, by the run as it stands. The training goes on meanwhile."))
        with gr.Row():
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="transfer-try-seed")
            self.draw = gr.Button("Draw", elem_id="transfer-try-go")
        self.tried = wall("transfer-tried", "m2m-tiles m2m-small")
        self.tried_about = gr.HTML(elem_id="transfer-tried-about")

    @property
    def outputs(self) -> list[Any]:
        """What these handlers may update, beside what all may."""
        buttons = [self.stop, self.discard, self.sure]
        shown = [self.status, self.losses, self.qualities, self.quality, self.previews]
        return [*buttons, *shown, self.tried, self.tried_about]

    def wire(
        self, outputs: list[Any], follow_after: Callable[[Any], None], forget: Callable[..., Any]
    ) -> None:
        """The events; `outputs` are the components of all steps, `follow_after` follows what an event began."""
        visit = self.steps.visit
        self.advanced.wire()
        chosen = [visit, self.seconds, *self.advanced.inputs]
        follow_after(self.start.click(self.begin, chosen, outputs=outputs, **QUIET))
        self.stop.click(self.halt, visit, self.stop, queue=False, **QUIET)
        self.discard.click(lambda: gr.Row(visible=True), None, self.sure, queue=False, **QUIET)
        self.keep.click(lambda: gr.Row(visible=False), None, self.sure, queue=False, **QUIET)
        self.discard_all.click(forget, visit, outputs=outputs, queue=False, **QUIET)
        self.draw.click(
            self.try_now, [visit, self.seed], [self.tried, self.tried_about], **QUIET, **MODEL_WORK
        )
        visit.change(None, visit, self.link, js=LINK, **QUIET)

    @property
    def turns(self) -> list[Any]:
        """The events that turn away from the run that is followed."""
        return [self.discard_all.click]

    # Handlers

    def begin(self, stored: Any, seconds: int, recipe: str, *values: Any) -> Updates:
        """Queues the run."""
        with told():
            visit = Visit.of(stored)
            self.studio.start(
                visit.needed_token, seconds=seconds, recipe=self.advanced.chosen(recipe, *values)
            )
            return self._watching()

    def train_on(self, stored: Any) -> Updates:
        """Goes on with a run that was stopped or interrupted; a finished one trains some steps more."""
        with told():
            status = self.studio.status(Visit.of(stored).needed_token)
            self.studio.resume(status.token, extra_steps=MORE_STEPS if status.state == "done" else 0)
            return self._watching()

    def _watching(self) -> Updates:
        return self.steps.only(CHECK, LIVE_PART) | self._emptied()

    def follow(self, stored: Any) -> Iterator[Updates]:
        """The run as it goes, until it ends; from the first look on. It works on in the worker without us.

        Twice a second, and only what has changed: nothing flickers, and little is sent.
        """
        visit = Visit.of(stored)
        known = self.steps.status(visit.token)
        if known is None or known.state == "prepared":
            yield self.steps.unchanged  # what the page says stays: that there is no such run, it may be
            return
        with told():
            yield {self.steps.message: ""} | self.steps.also(LIVE_PART) | self._emptied()
            try:
                yield from self._followed(known.token)
            except RunError:
                if self.steps.status(known.token) is not None:
                    raise
                yield self.steps.only() | {self.steps.message: say.deleted(self.studio.public)}

    def _followed(self, token: str) -> Iterator[Updates]:
        before: RunStatus | None = None
        for status in self.studio.attach(token):
            if updates := self._changes(before, status):
                yield updates
            before = status

    def _emptied(self) -> Updates:
        """What another run may have left."""
        none: Updates = {self.tried: [], self.tried_about: "", self.previews: [], self.status: ""}
        return none | {self.sure: gr.Row(visible=False)}

    def _changes(self, before: "RunStatus | None", status: "RunStatus") -> Updates:
        updates: Updates = {}
        if before is None or words.run(before) != words.run(status):
            updates[self.status] = words.run(status)
        if before is None or before.state != status.state:
            alive, asked = status.state in ALIVE, status.state == "stopping"
            updates[self.stop] = gr.Button(STOPPING if asked else STOP, interactive=not asked, visible=alive)
            updates[self.discard] = gr.Button(visible=alive)
            if not alive:
                updates[self.sure] = gr.Row(visible=False)
        if before is None or (before.step, before.total_steps) != (status.step, status.total_steps):
            updates |= self._curves(status)
        if status.preview_step is not None and (before is None or before.preview_step != status.preview_step):
            shown = self.preview(status.token, status.preview_step)
            updates[self.previews] = captioned(shown, f"Step {status.preview_step}, input")
        return updates

    def _curves(self, status: "RunStatus") -> Updates:
        x_lim: list[float | None] = [0, max(1, status.total_steps)]

        def plot(table: pd.DataFrame) -> gr.LinePlot:
            # one that was drawn empty gives no colour to what comes later
            return gr.LinePlot(table, x_lim=x_lim, visible=len(table) > 0)

        return {
            self.losses: plot(chart.losses(status.metrics)),
            self.qualities: plot(chart.qualities(status.metrics, status.total_steps)),
            self.quality: words.quality(status),
        }

    def halt(self, stored: Any) -> Any:
        """Asks the run to stop; it saves its work first."""
        with told():
            self.studio.stop(Visit.of(stored).needed_token)
            return gr.Button(STOPPING, interactive=False)

    def try_now(self, stored: Any, seed: float | None) -> tuple[Any, str]:
        """Pictures of some seeds by the run as it stands."""
        with told():
            token, first = Visit.of(stored).needed_token, checked_seed(seed)
            if (status := self.studio.status(token)).state == "queued":
                raise RunError("The run has not begun yet.", "Wait for its turn.")
            images, step = self.trial(status.token, range(first, first + TRIED))
            about = words.note(
                f"Seeds {first} to {first + TRIED - 1}, as the run drew them at step {step:,}."
            )
            return captioned(images, f"Step {step}, seed"), about
