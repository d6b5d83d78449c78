"""What the steps of the tab Transfer share: the visit, the line that says what goes on, which parts are seen."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.errors import RunError
from mind2mind.ui import words

if TYPE_CHECKING:
    from mind2mind.status import RunStatus
    from mind2mind.studio import Studio

Updates = dict[Any, Any]  # by component: what a handler gives

CHECK, TRAIN, LIVE_PART, RESULT = "check", "train", "live", "result"


class Steps:
    """Made before the steps, which are given it; `build` comes first on the page."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.parts: dict[str, gr.Column] = {}

    def build(self, visit: gr.BrowserState) -> None:
        """The browser's memory, and a way down to the run; the line comes where `build_message` is called."""
        self.visit = visit
        self.jump = gr.HTML(elem_id="transfer-jump")

    def build_message(self) -> None:
        """The line that says what goes on."""
        self.message = gr.HTML(elem_id="transfer-message")

    def part(self, name: str) -> gr.Column:
        """A part of the page that is hidden until its turn comes; to be used in a `with`."""
        self.parts[name] = gr.Column(visible=False)
        return self.parts[name]

    def only(self, *names: str) -> Updates:
        """Shows these parts and hides the others."""
        seen = {part: gr.Column(visible=name in names) for name, part in self.parts.items()}
        return seen | {self.jump: words.jump() if LIVE_PART in names else ""}

    def also(self, name: str) -> Updates:
        """Shows this part beside those that are seen."""
        jump = {self.jump: words.jump()} if name == LIVE_PART else {}
        return {self.parts[name]: gr.Column(visible=True)} | jump

    @property
    def unchanged(self) -> Updates:
        """What a handler gives that changes nothing; Gradio takes an empty dictionary for a mistake."""
        return {self.message: gr.skip()}

    def status(self, token: str | None) -> "RunStatus | None":
        """Where the run stands; None if there is no such run (any more)."""
        try:
            return self.studio.status(token) if token else None
        except RunError:
            return None

    @property
    def outputs(self) -> list[Any]:
        """What every handler may update."""
        return [self.visit, self.jump, self.message, *self.parts.values()]
