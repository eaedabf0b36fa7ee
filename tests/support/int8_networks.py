"""Small ONNX networks with structured weights for int8, and what onnxruntime's own recipe makes of them."""

import numpy as np
import onnx

from fmedge.data.images import load_photo
from support.onnx_networks import Writer, activation


class Structured(Writer):
    """Writes convolutions as training leaves them: filters of unequal size, biases that matter, smooth kernels."""

    def conv(self, before, channels, filters, size=3, *, module, groups=1, **settings):
        output = super().conv(before, channels, filters, size, module=module, groups=groups, **settings)
        index = next(place for place, tensor in enumerate(self.weights) if tensor.name == f"{module}.weight")
        kernel = onnx.numpy_helper.to_array(self.weights[index])
        sizes = np.exp(self.random.normal(0, 0.7, (filters, 1, 1, 1)))
        smooth = kernel + kernel.mean(axis=(2, 3), keepdims=True) * 2
        self.weights[index] = onnx.numpy_helper.from_array((smooth * sizes).astype(np.float32), f"{module}.weight")
        return output

    def norm(self, before, channels, module):
        parts = [
            self.constant(self.random.uniform(low, high, channels).astype(np.float32), f"{module}.{name}")
            for name, low, high in (("weight", 0.2, 2), ("bias", -0.5, 0.5), ("mean", -0.3, 0.3), ("var", 0.3, 2))
        ]
        return self.add("BatchNormalization", before, *parts, name=module)


def relu6(write, before):
    bounds = [write.constant(np.float32(value), f"bound{len(write.weights)}") for value in (0, 6)]
    return write.add("Clip", before, *bounds)


def network(kind, size=(32, 40)):
    """Return a network; its last layer is called ``last``."""
    write = Structured(seed=7)
    channels = 1 if kind == "grey" else 3
    values = "input"
    if kind == "nhwc":
        values = write.add("Transpose", values, name="turned", perm=[0, 3, 1, 2])
    values = write.conv(values, channels, 12, module="first", strides=[2, 2])
    values = write.norm(values, 12, "bn")
    values = relu6(write, values) if kind == "clip" else write.add("Relu", values, name="act")
    if kind == "depthwise":
        values = write.conv(values, 12, 12, module="dw", groups=12)
        values = write.norm(values, 12, "dw_bn")
        values = relu6(write, values)
        values = write.conv(values, 12, 16, 1, module="pw")
    elif kind == "clip":
        values = relu6(write, write.conv(values, 12, 16, module="second"))
    elif kind == "add":
        values = write.add("Add", values, write.conv(values, 12, 12, module="branch"), name="sum")
        values = write.add("Relu", values, name="after")
    elif kind == "concat":
        values = write.add(
            "Concat",
            write.add("Relu", write.conv(values, 12, 8, module="left"), name="left_act"),
            write.add("LeakyRelu", write.conv(values, 12, 8, 1, module="right"), name="right_act", alpha=0.1),
            name="both",
            axis=1,
        )
        values = write.add("MaxPool", values, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    elif kind in ("silu", "hard_silu", "HardSwish"):
        values = write.conv(values, 12, 16, module="second")
        values = write.add(kind, values, name="swish") if kind == "HardSwish" else activation(write, kind, values)
    elif kind == "resize":
        scales = write.constant(np.array([1, 1, 2, 2], np.float32), "scales")
        values = write.add("Relu", write.conv(values, 12, 16, module="second"), name="second_act")
        values = write.add("Resize", values, "", scales, name="larger", mode="nearest")
    width = 12 if kind in ("plain", "add", "grey", "nhwc") else 16
    values = write.conv(values, width, 10, module="last", name="last")
    values = write.add("Relu", values, name="end")
    shape = (1, *size, channels) if kind == "nhwc" else (1, channels, *size)
    return write.model(shape, values)


KINDS = ("plain", "depthwise", "clip", "add", "concat", "silu", "hard_silu", "HardSwish", "resize", "grey", "nhwc")


def by_onnxruntime(model, photos, folder):
    """Quantize a float model as ``quantize_static`` does by default, per channel, after ``quant_pre_process``."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quant_pre_process, quantize_static

    size = tuple(axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim)[1:3]

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.files = iter(photos)

        def get_next(self):
            photo = next(self.files, None)
            return None if photo is None else {"image": load_photo(photo, size).pixels[np.newaxis]}

    onnx.save(model, folder / "float.onnx")
    quant_pre_process(str(folder / "float.onnx"), str(folder / "prepared.onnx"), skip_symbolic_shape=True)
    target = folder / "theirs.onnx"
    quantize_static(
        str(folder / "prepared.onnx"), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True
    )
    return onnx.load(target)


def sqnr_db(found, true):
    """10 * log10(signal / noise) of arrays in lists, all together."""
    noise = sum(np.square(one.astype(np.float64) - other).sum() for one, other in zip(found, true, strict=True))
    return 10 * np.log10(sum(np.square(other.astype(np.float64)).sum() for other in true) / noise)
