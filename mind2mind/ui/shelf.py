"""Your runs: a list to open, rename and delete from. Whoever's browser began a run sees it, nobody else."""

from typing import Any

import gradio as gr

from mind2mind.errors import RunError
from mind2mind.ui import result_words as say
from mind2mind.ui.common import PRIVATE, QUIET, told
from mind2mind.ui.made import forget_made
from mind2mind.ui.steps import Steps, Updates
from mind2mind.ui.visit import Visit


class Shelf:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio

    def build(self) -> None:
        """At the end of the tab."""
        with gr.Accordion("Your runs", open=False, elem_id="transfer-shelf") as self.box:
            self.runs = gr.Radio([], label="Choose one", elem_id="transfer-runs")
            with gr.Row():
                self.open = gr.Button("Open", elem_id="transfer-run-open")
                self.drop = gr.Button("Delete", variant="stop", elem_id="transfer-run-delete")
            with gr.Row():
                self.title = gr.Textbox(
                    label="Another title", max_lines=1, max_length=200, scale=3, elem_id="transfer-run-title"
                )
                self.rename = gr.Button("Rename", scale=1, min_width=120, elem_id="transfer-run-rename")
            self.all = gr.Button("Delete everything of mine …", variant="stop", elem_id="transfer-delete-all")
            with gr.Column(visible=False, elem_id="transfer-sure") as self.sure:
                self.question = gr.HTML()
                with gr.Row():
                    self.no = gr.Button("Keep it all", elem_id="transfer-keep-all")
                    self.yes = gr.Button(
                        "Yes, delete it all", variant="stop", elem_id="transfer-delete-all-yes"
                    )

    @property
    def outputs(self) -> list[Any]:
        """What these handlers and `known` may update, beside what all may."""
        return [self.box, self.runs, self.title, self.sure, self.question]

    def wire(self, outputs: list[Any]) -> None:
        """The events of the list alone; `outputs` are the components of all steps. Opening is the tab's."""
        visit, runs = self.steps.visit, self.runs
        changes: dict[str, Any] = {"outputs": outputs, **QUIET}
        runs.input(self.chosen, [visit, runs], self.title, **QUIET)
        self.drop.click(self.delete, [visit, runs], **changes)
        gr.on([self.rename.click, self.title.submit], self.renamed, [visit, runs, self.title], **changes)
        self.all.click(self.ask, visit, [self.sure, self.question], **QUIET)
        self.no.click(lambda: gr.Column(visible=False), None, self.sure, **PRIVATE)
        self.yes.click(self.delete_all, visit, **changes)

    @property
    def turns(self) -> list[Any]:
        """The events that turn away from the run that is followed."""
        return [self.open.click, self.drop.click, self.yes.click]

    # Handlers

    def known(self, visit: Visit) -> Updates:
        """The list as it is now, with the visitor's run chosen."""
        entries = [entry for entry in self.studio.entries(visit.visitor) if entry.state != "prepared"]
        tokens = {entry.token: entry.title for entry in entries}
        chosen = visit.token if visit.token in tokens else None
        return {
            self.box: gr.Accordion(visible=bool(entries)),
            self.runs: gr.Radio(choices=[(say.line(entry), entry.token) for entry in entries], value=chosen),
            self.title: tokens[chosen] if chosen else "",
            self.sure: gr.Column(visible=False),
        }

    def own(self, stored: Any, token: str | None) -> str:
        """The token of the chosen run, which must be the visitor's.

        Raises:
            RunError: none is chosen, or it is gone.
        """
        visitor = Visit.of(stored).visitor
        if token not in {entry.token for entry in self.studio.entries(visitor)}:
            raise RunError("No run is chosen.", "Choose one of the list first.")
        return str(token)

    def chosen(self, stored: Any, token: str | None) -> str:
        """The title of the run, to be changed."""
        with told():
            return self.studio.status(self.own(stored, token)).title

    def renamed(self, stored: Any, token: str | None, title: str) -> Updates:
        """Gives the run and its model another title."""
        with told():
            visit = Visit.of(stored)
            self.studio.rename(self.own(stored, token), str(title))
            return self.known(visit) | {self.runs: self.known(visit.at(token))[self.runs]}

    def delete(self, stored: Any, token: str | None) -> Updates:
        """Deletes the chosen run with everything in it; the page turns away from it if it shows it."""
        with told():
            visit, chosen = Visit.of(stored), self.own(stored, token)
            self.studio.delete(chosen)
            forget_made(chosen)
            seen = self.steps.only() if chosen == visit.token else {}
            visit = visit.without(chosen) if chosen == visit.token else visit.forgetting(chosen)
            return seen | {self.steps.visit: visit.stored()} | self.known(visit)

    def ask(self, stored: Any) -> tuple[Any, str]:
        """What would be deleted."""
        entries = self.studio.entries(Visit.of(stored).visitor)
        return gr.Column(visible=True), say.asked(len(entries), sum(entry.bytes for entry in entries))

    def delete_all(self, stored: Any) -> Updates:
        """Deletes all of the visitor's runs and opened models; the browser then remembers nothing of them."""
        with told():
            visit = Visit.of(stored)
            tokens = {*visit.models, *(entry.token for entry in self.studio.entries(visit.visitor))}
            count = self.studio.delete_all(visit.visitor, visit.models)
            for token in tokens:
                forget_made(token)
            visit = Visit(visit.visitor, agreed=visit.agreed)
            return self.steps.only() | {
                self.steps.visit: visit.stored(),
                self.steps.message: say.gone(count, self.studio.public),
                **self.known(visit),
            }
