"""Mind2Mind: a folder of pictures becomes a generator of new ones (arXiv 1906.11613).

`Studio` is the facade: pictures and seeds in, pictures and events out. It is loaded when first asked for,
so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

from mind2mind.errors import Mind2MindError

if TYPE_CHECKING:
    from mind2mind.studio import Studio

__version__ = "0.1.0"
__all__ = ["Mind2MindError", "Studio", "__version__"]


def __getattr__(name: str) -> Any:
    if name != "Studio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mind2mind.studio import Studio

    return Studio
