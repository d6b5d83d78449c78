"""The whole page: the tabs put together, its looks, and serving it."""

import asyncio
import contextlib
import html
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
import httpx
import torch
from gradio import processing_utils, route_utils, routes
from gradio.route_utils import API_PREFIX
from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from mind2mind.config import LOCAL, PUBLIC
from mind2mind.errors import COMMAND, ConfigError, Mind2MindError, WeightsError, in_words
from mind2mind.models.bundle import ModelInfo
from mind2mind.studio import Studio
from mind2mind.ui import shared as ui
from mind2mind.ui.api import Api
from mind2mind.ui.explore import ExploreTab
from mind2mind.ui.interpolate import InterpolateTab
from mind2mind.ui.models import TABS, ModelsTab
from mind2mind.ui.transfer import TransferTab, linked_run

log = logging.getLogger(__name__)

THEME = gr.themes.Soft(
    neutral_hue="slate",
    spacing_size="sm",
    radius_size="md",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    block_title_background_fill="transparent",
    block_title_text_color="*body_text_color",
    block_title_text_color_dark="*body_text_color",
    block_title_padding="0",
    body_text_color_subdued="*neutral_600",
    body_background_fill="*neutral_100",  # on it the white blocks are seen, and with a border what can be pressed
    input_border_width="1px",
    input_border_color="*neutral_300",
    button_secondary_border_color="*neutral_300",
    checkbox_border_color="*neutral_400",
    color_accent="*primary_600",  # white on it has a contrast of 6, and so has it on white
    button_primary_background_fill="*primary_600",
    checkbox_label_background_fill_selected="*primary_600",
    link_text_color_dark="*primary_300",
    block_label_text_color="*body_text_color",
    button_primary_background_fill_hover="*primary_700",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_dark="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_cancel_background_fill_hover_dark="#991b1b",
    button_cancel_text_color="white",
)
# In the browser. The key is fixed, or nothing would survive a restart; it hides nothing
STORED_AS, AGREED_AS = "mind2mind", "mind2mind-agreed"
TIDY_EVERY = 600.0  # s
LAST_SECONDS = 8.0  # for the runs to save their work; a container's end waits 10 s
KEPT = 24 * 3600.0  # s; files made for download: a page may stay open for long
KEPT_IN_PUBLIC = 3000.0  # s; there visitors are promised that it is gone within the hour


PAPER = "https://arxiv.org/abs/1906.11613"
HERO = (
    '<header class="m2m-hero"><h1>Mind2Mind</h1><p>Turns a folder of pictures into a generator of new ones. '
    f'<a href="{PAPER}">Paper</a></p></header>'
)


def footer(models: Sequence[ModelInfo]) -> str:
    """Whose art the models were trained on: one line, and the rest of it unfolds."""
    credits = ((m, m.credit if m.licence in m.credit else f"{m.credit} {m.licence}") for m in models)
    rows = "".join(f"<p><b>{html.escape(m.title)}</b>: {ui.linked(credit)}</p>" for m, credit in credits)
    thanks = "The models were trained on the art of others. Thank you."
    return f'<footer class="m2m-foot"><details><summary>{thanks}</summary>{rows}</details></footer>'


class Page:
    """The tabs and what leads from one to another. `demo` is what Gradio serves.

    Raises:
        WeightsError: the studio has no model.
    """

    def __init__(self, studio: Studio) -> None:
        models = studio.models.list()
        if not models:
            fix = "Copy the folder weights/ beside the package (git lfs pull fills it), or download a model."
            raise WeightsError("There is no model that can be used.", fix)
        follow_no_address()
        take_whole(studio)
        self.studio, self.take_in = studio, ui.gpu(studio.models.take_in)
        self.explore, self.interpolate = ExploreTab(studio), InterpolateTab(studio)
        self.transfer, self.models = TransferTab(studio), ModelsTab(studio)
        cache = (int(TIDY_EVERY), int(KEPT_IN_PUBLIC)) if studio.public else None
        with gr.Blocks(title="Mind2Mind", analytics_enabled=False, delete_cache=cache) as self.demo:
            Api(studio)  # first: the names of endpoints are taken by whoever comes first
            self.visit = gr.BrowserState(None, storage_key=STORED_AS, secret=STORED_AS)
            with gr.Row(elem_classes="m2m-top"):
                gr.HTML(HERO, min_width=200)
                self.transfer.steps.build_chip()
                choices = [(m.title, m.id) for m in models]
                looks: dict[str, Any] = {"label": "Model", "container": False, "elem_id": "model"}
                self.model = gr.Dropdown(choices, value=models[0].id, **looks)
            with gr.Tabs(elem_id="tabs") as self.tabs:
                with gr.Tab("Explore", id="explore"):
                    self.explore.build(self.model, self.demo.load)
                with gr.Tab("Interpolate", id="interpolate") as tab:
                    self.interpolate.build(self.model, tab.select, self.explore)
                with gr.Tab("Transfer", id="transfer") as transfer_tab:
                    self.transfer.build(self.model, self.visit)
                with gr.Tab("Models", id="models") as tab:
                    changes = self.models.build(tab.select, self.visit)
            gr.HTML(footer(models))
            self.transfer.wire(transfer_tab, self.demo.load, self.explore.try_it)
            self._wire(changes)
        process = self.demo.process_api

        async def process_told(*inputs: Any, **settings: Any) -> Any:
            with ui.told():  # what goes wrong before and after a handler, too
                return await process(*inputs, **settings)

        self.demo.process_api = process_told  # type: ignore[method-assign]

    def _wire(self, changes: list[Any]) -> None:
        """The events between the tabs; `changes` are those after which there are other models."""
        agreed = gr.BrowserState(False, storage_key=AGREED_AS, secret=STORED_AS)
        for tick in (self.explore.agreed, self.interpolate.agreed, self.transfer.pictures.agreed):
            # Within the browser: no late answer of the server undoes it
            ui.on(tick.input, None, tick, agreed, js="(yes) => yes")
            ui.on(agreed.change, None, agreed, tick, js="(yes) => yes")
        for event in (self.demo.load, *(change.then for change in changes)):
            ui.on(event, self.known_models, self.visit, [self.model, self.transfer.pictures.source])
        ui.on(self.demo.load, self.first_tab, None, self.tabs)
        for button in (self.explore.to_a, self.explore.to_b):
            ui.on(button.click, lambda: gr.Tabs(selected="interpolate"), None, self.tabs)
        shown = [self.visit, self.model, self.tabs]
        ui.on(self.transfer.result.use.click, self.use, self.visit, shown, show_progress="full")
        up = "(_, ...all) => { scrollTo(0, 0); return m2m.detail('models-here', all); }"
        ui.on_detail(self.models.here.select, self.show_model, [self.visit], [self.model, self.tabs], js=up)
        for event in (self.explore.try_it.click, self.transfer.steps.chip.select):
            ui.on(event, lambda: gr.Tabs(selected="transfer"), None, self.tabs, queue=False)
        given = [self.visit, self.models.open]
        ui.on(self.models.open.upload, self.open, given, shown, show_progress="full", **ui.MODEL_WORK)

    def first_tab(self, request: gr.Request) -> Any:
        """A link to a run leads to its tab."""
        return gr.Tabs(selected="transfer") if linked_run(request) else gr.skip()

    def known_models(self, stored: Any) -> list[Any]:
        """Everybody's models and the runs that this browser uses as such; what a transfer can be made on."""
        sources = [(m.title, m.id) for m in self.studio.models.list() if m.kind == "source"]
        own = gr.Dropdown(choices=self._models_of(ui.Visit.of(stored)))
        return [own, gr.Dropdown(choices=sources, visible=len(sources) > 1)]

    def _models_of(self, visit: ui.Visit) -> list[tuple[str, str]]:
        own = [(f"Yours: {m.title}", token) for token, m in ui.models_of(self.studio, visit).items()]
        return [(m.title, m.id) for m in self.studio.models.list()] + own

    def show_model(self, asked: Any, stored: Any) -> tuple[Any, Any]:
        """The model of a card in the tab that its button names.

        Raises:
            ConfigError: there is no such model or tab.
        """
        ref, tab = ui.known_ref(self.studio, str(asked.get("ref"))), str(asked.get("tab"))
        if tab.title() not in TABS:
            raise ConfigError(f"There is no tab {tab[:80]!r}.", f"Choose one of {', '.join(TABS)}.")
        return gr.Dropdown(choices=self._models_of(ui.Visit.of(stored)), value=ref), gr.Tabs(selected=tab)

    def use(self, stored: Any) -> tuple[Any, ...]:
        """Adds the run to this browser's models, and shows it in Explore."""
        return self._using(stored, ui.Visit.of(stored).needed_token)

    def open(self, stored: Any, path: str) -> tuple[Any, ...]:
        """The same with a model that was downloaded once."""
        return self._using(stored, self.take_in(Path(path)))

    def _using(self, stored: Any, token: str) -> tuple[Any, ...]:
        visit = ui.Visit.of(stored).using(token)
        chosen = gr.Dropdown(choices=self._models_of(visit), value=token)
        return visit.stored(), chosen, gr.Tabs(selected="explore")


def take_whole(studio: Studio) -> None:
    """From now on an upload is in Gradio's cache whole or not at all, and who uploads what does not fit is told.

    It would leave parts of those that are broken off.
    """
    upload = route_utils.upload_fn

    async def take(request: Any, cache: str, *limits: Any, **settings: Any) -> tuple[list[str], ...]:
        whole = Path(cache).resolve()
        part = whole / f"part-{secrets.token_hex(16)}"
        try:
            coming = int(request.headers.get("content-length", studio.limits.disk_bytes or 0))
            await asyncio.to_thread(studio.check_disk, coming)
            files, *_ = await upload(request, part, *limits, **settings)
            for file in part.glob("*/*"):
                target = whole / file.relative_to(part)
                target.parent.mkdir(exist_ok=True)
                file.replace(target)
            return [str(whole / Path(file).relative_to(part)) for file in files], [], []
        except (OSError, Mind2MindError, ClientDisconnect) as error:
            raise MultiPartException(str(in_words(error, "The upload could not be kept"))) from error
        finally:
            for left in part.rglob("*"):
                with contextlib.suppress(OSError):  # a folder
                    os.truncate(left, 0)  # whoever has it open still would keep its bytes
            shutil.rmtree(part, ignore_errors=True)

    routes.upload_fn = take  # type: ignore[assignment, attr-defined]


def _uploaded(url: str) -> Path | None:
    """The file in Gradio's cache whose address this is, on whatever host: nothing is fetched."""
    with contextlib.suppress(OSError, ValueError):
        path = Path(unquote(urlsplit(url).path.partition(f"{API_PREFIX}/file=")[2])).resolve()
        if path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file():
            return path
    return None


def take_lists_of_files(server: gr.mcp.GradioMCPServer) -> None:
    """From now on Gradio's MCP server takes files in lists, too, and keeps none of what it is sent for long."""
    convert = server.convert_strings_to_filedata

    def converted(values: Any, places: list[Any]) -> Any:
        lists = [name for name, *below in places if below == ["items"]]
        each = [[name, i] for name in lists for i in range(len(values.get(name) or ()))]
        return convert(values, places + each)

    server.convert_strings_to_filedata = converted  # type: ignore[assignment, method-assign]
    gr.mcp.DEFAULT_TEMP_DIR = str(Path(get_upload_folder()) / "made")


def follow_no_address() -> None:
    """From now on a web address in the place of an uploaded file is an error, in all of Gradio, unless it is its own.

    It would fetch whatever a caller names, however large. Subclasses of its components would not do: it writes
    an interface file beside each when it is imported.

    Raises:
        ConfigError: this version of Gradio fetches in another way.
    """
    asked = []

    async def refuse(url: str, cache_dir: str) -> str:
        asked.append(url)
        if (path := _uploaded(url)) is not None:
            return str(path)
        raise gr.Error("This is no uploaded file: web addresses are not followed.", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse
    file = {"path": "http://127.0.0.1:9/", "meta": {"_type": "gradio.FileData"}}

    def move() -> None:
        with contextlib.suppress(Exception):
            asyncio.run(processing_utils.async_move_files_to_cache(file, gr.File(render=False)))

    thread = threading.Thread(target=move)  # of its own: this one may already run a loop, as in a notebook
    thread.start()
    thread.join()
    if not asked:
        problem = f"Gradio {gr.__version__} fetches web addresses that callers send in the place of files."
        raise ConfigError(problem, "Install the packages of requirements.txt.")


def tidy(studio: Studio) -> None:
    """Deletes files made for download, the empty files that Gradio leaves, and what the limits say."""
    cache, oldest = Path(get_upload_folder()), time.time() - (KEPT_IN_PUBLIC if studio.public else KEPT)
    for path in [*cache.glob("made/*"), *cache.glob("tmp*")]:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    studio.runs.clean()


def _tidy_for_ever(studio: Studio) -> None:
    while True:
        try:
            tidy(studio)
        except Exception:  # the next round may do better
            log.exception("Tidying up failed.")
        time.sleep(TIDY_EVERY)


def _warm(studio: Studio) -> None:
    """Loads and measures the model that the app begins with: its first visitor would wait for that."""
    with contextlib.suppress(Mind2MindError):  # the page tells of it
        studio.explore.directions(studio.models.list()[0].id)


def end_runs(studio: Studio) -> None:
    """Says of each run that is at work how to stop it: it goes on without the app.

    With the process 1 of a container all others end: there the runs are stopped, and their work is waited for.
    """
    last = os.getpid() == 1
    for token, title in studio.runs.at_work():
        stop = f"goes on without the app. To stop it: {COMMAND} runs --stop {token}"
        log.warning("The run '%s' %s", title, "stops; its work is kept." if last else stop)
        if last:
            studio.runs.stop(token)
    until = time.monotonic() + LAST_SECONDS
    while last and studio.runs.at_work() and time.monotonic() < until:
        time.sleep(0.1)


@contextlib.contextmanager
def served(
    host: str, port: int | None, public: bool, device: str, root_path: str, mcp: bool
) -> Iterator[Studio]:
    """The app is served within the block; arguments and errors are those of `mind2mind.ui.launch`."""
    studio = Studio(device, limits=PUBLIC if public else LOCAL)
    if "OMP_NUM_THREADS" not in os.environ:  # a core is left to the run that trains, or to another visitor
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    with studio.scratch() as folder:
        # outside of ours: there it refuses names with a dot before
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        css, script = ((ui.ASSETS / name).read_text(encoding="utf-8") for name in ("app.css", "app.js"))
        demo = Page(studio).demo
        if not ui.on_zerogpu():  # there a GPU is lent to visitors only
            threading.Thread(target=_warm, args=[studio]).start()
        threading.Thread(target=_tidy_for_ever, args=[studio], daemon=True).start()
        try:
            demo.queue(max_size=200).launch(
                server_name=f"[{host}]" if ":" in host else host,
                server_port=port,
                share=False,
                theme=THEME,
                css=css,
                head=f"<script>{script}</script>",
                root_path=root_path,
                run_history=False,
                footer_links=["api"],
                enable_monitoring=False,
                quiet=True,
                ssr_mode=False,
                mcp_server=mcp,
                max_file_size=studio.limits.total_bytes if public else None,  # a zip may hold all
                prevent_thread_lock=True,
            )
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            problem = f"Nobody can listen on {host}, port {port or '7860 and above'}: {error}."
            fix = "Choose another --host or --port, or end what listens there."
            raise ConfigError(problem, fix) from error
        log.info("Mind2Mind is at %s (Ctrl+C ends it)", str(demo.local_url).replace("[::]", "[::1]"))
        if demo.mcp_error:
            raise ConfigError(
                f"{demo.mcp_error}.", "Install the packages of requirements.txt and gradio[mcp]."
            )
        if demo.mcp_server_obj:
            take_lists_of_files(demo.mcp_server_obj)
        try:
            yield studio
        finally:
            end_runs(studio)
            demo.server.close()
