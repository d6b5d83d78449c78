"""The endpoints for programs: /sample, /interpolate, /encode and those of a run (`gradio_client`, or plain HTTP).

They hang on components that nobody sees, so that their signatures do not move when the page does.
"""

import inspect
import shutil
from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.errors import ConfigError
from mind2mind.ui.api_runs import RunApi
from mind2mind.ui.common import MODEL_WORK, MOST_PICTURES, checked_seed, known_ref, told, uploaded, whole
from mind2mind.ui.consent import check_call
from mind2mind.ui.interpolate import KINDS, InterpolateTab, endpoints
from mind2mind.ui.made import fresh, save_pictures
from mind2mind.ui.zerogpu import check_seconds, gpu

if TYPE_CHECKING:
    from mind2mind.intake import Prepared
    from mind2mind.studio import Studio

MOST_FRAMES = 240


class Api:
    """Builds the endpoints; its methods are they."""

    def __init__(self, studio: "Studio", interpolate: InterpolateTab) -> None:
        self.studio = studio
        self.save_clip = interpolate.save
        self.runs = RunApi(studio)

    def build(self) -> None:
        """Inside the Blocks."""
        model = self.studio.models()[0].id
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
            images = self.studio.sample(ref, range(first, first + number), psi=psi, noise=noise)
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
            self.studio.delete(prepared.token)
            return str(path), prepared.report.to_dict()

    def _check(self, pictures: list[str], model: str, crop: Any) -> "Prepared":
        source = known_ref(self.studio, model)
        *_, prepared = self.studio.prepare(uploaded(pictures), source, crop=crop or None, visitor="api")
        return prepared  # type: ignore[return-value]  # the last event is the Prepared
