"""What every test shares."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tensors are tiny: a second thread would only wait

import pytest
import torch

torch.set_num_threads(1)
# what helpers assert is told like what tests assert; before any test imports them
pytest.register_assert_rewrite("browsing", "live", "reference", "tiny", "web")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a catalogue, 120 `pictures` and a `few`."""
    from tiny import make_pictures, make_weights

    folder = tmp_path_factory.mktemp("place")
    make_weights(folder / "weights")
    make_pictures(folder / "pictures", 120)
    make_pictures(folder / "few", 6)
    return folder


@pytest.fixture(scope="module")
def studio(place):
    """A studio there."""
    from tiny import make_studio

    return make_studio(place)
