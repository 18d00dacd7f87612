"""LeNet (LeCun, Bottou, Bengio & Haffner 1998): two rounds of convolution and pooling, then dense layers.

The documents teach three forms. `lenet` is the modern one (D0): ReLU, max pooling, 28 px images padded by 2. `lenet5`
is the historical one (D2): tanh, average pooling, 32 px, its third convolution covering all that is left. `lenet5_skip`
(D2) adds batch norm and a skip around a dense layer; the document's code calls neither its last layer nor its norms,
which is corrected here. The document's softmax is left out: every network here returns logits.
"""

from functools import partial

from torch import Tensor, nn

from lenext.foundation.arithmetic import output_size
from lenext.models.blocks import Activation, Norm, Pooling, activation_layer, norm_layer, pooling_layer, scale_widths
from lenext.models.variant import Variant


class LeNet(nn.Module):
    """Two convolutions, each with a pooling, and three dense layers. (N, C, H, H) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        image_size: Pixels a side of the images, H, which the first dense layer depends on.
        widths: Channels of the two convolutions and of the two hidden dense layers.
        width: Factor of the widths.
        kernel_size: Kernel size of both convolutions.
        padding: Padding of the first convolution.
        activation: Activation by name.
        pooling: Pooling by name.
        norm: Norm after each convolution, by name.
        dropout: Dropout after the first dense layer.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: int = 28,
        widths: tuple[int, ...] = (6, 16, 120, 84),
        width: float = 1.0,
        kernel_size: int = 5,
        padding: int = 2,
        activation: Activation = "relu",
        pooling: Pooling = "max",
        norm: Norm = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        first, second, third, fourth = scale_widths(widths, width)
        side = output_size(image_size, kernel_size, padding=padding) // 2
        side = output_size(side, kernel_size) // 2
        side = max(side, 1)  # a network for too small an image can be built, and the doctor says where it fails
        self.conv1 = nn.Conv2d(in_channels, first, kernel_size, padding=padding)
        self.norm1 = norm_layer(norm, first)
        self.conv2 = nn.Conv2d(first, second, kernel_size)
        self.norm2 = norm_layer(norm, second)
        self.fc1 = nn.Linear(second * side**2, third)
        self.fc2 = nn.Linear(third, fourth)
        self.fc3 = nn.Linear(fourth, num_classes)
        self.activation = activation_layer(activation)
        self.pool = pooling_layer(pooling, 2, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 28, 28)
        x = self.pool(self.activation(self.norm1(self.conv1(x))))  # (N, 6, 14, 14)
        x = self.pool(self.activation(self.norm2(self.conv2(x))))  # (N, 16, 5, 5)
        x = self.dropout(self.activation(self.fc1(x.flatten(1))))  # (N, 120)
        x = self.activation(self.fc2(x))  # (N, 84)
        return self.fc3(x)


class DenseResidual(nn.Module):
    """D2's fully connected residual block: two dense layers beside a skip. (N, D) to (N, D)."""

    def __init__(self, features: int, activation: Activation = "relu") -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, features)
        self.fc2 = nn.Linear(features, features)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc2(self.activation(self.fc1(x)))
        return self.activation(x + y)


class LeNet5(nn.Module):
    """Convolutions of 6, 16 and 120 channels, dense layers of 84 and the classes. (N, C, H, H) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        image_size: Pixels a side of the images, H, which the first dense layer depends on.
        activation: Activation by name.
        pooling: Pooling by name.
        norm: Norm after the first two convolutions, by name.
        skip: Whether a dense layer beside a skip follows the last convolution.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: int = 32,
        activation: Activation = "tanh",
        pooling: Pooling = "average",
        norm: Norm = "none",
        skip: bool = False,
    ) -> None:
        super().__init__()
        side = output_size(image_size, 5) // 2
        side = output_size(side, 5) // 2
        side = output_size(side, 5)
        side = max(side, 1)  # a network for too small an image can be built, and the doctor says where it fails
        features = 120 * side**2
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.norm1 = norm_layer(norm, 6)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.norm2 = norm_layer(norm, 16)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.residual = nn.Linear(features, features) if skip else None
        self.fc1 = nn.Linear(features, 84)
        self.fc2 = nn.Linear(84, num_classes)
        self.activation = activation_layer(activation)
        self.pool = pooling_layer(pooling, 2, 2)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 32, 32)
        x = self.pool(self.activation(self.norm1(self.conv1(x))))  # (N, 6, 14, 14)
        x = self.pool(self.activation(self.norm2(self.conv2(x))))  # (N, 16, 5, 5)
        x = self.activation(self.conv3(x)).flatten(1)  # (N, 120)
        if self.residual is not None:
            x = self.activation(x + self.residual(x))
        return self.fc2(self.activation(self.fc1(x)))


PAPER = "LeCun et al. 1998"

lenet5_skip = partial(LeNet5, norm="batch", skip=True)
lenet_32px = partial(LeNet, in_channels=3, image_size=32, widths=(32, 64, 256, 128), norm="batch")

CONVOLUTIONS: dict[str, str | tuple[str, ...]] = {"conv1": "C1", "pool": ("S2", "S4"), "conv2": "C3"}
NAMES = CONVOLUTIONS | {"fc1": "C5", "fc2": "F6", "fc3": "output"}
NAMES_5 = CONVOLUTIONS | {"conv3": "C5", "fc1": "F6", "fc2": "output"}

VARIANTS = {
    "lenet": Variant(LeNet, 28, f"{PAPER}; D0", "as taught", paper_names=NAMES),
    "lenet5": Variant(LeNet5, 32, f"{PAPER}; D2", "as taught", paper_names=NAMES_5),
    "lenet5_skip": Variant(lenet5_skip, 32, "D2, repaired", "as taught", paper_names=NAMES_5),
    "lenet_32px": Variant(lenet_32px, 32, PAPER, "small images", paper_names=NAMES),
}
