"""Commands for models: what there is and can be had, and how to have it."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mind2mind.cli.common import Result, Terminal, door
from mind2mind.errors import ConfigError

if TYPE_CHECKING:
    from mind2mind.remote import Remote
    from mind2mind.sources import ModelInfo

TRUE = ("1", "on", "yes", "true")  # as huggingface_hub reads its environment


@door("mind2mind models", "mind2mind models --json")
def models(terminal: Terminal) -> Result:
    """List the models that are here, and those that can be had."""
    from mind2mind.remote import size_text

    studio = terminal.studio()
    here = [_here(info) for info in studio.models()]
    others = [_there(remote) for remote in studio.available()]
    width = max(len(str(row["id"])) for row in [*here, *others, {"id": ""}])

    def line(row: dict[str, Any]) -> str:
        size = f"{row['resolution'] or '':>4} {'px' if row['resolution'] else '  '}"
        return f"{row['id']:<{width}}  {row['kind']:<8}  {size}  {row['knows']}"

    lines = [line(row) for row in here] + [
        f"{line(row)} (not here; {size_text(row['bundle_bytes'])} once it is: {row['command']})"
        for row in others
    ]
    if not here:
        terminal.note("There is no model here. Make one with `mind2mind pretrain`, or download one.")
    return Result({"models": here, "available": others}, lines)


def _here(info: "ModelInfo") -> dict[str, Any]:
    return _facts(info, "channels", "numbers")


def _there(remote: "Remote") -> dict[str, Any]:
    unknown = {"download_bytes": None}  # nowhere published: the server tells when it is asked for the file
    return _facts(remote, "url", "needs", "command") | unknown | {"bundle_bytes": remote.kept_bytes}


def _facts(model: "ModelInfo | Remote", *more: str) -> dict[str, Any]:
    names = ("id", "title", "kind", "resolution", "knows", "licence", "credit", *more)
    return {name: getattr(model, name) for name in names}


def check_online(verb: str) -> None:
    """ConfigError where the environment forbids what the user asks of the Hub."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in TRUE:
        raise ConfigError("HF_HUB_OFFLINE forbids calls to the Hub.", f"Unset it, then {verb}.")


@door(
    "mind2mind download ffhq",
    "mind2mind download owner/name@v1.0",
    "mind2mind download --remove ffhq",
)
def download(
    terminal: Terminal,
    model: Annotated[
        str,
        typer.Argument(
            help="A name from `mind2mind models`, or owner/name[@revision] of a Hugging Face repository.",
            show_default=False,
        ),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Delete it, or what is there of it.")] = False,
    accept_changed: Annotated[
        bool,
        typer.Option("--accept-changed", help="Take a file that differs from the one downloaded before."),
    ] = False,
) -> Result:
    """Fetch a published model and make a bundle of it. Ctrl-C stops; the same command goes on."""
    from mind2mind.downloads import Converting, Downloaded
    from mind2mind.remote import hub_id, size_text

    studio = terminal.studio()
    if remove:
        freed = studio.remove_model(model)
        terminal.note(f"{model} is gone: {size_text(freed)} are free again.")
        return Result({"removed": model, "bytes": freed})
    if hub_id(model):
        check_online("download")
    last: Downloaded | None = None
    with terminal.bar(f"Downloading {model}") as bar:
        for event in studio.download(model, accept_changed=accept_changed):
            if isinstance(event, Downloaded):
                last = event
            elif isinstance(event, Converting):
                bar.show(0, None, "", f"Converting {event.id}")
            else:
                bar.show(event.done, event.total, event.standing, f"Downloading {event.id}")
    assert last is not None  # or there is an exception
    if not last.new:
        terminal.note(f"{last.id} is already here.")
    document = {
        "id": last.id,
        "bundle": last.folder,
        "sha256": last.sha256,
        "commit": last.commit,
        "new": last.new,
    }
    return Result(document, [str(last.folder)])
