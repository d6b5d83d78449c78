"""Imports point down: each module may import only modules of lower floors, and only `ui` imports gradio."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mind2mind"

# From the bottom up. Modules of one line do not import each other.
FLOORS = [
    {"errors", "memory", "layers", "metrics", "likeness"},
    {"networks", "config", "files", "listing", "lreq", "unpickle", "idx", "seeds", "originality"},
    {"remote", "parts", "settings", "runs", "faces", "clips", "growth", "make_data"},
    {"alae", "mindgan", "opening", "report", "cards", "home", "status", "wanted"},
    {"images", "make_mnist", "official", "sources", "learner", "launch", "objectives", "trainee", "fetch"},
    {"checkpoints", "datasets", "desk", "trained", "transfer", "pixelwise", "adversarial", "hub", "verdict"},
    {"codes", "gallery", "held_out", "convert", "library", "ledger", "pretrain", "toon_layers"},
    {"intake", "album", "bundles", "cost", "make_source", "arrivals", "publish"},
    {"downloads", "outcome", "preflight"},
    {"parcel", "execution", "models", "selection"},
    {"studio"},
    {"experiment", "toon_reading", "worker", "ui"},
    {"cli"},  # one of its commands starts the app
    {"__main__"},
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts[0]


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "mind2mind":
                yield from (f"mind2mind.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(("path", "module"), modules(), ids=lambda value: getattr(value, "name", value))
def test_imports_point_down(path, module):
    assert module in FLOOR_OF, f"{module} has no floor yet: give it one in this list"
    for name in imported(path):
        first, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if first == "mind2mind" and target and target != module:
            assert FLOOR_OF[target] < FLOOR_OF[module], f"{module} imports {target}, which is not below it"
        if first == "gradio":
            assert module == "ui", f"{module} imports gradio"
