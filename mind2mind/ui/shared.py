"""On a public server: when everything is deleted, and a tick, without which no picture can be uploaded."""

import functools
import hashlib
import html
import importlib
import inspect
import os
import random
import re
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder
from PIL import Image

from mind2mind.data.images import grid, save_png
from mind2mind.draw import Cost
from mind2mind.errors import ConfigError, DataError, Mind2MindError, RunError

if TYPE_CHECKING:
    from mind2mind.models.bundle import ModelInfo
    from mind2mind.studio import Studio

# --- What one browser remembers of its visits. It may send anything: nothing of it is believed.

_KEY = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True)
class Visit:
    """What one browser remembers: who it is, the run it looks at, the runs it uses as models."""

    visitor: str
    token: str | None = None
    models: tuple[str, ...] = ()
    agreed: bool = False  # to what a public server asks before an upload

    @classmethod
    def of(cls, stored: Any) -> "Visit":
        """From the browser, which may send anything."""
        stored = stored if isinstance(stored, dict) else {}
        visitor, token, models = stored.get("visitor"), stored.get("token"), stored.get("models")
        return cls(
            visitor if is_key(visitor) else secrets.token_urlsafe(16),
            token if is_key(token) else None,
            tuple(filter(is_key, models if isinstance(models, list) else ())),
            stored.get("agreed") is True,
        )

    def stored(self) -> dict[str, Any]:
        """For the browser."""
        return asdict(self) | {"models": list(self.models)}

    def at(self, token: str | None) -> "Visit":
        """The same visit, looking at another run."""
        return replace(self, token=token)

    def using(self, token: str) -> "Visit":
        """With one more run among the models."""
        return replace(self, models=(*(m for m in self.models if m != token), token))

    def without(self, token: str) -> "Visit":
        """After the run was deleted."""
        return self.at(None).forgetting(token)

    def forgetting(self, token: str) -> "Visit":
        """Without this one among the models."""
        return replace(self, models=tuple(m for m in self.models if m != token))

    def agreeing(self, yes: bool) -> "Visit":
        """After the tick was set, or taken away."""
        return replace(self, agreed=yes)

    @property
    def needed_token(self) -> str:
        """The run's token.

        Raises:
            RunError: there is none.
        """
        if self.token is None:
            raise RunError("There is no run here.", "Choose pictures first.")
        return self.token


def is_key(value: object) -> bool:
    """Whether this may be a token: never a path."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


# --- ZeroGPU lends a GPU for the length of a call to functions it can see; elsewhere this file does nothing.
# Such a Space refuses to start without one function under `spaces.GPU`. Whatever runs a network that encodes or
# decodes goes through `gpu`; training does not, since its two small networks run on the CPU. A call runs in a
# process of its own and is sent to and fro by pickle: plain values only, never Gradio's components.

F = TypeVar("F", bound=Callable[..., Any])

SECONDS = 60  # asked for per call: a visitor without an account has two minutes a day
CHECK_SECONDS, CHECK_BYTES = 120, 20_000_000  # to check more than so many bytes of pictures


def gpu(function: F, seconds: int | Callable[..., int] = SECONDS) -> F:
    """`function` under `spaces.GPU` on ZeroGPU, `function` itself anywhere else.

    Args:
        function: takes and gives what pickle can carry. Under `spaces.GPU` its errors are told, since only
            those of Gradio come back in words.
        seconds: the GPU time to ask for, or a function of the arguments that gives it.
    """
    if not on_zerogpu():
        return function
    decorated: F = importlib.import_module("spaces").GPU(duration=seconds)(_telling(function))
    return decorated


def check_seconds(pictures: Any, *_: Any, **__: Any) -> int:
    """The GPU time to ask for to check these uploads."""
    files = [pictures] if isinstance(pictures, str) else pictures or ()
    return CHECK_SECONDS if sum(Path(f).stat().st_size for f in files) > CHECK_BYTES else SECONDS


def _telling(function: Callable[..., Any]) -> Callable[..., Any]:

    @functools.wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        with told():
            return function(*args, **settings)

    @functools.wraps(function)
    def stream(*args: Any, **settings: Any) -> Iterator[Any]:
        with told():
            yield from function(*args, **settings)

    return stream if inspect.isgeneratorfunction(function) else call


def on_zerogpu() -> bool:
    """Whether this is a ZeroGPU Space with the package `spaces`."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "true", "yes"):
        return False
    try:
        importlib.import_module("spaces")
    except ImportError:
        return False
    return True


# --- No file but an uploaded one.
# Gradio also follows a web address in the place of a file: the server would fetch whatever a caller names, however
# large. Subclasses of its components would not do: it writes an interface file beside each when it is imported.


def follow_no_address() -> None:
    """From now on a web address in the place of a file is an error, in all of Gradio."""
    processing_utils.async_ssrf_protected_download = _refuse


async def _refuse(url: str, cache_dir: str) -> str:
    raise gr.Error("This is no uploaded file: web addresses are not followed.", print_exception=False)


# --- What the tabs share: settings of events, errors for the eye, models by name, checks at the door.

HIGHEST_SEED = 2**31 - 1
MOST_PICTURES = 64
MODEL_WORK: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 2}  # calls that run a network
PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # of the page, not of the API
QUIET: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
# What comes faster than it is answered (clicks in a row, what is dragged): the last one is answered, too
LAST: dict[str, Any] = {"trigger_mode": "always_last", **PRIVATE}
LIVE: dict[str, Any] = {**LAST, **QUIET}


@contextmanager
def told() -> Iterator[None]:
    """Shows the user what went wrong and what helps. The toast renders HTML: names are escaped."""
    try:
        yield
    except Mind2MindError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from error


def model_choices(studio: Any, visit: Visit) -> list[tuple[str, str]]:
    """The models everybody has, and those this visitor trained or opened, unless they are gone."""
    own = []
    for token in visit.models:
        with suppress(Mind2MindError):
            own.append((f"Yours: {studio.models.locate(token).title}", token))
    return [(m.title, m.id) for m in studio.models.list()] + own


def known_ref(studio: Any, ref: str) -> str:
    """A model of the catalogue or a run's token; never a path, which the studio would open.

    Raises:
        ConfigError: it is neither.
    """
    ids = [m.id for m in studio.models.list()]
    if ref in ids or is_key(ref):
        return ref
    raise ConfigError(
        f"There is no model {str(ref)[:80]!r}.", f"Choose one of {', '.join(ids)}, or a run's token."
    )


def cost_of(studio: Any, ref: str) -> Cost | None:
    """What a picture of this model costs here; None where that cannot be told."""
    if on_zerogpu():  # each call would take of the visitor's GPU time
        return None
    with suppress(Mind2MindError):
        cost: Cost = studio.draw.cost(known_ref(studio, ref))
        return cost
    return None


def new_seed() -> int:
    """Short enough to be read out."""
    return random.randrange(1_000_000)


def checked_seed(seed: Any) -> int:
    """A seed as a number field gives it.

    Raises:
        ConfigError: it is empty, broken or out of range.
    """
    return whole("The seed", seed, 0, HIGHEST_SEED)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number as a number field or a caller gives it, who may give anything.

    Raises:
        ConfigError: it is none, or out of range.
    """
    if not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        shown = "empty" if value is None else str(value)[:40]
        raise ConfigError(f"{name} is {shown}.", f"Give a whole number from {low:,} to {high:,}.")
    return int(value)


def uploaded(paths: Sequence[str] | str | None) -> list[Path]:
    """The uploaded files in a stable order; how many there may be is the studio's to check.

    Raises:
        DataError: there are none.
    """
    files = [Path(p) for p in ([paths] if isinstance(paths, str) else paths or ())]
    if not files:
        raise DataError(
            "There are no pictures yet.", "Drop some pictures, choose a folder, or take an example."
        )
    return sorted(files, key=lambda p: (p.name, str(p)))


# --- Pictures side by side, each with words for those who cannot see it.


def wall(
    elem_id: str,
    classes: str,
    value: Sequence[Any] | None = None,
    *,
    label: str = "Pictures",
    columns: int = 4,
    to_pick: bool = False,
) -> gr.Gallery:
    """Pictures in as many columns as fit; lossless. One `to_pick` gives its clicks to a handler."""
    return gr.Gallery(
        value,
        label=label,
        show_label=False,
        columns=columns,
        height="auto",
        format="png",
        object_fit="contain",
        allow_preview=not to_pick,
        buttons=[] if to_pick else ["download", "fullscreen"],
        interactive=False,
        elem_id=elem_id,
        elem_classes=classes.split(),
    )


def pairs(
    couples: Sequence[tuple[Image.Image, Image.Image]], said: str = "Two pictures, one above the other:"
) -> list[tuple[Image.Image, str]]:
    """Two pictures on top of each other, each couple as large as its first; `said` as in `captioned`."""
    return captioned([grid([a, b.resize(a.size)], columns=1) for a, b in couples], said)


def captioned(images: Sequence[Any], said: str) -> list[tuple[Any, str]]:
    """For a wall: each picture with `said` and its number, read to those who cannot see it."""
    return [(image, f"{said} {number}") for number, image in enumerate(images, 1)]


# --- Sliders that draw: live with a quick model, with a slow one only when they are let go.

MOVING, LET_GO, SET_BY_US = "moving", "let go", "set"
LETTING_GO = f"(_, ...all) => ['{LET_GO}', ...all]"  # JavaScript, as `holding` gives


def holding(elem_id: str | None) -> str:
    """JavaScript that puts into a handler's first argument what happens to the slider `elem_id`.

    MOVING while the pointer holds it, SET_BY_US if the focus is elsewhere, else nothing: it was moved by a
    key, or its number was typed.
    """
    return (
        f"(_, ...all) => {{ const box = document.getElementById('{elem_id}');"
        f" const held = box.querySelector('input[type=range]:active') ? '{MOVING}'"
        f" : box.contains(document.activeElement) ? '' : '{SET_BY_US}';"
        " return [held, ...all]; }"
    )


def wanted(held: str | None, live: bool) -> bool:
    """Whether a slider's event is one to draw on: slow models wait until it is let go, others do not."""
    return held not in (SET_BY_US, LET_GO if live else MOVING)


# --- Files to hand out: made in folders that Gradio may serve, and forgotten with what they were made of.

SAVE = """(file) => { if (!file) return; const link = document.createElement('a');
  link.href = file.url; link.download = file.orig_name || ''; link.click(); }"""  # JavaScript


def fresh(name: str, ref: str) -> Path:
    """A path of that name in a new folder among the files that Gradio may hand out; `ref` made it."""
    made = Path(get_upload_folder()) / "made"
    made.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_mark(ref), dir=made)) / name


def forget_made(ref: str) -> None:
    """Deletes the files that were made for download with this model."""
    for folder in (Path(get_upload_folder()) / "made").glob(f"{_mark(ref)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _mark(ref: str) -> str:
    return hashlib.sha256(ref.encode()).hexdigest()[:16] + "-"  # a token opens a run: it is in no address


def save_pictures(images: Sequence[Image.Image], stem: str, ref: str) -> list[Path]:
    """Each picture as a PNG that says in itself which model and seed made it."""
    folder = fresh("x", ref).parent
    paths = [folder / f"{stem}-{image.info.get('seed', i)}.png" for i, image in enumerate(images)]
    for image, path in zip(images, paths, strict=True):
        save_png(image, path, _meta(image))
    return paths


def save_sheet(images: Sequence[Image.Image], stem: str, ref: str) -> Path:
    """All pictures in one PNG."""
    path = fresh(f"{stem}.png", ref)
    save_png(grid(images), path, _meta(images[0]) | {"count": str(len(images))})
    return path


def save_zip(paths: Sequence[Path], stem: str, ref: str) -> Path:
    """Files in one zip, stored: PNGs do not get smaller."""
    path = fresh(f"{stem}.zip", ref)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in paths:
            archive.write(file, file.name)
    return path


def _meta(image: Image.Image) -> dict[str, str]:
    return {str(k): v for k, v in image.info.items() if isinstance(v, str)}


class OnDemand:
    """A button that has a file made when it is pressed, and saves it in the same click."""

    def __init__(self, label: str, elem_id: str) -> None:
        self.button = gr.Button(label, elem_id=elem_id)
        self.file = gr.DownloadButton(visible=False, elem_id=f"{elem_id}-file")

    def wire(self, make: Callable[..., Any], inputs: Any, **settings: Any) -> None:
        """`make` gives the file, or the button that offers it once more."""
        made = self.button.click(make, inputs, self.file, show_progress_on=self.button, **PRIVATE, **settings)
        made.success(None, self.file, js=SAVE, **PRIVATE)


# --- The example sets in `assets/`: a folder of pictures each, with an about.json that says whose they are.


# --- Every sentence the app builds: models, credits, reports and runs as small, escaped pieces of HTML.

_COMMAND = re.compile("`([^`]+)`")
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:)\]]")


def note(*sentences: str) -> str:
    """Quiet, plain text; escaped here, with `commands` set as such."""
    return '<div class="m2m-note">' + "".join(f"<p>{_text(s)}</p>" for s in sentences if s) + "</div>"


def _text(sentence: str) -> str:
    return _COMMAND.sub(r"<code>\1</code>", html.escape(sentence))


def _knows(model: "ModelInfo") -> str:
    text = model.knows.strip().rstrip(".")
    if text.lower().startswith("knows "):
        text = text[6:]
    return html.escape(text[:1].lower() + text[1:] if text[1:2].islower() else text)


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


def boxed(kind: str, title: str, *sentences: str) -> str:
    """A box of kind good, fair or poor."""
    return f'<div class="m2m-{kind}" role="status"><b>{html.escape(title)}</b>{note(*sentences)}</div>'


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


# --- What the app says of results, of the list of runs, and of what is deleted when: small, escaped pieces of HTML.


TEXT = "I may use these pictures, and everybody who can be recognised in them agrees."


def check(studio: "Studio", agreed: bool, how: str) -> None:
    """Raises DataError for pictures of a visitor who has not agreed: the page alone keeps nobody out."""
    if studio.public and not agreed:
        raise DataError(
            "Nobody has said yet that these pictures may be used.", f"{how}, if it is true: {TEXT}"
        )


def check_call(studio: "Studio", agreed: bool) -> None:
    """The same for a caller of the API."""
    check(studio, agreed is True, "Call with agreed=True")


class Consent:
    """The components of one tab; the browser remembers the tick, which all tabs share.

    Args:
        studio: it knows whether a tick is needed.
        tab: its name.
        told: says, now, when what is uploaded is deleted.
    """

    def __init__(self, studio: "Studio", tab: str, told: Callable[[], str]) -> None:
        self.studio, self.tab, self.told, self.needed = studio, tab, told, studio.public
        self.opens: list[Any] = []  # what the tick opens

    def build(self) -> None:
        """The clock and the tick."""
        self.clock = gr.HTML(visible=self.needed, elem_id=f"{self.tab}-clock")
        self.tick = gr.Checkbox(False, label=TEXT, visible=self.needed, elem_id=f"{self.tab}-consent")

    @property
    def outputs(self) -> list[Any]:
        """What `known` may update."""
        return [self.clock, self.tick, *self.opens]

    def wire(self, visit: gr.BrowserState, *shows: Any) -> None:
        """The events; `shows` are those at which the tick of another tab is to be seen here."""
        self.visit = visit
        self.tick.input(self.ticked, [visit, self.tick], [visit, *self.opens], **QUIET)
        if self.needed:
            gr.on([visit.change, *shows], self.look, visit, self.outputs, **QUIET)

    def look(self, stored: Any) -> dict[Any, Any]:
        """The tick as the browser remembers it."""
        return self.known(Visit.of(stored))

    def known(self, visit: Visit) -> dict[Any, Any]:
        """The clock as it stands now, the tick as this browser remembers it, and what it opens."""
        return {self.clock: self.told() if self.needed else "", self.tick: visit.agreed} | self._opened(visit)

    def ticked(self, stored: Any, yes: Any) -> dict[Any, Any]:
        """Opens the uploads, or closes them."""
        visit = Visit.of(stored).agreeing(yes is True)
        return {self.visit: visit.stored()} | self._opened(visit)

    def _opened(self, visit: Visit) -> dict[Any, Any]:
        return {part: gr.update(visible=visit.agreed or not self.needed) for part in self.opens}

    def check(self, stored: Any) -> None:
        """Raises DataError if the tick is not set."""
        check(self.studio, Visit.of(stored).agreed, "Set the tick above the upload")
