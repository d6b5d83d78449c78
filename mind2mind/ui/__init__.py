"""The web app. The only folder that imports gradio, and not before its environment is set."""

import contextlib
import importlib.util
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Iterator

from mind2mind.errors import PIP, ConfigError

log = logging.getLogger(__name__)


def launch(
    host: str = "127.0.0.1",
    port: int | None = None,
    public: bool = False,
    device: str = "auto",
    root_path: str = "",
    mcp: bool = False,
) -> None:
    """Opens the app and serves it until the process ends.

    Args:
        host: the address to listen on; anything but loopback is open to others, which is warned of.
        port: 1 to 65535; None takes the first free one from 7860 on.
        public: with the limits for visitors who do not know each other; on Spaces they always hold.
        device: auto, cpu, cuda ...
        root_path: the path under which a proxy forwards to the app (`/mind2mind`), or the whole address.
        mcp: assistants can use the API by the Model Context Protocol, too.

    Raises:
        ConfigError: nobody can listen there, there is no such device, or the package mcp is missing.
        WeightsError: there is no model.
    """
    if mcp and not importlib.util.find_spec("mcp"):
        raise ConfigError("The package mcp is missing.", f'Run: {PIP} "gradio[mcp]"')
    host = host.strip("[]")
    if not _is_loopback(host, port or 0):
        log.warning("The app listens on %s: everybody who reaches this computer may use it.", host)
        if not public:
            log.warning("Without --public there are no limits for visitors.")
    if root_path and not root_path.startswith(("http://", "https://")):
        root_path = f"/{root_path.strip('/')}"
    with contextlib.ExitStack() as running:
        with _for_itself():
            from mind2mind.ui.page import served

            public = public or "SPACE_ID" in os.environ
            studio = running.enter_context(served(host, port, public, device, root_path, mcp))
        try:
            studio.models.check_network()
        except ConfigError as error:
            log.warning("%s The app does without them, but cannot download.", error)
        while True:
            time.sleep(1)  # until a signal


@contextlib.contextmanager
def _for_itself() -> Iterator[None]:
    """Within the block Gradio is left alone: no proxy is between it and itself, nor what is set for other apps of it.

    It asks whether it is there, and both when it does and when it is imported an odd proxy would be an error.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # what counts of them are options of ours
    before = {name: os.environ.pop(name, None) for name in ("no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}  # nothing calls home
    os.environ["MPLBACKEND"] = "agg"  # Gradio asks for it at each event: no window system is looked for
    os.environ["no_proxy"] = "*"
    try:
        yield
    finally:
        del os.environ["no_proxy"]
        os.environ |= {name: value for name, value in before.items() if value is not None}


def _is_loopback(host: str, port: int) -> bool:
    """Whether nobody but this computer reaches the address.

    Raises:
        ConfigError: nobody can listen there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        socket.create_server(found[0][4], family=found[0][0]).close()
    except (OSError, ValueError, OverflowError) as error:  # no name, such as one that is too long
        problem = f"Nobody can listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}."
        raise ConfigError(problem, "Choose another --host or --port, or end what listens there.") from error
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
