"""Photos, data sets of them, and a server of S3 on the loopback interface."""

import logging

import numpy as np
import pytest

import fmedge
from fmedge.model.run_options import RunOptions
from support.data_sets import LAYERS


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Seven images in folders, two of them none."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(9)
    for name in ("b/1.png", "a/2.jpg", "a/1.png", "c.png", "a/deep/x.webp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    (folder / "b" / "0.png").write_bytes(b"no photo")
    (folder / "empty.jpg").touch()
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").write_text("c.png\n")
    return folder


@pytest.fixture
def extract(photos, untrained_models):
    def run(output, inputs=None, **options):
        options = {"shard_size": 3, "pool": ["gem", "grid:2"], **options}
        run = RunOptions("onnxruntime", threads=options.pop("threads", 2))
        return fmedge.extract_dataset(
            photos if inputs is None else inputs,
            options.pop("layer", LAYERS),
            weights="untrained",
            models=untrained_models,
            output=output,
            run=run,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def s3_server():
    """The address of moto's server, which speaks S3."""
    moto = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[s3]' flask flask-cors")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch, request):
    """An empty bucket of its own, which s3fs finds by the environment; returns its address."""
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.nodeid)):x}"[:40]
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
