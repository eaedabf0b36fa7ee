"""What ncnn's graphs may contain: how tensors are named in them, and which kinds of layers are run."""

from __future__ import annotations

import re

LAYERS = frozenset(
    (
        *("Input", "Split", "MemoryData", "Convolution", "ConvolutionDepthWise", "Deconvolution"),
        *("DeconvolutionDepthWise", "InnerProduct", "Gemm", "Pooling", "Scale", "BatchNorm", "LayerNorm", "GroupNorm"),
        *("InstanceNorm", "LRN", "ReLU", "PReLU", "Clip", "ELU", "SELU", "CELU", "GELU", "Mish", "Swish", "Sigmoid"),
        *("HardSigmoid", "HardSwish", "TanH", "Softplus", "Softmax", "UnaryOp", "BinaryOp", "Eltwise", "Concat"),
        *("Slice", "Crop", "Padding", "Reshape", "Flatten", "Squeeze", "ExpandDims", "Permute", "ShuffleChannel"),
        *("PixelShuffle", "Reorg", "Interp", "Reduction", "Dropout"),
    )
)
"""The kinds of layers that fmedge runs: those that convolution networks become. The gate knows a rule for each."""

MAX_BLOB_NAME = 200
"""Most letters of a tensor's name in a graph: ncnn reads up to 255."""

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]")


def blob_of(name: str) -> str:
    """Return how a tensor is named in a graph, whose words end at spaces: other letters are written as in addresses.

    Args:
        name: A layer's name, such as ``layer1/conv 2``, which becomes ``layer1%2Fconv%202``.
    """
    return "".join(
        letter if _PLAIN.fullmatch(letter) else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in name
    )


def name_of(blob: str) -> str:
    """Return the name that :func:`blob_of` turned into this one.

    Raises:
        ValueError: There is none.
    """
    if "%" not in blob:
        return blob
    parts = re.split("((?:%[0-9A-F]{2})+)", blob)
    parts[1::2] = (bytes.fromhex(part.replace("%", "")).decode() for part in parts[1::2])
    name = "".join(parts)
    if blob_of(name) != blob:
        raise ValueError(f"'{blob}' is not a name")
    return name
