"""Each pass on a graph small enough to read."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import helper, numpy_helper  # noqa: E402

from fmedge.export.onnx import passes  # noqa: E402


def graph(nodes, inputs=("image:0",), outputs=("out:0",), **constants):
    def value(name):
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)

    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    return helper.make_graph(nodes, "g", [value(name) for name in inputs], [value(name) for name in outputs], tensors)


def node(kind, inputs, output, name="", **attributes):
    return helper.make_node(kind, inputs.split(), [output], name or output, **attributes)


def kinds(g):
    return [each.op_type for each in g.node]


def attributes(each):
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in each.attribute}


def test_transposes_are_lifted_to_the_image_and_merged():
    g = graph(
        [
            node("Cast", "image:0", "a", to=1),
            node("Sub", "a mean", "b"),
            node("Transpose", "b", "c", perm=[0, 3, 1, 2]),
            node("Transpose", "b", "d", perm=[0, 3, 1, 2]),
            node("Add", "c d", "out:0"),
        ],
        mean=np.array([1, 2, 3], np.float32),
    )
    passes.lift_input_transposes(g)
    assert kinds(g) == ["Transpose", "Cast", "Sub", "Add"]
    turned = next(tensor for tensor in g.initializer if tensor.name == g.node[2].input[1])
    assert list(turned.dims) == [1, 3, 1, 1]


def test_a_transpose_stays_where_others_read_before_it():
    nodes = [
        node("Cast", "image:0", "a", to=1),
        node("Transpose", "a", "b", perm=[0, 3, 1, 2]),
        node("Relu", "a", "other"),
        node("Relu", "b", "out:0"),
    ]
    g = graph(nodes, outputs=("out:0", "other"))
    passes.lift_input_transposes(g)
    assert kinds(g) == ["Cast", "Transpose", "Relu", "Relu"]


def test_there_and_back_again_is_nothing():
    nodes = [
        node("Transpose", "image:0", "out:0", perm=[0, 2, 3, 1]),
        node("Transpose", "out:0", "b", perm=[0, 3, 1, 2]),
        node("Relu", "b", "deep"),
    ]
    g = graph(nodes, outputs=("out:0", "deep"))
    passes.cancel_inverse_transposes(g)
    assert kinds(g) == ["Transpose", "Relu"]
    assert list(g.node[1].input) == ["image:0"]


def test_zero_biases_come_back():
    g = graph([node("Conv", "image:0 k", "out:0")], k=np.zeros((7, 3, 3, 3), np.float32))
    passes.add_zero_biases(g)
    bias = next(tensor for tensor in g.initializer if tensor.name == g.node[0].input[2])
    np.testing.assert_array_equal(numpy_helper.to_array(bias), np.zeros(7))


@pytest.mark.parametrize(("kernel", "dilation", "pads"), [(3, 1, [1, 1, 1, 1]), (4, 1, [1, 1, 2, 2]), (3, 2, [2] * 4)])
def test_padding_is_spelled_out_at_stride_one(kernel, dilation, pads):
    shape = {"kernel_shape": [kernel] * 2, "dilations": [dilation] * 2, "auto_pad": "SAME_UPPER"}
    g = graph([node("Conv", "image:0 k", "out:0", **shape), node("Conv", "image:0 k", "b", strides=[2, 2], **shape)])
    passes.spell_out_padding(g)
    assert attributes(g.node[0])["pads"] == pads
    assert "auto_pad" not in attributes(g.node[0])
    assert attributes(g.node[1])["auto_pad"] == b"SAME_UPPER"


def test_defaults_go_and_the_rest_is_sorted():
    given = {"strides": [1, 1], "pads": [1, 1, 1, 1], "group": 1, "dilations": [1, 1], "kernel_shape": [3, 3]}
    g = graph([node("Conv", "image:0 k", "out:0", **given)])
    passes.drop_default_attributes(g)
    assert [attribute.name for attribute in g.node[0].attribute] == ["kernel_shape", "pads"]


def test_order_does_not_depend_on_the_order_written():
    nodes = [
        node("Relu", "image:0", "a"),
        node("Relu", "a", "b"),
        node("Neg", "a", "c"),
        node("Add", "b c", "out:0"),
        node("Exp", "a", "unused"),
    ]
    written = graph(nodes)
    shuffled = graph([nodes[index] for index in (0, 2, 4, 1, 3)])
    for g in (written, shuffled):
        passes.sort_nodes(g)
    assert written == shuffled
    assert kinds(written) == ["Relu", "Relu", "Neg", "Add"]


def test_a_transpose_that_is_read_stays_before_its_reader():
    nodes = [node("Neg", "x", "a"), node("Transpose", "a", "one", perm=[0, 3, 1, 2]), node("Relu", "one", "two")]
    g = graph(nodes, outputs=("one", "two"))
    passes.sort_nodes(g)
    assert kinds(g) == ["Neg", "Transpose", "Relu"]


def test_names_say_what_things_are():
    g = graph(
        [
            node("Conv", "image:0 layer_0/k zeros", "x__12", "layer_0/conv__7"),
            node("Relu", "x__12", "out:0", "layer_0/Relu"),
            node("Conv", "out:0 layer_1/k zeros2", "Identity_1:0", "layer_1/conv__9"),
        ],
        outputs=("out:0", "Identity_1:0"),
        zeros=np.zeros(1, np.float32),
        zeros2=np.zeros(1, np.float32),
        **{"layer_0/k": np.zeros((1, 1, 1, 1)), "layer_1/k": np.zeros((1, 1, 1, 1))},
    )
    passes.name_everything(g, ["one", "two"], ["one", "two"])
    assert [(each.name, list(each.input), list(each.output)) for each in g.node] == [
        ("one", ["image", "one_kernel", "one_bias"], ["one_conv"]),
        ("one_relu", ["one_conv"], ["one"]),
        ("two", ["one", "two_kernel", "two_bias"], ["two"]),
    ]
    assert [output.name for output in g.output] == ["one", "two"]


def test_an_output_s_transpose_that_another_node_reads_comes_first():
    g = graph(
        [
            node("Identity", "first:0", "second:0"),
            node("Transpose", "a", "first:0", perm=[0, 2, 3, 1]),
            node("Transpose", "b", "third:0", perm=[0, 2, 3, 1]),
            node("Relu", "image:0", "a"),
            node("Neg", "a", "b"),
        ],
        outputs=("first:0", "second:0", "third:0"),
    )
    passes.sort_nodes(g)
    assert [each.output[0] for each in g.node] == ["a", "first:0", "second:0", "b", "third:0"]
