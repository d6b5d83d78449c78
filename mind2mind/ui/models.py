"""The tab Models: what is here, what can be had, and how to have it. Visitors of a public server only look."""

import html
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import gradio as gr
from markdown_it import MarkdownIt
from PIL import Image

from mind2mind.config import size_text
from mind2mind.models.bundle import ModelInfo
from mind2mind.models.catalogue import Converting, Downloaded, Event
from mind2mind.models.hub import Downloading, Remote
from mind2mind.studio import Studio
from mind2mind.ui import shared as ui

SIDE = 512  # pixels of a preview on its card
MARKDOWN = MarkdownIt("commonmark", {"html": False})  # strangers write cards, too
TABS = ("Explore", "Interpolate", "Transfer")
Updates = dict[Any, Any]


def card(model: ModelInfo, ref: str = "", *, removable: bool = False) -> str:
    """What a model draws, whose it is, what was measured, and where to use it; `ref` where that is not its id."""
    ref, mine = ref or model.id, ui.is_key(ref)
    size = size_text(sum(path.stat().st_size for path in model.folder.glob("*") if path.is_file()))
    pixels = f"{model.resolution} x {model.resolution} px" if model.resolution else ""
    facts = " · ".join(filter(None, ("" if mine else f"`{model.id}`", pixels, size, model.licence)))
    text = model.knows.rstrip(".")
    knows = html.escape(text[:1].lower() + text[1:] if text[1:2].islower() else text)
    tabs = TABS if model.kind == "source" else TABS[:2]
    buttons = "".join(ui.ask(name, ref=ref, tab=name.lower()) for name in tabs)
    if removable:
        buttons += ui.ask_twice("Remove …", "Yes, remove it from this computer", ref=ref)
    return (
        f'<article class="m2m-card">{_picture(model)}<h3>{html.escape(model.title)}</h3>'
        f"<p>{'Yours. ' * mine}Draws {knows}.</p>{ui.note(facts)}"
        f'<div class="m2m-asks">{buttons}</div>{_more(model)}</article>'
    )


def _more(model: ModelInfo) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(str(name).replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in model.numbers.items()
    )
    table = f'<div class="m2m-table"><table>{rows}</table></div>' if rows else ""
    told = f"<p>{ui.linked(model.credit)}</p>{table}{MARKDOWN.render(model.notes)}"
    return f"<details><summary>Credit, numbers and notes</summary>{told}</details>"


def _picture(model: ModelInfo) -> str:
    """In the page itself: files outside of Gradio's cache have no address."""
    try:
        shown = _shrunk(model.preview, model.preview.stat().st_mtime_ns) if model.preview else ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # a card without it is one, too
        shown = ""
    return shown and f'<img src="{shown}" alt="Samples of {html.escape(model.title)}">'


@lru_cache(maxsize=64)
def _shrunk(path: Path, changed: int) -> str:
    """`changed` makes a new file new."""
    with Image.open(path, formats=["PNG"]) as image:
        return ui.inline(image, SIDE)


def offers(
    remotes: Sequence[Remote], here: Sequence[str], *, buttons: bool = True, busy: bool = False
) -> str:
    """The published models, one line each, under what they know."""
    rows = ""
    for knows, some in groupby(remotes, lambda remote: remote.knows):
        one, *_ = group = list(some)
        rows += f'<tr><th colspan="4">{html.escape(knows[:1].upper() + knows[1:])}</th></tr>'
        rows += f'<tr><td colspan="4">{ui.note(f"{one.credit} {one.licence}.", one.notes)}</td></tr>'
        for remote in group:
            there = "here" if remote.id in here else ""
            button = ui.ask("Download", ref=remote.id, disabled=busy) if buttons and not there else there
            pixels = f"{remote.resolution} px" if remote.resolution else f"needs {remote.needs}"
            cells = html.escape(remote.title), pixels, size_text(remote.kept_bytes), button
            rows += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    return f'<table class="m2m-offers">{rows}</table>'


class ModelsTab:
    """Builds the tab; its methods are the handlers, which give updates by component."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.stops: dict[str, threading.Event] = {}  # by the page that downloads
        self.everything: list[Any] = []  # that a handler may update

    def build(self, opening: Any, visit: gr.BrowserState) -> list[Any]:
        """The components and their events; inside a gr.Tab, whose opening is an event.

        Gives the events after which there are other models.
        """
        self.here = gr.HTML(self.cards(ui.Visit("")), js_on_load=ui.ASKS, elem_id="models-here")
        self.open = gr.UploadButton(
            "Open a model file …", file_types=[".zip"], size="sm", elem_id="models-open"
        )
        looks: dict[str, Any] = {"do": self.look, "inputs": visit}
        with gr.Accordion("Download more models", open=False, elem_id="models-more"):
            self._build_more()
        ui.on(opening, outputs=self.everything, **looks)
        if self.studio.public:
            return []
        fetching: dict[str, Any] = {"concurrency_id": "download", "concurrency_limit": 2}
        js = "(_, ...all) => m2m.scrollTo('models-status', m2m.detail('models-offers', all))"
        events = [ui.on_detail(self.offers.select, self.get, [], self.everything, **fetching, js=js)]
        events.append(ui.on_detail(self.here.delete, self.delete, [], self.status))
        typed = (self.from_hub.click, self.repository.submit)
        events += [ui.on(event, self.get, self.repository, self.everything, **fetching) for event in typed]
        ui.on(self.stop.click, self.halt, None, self.stop, queue=False)
        return [ui.on(event.then, outputs=self.everything, **looks) for event in events]

    def _build_more(self) -> None:
        if self.studio.public:
            text = "Visitors cannot download here. On your own computer: python -m mind2mind download NAME"
            gr.HTML(ui.note(text) + offers(self.studio.models.available(here=True), [], buttons=False))
            self.everything = [self.here]
            return
        text = "Published by their authors; fetched only when you press Download. "
        gr.HTML(ui.note(text + "The sizes are what stays on your disk."))
        self.status = gr.HTML(elem_id="models-status")
        self.stop = gr.Button("Stop and keep the part", visible=False, elem_id="models-stop")
        self.offers = gr.HTML(self._offered(), js_on_load=ui.ASKS, elem_id="models-offers")
        with gr.Row(elem_classes="m2m-offer"):
            label, info = "A model on the Hugging Face Hub", "A repository with a model made by Mind2Mind."
            looks: dict[str, Any] = {"placeholder": "owner/name, or owner/name@revision", "max_lines": 1}
            self.repository = gr.Textbox(label=label, info=info, elem_id="models-repository", **looks)
            self.from_hub = gr.Button("Download", scale=0, min_width=130, elem_id="models-from-hub")
        self.everything = [self.here, self.status, self.stop, self.offers, self.from_hub]

    def cards(self, visit: ui.Visit) -> str:
        """All models that this visitor can draw with."""
        models, downloads = self.studio.models.list(), self.studio.models.downloads
        mine = [card(model, token) for token, model in ui.models_of(self.studio, visit).items()]
        shown = [card(m, removable=not self.studio.public and m.folder.parent == downloads) for m in models]
        return f'<div class="m2m-cards">{"".join(mine + shown)}</div>'

    def _offered(self, busy: bool = False) -> str:
        here = [model.id for model in self.studio.models.list()]
        return offers(self.studio.models.available(here=True), here, busy=busy)

    def look(self, stored: Any, request: gr.Request) -> Updates:
        """What is here now, and what is not; the buttons wait for the end of a download of this page."""
        updates: Updates = {self.here: self.cards(ui.Visit.of(stored))}
        if self.studio.public or str(request.session_hash) in self.stops:
            return updates
        idle = {self.from_hub: gr.Button(interactive=True), self.stop: gr.Button(visible=False)}
        return updates | idle | {self.offers: self._offered()}

    def get(self, asked: Any, request: gr.Request) -> Iterator[Updates]:
        """A download as it goes on; `look` must come after it, since this may end by any exception."""
        ref = str(asked["ref"] if isinstance(asked, dict) else asked).strip()
        page = str(request.session_hash)
        if page in self.stops:  # Enter in the text field reaches us while the buttons wait
            gr.Warning("One at a time: wait for its end, or stop it.")
            return
        stop = self.stops[page] = threading.Event()
        yield {
            self.from_hub: gr.Button(interactive=False),
            self.offers: self._offered(busy=True),
            self.status: ui.boxed("fair", f"Asking for {ref} …"),
            self.stop: gr.Button("Stop and keep the part", visible=True, interactive=True),
        }
        try:
            with closing(self.studio.models.download(ref)) as events:
                for event in events:
                    if stop.is_set() and isinstance(event, Downloading):
                        kept = "What is there is kept: Download goes on from it."
                        yield {self.status: ui.boxed("fair", f"{ref} is not here yet", kept)}
                        return
                    # Stop each time: a look that began before this download may end after its first event
                    yield {self.status: _standing(event), self.stop: gr.Button(visible=True)}
        except Exception as error:
            why = ui.logged(error)
            yield {self.status: ui.boxed("poor", f"{ref} could not be downloaded", why.problem, why.fix)}
        finally:
            self.stops.pop(page, None)

    def halt(self, request: gr.Request) -> Any:
        """Asks this page's download to stop."""
        if stop := self.stops.get(str(request.session_hash)):
            stop.set()
        return gr.Button("Stopping …", interactive=False)

    def delete(self, asked: Any) -> str:
        """Deletes a downloaded model."""
        freed = self.studio.models.delete(str(asked["ref"]))
        return ui.boxed("good", f"{asked['ref']} is gone", f"{size_text(freed)} are free again.")


def _standing(event: Event) -> str:
    """Where a download stands, in a box with a bar."""
    if isinstance(event, Downloaded):
        where = "Choose it above." if event.new else "It already was."
        return ui.boxed("good", f"{event.id} is here", where)
    if isinstance(event, Converting):
        return ui.boxed("good", f"Making a model of {event.id}", "This takes up to a minute.")
    stay = "If you close this page it stops, and Download goes on from there."
    standing = ui.boxed("good", f"Downloading {event.file}", f"{event.standing}.", stay)
    return standing + ui.bar(event.done / event.total if event.total else 0.0, f"Download of {event.file}")
