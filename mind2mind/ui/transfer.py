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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from mind2mind.config import BUDGETS, TOLD_SECONDS, Limits
from mind2mind.data.codes import EncodeProgress
from mind2mind.data.dataset import Report
from mind2mind.data.faces import Remark
from mind2mind.draw import Cost, Draw
from mind2mind.errors import DataError
from mind2mind.judge.verdict import Verdict
from mind2mind.runs.prepared import Prepared
from mind2mind.runs.run import State
from mind2mind.studio import Studio
from mind2mind.ui.pictures import Tile, numbered, pairs, tiles, wall
from mind2mind.ui.result import Result, Shelf
from mind2mind.ui.shared import (
    ASSETS,
    MODEL_WORK,
    Consent,
    Visit,
    boxed,
    brief,
    check_consent,
    clock,
    cost_of,
    gpu,
    index,
    is_key,
    known_ref,
    note,
    on,
    on_zerogpu,
    plural,
    reader,
    uploaded,
)
from mind2mind.ui.training import Steps, Training, Updates, heading, named

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


def examples(assets: Path = ASSETS, models: Collection[str] | None = None) -> list[Example]:
    """What there is, by name; a folder without a readable about.json, or pictures, is left out, with a warning.

    Given the ids of the source models there are, sets that suit none of them are left out.
    """
    found = []
    for about in sorted(assets.glob("*/about.json")):
        files = tuple(sorted(about.parent.glob("*.png")))
        try:
            told = json.loads(about.read_text(encoding="utf-8"))
            suits = tuple(told.get("models", ()))
            there = tuple(model for model in suits if models is None or model in models)
            if files and (there or not suits):
                title, credit = told.get("title", about.parent.name), told.get("credit", "")
                found.append(Example(files, title, credit, Draw.collage(files[:9]), there))
        except (OSError, ValueError, TypeError, AttributeError, DataError) as error:
            log.warning("The example %s is left out: %s", about.parent, error)
    return found


# --- What is said of pictures before any training.


def limits(most: Limits) -> str:
    """What may be uploaded, before it is."""
    return note(
        f"At most {most.files:,} pictures, each at most {most.file_bytes / 1e6:,.0f} MB and "
        f"{most.pixels / 1e6:,.0f} megapixels, all together {most.total_bytes / 1e6:,.0f} MB. What you add counts "
        "with what is there."
    )


def deletion_clock(hours: int) -> str:
    """When what a visitor leaves here now will be deleted."""
    then = time.strftime("%d %B, %H:%M UTC", time.gmtime(time.time() + hours * 3600)).lstrip("0")
    return note(
        "What you upload is read and then deleted within the hour. What is made of it (the model, codes, small "
        f"copies of your pictures) is deleted on {then}, or at once when you say so under Your runs."
    )


def encoding(cost: Cost) -> str:
    """What it takes to read pictures in, where that is noticeable."""
    if (seconds := 20 * cost.encode_seconds) < TOLD_SECONDS:
        return ""
    return note(
        f"This model reads a picture in about {brief(cost.encode_seconds)} here: "
        f"20 pictures take about {clock(seconds)}, before the training."
    )


def read_so_far(progress: EncodeProgress, cost: Cost) -> str:
    """How far the reading of pictures is, and how long it goes on where that is noticeable."""
    if progress.total is None:
        return note(f"Read {plural(progress.done, 'picture')} …")
    left = (progress.total - progress.done) * cost.encode_seconds
    more = f", about {clock(left)} left" if left > TOLD_SECONDS else ""
    return note(f"Read {progress.done:,} of {plural(progress.total, 'picture')}{more} …")


def checked(prepared: Prepared) -> str:
    """What came out of the check."""
    report, count, verdict = prepared.report, prepared.count, prepared.verdict
    skipped, excluded = len(report.skipped), len(prepared.excluded)
    counts = [*report.reasons().most_common(), *report.flags().most_common()]
    reasons = "; ".join(f"{number} x {why}" for why, number in counts)
    none_left = "All pictures are left out: take some in again under All pictures."
    hope = none_left if excluded and not count else report.advice(excluded)
    psnr = prepared.psnr_mean  # it may be NaN
    measured = f" ({psnr:.1f} dB; more is better)" if psnr == psnr else ""
    rebuilt = f"What the model can rebuild of them: {verdict}{measured}."
    judged = f"Judged by {plural(prepared.judged, 'picture')} of them." if prepared.judged else ""
    kind = "fair" if count < 50 or verdict is Verdict.USABLE else "good"
    kind = "poor" if verdict is Verdict.UNKNOWN else kind
    title = f"{plural(count, 'picture')} can be used" + (f", {skipped} cannot" if skipped else "")
    title += f", {excluded} left out" if excluded else ""
    said = f"{reasons}." if reasons else "", hope, report.missing(), rebuilt, prepared.reason, judged
    return boxed(kind, title, *said)


def ways(prepared: Prepared) -> str:
    """What to do if another model, or none, knows such pictures."""
    found = prepared.ways_out
    return boxed("fair", "What you can do", *found) if found else ""


def of_faces(report: Report) -> str:
    """What was found of faces, where somebody wants them aligned; it stands above the pictures that show it."""
    if not (found := report.faces()):
        return ""
    counts = "; ".join(f"{number} x {remark}" for remark, number in found.most_common())
    if not (unaligned := found[Remark.NOT_ALIGNED]):
        above = "Above your pictures, below the faces as the model gets them."
        return note(f"{counts}.", above if found[Remark.ALIGNED] else "")
    return boxed(
        "fair",
        f"{plural(unaligned, 'face')} not aligned",
        f"{counts}. This model knows faces only as FFHQ shows them: upright, eyes and mouth in their places.",
        "Above your pictures, below what aligning makes of them: press the button below, "
        "or choose the face under More and add the pictures again.",
    )


def costs(prepared: Prepared, pace: float | None) -> str:
    """What reading took, and what a budget buys; `pace` in steps a second."""
    read = f"Reading them took {brief(prepared.seconds)}." if prepared.seconds else ""
    if not pace:
        return note(read)
    bought = ", ".join(f"{clock(b.seconds)} are about {pace * b.seconds:,.0f}" for b in BUDGETS.values())
    return note(f"{read} Training makes about {pace:,.0f} steps a second here: {bought} steps.")


def near(left: Sequence[tuple[str, str]]) -> str:
    """How many near duplicates there are; they are only proposed."""
    said = (
        "These look like others of your pictures: saved again, made smaller, or hardly changed. They are in "
        "the set until you leave them out: of each pair below the lower one."
    )
    return boxed("fair", plural(len(left), "near duplicate"), said) if left else ""


def sizes(counts: dict[str, int]) -> str:
    """A bar for each range of sizes."""
    row = (
        '<tr><th scope="row">{} px</th><td><div class="m2m-count" style="width:{:.0%}"></div></td>'
        "<td>{:,}</td></tr>"
    )
    rows = [row.format(html.escape(size), n / max(counts.values()), n) for size, n in counts.items()]
    caption = "<caption>The shorter side of your pictures</caption>"
    return f'<table class="m2m-sizes">{caption}{"".join(rows)}</table>' if rows else ""


def table(report: Report, most: int = 500) -> str:
    """What became of each file, the skipped ones first."""
    rows, files = "", [*report.skipped, *report.used]
    for file in files[:most]:
        cells = file.name, file.status, file.reason, f"{file.width} x {file.height}" if file.width else ""
        rows += "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
    head = "<thead><tr><th>File</th><th>Verdict</th><th>Reason</th><th>Size</th></tr></thead>"
    more = note(f"and {len(files) - most} more") if len(files) > most else ""
    return f'<div class="m2m-table"><table>{head}<tbody>{rows}</tbody></table>{more}</div>'


# --- Steps 1 and 2. Several uploads add up to one set; another source or crop reads all of it anew.
# As long as nothing has been trained on it, a set that another takes the place of is deleted.

CROPS = {
    "centre": "the square in the middle",
    "fit": "the whole picture, with bars",
    "face": "the face, aligned and cropped",
}
COMPARED = 8  # pictures beside their reconstructions
PAGE = 60  # thumbnails at a time
PAIRS = 16  # near duplicates shown
COMPARISON = (
    "Above your pictures, below what the model can rebuild of them. New pictures are drawn the same way: they can "
    "only be as good as the lower ones. Click one to see it larger."
)
REBUILT = "Your picture, below it what the model makes of it:"


class Pictures:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.sources = {m.id: m for m in self.studio.models.list() if m.kind == "source"}
        self.examples = examples(models=self.sources)
        self.read, self.comparison = reader(self.studio), gpu(self.studio.runs.comparison)

    def build(self) -> None:
        """Step 1."""
        good = "20 are a beginning, 200 are good. They should show one kind of thing."
        gr.HTML(heading(1, "Your pictures", good))
        first = next(iter(self.sources.values()))
        self.source = gr.Dropdown(
            [(m.title, m.id) for m in self.sources.values()], value=first.id, label="Source model",
            visible=len(self.sources) > 1, elem_id="transfer-source",
            info="The model that already knows pictures like yours.",
        )  # fmt: skip
        self.takes = gr.HTML(elem_id="transfer-takes")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                hours = self.studio.limits.keep_hours
                self.consent = Consent(
                    self.studio, "transfer", lambda: deletion_clock(hours) if hours else ""
                )
                free = not self.consent.needed
                with gr.Column(visible=free, min_width=280, elem_id="transfer-uploads") as self.uploads:
                    gr.HTML(limits(self.studio.limits), visible=self.studio.public, elem_id="transfer-limits")
                    self.files = gr.File(
                        file_count="multiple", label="Drop pictures, or one zip", height=150,
                        elem_id="transfer-files",
                    )  # fmt: skip
                    folder = "Choose a folder …"
                    self.folder = gr.UploadButton(folder, file_count="directory", elem_id="transfer-folder")
                self.consent.opens.append(self.uploads)
            with gr.Column(scale=1, min_width=280, visible=bool(self.examples)):
                gr.HTML(note("Or try an example:"))
                cards = [
                    Tile(e.collage, e.title, e.title, more=f"{len(e.files)} pictures") for e in self.examples
                ]
                self.sets = wall("transfer-sets", value=tiles(cards), picks=True)
        with gr.Accordion("More", open=False):
            crops = [(said, crop) for crop, said in CROPS.items()]
            use, info = "Use of each picture", "Another choice reads all pictures of the set again."
            self.crop = gr.Radio(crops, value=first.crop, label=use, info=info, elem_id="transfer-crop")
        self.over = gr.Button("Start over with an empty set", visible=False, elem_id="transfer-over")
        self.added = gr.State(None)  # the paths of all uploads of the set; None after a reload of the page

    def build_check(self) -> None:
        """Step 2, inside its part of the page."""
        gr.HTML(heading(2, "What the model makes of them"))
        self.summary = gr.HTML(elem_id="transfer-summary")
        self.ways = gr.HTML(elem_id="transfer-ways")
        self.take = gr.Button(visible=False, variant="primary", elem_id="transfer-take")
        self.faces = gr.HTML(elem_id="transfer-faces")
        self.aligned = wall("transfer-aligned", "m2m-small")
        self.align = gr.Button("Align and crop the faces", visible=False, elem_id="transfer-align")
        gr.HTML(note(COMPARISON))
        self.compared = wall("transfer-compared")
        self.costs = gr.HTML(elem_id="transfer-costs")
        self.near = gr.HTML(elem_id="transfer-near")
        self.near_pairs = wall("transfer-near-pairs", "m2m-small")
        self.drop = gr.Button("Leave the near duplicates out", visible=False, elem_id="transfer-drop-near")
        with gr.Accordion("All pictures", open=False, elem_id="transfer-all"):
            self.picking = gr.HTML(elem_id="transfer-picking")
            self.page = gr.Slider(1, 2, 1, step=1, label="Page", visible=False, elem_id="transfer-page")
            self.thumbnails = wall("transfer-thumbnails", "m2m-small", picks=True)
            self.all = gr.Button("Take all in again", visible=False, elem_id="transfer-take-all")
        with gr.Accordion("Every file", open=False):
            self.sizes = gr.HTML(elem_id="transfer-sizes")
            self.report = gr.HTML(elem_id="transfer-report")

    def wire(self, opened: Any) -> None:
        """The events; at `opened` the chosen source says what it costs."""
        steps, chosen = self.steps, [self.source, self.crop, self.added]
        self.consent.wire(steps.visit)
        priced = [self.source.change, opened]
        on(priced, lambda ref: encoding(cost_of(self.studio, ref)), self.source, self.takes, live=True)
        turned = on(self.source.input, self.crop_of, self.source, self.crop, live=True)
        aligned = on(self.align.click, lambda: "face", None, self.crop)
        taken = steps.on(self.take.click, self.other, *chosen[:2], outputs=chosen[:2])
        reads: list[tuple[Any, ...]] = [(box.upload, self.add, box) for box in (self.files, self.folder)]
        reads += [(e, self.again) for e in (turned.then, aligned.then, taken.then, self.crop.input)]
        for event, read, *inputs in reads:
            reading = steps.on(event, read, *inputs, *chosen, **MODEL_WORK)
            steps.on(reading.failure, self.as_before)
        reading = steps.on(self.sets.select, self.add_example, *chosen, detail=True, **MODEL_WORK)
        steps.on(reading.failure, self.as_before)
        steps.on(self.over.click, self.start_over)
        steps.on(self.thumbnails.select, self.toggle, self.page, detail=True, **MODEL_WORK)
        steps.on(self.page.input, self.turn, self.page, outputs=self.thumbnails, live=True)
        steps.on(self.drop.click, self.drop_near, self.page, **MODEL_WORK)
        steps.on(self.all.click, self.take_all, self.page, **MODEL_WORK)

    # Pictures in

    def crop_of(self, source: str) -> str:
        """How this source's card says that pictures become square."""
        return next((m.crop for m in self.studio.models.list() if m.id == source), "centre")

    def add(
        self, visit: Visit, files: list[str] | None, source: str, crop: Any, added: list[str] | None = None
    ) -> Iterator[Updates]:
        """Uploaded files: reads, checks and encodes them, and shows what can be rebuilt.

        The box is emptied first: what it holds it would send again with the next files.
        """
        yield {self.files: None}
        check_consent(self.studio, visit.agreed)
        paths = uploaded(files)
        title = paths[0].stem if len(paths) == 1 else f"{len(paths)} files of {time.strftime('%d %b, %H:%M')}"
        yield from self._read(visit, paths, source, crop, title, added)

    def add_example(
        self, visit: Visit, at: Any, source: str, crop: Any, added: list[str] | None
    ) -> Iterator[Updates]:
        """An example set; it brings its source model along if the chosen one does not suit it."""
        example = self.examples[index(at, self.examples)]
        if (suited := example.source(source)) != source:
            source, crop = suited, self.crop_of(suited)
        yield {self.source: source}
        yield from self._read(visit, example.files, source, crop, example.title, added)

    def again(self, visit: Visit, source: str, crop: Any, added: list[str] | None) -> Iterator[Updates]:
        """Reads the whole set once more, with another source or crop."""
        prepared, paths = self.waiting(visit), [Path(file) for file in added or ()]
        if prepared is None or (prepared.model, prepared.crop) == (source, crop):
            yield self.steps.unchanged
        elif not paths or not all(path.exists() for path in paths):  # reloaded, or tidied up meanwhile
            yield {self.steps.message: note("Add your pictures again to have them read this way.")}
        else:
            title = self.studio.runs.status(prepared.token).title
            yield from self._read(visit, paths, source, crop, title, None)

    def other(self, visit: Visit, source: str, crop: str) -> tuple[str, str]:
        """The model that knows the pictures better, and how it is to take them."""
        prepared = self.waiting(visit)
        better = prepared.others[0].id if prepared and prepared.others else source
        return better, "centre" if crop == "face" else crop

    def start_over(self, visit: Visit) -> Updates:
        """Empties the set."""
        self._drop(visit)
        emptied = {self.added: None, self.over: gr.Button(visible=False), self.steps.message: ""}
        return self.steps.only() | emptied | {self.steps.visit: visit.at(None).stored()}

    def waiting(self, visit: Visit) -> Prepared | None:
        """The visitor's set that is there, if it has not been trained on."""
        status = self.steps.status(visit.token)
        waits = status is not None and status.owned and status.state == State.PREPARED
        return self.studio.runs.prepared(visit.needed_token) if waits else None

    def _drop(self, visit: Visit) -> None:
        """Pictures that were only looked at need not be kept."""
        if waiting := self.waiting(visit):
            self.studio.runs.delete(waiting.token)

    def _read(
        self, visit: Visit, paths: Sequence[Path], source: str, crop: Any, title: str, added: list[str] | None
    ) -> Iterator[Updates]:
        """Adds to the set that is there, if it is read the same way; else makes a new one in its place."""
        message, cost, ref = self.steps.message, cost_of(self.studio, source), known_ref(self.studio, source)
        present = self.waiting(visit)
        token = present.token if present and (present.model, present.crop) == (source, crop) else None
        before = added if token else []
        yield {message: note("Reading the pictures …"), **self.steps.only()}
        new = {"crop": crop, "visitor": visit.visitor, "title": title}
        for event in self.read(paths, ref, token=token, **new):
            if isinstance(event, EncodeProgress):
                yield {message: read_so_far(event, cost)}
                continue
            here: Updates = {message: "", self.steps.visit: visit.at(event.token).stored()}
            here[self.added] = None if before is None else [*before, *map(str, paths)]
            yield self.shown(event) | self.steps.only("check", "train") | here
            if event.token != token:
                self._drop(visit)

    def as_before(self, visit: Visit) -> Updates:
        """What was there before a reading that failed is there still."""
        return self.steps.only(*(("check", "train") if self.waiting(visit) else ())) | {
            self.steps.message: ""
        }

    # What the model makes of them

    def shown(self, prepared: Prepared, ready: bool = True) -> Updates:
        """The set as it was read, and step 2; `ready` says that the run has not been started."""
        couples = self.comparison(prepared.token, count=COMPARED)
        aligned, faces = self.studio.runs.alignment(prepared.token), of_faces(prepared.report)
        told = "Your picture, below it what the model gets of it:"
        gets = f"below what the model gets: {CROPS[prepared.crop]}"
        cropped = note(f"Above your pictures as they are, {gets}. Change it under More.")
        trainable = ready and prepared.count > 1 and not on_zerogpu()  # there another process trains
        return {
            self.source: prepared.model,
            self.crop: prepared.crop,
            self.over: gr.Button(visible=ready),
            self.faces: faces or (cropped if aligned else ""),
            self.aligned: tiles(numbered(aligned, told)) if aligned else "",
            self.align: gr.Button(visible=ready and prepared.report.faces()[Remark.NOT_ALIGNED] > 0),
            self.compared: tiles(pairs(couples, REBUILT)),
            self.costs: costs(prepared, self.studio.runs.pace(prepared.token) if trainable else None),
            self.sizes: sizes(prepared.report.sizes()),
            self.report: table(prepared.report),
            **self._picked(prepared, 1, ready),
        }

    # Which of them are trained on

    def _picked(self, prepared: Prepared, page: int, ready: bool = True) -> Updates:
        """The verdict on those that are in, and a page of all; when the run is started none can be left out."""
        left = [pair for pair in prepared.near if pair[0] not in prepared.excluded] if ready else []
        better = f"Read them with {prepared.others[0].title} instead" if prepared.others else ""
        pages = -(-(prepared.count + len(prepared.excluded)) // PAGE)
        out = f" {plural(len(prepared.excluded), 'picture')} left out." if prepared.excluded else ""
        told = note(f"Click a picture to leave it out of the training, and again to take it in.{out}")
        return {
            self.summary: checked(prepared),
            self.ways: ways(prepared),
            self.take: gr.Button(better, visible=bool(better)),
            self.near: near(left),
            self.near_pairs: self._couples(prepared, left[:PAIRS]),
            self.drop: gr.Button(visible=bool(left)),
            self.picking: told if ready else "",
            self.page: gr.Slider(maximum=max(2, pages), value=page, visible=pages > 1),
            self.thumbnails: self._thumbnails(prepared, page),
            self.all: gr.Button(visible=ready and bool(prepared.excluded)),
        }

    def _couples(self, prepared: Prepared, left: Sequence[tuple[str, str]]) -> str:
        names = {name for pair in left for name in pair}
        pictures = dict(self.studio.runs.thumbnails(prepared.token, names=names)) if names else {}
        couples = [(pictures[like], pictures[name]) for name, like in left]
        return tiles(pairs(couples, "A picture, below it one like it:")) if left else ""

    def _thumbnails(self, prepared: Prepared, page: int) -> str:
        shown = self.studio.runs.thumbnails(prepared.token, (page - 1) * PAGE, PAGE)
        out = set(prepared.excluded)
        return tiles(
            Tile(i, f"{name}, left out" if name in out else name, pale=name in out) for name, i in shown
        )

    def toggle(self, visit: Visit, at: Any, page: float) -> Updates:
        """Leaves the clicked picture out, or takes it in again."""
        prepared = self.studio.runs.prepared(visit.needed_token)
        clicked = self.studio.runs.thumbnails(
            prepared.token, (int(page) - 1) * PAGE + index(at, range(PAGE)), 1
        )
        if not clicked:
            raise DataError("There is no such picture on this page.", "Turn the page.")
        return self._exclude(prepared.token, {*prepared.excluded} ^ {clicked[0][0]}, page)

    def drop_near(self, visit: Visit, page: float) -> Updates:
        """Leaves all near duplicates out."""
        prepared = self.studio.runs.prepared(visit.needed_token)
        return self._exclude(prepared.token, {*prepared.excluded, *(name for name, _ in prepared.near)}, page)

    def take_all(self, visit: Visit, page: float) -> Updates:
        """Takes everything in again."""
        return self._exclude(visit.needed_token, set(), page)

    def turn(self, visit: Visit, page: float) -> str:
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
    """The steps below each other, each shown when its turn has come."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.steps = studio, Steps(studio)
        self.pictures, self.training = Pictures(self.steps), Training(self.steps)
        self.shelf = Shelf(self.steps)
        self.result = Result(self.steps, self.shelf)

    def build(self, visit: gr.BrowserState) -> None:
        """The components; inside a gr.Tab."""
        self.steps.build(visit)
        self.pictures.build()
        self.steps.message.render()  # type: ignore[no-untyped-call]
        self.steps.part("check", self.pictures.build_check)
        self.steps.part("train", self.training.build_train)
        self.steps.part("live", self.training.build_live)
        self.steps.part("result", self.result.build)
        self.shelf.build()

    def wire(self, tab: gr.Tab, opening: Any) -> None:
        """The events: each step's own, and those that open a run; the page's own may, `opening`."""
        self.steps.outputs = [self.steps.visit, *named(tab)]
        self.pictures.wire(tab.select)
        self.training.wire()
        self.result.wire(self.training)
        self.shelf.wire()
        self.steps.on(self.shelf.open.click, self.look_at, self.shelf.runs)
        self.steps.on(opening, self.arrive)

    # Handlers

    def arrive(self, visit: Visit, request: gr.Request) -> Updates:
        """The page as it was, or with the run of the link that led here."""
        token = linked_run(request)
        if token and self.steps.status(token if is_key(token) else None):
            return self._reopen(visit.at(token))
        gone = note("There is no run under this link. It may have been deleted.")
        return self._reopen(visit) | ({self.steps.message: gone} if token else {})

    def look_at(self, visit: Visit, token: str | None) -> Updates:
        """Opens one of the visitor's earlier runs."""
        return self._reopen(visit.at(self.shelf.own(visit, token).token))

    def _reopen(self, visit: Visit) -> Updates:
        """The page as it was: with the browser's run, if it is still there."""
        status = self.steps.status(visit.token)
        visit = visit.at(status.token, status.look) if status else visit.at(None)
        known = self.shelf.known(visit) | self.pictures.consent.known(visit)
        known |= {self.steps.visit: visit.stored()}
        if status is None:
            return known
        prepared, waiting = self.studio.runs.prepared(status.token), status.state == State.PREPARED
        known |= self.pictures.shown(prepared, waiting and status.owned)
        if not waiting:
            return known | self.training.watch(visit, status)
        return known | self.steps.ready(status.owned)
