"""One page of every kind, and places in them."""

import numpy as np

from fmedge.data.page_options import PageOptions
from fmedge.model.first_kernel import FirstKernel
from fmedge.render.difference_page import render_difference
from fmedge.render.page import render_page
from fmedge.render.report import render_report
from support.page_samples import UNTRAINED, channel_errors, make_maps, random_maps
from support.report_samples import several


def viewer_page():
    """Both sides of ReLU, a dead channel, untrained weights, kernels."""
    values = random_maps(9, 24, 32)
    values[4] = -1
    weights = np.arange(9 * 27, dtype=np.float32).reshape(9, 3, 3, 3) / 100
    kernels = {"block1_conv1": FirstKernel(weights, np.zeros(9, np.float32))}
    maps = make_maps(values, activation="none", weights=UNTRAINED)
    return render_page(maps, options=PageOptions(both=True), kernels=kernels)


def layers_page():
    shallow, deep = random_maps(9, 24, 32), random_maps(12, 12, 16)
    return render_page([make_maps(shallow), make_maps(deep, layer="block2_conv1")])


def single_page():
    return render_page(make_maps(random_maps(9, 24, 32)), channel=3)


def difference_page():
    first = random_maps(6, 24, 32)
    second = first.copy()
    second[2] += 0.5
    errors = channel_errors(
        np.where(np.arange(6) == 2, 12.5, np.inf), photos=3, scale=0.5, zero_point=3, lowest=-1, highest=1
    )
    return render_difference([(make_maps(first), make_maps(second))], [errors])


def grid_page():
    return render_page(make_maps(random_maps(5, 9, 14)), options=PageOptions(style="grid"))


def report_page():
    return render_report(several())


PAGES = {
    "viewer": viewer_page,
    "layers": layers_page,
    "one channel": single_page,
    "difference": difference_page,
    "grid": grid_page,
    "report": report_page,
}

VIEWS = {
    "overview": ("viewer", ""),
    "channel": ("viewer", "#channel=2&at=3,4"),
    "pins": ("viewer", "#channel=2&pins=3,4&colours=viridis&view=raw"),
    "layers": ("layers", ""),
    "channel of a layer": ("layers", "#layer=block2_conv1&channel=3"),
    "one channel": ("one channel", ""),
    "difference": ("difference", ""),
    "difference of a channel": ("difference", "#channel=2"),
    "grid": ("grid", ""),
    "report": ("report", ""),
}
"""What is shown: the page, and the address in it."""
