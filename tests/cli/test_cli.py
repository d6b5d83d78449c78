"""The command line as a user meets it: exit codes, one JSON document, the same bytes, Ctrl-C, bad input."""

import contextlib
import json
import logging
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from tiny import LFS_POINTER, png_meta
from typer.testing import CliRunner

from mind2mind import ui
from mind2mind.cli import commands
from mind2mind.cli import runs as following
from mind2mind.cli import terminal as common
from mind2mind.cli.terminal import seeds_of
from mind2mind.config import Architecture, MindGANSizes
from mind2mind.data.dataset import Reading
from mind2mind.errors import COMMAND, ConfigError, TrainingError
from mind2mind.files import save_tensors
from mind2mind.models import bundle as checkpoints
from mind2mind.models.bundle import Card, save_source
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import Perceptron
from mind2mind.runs import worker as execution
from mind2mind.runs.queue import Launcher
from mind2mind.runs.run import Found, RunInfo, RunStatus, State
from mind2mind.studio import Explore, Studio
from mind2mind.training import source as make_source
from mind2mind.training.source import PretrainProgress
from mind2mind.training.transfer import Progress

TINY = Architecture(layer_count=3, latent_size=16, start_channels=8, max_channels=16, mapping_layers=2)
CARD = Card(id="tiny", title="Tiny", knows="noise", credit="nobody", licence="CC0-1.0")
PARSED = typer.main.get_command(commands)
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = str(ROOT)
STEPS = 40  # of the transfers here
MANY_STEPS = 300  # of the one that is stopped


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the catalogue of one tiny source, a home, and 24 pictures beside a bad one."""
    root = tmp_path_factory.mktemp("cli")
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_source(root / "weights" / "tiny", ALAE(TINY), CARD)
    (root / "pictures").mkdir()
    for number in range(24):
        pixels = torch.rand(4, 4, 3, generator=generator).mul(255).byte().numpy()
        Image.fromarray(pixels).resize((24, 24)).save(root / "pictures" / f"{number:02d}.png")
    (root / "pictures" / "bad.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def cli(place, tmp_path, monkeypatch):
    """Runs a command here, in an empty folder; a list of arguments in, exit code, stdout and stderr out."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment(place).items():
        monkeypatch.setenv(name, value)
    yield lambda *arguments: CliRunner().invoke(commands, [str(argument) for argument in arguments])
    logging.getLogger("mind2mind").setLevel(logging.NOTSET)


def environment(place):
    return {
        "MIND2MIND_HOME": str(place / "home"),
        "MIND2MIND_WEIGHTS": str(place / "weights"),
        "PYTHONPATH": PACKAGE,
        "COLUMNS": "200",
    }


def process(place, folder, *arguments, wrapper=(), **variables):
    return subprocess.Popen(
        [*wrapper, sys.executable, "-m", "mind2mind", *map(str, arguments)],
        cwd=folder,
        env=os.environ | environment(place) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def document(result):
    assert isinstance(json.loads(result.stdout), dict)  # exactly one document, or this fails
    return json.loads(result.stdout)


# Seeds


@pytest.mark.parametrize(
    ("text", "count", "seeds"),
    [
        ("7", None, [7, 8, 9, 10]),
        ("7", 2, [7, 8]),
        ("0,3,5-9", None, [0, 3, 5, 6, 7, 8, 9]),
        (" 4 - 5 , 5,1", None, [4, 5, 1]),
        ("4294967295", 1, [4294967295]),
        ("3,4", 2, [3, 4]),
    ],
)
def test_seeds(text, count, seeds):
    assert seeds_of(text, count, default_count=4) == seeds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *((text, None) for text in ("", "a", "1,,2", "9-5", "1-2-3", "0-99999999")),
        *((text, 1) for text in ("-3", "1.5", "99999999999", "\u0663")),
        ("3,4", 3),
        ("4294967295", 2),
    ],
)
def test_bad_seeds(text, count):
    with pytest.raises(ConfigError):
        seeds_of(text, count, default_count=4)


# What all commands share


def test_help_needs_no_torch_and_shows_examples(cli):
    code = "import sys, mind2mind.cli as c; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": PACKAGE}).returncode == 0
    )
    assert len(PARSED.commands) == 16
    overview = cli("--help").stdout
    for name in PARSED.commands:
        assert f" {name} " in overview
        result = cli(name, "--help")
        assert result.exit_code == 0
        for expected in ("Examples:", f"{COMMAND} {name}", "--json", "--device", "--quiet"):
            assert expected in result.stdout


def test_wrong_use_ends_with_2(cli):
    assert cli("sample").exit_code == 2
    assert cli("nonsense").exit_code == 2
    assert cli("sample", "-m", "tiny", "--psi", "3").exit_code == 2
    assert cli("sample", "-m", "tiny", "--noise", "loud").exit_code == 2
    assert cli("models", "--device", "abacus").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample",),
        ("nonsense",),
        ("--loud",),
        ("sample", "-m", "tiny", "--loud"),
        ("sample", "-m", "tiny", "--count", "0"),
        ("sample", "-m", "tiny", "--psi", "9"),
        ("sample", "-m", "tiny", "--psi", "nan"),
        ("encode", "", "-m", "tiny"),
        ("reconstruct", "", "-m", "tiny"),
        ("transfer", "", "-m", "tiny", "--out", "run"),
        ("pretrain", "", "--kimg", "1", "--out", "run"),
    ],
)
def test_wrong_use_is_one_document_too(cli, arguments):
    result = cli(*arguments, "--json")
    assert result.exit_code == 2 and result.stderr
    error = document(result)["error"]
    assert error["problem"] and error["fix"]
    assert cli(*arguments).stdout == ""


def test_bad_input_tells_fact_and_remedy(cli):
    result = cli("sample", "--model", "nobody", "--json")
    error = document(result)["error"]
    assert result.exit_code == 2
    assert "nobody" in error["problem"] and error["fix"]
    assert error["problem"] in result.stderr and error["fix"] in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("samples").exists()


@pytest.mark.parametrize(
    ("arguments", "fact", "remedy"),
    [
        (["sample", "-m", "tiny", "--count", "1", "--out", "é" * 130], "name too long", "shorter"),
        (["encode", "PICTURES", "-m", "tiny", "--report", "/dev/full"], "disk is full", "Make room"),
        (["encode", "PICTURES", "-m", "tiny", "--report", "/proc/report.json"], "No such file", "Check the path"),
        (["transfer", "PICTURES", "-m", "tiny", "--out", "file/run"], "Not a directory", "write to"),
        (["transfer", "PICTURES", "-m", "tiny", "--out", "/proc/run"], "No such file", "Check the path"),
    ],
)  # fmt: skip
def test_what_the_file_system_refuses_is_told(cli, place, arguments, fact, remedy):
    Path("file").touch()
    arguments = [place / "pictures" if argument == "PICTURES" else argument for argument in arguments]
    result = cli(*arguments, "--json")
    error = document(result)["error"]
    assert result.exit_code == 2
    assert fact in error["problem"] and remedy in error["fix"], error


def test_too_many_open_files_are_told(cli):
    resource = pytest.importorskip("resource")
    command = ["reconstruct", "samples", "-m", "tiny"]
    assert (
        cli("sample", "-m", "tiny", "--count", "1").exit_code == cli(*command).exit_code == 0
    )  # all is imported
    before, held = resource.getrlimit(resource.RLIMIT_NOFILE), []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        result = cli(*command)
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert result.exit_code == 2 and "Too many open files" in result.stderr


@pytest.fixture
def others(place, tmp_path):
    """The folder of another user's run and the words before a command that give it no right to change it."""
    wrapper = []
    if os.geteuid() == 0:  # root may do all, until it is taken away
        wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
        if not shutil.which("setpriv"):
            pytest.skip("no setpriv here")
    folder = tmp_path / "theirs"
    _, code = finished(
        place, tmp_path, "transfer", place / "pictures", "-m", "tiny", "--out", folder, "--steps", 5
    )
    assert code == 0
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder, wrapper
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)


def finished(place, folder, *arguments, **more):
    """What a command says on stderr, and its exit code."""
    child = process(place, folder, *arguments, **more)
    return child.communicate(timeout=120)[1], child.returncode


def test_the_run_of_another_user_is_used_and_not_changed(others, place, tmp_path):
    folder, wrapper = others
    said, code = finished(
        place, tmp_path, "transfer", "--resume", "--steps", 5, "--out", folder, wrapper=wrapper
    )
    assert (
        code == 2 and "Permission denied" in said and "you may write to" in said and "Traceback" not in said
    )
    said, code = finished(place, tmp_path, "result", folder, wrapper=wrapper)
    assert code == 0, said
    said, code = finished(place, tmp_path, "sample", "-m", folder, "--out", tmp_path / "new", wrapper=wrapper)
    assert code == 0, said


@pytest.mark.parametrize(
    "command",
    [
        ["app", "--port", "8999"],
        ["runs"],
        ["transfer", "PICTURES", "-m", "tiny", "--out", "new", "--steps", "5"],
    ],
)
def test_a_home_of_another_user_is_told_of(others, place, tmp_path, command):
    """What needs no home works all the same."""
    folder, wrapper = others
    command = [place / "pictures" if argument == "PICTURES" else argument for argument in command]
    said, code = finished(place, tmp_path, *command, wrapper=wrapper, MIND2MIND_HOME=str(folder / "home"))
    assert "Traceback" not in said
    if command[0] == "app":
        assert code == 2 and "you may write to" in said, said
    else:
        assert code == 0, said


def test_a_fault_of_ours_ends_with_1_and_shows(cli, monkeypatch):
    monkeypatch.setattr(Explore, "draw", lambda *_, **__: 1 / 0)
    result = cli("sample", "-m", "tiny", "--json")
    assert (result.exit_code, type(result.exception)) == (1, ZeroDivisionError)
    assert "ZeroDivisionError" in document(result)["error"]["problem"]


def test_interrupt_ends_with_130(cli, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Explore, "draw", interrupted)
    result = cli("sample", "-m", "tiny", "--json")
    assert result.exit_code == 130 and document(result)


def test_nothing_else_reaches_stdout(cli, monkeypatch):
    draw = Explore.draw

    def chatty(*arguments, **options):
        print("a library's remark")
        return draw(*arguments, **options)

    monkeypatch.setattr(Explore, "draw", chatty)
    result = cli("sample", "-m", "tiny", "--count", "1", "--json")
    assert document(result) and "remark" in result.stderr


def test_quiet_says_nothing_but_results(cli):
    result = cli("sample", "-m", "tiny", "--count", "1", "--quiet")
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["samples/seed-0000000.png", "samples/grid.png"]


def test_strict_json():
    assert json.loads(common.as_json({"a": float("nan"), "b": [float("inf"), Path("c")]})) == {
        "a": None,
        "b": [None, "c"],
    }


def test_first_ctrl_c_asks_and_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), common.stop_on_signal() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_closing_terminal_only_asks_however_often():
    with common.stop_on_signal() as stop:
        for sent in (signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), sent)
            assert stop()


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with common.stop_on_signal() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop()
    finally:
        signal.signal(signal.SIGTERM, before)


# Commands that a text shows


def parses(line):
    """Whether the command line takes this command, up to what only the work itself can tell."""
    name, *words = shlex.split(line)
    try:
        PARSED.commands[name].make_context(name, words, parent=PARSED.make_context("mind2mind", [name]))
    except (KeyError, typer.TyperException) as error:
        raise AssertionError(f"{line}: {error}") from error


@pytest.mark.parametrize("name", PARSED.commands)
def test_the_examples_of_the_help_can_be_pasted(name):
    _, *examples = PARSED.commands[name].epilog.split("\n\n")
    assert examples
    for example in examples:
        assert example.startswith(COMMAND + " ")
        parses(example.removeprefix(COMMAND))


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(ROOT.glob("weights/*/README.md"))], ids=str)
def test_the_commands_of_a_page_can_be_pasted(path):
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"-m mind2mind (.+?)(?:`|\n)", text)
    for words in re.findall(r"`([a-z-]+ [^`]+)`", text):  # in a sentence, without what goes without saying
        name = words.split()[0]
        if name in PARSED.commands:
            silent = any(p.name == "out" and p.required for p in PARSED.commands[name].params)
            shown.append(f"{words} --out OUT" if silent and "--out" not in words else words)
    assert shown and not re.search(r"(?<!-m )\bmind2mind [a-z-]+ ", text)
    for line in shown:
        parses(line)


def test_the_commands_of_errors_and_remedies_exist():
    shown = 0
    for path in sorted((ROOT / "mind2mind").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(rf"(?<!-m )\bmind2mind ({'|'.join(PARSED.commands)})\b", text), path
        for name, rest in re.findall(r"(?:\{COMMAND\}|-m mind2mind) ([a-z][a-z-]*)([^\n]*)", text):
            options = {option for parameter in PARSED.commands[name].params for option in parameter.opts}
            assert {*re.findall(r" (--[a-z-]+)", rest)} <= options | {"--help"}, (path, name, rest)
            shown += 1
    assert shown > 5


# Pictures


def test_sample_gives_the_same_bytes_in_another_process(cli, place, tmp_path):
    arguments = ("sample", "-m", "tiny", "--seed", "7", "--count", "3", "--psi", "0.5")
    here = document(cli(*arguments, "--out", "here", "--json"))
    there = process(place, tmp_path, *arguments, "--out", "there", "--quiet")
    stdout, stderr = there.communicate(timeout=300)
    assert (there.returncode, stderr) == (0, "")
    assert stdout.splitlines() == [f"there/seed-000000{seed}.png" for seed in (7, 8, 9)] + ["there/grid.png"]
    for row in here["pictures"]:
        assert Path(row["path"]).read_bytes() == Path("there", Path(row["path"]).name).read_bytes()
    assert Path("here/grid.png").read_bytes() == Path("there/grid.png").read_bytes()


def test_samples_are_moved_varied_and_mixed_as_in_explore(cli):
    """Neighbours have names of their own, and each file says how it was made."""
    cli("sample", "-m", "tiny", "--seed", "7", "--count", "3", "--alike", "--moves=-1,2.5", "--out", "alike")
    assert [path.name for path in sorted(Path("alike").glob("seed*"))] == [
        f"seed-0000007{way}.png" for way in ("", "_1", "_2")
    ]
    told = png_meta(Path("alike/seed-0000007_2.png"))
    assert (told["near"], told["moves"]) == ("(2,)", "(-1.0, 2.5)")
    assert png_meta(Path("alike/grid.png"))["seed"] == "7,7_1,7_2"
    again = document(
        cli("sample", "-m", "tiny", "--seed", "7", "--count", "1", "--near", "2", "--moves=-1,2.5", "--json")
    )
    (row,) = again["pictures"]
    same = torch.tensor(
        [list(Image.open(path).tobytes()) for path in (row["path"], "alike/seed-0000007_2.png")]
    )
    assert (same[0] - same[1]).abs().max() <= 1
    cli("sample", "-m", "tiny", "--seed", "0,4", "--style", "9", "--crossover", "1", "--out", "mixed")
    told = png_meta(Path("mixed/seed-0000004.png"))
    assert (told["seed"], told["style seed"], told["crossover"]) == ("4", "9", "1")
    for wrong in ("--moves=x", "--moves=11", "--near=0.5", "--crossover=99"):
        assert cli("sample", "-m", "tiny", "--style", "9", wrong).exit_code == 2


def test_png_tells_model_seed_and_psi(cli):
    cli("sample", "-m", "tiny", "--seed", "3,5", "--psi", "0.25", "--noise", "fixed", "--out", "out")
    with Image.open("out/seed-0000005.png") as picture:
        told = picture.text
        assert picture.size == (16, 16)
    assert {"model": "tiny", "seed": "5", "psi": "0.25", "noise": "fixed"}.items() <= told.items()
    with Image.open("out/grid.png") as picture:
        assert picture.text["seed"] == "3,5"


def test_a_seed_is_the_same_picture_in_any_batch(cli):
    cli("sample", "-m", "tiny", "--seed", "0-18", "--out", "many")
    cli("sample", "-m", "tiny", "--seed", "17", "--count", "1", "--out", "one")
    many, one = (
        torch.tensor(list(Image.open(f"{name}/seed-0000017.png").tobytes())) for name in ("many", "one")
    )
    assert max(abs(a - b) for a, b in zip(many, one, strict=True)) <= 1
    assert len(list(Path("many").glob("seed-*.png"))) == 19


@pytest.mark.parametrize("out", ["clip.mp4", "clip.webp", "clip.gif", "frames"])
def test_interpolate(cli, place, out):
    result = cli(
        "interpolate",
        "3",
        place / "pictures" / "01.png",
        "-m",
        "tiny",
        "--frames",
        "5",
        "--out",
        out,
        "--json",
    )
    assert (result.exit_code, document(result)["path"]) == (0, out)
    if out == "frames":
        assert len(list(Path(out).glob("*.png"))) == 5
    elif out != "clip.mp4":
        with Image.open(out) as clip:
            assert clip.n_frames == 5
    else:
        assert Path(out).read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    "arguments",
    [
        ("1",),
        ("1", ""),
        ("1", "lost.png"),
        ("1", "2", "--out", "clip.avi"),
        ("1", "99999999999"),
        ("1", "2", "3", "--frames", "2"),
        ("1", "2", "--out", "folder.mp4"),
        ("1", "2", "--path", "round"),
    ],
)
def test_interpolate_of_nonsense(cli, arguments):
    Path("folder.mp4").mkdir()
    assert cli("interpolate", *arguments, "-m", "tiny").exit_code == 2


def test_reconstruct_skips_what_is_no_picture(cli, place):
    result = cli("reconstruct", place / "pictures", "-m", "tiny", "--out", "pairs", "--json")
    told = document(result)
    assert result.exit_code == 0
    assert len(told["pictures"]) == 24 and "bad.png" in told["skipped"][0]["name"]
    assert told["psnr_mean"] == pytest.approx(sum(row["psnr"] for row in told["pictures"]) / 24)
    with Image.open(told["pictures"][0]["path"]) as pair:
        assert pair.width > 2 * 15 and float(pair.text["psnr"]) == pytest.approx(
            told["pictures"][0]["psnr"], abs=0.01
        )
    assert cli("reconstruct", place / "pictures" / "bad.png", "-m", "tiny").exit_code == 2
    missing = cli("reconstruct", place / "pictures", "lost", "-m", "tiny")
    assert missing.exit_code == 2 and "lost" in missing.stderr


def test_reconstruct_takes_zips_and_any_name(cli, place):
    picture = place / "pictures" / "01.png"
    with zipfile.ZipFile("two.zip", "w") as archive:
        archive.write(picture, "one.png")
        archive.write(place / "pictures" / "bad.png", "bad.png")
    told = document(cli("reconstruct", "two.zip", "-m", "tiny", "--json"))
    assert [row["name"] for row in told["pictures"]] == ["one.png"]
    assert [row["name"] for row in told["skipped"]] == ["bad.png"]
    name = os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(picture, name)
    except OSError:
        pytest.skip("this file system knows no such names")
    assert len(document(cli("reconstruct", name, "-m", "tiny", "--json"))["pictures"]) == 1


@pytest.mark.parametrize(
    "name", ["ü" * 123 + ".jpeg", "🦊" * 62 + ".png", "한" * 40 + "a" * 131 + ".png", "b" * 251 + ".png"]
)
def test_a_long_name_loses_no_picture(cli, place, name):
    """Up to 255 bytes, by letters of one to four."""
    Path("in").mkdir()
    shutil.copy(place / "pictures" / "01.png", Path("in") / name)
    shutil.copy(place / "pictures" / "02.png", Path("in") / "short.png")
    told = document(cli("reconstruct", "in", "-m", "tiny", "--json", "--out", "pairs"))
    assert {row["name"][:9] for row in told["pictures"]} == {name[:9], "short.png"}
    assert len(list(Path("pairs").iterdir())) == 2
    long = ("x" * 240) + ".safetensors"[:12]
    assert cli("encode", "in", "-m", "tiny", "--out", long).exit_code == 0 and Path(long).exists()


def test_encode(cli, place):
    result = cli(
        "encode", place / "pictures", "-m", "tiny", "--crop", "fit", "--report", "report.json", "--json"
    )
    told = document(result)
    assert (result.exit_code, told["pictures"], sum(told["skipped"].values())) == (0, 24, 1)
    report = json.loads(Path("report.json").read_text())
    assert len(report["files"]) == 25
    assert Path("codes.safetensors").stat().st_size > 24 * 16 * 4
    assert cli("encode", "lost", "-m", "tiny").exit_code == 2
    assert cli("encode", place / "pictures" / "bad.png", "-m", "tiny").exit_code == 2


@pytest.mark.parametrize(
    ("size", "shade", "flag", "lacks"),
    [
        ((90, 24), 1.0, "Much cut off", "are much cut off: add some that are not, or choose the crop fit."),
        ((24, 24), 0.2, "Very dark", "are very dark: add some that are not."),
    ],
)
def test_what_pictures_lack_is_told(cli, tmp_path, size, shade, flag, lacks):
    draw = np.random.default_rng(0)
    for number in range(6):
        pixels = draw.integers(0, 256, (size[1], size[0], 3)) * (shade if number else 1.0)
        image = Image.fromarray(pixels.astype("uint8"))
        (image if number else image.crop((0, 0, 24, 24))).save(tmp_path / f"{number}.png")
    (tmp_path / "lost+found").mkdir()
    Image.new("RGB", (24, 24)).save(tmp_path / "lost+found/#1234.png")
    result = cli("encode", tmp_path, "-m", "tiny", "--json")
    told = document(result)
    assert (told["pictures"], told["flags"], told["skipped"]) == (6, {flag: 5}, {"System folder": 1})
    assert told["missing"] == f"5 of 6 pictures {lacks}"
    assert "1 x System folder: lost+found" in result.stderr
    assert f"  5 x {flag}" in result.stderr and told["missing"] in " ".join(result.stderr.split())


def test_encode_again_takes_what_is_known_and_never_replaces_another_file(cli, place, monkeypatch):
    encode, counts = ALAE.encode, []
    monkeypatch.setattr(
        ALAE, "encode", lambda alae, x, *rest: counts.append(len(x)) or encode(alae, x, *rest)
    )
    assert cli("encode", place / "pictures", "-m", "tiny").exit_code == 0
    first, count = Path("codes.safetensors").read_bytes(), sum(counts)
    assert cli("encode", place / "pictures", "-m", "tiny").exit_code == 0
    assert Path("codes.safetensors").read_bytes() == first
    assert sum(counts) - count == count - 24  # the reconstructions that the check is made on, and no more
    Path("diary.txt").write_text("dear diary")
    refused = cli("encode", place / "pictures", "-m", "tiny", "--out", "diary.txt")
    assert refused.exit_code == 2 and "It was left as it is." in refused.stderr
    assert Path("diary.txt").read_text() == "dear diary"


# Training


def test_transfer_then_sample_then_go_on(cli, place):
    arguments = (
        "transfer",
        place / "pictures",
        "-m",
        "tiny",
        "--out",
        "run",
        "--steps",
        STEPS,
        "--seed",
        "1",
    )
    result = cli(*arguments, "--json")
    told = document(result)
    assert (result.exit_code, told["state"], told["step"], told["pictures"]) == (0, "done", STEPS, 24)
    assert Path(told["samples"]).is_file() and (Path(told["bundle"]) / "model.safetensors").is_file()
    assert cli("sample", "-m", "run", "--count", "2").exit_code == 0
    assert cli("sample", "-m", "run/bundle", "--count", "2", "--out", "same").exit_code == 0
    assert Path("samples/seed-0000001.png").read_bytes() == Path("same/seed-0000001.png").read_bytes()
    again = cli(*arguments)
    assert again.exit_code == 2 and "already" in again.stderr
    shutil.copytree(place / "weights" / "tiny", "twin")
    for option, value in (
        ("--seed", "2"),
        ("--crop", "fit"),
        ("--recipe", "paper"),
        ("--jitter", "0.3"),
        ("--seconds", "5"),
        ("--model", "twin"),
        ("--without", "00.png"),
    ):
        changed = cli("transfer", "--resume", "--out", "run", option, value)
        said = "--recipe" if option == "--jitter" else option
        assert changed.exit_code == 2 and said in changed.stderr, changed.stderr
    changed = cli("transfer", place / "pictures", "--resume", "--out", "run")
    assert changed.exit_code == 2 and "PICTURES" in changed.stderr
    same = ("-m", "tiny", "--seed", "1", "--crop", "centre", "--recipe", "default", "--steps", "5", "--json")
    assert document(cli("transfer", "--resume", "--out", "run", *same))["step"] == STEPS + 5


def test_a_recipe_that_cannot_finish_says_so_before(cli, place):
    result = cli(
        "transfer", place / "pictures", "-m", "tiny", "--out", "run", "--recipe", "paper", "--seconds", "1"
    )
    assert result.exit_code == 0 and "is made for 68,000 steps" in result.stderr
    result = cli("transfer", place / "pictures", "-m", "tiny", "--out", "other", "--steps", "3")
    assert "68,000" not in result.stderr


def to_stop(place):
    """A transfer that takes long enough."""
    return ("transfer", place / "pictures", "-m", "tiny", "--out", "run", "--steps", MANY_STEPS)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_a_stop_keeps_the_work_and_resume_goes_on(cli, place, tmp_path, sent):
    begun = process(place, tmp_path, *to_stop(place), "--json")
    wait_for(begun, tmp_path / "run" / "metrics.jsonl")
    begun.send_signal(sent)
    stdout, stderr = begun.communicate(timeout=300)
    told = json.loads(stdout)
    assert (begun.returncode, told["state"]) == (130, "stopped"), stderr
    assert 0 < told["step"] < MANY_STEPS
    assert "--resume" in stderr and "Traceback" not in stderr
    result = cli("transfer", "--resume", "--out", "run", "--json")
    assert (result.exit_code, document(result)["step"]) == (0, MANY_STEPS)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminal closes so here")
def test_a_terminal_that_closes_stops_the_run_and_its_work_is_kept(place, tmp_path):
    import pty

    command = [sys.executable, "-m", "mind2mind", *map(str, to_stop(place))]
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execve(command[0], command, os.environ | environment(place))
    said = b""
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        said += os.read(terminal, 1024)  # an error where the command has ended
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130, said
    run = Studio("cpu", place / "home", weights=place / "weights").runs.status(str(tmp_path / "run"))
    assert run.state == State.STOPPED and run.usable


def test_a_run_is_stopped_by_another_command(cli, place, tmp_path):
    begun = process(place, tmp_path, *to_stop(place), "--json")
    wait_for(begun, tmp_path / "run" / "metrics.jsonl")
    assert cli("runs", "--stop", "run").exit_code == 0
    stdout, _ = begun.communicate(timeout=300)
    assert (begun.returncode, json.loads(stdout)["state"]) == (130, "stopped")
    again = cli("runs", "--stop", "run")
    assert again.exit_code == 0 and "run is stopped" in again.stderr
    assert cli("runs", "--stop", "nothing").exit_code == 2


def wait_for(begun, path, seconds=300):
    """Until the file holds something; fails if the process ends before."""
    until = time.monotonic() + seconds
    while not (path.exists() and path.stat().st_size):
        assert begun.poll() is None, begun.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--out", "run"),
        ("pictures", "--out", "run"),
        ("lost", "-m", "tiny", "--out", "run"),
        ("pictures", "-m", "nobody", "--out", "run"),
        ("pictures", "-m", "tiny", "--out", "run", "--steps", "5", "--seconds", "5"),
        ("pictures", "-m", "tiny", "--out", "run", "--recipe", "cake"),
        ("pictures", "-m", "tiny", "--out", "run", "--resume"),
        ("--out", "run", "--resume"),
    ],
)
def test_transfer_of_nonsense(cli, place, arguments):
    arguments = [place / "pictures" if argument == "pictures" else argument for argument in arguments]
    result = cli("transfer", *arguments)
    assert result.exit_code == 2 and "error:" in result.stderr
    assert not Path("run/run.json").exists()


def test_pictures_are_left_out(cli, place, tmp_path, monkeypatch):
    def here(launcher, run):
        execution.carry_out(run, Studio("cpu", launcher.home, weights=launcher.weights).models)

    monkeypatch.setattr(Launcher, "ensure", here)
    shutil.copytree(place / "pictures", tmp_path / "set")
    with Image.open(tmp_path / "set/03.png") as image:
        image.point(lambda value: min(255, value + 2)).save(tmp_path / "set/copy.png")
    common = ("transfer", tmp_path / "set", "-m", "tiny", "--steps", 5, "--json")
    told = document(cli(*common, "--out", "a", "--without", "00.png", "--without", "01.png"))
    assert told["excluded"] == ["00.png", "01.png"]
    assert told["near_duplicates"] == [{"name": "copy.png", "like": "03.png"}]
    told = document(cli(*common, "--out", "b", "--without-near-duplicates"))
    assert told["excluded"] == ["copy.png"] and told["near_duplicates"] == []
    wrong = cli(*common, "--out", "c", "--without", "gone.png")
    assert wrong.exit_code == 2 and "no picture 'gone.png'" in wrong.stderr
    assert not Path("c/run.json").exists()


INFO = RunInfo(model="tiny", source_hash="", crop="centre", found=Found(count=2))
STATUS = RunStatus(
    **dict.fromkeys((field for field in RunStatus.__dataclass_fields__), None)
    | {"info": INFO, "state": "done", "step": 5, "total_steps": 9, "seconds": 1.0, "usable": True}
)


@pytest.mark.parametrize(
    ("state", "error", "fault", "code"),
    [
        ("done", None, False, 0),
        ("stopped", None, False, 130),
        ("prepared", None, False, 130),
        ("interrupted", None, False, 1),
        ("failed", "There are 1 codes. Give more pictures.", False, 2),
        ("failed", "KeyError: 3 This is a fault of the program: log.txt has the details.", True, 1),
    ],
)
def test_how_a_run_ends(state, error, fault, code, capsys):
    status = replace(STATUS, state=State(state), error=error, info=replace(INFO, fault=fault))
    result = following.ended(status, Path("run"), {"pictures": 1})
    assert result.code == code
    assert result.document["state"] == state and result.document["pictures"] == 1
    assert error is None or error in capsys.readouterr().err


def test_a_killed_worker_is_told_of_whatever_the_options(capsys, monkeypatch):
    status = replace(STATUS, state=State.INTERRUPTED)
    monkeypatch.setattr(common, "options", common.Options(quiet=True))
    result = following.ended(status, Path("run"), {})
    error = result.document["error"]
    assert "before its time" in error["problem"] and "--resume --out run" in error["fix"]
    assert error["fix"] in capsys.readouterr().err


class FollowedStudio:
    """A run that goes on until it is stopped, watched by somebody who presses Ctrl-C twice."""

    def __init__(self):
        self.stopped = []
        self.runs = self

    def status(self, token):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return replace(STATUS, state=State.RUNNING)

    def stop(self, token):
        os.kill(os.getpid(), signal.SIGINT)  # a third one must not get in between
        self.stopped.append(token)


def test_who_leaves_at_once_stops_the_run_all_the_same():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    studio = FollowedStudio()
    with pytest.raises(KeyboardInterrupt), common.stop_on_signal() as stop:
        following.follow(studio, "token", Path("run"), {}, stop)
    signal.signal(signal.SIGINT, before)
    assert studio.stopped == ["token"]


@pytest.fixture
def fake_source(monkeypatch):
    """`make_source` without its work; `heard` is what it was asked for."""
    heard = {}

    def fake(pictures, architecture, recipe, out, *, should_stop, **options):
        heard.update(options, pictures=pictures, architecture=architecture)
        yield Reading(100, 200)
        if options["seed"] == 13:
            os.kill(os.getpid(), signal.SIGINT)
        if options["seed"] == 14:
            raise TrainingError("The loss became nan.", "Lower the learning rate.")
        yield PretrainProgress(1.0, 2.0, {"pixel": 0.5}, 20.0, 16, 3.0)
        if should_stop():
            return
        yield Progress(3, 4, 0.1, 0.2, 0.3, 0.4, None, None, 0, 1.0)
        yield make_source.Made(out, CARD)

    monkeypatch.setattr(make_source, "make_source", fake)
    return heard


def test_pretrain(cli, fake_source):
    result = cli("pretrain", "pictures", "--kimg", "2", "--out", "source", "--credit", "me", "--json")
    assert (result.exit_code, document(result)["bundle"]) == (0, "source")
    assert fake_source["kimg"] == 2 and fake_source["card"].credit == "me" and not fake_source["resume"]
    stopped = cli("pretrain", "pictures", "--kimg", "2", "--out", "source", "--seed", "13", "--json")
    assert (stopped.exit_code, document(stopped)["state"]) == (130, "stopped")
    assert cli("pretrain", "pictures", "--kimg", "2", "--out", "source", "--seed", "14").exit_code == 2


def test_a_stopped_pretrain_tells_what_its_checkpoint_holds(cli, fake_source):
    Path("source").mkdir()
    save_tensors(Path("source/last.safetensors"), {"x": torch.zeros(1)}, {"kimg": 8.0})
    stopped = cli(
        "pretrain", "pictures", "--kimg", "2", "--out", "source", "--seed", "13", "--resume", "--json"
    )
    assert document(stopped)["kimg"] == 8


def test_pretrain_of_nonsense(cli):
    for arguments in ([], ["--kimg", 1, "--minutes", 1], ["--kimg", 1, "--architecture", "tower"]):
        assert cli("pretrain", "pictures", "--out", "source", *arguments).exit_code == 2
    Path("source").mkdir()
    Path("source/model.safetensors").touch()
    assert cli("pretrain", "pictures", "--out", "source", "--kimg", 1).exit_code == 2  # would be lost


# Models, data, and around it


def test_models(cli):
    assert [row["id"] for row in document(cli("models", "--json"))["models"]] == ["tiny"]
    assert "tiny" in cli("models").stdout


@pytest.mark.parametrize(("collection", "domain"), [("toon", "bearded"), ("cats", "leopards")])
def test_make_data(cli, collection, domain):
    pytest.importorskip("resvg_py")
    pytest.importorskip("robohash")
    arguments = ("make-data", collection, "--domain", domain, "--count", "3", "--size", "16", "--seed", "5")
    told = document(cli(*arguments, "--out", "faces", "--json"))
    rows = [json.loads(line) for line in Path(told["attributes"]).read_text().splitlines()]
    assert [row["seed"] for row in rows] == [5, 6, 7]
    assert all(Path("faces", row["file"]).is_file() and (row.get("beard") or row["fur"]) for row in rows)
    again = cli(*arguments, "--out", "faces")
    assert again.exit_code == 2 and "already holds" in again.stderr


def test_make_data_of_real_pictures(cli):
    Path("set").mkdir()
    for kind, shape in (("images-idx3", (20, 28, 28)), ("labels-idx1", (20,))):
        head = bytes([0, 0, 8, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
        content = bytes(range(10)) * 2 if len(shape) == 1 else bytes(20 * 28 * 28)
        Path(f"set/t10k-{kind}-ubyte").write_bytes(head + content)
    arguments = ("make-data", "fashion", "--from", "set", "--split", "test", "--classes", "sneaker")
    told = document(cli(*arguments, "--out", "sneakers", "--json"))
    rows = [json.loads(line) for line in Path(told["attributes"]).read_text().splitlines()]
    assert [row["index"] for row in rows] == [7, 17] and told["count"] == 2
    assert all(Path("sneakers", row["file"]).is_file() for row in rows) and Path(told["about"]).is_file()
    again = cli(*arguments, "--out", "sneakers")
    assert again.exit_code == 2 and "already holds" in again.stderr
    train = cli("make-data", "fashion", "--from", "set", "--out", "x")
    assert train.exit_code == 2 and "train-images-idx3-ubyte" in train.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("cartoons", "--out", "x"),
        ("toon", "--out", "x", "--domain", "x"),
        ("toon", "--out", "x", "--split", "test"),
        ("cats", "--out", "x", "--domain", "bearded"),
        ("cats", "--out", "x", "--classes", "7"),
        ("mnist", "--out", "x", "--from", ".", "--seed", "0"),
        ("mnist", "--out", "x", "--from", ".", "--classes", "hat"),
        ("mnist", "--out", "x", "--from", "."),
    ],
)
def test_make_data_of_nonsense(cli, arguments):
    assert cli("make-data", *arguments).exit_code == 2
    assert not Path("x").exists()


def test_convert(cli, monkeypatch):
    Path("file.pth").write_bytes(b"no weights")
    assert cli("convert", "lost.pth", "--out", "bundle").exit_code == 2
    assert cli("convert", "file.pth", "--out", "bundle").exit_code == 2
    assert cli("convert", "file.pth", "--out", "bundle", "--architecture", "tower").exit_code == 2
    Path("full").mkdir()
    Path("full/config.json").write_text("precious")
    full = cli("convert", "file.pth", "--out", "full")
    assert full.exit_code == 2 and "already a model" in full.stderr
    heard = {}
    monkeypatch.setattr(
        "mind2mind.models.official.convert", lambda path, out, **options: heard.update(options) or out
    )
    result = cli("convert", "file.pth", "--out", "bundle", "--architecture", "mnist", "--source", "tiny")
    assert (result.exit_code, result.stdout.strip()) == (0, "bundle")
    assert heard["architecture"].latent_size == 32 and heard["source"].card.id == "tiny"


def test_what_convert_makes_can_be_used(cli, place, tmp_path, monkeypatch):
    shutil.copytree(place / "weights", "weights")
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(tmp_path / "weights"))
    parity = Path(PACKAGE) / "tests" / "parity"
    assert cli("convert", parity / "official_layout_small.pth", "--out", "weights/small").exit_code == 0
    assert [row["id"] for row in document(cli("models", "--json"))["models"]] == ["small", "tiny"]
    assert cli("sample", "-m", "small", "--count", "1").exit_code == 0
    alone = cli("convert", parity / "mindgan_official_layout.pth", "--out", "weights/gan")
    assert alone.exit_code == 2 and "--source" in alone.stderr
    assert not Path("weights/gan").exists()
    sizes = MindGANSizes(latent_size=16, z_dim=4, generator_widths=(8,), critic_widths=(8,))
    g, nothing = Perceptron([4, 8, 16]), torch.zeros(16)
    tiny = checkpoints.load_source(Path("weights/tiny"))
    checkpoints.save_transfer(Path("orphan"), g, nothing, CARD, source=tiny, sizes=sizes, extra={})
    config = json.loads(Path("orphan/config.json").read_text())
    Path("orphan/config.json").write_text(json.dumps(config | {"source": None}))
    orphan = cli("sample", "-m", "orphan")
    assert orphan.exit_code == 2 and "--source" in orphan.stderr


def test_a_folder_may_be_called_like_a_token(cli, place):
    name = "abcdefghijklmnopqrstuv"
    shutil.copytree(place / "weights" / "tiny", name)
    assert cli("sample", "-m", name, "--count", "1").exit_code == 0
    shutil.rmtree(name)
    lost = cli("sample", "-m", name, "--count", "1")
    assert lost.exit_code == 2 and "no such run" in lost.stderr


def test_doctor(cli, place, tmp_path, monkeypatch):
    healthy = cli("doctor", "--json")
    found = {check["name"]: check for check in document(healthy)["checks"]}
    assert healthy.exit_code == 0 and found["model tiny"]["state"] == "ok", healthy.stdout
    broken = tmp_path / "weights" / "broken"
    broken.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        content = (place / "weights" / "tiny" / name).read_bytes()
        (broken / name).write_bytes(content if name == "config.json" else content[:-100])
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(broken.parent))
    ill = cli("doctor")
    assert ill.exit_code == 1 and "bad   model broken" in ill.stdout
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: version(name.replace("facenet-pytorch", "not-there"))
    )
    found = {check["name"]: check for check in document(cli("doctor", "--json"))["checks"]}["facenet-pytorch"]
    assert (found["state"], found["fact"]) == ("bad", "It is missing.") and "facenet" in found["remedy"]


def test_doctor_names_each_thing_that_is_wrong_and_its_remedy(cli, place, tmp_path, monkeypatch):
    lines = tmp_path / "requirements.txt"
    lines.write_text("torch<1  # too old\n\nno-such-package>=2\nnumpy\n")
    monkeypatch.setattr("mind2mind.cli.REQUIREMENTS", lines)
    monkeypatch.setattr("mind2mind.cli.LITTLE_MEMORY", 1 << 60)
    monkeypatch.setenv("MIND2MIND_HOME", str(lines / "home"))
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(tmp_path))
    ill = cli("doctor", "--json")
    found = {check["name"]: check for check in document(ill)["checks"]}
    assert ill.exit_code == 1 and not document(ill)["ok"]
    assert {name for name, check in found.items() if check["state"] == "bad"} == {
        "torch", "no-such-package", "home", "models",
    }  # fmt: skip
    assert found["memory"]["state"] == "note" and found["numpy"]["remedy"] == ""
    assert "out of range" in found["torch"]["fact"] and '"torch<1"' in found["torch"]["remedy"]
    assert "missing" in found["no-such-package"]["fact"] and "MIND2MIND_HOME" in found["home"]["remedy"]


def test_app(cli, monkeypatch):
    launched = []
    monkeypatch.setattr(ui, "launch", lambda *arguments: launched.append(arguments))
    assert cli("app", "--port", 8000, "--public", "--json").exit_code == 130
    monkeypatch.setattr("sys.argv", ["app.py", "--port", "8001", "--device", "cpu", "--host", "::1", "--mcp"])
    with pytest.raises(SystemExit) as left:  # the other door
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    assert left.value.code == 130
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert cli("app").exit_code == 130
    assert launched == [
        ("127.0.0.1", 8000, True, "auto", "", False),
        ("::1", 8001, False, "cpu", "", True),
        ("0.0.0.0", None, False, "auto", "", False),
    ]


def test_pointers_of_git_lfs_are_told_of(cli, place, tmp_path, monkeypatch):
    """In the place of weights, of pictures, of a file to convert, of a model to open."""
    shutil.copytree(place / "weights", tmp_path / "weights")
    (tmp_path / "weights/tiny/model.safetensors").write_bytes(LFS_POINTER)
    for name in ("set/a.jpg", "set/b.png", "model.pth", "photos.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(LFS_POINTER)
    refused = [
        cli("convert", "model.pth", "--out", "o"),
        cli("reconstruct", "set", "-m", "tiny", "--out", "o"),
        cli("transfer", "photos.zip", "set/a.jpg", "-m", "tiny", "--out", "o", "--steps", "5"),
        cli("sample", "-m", tmp_path / "weights/tiny"),
    ]
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(tmp_path / "weights"))
    refused += [cli("sample", "-m", "tiny"), cli("doctor")]
    assert [result.exit_code for result in refused] == [2, 2, 2, 2, 2, 1]
    assert all("git lfs pull" in result.output for result in refused), [r.output for r in refused]
    assert "tiny" not in cli("models").stdout


def test_what_is_set_for_gradio_in_the_environment_counts(cli, monkeypatch):
    launched = []
    monkeypatch.setattr(ui, "launch", lambda *arguments: launched.append(arguments))
    for name, value in (("SERVER_NAME", "::"), ("SERVER_PORT", "8002"), ("ROOT_PATH", "/faces")):
        monkeypatch.setenv(f"GRADIO_{name}", value)
    assert (
        cli("app").exit_code == 130 and cli("app", "--host", "127.0.0.1", "--root-path", "").exit_code == 130
    )
    assert [given[:5] for given in launched] == [
        ("::", 8002, False, "auto", "/faces"),
        ("127.0.0.1", 8002, False, "auto", ""),
    ]
    for port in ("http", "65536"):
        monkeypatch.setenv("GRADIO_SERVER_PORT", port)
        wrong = cli("app")
        assert wrong.exit_code == 2 and "GRADIO_SERVER_PORT" in wrong.stderr


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("192.0.2.7", 0),
        ("2001:db8::1", 0),
        ("no such name", 0),
        ("x" * 64, 0),
        ("0.0.0.0:80", 0),
        ("127.0.0.1", 1),
    ],
)
def test_where_nobody_can_listen(cli, host, port):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wrong = cli("app", "--host", host, "--port", taken.getsockname()[1] if port else 8003)
    assert wrong.exit_code == 2 and f"Nobody can listen on {host}" in wrong.stderr
    assert "Choose another --host or --port" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("NO_PROXY", "localhost,fd00::1", "ok"), ("no_proxy", "[::ffff:1.2.3.4]", "note"),
        ("http_proxy", "http://127.0.0.1:9", "ok"),
        ("https_proxy", "gopher://nowhere", "note"), ("ALL_PROXY", "http://nowhere:port", "note"),
        ("SSL_CERT_FILE", "/nowhere/certificates.pem", "note"),
    ],
)  # fmt: skip
def test_doctor_tells_of_proxies_that_nothing_can_use(cli, monkeypatch, name, value, state):
    monkeypatch.setenv(name, value)
    told = cli("doctor", "--json")
    found = {check["name"]: check for check in document(told)["checks"]}["network"]
    assert told.exit_code == 0 and found["state"] == state
    assert ("HTTPS_PROXY" in found["remedy"]) is (state == "note")


def test_a_start_that_is_refused_leaves_the_folder_free(cli, place):
    wrong = ("transfer", place / "pictures", "-m", "tiny", "--out", "free", "--steps", "999999999")
    assert cli(*wrong).exit_code == 2
    assert not Path("free/run.json").exists()
    assert cli("encode", place / "pictures", "-m", "tiny", "--out", "free/codes.safetensors").exit_code == 0
