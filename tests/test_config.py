"""The numbers that others published, one by one, and that bad ones are refused."""

import json
import math
from dataclasses import asdict, replace

import pytest

from mind2mind.config import (
    ARCHITECTURES,
    BUDGETS,
    DEFAULT,
    LOCAL,
    PAPER,
    PUBLIC,
    RECIPES,
    Architecture,
    MindGANSizes,
    Recipe,
    batch_of,
)
from mind2mind.errors import ConfigError, Mind2MindError

# configs/*.yaml of the reference: LAYER_COUNT, LATENT_SPACE_SIZE, START_CHANNEL_COUNT, MAX_CHANNEL_COUNT,
# MAPPING_LAYERS, CHANNELS, pixels a side
PUBLISHED = {
    "ffhq": (9, 512, 16, 512, 8, 3, 1024),
    "celeba-hq256": (7, 512, 64, 512, 8, 3, 256),
    "bedroom": (7, 512, 32, 512, 8, 3, 256),
    "celeba": (6, 256, 64, 256, 8, 3, 128),
    "mnist": (4, 32, 64, 256, 4, 1, 32),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_architectures_are_the_published_ones(name):
    a = ARCHITECTURES[name]
    sizes = (a.layer_count, a.latent_size, a.start_channels, a.max_channels, a.mapping_layers)
    assert (*sizes, a.image_channels, a.resolution) == PUBLISHED[name]
    assert a.style_count == 2 * a.layer_count
    assert (a.truncation_psi, a.truncation_cutoff) == (0.7, 8)


def test_an_architecture_grows_from_the_one_of_half_its_size():
    toon64, toon128 = ARCHITECTURES["toon64"], ARCHITECTURES["toon128"]
    assert toon128.inner == toon64
    assert toon128.widths[1:] == toon64.widths
    for a in ARCHITECTURES.values():
        assert a.inner.resolution == a.resolution / 2 and a.inner.widths == a.widths[1:]
    assert replace(toon64, layer_count=1).inner is None


def test_a_bad_number_is_refused_with_all_complaints():
    with pytest.raises(ConfigError) as caught:
        Architecture(layer_count=0, latent_size=-3, start_channels=16, max_channels=64, mapping_layers=2)
    assert "layer_count is 0" in str(caught.value)
    assert "latent_size is -3" in str(caught.value)
    for change in ({"batch_size": 0}, {"learning_rate": 0}, {"betas": (0.5, 1.0)}, {"held_out_share": 0.9}):
        with pytest.raises(ConfigError):
            replace(DEFAULT, **change)
    for change in (
        {"betas": (0.5,)},
        {"learning_rate": float("nan")},
        {"jitter": "0.1"},
        {"ema_half_life": 1.5},
        {"generator_widths": 8},
        {"generator_widths": (8,) * 7},
        {"jitter": (0.1,)},
        {"from_mind": "yes"},
    ):
        with pytest.raises(ConfigError):
            replace(DEFAULT, **change)
    for widths in ((0,), (8.5,), (10_000,), (8,) * 33):
        with pytest.raises(ConfigError, match="critic_widths"):
            MindGANSizes(critic_widths=widths)
    for change in ({"image_channels": 2}, {"layer_count": 11}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            replace(ARCHITECTURES["mnist"], **change)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes_survive_json(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_a_setting_of_another_version_is_an_error():
    with pytest.raises(ConfigError, match="not a Recipe"):
        Recipe.from_dict({"name": "default", "colour": "red"})


def test_limits_and_budgets_are_the_designs():
    assert [budget.seconds for budget in BUDGETS.values()] == [15, 60, 300]
    assert (LOCAL.files, LOCAL.pixels, LOCAL.keep_hours) == (100_000, 100_000_000, None)
    assert (PUBLIC.files, PUBLIC.file_bytes, PUBLIC.pixels, PUBLIC.total_bytes) == (
        500,
        10**7,
        4 * 10**7,
        2 * 10**8,
    )
    assert (PUBLIC.runs_per_visitor, PUBLIC.run_seconds, PUBLIC.queue) == (1, 600, 20)
    assert (PUBLIC.disk_bytes, PUBLIC.keep_hours) == (5 * 10**9, 24)


def test_an_error_needs_a_remedy():
    with pytest.raises(TypeError):
        Mind2MindError("Something is wrong.")
    assert str(Mind2MindError("It broke.", "Mend it.")) == "It broke. Mend it."


def test_a_batch_is_bounded_by_its_pixels():
    sizes = {side: batch_of(side) for side in (16, 64, 128, 256, 512, 1024, 2048)}
    assert sizes == {16: 64, 64: 64, 128: 64, 256: 16, 512: 4, 1024: 1, 2048: 1}


def test_few_pictures_bear_few_steps():
    assert [DEFAULT.enough(count) for count in (2, 30, 50, 200)] == [600, 600, 1000, 4000]
    assert PAPER.enough(2) == math.inf
