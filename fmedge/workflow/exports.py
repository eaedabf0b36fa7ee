"""Export a sub-model as a Python user asks for it: from a path, or from a model in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from fmedge.errors import UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.preprocessing import NONE
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import find_network
from fmedge.model.submodel import Activation, ExportOptions, SubModel, find_activation
from fmedge.model.weights import WeightsChoice
from fmedge.system.choices import StrPath, find_path, require_record, require_switch
from fmedge.workflow.artifacts import create_artifact
from fmedge.workflow.layer_names import Layers, tap_names
from fmedge.workflow.own_networks import settle_options
from fmedge.workflow.request import ArtifactSpec, export_options, models_folder, request_artifact

if TYPE_CHECKING:
    from onnx import ModelProto

    from fmedge.export.network import Network
    from fmedge.export.tensorflow.keras_import import Model


def export_submodel(
    layer: Layers | None = None,
    activation: str | None = None,
    *,
    network: str | None = None,
    weights: StrPath | None = None,
    keras: StrPath | Model | None = None,
    onnx: StrPath | ModelProto | None = None,
    torch: Any = None,  # noqa: ANN401 - PyTorch need not be installed
    example: Any = None,  # noqa: ANN401
    models: StrPath | None = None,
    options: ExportOptions | None = None,
    calibration: StrPath | None = None,
    verify: bool = True,
    offline: bool = False,
    run: RunOptions | None = None,
) -> Artifact:
    """Cut a stock network, a Keras model or an ONNX network after a layer and write it as a model file with its card.

    Args:
        layer: As in :func:`request_artifact`.
        activation: As in :func:`request_artifact`.
        network: A stock network: ``vgg16``, which is the default, or ``vgg19``.
        weights: Its weights: ``imagenet``, ``untrained`` or a Keras .h5 file; None means ``FMEDGE_WEIGHTS``, then
            ``imagenet``.
        keras: A Keras model to use instead: a ``.keras`` or ``.h5`` file, or a ``keras.Model`` object.
            ``options.preprocessing`` must say what it needs done to pixels, unless it begins with Rescaling or
            Normalization; ``options.size`` is the model's own unless it is given.
        onnx: An ONNX network to use instead: a file, or an ``onnx.ModelProto``. ``options.preprocessing`` must say what
            it needs done to pixels.
        torch: A ``torch.nn.Module`` to use instead, exported by PyTorch. ``options.preprocessing`` must say what it
            needs done to pixels.
        example: With ``torch``: an input for it, a tensor (N, C, H, W).
        models: Folder to write to; None means ``FMEDGE_MODELS``, then ``models``.
        options: The form of the model; None means the defaults: an ONNX file, unless only other engines are installed.
        calibration: Folder of photos; int8 needs one.
        verify: Compare the model with a reference before it is written.
        offline: Never access the internet.
        run: Engine and device of the parity check; None means the defaults.

    Returns:
        The artifact as written.

    Raises:
        FmedgeError: See :func:`request_artifact` and :func:`create_artifact`.
    """
    require_record("options", options, ExportOptions)
    require_record("run", run, RunOptions)
    require_switch("verify", verify)
    require_switch("offline", offline)
    photos = None if calibration is None else find_path("calibration", calibration)
    if torch is not None:
        if (network, keras, onnx) != (None, None, None) or example is None:
            raise UsageError("torch needs an example, and excludes network, keras and onnx.")
        from fmedge.export.torch_module import model_of_module

        onnx = model_of_module(torch, example)
    if _is_path(keras) and _is_path(onnx):
        request = request_artifact(
            layer,
            activation,
            network=network,
            weights=weights,
            keras=cast("StrPath | None", keras),
            onnx=cast("StrPath | None", onnx),
            models=models,
            options=options,
        )
        return create_artifact(request, calibration=photos, verify=verify, offline=offline, run=run)
    find_network(network, keras, onnx)
    options = options or export_options(network, keras, onnx)
    chosen = Activation.RELU if activation is None else find_activation(activation)
    if keras is not None:
        options, found, names = _keras_object(cast("Model", keras), options)
    else:
        options, found, names = _onnx_object(cast("ModelProto", onnx), options)
    submodel = SubModel(tap_names(layer, chosen, names), chosen, found.facts.kind)
    request = ArtifactSpec(submodel, WeightsChoice(found.facts, None), models_folder(models), options)
    return create_artifact(request, network=found, calibration=photos, verify=verify, run=run)


def _is_path(given: object) -> bool:
    return given is None or isinstance(given, (str, os.PathLike))


def _keras_object(model: Model, options: ExportOptions) -> tuple[ExportOptions, Network, Collection[str]]:
    from fmedge.export.tensorflow.keras_network import network_of_model
    from fmedge.model.keras_input import layer_names, read_input

    config = json.loads(model.to_json())
    options, _ = settle_options(options, read_input(config))
    return options, network_of_model(model, options.preprocessing or NONE), layer_names(config)


def _onnx_object(model: ModelProto, options: ExportOptions) -> tuple[ExportOptions, Network, Collection[str]]:
    from fmedge.export.onnx_source.network import network_of_proto

    network = network_of_proto(model, NONE)
    options, _ = settle_options(options, network.graph.takes)
    return options, network_of_proto(model, options.preprocessing or NONE), network.graph.all_names
