"""The curves of a run as inline SVG: no script, no request, one string per update, colours of the theme."""

import html
import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 24, 26
POINTS = 500
COLOURS = ("#6366f1", "#d97706", "#16a34a")

Curve = tuple[str, list[tuple[float, float]]]


def losses(metrics: Sequence[dict[str, Any]], total_steps: int) -> str:
    """The critic's and the generator's loss over the steps."""
    curves = [
        (name, _points(metrics, key))
        for name, key in (("critic", "critic_loss"), ("generator", "generator_loss"))
    ]
    return chart("Losses", "They may go up and down; what counts is the quality.", curves, total_steps)


def qualities(metrics: Sequence[dict[str, Any]], total_steps: int) -> str:
    """The distance to the pictures kept aside, and the floor, over the steps; empty without any."""
    distance = _points(metrics, "quality")
    if not distance:
        return ""
    floor = _points(metrics, "floor")[-1:]
    level = [(0.0, floor[0][1]), (float(max(total_steps, 1)), floor[0][1])] if floor else []
    curves = [("distance to pictures kept aside", distance), ("best possible", level)]
    return chart("Quality", "Lower is better.", curves, total_steps)


def _points(metrics: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    found = [(float(m["step"]), float(m[key])) for m in metrics if m.get(key) is not None]
    finite = [(x, y) for x, y in found if math.isfinite(y)]
    thin = -(-len(finite) // POINTS) or 1
    return finite[::-thin][::-1]  # the newest stays


def chart(title: str, caption: str, curves: Sequence[Curve], total_steps: int) -> str:
    """One figure; the x axis is fixed, so that nothing jumps."""
    low, high = _range([y for _, points in curves for _, y in points])
    x_end = max([total_steps, 1, *(p[0] for _, points in curves for p in points)])

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / x_end
        down = TOP + (HEIGHT - TOP - BOTTOM) * (1 - (min(max(y, low), high) - low) / (high - low))
        return f"{across:.1f},{down:.1f}"

    grid = "".join(
        _level(low + (high - low) * i / 4, TOP + (HEIGHT - TOP - BOTTOM) * (1 - i / 4)) for i in range(5)
    )
    lines = "".join(
        f'<polyline points="{" ".join(place(*p) for p in points)}" fill="none" stroke="{colour}" '
        'stroke-width="1.6"/>'
        for (_, points), colour in zip(curves, COLOURS, strict=False)
    )
    feet = "".join(
        f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) * share:.0f}" y="{HEIGHT - 8}" text-anchor="{anchor}">'
        f"{x_end * share:,.0f}</text>"
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    return (
        f'<figure class="m2m-chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}" font-size="11" fill="currentColor">'
        f"{grid}{feet}{_legend(curves)}{lines}</svg>"
        f"<figcaption>{html.escape(title)}. {html.escape(caption)}</figcaption></figure>"
    )


def _range(values: list[float]) -> tuple[float, float]:
    """From the 2nd to the 98th percentile with a margin: a wild start would flatten the rest."""
    if not values:
        return 0.0, 1.0
    ordered = sorted(values)
    low, high = ordered[int(0.02 * (len(ordered) - 1))], ordered[math.ceil(0.98 * (len(ordered) - 1))]
    margin = 0.08 * (high - low) or abs(high) * 0.1 or 0.5
    return low - margin, high + margin


def _level(value: float, y: float) -> str:
    ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
    line = f'<line {ends} stroke="currentColor" opacity="0.15"/>'
    return f'{line}<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'


def _legend(curves: Sequence[Curve]) -> str:
    parts, x = [], LEFT
    for (name, _), colour in zip(curves, COLOURS, strict=False):
        parts.append(f'<rect x="{x}" y="6" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 19}" y="12">{html.escape(name)}</text>')
        x += 34 + 6 * len(name)
    return "".join(parts)
