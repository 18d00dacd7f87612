"""A contact sheet of labelled images, for notebooks."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from lenext.foundation.notebook import image_html, png_bytes

COLUMNS, MAX_ROWS = 10, 10
SIDE, GAP = 40, 2  # pixels


def contact_sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Return rows of images (N, C, H, W), uint8, each image in a square of SIDE pixels."""
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP), len(rows) * (SIDE + GAP)), "white")
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            pixels = np.broadcast_to(image.numpy(), (3, *image.shape[1:])).transpose(1, 2, 0)
            tile = Image.fromarray(np.ascontiguousarray(pixels))
            resample = Image.Resampling.NEAREST if max(tile.size) <= SIDE else Image.Resampling.LANCZOS
            scale = SIDE / max(tile.size)
            tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))), resample)
            sheet.paste(tile, (column * (SIDE + GAP), row * (SIDE + GAP)))
    return sheet


def preview_html(rows: Sequence[Tensor]) -> str:
    """Return rows of images as an image for a notebook; nothing without rows."""
    if not rows:
        return ""
    return image_html(png_bytes(contact_sheet(rows)), "images, a row for each class")
