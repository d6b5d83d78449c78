"""Published models and Hub repositories become bundles of the catalogue; tried against the loopback alone."""

import hashlib
import io
import json
import shutil
import sys
import threading
import types
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image
from reference import PARITY, read_official_mindgan
from tiny import SIZES, make_studio, make_weights
from web import COMMIT, closed_port, put_on_hub, serving

from mind2mind.config import ARCHITECTURES, PUBLIC, MindGANSizes, size_text
from mind2mind.errors import ConfigError, DataError, RunError, WeightsError
from mind2mind.models import hub, official
from mind2mind.models.bundle import Card, load_source, save_source, save_transfer, unpack
from mind2mind.models.catalogue import Converting, Downloaded
from mind2mind.models.hub import REMOTE, Downloading, folder_name, hub_id, id_of
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import Perceptron

SMALL = PARITY / "official_layout_small.pth"
LEGACY = PARITY / "official_layout_small_legacyformat.pth"
MINDGAN = PARITY / "mindgan_official_layout.pth"
OTHER_COMMIT = "f" * 40
CARD = Card(id="theirs", title="Theirs", knows="toys", credit="A. Author", licence="CC0")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hub, "PAUSE", 0.0)
    monkeypatch.setattr(hub, "EVERY", 0.0)
    monkeypatch.setattr(hub, "WORTH", 1000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def web(monkeypatch):
    with serving() as web:
        small = replace(
            REMOTE["ffhq"], id="small", url=web.url + "/small.pth", architecture=None, kept_bytes=10**6
        )
        gan = replace(REMOTE["mindgan-celeba"], id="gan", url=web.url + "/gan.zip", needs="wide")
        monkeypatch.setitem(REMOTE, "small", small)
        monkeypatch.setitem(REMOTE, "gan", gan)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", web.url)
        yield web


@pytest.fixture
def studio(tmp_path):
    return make_studio(tmp_path)


def got(studio, ref, **how):
    *_, last = studio.models.download(ref, **how)
    assert isinstance(last, Downloaded)
    return last


def fails(studio, ref, kind=WeightsError, **how):
    before = [m.id for m in studio.models.list()]
    with pytest.raises(kind) as caught:
        list(studio.models.download(ref, **how))
    assert caught.value.fix
    assert [m.id for m in studio.models.list()] == before
    return str(caught.value)


def parts(studio):
    """The models of which something is there that is not done yet."""
    return sorted({path.parent.name for path in (studio.models.downloads / ".parts").rglob("*.*")})


# The table and the names


def test_the_table_is_true_of_the_architectures():
    for remote in REMOTE.values():
        assert remote.url.startswith("https://") and remote.title and remote.knows and remote.licence
        assert remote.needs is None or REMOTE[remote.needs].kind == "source"
    sizes = {(remote.architecture, remote.kept_bytes) for remote in REMOTE.values() if remote.architecture}
    for architecture, size in sizes:
        with torch.device("meta"):
            state = ALAE(architecture).state_dict()
        assert size == 4 * sum(tensor.numel() for tensor in state.values()), architecture
    assert {"ffhq", "ffhq-157", "ffhq-194", "celeba", "celeba-hq256", "celeba-hq256-580r", "bedroom"} < set(
        REMOTE
    )


def test_names_of_repositories():
    assert hub_id("me/toys") == ("me/toys", None) and hub_id("me/toys@v1.0") == ("me/toys", "v1.0")
    for text in (
        "toys",
        "/etc/passwd",
        "../me/toys",
        "me/..",
        "me/a/b",
        "me/to--ys",
        "me/toys@",
        "me /toys",
        "C:/x@",
    ):
        assert hub_id(text) is None, text
    assert folder_name("me/toys") == "me--toys" and id_of("me--toys") == "me/toys"
    assert folder_name("toon64") == id_of("toon64") == "toon64"
    assert folder_name("../x") == "../x" and id_of("a--b--c") == "a--b--c"


# Official files


@pytest.mark.parametrize("file", [SMALL, LEGACY], ids=["zip", "legacy"])
def test_an_official_file_becomes_a_model(web, studio, file):
    content = file.read_bytes()
    web.put("/small.pth", content)
    assert [r.id for r in studio.models.available()] == list(REMOTE)
    *progress, converting, last = studio.models.download("small")
    assert all(isinstance(event, Downloading) for event in progress) and converting == Converting("small")
    assert progress[-1].done == progress[-1].total == len(content)
    digest = hashlib.sha256(content).hexdigest()
    assert last == Downloaded("small", studio.home / "downloads" / "small", digest, None, new=True)
    _, info = studio.models.list()
    assert (info.id, info.title, info.kind, info.resolution) == ("small", "ALAE FFHQ", "source", 32)
    assert digest in info.notes and "Apache-2.0" in info.licence
    with Image.open(info.preview) as preview:
        assert max(preview.size) <= 4 * 32 + 3 * 2
    assert len(studio.draw.sample("small", [0])) == 1
    assert sorted(p.name for p in last.folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preview.png",
    ]
    assert parts(studio) == [] and "small" not in [r.id for r in studio.models.available()]
    record = json.loads((studio.home / "downloads" / "downloads.json").read_text())
    assert record["small"]["sha256"] == digest and record["small"]["url"] == REMOTE["small"].url


def test_one_that_is_here_is_not_asked_for_again(web, studio):
    web.put("/small.pth", SMALL.read_bytes())
    first = got(studio, "small")
    assert list(studio.models.download("small")) == [replace(first, new=False)]
    assert len(web.asked) == 1


def test_a_broken_download_goes_on_after_a_restart(web, studio, tmp_path):
    content = SMALL.read_bytes()
    web.put("/small.pth", content, breaks=[500_000] * (hub.TRIES + 1))
    assert "kept" in fails(studio, "small")
    assert parts(studio) == ["small"]
    web.put("/small.pth", content)
    events = list(make_studio(tmp_path).models.download("small"))
    assert web.ranges[-1] == "bytes=500000-" and isinstance(events[-1], Downloaded)
    assert all(event.done >= 500_000 for event in events if isinstance(event, Downloading))


def test_who_stops_keeps_the_part_and_frees_the_lock(web, studio):
    web.put("/small.pth", SMALL.read_bytes(), gate=threading.Event(), holds=400_000)
    events = studio.models.download("small")
    while next(events).done < 400_000:
        pass
    events.close()
    web.pages["/small.pth"].gate.set()
    got(studio, "small")
    assert web.ranges == [None, "bytes=400000-"]


def test_events_may_be_asked_for_from_many_threads(web, studio):
    web.put("/small.pth", SMALL.read_bytes())
    events, seen = studio.models.download("small"), []

    def ask():
        seen.append(next(events, None))

    while not seen or seen[-1] is not None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert isinstance(seen[-2], Downloaded)
    studio.models.delete("small")


def test_two_at_once_do_not_clash(web, studio, tmp_path):
    web.put("/small.pth", SMALL.read_bytes(), gate=threading.Event(), holds=400_000)
    events = studio.models.download("small")
    next(events)
    other = make_studio(tmp_path)
    assert "being downloaded already" in fails(other, "small", RunError)
    with pytest.raises(RunError):
        other.models.delete("small")
    web.pages["/small.pth"].gate.set()
    *_, last = events
    assert last.new and not got(other, "small").new


def test_the_first_hash_counts(web, studio):
    web.put("/small.pth", SMALL.read_bytes())
    first = got(studio, "small")
    studio.models.delete("small")
    web.put("/small.pth", LEGACY.read_bytes())
    text = fails(studio, "small")
    assert first.sha256 in text and "--accept-changed" in text and parts(studio) == []
    second = got(studio, "small", accept_changed=True)
    assert second.sha256 != first.sha256
    studio.models.delete("small")
    assert got(studio, "small").sha256 == second.sha256


def test_a_file_of_another_kind_is_told_of_and_not_kept(web, studio):
    web.put("/small.pth", MINDGAN.read_bytes())
    text = fails(studio, "small")
    assert "is not ALAE FFHQ" in text and "MindGAN" in text and parts(studio) == []
    web.put("/small.pth", b"<!DOCTYPE html><title>Quota</title>", kind="text/html")
    assert "web page" in fails(studio, "small")
    web.put("/small.pth", b"PK\x03\x04" + bytes(1000))
    assert "is not ALAE FFHQ" in fails(studio, "small")


def test_an_alae_of_other_sizes_is_told_of(web, studio, monkeypatch):
    monkeypatch.setitem(REMOTE, "small", replace(REMOTE["small"], architecture=ARCHITECTURES["ffhq"]))
    web.put("/small.pth", SMALL.read_bytes())
    assert "does not fit" in fails(studio, "small")


def test_a_full_disk(web, studio, monkeypatch):
    web.put("/small.pth", SMALL.read_bytes())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10))
    needed = SMALL.stat().st_size + REMOTE["small"].kept_bytes + hub.SPARE
    assert f"{size_text(needed)} are to come" in fails(studio, "small", DataError)


def test_a_conversion_that_was_broken_off_needs_no_second_download(web, studio, monkeypatch):
    web.put("/small.pth", SMALL.read_bytes())

    def full(*_, **__):
        raise DataError("The disk is full.", "Make room.")

    with monkeypatch.context() as patch:
        patch.setattr("mind2mind.models.official.convert", full)
        fails(studio, "small", DataError)
    got(studio, "small")
    assert len(web.asked) == 1


def test_offline_and_nonsense(web, studio, monkeypatch):
    monkeypatch.setitem(REMOTE, "small", replace(REMOTE["small"], url=closed_port() + "/x"))
    assert "cannot be reached" in fails(studio, "small")
    for ref in ("nothing", "", "../x", "http://example.com/x.pth"):
        assert "nothing that can be downloaded" in fails(studio, ref)
    with pytest.raises(WeightsError):  # at the call, not at the first event
        studio.models.download("nothing")


def test_visitors_of_a_public_server_download_nothing(web, tmp_path):
    studio = make_studio(tmp_path, PUBLIC)
    assert studio.models.available()
    with pytest.raises(ConfigError):
        studio.models.download("small")
    with pytest.raises(ConfigError):
        studio.models.delete("small")


def test_removing(web, studio):
    web.put("/small.pth", SMALL.read_bytes())
    folder = got(studio, "small").folder
    size = sum(p.stat().st_size for p in folder.iterdir())
    assert studio.models.delete("small") == size and not folder.exists()
    for ref in ("small", "tiny", "nothing", "../weights/tiny", "", ".", "me/toys", "me/toys@v1"):
        with pytest.raises(WeightsError, match="was not downloaded"):
            studio.models.delete(ref)
    assert [m.id for m in studio.models.list()] == ["tiny"]
    web.put("/small.pth", SMALL.read_bytes(), breaks=[500_000] * (hub.TRIES + 1))
    fails(studio, "small")
    assert studio.models.delete("small") > 500_000 and parts(studio) == []


# The MindGAN, a zip


def mindgan_zip(*extra, folder="output/submitted/", parameters=True):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(MINDGAN, folder + "model299.pth")
        if parameters:
            archive.write(PARITY / "parameters.json", folder + "parameters.json")
        for name, data in extra:
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def wide(studio):
    """The source that the MindGAN was trained on."""
    save_source(studio.weights / "wide", ALAE(replace(SIZES, latent_size=512)), replace(CARD, id="wide"))


def test_the_mindgan_comes_out_of_its_zip(web, studio, wide, tmp_path):
    noise = [
        ("output/model_7.pth", b"x"),
        ("../../evil.pth", b"x"),
        ("__MACOSX/output/submitted/._m.pth", b"x"),
    ]
    web.put("/gan.zip", mindgan_zip(*noise))
    last = got(studio, "gan")
    model = studio.models.load("gan")
    assert model.card.kind == "transfer" and model.source_id == "wide"
    expected = read_official_mindgan(MINDGAN).generator.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.g.state_dict().items())
    assert sorted(p.name for p in last.folder.iterdir())[-1] == "preview.png" and parts(studio) == []
    assert not list(tmp_path.rglob("evil*")) and len(studio.draw.sample("gan", [0])) == 1


def test_a_zip_that_holds_no_mindgan(web, studio, wide, monkeypatch):
    for content, words in (
        (b"PK\x03\x04 no zip at all", "no whole zip"),
        (mindgan_zip()[:-200], "no whole zip"),
        (SMALL.read_bytes(), "with a model299.pth"),
    ):
        web.put("/gan.zip", content)
        assert words in fails(studio, "gan") and parts(studio) == []
    damaged = bytearray(mindgan_zip())
    damaged[50_000:60_000] = bytes(10_000)
    web.put("/gan.zip", bytes(damaged))
    assert "no whole zip" in fails(studio, "gan")
    monkeypatch.setitem(official.MOST, "model299.pth", 100_000)
    web.put("/gan.zip", mindgan_zip())
    assert "larger than 100,000" in fails(studio, "gan")  # told of by what is read, not by what the zip says


def test_a_zip_bomb_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setitem(official.MOST, "model299.pth", 10**6)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("submitted/model299.pth", bytes(10**8))
    with pytest.raises(WeightsError, match="larger than 1,000,000"):
        unpack(tmp_path / "bomb.zip", official.MOST, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]


def test_parameters_that_do_not_agree(web, studio, wide):
    web.put("/gan.zip", mindgan_zip(("output/submitted/parameters.json", "{}"), parameters=False))
    assert "is not MindGAN" in fails(studio, "gan")
    web.put("/gan.zip", mindgan_zip(parameters=False))
    got(studio, "gan")


def test_its_source_comes_with_it(web, studio, monkeypatch):
    sources = replace(REMOTE["small"], id="wide", url=web.url + "/wide.pth")
    monkeypatch.setitem(REMOTE, "wide", sources)
    web.put("/wide.pth", SMALL.read_bytes())
    web.put("/gan.zip", mindgan_zip())
    with pytest.raises(WeightsError, match="512 numbers"):  # the small ALAE is not the one
        list(studio.models.download("gan"))
    assert [m.id for m in studio.models.list()] == ["tiny", "wide"]  # but it was fetched, and first


# Google Drive


@pytest.fixture
def gdown(monkeypatch, web, wide):
    """What the package of this name would do, at its boundary."""
    monkeypatch.setitem(REMOTE, "gan", replace(REMOTE["gan"], url=DRIVE))
    module = types.ModuleType("gdown")
    monkeypatch.setitem(sys.modules, "gdown", module)
    return module


DRIVE = "https://drive.google.com/uc?id=1"


def test_google_drive_is_asked_by_gdown(gdown, studio):
    def download(url, output, quiet, resume):
        assert url == DRIVE and quiet and resume
        Path(output).write_bytes(mindgan_zip())

    gdown.download = download
    assert got(studio, "gan").new and parts(studio) == []


def test_google_drive_refuses(gdown, studio):
    def download(**_):
        raise RuntimeError("Too many users\nhave viewed it")

    gdown.download = download
    text = fails(studio, "gan")
    assert "Too many users have viewed it" in text and "convert" in text and parts(studio) == []


def test_google_drive_without_gdown(gdown, studio, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)  # as if it were not installed
    assert "python -m pip install gdown" in fails(studio, "gan", ConfigError)


# The Hub


def asked(web):
    """What was asked of repositories; the Hub's client may ask other things."""
    return [(path, headers) for path, headers in web.asked if "/me/" in path]


@pytest.fixture
def theirs(tmp_path):
    """A source with a preview, and what else lies in a repository."""
    folder = make_weights(tmp_path / "theirs", name="theirs", seed=3) / "theirs"
    Image.new("RGB", (8, 8), "red").save(folder / "preview.png")
    (folder / "train.py").write_text("print('evil')")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


@pytest.mark.parametrize("lfs", [True, False])
def test_a_bundle_from_the_hub(web, studio, theirs, lfs):
    put_on_hub(web, "me/toys", theirs, lfs=lfs)
    last = got(studio, "me/toys")
    assert (last.id, last.commit, last.folder.name) == ("me/toys", COMMIT, "me--toys")
    assert sorted(p.name for p in last.folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preview.png",
    ]
    assert all(COMMIT in path for path, _ in asked(web)[1:]) and len(asked(web)) == 4
    info = studio.models.list()[-1]
    assert info.id == "me/toys" and info.preview
    assert studio.models.load("me/toys").source_id == "me/toys"  # what transfers made on it will name
    assert load_source(theirs).hash == studio.models.load("me/toys").hash
    record = json.loads((studio.home / "downloads" / "downloads.json").read_text())["me/toys"]
    assert (record["commit"], record["revision"]) == (COMMIT, "main") and parts(studio) == []


def test_revisions_are_pinned(web, studio, theirs):
    put_on_hub(web, "me/toys", theirs, commit=OTHER_COMMIT, revision="refs%2Fpr%2F1")
    put_on_hub(web, "me/toys", theirs, revision="v1")
    assert got(studio, "me/toys@refs/pr/1").commit == OTHER_COMMIT
    for same in ("me/toys", "me/toys@refs/pr/1", "me/toys@" + OTHER_COMMIT, "me/toys@fffffff"):
        assert not got(studio, same).new
    text = fails(studio, "me/toys@v1", DataError)
    assert OTHER_COMMIT in text and "--delete me/toys" in text
    studio.models.delete("me/toys")
    assert got(studio, "me/toys@v1").commit == COMMIT


def test_the_environment_may_forbid_the_hub(web, studio, theirs, monkeypatch):
    put_on_hub(web, "me/toys", theirs)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert "HF_HUB_OFFLINE forbids" in fails(studio, "me/toys", ConfigError) and not web.asked
    assert got(studio, "me/toys").new


def test_a_broken_download_from_the_hub_goes_on(web, studio, theirs):
    put_on_hub(web, "me/toys", theirs)
    weights = f"/me/toys/resolve/{COMMIT}/model.safetensors"
    web.pages[weights].breaks = [10_000] * (hub.TRIES + 1)
    assert "kept" in fails(studio, "me/toys")
    web.pages[weights].breaks.clear()
    web.asked.clear()
    got(studio, "me/toys")
    assert [(path.rpartition("/")[2], headers.get("range")) for path, headers in asked(web)[1:]] == [
        ("model.safetensors", "bytes=10000-")
    ]


def test_what_is_no_bundle_ends_before_its_weights(web, studio, theirs):
    (theirs / "config.json").write_text('{"architectures": ["BertModel"]}')
    put_on_hub(web, "me/bert", theirs)
    assert "of the format None" in fails(studio, "me/bert")
    assert len(asked(web)) == 2
    (theirs / "config.json").unlink()
    put_on_hub(web, "me/bert", theirs)
    assert "holds no config.json" in fails(studio, "me/bert")


def test_damage_on_the_way_from_the_hub(web, studio, theirs):
    put_on_hub(web, "me/toys", theirs)
    weights = f"/me/toys/resolve/{COMMIT}/model.safetensors"
    good = web.pages[weights].content
    web.pages[weights].content = good[:-1] + b"\0" if good[-1:] != b"\0" else good[:-1] + b"\1"
    assert "SHA-256" in fails(studio, "me/toys")
    web.pages[weights].content = good[:-5]
    assert "SHA-256" in fails(studio, "me/toys")
    web.pages[weights].content = good + b"more"
    assert f"more than {len(good):,}" in fails(studio, "me/toys")


def test_weights_that_do_not_fit_are_not_taken(web, studio, theirs):
    (theirs / "model.safetensors").write_bytes(b"no safetensors")
    put_on_hub(web, "me/toys", theirs)
    fails(studio, "me/toys")


def test_a_preview_of_others_is_not_shown(web, studio, theirs):
    (theirs / "preview.png").write_bytes(b"<svg onload=alert(1)>")
    put_on_hub(web, "me/toys", theirs)
    got(studio, "me/toys")
    assert not any("preview" in path for path, _ in asked(web))
    with Image.open(studio.models.list()[-1].preview) as image:
        image.load()


def test_files_that_are_too_large(web, studio, theirs, monkeypatch):
    monkeypatch.setitem(hub.CAPS, "model.safetensors", 1000)
    put_on_hub(web, "me/toys", theirs)
    assert "more than 1,000" in fails(studio, "me/toys")
    assert not list(studio.models.downloads.rglob("model.safetensors*"))


@pytest.mark.parametrize("code", [401, 404])
def test_no_such_repository(web, studio, code):
    web.put("/api/models/me/secret/revision/v2", b"{}", code=code)
    text = fails(studio, "me/secret@v2")
    assert "no repository 'me/secret' at 'v2'" in text and "hf auth login" in text


@pytest.mark.parametrize(
    "answer", [b"{}", b"[1]", b'{"sha": "x", "siblings": []}', b'{"sha": 1, "siblings": 7}']
)
def test_an_answer_of_the_hub_that_is_not_understood(web, studio, answer):
    web.put("/api/models/me/toys/revision/main", answer, kind="application/json")
    fails(studio, "me/toys")


def test_the_hub_is_logged_in_to_with_the_users_token(web, studio, theirs, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    put_on_hub(web, "me/toys", theirs)
    got(studio, "me/toys")
    assert all(headers["authorization"] == "Bearer hf_secret" for _, headers in asked(web))


def put_transfer(web, folder, source, name="me/aliens"):
    sizes = MindGANSizes(latent_size=16, z_dim=5, generator_widths=(8,), critic_widths=(8,))
    torch.manual_seed(0)
    g = Perceptron([5, 8, 16])
    save_transfer(
        folder, g, torch.zeros(16), replace(CARD, id="aliens"), source=source, sizes=sizes, extra={}
    )
    put_on_hub(web, name, folder)


def test_a_transfer_brings_its_source(web, studio, theirs, tmp_path):
    put_on_hub(web, "me/toys", theirs)
    source = load_source(theirs)
    put_transfer(web, tmp_path / "aliens", replace(source, card=replace(source.card, id="me/toys")))
    events = list(studio.models.download("me/aliens"))
    assert [event.id for event in events if isinstance(event, Downloaded)] == ["me/toys", "me/aliens"]
    assert (
        studio.models.load("me/aliens").source_id == "me/toys"
        and len(studio.draw.sample("me/aliens", [0])) == 1
    )


def test_a_transfer_on_a_bundled_source(web, studio, tmp_path):
    put_transfer(web, tmp_path / "aliens", studio.models.load("tiny"))
    assert got(studio, "me/aliens").new


@pytest.mark.parametrize("named", ["toys", "", "me/aliens", "../tiny"])
def test_a_transfer_whose_source_cannot_be_had(web, studio, theirs, tmp_path, named):
    source = load_source(theirs)
    put_transfer(web, tmp_path / "aliens", replace(source, card=replace(source.card, id=named)))
    assert "cannot be downloaded" in fails(studio, "me/aliens")
    assert not any("safetensors" in path for path, _ in asked(web))


def test_a_transfer_on_another_state_of_its_source(web, studio, theirs, tmp_path):
    source = load_source(theirs)
    put_transfer(web, tmp_path / "aliens", replace(source, card=replace(source.card, id="tiny")))
    assert "not on 'tiny'" in fails(studio, "me/aliens")


def test_a_transfer_on_a_transfer(web, studio, theirs, tmp_path):
    put_transfer(web, tmp_path / "a", studio.models.load("tiny"), "me/a")
    got(studio, "me/a")
    source = load_source(theirs)
    put_transfer(web, tmp_path / "b", replace(source, card=replace(source.card, id="me/a")), "me/b")
    assert "is a transfer" in fails(studio, "me/b")


# Everywhere else


def test_a_model_that_is_not_here_says_how_to_get_it(studio):
    for ref, command in (("ffhq", "mind2mind download ffhq`"), ("me/toys", "mind2mind download me/toys`")):
        with pytest.raises(WeightsError, match="There is no model") as caught:
            studio.models.load(ref)
        assert command in caught.value.fix
    with pytest.raises(WeightsError) as caught:
        studio.models.load("me/toys@v1")
    assert "download me/toys@v1`. It is then known as me/toys" in caught.value.fix


def test_a_damaged_note_of_downloads_does_not_stop_what_is_here(web, studio):
    web.put("/small.pth", SMALL.read_bytes())
    got(studio, "small")
    for note in ("7", "{}"):
        (studio.models.downloads / "downloads.json").write_text(f'{{"small": {note}}}')
        assert studio.models.load("small").card.id == "small" and not got(studio, "small").new
        studio.models.delete("small")
        assert got(studio, "small").new


def test_the_note_of_an_earlier_version_counts_and_others_stay(web, studio):
    web.put("/small.pth", SMALL.read_bytes())
    old = {"from": "elsewhere", "bytes": 1, "sha256": "0" * 64, "when": "2026-01-01 00:00:00 UTC"}
    path = studio.models.downloads / "downloads.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"small": old, "me/other": old}))
    assert "0" * 64 in fails(studio, "small")
    assert got(studio, "small", accept_changed=True).new
    kept = json.loads(path.read_text())
    assert (
        kept["me/other"] == old and kept["small"]["sha256"] == hashlib.sha256(SMALL.read_bytes()).hexdigest()
    )


def test_a_home_that_cannot_be_written(web, studio):
    studio.models.downloads.parent.mkdir(parents=True, exist_ok=True)
    studio.models.downloads.write_text("in the way")
    assert "could not be written" in fails(studio, "small", DataError) and not web.asked


def test_a_lock_that_was_left_is_no_hindrance(web, studio):
    locks = studio.models.downloads / ".locks"
    locks.mkdir(parents=True)
    (locks / "small.lock").touch()
    web.put("/small.pth", SMALL.read_bytes())
    assert got(studio, "small").new
    with FileLock(locks / "small.lock"):
        pass
