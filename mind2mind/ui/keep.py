"""Taking a result along: the model, everything in one zip, the command that repeats it, the Hugging Face Hub."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import gradio as gr

from mind2mind.cards import slug, usage
from mind2mind.outcome import Outcome
from mind2mind.publish import PROMISE
from mind2mind.remote import size_text
from mind2mind.ui import result_words as say
from mind2mind.ui import words
from mind2mind.ui.common import MODEL_WORK, PRIVATE, told
from mind2mind.ui.made import OnDemand, once
from mind2mind.ui.steps import Steps, Updates
from mind2mind.ui.visit import Visit
from mind2mind.ui.zerogpu import gpu


def hub_login() -> bool:
    """Whether visitors can sign in with their own account of the Hugging Face Hub: on a Space that allows it."""
    needed = ("authlib", "itsdangerous")  # of Gradio's extra `oauth`, which Spaces install
    asked = all(name in os.environ for name in ("SPACE_ID", "OAUTH_CLIENT_ID"))
    return asked and all(importlib.util.find_spec(name) for name in needed)


class Keep:
    """The components and their handlers."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.studio = steps, steps.studio
        self.pack = gpu(self.studio.everything)
        self.hub = hub_login()

    def build(self) -> None:
        """Below the samples."""
        with gr.Row():
            self.download = gr.DownloadButton("Download the model", elem_id="transfer-download")
            self.everything = OnDemand("Download everything", "transfer-pack")
        with gr.Accordion("Use it in Python, or make it again", open=False):
            self.python = gr.Textbox(
                label="In Python, beside the unzipped folder of the model", interactive=False, lines=2,
                buttons=["copy"], elem_id="transfer-python",
            )  # fmt: skip
            self.command = gr.Textbox(
                label="The command that repeats this run, with the same pictures", interactive=False, lines=2,
                buttons=["copy"], elem_id="transfer-command",
            )  # fmt: skip
        if self.hub:
            with gr.Accordion("Send it to the Hugging Face Hub", open=False):
                self._build_hub()

    def _build_hub(self) -> None:
        gr.HTML(words.note(PROMISE))
        gr.LoginButton(elem_id="transfer-login")
        with gr.Row():
            self.name = gr.Textbox(
                label="Name of the new repository", max_lines=1, elem_id="transfer-hub-name"
            )
            self.private = gr.Checkbox(True, label="Private: only you see it", elem_id="transfer-hub-private")
        self.look = gr.Button("Show me the card first", elem_id="transfer-hub-look")
        self.card = gr.Textbox(
            label="Its card",
            lines=16,
            max_lines=30,
            interactive=False,
            visible=False,
            elem_id="transfer-hub-card",
        )
        self.send = gr.Button("Send it", variant="primary", visible=False, elem_id="transfer-hub-send")
        self.sent = gr.HTML(elem_id="transfer-hub-sent")

    @property
    def outputs(self) -> list[Any]:
        """What `shown` may update."""
        hub = [self.name, self.card, self.send, self.sent] if self.hub else []
        return [self.download, self.everything.file, self.python, self.command, *hub]

    def wire(self) -> None:
        """The events."""
        visit = self.steps.visit
        self.everything.wire(self.packed, visit, **MODEL_WORK)
        if self.hub:
            self.look.click(self.card_of, [visit, self.name], [self.card, self.send, self.sent], **PRIVATE)
            sending = [visit, self.name, self.private]
            self.send.click(
                self.publish, sending, [self.send, self.sent], show_progress_on=self.send, **PRIVATE
            )

    def bundle(self, token: str) -> str:
        """The model as a zip: one file for a run as it stands, however often the page is opened."""
        path = once(f"{slug(self.studio.status(token).title)}.zip", token, self._version(token))
        return str(path if path.exists() else self.studio.export(token, path))

    def _version(self, token: str) -> str:
        folder = self.studio.library.locate(token)[0]
        return "-".join(str(file.stat().st_mtime_ns) for file in sorted(folder.iterdir()))

    def shown(self, found: Outcome, bundle: str) -> Updates:
        """What belongs to this result."""
        name = slug(found.status.title)
        updates = {
            self.download: gr.DownloadButton(value=bundle, visible=True),
            self.everything.file: gr.DownloadButton(visible=False),
            self.python: f"import mind2mind\n{usage(name)}",
            self.command: found.command,
        }
        if self.hub:
            hidden = {
                self.card: gr.Textbox(visible=False),
                self.send: gr.Button(visible=False),
                self.sent: "",
            }
            updates |= {self.name: name, **hidden}
        return updates

    def packed(self, stored: Any) -> Any:
        """Everything of the run in one zip, made when it is asked for."""
        with told():
            token = Visit.of(stored).needed_token
            name = slug(self.studio.status(token).title)
            path = once(f"{name}-everything.zip", token, self._version(token))
            path = path if path.exists() else self.pack(token, path)
            size = size_text(Path(path).stat().st_size)
            return gr.DownloadButton(f"Save the zip ({size})", value=str(path), visible=True)

    # The Hub, with the visitor's own login

    def card_of(self, stored: Any, name: str, profile: gr.OAuthProfile | None) -> tuple[Any, Any, str]:
        """The card as it will be there, and the button that sends it."""
        with told():
            text = self.studio.card_for(Visit.of(stored).needed_token, _repository(name, profile))
            return gr.Textbox(text, visible=True), gr.Button(visible=True), ""

    def publish(
        self,
        stored: Any,
        name: str,
        private: bool,
        profile: gr.OAuthProfile | None,
        token: gr.OAuthToken | None,
    ) -> tuple[Any, str]:
        """Makes the repository; the visitor's token is used for this call and kept nowhere."""
        with told():
            repository = _repository(name, profile)
            if token is None:
                raise gr.Error("Sign in first.", print_exception=False)
            url = self.studio.publish(
                Visit.of(stored).needed_token, repository, token.token, private=private is not False
            )
            return gr.Button(visible=False), say.sent(url, private is not False)


def _repository(name: str, profile: gr.OAuthProfile | None) -> str:
    if profile is None:
        raise gr.Error("Sign in first.", print_exception=False)
    name = str(name).strip()
    return name if "/" in name else f"{profile.username}/{name}"
