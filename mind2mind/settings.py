"""The settings of a recipe, as somebody who changes them sees them: what each is for, and from where to where.

They are described once, by the fields of `config.Recipe`. The panel of the app, the options of
`mind2mind transfer` and the table of the README (`python -m mind2mind.settings` prints it) are made from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mind2mind.config import DEFAULT, RECIPES, Recipe
from mind2mind.errors import ConfigError

CHANGED = " with "  # between the name of the recipe and what was changed in it
MOST_LAYERS = 6


@dataclass(frozen=True, slots=True)
class Setting:
    """One number, switch or list of numbers of a recipe."""

    name: str  # the field's
    kind: type  # int, float, bool, or tuple: a list of numbers
    help: str
    least: float | None
    most: float | None
    step: float | None  # of a slider or an arrow

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").capitalize()

    @property
    def explained(self) -> str:
        """The help with the range."""
        return self.help if self.least is None else f"{self.help} {self.least:g} to {self.most:g}."

    def parse(self, value: Any) -> Any:
        """What a user wrote, chose or typed, as the recipe takes it.

        Raises:
            ConfigError: it is no such value, or out of range.
        """
        try:
            if self.kind is bool:
                return _switch(value)
            if self.kind is tuple:
                parts = value.replace(",", " ").split() if isinstance(value, str) else value
                kind = type(getattr(DEFAULT, self.name)[0])
                numbers = tuple(_number(part, kind) for part in parts)
                if not 0 < len(numbers) <= MOST_LAYERS:
                    raise ValueError
            else:
                numbers = (_number(value, self.kind),)
            if not all(self.least <= number <= self.most for number in numbers):  # type: ignore[operator]
                raise ValueError
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"{self.name} is {str(value)[:80]!r}.", f"{self.explained} {self._form}"
            ) from error
        return numbers if self.kind is tuple else numbers[0]

    @property
    def _form(self) -> str:
        forms = {int: "Give a whole number.", float: "Give a number.", bool: "Give true or false."}
        return forms.get(self.kind, "Give numbers with commas between them.")


def _number(value: Any, kind: type) -> Any:
    number = float(value)
    if kind is int and number != int(number):
        raise ValueError
    return kind(number)


def _switch(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError
    return str(value).lower() == "true"


def as_text(value: Any) -> str:
    """A setting's value as users write it: 0.001, 256,256, true."""
    if isinstance(value, tuple | list):
        return ",".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


SETTINGS = {
    f.name: Setting(f.name, type(f.default), **f.metadata) for f in fields(Recipe) if f.name != "name"
}


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values; its name says which. Values that are None or the recipe's own change nothing.

    Raises:
        ConfigError: there is no such setting, or its value makes no sense.
    """
    if unknown := [name for name in values if name not in SETTINGS]:
        raise ConfigError(f"There is no setting {unknown[0]!r}.", f"Choose from {', '.join(SETTINGS)}.")
    parsed = {name: SETTINGS[name].parse(value) for name, value in values.items() if value is not None}
    other = {name: value for name, value in parsed.items() if value != getattr(recipe, name)}
    if not other:
        return recipe
    base = recipe.name.partition(CHANGED)[0]
    made = replace(recipe, **other)
    said = ", ".join(
        f"{name} {as_text(value)}" for name, value in differences(replace(made, name=base)).items()
    )
    return replace(made, name=base + CHANGED + said if said else base)


def differences(recipe: Recipe) -> dict[str, Any]:
    """What was changed in the published recipe that this one came from; everything if it is from elsewhere."""
    base = RECIPES.get(recipe.name.partition(CHANGED)[0])
    return {
        name: getattr(recipe, name)
        for name in SETTINGS
        if base is None or getattr(recipe, name) != getattr(base, name)
    }


def as_options(recipe: Recipe) -> list[str]:
    """The options of `mind2mind transfer` that train by this recipe."""
    options = ["--recipe", recipe.name.partition(CHANGED)[0]]
    for name, value in differences(recipe).items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            options.append(f"--{dashed}" if value else f"--no-{dashed}")
        else:
            options += [f"--{dashed}", as_text(value)]
    return options


def markdown() -> str:
    """The table of all settings."""
    names = list(RECIPES)
    rows = [f"| setting | {' | '.join(names)} | what it is for |", "|---" * (len(names) + 2) + "|"]
    for setting in SETTINGS.values():
        values = " | ".join(as_text(getattr(RECIPES[name], setting.name)) for name in names)
        rows.append(f"| `{setting.name}` | {values} | {setting.explained} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
