"""No file but an uploaded one.

Gradio also follows a web address in the place of a file: the server would fetch whatever a caller names, however
large. Subclasses of its components would not do: it writes an interface file beside each when it is imported.
"""

import gradio as gr
from gradio import processing_utils


def follow_no_address() -> None:
    """From now on a web address in the place of a file is an error, in all of Gradio."""
    processing_utils.async_ssrf_protected_download = _refuse


async def _refuse(url: str, cache_dir: str) -> str:
    raise gr.Error("This is no uploaded file: web addresses are not followed.", print_exception=False)
