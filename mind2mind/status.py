"""Where a run stands, told to anybody who holds its token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mind2mind.runs import Run

METRICS_SHOWN = 500  # points of a curve; more cannot be seen


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One look at a run."""

    token: str
    title: str
    state: str  # one of runs.STATES
    step: int
    total_steps: int  # 0 until the budget has become a number of steps
    seconds: float  # of training so far
    seconds_left: float | None
    metrics: list[dict[str, Any]]  # the fields of transfer.Progress, oldest first, at most METRICS_SHOWN
    preview_step: int | None  # the newest
    preview_steps: list[int]
    error: str | None  # problem and advice
    place_in_queue: int | None  # 1 is next
    reason: str | None  # why it ended
    quality: float | None
    floor: float | None
    usable: bool  # there is a bundle to sample from
    recipe: str = ""  # its name, with what was changed in it; empty before the start
    log: str = ""  # the end of its log.txt, if it failed


def status_of(run: Run, waiting: Sequence[Run] = ()) -> RunStatus:
    """Where a run stands; `waiting` is its queue, in order."""
    state, info = run.state, run.info
    metrics, previews = run.metrics(), run.preview_steps()
    last = metrics[-1] if metrics else {}
    told, total, seconds = last.get("step", 0), info.get("steps") or 0, last.get("seconds", 0.0)
    running = state in ("running", "stopping") and told and total
    tokens = [other.token for other in waiting]
    thin = -(-len(metrics) // METRICS_SHOWN) or 1
    error = " ".join(part for part in (info.get("error"), info.get("advice")) if part)
    return RunStatus(
        token=run.token,
        title=info.get("title", ""),
        state=state,
        step=max(told, info.get("reached") or 0),
        total_steps=total,
        seconds=seconds,
        seconds_left=seconds / told * (total - told) if running else None,
        metrics=metrics[::-thin][::-1],  # the newest stays
        preview_step=previews[-1] if previews else None,
        preview_steps=previews,
        error=error or None,
        place_in_queue=tokens.index(run.token) + 1 if state == "queued" and run.token in tokens else None,
        reason=info.get("reason"),
        quality=info.get("quality", last.get("quality")),
        floor=info.get("floor", last.get("floor")),
        usable=run.has_model,
        recipe=(info.get("recipe") or {}).get("name", ""),
        log=run.log_tail() if state == "failed" else "",
    )
