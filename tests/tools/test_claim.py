"""When a way arrives, by curves that are known."""

import pytest
from tools.claim import reached


@pytest.mark.parametrize(
    ("values", "seconds"),
    [((5, 1, 1), 20), ((5, 1, 5), None), ((5, 5, 1), 30), ((1, 5, 1), 30), ((5, 5, 5), None)],
)
def test_a_way_has_arrived_when_it_stays(values, seconds):
    curve = [{"seconds": 10 * (i + 1), "independent": {"kernel": value}} for i, value in enumerate(values)]
    assert reached(curve, threshold=2) == seconds
