"""Step 4 of the tab Transfer: what came of a run, how it came, and going on with it."""

from typing import Any

import gradio as gr

from mind2mind.originality import RULE
from mind2mind.outcome import Outcome
from mind2mind.runs import ALIVE
from mind2mind.ui import result_words as say
from mind2mind.ui import words
from mind2mind.ui.common import LIVE, MODEL_WORK, QUIET, told
from mind2mind.ui.keep import Keep
from mind2mind.ui.made import forget_made, fresh
from mind2mind.ui.shelf import Shelf
from mind2mind.ui.steps import RESULT, Steps, Updates
from mind2mind.ui.training import going_on
from mind2mind.ui.visit import Visit
from mind2mind.ui.walls import captioned, pairs, wall
from mind2mind.ui.zerogpu import gpu


class Result:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps, shelf: Shelf) -> None:
        self.steps, self.studio, self.shelf = steps, steps.studio, shelf
        self.keep = Keep(steps)
        self.harvest, self.preview = gpu(self._harvest), gpu(self.studio.preview)
        self.film = gpu(self.studio.film)

    def build(self) -> None:
        """Inside its part of the page."""
        gr.HTML(words.step(4, "The result"))
        with gr.Column() as self.made:
            self.verdict = gr.HTML(elem_id="transfer-verdict")
            self.samples = wall("transfer-samples", "m2m-tiles")
            self.use = gr.Button(
                "Use it in Sample and Interpolate", variant="primary", elem_id="transfer-use"
            )
            self.keep.build()
            with gr.Accordion("Are they copies? Each beside the nearest of your pictures", open=True):
                self.copies = gr.HTML(elem_id="transfer-copies")
                self.nearest = wall("transfer-nearest", "m2m-pairs")
            with gr.Accordion("How it learnt", open=False) as self.story:
                self._build_timeline()
            with gr.Accordion("What the source model draws by itself", open=False):
                self.source_note = gr.HTML(elem_id="transfer-source-note")
                self.of_source = wall("transfer-of-source", "m2m-tiles m2m-small")
        with gr.Row():
            self.go_on = gr.Button("Go on training", elem_id="transfer-go-on")
            self.delete = gr.Button(
                "Delete this run and its pictures", variant="stop", elem_id="transfer-delete"
            )

    def _build_timeline(self) -> None:
        gr.HTML(
            words.note(
                "The same random inputs as the training went on. Move the slider, or see a film of it."
            )
        )
        self.moment = gr.Slider(1, 2, 2, step=1, label="Preview", elem_id="transfer-moment")
        self.at_step = gr.HTML(elem_id="transfer-at-step")
        self.moments = wall("transfer-moments", "m2m-tiles m2m-small")
        self.make_film = gr.Button("Make a film of it (MP4)", size="sm", elem_id="transfer-make-film")
        self.clip = gr.Video(
            label="The training as a film", interactive=False, visible=False, autoplay=True, loop=True,
            elem_id="transfer-film", buttons=["download"], height=420,
        )  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """What these handlers may update, beside what all may."""
        return [
            self.made, self.verdict, self.samples, self.use, self.copies, self.nearest, self.story, self.moment,
            self.at_step, self.moments, self.clip, self.source_note, self.of_source, self.go_on, self.delete,
            *self.keep.outputs,
        ]  # fmt: skip

    def wire(self, outputs: list[Any]) -> None:
        """The events of this step alone; `outputs` are the components of all steps."""
        visit = self.steps.visit
        self.delete.click(self.forget, visit, outputs=outputs, **QUIET)
        shown = [self.moments, self.at_step]
        self.moment.input(self.at, [visit, self.moment], shown, **LIVE, **MODEL_WORK)
        self.make_film.click(
            self.filmed,
            visit,
            self.clip,
            show_progress_on=self.make_film,
            api_visibility="private",
            **MODEL_WORK,
        )
        self.keep.wire()

    @property
    def turns(self) -> list[Any]:
        """The events that turn away from the run that is followed."""
        return [self.delete.click]

    # Handlers

    def finish(self, stored: Any) -> Updates:
        """What came of the run, once it has ended; of one that has no model only that one can go on."""
        visit = Visit.of(stored)
        status = self.steps.status(visit.token)
        if status is None or status.state == "prepared" or status.state in ALIVE:
            return self.steps.unchanged
        with told():
            updates = self.steps.also(RESULT) | self.shelf.known(visit)
            updates[self.made] = gr.Column(visible=status.usable)
            updates[self.go_on] = going_on(status)
            return updates | (self._shown(self.harvest(status.token)) if status.usable else {})

    def _harvest(self, token: str) -> tuple[Outcome, str]:
        return self.studio.outcome(token), self.keep.bundle(token)

    def _shown(self, harvest: tuple[Outcome, str]) -> Updates:
        found, bundle = harvest
        order = sorted(range(len(found.samples)), key=found.distance.__getitem__)
        couples = [(found.samples[i], found.originals[i]) for i in order]
        steps = found.status.preview_steps
        return {
            self.verdict: say.verdict(found),
            self.samples: captioned(found.samples, "New picture"),
            self.use: gr.Button(visible=True),
            self.copies: say.copies(found, RULE),
            self.nearest: pairs(couples, "A new picture above the nearest of yours, the most alike first:"),
            self.story: gr.Accordion(visible=len(steps) > 1),
            self.moment: gr.Slider(maximum=max(2, len(steps)), value=len(steps)),
            self.clip: gr.Video(None, visible=False),
            self.source_note: say.of_source(found),
            self.of_source: captioned(found.of_source, "A picture of the source model"),
            **self._at(found.status.token, len(steps)),
            **self.keep.shown(found, bundle),
        }

    def at(self, stored: Any, number: float) -> tuple[Any, str]:
        """The preview of this number, the first being 1."""
        with told():
            shown = self._at(Visit.of(stored).needed_token, int(number))
            return shown[self.moments], shown[self.at_step]

    def _at(self, token: str, number: int) -> Updates:
        status = self.studio.status(token)
        steps = status.preview_steps
        if not steps:
            return {self.moments: [], self.at_step: ""}
        step = steps[min(max(number, 1), len(steps)) - 1]
        said = words.note(f"Step {step:,} of {status.total_steps:,}")
        return {self.moments: captioned(self.preview(token, step), f"At step {step}:"), self.at_step: said}

    def filmed(self, stored: Any) -> Any:
        """The previews as a film."""
        with told():
            token = Visit.of(stored).needed_token
            return gr.Video(str(self.film(token, fresh("training.mp4", token))), visible=True)

    def forget(self, stored: Any) -> Updates:
        """Deletes the run with everything in it, at once."""
        with told():
            visit = Visit.of(stored)
            self.studio.delete(visit.needed_token)
            forget_made(visit.needed_token)
            visit = visit.without(visit.needed_token)
            return self.steps.only() | {
                self.steps.visit: visit.stored(),
                self.steps.message: say.deleted(self.studio.public),
                **self.shelf.known(visit),
            }
