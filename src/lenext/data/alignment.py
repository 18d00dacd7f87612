"""Align two images by shift and scale, and measure their similarity up to brightness and contrast."""

import torch
from torch import Tensor
from torch.nn import functional as F

BLURRED_STEPS, SHARP_STEPS = 2, 3  # Gauss-Newton steps: first on blurred images, which converge from farther away
MAX_MOVE = 0.15  # largest change of scale and shift, in halves of the image's side
MIN_OVERLAP = 0.8  # fraction of the image that both must cover
WINDOW_PIXELS = 7  # side of the window of the structural similarity
MIN_TEXTURE_VARIANCE = 10.0  # squared grey levels; texture below this hardly counts
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"


def to_luma(images: Tensor) -> Tensor:
    """Convert images (N, 1 or 3, H, W) to float grey images (N, 1, H, W)."""
    images = images.float()
    if images.shape[1] == 1:
        return images
    return (images * torch.tensor(LUMA_WEIGHTS).view(3, 1, 1)).sum(1, keepdim=True)


def warp(images: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift images, and return them with a mask of the pixels inside the source image.

    Args:
        images: (N, C, H, W).
        scale: (N, 2), size of the window in x and y; 1 is the full image.
        shift: (N, 2), centre of the window in x and y; 1 is half the image's side.

    Returns:
        The warped images (N, C, H, W), and a mask (N, 1, H, W) that is 1 inside the source image, else 0.
    """
    _, _, height, width = images.shape
    x, y = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    grid_x = (scale[:, :1] * x + shift[:, :1])[:, None, :].expand(-1, height, -1)
    grid_y = (scale[:, 1:] * y + shift[:, 1:])[:, :, None].expand(-1, -1, width)
    grid = torch.stack([grid_x, grid_y], 3)
    inside = (grid.abs() <= 1).all(3)[:, None].float()
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border"), inside


def align(source: Tensor, target: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Find the window of each source image that best matches the target, by Gauss-Newton (Lucas and Kanade, 1981).

    Each step regresses the target on the warped source, a constant and the derivatives by the four parameters, so that
    brightness and contrast are fitted along with the position.

    Args:
        source: Grey images (N, 1, H, W).
        target: Grey images (N, 1, H, W).
        scale: Initial scale, as in `warp`.
        shift: Initial shift, as in `warp`.

    Returns:
        The scale and the shift (N, 2) each.
    """
    _, _, height, width = source.shape
    x, y = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    first_scale, first_shift = scale, shift
    for step in range(BLURRED_STEPS + SHARP_STEPS):
        blurred = step < BLURRED_STEPS
        moving = F.avg_pool2d(source, 3, 1, 1, count_include_pad=False) if blurred else source
        fixed = F.avg_pool2d(target, 3, 1, 1, count_include_pad=False) if blurred else target
        warped, inside = warp(moving, scale, shift)
        down, right = torch.gradient(warped[:, 0], dim=(1, 2))
        right, down = right * width / 2, down * height / 2
        columns = torch.stack(
            [warped[:, 0], torch.ones_like(right), right * x, down * y[:, None], right, down], 3
        ).flatten(1, 2)  # fmt: skip
        weighted = columns * inside.flatten(1)[:, :, None]
        normal = weighted.transpose(1, 2) @ columns
        ridge = 1e-6 * normal.diagonal(dim1=1, dim2=2) + 1e-3
        moment = weighted.transpose(1, 2) @ fixed.flatten(1)[:, :, None]
        fitted = torch.linalg.solve(normal + torch.diag_embed(ridge), moment)[:, :, 0]
        gain = fitted[:, :1].clamp(min=0.1)
        shift = shift + scale * (fitted[:, 4:] / gain)
        scale = scale * (1 + fitted[:, 2:4] / gain)
        scale = torch.minimum(torch.maximum(scale, first_scale - MAX_MOVE), first_scale + MAX_MOVE)
        shift = torch.minimum(torch.maximum(shift, first_shift - MAX_MOVE), first_shift + MAX_MOVE)
    return scale, shift


def difference(source: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Return 1 minus the correlation (N,) of images (N, C, H, W) over the pixels inside; 1 if there are too few.

    All channels share one brightness and contrast, so that images of different colours differ.
    """
    weight = inside.expand_as(source).flatten(1)
    total = weight.sum(1, keepdim=True).clamp(min=1)
    first, second = source.flatten(1), target.flatten(1)
    first = (first - (first * weight).sum(1, keepdim=True) / total) * weight
    second = (second - (second * weight).sum(1, keepdim=True) / total) * weight
    correlation = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1)).clamp(min=1.0)
    return torch.where(inside.flatten(1).mean(1) >= MIN_OVERLAP, 1 - correlation, 1.0)


def similarity(source: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Return the structural similarity (N,) of grey images over the pixels inside (Wang et al., 2004).

    The term for brightness is left out, and the images are first brought to the same contrast. Unlike the correlation
    of the full images, it is low where large shapes agree but the textures around them do not.
    """
    contrast = target.std((1, 2, 3), keepdim=True, correction=0) / source.std((1, 2, 3), keepdim=True, correction=0)
    source, target = source * contrast.sqrt(), target / contrast.sqrt()
    mean, other_mean = blur(source, WINDOW_PIXELS), blur(target, WINDOW_PIXELS)
    variance = blur(source.square() + target.square(), WINDOW_PIXELS) - mean.square() - other_mean.square()
    covariance = blur(source * target, WINDOW_PIXELS) - mean * other_mean
    structure = (2 * covariance + MIN_TEXTURE_VARIANCE) / (variance.clamp(min=0) + MIN_TEXTURE_VARIANCE)
    return (structure * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)


def blur(images: Tensor, side: int) -> Tensor:
    """Return the mean over a square of `side` pixels around each pixel."""
    return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)
