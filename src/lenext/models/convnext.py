"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545): a ResNet with the choices of a vision transformer.

`convnext_tiny` to `convnext_large` have torchvision's parameter names. `convnext_patch4` is the network of D3, which
follows the paper loosely: its norm runs over the whole batch, so that the logits of an image depend on its neighbours.
`convnext_patch4_corrected` normalizes each image separately.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.models.blocks import scale_widths
from lenext.models.variant import Variant


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels at each position. (N, C, H, W) to the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(nn.Module):
    """A change of the order of dimensions, as a layer."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


def drop_samples(x: Tensor, rate: float) -> Tensor:
    """Zero a share of the samples of a batch (N, C, H, W) at random, and scale the others up to keep the mean."""
    mask = torch.empty(len(x), 1, 1, 1, device=x.device, dtype=x.dtype).bernoulli_(1 - rate)
    return x * mask / (1 - rate)


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, a norm and two pointwise layers beside a skip. (N, C, H, W) to the same.

    The layers are numbered within `block`, as torchvision names their parameters.

    Args:
        channels: Number of channels C.
        kernel_size: Kernel size of the depthwise convolution.
        layer_scale_init: Initial value of the layer scale, a learned factor for each channel of the residual.
        drop_path: Probability that a sample skips the block in training (stochastic depth, arXiv:1603.09382).
        skip: Whether the input is added to the output.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        layer_scale_init: float = 1e-6,
        drop_path: float = 0.0,
        skip: bool = True,
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),  # a 1x1 convolution, which is a dense layer at each position
            nn.GELU(),
            nn.Linear(4 * channels, channels),
            Permute(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), layer_scale_init))
        self.drop_path = drop_path
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        dwconv, to_channels_last, norm, pwconv1, gelu, pwconv2, to_channels_first = self.block
        y = dwconv(x)  # (N, C, H, W)
        y = norm(to_channels_last(y))  # (N, H, W, C)
        y = gelu(pwconv1(y))  # (N, H, W, 4 C)
        y = to_channels_first(pwconv2(y))  # (N, C, H, W)
        y = self.layer_scale * y
        if self.training and self.drop_path > 0:
            y = drop_samples(y, self.drop_path)
        return x + y if self.skip else y


def stage(
    channels: int, drop_paths: Sequence[float], *, kernel_size: int, layer_scale_init: float, skips: bool
) -> nn.Sequential:
    """Stack a block for each rate of `drop_paths`."""
    block = partial(ConvNeXtBlock, kernel_size=kernel_size, layer_scale_init=layer_scale_init, skip=skips)
    return nn.Sequential(*(block(channels, drop_path=rate) for rate in drop_paths))


class ConvNeXt(nn.Module):
    """A patch stem, stages of blocks with downsampling between them, the mean over positions. (N, C, H, W) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        depths: Blocks of each stage.
        widths: Channels of each stage.
        width: Factor of the widths.
        patch: Pixels a side of the patches that the stem divides an image into.
        kernel_size: Kernel size of the depthwise convolutions.
        layer_scale_init: Initial value of the blocks' layer scale.
        stochastic_depth: Drop path rate of the last block; it rises to it linearly from 0 at the first.
        skips: Whether the blocks have their skips.
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
        layer_scale_init: float = 1e-6,
        stochastic_depth: float = 0.1,
        skips: bool = True,
    ) -> None:
        super().__init__()
        widths = scale_widths(widths, width)
        drop_paths = torch.linspace(0, stochastic_depth, sum(depths), device="cpu").tolist()
        blocks = partial(stage, kernel_size=kernel_size, layer_scale_init=layer_scale_init, skips=skips)

        stem = nn.Conv2d(in_channels, widths[0], patch, patch)
        layers: list[nn.Module] = [nn.Sequential(stem, LayerNorm2d(widths[0], eps=1e-6))]
        for index, (channels, depth) in enumerate(zip(widths, depths, strict=True)):
            if index > 0:
                before = widths[index - 1]
                layers.append(nn.Sequential(LayerNorm2d(before, eps=1e-6), nn.Conv2d(before, channels, 2, 2)))
            first = sum(depths[:index])
            layers.append(blocks(channels, drop_paths[first : first + depth]))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            LayerNorm2d(widths[-1], eps=1e-6), nn.Flatten(), nn.Linear(widths[-1], num_classes)
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.avgpool(self.features(x))  # (N, widths[-1], 1, 1), from (N, widths[-1], H/32, W/32)
        return self.classifier(x)


def initialize(network: nn.Module) -> None:
    """Draw weights as the paper does: a truncated normal of standard deviation 0.02, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


Patch4Norm = Literal["batch_tensor", "image", "none"]


def normalize(x: Tensor, norm: Patch4Norm) -> Tensor:
    """Bring x to mean 0 and deviation 1, without parameters: the batch as one tensor, as D3 does, or each image."""
    if norm == "none":
        return x
    return F.layer_norm(x, x.shape if norm == "batch_tensor" else x.shape[1:])


class Patch4Block(nn.Module):
    """D3's block: depthwise 7x7 to 4 C, norm, 1x1 to C, GELU, 1x1 to C, added. (N, C, H, W) to the same."""

    def __init__(self, channels: int, *, kernel_size: int = 7, norm: Patch4Norm = "image", skip: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.conv2 = nn.Conv2d(4 * channels, channels, 1)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm, self.skip = norm, skip

    def forward(self, x: Tensor) -> Tensor:
        y = normalize(self.conv1(x), self.norm)
        y = self.conv3(F.gelu(self.conv2(y)))
        return x + y if self.skip else y


class ConvNeXtPatch4(nn.Module):
    """D3's network: a patch stem, stages of blocks, a 1x1 convolution to the classes. (N, C, H, W) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        depths: Blocks of each stage.
        widths: Channels of each stage.
        width: Factor of the widths.
        patch: Pixels a side of the patches that the stem divides an image into.
        kernel_size: Kernel size of the depthwise convolutions.
        norm: What is normalized together: the whole batch tensor, each image, or nothing.
        skips: Whether the blocks have their skips.
    """

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
        norm: Patch4Norm = "batch_tensor",
        skips: bool = True,
    ) -> None:
        super().__init__()
        widths = scale_widths(widths, width)
        block = partial(Patch4Block, kernel_size=kernel_size, norm=norm, skip=skips)
        self.stem = nn.Conv2d(in_channels, widths[0], patch, patch)
        self.stages = nn.ModuleList(
            nn.Sequential(*(block(channels) for _ in range(depth)))
            for channels, depth in zip(widths, depths, strict=True)
        )
        self.downsample = nn.ModuleList(nn.Conv2d(before, after, 2, 2) for before, after in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], num_classes, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 32, 32)
        x = self.stages[0](normalize(self.stem(x), self.norm))  # (N, 32, 8, 8)
        for downsample, blocks in zip(self.downsample, self.stages[1:], strict=True):
            x = blocks(downsample(normalize(x, self.norm)))  # (N, 64, 4, 4)
        return self.avgpool(self.head(x)).flatten(1)


PAPER = "arXiv:2201.03545"
DEEP = (3, 3, 27, 3)

small = partial(ConvNeXt, depths=DEEP, stochastic_depth=0.4)
base = partial(ConvNeXt, depths=DEEP, widths=(128, 256, 512, 1024), stochastic_depth=0.5)
large = partial(ConvNeXt, depths=DEEP, widths=(192, 384, 768, 1536), stochastic_depth=0.5)
corrected = partial(ConvNeXtPatch4, norm="image")
small_images = partial(
    ConvNeXt, num_classes=10, depths=(2, 2, 2), widths=(48, 96, 192), patch=2,
    layer_scale_init=1.0, stochastic_depth=0.0,
)  # fmt: skip

NAMES = {
    r"features\.0\.0": "stem",
    r"features\.1\..*": "res2",
    r"features\.[23]\..*": "res3",
    r"features\.[45]\..*": "res4",
    r"features\.[67]\..*": "res5",
}  # table 9

VARIANTS = {
    "convnext_tiny": Variant(
        ConvNeXt, 224, PAPER, weights="convnext_tiny-983f1562", shorter_side=236, paper_names=NAMES
    ),
    "convnext_small": Variant(
        small, 224, PAPER, weights="convnext_small-0c510722", shorter_side=230, paper_names=NAMES
    ),
    "convnext_base": Variant(base, 224, PAPER, weights="convnext_base-6075fbad", shorter_side=232, paper_names=NAMES),
    "convnext_large": Variant(
        large, 224, PAPER, weights="convnext_large-ea097f82", shorter_side=232, paper_names=NAMES
    ),
    "convnext_patch4": Variant(ConvNeXtPatch4, 32, "D3", "as taught"),
    "convnext_patch4_corrected": Variant(corrected, 32, "D3, corrected", "as taught"),
    "convnext_32px": Variant(small_images, 32, PAPER, "small images", paper_names=NAMES),
}
