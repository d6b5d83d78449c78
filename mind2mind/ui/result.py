"""Step 4 of the tab Transfer: what came of a run, how it came, and going on with it."""

import hashlib
import html
import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from mind2mind.config import size_text
from mind2mind.errors import RunError
from mind2mind.judge.verdict import RULE
from mind2mind.models.bundle import slug, usage
from mind2mind.models.hub import PROMISE
from mind2mind.runs.results import Outcome
from mind2mind.runs.run import RunStatus
from mind2mind.ui.shared import (
    LIVE,
    MODEL_WORK,
    PRIVATE,
    QUIET,
    OnDemand,
    Visit,
    _mark,
    boxed,
    captioned,
    forget_made,
    fresh,
    gpu,
    linked,
    note,
    pairs,
    plural,
    told,
    wall,
)
from mind2mind.ui.training import RESULT, Steps, Updates, deleted, going_on, heading, uploads_left

# --- What is said of a result and of the list of runs.

UNMEASURED = "With few pictures none can be kept aside to measure the quality by: judge by eye."


def at_a_glance(found: "Outcome") -> str:
    """Quality and originality at a glance."""
    title = f"{plural(len(found.samples), 'new picture')} by your model"
    if found.quality:
        title += f": {found.quality.word}"
    kind = "poor" if found.originality.warning else "good"
    if kind == "good" and found.quality and found.quality.word not in ("as close as can be", "close"):
        kind = "fair"
    return boxed(kind, title, found.quality.told if found.quality else UNMEASURED, found.originality.told)


def copies(found: "Outcome", rule: str) -> str:
    """What the pairs below it are, and what counts as a copy."""
    near = sum(found.near)
    shown = f"Of those shown here the first {near} are near copies." if near > 1 else ""
    shown = "Of those shown here the first is a near copy." if near == 1 else shown
    return note("Above new pictures, below the nearest of yours; the most alike first.", shown, rule)


def of_source(found: "Outcome") -> str:
    """What the source's own samples are beside those of the transfer."""
    return note(
        f"Samples of {found.source_title} with the same seeds. They do not pair with those of your model: each has "
        "random inputs of its own kind, so the same seed is another picture."
    )


def sent(url: str, private: bool) -> str:
    """Where the model is on the Hub."""
    who = "Only you see it there." if private else "Everybody sees it there."
    return boxed("good", "It is on the Hugging Face Hub", who) + f'<div class="m2m-note">{linked(url)}</div>'


def entry_line(entry: "RunStatus") -> str:
    """A run in the list: title, state, when, on which model, how much it takes."""
    when = time.strftime("%d %b, %H:%M", time.localtime(entry.created))
    pictures = plural(entry.pictures, "picture")
    return f"{entry.title or 'Run'} · {entry.state} · {when} · {pictures} · {entry.model} · {size_text(entry.bytes)}"


def gone(count: int, public: bool) -> str:
    """After everything was deleted."""
    what = f"Deleted: {plural(count, 'run')} with codes, models and small copies of pictures."
    return note(what if count else "There was nothing to delete.", uploads_left(public))


def asked(count: int, size: int) -> str:
    """Before everything is deleted."""
    text = f"{plural(count, 'run')}, {size_text(size)}: models, codes, small copies of pictures; also a run at work."
    return f'<div class="m2m-poor" role="alert"><b>Delete everything of yours?</b> {html.escape(text)}</div>'


def once(name: str, ref: str, version: str) -> Path:
    """A path of that name, the same for this version of what `ref` made: a file there need not be made again."""
    own = hashlib.sha256(f"{ref} {version}".encode()).hexdigest()[:16]
    folder = Path(get_upload_folder()) / "made" / f"{_mark(ref)}{own}"
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # tidied up by age
    return folder / name


# --- Taking a result along: the model, everything in one zip, the command that repeats it, the Hugging Face Hub.


def hub_login() -> bool:
    """Whether visitors can sign in with their own account of the Hugging Face Hub: on a Space that allows it."""
    needed = ("authlib", "itsdangerous")  # of Gradio's extra `oauth`, which Spaces install
    asked = all(name in os.environ for name in ("SPACE_ID", "OAUTH_CLIENT_ID"))
    return asked and all(importlib.util.find_spec(name) for name in needed)


class Keep:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.pack = gpu(self.studio.runs.pack)
        self.hub = hub_login()

    def build(self) -> None:
        """Below the samples."""
        with gr.Row():
            self.download = gr.DownloadButton("Download the model", elem_id="transfer-download")
            self.everything = OnDemand("Download everything", "transfer-pack")
        with gr.Accordion("Use it in Python, or make it again", open=False):
            self.python = gr.Textbox(
                label="In Python, beside the unzipped folder of the model", interactive=False, lines=2,
                buttons=["copy"], elem_id="transfer-python",
            )  # fmt: skip
            self.command = gr.Textbox(
                label="The command that repeats this run, with the same pictures", interactive=False, lines=2,
                buttons=["copy"], elem_id="transfer-command",
            )  # fmt: skip
        if self.hub:
            with gr.Accordion("Send it to the Hugging Face Hub", open=False):
                self._build_hub()

    def _build_hub(self) -> None:
        gr.HTML(note(PROMISE))
        gr.LoginButton(elem_id="transfer-login")
        with gr.Row():
            self.name = gr.Textbox(
                label="Name of the new repository", max_lines=1, elem_id="transfer-hub-name"
            )
            self.private = gr.Checkbox(True, label="Private: only you see it", elem_id="transfer-hub-private")
        self.look = gr.Button("Show me the card first", elem_id="transfer-hub-look")
        self.card = gr.Textbox(
            label="Its card",
            lines=16,
            max_lines=30,
            interactive=False,
            visible=False,
            elem_id="transfer-hub-card",
        )
        self.send = gr.Button("Send it", variant="primary", visible=False, elem_id="transfer-hub-send")
        self.sent = gr.HTML(elem_id="transfer-hub-sent")

    @property
    def outputs(self) -> list[Any]:
        """What `shown` may update."""
        hub = [self.name, self.card, self.send, self.sent] if self.hub else []
        return [self.download, self.everything.file, self.python, self.command, *hub]

    def wire(self) -> None:
        """The events."""
        visit = self.steps.visit
        self.everything.wire(self.packed, visit, **MODEL_WORK)
        if self.hub:
            self.look.click(self.card_of, [visit, self.name], [self.card, self.send, self.sent], **PRIVATE)
            sending = [visit, self.name, self.private]
            self.send.click(
                self.publish, sending, [self.send, self.sent], show_progress_on=self.send, **PRIVATE
            )

    def bundle(self, token: str) -> str:
        """The model as a zip: one file for a run as it stands, however often the page is opened."""
        path = once(f"{slug(self.studio.runs.status(token).title)}.zip", token, self._version(token))
        return str(path if path.exists() else self.studio.models.export(token, path))

    def _version(self, token: str) -> str:
        folder = self.studio.models.locate(token).folder
        return "-".join(str(file.stat().st_mtime_ns) for file in sorted(folder.iterdir()))

    def shown(self, found: Outcome, bundle: str) -> Updates:
        """What belongs to this result."""
        name = slug(found.status.title)
        updates = {
            self.download: gr.DownloadButton(value=bundle, visible=True),
            self.everything.file: gr.DownloadButton(visible=False),
            self.python: f"import mind2mind\n{usage(name)}",
            self.command: found.command,
        }
        if self.hub:
            hidden = {
                self.card: gr.Textbox(visible=False),
                self.send: gr.Button(visible=False),
                self.sent: "",
            }
            updates |= {self.name: name, **hidden}
        return updates

    def packed(self, stored: Any) -> Any:
        """Everything of the run in one zip, made when it is asked for."""
        with told():
            token = Visit.of(stored).needed_token
            name = slug(self.studio.runs.status(token).title)
            path = once(f"{name}-everything.zip", token, self._version(token))
            path = path if path.exists() else self.pack(token, path)
            size = size_text(Path(path).stat().st_size)
            return gr.DownloadButton(f"Save the zip ({size})", value=str(path), visible=True)

    # The Hub, with the visitor's own login

    def card_of(self, stored: Any, name: str, profile: gr.OAuthProfile | None) -> tuple[Any, Any, str]:
        """The card as it will be there, and the button that sends it."""
        with told():
            text = self.studio.models.card_for(Visit.of(stored).needed_token, _repository(name, profile))
            return gr.Textbox(text, visible=True), gr.Button(visible=True), ""

    def publish(
        self,
        stored: Any,
        name: str,
        private: bool,
        profile: gr.OAuthProfile | None,
        token: gr.OAuthToken | None,
    ) -> tuple[Any, str]:
        """Makes the repository; the visitor's token is used for this call and kept nowhere."""
        with told():
            repository = _repository(name, profile)
            if token is None:
                raise gr.Error("Sign in first.", print_exception=False)
            url = self.studio.models.publish(
                Visit.of(stored).needed_token, repository, token.token, private=private is not False
            )
            return gr.Button(visible=False), sent(url, private is not False)


def _repository(name: str, profile: gr.OAuthProfile | None) -> str:
    if profile is None:
        raise gr.Error("Sign in first.", print_exception=False)
    name = str(name).strip()
    return name if "/" in name else f"{profile.username}/{name}"


# --- Your runs: a list to open, rename and delete from. Whoever's browser began a run sees it, nobody else.


class Shelf:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio

    def build(self) -> None:
        """At the end of the tab."""
        with gr.Accordion("Your runs", open=False, elem_id="transfer-shelf") as self.box:
            self.runs = gr.Radio([], label="Choose one", elem_id="transfer-runs")
            with gr.Row():
                self.open = gr.Button("Open", elem_id="transfer-run-open")
                self.drop = gr.Button("Delete", variant="stop", elem_id="transfer-run-delete")
            with gr.Row():
                self.title = gr.Textbox(
                    label="Another title", max_lines=1, max_length=200, scale=3, elem_id="transfer-run-title"
                )
                self.rename = gr.Button("Rename", scale=1, min_width=120, elem_id="transfer-run-rename")
            self.all = gr.Button("Delete everything of mine …", variant="stop", elem_id="transfer-delete-all")
            with gr.Column(visible=False, elem_id="transfer-sure") as self.sure:
                self.question = gr.HTML()
                with gr.Row():
                    self.no = gr.Button("Keep it all", elem_id="transfer-keep-all")
                    self.yes = gr.Button(
                        "Yes, delete it all", variant="stop", elem_id="transfer-delete-all-yes"
                    )

    @property
    def outputs(self) -> list[Any]:
        """What these handlers and `known` may update, beside what all may."""
        return [self.box, self.runs, self.title, self.sure, self.question]

    def wire(self, outputs: list[Any]) -> None:
        """The events of the list alone; `outputs` are the components of all steps. Opening is the tab's."""
        visit, runs = self.steps.visit, self.runs
        changes: dict[str, Any] = {"outputs": outputs, **QUIET}
        runs.input(self.chosen, [visit, runs], self.title, **QUIET)
        self.drop.click(self.delete, [visit, runs], **changes)
        gr.on([self.rename.click, self.title.submit], self.renamed, [visit, runs, self.title], **changes)
        self.all.click(self.ask, visit, [self.sure, self.question], **QUIET)
        self.no.click(lambda: gr.Column(visible=False), None, self.sure, **PRIVATE)
        self.yes.click(self.delete_all, visit, **changes)

    @property
    def turns(self) -> list[Any]:
        """The events that turn away from the run that is followed."""
        return [self.open.click, self.drop.click, self.yes.click]

    # Handlers

    def known(self, visit: Visit) -> Updates:
        """The list as it is now, with the visitor's run chosen."""
        entries = [entry for entry in self.studio.runs.list(visit.visitor) if entry.state != "prepared"]
        tokens = {entry.token: entry.title for entry in entries}
        chosen = visit.token if visit.token in tokens else None
        return {
            self.box: gr.Accordion(visible=bool(entries)),
            self.runs: gr.Radio(
                choices=[(entry_line(entry), entry.token) for entry in entries], value=chosen
            ),
            self.title: tokens[chosen] if chosen else "",
            self.sure: gr.Column(visible=False),
        }

    def own(self, stored: Any, token: str | None) -> str:
        """The token of the chosen run, which must be the visitor's.

        Raises:
            RunError: none is chosen, or it is gone.
        """
        visitor = Visit.of(stored).visitor
        if token not in {entry.token for entry in self.studio.runs.list(visitor)}:
            raise RunError("No run is chosen.", "Choose one of the list first.")
        return str(token)

    def chosen(self, stored: Any, token: str | None) -> str:
        """The title of the run, to be changed."""
        with told():
            return self.studio.runs.status(self.own(stored, token)).title

    def renamed(self, stored: Any, token: str | None, title: str) -> Updates:
        """Gives the run and its model another title."""
        with told():
            visit = Visit.of(stored)
            self.studio.runs.rename(self.own(stored, token), str(title))
            return self.known(visit) | {self.runs: self.known(visit.at(token))[self.runs]}

    def delete(self, stored: Any, token: str | None) -> Updates:
        """Deletes the chosen run with everything in it; the page turns away from it if it shows it."""
        with told():
            visit, chosen = Visit.of(stored), self.own(stored, token)
            self.studio.runs.delete(chosen)
            forget_made(chosen)
            seen = self.steps.only() if chosen == visit.token else {}
            visit = visit.without(chosen) if chosen == visit.token else visit.forgetting(chosen)
            return seen | {self.steps.visit: visit.stored()} | self.known(visit)

    def ask(self, stored: Any) -> tuple[Any, str]:
        """What would be deleted."""
        entries = self.studio.runs.list(Visit.of(stored).visitor)
        return gr.Column(visible=True), asked(len(entries), sum(entry.bytes for entry in entries))

    def delete_all(self, stored: Any) -> Updates:
        """Deletes all of the visitor's runs and opened models; the browser then remembers nothing of them."""
        with told():
            visit = Visit.of(stored)
            tokens = {*visit.models, *(entry.token for entry in self.studio.runs.list(visit.visitor))}
            count = self.studio.runs.delete_all(visit.visitor, visit.models)
            for token in tokens:
                forget_made(token)
            visit = Visit(visit.visitor, agreed=visit.agreed)
            return self.steps.only() | {
                self.steps.visit: visit.stored(),
                self.steps.message: gone(count, self.studio.public),
                **self.known(visit),
            }


class Result:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps, shelf: Shelf) -> None:
        self.steps, self.studio, self.shelf = steps, steps.studio, shelf
        self.keep = Keep(steps)
        self.harvest, self.preview = gpu(self._harvest), gpu(self.studio.runs.preview)
        self.film = gpu(self.studio.runs.film)

    def build(self) -> None:
        """Inside its part of the page."""
        gr.HTML(heading(4, "The result"))
        with gr.Column() as self.made:
            self.verdict = gr.HTML(elem_id="transfer-verdict")
            self.samples = wall("transfer-samples", "m2m-tiles")
            self.use = gr.Button(
                "Use it in Sample and Interpolate", variant="primary", elem_id="transfer-use"
            )
            self.keep.build()
            with gr.Accordion("Are they copies? Each beside the nearest of your pictures", open=True):
                self.copies = gr.HTML(elem_id="transfer-copies")
                self.nearest = wall("transfer-nearest", "m2m-pairs")
            with gr.Accordion("How it learnt", open=False) as self.story:
                self._build_timeline()
            with gr.Accordion("What the source model draws by itself", open=False):
                self.source_note = gr.HTML(elem_id="transfer-source-note")
                self.of_source = wall("transfer-of-source", "m2m-tiles m2m-small")
        with gr.Row():
            self.go_on = gr.Button("Go on training", elem_id="transfer-go-on")
            self.delete = gr.Button(
                "Delete this run and its pictures", variant="stop", elem_id="transfer-delete"
            )

    def _build_timeline(self) -> None:
        gr.HTML(note("The same random inputs as the training went on. Move the slider, or see a film of it."))
        self.moment = gr.Slider(1, 2, 2, step=1, label="Preview", elem_id="transfer-moment")
        self.at_step = gr.HTML(elem_id="transfer-at-step")
        self.moments = wall("transfer-moments", "m2m-tiles m2m-small")
        self.make_film = gr.Button("Make a film of it (MP4)", size="sm", elem_id="transfer-make-film")
        self.clip = gr.Video(
            label="The training as a film", interactive=False, visible=False, autoplay=True, loop=True,
            elem_id="transfer-film", buttons=["download"], height=420,
        )  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """What these handlers may update, beside what all may."""
        return [
            self.made, self.verdict, self.samples, self.use, self.copies, self.nearest, self.story, self.moment,
            self.at_step, self.moments, self.clip, self.source_note, self.of_source, self.go_on, self.delete,
            *self.keep.outputs,
        ]  # fmt: skip

    def wire(self, outputs: list[Any]) -> None:
        """The events of this step alone; `outputs` are the components of all steps."""
        visit = self.steps.visit
        self.delete.click(self.forget, visit, outputs=outputs, **QUIET)
        shown = [self.moments, self.at_step]
        self.moment.input(self.at, [visit, self.moment], shown, **LIVE, **MODEL_WORK)
        self.make_film.click(
            self.filmed,
            visit,
            self.clip,
            show_progress_on=self.make_film,
            api_visibility="private",
            **MODEL_WORK,
        )
        self.keep.wire()

    @property
    def turns(self) -> list[Any]:
        """The events that turn away from the run that is followed."""
        return [self.delete.click]

    # Handlers

    def finish(self, stored: Any) -> Updates:
        """What came of the run, once it has ended; of one that has no model only that one can go on."""
        visit = Visit.of(stored)
        status = self.steps.status(visit.token)
        if status is None or status.state == "prepared" or status.state.alive:
            return self.steps.unchanged
        with told():
            updates = self.steps.also(RESULT) | self.shelf.known(visit)
            updates[self.made] = gr.Column(visible=status.usable)
            updates[self.go_on] = going_on(status)
            return updates | (self._shown(self.harvest(status.token)) if status.usable else {})

    def _harvest(self, token: str) -> tuple[Outcome, str]:
        return self.studio.runs.result(token), self.keep.bundle(token)

    def _shown(self, harvest: tuple[Outcome, str]) -> Updates:
        found, bundle = harvest
        order = sorted(range(len(found.samples)), key=found.distance.__getitem__)
        couples = [(found.samples[i], found.originals[i]) for i in order]
        steps = found.status.preview_steps
        return {
            self.verdict: at_a_glance(found),
            self.samples: captioned(found.samples, "New picture"),
            self.use: gr.Button(visible=True),
            self.copies: copies(found, RULE),
            self.nearest: pairs(couples, "A new picture above the nearest of yours, the most alike first:"),
            self.story: gr.Accordion(visible=len(steps) > 1),
            self.moment: gr.Slider(maximum=max(2, len(steps)), value=len(steps)),
            self.clip: gr.Video(None, visible=False),
            self.source_note: of_source(found),
            self.of_source: captioned(found.of_source, "A picture of the source model"),
            **self._at(found.status.token, len(steps)),
            **self.keep.shown(found, bundle),
        }

    def at(self, stored: Any, number: float) -> tuple[Any, str]:
        """The preview of this number, the first being 1."""
        with told():
            shown = self._at(Visit.of(stored).needed_token, int(number))
            return shown[self.moments], shown[self.at_step]

    def _at(self, token: str, number: int) -> Updates:
        status = self.studio.runs.status(token)
        steps = status.preview_steps
        if not steps:
            return {self.moments: [], self.at_step: ""}
        step = steps[min(max(number, 1), len(steps)) - 1]
        said = note(f"Step {step:,} of {status.total_steps:,}")
        return {self.moments: captioned(self.preview(token, step), f"At step {step}:"), self.at_step: said}

    def filmed(self, stored: Any) -> Any:
        """The previews as a film."""
        with told():
            token = Visit.of(stored).needed_token
            return gr.Video(str(self.film(token, fresh("training.mp4", token))), visible=True)

    def forget(self, stored: Any) -> Updates:
        """Deletes the run with everything in it, at once."""
        with told():
            visit = Visit.of(stored)
            self.studio.runs.delete(visit.needed_token)
            forget_made(visit.needed_token)
            visit = visit.without(visit.needed_token)
            return self.steps.only() | {
                self.steps.visit: visit.stored(),
                self.steps.message: deleted(self.studio.public),
                **self.shelf.known(visit),
            }
