"""The curves of a run as tables for `gr.LinePlot`, which redraws in place: twice a second it never went blank.

Each loss is there as measured, pale, and smoothed, bold.
"""

from collections.abc import Sequence
from typing import Any

import gradio as gr
import pandas as pd

POINTS = 500
WINDOW = 0.05  # share of a curve that a point of the smoothed one is the mean of, half of it on each side
EDGE = 0.02  # share of the values at each end that is cut off: a wild start would flatten the rest
LOSSES_SAID = "Losses and the critic's gap: they may go up and down; what counts is the quality."
QUALITY_SAID = "Quality: lower is better."
LOSSES = {
    "critic_loss": ("critic", "#6366f1"),
    "generator_loss": ("generator", "#d97706"),
    "gap": ("critic's gap", "#16a34a"),
}
DISTANCE, FLOOR = "new pictures", "best possible"
COLUMNS = ("step", "value", "curve")
_RAW = " as measured"


def losses_plot(elem_id: str) -> gr.LinePlot:
    """Where `losses` are shown."""
    colours = {name + _RAW: colour + "50" for name, colour in LOSSES.values()} | dict(LOSSES.values())
    return _plot(elem_id, colours, [name for name, _ in LOSSES.values()])


def qualities_plot(elem_id: str) -> gr.LinePlot:
    """Where `qualities` are shown."""
    colours = {DISTANCE: "#6366f1", FLOOR: "#16a34a"}
    return _plot(elem_id, colours, list(colours))


def _plot(elem_id: str, colours: dict[str, str], legend: list[str]) -> gr.LinePlot:
    return gr.LinePlot(
        x="step",
        y="value",
        color="curve",
        y_title=" ",
        color_title=" ",
        x_label_angle=-45,  # or the steps of a long run lie on each other
        color_map=colours,
        colors_in_legend=legend,
        height=260,
        buttons=[],
        elem_id=elem_id,
    )


def losses(metrics: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The critic's and the generator's loss and the gap over the steps."""
    raw, smooth = [], []
    for key, (name, _) in LOSSES.items():
        curve = _curve(metrics, key, name + _RAW)
        low, high = curve["value"].quantile(EDGE), curve["value"].quantile(1 - EDGE)
        curve["value"] = curve["value"].clip(low, high)
        mean = curve["value"].rolling(1 + 2 * int(len(curve) * WINDOW / 2), center=True, min_periods=1).mean()
        raw.append(curve)
        smooth.append(curve.assign(value=mean, curve=name))
    return pd.concat([*raw, *smooth], ignore_index=True)


def qualities(metrics: Sequence[dict[str, Any]], total_steps: int) -> pd.DataFrame:
    """The distance to the pictures kept aside, and the floor, over the steps; empty without any."""
    distance, floor = _curve(metrics, "quality", DISTANCE), _curve(metrics, "floor", FLOOR)[-1:]
    level = [floor.assign(step=step) for step in (0, max(total_steps, 1))] if len(distance) else []
    return pd.concat([distance, *level], ignore_index=True)


def _curve(metrics: Sequence[dict[str, Any]], key: str, name: str) -> pd.DataFrame:
    """At most POINTS rows; the newest stays."""
    found = [(m["step"], m[key], name) for m in metrics if m.get(key) is not None]
    curve = pd.DataFrame(found, columns=list(COLUMNS)).astype({"step": float, "value": float})
    curve = curve[curve["value"].abs() < float("inf")]
    thin = -(-len(curve) // POINTS) or 1
    return curve.iloc[::-thin].iloc[::-1].reset_index(drop=True)
