"""Random ncnn graphs that keep to the gate's table, with weights of the right length, whatever they compute."""

import random

import numpy as np

from fmedge.errors import ArtifactError
from fmedge.runtime.gate import ncnn_layers, ncnn_reader
from fmedge.runtime.gate.ncnn_parameters import Float, Floats, Text, Wholes

MAGIC = "7767517"
FLOAT16 = (0x01306B47).to_bytes(4, "little")


class _Writer(ncnn_reader._Reader):
    """A reader that writes the weights that it would read."""

    def __init__(self, dice):
        super().__init__(None, None)
        self.content, self._dice = [], dice

    def _skip(self, count, *, tagged):
        half = tagged and self._dice.random() < 0.5
        values = np.random.default_rng(count).uniform(0.01, 1, count).astype("<f2" if half else "<f4").tobytes()
        self.content.append((FLOAT16 if half else bytes(4)) * tagged + values + bytes(-len(values) % 4))


def random_graph(seed, layers=12, height=9, width=11):
    """Graph and weights: up to so many layers, of which the gate lets every single one pass."""
    dice = random.Random(seed)
    lines = [f"Input image 0 1 image 0={width} 1={height} 2=3"]
    kinds = [kind for kind in ncnn_layers.KINDS if kind != "Input"]
    kinds += [
        kind for kind in kinds if "onvolution" in kind or kind in ("Pooling", "Concat", "BinaryOp", "Eltwise")
    ] * 3
    while len(lines) <= layers:
        for _ in range(200):
            line = _line(dice, dice.choice(kinds), lines, len(lines))
            if line and _passes([*lines, line]):
                lines.append(line)
                break
        else:
            break
    writer = _Writer(dice)
    for line in lines:
        writer.layer(line)
    for number, (blob, shape) in enumerate(list(writer.loose.items())):
        if len(shape) != 3:  # an output must be a map
            known = int(np.prod(shape))
            line = f"Reshape end{number} 1 1 {blob} end{number} 0=1 1=1 2={known}"
            writer.layer(line)
            lines.append(line)
    text = "\n".join([MAGIC, f"{len(lines)} {len(writer.ways)}", *lines, ""])
    return text.encode(), b"".join(writer.content)


def _passes(lines):
    reader = ncnn_reader._Reader(None, None)
    try:
        for line in lines:
            reader.layer(line)
    except ArtifactError:
        return False
    except ncnn_reader._DamagedError:
        return False
    small = all(len(shape) == 3 or np.prod(shape) <= 1 << 16 for shape in reader.loose.values())
    return small and reader.memory < 1 << 26 and reader.products < 1 << 28


def _line(dice, name, lines, number):
    kind = ncnn_layers.KINDS[name]
    reader = ncnn_reader._Reader(None, None)
    for line in lines:
        reader.layer(line)
    loose = list(reader.loose.items())
    count = dice.randint(kind.inputs[0], min(kind.inputs[-1], 3))
    if count > len(loose):
        return None
    taken = dice.sample(loose, count)
    shape = taken[0][1] if taken else ()
    makes = dice.randint(1, min(kind.outputs[-1], 3))
    words = [name, f"l{number}", str(count), str(makes), *(blob for blob, _ in taken)]
    words += [f"b{number}x{index}" for index in range(makes)]
    given = {}
    for key, allowed in (*kind.needed.items(), *kind.optional.items()):
        if key in kind.needed or dice.random() < 0.5:
            given[key] = _value(dice, allowed, shape)
    _fit(dice, name, given, shape, makes)
    for key, value in given.items():
        listed = isinstance(value, (list, tuple))
        words.append(f"-233{key:02}={len(value)},{','.join(map(str, value))}" if listed else f"{key}={value}")
    return " ".join(words)


def _value(dice, allowed, shape):
    if isinstance(allowed, range):
        near = [value for value in (0, 1, 2, 3, 4, 5, -1, 8, 16, *shape) if value in allowed]
        return dice.choice(near) if near else dice.choice((allowed[0], allowed[-1]))
    if isinstance(allowed, Float):
        return dice.choice([value for value in (0.5, 1.0, 2.0, 1.5, -0.25) if allowed.least <= value <= allowed.most])
    if isinstance(allowed, Wholes):
        near = [value for value in (0, 1, 2, -1, -2, 3, 4, -233, *shape) if value in allowed.each]
        return [dice.choice(near) for _ in range(dice.randint(1, 3))]
    if isinstance(allowed, Floats):
        return [dice.choice((0.0, 0.5, 6.0, 0.25)) for _ in range(dice.randint(1, 2))]
    assert isinstance(allowed, Text)
    return '"' + ",".join(dice.choice(("0w", "0h", "0c", "-1", "1w", "4")) for _ in range(dice.randint(1, 4))) + '"'


def _fit(dice, name, given, shape, makes):
    """Make counts agree most of the time: hardly any graph would pass otherwise."""
    if not shape or dice.random() < 0.02:
        return
    channels, total = shape[0], int(np.prod(shape))
    if "onvolution" in name:
        if not name.startswith("De") and dice.random() < 0.2:
            given.update(dict.fromkeys((4, 14, 15, 16), -233))
        groups = given.get(7, 1)
        if 7 in given:
            groups = given[7] = dice.choice([g for g in (1, 2, channels) if channels % g == 0])
            given[0] = groups * dice.choice((1, 2, 3, 4))
        given[6] = given[0] * (channels // groups) * given[1] * given.get(11, given[1])
    if name == "InnerProduct":
        given[2] = given[0] * (shape[-1] if len(shape) == 2 else total)
    if "onvolution" in name or name == "InnerProduct":
        wanted = {2: 1, 3: 2, 6: 2}.get(given.get(9, 0), 0)
        given.pop(10, None)
        if wanted:
            given[10] = [0.25, 0.5][:wanted]
    if name in ("Scale", "BatchNorm", "InstanceNorm"):
        given[0] = channels
    if name == "GroupNorm":
        given[1], given[0] = channels, dice.choice([g for g in (1, 2, channels) if channels % g == 0])
    if name == "LayerNorm":
        given[0] = dice.choice((shape[-1], total // channels))
    if name == "Gemm":
        given[9] = shape[-1]
    if name == "Reshape" and 6 in given:
        for key in (0, 1, 2, 11):
            given.pop(key, None)
    if name == "Crop":
        count = dice.randint(1, len(shape))
        given[9], given[10] = (
            [dice.randint(0, 1) for _ in range(count)],
            [dice.choice((2, 3, -1, -233)) for _ in range(count)],
        )
        given[11] = dice.sample(range(len(shape)), count)
    if name == "Slice":
        given.pop(dice.choice((0, 2)), None)
        given.pop(dice.choice((0, 2)), None)
        given.update(dice.choice([{0: [-233] * makes}, {2: list(range(1, makes))}]) if makes > 1 else {0: [-233]})
