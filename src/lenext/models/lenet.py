"""LeNet (LeCun, Bottou, Bengio & Haffner 1998): two rounds of convolution and pooling, then dense layers.

Three forms are taught. `lenet` is the modern one (D0): ReLU, max pooling, 28 px pictures framed by 2. `lenet5` is the
historical one (D2): tanh, average pooling, 32 px, its third convolution covering all that is left. `lenet5_skip` (D2)
adds batch norm and a skip around a dense layer; the document's code never calls its last layer nor its norms, which is
mended here. The document's softmax is left out: every network here returns logits.
"""

from functools import partial

from torch import Tensor, nn

from lenext.models.blocks import Activation, Pooling, activation_layer, pooling_layer
from lenext.models.variant import Variant


class LeNet(nn.Module):
    """Convolutions of 6 and 16 channels, dense layers of 120, 84 and the classes. (N, C, H, H) to (N, K)."""

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: int = 28,
        padding: int = 2,
        activation: Activation = "relu",
        pooling: Pooling = "max",
    ) -> None:
        super().__init__()
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * max(side, 1) ** 2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.activation = activation_layer(activation)
        self.pool = pooling_layer(pooling, 2, 2)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 28, 28)
        x = self.pool(self.activation(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool(self.activation(self.conv2(x)))  # (N, 16, 5, 5)
        x = self.activation(self.fc1(x.flatten(1)))
        x = self.activation(self.fc2(x))
        return self.fc3(x)


class LeNet5(nn.Module):
    """Convolutions of 6, 16 and 120 channels, dense layers of 84 and the classes. (N, C, H, H) to (N, K).

    skip: batch norm after the first two convolutions, and a dense layer whose input is added to its output.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: int = 32,
        activation: Activation = "tanh",
        pooling: Pooling = "average",
        skip: bool = False,
    ) -> None:
        super().__init__()
        side = ((image_size - 4) // 2 - 4) // 2 - 4
        features = 120 * max(side, 1) ** 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.norm1 = nn.BatchNorm2d(6) if skip else nn.Identity()
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.norm2 = nn.BatchNorm2d(16) if skip else nn.Identity()
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

VARIANTS = {
    "lenet": Variant(LeNet, 28, f"{PAPER}; D0", "as taught"),
    "lenet5": Variant(LeNet5, 32, f"{PAPER}; D2", "as taught"),
    "lenet5_skip": Variant(partial(LeNet5, skip=True), 32, "D2, repaired", "as taught"),
}
