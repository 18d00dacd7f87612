"""Decode image files to pixels: for training, for prediction, for every page and figure.

An image is rotated by its EXIF orientation, put on white where it is transparent, converted to 8 bits and to grey or
RGB, and resized: its shorter side is scaled and its centre cropped, or all of it is shrunk and padded with black.
"""

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lenext.data.resizing import draft, resize
from lenext.foundation.errors import DataError
from lenext.foundation.settings import Fit

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif")
MAX_PIXELS = {"JPEG": 64_000_000, "WEBP": 20_000_000}  # WebP is decoded into several copies
MAX_PIXELS_DEFAULT = 40_000_000
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")  # 16 bits a pixel, as PNG has them

MAX_SCANS, SCAN = 100, b"\xff\xda"  # of a progressive JPEG; usual ones have about ten, and each is decoded in full
ORIENTATION_TAG = 0x0112  # of EXIF

Size = tuple[int, int]
Adjust = Callable[[Image.Image], Image.Image]

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limit is lower


def open_image(path: str | os.PathLike[str], content: bytes | None = None) -> Image.Image:
    """Open an image of a supported format without decoding it.

    Args:
        path: The file; with `content`, what an error calls the image.
        content: The bytes of the file, where they were read already.

    Raises:
        DataError: It is no such image, or has too many pixels.
    """
    try:
        if content is None and not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path}: not a regular file; give an image file")
        image = Image.open(path if content is None else io.BytesIO(content), formats=FORMATS)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such image") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: too many pixels; shrink or remove it") from None
    except UnidentifiedImageError:
        empty = (os.path.getsize(path) if content is None else len(content)) == 0
        problem = "an empty file" if empty else "not an image of the formats JPEG, PNG, WebP, BMP and GIF"
        raise DataError(f"{path}: {problem}; replace or remove it") from None
    except Exception as error:  # the decoders raise many kinds, SyntaxError and struct.error among them
        raise DataError(f"{path}: not a readable image ({format_error(error, path)}); replace or remove it") from error
    if content is not None and image.format == "JPEG" and content.count(SCAN) > MAX_SCANS:
        image.close()
        raise DataError(f"{path}: a JPEG of more than {MAX_SCANS} scans; save it again")
    max_pixels = MAX_PIXELS.get(image.format or "", MAX_PIXELS_DEFAULT)
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height}"
        image.close()
        raise DataError(f"{path}: {size} pixels are more than the {max_pixels:,} allowed; shrink or remove it")
    return image


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: (channels, height, width) of 0 to 255.
        orientation: Its EXIF orientation; 0 and 1 are upright.
        file_size: (height, width) of the upright image in its file.
    """

    pixels: NDArray[np.uint8]
    orientation: int
    file_size: Size


class OpenedImage:
    """An image that is open, and not decoded yet.

    Attributes:
        pixel_count: The pixels that will be decoded: of a JPEG fewer than the file has, where it is to be shrunk.
        file_width: Of the image in its file.
        file_height: Likewise.
    """

    def __init__(
        self, path: str | os.PathLike[str], size: Size, adjust: Adjust | None = None, content: bytes | None = None
    ) -> None:
        """Open an image.

        Args:
            path: The file; with `content`, what an error calls the image.
            size: (height, width) that it will be resized to.
            adjust: Changes the image at its full size before that.
            content: The bytes of the file, where they were read already.

        Raises:
            DataError: It is no such image, or has too many pixels.
        """
        self.path, self.size, self.adjust = path, size, adjust
        self.image = open_image(path, content)
        self.file_width, self.file_height = self.image.size
        with self.decoder_errors():
            prepare_decoder(self.image, size, adjust)
        is_whole = bool(self.image.info.get("progressive"))  # its decoder keeps all of it, whatever it gives
        self.pixel_count = self.file_width * self.file_height if is_whole else self.image.width * self.image.height

    @contextmanager
    def decoder_errors(self) -> Iterator[None]:
        """Turn what a decoder raises into a DataError, and close the image."""
        try:
            yield
        except Exception as error:  # as in open_image
            self.image.close()
            reason = format_error(error, self.path)
            raise DataError(f"{self.path}: a broken image ({reason}); replace or remove it") from error

    def decode(self, channels: int, fit: Fit = "crop") -> DecodedImage:
        """Decode it to grey (channels 1) or RGB (channels 3), resized, and close it. Raises DataError."""
        height, width = self.size
        with self.decoder_errors(), self.image:
            adjusted = decode_upright(self.image, channels, self.adjust)
            orientation = read_orientation(self.image)
            pixels = np.array(resize(adjusted, height, width, fit))
        is_turned = orientation > 4  # by 90 degrees
        file_size = (self.file_width, self.file_height) if is_turned else (self.file_height, self.file_width)
        return DecodedImage(pixels.reshape(height, width, channels).transpose(2, 0, 1), orientation, file_size)


def decode_image(
    path: str | os.PathLike[str], channels: int, size: Size, fit: Fit = "crop", adjust: Adjust | None = None
) -> DecodedImage:
    """Decode an image to grey (channels 1) or RGB (channels 3), resized to `size`. Raises DataError.

    Args:
        path: The file.
        channels: 1 or 3.
        size: (height, width).
        fit: How an image of another shape is resized.
        adjust: Changes the image at its full size before that.
    """
    return OpenedImage(path, size, adjust).decode(channels, fit)


def prepare_decoder(image: Image.Image, size: Size, adjust: Adjust | None) -> None:
    """Let an open JPEG be decoded smaller, where nothing has to see it at its full size."""
    if adjust is None:
        draft(image, *size)


def decode_upright(image: Image.Image, channels: int, adjust: Adjust | None) -> Image.Image:
    """Decode an open image, turn it upright, and convert it to grey or RGB; then adjust it."""
    upright = image if read_orientation(image) <= 1 else ImageOps.exif_transpose(image)  # which copies in any case
    converted = to_mode(upright, "L" if channels == 1 else "RGB")
    return adjust(converted) if adjust else converted


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; 1, upright, where it has none."""
    tag = image.getexif().get(ORIENTATION_TAG, 1)
    return tag if isinstance(tag, int) else 1


def to_pixels(
    file: str | os.PathLike[str] | IO[bytes], channels: int, size: Size, fit: Fit, adjust: Adjust | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image's pixels as decoded, upright, (C, H, W), and as resized to `size`. Raises DataError."""
    height, width = size
    with open_image(file) if isinstance(file, str | os.PathLike) else Image.open(file, formats=FORMATS) as image:
        try:
            prepare_decoder(image, size, adjust)
            converted = decode_upright(image, channels, adjust)
            resized = resize(converted, height, width, fit)
        except Exception as error:  # as above
            raise DataError(f"{file}: a broken image ({format_error(error, str(file))}); replace it") from error
    decoded = np.array(converted).reshape(converted.height, converted.width, channels)
    return decoded.transpose(2, 0, 1), np.array(resized).reshape(height, width, channels).transpose(2, 0, 1)


def read_image(path: str | os.PathLike[str], channels: int, size: Size, fit: Fit = "crop") -> NDArray[np.uint8]:
    """Return the pixels of an image, (channels, height, width) of 0 to 255. Raises DataError."""
    return decode_image(path, channels, size, fit).pixels


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels (C, H, W) as an image."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert to 8-bit grey or RGB: 16-bit images keep their upper bits, transparent ones are put on white."""
    if image.mode in DEEP_MODES:
        deep = np.array(image)
        np.right_shift(deep, 8, out=deep)
        image = Image.fromarray(deep.clip(0, 255, out=deep).astype(np.uint8))
    if image.has_transparency_data:
        colour = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", colour.size, "white")
        image.paste(colour, mask=colour)
    return image if image.mode == mode else image.convert(mode)


def format_error(error: Exception, path: str | os.PathLike[str]) -> str:
    """Return a decoder's message in one line, without the path, which our message names already."""
    text = " ".join(str(error).split()).replace(repr(str(path)), "file").replace(f"{path}", "file")
    return text or type(error).__name__


def is_image(path: str | Path) -> bool:
    """Return whether the name is that of a visible image file."""
    name = os.path.basename(path)
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
