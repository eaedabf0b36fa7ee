"""Turn a PyTorch module into an ONNX network, with PyTorch's own exporter."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingImports=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import io
from typing import Any

import onnx

from fmedge.errors import BackendUnavailable, UsageError
from fmedge.system.stderr import quietly


def model_of_module(module: Any, example: Any) -> onnx.ModelProto:  # noqa: ANN401 - PyTorch need not be installed
    """Export a module as it computes in evaluation mode.

    Args:
        module: A ``torch.nn.Module``; its parts are in training mode afterwards if they were before.
        example: An input for it, a tensor (N, C, H, W); its height and width become the network's own.

    Raises:
        BackendUnavailable: PyTorch, or a package that its exporter needs, is not installed.
        UsageError: PyTorch cannot export the module.
    """
    try:
        import onnxscript as onnxscript  # what the exporter writes with
        import torch
    except ImportError as error:
        raise BackendUnavailable(
            "Exporting a PyTorch module needs packages not installed.",
            hint="Install them: pip install torch onnxscript.",
        ) from error
    modes = [(each, each.training) for each in module.modules()]
    try:
        module.eval()
        with quietly(), torch.no_grad():
            program = torch.onnx.export(module, (example,), dynamo=True, external_data=False, verbose=False)
        content = io.BytesIO()
        onnx.save(program.model_proto, content)
        return onnx.load_from_string(content.getvalue())
    except Exception as error:  # PyTorch's exporter raises errors of many kinds
        cause = error.__cause__ or error  # the exporter's own message is a page about itself
        said = str(cause).strip().partition("\n")[0][:90] or type(cause).__name__
        raise UsageError(
            f"PyTorch cannot export this module: {said}.", hint="Write an ONNX file with torch.onnx and use that."
        ) from error
    finally:
        for each, training in modes:
            each.training = training
