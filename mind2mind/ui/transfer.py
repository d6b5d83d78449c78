"""The tab Transfer: a folder of pictures in, a generator of new ones out, in four steps on one page.

Here are the first two, pictures in and what the source model knows of them, and how the four hang together.
A run lives in the worker and in its folder; the page only shows it by its token, which the browser keeps: a
closed tab loses nothing.
"""

import html
import json
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from mind2mind.config import BUDGETS, TOLD_SECONDS, Limits
from mind2mind.data.dataset import Reading, Report
from mind2mind.data.faces import Remark
from mind2mind.draw import Cost, Draw
from mind2mind.errors import DataError
from mind2mind.judge.verdict import Verdict
from mind2mind.models.bundle import ModelInfo
from mind2mind.runs.findings import Prepared
from mind2mind.runs.run import State
from mind2mind.studio import Studio
from mind2mind.ui import shared as ui
from mind2mind.ui.result import Result, Shelf
from mind2mind.ui.training import STEPS, Steps, Training, Updates, named

log = logging.getLogger(__name__)

# --- The example sets in `assets/`: a folder of pictures each, with an about.json that says whose they are.


@dataclass(frozen=True)
class Example:
    """A set of pictures to try a transfer with."""

    files: tuple[Path, ...]
    title: str
    credit: str
    collage: Image.Image  # the first pictures side by side
    models: tuple[str, ...] = ()  # ids of the source models it suits, the best one first; none: any

    def source(self, chosen: str) -> str:
        """The source model to take: the chosen one if the set suits it, else the set's own."""
        return chosen if not self.models or chosen in self.models else self.models[0]


def examples(assets: Path = ui.ASSETS, models: Collection[str] | None = None) -> list[Example]:
    """What there is, by name; a folder without a readable about.json, or pictures, is left out, with a warning.

    Given the ids of the source models there are, sets that suit none of them are left out, and the others come in
    the order of their models.
    """
    found, order = [], [*(models or ())]
    for about in sorted(assets.glob("*/about.json")):
        files = tuple(p for p in sorted(about.parent.iterdir()) if p.suffix in (".png", ".webp"))
        try:
            told = json.loads(about.read_text(encoding="utf-8"))
            suits = tuple(told.get("models", ()))
            there = tuple(model for model in suits if models is None or model in models)
            if files and (there or not suits):
                title, credit = told.get("title", about.parent.name), told.get("credit", "")
                found.append(Example(files, title, credit, Draw.collage(files[:9]), there))
        except (OSError, ValueError, TypeError, AttributeError, DataError) as error:
            log.warning("The example %s is left out: %s", about.parent, error)
    return sorted(
        found, key=lambda example: order.index(example.models[0]) if order and example.models else -1
    )


# --- What is said of pictures before any training.


def limits(most: Limits) -> str:
    """What may be uploaded, before it is."""
    return ui.note(
        f"At most {most.files:,} pictures of {most.file_bytes / 1e6:,.0f} MB and "
        f"{most.pixels / 1e6:,.0f} megapixels each, {most.total_bytes / 1e6:,.0f} MB together."
    )


def deletion(hours: int) -> str:
    """When what a visitor leaves here will be deleted."""
    kept = f"model, codes and small copies in {hours} hours, or at once under Your runs"
    return f"Uploads are deleted within the hour; {kept}."


def credits_of(sets: Sequence[Example]) -> str:
    """Whose the examples' pictures are, in a fold."""
    rows: dict[str, list[str]] = {}
    for each in sets:
        rows.setdefault(each.credit, []).append(each.title)
    said = ui.note(*(f"{', '.join(titles)}: {credit}" for credit, titles in rows.items()))
    return f'<details class="m2m-log"><summary>Whose pictures these are</summary>{said}</details>'


def encoding(cost: Cost) -> str:
    """What it takes to read pictures in, where that is noticeable."""
    if (seconds := 20 * cost.encode_seconds) < TOLD_SECONDS:
        return ""
    return ui.note(
        f"This model reads a picture in about {ui.brief(cost.encode_seconds)} here: "
        f"20 pictures take about {ui.clock(seconds)}, before the training."
    )


def read_so_far(progress: Reading, cost: Cost) -> str:
    """How far the reading of pictures is, and how long it goes on where that is noticeable."""
    left = (progress.total - progress.done) * cost.encode_seconds
    more = f", about {ui.clock(left)} left" if left > TOLD_SECONDS else ""
    told = ui.note(f"Read {progress.done:,} of {ui.plural(progress.total, 'picture')}{more} …")
    return told + ui.bar(progress.done / max(1, progress.total), "Reading")


def checked(prepared: Prepared, model: str) -> str:
    """The verdict in a sentence, what cannot be used, and behind a fold the numbers."""
    report, count, verdict = prepared.report, prepared.count, prepared.verdict
    skipped, excluded = len(report.skipped), len(prepared.excluded)
    counts = [*report.reasons().most_common(), *report.flags().most_common()]
    reasons = "; ".join(f"{number} x {why}" for why, number in counts)
    kind, said = ui.KNOWN.get(
        verdict, ("fair", "Whether {} knows such pictures cannot be told: judge by eye.")
    )
    used = f"{ui.plural(count, 'picture')} can be used" + (f", {skipped} cannot" if skipped else "")
    used += f", {excluded} left out" if excluded else ""
    hope = report.advice(excluded)
    if excluded and not count:
        hope = "All pictures are left out: take some in again under All pictures."
    psnr = prepared.psnr_mean  # it may be NaN
    measured = f"{psnr:.1f} dB; more is better." if psnr == psnr else ""
    judged = f"Judged by {ui.plural(prepared.judged, 'picture')}." if prepared.judged else ""
    read = f"Reading them took {ui.brief(prepared.seconds)}." if prepared.seconds else ""
    numbers = ui.note(prepared.reason, measured, judged, hope if count >= FEW_PICTURES else "", read)
    more = f'<details class="m2m-log"><summary>Numbers</summary>{numbers}</details>'
    few = hope if count < FEW_PICTURES else ""
    return ui.boxed(
        kind if count >= FEW_PICTURES or kind == "poor" else "fair",
        said.format(model),
        f"{used}{f': {reasons}' if reasons else ''}.",
        few,
        report.missing(),
        more=more,
    )


def ways(prepared: Prepared, public: bool) -> str:
    """What to do here if the model does not know such pictures."""
    if prepared.verdict is not Verdict.UNKNOWN:
        return ""
    return ui.note(
        "" if public else "For photographs of faces, download the official FFHQ model under Models.",
        "Or go on all the same: new pictures will look like the lower ones.",
    )


def acts(prepared: Prepared, near: int) -> str:
    """What can be done about it in a click: `Pictures.act` does it."""
    rows, crop = [], "centre" if prepared.crop == "face" else prepared.crop
    if prepared.others:
        better = prepared.others[0]
        rows.append(ui.ask(f"Read them with {better.title} instead", source=better.id, crop=crop))
    if strange := len(prepared.strangers):
        hardly = f"{strange} of {prepared.judged} looked at hardly come back."
        rows.append(ui.note(hardly) + ui.ask("Leave them out", out="strange"))
    if near:
        rows.append(ui.note(f"{ui.plural(near, 'near duplicate')}.") + ui.ask("Leave them out", out="near"))
    if prepared.excluded:
        rows.append(ui.ask("Take all in again", out="none"))
    return "".join(f'<div class="m2m-asks">{row}</div>' for row in rows)


def of_faces(prepared: Prepared, ready: bool) -> str:
    """What was found of faces, where somebody wants them aligned; it stands above the pictures that show it.

    Those of a set that is `ready` to train can be aligned.
    """
    if not (found := prepared.report.faces()):
        return ""
    counts = "; ".join(f"{number} x {remark}" for remark, number in found.most_common())
    if not (unaligned := found[Remark.NOT_ALIGNED]):
        above = "Above your pictures, below the faces as the model gets them."
        return ui.note(f"{counts}.", above if found[Remark.ALIGNED] else "")
    return ui.boxed(
        "fair",
        f"{ui.plural(unaligned, 'face')} not aligned",
        f"{counts}. This model knows faces only as FFHQ shows them: upright, eyes and mouth in their places.",
        "Above your pictures, below what aligning makes of them: press the button below, "
        "or choose the face under More and add the pictures again.",
        more=ui.ask("Align and crop the faces", source=prepared.model, crop="face") if ready else "",
    )


def sizes(counts: dict[str, int]) -> str:
    """A bar for each range of sizes."""
    rows = [
        f'<tr><th scope="row">{html.escape(size)} px</th><td><div class="m2m-count" '
        f'style="width:{number / max(counts.values()):.0%}"></div></td><td>{number:,}</td></tr>'
        for size, number in counts.items()
    ]
    caption = "<caption>The shorter side of your pictures</caption>"
    return f'<table class="m2m-sizes">{caption}{"".join(rows)}</table>' if rows else ""


def table(report: Report, most: int = 500) -> str:
    """What became of each file, the skipped ones first."""
    rows, files = "", [*report.skipped, *report.used]
    for file in files[:most]:
        cells = file.name, file.status, file.reason, f"{file.width} x {file.height}" if file.width else ""
        rows += "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
    head = "<thead><tr><th>File</th><th>Verdict</th><th>Reason</th><th>Size</th></tr></thead>"
    more = ui.note(f"and {len(files) - most} more") if len(files) > most else ""
    return f'<div class="m2m-table"><table>{head}<tbody>{rows}</tbody></table>{more}</div>'


# --- Steps 1 and 2. Several uploads add up to one set; an example, another source or crop make a new one of it.
# As long as nothing has been trained on it, a set that another takes the place of is deleted.

CROPS = {
    "centre": "the square in the middle",
    "fit": "the whole picture, with bars",
    "face": "the face, aligned and cropped",
}
COMPARED = 12  # pictures beside their reconstructions
PAGE = 60  # thumbnails at a time
PAIRS = 16  # near duplicates shown
FEW_PICTURES = 50  # below them it is said what they lack
CARD = 512  # px a side of an example's card, at most
READING = 5  # seconds that an example takes before its training, about
WORST_FIRST = "Yours above, rebuilt by the model below, the worst first."
REBUILT = "Your picture, below it what the model makes of it:"


class Pictures:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.examples = examples(models=self._sources())
        self.read, self.comparison = ui.reader(self.studio), ui.gpu(self.studio.runs.comparison)

    def _sources(self) -> dict[str, ModelInfo]:
        return {m.id: m for m in self.studio.models.list() if m.kind == "source"}

    def build(self, model: gr.Dropdown) -> None:
        """Step 1; a set is read with the `model` of the page, unless another one knows such pictures better."""
        self.model, hours = model, self.studio.limits.keep_hours
        with gr.Row(elem_classes="m2m-choose"):
            with gr.Column(scale=1, min_width=260):
                self.agreed = ui.consent(self.studio, "transfer", deletion(hours) if hours else "")
                with gr.Column(elem_id="transfer-uploads", elem_classes=ui.WAITS):
                    self.files = gr.File(
                        file_count="multiple", label="Your pictures, or a zip", elem_id="transfer-files"
                    )
                    self.folder = gr.UploadButton(
                        "Choose a folder …", file_count="directory", variant="primary",
                        elem_id="transfer-folder",
                    )  # fmt: skip
                gr.HTML(ui.note("20 of one kind are a beginning, 200 are good."))
                gr.HTML(limits(self.studio.limits), visible=self.studio.public, elem_id="transfer-limits")
                self.takes = gr.HTML(elem_id="transfer-takes")
                self.over = gr.Button("Start over", size="sm", visible=False, elem_id="transfer-over")
            with gr.Column(scale=4, min_width=320, visible=bool(self.examples)):
                cards = [
                    ui.Tile(
                        e.collage, f"{e.title}, an example", e.title, more=ui.plural(len(e.files), "picture")
                    )
                    for e in self.examples
                ]
                if cards:  # the first one is twice as wide
                    wide = Draw.collage(self.examples[0].files[: 2 * 9], columns=6)
                    cards[0] = replace(cards[0], image=wide)
                self.sets = ui.wall("transfer-sets", "m2m-four", ui.tiles(cards, side=CARD), picks=True)
                gr.HTML(credits_of(self.examples))
        self.added = gr.State(None)  # the paths of all uploads of the set; None after a reload of the page

    def build_check(self) -> None:
        """Step 2: what the model makes of them."""
        self.summary = gr.HTML(js_on_load=ui.ASKS, elem_id="transfer-summary")
        self.compared = ui.wall("transfer-compared", "m2m-six")

    def build_name(self) -> None:
        """What the run and its model will be called."""
        self.name = gr.Textbox(label="Name", max_lines=1, max_length=200, elem_id="transfer-name")

    def build_folds(self) -> None:
        """What is behind the check."""
        with gr.Accordion("All pictures", open=False, elem_id="transfer-all"):
            self.picking = gr.HTML(elem_id="transfer-picking")
            self.page = gr.Slider(1, 2, 1, step=1, label="Page", visible=False, elem_id="transfer-page")
            self.thumbnails = ui.wall("transfer-thumbnails", "m2m-small", picks=True)
            self.near = ui.wall("transfer-near", "m2m-small")
        with gr.Accordion("Every file", open=False):
            self.report = gr.HTML(elem_id="transfer-report")
        with gr.Accordion("More", open=False, elem_id="transfer-more"):
            sources = self._sources()
            choices = [(m.title, m.id) for m in sources.values()]
            with gr.Row():
                self.source = gr.Dropdown(
                    choices, value=choices[0][1], label="Source model", visible=len(choices) > 1,
                    info="Another one reads all pictures of the set again.", elem_id="transfer-source",
                )  # fmt: skip
                crops = [(said, crop) for crop, said in CROPS.items()]
                use, info = "Use of each picture", "Another choice reads all pictures of the set again."
                crop = next(iter(sources.values())).crop
                self.crop = gr.Radio(crops, value=crop, label=use, info=info, elem_id="transfer-crop")
            self.faces = gr.HTML(js_on_load=ui.ASKS, elem_id="transfer-faces")
            self.aligned = ui.wall("transfer-aligned", "m2m-small")

    def wire(self, opened: Any) -> None:
        """The events; at `opened` the chosen model says what it costs."""
        steps = self.steps
        priced = [self.model.change, opened]
        ui.on(priced, lambda ref: encoding(ui.cost_of(self.studio, ref)), self.model, self.takes, live=True)
        new: list[Any] = [self.model, self.added]
        told = gr.Textbox(visible=False)  # the folder's name, by the browser
        named = [self.agreed, self.folder, *new, told]
        called = {"js": "(...all) => [...all.slice(0, -1), m2m.folder]", **ui.MODEL_WORK}
        for reading in (
            steps.on(self.files.upload, self.add, self.agreed, self.files, *new, **ui.MODEL_WORK),
            steps.on(self.folder.upload, self.add, *named, **called),
            steps.on(self.sets.select, self.add_example, self.model, detail=True, **ui.MODEL_WORK),
            steps.on(self.source.input, self.again, self.added, self.source, **ui.MODEL_WORK),
            steps.on(self.crop.input, self.again, self.added, self.source, self.crop, **ui.MODEL_WORK),
            steps.on(self.summary.select, self.act, self.added, self.page, detail=True, **ui.MODEL_WORK),
            steps.on(self.faces.select, self.act, self.added, self.page, detail=True, **ui.MODEL_WORK),
        ):
            steps.on(reading.failure, self.as_before)
        steps.on(self.over.click, self.start_over)
        steps.on(self.thumbnails.select, self.toggle, self.page, detail=True, **ui.MODEL_WORK)
        steps.on(self.page.input, self.turn, self.page, outputs=self.thumbnails, live=True)

    # Pictures in

    def crop_of(self, source: str) -> str:
        """How this source's card says that pictures become square."""
        sources = self._sources()
        return sources[source].crop if source in sources else "centre"

    def add(
        self,
        visit: ui.Visit,
        agreed: Any,
        files: list[str] | None,
        model: str,
        added: list[str] | None = None,
        folder: str | None = None,
    ) -> Iterator[Updates]:
        """Uploaded files, of a folder of this name: reads, checks and encodes them, and shows what can be rebuilt.

        The box is emptied first: what it holds it would send again with the next files.
        """
        yield {self.files: None}
        ui.check_consent(self.studio, agreed)
        paths, present = ui.uploaded(files), self.waiting(visit)
        if present:
            yield from self._read(visit, paths, present.model, present.crop, added=added, token=present.token)
            return
        many = f"Set of {time.strftime('%d %b, %H:%M')}"
        title = str(folder or (paths[0].stem if len(paths) == 1 else many))
        yield from self._read(visit, paths, self._source(model), title=title)

    def add_example(self, visit: ui.Visit, at: Any, model: str) -> Iterator[Updates]:
        """An example set; it brings its source model along if the chosen one does not suit it."""
        example = self.examples[ui.index(at, self.examples)]
        yield from self._read(visit, example.files, example.source(self._source(model)), title=example.title)

    def again(
        self, visit: ui.Visit, added: list[str] | None, source: str, crop: str | None = None
    ) -> Iterator[Updates]:
        """Reads the whole set once more, with another source or crop; without one, as the source's card says."""
        prepared, paths = self.waiting(visit), [Path(file) for file in added or ()]
        crop = crop or self.crop_of(source)
        if prepared is None or (prepared.model, prepared.crop) == (source, crop):
            yield self.steps.unchanged
        elif not paths or not all(path.exists() for path in paths):  # reloaded, or tidied up meanwhile
            yield {self.steps.message: ui.note("Add your pictures again to have them read this way.")}
        else:
            title = self.studio.runs.status(prepared.token).info.title
            yield from self._read(visit, paths, source, crop, title=title, chosen=True)

    def act(self, visit: ui.Visit, asked: Any, added: list[str] | None, page: float) -> Iterator[Updates]:
        """What a button of the check says: reads the set in another way, or leaves some of it out."""
        if source := asked.get("source"):
            yield from self.again(visit, added, source, asked.get("crop"))
            return
        prepared, out = self.studio.runs.prepared(visit.needed_token), asked.get("out")
        kinds = {"near": [name for name, _ in prepared.near], "strange": prepared.strangers}
        names = {*prepared.excluded, *kinds[out]} if out in kinds else set()
        yield self._exclude(prepared.token, names, page)

    def start_over(self, visit: ui.Visit) -> Updates:
        """Empties the set."""
        self._drop(visit)
        emptied = {self.added: None, self.over: gr.Button(visible=False), self.steps.message: ""}
        return self.steps.to("pictures") | emptied | {self.steps.visit: visit.at(None).stored()}

    def waiting(self, visit: ui.Visit) -> Prepared | None:
        """The visitor's set that is there, if it has not been trained on."""
        status = self.steps.status(visit.token)
        waits = status is not None and status.owned and status.state == State.PREPARED
        return self.studio.runs.prepared(visit.needed_token) if waits else None

    def _source(self, model: str) -> str:
        """The model of the page if a transfer can be made on it, else the first such."""
        return model if model in self._sources() else next(iter(self._sources()))

    def _drop(self, visit: ui.Visit) -> None:
        """Pictures that were only looked at need not be kept."""
        if waiting := self.waiting(visit):
            self.studio.runs.delete(waiting.token)

    def _read(
        self,
        visit: ui.Visit,
        paths: Sequence[Path],
        source: str,
        crop: Any = None,
        *,
        title: str = "",
        added: list[str] | None = None,
        token: str | None = None,
        chosen: bool = False,
    ) -> Iterator[Updates]:
        """Adds to the set of `token`, or makes a new one in the place of what is there.

        A new one that the source does not know is read by the model that does, unless the source was `chosen`.
        """
        message, said = self.steps.message, ""
        tried: list[str] = []
        while True:
            cost, ref = ui.cost_of(self.studio, source), ui.known_ref(self.studio, source)
            yield {message: ui.note(said or "Reading the pictures …"), **self.steps.to("check", drawn=False)}
            new = {"crop": crop or self.crop_of(ref), "visitor": visit.visitor, "title": title}
            for event in self.read(paths, ref, token=token, **new):
                if isinstance(event, Reading):
                    yield {message: read_so_far(event, cost)}
            better = event.others[0] if event.verdict is Verdict.UNKNOWN and event.others else None
            if better is None or token or chosen or tried:
                break
            said = f"{self.steps.models.get(ref, ref)} does not know such pictures; {better.title} does."
            tried.append(event.token)
            source, crop = better.id, None
        known = added if token else []
        yield {
            **self.shown(event),
            **self.steps.to("check", self.studio.runs.status(event.token)),
            message: ui.note(said) if said else "",
            self.steps.visit: visit.at(event.token).stored(),
            self.added: None if known is None else [*known, *map(str, paths)],
        }
        for old in tried:
            self.studio.runs.delete(old)
        if event.token != token:
            self._drop(visit)

    def as_before(self, visit: ui.Visit) -> Updates:
        """What was there before a reading that failed is there still."""
        status = self.steps.status(visit.token) if self.waiting(visit) else None
        return self.steps.to("check" if status else "pictures", status) | {self.steps.message: ""}

    # What the model makes of them

    def shown(self, prepared: Prepared, ready: bool = True) -> Updates:
        """The set as it was read, and step 2; `ready` says that the run has not been started."""
        couples = self.comparison(prepared.token, count=COMPARED)
        aligned, faces = self.studio.runs.alignment(prepared.token), of_faces(prepared, ready)
        told = "Your picture, below it what the model gets of it:"
        cropped = ui.note(
            f"Above your pictures as they are, below what the model gets: {CROPS[prepared.crop]}."
        )
        return {
            self.name: self.studio.runs.status(prepared.token).info.title,
            self.source: prepared.model,
            self.crop: prepared.crop,
            self.over: gr.Button(visible=ready),
            self.faces: faces or (cropped if aligned else ""),
            self.aligned: ui.tiles(ui.numbered(aligned, told)) if aligned else "",
            self.compared: ui.note(WORST_FIRST) + ui.tiles(ui.pairs(couples, REBUILT)),
            self.report: sizes(prepared.report.sizes()) + table(prepared.report),
            **self._picked(prepared, 1, ready),
        }

    # Which of them are trained on

    def _picked(self, prepared: Prepared, page: int, ready: bool = True) -> Updates:
        """The verdict on those that are in, and a page of all; when the run is started none can be left out."""
        near = [pair for pair in prepared.near if pair[0] not in prepared.excluded] if ready else []
        pages = -(-(prepared.count + len(prepared.excluded)) // PAGE)
        told = "Click a picture to leave it out of the training, and again to take it in."
        said = checked(prepared, self.steps.models.get(prepared.model, prepared.model))
        said += ways(prepared, self.studio.public)
        return {
            self.summary: said + acts(prepared, len(near)) if ready else said,
            self.near: self._couples(prepared, near[:PAIRS]),
            self.picking: ui.note(told) if ready else "",
            self.page: gr.Slider(maximum=max(2, pages), value=page, visible=pages > 1),
            self.thumbnails: self._thumbnails(prepared, page),
        }

    def _couples(self, prepared: Prepared, near: Sequence[tuple[str, str]]) -> str:
        if not near:
            return ""
        pictures = dict(self.studio.runs.thumbnails(prepared.token, names={*chain(*near)}))
        couples = [(pictures[like], pictures[name]) for name, like in near]
        told = ui.note("Near duplicates: the lower one of each pair is nearly the upper one.")
        return told + ui.tiles(ui.pairs(couples, "A picture, below it one like it:"))

    def _thumbnails(self, prepared: Prepared, page: int) -> str:
        shown = self.studio.runs.thumbnails(prepared.token, (page - 1) * PAGE, PAGE)
        out = set(prepared.excluded)
        return ui.tiles(
            ui.Tile(i, name + ", left out" * (name in out), pale=name in out) for name, i in shown
        )

    def toggle(self, visit: ui.Visit, at: Any, page: float) -> Updates:
        """Leaves the clicked picture out, or takes it in again."""
        prepared = self.studio.runs.prepared(visit.needed_token)
        number = (int(page) - 1) * PAGE + ui.index(at, range(PAGE))
        clicked = self.studio.runs.thumbnails(prepared.token, number, 1)
        if not clicked:
            raise DataError("There is no such picture on this page.", "Turn the page.")
        return self._exclude(prepared.token, {*prepared.excluded} ^ {clicked[0][0]}, page)

    def turn(self, visit: ui.Visit, page: float) -> str:
        """Another page of thumbnails."""
        return self._thumbnails(self.studio.runs.prepared(visit.needed_token), int(page))

    def _exclude(self, token: str, names: set[str], page: float) -> Updates:
        return self._picked(self.studio.runs.exclude(token, names), int(page))


# --- The tab.


def linked_run(request: gr.Request) -> str | None:
    """The run that the page's address names."""
    token = request.query_params.get("run")
    return str(token) if token else None


class TransferTab:
    """The steps, one at a time, and below them the list of runs."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.steps = studio, Steps(studio)
        self.pictures, self.training = Pictures(self.steps), Training(self.steps)
        self.shelf = Shelf(self.steps)
        self.result = Result(self.steps, self.shelf)

    def build(self, model: gr.Dropdown, visit: gr.BrowserState) -> None:
        """The components; inside a gr.Tab."""
        part = self.steps.part
        self.steps.build(visit)
        part("pictures", lambda: self.pictures.build(model), visible=True)
        part("check", self._build_check)
        part("status", self.training.build_status)
        part("live", self.training.build_live)
        part("result", self.result.build)
        part("run", self.training.build_run)
        self.shelf.build()

    def _build_check(self) -> None:
        with gr.Row(elem_classes="m2m-beside"):
            with gr.Column(scale=3, min_width=320):
                self.pictures.build_check()
            self.steps.part("order", self._build_order, scale=2, min_width=320)
        self.pictures.build_folds()
        self.training.build_advanced()

    def _build_order(self) -> None:
        self.pictures.build_name()
        self.training.build_start()

    def wire(self, tab: gr.Tab, opening: Any, try_it: gr.Button) -> None:
        """The events: each step's own, and those that open a run; the page's own may, `opening`."""
        steps = self.steps
        steps.outputs = [steps.visit, steps.chip, steps.clock, *named(tab)]
        self.pictures.wire(tab.select)
        self.training.wire(self.pictures.name)
        self.result.wire(self.training)
        self.shelf.wire()
        steps.on(steps.way.select, self.go, detail=True)
        steps.on(steps.chip.select, self.go, detail=True)
        steps.on(self.shelf.open.click, self.look_at, self.shelf.runs)
        steps.on(opening, self.arrive)
        try_it.value, try_it.visible = self.first, self.first is not None
        tried = steps.on(try_it.click, self.try_first, self.pictures.model, **ui.MODEL_WORK)
        steps.on(tried.failure, self.pictures.as_before)

    # Handlers

    def go(self, visit: ui.Visit, step: Any) -> Updates:
        """To one of the steps that have something to show."""
        status = self.steps.status(visit.token)
        if status is None:
            return self.steps.to("pictures")
        ended = step == "live" and not status.state.alive
        return self.steps.to("result" if ended else step if step in STEPS else "pictures", status)

    @property
    def first(self) -> str | None:
        """What the button says that takes the first example and starts at once, if there is one."""
        quick = BUDGETS["Quick"].seconds + READING
        sets = self.pictures.examples
        return f"Try it: {sets[0].title.lower()} in about {quick} s" if sets else None

    def try_first(self, visit: ui.Visit, model: str) -> Iterator[Updates]:
        """The first example, read and started."""
        shown: Updates = {}
        for shown in self.pictures.add_example(visit, 0, model):
            yield shown
        name = self.pictures.examples[0].title
        yield self.training.begin(ui.Visit.of(shown[self.steps.visit]), name, BUDGETS["Quick"].seconds)

    def arrive(self, visit: ui.Visit, request: gr.Request) -> Updates:
        """The page as it was, or with the run of the link that led here."""
        token = linked_run(request)
        if token and self.steps.status(token if ui.is_key(token) else None):
            return self._reopen(visit.at(token))
        gone = ui.note("There is no run under this link. It may have been deleted.")
        return self._reopen(visit) | ({self.steps.message: gone} if token else {})

    def look_at(self, visit: ui.Visit, token: str | None) -> Updates:
        """Opens one of the visitor's earlier runs."""
        return self._reopen(visit.at(self.shelf.own(visit, token).token))

    def _reopen(self, visit: ui.Visit) -> Updates:
        """The page as it was: with the browser's run, if it is still there."""
        status = self.steps.status(visit.token)
        visit = visit.at(status.token, status.look) if status else visit.at(None)
        known = self.shelf.known(visit)
        known |= {self.steps.visit: visit.stored()}
        if status is None:
            return known
        prepared, waiting = self.studio.runs.prepared(status.token), status.state == State.PREPARED
        known |= self.pictures.shown(prepared, waiting and status.owned)
        return known | (self.steps.to("check", status) if waiting else self.training.watch(visit, status))
