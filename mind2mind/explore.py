"""Places around a picture: its neighbours, the model's directions, the plane of a seed, the styles of two mixed; and
the ways from one to others.

A `View` says what a picture is made of. Whatever can goes through the mind: neighbours and places on a plane are
mixtures of independent normal scores of z, whose squared weights add up to 1, so that the model might draw each by
itself. A photo has no z: there codes are mixed so, as differences from the mean code. What is moved is refined like
any code that a person sees, without what refining would change at the photo itself: so a slider begins at the very
photo.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache, reduce
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from mind2mind.config import SEEDS, Checked, batch_of, mixed, number
from mind2mind.data.codes import of_pixels
from mind2mind.data.images import before_and_after, face_of, open_picture, to_image
from mind2mind.draw import (
    PATHS,
    Draw,
    Reconstruction,
    Stop,
    Way,
    draw,
    noise_of,
    pixels_of,
    provenance,
    pull,
    scores_of,
)
from mind2mind.errors import ConfigError, one_of
from mind2mind.judge.verdict import ALONE_GOOD_FROM, STRANGER_BELOW, judge, reconstruct, scores
from mind2mind.models.bundle import Model
from mind2mind.networks.alae import mix

Some = TypeVar("Some")
WAYS_KEPT, MADE_KEPT = 4, 64  # of the last used: ways and what belongs to a model; codes of photos, and stops
DIRECTIONS, LEARNT_FROM = 8, 4096  # the largest independent components of so many of the mind's codes
AXES = 20  # principal ones, in which they lie
TURNS, LEAST_TURN = 300, 1e-5  # steps to find them: at most so many, and until each is smaller
REACH = 3.0  # standard deviations from the mean code to the picture at an end of a direction
ANGLE, PHOTO_ANGLE = 0.5, 0.65  # radians between the z of neighbours, and between codes
STEP = 6  # cells of a plane from one of the pictures it is made of to the next
PLANE = -1  # tells their numbers from those of neighbours
FARTHEST, MOST_MOVED, MOST_NEAR = 1e6, 10, 32  # a place in cells, a move in deviations, neighbours in a row


@dataclass(frozen=True)
class View(Checked):
    """What one picture is made of: enough to draw it again.

    Raises:
        ConfigError: a number is out of range, or a photo is looked for on a plane.
    """

    seed: int = number(0, 0, SEEDS - 1)  # a photo takes its noise and its neighbours from it
    photo: Path | None = None  # a picture of the user's in place of the seed's
    near: tuple[int, ...] = number((), 0, SEEDS - 1)  # the neighbours that were gone to, one after another
    place: tuple[float, float] = number((0.0, 0.0), -FARTHEST, FARTHEST)  # x, y on the seed's plane, in cells
    psi: float = 1.0
    moves: tuple[float, ...] = number((), -MOST_MOVED, MOST_MOVED)  # along directions; missing ones are 0
    noise: str = "random"

    def __post_init__(self) -> None:
        if len(self.near) > MOST_NEAR:
            problem = f"This picture is {len(self.near)} neighbours away from where it began, more than {MOST_NEAR}."
            raise ConfigError(problem, "Go back some, or begin with another picture.")
        if len(self.moves) > DIRECTIONS:
            problem = f"{len(self.moves)} moves are more than there are directions."
            raise ConfigError(problem, f"Give at most {DIRECTIONS}.")
        super().__post_init__()
        if self.photo and any(self.place):
            raise ConfigError("A photo lies on no plane.", "Give a seed in its place.")

    @property
    def stem(self) -> str:
        """What its files are called: by the seed, and the neighbours that were gone to."""
        return "_".join(["photo" if self.photo else str(self.seed), *map(str, self.near)])


def alike(view: View, count: int) -> list[View]:
    """So many pictures like this one: itself and its neighbours by their numbers, from 1 on."""
    return [view, *(replace(view, near=(*view.near, number)) for number in range(1, count))]


def z_of(model: Model, view: View) -> Tensor:
    """z (1, z_dim) of a view without a photo; a seed's own is it to the last bit."""
    x, y = view.place
    own = _drawn(model, view.seed)
    if not (x or y or view.near):
        return own
    left, top = x // STEP, y // STEP
    scores = torch.zeros(1, model.z_dim)
    for i, across in ((int(left), math.cos), (int(left) + 1, math.sin)):
        for j, down in ((int(top), math.cos), (int(top) + 1, math.sin)):
            weight = across((x / STEP - left) * math.pi / 2) * down((y / STEP - top) * math.pi / 2)
            scores += weight * model.scores_of(_drawn(model, view.seed, i, j, PLANE) if i or j else own)
    for z in _towards(model, view):
        scores = math.cos(ANGLE) * scores + math.sin(ANGLE) * model.scores_of(z)
    return model.z_of(scores)


def _drawn(model: Model, seed: int, *path: int) -> Tensor:
    """z (1, z_dim) of a seed, or independent of it and of all others where a path of numbers leads away from it."""
    return model.draw_z([torch.Generator().manual_seed(reduce(mixed, path, seed))])


def _towards(model: Model, view: View) -> list[Tensor]:
    """z (1, z_dim) of what each of a view's neighbours was found on the way to."""
    return [_drawn(model, view.seed, *view.near[: last + 1]) for last in range(len(view.near))]


def _led(model: Model, view: View, photo: Tensor) -> Tensor:
    """A photo's code (1, latent_size), truncated as its view is, and led to the view's neighbours."""
    mean, w = pull(model, photo, 0), pull(model, photo, view.psi)
    for z in _towards(model, view):
        other = pull(model, model.map(z), view.psi)
        w = mean + math.cos(PHOTO_ANGLE) * (w - mean) + math.sin(PHOTO_ANGLE) * (other - mean)
    return w


@lru_cache(WAYS_KEPT)
def steps_of(model: Model) -> tuple[Tensor, Tensor]:
    """A standard deviation along each direction, (k, latent_size), and their shares of the variance, (k,), falling.

    k is DIRECTIONS, or what the mind's codes vary in where that is less.
    """
    w = model.map(model.draw_z([torch.Generator().manual_seed(0)] * LEARNT_FROM))
    steps = independent(w)[:DIRECTIONS]
    return steps, steps.square().sum(dim=1) / w.var(dim=0).sum().clamp_min(1e-12)


def independent(w: Tensor) -> Tensor:
    """The independent components of codes w (N, d) on their first principal axes, (k, d), the largest first.

    Each is a standard deviation long, and its largest number is positive. Principal axes mix what has nothing to do
    with each other; of toon64's eight largest components each is the hair's, the skin's or the background's alone.
    It is FastICA by the fourth power (Hyvärinen 1999), all components at once, by half of each step lest it swing. It
    begins with FOBI (Cardoso 1989), from where it takes the same way on every computer.
    """
    w = (w - w.mean(dim=0)).double()
    _, lengths, axes = torch.linalg.svd(w, full_matrices=False)
    count = min(AXES, max(1, int((lengths > 1e-3 * lengths[0]).sum())))
    axes = axes[:count] * lengths[:count, None] / len(w) ** 0.5
    white = w @ torch.linalg.pinv(axes)
    _, turn = torch.linalg.eigh((white * white.square().sum(dim=1, keepdim=True)).T @ white)
    turn = turn.T
    for _ in range(TURNS):
        before = turn
        step = _orthogonal((white @ turn.T).pow(3).T @ white / len(w) - 3 * turn)
        turn = _orthogonal(turn + step * (step * turn).sum(dim=1, keepdim=True).sign())
        if (turn - before).norm(dim=1).max() < LEAST_TURN:
            break
    found: Tensor = turn @ axes
    found = found[found.norm(dim=1).argsort(descending=True)]
    return found.mul_(found.gather(1, found.abs().argmax(dim=1, keepdim=True)).sign()).float()


def _orthogonal(x: Tensor) -> Tensor:
    """The orthogonal matrix that is nearest to x."""
    u, _, v = torch.linalg.svd(x)
    found: Tensor = u @ v
    return found


@lru_cache(WAYS_KEPT)
def _gone(model: Model, photo: Tensor, psi: float) -> Tensor:
    """What refining would change at a photo's code, truncated, (1, latent_size)."""
    w = pull(model, photo, psi)
    return w - model.refined(w)


@lru_cache(WAYS_KEPT)  # a crossover is dragged over the same codes
def _codes(model: Model, views: Sequence[View], photos: Sequence[Tensor | None], refine: bool) -> Tensor:
    """W of one or more views as they are drawn, (N, latent_size), on the CPU; the code of each that has a photo."""
    z = [z_of(model, view) for view in views if not view.photo]
    of_seeds = iter(model.map(torch.cat(z)).split(1)) if z else iter(())
    w = torch.cat([
        pull(model, next(of_seeds), view.psi) if photo is None else _led(model, view, photo)
        for view, photo in zip(views, photos, strict=True)
    ])  # fmt: skip
    if any(any(view.moves) for view in views):
        steps, _ = steps_of(model)
        moves = torch.zeros(len(views), DIRECTIONS)
        for row, view in zip(moves, views, strict=True):
            row[: len(view.moves)] = torch.tensor(view.moves)
        w = w + moves[:, : len(steps)] @ steps
    if not refine or not model.refinements:
        return w
    unmoved, both = torch.zeros(1, w.shape[1]), zip(views, photos, strict=True)
    gone = (unmoved if photo is None else _gone(model, photo, view.psi) for view, photo in both)
    return model.refined(w) + torch.cat([*gone])


def _pictures(model: Model, codes: Tensor, views: Sequence[View]) -> Iterator[Image.Image]:
    """Pictures of codes, as `draw` takes them, each with the noise of its view."""
    begin = 0
    for noise, group in groupby(views, lambda view: view.noise):
        seeds = [view.seed for view in group]
        yield from draw(model, codes[begin : begin + len(seeds)], noise, seeds)
        begin += len(seeds)


def _told(view: View) -> dict[str, Any]:
    """What a picture's file says of its view: of what is seldom used, only what is."""
    told = {f.name: getattr(view, f.name) for f in fields(view)}
    if view.photo:
        told["photo"] = view.photo.name
    usual = {**vars(View()), "seed": None, "psi": None, "noise": None}
    return {name: value for name, value in told.items() if value != usual[name]}


# The facade's part


@dataclass(frozen=True, eq=False)
class Direction:
    """An independent component of what a model draws."""

    name: str  # what changes along it, "" where nobody knows
    share: float  # of the variance of its codes
    low: Image.Image | None  # the mean code, REACH standard deviations down; None where drawing takes long
    high: Image.Image | None  # and up


@lru_cache(WAYS_KEPT)
def _directions(model: Model, pictures: bool) -> list[Direction]:
    steps, shares = steps_of(model)
    mean = model.w_avg.mean(dim=0).cpu()
    low, high = (
        draw(model, model.refined(mean + end * steps)) if pictures else [None] * len(steps)
        for end in (-REACH, REACH)
    )
    names = (*model.card.directions, *[""] * len(steps))
    return [Direction(*each) for each in zip(names, shares.tolist(), low, high, strict=False)]


class Explore:
    """Views, drawn, and the ways between them. Any thread may call any method.

    Args:
        draw: finds the models, and knows what they cost.
    """

    alike = staticmethod(alike)

    def __init__(self, draw: Draw) -> None:
        self._draw, self._models = draw, draw.models
        self._ways = lru_cache(WAYS_KEPT)(Way)  # by the very stops
        self._last: dict[tuple[object, ...], Any] = {}
        self._guard = threading.Lock()  # held for a moment only

    def draw(
        self,
        ref: str,
        views: Sequence[View],
        *,
        style: int | None = None,
        crossover: int | None = None,
        hurry: bool = False,
    ) -> list[Image.Image]:
        """The pictures of these views; `info` of each says how to draw it again.

        Args:
            ref: the model.
            views: what each is made of.
            style: the seed of the picture whose finer layers all of them get, as `mix` does.
            crossover: the layer from which on; None is the middle.
            hurry: as while a slider is dragged: they are not refined where that takes long (see `Cost.smooth`).

        Raises:
            ConfigError: there is no such psi, noise or layer.
            DataError: a photo cannot be read, or shows no face where the model needs one.
        """
        if not views:
            return []
        if style is not None:
            at = self.layers(ref) // 2 if crossover is None else crossover
            styles = [View(style, psi=views[0].psi, noise=views[0].noise)]
            return [image for (image,) in self.mix(ref, views, styles, at)]
        model = self._models.load(ref)
        codes = self._codes(model, views, refine=not hurry or self._draw.cost(ref).smooth)
        images = [*_pictures(model, codes, views)]
        for view, image in zip(views, images, strict=True):
            image.info.update(provenance(model, **_told(view)))
        return images

    def code(self, ref: str, view: View) -> Tensor:
        """W of a view as it is drawn, (1, latent_size).

        Raises:
            ConfigError: there is no such psi.
            DataError: a photo cannot be read, or shows no face where the model needs one.
        """
        return self._codes(self._models.load(ref), [view])

    def interpolate(
        self,
        ref: str,
        stops: Sequence[View],
        *,
        frames: int = 60,
        noise: str = "none",
        path: str | None = None,
        loop: bool = False,
    ) -> Iterator[Image.Image]:
        """The frames of the way through all stops; with `loop` it leads back to the first.

        Args:
            ref: the model.
            stops: two or more; their own noise is left out.
            frames: 2 or more in all.
            noise: one of NOISES; random noise changes by frame.
            path: one of PATHS, see `Way`; None is `mind`, and `straight` where there is a photo, whose z has to be
                guessed.
            loop: whether it ends where it began.

        Raises:
            ConfigError: fewer than two stops or frames, or there is no such psi, noise or path.
            DataError: a photo cannot be read, or shows no face where the model needs one.
        """
        if len(stops) < 2 or frames < 2:
            problem = f"{len(stops)} stops and {frames} frames make no film."
            raise ConfigError(problem, "Give two or more of each.")
        stops = [*stops, stops[0]] if loop else stops
        places = torch.linspace(0, len(stops) - 1, frames + int(loop), dtype=torch.float64)[:frames]
        return self.along(ref, stops, places.tolist(), noise=noise, path=path)

    def along(
        self,
        ref: str,
        stops: Sequence[View],
        places: Sequence[float],
        *,
        noise: str = "none",
        path: str | None = None,
        hurry: bool = False,
    ) -> Iterator[Image.Image]:
        """The pictures at these places of the way of `interpolate`: 0 is the first stop, 1 the next, and so on.

        In a hurry, as while a slider is dragged, they are not refined where that takes long (see `Cost.smooth`).
        """
        noise_of(noise, [])
        model = self._models.load(ref)
        way, refine = self._way(model, stops, path), not hurry or self._draw.cost(ref).smooth
        size = batch_of(model.alae.architecture.resolution)

        def part(first: int) -> Iterator[Image.Image]:
            some = torch.tensor(places[first : first + size], dtype=torch.float64)
            images = draw(model, way.at(some, refine), noise, range(first, first + len(some)))
            for place, image in zip(some.tolist(), images, strict=True):
                image.info.update(provenance(model, place=place))
                yield image

        return chain.from_iterable(map(part, range(0, len(places), size)))

    def directions(self, ref: str) -> list[Direction]:
        """The directions that `View.moves` are along, by falling share."""
        return _directions(self._models.load(ref), self._draw.cost(ref).live)

    def mix(
        self, ref: str, sources: Sequence[View], styles: Sequence[View], crossover: int
    ) -> list[list[Image.Image]]:
        """A row for each source: its picture with the layers from `crossover` on, the finer ones, of each style.

        At 0 these are the pictures of the styles, at `layers` those of the sources. The noise is that of the view
        which the finest layer is from.

        Raises:
            ConfigError: nothing is to be mixed, or there is no such layer, psi or noise.
            DataError: a photo cannot be read, or shows no face where the model needs one.
        """
        if not sources or not styles:
            raise ConfigError("There is nothing to mix.", "Give a source and a style at least.")
        model, layers = self._models.load(ref), self.layers(ref)
        if not isinstance(crossover, int) or not 0 <= crossover <= layers:  # from the API it may be anything
            raise ConfigError(f"The crossover is {crossover!r}.", f"Choose one from 0 to {layers}.")
        down, across = (model.alae.styles(self._codes(model, views)) for views in (sources, styles))
        pairs = [(source, style) for source in sources for style in styles]
        codes = mix(down.repeat_interleave(len(styles), dim=0), across.repeat(len(sources), 1, 1), crossover)
        images = [*_pictures(model, codes, [pair[crossover < layers] for pair in pairs])]
        for (source, style), image in zip(pairs, images, strict=True):
            told = {f"style {name}": value for name, value in _told(style).items()}
            image.info.update(provenance(model, **_told(source), **told, crossover=crossover))
        return [images[i : i + len(styles)] for i in range(0, len(images), len(styles))]

    def layers(self, ref: str) -> int:
        """Style inputs of the model's decoder: two for 4 pixels a side, and for each doubling."""
        return self._models.load(ref).alae.architecture.style_count

    def has_noise(self, ref: str) -> bool:
        """Whether noise changes this model's pictures."""
        weights = self._models.load(ref).alae.decoder.named_parameters()
        return any(bool(weight.any()) for name, weight in weights if "noise_weight" in name)

    def rebuild(self, ref: str, photo: Path) -> Reconstruction:
        """A photo beside what the model makes of it, with the verdict.

        Raises:
            DataError: it cannot be read, or shows no face where the model needs one.
        """
        model, numbers = self._models.load(ref), self._models.source(ref).card.numbers
        image, crop = open_picture(photo, self._draw.limits, photo.name), model.card.crop
        face = face_of(image) if crop == "face" else None
        pixels = pixels_of(model, image, face)
        aligned = before_and_after(image, crop, face) if face and not face.aligned else None
        (rebuilt,), ratio = reconstruct(model.alae, pixels)
        verdict = judge(scores(pixels, ratio), numbers, ALONE_GOOD_FROM, STRANGER_BELOW).verdict
        original, rebuilt = to_image(pixels[0]), to_image(rebuilt)
        return Reconstruction(photo.name, original, rebuilt, ratio.item(), aligned, verdict)

    def _codes(self, model: Model, views: Sequence[View], refine: bool = True) -> Tensor:
        return _codes(model, tuple(views), tuple(self._photo(model, view) for view in views), refine)

    def _photo(self, model: Model, view: View) -> Tensor | None:
        """The code of a view's photo (1, latent_size), if it has one; another tensor once its file is another."""
        if (path := view.photo) is None:
            return None
        key: tuple[object, ...] = (model.hash, path)
        with suppress(OSError):  # who opens it says what is wrong
            found = path.stat()
            key += (found.st_mtime_ns, found.st_size)

        def make() -> Tensor:
            return of_pixels(model.alae, pixels_of(model, open_picture(path, self._draw.limits, path.name)))

        return self._kept(key, make)

    def _way(self, model: Model, views: Sequence[View], path: str | None) -> Way:
        """The last ones used are kept: a slider asks for the same one many times a second."""
        default = "straight" if any(view.photo for view in views) else "mind"
        through = one_of("path", path or default, PATHS) == "mind"
        return self._ways(model, tuple(self._stop(model, view, through) for view in views), through)

    def _stop(self, model: Model, view: View, through: bool) -> Stop:
        """Where a way leads; `through` the mind or not."""

        def make() -> Stop:
            scores = torch.empty(1, 0)
            if through and view.photo:
                scores = scores_of(model, self._codes(model, [replace(view, psi=1.0)]))
            elif through:
                scores = model.scores_of(z_of(model, view))
            return Stop(self._codes(model, [view]), scores, view.psi)

        return self._kept((model.hash, through, view, self._photo(model, view)), make)

    def _kept(self, key: tuple[object, ...], make: Callable[[], Some]) -> Some:
        """What was made of this key before, while it is among the last ones used; else it is made."""
        with self._guard:
            found = self._last.pop(key, None)
        found = make() if found is None else found
        with self._guard:
            self._last[key] = found  # as the last one: the first is the one that was not used for longest
            if len(self._last) > MADE_KEPT:
                del self._last[next(iter(self._last))]
        return found
