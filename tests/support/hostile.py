"""Model files that mean harm, made from good ones."""

import random
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def constant(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def computed(operator, inputs=(), constants=(), **attributes):
    """A change that puts a node before all others and lets nobody read it."""

    def change(model):
        model.graph.initializer.extend(constants)
        domain = attributes.pop("domain", "")
        model.graph.node.insert(0, helper.make_node(operator, list(inputs), ["extra"], domain=domain, **attributes))

    return change


def body():
    """A graph as If, Loop and Scan hold one."""
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
    node = helper.make_node("Constant", [], ["inner"], value=constant("c", [1], np.float32))
    return helper.make_graph([node], "body", [], [value])


def external(location, flagged=True):
    """A change that moves the first constant's values into another file."""

    def change(model):
        tensor = model.graph.initializer[0]
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        if flagged:
            tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)

    return change


def functions(count):
    """A change that adds functions, each of which calls the next; the last one calls itself."""

    def change(model):
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        model.opset_import.add(domain="own", version=1)
        for index in range(count):
            following = f"f{min(index + 1, count - 1)}"
            node = helper.make_node(following, ["x"], ["y"], domain="own")
            model.functions.append(helper.make_function("own", f"f{index}", ["x"], ["y"], [node], opsets))
        model.graph.node.insert(0, helper.make_node("f0", ["image"], ["extra"], domain="own"))

    return change


def edit_node(operator, **attributes):
    """A change that gives the first node of an operator other attributes."""

    def change(model):
        node = next(node for node in model.graph.node if node.op_type == operator)
        kept = [entry for entry in node.attribute if entry.name not in attributes]
        made = [helper.make_attribute(name, value) for name, value in attributes.items()]
        del node.attribute[:]
        node.attribute.extend([*kept, *made])

    return change


def edit_constant(**fields):
    """A change of the first constant's fields."""

    def change(model):
        tensor = model.graph.initializer[0]
        for name, value in fields.items():
            if name == "dims":
                tensor.dims[:] = value
            else:
                setattr(tensor, name, value)

    return change


def sparse(model):
    tensor = model.graph.sparse_initializer.add()
    tensor.values.CopyFrom(constant("sparse", [1.0], np.float32))
    tensor.indices.CopyFrom(constant("indices", [0]))
    tensor.dims[:] = [1 << 40]


def typed_values(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.int64_data.extend([1] * 9)


def backwards(model):
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def own_output(model):
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    node.input[0] = node.output[0]


def twice_defined(model):
    model.graph.initializer.append(constant(model.graph.node[0].output[0], [1], np.float32))


def many_nodes(model):
    names = ["image", *(f"n{index}" for index in range(20_000))]
    model.graph.node.extend(helper.make_node("Identity", [one], [two]) for one, two in pairwise(names))


def many_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))


def renamed_output(model):
    (output,) = model.graph.output
    model.graph.node.append(helper.make_node("Identity", [output.name], ["other"]))
    output.name = "other"


def other_shape(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 31


def huge_shape(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40


def sequence_input(model):
    kind = model.graph.input[0].type
    kind.CopyFrom(helper.make_sequence_type_proto(onnx.TypeProto.FromString(kind.SerializeToString())))


def facts_twice(model):
    model.metadata_props.append(model.metadata_props[0])


def training(model):
    model.training_info.add()


def edited(content, change):
    """A model after a change of its protobuf."""
    model = onnx.load_model_from_string(content)
    change(model)
    return model.SerializeToString()


def structure(content, *blobs):
    """Positions of a file that lie in none of these pieces of it: in neither weights nor text."""
    inside = set()
    for blob in blobs:
        start = content.find(blob)
        assert start >= 0
        inside.update(range(start, start + len(blob)))
    return [position for position in range(len(content)) if position not in inside]


def mutations(content, positions, count, seed):
    """Copies of a file in which a few bytes are others: half of them anywhere, half at the positions given."""
    generator = random.Random(seed)
    for index in range(count):
        damaged = bytearray(content)
        for _ in range(generator.choice((1, 1, 2, 8))):
            place = generator.choice(positions) if index % 2 else generator.randrange(len(damaged))
            damaged[place] = generator.choice((generator.randrange(256), damaged[place] ^ 1 << generator.randrange(8)))
        yield bytes(damaged)
