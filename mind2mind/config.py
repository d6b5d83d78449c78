"""Every number of the product, once, with its source.

Architectures (sizes of a network), recipes (how it is trained), budgets (how long) and limits (how much a visitor may
ask for); the settings of a recipe as somebody who changes them sees them; seeds, batches, and bytes in words.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, TypeVar, get_args

from mind2mind.errors import ConfigError

_C = TypeVar("_C", bound="Checked")
TINY = 1e-15  # the least of a number that must be above 0
RETIRED = ("keep_best", "patience")  # settings of recipes of earlier versions
MOST_NUMBERS, MOST_WIDTHS = 32, 6  # in a field that holds several; in one that users set

# How a picture becomes square: the middle, the whole with bars, or the largest face as FFHQ has it (`faces`)
Crop = Literal["centre", "fit", "face"]


def number(
    default: Any, least: float, most: float = math.inf, step: float | None = None, help: str | None = None
) -> Any:
    """A field for a number, a switch or some numbers, from `least` to `most`; with `help` a setting for users."""
    return field(default=default, metadata={"least": least, "most": most, "step": step, "help": help})


class Checked:
    """A record of numbers that raises one ConfigError with all that is wrong with them."""

    def __post_init__(self) -> None:
        complaints = []
        for f in fields(self):  # type: ignore[arg-type]
            if not f.metadata:
                continue
            value, least, most = getattr(self, f.name), f.metadata["least"], f.metadata["most"]
            kind, *more = get_args(f.type) or (f.type,)  # of tuple[int, ...] int
            numbers = value if isinstance(value, tuple) else (value,)
            fewest = most_numbers = 1 + len(more)
            if more == [...]:
                fewest, most_numbers = (1, MOST_WIDTHS) if f.metadata["help"] else (0, MOST_NUMBERS)
            fitting = isinstance(value, tuple) == bool(more) and fewest <= len(numbers) <= most_numbers
            if not fitting or not all(isinstance(n, kind | int) and least <= n <= most for n in numbers):
                count = f"{fewest} to {most_numbers}" if fewest < most_numbers else str(fewest)
                what = f"{count} numbers" if more else "a whole number" if kind is int else "a number"
                span = f"from {least:g} to {most:g}" if math.isfinite(most) else f"from {least:g} upwards"
                needed = "true or false" if kind is bool else f"{what} {span}"
                complaints.append(f"{f.name} is {value!r:.80}, must be {needed}")
        if complaints:
            raise ConfigError(f"{type(self).__name__}: {'; '.join(complaints)}.", "Correct these numbers.")

    @classmethod
    def from_dict(cls: type[_C], values: dict[str, Any]) -> _C:
        """From JSON, where tuples are lists; what earlier versions held besides is passed over.

        Raises:
            ConfigError: a name is unknown or missing, or a number makes no sense.
        """
        try:
            own = {name: value for name, value in values.items() if name not in RETIRED}
            return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in own.items()})
        except (TypeError, AttributeError) as error:
            problem = f"These settings are not a {cls.__name__}: {error}."
            raise ConfigError(problem, "The file may come from another version; make it again.") from error


@dataclass(frozen=True, slots=True)
class Architecture(Checked):
    """Sizes of an ALAE (arXiv 2004.04467); the field names follow the reference's configs."""

    layer_count: int = number(MISSING, 1, 10)  # L; full size is 2**(L + 1)
    latent_size: int = number(MISSING, 1)
    start_channels: int = number(MISSING, 1)  # width at full size; doubles with each halving
    max_channels: int = number(MISSING, 1)
    mapping_layers: int = number(MISSING, 1)  # of F; D always has three
    image_channels: int = 3  # or 1
    truncation_psi: float = 0.7  # defaults.py: TRUNCATIOM_PSI
    truncation_cutoff: int = 8  # defaults.py: TRUNCATIOM_CUTOFF; in styles, of 2L

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.image_channels not in (1, 3):
            raise ConfigError(f"image_channels is {self.image_channels}.", "It must be 1 or 3.")

    @property
    def resolution(self) -> int:
        """Pixels a side at full size."""
        return int(2 ** (self.layer_count + 1))

    @property
    def widths(self) -> list[int]:
        """Channels c(0) .. c(L) of the maps, from full size down."""
        return [min(self.max_channels, self.start_channels * 2**i) for i in range(self.layer_count + 1)]

    @property
    def inner(self) -> "Architecture | None":
        """What this one grows from, of half the size: all of it but the outermost level; None if that is all."""
        if self.layer_count == 1:
            return None
        return replace(self, layer_count=self.layer_count - 1, start_channels=self.widths[1])

    @property
    def style_count(self) -> int:
        """Style inputs of the decoder, two a block."""
        return 2 * self.layer_count


# layer_count, latent_size, start_channels, max_channels, mapping_layers
ARCHITECTURES = {
    # The published configs of the reference: ffhq.yaml, celeba-hq256.yaml, bedroom.yaml, celeba.yaml, mnist.yaml
    "ffhq": Architecture(9, 512, 16, 512, 8),
    "celeba-hq256": Architecture(7, 512, 64, 512, 8),
    "bedroom": Architecture(7, 512, 32, 512, 8),
    "celeba": Architecture(6, 256, 64, 256, 8),
    "mnist": Architecture(4, 32, 64, 256, 4, image_channels=1),
    # Ours: the largest that two cores train in about an hour, what it grows into, and one for pictures like MNIST's
    "toon64": Architecture(5, 128, 16, 128, 8),
    "toon128": Architecture(6, 128, 8, 128, 8),
    "grey32": Architecture(4, 128, 16, 128, 4, image_channels=1),
}


@dataclass(frozen=True, slots=True)
class MindGANSizes(Checked):
    """Widths of MindGAN's two perceptrons (arXiv 1906.11613; reference module_mind/train.py)."""

    latent_size: int = number(512, 1, 8192)
    z_dim: int = number(128, 1, 8192)
    generator_widths: tuple[int, ...] = number((128, 256, 512), 1, 8192)
    critic_widths: tuple[int, ...] = number((512, 256, 128), 1, 8192)
    mapping: bool = number(False, 0, 1)  # whether the generator is one of F's kind


JITTER_CODES, MOST_JITTER = 200, 0.6  # of fewer codes each moves further, up to so far
FEWEST_STEPS = 600  # that a run by time makes where there is time, however few pictures there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Checked):
    """How a MindGAN is trained.

    The defaults down to `critic_steps` are module_mind/train.py's; what follows is ours, and off by default.
    """

    name: str
    z_dim: int = number(128, 2, 512, 1, "Random numbers a picture is drawn from; not used with from_mind.")
    generator_widths: tuple[int, ...] = number(
        (128, 256, 512),
        8,
        1024,
        help="Of the generator's hidden layers; wider is slower. Not used with from_mind.",
    )
    critic_widths: tuple[int, ...] = number((512, 256, 128), 8, 1024, help="Of the critic's hidden layers.")
    learning_rate: float = number(1e-3, 1e-5, 1e-1, 1e-4, "How far a step goes; lower it after a collapse.")
    betas: tuple[float, float] = number((0.0, 0.5), 0, 0.9999, help="Adam's two decay rates.")
    # the paper's README says 256; the released parameters.json decides
    batch_size: int = number(128, 2, 1024, 1, "Pictures in a step; more is steadier and slower.")
    gradient_penalty: float = number(
        10.0, 0, 100, 0.5, "Weight of what keeps the critic smooth; raise it if the training collapses."
    )
    epsilon_penalty: float = number(1e-2, 0, 1, 0.01, "Weight of the penalty that keeps the critic near 0.")
    critic_steps: int = number(5, 1, 20, 1, "Critic's steps for one of the generator, on the same pictures.")
    jitter: float = number(
        0.0, 0, 1, 0.05, f"How far codes move to others: more is freer. Fewer than {JITTER_CODES} go further."
    )
    standardise: bool = number(False, 0, 1, help="Bring all dimensions of the codes to one size.")
    ema_half_life: int = number(0, 0, 10_000, 10, "Steps in which the weights' average forgets half; 0: off.")
    decay_share: float = number(0.0, 0, 1, 0.05, "The last share of steps, over which the rate falls to 0.")
    held_out_share: float = number(
        0.0, 0, 0.5, 0.05, "Share of the pictures kept aside to measure by; of fewer than 1,000 none is."
    )
    energy: float = number(
        0.0, 0, 1000, 5, "Weight of the energy distance to your pictures: more is more varied, less crisper."
    )
    from_mind: bool = number(False, 0, 1, help="Begin with the source's own generator, not random weights.")
    steps_per_picture: int = number(
        0, 0, 10_000, 5, f"A run by time ends after so many, not before step {FEWEST_STEPS}; 0: never."
    )

    @property
    def base(self) -> str:
        """The name of the published recipe that this one came from."""
        return self.name.partition(CHANGED)[0]

    def jitter_for(self, count: int) -> float:
        """How far each of `count` codes moves, 0 to 1: `jitter`, and few further (CONTRIBUTING, "Recipes")."""
        return min(self.jitter * max(1, JITTER_CODES / count), max(self.jitter, MOST_JITTER))

    def enough(self, count: int) -> float:
        """The steps after which a run by time on `count` codes would come to repeat them."""
        return max(FEWEST_STEPS, self.steps_per_picture * count) if self.steps_per_picture else math.inf

    def sizes(self, latent_size: int) -> MindGANSizes:
        """The perceptrons' widths for codes of `latent_size` numbers."""
        return MindGANSizes(latent_size, self.z_dim, self.generator_widths, self.critic_widths)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecipe(Checked):
    """How an ALAE is trained on a folder of pictures by the pixel term.

    The term is the mean absolute difference between x and G(E(x)), summed over the scales, with the mean
    squared difference and those of the fine detail and of the worst pixels on top. What each part bought is
    in CONTRIBUTING. F keeps its initial weights.
    """

    name: str
    batch_size: int = number(16, 1)
    learning_rate: float = number(0.04, TINY)  # times each parameter's `lr_coef` (equalised learning rate)
    betas: tuple[float, float] = number((0.9, 0.99), 0, 1 - TINY)
    warmup_steps: int = number(100, 1)
    decay_share: float = 0.4  # the last share of the pictures over which the learning rate falls to 0
    scales: tuple[int, ...] = (1, 2, 4)  # of the pixel term: full, half and quarter size
    squared: float = number(10.0, 0)  # weight of the mean squared difference
    detail: float = number(1.0, 0)  # weight of the mean absolute difference of what a 5x5 blur takes away
    hardest: float = number(0.5, 0)  # weight of the mean difference of each picture's worst 2 % of pixels
    latent_noise: float = number(0.2, 0)  # on each number of w in training, in deviations over the batch
    distorted: float = number(0.0, 0, 1)  # share of each batch that is, to know more than the pictures given
    refinements: int = number(2, 0)  # of each sample's code by E(G(w)), when the finished model draws
    ema_kimg: float = number(2.0, TINY)  # thousands of pictures in which the weights' average forgets half
    blend_kimg: float = number(0.0, 0)  # thousands of pictures over which the outermost level is blended in


@dataclass(frozen=True, slots=True)
class Growth(Checked):
    """How ALAE's own training grows from 4 px to full size, level of detail by level of detail.

    The tables are indexed by level, and their last entry holds for all further ones. The defaults are those of
    celeba.yaml on one GPU. Only the ratio of the epochs counts here: whoever trains says how many pictures
    are seen in all, and each level below full size gets its published share of them.
    """

    epochs: int = number(80, 1)  # TRAIN_EPOCHS
    epochs_per_lod: int = number(6, 0)  # EPOCHS_PER_LOD; 0 is full size from the start
    batch_sizes: tuple[int, ...] = number((128, 128, 128, 64, 32, 16), 1)  # LOD_2_BATCH_1GPU
    learning_rates: tuple[float, ...] = number((1.5e-3,) * 6 + (2e-3, 3e-3, 3e-3), TINY)  # LEARNING_RATES


# mnist.yaml's own batch sizes and rates are not known to us, nor bedroom.yaml's batch sizes: celeba.yaml's
GROWTHS = {  # epochs, epochs_per_lod
    ARCHITECTURES["ffhq"]: Growth(300, 16, batch_sizes=(512, 256, 128, 64, 32, 16)),
    ARCHITECTURES["celeba-hq256"]: Growth(280, 30, learning_rates=(1.5e-3,) * 7 + (3e-3, 3e-3)),
    ARCHITECTURES["bedroom"]: Growth(112, 2),
    ARCHITECTURES["mnist"]: Growth(60, 10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRecipe(Checked):
    """How an ALAE is trained in the paper (arXiv 2004.04467; reference train_alae.py, model.py, defaults.py).

    The source is sampled through F as it comes out of the training.
    """

    refinements: ClassVar[int] = 0  # as in the paper: samples are drawn from the codes as F gives them
    name: str
    gamma: float = number(10.0, 0)  # twice the weight of the R1 penalty (losses.py)
    betas: tuple[float, float] = number((0.0, 0.99), 0, 1 - TINY)
    style_mixing: float = number(0.9, 0, 1)  # probability (STYLE_MIXING_PROB)
    w_avg_beta: float = number(0.995, 0, 1)  # DLATENT_AVG_BETA
    ema_kimg: float = number(10.0, TINY)  # thousands of pictures in which the weights' average forgets half
    growth: Growth | None = None  # None is the architecture's

    def growth_of(self, architecture: Architecture) -> Growth:
        """The recipe's own, else the published one, else that of celeba.yaml."""
        return self.growth or GROWTHS.get(architecture, Growth())


# The paper's algorithm and numbers; it trains 300 epochs, here as many steps as are asked for.
PAPER = Recipe(name="paper")
DEFAULT = Recipe(
    name="default",
    generator_widths=(256, 256),  # twice the steps in the same time, and better (CONTRIBUTING, "Recipes")
    critic_widths=(256, 256),
    learning_rate=5e-4,
    betas=(0.0, 0.9),
    batch_size=256,
    critic_steps=1,
    jitter=0.2,
    standardise=True,
    ema_half_life=70,
    decay_share=0.5,
    held_out_share=0.1,
    energy=20.0,
    from_mind=True,
    steps_per_picture=20,
)
RECIPES = {recipe.name: recipe for recipe in (DEFAULT, PAPER)}
PAPER_STEPS = 68_000  # 300 epochs of some 29,000 faces in batches of 128


def shortfall(recipe: Recipe, steps: float) -> str:
    """What to say before a training of so few steps; "" where they are enough for the recipe."""
    if recipe.base != PAPER.name or steps >= PAPER_STEPS:
        return ""
    return (
        f"The recipe {PAPER.name} is made for {PAPER_STEPS:,} steps; here it makes about {steps:,.0f} in that time, "
        f"and may well collapse. Give it more time, or take the recipe {DEFAULT.name}."
    )


# Of a source's mind: there is none to begin with, and of so many codes none is learnt by heart
PRIOR = Recipe(
    name="prior",
    generator_widths=(256, 256),
    critic_widths=(256, 256),
    standardise=True,
    ema_half_life=400,
    decay_share=0.5,
)
PRIOR_STEPS = 30_000

PRETRAIN_DEFAULT = PretrainRecipe(name="default")
PRETRAIN_BROAD = PretrainRecipe(name="broad", latent_noise=0.1, distorted=0.5, refinements=0)
PRETRAIN_PAPER = PaperRecipe(name="paper")
SourceRecipe = PretrainRecipe | PaperRecipe
BLEND_KIMG = 36.0  # of a level that is new: without, toon128 had forgotten all of toon64 after 10 kimg
PRETRAIN_RECIPES: dict[str, SourceRecipe] = {
    recipe.name: recipe for recipe in (PRETRAIN_DEFAULT, PRETRAIN_BROAD, PRETRAIN_PAPER)
}


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a transfer trains; encoding comes on top."""

    seconds: int
    help: str
    measured: str = ""  # what it came to on the example sets: `python tests/tools/experiment.py budgets`


BUDGETS = {
    "Quick": Budget(
        15,
        "15 seconds: a first look",
        "on the examples Aliens, Bearded men and Neon hair 86 % of the new pictures were like real "
        "ones (of other real ones 94 % are), and 78 % of the real ones had a new one like them (88 %).",
    ),
    "Standard": Budget(60, "1 minute: usual", "88 % and 80 %."),
    "Thorough": Budget(
        300,
        "5 minutes: 1,000 pictures or more",
        "not measured; fewer pictures end sooner.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a user may ask for. Local by default; a public server sets PUBLIC."""

    files: int = 100_000
    file_bytes: int = 1_000_000_000
    total_bytes: int = 100_000_000_000
    pixels: int = 100_000_000  # of one picture
    smallest_side: int = 8  # px; less shows nothing
    run_seconds: int | None = None
    runs_per_visitor: int | None = None  # alive at a time
    runs_per_address: int | None = None  # of the API's callers, who name themselves
    prepared_per_visitor: int | None = None  # sets of pictures that wait for their start
    queue: int | None = None
    disk_bytes: int | None = None  # of everything together
    keep_hours: int | None = None  # then everything of a visitor is deleted


LOCAL = Limits()
PUBLIC = Limits(
    files=500,
    file_bytes=10_000_000,
    total_bytes=200_000_000,
    pixels=40_000_000,
    run_seconds=600,
    runs_per_visitor=1,
    runs_per_address=4,
    prepared_per_visitor=2,
    queue=20,
    disk_bytes=5_000_000_000,
    keep_hours=24,
)


CHANGED = " with "  # between the name of the recipe and what was changed in it


@dataclass(frozen=True, slots=True)
class Setting:
    """One number, switch or list of numbers of a recipe."""

    name: str  # the field's
    kind: type  # int, float, bool, or tuple: a list of numbers
    help: str
    least: float
    most: float
    step: float | None  # of a slider or an arrow

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").capitalize()

    @property
    def explained(self) -> str:
        """The help with the range."""
        return self.help if self.kind is bool else f"{self.help} {self.least:g} to {self.most:g}."

    def parse(self, value: Any) -> Any:
        """What a user wrote, chose or typed as the recipe takes it; the recipe refuses what makes no sense."""
        if self.kind is not tuple:
            return _parsed(value, self.kind)
        parts, kind = value, type(getattr(DEFAULT, self.name)[0])
        if isinstance(value, str):
            parts = value.replace(",", " ").split()
        return tuple(_parsed(part, kind) for part in parts) if isinstance(parts, list | tuple) else value


def _parsed(value: Any, kind: type) -> Any:
    """The switch or number that is meant; what means none comes back as it is."""
    with suppress(TypeError, ValueError, KeyError, OverflowError):
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        number = float(value)
        return number if kind is float or number != int(number) else int(number)
    return value


def as_text(value: Any) -> str:
    """A setting's value as users write it: 0.001, 256,256, true."""
    if isinstance(value, tuple | list):
        return ",".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


SETTINGS = {f.name: Setting(f.name, type(f.default), **f.metadata) for f in fields(Recipe) if f.metadata}


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values; its name says which. Values that are None or the recipe's own change nothing.

    Raises:
        ConfigError: there is no such setting, or its value makes no sense.
    """
    if unknown := [name for name in values if name not in SETTINGS]:
        raise ConfigError(f"There is no setting {unknown[0]!r}.", f"Choose from {', '.join(SETTINGS)}.")
    parsed = {name: SETTINGS[name].parse(value) for name, value in values.items() if value is not None}
    made = replace(recipe, name=recipe.base, **parsed)
    said = ", ".join(f"{name} {as_text(value)}" for name, value in differences(made).items())
    return replace(made, name=made.name + CHANGED + said if said else made.name)


def differences(recipe: Recipe) -> dict[str, Any]:
    """What was changed in the published recipe that this one came from; everything if it is from elsewhere."""
    base = RECIPES.get(recipe.base)
    return {name: own for name in SETTINGS if (own := getattr(recipe, name)) != getattr(base, name, None)}


def as_options(recipe: Recipe) -> list[str]:
    """The options of the command `transfer` that train by this recipe."""
    options = ["--recipe", recipe.base]
    for name, value in differences(recipe).items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            options.append(f"--{dashed}" if value else f"--no-{dashed}")
        else:
            options += [f"--{dashed}", as_text(value)]
    return options


BATCH, BATCH_PIXELS = 64, 16 * 256**2  # of 1024 px 2 at a time were no faster than 1 and took 300 MB more


def batch_of(resolution: int) -> int:
    """How many pictures of `resolution` px a side networks take at a time, in training's pauses and elsewhere.

    64 up to 128 px, 16 of 256 px, 4 of 512 px, 1 of 1024 px.
    """
    return max(1, min(BATCH, BATCH_PIXELS // resolution**2))


def size_text(count: int) -> str:
    """Bytes in words: 217 MB."""
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count / 1e3:.0f} kB"


MANY, FEW = 16, 4  # pictures asked for where nothing else is said
TOLD_SECONDS = 2.0  # what takes longer is said before

SEEDS = 2**32  # seeds are below


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as plain numbers; ConfigError if one is not from 0 to 2**32 - 1."""
    if bad := [seed for seed in seeds if not 0 <= int(seed) < SEEDS]:
        raise ConfigError(f"{bad[0]} is no seed.", f"Seeds are whole numbers from 0 to {SEEDS - 1}.")
    return [int(seed) for seed in seeds]


def mixed(seed: int, number: int) -> int:
    """One well spread 63 bit seed from two numbers (splitmix64); torch's CPU generator takes its low 32 bits."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) >> 1
