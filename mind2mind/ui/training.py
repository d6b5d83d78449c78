"""Step 3 of the tab Transfer: train, and see it go. The run lives in the worker; this only follows it."""

import html
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from mind2mind.config import BUDGETS, CHANGED, DEFAULT, RECIPES, SETTINGS, Recipe, Setting, as_text, changed
from mind2mind.errors import ConfigError, RunError
from mind2mind.training.transfer import Ending
from mind2mind.ui.shared import (
    MODEL_WORK,
    QUIET,
    Visit,
    boxed,
    captioned,
    checked_seed,
    clock,
    gpu,
    note,
    told,
    wall,
)

if TYPE_CHECKING:
    from mind2mind.runs.run import RunStatus
    from mind2mind.studio import Studio

# --- What is said of a run.


def heading(number: int, title: str, text: str = "") -> str:
    """The heading of a step."""
    return f'<div class="m2m-step"><h2>{number} · {html.escape(title)}</h2></div>' + (
        note(text) if text else ""
    )


def standing(status: "RunStatus") -> str:
    """Where a run stands, in a box with a bar."""
    kind, title, sentences = _state(status)
    share = min(1.0, status.step / status.total_steps) if status.total_steps else 0.0
    share = 1.0 if status.state == "done" else share
    bar = (
        f'<div class="m2m-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0%}" aria-label="Training"><div style="width:{share:.1%}"></div></div>'
    ).replace('%" aria-label', '" aria-label')
    return boxed(kind, title, *sentences, _changed(status)) + bar + _log(status)


def _changed(status: "RunStatus") -> str:
    """What was changed in the recipe."""
    _, _, changes = status.recipe.partition(CHANGED)
    return f"Advanced: {changes}." if changes else ""


def _log(status: "RunStatus") -> str:
    """The end of a failed run's log."""
    if not status.log:
        return ""
    lines = html.escape(status.log)
    return f'<details class="m2m-log"><summary>The end of its log</summary><pre>{lines}</pre></details>'


def jump() -> str:
    """At the top of the page, since the run is a long way down."""
    return '<div class="m2m-note"><a href="#transfer-status">To your run, below</a></div>'


def _state(status: "RunStatus") -> tuple[str, str, list[str]]:
    at = (
        f"Step {status.step:,} of {status.total_steps:,}"
        if status.total_steps
        else "Measuring how fast this is"
    )
    left = f"about {clock(status.seconds_left)} left" if status.seconds_left is not None else ""
    stay = "You may close this page: the run goes on, and you find it here again."
    place = status.place_in_queue or 1
    turn = f"Place {place} in the queue." if place > 1 else "Next in line: it starts as soon as it can."
    return {
        "prepared": ("good", "Ready to train", []),
        "queued": ("fair", "Waiting", [turn, stay]),
        "running": ("good", "Training" + (f": {left}" if left else ""), [f"{at}.", stay]),
        "stopping": ("fair", "Stopping", ["The work so far is being saved."]),
        "stopped": ("good", "Stopped", [f"{at}. The work so far is kept."]),
        "done": ("good", f"Done in {clock(status.seconds)}", [f"{at}.", Ending.explained(status.reason)]),
        "failed": ("poor", "The run failed", [status.error or "The cause is not known."]),
        "interrupted": ("fair", "The run was interrupted", [f"{at}. Nothing is lost: go on from there."]),
    }[status.state]


def quality(status: "RunStatus") -> str:
    """The quality number beside what is possible at best, and what that means."""
    if status.quality is None:
        return (
            note("With few pictures none can be kept aside to measure the quality by.") if status.step else ""
        )
    floor = status.floor if status.floor is not None else 0.0
    first = next((m["quality"] for m in status.metrics if m.get("quality") is not None), status.quality)
    way = 1 - (status.quality - floor) / (first - floor) if first > max(floor, status.quality) else 0.0
    far = (
        "as close as can be"
        if way > 0.97
        else "close"
        if way > 0.85
        else "on the way"
        if way > 0.5
        else "still far"
    )
    return note(
        f"Distance of new pictures to some of yours kept aside: {status.quality:.3f} ({far}).",
        f"At the beginning it was {first:.3f}; your other pictures themselves are at {max(0.0, floor):.3f}.",
    )


def uploads_left(public: bool) -> str:
    """What becomes of the uploaded files themselves, which visitors with the same file share."""
    if public:
        return "The files you uploaded lie in the upload cache, which deletes whatever is older than an hour."
    return "The files you chose lie in the upload cache, which is emptied when the app is started again."


def deleted(public: bool) -> str:
    """After a run was deleted, to every page that shows it."""
    return note("The run is deleted, and its copies of your pictures.", uploads_left(public))


# --- What the steps of the tab Transfer share: the visit, the line that says what goes on, which parts are seen.

Updates = dict[Any, Any]  # by component: what a handler gives

CHECK, TRAIN, LIVE_PART, RESULT = "check", "train", "live", "result"


class Steps:
    """Made before the steps, which are given it; `build` comes first on the page."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.parts: dict[str, gr.Column] = {}

    def build(self, visit: gr.BrowserState) -> None:
        """The browser's memory, and a way down to the run; the line comes where `build_message` is called."""
        self.visit = visit
        self.jump = gr.HTML(elem_id="transfer-jump")

    def build_message(self) -> None:
        """The line that says what goes on."""
        self.message = gr.HTML(elem_id="transfer-message")

    def part(self, name: str) -> gr.Column:
        """A part of the page that is hidden until its turn comes; to be used in a `with`."""
        self.parts[name] = gr.Column(visible=False)
        return self.parts[name]

    def only(self, *names: str) -> Updates:
        """Shows these parts and hides the others."""
        seen = {part: gr.Column(visible=name in names) for name, part in self.parts.items()}
        return seen | {self.jump: jump() if LIVE_PART in names else ""}

    def also(self, name: str) -> Updates:
        """Shows this part beside those that are seen."""
        shown = {self.jump: jump()} if name == LIVE_PART else {}
        return {self.parts[name]: gr.Column(visible=True)} | shown

    @property
    def unchanged(self) -> Updates:
        """What a handler gives that changes nothing; Gradio takes an empty dictionary for a mistake."""
        return {self.message: gr.skip()}

    def status(self, token: str | None) -> "RunStatus | None":
        """Where the run stands; None if there is no such run (any more)."""
        try:
            return self.studio.runs.status(token) if token else None
        except RunError:
            return None

    @property
    def outputs(self) -> list[Any]:
        """What every handler may update."""
        return [self.visit, self.jump, self.message, *self.parts.values()]


# --- The curves of a run as tables for `gr.LinePlot`, which redraws in place: twice a second it never went blank.
# Each loss is there as measured, pale, and smoothed, bold.

POINTS = 500
WINDOW = 0.05  # share of a curve that a point of the smoothed one is the mean of, half of it on each side
EDGE = 0.02  # share of the values at each end that is cut off: a wild start would flatten the rest
LOSSES_SAID = "Losses and the critic's gap: they may go up and down; what counts is the quality."
QUALITY_SAID = "Quality: lower is better."
LOSSES = {
    "critic_loss": ("critic", "#6366f1"),
    "generator_loss": ("generator", "#d97706"),
    "gap": ("critic's gap", "#16a34a"),
}
DISTANCE, FLOOR = "new pictures", "best possible"
COLUMNS = ("step", "value", "curve")
_RAW = " as measured"


def losses_plot(elem_id: str) -> gr.LinePlot:
    """Where `losses` are shown."""
    colours = {name + _RAW: colour + "50" for name, colour in LOSSES.values()} | dict(LOSSES.values())
    return _plot(elem_id, colours, [name for name, _ in LOSSES.values()])


def qualities_plot(elem_id: str) -> gr.LinePlot:
    """Where `qualities` are shown."""
    colours = {DISTANCE: "#6366f1", FLOOR: "#16a34a"}
    return _plot(elem_id, colours, list(colours))


def _plot(elem_id: str, colours: dict[str, str], legend: list[str]) -> gr.LinePlot:
    return gr.LinePlot(
        x="step",
        y="value",
        color="curve",
        y_title=" ",
        color_title=" ",
        x_label_angle=-45,  # or the steps of a long run lie on each other
        color_map=colours,
        colors_in_legend=legend,
        height=260,
        buttons=[],
        elem_id=elem_id,
    )


def losses(metrics: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The critic's and the generator's loss and the gap over the steps."""
    raw, smooth = [], []
    for key, (name, _) in LOSSES.items():
        curve = _curve(metrics, key, name + _RAW)
        low, high = curve["value"].quantile(EDGE), curve["value"].quantile(1 - EDGE)
        curve["value"] = curve["value"].clip(low, high)
        mean = curve["value"].rolling(1 + 2 * int(len(curve) * WINDOW / 2), center=True, min_periods=1).mean()
        raw.append(curve)
        smooth.append(curve.assign(value=mean, curve=name))
    return pd.concat([*raw, *smooth], ignore_index=True)


def qualities(metrics: Sequence[dict[str, Any]], total_steps: int) -> pd.DataFrame:
    """The distance to the pictures kept aside, and the floor, over the steps; empty without any."""
    distance, floor = _curve(metrics, "quality", DISTANCE), _curve(metrics, "floor", FLOOR)[-1:]
    level = [floor.assign(step=step) for step in (0, max(total_steps, 1))] if len(distance) else []
    return pd.concat([distance, *level], ignore_index=True)


def _curve(metrics: Sequence[dict[str, Any]], key: str, name: str) -> pd.DataFrame:
    """At most POINTS rows; the newest stays."""
    found = [(m["step"], m[key], name) for m in metrics if m.get(key) is not None]
    curve = pd.DataFrame(found, columns=list(COLUMNS)).astype({"step": float, "value": float})
    curve = curve[curve["value"].abs() < float("inf")]
    thin = -(-len(curve) // POINTS) or 1
    return curve.iloc[::-thin].iloc[::-1].reset_index(drop=True)


# --- The panel Advanced: the recipe and its settings, made from `settings.SETTINGS`, which are made from the recipe.

TITLES = {"default": "ours: faster, keeps the best", "paper": "the paper's, as published"}


class Advanced:
    """The components; `chosen` makes a recipe of what is in them."""

    def build(self) -> None:
        """Inside step 3."""
        with gr.Accordion("Advanced", open=False, elem_id="transfer-advanced"):
            recipes = [(TITLES.get(name, name), name) for name in RECIPES]
            self.recipe = gr.Radio(
                recipes,
                value=DEFAULT.name,
                label="Recipe",
                info="Sets all that is below.",
                elem_id="transfer-recipe",
            )
            with gr.Row(elem_classes="m2m-settings"):
                self.fields = [_field(setting) for setting in SETTINGS.values()]

    @property
    def inputs(self) -> list[Any]:
        """What `chosen` takes."""
        return [self.recipe, *self.fields]

    def wire(self) -> None:
        """Another recipe brings its settings."""
        self.recipe.change(self.values, self.recipe, self.fields, **QUIET)

    def values(self, recipe: str) -> list[Any]:
        """What the fields show for a recipe."""
        return [_shown(setting, RECIPES[recipe]) for setting in SETTINGS.values()]

    def chosen(self, recipe: str, *values: Any) -> Recipe:
        """The recipe with what was changed in it.

        Raises:
            ConfigError: there is no such recipe, or a value makes no sense.
        """
        if recipe not in RECIPES:
            raise ConfigError(
                f"There is no recipe {str(recipe)[:80]!r}.", f"Choose one of {', '.join(RECIPES)}."
            )
        return changed(RECIPES[recipe], dict(zip(SETTINGS, values, strict=False)))


def _shown(setting: Setting, recipe: Recipe) -> Any:
    value = getattr(recipe, setting.name)
    return as_text(value) if setting.kind is tuple else value


def _field(setting: Setting) -> Any:
    settings: dict[str, Any] = {
        "value": _shown(setting, DEFAULT),
        "label": setting.label,
        "info": setting.explained,
        "min_width": 240,
        "elem_id": f"setting-{setting.name}",
    }
    if setting.kind is bool:
        return gr.Checkbox(**settings)
    if setting.kind is tuple:
        return gr.Textbox(max_lines=1, **settings)
    return gr.Number(precision=0 if setting.kind is int else None, step=setting.step or 1, **settings)


MORE_STEPS = 1000
TRIED = 8  # pictures of "Try it now"
STOP, STOPPING = "Stop and keep the work", "Stopping …"
# JavaScript: the browser alone knows under which address the page is seen
LINK = "v => v && v.token ? location.origin + location.pathname + '?run=' + v.token : ''"


def going_on(status: "RunStatus") -> str:
    """What the button says that goes on with a run that has ended."""
    return f"Train {MORE_STEPS:,} steps more" if status.state == "done" else "Go on training"


class Training:
    """The components and their handlers. Each handler gives updates by component."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.advanced = Advanced()
        self.preview, self.trial = gpu(self.studio.runs.preview), gpu(self.studio.runs.trial)

    def build_train(self) -> None:
        """What is chosen before the start, inside its part of the page."""
        gr.HTML(heading(3, "Train"))
        budgets = [(b.help, b.seconds) for b in BUDGETS.values()]
        self.seconds = gr.Radio(budgets, value=budgets[1][1], label="Time", elem_id="transfer-seconds")
        if any(measured := [f"{b.name}: {b.measured}" for b in BUDGETS.values() if b.measured]):
            gr.HTML(note(*measured))
        self.advanced.build()
        self.start = gr.Button("Start", variant="primary", elem_id="transfer-start")

    def build_live(self) -> None:
        """The run as it goes, inside its part of the page."""
        gr.HTML(heading(3, "Training"))
        self.status = gr.HTML(elem_id="transfer-status")
        with gr.Row():
            self.stop = gr.Button(STOP, variant="primary", elem_id="transfer-stop")
            self.discard = gr.Button("Discard …", variant="stop", elem_id="transfer-discard")
        with gr.Row(visible=False) as self.sure:
            self.discard_all = gr.Button(
                "Yes, delete the run and its pictures", variant="stop", elem_id="transfer-discard-all"
            )
            self.keep = gr.Button("No, let it train", elem_id="transfer-discard-not")
        with gr.Row():
            with gr.Column(min_width=280):
                gr.HTML(note(LOSSES_SAID))
                self.losses = losses_plot("transfer-losses")
            with gr.Column(min_width=280):
                gr.HTML(note(QUALITY_SAID))
                self.qualities = qualities_plot("transfer-qualities")
                self.quality = gr.HTML(elem_id="transfer-quality")
        gr.HTML(note("The same 16 random inputs as training goes on:"))
        self.previews = wall("transfer-previews", "m2m-tiles m2m-small")
        with gr.Accordion("Try it now", open=False, elem_id="transfer-try"):
            self._build_trial()
        with gr.Accordion("See this run on another device", open=False, elem_id="transfer-elsewhere"):
            self.link = gr.Textbox(
                label="Link",
                info="Whoever has it sees the run with its pictures, and may stop and delete it.",
                interactive=False,
                buttons=["copy"],
                elem_id="transfer-link",
            )

    def _build_trial(self) -> None:
        gr.HTML(note("Pictures of any seed, by the run as it stands. The training goes on meanwhile."))
        with gr.Row():
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="transfer-try-seed")
            self.draw = gr.Button("Draw", elem_id="transfer-try-go")
        self.tried = wall("transfer-tried", "m2m-tiles m2m-small")
        self.tried_about = gr.HTML(elem_id="transfer-tried-about")

    @property
    def outputs(self) -> list[Any]:
        """What these handlers may update, beside what all may."""
        buttons = [self.stop, self.discard, self.sure]
        shown = [self.status, self.losses, self.qualities, self.quality, self.previews]
        return [*buttons, *shown, self.tried, self.tried_about]

    def wire(
        self, outputs: list[Any], follow_after: Callable[[Any], None], forget: Callable[..., Any]
    ) -> None:
        """The events; `outputs` are the components of all steps, `follow_after` follows what an event began."""
        visit = self.steps.visit
        self.advanced.wire()
        chosen = [visit, self.seconds, *self.advanced.inputs]
        follow_after(self.start.click(self.begin, chosen, outputs=outputs, **QUIET))
        self.stop.click(self.halt, visit, self.stop, queue=False, **QUIET)
        self.discard.click(lambda: gr.Row(visible=True), None, self.sure, queue=False, **QUIET)
        self.keep.click(lambda: gr.Row(visible=False), None, self.sure, queue=False, **QUIET)
        self.discard_all.click(forget, visit, outputs=outputs, queue=False, **QUIET)
        self.draw.click(
            self.try_now, [visit, self.seed], [self.tried, self.tried_about], **QUIET, **MODEL_WORK
        )
        visit.change(None, visit, self.link, js=LINK, **QUIET)

    @property
    def turns(self) -> list[Any]:
        """The events that turn away from the run that is followed."""
        return [self.discard_all.click]

    # Handlers

    def begin(self, stored: Any, seconds: int, recipe: str, *values: Any) -> Updates:
        """Queues the run."""
        with told():
            visit = Visit.of(stored)
            self.studio.runs.start(
                visit.needed_token, seconds=seconds, recipe=self.advanced.chosen(recipe, *values)
            )
            return self._watching()

    def train_on(self, stored: Any) -> Updates:
        """Goes on with a run that was stopped or interrupted; a finished one trains some steps more."""
        with told():
            status = self.studio.runs.status(Visit.of(stored).needed_token)
            self.studio.runs.resume(status.token, extra_steps=MORE_STEPS if status.state == "done" else 0)
            return self._watching()

    def _watching(self) -> Updates:
        return self.steps.only(CHECK, LIVE_PART) | self._emptied()

    def follow(self, stored: Any) -> Iterator[Updates]:
        """The run as it goes, until it ends; from the first look on. It works on in the worker without us.

        Twice a second, and only what has changed: nothing flickers, and little is sent.
        """
        visit = Visit.of(stored)
        known = self.steps.status(visit.token)
        if known is None or known.state == "prepared":
            yield self.steps.unchanged  # what the page says stays: that there is no such run, it may be
            return
        with told():
            yield {self.steps.message: ""} | self.steps.also(LIVE_PART) | self._emptied()
            try:
                yield from self._followed(known.token)
            except RunError:
                if self.steps.status(known.token) is not None:
                    raise
                yield self.steps.only() | {self.steps.message: deleted(self.studio.public)}

    def _followed(self, token: str) -> Iterator[Updates]:
        before: RunStatus | None = None
        for status in self.studio.runs.attach(token):
            if updates := self._changes(before, status):
                yield updates
            before = status

    def _emptied(self) -> Updates:
        """What another run may have left."""
        none: Updates = {self.tried: [], self.tried_about: "", self.previews: [], self.status: ""}
        return none | {self.sure: gr.Row(visible=False)}

    def _changes(self, before: "RunStatus | None", status: "RunStatus") -> Updates:
        updates: Updates = {}
        if before is None or standing(before) != standing(status):
            updates[self.status] = standing(status)
        if before is None or before.state != status.state:
            alive, asked = status.state.alive, status.state == "stopping"
            updates[self.stop] = gr.Button(STOPPING if asked else STOP, interactive=not asked, visible=alive)
            updates[self.discard] = gr.Button(visible=alive)
            if not alive:
                updates[self.sure] = gr.Row(visible=False)
        if before is None or (before.step, before.total_steps) != (status.step, status.total_steps):
            updates |= self._curves(status)
        if status.preview_step is not None and (before is None or before.preview_step != status.preview_step):
            shown = self.preview(status.token, status.preview_step)
            updates[self.previews] = captioned(shown, f"Step {status.preview_step}, input")
        return updates

    def _curves(self, status: "RunStatus") -> Updates:
        x_lim: list[float | None] = [0, max(1, status.total_steps)]

        def plot(table: pd.DataFrame) -> gr.LinePlot:
            # one that was drawn empty gives no colour to what comes later
            return gr.LinePlot(table, x_lim=x_lim, visible=len(table) > 0)

        return {
            self.losses: plot(losses(status.metrics)),
            self.qualities: plot(qualities(status.metrics, status.total_steps)),
            self.quality: quality(status),
        }

    def halt(self, stored: Any) -> Any:
        """Asks the run to stop; it saves its work first."""
        with told():
            self.studio.runs.stop(Visit.of(stored).needed_token)
            return gr.Button(STOPPING, interactive=False)

    def try_now(self, stored: Any, seed: float | None) -> tuple[Any, str]:
        """Pictures of some seeds by the run as it stands."""
        with told():
            token, first = Visit.of(stored).needed_token, checked_seed(seed)
            if (status := self.studio.runs.status(token)).state == "queued":
                raise RunError("The run has not begun yet.", "Wait for its turn.")
            images, step = self.trial(status.token, range(first, first + TRIED))
            about = note(f"Seeds {first} to {first + TRIED - 1}, as the run drew them at step {step:,}.")
            return captioned(images, f"Step {step}, seed"), about
