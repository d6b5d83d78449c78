"""Commands around the product itself: app (the web app), doctor (whether everything is in place)."""

import contextlib
import logging
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from mind2mind.cli import terminal
from mind2mind.cli.terminal import STOPPED, Result, command
from mind2mind.config import size_text
from mind2mind.errors import PIP, ConfigError, Mind2MindError, in_words

if TYPE_CHECKING:
    from mind2mind.studio import Studio

HERE, LISTEN = "127.0.0.1", "Where to listen; others may come in if not 127.0.0.1 or ::1."
LITTLE_DISK, LITTLE_MEMORY = 1 << 30, 2 << 30  # bytes
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
OPTIONAL = ("dicebear-core", "dicebear-styles", "resvg_py")  # to draw toon heads
SETTINGS = ("MIND2MIND_HOME", "MIND2MIND_WEIGHTS", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


@command("Around it")
def app(
    host: Annotated[str | None, Option(envvar="GRADIO_SERVER_NAME", help=LISTEN, show_default=HERE)] = None,
    port: Annotated[
        int | None, Option(envvar="GRADIO_SERVER_PORT", min=1, max=65535, show_default="first free from 7860")
    ] = None,
    public: Annotated[bool, Option("--public", help="With the limits for unknown visitors.")] = False,
    root_path: Annotated[
        str, Option(envvar="GRADIO_ROOT_PATH", help="Where a proxy shows it: /mind2mind.")
    ] = "",
    mcp: Annotated[
        bool, Option("--mcp", envvar="GRADIO_MCP_SERVER", help="Assistants may use it, by MCP.")
    ] = False,
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


@dataclass(frozen=True)
class Check:
    """What was found of one thing."""

    name: str
    state: Literal["ok", "note", "bad"]
    fact: str
    remedy: str = ""


@command("Around it")
def doctor() -> Result:
    """Check the installation; the exit code is 1 if something must be mended.

    Examples:
        doctor
        doctor --json
    """
    with terminal.bar("Checking"):
        checks = list(_checks())
    bad = any(check.state == "bad" for check in checks)
    width = max(len(check.name) for check in checks)
    lines = [f"{c.state:<4}  {c.name:<{width}}  {c.fact} {c.remedy}".rstrip() for c in checks]
    return Result({"ok": not bad, "checks": [asdict(check) for check in checks]}, lines, int(bad))


def _checks() -> Iterator[Check]:
    """Everything that is looked at, and where there is a device what needs one."""
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    for line in [*filter(None, lines), *OPTIONAL]:
        otherwise: Literal["note", "bad"] = "note" if line in OPTIONAL else "bad"
        yield _look(re.split(r"[^\w.-]", line)[0], partial(_package, line), otherwise)
    device = _look("device", _device)
    yield device
    if device.state == "bad":
        return
    import psutil

    studio = terminal.studio()
    yield _room("memory", psutil.virtual_memory().available, LITTLE_MEMORY, "Close something.")
    home = _look("home", partial(_home, studio.home))
    yield home
    if home.state == "ok":
        yield _room("disk", shutil.disk_usage(studio.home).free, LITTLE_DISK, "Make room.")
    if not studio.models.ids:
        fix = "Copy the folder weights/ beside the package, or set MIND2MIND_WEIGHTS."
        yield Check("models", "bad", f"There is no model in {studio.weights}.", fix)
    for model_id in studio.models.ids:
        yield _look(f"model {model_id}", partial(_model, studio, model_id))
    yield _look("network", studio.models.check_network, "note")
    for setting in SETTINGS:
        if setting in os.environ:
            yield Check(setting, "ok", os.environ[setting])


def _look(name: str, find: Callable[[], str], otherwise: Literal["note", "bad"] = "bad") -> Check:
    """The fact that `find` gives; what it raises is what is wrong."""
    try:
        return Check(name, "ok", find())
    except (Mind2MindError, OSError) as error:
        told = in_words(error)
        return Check(name, otherwise, told.problem, told.fix)
    except Exception as error:
        return Check(name, otherwise, f"{type(error).__name__}: {error}", f"Run: {PIP} -r requirements.txt")


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


def _room(name: str, free: int, little: int, fix: str) -> Check:
    enough = free >= little
    return Check(name, "ok" if enough else "note", f"{size_text(free)} free", "" if enough else fix)


def _device() -> str:
    import torch

    device = terminal.studio().device
    cuda = device.type == "cuda"
    return f"{device} ({torch.cuda.get_device_name() if cuda else f'{torch.get_num_threads()} threads'})"


def _home(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=home).close()
    return str(home)


def _model(studio: "Studio", model_id: str) -> str:
    """It is loaded, and draws a picture."""
    model = studio.models.load(model_id)
    studio.draw.sample(model_id, [0])
    return f"{model.kind}, SHA-256 {model.hash[:16]}, loads and draws"
