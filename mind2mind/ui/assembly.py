"""Puts the tabs together into one page, and serves it."""

import contextlib
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from mind2mind.errors import ConfigError, Mind2MindError, WeightsError
from mind2mind.ui import words
from mind2mind.ui.api import Api
from mind2mind.ui.common import MODEL_WORK, PRIVATE, QUIET, model_choices, told
from mind2mind.ui.interpolate import InterpolateTab
from mind2mind.ui.look import CSS, THEME
from mind2mind.ui.models import ModelsTab
from mind2mind.ui.sample import SampleTab
from mind2mind.ui.transfer import TransferTab, linked
from mind2mind.ui.uploads import follow_no_address
from mind2mind.ui.visit import Visit
from mind2mind.ui.zerogpu import gpu, on_zerogpu

if TYPE_CHECKING:
    from mind2mind.studio import Studio

log = logging.getLogger(__name__)

STORED_AS = "mind2mind"  # in the browser; a fixed key, or nothing would survive a restart
TIDY_EVERY = 600.0  # s
KEPT = 24 * 3600.0  # s; files made for download: a page may stay open for long
KEPT_IN_PUBLIC = 3000.0  # s; there visitors are promised that it is gone within the hour
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Page:
    """The whole page. `demo` is what Gradio serves."""

    def __init__(self, studio: "Studio") -> None:
        if not studio.models():
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
        self.open_bundle = gpu(studio.open_bundle)
        cache = (int(TIDY_EVERY), int(KEPT_IN_PUBLIC)) if studio.public else None
        with gr.Blocks(title="Mind2Mind", analytics_enabled=False, delete_cache=cache) as self.demo:
            self._build()
            self._wire()

    def _build(self) -> None:
        models = self.studio.models()
        self.visit = gr.BrowserState(None, storage_key=STORED_AS, secret=self.studio.secret)
        gr.HTML(words.hero(models))
        with gr.Tabs(elem_id="tabs") as self.tabs:
            with gr.Tab("Sample", id="sample"):
                self.sample.build()
            with gr.Tab("Interpolate", id="interpolate") as self.interpolate_tab:
                self.interpolate.build()
            with gr.Tab("Transfer", id="transfer") as self.transfer_tab:
                self.transfer.build(self.visit)
            with gr.Tab("Models", id="models") as self.models_tab:
                self.models.build()
        gr.HTML(words.footer(models))
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
        return gr.Tabs(selected="transfer") if linked(request) else gr.skip()

    def known_models(self, stored: Any) -> tuple[Any, Any]:
        """Everybody's models, and the runs that this browser uses as such."""
        with told():
            choices = model_choices(self.studio, Visit.of(stored))
            return gr.Dropdown(choices=choices), gr.Dropdown(choices=choices)

    def known_sources(self) -> Any:
        """What a transfer can be made on."""
        sources = [(m.title, m.id) for m in self.studio.models() if m.kind == "source"]
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
    studio.sample(studio.models()[0].id, [0])


def tidy(studio: "Studio") -> None:
    """Deletes what the limits say, files made for download, and the empty files that Gradio leaves."""
    with contextlib.suppress(Mind2MindError):
        studio.clean()
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
