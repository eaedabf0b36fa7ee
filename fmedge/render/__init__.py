"""Feature maps as a page: one HTML file that opens from a double click, without a network."""

from fmedge.render.page import Kernels as Kernels
from fmedge.render.page import render_page as render_page
