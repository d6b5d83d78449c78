"""The tab Transfer: a folder of pictures in, a generator of new ones out, in four steps on one page.

A run lives in the worker and in its folder. The page only follows it by its token, which the browser keeps:
a closed tab loses nothing. Each step has a file of its own; here they are put together.
"""

from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.ui import words
from mind2mind.ui.common import MODEL_WORK, PRIVATE, QUIET, told
from mind2mind.ui.pictures import Pictures
from mind2mind.ui.result import Result
from mind2mind.ui.shelf import Shelf
from mind2mind.ui.steps import CHECK, LIVE_PART, RESULT, TRAIN, Steps, Updates
from mind2mind.ui.training import Training
from mind2mind.ui.visit import Visit, is_key

if TYPE_CHECKING:
    from mind2mind.studio import Studio


def linked(request: gr.Request) -> str | None:
    """The run that the page's address names."""
    token = request.query_params.get("run")
    return str(token) if token else None


class TransferTab:
    """The steps below each other, each shown when its turn has come."""

    def __init__(self, studio: "Studio") -> None:
        self.studio, self.steps = studio, Steps(studio)
        self.shelf = Shelf(self.steps)
        self.pictures, self.training, self.result = (
            Pictures(self.steps),
            Training(self.steps),
            Result(self.steps, self.shelf),
        )
        self.follows: list[Any] = []

    def build(self, visit: gr.BrowserState) -> None:
        """The components; inside a gr.Tab."""
        self.steps.build(visit)
        self.pictures.build()
        self.steps.build_message()
        with self.steps.part(CHECK):
            self.pictures.check.build()
        with self.steps.part(TRAIN):
            self.training.build_train()
        with self.steps.part(LIVE_PART):
            self.training.build_live()
        with self.steps.part(RESULT):
            self.result.build()
        self.shelf.build()

    @property
    def outputs(self) -> list[Any]:
        """All that a handler may update."""
        steps = (self.pictures, self.training, self.result, self.shelf)
        return [*self.steps.outputs, *(component for step in steps for component in step.outputs)]

    def wire(self) -> None:
        """The events: each step's own, and those that lead from one step to another."""
        outputs: dict[str, Any] = {"outputs": self.outputs, **QUIET}
        visit = self.steps.visit
        self.pictures.wire(self.outputs)
        self.training.wire(self.outputs, self.follow_after, self.result.forget)
        self.result.wire(self.outputs)
        self.follow_after(self.result.go_on.click(self.training.train_on, visit, **outputs))
        self.shelf.wire(self.outputs)
        self.follow_after(self.shelf.open.click(self.look_at, [visit, self.shelf.runs], **outputs))

    def follow_after(self, event: Any) -> None:
        """After what begins or opens a run: follow it to its end, then show what came of it."""
        outputs: dict[str, Any] = {"inputs": self.steps.visit, "outputs": self.outputs, **QUIET}
        followed = event.success(self.training.follow, concurrency_limit=None, **outputs)
        self.follows.append(followed)
        followed.success(self.result.finish, **outputs, **MODEL_WORK)

    def unfollow(self) -> None:
        """What turns to another run ends the following of the one before; call when all is wired."""
        steps = (self.pictures, self.training, self.result, self.shelf)
        turns = [turn for step in steps for turn in step.turns]
        gr.on(turns, None, cancels=self.follows, **PRIVATE)

    # Handlers

    def arrive(self, stored: Any, request: gr.Request) -> Updates:
        """The page as it was, or with the run of the link that led here."""
        token = linked(request)
        if token is None:
            return self.reopen(stored)
        if self.steps.status(token if is_key(token) else None) is None:
            gone = words.note("There is no run under this link. It may have been deleted.")
            return self.reopen(stored) | {self.steps.message: gone}
        return self.reopen(Visit.of(stored).at(token).stored())

    def look_at(self, stored: Any, token: str | None) -> Updates:
        """Opens one of the visitor's earlier runs."""
        with told():
            return self.reopen(Visit.of(stored).at(self.shelf.own(stored, token)).stored())

    def reopen(self, stored: Any) -> Updates:
        """The page as it was: with the browser's run, if it is still there."""
        with told():
            visit = Visit.of(stored)
            status = self.steps.status(visit.token)
            visit = visit.at(status.token if status else None)
            updates: Updates = {
                self.steps.visit: visit.stored(),
                **self.shelf.known(visit),
                **self.pictures.consent.known(visit),
            }
            if status is None:
                return updates
            seen = self.steps.only(CHECK, TRAIN if status.state == "prepared" else LIVE_PART)
            prepared, ready = self.studio.prepared(status.token), status.state == "prepared"
            return updates | self.pictures.shown(prepared, ready) | seen
