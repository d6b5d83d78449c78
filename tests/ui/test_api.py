"""The named endpoints, called by gradio_client against the app in a process of its own."""

import asyncio
import base64
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from live import ROOT, live_app
from PIL import Image, ImageChops
from tiny import followed, make_pictures, make_studio, make_weights, png_meta, prepared
from web import serving

from mind2mind.config import PUBLIC
from mind2mind.data import codes
from mind2mind.errors import ConfigError, RunError
from mind2mind.explore import View, alike
from mind2mind.runs.run import Run, State
from mind2mind.ui import launch
from mind2mind.ui.api import Api, _caller

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with live_app(folder, make_weights(folder / "weights")) as running:
        yield running


@pytest.fixture(scope="module")
def client(app, tmp_path_factory):
    return Client(app.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def pictures(folder, count):
    return [handle_file(str(p)) for p in sorted(make_pictures(folder, count).iterdir())]


LONG = {"seconds": 600, "settings": {"steps_per_picture": 0}}  # else few pictures end it


def polled(client, token):
    """Where a run stands, again and again until it has ended."""
    while True:
        status = client.predict(token, api_name="/status")
        yield status
        if not State(status["state"]).alive:
            return
        time.sleep(0.2)


ENDPOINTS = {
    "/sample": [
        "model",
        "seed",
        "count",
        "psi",
        "noise",
        "moves",
        "near",
        "alike",
        "style",
        "crossover",
    ],
    "/interpolate": [
        "model",
        "seed_a",
        "seed_b",
        "frames",
        "kind",
        "picture_a",
        "picture_b",
        "agreed",
        "path",
    ],
    "/encode": ["pictures", "model", "crop", "agreed"],
    "/submit": [
        "pictures",
        "model",
        "seconds",
        "steps",
        "recipe",
        "crop",
        "seed",
        "visitor",
        "agreed",
        "name",
        "settings",
    ],
    "/status": ["token"],
    "/stop": ["token"],
    "/result": ["token"],
    "/keep": ["token", "step"],
    "/runs": ["visitor"],
    "/delete": ["token"],
}
SENTENCES = re.compile(r"[A-Z][^\n]+\.")


def test_the_public_endpoints_are_the_documented_ones(app, client):
    info = client.view_api(return_format="dict", print_info=False)
    endpoints = info["named_endpoints"]
    assert not info["unnamed_endpoints"]
    named = {name: [p["parameter_name"] for p in e["parameters"]] for name, e in endpoints.items()}
    assert named == ENDPOINTS
    for endpoint in endpoints.values():
        assert re.fullmatch(r"[A-Z].+\.\n\nReturns:\n {4}[A-Z][^:]+.*\.", endpoint["description"], re.DOTALL)
        assert "Args:" not in endpoint["description"]
        for parameter in endpoint["parameters"]:
            assert SENTENCES.fullmatch(parameter["python_type"]["description"])
            assert parameter["python_type"]["type"] != "Any"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in ENDPOINTS)


def test_sample(client):
    once = client.predict(model="tiny", seed=5, count=3, psi=0.8, noise="none", api_name="/sample")
    files = [Path(item["image"]) for item in once]
    assert [png_meta(f)["seed"] for f in files] == ["5", "6", "7"]
    (single,) = client.predict(model="tiny", seed=6, count=1, psi=0.8, noise="none", api_name="/sample")
    assert list(Image.open(single["image"]).getdata()) == list(Image.open(files[1]).getdata())


def test_samples_are_moved_varied_and_mixed_as_in_explore(app, client):
    """Each is the picture that the facade draws of the same places."""
    look, studio = {"psi": 0.8, "noise": "fixed"}, make_studio(app.home.parent)
    moved = View(5, moves=(0.5, 2.5), near=(3, 1), **look)
    asked, plain = (
        {"model": "tiny", "seed": 5, "count": 3, **look},
        [View(seed, **look) for seed in (5, 6, 7)],
    )
    cases = [
        ({"moves": [0.5, 2.5], "near": [3, 1]}, [replace(moved, seed=seed) for seed in (5, 6, 7)], {}),
        ({"alike": True}, alike(plain[0], 3), {}),
        ({"style": 9}, plain, {"style": 9}),
        ({"style": 9, "crossover": 1}, plain, {"style": 9, "crossover": 1}),
    ]
    for more, views, mixed in cases:
        files = [Path(item["image"]) for item in client.predict(**asked, **more, api_name="/sample")]
        assert [file.stem for file in files] == [f"sample-{view.stem}" for view in views]
        for file, image in zip(files, studio.explore.draw("tiny", views, **mixed), strict=True):
            with Image.open(file) as drawn:
                assert drawn.text.items() >= image.info.items()
                assert max(high for _, high in ImageChops.difference(drawn, image).getextrema()) <= 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": "/etc"}, "There is no model"),
        ({"moves": "far"}, "not a list"),
        ({"moves": [11]}, "from -10 to 10"),
        ({"moves": [0] * 99}, "more than there are directions"),
        ({"near": [0.5]}, "near is"),
        ({"near": {"a": 1}}, "not a list"),
        ({"style": -1}, "seed"),
        ({"style": 1, "crossover": 99}, "crossover is 99"),
        ({"model": "../weights/tiny"}, "There is no model"),
        ({"count": 65}, "from 1 to 64"),
        ({"seed": -1}, "seed"),
        ({"noise": "loud"}, "noise"),
        ({"psi": 99}, "psi"),
    ],
)
def test_wrong_use_is_told_in_words(client, wrong, words):
    right = {"model": "tiny", "seed": 1, "count": 1, "psi": 1.0, "noise": "none"}
    with pytest.raises(AppError, match=words):
        client.predict(**(right | wrong), api_name="/sample")


def test_interpolate_between_a_seed_and_a_picture(client, tmp_path):
    picture = pictures(tmp_path / "in", 1)[0]
    for kind in ("WebP", "GIF"):
        clip = client.predict(seed_a=3, picture_b=picture, frames=12, kind=kind, api_name="/interpolate")
        with Image.open(clip) as film:
            assert (film.format, film.n_frames) == (kind.upper(), 12)


def test_encode(client, app, tmp_path):
    file, report = client.predict(pictures=pictures(tmp_path / "in", 4), api_name="/encode")
    assert len(codes.load(Path(file))) == 4
    assert [v["status"] for v in report["files"]] == ["used"] * 4
    assert not list((app.home / "runs").glob("*"))  # nothing of the visitor's is kept


def test_status_answers_at_once_however_many_look(app, client, tmp_path):
    """More lookers than the server has job slots, at a run that goes on."""
    token = client.predict(pictures(tmp_path / "in", 12), **LONG, api_name="/submit")["token"]
    with ThreadPoolExecutor(
        100
    ) as lookers:  # without gradio_client, whose one stream for all calls may end early
        answers = list(lookers.map(lambda _: posted(app, "status", token), range(100)))
    assert all("event: complete" in answer and f'"token": "{token}"' in answer for answer in answers)
    assert client.predict(model="tiny", count=1, api_name="/sample")
    assert client.predict(token, api_name="/stop")["state"] in ("queued", "stopping", "stopped", "prepared")


def test_the_example_of_the_readme(app, tmp_path):
    """Exactly what is printed there, but for the address; and the token is a model."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "gradio_client" in block]
    assert "http://127.0.0.1:7860" in code and "seconds=30" in code
    make_pictures(tmp_path / "photos", 24)
    code = code.replace("http://127.0.0.1:7860", app.url).replace("seconds=30", "seconds=2")
    env = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert any(line.startswith("24 pictures: ") for line in said)
    assert any(line.startswith("done ") for line in said)
    bundle = said[-1]
    with zipfile.ZipFile(bundle) as archive:
        assert any(name.endswith("model.safetensors") for name in archive.namelist())
    assert app.connections == ""


def test_a_run_is_followed_stopped_fetched_and_deleted(app, client, tmp_path):
    settings = {"batch_size": 8, "critic_widths": [16, 8], "from_mind": None}
    job = client.submit(
        pictures(tmp_path / "in", 24),
        seconds=LONG["seconds"],
        seed=7,
        visitor="me",
        name=" Two  heads ",
        settings=settings | LONG["settings"],
        api_name="/submit",
    )
    *read, told = list(job)
    assert all(value["state"] == "reading" for value in read)
    assert (told["used"], told["skipped"], len(told["report"])) == (24, 0, 24)
    assert told["verdict"] and told["reason"]
    token = told["token"]
    with pytest.raises(AppError, match="no model yet"):
        client.predict(token, api_name="/result")
    for status in polled(client, token):
        if status["step"] and status["state"] == "running":
            begun = time.monotonic()
            assert client.predict(token, api_name="/stop")["state"] in ("stopping", "stopped")
            assert time.monotonic() - begun < 5  # the run would take 600
    assert status["state"] == "stopped" and status["usable"]
    samples, bundle, facts = client.predict(token, api_name="/result")
    files = [Path(item["image"]) for item in samples]
    told_of = facts["samples"]
    assert [(sample["file"], str(sample["seed"])) for sample in told_of] == [
        (file.name, png_meta(file)["seed"]) for file in files
    ]
    assert {sample["nearest"] for sample in told_of} <= {file["name"] for file in told["report"]}
    assert len(files) == 64 and min(sample["distance"] for sample in told_of) > 0
    assert facts["check"] == {name: told[name] for name in ("used", "skipped", "verdict", "reason", "psnr")}
    assert facts["worth"]["grades"]["variety"] in facts["told"][1]
    assert "--batch-size 8 " in facts["command"] and "--critic-widths 16,8 " in facts["command"]
    assert facts["title"] == "Two heads" and Path(bundle).name == "two-heads.zip"
    first = told_of[0]["seed"]
    drawn = client.predict(model=token, seed=first, count=2, api_name="/sample")
    assert Image.open(drawn[1]["image"]).tobytes() == Image.open(files[1]).tobytes()
    (mine,) = client.predict("me", api_name="/runs")
    known = {name: facts[name] for name in ("token", "title", "state", "step", "total_steps")}
    assert known | {"model": "tiny", "pictures": 24} == {
        name: mine[name] for name in mine if name != "created"
    }
    assert abs(datetime.fromisoformat(mine["created"]).timestamp() - time.time()) < 3600
    assert token not in [run["token"] for run in client.predict("you", api_name="/runs")]
    assert client.predict(token, api_name="/delete") == {"token": token, "state": "deleted"}
    assert client.predict("me", api_name="/runs") == [] and not Path(app.home / "runs" / token).exists()


def test_a_run_at_work_is_listed_and_can_be_deleted(client, tmp_path):
    names = pictures(tmp_path / "in", 12)
    tokens = [client.predict(names, **LONG, visitor="busy", api_name="/submit")["token"] for _ in range(2)]
    assert [run["token"] for run in client.predict("busy", api_name="/runs")] == tokens[::-1]
    next(status for status in polled(client, tokens[0]) if status["step"])
    for token in tokens:
        client.predict(token, api_name="/delete")
    assert client.predict("busy", api_name="/runs") == []


def test_a_public_server_lists_runs_by_name_only(tmp_path):
    studio, folder = make_studio(tmp_path, PUBLIC), make_pictures(tmp_path / "in", 4)
    me = request_of("192.0.2.1")
    visitor, address = _caller(me, "me")
    token = prepared(studio, folder, visitor=visitor, address=address)
    prepared(studio, folder, visitor=_caller(me, "")[0], address=address)
    with gr.Blocks():
        api = Api(studio)
    assert [run["token"] for run in api.runs(me, "me")] == [token]
    assert api.runs(request_of("192.0.2.2"), "me") == []
    with pytest.raises(ConfigError, match="share your address"):
        api.runs(me, "")


def begun(app, folder):
    """A client, and the token of a run that is at work."""
    client = Client(app.url, verbose=False)
    token = client.predict(pictures(folder, 24), **LONG, api_name="/submit")["token"]
    assert next(status for status in polled(client, token) if status["step"])["state"] == "running"
    return client, token


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_app_that_ends_says_which_runs_go_on_and_how_to_stop_them(tmp_path, number):
    with live_app(tmp_path, make_weights(tmp_path / "weights")) as app:
        _, token = begun(app, tmp_path / "in")
        app.process.send_signal(number)
        assert app.process.wait(30) == 130
        told = app.said("goes on without the app")
        assert "Traceback" not in told
        studio = make_studio(tmp_path)
        assert studio.runs.status(token).state == "running"
        command = re.search(r"To stop it: (.*)", told)[1]
        settings = os.environ | {"MIND2MIND_HOME": str(app.home)}
        subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=ROOT, env=settings, check=True)
        status = followed(studio, token)
        assert status.state == "stopped" and status.usable


FIRST = (
    "unshare",
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)  # as in a container


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*FIRST, "true"]).returncode, reason="forbidden"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_of_a_container_ends_when_told_and_keeps_the_work_of_its_runs(tmp_path, number):
    with live_app(tmp_path, make_weights(tmp_path / "weights"), inside=FIRST) as app:
        client, token = begun(app, tmp_path / "in")
        queued = client.predict(pictures(tmp_path / "in", 12), **LONG, visitor="b", api_name="/submit")[
            "token"
        ]
        (first,) = psutil.Process(app.process.pid).children()
        first.send_signal(number)
        assert app.process.wait(30) == 130
        told = app.log.read_text()
    assert told.count("its work is kept") == 2 and "Traceback" not in told
    studio = make_studio(tmp_path)
    status = studio.runs.status(token)
    assert status.state == "stopped" and status.usable and studio.runs.status(queued).state == "prepared"


def test_the_same_seed_and_steps_give_the_same_model(client, tmp_path):
    names, tokens = pictures(tmp_path / "in", 12), []
    for i in range(2):
        tokens.append(client.predict(names, steps=20, seed=3, visitor=str(i), api_name="/submit")["token"])
        *_, last = polled(client, tokens[i])
        assert (last["step"], last["kept"]) == (20, None)

    def weights(token):
        with zipfile.ZipFile(client.predict(token, api_name="/result")[1]) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith("model.safetensors")]
            return archive.read(name)

    first = weights(tokens[0])
    assert first == weights(tokens[1])
    step = last["preview_steps"][3]
    assert client.predict(tokens[0], step, api_name="/keep")["kept"] == step
    kept = weights(tokens[0])
    assert kept != first
    assert client.predict(tokens[0], api_name="/keep")["kept"] is None and weights(tokens[0]) == first
    for wrong, words in ((999, "Choose one of 0, "), (-1, "whole number"), ("x", "step is x")):
        with pytest.raises(AppError, match=words):
            client.predict(tokens[0], wrong, api_name="/keep")


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """The folder of a run, which the command line could be given."""
    folder = tmp_path_factory.mktemp("on-disk")
    make_pictures(folder / "in", 3)
    studio = make_studio(folder)
    return studio.runs.find(prepared(studio, folder / "in")).folder


@pytest.mark.parametrize("name", ["/status", "/stop", "/result", "/keep", "/delete"])
@pytest.mark.parametrize("token", ["", "A" * 22, "../../etc", "FOLDER"])
def test_a_wrong_token_opens_nothing(client, on_disk, name, token):
    with pytest.raises(AppError, match="There is no such run"):
        client.predict(str(on_disk) if token == "FOLDER" else token, api_name=name)
    assert Run(on_disk).state == State.PREPARED


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pictures": []}, "no pictures"),
        ({"model": "/etc"}, "There is no model"),
        ({"model": ["tiny"]}, "There is no model"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": -5}, "seconds is -5"),
        ({"seconds": "many"}, "seconds is many"),
        ({"seconds": 1e300}, "seconds is 1e"),
        ({"seconds": None}, "seconds is empty"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"steps": -1}, "steps is -1"),
        ({"steps": [9]}, "steps is"),
        ({"seed": 2**40}, "seed is"),
        ({"seed": {"a": 1}}, "seed is"),
        ({"recipe": "../paper"}, "There is no recipe"),
        ({"crop": "round"}, "round"),
        ({"settings": {"speed": 9}}, "There is no setting .*speed"),
        ({"settings": {"batch_size": "many"}}, "batch_size is .*many"),
        ({"settings": {"critic_widths": {"a": 1}}}, "critic_widths is"),
        ({"settings": {"learning_rate": 7, "jitter": -1}}, "learning_rate is 7.*jitter is -1"),
        ({"settings": [64]}, "settings is .64., not an object"),
        ({"settings": "fast"}, "settings is .*fast.*, not an object"),
    ],
)
def test_wrong_arguments_of_a_run_are_told_and_leave_nothing(app, client, tmp_path, wrong, words):
    before = set((app.home / "runs").glob("*"))
    right = {"pictures": pictures(tmp_path / "in", 3), "model": "tiny", "seconds": 5}
    with pytest.raises(AppError, match=words):
        client.predict(**(right | wrong), api_name="/submit")
    assert set((app.home / "runs").glob("*")) == before


def test_one_picture_is_refused_and_kept_nowhere(app, client, tmp_path):
    before = set((app.home / "runs").glob("*"))
    with pytest.raises(AppError, match="only one picture"):
        client.predict(pictures(tmp_path / "in", 1), api_name="/submit")
    assert set((app.home / "runs").glob("*")) == before


def posted(app, name, *values) -> str:
    """What plain HTTP gets back; `gradio_client` would upload a path first."""
    body = json.dumps({"data": values}).encode()
    address = f"{app.url}gradio_api/call/{name}"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{address}/{event}", timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"event: error {error.code}"


@pytest.mark.parametrize("where", ["here", "home", "climbing", "file:", "web", "as url", "bare"])
def test_no_path_of_the_server_is_read(app, tmp_path, where):
    """Not a picture that lies on its disk, nor one elsewhere that it would have to fetch."""
    settings = ("tiny", 5, 0, "default", "centre", 0, "", True, "", None)
    picture = next(make_pictures(tmp_path / "private", 1).iterdir())
    mine = app.home / "runs" / "picture.png"
    mine.parent.mkdir(exist_ok=True)
    shutil.copy(picture, mine)
    cache = next((app.home / "gradio").iterdir())
    with serving() as site:
        remote = site.put("/picture.png", picture.read_bytes())
        path = {
            "here": str(picture),
            "home": str(mine),
            "climbing": f"{cache}/../../runs/picture.png",
            "file:": picture.as_uri(),
            "web": remote,
            "as url": str(picture),
            "bare": str(picture),
        }[where]
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        if where == "as url":
            file["url"] = remote
        said = [
            posted(app, "encode", path if where == "bare" else [file], "tiny", "centre", True),
            posted(app, "submit", path if where == "bare" else [file] * 2, *settings),
            posted(
                app,
                "interpolate",
                "tiny",
                0,
                1,
                12,
                "WebP",
                path if where == "bare" else file,
                None,
                True,
                "",
            ),
        ]
        assert not site.asked
    mine.unlink()
    assert all("event: error" in answer and "event: complete" not in answer for answer in said), said
    if where == "web":
        assert all("web addresses are not followed" in answer for answer in said), said


def as_data(picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def kept(app, picture) -> str:
    """The address at which the app keeps an uploaded file."""
    with picture.open("rb") as file:
        (path,) = httpx.post(f"{app.url}gradio_api/upload", files={"files": file}).json()
    return f"{app.url}gradio_api/file={path}"


def test_an_address_of_the_app_is_its_own_file_and_no_other(app, tmp_path):
    picture = next(make_pictures(tmp_path / "in", 1).iterdir())
    address = kept(app, picture)
    root = address.partition("=")[0]
    private = app.home / "picture.png"
    shutil.copy(picture, private)
    folder = Path(address.partition("=")[2]).parent  # in the cache, which is home/gradio/TOKEN
    wrong = [picture, private, f"{folder}/../../../picture.png", folder, f"{folder}/none.png"]
    said = [
        posted(app, "encode", [{"path": url, "meta": {"_type": "gradio.FileData"}}], "tiny", "", True)
        for url in (address, *(f"{root}={path}" for path in wrong))
    ]
    private.unlink()
    assert ["event: complete" in answer for answer in said] == [True, *(False for _ in wrong)], said
    assert all("web addresses are not followed" in answer for answer in said[1:])


def test_numbers_that_are_none(app):
    """JSON has no nan, but Python reads it."""
    for number in ("NaN", "Infinity", "-Infinity"):
        assert "event: error" in posted(app, "sample", "tiny", float(number), 1, 1.0, "none")
        assert "event: error" in posted(app, "sample", "tiny", 0, 1, float(number), "none")


def test_callers_of_one_address_are_told_apart_by_their_names():
    def caller(host, name):
        return _caller(request_of(host), name)

    (me, here), (you, there) = caller("192.0.2.1", "a"), caller("192.0.2.1", "b")
    assert me != you and here == there and caller("192.0.2.1", "a") == (me, here)
    assert caller("192.0.2.2", "a")[0] != me  # a name holds within its address
    assert caller("2001:db8::1", "")[1] == caller("2001:db8::9:2", "")[1] != caller("2001:db8:1::1", "")[1]
    assert caller("no address", None) == _caller(request_of(None), None)
    assert _caller(request_of("8.8.8.8", **{"x-gradio-user": "mcp"}), "") == caller("127.0.0.1", "")


def request_of(host, **headers):
    return SimpleNamespace(client=host and SimpleNamespace(host=host), headers=headers)


def test_behind_the_proxy_of_a_space_callers_are_told_apart(monkeypatch):
    """Its header counts there only, and of it what the proxy noted, not what the caller began it with."""

    def address(noted):
        return _caller(request_of("10.0.0.1", **{"x-forwarded-for": noted}), "")[1]

    assert address("8.8.8.8") == address("9.9.9.9")
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert address("8.8.8.8") != address("9.9.9.9")
    assert address("1.2.3.4, 8.8.8.8, 10.2.3.4") == address("8.8.8.8")
    assert address("") == address("no address") == _caller(request_of("10.0.0.1"), "")[1]


def test_an_address_has_only_so_many_runs_whatever_its_callers_call_themselves(tmp_path):
    limits = replace(PUBLIC, runs_per_address=2)
    studio, folder = make_studio(tmp_path, limits), make_pictures(tmp_path / "in", 4)
    tokens = [prepared(studio, folder, visitor=f"api {i}", address="api 192.0.2.1") for i in range(3)]
    again = prepared(studio, folder, visitor="api 0", address="api 192.0.2.1")
    elsewhere = prepared(studio, folder, visitor="api 3", address="api 192.0.2.2")
    studio.runs.start(tokens[0], steps=1)
    with pytest.raises(RunError, match="You already have 1 run"):
        studio.runs.start(again, steps=1)
    studio.runs.start(tokens[1], steps=1)
    with pytest.raises(RunError, match="2 runs of your address"):
        studio.runs.start(tokens[2], steps=1)
    studio.runs.start(elsewhere, steps=1)
    studio.runs.start(prepared(studio, folder, visitor="a browser"), steps=1)  # no address: not counted


def test_mcp_without_its_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigError, match=r'pip install "gradio\[mcp\]"'):
        launch(mcp=True)


def test_assistants_use_the_api_by_mcp(tmp_path):
    pytest.importorskip("mcp")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def used(url):
        async with (
            streamablehttp_client(f"{url}gradio_api/mcp/") as (*streams, _),
            ClientSession(*streams) as me,
        ):
            await me.initialize()
            tools = (await me.list_tools()).tools
            drawn = await me.call_tool("sample", {"model": "tiny", "count": 2})
            wrong = await me.call_tool("status", {"token": "A" * 22})
            sent = await me.call_tool("encode", {"pictures": [as_data(photo), kept(app, photo)]})
            web = await me.call_tool("encode", {"pictures": ["http://127.0.0.1:9/a.png"]})
        return tools, drawn, wrong, sent, web

    with live_app(tmp_path, make_weights(tmp_path / "weights"), "--mcp") as app:
        photo = next(make_pictures(tmp_path / "in", 1).iterdir())
        tools, drawn, wrong, sent, web = asyncio.run(used(app.url))
        assert app.connections == ""
    asked = {f"/{tool.name}": tool.inputSchema["properties"] for tool in tools}
    assert {name: list(fields) for name, fields in asked.items()} == ENDPOINTS
    for fields in asked.values():
        assert all(SENTENCES.fullmatch(field["description"]) for field in fields.values())
    assert not drawn.isError and "sample-1.png" in drawn.content[0].text
    assert wrong.isError and "There is no such run" in wrong.content[0].text
    assert not sent.isError and "codes.safetensors" in sent.content[0].text
    assert web.isError and "web addresses are not followed" in web.content[0].text


def test_the_page_has_no_private_endpoint(client):
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name="/draw")
