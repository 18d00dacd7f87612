"""The definition of resizing: the same pixels from the same image, whatever library or version computes them.

A triangle filter whose width grows as the image shrinks, horizontally first, then vertically. The taps are rounded
to 22 bits, and the values between the passes to 8 bits. Pillow computes each pass by this rule, but the order of the
two differs between its versions, and the size at which a JPEG is decoded follows the target; here both are fixed.
`export` writes the same definition as matrix products.
"""

from PIL import Image

from lenext.foundation.settings import Fit

VERSION = 1
"""The version of this definition; weights hold it, and other versions are refused."""
TAP_BITS = 22
MAX_NARROWED_PIXELS = 64_000_000  # between the passes
DRAFT = 2  # a JPEG is decoded at no less than this multiple of the target

Size = tuple[int, int]
Box = tuple[float, float]
"""The first and the last position of what becomes the output, along an axis, in pixels."""


def draft(image: Image.Image, height: int, width: int) -> None:
    """Let a JPEG be decoded at a half, a quarter or an eighth of its size, but at no less than twice the target's."""
    image.draft(None, (DRAFT * width, DRAFT * height))


def resize(image: Image.Image, height: int, width: int, fit: Fit) -> Image.Image:
    """Return an image of (height, width): its centre scaled to cover it, or all of it, shrunk, on black."""
    if fit == "crop":
        across, down = crop_boxes(image.height, image.width, height, width)
        return resample(image, width, height, across, down)
    inner_height, inner_width = padded_size(image.height, image.width, height, width)
    inner = resample(image, inner_width, inner_height, (0, image.width), (0, image.height))
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return canvas


def resample(image: Image.Image, width: int, height: int, across: Box, down: Box) -> Image.Image:
    """Return a part of an image at (width, height), one axis at a time; an axis that keeps its pixels is left alone."""
    if width * image.height > MAX_NARROWED_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too far from the shape of {width} x {height}")
    if (width, across) != (image.width, (0, image.width)):
        box = (across[0], 0, across[1], image.height)
        image = image.resize((width, image.height), Image.Resampling.BILINEAR, box)
    if (height, down) != (image.height, (0, image.height)):
        image = image.resize((width, height), Image.Resampling.BILINEAR, (0, down[0], width, down[1]))
    return image


def crop_boxes(file_height: int, file_width: int, height: int, width: int) -> tuple[Box, Box]:
    """Return the centre of an image that has the aspect of (height, width), across and down, as float64 has it.

    Pillow rounds these positions to float32; so does `export`.
    """
    crop_width = min(float(file_width), file_height * (width / height))
    crop_height = min(float(file_height), file_width * (height / width))
    left, top = (file_width - crop_width) / 2, (file_height - crop_height) / 2
    return (left, left + crop_width), (top, top + crop_height)


def padded_size(file_height: int, file_width: int, height: int, width: int) -> Size:
    """Return the (height, width) at which all of an image fits into a size, never enlarged; halves are rounded up."""
    if file_height <= height and file_width <= width:
        return file_height, file_width
    if height * file_width <= width * file_height:
        return height, max(1, (2 * height * file_width + file_height) // (2 * file_height))
    return max(1, (2 * width * file_height + file_width) // (2 * file_width)), width
