"""The named endpoints, called by gradio_client against the app in a process of its own."""

import json
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from live import live_app
from PIL import Image
from tiny import make_pictures, make_weights

from mind2mind import codes
from mind2mind.images import png_meta

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with live_app(folder, make_weights(folder / "weights")) as running:
        yield running


@pytest.fixture
def client(app, tmp_path):
    return Client(app.url, verbose=False, download_files=tmp_path)


def pictures(folder, count):
    return [handle_file(str(p)) for p in sorted(make_pictures(folder, count).iterdir())]


def test_the_endpoints_and_their_parameters_stay(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {name: [p["parameter_name"] for p in e["parameters"]] for name, e in endpoints.items()} == {
        "/sample": ["model", "seed", "count", "psi", "noise"],
        "/interpolate": ["model", "seed_a", "seed_b", "frames", "kind", "picture_a", "picture_b"],
        "/encode": ["pictures", "model", "crop"],
        "/transfer": ["pictures", "model", "seconds", "recipe", "crop"],
    }
    for endpoint in endpoints.values():
        for parameter in endpoint["parameters"]:
            assert f"{parameter['parameter_name']}: " in endpoint["description"]


def test_sample(client):
    once = client.predict(model="tiny", seed=5, count=3, psi=0.8, noise="none", api_name="/sample")
    files = [Path(item["image"]) for item in once]
    assert [png_meta(f)["seed"] for f in files] == ["5", "6", "7"]
    (single,) = client.predict(model="tiny", seed=6, count=1, psi=0.8, noise="none", api_name="/sample")
    assert list(Image.open(single["image"]).getdata()) == list(Image.open(files[1]).getdata())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": "/etc"}, "There is no model"),
        ({"model": "../weights/tiny"}, "There is no model"),
        ({"count": 65}, "Choose from 1 to 64"),
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
    clip = client.predict(seed_a=3, picture_b=picture, frames=12, kind="WebP", api_name="/interpolate")
    assert Image.open(clip).n_frames == 12


def test_encode(client, app, tmp_path):
    file, report = client.predict(pictures=pictures(tmp_path / "in", 4), api_name="/encode")
    assert len(codes.load(Path(file))) == 4
    assert [v["status"] for v in report["verdicts"]] == ["used"] * 4
    assert not list((app.home / "runs").glob("*"))  # nothing of the visitor's is kept


def test_transfer_streams_and_its_token_is_a_model(client, app, tmp_path):
    job = client.submit(pictures=pictures(tmp_path / "in", 24), seconds=2, api_name="/transfer")
    seen = list(job)
    states = [told["state"] for told, _ in seen]
    assert states[0] == "reading" and states[-1] == "done", seen[-1]
    assert Path(seen[-1][1]).stat().st_size > 1000
    told = seen[-1][0]
    assert told["step"] > 0 and len(told["token"]) == 22
    drawn = client.predict(model=told["token"], seed=0, count=2, api_name="/sample")
    assert len(drawn) == 2
    assert app.connections == ""


def test_two_visitors_train_at_once_and_each_sees_its_own(app, client, tmp_path):
    other = Client(app.url, verbose=False, download_files=tmp_path / "other")
    jobs = [
        one.submit(pictures=pictures(tmp_path / str(i), 12 + i), seconds=3, api_name="/transfer")
        for i, one in enumerate((client, other))
    ]
    told = [[status for status, _ in job if "token" in status] for job in jobs]
    tokens = [{status["token"] for status in statuses} for statuses in told]
    assert [len(seen) for seen in tokens] == [1, 1] and tokens[0] != tokens[1]
    assert [statuses[-1]["state"] for statuses in told] == ["done", "done"]
    infos = [json.loads((app.home / "runs" / token / "run.json").read_text()) for (token,) in tokens]
    assert [info["counts"]["used"] for info in infos] == [12, 13]
    assert max(info["queued_at"] for info in infos) < min(info["updated"] for info in infos)  # at once


def test_the_page_has_no_private_endpoint(client):
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name="/draw")
