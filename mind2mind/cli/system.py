"""The command that looks whether everything is in place."""

import contextlib
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mind2mind.cli.terminal import STOPPED, Result, Terminal, door
from mind2mind.errors import ConfigError, Mind2MindError

if TYPE_CHECKING:
    from mind2mind.studio import Studio

# --- The command that opens the web app.

HOST, PORT = "127.0.0.1", 7860


@door("app", "app --port 8000", "app --host 0.0.0.0 --public")
def app(
    terminal: Terminal,
    host: Annotated[str, typer.Option(help="Where to listen; anything but loopback lets others in.")] = HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = PORT,
    public: Annotated[
        bool, typer.Option("--public", help="The limits for visitors who do not know each other.")
    ] = False,
) -> Result:
    """Open the web app; Ctrl-C ends it, and runs at work go on."""
    _check_port(host, port)
    from mind2mind.ui import launch

    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    terminal.note(f"The app is at {url} in a moment; Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):  # the way to end it; Gradio itself swallows a later one
        launch(host, port, public, terminal.device)
    return Result({"url": url, "public": public}, code=STOPPED)


def _check_port(host: str, port: int) -> None:
    """Raises ConfigError if nobody can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise ConfigError(
            f"Nobody can listen on {host}, port {port}: {error.strerror or error}.",
            "Choose another --port, or end what listens there.",
        ) from error


LITTLE_DISK, LITTLE_MEMORY = 1 << 30, 2 << 30  # bytes
OPTIONAL = {
    "dicebear-core": "to draw toon heads (make-data)",
    "dicebear-styles": "to draw toon heads (make-data)",
    "resvg_py": "to draw toon heads (make-data)",
}
SETTINGS = ("MIND2MIND_HOME", "MIND2MIND_WEIGHTS", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Check:
    """What was found of one thing."""

    name: str
    state: Literal["ok", "note", "bad"]
    fact: str
    remedy: str = ""


@door("doctor", "doctor --json")
def doctor(terminal: Terminal) -> Result:
    """Check the installation; the exit code is 1 if something must be mended."""
    checks: list[Check] = []
    with terminal.bar("Checking"):
        checks += _guarded("python", _python)
        checks += _guarded("packages", _packages)
        checks += _guarded("device and files", lambda: _inside(terminal))
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
        fix = "Install the requirements again: pip install -r requirements.txt"
        yield Check(name, "bad", f"{type(error).__name__}: {error}", fix)


def _python() -> Iterator[Check]:
    fine = sys.version_info >= (3, 10)
    fact = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check("python", "ok" if fine else "bad", fact, "" if fine else "Use Python 3.10 or later.")


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    for text in _required():
        wanted = Requirement(text)
        version = _version(wanted.name)
        if version is None:
            yield Check(wanted.name, "bad", "It is missing.", f'Run: pip install "{wanted}"')
        elif not wanted.specifier.contains(version, prereleases=True):
            yield Check(wanted.name, "bad", f"{version} is out of range.", f'Run: pip install "{wanted}"')
        else:
            yield Check(wanted.name, "ok", version)
    for name, use in OPTIONAL.items():
        version = _version(name)
        missing = Check(name, "note", f"Not installed; needed {use}.", 'Run: pip install ".[data]"')
        yield missing if version is None else Check(name, "ok", version)


def _required() -> list[str]:
    """What the package asks for: by its checkout's requirements.txt, or as it was installed."""
    listed = Path(__file__).resolve().parents[2] / "requirements.txt"
    if listed.is_file():
        lines = (line.partition("#")[0].strip() for line in listed.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line]
    try:
        return [text for text in metadata.requires("mind2mind") or [] if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _inside(terminal: Terminal) -> Iterator[Check]:
    """What can only be told with torch and the studio at hand."""
    import torch

    studio = terminal.studio()
    name = (
        torch.cuda.get_device_name() if studio.device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    yield Check("device", "ok", f"{studio.device} ({name})")
    yield _memory()
    yield from _guarded("home", lambda: _home(studio.home))
    yield from _models(studio)
    for setting in SETTINGS:
        if setting in os.environ:
            yield Check(setting, "ok", os.environ[setting])


def _memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available
    fact = f"{free / 1e9:.1f} GB free"
    return (
        Check("memory", "ok", fact)
        if free > LITTLE_MEMORY
        else Check("memory", "note", fact, "Close something.")
    )


def _home(home: Path) -> Iterator[Check]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"mind2mind")
    except OSError as error:
        fix = "Set MIND2MIND_HOME to a folder that you may write to."
        yield Check("home", "bad", f"{home} cannot be written: {error.strerror}.", fix)
        return
    free = shutil.disk_usage(home).free
    fact = f"{home}, {free / 1e9:.1f} GB free"
    yield Check("home", "ok", fact) if free > LITTLE_DISK else Check("home", "note", fact, "Make room.")


def _models(studio: "Studio") -> Iterator[Check]:
    """Every bundle of the catalogue's folders is loaded, and draws a picture."""
    folders = [path.parent for shelf in studio.models.shelves for path in sorted(shelf.glob("*/config.json"))]
    if not folders:
        fix = "Copy the folder weights/ beside the package, or set MIND2MIND_WEIGHTS."
        yield Check("models", "bad", f"There is no model in {studio.weights}.", fix)
    for folder in folders:
        yield from _guarded(f"model {folder.name}", lambda folder=folder: _model(studio, folder))  # type: ignore[misc]


def _model(studio: "Studio", folder: Path) -> Iterator[Check]:
    model = studio.models.load(str(folder))
    studio.draw.sample(str(folder), [0])
    yield Check(f"model {folder.name}", "ok", f"{model.kind}, SHA-256 {model.hash[:16]}, loads and draws")
