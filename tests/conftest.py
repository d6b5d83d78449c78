"""What every test shares."""

import os
import signal
import subprocess

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tensors are tiny: a second thread would only wait
for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(number) == signal.SIG_IGN:  # by & or nohup: what a test starts would ignore it, too
        signal.signal(number, signal.SIG_DFL)

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


@pytest.fixture
def small_disk(tmp_path):
    """The folder of a disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
