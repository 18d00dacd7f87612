"""A network with its preprocessing as one module of plain operators, which other engines can run.

Resizing is written as two matrix products, by the definition of `lenext.data.resizing`. No engine's own operator for it
is used: they differ from each other by up to 117 of 255 levels.
"""

import copy

import torch
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.data.resizing import TAP_BITS
from lenext.foundation.normalization import shift_and_scale

UNIT = float(1 << TAP_BITS)
COARSE_STEPS = 64.0  # of a pixel; their multiples are exact in float32


class ExportedNetwork(nn.Module):
    """A network with its preprocessing: uint8 pixels (N, C, H, W) to probabilities (N, K) and logits (N, K).

    Args:
        network: From images (N, C, height, width) to logits; a copy is kept, in evaluation mode, on the CPU.
        prepare: Its preprocessing.
    """

    def __init__(self, network: nn.Module, prepare: Preprocessing) -> None:
        super().__init__()
        self.prepare = PreparedImages(prepare)
        self.network = copy.deepcopy(network).cpu().float().eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(self.prepare(pixels))
        return logits.softmax(1), logits


class PreparedImages(nn.Module):
    """The preprocessing of `Preprocessing`: uint8 pixels (N, C, H, W) to a network's input (N, C', height, width)."""

    shift: Tensor
    scale: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, prepare: Preprocessing) -> None:
        super().__init__()
        self.settings = prepare
        shift, scale = shift_and_scale(prepare.normalization, torch.device("cpu"))
        self.register_buffer("shift", shift.clone())
        self.register_buffer("scale", scale.clone())
        (height, width), (out_height, out_width) = prepare.stored_size, prepare.image_size
        if prepare.resize == "interpolate" and prepare.stored_size != prepare.image_size:
            self.register_buffer("rows", fixed_taps(height, out_height))
            self.register_buffer("columns", fixed_taps(width, out_width).T.contiguous())

    def forward(self, pixels: Tensor) -> Tensor:
        settings = self.settings
        images = fit_pixels(pixels, *settings.stored_size, crop=settings.stored_fit == "crop")
        images = torch.addcmul(self.shift, self.resize(images), self.scale)
        if settings.network_channels > settings.channels:
            images = images.expand(-1, settings.network_channels, -1, -1)
        return images

    def resize(self, images: Tensor) -> Tensor:
        """Resize (N, C, *stored_size) to (N, C, *image_size); both are fixed."""
        (stored_height, stored_width), (height, width) = self.settings.stored_size, self.settings.image_size
        if (stored_height, stored_width) == (height, width):
            return images
        if self.settings.resize == "interpolate":
            return self.rows @ (images @ self.columns)
        top, left = (height - stored_height) // 2, (width - stored_width) // 2
        if self.settings.resize == "pad":
            return nn.functional.pad(images, (left, width - stored_width - left, top, height - stored_height - top))
        top, left = (stored_height - height) // 2, (stored_width - width) // 2
        return images[..., top : top + height, left : left + width]


def fixed_taps(length: int, out_length: int) -> Tensor:
    """Return the triangle filter between two fixed lengths, (out_length, length), not rounded."""
    low, high = torch.zeros(()), torch.tensor(float(length))
    return taps(length, out_length, low, high, torch.float64).float()


def taps(length: int, out_length: int, low: Tensor, high: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the triangle filter that takes positions low to high of an axis to `out_length` pixels.

    Distances are computed from a coarse and a fine part, so that they are good to a millionth of a pixel where an
    engine computes in float32.

    Args:
        length: Pixels of the axis.
        out_length: Pixels of the result.
        low: First position, a float32 scalar.
        high: Last position.
        dtype: Of the result (out_length, length); each row sums up to 1.
    """
    steps = torch.arange(out_length, dtype=dtype) + 0.5
    weights = triangles(length, steps, (high - low).to(dtype), out_length, low.to(dtype))
    return weights / weights.sum(1, keepdim=True)


def triangles(length: int, steps: Tensor, extent: Tensor, count: int | Tensor, low: float | Tensor) -> Tensor:
    """Return the weights, not normalized, of an axis's pixels for results at some steps, (steps, length).

    Args:
        length: Pixels of the axis.
        steps: Middles of the results, in results.
        extent: What `count` results cover of the axis, in pixels.
        count: Number of results.
        low: Where they begin on the axis.
    """
    scale = extent / count
    coarse = torch.floor(scale * COARSE_STEPS) / COARSE_STEPS
    fine = (extent - coarse * count) / count
    positions = torch.arange(length).to(steps.dtype) + 0.5
    distances = ((positions - (steps * coarse)[:, None]) - low) - (steps * fine)[:, None]
    return torch.relu(1 - distances.abs() * (1 / torch.clamp(scale, min=1.0)))


def fit_pixels(pixels: Tensor, height: int, width: int, *, crop: bool, dtype: torch.dtype = torch.float64) -> Tensor:
    """Resize uint8 pixels (N, C, H, W) to (N, C, height, width), float32 with whole values of 0 to 255.

    Args:
        pixels: Of any height and width.
        height: Of the result.
        width: Of the result.
        crop: Whether the centre is scaled to cover the size; otherwise all of the image is shrunk, on black.
        dtype: Of the passes. float64 is exact; float32 differs by at most 1 level.
    """
    rows, columns = (crop_taps if crop else pad_taps)(pixels.shape[-2], pixels.shape[-1], height, width, dtype)
    rows = torch.floor(rows * UNIT + 0.5)
    across = torch.floor(columns.T * UNIT + 0.5)  # ONNX Runtime before 1.26 has no product with a transposed float64
    narrow = torch.floor((pixels.to(dtype) @ across + UNIT / 2) / UNIT).clamp(0, 255)
    return torch.floor((rows @ narrow + UNIT / 2) / UNIT).clamp(0, 255).float()


def crop_taps(file_height: int, file_width: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the taps of rows and columns that scale the centre of an image to cover a size."""
    tall = torch.scalar_tensor(file_height, dtype=torch.float64)
    wide = torch.scalar_tensor(file_width, dtype=torch.float64)
    crop_width, crop_height = torch.minimum(wide, tall * (width / height)), torch.minimum(tall, wide * (height / width))
    left, top = (wide - crop_width) / 2, (tall - crop_height) / 2
    right, bottom = left + crop_width, top + crop_height
    return (
        taps(file_height, height, top.float(), bottom.float(), dtype),
        taps(file_width, width, left.float(), right.float(), dtype),
    )


def pad_taps(file_height: int, file_width: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the taps of rows and columns that shrink all of an image into a size, with rows of zeros around it."""
    tall, wide = (torch.scalar_tensor(length, dtype=torch.int64) for length in (file_height, file_width))
    is_small = (tall <= height) & (wide <= width)
    rows_fill = height * wide <= width * tall
    inner_height = torch.where(rows_fill, torch.full_like(tall, height), (2 * width * tall + wide) // (2 * wide))
    inner_width = torch.where(rows_fill, (2 * height * wide + tall) // (2 * tall), torch.full_like(wide, width))
    inner_height = torch.where(is_small, tall, inner_height.clamp(min=1))
    inner_width = torch.where(is_small, wide, inner_width.clamp(min=1))
    return placed_taps(file_height, inner_height, height, dtype), placed_taps(file_width, inner_width, width, dtype)


def placed_taps(length: int, inner: Tensor, out_length: int, dtype: torch.dtype) -> Tensor:
    """Return the taps from an axis to `inner` pixels in the middle of `out_length`, (out_length, length)."""
    places = torch.arange(out_length) - (out_length - inner) // 2
    extent = torch.scalar_tensor(length, dtype=dtype)
    weights = triangles(length, places.to(dtype) + 0.5, extent, inner.to(dtype), 0.0)
    inside = ((places >= 0) & (places < inner)).to(dtype)[:, None]
    return inside * weights / torch.where(inside > 0, weights.sum(1, keepdim=True), 1.0)
