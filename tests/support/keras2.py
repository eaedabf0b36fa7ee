"""Files as Keras 2 wrote them, made from models of Keras 3."""

import io
import json
import re
import zipfile

import h5py

ADDED = {
    "DepthwiseConv2D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "SeparableConv2D": {"groups": 1, "kernel_initializer": None, "kernel_regularizer": None, "kernel_constraint": None},
    "LSTM": {"time_major": False},
    "SpatialDropout2D": {"trainable": True, "noise_shape": None},
    "RandomFlip": {"rng_type": "stateful"},
}
FUNCTIONS = {"Add": "__operators__.add", "Multiply": "math.multiply", "Relu6": "nn.relu6", "TrueDivide": "math.truediv"}


def in_keras2(part):
    """The configuration of a layer or model as Keras 2 wrote it; ``|`` in a name becomes a slash."""
    kind, config = part["class_name"], dict(part["config"])
    config.update(ADDED.get(kind, {}))
    if kind == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
    for key in ("input_layers", "output_layers"):
        if key in config:
            config[key] = [config[key]] if isinstance(config[key][0], str) else config[key]
    found = {"class_name": kind, "config": config}
    if "layers" in config:
        nested = {each["config"]["name"] for each in config["layers"] if "layers" in each["config"]}
        config["layers"] = [in_keras2(each) for each in config["layers"]]
        for each in config["layers"]:
            each["inbound_nodes"] = [call(node, nested, each) for node in each.get("inbound_nodes", ())]
    if "inbound_nodes" in part:
        found |= {"name": config["name"], "inbound_nodes": part["inbound_nodes"]}
    if kind in FUNCTIONS:
        found["class_name"] = "TFOpLambda"
        found["config"] = {"name": config["name"], "function": FUNCTIONS[kind]}
    return found


def call(node, nested, layer):
    """A call as Keras 2 recorded it: that a nested model was built counts as its first call."""

    def reference(tensor):
        name, index, output = tensor["config"]["keras_history"]
        return [name, index + (name in nested), output]

    first, *others = node["args"]
    if layer["class_name"] == "TFOpLambda":
        (other,) = others or [None]
        named = {"y": reference(other) if isinstance(other, dict) else other} if others else {}
        return [*reference(first), {**named, "name": None}]
    return [[*reference(each), {}] for each in (first if isinstance(first, list) else [first])]


def save_h5(model, path, version="2.4.0", change=lambda config: config):
    """Save a model as HDF5; ``change`` edits the configuration."""
    model.save(path)
    with h5py.File(path, "r+") as file:
        found = change(in_keras2(json.loads(file.attrs["model_config"])))
        file.attrs["model_config"] = json.dumps(found).replace("|", "/")
        file.attrs["keras_version"] = file["model_weights"].attrs["keras_version"] = version


def save_zip(model, path, version="2.13.1"):
    """Save a model as a zip, with the weights where Keras 2.12 and 2.13 put them: layers with weights count twice."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        config, weights = (archive.read(name) for name in ("config.json", "model.weights.h5"))
    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as file:
        _move(file)
    found = in_keras2(json.loads(config))
    found["module"] = "keras" if found["class_name"] == "Sequential" else "keras.src.engine.functional"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(found).replace("|", "/"))
        archive.writestr("model.weights.h5", buffer.getvalue())


def is_array(_, item):
    return isinstance(item, h5py.Dataset) or None


def _move(group):
    for child in group.values():
        if isinstance(child, h5py.Group):
            _move(child)
    if "layers" not in group:
        return
    counts = {}
    number = {name: int((re.search(r"_(\d+)$", name) or [0, 0])[1]) for name in group["layers"]}
    for name in sorted(number, key=number.get):
        kind = re.sub(r"_\d+$", "", name)
        count = counts.get(kind, 0)
        counts[kind] = count + (2 if group["layers"][name].visititems(is_array) else 1)
        group.move(f"layers/{name}", f"_layer_checkpoint_dependencies/{kind}" + (f"_{count}" if count else ""))
    del group["layers"]
