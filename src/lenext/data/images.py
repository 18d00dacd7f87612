"""The one place where an image file becomes pixels: for training, for prediction, for every page and figure.

An image is turned as its EXIF orientation says, put on white where it is transparent, brought to 8 bits, to grey or
RGB, and to one size: its shorter side scaled, then its centre cropped; or, padded, the whole of it on black.
"""

import atexit
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import TimeoutError
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lenext.foundation.errors import DataError
from lenext.foundation.progress import count_bar
from lenext.foundation.settings import Fit

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif")
MOST_PIXELS = {"JPEG": 64_000_000, "WEBP": 20_000_000}  # WebP is decoded into several copies
MOST_PIXELS_ELSE = 40_000_000
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")  # 16 bits a pixel, as PNG has them

STALLED = 45.0  # seconds that one file may take

Size = tuple[int, int]

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limit is lower


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Open an image of the formats known here, without decoding it. Raises DataError."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path}: neither a device nor a folder is an image; give a file")
        image = Image.open(path, formats=FORMATS)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such image") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: more pixels than any photograph has; shrink or remove it") from None
    except UnidentifiedImageError:
        empty = os.path.getsize(path) == 0
        what = "an empty file" if empty else "not an image of the formats JPEG, PNG, WebP, BMP and GIF"
        raise DataError(f"{path}: {what}; replace or remove it") from None
    except Exception as error:  # the decoders raise many kinds, SyntaxError and struct.error among them
        raise DataError(f"{path}: not a readable image ({plain(error, path)}); replace or remove it") from error
    most = MOST_PIXELS.get(image.format or "", MOST_PIXELS_ELSE)
    if image.width * image.height > most:
        size = f"{image.width} x {image.height}"
        image.close()
        raise DataError(f"{path}: {size} pixels are more than the {most:,} allowed; shrink or remove it")
    return image


def read_image(path: str | os.PathLike[str], channels: int, size: Size, fit: Fit = "crop") -> NDArray[np.uint8]:
    """The image as (channels, height, width) of 0 to 255; channels is 1 for grey, 3 for RGB. Raises DataError."""
    height, width = size
    with open_image(path) as image:
        try:
            image.draft(None, (width, height))  # a JPEG is decoded no larger than needed
            upright = ImageOps.exif_transpose(image)
            plain_mode = to_mode(upright, "L" if channels == 1 else "RGB")
            pixels = np.array(to_size(plain_mode, width, height, fit))
        except Exception as error:  # as above
            raise DataError(f"{path}: a broken image ({plain(error, path)}); replace or remove it") from error
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """8-bit grey or RGB: 16-bit images keep their upper bits, transparent ones are put on white."""
    if image.mode in DEEP_MODES:
        deep = np.array(image)
        np.right_shift(deep, 8, out=deep)
        image = Image.fromarray(deep.clip(0, 255, out=deep).astype(np.uint8))
    if image.has_transparency_data:
        colour = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", colour.size, "white")
        image.paste(colour, mask=colour)
    return image if image.mode == mode else image.convert(mode)


def to_size(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    """Cover the size and crop the centre, or shrink to fit inside and pad with black; padding never enlarges."""
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    image.thumbnail((width, height), Image.Resampling.BILINEAR)
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas


def plain(error: Exception, path: str | os.PathLike[str]) -> str:
    """A decoder's complaint in one line, without the path that our message already names."""
    text = " ".join(str(error).split()).replace(repr(str(path)), "file").replace(f"{path}", "file")
    return text or type(error).__name__


@cache
def decoders() -> ThreadPool:
    """The threads that decode; made once. One that hangs does not keep the program from ending."""
    pool = ThreadPool(os.cpu_count())
    atexit.register(pool.terminate)
    return pool


def is_image(path: str | Path) -> bool:
    """Whether the name is one of a visible image file."""
    name = os.path.basename(path)
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


class ImageFiles:
    """Images (N, C, H, W) that stay in their files and are decoded as they are asked for, several at a time.

    Indexed by a tensor of rows, as a uint8 tensor is.
    """

    def __init__(self, paths: Sequence[str], channels: int, size: Size, fit: Fit = "crop") -> None:
        self.paths = np.asarray(paths)
        self.channels, self.size, self.fit = channels, size, fit

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), self.channels, *self.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> Tensor:
        pixels = torch.empty((len(rows), *self.shape[1:]), dtype=torch.uint8)
        for at, image in enumerate(self.read(self.paths[rows.numpy()])):
            if isinstance(image, DataError):
                raise image
            pixels[at] = torch.from_numpy(image)
        return pixels

    def read(self, paths: NDArray[np.str_]) -> Iterator[NDArray[np.uint8] | DataError]:
        """Decode on all cores, in order; Pillow lets go of Python's lock while it decodes.

        Raises DataError where a file takes for ever, as on a disk that has gone.
        """
        images = decoders().imap(self.attempt, paths.tolist())
        for path in paths:
            try:
                yield images.next(STALLED)
            except TimeoutError as error:
                what = f"reading it has taken {STALLED:.0f} s; is its disk still there?"
                raise DataError(f"{path}: {what}") from error

    def attempt(self, path: str) -> NDArray[np.uint8] | DataError:
        try:
            return read_image(path, self.channels, self.size, self.fit)
        except DataError as error:
            return error

    def take(self, rows: Tensor) -> "ImageFiles":
        """These rows, still in their files."""
        return ImageFiles(self.paths[rows.numpy()].tolist(), self.channels, self.size, self.fit)

    def decoded(self, *, keep: bool) -> tuple[Tensor, Tensor, list[DataError]]:
        """Decode every image once: the good ones (N, C, H, W) if they are to be kept, their rows, the complaints."""
        pixels = torch.empty(self.shape if keep else (0,), dtype=torch.uint8)
        good: list[int] = []
        complaints: list[DataError] = []
        with count_bar("reading images", len(self)) as advance:
            for at, image in enumerate(self.read(self.paths)):
                if isinstance(image, DataError):
                    complaints.append(image)
                    continue
                if keep:
                    pixels[len(good)] = torch.from_numpy(image)
                good.append(at)
                advance(1)
        return pixels[: len(good)], torch.tensor(good, dtype=torch.int64), complaints
