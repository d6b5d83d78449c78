"""What the tab Transfer looks like: four steps below each other, each shown when its turn has come."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from mind2mind.config import BUDGETS, RECIPES
from mind2mind.ui import words
from mind2mind.ui.common import wall
from mind2mind.ui.examples import examples

if TYPE_CHECKING:
    from mind2mind.studio import Studio

SAMPLED = 16


class TransferPage:
    """The components."""

    def __init__(self, studio: "Studio") -> None:
        self.studio = studio
        self.examples = examples(models={m.id for m in studio.models() if m.kind == "source"})

    def crop_of(self, source: str) -> str:
        """How this source's card says that pictures become square."""
        return next((m.crop for m in self.studio.models() if m.id == source), "centre")

    def build(self, visit: gr.BrowserState) -> None:
        """The components; inside a gr.Tab."""
        self.visit = visit
        self._build_pictures()
        self.message = gr.HTML(elem_id="transfer-message")
        with gr.Column(visible=False) as self.check_part:
            self._build_check()
        with gr.Column(visible=False) as self.train_part:
            self._build_train()
        with gr.Column(visible=False) as self.live_part:
            self._build_live()
        with gr.Column(visible=False) as self.result_part:
            self._build_result()

    def _build_pictures(self) -> None:
        sources = [(m.title, m.id) for m in self.studio.models() if m.kind == "source"]
        gr.HTML(
            words.step(
                1, "Your pictures", "20 are a beginning, 200 are good. They should show one kind of thing."
            )
        )
        self.source = gr.Dropdown(
            sources,
            value=sources[0][1],
            label="Source model",
            visible=len(sources) > 1,
            elem_id="transfer-source",
            info="The model that already knows pictures like yours.",
        )
        self.takes = gr.HTML(elem_id="transfer-takes")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self.files = gr.File(
                    file_count="multiple",
                    label="Drop pictures, or one zip",
                    height=150,
                    elem_id="transfer-files",
                )
                self.folder = gr.UploadButton(
                    "Choose a folder …", file_count="directory", elem_id="transfer-folder"
                )
            with gr.Column(scale=1, min_width=280, visible=bool(self.examples)):
                gr.HTML(words.note("Or try an example:"))
                self.sets = gr.Gallery(
                    [(e.collage(), e.title) for e in self.examples],
                    label="Examples",
                    show_label=False,
                    columns=3,
                    allow_preview=False,
                    object_fit="cover",
                    buttons=[],
                    interactive=False,
                    elem_id="transfer-sets",
                    elem_classes="m2m-sets",
                )
                gr.HTML(words.credits(self.examples))
        with gr.Accordion("More", open=False):
            self.crop = gr.Radio(
                [
                    ("the square in the middle", "centre"),
                    ("the whole picture, with bars", "fit"),
                    ("the face, aligned and cropped", "face"),
                ],
                value=self.crop_of(sources[0][1]),
                elem_id="transfer-crop",
                label="Use of each picture",
                info="Holds for the pictures you add from now on.",
            )
            self.earlier = gr.Dropdown([], value=None, label="Your earlier runs", elem_id="transfer-earlier")

    def _build_check(self) -> None:
        gr.HTML(words.step(2, "What the model makes of them"))
        self.summary = gr.HTML(elem_id="transfer-summary")
        self.faces = gr.HTML(elem_id="transfer-faces")
        self.aligned = wall("transfer-aligned", "m2m-pairs")
        self.align = gr.Button("Align and crop the faces", visible=False, elem_id="transfer-align")
        self.added = gr.State(None)  # the title and the paths of the pictures last checked
        gr.HTML(
            words.note(
                "Above your pictures, below what the model can rebuild of them. "
                "New pictures are drawn the same way: they can only be as good as the lower ones."
            )
        )
        self.compared = wall("transfer-compared", "m2m-pairs")
        with gr.Accordion("Every file", open=False):
            self.report = gr.HTML(elem_id="transfer-report")

    def _build_train(self) -> None:
        gr.HTML(words.step(3, "Train"))
        budgets = [(b.help, b.seconds) for b in BUDGETS.values()]
        self.seconds = gr.Radio(budgets, value=budgets[1][1], label="Time", elem_id="transfer-seconds")
        with gr.Accordion("More", open=False):
            recipes = [("ours: faster, keeps the best", "default"), ("the paper's, as published", "paper")]
            self.recipe = gr.Radio([r for r in recipes if r[1] in RECIPES], value="default", label="Recipe")
        self.start = gr.Button("Start", variant="primary", elem_id="transfer-start")

    def _build_live(self) -> None:
        gr.HTML(words.step(3, "Training"))
        self.status = gr.HTML(elem_id="transfer-status")
        self.stop = gr.Button("Stop and keep the work", variant="stop", elem_id="transfer-stop")
        with gr.Row():
            with gr.Column(min_width=280):
                self.losses = gr.HTML(elem_id="transfer-losses")
            with gr.Column(min_width=280):
                self.qualities = gr.HTML(elem_id="transfer-qualities")
                self.quality = gr.HTML(elem_id="transfer-quality")
        gr.HTML(words.note("The same 16 random inputs as training goes on:"))
        self.previews = wall("transfer-previews", "m2m-tiles m2m-small")

    def _build_result(self) -> None:
        gr.HTML(words.step(4, "The result"))
        gr.HTML(
            words.note(
                "Above new pictures, below the nearest of yours. "
                "If each pair looks the same, the model repeats your pictures: add more of them."
            )
        )
        self.samples = wall("transfer-samples", "m2m-pairs")
        with gr.Row():
            self.use = gr.Button(
                "Use it in Sample and Interpolate", variant="primary", elem_id="transfer-use"
            )
            self.download = gr.DownloadButton("Download the model", elem_id="transfer-download")
        with gr.Row():
            self.go_on = gr.Button("Train longer", elem_id="transfer-go-on")
            self.delete = gr.Button(
                "Delete this run and its pictures", variant="stop", elem_id="transfer-delete"
            )

    @property
    def everything(self) -> list[Any]:
        """All that a handler may update."""
        parts = [
            self.visit,
            self.source,
            self.message,
            self.check_part,
            self.train_part,
            self.live_part,
            self.result_part,
        ]
        return [
            *parts,
            self.summary,
            self.crop,
            self.faces,
            self.aligned,
            self.align,
            self.added,
            self.compared,
            self.report,
            self.status,
            self.stop,
            self.losses,
            self.qualities,
            self.quality,
            self.previews,
            self.samples,
            self.use,
            self.download,
            self.go_on,
            self.delete,
            self.earlier,
        ]
