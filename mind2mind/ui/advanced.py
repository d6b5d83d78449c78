"""The panel Advanced: the recipe and its settings, made from `settings.SETTINGS`, which are made from the recipe."""

from typing import Any

import gradio as gr

from mind2mind.config import DEFAULT, RECIPES, Recipe
from mind2mind.errors import ConfigError
from mind2mind.settings import SETTINGS, Setting, as_text, changed
from mind2mind.ui.common import QUIET

TITLES = {"default": "ours: faster, keeps the best", "paper": "the paper's, as published"}


class Advanced:
    """The components; `chosen` makes a recipe of what is in them."""

    def build(self) -> None:
        """Inside step 3."""
        with gr.Accordion("Advanced", open=False, elem_id="transfer-advanced"):
            recipes = [(TITLES.get(name, name), name) for name in RECIPES]
            self.recipe = gr.Radio(
                recipes,
                value=DEFAULT.name,
                label="Recipe",
                info="Sets all that is below.",
                elem_id="transfer-recipe",
            )
            with gr.Row(elem_classes="m2m-settings"):
                self.fields = [_field(setting) for setting in SETTINGS.values()]

    @property
    def inputs(self) -> list[Any]:
        """What `chosen` takes."""
        return [self.recipe, *self.fields]

    def wire(self) -> None:
        """Another recipe brings its settings."""
        self.recipe.change(self.values, self.recipe, self.fields, **QUIET)

    def values(self, recipe: str) -> list[Any]:
        """What the fields show for a recipe."""
        return [_shown(setting, RECIPES[recipe]) for setting in SETTINGS.values()]

    def chosen(self, recipe: str, *values: Any) -> Recipe:
        """The recipe with what was changed in it.

        Raises:
            ConfigError: there is no such recipe, or a value makes no sense.
        """
        if recipe not in RECIPES:
            raise ConfigError(
                f"There is no recipe {str(recipe)[:80]!r}.", f"Choose one of {', '.join(RECIPES)}."
            )
        return changed(RECIPES[recipe], dict(zip(SETTINGS, values, strict=False)))


def _shown(setting: Setting, recipe: Recipe) -> Any:
    value = getattr(recipe, setting.name)
    return as_text(value) if setting.kind is tuple else value


def _field(setting: Setting) -> Any:
    settings: dict[str, Any] = {
        "value": _shown(setting, DEFAULT),
        "label": setting.label,
        "info": setting.explained,
        "min_width": 240,
        "elem_id": f"setting-{setting.name}",
    }
    if setting.kind is bool:
        return gr.Checkbox(**settings)
    if setting.kind is tuple:
        return gr.Textbox(max_lines=1, **settings)
    return gr.Number(precision=0 if setting.kind is int else None, step=setting.step or 1, **settings)
