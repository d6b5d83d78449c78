"""Imports point down, between and within folders; only `ui` imports gradio; `ui` and `cli` see the facade alone."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mind2mind"

# From the bottom up; a module may import what stands before it.
ORDER = """
    errors config files
    networks.alae networks.mindgan
    data.faces data.images data.dataset data.codes data.drawn data.make
    judge.metrics judge.verdict judge.evaluate
    models.bundle models.official models.hub models.catalogue
    draw explore
    training.transfer training.autoencoder training.adversarial training.source
    runs.run runs.findings runs.queue runs.worker
    studio
    ui.shared ui.explore ui.interpolate ui.training ui.result ui.transfer ui.models ui.api ui.page ui
    cli.terminal cli.pictures cli.runs cli.models cli
    __main__
""".split()  # noqa: SIM905
PLACE = {f"mind2mind.{name}": number for number, name in enumerate(ORDER)}
DOORS = {"mind2mind.studio", "mind2mind.config", "mind2mind.errors"}  # of ui and cli; elsewhere only records
# Each is the work of one command, which no studio, home or run has a part in: the facade could only hand on.
WORKSHOPS = {
    "mind2mind.cli.models": {
        "mind2mind.data.drawn",
        "mind2mind.data.make",
        "mind2mind.models.official",
        "mind2mind.training.source",
    },
    "mind2mind.cli.runs": {"mind2mind.judge.evaluate"},
}


def name_of(path: Path) -> str:
    return ".".join(("mind2mind", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def imported(path: Path):
    """(module, name) of each import; the name is None for a whole module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}" in PLACE
                yield (f"{node.module}.{alias.name}", None) if whole else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or p.stem != "__init__"],
    ids=name_of,
)
def test_imports_point_down(path):
    me = name_of(path)
    assert me in PLACE, f"{me} has no place yet: give it one in ORDER"
    folder, free = me.split(".")[1], DOORS | WORKSHOPS.get(me, set())
    for module, name in imported(path):
        if module.partition(".")[0] == "gradio":
            assert folder == "ui", f"{me} imports gradio"
        if module not in PLACE or (module, name) == ("mind2mind.ui", None):
            continue
        assert PLACE[module] < PLACE[me], f"{me} imports {module}, which is not below it"
        if folder in ("ui", "cli") and module.split(".")[1] not in ("ui", "cli") and module not in free:
            record = name is not None and name[0].isupper() and not name.isupper()
            assert record, f"{me} imports {name or 'all'} of {module}: only the facade's records are for it"
