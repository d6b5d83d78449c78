"""Puts the tabs together into one page, and serves it."""

import contextlib
import html
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from mind2mind.errors import ConfigError, Mind2MindError, WeightsError
from mind2mind.ui.api import Api
from mind2mind.ui.interpolate import InterpolateTab
from mind2mind.ui.models import ModelsTab
from mind2mind.ui.sample import SampleTab
from mind2mind.ui.shared import (
    MODEL_WORK,
    PRIVATE,
    QUIET,
    Visit,
    _knows,
    follow_no_address,
    gpu,
    linked,
    model_choices,
    on_zerogpu,
    told,
)
from mind2mind.ui.transfer import TransferTab, linked_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mind2mind.models.bundle import ModelInfo
    from mind2mind.studio import Studio

# --- The first and the last that is read.


def hero(models: "Sequence[ModelInfo]") -> str:
    """The first thing anybody reads: what this is, and what each model knows."""
    items = "".join(f"<li><b>{html.escape(m.title)}</b> knows {_knows(m)}</li>" for m in models)
    return (
        '<header class="m2m-hero"><h1>Mind2Mind</h1><p>Turn a folder of pictures into a generator of new '
        f'ones, in about a minute, on your own computer.</p><ul class="m2m-models">{items}</ul></header>'
    )


def footer(models: "Sequence[ModelInfo]") -> str:
    """Whose art the models were trained on."""
    rows = "".join(f"<p><b>{html.escape(m.title)}</b>: {_credit(m)}</p>" for m in models)
    thanks = "The models were trained on the art of others. Thank you."
    return f'<footer class="m2m-foot"><p>{thanks}</p>{rows}</footer>'


def _credit(model: "ModelInfo") -> str:
    return linked(model.credit if model.licence in model.credit else f"{model.credit} {model.licence}")


log = logging.getLogger(__name__)

# --- How the app looks: the theme with the system's own fonts, and the little CSS that Gradio needs.

THEME = gr.themes.Soft(
    primary_hue="indigo",
    secondary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    block_title_background_fill="transparent",
    block_title_background_fill_dark="transparent",
    block_title_text_color="*body_text_color",
    block_title_text_color_dark="*body_text_color",
    block_title_padding="0",
    body_text_color_subdued="*neutral_600",
    body_background_fill="*neutral_100",  # on it the white blocks are seen, and with a border what can be pressed
    input_border_width="1px",
    input_border_color="*neutral_300",
    button_secondary_border_color="*neutral_300",
    checkbox_border_color="*neutral_400",
)

CSS = """
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
.m2m-hero h1 { font-size: 1.9rem; margin: 0; letter-spacing: -0.02em; }
.m2m-hero p { margin: .35rem 0 0; font-size: 1.05rem; color: var(--body-text-color-subdued); }
.m2m-models { margin: .8rem 0 0; padding: 0; list-style: none; }
.m2m-models li { margin: .2rem 0; }
.m2m-note { color: var(--body-text-color-subdued); font-size: .92rem; line-height: 1.45; }
.m2m-note p { margin: .2rem 0; }
.m2m-note, .m2m-foot { overflow-wrap: anywhere; }
.m2m-hero a, .m2m-note a, .m2m-foot a { padding: 0; margin: 0; }
.m2m-step h2 { font-size: 1.2rem; margin: .6rem 0 .1rem; }
.m2m-good, .m2m-fair, .m2m-poor { border-left: 4px solid; padding: .5rem .9rem; border-radius: 6px;
  background: var(--background-fill-secondary); }
.m2m-good { border-color: #16a34a; } .m2m-fair { border-color: #d97706; } .m2m-poor { border-color: #dc2626; }
.m2m-bar { height: 10px; border-radius: 5px; background: var(--border-color-primary); overflow: hidden;
  margin: .5rem 0; }
.m2m-bar > div { height: 100%; background: var(--color-accent); transition: width .4s linear; }
.m2m-table { max-height: 320px; overflow: auto; }
.m2m-table table { width: 100%; border-collapse: collapse; font-size: .88rem; }
.m2m-table th, .m2m-table td { text-align: left; padding: .25rem .6rem;
  border-bottom: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
.m2m-table th, .m2m-table td:nth-child(2) { overflow-wrap: normal; white-space: nowrap; }
.m2m-settings .form { display: contents !important; }
.m2m-settings { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr)); }
.m2m-log { font-size: .88rem; } .m2m-log summary { cursor: pointer; }
.m2m-log pre { max-height: 260px; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.m2m-tiles .grid-wrap, .m2m-pairs .grid-wrap, .m2m-sets .grid-wrap { min-height: 0 !important;
  max-height: none !important; padding: 4px; }
.m2m-tiles .grid-container { padding: 0; grid-template-columns:
  repeat(auto-fill, minmax(clamp(68px, 22%, 150px), 1fr)) !important; }
.m2m-tiles .grid-container:has(> :nth-child(25)) { grid-template-columns:
  repeat(auto-fill, minmax(clamp(54px, 11.2%, 140px), 1fr)) !important; }
.m2m-small .grid-container, .m2m-pairs .grid-container { padding: 0; grid-template-columns:
  repeat(auto-fill, minmax(clamp(68px, 11%, 130px), 1fr)) !important; }
.m2m-pairs .grid-container:has(> :nth-child(25)) { grid-template-columns:
  repeat(auto-fill, minmax(clamp(54px, 5.4%, 80px), 1fr)) !important; }
.m2m-tiles .grid-container { grid-auto-rows: auto !important; }
.m2m-tiles .thumbnail-lg { aspect-ratio: 1 / 1 !important; }
.m2m-pairs .thumbnail-lg { aspect-ratio: 1 / 2 !important; }
.m2m-sets .grid-container { padding: 0; grid-template-columns:
  repeat(auto-fill, minmax(clamp(88px, 22%, 130px), 1fr)) !important; }
.m2m-sets img { object-fit: cover !important; }
[data-testid=status-tracker].hide { display: none !important; }
[id^=transfer-]:has(> .html-container > .prose:empty) { display: none; }
.m2m-tiles .caption-label, .m2m-pairs .caption-label { display: none; }
.m2m-picture img { width: 100% !important; height: 100% !important; object-fit: contain; }
.m2m-sets .caption-label { font-size: .75rem; max-width: 100%; left: 0; right: 0; bottom: 0; }
.m2m-strip img { width: 100% !important; height: auto !important; }
.m2m-sizes { font-size: .88rem; width: min(100%, 420px); margin: .3rem 0 .6rem; }
.m2m-sizes caption { text-align: left; color: var(--body-text-color-subdued); }
.m2m-sizes th { text-align: left; font-weight: normal; white-space: nowrap; padding-right: .6rem; }
.m2m-sizes td:nth-child(2) { width: 100%; } .m2m-sizes td:last-child { text-align: right; padding-left: .6rem; }
.m2m-count { height: 10px; border-radius: 3px; background: var(--color-accent); }
.m2m-closer { max-width: 320px; }
.m2m-side { align-items: center; }
.m2m-cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.m2m-card { display: flex; gap: .9rem; align-items: flex-start; overflow-wrap: anywhere; min-width: 0; }
.m2m-cards .m2m-card { padding: .8rem; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.m2m-card > div { min-width: 0; } .m2m-card p { margin: .2rem 0; }
.m2m-card h3 { margin: 0; font-size: 1.05rem; } .m2m-card summary { cursor: pointer; font-size: .92rem; }
.m2m-card img { width: 128px; height: auto; border-radius: 6px; flex: none; margin: 0; }
.m2m-offer { align-items: center; padding: .5rem 0; border-bottom: 1px solid var(--border-color-primary); }
.m2m-foot { margin-top: 1.6rem; padding-top: .8rem; border-top: 1px solid var(--border-color-primary);
  font-size: .85rem; color: var(--body-text-color-subdued); }
@media (max-width: 640px) { .m2m-hero h1 { font-size: 1.5rem; } .m2m-offer { flex-wrap: wrap !important; }
  .m2m-offer > * { min-width: 100% !important; } .m2m-card img { width: 96px; }
  #tabs .tab-container button { padding-left: .6rem; padding-right: .6rem; } }
"""


STORED_AS = "mind2mind"  # in the browser; a fixed key, or nothing would survive a restart
TIDY_EVERY = 600.0  # s
KEPT = 24 * 3600.0  # s; files made for download: a page may stay open for long
KEPT_IN_PUBLIC = 3000.0  # s; there visitors are promised that it is gone within the hour
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Page:
    """The whole page. `demo` is what Gradio serves."""

    def __init__(self, studio: "Studio") -> None:
        if not studio.models.list():
            raise WeightsError(
                "There is no model.", "Copy the folder weights/ beside the package, or download a model."
            )
        self.studio = studio
        self.sample, self.interpolate, self.transfer = (
            SampleTab(studio),
            InterpolateTab(studio),
            TransferTab(studio),
        )
        self.models = ModelsTab(studio)
        self.open_bundle = gpu(studio.models.take_in)
        cache = (int(TIDY_EVERY), int(KEPT_IN_PUBLIC)) if studio.public else None
        with gr.Blocks(title="Mind2Mind", analytics_enabled=False, delete_cache=cache) as self.demo:
            self._build()
            self._wire()

    def _build(self) -> None:
        models = self.studio.models.list()
        self.visit = gr.BrowserState(None, storage_key=STORED_AS, secret=self.studio.secret)
        gr.HTML(hero(models))
        with gr.Tabs(elem_id="tabs") as self.tabs:
            with gr.Tab("Sample", id="sample"):
                self.sample.build()
            with gr.Tab("Interpolate", id="interpolate") as self.interpolate_tab:
                self.interpolate.build()
            with gr.Tab("Transfer", id="transfer") as self.transfer_tab:
                self.transfer.build(self.visit)
            with gr.Tab("Models", id="models") as self.models_tab:
                self.models.build()
        gr.HTML(footer(models))
        Api(self.studio, self.interpolate).build()

    def _wire(self) -> None:
        self.sample.wire()
        self.interpolate.wire(self.interpolate_tab, self.visit)
        self.transfer.wire()
        self.transfer.pictures.tell_price_on(self.transfer_tab.select)
        self.sample.draw_on(self.demo.load)
        models = [self.sample.model, self.interpolate.model]
        self.demo.load(self.known_models, self.visit, models, **QUIET)
        self.demo.load(self.known_sources, None, self.transfer.pictures.source, **QUIET)
        for event in self.models.wire(self.models_tab):
            event.then(self.known_models, self.visit, models, **QUIET).then(
                self.known_sources, None, self.transfer.pictures.source, **QUIET
            )
        opened = self.demo.load(self.transfer.arrive, self.visit, self.transfer.outputs, **QUIET)
        self.demo.load(self.first_tab, None, self.tabs, **QUIET)
        self.transfer.follow_after(opened)
        self.transfer.unfollow()
        shown = [self.visit, *models, self.tabs]
        self.transfer.result.use.click(self.use, self.visit, shown, **PRIVATE)
        self.sample.open.upload(self.open, [self.visit, self.sample.open], shown, **PRIVATE, **MODEL_WORK)

    def first_tab(self, request: gr.Request) -> Any:
        """A link to a run leads to its tab."""
        return gr.Tabs(selected="transfer") if linked_run(request) else gr.skip()

    def known_models(self, stored: Any) -> tuple[Any, Any]:
        """Everybody's models, and the runs that this browser uses as such."""
        with told():
            choices = model_choices(self.studio, Visit.of(stored))
            return gr.Dropdown(choices=choices), gr.Dropdown(choices=choices)

    def known_sources(self) -> Any:
        """What a transfer can be made on."""
        sources = [(m.title, m.id) for m in self.studio.models.list() if m.kind == "source"]
        return gr.Dropdown(choices=sources, visible=len(sources) > 1)

    def use(self, stored: Any) -> tuple[Any, ...]:
        """Adds the run to this browser's models, and shows it in Sample."""
        with told():
            visit = Visit.of(stored)
            return self._using(visit, visit.needed_token)

    def open(self, stored: Any, path: str) -> tuple[Any, ...]:
        """The same with a model that was downloaded once."""
        with told():
            return self._using(Visit.of(stored), self.open_bundle(Path(path)))

    def _using(self, visit: Visit, token: str) -> tuple[Any, ...]:
        visit = visit.using(token)
        chosen: dict[str, Any] = {"choices": model_choices(self.studio, visit), "value": token}
        return visit.stored(), gr.Dropdown(**chosen), gr.Dropdown(**chosen), gr.Tabs(selected="sample")


def build(studio: "Studio") -> gr.Blocks:
    """The page over a studio.

    Raises:
        WeightsError: the studio has no model.
    """
    follow_no_address()
    demo: gr.Blocks = Page(studio).demo
    return demo


def warm_up(studio: "Studio") -> None:
    """Loads the first model and draws once, so that the first visitor does not wait for it."""
    studio.draw.sample(studio.models.list()[0].id, [0])


def tidy(studio: "Studio") -> None:
    """Deletes what the limits say, files made for download, and the empty files that Gradio leaves."""
    with contextlib.suppress(Mind2MindError):
        studio.runs.clean()
    cache, now, kept = Path(get_upload_folder()), time.time(), KEPT_IN_PUBLIC if studio.public else KEPT
    for path in [*cache.glob("made/*"), *cache.glob("tmp*")]:
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _tidy_for_ever(studio: "Studio") -> None:
    while True:
        try:
            tidy(studio)
        except Exception:  # the next round may do better
            log.exception("Tidying up failed.")
        time.sleep(TIDY_EVERY)


def serve(demo: gr.Blocks, studio: "Studio", host: str, port: int | None) -> None:
    """Serves the page until the process ends.

    Args:
        demo: the page.
        studio: what it stands on.
        host: the address to listen on; anything but loopback is open to others, which is warned of.
        port: 0 to 65535; None takes the first free one from 7860 on.

    Raises:
        ConfigError: the port is taken.
    """
    if host not in LOOPBACK:
        log.warning("The app listens on %s: everybody who reaches this computer may use it.", host)
        if not studio.public:
            log.warning("Without --public there are no limits for visitors.")
    if not on_zerogpu():  # there a GPU is lent to visitors only
        warm_up(studio)
    threading.Thread(target=_tidy_for_ever, args=[studio], daemon=True).start()
    demo.queue(max_size=200)
    public_bytes = studio.limits.total_bytes if studio.public else None  # of one file: a zip may hold all
    try:
        demo.launch(
            server_name=host,
            server_port=port,
            share=False,
            theme=THEME,
            css=CSS,
            run_history=False,
            footer_links=["api"],
            enable_monitoring=False,
            max_threads=80,
            quiet=True,
            ssr_mode=False,
            pwa=False,
            max_file_size=public_bytes,
            prevent_thread_lock=True,
        )
    except OSError as error:
        problem = f"Nobody can listen on {host}, port {port or '7860 and above'}."
        raise ConfigError(problem, "Choose another --port, or end what listens there.") from error
    log.info("Mind2Mind is at %s (Ctrl+C ends it)", demo.local_url)
    demo.block_thread()
