"""A device is a promise: with an ONNX Runtime that pretends to have a GPU, since none is needed to break one.

The models are loaded and run for real, on the CPU; only what the engine says of providers is another.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from fmedge.errors import LimitExceeded, ProviderUnavailable
from fmedge.model.run_options import RunOptions
from fmedge.runtime import forks, isolated
from fmedge.runtime.opening import choose_backend, open_session
from fmedge.runtime.placement import describe_placement
from support.messages import says

ort = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'fmedge[cpu]'")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def pretend(monkeypatch):
    """Let ONNX Runtime claim providers, and a place for each kind of node."""
    from fmedge.runtime.engines import onnxruntime_engine

    asked = []

    def set_up(available=(CUDA, CPU), active=(CUDA, CPU), elsewhere=(), fails=None):
        real = ort.InferenceSession

        class Pretender:
            def __init__(self, model, sess_options, providers, enable_fallback):
                assert not enable_fallback  # it would go over to the CPU in silence
                asked.append((sess_options, providers))
                if fails is not None and providers != [CPU]:
                    raise fails
                self._real = real(model, sess_options=ort.SessionOptions(), providers=[CPU])

            def get_providers(self):
                return list(active)

            def get_provider_graph_assignment_info(self):
                kinds = [("", kind) for kind in ("Transpose", "Cast", "Sub", "Conv", "Relu")]
                return [
                    SimpleNamespace(
                        ep_name=CPU if kind in elsewhere else active[0],
                        get_nodes=lambda name=name, kind=kind: [SimpleNamespace(name=name, op_type=kind)],
                    )
                    for name, kind in kinds
                ]

            def __getattr__(self, name):
                return getattr(self._real, name)

        onnxruntime_engine._preload.cache_clear()
        monkeypatch.setattr(onnxruntime_engine.ort, "InferenceSession", Pretender)
        monkeypatch.setattr(onnxruntime_engine.ort, "get_available_providers", lambda: list(available))
        monkeypatch.setattr(onnxruntime_engine.ort, "preload_dlls", lambda: None, raising=False)
        return asked

    return set_up


def test_a_device_that_takes_the_whole_model(pretend, block1):
    asked = pretend()
    with open_session(block1, RunOptions(device="cuda")) as session:
        assert session.active_provider == CUDA
        assert describe_placement(session.placement, CUDA) == f"1/1 Conv on {CUDA}"
    settings, providers = asked[0]
    assert settings.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    assert providers == [(CUDA, {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"})]


def test_one_node_elsewhere_breaks_the_promise(pretend, block1):
    pretend(elsewhere=("Transpose",))
    with pytest.raises(
        ProviderUnavailable, check=says(f"{CUDA} would leave 1 node on {CPU}. To allow it: --allow-fallback")
    ):
        open_session(block1, RunOptions(device="cuda"))


def test_allowed_fallback_is_told(pretend, block1):
    asked = pretend(elsewhere=("Transpose", "Cast"))
    with open_session(block1, RunOptions(device="cuda", allow_fallback=True)) as session:
        assert describe_placement(session.placement, session.active_provider) == (
            f"1/1 Conv on {CUDA}, 2 other nodes on {CPU}"
        )
        assert session.run(np.zeros((1, 224, 224, 3), np.uint8))["block1_conv1"].shape == (1, 64, 224, 224)
    settings, providers = asked[0]
    assert settings.get_session_config_entry("session.disable_cpu_ep_fallback") == "0"
    assert [each if isinstance(each, str) else each[0] for each in providers] == [CUDA, CPU]


def test_a_provider_that_silently_became_the_cpu(pretend, block1):
    """What ONNX Runtime does, with a warning, where CUDA's libraries are missing."""
    pretend(active=(CPU,))
    with pytest.raises(ProviderUnavailable, match=f"{CUDA} does not start here; ONNX Runtime would use {CPU}"):
        open_session(block1, RunOptions(device="cuda"))


def test_a_provider_that_refuses(pretend, block1):
    pretend(fails=RuntimeError("This session contains graph nodes that are assigned to the default CPU EP"))
    with pytest.raises(ProviderUnavailable, match="CUDAExecutionProvider cannot run the whole model"):
        open_session(block1, RunOptions(device="cuda"))


def test_a_device_that_fails_may_be_replaced(pretend, block1):
    asked = pretend(active=(CPU,), fails=RuntimeError("CUDA failure 100: no CUDA-capable device is detected"))
    with pytest.raises(ProviderUnavailable, match="there is no NVIDIA GPU"):
        open_session(block1, RunOptions(device="cuda"))
    with open_session(block1, RunOptions(device="cuda", allow_fallback=True)) as session:
        assert session.active_provider == CPU
        assert session.run(np.zeros((1, 224, 224, 3), np.uint8))["block1_conv1"].shape == (1, 64, 224, 224)
    assert asked[-1][1] == [CPU]


CUBLAS = "CUBLAS failure 3: the resource allocation failed ; GPU=0 ; hostname=vm ; file=x.cc ; line=1 ; expr=x;"


def test_a_card_that_is_full_is_told_where_the_model_is_loaded(pretend, block1):
    pretend(fails=RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: {CUBLAS}"))
    with pytest.raises(LimitExceeded, match=f"Not enough memory on {CUDA} to load") as caught:
        open_session(block1, RunOptions(device="cuda"))
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (CUBLAS, LimitExceeded, f"Not enough memory on {CUDA} to run the model"),
        (
            "CUDA failure 719: unspecified launch failure ; GPU=0 ;",
            ProviderUnavailable,
            "CUDA says: unspecified launch",
        ),
    ],
)
def test_a_card_that_fails_during_a_run_is_blamed_and_not_the_model(pretend, block1, monkeypatch, text, kind, words):
    pretend()
    with open_session(block1, RunOptions(device="cuda")) as session:
        engine = session._engine

        def run(*_):
            raise RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : /x/cuda_call.cc:146 CudaCall {text}")

        monkeypatch.setattr(engine._session, "run", run, raising=False)
        with pytest.raises(kind, match=words):
            session.run(np.zeros((1, 224, 224, 3), np.uint8))


def test_after_a_fork_the_device_is_used_in_another_process(pretend, block1, monkeypatch):
    """CUDA refuses to start in a process that was forked after it was used; the CPU does not mind."""
    for name in ("_loaded", "_inherited", "_used", "_spoilt"):
        monkeypatch.setattr(forks, name, set())
    monkeypatch.setattr(forks, "_live", set())
    pretend()
    assert not forks.is_stuck("onnxruntime", "cuda")
    open_session(block1, RunOptions(device="cuda")).close()
    assert not forks.is_stuck("onnxruntime", "cuda")
    forks._leave_all()  # what happens in the child
    assert forks.is_stuck("onnxruntime", "cuda")
    assert not forks.is_stuck("onnxruntime")
    assert not forks.is_stuck("ncnn", "vulkan")
    asked = []
    monkeypatch.setattr(isolated, "IsolatedEngine", lambda artifact, options, needs: asked.append(options) or fake())
    open_session(block1, RunOptions(device="cuda"))
    assert [options.device for options in asked] == ["cuda"]


def fake():
    return SimpleNamespace(name="onnxruntime", active_provider=CUDA, placement={})


def test_libraries_that_are_missing_are_named(pretend, block1, monkeypatch, capsys):
    """ONNX Runtime prints which, and then only says that the CPU would have to do it."""
    from fmedge.runtime.engines import onnxruntime_engine

    pretend(fails=RuntimeError("This session contains graph nodes that are assigned to the default CPU EP, but"))
    said = "Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open shared object file: No such file"
    monkeypatch.setattr(onnxruntime_engine.ort, "preload_dlls", lambda: print(said))
    with pytest.raises(ProviderUnavailable, match=r"cannot run the whole model here: the library libcublasLt.so.13 is"):
        open_session(block1, RunOptions(device="cuda"))
    assert capsys.readouterr().out == ""


def test_gpu_takes_the_best_that_works(pretend, block1):
    pretend(available=("DmlExecutionProvider", CPU), active=("DmlExecutionProvider", CPU))
    with open_session(block1, RunOptions(device="gpu")) as session:
        assert session.active_provider == "DmlExecutionProvider"
    assert choose_backend(RunOptions(device="gpu")).name == "onnxruntime"


def test_the_cpu_is_not_asked_to_do_without_itself(pretend, block1):
    asked = pretend(available=(CPU,), active=(CPU,))
    open_session(block1).close()
    assert asked[0][0].get_session_config_entry("session.disable_cpu_ep_fallback") == "0"
