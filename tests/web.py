"""A server on the loopback whose every answer a test decides: whole, broken, changed, slow, or a web page."""

import contextlib
import hashlib
import http.client
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef" * 2 + "01234567"


@dataclass
class Page:
    """What lies at a path, and how it is given out."""

    content: bytes
    kind: str = "application/octet-stream"
    code: int = 200
    etag: str | None = None  # None: of the content; "": none
    ranges: bool = True
    told: int | None = None  # the Content-Length that is told, where it is not the true one; -1: none
    breaks: list[int] = field(default_factory=list)  # the next answers end after so many bytes
    gate: threading.Event | None = None  # after `holds` bytes it waits for this
    holds: int = 0
    drips: bool = False  # meanwhile a byte now and then, so that whoever would stop comes to it
    location: str = ""

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"' if self.etag is None else self.etag


@dataclass
class Web:
    """The server: what lies where, and what was asked."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    waiting: threading.Event = field(default_factory=threading.Event)  # set when an answer waits at its gate

    def put(self, path: str, content: bytes, **how) -> str:
        """Gives the address."""
        self.pages[path] = Page(content, **how)
        return self.url + path

    @property
    def ranges(self) -> list[str | None]:
        """The `Range` of each request."""
        return [headers.get("range") for _, headers in self.asked]


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(ConnectionError):
                _answer(self, web)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        for page in web.pages.values():
            if page.gate:
                page.gate.set()
        server.shutdown()
        server.server_close()


def _answer(handler: http.server.BaseHTTPRequestHandler, web: Web) -> None:
    asked = {name.lower(): value for name, value in handler.headers.items()}
    web.asked.append((handler.path, asked))
    page = web.pages.get(handler.path) or web.pages.get(urlsplit(handler.path).path)
    if page is None:
        page = Page(b"nothing here", code=404, kind="text/plain")
    content, begin = page.content, 0
    same = asked.get("if-range") == page.tag
    if page.ranges and page.code == 200 and "range" in asked and same:
        begin = int(asked["range"].removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if begin else page.code)
    handler.send_header("Content-Type", page.kind)
    if page.location:
        handler.send_header("Location", page.location)
    if page.tag:
        handler.send_header("ETag", page.tag)
    if begin:
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    if page.told != -1:
        handler.send_header("Content-Length", str(page.told or len(content) - begin))
    handler.end_headers()
    end = page.breaks.pop(0) if page.breaks else len(content)
    if page.gate:
        handler.wfile.write(content[begin : page.holds])
        web.waiting.set()
        begin = max(begin, page.holds)
        while not page.gate.wait(0.02 if page.drips else 30) and page.drips:
            handler.wfile.write(content[begin : begin + 1])
            begin += 1
    handler.wfile.write(content[begin:end])


def closed_port() -> str:
    """The address of a server that is gone."""
    with serving() as web:
        return web.url


def put_on_hub(web: Web, repository: str, folder: Path, *, commit=COMMIT, revision="main", lfs=True) -> None:
    """A repository as the Hub tells of it, and gives it out; with files that are none of a bundle."""
    siblings = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        told = {"rfilename": path.name, "size": len(content), "blobId": blob}
        if lfs and path.suffix == ".safetensors":
            digest = hashlib.sha256(content).hexdigest()
            told["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        siblings.append(told)
        web.put(f"/{repository}/resolve/{commit}/{path.name}", content)
    answer = json.dumps({"id": repository, "sha": commit, "siblings": siblings}).encode()
    web.put(f"/api/models/{repository}/revision/{revision}", answer, kind="application/json")


@contextlib.contextmanager
def forwarding(address: str, path: str, port: int, *, tells: bool = True) -> Iterator[str]:
    """A proxy at `port` that shows the server at `address` under `path`, and nothing beside; gives where.

    It tells the server how it was called itself, unless `tells` says no.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self):
            if not self.path.startswith(path + "/"):
                self.send_error(404)
                return
            there = http.client.HTTPConnection(urlsplit(address).netloc)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hidden = ("Connection",) if tells else ("Connection", "Host", "Origin", "Referer")
            headers = {name: value for name, value in self.headers.items() if name not in hidden}
            there.request(self.command, self.path.removeprefix(path), body, headers)
            answer = there.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                while chunk := answer.read1():
                    self.wfile.write(chunk)
                    self.wfile.flush()

        do_GET = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}{path}/"
    finally:
        server.shutdown()
        server.server_close()
