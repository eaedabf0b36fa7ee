"""The format of models for fmedge's own kernels, as ``native/include/fmedge_chain.h`` describes it.

A file is a header, a table of layers, the mean, and kernel and bias of each convolution, one after the other without
gaps. The kernels' library reads no further; what follows is the card's facts.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct

MAGIC = b"FMCHAIN1"
"""How every file begins."""

HEADER = Struct("<8s4I2Q24s")
"""Magic, number of layers, channels of the images, their type, 0, offset of the mean, size without facts, zeros."""

LAYER = Struct("<4I2Q")
"""Kind, channels of the output, flags, 0, offset of the kernel, offset of the bias; both are 0 for pooling."""

IMAGE_DTYPES = ("uint8", "float32")
"""Element types of the images, by the number that stands for them."""

MAX_LAYERS = 1024
"""Most layers of a chain."""

MAX_CHANNELS = 65_536
"""Most channels of the images, and of any layer."""

TAPS = 9
"""Values of a kernel per input and output channel."""

FLOAT_BYTES = 4

FACTS = b"fmedge_card "
"""Stands before the card's facts, which end with the file in a line feed."""


class Kind(IntEnum):
    """Kind of a layer: 3 x 3 convolution with stride 1, padded with zeros; or 2 x 2 maxima with stride 2."""

    CONVOLUTION = 1
    POOLING = 2


class Flag(IntFlag):
    """What else belongs to a layer: a ReLU, and whether its output, or that before the ReLU, leaves the chain."""

    RELU = 1
    TAP = 2
    TAP_BEFORE_RELU = 4
