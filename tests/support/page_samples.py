"""Feature maps made by hand, and a second reader of what a page holds."""

import base64
import json
import zlib
from dataclasses import fields
from html.parser import HTMLParser

import numpy as np

from fmedge.data.channel_errors import ChannelErrors
from fmedge.data.feature_maps import FeatureMaps, Provenance
from fmedge.model.card import ModelCard, Preprocessing, TensorSpec, WeightsFacts
from fmedge.model.submodel import Activation, ExportOptions, SubModel
from fmedge.render.encoding import EncodedMaps

IMAGENET = WeightsFacts("imagenet", "ab" * 32)
UNTRAINED = WeightsFacts("untrained", None, "seed 0")


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "\"'><img src=x onerror=alert(1)>",
    "{{script}} {{data}}",
    "&lt;b&gt; \u2028\u2029\x00\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "<b>bold</b> <a href='javascript:alert(1)'>x</a>",
    "--><script>alert(1)</script>",
]
"""Names that want to be more than text."""


def make_maps(
    maps,
    *,
    layer="block1_conv1",
    activation="relu",
    weights=IMAGENET,
    image_name="photo.png",
    resize="nearest",
    backend="onnxruntime",
    active_provider="CPUExecutionProvider",
    pixels=None,
    function=None,
):
    """Feature maps from an array (C, H, W), with a plausible past; of a Keras model where a function is named."""
    maps = np.asarray(maps, np.float32)[np.newaxis]
    card = ModelCard(
        submodel=SubModel(("block1_conv1",), Activation(activation))
        if function is None
        else SubModel((layer,), Activation(activation), "keras"),
        functions=() if function is None else (function,),
        options=ExportOptions(),
        weights=weights,
        inputs=(TensorSpec("image", "uint8", (None, 224, 224, 3), "NHWC"),),
        outputs=(
            TensorSpec("block1_conv1" if function is None else layer, "float32", (None, *maps.shape[1:]), "NCHW"),
        ),
        preprocessing=Preprocessing("BGR", (103.939, 116.779, 123.68), True),
        tools={},
    )
    if pixels is None:
        pixels = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    past = Provenance(card, image_name, (480, 640), resize, backend, active_provider, 2)
    return FeatureMaps(maps, layer, past, pixels[np.newaxis])


def random_maps(channels, rows, columns):
    """Values before ReLU, of another size and centre in each channel."""
    generator = np.random.default_rng(channels)
    scale = generator.lognormal(2, 1, (channels, 1, 1))
    return (generator.normal(0, 1, (channels, rows, columns)) * scale).astype(np.float32)


def channel_errors(snr_db, photos=1, **figures):
    """What is known of channels with these ratios; other figures are 0, and B has no codes, unless named."""
    found = {spec.name: 0.0 for spec in fields(ChannelErrors)[1:]}
    found |= dict.fromkeys(("scale", "zero_point", "lowest", "highest"), np.nan) | {"snr_db": snr_db, **figures}
    return ChannelErrors(photos, **{name: np.broadcast_to(each, len(snr_db)) for name, each in found.items()})


def poisoned_maps(name):
    """Maps of which every name from outside is this one."""
    return make_maps(
        random_maps(4, 3, 3),
        layer=name,
        weights=WeightsFacts(name, name),
        image_name=name,
        resize=name,
        backend=name,
        active_provider=name,
    )


def inflate(block):
    return zlib.decompress(base64.b64decode(block))


def decode(encoded):
    """The values that planes stand for: float64, (C, H, W), by the text of fmedge/render/encoding.py."""
    channels, rows, columns = encoded.shape
    size = rows * columns
    planes = [np.frombuffer(b"".join(map(inflate, plane)), np.uint8) for plane in encoded.planes]
    if encoded.values != "12bit":
        return (
            np.stack(planes[::-1], axis=-1)
            .view("<f2" if len(planes) == 2 else "<f4")
            .reshape(encoded.shape)
            .astype(float)
        )
    if encoded.differences:
        planes[0] = planes[0].reshape(encoded.shape).cumsum(axis=2, dtype=np.uint8).cumsum(axis=1, dtype=np.uint8)
    low = planes[1].reshape(channels, -(-size // 2))
    nibbles = np.stack([low & 15, low >> 4], axis=-1).reshape(channels, -1)[:, :size]
    codes = planes[0].reshape(channels, size).astype(np.float64) * 16 + nibbles
    zero, step, offset = (scale[:, np.newaxis].astype(float) for scale in (encoded.zero, encoded.step, encoded.offset))
    values = (codes - zero) * step + offset
    for code, value in ((4093, -np.inf), (4094, np.inf), (4095, np.nan)):
        values[codes == code] = value
    return values.reshape(encoded.shape)


class Elements(HTMLParser):
    """Every element of a page: its name, attributes and text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.open = False
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.found[-1][2] += data

    def texts(self, tag):
        return [text for name, _, text in self.found if name == tag]

    def by_id(self, name):
        (text,) = [text for _, attributes, text in self.found if attributes.get("id") == name]
        return text

    @property
    def header(self):
        return json.loads(self.by_id("header"))

    @property
    def policy(self):
        (content,) = [
            attributes["content"] for _, attributes, _ in self.found if "Content-Security-Policy" in attributes.values()
        ]
        return {words[0]: words[1:] for words in map(str.split, content.split(";"))}


def encoded_in(elements):
    """The maps of the first layer, as the page holds them."""
    facts = elements.header["layers"][0]
    held = facts["sets"]["maps"]
    channels = facts["shape"][0]
    count = {"12bit": 2, "float16": 2, "float32": 4}[elements.header["values"]]
    chunks = range(-(-channels // held["chunkChannels"]))

    def floats(name):
        return np.frombuffer(base64.b64decode(held[name]), "<f4") if name in held else None

    return EncodedMaps(
        values=elements.header["values"],
        shape=tuple(facts["shape"]),
        zero=floats("zero"),
        step=floats("step"),
        offset=floats("offset"),
        chunk_channels=held["chunkChannels"],
        differences=held.get("differences", False),
        planes=tuple(tuple(elements.by_id(f"0-maps-{plane}-{n}").encode() for n in chunks) for plane in range(count)),
        statistics=(),
    )
