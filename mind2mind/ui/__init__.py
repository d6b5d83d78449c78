"""The web app. The only folder that imports gradio, and not before its environment is set."""

import os

HOST = "127.0.0.1"


def launch(host: str = HOST, port: int | None = None, public: bool = False, device: str = "auto") -> None:
    """Opens the app and serves it until the process ends.

    Args:
        host: the address to listen on; anything but loopback is open to others, which is warned of.
        port: 0 to 65535; None takes the first free one from 7860 on.
        public: with the limits for visitors who do not know each other; on Spaces they always hold.
        device: auto, cpu, cuda ...

    Raises:
        ConfigError: the port is taken, or there is no such device.
        WeightsError: there is no model.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nothing calls home
    from mind2mind.ui.page import serve

    serve(host, port, public or "SPACE_ID" in os.environ, device)
