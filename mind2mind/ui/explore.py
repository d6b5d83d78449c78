"""The tab Explore: pictures nobody has seen, and the ways from one to others.

On the left a stage: the wall of new pictures, the map, the mixing, the favourites. On the right the picture that is
picked, and what can be done with it.
"""

import html
import math
import urllib.parse
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import gradio as gr
from PIL.Image import Image

from mind2mind.config import FEW, MANY, TOLD_SECONDS
from mind2mind.draw import Cost, Draw
from mind2mind.errors import DataError, Mind2MindError
from mind2mind.explore import Direction, View
from mind2mind.judge.verdict import Verdict
from mind2mind.studio import Studio
from mind2mind.ui import shared as ui

NOISES = [("new with each seed", "random"), ("the same for all", "fixed"), ("none", "none")]
FIRST_SEED = 0  # a friendly face, with toon128
TOLD_BYTES = 5e8
TRUNCATIONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
ALIKE = 16  # pictures of "More like this", itself among them
MIXED = 4  # pictures down and across
CELL, CELLS = 128, 81  # px of a picture on the map; those that are drawn at a time
REMEMBERED = 48  # favourites, and pictures of the history
KEEP, KEPT = "Keep", "♥ Kept"
END, STEP = 3.0, 0.1  # of a direction's slider, in standard deviations
KEPT_IN = {  # what is said above them, and where there are none
    "favourites": ("", "Keep, in Explore, adds the picked picture here; this browser remembers it."),
    "history": ("What you looked at last:", ""),
}
STORED_AS = "mind2mind-pictures"  # in the browser; a fixed key, or nothing would survive a restart


# --- A picture as a link says it, and as people read it.


def to_query(ref: str, view: View) -> str:
    """What stands in an address behind the question mark; a picture of the user's has none."""
    told: dict[str, Any] = {"model": ref, "seed": view.seed, "psi": view.psi, "noise": view.noise}
    for name, numbers in {"near": view.near, "place": view.place, "moves": view.moves}.items():
        if any(numbers):
            told[name] = ",".join(f"{number:g}" for number in numbers)
    return urllib.parse.urlencode(told)


def from_query(query: Mapping[str, str]) -> tuple[str, View]:
    """The model and the picture of a link.

    Raises:
        ConfigError: a number is out of range.
        DataError: it is no such link.
    """

    def numbers(name: str) -> tuple[float, ...]:
        return tuple(map(float, filter(None, query.get(name, "").split(","))))

    try:
        x, y = numbers("place") or (0.0, 0.0)
        return query["model"], View(
            seed=int(query["seed"]),
            near=tuple(map(int, numbers("near"))),
            place=(x, y),
            psi=float(query.get("psi", 1)),
            moves=numbers("moves"),
            noise=query.get("noise", "random"),
        )
    except (KeyError, ValueError, OverflowError) as error:
        raise DataError("This link leads to no picture.", "Copy the whole link once more.") from error


def named(view: View) -> str:
    """What a picture is called."""
    name = "Your picture" if view.photo else f"Seed {view.seed}"
    if any(view.place):
        name += " at {:g}, {:g} of its map".format(*view.place)
    return name + (", varied" if view.near else "") + (", changed" if any(view.moves) else "")


def drawing(cost: Cost) -> str:
    """What drawing with the chosen model takes, where that is noticeable."""
    if cost.count * cost.draw_seconds < TOLD_SECONDS:
        return ""
    memory = f" and {cost.memory / 1e9:.1f} GB of memory" if cost.memory > TOLD_BYTES else ""
    return ui.note(
        f"Large pictures: each takes about {ui.brief(cost.draw_seconds)}{memory} here, {cost.count} of them about "
        f"{ui.clock(cost.count * cost.draw_seconds)}."
    )


def rebuilt(studio: Studio, ref: str, photo: Path) -> str:
    """A picture of the user's beside what the model gets back of it, and what that means.

    Where its face was aligned, it is first seen as it was before.
    """
    found = studio.explore.rebuild(ref, photo)
    unmeasured = "fair", "{}'s card has no numbers to compare with: judge by eye."
    kind, said = ui.KNOWN.get(found.verdict, unmeasured)
    guess = "What it draws is its nearest guess." if found.verdict is Verdict.UNKNOWN else ""
    shown = [ui.Tile(found.aligned[0], "Before its face was aligned", "Before")] if found.aligned else []
    shown.append(ui.Tile(found.original, "Your picture", "Yours"))
    shown.append(ui.Tile(found.rebuilt, "As the model draws it", "Drawn"))
    measured = f"{found.psnr:.1f} dB; more is better."
    return ui.tiles(shown) + ui.boxed(kind, said.format("This model"), guess, measured)


def sliders(view: View, directions: Sequence[Direction]) -> str:
    """Truncation and the model's directions, each between pictures of its two ends."""

    def end(image: Image | None, name: str) -> str:
        return f'<img src="{ui.inline(image, 80)}" alt="{name}">' if image else "<span></span>"

    def row(name: str, scale: str, at: float, low: Image | None = None, high: Image | None = None) -> str:
        bar = f'<input type="range" {scale} value="{at}" aria-label="{name}"><output>{at:g}</output>'
        return f"<label><b>{name}</b>{end(low, f'less: {name}')}<div>{bar}</div>{end(high, f'more: {name}')}</label>"

    rows = row("Truncation ψ", 'min="0" max="1.5" step="0.05" data-default="1"', view.psi)
    moves = chain(view.moves, repeat(0.0))
    for number, (direction, at) in enumerate(zip(directions, moves, strict=False), 1):
        told = direction.name or f"direction {number}"
        name, scale = html.escape(told[:1].upper() + told[1:]), f'min="{-END}" max="{END}" step="{STEP}"'
        rows += row(name, f'{scale} data-default="0"', at, direction.low, direction.high)
    return f'<div class="m2m-sliders">{rows}</div><button type="button" class="m2m-reset">Reset</button>'


# --- The tab.


class ExploreTab:
    """Builds the tab; its methods are the handlers."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def build(self, model: gr.Dropdown, opening: Any) -> None:
        """The components and their events; inside a gr.Tab. Draws at `opening`, too: an event."""
        self.model = model
        self.views: gr.State = gr.State([])  # those on the wall
        self.view: gr.State = gr.State(View())  # the one that is picked
        self.drawn: gr.State = gr.State(None)  # the model that the wall was drawn with
        self.mapped: gr.State = gr.State(None)  # the map that is shown: model and picture in its middle
        self.stored = gr.BrowserState(kept_links(None), storage_key=STORED_AS, secret=STORED_AS)
        with gr.Row(elem_classes="m2m-explore"):
            with gr.Column(scale=1, min_width=320), gr.Tabs(elem_id="explore-stage"):
                with gr.Tab("Pictures"):
                    self._build_wall()
                with gr.Tab("Map") as self.map_tab:
                    self._build_map()
                with gr.Tab("Mix") as self.mix_tab:
                    self._build_mix()
                with gr.Tab("Favourites") as self.kept_tab:
                    self.favourites = ui.wall("explore-favourites", "m2m-many m2m-follows", picks=True)
                    self.history = ui.wall("explore-history", "m2m-small m2m-follows", picks=True)
            with gr.Column(scale=1, min_width=320, elem_classes="m2m-side"):
                self._build_picked()
        self._wire(opening)

    def _build_wall(self) -> None:
        with gr.Row():
            self.go = gr.Button("Draw new pictures", variant="primary", elem_id="explore-go")
            self.try_it = gr.Button(visible=False, elem_id="explore-try")
        self.wall = ui.wall("explore-wall", "m2m-follows", picks=True)
        with gr.Row():
            self.seed = ui.seed_field("Seed", FIRST_SEED, "explore-seed")
            whole: dict[str, Any] = {"precision": 0, "minimum": 1, "maximum": ui.MOST_PICTURES}
            self.count = gr.Number(MANY, label="Pictures", elem_id="explore-count", **whole)
            hidden: dict[str, Any] = {"visible": False, "elem_id": "explore-noise"}
            self.noise = gr.Dropdown(NOISES, value="random", label="Noise", **hidden)
        with gr.Row():
            self.sheet = gr.Button("Save as one PNG", elem_id="explore-sheet")
            self.zip = gr.Button("Save all as a zip", elem_id="explore-zip")

    def _build_map(self) -> None:
        gr.HTML(ui.note("Drag the map, or use the arrow keys. Click a picture to pick it."))
        ground = (
            '<div class="m2m-plane" tabindex="0" role="application" '
            'aria-label="A map of pictures: arrow keys move over it, Enter picks the one in the middle"></div>'
        )
        self.ground = gr.HTML(ground, js_on_load="m2m.plane(element, trigger)", elem_id="explore-map")
        take = "watch('value', () => m2m.ground.take(element.firstElementChild))"
        self.cells = gr.HTML(visible="hidden", js_on_load=take, elem_id="explore-cells")

    def _build_mix(self) -> None:
        told = "Shapes come from the left, colours and details from the top. The picked picture is the first."
        gr.HTML(ui.note(told))
        label = "Crossover: coarse, middle, fine"
        self.crossover = gr.Slider(0, 2, 1, step=1, label=label, elem_id="explore-crossover")
        self.mixed = ui.wall("explore-mixed")
        self.others = gr.Button("Mix with others", elem_id="explore-others")
        self.mixers: gr.State = gr.State(1)  # the seed that the others begin with

    def _build_picked(self) -> None:
        small: dict[str, Any] = {"size": "sm", "min_width": 64}
        self.agreed = ui.consent(self.studio, "explore")
        with gr.Row(elem_classes="m2m-picked"):
            leaf = "m2m.leaf(element)"
            self.large = gr.HTML(elem_id="explore-large", elem_classes="m2m-pictures", js_on_load=leaf)
            with gr.Column(scale=0, min_width=128, elem_classes="m2m-acts"):
                self.alike = gr.Button("More like this", elem_id="explore-alike", **small)
                self.keep = gr.Button(KEEP, elem_id="explore-keep", **small)
                self.save = gr.Button("Save", elem_id="explore-save", **small)
                self.to_a = gr.Button("Use as A", elem_id="explore-to-a", **small)
                self.to_b = gr.Button("Use as B", elem_id="explore-to-b", **small)
                self.photo = ui.photo_button("explore-photo", **small)
        self.said = gr.HTML(elem_id="explore-said")
        self.rebuilt = ui.wall("explore-rebuilt", "m2m-many")
        self.strip = ui.wall("explore-strip", "m2m-row", picks=True)
        self.sliders = gr.HTML(elem_id="explore-sliders", js_on_load="m2m.sliders(element, trigger)")

    def _wire(self, opening: Any) -> None:
        draws = partial(ui.on, network=True)
        told = partial(ui.on_detail, network=True, live=True)
        chosen, walled = [self.model, self.view], [self.model, self.views]
        settled = [self.view, self.large, self.said, self.strip]
        picked = [*settled, self.sliders, self.rebuilt]
        shown = [self.wall, self.views, self.drawn, *picked]
        order = [self.model, self.seed, self.count, self.noise]
        minimal: dict[str, Any] = {"show_progress": "minimal"}
        # The wall
        arrived = ui.on(
            opening, self.arrive, None, [self.model, self.seed, self.count, self.view, self.drawn]
        )
        draws(arrived.then, partial(self.draw, first=True), [*order, self.view], shown)
        draw: dict[str, Any] = {"do": self.draw, "inputs": [*order, self.view], "outputs": shown}
        draw |= {"live": True, "show_progress_on": self.wall, **minimal}
        draws(ui.on(self.go.click, ui.new_seed, None, self.seed, live=True).then, **draw)
        draws([self.seed.submit, self.count.submit, self.noise.input], **draw)
        draws(self.model.change, self.with_another, [*order, self.drawn], [*shown, self.count], live=True)
        for event in (arrived.then, self.model.change):
            ui.on(event, self.fields_of, self.model, [self.noise, self.crossover])
        draws(self.alike.click, self.more_like_this, chosen, [self.wall, self.views], **minimal)
        ui.on_save(self.sheet, self.sheet_of, walled, network=True)
        ui.on_save(self.zip, self.zip_of, walled, network=True)
        # The picked picture
        picks: list[Any] = [(self.wall, self.pick, walled), (self.strip, self.truncate, chosen)]
        picks.append((self.ground, self.pick_cell, [self.mapped]))
        for wall, name in ((self.favourites, "favourites"), (self.history, "history")):
            views: gr.State = gr.State([])
            asked = [self.stored, self.model]
            draws(self.kept_tab.select, partial(self.kept_wall, name), asked, [wall, views], **minimal)
            picks.append((wall, self.pick, [self.model, views]))
        for source, do, inputs in picks:
            pick = told(source.select, do, inputs, picked)
            ui.on(pick.then, self.seen, [self.stored, *chosen], [self.stored, self.keep])
        told(self.sliders.input, self.slide, chosen, self.large, queue=ui.on_zerogpu())
        told(self.sliders.submit, self.settle, chosen, settled)
        ui.on(self.keep.click, self.favour, [self.stored, *chosen], [self.stored, self.keep])
        ui.on_save(self.save, self.file_of, chosen, network=True)
        given = [self.agreed, self.model, self.photo]
        draws(self.photo.upload, self.from_photo, given, picked, show_progress="full")
        # The map and the mixing
        draws(self.map_tab.select, self.map_of, [*chosen, self.mapped], [self.mapped, self.cells])
        told(self.ground.input, self.more_cells, [self.mapped], self.cells)
        mix = partial(draws, do=self.mix, inputs=[*chosen, self.mixers, self.crossover], outputs=self.mixed)
        mix(ui.on(self.others.click, ui.new_seed, None, self.mixers).then, live=True, **minimal)
        mix([self.mix_tab.select, self.crossover.input], live=True, **minimal)

    # The wall

    def arrive(self, request: gr.Request) -> tuple[Any, Any, Any, View, Any]:
        """The model, seed and picture of the link that led here; as drawn with it, or two would draw the wall."""
        with suppress(Mind2MindError):
            ref, view = from_query(request.query_params)
            if ref in [m.id for m in self.studio.models.list()]:
                return ref, view.seed, ui.cost_of(self.studio, ref).count, view, ref
        return gr.skip(), gr.skip(), gr.skip(), View(FIRST_SEED), gr.skip()

    def with_another(self, model: str, seed: float, shown: float, noise: str, before: str | None) -> Any:
        """The wall drawn by another model, if it is another; as many pictures as suit it, if nobody chose."""
        if before == model:
            return gr.skip()
        count = ui.cost_of(self.studio, model).count if shown in (MANY, FEW) else shown
        return *self.draw(model, seed, count, noise, View()), count

    def draw(
        self, model: str, seed: float, count: float, noise: str, view: View, first: bool = False
    ) -> tuple[Any, ...]:
        """New pictures of the seeds from `seed` on, truncated as the picked one is, which may be the `first`."""
        begin = ui.checked_seed(seed)
        number = ui.whole("The number of pictures", count, 1, ui.MOST_PICTURES)
        views = [View(seed=s, psi=view.psi, noise=noise) for s in range(begin, begin + number)]
        if first:
            views[0] = view
        told = drawing(ui.cost_of(self.studio, model))
        return self._wall(model, views, chosen=0) + told, views, model, *self._picked(model, views[0])

    def fields_of(self, model: str) -> tuple[Any, Any]:
        """The choice of noise, where the model has any, and of the layer where the styles cross over."""
        ref = ui.known_ref(self.studio, model)
        layers = self.studio.explore.layers(ref)
        noise = gr.Dropdown(visible=self.studio.explore.has_noise(ref))
        return noise, gr.Slider(maximum=layers, value=layers // 2)

    def more_like_this(self, model: str, view: View) -> tuple[str, list[View]]:
        """The picked picture among its neighbours."""
        views = self.studio.explore.alike(view, self._at_once(model, ALIKE))
        return self._wall(model, views, chosen=0), views

    def sheet_of(self, model: str, views: Sequence[View]) -> str:
        """The pictures of the wall as one PNG."""
        images = self._draw(model, views)
        sheet = Draw.grid(images)
        sheet.info = images[0].info | {"count": str(len(images))}
        return ui.save_pictures([sheet], [f"{stem(model, views[0])}-sheet"], model)[0]

    def zip_of(self, model: str, views: Sequence[View]) -> str:
        """The pictures of the wall in one zip, stored: PNGs do not get smaller."""
        path = ui.fresh(f"{stem(model, views[0])}.zip", model)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            names = [stem(model, view) for view in views]
            for file in ui.save_pictures(self._draw(model, views), names, model):
                archive.write(file, Path(file).name)
        return str(path)

    def _draw(self, model: str, views: Sequence[View], hurry: bool = False) -> list[Image]:
        return self.studio.explore.draw(ui.known_ref(self.studio, model), views, hurry=hurry)

    def _wall(self, model: str, views: Sequence[View], chosen: int | None = None) -> str:
        shown = zip(self._draw(model, views), views, strict=True)
        return ui.tiles([ui.Tile(image, named(view)) for image, view in shown], chosen)

    def _at_once(self, model: str, many: int) -> int:
        """How many pictures to draw at a time: fewer with a slow model."""
        cost = ui.cost_of(self.studio, model)
        return many if cost.live else min(many, cost.count)

    # The picture that is picked

    def _picked(self, model: str, view: View) -> tuple[Any, ...]:
        """All that is shown of a picture: itself, what it is, its truncations, its sliders, and no rebuild."""
        directions = self.studio.explore.directions(ui.known_ref(self.studio, model))
        return *self._settled(model, view), sliders(view, directions), ""

    def _settled(self, model: str, view: View) -> tuple[View, str, str, str]:
        truncations = TRUNCATIONS if ui.cost_of(self.studio, model).live else ()
        drawn = list(dict.fromkeys([*truncations, view.psi]))
        images = self._draw(model, [replace(view, psi=psi) for psi in drawn])
        shown = zip(images, truncations, strict=False)
        strip = [ui.Tile(image, f"Truncation {psi:g}", f"{psi:g}") for image, psi in shown]
        at = drawn.index(view.psi)
        wall = ui.tiles(strip, at if at < len(strip) else None, CELL) if strip else ""
        link = f'. <a href="?{html.escape(to_query(model, view))}">Link to it</a>'
        private = view.photo or ui.is_key(model)  # nobody else has it
        said = f'<div class="m2m-note"><p>{named(view)}{"" if private else link}</p></div>'
        return view, ui.picture(images[at], named(view)), said, wall

    def pick(self, at: Any, model: str, views: Sequence[View]) -> tuple[Any, ...]:
        """The one on a wall that was clicked."""
        return self._picked(model, views[ui.index(at, views)])

    def truncate(self, at: Any, model: str, view: View) -> tuple[Any, ...]:
        """The picked picture, truncated as the one of the strip that was clicked."""
        return self._picked(model, replace(view, psi=TRUNCATIONS[ui.index(at, TRUNCATIONS)]))

    def slide(self, detail: Any, model: str, view: View) -> Any:
        """The picture while a slider moves; of a slow model only once it is let go."""
        moved, held = _moved(view, detail), detail["held"]
        if not ui.wanted(self.studio, held, model):
            return gr.skip()
        with ui.FRAME:
            (image,) = self._draw(model, [moved], hurry=held == ui.MOVING)
        return ui.picture(image, named(moved))

    def settle(self, detail: Any, model: str, view: View) -> tuple[Any, ...]:
        """The picture once the slider is let go, and what depends on it."""
        return self._settled(model, _moved(view, detail))

    def file_of(self, model: str, view: View) -> str:
        """The picked picture as a PNG of its own size."""
        return ui.save_pictures(self._draw(model, [view]), [stem(model, view)], model)[0]

    def from_photo(self, agreed: Any, model: str, path: str) -> tuple[Any, ...]:
        """A picture of the user's beside what the model makes of it, which can then be changed."""
        ui.check_consent(self.studio, agreed)
        photo = Path(path)
        found = rebuilt(self.studio, ui.known_ref(self.studio, model), photo)
        *shown, _ = self._picked(model, View(photo=photo, noise="none"))
        return *shown, found

    # The map and the mixing

    def map_of(self, model: str, view: View, mapped: Any) -> Any:
        """The map around the picked picture's seed, if it is not there yet."""
        around = model, View(seed=view.seed, psi=view.psi, noise=view.noise)
        return gr.skip() if mapped == around else (around, self.more_cells([], around))

    def more_cells(self, wanted: Any, mapped: tuple[str, View]) -> str:
        """The pictures of cells that came into sight."""
        model, middle = mapped
        asked = [(int(x), int(y)) for x, y in wanted][: self._at_once(model, CELLS)]
        views = [replace(middle, place=cell) for cell in asked]
        parts = (
            f'<img src="{ui.inline(image, CELL)}" alt="{named(view)}" data-at="{x},{y}" draggable="false">'
            for image, view, (x, y) in zip(self._draw(model, views), views, asked, strict=True)
        )
        name = html.escape(f"{model} {to_query(model, middle)}")
        return f'<div data-map="{name}">{"".join(parts)}</div>'

    def pick_cell(self, at: Any, mapped: tuple[str, View]) -> tuple[Any, ...]:
        """The cell of the map that was clicked."""
        x, y = at
        model, middle = mapped
        return self._picked(model, replace(middle, place=(float(x), float(y))))

    def mix(self, model: str, view: View, seed: int, crossover: float) -> str:
        """Pictures down, styles across: the coarse layers of the one with the others of the other."""
        side = math.isqrt(self._at_once(model, MIXED**2))
        down = [view, *(View(seed=seed + i, psi=view.psi) for i in range(1, side))]
        across = [View(seed=seed + side + i, psi=view.psi) for i in range(side)]
        edges = self._draw(model, [*down, *across])
        grid = self.studio.explore.mix(ui.known_ref(self.studio, model), down, across, int(crossover))
        tiles: list[ui.Tile | None] = [None]
        tiles += [
            ui.Tile(image, f"Styles of: {named(v)}") for image, v in zip(edges[side:], across, strict=True)
        ]
        for view, edge, row in zip(down, edges, grid, strict=False):
            tiles.append(ui.Tile(edge, named(view)))
            mixed = zip(row, across, strict=True)
            tiles += [
                ui.Tile(image, f"{named(view)} with styles of: {named(style)}") for image, style in mixed
            ]
        return ui.tiles(tiles, columns=side + 1)

    # What the browser keeps

    def favour(self, stored: Any, model: str, view: View) -> tuple[Any, Any]:
        """Adds the picture to the favourites, or takes it off."""
        if view.photo:
            raise DataError("A picture of yours is not kept here.", "Press Save to have what was made of it.")
        kept, link = kept_links(stored), to_query(model, view)
        if link not in kept["favourites"]:
            kept["favourites"] = _first(link, kept["favourites"])
            return kept, KEPT
        kept["favourites"].remove(link)
        return kept, KEEP

    def seen(self, stored: Any, model: str, view: View) -> tuple[Any, str]:
        """Adds the picture to the history; says whether it is a favourite."""
        kept, link = kept_links(stored), to_query(model, view)
        if not view.photo:
            kept["history"] = _first(link, kept["history"])
        return kept, KEPT if link in kept["favourites"] else KEEP

    def kept_wall(self, name: str, stored: Any, model: str) -> tuple[str, list[View]]:
        """What the browser keeps under this name, drawn: those of the chosen model."""
        views = kept_views(stored, name, model)[: self._at_once(model, REMEMBERED)]
        above, empty = KEPT_IN[name]
        return ui.note(above) + self._wall(model, views) if views else ui.note(empty), views


def kept_links(stored: Any) -> dict[str, list[str]]:
    """From the browser, which may send anything."""
    kept = stored if isinstance(stored, dict) else {}
    lists = {name: kept.get(name) for name in KEPT_IN}
    return {
        name: [*map(str, links)][:REMEMBERED] if isinstance(links, list) else []
        for name, links in lists.items()
    }


def _first(link: str, links: Sequence[str]) -> list[str]:
    return [link, *(other for other in links if other != link)][:REMEMBERED]


def kept_views(stored: Any, name: str, ref: str) -> list[View]:
    """Those of one model."""
    found = []
    for link in kept_links(stored)[name]:
        with suppress(Mind2MindError):
            model, view = from_query(dict(urllib.parse.parse_qsl(link)))
            if model == ref:
                found.append(view)
    return found


def _moved(view: View, detail: Any) -> View:
    """As the sliders say: truncation first, then the directions."""
    psi, *moves = map(float, detail["values"])
    if not all(map(math.isfinite, (psi, *moves))):
        raise DataError("A slider is nowhere.", "Press Reset.")
    return replace(view, psi=psi, moves=tuple(moves))


def stem(model: str, view: View | None = None) -> str:
    """What a file is called: by its model and picture."""
    name = "mine" if ui.is_key(model) else model.replace("/", "-")
    return f"{name}-{view.stem}" if view else name
