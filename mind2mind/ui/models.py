"""The tab Models: what is here, what can be had, and how to have it. Visitors of a public server only look."""

import base64
import html
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from mind2mind.config import size_text
from mind2mind.errors import Mind2MindError
from mind2mind.models.catalogue import Converting, Downloaded
from mind2mind.models.fetch import Downloading
from mind2mind.models.hub import REMOTE
from mind2mind.ui.shared import PRIVATE, QUIET, boxed, linked, note, told

if TYPE_CHECKING:
    from mind2mind.models.bundle import ModelInfo
    from mind2mind.models.catalogue import Event
    from mind2mind.models.hub import Remote
    from mind2mind.studio import Studio

# --- Models as cards: a picture, what it knows, whose it is, what was measured. Small, escaped pieces of HTML.

SIDE = 320  # pixels of a preview on its card
KINDS = {"source": "source model", "transfer": "transfer"}


def cards(models: "Sequence[ModelInfo]") -> str:
    """The models that are here."""
    return f'<div class="m2m-cards">{"".join(map(_card, models))}</div>'


def _card(model: "ModelInfo") -> str:
    size = sum(path.stat().st_size for path in model.folder.glob("*") if path.is_file())
    facts = [KINDS[model.kind], _pixels(model.resolution), size_text(size)]
    preview = _picture(model.preview, model.title) if model.preview else ""
    return (
        f'<article class="m2m-card">{preview}<div><h3>{html.escape(model.title)}</h3>'
        f"{_lines(model.knows, facts, model.id, model.licence, model.credit)}{_more(model)}</div></article>"
    )


def offer(remote: "Remote") -> str:
    """One that can be had; it has no picture until it is here."""
    needs = f"draws with {remote.needs}, which comes along" if remote.needs else ""
    facts = [
        KINDS[remote.kind],
        _pixels(remote.resolution),
        f"{size_text(remote.kept_bytes)} on your disk",
        needs,
    ]
    lines = _lines(remote.knows, facts, remote.id, remote.licence, remote.credit)
    return f'<article class="m2m-card"><div><h3>{html.escape(remote.title)}</h3>{lines}</div></article>'


def offers(remotes: "Sequence[Remote]") -> str:
    """All of them, to look at."""
    return f'<div class="m2m-cards">{"".join(map(offer, remotes))}</div>'


def _lines(knows: str, facts: Sequence[str], model_id: str, licence: str, credit: str) -> str:
    told = " · ".join(html.escape(fact) for fact in facts if fact)
    whose = f"Credit: {linked(credit.rstrip('.'))}." + (
        "" if licence in credit else f" Licence: {linked(licence)}."
    )
    return (
        f"<p>Knows {html.escape(knows.rstrip('.'))}.</p>"
        f'<p class="m2m-note"><code>{html.escape(model_id)}</code> · {told}</p>'
        f'<p class="m2m-note">{whose}</p>'
    )


def _pixels(resolution: int | None) -> str:
    return f"{resolution} x {resolution} pixels" if resolution else ""


def _more(model: "ModelInfo") -> str:
    rows = "".join(
        f"<tr><th>{html.escape(str(name).replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in model.numbers.items()
    )
    table = f'<div class="m2m-table"><table>{rows}</table></div>' if rows else ""
    notes = "".join(f"<p>{linked(part)}</p>" for part in model.notes.split("\n\n") if part)
    if not table and not notes:
        return ""
    title = "Numbers and notes" if rows else "Notes"
    return f'<details><summary>{title}</summary>{table}<div class="m2m-note">{notes}</div></details>'


def _picture(path: Path, title: str) -> str:
    try:
        data = _shrunk(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # a card without it is one, too
        return ""
    return f'<img src="data:image/webp;base64,{data}" alt="Samples of {html.escape(title)}">'


@lru_cache(maxsize=64)
def _shrunk(path: Path, changed: int) -> str:
    """In the page itself: files outside of Gradio's cache have no address. `changed` makes a new file new."""
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "WEBP", quality=85)
    return base64.b64encode(stream.getvalue()).decode()


TO_STATUS = (
    "(...all) => { document.getElementById('models-status').scrollIntoView({block: 'center'}); return all; }"
)
FETCHING: dict[str, Any] = {"concurrency_id": "download", "concurrency_limit": 2, "js": TO_STATUS, **QUIET}
Updates = dict[Any, Any]


class ModelsTab:
    """Builds the tab; its methods are the handlers, which give updates by component."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.stops: dict[str, threading.Event] = {}  # by the page that downloads

    def build(self) -> None:
        """The components; inside a gr.Tab."""
        self.here = gr.HTML(cards(self.studio.models.list()), elem_id="models-here")
        gr.HTML('<div class="m2m-step"><h2>More models</h2></div>')
        if self.studio.public:
            text = "Visitors cannot download here. On your own computer: python -m mind2mind download NAME"
            gr.HTML(note(text) + offers(list(REMOTE.values())), elem_id="models-offers")
            return
        gr.HTML(
            note(
                "Published by their authors, and fetched only when you press Download. The sizes are what "
                "stays on your disk; the downloads themselves may be larger."
            )
        )
        self.status = gr.HTML(elem_id="models-status")
        self.stop = gr.Button("Stop and keep the part", visible=False, variant="stop", elem_id="models-stop")
        self.rows: dict[str, tuple[gr.Row, gr.Button]] = {}
        wanted = {remote.id for remote in self.studio.models.available()}
        for remote in REMOTE.values():
            with gr.Row(visible=remote.id in wanted, elem_classes="m2m-offer") as row:
                gr.HTML(offer(remote))
                button = gr.Button("Download", scale=0, min_width=130, elem_id=f"download-{remote.id}")
            self.rows[remote.id] = row, button
        with gr.Row(elem_classes="m2m-offer"):
            self.repository = gr.Textbox(
                label="A model on the Hugging Face Hub",
                info="A repository with a model made by Mind2Mind.",
                placeholder="owner/name, or owner/name@revision",
                max_lines=1,
                elem_id="models-repository",
            )
            self.from_hub = gr.Button("Download", scale=0, min_width=130, elem_id="models-from-hub")
        with gr.Accordion("Remove a downloaded model", open=False):
            self.removable = gr.Dropdown(
                self._removable(), value=None, label="Downloaded models", elem_id="models-removable"
            )
            self.remove = gr.Button("Remove it from this computer", variant="stop", elem_id="models-remove")

    def wire(self, tab: gr.Tab) -> list[Any]:
        """The events; gives those after which there are other models."""
        tab.select(self.look, None, self.everything, **QUIET)
        if self.studio.public:
            return []
        buttons = [(button, self._getter(model_id)) for model_id, (_, button) in self.rows.items()]
        events = [button.click(get, None, self.everything, **FETCHING) for button, get in buttons]
        asks = (self.from_hub.click, self.repository.submit)
        events += [ask(self.get_from_hub, self.repository, self.everything, **FETCHING) for ask in asks]
        self.stop.click(self.halt, None, self.stop, queue=False, **PRIVATE)
        events.append(self.remove.click(self.forget, self.removable, self.everything, **QUIET))
        return [event.then(self.look, None, self.everything, **QUIET) for event in events]

    @property
    def everything(self) -> list[Any]:
        """All that a handler may update."""
        if self.studio.public:
            return [self.here]
        shown = [part for row in self.rows.values() for part in row]
        return [self.here, self.status, self.stop, self.from_hub, self.remove, self.removable, *shown]

    # Handlers

    def look(self, request: gr.Request) -> Updates:
        """What is here now, and what is not; the buttons wait for the end of a download of this page."""
        updates: Updates = {self.here: cards(self.studio.models.list())}
        if self.studio.public or str(request.session_hash) in self.stops:
            return updates
        wanted = {remote.id for remote in self.studio.models.available()}
        updates |= {row: gr.Row(visible=model_id in wanted) for model_id, (row, _) in self.rows.items()}
        updates |= {self.removable: gr.Dropdown(choices=self._removable(), value=None)}
        return updates | self._open(True)

    def get_from_hub(self, repository: str, request: gr.Request) -> Iterator[Updates]:
        """Downloads what the visitor wrote."""
        yield from self._get(repository.strip(), str(request.session_hash))

    def halt(self, request: gr.Request) -> Any:
        """Asks this page's download to stop."""
        if stop := self.stops.get(str(request.session_hash)):
            stop.set()
        return gr.Button("Stopping …", interactive=False)

    def forget(self, model_id: str | None) -> Updates:
        """Removes a downloaded model."""
        with told():
            freed = self.studio.models.delete(model_id or "")
        return {self.status: boxed("good", f"{model_id} is gone", f"{size_text(freed)} are free again.")}

    def _getter(self, model_id: str) -> Callable[..., Iterator[Updates]]:
        def get(request: gr.Request) -> Iterator[Updates]:
            yield from self._get(model_id, str(request.session_hash))

        return get

    def _get(self, ref: str, page: str) -> Iterator[Updates]:
        """A download as it goes on; `look` must come after it, since this may end by any exception."""
        if page in self.stops:  # Enter in the text field reaches us while the buttons wait
            gr.Warning("One at a time: wait for its end, or stop it.")
            return
        stop = self.stops[page] = threading.Event()
        yield self._open(False) | {
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
        except Mind2MindError as error:
            yield {self.status: boxed("poor", f"{ref} could not be downloaded", error.problem, error.fix)}
        finally:
            self.stops.pop(page, None)

    def _open(self, free: bool) -> Updates:
        """Buttons that begin something: one thing at a time on a page."""
        buttons = [self.from_hub, self.remove, *(button for _, button in self.rows.values())]
        stop = {self.stop: gr.Button(visible=False)} if free else {}
        return {button: gr.Button(interactive=free) for button in buttons} | stop

    def _removable(self) -> list[tuple[str, str]]:
        folder = self.studio.models.downloads
        return [(m.title, m.id) for m in self.studio.models.list() if m.folder.parent == folder]


def _standing(event: "Event") -> str:
    """Where a download stands, in a box with a bar."""
    if isinstance(event, Downloaded):
        where = "It is in the lists of the other tabs now." if event.new else "It already was."
        return boxed("good", f"{event.id} is here", where)
    if isinstance(event, Converting):
        return boxed("good", f"Making a model of {event.id}", "This takes up to a minute.")
    share = event.done / event.total if event.total else 0.0
    bar = (
        '<div class="m2m-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}" aria-label="Download of {html.escape(event.file)}">'
        f'<div style="width:{share:.1%}"></div></div>'
    )
    stay = "If you close this page it stops, and Download goes on from there."
    return boxed("good", f"Downloading {event.file}", f"{event.standing}.", stay) + bar
