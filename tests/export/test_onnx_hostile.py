"""ONNX networks that are damaged on purpose: an error of ours or a model that passes, never anything else."""

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fmedge
from fmedge.cli import main
from fmedge.errors import FmedgeError
from support.messages import says
from support.onnx_networks import Writer, channels_last, residual

NUMBERS = (0, -1, 1, 3, 7, 1000, 1 << 20, (1 << 31) - 1, 1 << 40, 1 << 62, -(1 << 63))
OPERATORS = (
    *("Reshape", "Concat", "Resize", "Pad", "Slice", "Gather", "ConstantOfShape", "Expand", "Tile", "Range", "MatMul"),
    *("Transpose", "Shape", "Loop", "Cast", "LSTM", "Einsum", "NonZero", "DepthToSpace", "Upsample", "ConvTranspose"),
    *("Split", "TopK", "QLinearConv", "StringNormalizer", "Unheard"),
)


def numbers(model, chance):
    attribute = chance.choice([each for node in model.graph.node for each in node.attribute if each.ints])
    attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(NUMBERS)


def operator(model, chance):
    chance.choice(model.graph.node).op_type = chance.choice(OPERATORS)


def wiring(model, chance):
    node = chance.choice([node for node in model.graph.node if node.input])
    others = [
        chance.choice(model.graph.node).output[0],
        chance.choice(model.graph.initializer).name,
        "input",
        "",
        "lost",
    ]
    node.input[chance.randrange(len(node.input))] = chance.choice(others)


def outputs(model, chance):
    node = chance.choice(model.graph.node)
    node.output[0] = chance.choice([chance.choice(model.graph.node).output[0], "input", "", "n" * 3000])


def constants(model, chance):
    tensor = chance.choice(model.graph.initializer)
    what = chance.randrange(3)
    if what == 0:
        tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(NUMBERS)
    elif what == 1:
        tensor.data_type = chance.choice([2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 99])
    else:
        tensor.raw_data = b"x" * chance.randrange(40)


def image(model, chance):
    chance.choice(model.graph.input[0].type.tensor_type.shape.dim).dim_value = chance.choice(NUMBERS)


def opset(model, chance):
    model.opset_import[0].version = chance.choice([0, 1, 6, 8, 12, 15, 18, 22, 99, 1 << 40])


def attributes(model, chance):
    name = chance.choice(["pads", "axis", "perm", "kernel_shape", "group", "auto_pad", "to"])
    value = chance.choice([3, [1, 2], "x", 1.5, [1 << 40] * 4])
    chance.choice(model.graph.node).attribute.append(helper.make_attribute(name, value))


def nodes(model, chance):
    if chance.random() < 0.5:
        model.graph.node.append(chance.choice(model.graph.node))
    else:
        del model.graph.node[chance.randrange(len(model.graph.node))]


def content(model, chance):
    """Some bytes of the file."""
    damaged = bytearray(model.SerializeToString())
    for _ in range(3):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


KINDS = (numbers, operator, wiring, outputs, constants, image, opset, attributes, nodes, content)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_every_kind(kind, seed, tmp_path, record_property):
    chance = random.Random(f"{kind.__name__} {seed}")
    model = chance.choice([residual, channels_last])()
    found = kind(model, chance)
    path = tmp_path / "damaged.onnx"
    path.write_bytes(found or model.SerializeToString())
    record_property("cases", ("ONNX networks, damaged", 1))
    options = fmedge.ExportOptions(preprocessing="torch", precision=chance.choice(["fp32", "fp16"]))
    try:
        rows = fmedge.list_layers(onnx=path)
        artifact = fmedge.export_submodel([chance.choice(rows).name], onnx=path, options=options, models=tmp_path / "m")
    except FmedgeError as error:
        assert len(error.in_full()) < 600
        assert not list(tmp_path.glob("m/*"))
    else:
        assert artifact.card.parity.passed


def test_one_line_and_an_exit_code(tmp_path, capsys):
    tensor = numpy_helper.from_array(onnx.numpy_helper.to_array(residual().graph.initializer[0]), "stem.conv.weight")
    tensor.dims[0] = 1 << 40
    model = residual()
    model.graph.initializer[0].CopyFrom(tensor)
    onnx.save(model, tmp_path / "bad.onnx")
    command = ["export", "--onnx", str(tmp_path / "bad.onnx"), "--layer", "pool", "--preprocessing", "torch"]
    assert main([*command, "--models", str(tmp_path / "m")]) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "'stem.conv.weight' has other values than it says" in said


def test_names_that_are_no_text(tmp_path):
    content = residual().SerializeToString().replace(b"/stem/act/Relu", b"/stem/\xff\xfe/Relu")
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(FmedgeError, match=r"names that are no text|not an ONNX model"):
        fmedge.list_layers(onnx=tmp_path / "bad.onnx")


def test_a_thousand_constants_take_no_time(tmp_path):
    """Sizes that follow on each other are worked out in a bounded number of rounds."""
    model = residual()
    for index in range(1000):
        node = helper.make_node("Shape", ["input" if index == 0 else f"shape_{index - 1}"], [f"shape_{index}"])
        model.graph.node.append(node)
    model.graph.output.append(helper.make_tensor_value_info("shape_999", TensorProto.INT64, [1]))
    onnx.save(model, tmp_path / "long.onnx")
    assert len(fmedge.list_layers(onnx=tmp_path / "long.onnx")) > 10


def enlarged(by):
    """A convolution, and its maps made larger by a constant."""
    write = Writer()
    values = write.conv("input", 3, 8, module="conv", name="conv")
    scales = write.constant(np.array([1, 1, by, by], np.float32), "scales")
    return write.model((1, 3, 64, 64), write.add("Resize", values, "", scales, name="large"))


def sized_by_pixels():
    """Maps whose size the image's values say."""
    write = Writer()
    values = write.conv("input", 3, 8, module="conv", name="conv")
    mean = write.add(
        "Reshape", write.add("GlobalAveragePool", values), write.constant(np.array([8], np.int64), "eight")
    )
    sizes = write.add("Cast", mean, name="sizes", to=TensorProto.INT64)
    four = write.add("Slice", sizes, *(write.constant(np.array([at], np.int64), f"at_{at}") for at in (0, 4)))
    return write.model((1, 3, 64, 64), write.add("Resize", values, "", "", four, name="large"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: enlarged(4000), r"'large' takes [\d,.]+ GB for an image of 64 x 64\. Allowed: 1\.1 GB"),
        (sized_by_pixels, r"channels is not known|has a size that is known only at a run"),
    ],
)
def test_sizes_are_known_and_bounded_before_anything_is_computed(make, words, precision, tmp_path):
    options = fmedge.ExportOptions(preprocessing="torch", precision=precision)
    with pytest.raises(FmedgeError, check=says(words)):
        fmedge.export_submodel("large", onnx=make(), options=options, models=tmp_path)
    assert fmedge.export_submodel("conv", onnx=make(), options=options, models=tmp_path).card.parity.passed
