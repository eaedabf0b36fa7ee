"""LiteRT (TensorFlow Lite): its ``Interpreter`` with XNNPACK on the CPU, its ``CompiledModel`` on a GPU."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportPrivateUsage=false

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from fmedge.errors import LimitExceeded, ProviderUnavailable
from fmedge.model.artifact import Artifact
from fmedge.model.card import TensorSpec
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.runtime.backends import Provider
from fmedge.runtime.placement import Placement
from fmedge.runtime.session import Engine, FloatArray, Images, failure, require_names
from fmedge.system.processor import missing_features
from fmedge.system.stderr import quietly

_XNNPACK = "XNNPACK"


class LiteRtEngine:
    """A model loaded into LiteRT's interpreter; see :class:`fmedge.runtime.session.Engine`."""

    name = "litert"
    owned = False
    errors = (RuntimeError, ValueError)

    def __init__(self, artifact: Artifact, interpreter: Any) -> None:  # noqa: ANN401 - LiteRT has no types
        self._interpreter: Any = interpreter
        runner = interpreter.get_signature_runner()
        (details,) = runner.get_input_details().values()
        outputs = runner.get_output_details()
        self._input = int(details["index"])
        self._outputs = {spec.name: int(outputs[spec.name]["index"]) for spec in artifact.card.outputs}
        self._shape: tuple[int, ...] = ()
        self.placement: Placement = _placement(interpreter)
        self.active_provider = _XNNPACK if _XNNPACK in self.placement else "builtin"

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`; returns views of the interpreter's memory."""
        del out
        if images.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, images.shape)
            self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return {name: self._interpreter.tensor(index)() for name, index in self._outputs.items()}

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._interpreter = None


class LiteRtGpuEngine:
    """A model compiled for an accelerator by LiteRT; see :class:`fmedge.runtime.session.Engine`."""

    name = "litert"
    owned = True
    errors = (RuntimeError, ValueError)

    def __init__(self, artifact: Artifact, model: Any, active_provider: str) -> None:  # noqa: ANN401
        self._model: Any = model
        ((self._signature, names),) = model.get_signature_list().items()
        require_names(artifact, names["inputs"], names["outputs"])
        self._input = artifact.card.inputs[0]
        self._taps = artifact.card.outputs
        self.active_provider = active_provider
        self.placement: Placement = {active_provider: {"whole model": 1}}

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`."""
        del out
        self._model.resize_input_tensor_by_name(self._signature, self._input.name, list(images.shape))
        source = self._model.create_input_buffer_by_name(self._signature, self._input.name)
        source.write(images)
        targets = {
            spec.name: self._model.create_output_buffer_by_name(self._signature, spec.name) for spec in self._taps
        }
        self._model.run_by_name(self._signature, {self._input.name: source}, targets)
        shapes = self._model.get_output_tensor_details(self._signature)
        return {spec.name: _read(targets[spec.name], spec, shapes[spec.name]["shape"]) for spec in self._taps}

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        with quietly():
            self._model = None


def _read(buffer: Any, spec: TensorSpec, shape: Any) -> FloatArray:  # noqa: ANN401
    extents = tuple(map(int, shape))
    return buffer.read(int(np.prod(extents)), np.dtype(spec.dtype).type).reshape(extents)


def is_present(provider: Provider) -> bool:
    """See :meth:`fmedge.runtime.backends.Adapter.is_present`; False for a GPU, since only an attempt can tell."""
    return provider.device == "cpu"


def open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> Engine:
    """See :meth:`fmedge.runtime.backends.Adapter.open_engine`."""
    if provider.device == "gpu":
        try:
            return open_compiled(artifact, "GPU")
        except ProviderUnavailable:
            if not options.allow_fallback:
                raise
    with quietly():  # LiteRT announces its delegate on stderr
        try:  # from memory: a file that changes under an open interpreter would end the process
            interpreter = Interpreter(model_content=artifact.model, num_threads=threads)
            if artifact.card.options.size is None:  # otherwise it would start with one pixel, too few for some models
                shape = (artifact.card.options.batch or 1, *INPUT_SIZE, 3)
                interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], shape)
            interpreter.allocate_tensors()
            (signature,) = interpreter.get_signature_list().values()
            require_names(artifact, signature["inputs"], signature["outputs"])
            return LiteRtEngine(artifact, interpreter)
        except MemoryError as error:
            raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
        except (ValueError, RuntimeError) as error:
            raise failure(error, f"LiteRT cannot load '{artifact.path}'") from error


def open_compiled(artifact: Artifact, accelerator: str) -> LiteRtGpuEngine:
    """Compile a model for one of LiteRT's accelerators, ``GPU`` or ``CPU``.

    Raises:
        ProviderUnavailable: The accelerator is missing, or cannot run the whole model.
    """
    if "tensorflow" in sys.modules:  # with it loaded, Mesa's Vulkan driver crashes at exit (2.21 and Mesa 22.3)
        raise ProviderUnavailable(
            f"LiteRT's {accelerator} does not work once TensorFlow is loaded. Export first, then run."
        )
    if lacking := missing_features("LiteRT's GPU"):  # its libraries are loaded whatever the accelerator
        words = ", ".join(lacking).upper()
        raise ProviderUnavailable(f"LiteRT's {accelerator} needs {words}, which this processor does not have.")
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    with quietly():
        try:
            model = CompiledModel.from_buffer(artifact.model, HardwareAccelerator[accelerator])
            whole = model.is_fully_accelerated()
        except RuntimeError:  # not kept: it holds an object that prints once more when it is freed
            model, whole = None, False
    if model is None:
        raise ProviderUnavailable(f"LiteRT finds no usable {accelerator} here. Its driver may be missing.")
    if accelerator != "CPU" and not whole:
        raise ProviderUnavailable(
            f"LiteRT would leave some nodes off the {accelerator}.", hint="To allow it: --allow-fallback."
        )
    return LiteRtGpuEngine(artifact, model, accelerator)


def _placement(interpreter: Any) -> Placement:  # noqa: ANN401 - half of it is private
    """Count operators by what runs them: XNNPACK, where a delegate took them over, or LiteRT's built-in kernels.

    LiteRT lists the operators that a delegate took over as well as the delegate itself, which comes later. An operator
    whose output a later delegate computes as well does not run itself.
    """
    operators = list(interpreter._get_ops_details())  # noqa: SLF001 - the only way to ask
    delegates = [operator for operator in operators if operator["op_name"] == "DELEGATE"]
    taken = {index for delegate in delegates for index in _upstream(operators, delegate)}
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for operator in operators:
        if operator["op_name"] != "DELEGATE":
            counts[_XNNPACK if operator["index"] in taken else "builtin"][operator["op_name"]] += 1
    return {name: dict(kinds) for name, kinds in counts.items()}


def _upstream(operators: list[Any], delegate: Any) -> set[int]:  # noqa: ANN401
    """Return the numbers of the operators between a delegate's inputs and its outputs."""
    makers = {
        int(output): operator
        for operator in operators
        if operator["op_name"] != "DELEGATE"
        for output in operator["outputs"]
    }
    known = set(map(int, delegate["inputs"]))
    wanted = list(map(int, delegate["outputs"]))
    found: set[int] = set()
    while wanted:
        tensor = wanted.pop()
        operator = makers.get(tensor)
        if tensor not in known and operator is not None and operator["index"] not in found:
            found.add(int(operator["index"]))
            wanted.extend(map(int, operator["inputs"]))
    return found
