"""Downloads from a server that misbehaves."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading

import pytest

from fmedge.errors import WeightsError, WriteError
from fmedge.model import download as module
from fmedge.model.download import download
from fmedge.system.progress import no_progress
from support.places import ROOT

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

    def endless(self):
        """Send no length and never end, until the other side hangs up."""
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            try:
                self.wfile.write(CONTENT)
            except OSError:
                return
            self.server.sent += len(CONTENT)

    def lies_of_its_length(self):
        self.reply(CONTENT, length=10)

    def promises_too_much(self):
        self.reply(CONTENT, length=10**12)

    def empty(self):
        self.reply(b"")

    def garbage(self):
        self.wfile.write(b"\x00\xff not HTTP\r\n\r\n")
        self.close_connection = True

    def silence(self):
        self.server.released.wait(10)
        self.close_connection = True

    def broken(self):
        self.reply(b"", status=500)

    def controls(self):
        self.send_response(404, "no\x1b[31m")
        self.end_headers()

    def round_and_round(self):
        self.reply(b"", status=302, Location="/round_and_round")

    def to_data(self):
        self.reply(b"", status=302, Location="data:,x")

    def to_ftp(self):
        self.reply(b"", status=302, Location="ftp://127.0.0.1/w.h5")

    def wrong_part(self):
        """Cut the connection once; when asked to resume, send the start again as if it were the rest."""
        if self.headers.get("Range") is None:
            self.reply(CONTENT[:300_000], length=len(CONTENT))
        else:
            self.reply(CONTENT[: len(CONTENT) - 300_000], status=206)

    def slow(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        half = len(CONTENT) // 2
        self.wfile.write(CONTENT[:half])
        self.wfile.flush()
        self.server.halfway.release()
        self.server.released.wait(10)
        self.wfile.write(CONTENT[half:])

    def drip(self):
        """Never be silent for long, never finish."""
        self.reply(b"", length=len(CONTENT))
        while not self.server.released.wait(0.02):
            try:
                self.wfile.write(b"x")
            except OSError:
                return

    def stall(self):
        self.reply(CONTENT[:10], length=len(CONTENT))
        self.wfile.flush()
        self.server.released.wait(10)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.sent = 0
    server.halfway = threading.Semaphore(0)
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


@pytest.mark.cases("downloads")
@pytest.mark.parametrize("path", ["whole", "cut_once", "cut_once_without_ranges", "to_whole"])
def test_file_arrives_whole(server, tmp_path, path):
    steps = []
    fetch(server, path, tmp_path / "new" / "w.h5", lambda words, share: steps.append((words, share)))
    assert (tmp_path / "new" / "w.h5").read_bytes() == CONTENT
    assert steps[-1] == ("downloading 1.0 of 1.0 MB", 1.0)
    assert os.listdir(tmp_path / "new") == ["w.h5"]


def test_cut_download_goes_on_where_it_ended(server, tmp_path):
    fetch(server, "cut_once", tmp_path / "w.h5")
    assert server.seen == [("/cut_once", None), ("/cut_once", "bytes=300000-")]


@pytest.mark.few(8)
@pytest.mark.cases("downloads")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "Not Found"),
        ("other", "MD5 differs"),
        ("longer", "more than the"),
        ("to_file", "another scheme, file|not allowed"),
        ("to_https", "another scheme, https"),
        ("cut_always", "Cannot download from 127.0.0.1 .*IncompleteRead"),
        ("stall", "timed out"),
        ("silence", "timed out"),
        ("drip", "slower than 1,000 bytes per second"),
        ("endless", "more than the"),
        ("lies_of_its_length", "MD5 differs"),
        ("promises_too_much", "Cannot download from"),
        ("empty", "MD5 differs"),
        ("garbage", "Cannot download from"),
        ("broken", "Internal Server Error"),
        ("controls", "Cannot download from"),
        ("round_and_round", "Cannot download from"),
        ("to_data", "another scheme, data|not allowed"),
        ("to_ftp", "another scheme, ftp"),
        ("wrong_part", "MD5 differs"),
    ],
)
def test_failure_is_one_line_and_leaves_nothing(server, tmp_path, monkeypatch, path, message):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(server, path, tmp_path / "w.h5")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 190
    assert os.listdir(tmp_path) == []


def test_an_endless_body_is_cut_at_the_size_of_the_file(server, tmp_path):
    with pytest.raises(WeightsError, match="more than the"):
        fetch(server, "endless", tmp_path / "w.h5")
    assert server.sent < 20 * len(CONTENT)  # what the sockets hold


def test_a_former_file_stays_when_a_download_fails(server, tmp_path):
    (tmp_path / "w.h5").write_bytes(b"former")
    with pytest.raises(WeightsError):
        fetch(server, "other", tmp_path / "w.h5")
    assert (tmp_path / "w.h5").read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["w.h5"]


def test_two_at_once_do_not_mix(server, tmp_path):
    target, errors = tmp_path / "w.h5", []

    def work():
        try:
            fetch(server, "slow", target)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert server.halfway.acquire(timeout=10)
    assert not target.exists()
    assert len(os.listdir(tmp_path)) == 2  # one temporary file each
    server.released.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert target.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["w.h5"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from fmedge.model.download import download
from fmedge.errors import WriteError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    download(sys.argv[1], Path("w.h5"), md5=sys.argv[2], max_bytes=2_000_000)
except WriteError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_full_disk(server, tmp_path):
    words = [sys.executable, "-c", FULL_DISK, f"http://127.0.0.1:{server.server_port}/whole", MD5]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert process.stdout.startswith("Cannot write 'w.h5': File too large")
    assert process.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError):
        fetch(server, "whole", tmp_path / "file" / "w.h5")
    assert server.seen == []


def test_closed_network(tmp_path):
    with pytest.raises(WeightsError, match=r"Cannot download from 127\.0\.0\.1"):
        download("http://127.0.0.1:9/w.h5", tmp_path / "w.h5", md5=MD5, max_bytes=10)
    assert os.listdir(tmp_path) == []
