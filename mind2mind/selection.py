"""The pictures of a run that waits for its start: kept in its folder, added to, and some of them left out.

Pictures that are excluded stay on the disk and in the report; `codes.of_run` gives those that are trained
on. The verdict is on those that are left, by the scores of the ones that were looked at.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch

from mind2mind import codes, verdict
from mind2mind.codes import EncodeProgress
from mind2mind.datasets import Pictures
from mind2mind.errors import DataError, RunError
from mind2mind.files import read_json, write_json
from mind2mind.images import grid, save_png
from mind2mind.intake import CHECKED, SHOWN, Encoding, Prepared
from mind2mind.likeness import near_duplicates
from mind2mind.preflight import Rivals, Surveyed
from mind2mind.report import Report
from mind2mind.runs import Run, occupied

Numbers = Mapping[str, Any]  # of a source model's card
Scores = Mapping[str, tuple[float, float]]


def keep(
    run: Run,
    encoding: Iterator[EncodeProgress | Encoding],
    info: Mapping[str, Any],
    pictures: Pictures,
    rivals: Rivals,
) -> Iterator[EncodeProgress | Prepared]:
    """Writes what an encoding of `pictures` ends with into the run's folder; nothing is written before that."""
    for event in encoding:
        if isinstance(event, EncodeProgress):
            yield event
            continue
        surveyed = rivals.scores(pictures, event)
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.hold():
            if occupied(run.folder):  # somebody was quicker
                raise RunError(f"There is already a run in {run.folder}.", "Choose another folder.")
            made = event.codes
            _write(run, event, made, event.report)
            run.create(
                source_id=made.source_id,
                source_hash=made.source_hash,
                surveyed=surveyed,
                others=rivals.better(surveyed, (), event.verdict),
                **_facts(made, event.report, event.judged, (), event.seconds),
                **_words(event.psnr_mean, event.verdict, event.reason),
                **info,
            )
        yield kept(run)


def add(
    run: Run,
    encoding: Iterator[EncodeProgress | Encoding],
    numbers: Numbers,
    pictures: Pictures,
    rivals: Rivals,
) -> Iterator[EncodeProgress | Prepared]:
    """The same for more pictures of a run that is there; `numbers` are those of its source's card.

    Raises:
        RunError: it has been started.
    """
    for event in encoding:
        if isinstance(event, EncodeProgress):
            yield event
            continue
        new = rivals.scores(pictures, event)
        with run.hold():
            info = _waiting(run)
            before = codes.load(run.codes)
            made, report = (
                codes.join(before, event.codes),
                Report(_report(run).verdicts + event.report.verdicts),
            )
            judged = _merged(info.get("judged") or {}, len(before), event)
            surveyed = _surveyed(info.get("surveyed") or {}, new)
            excluded, seconds = info.get("excluded") or [], info.get("encode_seconds") or 0.0
            _write(run, event, made, report)
            run.update(
                surveyed=surveyed,
                **_facts(made, report, judged, excluded, seconds + event.seconds),
                **_judge(judged, surveyed, excluded, numbers, rivals),
            )
        yield kept(run)


def exclude(run: Run, names: Collection[str], numbers: Numbers, rivals: Rivals) -> Prepared:
    """Leaves out the pictures of these names, and no others, from the training.

    Raises:
        DataError: there is no picture of such a name.
        RunError: the run has been started.
    """
    with run.hold():
        info, made = _waiting(run), codes.load(run.codes)
        if unknown := sorted(set(names) - set(made.names)):
            raise DataError(f"There is no picture '{unknown[0]}' in this set.", "Take a name of the report.")
        excluded = [name for name in made.names if name in set(names)]
        counts = _counts(len(made), _report(run), excluded)
        scores, surveyed = info.get("judged") or {}, info.get("surveyed") or {}
        judged = _judge(scores, surveyed, excluded, numbers, rivals)
        run.update(excluded=excluded, counts=counts, **judged)
    return kept(run)


def kept(run: Run) -> Prepared:
    """What was written, read back."""
    info = run.info
    return Prepared(
        run.token,
        run.folder,
        _report(run),
        info["counts"]["used"],
        info["psnr_mean"],
        info["verdict"],
        info.get("verdict_reason", ""),  # from here on: what runs of before do not know
        model=info["model"],
        crop=info.get("crop", "centre"),
        excluded=tuple(info.get("excluded") or ()),
        near=tuple((name, like) for name, like in info.get("near") or ()),
        judged=len(info.get("judged") or ()),
        seconds=float(info.get("encode_seconds") or 0.0),
        others=tuple(info.get("others") or ()),
    )


def _waiting(run: Run) -> dict[str, Any]:
    info = run.info
    if info["state"] != "prepared":
        raise RunError("The run has been started: its pictures stay as they are.", "Begin a new one.")
    return info


def _report(run: Run) -> Report:
    return Report.from_dict(read_json(run.report))


def _write(run: Run, event: Encoding, made: codes.Codes, report: Report) -> None:
    codes.save(run.codes, made)
    write_json(run.report, report.to_dict())
    first = len(list(run.alignment.glob("*.png")))
    for number, couple in enumerate(event.aligned[: SHOWN - first], start=first):
        save_png(grid(couple, columns=1), run.alignment / f"{number}.png")


def _facts(
    made: codes.Codes, report: Report, judged: Scores, excluded: Collection[str], seconds: float
) -> dict[str, Any]:
    pairs = near_duplicates(made.thumbnails)
    return {
        "counts": _counts(len(made), report, excluded),
        "judged": dict(judged),
        "near": [(made.names[copy], made.names[first]) for copy, first in pairs],
        "encode_seconds": seconds,
    }


def _counts(encoded: int, report: Report, excluded: Collection[str]) -> dict[str, int]:
    return {"used": encoded - len(excluded), "excluded": len(excluded), "skipped": len(report.skipped)}


def _merged(before: Scores, count: int, event: Encoding) -> dict[str, tuple[float, float]]:
    """The scores of both, in proportion to the pictures they stand for, at most CHECKED."""
    new = len(event.codes)
    room = max(CHECKED, len(before), len(event.judged))
    share = round(room * count / (count + new))
    old = list(before.items())[: max(share, room - len(event.judged))]
    return dict([*old, *list(event.judged.items())[: room - len(old)]])


def _surveyed(before: Surveyed, new: Surveyed) -> Surveyed:
    """Of both, where a model was tried on both: on one alone it would be judged by half of the set."""
    return {model: before[model] | new[model] for model in before if model in new}


def _judge(
    judged: Scores, surveyed: Surveyed, excluded: Collection[str], numbers: Numbers, rivals: Rivals
) -> dict[str, Any]:
    left = [scores for name, scores in judged.items() if name not in set(excluded)] or list(judged.values())
    if not left:  # a run of before
        return {}
    ratios, values = torch.tensor(left, dtype=torch.float32).T
    found = verdict.judge(values, numbers)
    better = {"others": rivals.better(surveyed, excluded, found.word)}
    return better | _words(ratios.mean().item(), found.word, found.reason)


def _words(psnr_mean: float, word: str, reason: str) -> dict[str, Any]:
    return {"psnr_mean": psnr_mean, "verdict": word, "verdict_reason": reason}  # `reason` is why it ended
