"""How uploads become a set: read by the source model, added to what is there, or read anew.

What is added to a set is read as the rest of it; another source or crop reads all of it anew. As long as
nothing has been trained, a set that another takes the place of is deleted.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.errors import Mind2MindError
from mind2mind.intake import Prepared
from mind2mind.ui import words
from mind2mind.ui.common import cost_of, known_ref, told
from mind2mind.ui.steps import CHECK, TRAIN, Steps, Updates
from mind2mind.ui.visit import Visit
from mind2mind.ui.zerogpu import check_seconds, gpu

if TYPE_CHECKING:
    from mind2mind.codes import EncodeProgress

Added = tuple[str, list[str]]  # a title and the paths of uploads, as this session remembers them


class Reading:
    """Gives updates as the reading goes on.

    Args:
        steps: what the steps share.
        shown: the updates of a set that was read.
    """

    def __init__(self, steps: Steps, shown: Callable[[Prepared], Updates]) -> None:
        self.steps, self.studio, self.shown = steps, steps.studio, shown
        self.read, self.extend = gpu(self._read, check_seconds), gpu(self._extend, check_seconds)

    def build(self) -> None:
        """What this session remembers of the uploads."""
        self.added: gr.State = gr.State(None)  # `Added`

    def waiting(self, visit: Visit) -> Prepared | None:
        """The set that is there, if it has not been trained on."""
        status = self.steps.status(visit.token)
        return self.studio.prepared(status.token) if status and status.state == "prepared" else None

    def add(
        self, visit: Visit, paths: Sequence[Path], source: str, crop: Any, added: Added | None, title: str
    ) -> Iterator[Updates]:
        """To the set that is there, if it is read the same way; else to a new one."""
        present = self.waiting(visit)
        if present is None or (present.model, present.crop) != (source, crop):
            yield from self.anew(visit, paths, source, crop, title)
            return
        title, before = added or (title, [])
        files = [Path(path) for path in before]
        with told():
            events = self.extend(paths, present.token)
            yield from self._followed(visit, events, source, title, [*files, *paths])

    def anew(
        self, visit: Visit, paths: Sequence[Path], source: str, crop: Any, title: str
    ) -> Iterator[Updates]:
        """A new set in the place of the one that is there."""
        with told():
            ref = known_ref(self.studio, source)
            events = self.read(paths, ref, crop, visit.visitor, title)
            yield from self._followed(visit, events, source, title, paths)

    def drop(self, visit: Visit) -> None:
        """Pictures that were only looked at need not be kept."""
        if (status := self.steps.status(visit.token)) and status.state == "prepared":
            self.studio.delete(status.token)

    def _followed(
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
            there = (CHECK, TRAIN) if self.waiting(visit) else ()
            yield self.steps.only(*there) | {message: ""}
            raise

    def _ready(self, visit: Visit, prepared: Prepared) -> Updates:
        if visit.token != prepared.token:
            self.drop(visit)
        visit = visit.at(prepared.token)
        seen = self.steps.only(CHECK, TRAIN)
        return self.shown(prepared) | seen | {self.steps.visit: visit.stored(), self.steps.message: ""}

    def _read(
        self, paths: Sequence[Path], ref: str, crop: Any, visitor: str, title: str
    ) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.prepare(paths, ref, crop=crop, visitor=visitor, title=title)

    def _extend(self, paths: Sequence[Path], token: str) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.add(token, paths)
