"""The endpoints for programs: the methods of `Api` (`gradio_client`, or plain HTTP).

They hang on components that nobody sees, so that their signatures do not move when the page does. Whoever holds
a run's token may look at it, stop and fetch it; a run is carried out by the worker, so nothing is lost when the
caller goes away.
"""

import hashlib
import inspect
import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.data_classes import FileData

from mind2mind.config import BUDGETS, RECIPES, changed
from mind2mind.data.dataset import Reading
from mind2mind.draw import Draw
from mind2mind.errors import ConfigError, Mind2MindError, RunError, one_of
from mind2mind.explore import View
from mind2mind.runs.findings import Encoding
from mind2mind.runs.run import Found
from mind2mind.studio import Studio
from mind2mind.ui import shared as ui
from mind2mind.ui.interpolate import KINDS

Some = TypeVar("Some")
MOST_FRAMES = 240
AGREE = "Call with agreed=True"
MOST_SECONDS, MOST_STEPS = 86_400, 10_000_000  # of one call; a server's own limits come on top
TOLD = (
    "token", "title", "state", "place_in_queue", "step", "total_steps", "seconds", "seconds_left",
    "distance", "floor", "usable", "preview_steps", "kept", "reason", "error", "worth",
)  # fmt: skip
SAMPLE = "file", "seed", "nearest", "distance", "copy"
LISTED = "token", "title", "state", "step", "total_steps", "model", "pictures"

FIELDS: dict[Any, Callable[..., Any]] = {  # by the type of a parameter
    str: gr.Textbox,
    int: gr.Number,
    float: gr.Number,
    bool: gr.Checkbox,
    str | None: gr.File,
    list[str]: partial(gr.File, file_count="multiple"),
    int | None: gr.Number,
    list[int] | None: gr.JSON,
    list[float] | None: gr.JSON,
    dict[str, Any] | None: gr.JSON,
}
FILE = FileData.model_json_schema() | {"description": "A file."}
SCHEMAS: dict[Any, dict[str, Any]] = {  # where Gradio's own are no valid JSON Schema
    list[str]: {"type": "array", "items": FILE, "$defs": FILE["$defs"]},
    list[int] | None: {"type": "array", "items": {"type": "integer"}},
    list[float] | None: {"type": "array", "items": {"type": "number"}},
    dict[str, Any] | None: {"type": "object", "additionalProperties": True},
}


class Api:
    """Made inside the Blocks; a method without an underscore is the endpoint of its name.

    Their docstrings are what callers read, whole and of each argument. Arguments may be anything, whatever their
    types say. Another default of `model` is the first of the list.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.read, self.harvest = ui.reader(studio), ui.gpu(self._harvest)
        self.preserve = ui.gpu(studio.runs.keep)
        with gr.Column(visible=False):
            report, gallery, file = gr.JSON(), gr.Gallery(format="png"), gr.File()
            self._add(self.sample, gallery, network=True)
            self._add(self.interpolate, file, network=True)
            self._add(ui.gpu(self.encode, ui.check_seconds), [file, report], **ui.MODEL_WORK)
            self._add(self.submit, report, **ui.MODEL_WORK)
            self._add(self.status, report, queue=False)
            self._add(self.stop, report, queue=False)
            self._add(self.result, [gallery, file, report], **ui.MODEL_WORK)
            self._add(self.keep, report, **ui.MODEL_WORK)
            self._add(self.runs, report, concurrency_limit=None)
            self._add(self.delete, report, queue=False)

    def _add(self, function: Callable[..., Any], outputs: Any, **settings: Any) -> None:
        text = re.sub(r"\n {8}", " ", inspect.getdoc(function) or "")  # each argument on one line
        explained = dict(re.findall(r"^ {4}(\w+): (.+)", text, re.MULTILINE))
        # Gradio's MCP server reads it there
        getattr(function, "__func__", function).__doc__ = text
        fields = []
        for name, parameter in inspect.signature(function).parameters.items():
            if name == "request":
                continue
            value = self.studio.models.list()[0].id if name == "model" else parameter.default
            value = None if value is parameter.empty else value
            field = FIELDS[parameter.annotation](value, label=name)
            schema = field.api_info_as_input() | SCHEMAS.get(parameter.annotation, {})
            field.api_info_as_input = partial(dict, schema, additional_description=explained[name])
            fields.append(field)
        about = re.sub(r"Args:\n( {4}.+\n)+\n", "", text)
        settings |= {"api_name": function.__name__, "api_description": about}
        ui.on(gr.Button().click, function, fields, outputs, api_visibility="public", **settings)

    def sample(
        self,
        model: str,
        seed: int = 0,
        count: int = 16,
        psi: float = 1.0,
        noise: str = "random",
        moves: list[float] | None = None,
        near: list[int] | None = None,
        alike: bool = False,
        style: int | None = None,
        crossover: int | None = None,
    ) -> list[str]:
        """Draws new pictures, and moves, varies or mixes them as the tab Explore does.

        Args:
            model: The id of a model, or the token of a finished run.
            seed: The seed of the first picture; the next ones have the seeds after it.
            count: How many pictures, 1 to 64.
            psi: The truncation: 1 is none, smaller is closer to the average.
            noise: The noise of models that have any: random, fixed or none.
            moves: How far to move along each of the model's directions, in the order of Explore's sliders, from -10
                to 10 standard deviations: [0, 2] is 2 along the second one.
            near: The way to a neighbour of each picture: [3] is the third one like it, [3, 1] the first one like
                that.
            alike: True draws pictures like the first one, which comes first, and not those of further seeds.
            style: The seed of a picture whose colours and details all of them get.
            crossover: The layer of the decoder from which on they get them: 0 is all of that picture, two more keep
                the shapes of the next larger size. Left empty it is the middle.

        Returns:
            PNG files, each of which says how it was made.
        """
        number, ref = ui.whole("count", count, 1, ui.MOST_PICTURES), ui.known_ref(self.studio, model)
        explore, first = self.studio.explore, ui.checked_seed(seed)
        way, gone = (tuple(_json(name, value, list)) for name, value in (("near", near), ("moves", moves)))
        view = View(first, near=way, psi=psi, moves=gone, noise=noise)
        views = [replace(view, seed=first + i) for i in range(number)]
        if alike:
            views = explore.alike(view, number)
        other = None if style is None else ui.checked_seed(style)
        layer = None if crossover is None else ui.whole("crossover", crossover, 0, explore.layers(ref))
        images = explore.draw(ref, views, style=other, crossover=layer)
        return ui.save_pictures(images, [f"sample-{each.stem}" for each in views], ref)

    def interpolate(
        self,
        model: str,
        seed_a: int = 0,
        seed_b: int = 1,
        frames: int = 60,
        kind: str = "WebP",
        picture_a: str | None = None,
        picture_b: str | None = None,
        agreed: bool = False,
        path: str = "",
    ) -> str:
        """Makes a clip of the way from A to B.

        Args:
            model: The id of a model, or the token of a finished run.
            seed_a: The seed of A.
            seed_b: The seed of B.
            frames: How many frames, 2 to 240, at 24 a second.
            kind: The file format: WebP, MP4 or GIF.
            picture_a: A picture to use for A instead of the seed.
            picture_b: A picture to use for B instead of the seed.
            agreed: True says that you may use the pictures, and that everybody who can be recognised in them
                agrees. A public server takes no picture without it.
            path: The way: mind, through codes that the model draws by itself, or straight. Left empty it is mind
                between seeds and straight where there is a picture.

        Returns:
            The clip.
        """
        one_of("kind", kind, KINDS)
        if picture_a or picture_b:
            ui.check_consent(self.studio, agreed, AGREE)
        given = (picture_a, seed_a), (picture_b, seed_b)
        ends = [
            View(photo=Path(picture)) if picture else View(ui.checked_seed(seed)) for picture, seed in given
        ]
        ref, count = ui.known_ref(self.studio, model), ui.whole("frames", frames, 2, MOST_FRAMES)
        clip = ui.fresh(f"interpolation.{kind.lower()}", ref)
        Draw.save_clip(self.studio.explore.interpolate(ref, ends, frames=count, path=path or None), clip)
        return str(clip)

    def encode(
        self, pictures: list[str], model: str, crop: str = "", agreed: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """Encodes pictures into codes.

        Args:
            pictures: The picture files, or one zip.
            model: The id of a source model.
            crop: How pictures become square: centre, fit (with bars) or face (aligned as FFHQ does). Left empty it
                is what the model's card says.
            agreed: True says that you may use the pictures, and that everybody who can be recognised in them
                agrees. A public server takes no picture without it.

        Returns:
            The codes (safetensors) and the report per file.
        """
        ui.check_consent(self.studio, agreed, AGREE)
        paths, ref = ui.uploaded(pictures), ui.known_ref(self.studio, model)
        way: Any = crop or None
        out = ui.fresh("codes.safetensors", ref)
        *_, encoding = self.studio.runs.encode(paths, ref, crop=way, out=out)
        assert isinstance(encoding, Encoding)
        return str(out), encoding.report.to_dict()

    def submit(
        self,
        request: gr.Request,
        pictures: list[str],
        model: str,
        seconds: float = BUDGETS["Quick"].seconds,
        steps: int = 0,
        recipe: str = "default",
        crop: str = "",
        seed: int = 0,
        visitor: str = "",
        agreed: bool = False,
        name: str = "",
        settings: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Checks pictures and trains on them. Streams how many are read; its last value holds the token.

        Args:
            pictures: The picture files, or one zip.
            model: The id of a source model.
            seconds: How long to train; few pictures end sooner.
            steps: How many steps to train instead; 0 goes by the seconds.
            recipe: What the training begins from: default or paper.
            crop: How pictures become square: centre, fit (with bars) or face (aligned as FFHQ does). Left empty it
                is what the model's card says.
            seed: The seed of the training: the same seed and steps give the same model.
            visitor: Any name of yours that others do not guess: /runs lists your runs by it. A public server grants
                each name one run at a time, and each address some more.
            agreed: True says that you may use the pictures, and that everybody who can be recognised in them
                agrees. A public server takes no picture without it.
            name: What the run and its model are called.
            settings: What to change in the recipe, such as {"learning_rate": 0.001, "critic_widths": [128, 128]}.
                The names are those of the app, with underscores; a wrong one is answered with all of them.

        Returns:
            The token; what the check found: used, skipped, verdict (good, usable ...) with its reason, psnr (dB),
            and the report per file.
        """
        ui.check_consent(self.studio, agreed, AGREE)
        chosen = changed(RECIPES[one_of("recipe", recipe, RECIPES)], _json("settings", settings, dict))
        budget = {"seconds": None if steps else ui.whole("seconds", seconds, 1, MOST_SECONDS)}
        budget["steps"] = ui.whole("steps", steps, 1, MOST_STEPS) if steps else None
        drawn, ref = ui.checked_seed(seed), ui.known_ref(self.studio, model)
        caller, address = _caller(request, visitor)
        title = " ".join(name.split()) or "By the API"
        new = {"crop": crop or None, "visitor": caller, "address": address, "title": title}
        for event in self.read(ui.uploaded(pictures), ref, **new):
            if isinstance(event, Reading):
                yield {"state": "reading", "done": event.done, "total": event.total}
                continue
            try:
                self.studio.runs.start(event.token, recipe=chosen, seed=drawn, **budget)
            except Mind2MindError:
                self.studio.runs.delete(event.token)  # nobody holds its token
                raise
            found = {"token": event.token, "state": "queued", **_check(event)}
            yield found | {"report": event.report.to_dict()["files"]}

    def status(self, token: str) -> dict[str, Any]:
        """Tells where a run stands, at once: ask again as often as you like.

        Args:
            token: The token of the run, as /submit gave it.

        Returns:
            The title, state (queued, running, stopping, stopped, done, failed, interrupted), steps, seconds left,
            distance (of new pictures to some of yours kept aside; the floor is what is possible), the steps of its
            previews, the one that is kept as the model (none: the last), the reason of the end, the error, and in
            the end what the pictures are worth (quality, variety, originality).
        """
        return self.studio.runs.status(_token(token)).facts(*TOLD)

    def stop(self, token: str) -> dict[str, Any]:
        """Stops a run and keeps its work; nothing happens to one that has ended.

        Args:
            token: The token of the run.

        Returns:
            Where it stands: soon stopped, and then /result has its model.
        """
        self.studio.runs.stop(_token(token))
        return self.status(token)

    def result(self, token: str) -> tuple[list[str], str, dict[str, Any]]:
        """Gives what a run has made so far or in the end.

        Args:
            token: The token of the run.

        Returns:
            New pictures (PNG, 64 if the model is quick), the model as a zip, and where the run stands with `check`
            (what the check of your pictures found), `told` (what the new ones are worth, in sentences), `samples`
            (of each new picture the file name, its seed, the nearest of yours, how far away that is and whether it
            is a near copy; 0 is a copy, two of yours are about 1.4 apart) and the `command` that repeats the run.
        """
        return self.harvest(_token(token))

    def _harvest(self, token: str) -> tuple[list[str], str, dict[str, Any]]:
        found = self.studio.runs.result(token)
        pictures = ui.save_pictures(found.samples, [f"sample-{seed}" for seed in found.seeds], token)
        bundle = ui.once("{}.zip", found.status, self.studio.models.export)
        names, far = (Path(path).name for path in pictures), (round(each, 4) for each in found.distance)
        rows = zip(names, found.seeds, found.nearest, far, found.near, strict=True)
        facts = found.status.facts(*TOLD) | {
            "check": _check(self.studio.runs.prepared(token)),
            "told": found.status.told,
            "samples": [dict(zip(SAMPLE, row, strict=True)) for row in rows],
            "command": found.command,
        }
        return pictures, bundle, facts

    def keep(self, token: str, step: int | None = None) -> dict[str, Any]:
        """Makes an earlier step of a run that has ended its model; /result then has that one's.

        Args:
            token: The token of the run.
            step: One of its preview_steps, as /status has them; left empty it is the last step again.

        Returns:
            Where it stands, with the step that is kept.
        """
        self.preserve(_token(token), None if step is None else ui.whole("step", step, 0, MOST_STEPS))
        return self.status(token)

    def runs(self, request: gr.Request, visitor: str = "") -> list[dict[str, Any]]:
        """Lists the runs that you submitted from this address, the newest first.

        Args:
            visitor: The name that you gave to /submit. A public server lists nothing without one.

        Returns:
            Of each run the token, title, state, steps, model, number of pictures, and when it was created (UTC).
        """
        if self.studio.public and not visitor:
            fix = "Give the name (visitor) that you submitted by."
            raise ConfigError("Others may share your address.", fix)
        listed = []
        for run in self.studio.runs.list(_caller(request, visitor)[0]):
            created = datetime.fromtimestamp(run.info.created, timezone.utc).isoformat(timespec="seconds")
            with suppress(RunError):  # deleted meanwhile
                known = self.studio.runs.status(run.token) if run.state.alive else run
                listed.append(known.facts(*LISTED) | {"created": created})
        return listed

    def delete(self, token: str) -> dict[str, str]:
        """Deletes a run, also one at work, with its model, codes and small copies of your pictures.

        Args:
            token: The token of the run.

        Returns:
            The token and the state deleted.
        """
        ui.delete_run(self.studio, _token(token))
        return {"token": token, "state": "deleted"}


def _token(given: str) -> str:
    """A run's token; a studio at home would open the run at a path, too.

    Raises:
        RunError: it is none.
    """
    if not ui.is_key(given):
        raise RunError("There is no such run.", "Give the token that /submit gave you.")
    return given


def _check(found: Found) -> dict[str, Any]:
    """What the check of a run's pictures found; the PSNR in dB."""
    kept = {"used": found.count, "skipped": found.skipped}
    return kept | {"verdict": found.verdict, "reason": found.reason, "psnr": found.psnr_mean}


def _json(name: str, value: Any, kind: type[Some]) -> Some:
    """A JSON object or array as a caller gives it; none is an empty one.

    Raises:
        ConfigError: it is something else.
    """
    found = kind() if value is None else value
    if not isinstance(found, kind):
        told, example = ("an object", '{"batch_size": 64}') if kind is dict else ("a list", "[0, 2]")
        raise ConfigError(f"{name} is {value!r:.80}, not {told}.", f"Give one such as {example}.")
    return found


def _caller(request: gr.Request, name: str) -> tuple[str, str]:
    """Who calls and from where; a name counts within its address only, so nobody can take another's."""
    address = _address(request.client.host if request.client else "")
    if request.headers.get("x-gradio-user") == "mcp":  # it calls from here, with headers that others wrote
        address = _address("127.0.0.1")
    if "SPACE_ID" in os.environ:  # a proxy calls; it notes at the end for whom, and callers what they like
        noted = map(_address, request.headers.get("x-forwarded-for", "").split(","))
        address = [address, *(other for other in noted if other and other.is_global)][-1]
    place = str(address or "somewhere")
    if address and address.version == 6:  # half of it is the caller's to choose
        place = str(ipaddress.ip_network((address, 64), strict=False))
    digest = hashlib.sha256(str(name or "").encode(errors="replace")).hexdigest()[:16]
    return f"api {place} {digest}", f"api {place}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip())
    return None
