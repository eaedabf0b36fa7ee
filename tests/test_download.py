"""Downloads, against a server that misbehaves."""

import hashlib
import http.server
import os
import threading

import pytest

from fmedge import download as module
from fmedge.download import download
from fmedge.errors import WeightsError
from fmedge.progress import no_progress

CONTENT = bytes(range(256)) * 4096
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Range")))
        getattr(self, self.path.strip("/"))()

    def reply(self, body, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def whole(self):
        self.reply(CONTENT)

    def cut_once(self):
        wanted = self.headers.get("Range")
        if wanted is None:
            self.reply(CONTENT[:300_000], length=len(CONTENT))
        else:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.reply(CONTENT[start:], status=206)

    def cut_once_without_ranges(self):
        self.reply(CONTENT if len(self.server.seen) > 1 else CONTENT[:300_000], length=len(CONTENT))

    def cut_always(self):
        self.reply(CONTENT[:1000], length=len(CONTENT))

    def missing(self):
        self.reply(b"no", status=404)

    def other(self):
        self.reply(CONTENT[::-1])

    def longer(self):
        self.reply(CONTENT + b"x")

    def to_file(self):
        self.reply(b"", status=302, Location="file:///etc/hostname")

    def to_https(self):
        self.reply(b"", status=302, Location=f"https://127.0.0.1:{self.server.server_port}/whole")

    def to_whole(self):
        self.reply(b"", status=302, Location="/whole")

    def stall(self):
        self.reply(CONTENT[:10], length=len(CONTENT))
        self.wfile.flush()
        self.server.released.wait(10)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(server, path, target, progress=no_progress):
    url = f"http://127.0.0.1:{server.server_port}/{path}"
    download(url, target, md5=MD5, max_bytes=len(CONTENT), progress=progress)


@pytest.mark.parametrize("path", ["whole", "cut_once", "cut_once_without_ranges", "to_whole"])
def test_file_arrives_whole(server, tmp_path, path):
    steps = []
    fetch(server, path, tmp_path / "new" / "w.h5", lambda words, share: steps.append((words, share)))
    assert (tmp_path / "new" / "w.h5").read_bytes() == CONTENT
    assert steps[-1] == ("download 1.0 of 1.0 MB", 1.0)
    assert os.listdir(tmp_path / "new") == ["w.h5"]


def test_cut_download_goes_on_where_it_ended(server, tmp_path):
    fetch(server, "cut_once", tmp_path / "w.h5")
    assert server.seen == [("/cut_once", None), ("/cut_once", "bytes=300000-")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "Not Found"),
        ("other", "MD5 differs"),
        ("longer", "more than the"),
        ("to_file", "another scheme, file|not allowed"),
        ("to_https", "another scheme, https"),
        ("cut_always", "No file from 127.0.0.1 .*IncompleteRead"),
        ("stall", "timed out"),
    ],
)
def test_failure_is_one_line_and_leaves_nothing(server, tmp_path, monkeypatch, path, message):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(server, path, tmp_path / "w.h5")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_closed_network(tmp_path):
    with pytest.raises(WeightsError, match=r"No file from 127\.0\.0\.1"):
        download("http://127.0.0.1:9/w.h5", tmp_path / "w.h5", md5=MD5, max_bytes=10)
    assert os.listdir(tmp_path) == []
