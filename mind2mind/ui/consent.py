"""On a public server: when everything is deleted, and a tick, without which nothing can be uploaded."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.errors import DataError
from mind2mind.ui import result_words as say
from mind2mind.ui.common import QUIET, Visit
from mind2mind.ui.steps import Steps

if TYPE_CHECKING:
    from mind2mind.studio import Studio

TEXT = "I may use these pictures, and everybody who can be recognised in them agrees."


def agreed(studio: "Studio", visit: Visit) -> bool:
    """Whether this visitor may upload."""
    return not studio.public or visit.agreed


class Consent:
    """The components. `uploads` is the part of the page that the tick opens: build the boxes for files in it."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.needed = self.studio.public

    def build(self) -> gr.Column:
        """The clock, the tick, and the part it opens."""
        self.clock = gr.HTML(visible=self.needed, elem_id="transfer-clock")
        self.tick = gr.Checkbox(False, label=TEXT, visible=self.needed, elem_id="transfer-consent")
        self.uploads = gr.Column(visible=not self.needed, min_width=280)
        return self.uploads

    @property
    def outputs(self) -> list[Any]:
        """What `known` may update."""
        return [self.clock, self.tick, self.uploads]

    def wire(self) -> None:
        """The event."""
        visit = self.steps.visit
        self.tick.input(self.ticked, [visit, self.tick], [visit, self.uploads], **QUIET)

    def known(self, visit: Visit) -> dict[Any, Any]:
        """The clock as it stands now, the tick as this browser remembers it."""
        hours = self.studio.limits.keep_hours
        uploads = gr.Column(visible=agreed(self.studio, visit))
        return {self.clock: say.clock(hours) if hours else "", self.tick: visit.agreed, self.uploads: uploads}

    def ticked(self, stored: Any, yes: Any) -> tuple[dict[str, Any], Any]:
        """Opens the uploads, or closes them."""
        visit = Visit.of(stored).agreeing(yes is True)
        return visit.stored(), gr.Column(visible=agreed(self.studio, visit))

    def check(self, visit: Visit) -> None:
        """Raises DataError for pictures of a visitor who has not agreed: the page alone keeps nobody out."""
        if not agreed(self.studio, visit):
            raise DataError("The tick above the upload is not set.", f"Set it, if it is true: {TEXT}")
