"""Files from a server on the loopback: whole or not at all, gone on with, and each failure in plain words."""

import ast
import errno
import hashlib
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import httpx
import pytest
from web import closed_port, serving

from mind2mind.config import size_text
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.models import hub as fetching
from mind2mind.models.hub import Downloading, fetch

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000  # 1 MB
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0.0)
    monkeypatch.setattr(fetching, "WORTH", 1000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def web():
    with serving() as web:
        yield web


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "file"


def left(path):
    """What is in the file's folder."""
    return sorted(p.name for p in path.parent.iterdir()) if path.parent.exists() else []


def get(url, path, **how):
    """The events of a download, and the hash that it returns."""
    digests = []

    def download():
        digests.append((yield from fetch(url, path, "A file", **how)))

    return list(download()), *digests


def fails(url, path, kind=WeightsError, **how):
    with pytest.raises(kind) as caught:
        get(url, path, **how)
    assert caught.value.fix and not path.exists()
    return str(caught.value)


def test_a_whole_file(web, path, monkeypatch):
    monkeypatch.setattr(fetching, "EVERY", 0.0)
    progress, digest = get(web.put("/file", CONTENT), path, digest=HASH, most=len(CONTENT))
    assert digest == HASH and path.read_bytes() == CONTENT and left(path) == ["file"]
    done = [event.done for event in progress]
    assert isinstance(progress[0], Downloading) and progress[0].total == len(CONTENT)
    assert done == sorted(done) and done[-1] == len(CONTENT) and progress[-1].rate > 0
    assert progress[-1].file == "A file"


def test_how_far_it_is_in_words():
    assert (
        Downloading("f", 2_000_000, 10_000_000, 1e6).standing == "2.0 MB of 10 MB, 1.0 MB a second, 8 s left"
    )
    assert Downloading("f", 0, 600_000_000, 1e6).standing.endswith("about 10 min left")
    assert Downloading("f", 2_000_000, None, 1e6).standing == "2.0 MB, 1.0 MB a second"


def test_one_that_is_there_is_not_fetched_again(web, path):
    url = web.put("/file", CONTENT)
    get(url, path)
    assert get(url, path, digest=HASH) == ([], HASH) and len(web.asked) == 1
    path.write_bytes(b"spoilt")
    fails(url, path, digest=HASH)  # and is gone
    assert get(url, path, digest=HASH)[1] == HASH and len(web.asked) == 2


def test_a_broken_connection_is_gone_on_with(web, path):
    url = web.put("/file", CONTENT, breaks=[300_000, 700_000])
    _, digest = get(url, path)
    assert digest == HASH
    assert web.ranges == [None, "bytes=300000-", "bytes=700000-"]


def test_one_that_stays_broken_is_told_of_and_kept(web, path):
    url = web.put("/file", CONTENT, breaks=[300_000] * (fetching.TRIES + 1))
    text = fails(url, path)
    assert "300,000" in text and f"of {len(CONTENT):,} bytes" in text and "kept" in text
    assert left(path) == ["file.part", "file.part.json"]
    web.pages["/file"].breaks.clear()
    web.asked.clear()
    _, digest = get(url, path)
    assert digest == HASH and web.ranges[0] == "bytes=300000-"


def test_who_stops_keeps_the_part(web, path, monkeypatch):
    monkeypatch.setattr(fetching, "EVERY", 0.0)
    url = web.put("/file", CONTENT, gate=threading.Event(), holds=200_000)
    events = fetch(url, path, "A file")
    while next(events).done < 200_000:
        pass
    events.close()
    web.pages["/file"].gate.set()
    assert (path.parent / "file.part").stat().st_size == 200_000
    _, digest = get(url, path)
    assert digest == HASH and web.ranges == [None, "bytes=200000-"]


def stopped_at(web, path, size, content=CONTENT, **how):
    """A part of `size` bytes of `content`."""
    url = web.put("/file", content, breaks=[size] * (fetching.TRIES + 1), **how)
    fails(url, path)
    web.pages["/file"].breaks.clear()
    web.asked.clear()
    return url


def test_a_file_that_changed_in_between_begins_anew(web, path):
    url = stopped_at(web, path, 300_000)
    other = b"PK\x03\x04" + CONTENT[::-1]
    web.put("/file", other)
    _, digest = get(url, path)
    assert path.read_bytes() == other and web.ranges == ["bytes=300000-"]
    assert digest == hashlib.sha256(other).hexdigest()


@pytest.mark.parametrize("how", [{"etag": ""}, {"etag": 'W/"weak"'}, {"ranges": False}])
def test_a_server_that_cannot_go_on_begins_anew(web, path, how):
    url = stopped_at(web, path, 300_000, **how)
    _, digest = get(url, path)
    assert digest == HASH


def test_a_rest_of_another_length_begins_anew(web, path):
    url = stopped_at(web, path, 300_000, etag='"same"')
    web.put("/file", CONTENT + b"more", etag='"same"')
    get(url, path)
    assert path.read_bytes() == CONTENT + b"more" and web.ranges == ["bytes=300000-", None]


@pytest.mark.parametrize(
    "note", ["{", "[]", '{"url": "x", "tag": "t"}', '{"url": 1, "tag": null, "total": "x"}']
)
def test_a_part_of_something_else_is_not_believed(web, path, note):
    url = web.put("/file", CONTENT)
    path.parent.mkdir()
    (path.parent / "file.part").write_bytes(b"foreign")
    (path.parent / "file.part.json").write_text(note)
    _, digest = get(url, path)
    assert digest == HASH and left(path) == ["file"]


def test_no_length_is_fine_and_a_longer_part_is_not(web, path):
    url = web.put("/file", CONTENT, told=-1)
    _, digest = get(url, path)
    assert digest == HASH
    path.unlink()
    url = stopped_at(web, path, 300_000)
    with (path.parent / "file.part").open("ab") as file:
        file.write(CONTENT)
    _, digest = get(url, path)
    assert digest == HASH


def test_a_told_length_that_is_never_reached(web, path):
    url = web.put("/file", CONTENT, told=len(CONTENT) + 10, ranges=False)
    assert "broke" in fails(url, path)


def test_an_endless_file_ends(web, path):
    assert "more than 100,000" in fails(web.put("/file", CONTENT, told=-1), path, most=100_000)
    assert "more than 100,000" in fails(web.put("/file", CONTENT), path, most=100_000)
    assert left(path) == []


def test_the_wrong_hash_is_not_kept(web, path):
    url = web.put("/file", CONTENT)
    text = fails(url, path, digest="0" * 64)
    assert HASH in text and "0" * 64 in text and left(path) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_instead_of_the_file(web, path, kind):
    page = b"<!doctype html><html><title>Google Drive - Quota\n exceeded &amp; more</title>"
    text = fails(web.put("/file", page, kind=kind), path)
    assert "a web page and not the file" in text and "browser" in text
    assert left(path) == []


def test_a_web_page_in_between_leaves_the_part(web, path):
    url = stopped_at(web, path, 300_000)
    web.put("/file", b"<html>log in", kind="text/html")
    assert "web page" in fails(url, path)
    web.put("/file", CONTENT)
    _, digest = get(url, path)
    assert digest == HASH and web.ranges[-1] == "bytes=300000-"


@pytest.mark.parametrize(
    ("code", "words"), [(404, "moved"), (410, "Try again"), (403, "closed"), (401, "log-in"), (418, "418")]
)
def test_refusals(web, path, code, words):
    text = fails(web.put("/file", b"no", code=code), path)
    assert words in text and str(code) in text and "convert" in text and left(path) == []
    assert len(web.asked) == 1


def test_a_busy_server_is_asked_again(web, path):
    url = web.put("/file", b"busy", code=503)
    assert "503" in fails(url, path)
    assert len(web.asked) == fetching.TRIES


def test_a_server_that_falls_silent(web, path, monkeypatch):
    monkeypatch.setattr(fetching, "PATIENCE", 0.1)
    monkeypatch.setattr(fetching, "TRIES", 1)
    url = web.put("/file", CONTENT, gate=threading.Event(), holds=100_000)
    text = fails(url, path)
    assert "broke off after 100,000 of" in text and "timed out" in text


def test_offline(path):
    text = fails(closed_port() + "/file", path)
    assert "cannot be reached" in text and "internet connection" in text and "convert" in text
    assert left(path) == []


def test_to_and_fro_for_ever(web, path):
    assert "cannot be reached" in fails(web.put("/file", b"", code=302, location="/file"), path)
    assert len(web.asked) < 30


def test_credentials_do_not_follow_to_another_server(web, path):
    with serving() as cdn:
        url = web.put("/file", b"", code=302, location=cdn.put("/kept", CONTENT))
        get(url, path, headers={"Authorization": "Bearer secret"})
        assert web.asked[0][1]["authorization"] == "Bearer secret"
        assert "authorization" not in cdn.asked[0][1]


def test_from_encryption_to_none(web, path, monkeypatch):
    url, plain = "https://bucket.example/file", httpx.Client

    def client(**how):
        """Leads from the encrypted address to the loopback, as a portal does."""
        answers = {url: httpx.Response(302, headers={"Location": "http://portal.example/x"})}
        transport = httpx.MockTransport(
            lambda r: answers.get(str(r.url), httpx.Response(200, content=iter([b"x"])))
        )
        return plain(**how, transport=transport)

    monkeypatch.setattr(httpx, "Client", client)
    assert "portal.example gave something without encryption" in fails(url, path)


def test_a_full_disk_is_told_before(web, path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 5000, 5000))
    text = fails(web.put("/file", CONTENT), path, DataError, room=10**6)
    assert f"{size_text(len(CONTENT) + 10**6 + fetching.SPARE)} are to come, and 5 kB are free" in text
    assert "MIND2MIND_HOME" in text and left(path) == []


def test_a_disk_that_fills_up_in_between(web, path, monkeypatch):
    url = stopped_at(web, path, 300_000)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetching.time, "monotonic", full)  # amid the bytes
        text = fails(url, path, DataError)
    assert "the disk is full" in text and "MIND2MIND_HOME" in text
    _, digest = get(url, path)
    assert digest == HASH


def test_a_folder_that_cannot_be_written(web, tmp_path):
    (tmp_path / "file").write_text("in the way")
    text = fails(web.put("/file", CONTENT), tmp_path / "file" / "below", DataError)
    assert "could not be written" in text


def test_a_proxy_that_makes_no_sense(web, path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://proxy.example")
    assert "proxy" in fails(web.put("/file", CONTENT), path, ConfigError)


def test_certificates_that_are_not_there(web, path, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    text = fails(web.put("/file", CONTENT), path, ConfigError)
    assert "certificates" in text and "SSL_CERT_FILE" in text


def test_nothing_that_speaks_to_the_network_is_imported_at_the_start():
    def at_the_top(path):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                yield node.module.partition(".")[0]
            elif isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)

    package = Path(fetching.__file__).parent
    for path in package.rglob("*.py"):
        assert not {"httpx", "huggingface_hub", "requests", "urllib3", "gdown"} & set(at_the_top(path)), path
