"""The tab Interpolate: on the way from one picture to another, each a seed or a picture of the user's."""

import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL.Image import Image

from mind2mind.config import TOLD_SECONDS
from mind2mind.data.images import grid
from mind2mind.draw import save_clip
from mind2mind.errors import Mind2MindError
from mind2mind.ui.shared import (
    HIGHEST_SEED,
    LETTING_GO,
    LIVE,
    MODEL_WORK,
    PRIVATE,
    QUIET,
    Consent,
    brief,
    checked_seed,
    clock,
    cost_of,
    fresh,
    gpu,
    holding,
    known_ref,
    new_seed,
    note,
    told,
    wanted,
)

if TYPE_CHECKING:
    from mind2mind.draw import Cost
    from mind2mind.studio import Studio

# --- What is said of costs.


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


def passing() -> str:
    """When a picture is deleted that is used for a clip only."""
    return note(
        "A picture of yours that you use here, and the clips made of it, are deleted within the hour."
    )


def described(text: str) -> dict[str, Any]:
    """The alternative text of a `gr.Image`, for the versions of Gradio that take one (6.25 does not)."""
    return {"alt_text": text} if "alt_text" in inspect.signature(gr.Image).parameters else {}


STRIP, SLOW_STRIP = 7, 3  # pictures; the few where each takes long
KINDS = ("WebP", "MP4")
PICTURES = ["image", ".heic", ".heif"]  # what a phone offers to choose from


class InterpolateTab:
    """Builds the tab; its methods are the handlers. Their `ends` are seed and picture of A, and those of B."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.saved = gpu(self.save)
        self.consent = Consent(studio, "interpolate", passing)

    def build(self) -> None:
        """The components; inside a gr.Tab."""
        models = self.studio.models.list()
        choices = [(m.title, m.id) for m in models]
        self.model = gr.Dropdown(choices, value=models[0].id, label="Model", elem_id="interpolate-model")
        self.takes = gr.HTML(elem_id="interpolate-takes")
        self.consent.build()
        self.held = gr.Textbox(visible=False)
        with gr.Row():
            self.a = _End("A", 1, self.consent)
            with gr.Column(scale=2, min_width=300):
                self.picture = _picture("Between A and B", "interpolate-picture", 380)
                self.t = gr.Slider(
                    0, 1, 0.5, step=0.01, label="From A to B", elem_id="interpolate-t",
                    info="Drag it, or use the arrow keys.",
                )  # fmt: skip
            self.b = _End("B", 2, self.consent)
        self.strip = _picture("The way from A to B", "interpolate-strip", None)
        with gr.Accordion("Make a clip", open=False, elem_id="interpolate-clip"):
            self._build_clip()

    def _build_clip(self) -> None:
        with gr.Row():
            self.frames = gr.Slider(12, 240, 60, step=1, label="Frames, 24 a second", elem_id="clip-frames")
            self.kind = gr.Radio(KINDS, value="WebP", label="Kind", elem_id="clip-kind")
            self.loop = gr.Checkbox(True, label="And back again, so that it loops", elem_id="clip-loop")
        self.clip_takes = gr.HTML(elem_id="clip-takes")
        self.make = gr.Button("Make the clip", variant="primary", elem_id="clip-make")
        player: dict[str, Any] = {"label": "Clip", "interactive": False, "visible": False, "height": 300}
        self.clip = gr.Image(
            type="filepath", elem_id="clip-webp", **player, **described("The clip from A to B")
        )
        self.video = gr.Video(autoplay=True, loop=True, elem_id="clip-mp4", **player)
        self.download = gr.DownloadButton("Download the clip", visible=False, elem_id="clip-download")

    def wire(self, tab: gr.Tab, visit: gr.BrowserState) -> None:
        """The events."""
        self.consent.wire(visit, tab.select)
        ends = [self.model, *self.a.inputs, *self.b.inputs]
        show: dict[str, Any] = {"fn": gpu(self.show), "inputs": [self.t, *ends], **MODEL_WORK}
        show["outputs"] = [self.a.picture, self.b.picture, self.picture, self.strip]
        for event in (tab.select, self.model.change):
            event(**show, **LIVE)
        for end in (self.a, self.b):
            self._wire_end(end, visit, show)
        slide: dict[str, Any] = {"fn": gpu(self.slide), "outputs": self.picture, **LIVE, **MODEL_WORK}
        slide["inputs"] = [self.held, self.t, *ends]
        self.t.input(**slide, js=holding(self.t.elem_id))
        self.t.release(**slide, js=LETTING_GO)
        takes: dict[str, Any] = {"fn": self.price, "inputs": [self.model, self.frames]}
        for event in (tab.select, self.model.change, self.frames.release, self.frames.input):
            event(**takes, outputs=[self.takes, self.clip_takes], **LIVE)
        chosen, shown = [self.frames, self.kind, self.loop, *ends], [self.clip, self.video, self.download]
        self.make.click(self.clip_of, chosen, shown, **PRIVATE, **MODEL_WORK)

    def _wire_end(self, end: "_End", visit: gr.BrowserState, show: dict[str, Any]) -> None:
        taken = end.upload.upload(self.taken, [visit, end.upload], end.path, **QUIET)
        taken.success(**show, **LIVE)
        end.dice.click(lambda: (new_seed(), None), None, end.inputs, **PRIVATE).then(**show, **LIVE)
        end.seed.input(lambda: None, None, end.path, **LIVE).then(**show, **LIVE)
        aligned: dict[str, Any] = {"inputs": [self.model, end.path], "outputs": end.aligned, **MODEL_WORK}
        gr.on([end.path.change, self.model.change], gpu(self.aligned), **aligned, **QUIET)

    def taken(self, stored: Any, path: str) -> str:
        """A visitor's picture, if it may be used."""
        with told():
            self.consent.check(stored)
            return path

    def show(self, t: float, model: str, *ends: Any) -> tuple[Image, Image, Image, Image]:
        """A, B, the picture between them, and the film strip."""
        with told():
            ref, stops = known_ref(self.studio, model), endpoints(*ends)
            cost = cost_of(self.studio, ref)
            columns = STRIP if cost is None or cost.live else SLOW_STRIP
            strip = list(self.studio.draw.interpolate(ref, stops, frames=columns))
            return strip[0], strip[-1], self.studio.draw.blend(ref, *stops, t), grid(strip, columns=columns)

    def aligned(self, model: str, path: str | None) -> Any:
        """A picture of the visitor's before and after its face is aligned, where the model needs that."""
        couple = None
        with suppress(Mind2MindError):  # `show` says what is wrong
            couple = self.studio.draw.aligned(known_ref(self.studio, model), Path(path)) if path else None
        return gr.Image(grid(couple, columns=2) if couple else None, visible=couple is not None)

    def price(self, model: str, frames: float) -> tuple[str, str]:
        """What the chosen model costs, at the slider and for the clip."""
        cost = cost_of(self.studio, model)
        return sliding(cost), filming(cost, int(frames))

    def slide(self, held: str | None, t: float, model: str, *ends: Any) -> Any:
        """The picture at t, from A at 0 to B at 1; of a slow model only once the slider is let go."""
        with told():
            cost = cost_of(self.studio, model)
            if not wanted(held, cost is None or cost.live):
                return gr.skip()
            return self.studio.draw.blend(known_ref(self.studio, model), *endpoints(*ends), t)

    def clip_of(self, frames: float, kind: str, loop: bool, model: str, *ends: Any) -> tuple[Any, ...]:
        """The clip in its player, and as a file."""
        with told():
            path = str(self.saved(model, endpoints(*ends), int(frames), kind, loop))
            film = kind == "MP4"
            return (
                gr.Image(None if film else path, visible=not film),
                gr.Video(path if film else None, visible=film),
                gr.DownloadButton(value=path, visible=True),
            )

    def save(self, model: str, ends: Sequence[int | Path], frames: int, kind: str, loop: bool) -> Path:
        """The clip's file."""
        ref = known_ref(self.studio, model)
        path = fresh(f"interpolation.{kind.lower()}", ref)
        save_clip(self.studio.draw.interpolate(ref, ends, frames=frames, loop=loop), path)
        return path


class _End:
    """One end of the way: its picture, its seed, or a picture of the user's, once that is agreed to."""

    def __init__(self, name: str, seed: int, consent: Consent) -> None:
        key = name.lower()
        with gr.Column(scale=1, min_width=200):
            self.picture = _picture(name, f"end-{key}", 200, titled=True)
            self.seed = gr.Number(
                seed, label=f"Seed of {name}", precision=0, minimum=0, maximum=HIGHEST_SEED,
                elem_id=f"seed-{key}",
            )  # fmt: skip
            with gr.Row():
                self.dice = gr.Button("Roll the dice", size="sm", min_width=100, elem_id=f"dice-{key}")
                self.upload = gr.UploadButton(
                    "Your picture …", file_types=PICTURES, size="sm", min_width=100,
                    visible=not consent.needed, elem_id=f"upload-{key}",
                )  # fmt: skip
            self.aligned = _picture("Your picture, and its face aligned", f"aligned-{key}", None, hidden=True)
            self.path: gr.State = gr.State(None)
        consent.opens.append(self.upload)

    @property
    def inputs(self) -> list[Any]:
        """What `endpoints` takes of this end."""
        return [self.seed, self.path]


def _picture(
    label: str, elem_id: str, height: int | None, titled: bool = False, hidden: bool = False
) -> gr.Image:
    return gr.Image(
        label=label,
        visible=not hidden,
        show_label=titled,
        type="pil",
        format="png",
        interactive=False,
        height=height,
        elem_id=elem_id,
        buttons=["download", "fullscreen"] if height else [],
        **described(label),
        elem_classes="m2m-picture" if height else "m2m-strip",
    )


def endpoints(
    a: float | None, a_path: str | None, b: float | None, b_path: str | None
) -> tuple[int | Path, int | Path]:
    """A and B: of each a picture of the user's where there is one, else the seed."""
    return Path(a_path) if a_path else checked_seed(a), Path(b_path) if b_path else checked_seed(b)
