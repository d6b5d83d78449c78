"""The settings of a recipe: described once, and the same in the panel, on the command line and in the table."""

import json
from dataclasses import asdict, fields, replace

import pytest

from mind2mind.config import (
    DEFAULT,
    PAPER,
    RECIPES,
    SETTINGS,
    Recipe,
    as_options,
    as_text,
    changed,
    differences,
)
from mind2mind.errors import ConfigError


def test_every_field_of_a_recipe_is_a_setting_with_help_and_range():
    assert [*SETTINGS] == [f.name for f in fields(Recipe) if f.name != "name"]
    for setting in SETTINGS.values():
        assert setting.help.endswith(".") and len(setting.help) < 130
        assert setting.kind is bool or setting.least < setting.most


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_what_is_published_is_in_range_and_survives_being_written(recipe):
    for setting in SETTINGS.values():
        value = getattr(recipe, setting.name)
        assert setting.parse(value) == setting.parse(as_text(value)) == value
    assert changed(recipe, {name: getattr(recipe, name) for name in SETTINGS}) == recipe
    assert changed(recipe, dict.fromkeys(SETTINGS)) == recipe
    assert differences(recipe) == {}


def test_the_name_tells_what_was_changed():
    other = changed(DEFAULT, {"jitter": 0.1, "generator_widths": "64, 32", "from_mind": False})
    assert other.name == "default with generator_widths 64,32, jitter 0.1, from_mind false"
    assert (other.jitter, other.generator_widths, other.from_mind) == (0.1, (64, 32), False)
    assert differences(other) == {"generator_widths": (64, 32), "jitter": 0.1, "from_mind": False}
    more = changed(other, {"jitter": 0.2, "batch_size": "64"})
    assert more.name == "default with generator_widths 64,32, batch_size 64, from_mind false"
    assert changed(more, {name: getattr(DEFAULT, name) for name in SETTINGS}) == DEFAULT
    assert Recipe.from_dict(json.loads(json.dumps(asdict(more)))) == more
    assert set(differences(replace(PAPER, name="mine"))) == set(SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jitter", 2), ("jitter", "much"), ("jitter", float("nan")), ("jitter", [0.1]), ("batch_size", 1.5),
        ("batch_size", 10**9), ("from_mind", "perhaps"), ("generator_widths", ""), ("generator_widths", "8,9,x"),
        ("generator_widths", ",".join(["8"] * 7)), ("generator_widths", "5000"), ("betas", "0.5"), ("betas", 3),
        ("critic_steps", float("inf")), ("colour", "red"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_the_range(name, value):
    with pytest.raises(ConfigError) as caught:
        changed(DEFAULT, {name: value})
    assert name in str(caught.value)


def test_all_that_is_wrong_is_told_at_once_with_what_it_must_be():
    with pytest.raises(ConfigError) as caught:
        changed(DEFAULT, {"jitter": "2", "batch_size": "1.5", "betas": "0.5", "from_mind": "perhaps"})
    assert caught.value.problem == (
        "Recipe: betas is (0.5,), must be 2 numbers from 0 to 0.9999; batch_size is 1.5, must be a whole "
        "number from 2 to 1024; jitter is 2.0, must be a number from 0 to 1; from_mind is 'perhaps', must be true or "
        "false."
    )


def test_the_options_repeat_the_recipe():
    other = changed(PAPER, {"jitter": 0.3, "standardise": True, "critic_widths": [64, 64]})
    assert as_options(other) == [
        "--recipe", "paper", "--critic-widths", "64,64", "--jitter", "0.3", "--standardise",
    ]  # fmt: skip
    assert as_options(DEFAULT) == ["--recipe", "default"]
