"""The handlers of the app, called as what they are: functions. The studio is real, its model tiny."""

import asyncio
import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import types
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import pytest
from live import free_port, live_app
from tiny import LFS_POINTER, RECIPE, carry_out, make_pictures, make_studio, make_weights

from mind2mind.config import PUBLIC, RECIPES
from mind2mind.data.dataset import FileReport, Report
from mind2mind.data.images import Reason
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.files import read_json
from mind2mind.judge.verdict import Verdict
from mind2mind.models.bundle import ModelInfo
from mind2mind.models.catalogue import FIRST
from mind2mind.runs.findings import Prepared
from mind2mind.runs.run import Better, Found, RunInfo, RunStatus, State
from mind2mind.ui import launch, shared, training, transfer
from mind2mind.ui.models import card
from mind2mind.ui.page import Page, footer, tidy
from mind2mind.ui.shared import Visit, checked_seed, known_ref, told, uploaded

ROOT = Path(__file__).resolve().parents[2]
INFO = RunInfo(title="Aliens", model="tiny", source_hash="", crop="centre", found=Found(count=2))
STATUS = RunStatus(
    token="t" * 22, info=INFO, state=State.RUNNING, step=50, total_steps=100, seconds=9.0, seconds_left=9.0,
    metrics=[], preview_steps=[], error=None, place_in_queue=None, distance=None, floor=None, usable=False,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def gradios_files(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "default", RECIPE)
        yield Page(make_studio(tmp_path_factory.mktemp("ui")))


def uploads(folder, count=12):
    return [str(p) for p in sorted(make_pictures(folder, count).iterdir())]


def event(page, name):
    """The handler of this name as the page's events call it."""
    return next(f.fn for f in page.demo.fns.values() if getattr(f.fn, "__qualname__", "") == name)


def checked(page, files, stored=None):
    *_, last = page.transfer.pictures.add(Visit.of(stored), True, files, "tiny")
    return last


# The page


def test_only_the_endpoints_for_programs_are_public(page):
    public = {e.api_name for e in page.demo.fns.values() if e.api_visibility == "public"}
    assert public == {
        "sample",
        "interpolate",
        "encode",
        "submit",
        "status",
        "stop",
        "result",
        "runs",
        "keep",
        "delete",
    }


def test_what_a_browser_keeps_can_be_read_after_a_restart(page, tmp_path):
    again = Page(make_studio(tmp_path)).visit
    assert (again.storage_key, again.secret) == (page.visit.storage_key, page.visit.secret)


def test_nothing_on_the_page_comes_from_elsewhere(page):
    text = str(page.demo.get_config_file())
    assert "fonts.googleapis" not in text and "cdn" not in text.lower()


def test_what_visitors_wrote_is_escaped():
    evil = '<img src=x onerror="alert(1)">'
    model = ModelInfo("x", evil, f"knows {evil}", f"{evil} https://a.org/b'\"c", evil)
    skipped = FileReport(evil, Reason.NOT_A_PICTURE, reason=f"Not a picture: {evil}")
    report = Report((skipped, FileReport("a", width=8, height=8)))
    status = replace(STATUS, state=State.FAILED, error=evil, info=replace(INFO, title=evil))
    texts = [
        footer([model]),
        card(model),
        transfer.table(report),
    ]
    other = Better(id=evil, title=evil, verdict=Verdict.GOOD)
    prepared = Prepared(
        token="t",
        report=report,
        count=1,
        psnr_mean=20.0,
        verdict=Verdict.UNKNOWN,
        reason=evil,
        excluded=(evil,),
        near=((evil, evil),),
        others=(other,),
    )
    texts += [transfer.checked(prepared, evil), transfer.ways(prepared, False)]
    named = replace(STATUS, info=replace(INFO, title=evil))
    texts += [training.standing(status), training.chip(named), shared.linked(evil)]
    assert not any("<img" in text for text in texts)
    assert "<code>&lt;b&gt;</code>" in shared.note("Run `<b>`.")


def test_an_address_in_the_credit_can_be_clicked():
    assert '<a href="https://a.org/b" target="_blank" rel="noopener">' in shared.linked(
        "By A (https://a.org/b)."
    )


def test_the_examples_are_the_folders_with_an_about(tmp_path):
    make_pictures(tmp_path / "a", 3)
    (tmp_path / "a/about.json").write_text('{"title": "A", "credit": "B"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/about.json").write_text("{")
    (one,) = transfer.examples(tmp_path)
    assert (one.title, one.credit, len(one.files)) == ("A", "B", 3) and one.collage.size[0] > 16
    assert transfer.examples(tmp_path / "none") == []


@pytest.mark.parametrize("bad", [LFS_POINTER, b"no picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b""])
def test_an_example_picture_that_cannot_be_read_is_left_out_and_told_of(tmp_path, caplog, bad):
    for name in ("some", "none"):
        for path in sorted(make_pictures(tmp_path / name, 12).iterdir())[: 3 if name == "some" else None]:
            path.write_bytes(bad)
        (tmp_path / name / "about.json").write_text("{}")
    (some,) = transfer.examples(tmp_path)
    whole = transfer.Draw.collage(some.files[3:9])
    assert some.title == "some" and some.collage.tobytes() == whole.tobytes()
    assert caplog.text.count("some/00") == 3 and f"{tmp_path / 'none'} is left out" in caplog.text
    assert ("git lfs pull" in caplog.text) is (bad is LFS_POINTER)


@pytest.mark.parametrize("about", ["[]", "5", LFS_POINTER.decode(), '{"models": 3}'])
def test_an_example_without_a_readable_about_is_left_out_and_told_of(tmp_path, caplog, about):
    make_pictures(tmp_path / "a", 2)
    (tmp_path / "a/about.json").write_text(about)
    assert transfer.examples(tmp_path) == [] and f"{tmp_path / 'a'} is left out" in caplog.text


def test_an_example_brings_its_source_model(tmp_path):
    make_pictures(tmp_path / "boots", 2)
    (tmp_path / "boots/about.json").write_text('{"models": ["fashion", "mnist", "gone"]}')
    there = {"toon", "mnist", "fashion"}
    (boots,) = transfer.examples(tmp_path, there)
    assert boots.models == ("fashion", "mnist")
    assert [boots.source(chosen) for chosen in ("toon", "mnist")] == ["fashion", "mnist"]
    assert transfer.examples(tmp_path, {"toon"}) == []
    (tmp_path / "boots/about.json").write_text('{"title": "Boots"}')
    (anything,) = transfer.examples(tmp_path, {"toon"})
    assert anything.source("toon") == "toon"


def test_the_examples_in_assets_say_what_they_are():
    """Each set's attributes name its pictures, and its story says how many there are and whose they are."""
    for example in transfer.examples():
        folder = example.files[0].parent
        told = read_json(folder / "about.json")
        rows = [json.loads(line) for line in (folder / "attributes.jsonl").read_text().splitlines()]
        assert sorted(row["file"] for row in rows) == [path.name for path in example.files]
        assert told["pictures"] == len(rows) >= 100 and example.models
        assert all(told[key] for key in ("title", "shows", "licence", "credit", "made_by"))


# What goes wrong in a handler, before it or after it; what is uploaded


@contextlib.contextmanager
def running(page):
    """The page, served; gives its address."""
    page.demo.queue()
    _, url, _ = page.demo.launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    try:
        yield url
    finally:
        page.demo.close(verbose=False)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EIO, "Input/output error", "disk/run.json"),
            "disk/run.json: Input/output error. Check that",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "<b>"),
            "&lt;b&gt;: Permission denied. Choose a folder",
        ),
        (MemoryError(), "memory is full"),
        (KeyError(3), "KeyError: 3. This is a fault"),
        (RecursionError("deep"), "RecursionError: deep. This is a fault"),
    ],
)
def test_whatever_goes_wrong_is_told(page, monkeypatch, caplog, error, words):
    """Before the handler, in it, and after it."""

    def fails(*_, **__):
        raise error

    (drawing,) = [fn for fn in page.demo.fns.values() if fn.api_name == "sample"]
    (files,) = drawing.outputs
    for place, name in (
        (drawing.inputs[0], "preprocess"),
        (page.studio.explore, "draw"),
        (files, "postprocess"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fails)
            call = page.demo.process_api(drawing, ["tiny", 0, 1, 1.0, "none", None, None, False, None, None])
            # this thread may have a loop already
            with pytest.raises(gr.Error, match=re.escape(words)) as caught, ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, call).result()
        assert not caught.value.print_exception
    assert ("Traceback" in caplog.text) == ("fault" in words)  # ours are in the log in full, others are not


def form(content):
    """A form with one file, in parts: its bytes, and what they are."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def in_pieces(body):
    """Nobody is told how many there are."""
    yield from (body[at : at + 100_000] for at in range(0, len(body), 100_000))


@pytest.fixture
def full(small_disk, monkeypatch):
    """A page whose home is a disk of 8 MB."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(small_disk / "home/gradio"))
    return Page(make_studio(small_disk))


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("size", [8_400_000, 30_000_000])
def test_an_upload_that_fills_the_disk_leaves_nothing_and_says_so(full, small_disk, told, size):
    """Its room is looked at before, where its size is told; else it is stopped when the disk is full."""
    body, headers = form(os.urandom(size))
    with running(full) as url, httpx.Client(base_url=url, timeout=60, headers=headers) as client:
        small, _ = form(b"small")
        (kept,) = client.post("gradio_api/upload", content=small).json()
        free = shutil.disk_usage(small_disk).free
        for _ in range(2):  # it goes on as if nothing had happened
            answer = client.post("gradio_api/upload", content=body if told else in_pieces(body))
            assert answer.status_code == 400 and "disk is full" in answer.text and "Make room" in answer.text
            assert shutil.disk_usage(small_disk).free >= free - 100_000  # nothing holds the bytes
        assert client.post("gradio_api/upload", content=small).json() == [kept]
    assert [path for path in (small_disk / "home/gradio").rglob("*") if path.is_file()] == [Path(kept)]


def test_an_upload_that_is_broken_off_leaves_nothing(page):
    body, headers = form(os.urandom(3_000_000))
    cache = Path(os.environ["GRADIO_TEMP_DIR"])

    def files():
        return {Path(place, name) for place, *names in os.walk(cache) for name in itertools.chain(*names)}

    before = files()
    with running(page) as url:
        host, port = url.split("/")[2].split(":")
        for share in (0.5, 0.9):
            with socket.create_connection((host, int(port))) as line:
                told = {**headers, "Host": host, "Content-Length": len(body)}
                head = "POST /gradio_api/upload HTTP/1.1\r\n" + "".join(
                    f"{k}: {v}\r\n" for k, v in told.items()
                )
                line.sendall(head.encode() + b"\r\n" + body[: int(len(body) * share)])
                while not (parts := files() - before):
                    time.sleep(0.02)
            deadline = time.monotonic() + 30
            while parts and time.monotonic() < deadline:
                time.sleep(0.05)
                parts = files() - before
            assert not parts


@pytest.mark.parametrize("told", [True, False])
def test_what_is_uploaded_counts_for_the_limits(tmp_path, told):
    page = Page(make_studio(tmp_path, replace(PUBLIC, disk_bytes=1_000_000)))
    body, headers = form(os.urandom(900_000))
    with running(page) as url, httpx.Client(base_url=url, timeout=60, headers=headers) as client:
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home/others").write_bytes(bytes(200_000))
        answer = client.post("gradio_api/upload", content=body if told else in_pieces(body))
        assert answer.status_code == 400 and "server's disk is full" in answer.text
        (tmp_path / "home/others").unlink()
        assert client.post("gradio_api/upload", content=body).status_code == 200


# The door


def test_an_error_is_told_and_escaped():
    with pytest.raises(gr.Error) as caught, told():
        raise DataError("<b> is bad.", "Rename it.")
    assert "&lt;b&gt; is bad. Rename it." in str(caught.value)
    with pytest.raises(gr.Error, match="fault of the program"), told():
        print(1 / 0)


def test_a_visit_believes_nothing_the_browser_says():
    for stored in (
        None,
        [],
        "x",
        {"visitor": "../../etc", "token": 3, "models": "abc"},
        {"models": [None, "../x"]},
    ):
        visit = Visit.of(stored)
        assert len(visit.visitor) == 22 and visit.token is None and visit.models == ()
    visit = Visit.of(None).at("a" * 22).using("a" * 22).using("a" * 22)
    assert Visit.of(visit.stored()) == visit and visit.models == ("a" * 22,)
    assert visit.forgetting("a" * 22).models == ()


@pytest.mark.parametrize("ref", ["../weights/tiny", "/etc", "", "no", None])
def test_a_path_is_no_model(page, ref):
    with pytest.raises(Exception, match="There is no model"):
        known_ref(page.studio, ref)


@pytest.mark.parametrize("seed", [None, -1, 1.5, 2**31])
def test_a_bad_seed_is_told(seed):
    with pytest.raises(Exception, match="seed"):
        checked_seed(seed)


def test_no_files_are_told_of():
    for nothing in (None, []):
        with pytest.raises(DataError, match="no pictures yet"):
            uploaded(nothing)


# The process


@pytest.mark.parametrize(("public", "left"), [(False, ["made", "new", "two_hours"]), (True, ["made", "new"])])
def test_tidying_up_deletes_only_what_is_old(page, tmp_path, monkeypatch, public, left):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(page.studio, "public", public)
    for name in ("made/old", "made/two_hours", "made/new"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tmpabc").touch()
    for name, seconds in (("made/old", 90_000), ("tmpabc", 90_000), ("made/two_hours", 7200)):
        os.utime(tmp_path / name, (time.time() - seconds,) * 2)
    tidy(page.studio)
    assert sorted(p.name for p in tmp_path.rglob("*")) == left


def test_the_list_of_models_opens_no_weights(page, tmp_path, monkeypatch):
    stored = checked(page, uploads(tmp_path))[page.transfer.steps.visit]
    page.studio.runs.start(stored["token"], recipe=RECIPE, seconds=None, steps=20, seed=0)
    carry_out(page.studio, stored["token"])
    title = page.studio.models.load(stored["token"]).card.title

    def load(ref):
        raise AssertionError("the weights were opened")

    monkeypatch.setattr(page.studio.models, "load", load)
    choices = page.known_models(stored | {"models": [stored["token"], "a" * 22]})[0].choices
    assert choices == [("Tiny", "tiny"), (f"Yours: {title}", stored["token"])]
    page.transfer.shelf.delete_shown(Visit.of(stored))


def interrupt(_):
    raise KeyboardInterrupt


@pytest.fixture
def launched(page, tmp_path, monkeypatch):
    """What `launch` gives Gradio, which then ends at once."""
    seen = {}
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "before")  # so that they are put back
    monkeypatch.setenv("MIND2MIND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(page.studio.weights))
    monkeypatch.setattr(gr.Blocks, "launch", lambda demo, **options: seen.update(options))
    monkeypatch.setattr(gr.Blocks, "local_url", "http://x/", raising=False)
    monkeypatch.setattr(gr.Blocks, "server", types.SimpleNamespace(close=lambda: None), raising=False)
    monkeypatch.setattr("mind2mind.ui.time", types.SimpleNamespace(sleep=interrupt))
    monkeypatch.setattr("mind2mind.ui.page._tidy_for_ever", lambda studio: None)
    return seen


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        ("127.0.0.1", False), ("127.0.0.9", False), ("localhost", False), ("::1", False), ("[::1]", False),
        ("0.0.0.0", True), ("::", True), ("[::]", True),
    ],
)  # fmt: skip
def test_listening_to_others_is_warned_of(launched, caplog, host, warned):
    with pytest.raises(KeyboardInterrupt):
        launch(host, 7000, device="cpu")
    assert ("without --public" in caplog.text.lower()) is warned
    given = f"[{host.strip('[]')}]" if ":" in host else host
    assert launched["server_name"] == given and not launched["share"] and not launched["run_history"]
    assert launched["max_file_size"] is None and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_a_space_has_the_limits_for_visitors_whatever_is_asked_for(launched, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/space")
    with pytest.raises(KeyboardInterrupt):
        launch("0.0.0.0", None)
    assert launched["max_file_size"] == PUBLIC.total_bytes


@pytest.mark.parametrize(
    ("given", "taken"),
    [("", ""), ("faces", "/faces"), ("/a/b/", "/a/b"), ("https://a.org/b", "https://a.org/b")],
)
def test_a_path_in_front_of_the_app(launched, given, taken):
    with pytest.raises(KeyboardInterrupt):
        launch(port=7000, device="cpu", root_path=given)
    assert launched["root_path"] == taken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "at", "settings", "said"),
    [
        (["--host", "::1"], "[::1]", {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "example.org"}, ()),
        (
            [],
            "[::1]",
            {"GRADIO_SERVER_NAME": "::", "GRADIO_NUM_PORTS": "x", "no_proxy": "[fd00::2],a"},
            ("everybody", "cannot download"),
        ),
        (
            [],
            "127.0.0.1",
            {"all_proxy": "gopher://a", "SSL_CERT_FILE": "/nowhere", "GRADIO_DEBUG": "yes"},
            ("cannot download",),
        ),
    ],
)
def test_the_app_reaches_itself_whatever_the_environment_says(tmp_path, arguments, at, settings, said):
    with live_app(tmp_path, make_weights(tmp_path / "weights"), *arguments, at=at, settings=settings) as app:
        app.said(f"Mind2Mind is at {app.url}")
        for words in said:
            app.said(words)
    told = app.log.read_text()
    assert "Traceback" not in told and ("everybody" in told) is ("everybody" in said)


@pytest.mark.slow
def test_the_app_starts_without_a_model_that_is_damaged(tmp_path):
    weights = make_weights(make_weights(tmp_path / "weights", name=FIRST[0]), name="zebra")
    (weights / FIRST[0] / "model.safetensors").write_bytes(LFS_POINTER)
    with live_app(tmp_path, make_weights(weights)) as app:
        told = app.said("Mind2Mind is at")
        with urllib.request.urlopen(f"{app.url}config") as page:
            config = page.read().decode()
    assert told.count("git lfs pull") == 1 and f"{FIRST[0]}/model.safetensors" in told
    assert '"zebra"' in config and f'"{FIRST[0]}"' not in config


def test_without_a_model_the_app_says_what_helps(launched, tmp_path, monkeypatch):
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(tmp_path / "w"))
    for content in (None, LFS_POINTER, b"{}"):
        if content:
            (make_weights(tmp_path / "w") / "tiny/model.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match=r"no model that can be used.*weights/.*git lfs pull"):
            launch(port=7000, device="cpu")


def test_a_gradio_that_follows_addresses_is_refused(page, monkeypatch):
    async def fetch(component, path):
        return path

    monkeypatch.setattr("gradio.blocks.Block.async_move_resource_to_block_cache", fetch)
    with pytest.raises(ConfigError, match="fetches web addresses"):
        Page(page.studio)


def test_the_page_can_be_built_where_a_loop_runs(page):
    """As in a notebook, or beside a browser that is driven from the same thread."""

    async def build():
        return Page(page.studio).demo

    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop already
        assert pool.submit(asyncio.run, build()).result().fns


def test_the_shim_is_nothing_without_zerogpu(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert shared.gpu(len) is len


SPACES = """
import functools, inspect, pickle
inside, asked = 0, {}

def sent(value):  # the real one runs the call in another process
    return pickle.loads(pickle.dumps(value))

def GPU(duration):
    def decorate(f):
        def begun(args, settings):
            global inside
            args, settings = sent((args, settings))
            asked[f.__name__] = duration(*args, **settings) if callable(duration) else duration
            return f(*args, **settings)

        def step(next_one):
            global inside
            inside += 1
            try:
                return sent(next_one())
            finally:
                inside -= 1

        @functools.wraps(f)
        def call(*a, **k):
            return step(lambda: begun(a, k))

        @functools.wraps(f)
        def stream(*a, **k):
            steps, end = begun(a, k), object
            while (item := step(lambda: next(steps, end))) is not end:
                yield item

        return stream if inspect.isgeneratorfunction(f) else call
    return decorate
"""

ON_ZEROGPU = """
import inspect, sys
import spaces, torch

run = torch.nn.Module.__call__
def guarded(module, *a, **k):
    assert spaces.inside, f"{type(module).__name__} runs outside of a GPU call"
    return run(module, *a, **k)
torch.nn.Module.__call__ = guarded

import contextlib
import runpy
import gradio as gr
from tiny import RECIPE, carry_out

demos = []
def launch(demo, **settings):
    demos.append(demo)
    raise KeyboardInterrupt
gr.Blocks.launch = launch
arguments, sys.argv = sys.argv, ["app.py"]
with contextlib.suppress(SystemExit):
    runpy.run_path("app.py", run_name="__main__")
sys.argv = arguments
from pathlib import Path
from mind2mind.explore import View
from mind2mind.ui.interpolate import Route
from mind2mind.ui.transfer import Example

(demo,) = demos
call = {f.fn.__qualname__: f.fn for f in demo.fns.values() if f.fn}
studio = call["Page.known_models"].__wrapped__.__self__.studio
assert studio.public
pictures, bad = sys.argv[2:], sys.argv[1]

call["ExploreTab.draw"]("tiny", 0, 2, "random", View())
call["ExploreTab.slide"]({"held": "", "values": [1, 0.5]}, "tiny", View())
call["ExploreTab.from_photo"](True, "tiny", pictures[0]), call["ExploreTab.mix"]("tiny", View(), 1, 2)
call["ExploreTab.more_like_this"]("tiny", View()), call["ExploreTab.more_cells"]([[0, 1]], ("tiny", View()))
call["ExploreTab.file_of"]("tiny", View()), call["ExploreTab.zip_of"]("tiny", [View()])
route = Route("tiny", (View(1, photo=Path(pictures[0])), View(2, moves=(1.0,))))
call["InterpolateTab.taken"](True, pictures[0], route), [*call["InterpolateTab.show"](route, 0, 0.5)]
call["InterpolateTab.slide"]({"t": 0.5, "held": ""}, route), call["InterpolateTab.rebuild"](route, 0)
call["InterpolateTab.frames_of"](route), call["InterpolateTab.file_of"](route, 0.5)
call["InterpolateTab.clip_of"](route, 1, "WebP", True, True)

tab, (*_, ready) = inspect.unwrap(call["TransferTab.look_at"]).__self__, call["Pictures.add"](None, True, pictures, "tiny")
stored = ready[tab.steps.visit]
token = stored["token"]
assert ready[tab.pictures.compared].count("<img") == 12
assert len(call["TransferTab.arrive"](stored, type("R", (), {"query_params": {}}))[tab.pictures.compared].split("<img")) == 13
tab.pictures.examples = [Example(tuple(map(str, pictures)), "E", "", None)]
*_, other = call["Pictures.add_example"](0, None, "tiny")
studio.runs.launcher.ensure = lambda run: None
studio.runs.start(token, recipe=RECIPE, seconds=None, steps=20, seed=0)
spaces.inside += 1  # the worker's
carry_out(studio, token)
spaces.inside -= 1
assert call["Training.show_preview"](call["Training.show_run"](stored)[tab.training.previewed]).count("<img") == 16
result = call["Result.finish"](stored)
result |= call["Result.judged"](stored, result[tab.result.drawn])
assert result[tab.result.made].visible
call["TransferTab.look_at"](stored, token), call["Page.use"](stored), call["Page.known_models"](stored | {"models": [token]})
call["ExploreTab.draw"](token, 0, 1, "none", View())
call["Page.open"](None, result[tab.result.download].value["path"])

call["Api.sample"]("tiny", 0, 1, 1.0, "none"), call["Api.encode"](pictures, "tiny", "centre", True)
call["Api.interpolate"]("tiny", 0, 1, 12, "WebP")
submit = lambda paths: list(call["Api.submit"](type("R", (), {"client": None, "headers": {}}), paths, "tiny", 30, 0, "default", "centre", 0, "", True))
assert submit(pictures)[-1]["used"] == len(pictures)
assert len(call["Api.result"](token)[0]) == 64
for attempt in (lambda: submit([bad]), lambda: list(call["Pictures.add"](None, True, [bad], "tiny"))):
    try:
        attempt()
    except gr.Error as error:
        assert "None of the pictures can be used" in str(error)
    else:
        raise AssertionError("not told")
print(spaces.asked)
"""  # noqa: E501


@pytest.mark.slow
def test_on_zerogpu_every_network_runs_in_a_gpu_call(tmp_path):
    """With a stand-in for the package `spaces`, in a process of its own: app.py is what a Space imports."""
    (tmp_path / "spaces.py").write_text(SPACES)
    studio, bad = make_studio(tmp_path), tmp_path / "bad.png"
    bad.write_bytes(b"")
    paths = [str(tmp_path), str(ROOT), str(ROOT / "tests")]
    env = os.environ | {
        "SPACES_ZERO_GPU": "true", "SPACE_ID": "a/b", "MIND2MIND_WEIGHTS": str(studio.weights),
        "MIND2MIND_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(paths),
    }  # fmt: skip
    command = [sys.executable, "-c", ON_ZEROGPU, str(bad), *uploads(tmp_path / "in")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    names = "draw", "slide", "show", "save", "read", "preview", "result", "judge", "comparison", "encode"
    for name in names:
        assert f"'{name}': 60" in done.stdout


def test_many_pictures_get_more_gpu_time(tmp_path):
    with (tmp_path / "a.zip").open("wb") as file:
        file.truncate(shared.CHECK_BYTES)
    (tmp_path / "b.png").write_bytes(b"x")
    one, both = [str(tmp_path / "a.zip")], [str(tmp_path / "a.zip"), str(tmp_path / "b.png")]
    for files, seconds in ((None, 60), ([], 60), (one, 60), (both, 120)):
        assert shared.check_seconds(files, "tiny", "centre") == seconds


def test_decorated_handlers_still_stream(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=lambda duration: lambda f: f))

    def stream():
        yield 1

    assert list(shared.gpu(stream)()) == [1]
