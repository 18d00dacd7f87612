"""Images that stay in their files and are decoded on all cores when they are asked for."""

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import TimeoutError
from multiprocessing.pool import ThreadPool

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenext.data.images import Adjust, DecodedImage, Size, decode_image
from lenext.foundation.errors import DataError
from lenext.foundation.progress import count_bar
from lenext.foundation.settings import Fit

MAX_DECODE_SECONDS = 45.0  # for one file


@cache
def decoder_pool() -> ThreadPool:
    """Return the threads that decode, started once. A thread that hangs does not keep the program from ending."""
    pool = ThreadPool(os.cpu_count())
    atexit.register(pool.terminate)
    return pool


class ImageFiles:
    """Images (N, C, H, W) that stay in their files and are decoded on access, several at a time.

    They are indexed by a tensor of rows, as a uint8 tensor is.
    """

    def __init__(
        self, paths: Sequence[str], channels: int, size: Size, fit: Fit = "crop", adjust: Adjust | None = None
    ) -> None:
        self.paths = np.asarray(paths)
        self.channels, self.size, self.fit, self.adjust = channels, size, fit, adjust

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), self.channels, *self.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> Tensor:
        pixels = torch.empty((len(rows), *self.shape[1:]), dtype=torch.uint8)
        for position, image in enumerate(self.decode(self.paths[rows.numpy()])):
            if isinstance(image, DataError):
                raise image
            pixels[position] = torch.from_numpy(image.pixels)
        return pixels

    def decode(self, paths: NDArray[np.str_]) -> Iterator[DecodedImage | DataError]:
        """Decode files on all cores, in order; Pillow releases Python's lock while it decodes.

        Raises DataError if a file takes longer than MAX_DECODE_SECONDS, as on a disk that no longer responds.
        """
        images = decoder_pool().imap(self.try_to_decode, paths.tolist())
        for path in paths:
            try:
                yield images.next(MAX_DECODE_SECONDS)
            except TimeoutError as error:
                problem = f"reading it has taken {MAX_DECODE_SECONDS:.0f} s; is its disk still there?"
                raise DataError(f"{path}: {problem}") from error

    def try_to_decode(self, path: str) -> DecodedImage | DataError:
        try:
            return decode_image(path, self.channels, self.size, self.fit, self.adjust)
        except DataError as error:
            return error

    def take(self, rows: Tensor) -> "ImageFiles":
        """Return the images of these rows, still in their files."""
        return ImageFiles(self.paths[rows.numpy()].tolist(), self.channels, self.size, self.fit, self.adjust)

    def decode_all(self, *, keep_pixels: bool = True) -> "DecodedFiles":
        """Decode every image once, with or without keeping its pixels."""
        pixels = torch.empty(self.shape if keep_pixels else (0,), dtype=torch.uint8)
        orientations: dict[int, int] = {}
        file_sizes: list[Size] = []
        errors: dict[int, DataError] = {}
        with count_bar("reading images", len(self)) as advance:
            for row, image in enumerate(self.decode(self.paths)):
                if isinstance(image, DataError):
                    errors[row] = image
                    continue
                if keep_pixels:
                    pixels[len(orientations)] = torch.from_numpy(image.pixels)
                orientations[row] = image.orientation
                file_sizes.append(image.file_size)
                advance(1)
        rows = torch.tensor(list(orientations), dtype=torch.int64)
        return DecodedFiles(pixels[: len(rows)], rows, orientations, file_sizes, errors)


@dataclass(frozen=True, eq=False)
class DecodedFiles:
    """The outcome of decoding all images of an `ImageFiles`.

    Attributes:
        pixels: The images that could be decoded, (M, C, H, W); empty if they were not kept.
        rows: Their rows, (M,).
        orientations: Their EXIF orientations by row.
        file_sizes: (height, width) of each in its file, M of them.
        errors: The errors of the other images by row.
    """

    pixels: Tensor
    rows: Tensor
    orientations: Mapping[int, int]
    file_sizes: Sequence[Size]
    errors: Mapping[int, DataError]
