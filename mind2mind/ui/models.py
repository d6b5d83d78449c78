"""The tab Models: what is here, what can be had, and how to have it. Visitors of a public server only look."""

import base64
import html
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from mind2mind.config import size_text
from mind2mind.models.bundle import ModelInfo
from mind2mind.models.catalogue import Converting, Downloaded, Event
from mind2mind.models.fetch import Downloading
from mind2mind.models.hub import Remote
from mind2mind.studio import Studio
from mind2mind.ui.shared import bar, boxed, knowledge, logged, note, on

SIDE = 320  # pixels of a preview on its card
KINDS = {"source": "source model", "transfer": "transfer"}
TO_STATUS = "(...all) => m2m.scrollTo('models-status', all)"
Updates = dict[Any, Any]


def cards(models: Sequence[ModelInfo]) -> str:
    """Models as cards beside each other."""
    return f'<div class="m2m-cards">{"".join(map(card, models))}</div>'


def card(model: ModelInfo) -> str:
    """What a model knows, how large it is, whose; of one that is here its picture and what was measured, too."""
    if isinstance(model, Remote):
        picture, size = "", f"{size_text(model.kept_bytes)} on your disk"
        needs = f"draws with {model.needs}, which comes along" if model.needs else ""
    else:
        picture, needs = _picture(model), ""
        size = size_text(sum(path.stat().st_size for path in model.folder.glob("*") if path.is_file()))
    pixels = f"{model.resolution} x {model.resolution} pixels" if model.resolution else ""
    facts = " · ".join(fact for fact in (f"`{model.id}`", KINDS[model.kind], pixels, size, needs) if fact)
    licence = "" if model.licence in model.credit else f" Licence: {model.licence}."
    credit = f"Credit: {model.credit.rstrip('.')}.{licence}"
    return (
        f'<article class="m2m-card">{picture}<div><h3>{html.escape(model.title)}</h3>'
        f"<p>Knows {knowledge(model)}.</p>"
        f"{note(facts, credit)}{_more(model)}</div></article>"
    )


def _more(model: ModelInfo) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(str(name).replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in model.numbers.items()
    )
    if not rows and not model.notes:
        return ""
    title, notes = "Numbers and notes" if rows else "Notes", note(*model.notes.split("\n\n"))
    table = f'<div class="m2m-table"><table>{rows}</table></div>'
    return f"<details><summary>{title}</summary>{table}{notes}</details>"


def _picture(model: ModelInfo) -> str:
    try:
        data = _shrunk(model.preview, model.preview.stat().st_mtime_ns) if model.preview else ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # a card without it is one, too
        data = ""
    alt = f"Samples of {html.escape(model.title)}"
    return data and f'<img src="data:image/webp;base64,{data}" alt="{alt}">'


@lru_cache(maxsize=64)
def _shrunk(path: Path, changed: int) -> str:
    """In the page itself: files outside of Gradio's cache have no address. `changed` makes a new file new."""
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "WEBP", quality=85)
    return base64.b64encode(stream.getvalue()).decode()


class ModelsTab:
    """Builds the tab; its methods are the handlers, which give updates by component."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.stops: dict[str, threading.Event] = {}  # by the page that downloads
        self.everything: list[Any] = []  # that a handler may update

    def build(self, opening: Any) -> list[Any]:
        """The components and their events; inside a gr.Tab, whose opening is an event.

        Gives the events after which there are other models.
        """
        self.here = gr.HTML(cards(self.studio.models.list()), elem_id="models-here")
        self.open = gr.UploadButton(
            "Open a model file …", file_types=[".zip"], size="sm", elem_id="models-open"
        )
        gr.HTML('<div class="m2m-step"><h2>More models</h2></div>')
        if self.studio.public:
            text = "Visitors cannot download here. On your own computer: python -m mind2mind download NAME"
            gr.HTML(note(text) + cards(self.studio.models.available(here=True)), elem_id="models-offers")
            self.everything = [self.here]
            on(opening, self.look, None, self.everything)
            return []
        text = "Published by their authors, and fetched only when you press Download. The sizes are what stays on "
        gr.HTML(note(text + "your disk; the downloads themselves may be larger."))
        self.status = gr.HTML(elem_id="models-status")
        self.stop = gr.Button("Stop and keep the part", visible=False, variant="stop", elem_id="models-stop")
        self.rows: dict[str, tuple[gr.Row, gr.Button]] = {}
        asks: list[tuple[Any, Any]] = []
        press: dict[str, Any] = {"value": "Download", "scale": 0, "min_width": 130}
        wanted = self.studio.models.available()
        for remote in self.studio.models.available(here=True):
            with gr.Row(elem_classes="m2m-offer", visible=remote in wanted) as row:
                gr.HTML(card(remote))
                button = gr.Button(elem_id=f"download-{remote.id}", **press)
            self.rows[remote.id] = row, button
            asks.append((button.click, gr.State(remote.id)))
        with gr.Row(elem_classes="m2m-offer"):
            repository = gr.Textbox(
                label="A model on the Hugging Face Hub",
                info="A repository with a model made by Mind2Mind.",
                placeholder="owner/name, or owner/name@revision",
                max_lines=1,
                elem_id="models-repository",
            )
            self.from_hub = gr.Button(elem_id="models-from-hub", **press)
            asks += [(self.from_hub.click, repository), (repository.submit, repository)]
        with gr.Accordion("Remove a downloaded model", open=False):
            self.removable = gr.Dropdown([], label="Downloaded models", elem_id="models-removable")
            self.remove = gr.Button("Remove it from this computer", variant="stop", elem_id="models-remove")
        self.buttons = [self.from_hub, self.remove, *(button for _, button in self.rows.values())]
        rows = [row for row, _ in self.rows.values()]
        self.everything = [self.here, self.status, self.stop, self.removable, *self.buttons, *rows]
        on(opening, self.look, None, self.everything)
        on(self.stop.click, self.halt, None, self.stop, queue=False)
        fetching: dict[str, Any] = {"concurrency_id": "download", "concurrency_limit": 2, "js": TO_STATUS}
        events = [on(ask, self.get, ref, self.everything, **fetching) for ask, ref in asks]
        events.append(on(self.remove.click, self.delete, self.removable, self.everything))
        return [on(event.then, self.look, None, self.everything) for event in events]

    def look(self, request: gr.Request) -> Updates:
        """What is here now, and what is not; the buttons wait for the end of a download of this page."""
        models = self.studio.models.list()
        updates: Updates = {self.here: cards(models)}
        if self.studio.public or str(request.session_hash) in self.stops:
            return updates
        wanted = {remote.id for remote in self.studio.models.available()}
        mine = [(m.title, m.id) for m in models if m.folder.parent == self.studio.models.downloads]
        updates |= {row: gr.Row(visible=model_id in wanted) for model_id, (row, _) in self.rows.items()}
        updates |= {button: gr.Button(interactive=True) for button in self.buttons}
        return updates | {self.removable: gr.Dropdown(mine, value=None), self.stop: gr.Button(visible=False)}

    def get(self, ref: str, request: gr.Request) -> Iterator[Updates]:
        """A download as it goes on; `look` must come after it, since this may end by any exception."""
        ref, page = ref.strip(), str(request.session_hash)
        if page in self.stops:  # Enter in the text field reaches us while the buttons wait
            gr.Warning("One at a time: wait for its end, or stop it.")
            return
        stop = self.stops[page] = threading.Event()
        yield {
            **{button: gr.Button(interactive=False) for button in self.buttons},
            self.status: boxed("fair", f"Asking for {ref} …"),
            self.stop: gr.Button("Stop and keep the part", visible=True, interactive=True),
        }
        try:
            with closing(self.studio.models.download(ref)) as events:
                for event in events:
                    if stop.is_set() and isinstance(event, Downloading):
                        kept = "What is there is kept: Download goes on from it."
                        yield {self.status: boxed("fair", f"{ref} is not here yet", kept)}
                        return
                    yield {self.status: _standing(event)}
        except Exception as error:
            why = logged(error)
            yield {self.status: boxed("poor", f"{ref} could not be downloaded", why.problem, why.fix)}
        finally:
            self.stops.pop(page, None)

    def halt(self, request: gr.Request) -> Any:
        """Asks this page's download to stop."""
        if stop := self.stops.get(str(request.session_hash)):
            stop.set()
        return gr.Button("Stopping …", interactive=False)

    def delete(self, model_id: str | None) -> Updates:
        """Deletes a downloaded model."""
        freed = self.studio.models.delete(model_id or "")
        return {self.status: boxed("good", f"{model_id} is gone", f"{size_text(freed)} are free again.")}


def _standing(event: Event) -> str:
    """Where a download stands, in a box with a bar."""
    if isinstance(event, Downloaded):
        where = "It is in the lists of the other tabs now." if event.new else "It already was."
        return boxed("good", f"{event.id} is here", where)
    if isinstance(event, Converting):
        return boxed("good", f"Making a model of {event.id}", "This takes up to a minute.")
    stay = "If you close this page it stops, and Download goes on from there."
    standing = boxed("good", f"Downloading {event.file}", f"{event.standing}.", stay)
    return standing + bar(event.done / event.total if event.total else 0.0, f"Download of {event.file}")
