"""Steps 2 and 3 of the tab Transfer: how to train, the start, and the run as it goes.

The run lives in the worker and in its folder; a page that shows it asks once a second where it stands. That question
(`look`) is short and updates nothing. Only if the answer is another than before, further events draw what is new.
"""

import functools
import html
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr
import pandas as pd
from gradio.blocks import BlockContext

from mind2mind.config import (
    BUDGETS,
    DEFAULT,
    RECIPES,
    SETTINGS,
    Setting,
    as_text,
    changed,
    differences,
    shortfall,
)
from mind2mind.errors import ConfigError, RunError, one_of
from mind2mind.runs.run import RunStatus, State
from mind2mind.studio import Studio
from mind2mind.training.transfer import Ending
from mind2mind.ui import shared as ui

# --- What the steps of the tab share: the visit, the line of steps, the line that says what goes on, the chip.

Updates = dict[Any, Any]  # by component: what a handler gives
Step = Literal["pictures", "check", "live", "result"]  # one at a time is in front
STEPS: dict[Step, str] = {"pictures": "Pictures", "check": "Check", "live": "Train", "result": "Result"}
Part = Step | Literal["order", "status", "run"]
PARTS: dict[Step, set[Part]] = {  # of the page: what is seen at a step
    "pictures": {"pictures"},
    "check": {"check", "order"},
    "live": {"status", "live", "run"},
    "result": {"status", "result", "run"},
}


class Steps:
    """Made before the steps, which are given it; `outputs` are set when all is built."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.parts: dict[Part, gr.Column] = {}
        self.outputs: list[Any] = []
        self.models = {m.id: m.title for m in studio.models.list()}

    def build_chip(self) -> None:
        """In the head of the page: a run that goes on, and the clock of the looks at it, on all tabs."""
        self.clock = gr.Timer(1, active=False)
        chip = "m2m.chip(element, watch, trigger)"
        self.chip = gr.HTML(elem_id="run-chip", js_on_load=chip, min_width=80)

    def build(self, visit: gr.BrowserState) -> None:
        """At the top of the tab."""
        self.visit, self.now = visit, gr.State("pictures")
        way = "m2m.steps(element, watch, trigger)"
        self.way = gr.HTML(self.line("pictures"), js_on_load=way, elem_id="transfer-steps")
        self.message = gr.HTML(elem_id="transfer-message")

    def part(self, name: Part, build: Callable[[], None], **looks: Any) -> None:
        """Builds a part of the page, which is seen when its turn has come."""
        with gr.Column(**{"visible": False} | looks, elem_id=f"transfer-part-{name}") as self.parts[name]:
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
        def call(*given: Any) -> Any:
            told, (stored, *rest) = given[:detail], given[detail:]
            return do(ui.Visit.of(stored), *told, *rest)

        declare = ui.on_detail if detail else ui.on
        return declare(event, call, [self.visit, *inputs], outputs or self.outputs, **more)

    def to(self, step: Step, of: RunStatus | None = None, *, drawn: bool = True) -> Updates:
        """Comes to a step of a run, with what it has to show, as soon as that is `drawn`.

        Who only looks at a set cannot start it.
        """
        seen = PARTS[step] if drawn else PARTS[step] & {"status"}
        if of is None or of.state != State.PREPARED or not of.owned:
            seen = seen - {"order"}
        return {
            **{part: gr.Column(visible=name in seen) for name, part in self.parts.items()},
            self.now: step,
            self.way: self.line(step, of),
            self.chip: chip(of) if of else "",
            self.clock: gr.Timer(active=of is not None and of.state.alive),
        }

    def line(self, now: Step, of: RunStatus | None = None) -> str:
        """The steps, of which those can be gone to that have something to show, and what is done, in a line."""
        there: list[Step] = ["pictures"]
        if of is not None:
            there.append("check")
            if of.state != State.PREPARED:
                there.append("live" if of.state.alive else "result")
        items = "".join(
            f'<li><button type="button" data-step="{step}"{"" if step in there else " disabled"}'
            f"{' aria-current=step' if step == now else ''}><b>{number}</b> {name}</button></li>"
            for number, (step, name) in enumerate(STEPS.items(), 1)
        )
        done = ""
        if of is not None and now != "pictures":
            info = of.info
            counted = ui.plural(info.found.count, "picture")
            said = [counted, info.title, self.models.get(info.model, info.model)]
            change = '<button type="button" data-step="pictures">Change</button>'
            done = f"<p>{html.escape(' · '.join(filter(None, said)))} {change}</p>"
        return f'<nav class="m2m-steps" aria-label="Steps"><ol>{items}</ol>{done}</nav>'

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
    """Where a run stands, in a line with a bar."""
    reached = f"Step {status.step:,} of {status.total_steps:,}"
    at = reached if status.total_steps else "Measuring how fast this is"
    left = f": about {ui.clock(status.seconds_left)} left" if status.seconds_left is not None else ""
    stay, done = "It goes on when you close this page.", f"Done in {ui.clock(status.seconds)}"
    place = status.place_in_queue or 1
    wait = f", about {ui.clock(60 * math.ceil(status.wait / 60))}" if status.wait else ""
    turn = f"Place {place} in the queue{wait}." if place > 1 or wait else "Next in line: it starts at once."
    kind, title, *sentences = {
        State.PREPARED: ("good", "Ready to train"),
        State.QUEUED: ("fair", "Waiting", turn, stay),
        State.RUNNING: ("good", f"Training{left}", f"{at}. {stay}"),
        State.STOPPING: ("fair", "Stopping", "The work so far is being saved."),
        State.STOPPED: ("good", "Stopped", f"{at}. The work so far is kept."),
        State.DONE: ("good", done, f"{at}. {Ending.explained(status.info.reason)}"),
        State.FAILED: ("poor", "The run failed", status.error or "The cause is not known."),
        State.INTERRUPTED: ("fair", "The run was interrupted", f"{at}. Nothing is lost: go on from there."),
    }[status.state]
    if status.info.reason == Ending.THROUGH:
        sentences = [f"{ui.plural(status.step, 'step')}."]
    info = status.info
    recipe = f"Recipe: {info.recipe.name}." if info.recipe and info.recipe.name not in RECIPES else ""
    kept = f"The model is the one of step {info.kept:,}." if info.kept is not None else ""
    log = f"<summary>The end of its log</summary><pre>{html.escape(status.log)}</pre>"
    log = f'<details class="m2m-log">{log}</details>' if status.log else ""
    going = ui.bar(share(status), "Training") if status.state.alive else ""
    return ui.boxed(kind, title, *sentences, kept, recipe) + going + log


def share(status: RunStatus) -> float:
    """How much of its steps a run has made, 0 to 1."""
    return min(1.0, status.step / max(1, status.total_steps))


def chip(status: RunStatus) -> str:
    """A run that goes on, in few words; the title of the page tells the same."""
    if not status.state.alive:
        return ""
    said = f"{100 * share(status):.0f} %" if status.total_steps else str(status.state)
    name = html.escape(status.info.title or "Run")
    title = f'data-title="{said} · Mind2Mind" aria-label="Go to the run {name}"'
    return f'<button type="button" class="m2m-chip" {title}>{name} · {said}</button>'


def explained(status: RunStatus) -> str:
    """How far the new pictures are by now, and from what."""
    first = next((m["distance"] for m in status.metrics if m.get("distance") is not None), None)
    if first is None or status.distance is None:
        return "With fewer than 20 pictures no distance is measured: judge by eye." if status.step else ""
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
    return ui.note(what, left)


# --- The curves of a run.

WINDOW = 0.05  # share of a curve that a point of the smoothed one is the mean of, half of it on each side
EDGE = 0.02  # share of the values at each end that is cut off: a wild start would flatten the rest
LOSSES = {"critic_loss": "critic", "generator_loss": "generator", "gap": "critic's gap"}
DISTANCE = {"distance": "new pictures", "floor": "perfect"}


def curves(metrics: Sequence[dict[str, Any]], names: dict[str, str], smooth: bool = False) -> pd.DataFrame:
    """Rows of step, curve and value for the metrics that are named; `smooth` for what is noisy."""
    table = pd.DataFrame(metrics, columns=["step", *names], dtype=float).rename(columns=names)
    table = table.set_index("step").replace([float("inf"), float("-inf")], float("nan"))
    if smooth:
        table = table.clip(table.quantile(EDGE), table.quantile(1 - EDGE), axis=1)
        points = 1 + 2 * int(len(table) * WINDOW / 2)
        table = table.rolling(points, center=True, min_periods=1).mean()
    return table.reset_index().melt("step", var_name="curve").dropna(ignore_index=True)


def chart(table: pd.DataFrame, last: int, title: str) -> str:
    """Curves up to the step `last` as a drawing; on a logarithmic axis if all values are positive."""
    if table.empty:
        return ""
    low, high = table["value"].min(), table["value"].max()
    scale: Callable[[float], float] = math.log10 if low > 0 else float
    bottom, height = scale(low), scale(high) - scale(low) or 1.0
    lines, names = "", ""
    for number, (name, rows) in enumerate(table.groupby("curve", sort=False)):
        points = " ".join(
            f"{100 * step / max(1, last):.2f},{40 * (1 - (scale(value) - bottom) / height):.2f}"
            for step, value in zip(rows["step"], rows["value"], strict=True)
        )
        lines += f'<polyline class="m2m-curve-{number}" points="{points}"/>'
        names += f'<b class="m2m-curve-{number}">{html.escape(str(name))} {rows["value"].iloc[-1]:.3g}</b>'
    return (
        f'<figure class="m2m-chart"><figcaption>{title} {names}</figcaption><div>'
        f'<svg viewBox="0 -1 100 42" preserveAspectRatio="none" aria-hidden="true">{lines}</svg>'
        f"<span>{high:.3g}</span><span>{low:.3g}</span></div>"
        f"<small><span>step 0</span><span>{last:,}</span></small></figure>"
    )


def distance_chart(status: RunStatus) -> str:
    """How far the new pictures are from the user's; the floor is drawn once there is a distance."""
    measured = [m for m in status.metrics if m.get("distance") is not None]
    return chart(curves(measured, DISTANCE), status.total_steps, "Distance, lower is better:")


def loss_chart(status: RunStatus) -> str:
    """The losses, smoothed."""
    return chart(curves(status.metrics, LOSSES, smooth=True), status.total_steps, "Losses:")


# --- The steps themselves.

TITLES = {"default": "ours: begins with what the model knows", "paper": "the paper's, as published"}
OTHER = 0  # in the place of a budget's seconds: a number of the user's
UNITS = ["seconds", "steps"]
MOST = 10_000_000  # of either
MORE_STEPS = 1000
LOSSES_SAY = "Losses may go up and down; what counts is the distance."
TRIED = 8  # pictures of "Try it now"
PALE = 16  # of the user's pictures where the first new ones will be
STOP, STOPPING = "Stop and keep the work", "Stopping …"


class Training:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.preview, self.trial = ui.gpu(self.studio.runs.preview), ui.gpu(self.studio.runs.trial)

    def build_start(self) -> None:
        """What is chosen before the start, and the start."""
        budgets = [*((b.help, b.seconds) for b in BUDGETS.values()), ("Other …", OTHER)]
        self.seconds = gr.Radio(budgets, value=budgets[1][1], label="Time", elem_id="transfer-seconds")
        with gr.Row(visible=False, elem_id="transfer-other") as self.other:
            self.amount, self.unit = length(120, UNITS[0], "transfer")
        self.short = gr.HTML(elem_id="transfer-short")
        self.start = gr.Button("Start", variant="primary", size="lg", elem_id="transfer-start")
        self.differs = gr.HTML(elem_id="transfer-differs")

    def build_advanced(self) -> None:
        """The recipe."""
        with gr.Accordion("Advanced", open=False, elem_id="transfer-advanced"):
            gr.HTML(ui.note(*(f"{name}: {budget.measured}" for name, budget in BUDGETS.items())))
            with gr.Row():
                self.recipe = gr.Radio(
                    [(TITLES.get(name, name), name) for name in RECIPES], value=DEFAULT.name, label="Recipe",
                    info="Sets all that is below.", elem_id="transfer-recipe",
                )  # fmt: skip
                self.seed = ui.seed_field("Training seed", 0, "transfer-seed")
            self.reset = gr.Button("Reset", size="sm", visible=False, elem_id="transfer-reset")
            with gr.Row(elem_classes="m2m-settings"):
                self.fields = list(map(_field, SETTINGS.values(), self.values(DEFAULT.name)))

    def build_status(self) -> None:
        """Where the run stands."""
        self.status = gr.HTML(elem_id="transfer-status")

    def build_live(self) -> None:
        """The run as it goes, inside its part of the page."""
        # where the run stood at the last look; the preview that is shown; when it was seen to have ended
        self.glance, self.previewed, self.ended = gr.State(), gr.State(), gr.State()
        with gr.Row(elem_classes="m2m-beside"):
            with gr.Column(scale=3, min_width=320):
                self.previews = ui.wall("transfer-previews", "m2m-four")
            with gr.Column(scale=2, min_width=320):
                self.stop = gr.Button(STOP, variant="primary", elem_id="transfer-stop")
                self.distances = gr.HTML(elem_id="transfer-distances")
                with gr.Accordion("More curves", open=False, elem_id="transfer-curves-more"):
                    self.losses = gr.HTML(elem_id="transfer-losses")
                with gr.Accordion("Try it now", open=False, elem_id="transfer-try"):
                    with gr.Row():
                        self.first = ui.seed_field("Seed", 0, "transfer-try-seed")
                        self.draw = gr.Button("Draw", elem_id="transfer-try-go")
                    self.tried = ui.wall("transfer-tried", "m2m-four")

    def build_run(self) -> None:
        """Below the live run and below its result."""
        with gr.Accordion("Share", open=False, elem_id="transfer-elsewhere"):
            info = "Whoever has it sees the run with its pictures and its result, and can change nothing."
            shown: dict[str, Any] = {"interactive": False, "buttons": ["copy"], "elem_id": "transfer-link"}
            self.link = gr.Textbox(label="Link", info=info, **shown)
        sure = ui.ask_twice("Delete …", "Yes, delete this run")
        self.delete = gr.HTML(sure, js_on_load=ui.ASKS, elem_id="transfer-delete")

    def wire(self, name: gr.Textbox) -> None:
        """The events."""
        steps = self.steps
        chosen: list[Any] = [self.recipe, self.seed, *self.fields]
        ui.on(self.recipe.input, self.values, self.recipe, self.fields)
        ui.on(self.reset.click, lambda recipe: [0, *self.values(recipe)], self.recipe, chosen[1:])
        told = [self.differs, self.reset, self.start, *self.fields]
        ui.on([each.change for each in chosen], self.judged, chosen, told, live=True)
        ui.on(self.seconds.change, lambda seconds: gr.Row(visible=seconds == OTHER), self.seconds, self.other)
        time_of: list[Any] = [self.seconds, self.amount, self.unit]
        planned = [self.recipe.change, *(each.change for each in time_of)]
        steps.on(planned, self.told_short, *time_of, self.recipe, outputs=self.short, live=True)
        steps.on(self.start.click, self.begin, name, *time_of, *chosen)
        steps.on(self.stop.click, self.halt, outputs=self.stop, queue=False)
        steps.on(self.draw.click, self.try_now, self.first, outputs=self.tried, **ui.MODEL_WORK)
        ui.on(steps.visit.change, None, steps.visit, self.link, js="m2m.linkTo")
        looked = steps.on(steps.clock.tick, self.look, outputs=self.glance, concurrency_limit=None)
        ui.on(looked.failure, lambda: gr.Timer(active=False), None, steps.clock)  # told once, not each second
        shown = [
            steps.clock, steps.chip, steps.message, steps.now, steps.way, *steps.parts.values(), self.status,
            self.stop, self.delete, self.losses, self.distances, self.previewed, self.ended,
        ]  # fmt: skip
        steps.on(self.glance.change, self.show_run, self.ended, outputs=shown, concurrency_limit=None)
        ui.on(self.previewed.change, self.show_preview, self.previewed, self.previews, **ui.MODEL_WORK)

    # Handlers

    def values(self, recipe: str) -> list[Any]:
        """What the fields show for a recipe."""
        values = [getattr(RECIPES[recipe], name) for name in SETTINGS]
        return [as_text(value) if isinstance(value, tuple) else value for value in values]

    def judged(self, recipe: str, seed: Any, *values: Any) -> list[Any]:
        """What differs from the recipe, in a line; what is wrong is said at its field, and nothing starts."""
        chosen = dict(zip(SETTINGS, values, strict=True))
        wrong = {name: told for name, value in chosen.items() if (told := _wrong(name, value))}
        fields = [
            gr.update(info=wrong.get(name, setting.explained), elem_classes=["m2m-wrong"] * (name in wrong))
            for name, setting in SETTINGS.items()
        ]
        differ = differences(changed(RECIPES[recipe], {} if wrong else chosen))
        said = [recipe] * (recipe != DEFAULT.name) + [f"{name} {as_text(v)}" for name, v in differ.items()]
        said += [f"seed {seed}"] * bool(seed)
        told = ui.note(f"Other than the default: {', '.join(said)}.") if said else ""
        if wrong:
            told = ui.boxed("poor", "Under Advanced something is wrong", *wrong.values())
        reset = gr.Button(visible=bool(differ or wrong or seed))
        return [told, reset, gr.Button(interactive=not wrong), *fields]

    def told_short(self, visit: ui.Visit, seconds: int, amount: float, unit: str, recipe: str) -> str:
        """Says so where a recipe cannot finish in the time."""
        if recipe == DEFAULT.name or visit.token is None:
            return ""
        time = budget(seconds, amount, unit)
        steps = time.get("steps") or time["seconds"] * self.studio.runs.pace(visit.token, RECIPES[recipe])
        short = shortfall(RECIPES[recipe], steps)
        return ui.boxed("fair", "Too little time for this recipe", short) if short else ""

    def begin(
        self,
        visit: ui.Visit,
        name: str,
        seconds: int,
        amount: float = 0,
        unit: str = "seconds",
        recipe: str = DEFAULT.name,
        seed: float = 0,
        *values: Any,
    ) -> Updates:
        """Queues the run under this name, by the recipe with what was changed in it."""
        known = RECIPES[one_of("recipe", recipe, RECIPES)]
        chosen = changed(known, dict(zip(SETTINGS, values, strict=False)))
        order = {**budget(seconds, amount, unit), "recipe": chosen, "seed": ui.checked_seed(seed)}
        if name != self.studio.runs.status(visit.needed_token).info.title:
            self.studio.runs.rename(visit.needed_token, name)
        return self.watch(visit, self.studio.runs.start(visit.needed_token, **order))

    def train_on(self, visit: ui.Visit, amount: float = MORE_STEPS, unit: str = "steps") -> Updates:
        """Goes on with a run that was stopped or interrupted; a finished one trains so much more."""
        status = self.studio.runs.status(visit.needed_token)
        more = 0
        if status.state == State.DONE:
            more = ui.whole("What it is to train", amount, 1, MOST)
            more = more if unit == "steps" else max(1, round(more * status.step / max(1e-3, status.seconds)))
        return self.watch(visit, self.studio.runs.resume(status.token, extra_steps=more))

    def watch(self, visit: ui.Visit, status: RunStatus) -> Updates:
        """Shows a run, now and at each look, and nothing that another run has left."""
        live = status.state.alive
        here: Updates = {self.steps.visit: visit.at(status.token, status.look).stored()}
        here |= {self.tried: ""}
        here[self.steps.message] = "" if live else ui.note("Drawing what it has learnt …")
        if status.preview_step is None:
            yours = [image for _, image in self.studio.runs.thumbnails(status.token, 0, PALE)]
            here[self.previews] = ui.tiles(
                ui.numbered(yours, "Yours; the new ones take their places:", pale=True)
            )
        seen = self.steps.to("live" if live else "result", status, drawn=live)
        return seen | here | self._shown(status)

    def look(self, visit: ui.Visit) -> tuple[Any, ...]:
        """Where the run stands, as something to compare; of one that is gone each time something else."""
        if (now := self.steps.status(visit.token)) is None:
            return (time.time(),)
        return now.token, now.state, now.step, now.total_steps, now.place_in_queue, now.preview_step

    def show_run(self, visit: ui.Visit, ended: tuple[Any, ...] | None = None) -> Updates:
        """What a look has found to be new; the end that was seen last is no news."""
        if visit.token is None:  # the first look of a page that has no run
            return self.steps.unchanged
        status = self.steps.status(visit.token)
        if status is None:  # deleted, here or on another page
            return self.steps.to("pictures") | {self.steps.message: deleted(self.studio.public)}
        # one that was taken out of the queue can be started again
        if status.state == State.PREPARED:
            return self.steps.to("check", status)
        shown = self._shown(status)
        if ended and self.ended in shown and shown[self.ended][:-1] == tuple(ended)[:-1]:
            del shown[self.ended]
        return shown

    def _shown(self, status: RunStatus) -> Updates:
        alive, owned, asked = status.state.alive, status.owned, status.state == State.STOPPING
        preview = status.preview_step
        end = (status.token, status.state, status.step, time.time())  # shown again when it is opened again
        return {
            self.status: standing(status),
            self.steps.chip: chip(status),
            self.stop: gr.Button(STOPPING if asked else STOP, interactive=not asked, visible=owned and alive),
            self.delete: gr.HTML(visible=owned),
            self.losses: ui.note(explained(status), LOSSES_SAY) + loss_chart(status),
            self.distances: distance_chart(status) or loss_chart(status),
            self.previewed: None if preview is None else (status.token, preview),
        } | ({} if alive else {self.steps.clock: gr.Timer(active=False), self.ended: end})

    def show_preview(self, previewed: tuple[str, int] | None) -> Any:
        """The newest preview; where there is none yet, what stands there stays."""
        if previewed is None:
            return gr.skip()
        return ui.tiles(ui.numbered(self.preview(*previewed), f"Step {previewed[1]}, input"))

    def halt(self, visit: ui.Visit) -> gr.Button:
        """Asks the run to stop; it saves its work first."""
        self.studio.runs.stop(visit.needed_token)
        return gr.Button(STOPPING, interactive=False)

    def try_now(self, visit: ui.Visit, seed: float | None) -> str:
        """Pictures of some seeds by the run as it stands."""
        token, first = visit.needed_token, ui.checked_seed(seed)
        if self.studio.runs.status(token).state == State.QUEUED:
            raise RunError("The run has not begun yet.", "Wait for its turn.")
        images, step = self.trial(token, range(first, first + TRIED))
        about = ui.note(f"Seeds {first} to {first + TRIED - 1}, as the run drew them at step {step:,}.")
        return about + ui.tiles(ui.numbered(images, f"Step {step}, seed"))


def length(amount: int, unit: str, elem_id: str) -> tuple[gr.Number, gr.Radio]:
    """The fields in which somebody says how long to train."""
    number = gr.Number(amount, label="Train for", precision=0, elem_id=f"{elem_id}-amount")
    return number, gr.Radio(UNITS, value=unit, label="In", min_width=80, elem_id=f"{elem_id}-unit")


def budget(seconds: Any, amount: Any, unit: Any) -> dict[str, Any]:
    """How long to train, as the studio takes it.

    Raises:
        ConfigError: neither a budget was chosen nor a number given.
    """
    if seconds != OTHER:
        return {"seconds": seconds}
    return {unit if unit in UNITS else UNITS[0]: ui.whole("What it is to train", amount, 1, MOST)}


def _wrong(name: str, value: Any) -> str:
    """What is wrong with a setting's value; "" if nothing is."""
    try:
        changed(DEFAULT, {name: value})
    except ConfigError as error:
        return str(error)
    return ""


def _field(setting: Setting, value: Any) -> Any:
    """The control of a setting."""
    shared: dict[str, Any] = {"value": value, "label": setting.label, "min_width": 240}
    shared |= {"info": setting.explained, "elem_id": f"setting-{setting.name}"}
    if setting.kind is bool:
        return gr.Checkbox(**shared)
    if setting.kind is tuple:
        return gr.Textbox(max_lines=1, **shared)
    return gr.Number(precision=0 if setting.kind is int else None, step=setting.step or 1, **shared)
