"""The command that opens the web app."""

import contextlib
import socket
from typing import Annotated

import typer

from mind2mind.cli.common import STOPPED, Result, Terminal, door
from mind2mind.config import LOCAL, PUBLIC
from mind2mind.errors import ConfigError

HOST, PORT = "127.0.0.1", 7860


@door("mind2mind app", "mind2mind app --port 8000", "mind2mind app --host 0.0.0.0 --public")
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
    from mind2mind.studio import Studio
    from mind2mind.ui import launch, make_demo

    studio = Studio(device=terminal.device, limits=PUBLIC if public else LOCAL)
    demo = make_demo(studio)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    terminal.note(f"The app is at {url} in a moment; Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):  # the way to end it; Gradio itself swallows a later one
        launch(demo, studio, host, port)
    return Result({"url": url, "public": public, "home": studio.home}, code=STOPPED)


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
