"""Step 4 of the tab Transfer: what came of a run and how, taking it along, and the list of all runs."""

import html
import importlib.util
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from mind2mind.config import size_text
from mind2mind.errors import PIP, DataError, RunError
from mind2mind.runs.findings import Numbers, Outcome
from mind2mind.runs.run import RunStatus, State
from mind2mind.ui import shared as ui
from mind2mind.ui.training import (
    MORE_STEPS,
    UNITS,
    Step,
    Steps,
    Training,
    Updates,
    deleted,
    distance_chart,
    length,
    loss_chart,
    named,
    standing,
)

# --- Your runs: a list to open, rename and delete from. Whoever's browser began a run sees it, nobody else.


def entry_line(entry: RunStatus) -> str:
    """A run in the list: title, state, when, on which model, how much it takes."""
    info = entry.info
    when = time.strftime("%d %b, %H:%M", time.localtime(info.created))
    pictures = ui.plural(info.found.count, "picture")
    return f"{info.title or 'Run'} · {entry.state} · {when} · {pictures} · {info.model} · {size_text(info.bytes)}"


def everything(entries: Sequence[RunStatus]) -> str:
    """What would be deleted of a visitor's."""
    runs, size = ui.plural(len(entries), "run"), size_text(sum(entry.info.bytes for entry in entries))
    return f"{runs}, {size}: models, codes, small copies of pictures; also a run at work."


class Shelf:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio

    def build(self) -> None:
        """At the end of the tab."""
        with gr.Accordion("Your runs", open=False, elem_id="transfer-shelf") as self.box:
            self.runs = gr.Radio([], label="Choose one", elem_id="transfer-runs")
            with gr.Row():
                self.open = gr.Button("Open", elem_id="transfer-run-open")
                sure = ui.ask_twice("Delete …", "Yes, delete this run")
                self.drop = gr.HTML(sure, js_on_load=ui.ASKS, elem_id="transfer-run-delete")
            with gr.Row():
                one_line: dict[str, Any] = {"max_lines": 1, "max_length": 200, "scale": 3}
                self.title = gr.Textbox(label="Another title", elem_id="transfer-run-title", **one_line)
                self.rename = gr.Button("Rename", scale=1, min_width=120, elem_id="transfer-run-rename")
            self.all = gr.HTML(js_on_load=ui.ASKS, elem_id="transfer-delete-all")

    def wire(self) -> None:
        """The events of the list alone. Opening is the tab's."""
        steps, runs = self.steps, self.runs
        steps.on(runs.input, self.chosen, runs, outputs=self.title)
        steps.on(self.drop.delete, self.delete, runs)
        steps.on([self.rename.click, self.title.submit], self.renamed, runs, self.title)
        steps.on(self.all.delete, self.delete_all)

    def known(self, visit: ui.Visit) -> Updates:
        """The list as it is now, with the visitor's run chosen."""
        own = self.studio.runs.list(visit.visitor)
        entries = [entry for entry in own if entry.state != State.PREPARED]
        titles = {entry.token: entry.info.title for entry in entries}
        chosen = visit.token if visit.token in titles else None
        return {
            self.box: gr.Accordion(visible=bool(entries)),
            self.runs: gr.Radio(choices=[(entry_line(e), e.token) for e in entries], value=chosen),
            self.title: titles[chosen] if chosen else "",
            self.all: ui.ask_twice("Delete everything of mine …", "Yes, delete it all", everything(own)),
        }

    def own(self, visit: ui.Visit, token: str | None) -> RunStatus:
        """The chosen run, which must be the visitor's.

        Raises:
            RunError: none is chosen, or it is gone.
        """
        found = [entry for entry in self.studio.runs.list(visit.visitor) if entry.token == token]
        if not found:
            raise RunError("No run is chosen.", "Choose one of the list first.")
        return found[0]

    def chosen(self, visit: ui.Visit, token: str | None) -> str:
        """The title of the run, to be changed."""
        return self.own(visit, token).info.title

    def renamed(self, visit: ui.Visit, token: str | None, title: str) -> Updates:
        """Gives the run and its model another title."""
        self.studio.runs.rename(self.own(visit, token).token, str(title))
        return self.known(visit.at(token))

    def delete(self, visit: ui.Visit, token: str | None) -> Updates:
        """Deletes the chosen run."""
        return self._delete(visit, self.own(visit, token).token)

    def delete_shown(self, visit: ui.Visit) -> Updates:
        """Deletes the run that the page shows."""
        return self._delete(visit, visit.needed_token)

    def _delete(self, visit: ui.Visit, token: str) -> Updates:
        """At once and with everything in it; a page that shows it turns away."""
        ui.delete_run(self.studio, token)
        left = visit.forgetting(token)
        if token != visit.token:
            return {self.steps.visit: left.stored(), **self.known(left)}
        return self._left(left.at(None), deleted(self.studio.public))

    def delete_all(self, visit: ui.Visit) -> Updates:
        """Deletes all of the visitor's runs and opened models; the browser then remembers nothing of them."""
        entries = self.studio.runs.list(visit.visitor)
        tokens = {*visit.models, *(token for entry in entries for token in (entry.token, entry.look))}
        count = self.studio.runs.delete_all(visit.visitor, visit.models)
        for token in filter(None, tokens):
            ui.forget_made(token)
        what = f"Deleted: {ui.plural(count, 'run')} with codes, models and small copies of pictures."
        said = deleted(self.studio.public, what if count else "There was nothing to delete.")
        return self._left(ui.Visit(visit.visitor), said)

    def _left(self, visit: ui.Visit, said: str) -> Updates:
        here = {self.steps.visit: visit.stored(), self.steps.message: said}
        return self.steps.to("pictures") | here | self.known(visit)


# --- The result of one run.

PAIRS = 16  # of new pictures and the nearest of the user's
BESIDE = 16  # pictures of each of two runs
ALIKE = "A new picture above the nearest of yours, the most alike first:"
RULE = (
    "A near copy is nearer to one of your pictures than 99 % of your pictures are to the one most like them, "
    "or than half of that usual distance, and at most half as far from it as from your fifth nearest. "
    "About 1 % happens by chance."
)


def at_a_glance(status: RunStatus) -> str:
    """Quality, variety and originality: a word, a number and a bar each; what they mean is behind a fold."""
    title = "New pictures"
    if (worth := status.info.worth) is None:
        return ui.boxed("fair", title, *status.told)
    original = 1 - worth.copies / worth.samples
    measured = {
        "quality": (worth.quality, worth.quality / max(worth.usual, worth.quality, 0.01)),
        "variety": (min(1.0, worth.variety),) * 2,
        "originality": (original, original),
    }
    rows = "".join(
        f'<div class="m2m-gauge m2m-{grade.value}"><b>{name.capitalize()}</b> {grade.value}, '
        f"{measured[name][0]:.0%}{ui.bar(measured[name][1], name)}</div>"
        for name, grade in worth.grades.items()
    )
    means = f'<details class="m2m-log"><summary>What this means</summary>{ui.note(*status.told)}</details>'
    return f'<div class="m2m-gauges" role="status"><h3>{title}</h3>{rows}{means}</div>'


def copies(found: Outcome) -> str:
    """What the pairs below it are, and what counts as a copy."""
    near = sum(found.near)
    first = "the first is a near copy" if near == 1 else f"the first {near} are near copies"
    shown = f"Of those shown here {first}." if near else ""
    return ui.note("Above new pictures, below the nearest of yours; the most alike first.", shown, RULE)


MEASURES = {  # what each is, and what is perfect
    "precision": ("how many of the new pictures are among yours", "1"),
    "recall": ("how many of yours are among the new ones", "1"),
    "coverage": ("how many of yours have a new one beside them", "1"),
    "1-NN": ("how often the nearest picture tells new from yours", "0.5"),
    "energy": ("a distance, at most 1", "0"),
    "kernel": ("a distance by the kernel of KID", "0"),
}
SPACES = {
    "codes": "as the model reads pictures",
    "pixels": "as they are, at 32 px",
    "independent": "as a network for photographs reads them, which had no part in this",
}


def numbers(found: Numbers) -> str:
    """A table of all that is measured, and the parts of the distance between new pictures and the user's."""
    rows = {
        space: ["" if value is None else f"{max(0.0, value):.3f}" for value in near.named.values()]
        for space, near in found.spaces.items()
    }
    rows["perfect"] = [perfect for _, perfect in MEASURES.values()]
    head = "".join(f'<th scope="col" title="{what}">{name}</th>' for name, (what, _) in MEASURES.items())
    body = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>'
        for name, values in rows.items()
    )
    means = [f"{name}: {what}." for name, (what, _) in MEASURES.items()]
    means += [f"{name}: {what}." for name, what in SPACES.items() if name in found.spaces]
    return (
        f'<div class="m2m-table"><table><tr><th></th>{head}</tr>{body}</table></div>'
        + ui.note(
            "" if found.independent else f'For the row "independent" run `{PIP} -e ".[measure]"`.',
            f"What lies between the {found.samples} new pictures measured and your {found.pictures}:",
            f"What the model rebuilds of your pictures: {found.rebuilt:.1f} dB; no training comes nearer.",
            f"How far the codes are apart: energy {found.before:.3f} before it learnt, "
            f"{max(0.0, found.codes.energy):.3f} now.",
            "" if found.gap is None else f"By how much the critic still tells them apart: {found.gap:.3f}.",
        )
        + f'<details class="m2m-log"><summary>What rows and columns are</summary>{ui.note(*means)}</details>'
    )


FILES = {  # of a run, beside its model: what each is
    "{}-pictures.zip": "the pictures above as PNGs, each of which says its model and seed",
    "curves.csv": "what was measured as it learnt",
    "curves.png": "the same as a drawing",
}
CODES = "codes.safetensors"


def hub_login() -> bool:
    """Whether visitors can sign in with their own account of the Hugging Face Hub: on a Space that allows it."""
    needed = ("authlib", "itsdangerous")  # of Gradio's extra `oauth`, which Spaces install
    asked = all(name in os.environ for name in ("SPACE_ID", "OAUTH_CLIENT_ID"))
    return asked and all(importlib.util.find_spec(name) for name in needed)


class Result:
    """The components and their handlers."""

    def __init__(self, steps: Steps, shelf: Shelf) -> None:
        self.steps, self.studio, self.shelf, self.hub = steps, steps.studio, shelf, hub_login()
        runs = self.studio.runs
        self.harvest, self.judge, self.pack = ui.gpu(runs.result), ui.gpu(runs.judge), ui.gpu(runs.pack)
        self.preview, self.film = ui.gpu(runs.preview), ui.gpu(runs.film)
        self.parts, self.numbers = ui.gpu(self._parts), ui.gpu(runs.numbers)
        self.sample, self.kept = ui.gpu(self.studio.draw.sample), ui.gpu(runs.keep)

    def build(self) -> None:
        """Inside its part of the page."""
        self.drawn = gr.State()  # the run whose result is in the components
        with gr.Column(elem_id="transfer-made") as self.made:
            with gr.Row(elem_classes="m2m-beside"):
                with gr.Column(scale=3, min_width=320):
                    self.samples = ui.wall("transfer-samples", "m2m-eight")
                with gr.Column(scale=2, min_width=320):
                    self.verdict = gr.HTML(elem_id="transfer-verdict")
                    self.use = gr.Button("Use it", variant="primary", elem_id="transfer-use")
                    self.download = gr.DownloadButton("Download the model", elem_id="transfer-download")
                    self._build_keep()
            with gr.Accordion("Numbers", open=False, elem_id="transfer-measure") as self.measure:
                self.measured = gr.HTML(elem_id="transfer-measured")
            with gr.Accordion("Copies?", open=False):
                self.nearest = ui.wall("transfer-nearest", "m2m-eight")
            with gr.Accordion("How it learnt", open=False, elem_id="transfer-story"):
                self.curves = gr.HTML(elem_id="transfer-curves")
                with gr.Column(elem_id="transfer-previews-then") as self.story:
                    self.moment = gr.Slider(1, 2, 2, step=1, label="Preview", elem_id="transfer-moment")
                    self.moments = ui.wall("transfer-moments", "m2m-eight")
                    with gr.Row(elem_classes="m2m-line"):
                        self.keep = gr.Button("Keep this step", size="sm", elem_id="transfer-keep")
                        self.keep_last = gr.Button("Keep the last", size="sm", elem_id="transfer-keep-last")
                        self.make_film = gr.Button(
                            "Make a film (MP4)", size="sm", elem_id="transfer-make-film"
                        )
                    self.clip = gr.Video(
                        label="The training as a film", interactive=False, visible=False, autoplay=True,
                        loop=True, elem_id="transfer-film", buttons=["download"], height=420,
                    )  # fmt: skip
            with gr.Accordion(
                "Compare", open=False, visible=False, elem_id="transfer-compare"
            ) as self.comparing:
                self.other = gr.Dropdown([], value=None, label="The other run", elem_id="transfer-other-run")
                self.side_by_side = ui.wall("transfer-side-by-side", "m2m-four")
            with gr.Accordion("The source model", open=False, elem_id="transfer-source-model") as self.origin:
                self.of_source = ui.wall("transfer-of-source", "m2m-small")
        with gr.Accordion("Train on", open=False, elem_id="transfer-further") as self.further:
            with gr.Row(elem_id="transfer-more-time") as self.more:
                self.amount, self.unit = length(MORE_STEPS, UNITS[1], "transfer-more")
            self.go_on = gr.Button("Go on training", elem_id="transfer-go-on")

    def _build_keep(self) -> None:
        with gr.Accordion("Downloads", open=False, elem_id="transfer-downloads") as self.downloads:
            self.files = gr.File(
                file_count="multiple", label="Files", interactive=False, elem_id="transfer-parts"
            )
            self.files_are = gr.HTML(elem_id="transfer-parts-are")
            self.everything = gr.Button("Download everything, film included", elem_id="transfer-pack")
        text: dict[str, Any] = {"interactive": False, "lines": 2, "buttons": ["copy"]}
        with gr.Accordion("In Python", open=False):
            beside = "In Python, beside the unzipped folder of the model"
            self.python = gr.Textbox(label=beside, elem_id="transfer-python", **text)
            repeats = "The command that repeats this run, with the same pictures"
            self.command = gr.Textbox(label=repeats, elem_id="transfer-command", **text)
        if not self.hub:
            return
        with gr.Accordion("Send it to the Hugging Face Hub", open=False):
            sent = "only the model, its card and 16 samples are sent."
            gr.HTML(ui.note(f"Your pictures and their codes stay here: {sent}"))
            gr.LoginButton(elem_id="transfer-login")
            with gr.Row():
                called = "Name of the new repository"
                self.name = gr.Textbox(label=called, max_lines=1, elem_id="transfer-hub-name")
                private = "Private: only you see it"
                self.private = gr.Checkbox(True, label=private, elem_id="transfer-hub-private")
            self.preview_card = gr.Button("Show me the card first", elem_id="transfer-hub-look")
            self.card = gr.Textbox(
                label="Its card", lines=16, max_lines=30, interactive=False, visible=False,
                elem_id="transfer-hub-card",
            )  # fmt: skip
            self.send = gr.Button("Send it", variant="primary", visible=False, elem_id="transfer-hub-send")
            self.sent = gr.HTML(elem_id="transfer-hub-sent")

    def wire(self, training: Training) -> None:
        """The events; the end of a run that `training` follows brings its result."""
        steps, self.standing = self.steps, training.status
        shown = [steps.clock, steps.message, *named(steps.parts["result"])]
        ends = training.ended.change
        drawn = steps.on(ends, self.finish, self.drawn, outputs=shown, live=True, **ui.MODEL_WORK)
        complete = [steps.on(drawn.success, self.reveal, self.drawn, steps.now, queue=False)]
        steps.on(training.delete.delete, self.shelf.delete_shown, queue=False)
        steps.on(self.go_on.click, training.train_on, self.amount, self.unit)
        steps.on(self.other.input, self.beside, self.other, outputs=self.side_by_side, **ui.MODEL_WORK)
        steps.on(self.moment.input, self.at, self.moment, outputs=self.moments, live=True, **ui.MODEL_WORK)
        full: dict[str, Any] = {"show_progress": "full"}
        film = {"show_progress_on": self.make_film, **full, **ui.MODEL_WORK}
        for button, keep, given in (
            (self.keep, self.keep_this, [self.moment]),
            (self.keep_last, self.keep_it, []),
        ):
            settings = {"show_progress_on": button, **full, **ui.MODEL_WORK}
            complete.append(steps.on(button.click, keep, *given, **settings))
        told = [self.verdict, self.download, self.drawn]
        for event in complete:
            steps.on(event.success, self.judged, self.drawn, outputs=told, concurrency_limit=None)
        steps.on(self.make_film.click, self.filmed, outputs=self.clip, **film)
        files = [self.files, self.files_are]
        steps.on(self.downloads.expand, self.taken_apart, outputs=files, **full, **ui.MODEL_WORK)
        steps.on(self.measure.expand, self.measure_now, self.measured, outputs=self.measured, **ui.MODEL_WORK)
        steps.on(self.origin.expand, self.draw_source, outputs=self.of_source, **full, **ui.MODEL_WORK)
        ui.on_save(self.everything, lambda stored: self.packed(ui.Visit.of(stored)), steps.visit)
        if self.hub:
            shown = [self.card, self.send, self.sent]
            steps.on(self.preview_card.click, self.card_of, self.name, outputs=shown, **full)
            steps.on(self.send.click, self.publish, self.name, self.private, outputs=shown[1:], **full)

    # Handlers

    def finish(self, visit: ui.Visit, drawn: tuple[Any, ...] | None = None) -> Updates:
        """What came of the run, once it has ended; of one that has no model only that one can go on."""
        status = self.steps.status(visit.token)
        if status is None or status.state.alive:  # the page has turned to another run: that one is looked at
            return {self.drawn: None, self.steps.clock: gr.Timer(active=status is not None)}
        if drawn == status.result:  # it is all there, and open what was opened
            return self.steps.unchanged
        done = status.state == State.DONE
        updates = {
            self.drawn: status.result,
            self.made: gr.Column(visible=status.usable),
            self.more: gr.Row(visible=done and status.owned),
            self.further: gr.Accordion(open=not done, visible=status.owned),
            self.go_on: gr.Button("Train on" if done else "Go on training", visible=status.owned),
            self.everything: gr.Button(visible=status.owned),
            self.curves: distance_chart(status) + loss_chart(status),
        }
        return updates | (self._shown(self.harvest(status.token, judged=False)) if status.usable else {})

    def reveal(self, visit: ui.Visit, drawn: tuple[Any, ...] | None, now: Step) -> Updates:
        """Shows what was drawn, if the page has not turned to another run, or another step, meanwhile."""
        known, status = self.shelf.known(visit), self.steps.status(visit.token)
        if status is None or not drawn or drawn[0] != visit.token:
            return known
        others = (e for e in self.studio.runs.list(visit.visitor) if e.usable and e.token != visit.token)
        choices = [(entry_line(entry), entry.token) for entry in others]
        known |= {
            self.comparing: gr.Accordion(visible=bool(choices)),
            self.other: gr.Dropdown(choices=choices, value=None),
            self.side_by_side: "",
        }
        if now in ("live", "result"):
            return known | self.steps.to("result", status) | {self.steps.message: ""}
        return known | {self.steps.way: self.steps.line(now, status)}

    def judged(self, visit: ui.Visit, drawn: tuple[Any, ...] | None) -> Updates:
        """What is shown is worth, and its model as a file for whoever owns the run: the card says so, too."""
        status = self.steps.status(visit.token)
        if status is None or not drawn or drawn[0] != visit.token or not status.usable:
            return {self.drawn: drawn}
        status = self.judge(status.token)
        shown: Updates = {self.verdict: at_a_glance(status), self.drawn: status.result}
        if status.owned:
            file = ui.once("{}.zip", status, self.studio.models.export)
            label = f"Download the model ({size_text(Path(file).stat().st_size)})"
            shown[self.download] = gr.DownloadButton(label, value=file, visible=True)
        return shown

    def _shown(self, found: Outcome) -> Updates:
        order = sorted(range(len(found.samples)), key=found.distance.__getitem__)[:PAIRS]
        couples = [(found.samples[i], found.originals[i]) for i in order]
        steps, kept, owned = found.status.preview_steps, found.status.info.kept, found.status.owned
        number = 1 + steps.index(kept) if kept in steps else len(steps)
        updates: Updates = {
            self.verdict: at_a_glance(found.status),
            self.samples: ui.tiles(ui.numbered(found.samples, "New picture")),
            self.nearest: copies(found) + ui.tiles(ui.pairs(couples, ALIKE)),
            self.story: gr.Column(visible=len(steps) > 1),
            self.moment: gr.Slider(maximum=max(2, len(steps)), value=number),
            self.keep: gr.Button(visible=owned),
            self.keep_last: gr.Button(visible=owned and kept is not None),
            self.moments: self._moment(found.status, number),
            self.clip: gr.Video(None, visible=False),
            self.origin: gr.Accordion(open=False),
            self.of_source: "",
            self.download: gr.DownloadButton(visible=False),
            self.downloads: gr.Accordion(open=False),
            self.files: None,
            self.measure: gr.Accordion(open=False),
            self.measured: "",
            self.python: found.python,
            self.command: found.command,
        }
        if self.hub:
            hidden = {self.card: gr.Textbox(visible=False), self.send: gr.Button(visible=False)}
            updates |= {self.name: found.status.name, self.sent: "", **hidden}
        return updates

    def beside(self, visit: ui.Visit, token: str) -> str:
        """Pictures of the same seeds by this run and by another one of the visitor's."""
        columns = ""
        for status in (self.studio.runs.status(visit.needed_token), self.shelf.own(visit, token)):
            images = self.sample(status.token, range(BESIDE))
            grades = status.info.worth.grades.items() if status.info.worth else ()
            said = ", ".join(f"{name} {grade.value}" for name, grade in grades)
            name = html.escape(status.info.title)
            shown = ui.tiles(ui.numbered(images, status.info.title))
            columns += f"<div><h3>{name}</h3>{ui.note(said)}{shown}</div>"
        return f'<div class="m2m-two">{columns}</div>'

    def draw_source(self, visit: ui.Visit) -> str:
        """Pictures of the source model, and why they do not pair with those of the run."""
        source = self.studio.runs.status(visit.needed_token).info.model
        images = self.sample(source, range(ui.cost_of(self.studio, source).count))
        said = ui.note(
            f"Samples of {self.steps.models.get(source, source)}. They do not pair with those of your model: "
            "each has random inputs of its own kind, so the same seed is another picture."
        )
        return said + ui.tiles(ui.numbered(images, "A picture of the source model"))

    def at(self, visit: ui.Visit, number: float) -> str:
        """The preview of this number, the first being 1."""
        return self._moment(self.studio.runs.status(visit.needed_token), int(number))

    def _moment(self, status: RunStatus, number: int) -> str:
        if not status.preview_steps:
            return ""
        step = _step(status, number)
        said = ui.note(f"Step {step:,} of {status.total_steps:,}")
        return said + ui.tiles(ui.numbered(self.preview(status.token, step), f"At step {step}:"))

    def keep_this(self, visit: ui.Visit, number: float) -> Updates:
        """The model is the one of this preview from now on."""
        return self.keep_it(visit, _step(self.studio.runs.status(visit.needed_token), int(number)))

    def keep_it(self, visit: ui.Visit, step: int | None = None) -> Updates:
        """The model is the one of this step, or the last one again."""
        status = self.kept(visit.needed_token, step)
        return self.finish(visit) | {self.standing: standing(status)}

    def filmed(self, visit: ui.Visit) -> gr.Video:
        """The previews as a film."""
        status = self.studio.runs.status(visit.needed_token)
        return gr.Video(ui.once("training.mp4", status, self.film), visible=True)

    def packed(self, visit: ui.Visit) -> str:
        """Everything of the run in one zip, made when it is asked for."""
        return ui.once("{}-everything.zip", self.studio.runs.status(visit.needed_token), self.pack)

    def taken_apart(self, visit: ui.Visit) -> tuple[list[str], str]:
        """The files of the run, and what each is."""
        files = self.parts(visit.needed_token)
        return list(files), ui.note(*(f"{Path(path).name}: {what}." for path, what in files.items()))

    def _parts(self, token: str) -> dict[str, str]:
        status, make = self.studio.runs.status(token), self.studio.runs.part
        kinds = {name: what for name, what in FILES.items() if status.metrics or "curves" not in name}
        files = {ui.once(name, status, make): what for name, what in kinds.items()}
        if not status.owned:
            return files
        model = {ui.once("{}.zip", status, self.studio.models.export): "the model"}
        return (
            model
            | files
            | {ui.once(CODES, status, make): "your pictures as the model reads them: keep it to yourself"}
        )

    def measure_now(self, visit: ui.Visit, there: str) -> Iterator[Any]:
        """The numbers of the run, measured when they are first asked for."""
        if "<table" in there:
            yield gr.skip()
            return
        yield ui.note("Measuring some hundreds of new pictures beside yours …")
        try:
            yield numbers(self.numbers(visit.needed_token))
        except DataError as error:
            yield ui.note(str(error))

    # The Hub, with the visitor's own login, without which Gradio refuses the call

    def card_of(self, visit: ui.Visit, name: str, profile: gr.OAuthProfile) -> tuple[Any, Any, str]:
        """The card as it will be there, and the button that sends it."""
        text = self.studio.models.card_for(visit.needed_token, _repository(name, profile))
        return gr.Textbox(text, visible=True), gr.Button(visible=True), ""

    def publish(
        self, visit: ui.Visit, name: str, private: bool, profile: gr.OAuthProfile, token: gr.OAuthToken
    ) -> tuple[Any, str]:
        """Makes the repository; the visitor's token is used for this call and kept nowhere."""
        repository, secret = _repository(name, profile), private is not False
        url = self.studio.models.publish(visit.needed_token, repository, token.token, private=secret)
        who = "Only you see it there." if secret else "Everybody sees it there."
        return gr.Button(visible=False), ui.boxed("good", "It is on the Hugging Face Hub", who, url)


def _step(status: RunStatus, number: int) -> int:
    """Of the preview of this number, the first being 1."""
    return status.preview_steps[min(max(number, 1), len(status.preview_steps)) - 1]


def _repository(name: str, profile: gr.OAuthProfile) -> str:
    name = str(name).strip()
    return name if "/" in name else f"{profile.username}/{name}"
