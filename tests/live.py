"""The app as users have it: `python app.py` in a process of its own, and a note of whom it calls."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120  # on a cold disk, beside other work

SPY = """
import os, socket
_look_up, _connect = socket.getaddrinfo, socket.socket.connect
def _note(host):
    if str(host) not in ("127.0.0.1", "localhost", "::1", "None", "b'127.0.0.1'"):
        with open(os.environ["SPY_LOG"], "a") as log: log.write(f"{host}\\n")
def getaddrinfo(host, *a, **k): _note(host); return _look_up(host, *a, **k)
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6): _note(address[0])
    return _connect(self, address)
socket.getaddrinfo, socket.socket.connect = getaddrinfo, connect
"""


@dataclass(frozen=True)
class LiveApp:
    url: str
    process: subprocess.Popen
    home: Path
    spied: Path
    log: Path

    def said(self, text: str) -> str:
        """All it has logged, once this is in it."""
        deadline = time.monotonic() + 30
        while text not in (told := self.log.read_text()):
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
        return told

    @property
    def connections(self) -> str:
        """Hosts other than this computer that the app or its worker looked for; empty is right."""
        return self.spied.read_text() if self.spied.exists() else ""


@contextlib.contextmanager
def live_app(
    folder: Path,
    weights: Path | None,
    *arguments: str,
    at: str = "127.0.0.1",
    settings: Mapping[str, str] | None = None,
    inside: Sequence[str] = (),
) -> Iterator[LiveApp]:
    """The app on a free port with a home of its own.

    Args:
        folder: holds all of it.
        weights: None are the bundled ones.
        arguments: of the command.
        at: where it is to be found.
        settings: more of the environment.
        inside: a command that runs it.
    """
    (folder / "spy").mkdir(parents=True)
    (folder / "spy/sitecustomize.py").write_text(SPY)
    home, spied, app_log, port = folder / "home", folder / "spy.log", folder / "app.log", free_port()
    env = os.environ | {"MIND2MIND_HOME": str(home), "SPY_LOG": str(spied)} | (settings or {})
    env["PYTHONPATH"] = os.pathsep.join([str(folder / "spy"), str(ROOT)])
    if weights is not None:
        env["MIND2MIND_WEIGHTS"] = str(weights)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "SPACE_ID"):
        env.pop(name, None)  # the app's own defaults are what is tested
    command = [*inside, sys.executable, "app.py", "--port", str(port), *arguments]
    with app_log.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
    app = LiveApp(f"http://{at}:{port}/", process, home, spied, app_log)
    try:
        _wait(app.url, process, app.log)
        yield app
    finally:
        process.terminate()
        process.wait(20)
        _end_worker(home)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"The app did not start.\n{log.read_text()}")


def _end_worker(home: Path) -> None:
    """The worker outlives the app by design; here nobody would ever ask it again."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if str(home) in (process.info["cmdline"] or []):
            process.terminate()
