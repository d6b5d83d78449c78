"""A run on the terminal: shown while it goes on, stopped by Ctrl-C, and what is said of its end."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mind2mind.cli.common import STOPPED, Result, Terminal, stop_on_ctrl_c
from mind2mind.errors import Mind2MindError

if TYPE_CHECKING:
    from mind2mind.status import RunStatus
    from mind2mind.studio import Studio

FAULT = "fault of the program"  # how the worker marks a failure that no user can mend


def follow(
    terminal: Terminal,
    studio: "Studio",
    token: str,
    out: Path,
    told_of: Mapping[str, Any],
    begin: Callable[[], object],
) -> Result:
    """Sets a run going with `begin` and shows it until its end; Ctrl-C stops it and waits for the save.

    Another Ctrl-C does not wait; the run is asked to stop all the same.

    Args:
        out: the run's folder.
        told_of: what was already said of its pictures, for the document.
    """
    with stop_on_ctrl_c(terminal) as stop, terminal.bar("Training") as bar:
        try:
            begin()
            sent = False
            for status in studio.attach(token, every=0.2):
                if stop() and not sent:
                    studio.stop(token)
                    sent = True
                bar.show(status.step, status.total_steps or None, _standing(status))
        except KeyboardInterrupt:
            with stop_on_ctrl_c(replace(terminal, quiet=True)), contextlib.suppress(Mind2MindError):
                studio.stop(token)
            terminal.note(f"The run saves its work and stops. {_go_on_hint(out)}")
            raise
    return ended(terminal, status, out, told_of)


def ended(terminal: Terminal, status: "RunStatus", out: Path, told_of: Mapping[str, Any]) -> Result:
    """What there is to say of a run that is no longer at work."""
    from mind2mind.cards import PREVIEW
    from mind2mind.runs import LOG

    bundle = out / "bundle"
    document: dict[str, Any] = {
        "run": out,
        "state": status.state,
        "step": status.step,
        "steps": status.total_steps,
        "seconds": status.seconds,
        "quality": status.quality,
        "floor": status.floor,
        "reason": status.reason,
        "samples": bundle / PREVIEW if status.usable else None,
        "bundle": bundle if status.usable else None,
        **told_of,
    }
    lines = [str(document["samples"]), str(bundle)] if status.usable else []
    if status.state == "done":
        terminal.note(status.reason or "Done.")
        return Result(document, lines)
    if status.state == "failed":
        print(f"error: {status.error}", file=sys.stderr)
        document["error"] = {"problem": status.error, "fix": f"{out / LOG} tells more."}
        return Result(document, lines, 1 if FAULT in (status.error or "") else 2)
    if status.state == "interrupted":
        problem = f"The training's process ended at step {status.step}, before its time."
        print(f"error: {problem}\n{_go_on_hint(out)}", file=sys.stderr)
        document["error"] = {"problem": problem, "fix": _go_on_hint(out)}
        return Result(document, lines, 1)
    terminal.note(f"The run is {status.state} and kept. {_go_on_hint(out)}")
    return Result(document, lines, STOPPED)


def _go_on_hint(out: Path) -> str:
    return f"Go on with: mind2mind transfer --resume --out {out}"


def _standing(status: "RunStatus") -> str:
    """Where a run stands, in some words."""
    if status.state == "queued":
        return "waiting for its turn"
    parts = [f"step {status.step} of {status.total_steps}"] if status.total_steps else [status.state]
    if status.seconds_left is not None:
        parts.append(f"{status.seconds_left:.0f} s left")
    if status.quality is not None:
        floor = "" if status.floor is None else f" (best possible {status.floor:.3f})"
        parts.append(f"quality {status.quality:.3f}{floor}")
    return ", ".join(parts)
