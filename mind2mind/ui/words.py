"""Every sentence the app builds: models, credits, reports and runs as small, escaped pieces of HTML."""

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mind2mind.cost import TOLD_SECONDS
from mind2mind.settings import CHANGED

if TYPE_CHECKING:
    from mind2mind.codes import EncodeProgress
    from mind2mind.cost import Cost
    from mind2mind.report import Report, Verdict
    from mind2mind.sources import ModelInfo
    from mind2mind.status import RunStatus
    from mind2mind.ui.examples import Example

TABLE_ROWS = 500
TOLD_BYTES = 5e8
_COMMAND = re.compile("`([^`]+)`")
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:)\]]")


def note(*sentences: str) -> str:
    """Quiet, plain text; escaped here, with `commands` set as such."""
    return '<div class="m2m-note">' + "".join(f"<p>{_text(s)}</p>" for s in sentences if s) + "</div>"


def _text(sentence: str) -> str:
    return _COMMAND.sub(r"<code>\1</code>", html.escape(sentence))


def hero(models: "Sequence[ModelInfo]") -> str:
    """The first thing anybody reads: what this is, and what each model knows."""
    items = "".join(f"<li><b>{html.escape(m.title)}</b> knows {_knows(m)}</li>" for m in models)
    return (
        '<header class="m2m-hero"><h1>Mind2Mind</h1><p>Turn a folder of pictures into a generator of new '
        f'ones, in about a minute, on your own computer.</p><ul class="m2m-models">{items}</ul></header>'
    )


def knows(model: "ModelInfo | None") -> str:
    """Under a choice of models: what the chosen one knows, and its size."""
    if model is None:
        return note("A model you trained. Only you see it.")
    size = f" {model.resolution} x {model.resolution} pixels." if model.resolution else ""
    return f'<div class="m2m-note"><p>Knows {_knows(model)}.{size}</p></div>'


def _knows(model: "ModelInfo") -> str:
    text = model.knows.strip().rstrip(".")
    if text.lower().startswith("knows "):
        text = text[6:]
    return html.escape(text[:1].lower() + text[1:] if text[1:2].islower() else text)


def footer(models: "Sequence[ModelInfo]") -> str:
    """Whose art the models were trained on."""
    rows = "".join(f"<p><b>{html.escape(m.title)}</b>: {_credit(m)}</p>" for m in models)
    thanks = "The models were trained on the art of others. Thank you."
    return f'<footer class="m2m-foot"><p>{thanks}</p>{rows}</footer>'


def _credit(model: "ModelInfo") -> str:
    return linked(model.credit if model.licence in model.credit else f"{model.credit} {model.licence}")


def credits(examples: "Sequence[Example]") -> str:
    """Whose pictures the example sets are; each credit once."""
    return "".join(
        f'<div class="m2m-note"><p>{linked(c)}</p></div>'
        for c in dict.fromkeys(e.credit for e in examples)
        if c
    )


def linked(text: str) -> str:
    """Escaped text whose web addresses can be clicked."""
    parts, end = [], 0
    for match in _URL.finditer(text):
        url = html.escape(match.group())
        parts += [
            html.escape(text[end : match.start()]),
            f'<a href="{url}" target="_blank" rel="noopener">{url}</a>',
        ]
        end = match.end()
    return "".join([*parts, html.escape(text[end:])])


def step(number: int, title: str, text: str = "") -> str:
    """The heading of a step."""
    return f'<div class="m2m-step"><h2>{number} · {html.escape(title)}</h2></div>' + (
        note(text) if text else ""
    )


def boxed(kind: str, title: str, *sentences: str) -> str:
    """A box of kind good, fair or poor."""
    return f'<div class="m2m-{kind}" role="status"><b>{html.escape(title)}</b>{note(*sentences)}</div>'


def faces(report: "Report") -> str:
    """What was found of faces, where somebody wants them aligned; it stands above the pictures that show it."""
    found = report.faces()
    if not found:
        return ""
    counts = "; ".join(f"{number} x {remark}" for remark, number in found.most_common())
    if not report.not_aligned:
        shown = "Above your pictures, below the faces as the model gets them." if report.turned else ""
        return note(f"{counts}.", shown)
    return boxed(
        "fair",
        f"{plural(report.not_aligned, 'face')} not aligned",
        f"{counts}. This model knows faces only as FFHQ shows them: upright, eyes and mouth in their places.",
        "Above your pictures, below what aligning makes of them: press the button below, "
        "or choose the face under More and add the pictures again.",
    )


def table(report: "Report") -> str:
    """The verdict on each file, those that were left out first."""
    rows = [*report.skipped, *report.used]
    shown = "".join(map(_row, rows[:TABLE_ROWS]))
    more = note(f"and {len(rows) - TABLE_ROWS} more") if len(rows) > TABLE_ROWS else ""
    head = "<tr><th>File</th><th>Verdict</th><th>Reason</th><th>Size</th></tr>"
    return f'<div class="m2m-table"><table><thead>{head}</thead><tbody>{shown}</tbody></table>{more}</div>'


def _row(verdict: "Verdict") -> str:
    size = f"{verdict.width} x {verdict.height}" if verdict.width else ""
    cells = (verdict.name, verdict.status, verdict.reason, size)
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"


def run(status: "RunStatus") -> str:
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
        "done": ("good", f"Done in {clock(status.seconds)}", [f"{at}.", status.reason or ""]),
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


def drawing(cost: "Cost | None") -> str:
    """Under a choice of models: what drawing with the chosen one takes, where that is noticeable."""
    if cost is None or cost.count * cost.draw_seconds < TOLD_SECONDS:
        return ""
    memory = f" and {cost.memory / 1e9:.1f} GB of memory" if cost.memory > TOLD_BYTES else ""
    return note(
        f"Large pictures: each takes about {brief(cost.draw_seconds)}{memory} here, {cost.count} of them about "
        f"{clock(cost.count * cost.draw_seconds)}."
    )


def sliding(cost: "Cost | None") -> str:
    """The same where a slider draws."""
    if cost is None or cost.live:
        return ""
    return note(
        f"A picture of this model takes about {brief(cost.draw_seconds)} here: "
        "it is drawn when you let the slider go, or press an arrow key."
    )


def filming(cost: "Cost | None", frames: int) -> str:
    """What a clip takes."""
    seconds = frames * cost.draw_seconds if cost else 0.0
    return note(f"{frames} frames take about {clock(seconds)} here.") if seconds > TOLD_SECONDS else ""


def encoding(cost: "Cost | None", count: int = 20) -> str:
    """What it takes to read `count` pictures in."""
    seconds = count * cost.encode_seconds if cost else 0.0
    if cost is None or seconds < TOLD_SECONDS:
        return ""
    return note(
        f"This model reads a picture in about {brief(cost.encode_seconds)} here: "
        f"{count:,} pictures take about {clock(seconds)}, before the training."
    )


def reading(progress: "EncodeProgress", cost: "Cost | None") -> str:
    """How far the reading of pictures is, and how long it goes on where that is noticeable."""
    if progress.total is None:
        return note(f"Read {plural(progress.done, 'picture')} …")
    left = (progress.total - progress.done) * cost.encode_seconds if cost else 0.0
    more = f", about {clock(left)} left" if left > TOLD_SECONDS else ""
    return note(f"Read {progress.done:,} of {plural(progress.total, 'picture')}{more} …")


def brief(seconds: float) -> str:
    """0.3 s, 12 s."""
    return f"{seconds:.1f} s" if seconds < 10 else clock(seconds)


def clock(seconds: float) -> str:
    """5 s, 1 min 20 s, 2 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def plural(count: int, noun: str) -> str:
    """1 picture, 2 pictures."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
