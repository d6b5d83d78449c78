"""Commands around the product itself: app (the web app), doctor (whether everything is in place)."""

import contextlib
import logging
import os
import platform
import shutil
import socket
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
from mind2mind.errors import PIP, ConfigError, Mind2MindError

if TYPE_CHECKING:
    from mind2mind.studio import Studio

LITTLE_DISK, LITTLE_MEMORY = 1 << 30, 2 << 30  # bytes
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
OPTIONAL = ("dicebear-core", "dicebear-styles", "resvg_py")  # to draw toon heads
SETTINGS = ("MIND2MIND_HOME", "MIND2MIND_WEIGHTS", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


@command("Around it")
def app(
    host: Annotated[
        str | None,
        Option(help="Where to listen; others may come in if not 127.0.0.1.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[int | None, Option(min=1, max=65535, show_default="the first free from 7860")] = None,
    public: Annotated[bool, Option("--public", help="With the limits for unknown visitors.")] = False,
    device: terminal.Device = "auto",
    json: terminal.Json = False,
    quiet: terminal.Quiet = False,
) -> Result:
    """Open the web app; Ctrl-C ends it, and runs at work go on. `python app.py` is the same.

    Examples:
        app
        app --port 8000
        app --host 0.0.0.0 --public
    """
    host = host or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
    _check_port(host, port or 0)
    if not quiet:
        logging.getLogger("mind2mind").setLevel(logging.INFO)
    from mind2mind.ui import launch

    with contextlib.suppress(KeyboardInterrupt):  # the way to end it; Gradio itself swallows a later one
        launch(host, port, public, device)
    return Result({"host": host, "port": port, "public": public}, code=STOPPED)


def _check_port(host: str, port: int) -> None:
    """Raises ConfigError if nobody can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        problem = f"Nobody can listen on {host}, port {port}: {error.strerror or error}."
        raise ConfigError(problem, "Choose another --port, or end what listens there.") from error


@dataclass(frozen=True)
class Check:
    """What was found of one thing."""

    name: str
    state: Literal["ok", "note", "bad"]
    fact: str
    remedy: str = ""


@command("Around it")
def doctor(
    device: terminal.Device = "auto", json: terminal.Json = False, quiet: terminal.Quiet = False
) -> Result:
    """Check the installation; the exit code is 1 if something must be mended.

    Examples:
        doctor
        doctor --json
    """
    checks: list[Check] = []
    with terminal.bar("Checking"):
        checks += _guarded("packages", _packages)
        checks += _guarded("device and files", lambda: _inside(device))
    bad = any(check.state == "bad" for check in checks)
    width = max(len(check.name) for check in checks)
    lines = [f"{c.state:<4}  {c.name:<{width}}  {' '.join(filter(None, (c.fact, c.remedy)))}" for c in checks]
    return Result({"ok": not bad, "checks": [asdict(check) for check in checks]}, lines, int(bad))


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """A check that itself fails is a finding."""
    try:
        yield from look()
    except Mind2MindError as error:
        yield Check(name, "bad", error.problem, error.fix)
    except Exception as error:
        yield Check(name, "bad", f"{type(error).__name__}: {error}", f"Run: {PIP} -r requirements.txt")


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    needed = [line for line in lines if line]
    for wanted in map(Requirement, [*needed, *OPTIONAL]):
        try:
            version = metadata.version(wanted.name)
            fits = wanted.specifier.contains(version, prereleases=True)
            fact = version if fits else f"{version} is out of range."
        except metadata.PackageNotFoundError:
            version, fact = "", "It is missing."
        if fact == version:
            yield Check(wanted.name, "ok", version)
        elif wanted.name in OPTIONAL:
            yield Check(wanted.name, "note", f"{fact} make-data draws with it.", f'Run: {PIP} -e ".[data]"')
        else:
            yield Check(wanted.name, "bad", fact, f'Run: {PIP} "{wanted}"')


def _inside(device: str) -> Iterator[Check]:
    """What can only be told with torch and the studio at hand."""
    import psutil
    import torch

    studio = terminal.studio(device)
    cuda = studio.device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads"
    yield Check("device", "ok", f"{studio.device} ({name})")
    free = psutil.virtual_memory().available
    yield _room("memory", f"{free / 1e9:.1f} GB free", free > LITTLE_MEMORY, "Close something.")
    yield _home(studio.home)
    shown = studio.models.list()
    if not shown:
        fix = "Copy the folder weights/ beside the package, or set MIND2MIND_WEIGHTS."
        yield Check("models", "bad", f"There is no model in {studio.weights}.", fix)
    for info in shown:
        yield from _guarded(f"model {info.id}", partial(_model, studio, info.id))
    for setting in SETTINGS:
        if setting in os.environ:
            yield Check(setting, "ok", os.environ[setting])


def _room(name: str, fact: str, enough: bool, remedy: str) -> Check:
    return Check(name, "ok", fact) if enough else Check(name, "note", fact, remedy)


def _home(home: Path) -> Check:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"mind2mind")
    except OSError as error:
        fix = "Set MIND2MIND_HOME to a folder that you may write to."
        return Check("home", "bad", f"{home} cannot be written: {error.strerror}.", fix)
    free = shutil.disk_usage(home).free
    return _room("home", f"{home}, {free / 1e9:.1f} GB free", free > LITTLE_DISK, "Make room.")


def _model(studio: "Studio", model_id: str) -> Iterator[Check]:
    """It is loaded, and draws a picture."""
    model = studio.models.load(model_id)
    studio.draw.sample(model_id, [0])
    yield Check(f"model {model_id}", "ok", f"{model.kind}, SHA-256 {model.hash[:16]}, loads and draws")
