"""The tab Interpolate: on the way through two to six pictures, each of a seed, of Explore, or of the user's.

The route is changed in small steps that draw nothing; whatever shows it hangs on its change, so the last one counts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL.Image import Image

from mind2mind.config import TOLD_SECONDS
from mind2mind.draw import Cost, Draw
from mind2mind.errors import DataError
from mind2mind.explore import View
from mind2mind.studio import Studio
from mind2mind.ui import shared as ui
from mind2mind.ui.explore import ExploreTab, named, rebuilt, stem

LETTERS = "ABCDEF"
STEPS, FEWEST = 8, 2  # of the strip, about; at least, however long each picture takes
STRIP_SECONDS, FILM_SECONDS = 2.0, 8.0  # with a model that needs longer there are fewer frames
FINE = 12  # steps of the slider in one of the strip
FPS = 24
PLAYED, MOST_PLAYED = 36, 108  # frames from one stop to the next while it plays, and in all
KINDS = ("MP4", "WebP", "GIF")
CLIP = 512  # px that the frames of a clip are enlarged to at most
SIZES = [("Enlarged", True), ("Original", False)]
WAYS = [("Through the mind", "mind"), ("Straight", "straight")]


@dataclass(frozen=True)
class Route:
    """Where the way leads."""

    ref: str = ""  # the model
    stops: tuple[View, ...] = (View(1), View(2))
    path: str = "mind"  # one of PATHS

    @property
    def legs(self) -> int:
        """Ways from a stop to the next."""
        return len(self.stops) - 1

    def of(self, ref: str) -> "Route":
        """The same with this model: moves are along the directions of the one they were made with."""
        if ref == self.ref:
            return self
        return replace(self, ref=ref, stops=tuple(replace(view, moves=()) for view in self.stops))

    def put(self, at: int, view: View) -> "Route":
        """With another stop in this place."""
        stops = [*self.stops]
        stops[at] = view
        return replace(self, stops=tuple(stops))

    def picked(self, at: int) -> "Picked":
        """It, a stop that is picked, and its place on the way."""
        return self, at, at / self.legs

    def longer(self) -> "Picked":
        """With one more stop at the end; it is picked."""
        if len(self.stops) == len(LETTERS):
            raise DataError(f"There are {len(LETTERS)} stops already.", "Delete one first.")
        return replace(self, stops=(*self.stops, View(ui.new_seed()))).picked(len(self.stops))

    def without(self, at: int) -> "Picked":
        """Without this stop; the one before it is picked."""
        if len(self.stops) == 2:
            raise DataError("A way has two ends at least.", "Add a stop first.")
        return replace(self, stops=self.stops[:at] + self.stops[at + 1 :]).picked(max(0, at - 1))

    def swapped(self, at: int, to: int) -> "Picked":
        """Two stops change places, if there are both; the one that was at `at` is picked."""
        to = min(max(to, 0), self.legs)
        return self.put(at, self.stops[to]).put(to, self.stops[at]).picked(to)

    def frames(self, steps: int) -> int:
        """Of a strip: about so many steps, with each stop among them."""
        return self.legs * max(1, round(steps / self.legs)) + 1


Picked = tuple[Route, int, float]


def affordable(cost: Cost, most: int, seconds: float) -> int:
    """How many steps are drawn in about so long: `most` of a quick model."""
    return max(FEWEST, min(most, round(seconds / max(cost.seen_seconds, 1e-3))))


def sliding(cost: Cost) -> str:
    """Below the slider: what a slow model does about it."""
    does = ["the strip has few"] * (affordable(cost, STEPS, STRIP_SECONDS) < STEPS)
    does += ["one is drawn when you let the slider go"] * (not cost.live)
    takes = f"A picture of this model takes about {ui.brief(cost.seen_seconds)} here"
    return ui.note(f"{takes}: {', and '.join(does)}.") if does else ""


def filming(cost: Cost, frames: int) -> str:
    """What a clip takes, where that is noticeable."""
    seconds = frames * cost.seen_seconds
    return ui.note(f"{frames} frames take about {ui.clock(seconds)} here.") if seconds > TOLD_SECONDS else ""


def slider(route: Route, t: float) -> str:
    """From the first stop to the last, all of them and the frames of the strip in its steps; and Play."""
    marks = "".join(f"<span>{letter}</span>" for letter in LETTERS[: route.legs + 1])
    step = 1 / (FINE * (route.frames(STEPS) - 1))
    return (
        f'<div class="m2m-way" data-route="{hash(route)}"><button type="button">Play</button>'
        f'<div><input type="range" min="0" max="1" step="{step}" value="{t}" '
        f'data-seconds="{route.legs * PLAYED / FPS}" aria-label="From A to {LETTERS[route.legs]}">'
        f'<p aria-hidden="true">{marks}</p></div><output>{t:.2f}</output></div>'
    )


class InterpolateTab:
    """Builds the tab; its methods are the handlers."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.saved = studio, ui.gpu(self.save)

    def build(self, model: gr.Dropdown, opening: Any, explore: ExploreTab) -> None:
        """The components and their events; inside a gr.Tab, whose opening is an event."""
        self.model, self.explore = model, explore
        self.route: gr.State = gr.State(Route())
        self.at: gr.State = gr.State(0)  # the stop that is picked
        self.t: gr.State = gr.State(0.5)
        with gr.Column(elem_classes="m2m-route"):
            self.stops = ui.wall("interpolate-stops", picks=True)
            with gr.Column(elem_classes="m2m-between", min_width=0):
                self.picture = gr.HTML(elem_id="interpolate-picture", elem_classes="m2m-pictures")
                self.slider = gr.HTML(js_on_load="m2m.way(element, trigger, watch)", elem_id="interpolate-t")
                self.film = gr.HTML(visible="hidden", elem_id="interpolate-film")
            with gr.Column(elem_classes="m2m-tools", min_width=0):
                self._build_tools()
            self.strip = ui.wall("interpolate-strip", "m2m-row", picks=True)
        with gr.Accordion("Make a clip", open=False, elem_id="interpolate-clip"):
            self._build_clip()
        self._wire(opening)

    def _build_tools(self) -> None:
        small: dict[str, Any] = {"size": "sm", "min_width": 110}
        self.agreed = ui.consent(self.studio, "interpolate")
        with gr.Row(elem_classes="m2m-seed"):
            self.seed = ui.seed_field("Seed of A", 1, "stop-seed")
            self.another = gr.Button("Another", elem_id="stop-another", **small)
            self.upload = ui.photo_button("stop-upload", **small)
            self.not_mine = gr.Button("✕ Your picture", visible=False, elem_id="stop-not-mine", **small)
        self.path: gr.State = gr.State(None)
        with gr.Row():
            self.back = gr.Button("◀ Earlier", interactive=False, elem_id="stop-back", **small)
            self.forth = gr.Button("Later ▶", elem_id="stop-forth", **small)
            self.delete = gr.Button("Delete", interactive=False, elem_id="stop-delete", **small)
            self.add = gr.Button("Add a stop", elem_id="stop-add", **small)
            self.save_one = gr.Button("Save the picture", elem_id="interpolate-save", **small)
        self.rebuilt = ui.wall("stop-rebuilt", "m2m-many")
        with gr.Accordion("Take a favourite", open=False, elem_id="stop-favourites-fold") as self.fold:
            self.favourites = ui.wall("stop-favourites", "m2m-small", picks=True)
            self.kept: gr.State = gr.State([])
        with gr.Accordion("More", open=False, elem_id="interpolate-more"):
            info = "Through the mind, the model might draw each step by itself."
            self.way = gr.Radio(WAYS, value="mind", label="Way", info=info, elem_id="interpolate-path")

    def _build_clip(self) -> None:
        with gr.Row():
            self.seconds = gr.Slider(1, 10, 3, step=0.5, label="Seconds", elem_id="clip-seconds")
            self.kind = gr.Radio(KINDS, value=KINDS[0], label="Kind", elem_id="clip-kind")
            self.enlarge = gr.Radio(SIZES, value=True, label="Size", elem_id="clip-size")
            self.loop = gr.Checkbox(True, label="And back again, so that it loops", elem_id="clip-loop")
        self.takes = gr.HTML(elem_id="clip-takes")
        self.make = gr.Button("Make the clip", variant="primary", elem_id="clip-make")
        self.clip = gr.HTML(elem_id="clip-shown")
        self.download = gr.DownloadButton(visible=False, elem_id="clip-download")

    def _wire(self, opening: Any) -> None:
        route, picked, chosen = self.route, [self.route, self.at], [self.route, self.at, self.t]
        minimal: dict[str, Any] = {"show_progress": "minimal"}
        # What is shown hangs on the route
        seen = gr.JSON(visible=False)
        is_seen = "(_, ...all) => [m2m.isSeen('interpolate-stops'), ...all]"
        ui.on(self.model.change, self.follow, [seen, self.model, route], route, js=is_seen)
        ui.on(opening, self.with_model, [self.model, route], route)
        changed, draws = [route.change, self.at.change], partial(ui.on, network=True)
        shown = [self.film, self.slider, self.stops, self.picture, self.strip]
        draws(route.change, self.show, chosen, shown, live=True, show_progress_on=self.strip, **minimal)
        fields = [self.seed, self.not_mine, self.back, self.forth, self.delete, self.add]
        ui.on(changed, self.fields_of, picked, fields, live=True)
        draws(changed, self.rebuild, picked, self.rebuilt, live=True)
        ui.on_detail(self.stops.select, self.pick, [route], self.at, live=True)
        slid = [self.t, self.picture]
        past = {"queue": ui.on_zerogpu()}  # else past the queue, which takes longer than a frame
        ui.on_detail(self.slider.input, self.slide, [route], slid, network=True, live=True, **past)
        draws(self.slider.play, self.frames_of, route, self.film)
        # A stop becomes another: each gives the route
        edits = partial(ui.on, outputs=route, trigger_mode="multiple")
        edits([self.seed.submit, self.seed.blur], self.of_seed, [*picked, self.seed])
        edits(self.another.click, lambda route, at: route.put(at, View(ui.new_seed())), picked)
        edits(self.not_mine.click, lambda route, at: route.put(at, View(route.stops[at].seed)), picked)
        edits(self.way.input, lambda route, path: replace(route, path=path), [route, self.way])
        taken = draws(self.upload.upload, self.taken, [self.agreed, self.upload, route], self.path)
        edits(taken.success, self.with_picture, [*picked, self.path])
        kept = partial(self.explore.kept_wall, "favourites")
        draws(self.fold.expand, kept, [self.explore.stored, self.model], [self.favourites, self.kept])
        ui.on(self.model.change, lambda: (gr.Accordion(open=False), ""), None, [self.fold, self.favourites])
        ui.on_detail(self.favourites.select, self.with_favourite, [*picked, self.kept], route)
        # And another one is picked: each gives the route, the stop and the place on the way
        moves = partial(ui.on, outputs=chosen, trigger_mode="multiple")
        moves(self.back.click, lambda route, at: route.swapped(at, at - 1), picked)
        moves(self.forth.click, lambda route, at: route.swapped(at, at + 1), picked)
        moves(self.delete.click, Route.without, picked)
        moves(self.add.click, Route.longer, route)
        for button, end in ((self.explore.to_a, 0), (self.explore.to_b, -1)):
            moves(button.click, partial(self.end_is, end), [route, self.model, self.explore.view])
        # Files
        ui.on_save(self.save_one, self.file_of, [route, self.t], network=True)
        priced = [route.change, self.seconds.release, self.seconds.input]
        ui.on(priced, self.price, [route, self.seconds], self.takes, live=True)
        asked = [route, self.seconds, self.kind, self.enlarge, self.loop]
        made = ui.on(
            self.make.click, self.clip_of, asked, self.download, show_progress="full", **ui.MODEL_WORK
        )
        ui.on(made.success, None, self.download, self.clip, js="m2m.clip")

    # The route

    def with_model(self, model: str, route: Route) -> Route:
        """The route with the page's model."""
        return route.of(ui.known_ref(self.studio, model))

    def follow(self, seen: Any, model: str, route: Route) -> Route:
        """The same at once if the tab is seen; else once it is opened."""
        return self.with_model(model, route) if seen else route

    def of_seed(self, route: Route, at: int, seed: Any) -> Route:
        """The picked stop becomes the picture of this seed, unless it is one of it."""
        return route if seed == route.stops[at].seed else route.put(at, View(ui.checked_seed(seed)))

    def with_picture(self, route: Route, at: int, path: str) -> Route:
        """The picked stop becomes a picture of the user's; its seed is remembered."""
        return route.put(at, View(route.stops[at].seed, photo=Path(path)))

    def with_favourite(self, number: Any, route: Route, at: int, kept: list[View]) -> Route:
        """The picked stop becomes this favourite of Explore."""
        return route.put(at, kept[ui.index(number, kept)])

    def end_is(self, end: int, route: Route, model: str, view: View) -> Picked:
        """Explore's picture becomes the first stop (0) or the last one (-1), and is picked."""
        return self.with_model(model, route).put(end, view).picked(end % len(route.stops))

    def taken(self, agreed: Any, path: str, route: Route) -> str:
        """A visitor's picture, if it may be used and the model can: else nothing changes."""
        ui.check_consent(self.studio, agreed)
        self.studio.explore.code(route.ref, View(photo=Path(path)))
        return path

    # What is shown of it

    def fields_of(self, route: Route, at: int) -> tuple[Any, ...]:
        """What can be done with the picked stop."""
        view = route.stops[at]
        return (
            gr.Number(view.seed, label=f"Seed of {LETTERS[at]}", visible=not view.photo),
            gr.Button(visible=bool(view.photo)),
            gr.Button(interactive=at > 0),
            gr.Button(interactive=at < route.legs),
            gr.Button(interactive=route.legs > 1),
            gr.Button(interactive=len(route.stops) < len(LETTERS)),
        )

    def show(self, route: Route, at: int, t: float) -> Iterator[list[Any]]:
        """No film, the slider, the stops, the picture and the strip; of a slow model each as soon as it is drawn."""
        if not route.ref:  # the tab was never opened
            yield [gr.skip()] * 5
            return
        cost = ui.cost_of(self.studio, route.ref)
        steps, drawn = affordable(cost, STEPS, STRIP_SECONDS), dict[float, Image]()

        def frames(count: int) -> list[Image]:
            """From the first stop to the last; none is drawn twice."""
            places = [i / (count - 1) for i in range(count)]
            missing = [place for place in places if place not in drawn]
            drawn.update(zip(missing, self._at(route, missing), strict=True))
            return [drawn[place] for place in places]

        def stops() -> str:
            met = zip(frames(len(route.stops)), LETTERS, map(named, route.stops), strict=False)
            return ui.tiles([ui.Tile(image, f"{a}: {name}", a, more=name) for image, a, name in met], at)

        def strip() -> str:
            last = route.frames(steps) - 1
            shown = [ui.Tile(frame, f"{i / last:.2f} of the way") for i, frame in enumerate(frames(last + 1))]
            return ui.tiles(shown, round(t * last))

        shown = ["", slider(route, t) + sliding(cost), *[gr.skip()] * 3]
        parts: list[Callable[[], str]] = [stops, partial(self._picture, route, t), strip]
        for i, part in enumerate(parts, start=2):
            if not cost.smooth:
                yield [*shown]
            shown[i] = part()
        yield shown

    def rebuild(self, route: Route, at: int) -> str:
        """A picture of the user's beside what the model makes of it, if one is picked."""
        photo = route.stops[at].photo
        return rebuilt(self.studio, route.ref, photo) if photo else ""

    def pick(self, number: Any, route: Route) -> int:
        """The stop that was clicked; the slider moves to it."""
        return ui.index(number, route.stops)

    def slide(self, detail: Any, route: Route) -> tuple[float, Any]:
        """The picture where the slider is; of a slow model only once it is let go."""
        t, held = float(detail["t"]), detail["held"]
        drawn = ui.wanted(self.studio, held, route.ref)
        with ui.FRAME:
            return t, self._picture(route, t, hurry=held == ui.MOVING) if drawn else gr.skip()

    def _picture(self, route: Route, t: float, hurry: bool = False) -> str:
        (image,) = self._at(route, [t], hurry)
        return ui.picture(image, f"{t:.2f} of the way from A to {LETTERS[route.legs]}")

    def frames_of(self, route: Route) -> str:
        """The frames that play."""
        most = min(PLAYED * route.legs, MOST_PLAYED)
        count = route.frames(affordable(ui.cost_of(self.studio, route.ref), most, FILM_SECONDS))
        return "".join(f'<img src="{ui.inline(frame)}" alt="">' for frame in self._frames(route, count))

    def price(self, route: Route, seconds: float) -> str:
        """What the clip costs."""
        return filming(ui.cost_of(self.studio, route.ref), round(seconds * FPS))

    # Drawing and saving

    def _frames(self, route: Route, count: int, loop: bool = False) -> Iterator[Image]:
        way = self.studio.explore.interpolate
        return way(route.ref, route.stops, frames=count, path=route.path, loop=loop)

    def _at(self, route: Route, places: Sequence[float], hurry: bool = False) -> Iterator[Image]:
        along = [round(min(max(t, 0), 1) * route.legs, 6) for t in places]  # a stop is met exactly
        return self.studio.explore.along(route.ref, route.stops, along, path=route.path, hurry=hurry)

    def file_of(self, route: Route, t: float) -> str:
        """The picture as a PNG of its own size."""
        return ui.save_pictures(self._at(route, [t]), [f"{_name(route)}-{t:.2f}"], route.ref)[0]

    def clip_of(
        self, route: Route, seconds: float, kind: str, enlarge: bool, loop: bool
    ) -> gr.DownloadButton:
        """The clip as a file, which the browser plays, too."""
        path = self.saved(route, round(seconds * FPS), kind, enlarge, loop)
        return gr.DownloadButton(f"Download {Path(path).name}", value=path, visible=True)

    def save(self, route: Route, frames: int, kind: str, enlarge: bool, loop: bool) -> str:
        """The file of a new clip."""
        file, film = ui.fresh(f"{_name(route)}.{kind.lower()}", route.ref), self._frames(route, frames, loop)
        grown = (ui.enlarged(frame, max(CLIP, *frame.size)) for frame in film)
        Draw.save_clip(grown if enlarge else film, file, FPS)
        return str(file)


def _name(route: Route) -> str:
    """What its files are called: by the model and the stops."""
    return "-".join((stem(route.ref), *(view.stem for view in route.stops)))
