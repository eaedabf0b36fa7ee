"""Draws the example picture: edges in every direction, colours, gradients, texture and text.

It is made so that the first layers of VGG16 have something to find: run it, then look at which channel
answers to which part.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 448
"""Height and width, in pixels: twice what VGG16 takes, so that shrinking it keeps whole pixels."""


def draw() -> Image.Image:
    """The picture: RGB, 448 x 448, always the same."""
    image = Image.fromarray(_sky())
    pen = ImageDraw.Draw(image)
    _sun(pen)
    _blocks(pen)
    _fan(pen)
    _text(pen)
    image.paste(Image.fromarray(_checks()), (24, 300))
    image.paste(Image.fromarray(_grass()), (0, 408))
    return image


def _sky() -> np.ndarray:
    rows = np.linspace(0, 1, SIDE)[:, np.newaxis, np.newaxis]
    columns = np.linspace(0, 1, SIDE)[np.newaxis, :, np.newaxis]
    top, bottom, right = (np.array(colour) for colour in ((70, 120, 200), (250, 215, 170), (25, -20, -40)))
    return np.clip(top + (bottom - top) * rows + right * columns, 0, 255).astype(np.uint8)


def _sun(pen: ImageDraw.ImageDraw) -> None:
    for radius, colour in ((58, (255, 230, 120)), (44, (255, 190, 60)), (28, (240, 90, 40))):
        pen.ellipse((90 - radius, 90 - radius, 90 + radius, 90 + radius), fill=colour)


def _blocks(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((190, 170, 270, 300), fill=(200, 40, 45))
    pen.polygon([(180, 172), (230, 118), (280, 172)], fill=(60, 45, 50))
    pen.rectangle((215, 240, 245, 300), fill=(245, 240, 225))
    pen.rectangle((290, 200, 340, 300), fill=(40, 150, 75))
    pen.ellipse((350, 210, 430, 290), outline=(30, 40, 110), width=9)
    pen.line((20, 200, 160, 290), fill=(20, 20, 20), width=5)
    pen.line((20, 290, 160, 200), fill=(250, 250, 250), width=5)


def _fan(pen: ImageDraw.ImageDraw) -> None:
    """Lines in every direction from one point: each orientation-tuned channel answers to its own."""
    for step in range(19):
        angle = math.pi * step / 18
        end = (330 + 100 * math.cos(angle), 120 - 100 * math.sin(angle))
        pen.line((330, 120, *end), fill=(255, 255, 255) if step % 2 else (30, 30, 60), width=3)


def _text(pen: ImageDraw.ImageDraw) -> None:
    pen.text((170, 318), "fmedge", font=ImageFont.load_default(size=64), fill=(25, 25, 60))


def _checks() -> np.ndarray:
    """Squares of 3, 6 and 12 pixels, side by side."""
    rows, columns = np.mgrid[0:90, 0:40]
    parts = [((rows // side + columns // side) % 2 * 215 + 20) for side in (3, 6, 12)]
    return np.repeat(np.hstack(parts)[:, :, np.newaxis], 3, axis=2).astype(np.uint8)


def _grass() -> np.ndarray:
    noise = np.random.Generator(np.random.PCG64(1)).integers(-45, 46, (SIDE - 408, SIDE, 1))
    return np.clip(np.array([70, 130, 50]) + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "example.png")
    draw().save(target)
    print(target)
