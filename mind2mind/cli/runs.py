"""Commands around runs: transfer (a set of pictures becomes a generator), runs (the app's list), result, publish."""

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from mind2mind.cli import terminal
from mind2mind.cli.pictures import last_of, told
from mind2mind.cli.terminal import STOPPED, Result, command
from mind2mind.config import (
    BUDGETS,
    DEFAULT,
    PAPER,
    RECIPES,
    SETTINGS,
    Setting,
    as_text,
    changed,
    shortfall,
    size_text,
)
from mind2mind.errors import COMMAND, ConfigError, Mind2MindError, RunError, one_of

if TYPE_CHECKING:
    from mind2mind.judge.evaluate import Nearness
    from mind2mind.runs.findings import Prepared
    from mind2mind.runs.run import RunStatus
    from mind2mind.studio import Studio

SECONDS = str(BUDGETS["Standard"].seconds)
EVERY = 0.2  # seconds between two looks at a run
NEAR_TOLD = 10  # near duplicates that are named


def option_of(setting: Setting) -> Parameter:
    """The option of a recipe's setting: its range, and what the recipes have when it is not given."""
    text = setting.kind is tuple
    option = Option(
        min=None if text else setting.least,
        max=None if text else setting.most,
        metavar="NUMBERS" if text else None,
        help=setting.explained if text else setting.help,
        show_default="; ".join(f"{r.name} {as_text(getattr(r, setting.name))}" for r in RECIPES.values()),
        rich_help_panel="Advanced",
    )
    kind = Annotated[(str if text else setting.kind) | None, option]  # type: ignore[valid-type]
    return Parameter(setting.name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind)


@command("Training", more=[option_of(setting) for setting in SETTINGS.values()])
def transfer(
    out: Annotated[Path, Option(help="The folder of the run.")],
    pictures: Annotated[list[Path] | None, terminal.PICTURES] = None,
    model: Annotated[str | None, Option("--model", "-m", help="The source: as `sample` takes it.")] = None,
    seconds: Annotated[
        float | None, Option(min=1, help="Of training alone; few pictures end sooner.", show_default=SECONDS)
    ] = None,
    steps: Annotated[int | None, Option(min=1, help="Instead of seconds; with --resume, steps more.")] = None,
    recipe: Annotated[str | None, Option(help=" or ".join(RECIPES), show_default=DEFAULT.name)] = None,
    seed: Annotated[int | None, Option(min=0, help="Of the training.", show_default="0")] = None,
    crop: terminal.Crop = None,
    without: Annotated[list[str] | None, Option(metavar="NAME", help="Leave it out; repeatable.")] = None,
    without_near: Annotated[bool, Option("--without-near-duplicates", help="Leave those out.")] = False,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out.")] = False,
    **settings: Any,
) -> Result:
    """Make a generator of a set of pictures. Ctrl-C stops, keeps the work, and --resume goes on.

    --device is for the encoding; the training runs on one CPU core, in a process of its own.

    Examples:
        transfer photos/ --model toon128 --out my-run
        transfer a.zip b.png --model toon128 --out my-run --seconds 30 --seed 1
        transfer photos/ --model toon128 --out my-run --jitter 0.1 --batch-size 64
        transfer --resume --out my-run
        sample --model my-run --count 16
    """
    chosen = changed(RECIPES[one_of("recipe", recipe or DEFAULT.name, RECIPES)], settings)
    if seconds is not None and steps is not None:
        raise ConfigError("Both --seconds and --steps are given.", "Give one of them.")
    studio = terminal.studio()
    start = partial(studio.runs.start, recipe=chosen, seconds=seconds, steps=steps, seed=seed or 0)
    if resume:
        token = str(out.absolute())
        try:
            info = studio.runs.find(token).info
        except RunError as error:
            raise RunError(f"There is no run in {out}.", "Leave --resume out to begin one.") from error
        # What is given, and what the run has: no other value would have an effect
        decided: dict[str, tuple[Any, Any]] = {
            "PICTURES": (pictures or None, None),
            "--model": (model and studio.models.source_ref(model), info.model),
            "--crop": (crop, info.crop),
            "--without": (without or None, None),
            "--without-near-duplicates": (without_near or None, None),
        }
        new = info.state == "prepared"  # it was stopped before its training began
        if not new:
            named = chosen.name if recipe or any(v is not None for v in settings.values()) else None
            own = info.recipe and info.recipe.name
            decided |= {"--seconds": (seconds, None), "--seed": (seed, info.seed), "--recipe": (named, own)}
        if other := [name for name, (given, had) in decided.items() if given not in (None, had)]:
            problem = f"The run in {out} goes on as it began, not with other {', '.join(other)}."
            raise ConfigError(problem, f"{_go_on_hint(out)} (with --steps: so many more)")
        with terminal.stop_on_signal() as stop:
            start(token) if new else studio.runs.resume(token, extra_steps=steps or 0)
            return follow(studio, token, out, {}, stop)
    if not pictures or model is None:
        raise ConfigError("There are no pictures, or no --model.", "Give both, or --resume.")
    title = out.resolve().name
    prepared = last_of(studio.runs.prepare(pictures, model, crop=crop, folder=out, title=title))
    with terminal.stop_on_signal() as stop:
        try:
            names = [*(without or []), *(name for name, _ in prepared.near if without_near)]
            if names:
                prepared = studio.runs.exclude(prepared.token, names)
            told_of = told(prepared.report, prepared) | _told_before(prepared)
            if steps is None and chosen.base == PAPER.name:
                made = (seconds or BUDGETS["Standard"].seconds) * studio.runs.pace(prepared.token, chosen)
                terminal.note(shortfall(chosen, made) or "The time is enough for the recipe.")
            start(prepared.token)
        except Mind2MindError:  # a run that cannot begin must not block the next try in the same folder
            studio.runs.delete(prepared.token)
            raise
        return follow(studio, prepared.token, out, told_of, stop)


def follow(
    studio: "Studio", token: str, out: Path, told_of: Mapping[str, Any], stop: Callable[[], bool]
) -> Result:
    """Shows a run until its end; when `stop` says so it is stopped, and its save is waited for.

    Another Ctrl-C does not wait; the run is asked to stop all the same.

    Args:
        out: the run's folder.
        told_of: what was already said of its pictures, for the document.
    """
    with terminal.bar("Training") as show:
        try:
            while (status := studio.runs.status(token)).state.alive:
                if stop():
                    studio.runs.stop(token)
                show(completed=status.step, total=status.total_steps or None, note=_standing(status))
                time.sleep(EVERY)
        except KeyboardInterrupt:
            with terminal.answering(lambda *_: None), contextlib.suppress(Mind2MindError):
                studio.runs.stop(token)
            terminal.note(f"The run saves its work and stops. {_go_on_hint(out)}")
            raise
    return ended(status, out, told_of)


def _standing(status: "RunStatus") -> str:
    """Where a run stands, in some words."""
    if status.state == "queued":
        return "waiting for its turn"
    parts = [f"step {status.step} of {status.total_steps}"] if status.total_steps else [str(status.state)]
    if status.seconds_left is not None:
        parts.append(f"{status.seconds_left:.0f} s left")
    if status.distance is not None:
        parts.append(f"distance {status.distance:.3f}")
    return ", ".join(parts)


def ended(status: "RunStatus", out: Path, told_of: Mapping[str, Any]) -> Result:
    """What there is to say of a run that is no longer at work."""
    from mind2mind.training.transfer import Ending

    bundle = out / "bundle"
    document: dict[str, Any] = {
        "run": out,
        "steps": status.total_steps,
        **status.facts("state", "step", "seconds", "distance", "floor", "reason"),
        "samples": bundle / "preview.png" if status.usable else None,
        "bundle": bundle if status.usable else None,
        **told_of,
    }
    lines = [document["samples"], bundle] if status.usable else []
    match status.state:
        case "done":
            terminal.note(Ending.explained(status.info.reason) or "Done.")
            code = 0
        case "failed":
            document |= terminal.told_error(status.error or "", f"{out / 'log.txt'} tells more.")
            code = 1 if status.info.fault else 2
        case "interrupted":
            problem = f"The training's process ended at step {status.step}, before its time."
            document |= terminal.told_error(problem, _go_on_hint(out))
            code = 1
        case _:
            terminal.note(f"The run is {status.state} and kept. {_go_on_hint(out)}")
            code = STOPPED
    return Result(document, lines, code)


def _go_on_hint(out: Path) -> str:
    return f"Go on with: {COMMAND} transfer --resume --out {shlex.quote(str(out))}"


def _told_before(prepared: "Prepared") -> dict[str, Any]:
    """Says what else is known before a training: pictures left out, near duplicates, better models."""
    left = [(name, like) for name, like in prepared.near if name not in prepared.excluded]
    if prepared.excluded:
        terminal.note(f"Left out: {', '.join(prepared.excluded)}.")
    if left:
        terminal.note(f"{len(left)} near duplicates; --without-near-duplicates leaves them out:")
    for name, like in left[:NEAR_TOLD]:
        terminal.note(f"  {name} is like {like}")
    ways = prepared.ways_out
    for way in ways:
        terminal.note(way)
    return {
        "excluded": list(prepared.excluded),
        "near_duplicates": [{"name": name, "like": like} for name, like in left],
        "better_models": [other.id for other in prepared.others],
        "advice_on_model": ways,
    }


@command("Results")
def runs(
    rename: Annotated[str | None, Option(metavar="TOKEN", help="Give this run a --title.")] = None,
    title: Annotated[str | None, Option(help="The new title of the run and its model.")] = None,
    stop: Annotated[str | None, Option(metavar="TOKEN", help="Stop this run; its work is kept.")] = None,
    delete: Annotated[str | None, Option(metavar="TOKEN", help="Delete this run with all it has.")] = None,
) -> Result:
    """List the app's runs on this computer; rename, stop or delete one.

    A run that `transfer` made is a folder of yours, which stands for its token.

    Examples:
        runs
        runs --rename TOKEN --title Ducks
        runs --stop my-run
        runs --delete TOKEN
    """
    studio = terminal.studio()
    if rename is not None and title is not None:
        studio.runs.rename(rename, title)
    elif rename is not None or title is not None:
        raise ConfigError("--rename and --title go together.", "Give both.")
    if stop is not None:
        studio.runs.stop(stop)
        terminal.note(f"{stop} is {studio.runs.status(stop).state}.")
    if delete is not None:
        studio.runs.delete(delete)
        terminal.note(f"{delete} is deleted.")
    rows, lines = [], []
    for run in studio.runs.list():
        info = run.info
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.created))
        told = run.facts("token", "title", "state", "model", "pictures", "bytes")
        rows.append(told | {"created": created})
        size = size_text(info.bytes)
        lines.append(f"{run.token}  {created}  {run.state:<11}  {info.model}  {size:>7}  {info.title}")
    if not rows:
        terminal.note("The app has no runs here.")
    return Result({"runs": rows}, lines)


@command("Results")
def result(
    run: Annotated[str, Argument(help="A run's folder, or its token in the app.")],
    out: Annotated[Path | None, Option(help="A zip for model, samples, film, codes, settings.")] = None,
    film: Annotated[Path | None, Option(help="A clip of samples as it trained: MP4, WebP, GIF.")] = None,
    keep: Annotated[
        str | None, Option(metavar="STEP", help="First make this step its model, or the last.")
    ] = None,
) -> Result:
    """Say how good, how varied and how original the result of a run is, and how to make it again.

    With --keep its model becomes that of one of the steps that it has a preview of; --keep last undoes that.

    Examples:
        result my-run
        result my-run --out everything.zip
        result my-run --film training.mp4
        result my-run --keep 450
    """
    studio = terminal.studio()
    if keep is not None:
        if not keep.isdecimal() and keep != "last":
            raise ConfigError(f"{keep!r} is no step.", "Give a whole number, or: last.")
        studio.runs.keep(run, None if keep == "last" else int(keep))
    found = studio.runs.result(run)
    filmed = studio.runs.film(run, film) if film else None
    packed = studio.runs.pack(run, out) if out else None
    document = found.status.facts("title", "state", "kept", "preview_steps", "worth")
    document |= {"command": found.command, "film": filmed, "everything": packed}
    return Result(document, [*found.status.told, f"Again: {found.command}", *filter(None, (filmed, packed))])


@command("Results")
def evaluate(
    real: Annotated[Path | None, Argument(help="A folder or zip of real pictures.")] = None,
    generated: Annotated[Path | None, Argument(help="One of new pictures.")] = None,
    run: Annotated[str | None, Option(help="Instead: a run, beside the pictures it learnt from.")] = None,
    fid: Annotated[bool, Option("--fid", help="FID and KID too, by Inception.")] = False,
    weights: Annotated[Path | None, Option(help="torch-fidelity's Inception, else downloaded.")] = None,
) -> Result:
    """Measure how near new pictures come to real ones, in spaces that no model here was trained in.

    Precision is the share of new pictures among the real ones, recall that of real ones among the new. Coverage is
    the share of real ones with a new one beside them. 1-NN is how often the nearest neighbour tells the two apart:
    0.5 is perfect. Energy and kernel are distances: 0 is perfect.

    Examples:
        evaluate photos/ samples/
        evaluate photos/ samples/ --fid
        evaluate --run my-run
    """
    from mind2mind.data.dataset import Reading
    from mind2mind.judge import evaluate as measured

    if run is not None:
        if real or generated or fid or weights:
            raise ConfigError("--run brings its own pictures.", "Give --run alone.")
        numbers = terminal.studio().runs.numbers(run)
        terminal.note(f"{numbers.samples} new pictures, {numbers.pictures} that the run learnt from.")
        document = asdict(numbers)
        lines = [
            *_table(numbers.spaces),
            f"rebuilt\t{numbers.rebuilt:.1f} dB: no transfer comes nearer to the pictures",
            f"source\tenergy {numbers.before:.4f} from the pictures' codes, before it learnt them",
        ]
        return Result(document, lines)
    if real is None or generated is None:
        raise ConfigError("There are not two folders, and no --run.", "Give both folders, or --run.")
    found: Any = None
    with terminal.bar("Reading") as show:
        for found in measured.evaluate([real], [generated], fid=fid or weights is not None, weights=weights):
            if isinstance(found, Reading):
                show(completed=found.done, total=found.total)
    assert isinstance(found, measured.Evaluation)
    counts = {}
    for name, report in (("real", found.real), ("new", found.new)):
        counts[name] = {"pictures": len(report.used), "skipped": dict(report.reasons())}
        terminal.note(f"{name}: {len(report.used)} different pictures")
        for reason, number in report.reasons().items():
            terminal.note(f"  {number} x {reason}")
    lines = _table({"independent": found.independent, "pixels": found.pixels})
    if found.inception:
        lines += [f"{name}\t{value:.4f}" for name, value in found.inception.items()]
        fewest = min(len(found.real.used), len(found.new.used))
        if fewest < measured.FEW_FOR_FID:
            terminal.note(
                f"FID of {fewest} pictures is too high, by how much depends on their number: compare it at equal "
                f"numbers alone, or give {measured.FEW_FOR_FID:,} of each."
            )
    spaces = {name: asdict(getattr(found, name)) for name in ("independent", "pixels")}
    return Result(counts | spaces | {"inception": found.inception}, lines)


def _table(spaces: Mapping[str, "Nearness"]) -> list[str]:
    """A line of names, and one of numbers for each space."""
    rows = [["space", *next(iter(spaces.values())).named]]
    for space, found in spaces.items():
        rows.append([space, *("" if value is None else f"{value:.3f}" for value in found.named.values())])
    return ["".join(f"{cell:<13}" for cell in row).rstrip() for row in rows]


@command("Results")
def publish(
    model: Annotated[str, Argument(help="A transfer: a run or a bundle.")],
    repository: Annotated[str, Argument(help="owner/name of a new repository on the Hub.")],
    public: Annotated[bool, Option("--public", help="Everybody sees it; otherwise only you.")] = False,
    show: Annotated[bool, Option("--show", help="Only print the card that would be sent.")] = False,
) -> Result:
    """Send a model to the Hugging Face Hub, with the login of `hf auth login`. Your pictures stay here.

    Examples:
        publish my-run me/ducks
        publish my-run me/ducks --public
    """
    studio = terminal.studio()
    card = studio.models.card_for(model, repository)
    if show:
        return Result({"card": card}, [card])
    url = studio.models.publish(model, repository, private=not public)
    return Result({"url": url, "private": not public}, [url])
