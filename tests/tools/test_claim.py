"""When a way arrives, by curves that are known; how the ways on pixels step."""

import pytest
import torch
from tiny import make_studio
from tools.claim import Pixels, reached


@pytest.mark.parametrize(
    ("values", "seconds"),
    [((5, 1, 1), 20), ((5, 1, 5), None), ((5, 5, 1), 30), ((1, 5, 1), 30), ((5, 5, 5), None)],
)
def test_a_way_has_arrived_when_it_stays(values, seconds):
    curve = [{"seconds": 10 * (i + 1), "independent": {"kernel": value}} for i, value in enumerate(values)]
    assert reached(curve, threshold=2) == seconds


def test_on_pixels_both_ways_take_steps_of_the_same_size(tmp_path):
    model = make_studio(tmp_path).models.load("tiny")
    a = model.alae.architecture
    pictures = torch.zeros(4, a.image_channels, a.resolution, a.resolution, dtype=torch.uint8)
    scratch, finetune = (Pixels(model, pictures, 0, scratch=scratch) for scratch in (True, False))
    for name, optimiser in scratch.optimisers.items():
        rates = [group["lr"] for group in optimiser.param_groups]
        assert len(set(rates)) > 2  # the equalised learning rate
        assert rates == [group["lr"] for group in finetune.optimisers[name].param_groups]
    assert torch.equal(finetune.alae.encoder.from_rgb[0][0].weight, model.alae.encoder.from_rgb[0][0].weight)
