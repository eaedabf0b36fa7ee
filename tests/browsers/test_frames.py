"""Pages in frames of every kind, in every browser; and where people put them: notebooks, Streamlit, Gradio."""

import base64
import html
import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from fmedge.render.page import render_page
from support.page_places import assert_told, mosaic_point, panel_point, read_at, wait_title
from support.page_samples import make_maps, random_maps
from support.places import ROOT
from support.processes import wait_until

pytestmark = pytest.mark.browsers

VALUES = random_maps(9, 24, 32)
SIZE = 'width="1200" height="700"'
APPS = ROOT / ".venv-apps" / "bin" / "python"


@pytest.fixture(scope="module")
def page():
    return render_page(make_maps(VALUES))


def walk_through(tab):
    """Open a channel by a click, go on to the next, read values, go back to all."""
    tab.wait_ready()
    assert_told(read_at(tab, mosaic_point(tab, VALUES.shape, 3, 20, 11)), VALUES, (3, 20, 11))
    tab.click(*mosaic_point(tab, VALUES.shape, 3, 20, 11))
    wait_title(tab, "block1_conv1 - channel 3, after ReLU")
    tab.click_on("#next")
    wait_title(tab, "block1_conv1 - channel 4, after ReLU")
    assert_told(read_at(tab, panel_point(tab, VALUES.shape, 5, 28)), VALUES, (4, 5, 28))
    tab.press("p")  # the button has the keys
    tab.wait("document.getElementById('pin').getAttribute('aria-pressed') === 'true'")
    tab.click_on("#all")
    wait_title(tab, "block1_conv1, after ReLU")
    tab.press("ArrowRight", "ArrowRight", "Enter")
    wait_title(tab, "block1_conv1 - channel 1, after ReLU")
    tab.press("Escape")
    wait_title(tab, "block1_conv1, after ReLU")


def in_srcdoc(page, attributes=SIZE):
    return f'<iframe {attributes} srcdoc="{html.escape(page.decode())}"></iframe>'


def in_blob(page):
    return (
        f"<iframe {SIZE}></iframe><script>"
        f"const bytes = Uint8Array.from(atob('{base64.b64encode(page).decode()}'), (each) => each.charCodeAt(0));"
        "document.querySelector('iframe').src = URL.createObjectURL(new Blob([bytes], { type: 'text/html' }));"
        "</script>"
    )


FRAMES = {
    "srcdoc": in_srcdoc,
    "sandbox": lambda page: in_srcdoc(page, f'{SIZE} sandbox="allow-scripts"'),
    "src": lambda _: f'<iframe {SIZE} src="inside.html"></iframe>',
    "blob": in_blob,
}


def around(frame):
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>A page</title><p>Around it</p>{frame}'.encode()


@pytest.mark.parametrize("kind", FRAMES)
def test_in_a_frame(open_page, engine, tmp_path, page, kind):
    inside = engine.heard(page)
    (tmp_path / "inside.html").write_bytes(inside)
    tab = open_page(around(FRAMES[kind](inside)))
    tab.enter("iframe")
    walk_through(tab)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_click_in_a_frame_gives_it_the_keys(open_page, tmp_path, page, kind):
    (tmp_path / "inside.html").write_bytes(page)
    tab = open_page(around(FRAMES[kind](page)))
    tab.enter("iframe")
    tab.wait_ready()
    tab.click(*mosaic_point(tab, VALUES.shape, 3, 20, 11))
    wait_title(tab, "block1_conv1 - channel 3, after ReLU")
    tab.evaluate("addEventListener('keydown', ({ key }) => { window.heard = key; }, true)")
    tab.press("ArrowRight")
    assert tab.evaluate("return window.heard") == "ArrowRight"


def test_a_complaint_in_a_frame_is_heard(open_in_chromium):
    wrong = b"<script>console.error('a word'); setTimeout(() => { throw new Error('a mistake'); })</script>"
    tab = open_in_chromium(around(in_srcdoc(wrong)))
    found = tab.wait_complaints(2)
    assert all("about:srcdoc" in each for each in found)
    found.clear()  # they were meant


OF_STREAMLIT = "An iframe which has both allow-scripts and allow-same-origin"
"""What Chromium says of the frame that Streamlit makes."""


@pytest.fixture
def visit(engines, tmp_path):
    """Open what others wrote around our page; when the test ends, ours must have been silent."""
    viewport = {"width": 1600, "height": 1200}
    tab = engines("chromium").open_tab(tmp_path, "light", viewport)

    def visiting(address, frame="iframe[srcdoc]"):
        tab.visit(address)
        tab.enter(frame)
        return tab

    yield visiting
    try:
        complaints = [each for each in tab.complaints if "about:srcdoc" in each]
        assert [each for each in complaints if not each.startswith(OF_STREAMLIT)] == []
    finally:
        tab.close()


CELL = f"""\
import html
import fmedge
from IPython.display import HTML, display

maps = fmedge.FeatureMaps.load("maps.npz")
page = html.escape(fmedge.render_page(maps).decode())
display(HTML(f'<iframe {SIZE} srcdoc="{{page}}"></iframe>'))
maps"""


def test_in_a_notebook(visit, tmp_path):
    """Executed by nbclient, as Jupyter does, and exported to HTML by nbconvert."""
    pytest.importorskip("nbconvert", reason="nbconvert is not installed: make browsers")
    make_maps(VALUES).save(tmp_path / "maps.npz")
    cell = {"cell_type": "code", "id": "page", "metadata": {}, "outputs": [], "execution_count": None, "source": CELL}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "maps.ipynb").write_text(json.dumps(notebook))
    words = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "maps.ipynb"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    tab = visit((tmp_path / "maps.html").as_uri())
    walk_through(tab)


STREAMLIT = """\
from pathlib import Path

import streamlit
import streamlit.components.v1 as components

streamlit.set_page_config(layout="wide")
components.html(Path("page.html").read_text(encoding="utf-8"), height=760)
"""

GRADIO = f"""\
import html
import sys
from pathlib import Path

import gradio

page = html.escape(Path("page.html").read_text(encoding="utf-8"))
with gradio.Blocks(analytics_enabled=False) as app:
    gradio.HTML(f'<iframe {SIZE} srcdoc="{{page}}"></iframe>')
app.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(folder, words, address):
    """A server on this machine alone, which has answered once."""
    if not APPS.exists():
        pytest.skip("no Streamlit and Gradio found: make browsers")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([APPS, *words], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_until(server, lambda: answers(address))
            yield
        finally:
            server.terminate()
            server.wait()


def answers(address):
    with suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
        return answer.status == 200
    return False


def test_in_streamlit(visit, tmp_path, page):
    (tmp_path / "page.html").write_bytes(page)
    (tmp_path / "app.py").write_text(STREAMLIT)
    port = free_port()
    options = {
        "server.address": "127.0.0.1",
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    words = ["-m", "streamlit", "run", "app.py", *(f"--{name}={value}" for name, value in options.items())]
    with running(tmp_path, words, f"http://127.0.0.1:{port}/_stcore/health"):
        walk_through(visit(f"http://127.0.0.1:{port}/"))


def test_in_gradio(visit, tmp_path, page):
    (tmp_path / "page.html").write_bytes(page)
    (tmp_path / "app.py").write_text(GRADIO)
    port = free_port()
    with running(tmp_path, ["app.py", str(port)], f"http://127.0.0.1:{port}/"):
        walk_through(visit(f"http://127.0.0.1:{port}/"))
