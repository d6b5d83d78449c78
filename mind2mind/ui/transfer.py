"""The tab Transfer: a folder of pictures in, a generator of new ones out, in four steps on one page.

A run lives in the worker and in its folder. The page only follows it by its token, which the browser keeps:
a closed tab loses nothing. Each step has a file of its own; here they are put together.
"""

import html
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from mind2mind.config import BUDGETS, TOLD_SECONDS, Limits
from mind2mind.data.faces import Remark
from mind2mind.data.images import grid
from mind2mind.errors import DataError, Mind2MindError
from mind2mind.files import read_json
from mind2mind.judge.verdict import Verdict
from mind2mind.runs.prepared import Prepared, ways_out
from mind2mind.ui.result import Result, Shelf
from mind2mind.ui.shared import (
    LIVE,
    MODEL_WORK,
    PRIVATE,
    QUIET,
    Consent,
    Visit,
    boxed,
    brief,
    captioned,
    check_seconds,
    clock,
    cost_of,
    gpu,
    is_key,
    known_ref,
    linked,
    note,
    on_zerogpu,
    pairs,
    plural,
    told,
    uploaded,
    wall,
)
from mind2mind.ui.training import CHECK, LIVE_PART, RESULT, TRAIN, Steps, Training, Updates, heading

if TYPE_CHECKING:
    from mind2mind.data.codes import EncodeProgress
    from mind2mind.data.dataset import FileReport, Report
    from mind2mind.draw import Cost
    from mind2mind.studio import Studio

# --- What is said of pictures, and the example sets in `assets/`: a folder each, with an about.json on them.

TABLE_ROWS = 500


def of_faces(report: "Report") -> str:
    """What was found of faces, where somebody wants them aligned; it stands above the pictures that show it."""
    found = report.faces()
    if not found:
        return ""
    counts = "; ".join(f"{number} x {remark}" for remark, number in found.most_common())
    if not found[Remark.NOT_ALIGNED]:
        turned = found[Remark.ALIGNED] > 0
        shown = "Above your pictures, below the faces as the model gets them." if turned else ""
        return note(f"{counts}.", shown)
    return boxed(
        "fair",
        f"{plural(found[Remark.NOT_ALIGNED], 'face')} not aligned",
        f"{counts}. This model knows faces only as FFHQ shows them: upright, eyes and mouth in their places.",
        "Above your pictures, below what aligning makes of them: press the button below, "
        "or choose the face under More and add the pictures again.",
    )


def table(report: "Report") -> str:
    """What became of each file, the skipped ones first."""
    rows = [*report.skipped, *report.used]
    shown = "".join(map(_row, rows[:TABLE_ROWS]))
    more = note(f"and {len(rows) - TABLE_ROWS} more") if len(rows) > TABLE_ROWS else ""
    head = "<tr><th>File</th><th>Verdict</th><th>Reason</th><th>Size</th></tr>"
    return f'<div class="m2m-table"><table><thead>{head}</thead><tbody>{shown}</tbody></table>{more}</div>'


def _row(file: "FileReport") -> str:
    size = f"{file.width} x {file.height}" if file.width else ""
    cells = (file.name, file.status, file.reason, size)
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"


def encoding(cost: "Cost | None", count: int = 20) -> str:
    """What it takes to read `count` pictures in."""
    seconds = count * cost.encode_seconds if cost else 0.0
    if cost is None or seconds < TOLD_SECONDS:
        return ""
    return note(
        f"This model reads a picture in about {brief(cost.encode_seconds)} here: "
        f"{count:,} pictures take about {clock(seconds)}, before the training."
    )


def read_so_far(progress: "EncodeProgress", cost: "Cost | None") -> str:
    """How far the reading of pictures is, and how long it goes on where that is noticeable."""
    if progress.total is None:
        return note(f"Read {plural(progress.done, 'picture')} …")
    left = (progress.total - progress.done) * cost.encode_seconds if cost else 0.0
    more = f", about {clock(left)} left" if left > TOLD_SECONDS else ""
    return note(f"Read {progress.done:,} of {plural(progress.total, 'picture')}{more} …")


def credits(examples: "Sequence[Example]") -> str:
    """Whose pictures the example sets are; each credit once."""
    return "".join(
        f'<div class="m2m-note"><p>{linked(c)}</p></div>'
        for c in dict.fromkeys(e.credit for e in examples)
        if c
    )


def deletion_clock(hours: int) -> str:
    """When what a visitor leaves here now will be deleted."""
    return note(
        f"What you upload is read and then deleted within the hour. What is made of it (the model, codes, small "
        f"copies of your pictures) is deleted on {date(time.time() + hours * 3600)}, or at once when you say so "
        "under Your runs."
    )


def date(seconds: float) -> str:
    """A time in words that mean the same everywhere."""
    return time.strftime("%d %B, %H:%M UTC", time.gmtime(seconds)).lstrip("0")


ASSETS = Path(__file__).resolve().parents[2] / "assets"


SHOWN = 9


@dataclass(frozen=True)
class Example:
    """A set of pictures to try a transfer with."""

    files: tuple[Path, ...]
    title: str
    credit: str
    models: tuple[str, ...] = ()  # ids of the source models it suits, the best one first; none: any

    def source(self, chosen: str) -> str:
        """The source model to take: the chosen one if the set suits it, else the set's own."""
        return chosen if not self.models or chosen in self.models else self.models[0]

    def collage(self) -> Image.Image:
        """The first pictures side by side."""
        opened = []
        for path in self.files[:SHOWN]:
            with Image.open(path) as image:
                opened.append(image.convert("RGB"))
        return grid([image.resize(opened[0].size) for image in opened])


def examples(assets: Path = ASSETS, models: Collection[str] | None = None) -> list[Example]:
    """What there is, by name; a folder without a readable about.json or without pictures is none.

    Given the ids of the source models there are, sets that suit none of them are left out.
    """
    found = []
    for about in sorted(assets.glob("*/about.json")):
        files = tuple(sorted(about.parent.glob("*.png")))
        try:
            told = read_json(about)
        except DataError:
            continue
        suits = tuple(map(str, told.get("models", ())))
        there = suits if models is None else tuple(model for model in suits if model in models)
        if files and (there or not suits):
            title = str(told.get("title", about.parent.name))
            found.append(Example(files, title, str(told.get("credit", "")), there))
    return found


# --- What the app says of a set of pictures before any training: small, escaped pieces of HTML.


def limits(most: Limits) -> str:
    """What may be uploaded, before it is."""
    return note(
        f"At most {most.files:,} pictures, each at most {most.file_bytes / 1e6:,.0f} MB and "
        f"{most.pixels / 1e6:,.0f} megapixels, all together {most.total_bytes / 1e6:,.0f} MB. What you add counts "
        "with what is there."
    )


def checked(prepared: "Prepared") -> str:
    """What came out of the check, before any training."""
    report, count, verdict = prepared.report, prepared.count, prepared.verdict
    skipped, excluded = len(report.skipped), len(prepared.excluded)
    reasons = "; ".join(f"{number} x {reason}" for reason, number in report.reasons().most_common())
    hope = report.advice(excluded)
    if not count and excluded:
        hope = "All pictures are left out: take some in again under All pictures."
    psnr = prepared.psnr_mean
    rebuilt = f"What the model can rebuild of them: {verdict}"
    rebuilt += f" ({psnr:.1f} dB; more is better)." if psnr == psnr else "."
    judged = f"Judged by {plural(prepared.judged, 'picture')} of them." if prepared.judged else ""
    kind = "fair" if count < 50 or verdict is Verdict.USABLE else "good"
    kind = "poor" if verdict is Verdict.UNKNOWN else kind
    title = f"{plural(count, 'picture')} can be used" + (f", {skipped} cannot" if skipped else "")
    title += f", {excluded} left out" if excluded else ""
    return boxed(kind, title, f"{reasons}." if reasons else "", hope, rebuilt, prepared.reason, judged)


def ways(prepared: "Prepared") -> str:
    """What to do if another model, or none, knows such pictures."""
    found = ways_out(prepared)
    return boxed("fair", "What you can do", *found) if found else ""


def costs(prepared: "Prepared", pace: float | None) -> str:
    """What reading took, and what a budget buys; `pace` in steps a second."""
    read = f"Reading them took {brief(prepared.seconds)}." if prepared.seconds else ""
    if not pace:
        return note(read)
    bought = ", ".join(f"{clock(b.seconds)} are about {pace * b.seconds:,.0f}" for b in BUDGETS.values())
    return note(f"{read} Training makes about {pace:,.0f} steps a second here: {bought} steps.")


def cropped(crop: str) -> str:
    """Above the pictures before and after the crop."""
    kept = {"fit": "the whole picture, with bars", "centre": "the square in the middle"}.get(crop, "the face")
    return note(f"Above your pictures as they are, below what the model gets: {kept}. Change it under More.")


def sizes(counts: dict[str, int]) -> str:
    """A bar for each range of sizes."""
    if not counts:
        return ""
    most = max(counts.values())
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)} px</th><td><div class="m2m-count" '
        f'style="width:{100 * count / most:.0f}%"></div></td><td>{count:,}</td></tr>'
        for name, count in counts.items()
    )
    return f'<table class="m2m-sizes"><caption>The shorter side of your pictures</caption>{rows}</table>'


def near(prepared: "Prepared") -> str:
    """How many near duplicates there are; they are only proposed."""
    left = [name for name, _ in prepared.near if name not in prepared.excluded]
    if not left:
        return ""
    return boxed(
        "fair",
        plural(len(left), "near duplicate"),
        "These look like others of your pictures: saved again, made smaller, or hardly changed. They are in "
        "the set until you leave them out: of each pair below the lower one.",
    )


def picking(prepared: "Prepared") -> str:
    """Above the thumbnails."""
    left = f" {plural(len(prepared.excluded), 'picture')} left out." if prepared.excluded else ""
    return note(f"Click a picture to leave it out of the training, and again to take it in.{left}")


# --- How uploads become a set: read by the source model, added to what is there, or read anew.
# What is added to a set is read as the rest of it; another source or crop reads all of it anew. As long as
# nothing has been trained, a set that another takes the place of is deleted.

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
        return self.studio.runs.prepared(status.token) if status and status.state == "prepared" else None

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
            self.studio.runs.delete(status.token)

    def _followed(
        self,
        visit: Visit,
        events: "Iterator[EncodeProgress | Prepared]",
        source: str,
        title: str,
        paths: Sequence[Path],
    ) -> Iterator[Updates]:
        message = self.steps.message
        yield {message: note("Reading the pictures …"), **self.steps.only()}
        try:
            for event in events:
                if isinstance(event, Prepared):
                    yield self._ready(visit, event) | {self.added: (title, [str(path) for path in paths])}
                else:
                    yield {message: read_so_far(event, cost_of(self.studio, source))}
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
        yield from self.studio.runs.prepare(paths, ref, crop=crop, visitor=visitor, title=title)

    def _extend(self, paths: Sequence[Path], token: str) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.runs.add(token, paths)


# --- Which pictures are trained on: thumbnails to click, and near duplicates to leave out at once.

PAGE = 60  # thumbnails at a time
PAIRS = 16  # near duplicates shown
LEFT_OUT = "left out"


class Picking:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps, summary: Callable[[Prepared], Updates]) -> None:
        self.steps, self.studio, self.summary = steps, steps.studio, summary

    def build(self) -> None:
        """Inside step 2."""
        self.near = gr.HTML(elem_id="transfer-near")
        self.near_pairs = wall("transfer-near-pairs", "m2m-pairs")
        self.drop = gr.Button("Leave the near duplicates out", visible=False, elem_id="transfer-drop-near")
        with gr.Accordion("All pictures", open=False, elem_id="transfer-all"):
            self.told = gr.HTML(elem_id="transfer-picking")
            self.page = gr.Slider(1, 2, 1, step=1, label="Page", visible=False, elem_id="transfer-page")
            self.thumbnails = wall("transfer-thumbnails", "m2m-tiles m2m-small", columns=6, to_pick=True)
            self.all = gr.Button("Take all in again", visible=False, elem_id="transfer-take-all")

    @property
    def outputs(self) -> list[Any]:
        """What `shown` updates."""
        return [self.near, self.near_pairs, self.drop, self.told, self.page, self.thumbnails, self.all]

    def wire(self, outputs: list[Any]) -> None:
        """The events; `outputs` are the components of all steps."""
        visit, settings = self.steps.visit, {"outputs": outputs, **QUIET, **MODEL_WORK}
        self.thumbnails.select(self.toggle, [visit, self.page], **settings)
        self.page.release(self.turn, [visit, self.page], self.thumbnails, **QUIET)
        self.drop.click(self.drop_near, [visit, self.page], **settings)
        self.all.click(self.take_all, [visit, self.page], **settings)

    def shown(self, prepared: Prepared, page: int = 1, ready: bool = True) -> Updates:
        """The thumbnails of a page; without `ready` the run has been started, and nothing can be left out."""
        encoded = prepared.count + len(prepared.excluded)
        pages = -(-encoded // PAGE)
        left = [name for name, _ in prepared.near if name not in prepared.excluded]
        return {
            self.near: near(prepared) if ready else "",
            self.near_pairs: self._pairs(prepared) if ready and left else gr.Gallery([], visible=False),
            self.drop: gr.Button(visible=ready and bool(left)),
            self.told: picking(prepared) if ready else "",
            self.page: gr.Slider(maximum=max(2, pages), value=page, visible=pages > 1),
            self.thumbnails: self._thumbnails(prepared, page),
            self.all: gr.Button(visible=ready and bool(prepared.excluded)),
        }

    def _thumbnails(self, prepared: Prepared, page: int) -> gr.Gallery:
        shown = self.studio.runs.thumbnails(prepared.token, (page - 1) * PAGE, PAGE)
        excluded = set(prepared.excluded)
        pictures = [
            (_pale(i), f"{name} · {LEFT_OUT}") if name in excluded else (i, name) for name, i in shown
        ]
        return gr.Gallery(pictures, selected_index=None)

    def _pairs(self, prepared: Prepared) -> gr.Gallery:
        near = [pair for pair in prepared.near if pair[0] not in prepared.excluded][:PAIRS]
        count = prepared.count + len(prepared.excluded)
        pictures = dict(self.studio.runs.thumbnails(prepared.token, 0, count))
        couples = [(pictures[like], pictures[name]) for name, like in near]
        return gr.Gallery(pairs(couples, "A picture, below it one like it:"), visible=True)

    # Handlers

    def toggle(self, stored: Any, page: float, chosen: gr.SelectData) -> Updates:
        """Leaves the clicked picture out, or takes it in again."""
        with told():
            prepared = self._prepared(stored)
            names = [
                name for name, _ in self.studio.runs.thumbnails(prepared.token, (int(page) - 1) * PAGE, PAGE)
            ]
            if not 0 <= chosen.index < len(names):
                raise DataError("There is no such picture on this page.", "Turn the page.")
            return self._exclude(prepared, {*prepared.excluded} ^ {names[chosen.index]}, page)

    def drop_near(self, stored: Any, page: float) -> Updates:
        """Leaves all near duplicates out."""
        with told():
            prepared = self._prepared(stored)
            return self._exclude(prepared, {*prepared.excluded, *(name for name, _ in prepared.near)}, page)

    def take_all(self, stored: Any, page: float) -> Updates:
        """Takes everything in again."""
        with told():
            return self._exclude(self._prepared(stored), set(), page)

    def turn(self, stored: Any, page: float) -> gr.Gallery:
        """Another page of thumbnails."""
        with told():
            return self._thumbnails(self._prepared(stored), int(page))

    def _prepared(self, stored: Any) -> Prepared:
        return self.studio.runs.prepared(Visit.of(stored).needed_token)

    def _exclude(self, prepared: Prepared, names: set[str], page: float) -> Updates:
        after = self.studio.runs.exclude(prepared.token, names)
        return self.summary(after) | self.shown(after, int(page))


def _pale(image: Image.Image) -> Image.Image:
    """A picture that is left out."""
    whole = image.convert("RGB")
    return Image.blend(whole, Image.new("RGB", whole.size, "white"), 0.75)


# --- Step 2 of the tab Transfer: what the source model makes of the pictures, before any training.

COMPARED = 8
CLOSER = 320  # px a side of the slider
CROPPED = "Your picture, below it what the model gets of it:"
REBUILT = "Your picture, below it what the model makes of it:"

# Gradio's slider gives its two pictures no words; it shows them a moment after the change
CLOSER_WORDS = """() => { for (const wait of [0, 100, 500, 2000]) setTimeout(() => {
  document.querySelectorAll('#transfer-closer img').forEach((picture, i) => {
    picture.alt = i ? 'Its reconstruction' : 'Your picture'; }); }, wait); }"""


class Check:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.comparison = gpu(self.studio.runs.comparison)
        self.picking = Picking(steps, self.summed_up)

    def build(self) -> None:
        """Inside its part of the page."""
        gr.HTML(heading(2, "What the model makes of them"))
        self.summary = gr.HTML(elem_id="transfer-summary")
        self.ways = gr.HTML(elem_id="transfer-ways")
        self.take = gr.Button(visible=False, variant="primary", elem_id="transfer-take")
        self.faces = gr.HTML(elem_id="transfer-faces")
        self.aligned = wall("transfer-aligned", "m2m-pairs")
        self.align = gr.Button("Align and crop the faces", visible=False, elem_id="transfer-align")
        gr.HTML(
            note(
                "Above your pictures, below what the model can rebuild of them. "
                "New pictures are drawn the same way: they can only be as good as the lower ones. "
                "Click one to see it larger below: on the left yours, on the right its reconstruction."
            )
        )
        self.compared = wall("transfer-compared", "m2m-pairs", to_pick=True)
        self.closer = gr.ImageSlider(
            label="Your picture and its reconstruction",
            show_label=False,  # it would lie on the picture
            format="png",
            height=CLOSER,
            interactive=False,
            buttons=["fullscreen"],
            elem_id="transfer-closer",
            elem_classes=["m2m-closer"],
        )
        self.costs = gr.HTML(elem_id="transfer-costs")
        self.picking.build()
        with gr.Accordion("Every file", open=False):
            self.sizes = gr.HTML(elem_id="transfer-sizes")
            self.report = gr.HTML(elem_id="transfer-report")

    @property
    def outputs(self) -> list[Any]:
        """What `shown` updates."""
        told_of = [self.summary, self.ways, self.take, self.faces, self.aligned, self.align]
        return [
            *told_of,
            self.compared,
            self.closer,
            self.costs,
            self.sizes,
            self.report,
            *self.picking.outputs,
        ]

    def wire(self, outputs: list[Any]) -> None:
        """The events of this step alone; `outputs` are the components of all steps."""
        self.compared.select(self.look_closer, self.steps.visit, self.closer, **QUIET, **MODEL_WORK)
        self.closer.change(None, js=CLOSER_WORDS, **PRIVATE)
        self.picking.wire(outputs)

    def shown(self, prepared: Prepared, ready: bool) -> Updates:
        """Step 2 of these pictures; `ready` says that the run has not been started."""
        couples = self.comparison(prepared.token, count=COMPARED)
        aligned, faces = self.studio.runs.alignment(prepared.token), of_faces(prepared.report)
        return {
            **self.summed_up(prepared),
            self.faces: faces or (cropped(prepared.crop) if aligned else ""),
            self.aligned: gr.Gallery(captioned(aligned, CROPPED), visible=bool(aligned)),
            self.align: gr.Button(visible=ready and prepared.report.faces()[Remark.NOT_ALIGNED] > 0),
            self.compared: gr.Gallery(pairs(couples, REBUILT), selected_index=None),
            self.closer: _slid(couples),
            self.costs: costs(prepared, self._pace(prepared) if ready else None),
            self.sizes: sizes(prepared.report.sizes()),
            self.report: table(prepared.report),
            **self.picking.shown(prepared, ready=ready),
        }

    def summed_up(self, prepared: Prepared) -> Updates:
        """The verdict, and what can be done about it."""
        better = f"Read them with {prepared.others[0].title} instead" if prepared.others else ""
        return {
            self.summary: checked(prepared),
            self.ways: ways(prepared),
            self.take: gr.Button(better, visible=bool(better)),
        }

    def _pace(self, prepared: Prepared) -> float | None:
        """Steps a second; on ZeroGPU this process is not the one that trains."""
        return None if prepared.count < 2 or on_zerogpu() else self.studio.runs.pace(prepared.token)

    def look_closer(self, stored: Any, chosen: gr.SelectData) -> tuple[Image.Image, Image.Image] | None:
        """The clicked picture and its reconstruction, one under the other."""
        with told():
            token = Visit.of(stored).needed_token
            return _slid(self.comparison(token, count=COMPARED, only=int(chosen.index)))


def _slid(couples: list[tuple[Image.Image, Image.Image]]) -> tuple[Image.Image, Image.Image] | None:
    """The first of them, for the slider."""
    if not couples:
        return None
    original, rebuilt = couples[0]
    side = max(CLOSER, *rebuilt.size)
    return original.resize((side, side)), rebuilt.resize((side, side))


# --- Step 1 of the tab Transfer: pictures in. Several uploads add up to one set, which the source model reads.

CROPS = [
    ("the square in the middle", "centre"),
    ("the whole picture, with bars", "fit"),
    ("the face, aligned and cropped", "face"),
]


class Pictures:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.examples = examples(models={m.id for m in self.studio.models.list() if m.kind == "source"})
        hours = self.studio.limits.keep_hours
        self.consent = Consent(self.studio, "transfer", lambda: deletion_clock(hours) if hours else "")
        self.check = Check(steps)
        self.reading = Reading(steps, self.shown)

    def crop_of(self, source: str) -> str:
        """How this source's card says that pictures become square."""
        return next((m.crop for m in self.studio.models.list() if m.id == source), "centre")

    def build(self) -> None:
        """Step 1."""
        sources = [(m.title, m.id) for m in self.studio.models.list() if m.kind == "source"]
        gr.HTML(
            heading(
                1, "Your pictures", "20 are a beginning, 200 are good. They should show one kind of thing."
            )
        )
        self.source = gr.Dropdown(
            sources,
            value=sources[0][1],
            label="Source model",
            visible=len(sources) > 1,
            elem_id="transfer-source",
            info="The model that already knows pictures like yours.",
        )
        self.takes = gr.HTML(elem_id="transfer-takes")
        with gr.Row():
            self._build_uploads()
            with gr.Column(scale=1, min_width=280, visible=bool(self.examples)):
                self._build_examples()
        with gr.Accordion("More", open=False) as self.more:
            self.crop = gr.Radio(
                CROPS,
                value=self.crop_of(sources[0][1]),
                elem_id="transfer-crop",
                label="Use of each picture",
                info="Another choice reads all pictures of the set again.",
            )
        self.over = gr.Button("Start over with an empty set", visible=False, elem_id="transfer-over")
        self.reading.build()

    def _build_uploads(self) -> None:
        with gr.Column(scale=1, min_width=280):
            self.consent.build()
            with gr.Column(visible=not self.consent.needed, min_width=280) as self.uploads:
                gr.HTML(limits(self.studio.limits), visible=self.studio.public, elem_id="transfer-limits")
                self.files = gr.File(
                    file_count="multiple", label="Drop pictures, or one zip", height=150,
                    elem_id="transfer-files",
                )  # fmt: skip
                self.folder = gr.UploadButton(
                    "Choose a folder …", file_count="directory", elem_id="transfer-folder"
                )
        self.consent.opens.append(self.uploads)

    def _build_examples(self) -> None:
        gr.HTML(note("Or try an example:"))
        collages = [(e.collage(), e.title) for e in self.examples]
        self.sets = wall("transfer-sets", "m2m-sets", collages, label="Examples", to_pick=True)
        gr.HTML(credits(self.examples))

    @property
    def outputs(self) -> list[Any]:
        """What these handlers and `shown` may update, beside what all may."""
        own = [self.files, self.source, self.crop, self.reading.added, self.over]
        return [*own, *self.consent.outputs, *self.check.outputs]

    def wire(self, outputs: list[Any]) -> None:
        """The events; `outputs` are the components of all steps."""
        visit = self.steps.visit
        settings: dict[str, Any] = {"outputs": outputs, **QUIET, **MODEL_WORK}
        self.consent.wire(visit)
        self.tell_price_on(self.source.change)
        added = self.reading.added
        chosen = [self.source, self.crop, added]
        for box in (self.files, self.folder):
            box.upload(self.add, [visit, box, *chosen], **settings)
        self.sets.select(self.add_example, [visit, *chosen], **settings)
        self.source.input(self.crop_of, self.source, self.crop, **LIVE).then(
            self.again, [visit, *chosen], **settings
        )
        self.crop.input(self.again, [visit, *chosen], **settings)
        self.check.align.click(self.align_faces, [visit, self.source, added], **settings)
        self.check.take.click(self.take_other, [visit, added], **settings)
        self.over.click(self.start_over, visit, outputs, **QUIET)
        self.check.wire(outputs)

    @property
    def turns(self) -> list[Any]:
        """The events that turn to other pictures, and so away from the run that is followed."""
        return [self.files.upload, self.folder.upload, self.sets.select, self.over.click]

    def tell_price_on(self, event: Any) -> None:
        """Says what the chosen source costs on one more event: the tab's opening."""
        event(self.price, self.source, self.takes, **LIVE)

    # Handlers

    def price(self, source: str) -> str:
        """What reading pictures in with this source costs."""
        return encoding(cost_of(self.studio, source))

    def add_example(
        self, stored: Any, source: str, crop: Any, added: Added | None, chosen: gr.SelectData
    ) -> Iterator[Updates]:
        """An example set; it brings its source model along if the chosen one does not suit it."""
        example = self.examples[chosen.index]
        if (suited := example.source(source)) != source:
            source, crop = suited, self.crop_of(suited)
        yield {self.source: source}
        files, visit = list(example.files), Visit.of(stored)
        yield from self.reading.add(visit, files, source, crop, added, example.title)

    def add(
        self, stored: Any, files: list[str] | str | None, source: str, crop: Any, added: Added | None = None
    ) -> Iterator[Updates]:
        """Uploaded files: reads, checks and encodes them, and shows what can be rebuilt.

        The box is emptied first: what it holds it would send again with the next files.
        """
        yield {self.files: None}
        with told():
            self.consent.check(stored)
            paths = uploaded(files)
            title = (
                paths[0].stem if len(paths) == 1 else f"{len(paths)} files of {time.strftime('%d %b, %H:%M')}"
            )
        yield from self.reading.add(Visit.of(stored), paths, source, crop, added, title)

    def again(self, stored: Any, source: str, crop: Any, added: Added | None) -> Iterator[Updates]:
        """Reads the whole set once more, with another source or crop."""
        prepared = self.reading.waiting(Visit.of(stored))
        title, files = added or ("", [])
        paths = [Path(file) for file in files]
        if prepared is None or (prepared.model, prepared.crop) == (source, crop):
            yield self.steps.unchanged
        elif not paths or not all(path.exists() for path in paths):  # reloaded, or tidied up meanwhile
            yield {self.steps.message: note("Add your pictures again to have them read this way.")}
        else:
            yield from self.reading.anew(Visit.of(stored), paths, source, crop, title)

    def align_faces(self, stored: Any, source: str, added: Added | None) -> Iterator[Updates]:
        """The same pictures, their faces aligned."""
        yield from self.again(stored, source, "face", added)

    def take_other(self, stored: Any, added: Added | None) -> Iterator[Updates]:
        """The same pictures, read by the model that knows them better."""
        prepared = self.reading.waiting(Visit.of(stored))
        if prepared and prepared.others:
            other = prepared.others[0].id
            crop = "centre" if prepared.crop == "face" else prepared.crop
            yield from self.again(stored, other, crop, added)

    def start_over(self, stored: Any) -> Updates:
        """Empties the set."""
        visit = Visit.of(stored)
        self.reading.drop(visit)
        emptied = {self.reading.added: None, self.over: gr.Button(visible=False), self.steps.message: ""}
        return self.steps.only() | emptied | {self.steps.visit: visit.at(None).stored()}

    def shown(self, prepared: Prepared, ready: bool = True) -> Updates:
        """The set as it was read, and step 2; `ready` says that the run has not been started."""
        return {
            self.source: prepared.model,
            self.crop: prepared.crop,
            self.over: gr.Button(visible=ready),
            **self.check.shown(prepared, ready),
        }


def linked_run(request: gr.Request) -> str | None:
    """The run that the page's address names."""
    token = request.query_params.get("run")
    return str(token) if token else None


class TransferTab:
    """The steps below each other, each shown when its turn has come."""

    def __init__(self, studio: "Studio") -> None:
        self.studio, self.steps = studio, Steps(studio)
        self.shelf = Shelf(self.steps)
        self.pictures, self.training, self.result = (
            Pictures(self.steps),
            Training(self.steps),
            Result(self.steps, self.shelf),
        )
        self.follows: list[Any] = []

    def build(self, visit: gr.BrowserState) -> None:
        """The components; inside a gr.Tab."""
        self.steps.build(visit)
        self.pictures.build()
        self.steps.build_message()
        with self.steps.part(CHECK):
            self.pictures.check.build()
        with self.steps.part(TRAIN):
            self.training.build_train()
        with self.steps.part(LIVE_PART):
            self.training.build_live()
        with self.steps.part(RESULT):
            self.result.build()
        self.shelf.build()

    @property
    def outputs(self) -> list[Any]:
        """All that a handler may update."""
        steps = (self.pictures, self.training, self.result, self.shelf)
        return [*self.steps.outputs, *(component for step in steps for component in step.outputs)]

    def wire(self) -> None:
        """The events: each step's own, and those that lead from one step to another."""
        outputs: dict[str, Any] = {"outputs": self.outputs, **QUIET}
        visit = self.steps.visit
        self.pictures.wire(self.outputs)
        self.training.wire(self.outputs, self.follow_after, self.result.forget)
        self.result.wire(self.outputs)
        self.follow_after(self.result.go_on.click(self.training.train_on, visit, **outputs))
        self.shelf.wire(self.outputs)
        self.follow_after(self.shelf.open.click(self.look_at, [visit, self.shelf.runs], **outputs))

    def follow_after(self, event: Any) -> None:
        """After what begins or opens a run: follow it to its end, then show what came of it."""
        outputs: dict[str, Any] = {"inputs": self.steps.visit, "outputs": self.outputs, **QUIET}
        followed = event.success(self.training.follow, concurrency_limit=None, **outputs)
        self.follows.append(followed)
        followed.success(self.result.finish, **outputs, **MODEL_WORK)

    def unfollow(self) -> None:
        """What turns to another run ends the following of the one before; call when all is wired."""
        steps = (self.pictures, self.training, self.result, self.shelf)
        turns = [turn for step in steps for turn in step.turns]
        gr.on(turns, None, cancels=self.follows, **PRIVATE)

    # Handlers

    def arrive(self, stored: Any, request: gr.Request) -> Updates:
        """The page as it was, or with the run of the link that led here."""
        token = linked_run(request)
        if token is None:
            return self.reopen(stored)
        if self.steps.status(token if is_key(token) else None) is None:
            gone = note("There is no run under this link. It may have been deleted.")
            return self.reopen(stored) | {self.steps.message: gone}
        return self.reopen(Visit.of(stored).at(token).stored())

    def look_at(self, stored: Any, token: str | None) -> Updates:
        """Opens one of the visitor's earlier runs."""
        with told():
            return self.reopen(Visit.of(stored).at(self.shelf.own(stored, token)).stored())

    def reopen(self, stored: Any) -> Updates:
        """The page as it was: with the browser's run, if it is still there."""
        with told():
            visit = Visit.of(stored)
            status = self.steps.status(visit.token)
            visit = visit.at(status.token if status else None)
            updates: Updates = {
                self.steps.visit: visit.stored(),
                **self.shelf.known(visit),
                **self.pictures.consent.known(visit),
            }
            if status is None:
                return updates
            seen = self.steps.only(CHECK, TRAIN if status.state == "prepared" else LIVE_PART)
            prepared, ready = self.studio.runs.prepared(status.token), status.state == "prepared"
            return updates | self.pictures.shown(prepared, ready) | seen
