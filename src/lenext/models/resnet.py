"""ResNet (He, Zhang, Ren & Sun 2015, arXiv:1512.03385): blocks that learn what to add to their input.

Parameter names and their order are torchvision's, so its weights load unmapped.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from lenext.models.variant import Variant

Block = Callable[[int, int, int], nn.Module]
"""From (in_channels, out_channels, stride) to a residual block."""


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Without bias, as a norm follows; padded to keep the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut: the input itself, or where shapes differ a 1x1 convolution of it."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(convolution(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut. (N, C, H, W) to (N, out_channels, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = convolution(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        learned = self.relu(self.bn1(self.conv1(x)))
        learned = self.bn2(self.conv2(learned))
        return self.relu(learned + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1 that narrow to a quarter and widen again, beside a shortcut.

    The stride is in the 3x3 convolution, as torchvision's weights have it, not in the first as in the paper.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        narrow = out_channels // 4
        self.conv1 = convolution(in_channels, narrow, 1)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = convolution(narrow, narrow, 3, stride)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = convolution(narrow, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        learned = self.relu(self.bn1(self.conv1(x)))
        learned = self.relu(self.bn2(self.conv2(learned)))
        learned = self.bn3(self.conv3(learned))
        return self.relu(learned + self.downsample(x))


def stage(block: Block, in_channels: int, out_channels: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` blocks; the first one changes channels and size."""
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(1, depth)))


class ResNet(nn.Module):
    """A stem, four stages of blocks, average pooling, one dense layer. (N, C, H, W) to (N, K), any H and W.

    stem: `halving` is the paper's, a 7x7 convolution of stride 2 and a max pooling, to a quarter of the size;
    `keeping` is a 3x3 convolution that keeps it, for small pictures.
    """

    def __init__(
        self,
        block: Block,
        *,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        widths: tuple[int, ...] = (64, 128, 256, 512),
        stem: Literal["halving", "keeping"] = "halving",
        in_channels: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        small = stem == "keeping"
        self.conv1 = convolution(in_channels, 64, 3) if small else convolution(in_channels, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = stage(block, 64, widths[0], depths[0], 1)
        self.layer2 = stage(block, widths[0], widths[1], depths[1], 2)
        self.layer3 = stage(block, widths[1], widths[2], depths[2], 2)
        self.layer4 = stage(block, widths[2], widths[3], depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        initialize(self.modules())

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, widths[3], H/32, W/32)
        return self.fc(self.avgpool(x).flatten(1))


def initialize(modules: Iterable[nn.Module]) -> None:
    """Convolutions drawn so that gradients keep their size through ReLUs (He et al. 2015, arXiv:1502.01852)."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


PAPER = "arXiv:1512.03385"
WIDE = (256, 512, 1024, 2048)

resnet18 = partial(ResNet, BasicBlock, depths=(2, 2, 2, 2))
resnet34 = partial(ResNet, BasicBlock, depths=(3, 4, 6, 3))
resnet50 = partial(ResNet, Bottleneck, depths=(3, 4, 6, 3), widths=WIDE)

VARIANTS = {
    "resnet18": Variant(resnet18, 224, PAPER),
    "resnet34": Variant(resnet34, 224, PAPER),
    "resnet50": Variant(resnet50, 224, PAPER),
    "resnet18_32px": Variant(partial(resnet18, stem="keeping"), 32, PAPER, "small pictures"),
}
