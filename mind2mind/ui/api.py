"""The endpoints for programs: /sample, /interpolate, /encode and those of a run (`gradio_client`, or plain HTTP).

They hang on components that nobody sees, so that their signatures do not move when the page does.
"""

import asyncio
import hashlib
import inspect
import ipaddress
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL.Image import Image

from mind2mind.config import BUDGETS, RECIPES
from mind2mind.errors import ConfigError, Mind2MindError, RunError
from mind2mind.runs.prepared import Prepared
from mind2mind.runs.run import ALIVE
from mind2mind.ui.interpolate import KINDS, InterpolateTab, endpoints
from mind2mind.ui.shared import (
    MODEL_WORK,
    MOST_PICTURES,
    check_call,
    check_seconds,
    checked_seed,
    fresh,
    gpu,
    is_key,
    known_ref,
    save_pictures,
    told,
    uploaded,
    whole,
)

if TYPE_CHECKING:
    from mind2mind.data.codes import EncodeProgress
    from mind2mind.runs.run import RunStatus
    from mind2mind.studio import Studio

# --- The endpoints of a run: /submit, /status, /stop and /result.
# Whoever holds a run's token may follow, stop and fetch it; a run is carried out by the worker, so nothing is
# lost when the caller goes away.

SAMPLED = 64  # pictures of a result
MOST_SECONDS, MOST_STEPS = 86_400, 10_000_000  # of one call; a server's own limits come on top
LOOK_SECONDS = 0.5
TOLD = (
    "token", "state", "place_in_queue", "step", "total_steps", "seconds", "seconds_left",
    "quality", "floor", "usable", "reason", "error",
)  # fmt: skip


class RunApi:
    """The four functions; `build` gives their components and makes them endpoints."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.read, self.harvest = gpu(self._read, check_seconds), gpu(self._harvest)

    def submit(
        self,
        pictures: list[str],
        model: str,
        seconds: float,
        steps: float,
        recipe: str,
        crop: str,
        seed: float,
        visitor: str,
        agreed: bool,
        request: gr.Request,
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
        with told():
            check_call(self.studio, agreed)
            budget = _budget(seconds, steps)
            chosen, drawn, ref = _recipe(recipe), checked_seed(seed), known_ref(self.studio, model)
            who = _caller(request, visitor)
            for event in self.read(uploaded(pictures), ref, crop or None, *who):
                if not isinstance(event, Prepared):
                    yield {"state": "reading", "done": event.done, "total": event.total}
                    continue
                try:
                    self.studio.runs.start(event.token, recipe=chosen, seed=drawn, **budget)
                except Mind2MindError:
                    self.studio.runs.delete(event.token)  # nobody holds its token
                    raise
                yield _checked(event)

    async def status(self, token: str, follow: bool) -> AsyncIterator[dict[str, Any]]:
        """Tells where a run stands, as a stream that ends with the run.

        Args:
            token: the run's, as /submit gave it.
            follow: false asks only once.

        Returns:
            The state (queued, running, stopping, stopped, done, failed, interrupted), steps, seconds left, quality
            (the distance of new pictures to some of yours kept aside; the floor is what is possible), reason, error.
        """
        last = None
        while True:
            with told():
                now = await asyncio.to_thread(self._brief, token)
            if now != last:
                yield now
            if not follow or now["state"] not in ALIVE:
                return
            last = now
            await asyncio.sleep(LOOK_SECONDS)  # no thread waits: many may follow

    def stop(self, token: str) -> dict[str, Any]:
        """Stops a run and keeps its work; nothing happens to one that has ended.

        Args:
            token: the run's.

        Returns:
            Where it stands: soon stopped, and then /result has its model.
        """
        with told():
            self.studio.runs.stop(self._known(token))
            return self._brief(token)

    def result(self, token: str) -> tuple[list[str], str, dict[str, Any]]:
        """Gives what a run has made so far or in the end.

        Args:
            token: the run's.

        Returns:
            64 new pictures (PNG), the model as a zip, and where the run stands, with `nearest`: for each picture
            how far the nearest of yours is (0 is a copy; two of yours are about 1.4 apart).
        """
        with told():
            if not self.studio.runs.status(self._known(token)).usable:
                raise RunError("This run has no model yet.", "Ask /status until its state is done.")
            images, distances, bundle = self.harvest(token)
            files = [str(path) for path in save_pictures(images, "sample", token)]
            return files, bundle, self._brief(token) | {"nearest": distances}

    def _read(
        self, pictures: list[Any], ref: str, crop: Any, visitor: str, address: str
    ) -> "Iterator[EncodeProgress | Prepared]":
        yield from self.studio.runs.prepare(
            pictures, ref, crop=crop, visitor=visitor, address=address, title="By the API"
        )

    def _harvest(self, token: str) -> tuple[list[Image], list[float], str]:
        found = self.studio.runs.result(token, range(SAMPLED))
        distances = [round(d, 4) for d in found.distance]
        return (
            found.samples,
            distances,
            str(self.studio.models.export(token, fresh("mind2mind-model.zip", token))),
        )

    def _known(self, token: str) -> str:
        if not is_key(token):  # a path would be opened by a studio at home
            raise RunError("There is no such run.", "Give the token that /submit gave you.")
        return token

    def _brief(self, token: str) -> dict[str, Any]:
        status: RunStatus = self.studio.runs.status(self._known(token))
        return {name: getattr(status, name) for name in TOLD}

    def queues(self, function: Any) -> dict[str, Any]:
        """How one of them waits: those that follow or stop a run stand in no queue."""
        if function == self.stop:
            return {"queue": False}
        return {"concurrency_limit": None} if function == self.status else {}

    def build(
        self, model: gr.Textbox, pictures: gr.File, crop: gr.Textbox, agreed: gr.Checkbox, report: gr.JSON
    ) -> dict[Any, Any]:
        """The components that are only theirs; gives per function its inputs and outputs."""
        seconds, steps = gr.Number(BUDGETS["Quick"].seconds, label="seconds"), gr.Number(0, label="steps")
        recipe, seed = gr.Textbox("default", label="recipe"), gr.Number(0, label="seed")
        visitor, token = gr.Textbox("", label="visitor"), gr.Textbox(label="token")
        follow = gr.Checkbox(True, label="follow")
        samples, bundle = gr.Gallery(label="samples", format="png"), gr.File(label="model")
        submitted = [pictures, model, seconds, steps, recipe, crop, seed, visitor, agreed]
        return {
            self.submit: (submitted, report),
            self.status: ([token, follow], report),
            self.stop: (token, report),
            self.result: (token, [samples, bundle, report]),
        }


def _budget(seconds: Any, steps: Any) -> dict[str, int | None]:
    if steps:
        return {"steps": whole("steps", steps, 1, MOST_STEPS), "seconds": None}
    return {"steps": None, "seconds": whole("seconds", seconds, 1, MOST_SECONDS)}


def _recipe(recipe: str) -> str:
    if recipe not in RECIPES:
        raise ConfigError(f"There is no recipe {str(recipe)[:80]!r}.", f"Choose one of {', '.join(RECIPES)}.")
    return recipe


def _caller(request: gr.Request, name: str) -> tuple[str, str]:
    """Who calls and from where; a name counts within its address only, so nobody can take another's."""
    host = request.client.host if request.client else ""
    try:
        parsed = ipaddress.ip_address(host)
        host = str(ipaddress.ip_network(f"{host}/64", strict=False)) if parsed.version == 6 else host
    except ValueError:
        host = "somewhere"
    digest = hashlib.sha256(str(name or "").encode(errors="replace")).hexdigest()[:16]
    return f"api {host} {digest}", f"api {host}"


def _checked(prepared: Prepared) -> dict[str, Any]:
    return {
        "token": prepared.token,
        "state": "queued",
        "used": prepared.count,
        "skipped": len(prepared.report.skipped),
        "verdict": prepared.verdict,
        "reason": prepared.reason,
        "psnr": prepared.psnr_mean,
        "report": prepared.report.to_dict()["files"],
    }


MOST_FRAMES = 240


class Api:
    """Builds the endpoints; its methods are they."""

    def __init__(self, studio: "Studio", interpolate: InterpolateTab) -> None:
        self.studio = studio
        self.save_clip = interpolate.save
        self.runs = RunApi(studio)

    def build(self) -> None:
        """Inside the Blocks."""
        model = self.studio.models.list()[0].id
        with gr.Column(visible=False):
            chosen, button = gr.Textbox(model, label="model"), gr.Button()
            seed, seed_b = gr.Number(0, label="seed"), gr.Number(1, label="seed_b")
            count, psi = gr.Number(16, label="count"), gr.Number(1.0, label="psi")
            noise, crop = gr.Textbox("random", label="noise"), gr.Textbox("", label="crop")
            agreed = gr.Checkbox(False, label="agreed")
            a, b = gr.File(label="picture_a"), gr.File(label="picture_b")
            frames, kind = gr.Number(60, label="frames"), gr.Textbox("WebP", label="kind")
            pictures, report = gr.File(file_count="multiple", label="pictures"), gr.JSON(label="report")
            gallery, file = gr.Gallery(label="pictures", format="png"), gr.File(label="file")
            of_runs = self.runs.build(chosen, pictures, crop, agreed, report)
        self._endpoint(button, gpu(self.sample), [chosen, seed, count, psi, noise], gallery)
        way = [chosen, seed, seed_b, frames, kind, a, b, agreed]
        self._endpoint(button, gpu(self.interpolate), way, file)
        self._endpoint(
            button, gpu(self.encode, check_seconds), [pictures, chosen, crop, agreed], [file, report]
        )
        for function, (inputs, outputs) in of_runs.items():
            self._endpoint(button, function, inputs, outputs, **self.runs.queues(function))

    def _endpoint(self, button: gr.Button, function: Any, inputs: Any, outputs: Any, **queue: Any) -> None:
        said = inspect.getdoc(function)  # all of it: Gradio's own choice leaves the arguments out
        named = {"api_name": function.__name__, "api_description": said}
        button.click(function, inputs, outputs, **named, **(queue or MODEL_WORK))

    def sample(self, model: str, seed: int, count: int, psi: float, noise: str) -> list[str]:
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
        with told():
            first, number = checked_seed(seed), whole("count", count, 1, MOST_PICTURES)
            ref = known_ref(self.studio, model)
            images = self.studio.draw.sample(ref, range(first, first + number), psi=psi, noise=noise)
            return [str(path) for path in save_pictures(images, "sample", ref)]

    def interpolate(
        self,
        model: str,
        seed_a: int,
        seed_b: int,
        frames: int,
        kind: str,
        picture_a: str | None = None,
        picture_b: str | None = None,
        agreed: bool = False,
    ) -> str:
        """Makes a clip of the way from A to B.

        Args:
            model: a model's id, or the token of a finished run.
            seed_a: the seed of A.
            seed_b: the seed of B.
            frames: 2 to 240, at 24 a second.
            kind: WebP or MP4.
            picture_a: a picture to use for A instead of the seed.
            picture_b: a picture to use for B instead of the seed.
            agreed: true says that you may use the pictures, and that everybody who can be recognised in them
                agrees. A public server takes no picture without it.

        Returns:
            The clip.
        """
        with told():
            if kind not in KINDS:
                raise ConfigError(
                    f"There is no kind {str(kind)[:20]!r}.", f"Choose one of {', '.join(KINDS)}."
                )
            if picture_a or picture_b:
                check_call(self.studio, agreed)
            ends = endpoints(seed_a, picture_a, seed_b, picture_b)
            number = whole("frames", frames, 2, MOST_FRAMES)
            return str(self.save_clip(model, ends, number, kind, False))

    def encode(
        self, pictures: list[str], model: str, crop: Any, agreed: bool = False
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
        with told():
            check_call(self.studio, agreed)
            prepared = self._check(pictures, model, crop)
            path = fresh("codes.safetensors", prepared.token)
            shutil.copy(prepared.folder / path.name, path)
            self.studio.runs.delete(prepared.token)
            return str(path), prepared.report.to_dict()

    def _check(self, pictures: list[str], model: str, crop: Any) -> "Prepared":
        source = known_ref(self.studio, model)
        *_, prepared = self.studio.runs.prepare(uploaded(pictures), source, crop=crop or None, visitor="api")
        return prepared  # type: ignore[return-value]  # the last event is the Prepared
