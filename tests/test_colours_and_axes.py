"""Pure colours tell the order of the channels, one bright spot tells rows from columns: from the file on the disk to
what is written, through every exporter and engine, against sums worked out here from the weights.
"""

import numpy as np
import pytest
from PIL import Image

from fmedge.data.page_options import PageOptions
from fmedge.export.exporter import EXPORTERS
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import VGG16
from fmedge.model.submodel import ExportOptions, Precision
from fmedge.model.weights import choose_weights, load_weights
from fmedge.runtime.backends import BACKENDS
from fmedge.workflow import pages
from fmedge.workflow.request import request_artifact
from support.models import artifact_for
from support.page_samples import Elements, decode, encoded_in

CASES = [
    pytest.param(
        (backend, row, precision),
        id=f"{backend.name}-{row.converter}-{precision}",
        marks=[pytest.mark.slow] if precision is Precision.FP16 else [],
    )
    for backend in BACKENDS
    for row in EXPORTERS
    if row.format in backend.formats and VGG16 in row.sources
    for precision in row.precisions
]
SIZE = (24, 40)
MEAN_BLUE_GREEN_RED = (103.939, 116.779, 123.68)
TOLERANCE = {Precision.FP32: 1e-5, Precision.FP16: 2e-3, Precision.INT8: 0.01}
"""Of the range. Of int8 the median counts: colours that no photo it was calibrated on has may be cut off."""


def first_layer(name):
    """Of the weights of that name: kernel (3, 3, blue green red, 64) and bias."""
    return load_weights(choose_weights(name), "block1_conv1")[0]["block1_conv1"]


@pytest.fixture(
    scope="module", params=["untrained", pytest.param("real", marks=[pytest.mark.imagenet, pytest.mark.slow])]
)
def weights(request):
    """What names the weights, and block1_conv1's."""
    name = "untrained" if request.param == "untrained" else str(request.getfixturevalue("real_weights"))
    return name, first_layer(name)


@pytest.fixture
def make(untrained_models, photos_folder, weights):
    """Exports a model, or takes it where it is already."""

    def made(case, layer="block1_conv1", activation="none", **options):
        backend, row, precision = case
        for package in {"litert": ["ai_edge_litert"], "export": ["tensorflow", "tf2onnx"]}.get(row.extra, []):
            pytest.importorskip(package, reason=f"needs {package}: pip install 'fmedge[{row.extra}]'")
        pytest.importorskip(backend.package, reason=f"{backend.package} is not installed")
        form = ExportOptions(
            **{"size": SIZE, **options}, format=row.format, precision=precision, converter=row.converter
        )
        request = request_artifact(layer, activation, weights=weights[0], models=untrained_models, options=form)
        return artifact_for(request, photos_folder)

    return made


def distance(precision, one, other):
    differences = np.abs(one - other)
    return np.median(differences) if precision is Precision.INT8 else differences.max()


def inner(kernel, bias, rgb):
    """block1_conv1 before ReLU, away from the border, where a picture has one colour throughout."""
    blue_green_red = np.array(rgb[::-1], np.float64) - MEAN_BLUE_GREEN_RED
    return bias + np.einsum("yxio,i->o", kernel.astype(np.float64), blue_green_red)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("case", CASES)
def test_pure_colours_tell_the_order_of_channels(case, suffix, make, weights, tmp_path, cases):
    artifact = make(case)
    found, expected, swapped = [], [], []
    for index in range(3):
        pure = [0, 0, 0]
        pure[index] = 255
        path = tmp_path / f"{index}.{suffix}"
        Image.new("RGB", (30, 20), tuple(pure)).save(path, quality=100, subsampling=0)
        with Image.open(path) as opened:
            colour = opened.convert("RGB").getpixel((9, 9))  # JPEG's red is 254, 0, 0
        assert np.abs(np.subtract(colour, pure)).max() <= 1
        maps = pages.make_page(artifact, path, None, run=RunOptions(case[0].name)).maps[0]
        middle = maps[:, 1:-1, 1:-1]
        found.append(middle.mean(axis=(1, 2), dtype=np.float64))
        assert np.ptp(middle, axis=(1, 2)).max() <= 1e-4 * np.abs(middle).max()
        expected.append(inner(*weights[1], colour))
        swapped.append(inner(*weights[1], colour[::-1]))
    found, expected, swapped = map(np.array, (found, expected, swapped))
    room = TOLERANCE[case[2]] * np.ptp(expected)

    assert distance(case[2], found, expected) <= room
    assert distance(case[2], found[[0, 2]], swapped[[0, 2]]) > 2 * room  # red and blue exchanged would be seen
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert distance(case[2], expected[one], expected[other]) > 2 * room
        assert distance(case[2], found[one], found[other]) > 2 * room
    cases("numbers", 3)


GREY = (124, 117, 104)
"""The mean: what is left of it is next to nothing, so that the borders look like the rest."""


def spotted(path, shape, rows, columns):
    """A picture in the colour of the mean with a white rectangle in it."""
    pixels = np.full((*shape, 3), GREY, np.uint8)
    pixels[rows[0] : rows[1], columns[0] : columns[1]] = 255
    Image.fromarray(pixels).save(path)
    return path


def spot(plane):
    """Row and column of what differs most from the rest."""
    return np.unravel_index(np.abs(plane - np.median(plane)).argmax(), plane.shape)


def whole(kernel, bias, pixels):
    """block1_conv1 before ReLU, (64, H, W): each of the kernel's nine places added by itself."""
    rows, columns, _ = pixels.shape
    values = pixels[:, :, ::-1].astype(np.float64) - MEAN_BLUE_GREEN_RED
    padded = np.zeros((rows + 2, columns + 2, 3))
    padded[1:-1, 1:-1] = values
    maps = np.zeros((rows, columns, kernel.shape[3])) + bias
    for down in range(3):
        for right in range(3):
            maps += padded[down : down + rows, right : right + columns] @ kernel[down, right].astype(np.float64)
    return maps.transpose(2, 0, 1)


FORMS = {
    "as the model": (SIZE, SIZE, "nearest", (5, 6), (30, 31)),
    "taller than wide": (SIZE, (48, 20), "nearest", (10, 12), (15, 16)),
    "its own size": (None, SIZE, "none", (5, 6), (30, 31)),
}
"""Size of the model and of the picture, how it is resized, and where the rectangle is: row 5, column 30 of the map."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_a_bright_spot_stays_where_it_is(case, form, make, weights, tmp_path, cases):
    """In the page, the archive and the picture."""
    size, shape, resize, rows, columns = FORMS[form]
    backend, _, precision = case
    if size is None and (precision is Precision.INT8 or backend.name == "litert"):
        pytest.skip("open sizes are tried with float models, and with engines that plan for them")
    path = spotted(tmp_path / "spot.png", shape, rows, columns)
    files = [tmp_path / name for name in ("page.html", "maps.npz", "sheet.png")]
    maps = pages.make_page(
        make(case, size=size),
        path,
        files[0],
        save_maps=files[1],
        save_sheet=files[2],
        options=PageOptions(values="float32"),
        resize=resize,
        run=RunOptions(backend.name),
    ).maps[0]
    assert maps.shape == (64, *SIZE)

    seen = np.full((*SIZE, 3), GREY, np.uint8)
    seen[5, 30 : 32 if shape[1] == 20 else 31] = 255
    expected = whole(*weights[1], seen)
    assert distance(precision, maps, expected) <= TOLERANCE[precision] * np.ptp(expected)
    clear = int(np.ptp(expected, axis=(1, 2)).argmax())  # the channel in which it stands out most
    place = spot(expected[clear])
    assert 4 <= place[0] <= 6
    assert 29 <= place[1] <= 32

    shown = decode(encoded_in(Elements(files[0].read_bytes())))
    with np.load(files[1]) as archive:
        saved = archive["maps"]
    for values in (maps, shown, saved):
        np.testing.assert_array_equal(values, maps)
        assert spot(values[clear]) == place
    with Image.open(files[2]) as sheet:
        across, factor, gap, left, top = 8, 2, 4, 16, 52
        corner = left + clear % across * (SIZE[1] * factor + gap), top + clear // across * (SIZE[0] * factor + gap)
        tile = np.asarray(sheet.crop((*corner, corner[0] + SIZE[1] * factor, corner[1] + SIZE[0] * factor)), float)
    tile[:14, :24] = np.median(tile)  # the channel's number
    assert tuple(extent // factor for extent in spot(tile)) == place
    cases("numbers", 4)


@pytest.mark.parametrize("layer", ["block2_conv1", pytest.param("block3_conv1", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [case for case in CASES if case.values[0][2] is Precision.FP32])
def test_a_bright_spot_deep_in_the_network(case, layer, make, tmp_path, cases):
    stride = {"block2_conv1": 2, "block3_conv1": 4}[layer]
    size = (48, 96)
    path = spotted(tmp_path / "spot.png", size, (8, 16), (76, 84))
    maps = pages.make_page(make(case, layer, "relu", size=size), path, None, run=RunOptions(case[0].name)).maps[0]
    assert maps.shape[1:] == (48 // stride, 96 // stride)
    differs = np.abs(maps - np.median(maps, axis=(1, 2), keepdims=True)).sum(axis=0)
    differs[:3], differs[-3:], differs[:, :3], differs[:, -3:] = 0, 0, 0, 0
    row, column = spot(differs)
    assert abs(row - 12 / stride) <= 3
    assert abs(column - 80 / stride) <= 4
    cases("numbers", 1)


@pytest.mark.imagenet
def test_three_colours_from_the_command_line(fmedge_inprocess, real_weights, tmp_path, cases):
    """As a user types it: a folder of pictures, the archive read back."""
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    for name, colour in colours.items():
        Image.new("RGB", (17, 11), colour).save(tmp_path / f"{name}.png")
    words = ["--activation", "none", "--size", "24x40", "--no-page", "--save-maps", "maps", "--weights", real_weights]
    fmedge_inprocess("run", *(f"{name}.png" for name in colours), *words)
    for name, colour in colours.items():
        (path,) = (tmp_path / "maps").glob(f"{name}.*.npz")
        with np.load(path) as archive:
            expected = inner(*first_layer(str(real_weights)), colour)
            assert archive["maps"].shape == (64, *SIZE)
            np.testing.assert_allclose(archive["maps"][:, 5, 30], expected, atol=1e-5 * np.ptp(expected))
    cases("numbers", 3)
