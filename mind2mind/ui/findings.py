"""What the app says of a set of pictures before any training: small, escaped pieces of HTML."""

import html
from typing import TYPE_CHECKING

from mind2mind.config import BUDGETS, Limits
from mind2mind.preflight import ways_out
from mind2mind.report import advice
from mind2mind.ui.words import boxed, brief, clock, note, plural

if TYPE_CHECKING:
    from mind2mind.intake import Prepared


def limits(most: Limits) -> str:
    """What may be uploaded, before it is."""
    return note(
        f"At most {most.files:,} pictures, each at most {most.file_bytes / 1e6:,.0f} MB and "
        f"{most.pixels / 1e6:,.0f} megapixels, all together {most.total_bytes / 1e6:,.0f} MB. What you add counts "
        "with what is there."
    )


def checked(prepared: "Prepared") -> str:
    """What came out of the check, before any training."""
    report, count, verdict = prepared.report, prepared.count, prepared.verdict
    skipped, excluded = len(report.skipped), len(prepared.excluded)
    reasons = "; ".join(
        f"{number} x {reason.rstrip('.')}" for reason, number in report.reasons().most_common()
    )
    hope = advice(count)
    if not count and excluded:
        hope = "All pictures are left out: take some in again under All pictures."
    psnr = prepared.psnr_mean
    rebuilt = f"What the model can rebuild of them: {verdict}"
    rebuilt += f" ({psnr:.1f} dB; more is better)." if psnr == psnr else "."
    judged = f"Judged by {plural(prepared.judged, 'picture')} of them." if prepared.judged else ""
    kind = "poor" if verdict not in ("good", "usable") and not verdict.startswith("unknown") else "good"
    kind = "fair" if kind == "good" and (count < 50 or verdict == "usable") else kind
    title = f"{plural(count, 'picture')} can be used" + (f", {skipped} cannot" if skipped else "")
    title += f", {excluded} left out" if excluded else ""
    return boxed(kind, title, f"{reasons}." if reasons else "", hope, rebuilt, prepared.reason, judged)


def ways(prepared: "Prepared") -> str:
    """What to do if another model, or none, knows such pictures."""
    found = ways_out(prepared)
    return boxed("fair", "What you can do", *found) if found else ""


def costs(prepared: "Prepared", pace: float | None) -> str:
    """What reading took, and what a budget buys; `pace` in steps a second."""
    read = f"Reading them took {brief(prepared.seconds)}." if prepared.seconds else ""
    if not pace:
        return note(read)
    bought = ", ".join(f"{clock(b.seconds)} are about {pace * b.seconds:,.0f}" for b in BUDGETS.values())
    return note(f"{read} Training makes about {pace:,.0f} steps a second here: {bought} steps.")


def cropped(crop: str) -> str:
    """Above the pictures before and after the crop."""
    kept = {"fit": "the whole picture, with bars", "centre": "the square in the middle"}.get(crop, "the face")
    return note(f"Above your pictures as they are, below what the model gets: {kept}. Change it under More.")


def sizes(counts: dict[str, int]) -> str:
    """A bar for each range of sizes."""
    if not counts:
        return ""
    most = max(counts.values())
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)} px</th><td><div class="m2m-count" '
        f'style="width:{100 * count / most:.0f}%"></div></td><td>{count:,}</td></tr>'
        for name, count in counts.items()
    )
    return f'<table class="m2m-sizes"><caption>The shorter side of your pictures</caption>{rows}</table>'


def near(prepared: "Prepared") -> str:
    """How many near duplicates there are; they are only proposed."""
    left = [name for name, _ in prepared.near if name not in prepared.excluded]
    if not left:
        return ""
    return boxed(
        "fair",
        plural(len(left), "near duplicate"),
        "These look like others of your pictures: saved again, made smaller, or hardly changed. They are in "
        "the set until you leave them out: of each pair below the lower one.",
    )


def picking(prepared: "Prepared") -> str:
    """Above the thumbnails."""
    left = f" {plural(len(prepared.excluded), 'picture')} left out." if prepared.excluded else ""
    return note(f"Click a picture to leave it out of the training, and again to take it in.{left}")
