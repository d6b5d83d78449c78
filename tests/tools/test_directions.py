"""What a direction is called after is what decides where pictures lie along it."""

from dataclasses import asdict

import pytest
import torch
from tools.directions import explained

from mind2mind.data.drawn import draw


def test_an_attribute_explains_what_it_decides():
    faces = [asdict(draw("toon", "source", 90_000_000 + i)) for i in range(600)]
    skins = [face["skin"] for face in faces]
    generator = torch.Generator().manual_seed(0)
    by_skin = torch.tensor([float(sorted(set(skins)).index(skin)) for skin in skins])
    noise = torch.randn(len(faces), generator=generator)
    values = torch.stack([by_skin, by_skin / by_skin.std() + noise, noise], dim=1)
    decided, half, free = explained(values, faces)
    assert decided["skin"] == pytest.approx(1) and half["skin"] == pytest.approx(0.5, abs=0.06)
    assert free["skin"] < 0.05 and decided["hair"] < 0.05
