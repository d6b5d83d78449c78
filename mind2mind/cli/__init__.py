"""The command line: `commands`, a typer app, to which each module here adds the commands that it defines.

Here are those around the product itself: app (the web app), doctor (whether everything is in place).
"""

import contextlib  # noqa: I001
import logging
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mind2mind.cli import pictures, runs, models, terminal  # noqa: F401 - in the order of the help
from mind2mind.cli.terminal import STOPPED, Result, command, commands
from mind2mind.config import size_text
from mind2mind.errors import PIP, ConfigError, FaultError, in_words

if TYPE_CHECKING:
    from mind2mind.studio import Studio

__all__ = ["commands"]

HERE, LISTEN = "127.0.0.1", "Where to listen; others may come in if not 127.0.0.1 or ::1."
LITTLE_DISK, LITTLE_MEMORY = 1 << 30, 2 << 30  # bytes
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
OPTIONAL = ("dicebear-core", "dicebear-styles", "resvg_py", "robohash")  # to draw heads and cats
SETTINGS = ("MIND2MIND_HOME", "MIND2MIND_WEIGHTS", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


@command("Around it")
def app(
    host: Annotated[str | None, Option(envvar="GRADIO_SERVER_NAME", help=LISTEN, show_default=HERE)] = None,
    port: Annotated[
        int | None, Option(envvar="GRADIO_SERVER_PORT", min=1, max=65535, show_default="first free from 7860")
    ] = None,
    public: Annotated[bool, Option("--public", help="With the limits for unknown visitors.")] = False,
    root_path: Annotated[str, Option(envvar="GRADIO_ROOT_PATH", help="Where a proxy shows it: /faces.")] = "",
    mcp: Annotated[bool, Option("--mcp", envvar="GRADIO_MCP_SERVER", help="For assistants, by MCP.")] = False,
) -> Result:
    """Open the web app; Ctrl-C ends it, and runs at work go on. `python app.py` is the same.

    Examples:
        app
        app --port 8000
        app --host 0.0.0.0 --public
        app --mcp
    """
    host = host or ("0.0.0.0" if "SPACE_ID" in os.environ else HERE)
    if not terminal.options.quiet:
        logging.getLogger("mind2mind").setLevel(logging.INFO)
    from mind2mind.ui import launch

    with contextlib.suppress(KeyboardInterrupt):  # the way to end it; Gradio itself swallows a later one
        launch(host, port, public, terminal.options.device, root_path, mcp)
    return Result({"host": host, "port": port, "public": public, "mcp": mcp}, code=STOPPED)


@command("Around it")
def doctor() -> Result:
    """Check the installation; the exit code is 1 if something must be mended.

    Examples:
        doctor
        doctor --json
    """
    checks = []
    with terminal.bar("Checking"):
        for name, find, otherwise in _looks():
            try:
                check = {"state": "ok", "fact": find(), "remedy": ""}
            except Exception as error:
                told = in_words(error)
                fix = f"Run: {PIP} -r requirements.txt" if isinstance(told, FaultError) else told.fix
                check = {"state": otherwise, "fact": told.problem, "remedy": fix}
            checks.append({"name": name, **check})
    bad = any(check["state"] == "bad" for check in checks)
    width = max(len(check["name"]) for check in checks)
    lines = [f"{c['state']:<4}  {c['name']:<{width}}  {c['fact']} {c['remedy']}".rstrip() for c in checks]
    return Result({"ok": not bad, "checks": checks}, lines, int(bad))


def _looks() -> Iterator[tuple[str, Callable[[], str], str]]:
    """Each thing's name, what gives the fact or raises what is wrong, and what it is then: bad or a note."""
    yield "python", lambda: f"{platform.python_version()} on {platform.system()} {platform.machine()}", "bad"
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    for line in [*filter(None, lines), *OPTIONAL]:
        yield re.split(r"[^\w.-]", line)[0], partial(_package, line), "note" if line in OPTIONAL else "bad"
    yield "device", _device, "bad"
    try:
        import psutil

        studio = terminal.studio()
    except Exception:
        return  # told of above
    memory, home = psutil.virtual_memory().available, studio.home
    yield "memory", partial(_room, memory, LITTLE_MEMORY, "Close something."), "note"
    yield "home", partial(_home, home), "bad"
    yield "disk", lambda: _room(shutil.disk_usage(home).free, LITTLE_DISK, "Make room."), "note"
    yield "models", partial(_models, studio), "bad"
    for model_id in studio.models.ids:
        yield f"model {model_id}", partial(_model, studio, model_id), "bad"
    yield "network", studio.models.check_network, "note"
    for setting in filter(os.environ.get, SETTINGS):
        yield setting, partial(os.environ.__getitem__, setting), "bad"


def _package(line: str) -> str:
    """Its version, which satisfies this line of requirements.txt."""
    from packaging.requirements import Requirement

    wanted, fix = Requirement(line), f'Run: {PIP} "{line}"'
    if line in OPTIONAL:
        fix = f'make-data draws with it. Run: {PIP} -e ".[data]"'
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError as error:
        raise ConfigError("It is missing.", fix) from error
    if not wanted.specifier.contains(version, prereleases=True):
        raise ConfigError(f"{version} is out of range.", fix)
    return version


def _device() -> str:
    import torch

    device = terminal.studio().device
    cuda = device.type == "cuda"
    return f"{device} ({torch.cuda.get_device_name() if cuda else f'{torch.get_num_threads()} threads'})"


def _room(free: int, little: int, fix: str) -> str:
    fact = f"{size_text(free)} free"
    if free < little:
        raise ConfigError(fact, fix)
    return fact


def _home(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=home).close()
    return str(home)


def _models(studio: "Studio") -> str:
    if not studio.models.ids:
        fix = "Copy the folder weights/ beside the package, or set MIND2MIND_WEIGHTS."
        raise ConfigError(f"There is no model in {studio.weights}.", fix)
    return f"{len(studio.models.ids)} here"


def _model(studio: "Studio", model_id: str) -> str:
    """It is loaded, and draws a picture."""
    model = studio.models.load(model_id)
    studio.draw.sample(model_id, [0])
    return f"{model.card.kind}, SHA-256 {model.hash[:16]}, loads and draws"
