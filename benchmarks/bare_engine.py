"""A loop over an engine as its users would write it, with which trust.py compares fmedge bench.

It answers requests as fmedge's own worker does, so that the two can take turns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fmedge.bench.worker_pipe import serve
from turns import Call, TimedCall


def onnxruntime_call(path: str, tap: str, threads: int) -> Call:
    """Return a call that gives a new array (1, C, H, W)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run([tap], {"image": image})[0]


def openvino_call(path: str, tap: str, threads: int) -> Call:
    """Return a call that gives a new array (1, C, H, W)."""
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    settings |= {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda image: request.infer({0: image})[tap]  # a copy: share_outputs is off


def ncnn_call(path: str, tap: str, threads: int) -> Call:
    """Return a call that gives a new array (1, C, H, W); ncnn's options are those that fmedge documents."""
    import os

    os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "3000"}
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"):
        setattr(net.opt, name, False)
    net.opt.use_winograd63_convolution = False
    pool = ncnn.PoolAllocator()
    net.opt.blob_allocator = net.opt.workspace_allocator = pool
    net.load_param(path)
    net.load_model(path.removesuffix(".param") + ".bin")

    def call(image: np.ndarray, pool: object = pool) -> np.ndarray:
        height, width = image.shape[1:3]
        with net.create_extractor() as extractor:
            extractor.input("image", ncnn.Mat.from_pixels(image[0], ncnn.Mat.PixelType.PIXEL_RGB, width, height))
            return np.array(extractor.extract(tap)[1])[np.newaxis]

    return call


def litert_call(path: str, tap: str, threads: int) -> Call:
    """Return a call that gives a new array (1, C, H, W)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return np.ascontiguousarray(interpreter.get_tensor(target).transpose(0, 3, 1, 2))

    return call


CALLS = {"onnxruntime": onnxruntime_call, "openvino": openvino_call, "ncnn": ncnn_call, "litert": litert_call}
"""The function for each engine; its arguments are the path of the model, the name of the output, and the threads."""


class Bare:
    """The requests that this worker serves."""

    def load(self, path: str, backend: str, tap: str, threads: int) -> dict[str, object]:
        """Load the model."""
        self.timed = TimedCall(CALLS[backend](path, tap, threads))
        return {}

    def turn(self, runs: int, seconds: float) -> dict[str, object]:
        """Run and time the model a few times."""
        return self.timed.turn(runs, seconds)


if __name__ == "__main__":
    bare = Bare()
    serve({"load": bare.load, "turn": bare.turn})
