"""Sliders that draw: live with a quick model, with a slow one only when they are let go."""

MOVING, LET_GO, SET_BY_US = "moving", "let go", "set"
LETTING_GO = f"(_, ...all) => ['{LET_GO}', ...all]"  # JavaScript, as `holding` gives


def holding(elem_id: str | None) -> str:
    """JavaScript that puts into a handler's first argument what happens to the slider `elem_id`.

    MOVING while the pointer holds it, SET_BY_US if the focus is elsewhere, else nothing: it was moved by a
    key, or its number was typed.
    """
    return (
        f"(_, ...all) => {{ const box = document.getElementById('{elem_id}');"
        f" const held = box.querySelector('input[type=range]:active') ? '{MOVING}'"
        f" : box.contains(document.activeElement) ? '' : '{SET_BY_US}';"
        " return [held, ...all]; }"
    )


def wanted(held: str | None, live: bool) -> bool:
    """Whether a slider's event is one to draw on: slow models wait until it is let go, others do not."""
    return held not in (SET_BY_US, LET_GO if live else MOVING)
