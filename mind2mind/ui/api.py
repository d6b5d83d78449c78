"""The endpoints for programs: the methods of `Api` (`gradio_client`, or plain HTTP).

They hang on components that nobody sees, so that their signatures do not move when the page does. Whoever holds
a run's token may look at it, stop and fetch it; a run is carried out by the worker, so nothing is lost when the
caller goes away.
"""

import hashlib
import inspect
import ipaddress
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from mind2mind.config import BUDGETS, RECIPES
from mind2mind.data.codes import EncodeProgress
from mind2mind.draw import Draw
from mind2mind.errors import Mind2MindError, RunError, one_of
from mind2mind.runs.prepared import Encoding
from mind2mind.studio import Studio
from mind2mind.ui.interpolate import KINDS
from mind2mind.ui.shared import (
    MODEL_WORK,
    MOST_PICTURES,
    check_consent,
    check_seconds,
    checked_seed,
    fresh,
    gpu,
    is_key,
    known_ref,
    on,
    reader,
    save_pictures,
    uploaded,
    whole,
)

MOST_FRAMES = 240
AGREE = "Call with agreed=True"
MOST_SECONDS, MOST_STEPS = 86_400, 10_000_000  # of one call; a server's own limits come on top
TOLD = (
    "token", "state", "place_in_queue", "step", "total_steps", "seconds", "seconds_left",
    "distance", "floor", "usable", "reason", "error",
)  # fmt: skip

FIELDS: dict[Any, Callable[..., Any]] = {  # by the type of a parameter
    str: gr.Textbox,
    int: gr.Number,
    float: gr.Number,
    bool: gr.Checkbox,
    str | None: gr.File,
    list[str]: partial(gr.File, file_count="multiple"),
}


class Api:
    """Made inside the Blocks; a method without an underscore is the endpoint of its name.

    Their arguments may be anything, whatever their types say. Another default of `model` is the first of the list.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.read, self.harvest = reader(studio), gpu(self._harvest)
        with gr.Column(visible=False):
            report, gallery, file = gr.JSON(), gr.Gallery(format="png"), gr.File()
            self._add(self.sample, gallery, network=True)
            self._add(self.interpolate, file, network=True)
            self._add(gpu(self.encode, check_seconds), [file, report], **MODEL_WORK)
            self._add(self.submit, report, **MODEL_WORK)
            self._add(self.status, report, queue=False)
            self._add(self.stop, report, queue=False)
            self._add(self.result, [gallery, file, report], **MODEL_WORK)

    def _add(self, function: Callable[..., Any], outputs: Any, **settings: Any) -> None:
        fields = []
        for name, parameter in inspect.signature(function).parameters.items():
            value = self.studio.models.list()[0].id if name == "model" else parameter.default
            if name != "request":
                value = None if value is parameter.empty else value
                fields.append(FIELDS[parameter.annotation](value, label=name))
        # All of the docstring: Gradio's own choice leaves the arguments out
        settings |= {"api_name": function.__name__, "api_description": inspect.getdoc(function)}
        on(gr.Button().click, function, fields, outputs, api_visibility="public", **settings)

    def sample(
        self, model: str, seed: int = 0, count: int = 16, psi: float = 1.0, noise: str = "random"
    ) -> list[str]:
        """Draws new pictures.

        Args:
            model: a model's id, or the token of a finished run.
            seed: of the first picture; the next ones have the seeds after it.
            count: how many, 1 to 64.
            psi: truncation; 1 is none, smaller is closer to the average.
            noise: random, fixed or none.

        Returns:
            PNG files.
        """
        first, number = checked_seed(seed), whole("count", count, 1, MOST_PICTURES)
        ref = known_ref(self.studio, model)
        images = self.studio.draw.sample(ref, range(first, first + number), psi=psi, noise=noise)
        return save_pictures(images, "sample", ref)

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
            model: a model's id, or the token of a finished run.
            seed_a: the seed of A.
            seed_b: the seed of B.
            frames: 2 to 240, at 24 a second.
            kind: WebP, MP4 or GIF.
            picture_a: a picture to use for A instead of the seed.
            picture_b: a picture to use for B instead of the seed.
            agreed: true says that you may use the pictures, and that everybody who can be recognised in them
                agrees. A public server takes no picture without it.
            path: mind, through codes that the model draws by itself, or straight; left empty it is mind between
                seeds and straight where there is a picture.

        Returns:
            The clip.
        """
        one_of("kind", kind, KINDS)
        if picture_a or picture_b:
            check_consent(self.studio, agreed, AGREE)
        ends = [
            Path(picture) if picture else checked_seed(seed)
            for picture, seed in ((picture_a, seed_a), (picture_b, seed_b))
        ]
        ref, count = known_ref(self.studio, model), whole("frames", frames, 2, MOST_FRAMES)
        clip = fresh(f"interpolation.{kind.lower()}", ref)
        Draw.save_clip(self.studio.draw.interpolate(ref, ends, frames=count, path=path or None), clip)
        return str(clip)

    def encode(
        self, pictures: list[str], model: str, crop: str = "", agreed: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """Encodes pictures into codes.

        Args:
            pictures: picture files, or one zip.
            model: the id of a source model.
            crop: centre, fit or face (aligned as FFHQ does); empty is what the model's card says.
            agreed: as in /interpolate.

        Returns:
            The codes (safetensors) and the report per file.
        """
        check_consent(self.studio, agreed, AGREE)
        paths, ref = uploaded(pictures), known_ref(self.studio, model)
        way: Any = crop or None
        out = fresh("codes.safetensors", ref)
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
    ) -> Iterator[dict[str, Any]]:
        """Checks pictures and trains on them. Streams how many are read; its last value holds the token.

        Args:
            pictures: picture files, or one zip.
            model: the id of a source model.
            seconds: how long to train.
            steps: how many steps to train instead; 0 goes by the seconds.
            recipe: default or paper.
            crop: centre, fit or face (aligned as FFHQ does); empty is what the model's card says.
            seed: of the training; the same seed and steps give the same model.
            visitor: any name of yours. A public server grants each one run at a time, and each address some
                more: give one if you share your address with others.
            agreed: true says that you may use the pictures, and that everybody who can be recognised in them
                agrees. A public server takes no picture without it.

        Returns:
            The token; what the check found: used, skipped, verdict (good, usable ...) with its reason, psnr (dB),
            and the report per file.
        """
        check_consent(self.studio, agreed, AGREE)
        one_of("recipe", recipe, RECIPES)
        budget = {"seconds": None if steps else whole("seconds", seconds, 1, MOST_SECONDS)}
        budget["steps"] = whole("steps", steps, 1, MOST_STEPS) if steps else None
        drawn, ref = checked_seed(seed), known_ref(self.studio, model)
        caller, address = _caller(request, visitor)
        new = {"crop": crop or None, "visitor": caller, "address": address, "title": "By the API"}
        for event in self.read(uploaded(pictures), ref, **new):
            if isinstance(event, EncodeProgress):
                yield {"state": "reading", "done": event.done, "total": event.total}
                continue
            try:
                self.studio.runs.start(event.token, recipe=recipe, seed=drawn, **budget)
            except Mind2MindError:
                self.studio.runs.delete(event.token)  # nobody holds its token
                raise
            yield {
                "token": event.token,
                "state": "queued",
                "used": event.count,
                "skipped": len(event.report.skipped),
                "verdict": event.verdict,
                "reason": event.reason,
                "psnr": event.psnr_mean,
                "report": event.report.to_dict()["files"],
            }

    def status(self, token: str) -> dict[str, Any]:
        """Tells where a run stands, at once: ask again as often as you like.

        Args:
            token: the run's, as /submit gave it.

        Returns:
            The state (queued, running, stopping, stopped, done, failed, interrupted), steps, seconds left, quality
            (the distance of new pictures to some of yours kept aside; the floor is what is possible), reason, error.
        """
        if not is_key(token):  # a path would be opened by a studio at home
            raise RunError("There is no such run.", "Give the token that /submit gave you.")
        found = self.studio.runs.status(token)
        worth = found.worth.facts if found.worth else None
        return {name: getattr(found, name) for name in TOLD} | {"worth": worth}

    def stop(self, token: str) -> dict[str, Any]:
        """Stops a run and keeps its work; nothing happens to one that has ended.

        Args:
            token: the run's.

        Returns:
            Where it stands: soon stopped, and then /result has its model.
        """
        self.status(token)  # it tells what is no token
        self.studio.runs.stop(token)
        return self.status(token)

    def result(self, token: str) -> tuple[list[str], str, dict[str, Any]]:
        """Gives what a run has made so far or in the end.

        Args:
            token: the run's.

        Returns:
            64 new pictures (PNG), the model as a zip, and where the run stands, with `nearest`: for each picture
            how far the nearest of yours is (0 is a copy; two of yours are about 1.4 apart).
        """
        standing = self.status(token)
        pictures, bundle, nearest = self.harvest(token)
        return pictures, bundle, standing | {"nearest": nearest}

    def _harvest(self, token: str) -> tuple[list[str], str, list[float]]:
        found = self.studio.runs.result(token, range(MOST_PICTURES))
        pictures = save_pictures(found.samples, "sample", token)
        bundle = self.studio.models.export(token, fresh("mind2mind-model.zip", token))
        return pictures, str(bundle), [round(distance, 4) for distance in found.distance]


def _caller(request: gr.Request, name: str) -> tuple[str, str]:
    """Who calls and from where; a name counts within its address only, so nobody can take another's."""
    address = _address(request.client.host if request.client else "")
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
