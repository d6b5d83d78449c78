"""What the app says of results, of the list of runs, and of what is deleted when: small, escaped pieces of HTML."""

import html
import time
from typing import TYPE_CHECKING

from mind2mind.remote import size_text
from mind2mind.ui.words import boxed, linked, note, plural

if TYPE_CHECKING:
    from mind2mind.ledger import Entry
    from mind2mind.outcome import Outcome

UNMEASURED = "With few pictures none can be kept aside to measure the quality by: judge by eye."


def verdict(found: "Outcome") -> str:
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


def line(entry: "Entry") -> str:
    """A run in the list: title, state, when, on which model, how much it takes."""
    when = time.strftime("%d %b, %H:%M", time.localtime(entry.created))
    pictures = plural(entry.pictures, "picture")
    return f"{entry.title or 'Run'} · {entry.state} · {when} · {pictures} · {entry.model} · {size_text(entry.bytes)}"


def moment(seconds: float) -> str:
    """A time in words that mean the same everywhere."""
    return time.strftime("%d %B, %H:%M UTC", time.gmtime(seconds)).lstrip("0")


def clock(hours: int) -> str:
    """When what a visitor leaves here now will be deleted."""
    return note(
        f"What you upload is read and then deleted within the hour. What is made of it (the model, codes, small "
        f"copies of your pictures) is deleted on {moment(time.time() + hours * 3600)}, or at once when you say so "
        "under Your runs."
    )


def passing() -> str:
    """When a picture is deleted that is used for a clip only."""
    return note(
        "A picture of yours that you use here, and the clips made of it, are deleted within the hour."
    )


def uploads_left(public: bool) -> str:
    """What becomes of the uploaded files themselves, which visitors with the same file share."""
    if public:
        return "The files you uploaded lie in the upload cache, which deletes whatever is older than an hour."
    return "The files you chose lie in the upload cache, which is emptied when the app is started again."


def deleted(public: bool) -> str:
    """After a run was deleted, to every page that shows it."""
    return note("The run is deleted, and its copies of your pictures.", uploads_left(public))


def gone(count: int, public: bool) -> str:
    """After everything was deleted."""
    what = f"Deleted: {plural(count, 'run')} with codes, models and small copies of pictures."
    return note(what if count else "There was nothing to delete.", uploads_left(public))


def asked(count: int, size: int) -> str:
    """Before everything is deleted."""
    text = f"{plural(count, 'run')}, {size_text(size)}: models, codes, small copies of pictures; also a run at work."
    return f'<div class="m2m-poor" role="alert"><b>Delete everything of yours?</b> {html.escape(text)}</div>'
