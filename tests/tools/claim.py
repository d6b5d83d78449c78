"""How much sooner Mind2Mind arrives than the same networks trained on pixels: the figures of README's "The claim".

`python tests/tools/claim.py run WAY TARGET OTHERS --source toon64` trains one way on the folder TARGET and writes the
curve of its quality over the CPU seconds of one thread, encoding included, as JSON. It is judged by the folder
OTHERS: pictures of the same kind that nobody trained on. `python tests/tools/claim.py draw` makes figures and table.

All ways compose the same networks: generator G(g(z)), critic c(E(x)), and the same loss (WGAN-GP with drift).

- scratch: all four begin at random, and learn on pixels.
- finetune: E, G and g begin as the source's, and learn on pixels.
- frozen: as finetune, but E and G stay as they are: so g and c learn on codes, encoded once.
- mind2mind: as the product does it: frozen, with the energy term and jitter, drawn as the app draws.
"""

import argparse
import copy
import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mind2mind.config import DEFAULT, batch_of, mixed
from mind2mind.data.codes import of_pixels
from mind2mind.data.dataset import Pictures
from mind2mind.data.images import from_uint8, to_uint8
from mind2mind.judge.evaluate import features, nearness, principal_pixels
from mind2mind.judge.metrics import energy_distance, standardisation
from mind2mind.models.bundle import Model
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import MindGAN, Perceptron, draw_z
from mind2mind.studio import Studio
from mind2mind.training.autoencoder import adam
from mind2mind.training.transfer import Learner

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
CURVES, FIGURES = Path(__file__).with_name("claim"), ROOT / "assets"
LOSSES = replace(DEFAULT, name="wgan-gp", energy=0.0, jitter=0.0, decay_share=0.0, steps_per_picture=0)
OURS = replace(DEFAULT, decay_share=0.0)  # any moment of the curve is then one at which the training may end
BATCH, RATE, BETAS = 32, 1.5e-3, (0.0, 0.99)  # of E and G on pixels: ALAE's own at 64 px (config.Growth)
LOOKS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 2700)  # CPU seconds
SAMPLES = 500  # and others that they are judged by
PICTURES = 200  # of the trainings that are compared
COUNTED = "aliens"  # the target that is learnt from more and fewer pictures, too
THRESHOLD_AT, SLACK = 30, 1.1  # what the frozen way has after so many seconds, times this, is to be reached
MEASURE = "kernel"  # in the independent space: what "quality" is
WAYS = ("scratch", "finetune", "frozen", "mind2mind")


class Pixels:
    """G(g(z)) and c(E(x)) in training on uint8 pictures (N, C, H, W)."""

    enough = math.inf  # steps

    def __init__(
        self, source: Model, pictures: Tensor, seed: int, *, scratch: bool, rate: float = RATE
    ) -> None:
        self.pictures, self.seed, self.step, self.rate, mind = pictures, seed, 0, rate, source.mind
        self.z_dim, *widths, _ = mind.sizes
        a = source.alae.architecture
        sizes = replace(
            LOSSES.sizes(a.latent_size),
            z_dim=self.z_dim,
            generator_widths=tuple(widths),
            mapping=mind.mapping,
        )
        gan = MindGAN.untrained(sizes, seed)
        self.g, self.c = gan.generator, gan.critic
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.alae = ALAE(a)  # a copy of the source's would lack `lr_coef`, by which the steps are scaled
        self.mean, self.std = torch.zeros(a.latent_size), torch.ones(a.latent_size)
        if not scratch:
            self.alae.load_state_dict(source.alae.state_dict(), strict=False)
            self.g.load_state_dict(mind.state_dict())
            self.mean, self.std = standardisation(of_pixels(self.alae, pictures))
        self.optimisers = {
            "fake": self._adam(self.alae.decoder, self.g),
            "real": self._adam(self.alae.encoder, self.c),
        }
        self.drawn = (copy.deepcopy(self.g), copy.deepcopy(self.alae.decoder))  # averages

    def _adam(self, pixels: nn.Module, codes: Perceptron) -> torch.optim.Adam:
        optimiser = adam(pixels.requires_grad_().parameters(), BETAS)
        for group in optimiser.param_groups:
            group["lr"] = self.rate * group["lr_coef"]
        own = {"params": [*codes.parameters()], "lr": LOSSES.learning_rate, "betas": LOSSES.betas}
        optimiser.add_param_group(own)
        return optimiser

    def _critic(self, x: Tensor) -> Tensor:
        c: Tensor = self.c((self.alae.encode(x) - self.mean) / self.std)
        return c

    def _fake(self, z: Tensor) -> Tensor:
        return self.alae.decode(self.alae.styles(self.g(z)))

    def advance(self) -> None:
        """One step of the critic and one of the generator, as `Learner.advance` makes them of codes."""
        draw = torch.Generator().manual_seed(mixed(self.seed, self.step))
        real = from_uint8(self.pictures[torch.randint(len(self.pictures), (BATCH,), generator=draw)])
        t = torch.rand(
            BATCH, 1, 1, 1, generator=draw
        ).requires_grad_()  # so that what is between has a gradient
        z_critic, z_generator = draw_z(2 * BATCH, self.z_dim, draw).chunk(2)
        with torch.no_grad():
            fake = self._fake(z_critic)
        between = t * real + (1 - t) * fake
        (gradient,) = torch.autograd.grad(self._critic(between).sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        c_real, c_fake = self._critic(real), self._critic(fake)
        loss = c_fake.mean() - c_real.mean()
        loss = loss + LOSSES.gradient_penalty * penalty + LOSSES.epsilon_penalty * c_real.square().mean()
        self._step("real", loss)
        self._step("fake", -self._critic(self._fake(z_generator)).mean())
        self.step += 1
        keep = min(0.5 ** (1 / LOSSES.ema_half_life), self.step / (self.step + 10))
        for average, now in zip(self.drawn, (self.g, self.alae.decoder), strict=True):
            pairs = ([*net.parameters()] for net in (average, now))
            torch._foreach_lerp_(*([p.detach() for p in each] for each in pairs), 1 - keep)

    def _step(self, name: str, loss: Tensor) -> None:
        self.optimisers["fake"].zero_grad()
        self.optimisers["real"].zero_grad()
        loss.backward()
        self.optimisers[name].step()

    @torch.no_grad()
    def pictures_of(self, z: Tensor) -> Tensor:
        """uint8 (N, C, H, W)."""
        g, decoder = self.drawn
        return decoded(self.alae, decoder, g(z))


class OnCodes:
    """g and c in training on codes, encoded once."""

    def __init__(self, source: Model, pictures: Tensor, seed: int, *, ours: bool) -> None:
        codes = of_pixels(source.alae, pictures)
        self.learner = Learner(codes, OURS if ours else LOSSES, 10**9, seed, mind=source.mind)
        self.source = source.within_span(codes) if ours else replace(source, refinements=0)
        self.z_dim, self.enough = self.learner.gan.sizes.z_dim, self.learner.recipe.enough(len(codes))

    @property
    def step(self) -> int:
        return self.learner.step

    def advance(self) -> None:
        self.learner.advance()

    @torch.no_grad()
    def pictures_of(self, z: Tensor) -> Tensor:
        """uint8 (N, C, H, W)."""
        alae = self.source.alae
        return decoded(alae, alae.decoder, self.source.refined(self.learner.generator()(z)))


@torch.no_grad()
def decoded(alae: ALAE, decoder: nn.Module, w: Tensor) -> Tensor:
    """The pictures of codes (N, latent_size) by this decoder of the ALAE, uint8 (N, C, H, W)."""
    batches = w.split(batch_of(alae.architecture.resolution))
    return torch.cat([to_uint8(decoder(alae.styles(some))) for some in batches])


class Judge(NamedTuple):
    """Judges pictures, uint8 (N, C, H, W), by others of their kind."""

    source: Model
    others: Tensor
    features: Tensor
    codes: Tensor

    @classmethod
    def of(cls, source: Model, others: Tensor) -> "Judge":
        return cls(source, others, features(others), of_pixels(source.alae, others))

    def __call__(self, pictures: Tensor) -> dict[str, Any]:
        return {
            "independent": asdict(nearness(self.features, features(pictures), kernel=True)),
            "pixels": asdict(nearness(*principal_pixels(self.others, pictures))),
            "codes": {"energy": energy_distance(of_pixels(self.source.alae, pictures), self.codes)},
        }


def read(folder: Path, source: Model, most: int | None = None) -> Tensor:
    """The pictures of a folder as the source sees them, uint8 (N, C, H, W)."""
    a = source.alae.architecture
    pictures = Pictures([folder], resolution=a.resolution, channels=a.image_channels)
    found = [picture.pixels for picture in pictures]
    return torch.stack(found[:most])


def curve(
    begin: Callable[[], Pixels | OnCodes], judge: Judge, seconds: float, stop_at: float
) -> Iterator[dict[str, Any]]:
    """Trains for so many CPU seconds, judging not counted; twice in a row below `stop_at`, or `enough`, ends it."""
    begun = time.process_time()
    way, good = begin(), 0
    used = time.process_time() - begun
    z = draw_z(SAMPLES, way.z_dim, torch.Generator().manual_seed(1))
    for look in (0.0, *(s for s in LOOKS if s <= seconds)):
        while used < look and way.step < way.enough:
            begun = time.process_time()
            way.advance()
            used += time.process_time() - begun
        pictures = way.pictures_of(z)
        row = {"seconds": round(used, 2), "steps": way.step} | judge(pictures)
        yield row | {"pictures": pictures[:16]}
        good = good + 1 if row["independent"][MEASURE] < stop_at else 0
        if good == 2 or way.step >= way.enough:
            return


def operations(source: Model, pictures: Tensor) -> dict[str, float]:
    """Millions of multiplications and additions that a step of g and c takes, for each picture of the batch."""
    told = {}
    for name, way, batch in (
        ("pixels", Pixels(source, pictures, 0, scratch=False), BATCH),
        ("codes", OnCodes(source, pictures, 0, ours=False), LOSSES.batch_size),
    ):
        with FlopCounterMode(display=False) as counter:
            way.advance()
        told[name] = counter.get_total_flops() / batch / 1e6
    return told


def run(options: argparse.Namespace) -> None:
    """Trains one way and keeps its curve after each look."""
    source = Studio().models.source(options.source)
    target = read(options.target, source, options.count)
    judge = Judge.of(source, read(options.others, source, SAMPLES))
    ways: dict[str, Callable[[], Pixels | OnCodes]] = {
        "scratch": lambda: Pixels(source, target, options.seed, scratch=True, rate=options.rate),
        "finetune": lambda: Pixels(source, target, options.seed, scratch=False, rate=options.rate),
        "frozen": lambda: OnCodes(source, target, options.seed, ours=False),
        "mind2mind": lambda: OnCodes(source, target, options.seed, ours=True),
    }
    told: dict[str, Any] = {
        "way": options.way, "source": options.source, "target": options.target.name, "pictures": len(target),
        "seed": options.seed, "limit": options.seconds, "rate": options.rate,
        "operations": operations(source, target), "curve": [],
        "ceiling": judge(decoded(source.alae, source.alae.decoder, judge.codes)),
    }  # fmt: skip
    name = f"{options.target.name}-{len(target)}-{options.way}-{options.seed}"
    if options.rate != RATE:
        name += f"-{options.rate:g}"
    CURVES.mkdir(exist_ok=True)
    for row in curve(ways[options.way], judge, options.seconds, options.stop_at):
        shown = row.pop("pictures")
        told["curve"].append(row)
        (CURVES / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
        if options.grids:
            torch.save(shown, options.grids / f"{name}-{row['seconds']:07.1f}.pt")
        log.warning("%s %.0f s, %d steps: %s %.4f, coverage %.2f", name, row["seconds"], row["steps"], MEASURE,
                    row["independent"][MEASURE], row["independent"]["coverage"])  # fmt: skip


def curves(pictures: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """What was kept, by target, of trainings on so many pictures, or on any number."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(CURVES.glob("*.json")):
        told = json.loads(path.read_text())
        if pictures in (None, told["pictures"]):
            found.setdefault(told["target"], []).append(told)
    return found


def reached(curve: Sequence[dict[str, Any]], threshold: float) -> float | None:
    """CPU seconds after which the quality is at the threshold or better, and stays so at the next look."""
    good = [row["independent"][MEASURE] <= threshold for row in curve]
    for row, here, after in zip(curve, good, [*good[1:], True], strict=True):
        if here and after:
            return float(row["seconds"])
    return None


def at(told: dict[str, Any], seconds: float) -> dict[str, float]:
    """The numbers in the independent space at the look that is nearest to so many seconds."""
    nearest = min(told["curve"], key=lambda row: abs(row["seconds"] - seconds))
    found: dict[str, float] = nearest["independent"]
    return found


def threshold_of(found: Sequence[dict[str, Any]]) -> float:
    """The quality of one target that is to be reached."""
    frozen = [at(told, THRESHOLD_AT)[MEASURE] for told in found if told["way"] == "frozen"]
    return SLACK * statistics.fmean(frozen)


def verdict(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of one target's trainings, a row a way: when it arrived, if it did, and how good it ever was."""
    threshold, rows = threshold_of(found), []
    for way in WAYS:
        own = [told for told in found if told["way"] == way]
        if not own:
            continue
        took = [reached(told["curve"], threshold) for told in own]
        best = [min((row["independent"] for row in told["curve"]), key=lambda n: n[MEASURE]) for told in own]
        trained = min(told["curve"][-1]["seconds"] for told in own)
        late = [math.inf if seconds is None else seconds for seconds in took]
        seconds = statistics.median(late)
        rows.append(
            {
                "way": NAMES[way],
                "seeds": len(own),
                "CPU seconds": f"{seconds:.0f}" if math.isfinite(seconds) else f"not in {trained:,.0f}",
                f"best {MEASURE} distance": f"{statistics.fmean(n[MEASURE] for n in best):.3f}",
                "coverage there": f"{statistics.fmean(n['coverage'] for n in best):.2f}",
            }
        )
    return rows


def table() -> str:
    """All verdicts, as Markdown."""
    lines: list[str] = []
    for target, found in curves(PICTURES).items():
        rows, cost = verdict(found), found[0]["operations"]
        own = found[0]["ceiling"]["independent"][MEASURE]
        titles = f"{target}, from {found[0]['source']}", *[name for name in rows[0] if name != "way"]
        lines += ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
        lines += ["| " + " | ".join(str(cell) for cell in row.values()) + " |" for row in rows]
        lines += [
            "",
            f"To reach: {threshold_of(found):.3f}; reconstructions have {own:.3f}. Millions of operations for a "
            f"picture of a step: {cost['pixels']:,.0f} on pixels, {cost['codes']:,.1f} on codes.",
            "",
        ]
    return "\n".join(lines)


SECONDS_SHOWN = (2, 10, 60, 300, 2700)
COLOURS = {"scratch": "tab:red", "finetune": "tab:orange", "frozen": "tab:blue", "mind2mind": "tab:green"}
NAMES = {
    "scratch": "from scratch, on pixels",
    "finetune": "fine-tuned, on pixels",
    "frozen": "the same losses, on codes",
    "mind2mind": "Mind2Mind",
}


def draw(path: Path) -> None:
    """A panel a target, the distance to other real pictures over CPU seconds, and one over the number of pictures."""
    targets = curves(PICTURES)
    figure = Figure(figsize=(9.6, 6.8), layout="constrained")
    *panels, last = figure.subplots(2, 2).flat
    for axes, (target, found) in zip(panels, targets.items(), strict=True):
        for told in found:
            numbers = [(row["seconds"], row["independent"][MEASURE]) for row in told["curve"][1:]]
            label = NAMES[told["way"]] if told["seed"] == 0 else None
            axes.plot(*zip(*numbers, strict=True), color=COLOURS[told["way"]], label=label, marker=".")
        axes.axhline(threshold_of(found), color="black", lw=0.8, ls="--", label="to be reached")
        own = found[0]["ceiling"]["independent"][MEASURE]
        axes.axhline(own, color="grey", lw=0.8, ls=":", label="reconstructions")
        _scaled(axes, f"{target}, from {found[0]['source']}", "CPU seconds of one thread", SECONDS_SHOWN)
    last.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize="small", loc="upper right")
    ours = [told for told in curves()[COUNTED] if told["way"] == "mind2mind"]
    for told in ours:
        quality = at(told, THRESHOLD_AT)[MEASURE]
        last.plot(told["pictures"], quality, color=COLOURS["mind2mind"], marker="o")
    title = f"{COUNTED}, after at most {THRESHOLD_AT} CPU seconds"
    _scaled(last, title, "pictures to learn from", sorted({told["pictures"] for told in ours}))
    figure.savefig(path, dpi=110)


def _scaled(axes: Axes, title: str, across: str, ticks: Sequence[float]) -> None:
    """Both on a log axis, with plain numbers."""
    axes.set(title=title, xlabel=across, ylabel=f"{MEASURE} distance", xscale="log", yscale="log")
    axes.set_xticks(ticks)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python tests/tools/claim.py", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    one = commands.add_parser("run", help="train one way and keep its curve")
    one.add_argument("way", choices=WAYS)
    one.add_argument("target", type=Path, help="folder of pictures to learn")
    one.add_argument("others", type=Path, help=f"folder of {SAMPLES} others of their kind")
    one.add_argument("--source", default="toon64")
    one.add_argument("--count", type=int, help="of pictures to learn; all if it is not given")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--seconds", type=float, default=LOOKS[-1], help="of one thread")
    one.add_argument("--rate", type=float, default=RATE, help="learning rate of E and G on pixels")
    one.add_argument("--stop-at", type=float, default=-1, help="the quality at which it is done")
    one.add_argument("--grids", type=Path, help="a folder for 16 pictures of each look")
    drawn = commands.add_parser("draw", help="draw the kept curves, and print who arrives when")
    drawn.add_argument("--out", type=Path, default=FIGURES / "claim.png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command == "run":
        run(options)
        return
    draw(options.out)
    print(table())


if __name__ == "__main__":
    main()
