"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545): a ResNet with the choices of a vision transformer.

`convnext_tiny` to `convnext_large` have torchvision's parameter names. `convnext_patch4` is the network of D3, loosely
after it, whose norm runs over the whole batch, so that an answer depends on the image's neighbours;
`convnext_patch4_corrected` norms each image by itself.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.models.blocks import scaled
from lenext.models.variant import Variant


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each position. (N, C, H, W) to the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(nn.Module):
    """A change of the order of dimensions, as a layer."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, norm, dense to 4 C, GELU, dense to C; scaled and added. (N, C, H, W) to the same.

    drop: how often the block is left out for an image in training (stochastic depth, arXiv:1603.09382).
    """

    def __init__(
        self, channels: int, kernel_size: int = 7, scale: float = 1e-6, drop: float = 0.0, skip: bool = True
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
            Permute(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), scale))
        self.drop, self.skip = drop, skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer_scale * self.block(x)
        if self.training and self.drop:
            kept = torch.empty(len(x), 1, 1, 1, device=x.device, dtype=y.dtype).bernoulli_(1 - self.drop)
            y = y * kept / (1 - self.drop)
        return x + y if self.skip else y


class ConvNeXt(nn.Module):
    """A patch stem, stages of blocks with halvings between them, the average over positions. (N, C, H, W) to (N, K).

    patch: pixels a side that the stem takes together. scale: where the blocks' layer scale begins.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: tuple[int, ...] = (3, 3, 9, 3),
        widths: tuple[int, ...] = (96, 192, 384, 768),
        width: float = 1.0,
        patch: int = 4,
        kernel_size: int = 7,
        scale: float = 1e-6,
        stochastic_depth: float = 0.1,
        skips: bool = True,
    ) -> None:
        super().__init__()
        widths = scaled(widths, width)
        stem = nn.Conv2d(in_channels, widths[0], patch, patch)
        layers: list[nn.Module] = [nn.Sequential(stem, LayerNorm2d(widths[0], eps=1e-6))]
        drops = iter(torch.linspace(0, stochastic_depth, sum(depths), device="cpu").tolist())
        for number, (channels, depth) in enumerate(zip(widths, depths, strict=True)):
            if number:
                before = widths[number - 1]
                layers.append(nn.Sequential(LayerNorm2d(before, eps=1e-6), nn.Conv2d(before, channels, 2, 2)))
            layers.append(stage(channels, depth, drops, kernel_size, scale, skips))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        head = nn.Linear(widths[-1], num_classes)
        self.classifier = nn.Sequential(LayerNorm2d(widths[-1], eps=1e-6), nn.Flatten(), head)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return self.classifier(self.avgpool(self.features(x)))  # from (N, widths[-1], H/32, W/32)


def stage(
    channels: int, depth: int, drops: Iterator[float], kernel_size: int, scale: float, skips: bool
) -> nn.Sequential:
    """`depth` blocks, each with the next of the `drops`."""
    return nn.Sequential(*(ConvNeXtBlock(channels, kernel_size, scale, next(drops), skips) for _ in range(depth)))


def initialize(network: nn.Module) -> None:
    """As the paper draws it: a truncated normal of deviation 0.02, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


TaughtNorm = Literal["batch_tensor", "image", "none"]


def plain_norm(x: Tensor, over: TaughtNorm) -> Tensor:
    """Without parameters: to mean 0 and deviation 1 over the whole batch tensor, as D3 does, or over each image."""
    if over == "none":
        return x
    return F.layer_norm(x, x.shape if over == "batch_tensor" else x.shape[1:])


class Patch4Block(nn.Module):
    """D3's block: depthwise 7x7 to 4 C, norm, 1x1 to C, GELU, 1x1 to C, added. (N, C, H, W) to the same."""

    def __init__(self, channels: int, kernel_size: int = 7, norm: TaughtNorm = "image", skip: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.conv2 = nn.Conv2d(4 * channels, channels, 1)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm, self.skip = norm, skip

    def forward(self, x: Tensor) -> Tensor:
        y = plain_norm(self.conv1(x), self.norm)
        y = self.conv3(F.gelu(self.conv2(y)))
        return x + y if self.skip else y


class ConvNeXtPatch4(nn.Module):
    """D3's network: a patch stem, stages of blocks, a 1x1 convolution to the classes. (N, C, H, W) to (N, K)."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        depths: tuple[int, ...] = (5, 5),
        widths: tuple[int, ...] = (32, 64),
        width: float = 1.0,
        patch: int = 4,
        kernel_size: int = 7,
        norm: TaughtNorm = "batch_tensor",
        skips: bool = True,
    ) -> None:
        super().__init__()
        widths = scaled(widths, width)
        self.stem = nn.Conv2d(in_channels, widths[0], patch, patch)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Patch4Block(channels, kernel_size, norm, skips) for _ in range(depth)))
            for channels, depth in zip(widths, depths, strict=True)
        )
        pairs = pairwise(widths)
        self.downsample = nn.ModuleList(nn.Conv2d(before, after, 2, 2) for before, after in pairs)
        self.head = nn.Conv2d(widths[-1], num_classes, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 32, 32)
        x = self.stages[0](plain_norm(self.stem(x), self.norm))  # (N, 32, 8, 8)
        for downsample, blocks in zip(self.downsample, self.stages[1:], strict=True):
            x = blocks(downsample(plain_norm(x, self.norm)))  # (N, 64, 4, 4)
        return self.avgpool(self.head(x)).flatten(1)


PAPER = "arXiv:2201.03545"
SMALL = partial(
    ConvNeXt, num_classes=10, depths=(2, 2, 2), widths=(48, 96, 192), patch=2, scale=1.0, stochastic_depth=0.0
)  # fmt: skip

VARIANTS = {
    "convnext_tiny": Variant(ConvNeXt, 224, PAPER),
    "convnext_small": Variant(partial(ConvNeXt, depths=(3, 3, 27, 3), stochastic_depth=0.4), 224, PAPER),
    "convnext_base": Variant(
        partial(ConvNeXt, depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024), stochastic_depth=0.5), 224, PAPER
    ),
    "convnext_large": Variant(
        partial(ConvNeXt, depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536), stochastic_depth=0.5), 224, PAPER
    ),
    "convnext_patch4": Variant(ConvNeXtPatch4, 32, "D3", "as taught"),
    "convnext_patch4_corrected": Variant(partial(ConvNeXtPatch4, norm="image"), 32, "D3, corrected", "as taught"),
    "convnext_32px": Variant(SMALL, 32, PAPER, "small images"),
}
