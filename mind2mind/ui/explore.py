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
from pathlib import Path
from typing import Any

import gradio as gr
from PIL.Image import Image

from mind2mind.config import FEW, MANY, TOLD_SECONDS
from mind2mind.draw import Cost, Draw
from mind2mind.errors import DataError, Mind2MindError
from mind2mind.explore import Direction, Rebuilt, View
from mind2mind.judge.verdict import Verdict
from mind2mind.studio import Studio
from mind2mind.ui.shared import (
    KNOWN,
    MODEL_WORK,
    MOST_PICTURES,
    MOVING,
    PASSING,
    PICTURES,
    Consent,
    OnDemand,
    Tile,
    Visit,
    boxed,
    brief,
    check_consent,
    checked_seed,
    clock,
    cost_of,
    fresh,
    index,
    inline,
    is_key,
    known_ref,
    new_seed,
    note,
    on,
    on_detail,
    picture,
    save_pictures,
    seed_field,
    tiles,
    wall,
    wanted,
    whole,
)

NOISES = [("new with each seed", "random"), ("the same for all", "fixed"), ("none", "none")]
FIRST_SEED = 7  # a friendly face, with toon64
TOLD_BYTES = 5e8
TRUNCATIONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
ALIKE = 16  # pictures of "More like this", itself among them
MIXED = 4  # pictures down and across
CELL, CELLS = 128, 81  # px of a picture on the map; those that are drawn at a time
REMEMBERED = 48  # favourites, and pictures of the history
KEEP, KEPT = "Keep", "♥ Kept"
END, STEP = 3.0, 0.1  # of a direction's slider, in standard deviations
STORED_AS = "mind2mind-pictures"  # in the browser; a fixed key, or nothing would survive a restart


# --- A picture as a link says it, and as people read it.


def to_query(ref: str, view: View) -> str:
    """What stands in an address behind the question mark; a picture of the user's has none."""
    told = {"model": ref, "seed": view.seed, "psi": view.psi, "noise": view.noise}
    listed = {"near": view.near, "place": view.place, "moves": view.moves}
    told |= {
        name: ",".join(f"{number:g}" for number in numbers)
        for name, numbers in listed.items()
        if any(numbers)
    }
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
        (seed,), place = numbers("seed"), numbers("place")
        view = View(
            seed=int(seed),
            near=tuple(map(int, numbers("near"))),
            place=(place[0], place[1]) if place else (0.0, 0.0),
            psi=float(query.get("psi", 1)),
            moves=numbers("moves"),
            noise=query.get("noise", "random"),
        )
        return query["model"], view
    except (KeyError, ValueError, IndexError, OverflowError) as error:
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
    return note(
        f"Large pictures: each takes about {brief(cost.draw_seconds)}{memory} here, {cost.count} of them about "
        f"{clock(cost.count * cost.draw_seconds)}."
    )


def rebuilt(found: Rebuilt, aligned: tuple[Image, Image] | None = None) -> str:
    """A picture of the user's beside what the model gets back of it, and what that means.

    Where its face was `aligned`, it is first seen as it was before.
    """
    unmeasured = "fair", "{}'s card has no numbers to compare with: judge by eye."
    kind, said = KNOWN.get(found.verdict, unmeasured)
    guess = "What it draws is its nearest guess." if found.verdict is Verdict.UNKNOWN else ""
    shown = [Tile(aligned[0], "Before its face was aligned", "Before")] if aligned else []
    shown.append(Tile(found.original, "Your picture", "Yours"))
    shown.append(Tile(found.rebuilt, "As the model draws it", "Drawn"))
    return tiles(shown) + boxed(
        kind, said.format("This model"), guess, f"{found.psnr:.1f} dB; more is better."
    )


def sliders(view: View, directions: Sequence[Direction]) -> str:
    """Truncation and the model's directions, each between pictures of its two ends."""
    row = (
        '<label><b>{name}</b>{low}<div><input type="range" min="{least}" max="{most}" step="{step}" '
        'value="{at}" data-default="{default}" aria-label="{name}"><output>{at:g}</output></div>{high}</label>'
    )

    def end(image: Any, name: str) -> str:
        return f'<img src="{inline(image, 80)}" alt="{html.escape(name)}">' if image else "<span></span>"

    blank = {"low": "<span></span>", "high": "<span></span>"}
    parts = [row.format(name="Truncation ψ", least=0, most=1.5, step=0.05, default=1, at=view.psi, **blank)]
    moves = [*view.moves, *[0.0] * len(directions)]
    for number, (direction, at) in enumerate(zip(directions, moves, strict=False), 1):
        told = direction.name or f"direction {number}"
        name = html.escape(told[:1].upper() + told[1:])
        ends = {"low": end(direction.low, f"less: {name}"), "high": end(direction.high, f"more: {name}")}
        parts.append(row.format(name=name, least=-END, most=END, step=STEP, default=0, at=at, **ends))
    return f'<div class="m2m-sliders">{"".join(parts)}</div><button type="button" class="m2m-reset">Reset</button>'


# --- The tab.


class ExploreTab:
    """Builds the tab; its methods are the handlers."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def build(self, model: gr.Dropdown, visit: gr.BrowserState, opening: Any) -> None:
        """The components and their events; inside a gr.Tab. Draws at `opening`, too: an event."""
        self.model = model
        self.views: gr.State = gr.State([])  # those on the wall
        self.view: gr.State = gr.State(View())  # the one that is picked
        self.drawn: gr.State = gr.State(None)  # the model that the wall was drawn with
        self.linked: gr.State = gr.State(None)  # the picture of the link that led here
        self.mapped: gr.State = gr.State(None)  # the map that is shown: model and picture in its middle
        self.stored = gr.BrowserState(
            {"favourites": [], "history": []}, storage_key=STORED_AS, secret=STORED_AS
        )
        with gr.Row(elem_classes="m2m-explore"):
            with gr.Column(scale=1, min_width=320), gr.Tabs(elem_id="explore-stage"):
                with gr.Tab("Pictures"):
                    self._build_wall()
                with gr.Tab("Map") as self.map_tab:
                    self._build_map()
                with gr.Tab("Mix") as self.mix_tab:
                    self._build_mix()
                with gr.Tab("Favourites") as self.kept_tab:
                    self.favourites = wall("explore-favourites", "m2m-many m2m-follows", picks=True)
                    gr.HTML(note("What you looked at last:"))
                    self.history = wall("explore-history", "m2m-small m2m-follows", picks=True)
            with gr.Column(scale=1, min_width=320, elem_classes="m2m-side"):
                self._build_picked()
        self._wire(visit, opening)

    def _build_wall(self) -> None:
        with gr.Row():
            self.go = gr.Button("Draw new pictures", variant="primary", elem_id="explore-go")
            self.try_it = gr.Button(visible=False, elem_id="explore-try")
        self.wall = wall("explore-wall", "m2m-follows", picks=True)
        self.takes = gr.HTML(elem_id="explore-takes")
        with gr.Row():
            self.seed = seed_field("Seed", FIRST_SEED, "explore-seed")
            self.count = gr.Number(
                MANY, label="Pictures", precision=0, minimum=1, maximum=MOST_PICTURES, elem_id="explore-count"
            )
            self.noise = gr.Dropdown(
                NOISES, value="random", label="Noise", visible=False, elem_id="explore-noise"
            )
        with gr.Row():
            OnDemand("Save as one PNG", "explore-sheet").wire(
                self.sheet_of, [self.model, self.views], **MODEL_WORK
            )
            OnDemand("Save all as a zip", "explore-zip").wire(
                self.zip_of, [self.model, self.views], **MODEL_WORK
            )

    def _build_map(self) -> None:
        gr.HTML(note("Drag the map, or use the arrow keys. Click a picture to pick it."))
        ground = (
            '<div class="m2m-plane" tabindex="0" role="application" '
            'aria-label="A map of pictures: arrow keys move over it, Enter picks the one in the middle"></div>'
        )
        self.ground = gr.HTML(ground, js_on_load="m2m.plane(element, trigger)", elem_id="explore-map")
        take = "watch('value', () => m2m.ground.take(element.firstElementChild))"
        self.cells = gr.HTML(visible="hidden", js_on_load=take, elem_id="explore-cells")

    def _build_mix(self) -> None:
        gr.HTML(
            note(
                "Shapes come from the left, colours and details from the top. The picked picture is the first."
            )
        )
        self.crossover = gr.Slider(
            0, 2, 1, step=1, label="Crossover: coarse, middle, fine", elem_id="explore-crossover"
        )
        self.mixed = wall("explore-mixed")
        self.others = gr.Button("Mix with others", elem_id="explore-others")
        self.mixers: gr.State = gr.State(1)  # the seed that the others begin with

    def _build_picked(self) -> None:
        small: dict[str, Any] = {"size": "sm", "min_width": 64}
        self.consent = Consent(self.studio, "explore", lambda: note(PASSING))
        with gr.Row(elem_classes="m2m-picked"):
            leaf = "m2m.leaf(element)"
            self.large = gr.HTML(elem_id="explore-large", elem_classes="m2m-pictures", js_on_load=leaf)
            with gr.Column(scale=0, min_width=128, elem_classes="m2m-acts"):
                self.alike = gr.Button("More like this", elem_id="explore-alike", **small)
                self.keep = gr.Button(KEEP, elem_id="explore-keep", **small)
                self.save = OnDemand("Save", "explore-save", **small)
                self.to_a = gr.Button("Use as A", elem_id="explore-to-a", **small)
                self.to_b = gr.Button("Use as B", elem_id="explore-to-b", **small)
                self.photo = gr.UploadButton(
                    "Your picture …", file_types=PICTURES, visible=not self.consent.needed,
                    elem_id="explore-photo", **small,
                )  # fmt: skip
        self.consent.opens.append(self.photo)
        self.path: gr.State = gr.State(None)
        self.said = gr.HTML(elem_id="explore-said")
        self.rebuilt = wall("explore-rebuilt", "m2m-many")
        self.strip = wall("explore-strip", "m2m-row", picks=True)
        self.sliders = gr.HTML(elem_id="explore-sliders", js_on_load="m2m.sliders(element, trigger)")

    def _wire(self, visit: gr.BrowserState, opening: Any) -> None:
        self.consent.wire(visit, opening)
        chosen = [self.model, self.view]
        picked = [self.view, self.large, self.said, self.strip, self.sliders, self.rebuilt]
        shown = [self.wall, self.views, self.drawn, self.takes, *picked]
        drawn = [self.model, self.seed, self.count, self.noise, self.view]
        draw: dict[str, Any] = {
            "do": self.draw,
            "inputs": drawn,
            "outputs": shown,
            "network": True,
            "live": True,
        }
        draw |= {"show_progress": "minimal", "show_progress_on": self.wall}
        arrived = on(opening, self.arrive, None, [self.model, self.seed, self.linked])
        on(arrived.then, self.first, [*drawn, self.linked], shown, network=True)
        on(on(self.go.click, new_seed, None, self.seed, live=True).then, **draw)
        on([self.seed.submit, self.count.submit, self.noise.input], **draw)
        changed = [*drawn, self.drawn]
        on(self.model.change, self.with_another, changed, [*shown, self.count], network=True, live=True)
        for event in (arrived.then, self.model.change):
            on(event, self.fields_of, self.model, [self.noise, self.crossover])

        def on_pick(source: gr.HTML, do: Any, inputs: Sequence[Any], outputs: Sequence[Any] = picked) -> Any:
            return on_detail(source.select, do, inputs, outputs, network=True, live=True)

        picks = [on_pick(self.wall, self.pick, [self.model, self.views])]
        picks.append(on_pick(self.strip, self.truncate, chosen))
        picks.append(on_pick(self.ground, self.pick_cell, [self.model, self.mapped]))
        for kept, name in ((self.favourites, "favourites"), (self.history, "history")):
            self._wire_kept(kept, name, picked)
        for event in picks:
            on(event.then, self.seen, [self.stored, *chosen], [self.stored, self.keep])
        on_detail(self.sliders.input, self.slide, chosen, self.large, network=True, live=True)
        settled = [self.view, self.large, self.said, self.strip]
        on_detail(self.sliders.submit, self.settle, chosen, settled, network=True, live=True)
        alike = [self.wall, self.views]
        on(self.alike.click, self.more_like_this, chosen, alike, network=True, show_progress="minimal")
        on(self.keep.click, self.favour, [self.stored, *chosen], [self.stored, self.keep])
        self.save.wire(self.file_of, chosen, **MODEL_WORK)
        taken = on(self.photo.upload, self.taken, [visit, self.photo], self.path)
        on(
            taken.success,
            self.from_photo,
            [self.model, self.path],
            picked,
            network=True,
            show_progress="full",
        )
        on(self.map_tab.select, self.map_of, [*chosen, self.mapped], [self.mapped, self.cells], network=True)
        asked = [self.model, self.mapped]
        on_detail(self.ground.input, self.more_cells, asked, self.cells, network=True, live=True)
        mixing = [*chosen, self.mixers, self.crossover]
        mix: dict[str, Any] = {
            "do": self.mix,
            "inputs": mixing,
            "outputs": self.mixed,
            "network": True,
            "live": True,
        }
        mix |= {"show_progress": "minimal"}
        on(on(self.others.click, new_seed, None, self.mixers).then, **mix)
        on([self.mix_tab.select, self.crossover.input], **mix)

    def _wire_kept(self, kept: gr.HTML, name: str, picked: Sequence[Any]) -> None:
        """A wall of what the browser keeps under this name: those of the chosen model."""

        def pictures(stored: Any, ref: str) -> str:
            return self.kept_tiles(stored, name, ref)

        def pick(at: Any, stored: Any, ref: str) -> tuple[Any, ...]:
            views = kept_views(stored, name, ref)
            return self._picked(ref, views[index(at, views)])

        settings: dict[str, Any] = {"network": True, "show_progress": "minimal"}
        on(self.kept_tab.select, pictures, [self.stored, self.model], kept, **settings)
        on_detail(kept.select, pick, [self.stored, self.model], picked, network=True, live=True)

    # The wall

    def arrive(self, request: gr.Request) -> tuple[Any, Any, View | None]:
        """The model, seed and picture of the link that led here."""
        with suppress(Mind2MindError):
            ref, view = from_query(request.query_params)
            if ref in [m.id for m in self.studio.models.list()]:
                return ref, view.seed, view
        return gr.skip(), gr.skip(), None

    def first(self, model: str, seed: float, count: float, noise: str, view: View, link: View | None) -> Any:
        """The first wall of a visit; with the picture of a link in its first place."""
        return self._wall(model, seed, count, noise, view.psi, link)

    def with_another(self, model: str, *drawn_with: Any) -> tuple[Any, ...]:
        """The wall drawn by another model, if it is another."""
        *settings, before = drawn_with
        if before == model:
            return (gr.skip(),) * 11
        count = cost_of(self.studio, model).count
        seed, shown, noise, _ = settings
        number = count if shown in (MANY, FEW) else int(shown)
        return *self._wall(model, seed, number, noise, 1.0), number

    def draw(self, model: str, seed: float, count: float, noise: str, view: View) -> tuple[Any, ...]:
        """New pictures of the seeds from `seed` on, truncated as the picked one is."""
        return self._wall(model, seed, count, noise, view.psi)

    def _wall(
        self, model: str, seed: float, count: float, noise: str, psi: float, link: View | None = None
    ) -> tuple[Any, ...]:
        ref, first = known_ref(self.studio, model), checked_seed(seed)
        number = whole("The number of pictures", count, 1, MOST_PICTURES)
        views = [View(seed=s, psi=psi, noise=noise) for s in range(first, first + number)]
        if link:
            views[0] = link
        images = self.studio.explore.draw(ref, views)
        shown = tiles([Tile(image, named(v)) for image, v in zip(images, views, strict=True)], chosen=0)
        return shown, views, model, drawing(cost_of(self.studio, ref)), *self._picked(ref, views[0])

    def fields_of(self, model: str) -> tuple[Any, Any]:
        """The choice of noise, where the model has any, and of the layer where the styles cross over."""
        ref = known_ref(self.studio, model)
        layers = self.studio.explore.layers(ref)
        noise = gr.Dropdown(visible=self.studio.explore.has_noise(ref))
        return noise, gr.Slider(maximum=layers, value=layers // 2)

    def more_like_this(self, model: str, view: View) -> tuple[str, list[View]]:
        """The picked picture among its neighbours."""
        ref = known_ref(self.studio, model)
        views = [view, *self.studio.explore.neighbours(view, self._at_once(ref, ALIKE) - 1)]
        images = self.studio.explore.draw(ref, views)
        return tiles([Tile(i, named(v)) for i, v in zip(images, views, strict=True)], chosen=0), views

    def sheet_of(self, model: str, views: Sequence[View]) -> str:
        """The pictures of the wall as one PNG."""
        ref = known_ref(self.studio, model)
        images = self.studio.explore.draw(ref, views)
        sheet = Draw.grid(images)
        sheet.info = images[0].info | {"count": str(len(images))}
        path = fresh(f"{stem(model, views[0])}-sheet.png", model)
        Draw.save_png(sheet, path)
        return str(path)

    def zip_of(self, model: str, views: Sequence[View]) -> str:
        """The pictures of the wall in one zip, stored: PNGs do not get smaller."""
        images = self.studio.explore.draw(known_ref(self.studio, model), views)
        files = save_pictures(images, stem(model), model)
        path = fresh(f"{stem(model, views[0])}.zip", model)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, Path(file).name)
        return str(path)

    def _at_once(self, ref: str, many: int) -> int:
        """How many pictures to draw at a time: fewer with a slow model."""
        cost = cost_of(self.studio, ref)
        return many if cost.live else min(many, cost.count)

    # The picture that is picked

    def _picked(self, model: str, view: View, said: str = "") -> tuple[Any, ...]:
        """All that is shown of a picture: itself, what it is, its truncations, its sliders."""
        ref = known_ref(self.studio, model)
        directions = self.studio.explore.directions(ref)
        return view, *self._settled(ref, view), sliders(view, directions), said

    def _settled(self, ref: str, view: View) -> tuple[str, str, str]:
        truncations = TRUNCATIONS if cost_of(self.studio, ref).live else ()
        chosen = truncations.index(view.psi) if view.psi in truncations else None
        views = [replace(view, psi=psi) for psi in truncations]
        images = self.studio.explore.draw(ref, [*views, view] if chosen is None else views)
        shown = zip(images, truncations, strict=False)
        strip = [Tile(image, f"Truncation {psi:g}", f"{psi:g}") for image, psi in shown]
        image = images[-1 if chosen is None else chosen]
        wall = tiles(strip, chosen, CELL) if strip else ""
        return picture(image, named(view)), self._told(ref, view), wall

    def _told(self, ref: str, view: View) -> str:
        link = f'<a href="?{html.escape(to_query(ref, view))}">Link to it</a>'
        private = view.photo or is_key(ref)  # nobody else has it
        return f'<div class="m2m-note"><p>{named(view)}{"" if private else f". {link}"}</p></div>'

    def pick(self, at: Any, model: str, views: Sequence[View]) -> tuple[Any, ...]:
        """The one on the wall that was clicked."""
        return self._picked(model, views[index(at, views)])

    def truncate(self, at: Any, model: str, view: View) -> tuple[Any, ...]:
        """The picked picture, truncated as the one of the strip that was clicked."""
        return self._picked(model, replace(view, psi=TRUNCATIONS[index(at, TRUNCATIONS)]))

    def slide(self, detail: Any, model: str, view: View) -> Any:
        """The picture while a slider moves; of a slow model only once it is let go."""
        ref, moved = known_ref(self.studio, model), _moved(view, detail)
        if not wanted(self.studio, detail["held"], model):
            return gr.skip()
        (image,) = self.studio.explore.draw(ref, [moved], hurry=detail["held"] == MOVING)
        return picture(image, named(moved))

    def settle(self, detail: Any, model: str, view: View) -> tuple[Any, ...]:
        """The picture once the slider is let go, and what depends on it."""
        moved = _moved(view, detail)
        return moved, *self._settled(known_ref(self.studio, model), moved)

    def file_of(self, model: str, view: View) -> str:
        """The picked picture as a PNG of its own size."""
        (image,) = self.studio.explore.draw(known_ref(self.studio, model), [view])
        path = fresh(f"{stem(model, view)}.png", model)
        Draw.save_png(image, path)
        return str(path)

    def taken(self, stored: Any, path: str) -> str:
        """A visitor's picture, if it may be used."""
        check_consent(self.studio, Visit.of(stored).agreed)
        return path

    def from_photo(self, model: str, path: str) -> tuple[Any, ...]:
        """A picture of the user's beside what the model makes of it, which can then be changed."""
        found = self.studio.explore.rebuild(known_ref(self.studio, model), Path(path))
        return self._picked(model, View(photo=Path(path), noise="none"), rebuilt(found))

    # The map and the mixing

    def map_of(self, model: str, view: View, mapped: Any) -> tuple[Any, Any]:
        """The map around the picked picture's seed, if it is not there yet."""
        middle = View(seed=view.seed, psi=view.psi, noise=view.noise)
        if mapped == (model, middle):
            return gr.skip(), gr.skip()
        return (model, middle), self._cells(model, middle, [])

    def more_cells(self, wanted: Any, model: str, mapped: Any) -> str:
        """The pictures of cells that came into sight."""
        drawn_with, middle = mapped
        return self._cells(drawn_with, middle, wanted)

    def _cells(self, model: str, middle: View, cells: Any) -> str:
        asked = [(int(x), int(y)) for x, y in cells][: self._at_once(model, CELLS)]
        views = [replace(middle, place=cell) for cell in asked]
        images = self.studio.explore.draw(known_ref(self.studio, model), views) if views else []
        parts = (
            f'<img src="{inline(image, CELL)}" alt="{named(view)}" data-at="{x},{y}" draggable="false">'
            for image, view, (x, y) in zip(images, views, asked, strict=True)
        )
        name = html.escape(f"{model} {to_query(model, middle)}")
        return f'<div data-map="{name}">{"".join(parts)}</div>'

    def pick_cell(self, at: Any, model: str, mapped: Any) -> tuple[Any, ...]:
        """The cell of the map that was clicked."""
        x, y = at
        return self._picked(mapped[0], replace(mapped[1], place=(float(x), float(y))))

    def mix(self, model: str, view: View, seed: int, crossover: float) -> str:
        """Pictures down, styles across: the coarse layers of the one with the others of the other."""
        ref = known_ref(self.studio, model)
        side = math.isqrt(self._at_once(ref, MIXED**2))
        down = [view, *(View(seed=seed + i, psi=view.psi) for i in range(1, side))]
        across = [View(seed=seed + side + i, psi=view.psi) for i in range(side)]
        edges = self.studio.explore.draw(ref, [*down, *across])
        grid = self.studio.explore.mix(ref, down, across, int(crossover))
        rows: list[Tile | None] = [None]
        rows += [Tile(image, f"Styles of: {named(v)}") for image, v in zip(edges[side:], across, strict=True)]
        for i, (v, row) in enumerate(zip(down, grid, strict=True)):
            rows.append(Tile(edges[i], named(v)))
            mixed = zip(row, across, strict=True)
            rows += [Tile(image, f"{named(v)} with styles of: {named(style)}") for image, style in mixed]
        return tiles(rows, columns=side + 1)

    # What the browser keeps

    def favour(self, stored: Any, model: str, view: View) -> tuple[Any, Any]:
        """Adds the picture to the favourites, or takes it off."""
        if view.photo:
            raise DataError("A picture of yours is not kept here.", "Press Save to have what was made of it.")
        kept, link = kept_links(stored), to_query(model, view)
        there = link in kept["favourites"]
        others = [other for other in kept["favourites"] if other != link]
        kept["favourites"] = others if there else [link, *others][:REMEMBERED]
        return kept, KEEP if there else KEPT

    def seen(self, stored: Any, model: str, view: View) -> tuple[Any, str]:
        """Adds the picture to the history; says whether it is a favourite."""
        kept, link = kept_links(stored), to_query(model, view)
        if not view.photo:
            kept["history"] = [link, *(other for other in kept["history"] if other != link)][:REMEMBERED]
        return kept, KEPT if link in kept["favourites"] else KEEP

    def kept_tiles(self, stored: Any, name: str, ref: str) -> str:
        """What the browser keeps under this name, drawn: those of the chosen model."""
        views = kept_views(stored, name, ref)[: self._at_once(ref, REMEMBERED)]
        if not views:
            empty = "Keep, in Explore, adds the picked picture here; this browser remembers it."
            return note(empty) if name == "favourites" else ""
        images = self.studio.explore.draw(known_ref(self.studio, ref), views)
        return tiles([Tile(image, named(view)) for image, view in zip(images, views, strict=True)])


def kept_links(stored: Any) -> dict[str, list[str]]:
    """From the browser, which may send anything."""
    kept = stored if isinstance(stored, dict) else {}
    lists = {name: kept.get(name) for name in ("favourites", "history")}
    return {
        name: [str(link) for link in links][:REMEMBERED] if isinstance(links, list) else []
        for name, links in lists.items()
    }


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
    """What a file is called: by its model and seed."""
    name = "mine" if is_key(model) else model.replace("/", "-")
    return name if view is None else f"{name}-{'photo' if view.photo else view.seed}"
