"""The official models' full size through the command line: 1024 px within 3 GB, from files of both formats."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import official_size
import psutil
import pytest
from PIL import Image

MOST_BYTES = 3e9  # of a command and the worker it starts, together

CONVERT_BYTES = 1.3e9  # of a conversion


@pytest.fixture(scope="module")
def mind2mind(tmp_path_factory):
    """Runs a command in a process of its own; gives its document. Nothing large is left behind."""
    folder = tmp_path_factory.mktemp("official")
    env = os.environ | {"MIND2MIND_HOME": str(folder / "home"), "MIND2MIND_WEIGHTS": str(folder / "weights")}

    def run(*arguments, limit=MOST_BYTES):
        command = [sys.executable, "-m", "mind2mind", *map(str, arguments), "--json", "--quiet"]
        with (folder / "out").open("w") as out:
            process = subprocess.Popen(command, env=env, stdout=out, cwd=official_size.ROOT)
            most = 0
            while process.poll() is None:
                most = max(most, used(process.pid))
                time.sleep(0.1)
        document = json.loads((folder / "out").read_text())
        assert process.returncode == 0, document
        assert 3e8 < most < limit
        print(f"{arguments[0]}: {most / 1e9:.2f} GB")
        return document

    run.folder = folder
    yield run
    for path in folder.rglob("*"):
        if path.suffix in (".pth", ".safetensors"):
            path.unlink()


def used(pid):
    """Bytes of memory of a process and those it started; what they share counts once."""
    try:
        process = psutil.Process(pid)
        return sum(_proportional(p) for p in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def _proportional(process):
    info = process.memory_full_info()
    return getattr(info, "pss", info.rss)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured as Linux counts it")
def test_the_official_size_needs_less_than_three_gigabytes(mind2mind):
    """Convert both formats; draw; encode, train and draw a transfer.

    Each picture is encoded by itself, so that 3 need what 20 do.
    """
    folder = mind2mind.folder
    for zipped, name in ((False, "legacy"), (True, "ffhq")):
        file = official_size.write(folder / f"{name}.pth", zipped=zipped)
        assert file.stat().st_size > 6e8
        mind2mind("convert", file, "--out", folder / "weights" / name, limit=CONVERT_BYTES)
        file.unlink()
    first, second = ((folder / "weights" / name / "model.safetensors") for name in ("legacy", "ffhq"))
    assert first.read_bytes() == second.read_bytes()
    first.unlink()
    mind2mind("sample", "--model", "ffhq", "--count", 1, "--out", folder / "samples")
    with Image.open(folder / "samples/seed-0000000.png") as picture:
        assert picture.size == (1024, 1024)
        assert 20 < np.asarray(picture).std() < 100, "not the picture of a code"
    draw = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(3):
        pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((1024, 1024), Image.Resampling.BICUBIC).save(
            folder / f"pictures/{i}.jpg"
        )
    settings = ("--model", "ffhq", "--crop", "centre", "--steps", 5, "--out", folder / "run")
    document = mind2mind("transfer", folder / "pictures", *settings)
    assert document["state"] == "done" and document["pictures"] == 3
