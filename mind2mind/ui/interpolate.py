"""The tab Interpolate: on the way from one picture to another, each a seed or a picture of the user's."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from PIL.Image import Image

from mind2mind.config import TOLD_SECONDS
from mind2mind.draw import Cost, Draw
from mind2mind.errors import Mind2MindError
from mind2mind.studio import Studio
from mind2mind.ui.shared import (
    MODEL_WORK,
    MOVING,
    PASSING,
    PICTURES,
    Consent,
    Visit,
    brief,
    check_consent,
    checked_seed,
    clock,
    cost_of,
    fresh,
    gpu,
    known_ref,
    new_seed,
    note,
    on,
    on_slide,
    seed_field,
    wanted,
)

STRIP, SLOW_STRIP = 7, 3  # pictures; the few where each takes long
KINDS = ("WebP", "MP4")


def sliding(cost: Cost) -> str:
    """Under a choice of models: when a slow one draws."""
    if cost.live:
        return ""
    return note(
        f"A picture of this model takes about {brief(cost.draw_seconds)} here: "
        "it is drawn when you let the slider go, or press an arrow key."
    )


def filming(cost: Cost, frames: int) -> str:
    """What a clip takes, where that is noticeable."""
    seconds = frames * cost.draw_seconds
    return note(f"{frames} frames take about {clock(seconds)} here.") if seconds > TOLD_SECONDS else ""


def endpoints(
    a: float | None, a_path: str | None, b: float | None, b_path: str | None
) -> tuple[int | Path, int | Path]:
    """A and B: of each a picture of the user's where there is one, else the seed."""
    return Path(a_path) if a_path else checked_seed(a), Path(b_path) if b_path else checked_seed(b)


class InterpolateTab:
    """Builds the tab; its methods are the handlers. Their `ends` are seed and picture of A, and those of B."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.look, self.saved = gpu(studio.draw.aligned), gpu(self.save)

    def build(self, model: gr.Dropdown, opening: Any, visit: gr.BrowserState) -> None:
        """The components and their events; inside a gr.Tab, whose opening is an event."""
        self.model = model
        self.takes = gr.HTML(elem_id="interpolate-takes")
        self.consent = Consent(self.studio, "interpolate", lambda: note(PASSING))
        with gr.Row():
            self.a = _End("A", 1, self.consent)
            with gr.Column(scale=2, min_width=300):
                self.picture = _picture("Between A and B", "interpolate-picture", 380)
                self.t = gr.Slider(
                    0, 1, 0.5, step=0.01, label="From A to B", info="Drag it, or use the arrow keys.",
                    elem_id="interpolate-t",
                )  # fmt: skip
            self.b = _End("B", 2, self.consent)
        self.strip = _picture("The way from A to B", "interpolate-strip", None)
        with gr.Accordion("Make a clip", open=False, elem_id="interpolate-clip"):
            self._build_clip()
        self._wire(opening, visit)

    def _build_clip(self) -> None:
        with gr.Row():
            self.frames = gr.Slider(12, 240, 60, step=1, label="Frames, 24 a second", elem_id="clip-frames")
            self.kind = gr.Radio(KINDS, value="WebP", label="Kind", elem_id="clip-kind")
            self.loop = gr.Checkbox(True, label="And back again, so that it loops", elem_id="clip-loop")
        self.clip_takes = gr.HTML(elem_id="clip-takes")
        self.make = gr.Button("Make the clip", variant="primary", elem_id="clip-make")
        player: dict[str, Any] = {"label": "Clip", "interactive": False, "visible": False, "height": 300}
        self.clip = gr.Image(type="filepath", alt_text="The clip from A to B", elem_id="clip-webp", **player)
        self.video = gr.Video(autoplay=True, loop=True, elem_id="clip-mp4", **player)
        self.download = gr.DownloadButton("Download the clip", visible=False, elem_id="clip-download")

    def _wire(self, opening: Any, visit: gr.BrowserState) -> None:
        self.consent.wire(visit, opening)
        ends = [self.model, *self.a.inputs, *self.b.inputs]
        pictures = [self.a.picture, self.b.picture, self.picture, self.strip]
        show: dict[str, Any] = {"do": self.show, "inputs": [self.t, *ends], "outputs": pictures}
        show |= {"network": True, "live": True}
        on([opening, self.model.change], **show)
        for end in (self.a, self.b):
            taken = on(end.upload.upload, self.taken, [visit, end.upload], end.path)
            on(taken.success, **show)
            on(on(end.dice.click, lambda: (new_seed(), None), None, end.inputs).then, **show)
            on(on(end.seed.input, lambda: None, None, end.path, live=True).then, **show)
            looks = [end.path.change, self.model.change]
            on(looks, self.aligned, [self.model, end.path], end.aligned, **MODEL_WORK)
        on_slide(self.t, self.slide, [self.t, *ends], self.picture)
        takes, priced = [self.takes, self.clip_takes], [self.frames.release, self.frames.input]
        on([opening, self.model.change, *priced], self.price, [self.model, self.frames], takes, live=True)
        chosen, shown = [self.frames, self.kind, self.loop, *ends], [self.clip, self.video, self.download]
        on(self.make.click, self.clip_of, chosen, shown, show_progress="full", **MODEL_WORK)

    def taken(self, stored: Any, path: str) -> str:
        """A visitor's picture, if it may be used."""
        check_consent(self.studio, Visit.of(stored).agreed)
        return path

    def show(self, t: float, model: str, *ends: Any) -> tuple[Image, Image, Image, Image]:
        """A, B, the picture between them, and the film strip."""
        ref, stops = known_ref(self.studio, model), endpoints(*ends)
        columns = STRIP if cost_of(self.studio, ref).live else SLOW_STRIP
        strip = list(self.studio.draw.interpolate(ref, stops, frames=columns))
        return strip[0], strip[-1], self.studio.draw.blend(ref, *stops, t), Draw.grid(strip, columns=columns)

    def slide(self, held: str | None, t: float, model: str, *ends: Any) -> Any:
        """The picture at t, from A at 0 to B at 1; of a slow model only once the slider is let go."""
        if not wanted(self.studio, held, model):
            return gr.skip()
        ref, (a, b) = known_ref(self.studio, model), endpoints(*ends)
        return self.studio.draw.blend(ref, a, b, t, hurry=held == MOVING)

    def aligned(self, model: str, path: str | None) -> Any:
        """A picture of the visitor's before and after its face is aligned, where the model needs that."""
        couple = None
        with suppress(Mind2MindError):  # `show` says what is wrong
            couple = self.look(known_ref(self.studio, model), Path(path)) if path else None
        return gr.Image(Draw.grid(couple, columns=2) if couple else None, visible=couple is not None)

    def price(self, model: str, frames: float) -> tuple[str, str]:
        """What the chosen model costs, at the slider and for the clip."""
        cost = cost_of(self.studio, model)
        return sliding(cost), filming(cost, int(frames))

    def clip_of(self, frames: float, kind: str, loop: bool, model: str, *ends: Any) -> tuple[Any, ...]:
        """The clip in its player, and as a file."""
        path, film = self.saved(model, endpoints(*ends), int(frames), kind, loop), kind == "MP4"
        return (
            gr.Image(None if film else path, visible=not film),
            gr.Video(path if film else None, visible=film),
            gr.DownloadButton(value=path, visible=True),
        )

    def save(
        self,
        model: str,
        ends: Sequence[int | Path],
        frames: int,
        kind: str,
        loop: bool,
        path: str | None = None,
    ) -> str:
        """The file of a new clip; `path` as in Draw.interpolate."""
        ref = known_ref(self.studio, model)
        file = fresh(f"interpolation.{kind.lower()}", ref)
        Draw.save_clip(self.studio.draw.interpolate(ref, ends, frames=frames, path=path, loop=loop), file)
        return str(file)


class _End:
    """One end of the way: its picture, its seed, or a picture of the user's, once that is agreed to."""

    def __init__(self, name: str, seed: int, consent: Consent) -> None:
        key = name.lower()
        button: dict[str, Any] = {"size": "sm", "min_width": 100}
        with gr.Column(scale=1, min_width=200):
            self.picture = _picture(name, f"end-{key}", 200, show_label=True)
            self.seed = seed_field(f"Seed of {name}", seed, f"seed-{key}")
            with gr.Row():
                self.dice = gr.Button("Roll the dice", elem_id=f"dice-{key}", **button)
                self.upload = gr.UploadButton(
                    "Your picture …", file_types=PICTURES, visible=not consent.needed,
                    elem_id=f"upload-{key}", **button,
                )  # fmt: skip
            aligned = "Your picture, and its face aligned"
            self.aligned = _picture(aligned, f"aligned-{key}", None, visible=False)
            self.path: gr.State = gr.State(None)
        self.inputs = [self.seed, self.path]  # what `endpoints` takes of this end
        consent.opens.append(self.upload)


def _picture(label: str, elem_id: str, height: int | None, **settings: Any) -> gr.Image:
    """One that is drawn; as high as the page's width makes it where there is no height."""
    buttons, looks = (["download", "fullscreen"], "m2m-picture") if height else ([], "m2m-strip")
    shown: dict[str, Any] = {"show_label": False, "buttons": buttons, "elem_classes": looks, **settings}
    drawn: dict[str, Any] = {"type": "pil", "format": "png", "interactive": False}
    return gr.Image(label=label, alt_text=label, height=height, elem_id=elem_id, **drawn, **shown)
