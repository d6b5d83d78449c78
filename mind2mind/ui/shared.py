"""What the tabs share: the visit, events, errors for the eye, checks at the door, components, files, words, walls."""

import base64
import functools
import hashlib
import html
import importlib
import inspect
import io
import logging
import os
import random
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.exceptions import ComponentProcessingError
from gradio.utils import get_upload_folder
from PIL import Image

from mind2mind.draw import Cost, Draw
from mind2mind.errors import ConfigError, DataError, FaultError, Mind2MindError, RunError, in_words
from mind2mind.judge.verdict import Verdict
from mind2mind.models.bundle import ModelInfo
from mind2mind.runs.run import RunStatus
from mind2mind.studio import Studio

log = logging.getLogger(__name__)

ASSETS = Path(__file__).resolve().parents[2] / "assets"
_KEY = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True)
class Visit:
    """What one browser remembers: who it is, the run it looks at, the runs it uses as models."""

    visitor: str
    token: str | None = None
    models: tuple[str, ...] = ()
    look: str | None = None  # the token that only looks at the run

    @classmethod
    def of(cls, stored: Any) -> "Visit":
        """From the browser, which may send anything: nothing of it is believed."""
        kept = stored if isinstance(stored, dict) else {}
        keys = {name: kept[name] for name in ("visitor", "token", "look") if is_key(kept.get(name))}
        models = kept["models"] if isinstance(kept.get("models"), list) else []
        return cls(**{"visitor": secrets.token_urlsafe(16)} | keys, models=tuple(filter(is_key, models)))

    def stored(self) -> dict[str, Any]:
        """For the browser."""
        return asdict(self) | {"models": list(self.models)}

    def at(self, token: str | None, look: str | None = None) -> "Visit":
        """The same visit at another run; `look` is the token that only looks at it."""
        return replace(self, token=token, look=look)

    def using(self, token: str) -> "Visit":
        """With one more run among the models."""
        return replace(self, models=(*self.forgetting(token).models, token))

    def forgetting(self, token: str) -> "Visit":
        """Without this one among the models."""
        return replace(self, models=tuple(m for m in self.models if m != token))

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


# --- ZeroGPU lends a GPU for the length of a call to functions it can see; elsewhere `gpu` does nothing.
# Such a Space has the package `spaces`, which Gradio imports before anything touches the GPU, and refuses to start
# without one function under `spaces.GPU`. Whatever runs a network that encodes or
# decodes goes through `gpu`; training does not, since its two small networks run on the CPU. A call runs in a
# process of its own and is sent to and fro by pickle: plain values only, never Gradio's components.

F = TypeVar("F", bound=Callable[..., Any])

SECONDS = 60  # asked for per call: a visitor without an account has two minutes a day
CHECK_SECONDS, CHECK_BYTES = 120, 20_000_000  # to check more than so many bytes of pictures


def on_zerogpu() -> bool:
    """Whether this is a ZeroGPU Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "yes")


def gpu(function: F, seconds: int | Callable[..., int] = SECONDS) -> F:
    """`function` under `spaces.GPU` on ZeroGPU, `function` itself anywhere else.

    Args:
        function: takes and gives what pickle can carry. Under `spaces.GPU` its errors are told, since only
            those of Gradio come back in words.
        seconds: the GPU time to ask for, or a function of the arguments that gives it.
    """
    if not on_zerogpu():
        return function
    decorated: F = importlib.import_module("spaces").GPU(duration=seconds)(telling(function))
    return decorated


def check_seconds(pictures: Any, *_: Any, **__: Any) -> int:
    """The GPU time to ask for to check these uploads."""
    size = sum(Path(picture).stat().st_size for picture in pictures or ())
    return CHECK_SECONDS if size > CHECK_BYTES else SECONDS


def reader(studio: Studio) -> Callable[..., Iterator[Any]]:
    """Reads pictures into a new run as `Runs.prepare` does, or adds them to the one of `token`."""

    def read(paths: Sequence[Path], ref: str, *, token: str | None = None, **new: Any) -> Iterator[Any]:
        yield from studio.runs.add(token, paths) if token else studio.runs.prepare(paths, ref, **new)

    return gpu(read, check_seconds)


# --- Events, and what goes wrong in them.

MODEL_WORK: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 2}  # calls that run a network


def on(
    event: Any,
    do: Callable[..., Any] | None,
    inputs: Any = None,
    outputs: Any = None,
    *,
    network: bool = False,
    live: bool = False,
    **settings: Any,
) -> Any:
    """Declares an event of the page (it is no endpoint), whose errors are told; gives what `then` hangs on.

    Args:
        event: one of Gradio's, such as `button.click`, or a list of them.
        do: the handler; None if the browser does all.
        inputs: as Gradio takes them.
        outputs: as Gradio takes them.
        network: the handler runs one: two at a time do, on ZeroGPU with a GPU, so that it gives plain values only.
        live: comes faster than it is answered (clicks in a row, what is dragged): the last one is answered, too.
        settings: of Gradio; progress is not shown unless they say so.
    """
    settings = {"api_visibility": "private", "show_progress": "hidden", **settings}
    if network:
        settings |= MODEL_WORK
    if live:
        settings["trigger_mode"] = "always_last"
    handler = telling(gpu(do) if network else do) if do else None
    declare = functools.partial(gr.on, event) if isinstance(event, list) else event
    return declare(handler, inputs, outputs, **settings)


def on_detail(
    event: Any, do: Callable[..., Any], inputs: Sequence[Any], outputs: Any, **settings: Any
) -> Any:
    """As `on`, for an event of a widget that is HTML; the handler is first given what the widget told of it."""
    detail = gr.JSON(visible=False)
    settings = {"js": f"(_, ...all) => m2m.detail('{event.__self__.elem_id}', all)", **settings}
    return on(event, do, [detail, *inputs], outputs, **settings)


def on_save(button: gr.Button, make: Callable[..., str], inputs: Any, **settings: Any) -> None:
    """As `on`, for a click that has a file made and saves it."""
    file = gr.DownloadButton(visible=False)
    settings |= {"show_progress": "full", "show_progress_on": button, **MODEL_WORK}
    made = on(button.click, make, inputs, file, **settings)
    on(made.success, None, file, js="m2m.save")


@contextmanager
def told() -> Iterator[None]:
    """Shows the user what went wrong and what helps. The toast renders HTML: names are escaped."""
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(str(logged(error))), print_exception=False) from error


def logged(error: Exception) -> Mind2MindError:
    """What to tell of it; what is a fault of ours goes to the log in full."""
    if isinstance(error, ComponentProcessingError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of a component, before or after the handler
    told = in_words(error)
    if isinstance(told, FaultError):
        log.error("A fault of the program.", exc_info=error)
    return told


def telling(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function or generator under `told`."""

    @functools.wraps(function)
    def stream(*args: Any, **settings: Any) -> Iterator[Any]:
        with told():
            yield from function(*args, **settings)

    return stream if inspect.isgeneratorfunction(inspect.unwrap(function)) else told()(function)


# --- What callers give, who may give anything.

HIGHEST_SEED = 2**31 - 1
PICTURES = ["image", ".heic", ".heif"]  # what a phone offers to choose from
MOST_PICTURES = 64


def known_ref(studio: Studio, ref: str) -> str:
    """A model of the catalogue or a run's token; never a path, which the studio would open.

    Raises:
        ConfigError: it is neither.
    """
    ids = studio.models.ids
    if ref in ids or is_key(ref):
        return ref
    raise ConfigError(
        f"There is no model {str(ref)[:80]!r}.", f"Choose one of {', '.join(ids)}, or a run's token."
    )


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number as a number field or a caller gives it.

    Raises:
        ConfigError: it is none, or out of range.
    """
    if not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        shown = "empty" if value is None else str(value)[:40]
        raise ConfigError(f"{name} is {shown}.", f"Give a whole number from {low:,} to {high:,}.")
    return int(value)


def checked_seed(seed: Any) -> int:
    """A seed as a number field gives it.

    Raises:
        ConfigError: it is empty, broken or out of range.
    """
    return whole("The seed", seed, 0, HIGHEST_SEED)


def new_seed() -> int:
    """Short enough to be read out."""
    return random.randrange(1_000_000)


def index(at: Any, among: Sequence[Any]) -> int:
    """A place in a list, as a wall tells it.

    Raises:
        DataError: there is none.
    """
    if not isinstance(at, int) or not 0 <= at < len(among):
        raise DataError("There is no such picture here.", "Choose one that is shown.")
    return at


def uploaded(paths: Sequence[str] | None) -> list[Path]:
    """The uploaded files in a stable order; how many there may be is the studio's to check.

    Raises:
        DataError: there are none.
    """
    if not paths:
        fix = "Drop some pictures, choose a folder, or take an example."
        raise DataError("There are no pictures yet.", fix)
    return sorted(map(Path, paths), key=lambda p: (p.name, str(p)))


def models_of(studio: Studio, visit: Visit) -> dict[str, ModelInfo]:
    """By their tokens, the models of this visitor's own that are still there."""
    found = {}
    for token in visit.models:
        with suppress(Mind2MindError):
            found[token] = studio.models.locate(token)
    return found


# --- Components that several tabs have.


def seed_field(label: str, seed: int, elem_id: str) -> gr.Number:
    """A number that is a seed."""
    return gr.Number(seed, label=label, precision=0, minimum=0, maximum=HIGHEST_SEED, elem_id=elem_id)


ASKS = "m2m.asks(element, trigger)"  # of a widget that is HTML and has buttons such as these


def ask(label: str, *, disabled: bool = False, **told: str) -> str:
    """A button in HTML, which triggers `select` with what is `told`."""
    data = "".join(f' data-{name}="{html.escape(value)}"' for name, value in told.items())
    return f'<button type="button"{data}{" disabled" * disabled}>{html.escape(label)}</button>'


def ask_twice(label: str, sure: str, about: str = "", ref: str = "") -> str:
    """A red button in HTML; only a second one below it, beside what is said `about` it, triggers `delete`."""
    return f'<details class="m2m-twice"><summary>{label}</summary>{note(about)}{ask(sure, ref=ref)}</details>'


# --- Drawing takes long with a large model: it is said before, and sliders draw live with a quick model only.

FRAME = threading.Lock()  # sliders' frames go past the queue, and yet one is drawn at a time
MOVING = "moving"  # what happens to a slider while it is held; see assets/app.js


def cost_of(studio: Studio, ref: str) -> Cost:
    """What a picture of this model costs here; nothing where that cannot be told."""
    if not on_zerogpu():  # there each call would take of the visitor's GPU time
        with suppress(Mind2MindError):
            return studio.draw.cost(known_ref(studio, ref))
    return Cost(draw_seconds=0.0, encode_seconds=0.0, memory=0)


def wanted(studio: Studio, held: str | None, ref: str) -> bool:
    """Whether a slider's event is one to draw on: slow models wait until it is let go."""
    return held != MOVING or cost_of(studio, ref).live


# --- Files to hand out: made in folders that Gradio may serve, and forgotten with what they were made of.


def fresh(name: str, ref: str, version: str = "") -> Path:
    """A path of that name among the files that Gradio may hand out; `ref` made it.

    Its folder is a new one, or that of the `version`.
    """
    folder = Path(get_upload_folder()) / "made" / (_mark(ref) + _mark(version or secrets.token_urlsafe()))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.utime(folder)  # tidied up by age
    return folder / name


def once(name: str, status: RunStatus, make: Callable[[str, Path], object]) -> str:
    """The path of a file that `make` makes of a run, by its token; once only while the run stays as it is.

    `name` has a {} where the run's name belongs.
    """
    path = fresh(name.format(status.name), status.token, str(status.result))
    if not path.exists():
        make(status.token, path)
    return str(path)


def forget_made(ref: str) -> None:
    """Deletes the files that were made for download with this model."""
    for folder in (Path(get_upload_folder()) / "made").glob(f"{_mark(ref)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def delete_run(studio: Studio, token: str) -> None:
    """Deletes a run, at work or not, and what was made of it, by guests too, for download."""
    look = studio.runs.status(token).look
    studio.runs.delete(token)
    for ref in filter(None, (token, look)):
        forget_made(ref)


def _mark(ref: str) -> str:
    return hashlib.sha256(ref.encode()).hexdigest()[:16] + "-"  # a token opens a run: it is in no address


def save_pictures(images: Iterable[Image.Image], names: Iterable[str], ref: str) -> list[str]:
    """As PNGs of these names in one folder, each of which says in itself which model and seed made it."""
    folder = fresh("x", ref).parent
    paths = [folder / f"{name}.png" for name in names]
    for image, path in zip(images, paths, strict=True):
        Draw.save_png(image, path)
    return list(map(str, paths))


# --- Words: small, escaped pieces of HTML. What only one tab says stands in that tab's file.

_COMMAND = re.compile("`([^`]+)`")
_URL = re.compile(r"(https?://[^\s<>\"']+[^\s<>\"'.,;:)\]])")


def note(*sentences: str) -> str:
    """Quiet, plain text; escaped here, with `commands` set as such and links that can be clicked."""
    texts = [_COMMAND.sub(r"<code>\1</code>", linked(sentence)) for sentence in sentences if sentence]
    told = "".join(f"<p>{text}</p>" for text in texts)
    return told and f'<div class="m2m-note">{told}</div>'


def boxed(kind: str, title: str, *sentences: str, more: str = "") -> str:
    """A box of kind good, fair or poor; `more` is HTML."""
    return f'<div class="m2m-{kind}" role="status"><b>{html.escape(title)}</b>{note(*sentences)}{more}</div>'


def bar(share: float, label: str) -> str:
    """How much is done, 0 to 1."""
    return (
        f'<div class="m2m-bar" role="progressbar" aria-label="{html.escape(label)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}"><div style="width:{share:.1%}"></div></div>'
    )


def linked(text: str) -> str:
    """Escaped text whose web addresses can be clicked."""
    parts = [html.escape(part) for part in _URL.split(text)]  # every second one is an address
    parts[1::2] = [f'<a href="{url}" target="_blank" rel="noopener">{url}</a>' for url in parts[1::2]]
    return "".join(parts)


KNOWN = {  # of a box, and what it says of a model and pictures
    Verdict.GOOD: ("good", "{} knows such pictures."),
    Verdict.USABLE: ("fair", "{} knows such pictures by half: expect a likeness."),
    Verdict.UNKNOWN: ("poor", "{} does not know such pictures."),
}


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


# --- On a public server: when everything is deleted, and a tick, without which no picture can be uploaded.

WAITS = "m2m-waits"  # the class of uploads: closed while there is a tick that is not set (assets/app.css)
PASSING = "A picture of yours that you use here, and what is made of it, are deleted within the hour."
CONSENT = "I may use these pictures, and everybody who can be recognised in them agrees."


def check_consent(studio: Studio, agreed: bool, how: str = "Set the tick above the upload") -> None:
    """Raises DataError for pictures of a visitor who has not agreed: the page alone keeps nobody out."""
    if studio.public and agreed is not True:
        problem = "Nobody has said yet that these pictures may be used."
        raise DataError(problem, f"{how}, if it is true: {CONSENT}")


def consent(studio: Studio, tab: str, told: str = PASSING) -> gr.Checkbox:
    """The tick of one tab, below the notice of when what is uploaded is deleted: neither is shown at home."""
    looks: dict[str, Any] = {"visible": studio.public, "elem_classes": "m2m-tick"}
    gr.HTML(note(told), visible=studio.public, elem_id=f"{tab}-clock")
    return gr.Checkbox(False, label=CONSENT, elem_id=f"{tab}-consent", **looks)


def photo_button(elem_id: str, **looks: Any) -> gr.UploadButton:
    """Takes one picture."""
    looks |= {"file_types": PICTURES, "elem_id": elem_id, "elem_classes": WAITS}
    return gr.UploadButton("Your picture …", **looks)


# --- Walls of pictures, enlarged here since browsers blur small ones. A wall is HTML, its events are in
# assets/app.js. What it shows is for the eye; files to keep are made apart.

TILE, LARGE = 256, 768  # px a side that a picture on a wall, and the large one, is shown at most
MOST_ENLARGED = 4  # times; more shows nothing but blur
QUALITY = 92  # of the JPEGs, without subsampled colour


@dataclass(frozen=True)
class Tile:
    """A picture on a wall."""

    image: Image.Image
    name: str  # read to those who cannot see it
    caption: str = ""  # seen below it
    pale: bool = False  # left out
    more: str = ""  # small print below the caption


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """At most `side` px on the longer side, by Lanczos: smaller pictures grow up to MOST_ENLARGED times."""
    factor = min(side / max(image.size), MOST_ENLARGED)
    if factor == 1:
        return image
    return image.resize([max(1, round(length * factor)) for length in image.size], Image.Resampling.LANCZOS)


def inline(image: Image.Image, side: int = TILE) -> str:
    """The address of a picture that stands in the page itself."""
    stream = io.BytesIO()
    enlarged(image.convert("RGB"), side).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def picture(image: Image.Image, name: str, side: int = LARGE) -> str:
    """One that is only looked at."""
    return f'<img class="m2m-large" src="{inline(image, side)}" alt="{html.escape(name)}" draggable="false">'


def tiles(
    shown: Iterable[Tile | None], chosen: int | None = None, side: int = TILE, columns: int | None = None
) -> str:
    """What a wall shows, None being a gap; one of them may be `chosen`, and the columns fixed."""
    parts = []
    for i, tile in enumerate(shown):
        if tile is None:
            parts.append("<div></div>")
            continue
        small = f"<small>{html.escape(tile.more)}</small>" if tile.more else ""
        caption = f"<span>{html.escape(tile.caption)}{small}</span>" if tile.caption or small else ""
        parts.append(
            f'<button type="button" class="m2m-tile{" m2m-pale" if tile.pale else ""}" data-i="{i}" '
            f'tabindex="{-1 if i != (chosen or 0) else 0}" aria-pressed="{str(i == chosen).lower()}" '
            f'aria-label="{html.escape(tile.name)}"><img src="{inline(tile.image, side)}" alt="" '
            f'decoding="sync" draggable="false">{caption}</button>'
        )
    fixed = f' style="grid-template-columns:repeat({columns},1fr)"' if columns else ""
    return f'<div class="m2m-wall"{fixed}>{"".join(parts)}</div>'


def numbered(images: Sequence[Image.Image], name: str, **tile: Any) -> list[Tile]:
    """Each picture with `name` and its number."""
    return [Tile(image, f"{name} {number}", **tile) for number, image in enumerate(images, 1)]


def pairs(couples: Iterable[tuple[Image.Image, Image.Image]], name: str) -> list[Tile]:
    """Two pictures on top of each other, each couple as large as its first."""
    return numbered([Draw.grid([a, b.resize(a.size)], columns=1) for a, b in couples], name)


def wall(elem_id: str, classes: str = "", value: str = "", *, picks: bool = False, **looks: Any) -> gr.HTML:
    """A wall of `tiles`. A click enlarges the picture, or `picks` it: the event `select`, which has its `index`.

    The arrow keys lead from one to the next.
    """
    how = "pick" if picks else "view"
    return gr.HTML(
        value,
        js_on_load=f"m2m.wall(element, watch, trigger, '{how}')",
        elem_id=elem_id,
        elem_classes=["m2m-pictures", *classes.split()],
        **looks,
    )
