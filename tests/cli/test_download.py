"""`models` and `download` on the command line, against the loopback."""

import json
import signal
import threading
import time
from dataclasses import replace

import pytest
from reference import PARITY
from tiny import make_weights
from typer.testing import CliRunner
from web import put_on_hub, serving

from mind2mind.cli import commands
from mind2mind.config import size_text
from mind2mind.errors import COMMAND
from mind2mind.models import hub
from mind2mind.models.hub import REMOTE

SMALL = (PARITY / "official_layout_small.pth").read_bytes()


@pytest.fixture
def web(monkeypatch):
    with serving() as web:
        small = replace(
            REMOTE["ffhq"], id="small", url=web.url + "/small.pth", architecture=None, kept_bytes=10**6
        )
        monkeypatch.setitem(REMOTE, "small", small)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", web.url)
        yield web


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"HOME": tmp_path / "home", "WEIGHTS": make_weights(tmp_path / "weights")}
    for name, value in settings.items():
        monkeypatch.setenv(f"MIND2MIND_{name}", str(value))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(hub, "PAUSE", 0.0)
    return lambda *arguments: CliRunner().invoke(commands, list(arguments))


def document(result):
    return json.loads(result.stdout)


def test_what_can_be_had_is_listed_and_marked(cli):
    told = document(cli("models", "--json"))
    assert [row["id"] for row in told["models"]] == ["tiny"]
    rows = {row["id"]: row for row in told["available"]}
    assert rows.keys() == REMOTE.keys() and rows["mindgan-celeba"]["needs"] == "ffhq"
    assert (
        rows["ffhq"]["command"] == f"{COMMAND} download ffhq" and rows["ffhq"]["bundle_bytes"] == 217_198_444
    )
    lines = cli("models").stdout.splitlines()
    assert lines[0].startswith("tiny") and "not here" not in lines[0] and len(lines) == 1 + len(REMOTE)
    (ffhq,) = [line for line in lines if line.startswith("ffhq ")]
    assert "1024 px" in ffhq and f"(not here; 217 MB once it is: {COMMAND} download ffhq)" in ffhq


def test_download_use_and_remove(cli, web):
    web.put("/small.pth", SMALL)
    told = document(cli("download", "small", "--json"))
    assert told["new"] and told["id"] == "small" and len(told["sha256"]) == 64
    assert "small" in cli("models").stdout
    assert cli("sample", "-m", "small", "--count", "1", "--out", "pictures").exit_code == 0
    again = cli("download", "small")
    assert again.exit_code == 0 and "already here" in again.stderr
    gone = document(cli("download", "--delete", "small", "--json"))
    assert gone["deleted"] == "small" and gone["bytes"] > 10**5
    assert cli("download", "--delete", "small").exit_code == 2


def test_a_model_that_is_not_here_is_not_fetched_unasked(cli, web):
    result = cli("sample", "-m", "small", "--count", "1", "--out", "pictures")
    assert result.exit_code == 2 and "mind2mind download small" in result.stderr and not web.asked
    result = cli("sample", "-m", "me/toys", "--count", "1", "--out", "pictures")
    assert result.exit_code == 2 and "mind2mind download me/toys" in result.stderr and not web.asked


def test_failures_are_told(cli, web):
    result = cli("download", "small", "--json")
    assert result.exit_code == 2 and "404" in document(result)["error"]["problem"]
    result = cli("download", "nothing")
    assert result.exit_code == 2 and "ffhq-157" in result.stderr


def test_ctrl_c_keeps_the_part(cli, web, tmp_path):
    web.put("/small.pth", SMALL, gate=threading.Event(), holds=400_000)

    def press():
        part = tmp_path / "home/downloads/.parts/small/file.pth.part"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # a call that waits returns at once

    presser = threading.Thread(target=press)
    presser.start()
    result = cli("download", "small")
    presser.join()
    web.pages["/small.pth"].gate.set()
    assert result.exit_code == 130 and "kept" in result.stderr
    assert cli("download", "small").exit_code == 0
    assert web.ranges[-1] is not None and 0 < int(web.ranges[-1][6:-1]) <= 400_000


def test_a_repository_of_the_hub(cli, web, tmp_path, monkeypatch):
    put_on_hub(web, "me/toys", make_weights(tmp_path / "theirs", name="theirs", seed=1) / "theirs")
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        forbidden = cli("download", "me/toys")
    assert forbidden.exit_code == 2 and "HF_HUB_OFFLINE" in forbidden.stderr and not web.asked
    assert document(cli("download", "me/toys", "--json"))["commit"]
    assert cli("sample", "-m", "me/toys", "--count", "1", "--out", "pictures").exit_code == 0
    assert "model me/toys" in cli("doctor").stdout


def test_sizes_in_words():
    assert [size_text(n) for n in (31_400, 1_500_000, 217_198_444, 2_340_000_000)] == [
        "31 kB",
        "1.5 MB",
        "217 MB",
        "2.3 GB",
    ]
