"""What engines say becomes one line of ours: every row of the table, and the engines themselves."""
# ruff: noqa: E501 - the texts stand as the engines wrote them

from dataclasses import replace

import numpy as np
import pytest

from fmedge.errors import ArtifactError, FmedgeError, LimitExceeded, ProviderUnavailable
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.runtime.backends import BACKENDS
from fmedge.runtime.engine_errors import ENGINE_TEXTS, Mend, explain, in_our_words
from fmedge.runtime.opening import _load_adapter
from fmedge.runtime.session import failure
from fmedge.workflow.artifacts import create_artifact
from fmedge.workflow.request import request_artifact
from support.hostile import edited
from support.messages import bare, says

_BLAMED = "Exception from src/inference/src/cpp/core.cpp:105:\n"
_UNCONVERTED = (
    f"{_BLAMED}Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:\n"
    "FrontEnd API failed with OpConversionFailure:\nModel wasn't fully converted.\n"
)
_FAIL = "[ONNXRuntimeError] : 1 : FAIL : "
_CALL = "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:146 std::conditional_t<THRW, void, Status> "
_INVALID = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : "
_GRAPH = (
    '[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model. In Node, ("relu", Relu, "", -1) : '
    '("x": tensor(float),) -> ("y": tensor(float),) , Error '
)
RAW = [
    ("std::bad_alloc", "not enough memory"),
    (f"{_BLAMED}Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n\n\n", "not enough memory"),
    (
        (
            f"{_FAIL}Non-zero status code returned while running ConstantOfShape node. Name:'' Status Message: "
            "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal"
            "(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 640000000000000\n"
        ),
        "not enough memory",
    ),
    ("CUDA failure 2: out of memory ; GPU=0 ; hostname=box ; expr=cudaMalloc((void**)&p, size);", "not enough memory"),
    (
        (
            f"{_FAIL}Exception during initialization: {_CALL}CUBLAS failure 3: the resource allocation failed ; GPU=0 ; "
            "hostname=vm ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=100 ;"
        ),
        "not enough memory",
    ),
    (
        (
            f"{_FAIL}{_CALL}CUDNN failure 4000: CUDNN_STATUS_INTERNAL_ERROR ; GPU=0 ; hostname=vm ; "
            "file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_stream_handle.cc ; line=1 ;"
        ),
        "not enough memory",
    ),
    ("[GPU] CL_OUT_OF_RESOURCES exception. ", "not enough memory"),
    (f"{_BLAMED}Resource temporarily unavailable\n", "no more threads can be started"),
    (f"{_FAIL}CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ;", "there is no NVIDIA GPU"),
    (f"{_CALL}CUDA failure 3: initialization error ; GPU=-1 ; hostname=box ;", "after CUDA was used"),
    (f"{_FAIL}{_CALL}CUDA failure 700: an illegal memory access was encountered ; GPU=0 ;", "CUDA says: an illegal"),
    (
        f"{_FAIL}{_CALL}CUDNN failure 3000: CUDNN_STATUS_NOT_SUPPORTED ; GPU=0 ;",
        "CUDNN says: CUDNN_STATUS_NOT_SUPPORTED",
    ),
    (
        (
            "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void RegisterTensorRTPluginsAsCustomOps(...) "
            "Please install TensorRT libraries as mentioned in the GPU requirements page, make sure they're in the PATH"
        ),
        "TensorRT's libraries are missing",
    ),
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default CPU EP, but "
            "fallback to CPU EP has been explicitly disabled by the user."
        ),
        "part of it would stay on the CPU",
    ),
    (
        f"{_FAIL}CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=32767",
        "the NVIDIA driver is too old for this CUDA version",
    ),
    (
        (
            f"{_FAIL}Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open "
            "shared object file: No such file or directory"
        ),
        "the library libcublasLt.so.12 is missing",
    ),
    (
        (
            f'{_BLAMED}Cannot load library "/x/openvino/libs/libopenvino_intel_gpu_plugin.so": libOpenCL.so.1: cannot open '
            "shared object file: No such file or directory\n"
        ),
        "the library libOpenCL.so.1 is missing",
    ),
    (
        (
            f'{_FAIL}Error loading "C:\\x\\onnxruntime_providers_cuda.dll" which depends on "cublasLt64_12.dll" which is '
            "missing."
        ),
        "the library cublasLt64_12.dll is missing",
    ),
    ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Failed to load model because protobuf parsing failed.", "damaged"),
    (f"{_INVALID}No graph was found in the protobuf.", "it is damaged"),
    (f"{_GRAPH}No Op registered for Frobnicate with domain_version of 17", "the operator Frobnicate"),
    (f"{_GRAPH}No opset import for domain 'ai.nowhere'", "the operators of 'ai.nowhere'"),
    (
        (
            f"{_FAIL}/src/model_load_utils.h:46 void onnxruntime::ValidateOpsetForDomain(int) ONNX Runtime only "
            "*guarantees* support for models stamped with official released onnx opset versions. Opset 99 is under "
            "development and support for this is limited. Current official support for domain ai.onnx is till opset 26.\n"
        ),
        "it uses opset 99; the engine knows up to 26",
    ),
    (
        (
            f"{_FAIL}/src/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&) Unsupported model IR version: 99, max "
            "supported IR version: 13\n"
        ),
        "it uses ONNX format 99; the engine knows up to 13",
    ),
    (
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Conv(11) node with name 'c'",
        "the engine cannot compute Conv in this type",
    ),
    (
        f"{_INVALID}Invalid model. Node input 'nowhere' is not a graph input, initializer, or output of a previous node.",
        "nothing computes 'nowhere'",
    ),
    (
        f"{_FAIL}/src/graph.cc:1587 This is an invalid model. Graph output (block1_conv2) does not exist in the graph.\n",
        "nothing computes its output 'block1_conv2'",
    ),
    (
        (
            f"{_FAIL}External data path validation failed for initializer: mean_rgb. Error: External data path for model "
            "loaded from bytes escapes working directory."
        ),
        "which is not read",
    ),
    (
        (
            f"{_FAIL}ValidateEmbeddedTensorProtoDataSizeAndShape Initializer 'mean_rgb': raw_data size (4 bytes) does not "
            "match expected size from shape and data type (12 bytes)\n"
        ),
        "its constant 'mean_rgb' is cut short",
    ),
    (f"{_INVALID}Got invalid dimensions for input: image for the following indices\n index: 1 Got: 5", "the images"),
    (f"{_INVALID}Invalid rank for input: image Got: 3 Expected: 4 Please fix either the inputs", "the images do not"),
    (f"{_INVALID}Unexpected input data type. Actual: (tensor(float)) , expected: (tensor(uint8))", "the images do"),
    ("Required inputs (['image']) are missing from input feed (['x']).", "the images do not match its input"),
    (f"{_FAIL}Node (pixels) Op (Sub) [ShapeInferenceError] Incompatible dimensions", "of its operators do not match"),
    (
        f"{_FAIL}Type Error: Type (tensor(int64)) of output arg (y) of node (relu) does not match",
        "its operators do not match",
    ),
    (
        (
            f"{_BLAMED}Exception from src/inference/src/model_reader.cpp:188:\nUnable to read the model. Please check if the "
            "model format is supported and model is correct.\n\n"
        ),
        "it is damaged",
    ),
    (
        (
            f"{_BLAMED}Exception from src/frontends/onnx/onnx_common/src/parser.cpp:41:\nError during import of ONNX model "
            "provided as input stream  with binary protobuf message.\n\n"
        ),
        "it is damaged",
    ),
    (
        f"{_UNCONVERTED}Summary:\n-- No conversion rule found for operations: Frobnicate-17\nTo facilitate the conversion",
        "the operator Frobnicate-17",
    ),
    (
        f"{_BLAMED}Exception from src/frontends/onnx/graph_cache.cpp:27:\nnowhere node not found in graph cache\n\n",
        "nothing computes 'nowhere'",
    ),
    (
        (
            f"{_BLAMED}The size of the initializer does not match the number of elements implied by its shape for tensor "
            "'mean_rgb' in the model\n"
        ),
        "its constant 'mean_rgb' is cut short",
    ),
    (f"{_BLAMED}invalid external data: ExternalDataInfo(data_full_path: nope.bin, offset: 0)\n", "is not read"),
    (
        (
            f"{_BLAMED}Check 'shape.compatible' failed at src/plugins/intel_cpu/src/infer_request.cpp:385:\nCan't set the "
            "input tensor with index: 0, because the model input and the tensor are incompatible\n\n\n"
        ),
        "the images do not match its input",
    ),
    (
        (
            f"{_BLAMED}ParameterMismatch: Failed to set tensor for input with precision: f32, since the model input tensor "
            "precision is: u8\n\n\n"
        ),
        "the images do not match its input",
    ),
    (
        (
            f"{_UNCONVERTED}-- Conv-17 with a message:\nStrides has zero dimension(s). Strides{{0, 0}}\n\nSummary:\n"
            "-- Conversion is failed for: Conv-17\n\n"
        ),
        "types or shapes of its Conv-17 do not match",
    ),
    (_UNCONVERTED, "of its operators do not match"),
    ("The model is not a valid Flatbuffer buffer", "it is damaged"),
    ("Model provided has model identifier 'PK\x03\x04', should be 'TFL3'\n", "it is damaged"),
    ("`model_path` or `model_content` must be specified.", "it is damaged"),
    (
        "Model provided is schema version 9 not equal to supported version 3.\n",
        "the engine does not know TFLite format 9",
    ),
    ("Op builtin_code out of range: 250. Are you using old TFLite binary with newer model?", "operator number 250"),
    (
        "Didn't find op for builtin opcode 'QUANTIZE' version '99'. An older version of this builtin might be supported.",
        "the engine does not know version 99 of QUANTIZE",
    ),
    (
        "Encountered unresolved custom op: Frob.\nSee instructions: ... Node number 0 (Frob) failed to prepare.",
        "its operator Frob is a custom one",
    ),
    ("No subgraph in the model.\n", "it contains no graph"),
    (
        "tflite/core/subgraph.cc:1965 required_bytes <= bytes was not true.Tensor 5 is invalidly specified in schema.\n",
        "its tensor 5 is cut short",
    ),
    ("Cannot set tensor: Dimension mismatch. Got 5 but expected 32 for dimension 1 of input 0.", "the images do not"),
    ("Cannot set tensor: Got value of type FLOAT32 but expected type UINT8 for input 0, name: image ", "the images"),
    (
        "tflite/kernels/conv.cc:396 params->stride_height > 0 was not true.Node number 2 (CONV_2D) failed to prepare.",
        "types or shapes of its CONV_2D do not match",
    ),
    ("tflite/kernels/pad.cc Pad output size overflowed.Node number 1 (PADV2) failed to invoke.", "its PADV2 failed"),
    ("ncnn returned -1", "a layer failed with code -1"),
    ("fmedge_chain returned 1: An argument is null or out of its range.", "the kernels failed with code 1"),
    ("fmedge_chain returned 2: The model is not one, or is damaged.", "it is damaged"),
    ("fmedge_chain returned 5: The system allows no more threads.", "no more threads can be started"),
    ("fmedge_chain returned 7: The numbers of elements do not fit the address space.", "the images are too large"),
    ("fmedge_chain returned 8: The image is too small for the pooling.", "the images do not match its input"),
]
"""As the engines wrote it, but for places in their sources and lists of options; and what a user reads."""


@pytest.mark.cases("messages")
@pytest.mark.parametrize(("raw", "words"), RAW, ids=range(len(RAW)))
def test_a_raw_text_becomes_a_line_of_ours(raw, words):
    error = failure(RuntimeError(raw), "ONNX Runtime cannot load 'models/block1_conv1.relu.fp32.onnx'")
    assert words in error.in_full()
    assert "\n" not in error.in_full()
    assert len(error.in_full()) <= 190
    short = words in ("not enough memory", "no more threads can be started", "the images are too large")
    device = "fmedge doctor" in error.hint
    assert type(error) is (LimitExceeded if short else ProviderUnavailable if device else ArtifactError)


def test_every_row_has_a_text():
    def row_of(raw):
        found = explain(raw)
        return next(row for row in ENGINE_TEXTS if explain_by(row, raw) == found)

    def explain_by(row, raw):
        import re

        found = re.search(row.pattern, raw, re.IGNORECASE | re.DOTALL)
        return found and (row.words.format(*(each for each in found.groups() if each is not None)), row.mend)

    reached = {row_of(raw).pattern for raw, _ in RAW}
    assert reached == {row.pattern for row in ENGINE_TEXTS}
    assert {row.engine for row in ENGINE_TEXTS} == {"", *(row.name for row in BACKENDS)}
    print(f"{len(ENGINE_TEXTS)} rows, {len(RAW)} raw texts")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("Exception from src/a.cpp:1:\nCheck 'x' failed at b:\nsomething new\nmore", "something new"),
        ("", "RuntimeError"),
        ("\x1b[31mred\x07 and \u202eback", "?[31mred? and ?back"),
        ("x" * 5000, "x" * 20),
        ("{0} %s {", "{0} %s {"),
    ],
)
def test_a_text_that_is_not_in_the_table(raw, words):
    error = failure(RuntimeError(raw), "OpenVINO failed to run the model")
    assert words in error.in_full()
    assert len(error.in_full()) <= 190
    assert error.in_full().isprintable()
    assert in_our_words(RuntimeError(raw))[1] is Mend.EXPORT


def opset(model):
    model.opset_import[0].version = 99


def unknown(model):
    model.graph.node[-1].op_type = "Frobnicate"


def headless(model):
    model.graph.node[-1].input[0] = "nowhere"


def cut_constant(model):
    tensor = next(each for each in model.graph.initializer if len(each.dims) == 4)
    tensor.raw_data = tensor.raw_data[:-8]


@pytest.fixture(scope="module")
def onnx_model(tmp_path_factory):
    request = request_artifact(
        "block1_conv1", weights="untrained", models=tmp_path_factory.mktemp("m"), options=ExportOptions(size=(32, 32))
    )
    return create_artifact(request, verify=False)


def opened(name, artifact):
    """An engine opens those bytes: the gate, which stands before it, is left out."""
    backend = next(row for row in BACKENDS if row.name == name)
    if not backend.installed:
        pytest.skip(f"{name} is not installed")
    adapter = _load_adapter(backend, backend.providers[0])
    return adapter.open_engine(artifact, backend.providers[0], 1, RunOptions())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("change", [unknown, headless, cut_constant, None])
def test_what_onnx_engines_really_say(onnx_model, engine, change):
    model = edited(onnx_model.model, change) if change else onnx_model.model[: len(onnx_model.model) // 2]
    assert isinstance(model, bytes)
    with pytest.raises(FmedgeError) as caught:
        opened(engine, replace(onnx_model, model=model))
    words = {
        unknown: "does not know the operator Frobnicate",
        headless: "nothing computes 'nowhere'",
        cut_constant: "is cut short",
        None: "damaged",  # ONNX Runtime's adapter has read the file itself by then
    }
    assert words[change] in str(caught.value)
    assert len(bare(str(caught.value))) <= 190


def test_newer_opset(onnx_model):
    with pytest.raises(ArtifactError, check=says(r"opset 99; the engine knows up to \d+\. Update the engine")):
        opened("onnxruntime", replace(onnx_model, model=edited(onnx_model.model, opset)))


def test_what_litert_really_says(photos_folder, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    options = ExportOptions(Format.TFLITE, Precision.INT8, size=(32, 32))
    request = request_artifact("block1_conv1", weights="untrained", models=tmp_path, options=options)
    artifact = create_artifact(request, calibration=photos_folder, verify=False)
    with pytest.raises(ArtifactError, check=says(r"LiteRT cannot load '.*': it is damaged\. Export it again")):
        opened("litert", replace(artifact, model=b"hello"))
    engine = opened("litert", artifact)
    with pytest.raises(engine.errors) as caught:
        engine.compute(np.zeros((1, 32, 32, 3), np.float32), {})
    assert explain(str(caught.value)) == ("the images do not match its input", Mend.IMAGES)


def test_what_onnx_runtime_says_of_wrong_images(onnx_model):
    engine = opened("onnxruntime", onnx_model)
    for images in (np.zeros((1, 5, 32, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32)):
        with pytest.raises(engine.errors) as caught:
            engine.compute(images, {})
        assert failure(caught.value, "onnxruntime failed to run the model").hint.startswith(
            "To see what the model takes: fmedge info"
        )
