"""Data sets on a real Ray cluster of three nodes on this machine: the same bytes, also where a node is killed."""

import builtins
import os

import numpy as np
import pytest

import fmedge
from fmedge.bulk.checking import describe_dataset, verify_dataset
from fmedge.bulk.stores import open_store
from fmedge.errors import BackendUnavailable, ProviderUnavailable, UsageError
from fmedge.model.run_options import RunOptions
from support.data_sets import LAYERS, contents, rows_of
from support.places import ROOT

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")
ray = pytest.importorskip("ray", reason="needs Ray: pip install 'fmedge[ray]'")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes of a core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "print", print)  # which Ray replaces
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_raylet_start_wait_time_s", "180")  # beside other tests
        options = {"num_cpus": 1, "object_store_memory": 80 << 20}
        try:
            found = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
            nodes = [found.add_node(**options) for _ in range(2)]
            ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            pytest.skip(f"Ray does not start on this machine: {error}")
        yield found, nodes
        ray.shutdown()
        found.shutdown()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Forty small images, four of them none."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(4)
    for number in range(40):
        path = folder / f"{number:02}.png"
        Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
        if number % 10 == 7:
            path.write_bytes(path.read_bytes()[:50])
    return folder


def test_the_same_bytes_though_a_node_is_killed(cluster, extract, many, tmp_path):
    found, nodes = cluster
    extract(tmp_path / "local", many, shard_size=2)
    killed = []

    def kill(words, share):
        if share > 0.2 and not killed:
            killed.append(words)
            found.remove_node(nodes[-1], allow_graceful=False)

    summary = extract(tmp_path / "ray", many, shard_size=2, runner="ray", progress=kill)
    assert killed
    assert (summary.inputs, summary.done, summary.failed) == (40, 40, 4)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert extract(tmp_path / "ray", many, shard_size=2, runner="ray").computed == 0
    os.utime(many / "07.png")
    assert extract(tmp_path / "ray", many, shard_size=2, runner="ray", retry_failed=True).computed == 8
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert verify_dataset(open_store(str(tmp_path / "ray"))) == []


def test_a_data_set_of_ray_s_names_the_images(cluster, many, tmp_path, untrained_models):
    paths = [str(path) for path in sorted(many.iterdir())]
    dataset = ray.data.from_items([{"path": path} for path in paths])
    summary = fmedge.extract_dataset(
        dataset, "block1_conv1", output=tmp_path / "f", weights="untrained", models=untrained_models
    )
    assert (summary.done, summary.failed) == (40, 4)
    assert [row["key"] for row in rows_of(tmp_path / "f")] == paths
    with pytest.raises(UsageError, match=r"no column 'image'\. There: path"):
        fmedge.extract_dataset(dataset, column="image", output=tmp_path / "g")


def test_features_as_a_step_of_one_s_own(cluster, many, untrained_models):
    from fmedge.bulk.ray import Features

    names = sorted(many.iterdir())[:8]
    run = RunOptions("onnxruntime", threads=1)
    options = {"weights": "untrained", "models": str(untrained_models), "run": run}
    dataset = ray.data.from_items([{"name": each.name, "bytes": each.read_bytes()} for each in names])
    rows = dataset.map_batches(
        Features,
        fn_constructor_args=(LAYERS,),
        fn_constructor_kwargs={"pool": "mean", **options},
        batch_size=4,
        compute=ray.data.ActorPoolStrategy(size=1),
    ).take_all()
    rows = {row["name"]: row for row in rows}
    good = [each for each in names if each.name != "07.png"]
    for path, taps in fmedge.extract_many(good, LAYERS, **options):
        for tap in LAYERS:
            np.testing.assert_allclose(rows[path.name][f"{tap}.mean"], taps[tap].maps[0].mean((1, 2)), rtol=1e-5)
            assert rows[path.name]["reason"] == ""
    assert np.isnan(rows["07.png"]["block1_conv1.mean"]).all()
    assert "Cannot decode it" in rows["07.png"]["reason"]


def test_a_cluster_without_a_gpu(cluster, many, tmp_path, untrained_models):
    options = {"weights": "untrained", "models": untrained_models, "runner": "ray"}
    run = RunOptions("onnxruntime", "cuda")
    with pytest.raises(ProviderUnavailable, match="The Ray cluster has no GPU"):
        fmedge.extract_dataset(many, "block1_conv1", output=tmp_path / "f", run=run, **options)


def test_what_fails_on_a_worker_is_one_line(cluster, extract, many, tmp_path):
    (tmp_path / "list.txt").write_text("memory://none/a.png\nnonsense://b/c.png\n")
    with pytest.raises(BackendUnavailable, match=r"'nonsense://b/c\.png' cannot be reached"):
        extract(tmp_path / "f", tmp_path / "list.txt", runner="ray")
    assert describe_dataset(open_store(str(tmp_path / "f"))).shards == 0
