"""How alike two images are once one is laid over the other: shifted, scaled, and up to brightness and contrast."""

import torch
from torch import Tensor
from torch.nn import functional as F

BLURRED_STEPS, SHARP_STEPS = 2, 3  # of Gauss-Newton: on blurred images first, which reach farther
REACH = 0.15  # how far scale and shift may move, in halves of the image's side
LEAST_OVERLAP = 0.8  # share of the image that both must cover
WINDOW, STABLE = 7, 10.0  # px a side; a variance in grey levels below which texture does not count
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"


def to_luma(images: Tensor) -> Tensor:
    """Return images (N, 1 or 3, H, W) as float grey ones (N, 1, H, W)."""
    images = images.float()
    if images.shape[1] == 1:
        return images
    return (images * torch.tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def warp(images: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return the part of each image around `shift`, of size `scale`, at the image's resolution, and where it exists.

    Args:
        images: (N, C, H, W).
        scale: (N, 2) in x and y; 1 is the whole image.
        shift: (N, 2) in x and y; 1 is half the image's side.

    Returns:
        The warped images (N, C, H, W), and a mask (N, 1, H, W) that is 1 inside of the source image, else 0.
    """
    _, _, height, width = images.shape
    x, y = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    grid_x = (scale[:, :1] * x + shift[:, :1])[:, None, :].expand(-1, height, -1)
    grid_y = (scale[:, 1:] * y + shift[:, 1:])[:, :, None].expand(-1, -1, width)
    grid = torch.stack([grid_x, grid_y], 3)
    inside = (grid.abs() <= 1).all(3)[:, None].float()
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border"), inside


def align(source: Tensor, target: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Find the part of each source image that looks most like the target, by Gauss-Newton (Lucas and Kanade, 1981).

    Each step regresses the target on the warped source, a constant and the derivatives by the four parameters, so that
    brightness and contrast are fitted along with the position.

    Args:
        source, target: grey images (N, 1, H, W).
        scale, shift: where to begin, as in `warp`.

    Returns:
        The scale and the shift (N, 2) each.
    """
    _, _, height, width = source.shape
    x, y = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    first_scale, first_shift = scale, shift
    for step in range(BLURRED_STEPS + SHARP_STEPS):
        blurred = step < BLURRED_STEPS
        there = F.avg_pool2d(source, 3, 1, 1, count_include_pad=False) if blurred else source
        wanted = F.avg_pool2d(target, 3, 1, 1, count_include_pad=False) if blurred else target
        warped, inside = warp(there, scale, shift)
        down, right = torch.gradient(warped[:, 0], dim=(1, 2))
        right, down = right * width / 2, down * height / 2
        columns = torch.stack(
            [warped[:, 0], torch.ones_like(right), right * x, down * y[:, None], right, down], 3
        ).flatten(1, 2)  # fmt: skip
        weighted = columns * inside.flatten(1)[:, :, None]
        normal = weighted.transpose(1, 2) @ columns
        ridge = 1e-6 * normal.diagonal(dim1=1, dim2=2) + 1e-3
        moment = weighted.transpose(1, 2) @ wanted.flatten(1)[:, :, None]
        fitted = torch.linalg.solve(normal + torch.diag_embed(ridge), moment)[:, :, 0]
        gain = fitted[:, :1].clamp(min=0.1)
        shift = shift + scale * (fitted[:, 4:] / gain)
        scale = scale * (1 + fitted[:, 2:4] / gain)
        scale = torch.minimum(torch.maximum(scale, first_scale - REACH), first_scale + REACH)
        shift = torch.minimum(torch.maximum(shift, first_shift - REACH), first_shift + REACH)
    return scale, shift


def difference(source: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Return 1 minus the correlation (N,) of images (N, C, H, W) over the pixels inside; 1 where there are too few.

    All channels have one brightness and contrast together, so that images of other colours differ.
    """
    weight = inside.expand_as(source).flatten(1)
    total = weight.sum(1, keepdim=True).clamp(min=1)
    one, other = source.flatten(1), target.flatten(1)
    one = (one - (one * weight).sum(1, keepdim=True) / total) * weight
    other = (other - (other * weight).sum(1, keepdim=True) / total) * weight
    alike = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1)).clamp(min=1.0)
    return torch.where(inside.flatten(1).mean(1) >= LEAST_OVERLAP, 1 - alike, 1.0)


def similarity(source: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Return the structural similarity (N,) of grey images over the pixels inside, by windows of WINDOW px.

    Without its comparison of brightness, and after the images are brought to one contrast (Wang et al., 2004). Unlike
    the correlation of whole images it is low where large shapes agree, but the textures around them do not.
    """
    contrast = target.std((1, 2, 3), keepdim=True, correction=0) / source.std((1, 2, 3), keepdim=True, correction=0)
    source, target = source * contrast.sqrt(), target / contrast.sqrt()
    mean, other_mean = blur(source, WINDOW), blur(target, WINDOW)
    spread = blur(source.square() + target.square(), WINDOW) - mean.square() - other_mean.square()
    together = blur(source * target, WINDOW) - mean * other_mean
    structure = (2 * together + STABLE) / (spread.clamp(min=0) + STABLE)
    return (structure * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)


def blur(images: Tensor, side: int) -> Tensor:
    """Return the mean over a square of this side around each pixel."""
    return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)
