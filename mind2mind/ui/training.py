"""Step 3 of the tab Transfer: how to train, the start, and the run as it goes.

The run lives in the worker and in its folder; a page that shows it asks once a second where it stands. That question
(`look`) is short and updates nothing. Only if the answer is another than before, further events draw what is new.
"""

import functools
import html
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr
import pandas as pd
from gradio.blocks import BlockContext

from mind2mind.config import BUDGETS, DEFAULT, RECIPES, SETTINGS, Setting, as_text, changed, shortfall
from mind2mind.errors import RunError
from mind2mind.runs.run import RunStatus, State
from mind2mind.studio import Studio
from mind2mind.training.transfer import Ending
from mind2mind.ui.pictures import numbered, tiles, wall
from mind2mind.ui.shared import (
    MODEL_WORK,
    Visit,
    bar,
    boxed,
    checked_seed,
    clock,
    gpu,
    note,
    on,
    on_detail,
)

# --- What the steps of the tab share: the visit, the line that says what goes on, which parts are seen.

Updates = dict[Any, Any]  # by component: what a handler gives
Part = Literal["check", "train", "live", "result"]  # of the page: each is shown when its turn has come

JUMP = '<div class="m2m-note"><a href="#transfer-status">To your run, below</a></div>'  # it is a long way


def heading(number: int, title: str, text: str = "") -> str:
    """The heading of a step."""
    said = note(text) if text else ""
    return f'<div class="m2m-step"><h2>{number} · {html.escape(title)}</h2></div>{said}'


class Steps:
    """Made before the steps, which are given it; `outputs` are set when all is built."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.parts: dict[Part, gr.Column] = {}
        self.outputs: list[Any] = []

    def build(self, visit: gr.BrowserState) -> None:
        """At the top: the browser's memory, the clock of the looks at a run, a way down to it."""
        self.visit, self.clock = visit, gr.Timer(1, active=False)
        self.jump = gr.HTML(elem_id="transfer-jump")
        self.message = gr.HTML(elem_id="transfer-message", render=False)  # its place is below the pictures

    def part(self, name: Part, build: Callable[[], None]) -> None:
        """Builds a part of the page that is hidden until its turn comes."""
        with gr.Column(visible=False, elem_id=f"transfer-part-{name}") as self.parts[name]:
            build()

    def on(
        self,
        event: Any,
        do: Callable[..., Any],
        *inputs: Any,
        outputs: Any = None,
        detail: bool = False,
        **more: Any,
    ) -> Any:
        """Declares an event. `do` is given the visit and these inputs, and may update whatever has a name.

        With `detail` the event is one of a widget that is HTML, and what it told comes after the visit.
        """

        @functools.wraps(do)
        def call(stored: Any, *rest: Any) -> Any:
            return do(Visit.of(stored), *rest)

        @functools.wraps(do)
        def call_with(told: Any, stored: Any, *rest: Any) -> Any:
            return do(Visit.of(stored), told, *rest)

        declare, handler = (on_detail, call_with) if detail else (on, call)
        return declare(event, handler, [self.visit, *inputs], outputs or self.outputs, **more)

    def only(self, *names: Part) -> Updates:
        """Shows these parts and hides the others; a run is looked at as long as its part is seen."""
        live = "live" in names
        seen = {part: gr.Column(visible=name in names) for name, part in self.parts.items()}
        return seen | {self.jump: JUMP if live else "", self.clock: gr.Timer(active=live)}

    def ready(self, owned: bool) -> Updates:
        """Shows a set that waits for its start; whoever only looks at it cannot start it."""
        return self.only("check", "train") if owned else self.only("check")

    @property
    def unchanged(self) -> Updates:
        """What a handler gives that changes nothing; Gradio takes an empty dictionary for a mistake."""
        return {self.message: gr.skip()}

    def status(self, token: str | None) -> RunStatus | None:
        """Where the run stands; None if there is no such run (any more)."""
        try:
            return self.studio.runs.status(token) if token else None
        except RunError:
            return None


def named(block: BlockContext) -> list[Any]:
    """What is in it and has a name."""
    inner = [found for child in block.children if isinstance(child, BlockContext) for found in named(child)]
    return [*inner, *(c for c in block.children if c.elem_id or isinstance(c, gr.State | gr.Timer))]


# --- What is said of a run.


def standing(status: RunStatus) -> str:
    """Where a run stands, in a box with a bar."""
    reached = f"Step {status.step:,} of {status.total_steps:,}"
    at = reached if status.total_steps else "Measuring how fast this is"
    left = f": about {clock(status.seconds_left)} left" if status.seconds_left is not None else ""
    stay = "You may close this page: the run goes on, and you find it here again."
    place = status.place_in_queue or 1
    turn = f"Place {place} in the queue." if place > 1 else "Next in line: it starts as soon as it can."
    kind, title, *sentences = {
        State.PREPARED: ("good", "Ready to train"),
        State.QUEUED: ("fair", "Waiting", turn, stay),
        State.RUNNING: ("good", f"Training{left}", f"{at}.", stay),
        State.STOPPING: ("fair", "Stopping", "The work so far is being saved."),
        State.STOPPED: ("good", "Stopped", f"{at}. The work so far is kept."),
        State.DONE: ("good", f"Done in {clock(status.seconds)}", f"{at}.", Ending.explained(status.reason)),
        State.FAILED: ("poor", "The run failed", status.error or "The cause is not known."),
        State.INTERRUPTED: ("fair", "The run was interrupted", f"{at}. Nothing is lost: go on from there."),
    }[status.state]
    recipe = f"Recipe: {status.recipe}." if status.recipe not in ("", *RECIPES) else ""
    share = 1.0 if status.state == State.DONE else min(1.0, status.step / max(1, status.total_steps))
    log = f"<summary>The end of its log</summary><pre>{html.escape(status.log)}</pre>"
    log = f'<details class="m2m-log">{log}</details>' if status.log else ""
    return boxed(kind, title, *sentences, recipe) + bar(share, "Training") + log


def explained(status: RunStatus) -> str:
    """How far the new pictures are by now, and from what."""
    first = next((m["distance"] for m in status.metrics if m.get("distance") is not None), None)
    if first is None or status.distance is None:
        return "With fewer than 20 pictures no distance is measured: judge by eye."
    kept = (status.metrics[-1].get("held_out") or 0) > 0
    yours = "those of your pictures that were kept aside" if kept else "your pictures"
    return (
        f"New pictures are at a distance of {max(0.0, status.distance):.3f} from {yours}, as the model reads them; "
        f"at the first look it was {max(0.0, first):.3f}. New real pictures would be at "
        f"{max(0.0, status.floor or 0.0):.3f}; much nearer ones repeat yours."
    )


def deleted(public: bool, what: str = "The run is deleted, and its copies of your pictures.") -> str:
    """After a deletion; of the uploaded files, too, which visitors with the same file share."""
    left = "The files you chose lie in the upload cache, which is emptied when the app is started again."
    if public:
        left = "The files you uploaded lie in the upload cache, which deletes whatever is older than an hour."
    return note(what, left)


# --- The curves of a run as tables for `gr.LinePlot`, which redraws in place and never went blank.

WINDOW = 0.05  # share of a curve that a point of the smoothed one is the mean of, half of it on each side
EDGE = 0.02  # share of the values at each end that is cut off: a wild start would flatten the rest
LOSSES = {"critic_loss": "critic", "generator_loss": "generator", "gap": "critic's gap"}
DISTANCE = {"distance": "new pictures", "floor": "new real pictures"}
COLOURS = {"critic": "#6366f1", "generator": "#d97706", "critic's gap": "#16a34a"}
COLOURS |= {"new pictures": "#6366f1", "new real pictures": "#16a34a"}


def _plot(elem_id: str, names: dict[str, str]) -> gr.LinePlot:
    return gr.LinePlot(
        x="step", y="value", color="curve", y_title=" ", color_title=" ", height=260, buttons=[], elem_id=elem_id,
        color_map={name: COLOURS[name] for name in names.values()}, colors_in_legend=list(names.values()),
        x_label_angle=-45,  # or the steps of a long run lie on each other
    )  # fmt: skip


def curves(metrics: Sequence[dict[str, Any]], names: dict[str, str], smooth: bool = False) -> pd.DataFrame:
    """Rows of step, curve and value for the metrics that are named; `smooth` for what is noisy."""
    table = pd.DataFrame(metrics, columns=["step", *names], dtype=float).rename(columns=names)
    table = table.set_index("step").replace([float("inf"), float("-inf")], float("nan"))
    if smooth:
        table = table.clip(table.quantile(EDGE), table.quantile(1 - EDGE), axis=1)
        points = 1 + 2 * int(len(table) * WINDOW / 2)
        table = table.rolling(points, center=True, min_periods=1).mean()
    return table.reset_index().melt("step", var_name="curve").dropna(ignore_index=True)


# --- The step itself.

TITLES = {"default": "ours: begins with what the model knows", "paper": "the paper's, as published"}
MORE_STEPS = 1000
TRIED = 8  # pictures of "Try it now"
STOP, STOPPING = "Stop and keep the work", "Stopping …"


class Training:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.preview, self.trial = gpu(self.studio.runs.preview), gpu(self.studio.runs.trial)

    def build_train(self) -> None:
        """What is chosen before the start, inside its part of the page."""
        gr.HTML(heading(3, "Train"))
        budgets = [(b.help, b.seconds) for b in BUDGETS.values()]
        self.seconds = gr.Radio(budgets, value=budgets[1][1], label="Time", elem_id="transfer-seconds")
        gr.HTML(note(*(f"{budget.name}: {budget.measured}" for budget in BUDGETS.values())))
        with gr.Accordion("Advanced", open=False, elem_id="transfer-advanced"):
            self.recipe = gr.Radio(
                [(TITLES.get(name, name), name) for name in RECIPES], value=DEFAULT.name, label="Recipe",
                info="Sets all that is below.", elem_id="transfer-recipe",
            )  # fmt: skip
            with gr.Row(elem_classes="m2m-settings"):
                self.fields = list(map(_field, SETTINGS.values(), self.values(DEFAULT.name)))
        self.short = gr.HTML(elem_id="transfer-short")
        self.start = gr.Button("Start", variant="primary", elem_id="transfer-start")

    def build_live(self) -> None:
        """The run as it goes, inside its part of the page."""
        # where the run stood at the last look; the preview that is shown; when it was seen to have ended
        self.glance, self.previewed, self.ended = gr.State(), gr.State(), gr.State()
        gr.HTML(heading(3, "Training"))
        self.status = gr.HTML(elem_id="transfer-status")
        with gr.Row():
            self.stop = gr.Button(STOP, variant="primary", elem_id="transfer-stop")
            self.discard = gr.Button("Discard …", variant="stop", elem_id="transfer-discard")
        with gr.Row(visible=False, elem_id="transfer-discard-sure") as self.sure:
            sure = "Yes, delete the run and its pictures"
            self.discard_all = gr.Button(sure, variant="stop", elem_id="transfer-discard-all")
            self.keep = gr.Button("No, let it train", elem_id="transfer-discard-not")
        with gr.Row():
            with gr.Column(min_width=280):
                what = "Losses and the critic's gap: they may go up and down; what counts is the distance."
                gr.HTML(note(what))
                self.losses = _plot("transfer-losses", LOSSES)
            with gr.Column(min_width=280):
                gr.HTML(note("Distance of the new pictures from yours: lower is better."))
                self.distances = _plot("transfer-distances", DISTANCE)
                self.distance = gr.HTML(elem_id="transfer-distance")
        gr.HTML(note("The same 16 random inputs as training goes on:"))
        self.previews = wall("transfer-previews")
        with gr.Accordion("Try it now", open=False, elem_id="transfer-try"):
            gr.HTML(note("Pictures of any seed, by the run as it stands. The training goes on meanwhile."))
            with gr.Row():
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="transfer-try-seed")
                self.draw = gr.Button("Draw", elem_id="transfer-try-go")
            self.tried = wall("transfer-tried")
            self.tried_about = gr.HTML(elem_id="transfer-tried-about")
        with gr.Accordion("See this run on another device", open=False, elem_id="transfer-elsewhere"):
            info = "Whoever has it sees the run with its pictures and its result, and can change nothing."
            shown: dict[str, Any] = {"interactive": False, "buttons": ["copy"], "elem_id": "transfer-link"}
            self.link = gr.Textbox(label="Link", info=info, **shown)

    def wire(self) -> None:
        """The events."""
        steps = self.steps
        on(self.recipe.change, self.values, self.recipe, self.fields)
        chosen: list[Any] = [self.recipe.change, self.seconds.change]
        steps.on(chosen, self.told_short, self.seconds, self.recipe, outputs=self.short)
        steps.on(self.start.click, self.begin, self.seconds, self.recipe, *self.fields)
        steps.on(self.stop.click, self.halt, outputs=self.stop, queue=False)
        on(self.discard.click, lambda: gr.Row(visible=True), None, self.sure, queue=False)
        on(self.keep.click, lambda: gr.Row(visible=False), None, self.sure, queue=False)
        drawn = [self.tried, self.tried_about]
        steps.on(self.draw.click, self.try_now, self.seed, outputs=drawn, **MODEL_WORK)
        on(steps.visit.change, None, steps.visit, self.link, js="m2m.linkTo")
        looked = steps.on(steps.clock.tick, self.look, outputs=self.glance, concurrency_limit=None)
        on(looked.failure, lambda: gr.Timer(active=False), None, steps.clock)  # told once, not each second
        shown = [
            steps.clock, steps.message, steps.jump, *steps.parts.values(), self.status, self.stop, self.discard,
            self.sure, self.losses, self.distances, self.distance, self.previewed, self.ended,
        ]  # fmt: skip
        steps.on(self.glance.change, self.show_run, self.ended, outputs=shown, concurrency_limit=None)
        on(self.previewed.change, self.show_preview, self.previewed, self.previews, **MODEL_WORK)

    # Handlers

    def values(self, recipe: str) -> list[Any]:
        """What the fields show for a recipe."""
        values = [getattr(RECIPES[recipe], name) for name in SETTINGS]
        return [as_text(value) if isinstance(value, tuple) else value for value in values]

    def told_short(self, visit: Visit, seconds: int, recipe: str) -> str:
        """Says so where a recipe cannot finish in the time."""
        if recipe == DEFAULT.name or visit.token is None:
            return ""
        short = shortfall(RECIPES[recipe], seconds * self.studio.runs.pace(visit.token, recipe))
        return boxed("fair", "Too little time for this recipe", short) if short else ""

    def begin(self, visit: Visit, seconds: int, recipe: str, *values: Any) -> Updates:
        """Queues the run, by the recipe with what was changed in it."""
        known, settings = RECIPES.get(recipe), dict(zip(SETTINGS, values, strict=False))
        chosen = changed(known, settings) if known else recipe  # which the studio refuses
        return self.watch(visit, self.studio.runs.start(visit.needed_token, seconds=seconds, recipe=chosen))

    def train_on(self, visit: Visit) -> Updates:
        """Goes on with a run that was stopped or interrupted; a finished one trains some steps more."""
        status = self.studio.runs.status(visit.needed_token)
        more = MORE_STEPS if status.state == State.DONE else 0
        return self.watch(visit, self.studio.runs.resume(status.token, extra_steps=more))

    def watch(self, visit: Visit, status: RunStatus) -> Updates:
        """Shows a run, now and at each look, and nothing that another run has left."""
        emptied = {self.tried: "", self.tried_about: "", self.sure: gr.Row(visible=False)}
        here = {self.steps.visit: visit.at(status.token, status.look).stored(), self.steps.message: ""}
        return self.steps.only("check", "live") | emptied | here | self._shown(status)

    def look(self, visit: Visit) -> tuple[Any, ...]:
        """Where the run stands, as something to compare; of one that is gone each time something else."""
        if (now := self.steps.status(visit.token)) is None:
            return (time.time(),)
        return now.token, now.state, now.step, now.total_steps, now.place_in_queue, now.preview_step

    def show_run(self, visit: Visit, ended: tuple[Any, ...] | None = None) -> Updates:
        """What a look has found to be new; the end that was seen last is no news."""
        if visit.token is None:  # the first look of a page that has no run
            return self.steps.unchanged
        status = self.steps.status(visit.token)
        if status is None:  # deleted, here or on another page
            return self.steps.only() | {self.steps.message: deleted(self.studio.public)}
        # one that was taken out of the queue can be started again
        if status.state == State.PREPARED:
            return self.steps.ready(status.owned)
        shown = self._shown(status)
        if ended and self.ended in shown and shown[self.ended][:-1] == tuple(ended)[:-1]:
            del shown[self.ended]
        return shown

    def _shown(self, status: RunStatus) -> Updates:
        stoppable, asked = status.state.alive and status.owned, status.state == State.STOPPING
        preview = status.preview_step
        # a plot gives no colour to a curve that it was first drawn without: the floor comes with the quality
        measured = [m for m in status.metrics if m.get("distance") is not None]

        def plot(table: pd.DataFrame) -> gr.LinePlot:
            return gr.LinePlot(table, x_lim=[0, max(1, status.total_steps)], visible=len(table) > 0)

        end = (status.token, status.state, status.step, time.time())  # shown again when it is opened again
        ended = {self.steps.clock: gr.Timer(active=False), self.ended: end}
        ended[self.sure] = gr.Row(visible=False)
        return {
            self.status: standing(status),
            self.stop: gr.Button(STOPPING if asked else STOP, interactive=not asked, visible=stoppable),
            self.discard: gr.Button(visible=stoppable),
            self.losses: plot(curves(status.metrics, LOSSES, smooth=True)),
            self.distances: plot(curves(measured, DISTANCE)),
            self.distance: note(explained(status)) if status.step else "",
            self.previewed: None if preview is None else (status.token, preview),
        } | ({} if status.state.alive else ended)

    def show_preview(self, previewed: tuple[str, int] | None) -> Any:
        """The newest preview; a run that has none shows none."""
        if previewed is None:
            return ""
        return tiles(numbered(self.preview(*previewed), f"Step {previewed[1]}, input"))

    def halt(self, visit: Visit) -> gr.Button:
        """Asks the run to stop; it saves its work first."""
        self.studio.runs.stop(visit.needed_token)
        return gr.Button(STOPPING, interactive=False)

    def try_now(self, visit: Visit, seed: float | None) -> tuple[Any, str]:
        """Pictures of some seeds by the run as it stands."""
        token, first = visit.needed_token, checked_seed(seed)
        if self.studio.runs.status(token).state == State.QUEUED:
            raise RunError("The run has not begun yet.", "Wait for its turn.")
        images, step = self.trial(token, range(first, first + TRIED))
        about = note(f"Seeds {first} to {first + TRIED - 1}, as the run drew them at step {step:,}.")
        return tiles(numbered(images, f"Step {step}, seed")), about


def _field(setting: Setting, value: Any) -> Any:
    """The control of a setting."""
    shared: dict[str, Any] = {"value": value, "label": setting.label, "min_width": 240}
    shared |= {"info": setting.explained, "elem_id": f"setting-{setting.name}"}
    if setting.kind is bool:
        return gr.Checkbox(**shared)
    if setting.kind is tuple:
        return gr.Textbox(max_lines=1, **shared)
    return gr.Number(precision=0 if setting.kind is int else None, step=setting.step or 1, **shared)
