"""On a public server: when everything is deleted, and a tick, without which no picture can be uploaded."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.errors import DataError
from mind2mind.ui.common import QUIET
from mind2mind.ui.visit import Visit

if TYPE_CHECKING:
    from mind2mind.studio import Studio

TEXT = "I may use these pictures, and everybody who can be recognised in them agrees."


def check(studio: "Studio", agreed: bool, how: str) -> None:
    """Raises DataError for pictures of a visitor who has not agreed: the page alone keeps nobody out."""
    if studio.public and not agreed:
        raise DataError(
            "Nobody has said yet that these pictures may be used.", f"{how}, if it is true: {TEXT}"
        )


def check_call(studio: "Studio", agreed: bool) -> None:
    """The same for a caller of the API."""
    check(studio, agreed is True, "Call with agreed=True")


class Consent:
    """The components of one tab; the browser remembers the tick, which all tabs share.

    Args:
        studio: it knows whether a tick is needed.
        tab: its name.
        told: says, now, when what is uploaded is deleted.
    """

    def __init__(self, studio: "Studio", tab: str, told: Callable[[], str]) -> None:
        self.studio, self.tab, self.told, self.needed = studio, tab, told, studio.public
        self.opens: list[Any] = []  # what the tick opens

    def build(self) -> None:
        """The clock and the tick."""
        self.clock = gr.HTML(visible=self.needed, elem_id=f"{self.tab}-clock")
        self.tick = gr.Checkbox(False, label=TEXT, visible=self.needed, elem_id=f"{self.tab}-consent")

    @property
    def outputs(self) -> list[Any]:
        """What `known` may update."""
        return [self.clock, self.tick, *self.opens]

    def wire(self, visit: gr.BrowserState, *shows: Any) -> None:
        """The events; `shows` are those at which the tick of another tab is to be seen here."""
        self.visit = visit
        self.tick.input(self.ticked, [visit, self.tick], [visit, *self.opens], **QUIET)
        if self.needed:
            gr.on([visit.change, *shows], self.look, visit, self.outputs, **QUIET)

    def look(self, stored: Any) -> dict[Any, Any]:
        """The tick as the browser remembers it."""
        return self.known(Visit.of(stored))

    def known(self, visit: Visit) -> dict[Any, Any]:
        """The clock as it stands now, the tick as this browser remembers it, and what it opens."""
        return {self.clock: self.told() if self.needed else "", self.tick: visit.agreed} | self._opened(visit)

    def ticked(self, stored: Any, yes: Any) -> dict[Any, Any]:
        """Opens the uploads, or closes them."""
        visit = Visit.of(stored).agreeing(yes is True)
        return {self.visit: visit.stored()} | self._opened(visit)

    def _opened(self, visit: Visit) -> dict[Any, Any]:
        return {part: gr.update(visible=visit.agreed or not self.needed) for part in self.opens}

    def check(self, stored: Any) -> None:
        """Raises DataError if the tick is not set."""
        check(self.studio, Visit.of(stored).agreed, "Set the tick above the upload")
