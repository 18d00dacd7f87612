"""Compare receptive fields with the pixels that have a gradient, for every network and every function."""

from collections.abc import Callable
from math import ceil, floor, prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.inspection.field_tracing import FieldTracer, field_of, set_field
from lenext.inspection.modules import is_layer
from lenext.inspection.receptive_field import ReceptiveField, image_field
from lenext.inspection.summary import summarize
from lenext.models import MODELS, create, find_variant
from lenext.models.whitening import Whitening

CASES = 6  # layers of a large network
QUIET = (nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Dropout)
SMALL = [name for name in MODELS if find_variant(name).image_size <= 64]
FIRST = ["alexnet", "alexnet_d2l", "nin", "resnet18", "densenet_d2l"]
SLOW = ["vgg11_bn", "vgg11_quarter", "googlenet", "resnet50", "resnext50_32x4d", "densenet121", "convnext_tiny"]
"""Of each other kind of block the smallest; the larger ones repeat it."""
NETWORKS = [
    name if name in SMALL + FIRST
    else pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.endurance)
    for name in MODELS
]  # fmt: skip


def smooth(network: nn.Module) -> nn.Module:
    """Make every weight positive and remove kinks, so that each pixel in the field has a gradient."""
    for module in list(network.modules()):
        for key, child in list(module.named_children()):
            replacement: nn.Module | None = None
            if isinstance(child, QUIET) or "Norm" in type(child).__name__:
                replacement = nn.Identity()
            elif isinstance(child, Whitening):  # it has each filter twice, with opposite signs
                replacement = nn.Conv2d(child.in_channels, child.out_channels, child.kernel_size)  # type: ignore[arg-type]
            elif isinstance(child, nn.MaxPool2d):
                padding = int(child.padding)  # type: ignore[arg-type]
                replacement = nn.AvgPool2d(child.kernel_size, child.stride, padding, child.ceil_mode)
            elif isinstance(child, nn.AdaptiveMaxPool2d):
                replacement = nn.AdaptiveAvgPool2d(child.output_size)  # type: ignore[arg-type]
            if replacement is not None:
                setattr(module, key, replacement)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1 / weight[0].numel() if weight.ndim > 1 else 1.0)
    return network.eval().double()


def passed(network: nn.Module, image: Tensor) -> list[tuple[str, Tensor, ReceptiveField]]:
    """Return the layers' outputs and their receptive fields."""
    outputs: list[tuple[str, Tensor, ReceptiveField]] = []

    def hook(name: str) -> Callable[..., None]:
        def note(_: nn.Module, __: object, output: Tensor) -> None:
            outputs.append((name, output, field_of(output) or ReceptiveField()))

        return note

    handles = [part.register_forward_hook(hook(name)) for name, part in network.named_modules() if is_layer(part)]
    set_field(image, image_field(image.shape))
    with FieldTracer():
        network(image)
    for handle in handles:
        handle.remove()
    return outputs


def extents(image: Tensor, value: Tensor) -> list[tuple[int, int]]:
    """Return the first and last row, and the first and last column, that a value depends on."""
    (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
    places = gradient[0].abs().sum(0).nonzero()
    return [(int(places[:, side].min()), int(places[:, side].max())) for side in (0, 1)]


def middle(field: ReceptiveField) -> tuple[int | slice, ...]:
    """Return the index of the values in the middle of the image, in all channels: branches have different fields."""
    moving = [any(run.is_spatial for run in axis) for axis in field.axes]
    return tuple(
        prod(run.size for run in axis) // 2 if moves else slice(None)
        for axis, moves in zip(field.axes, moving, strict=True)
    )


def expected(
    field: ReceptiveField, index: tuple[int | slice, ...], used: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the extents by the traced field, within those of the full tensor: strides may leave pixels unused."""
    place = list(field.center)
    for axis, number in zip(field.axes, index, strict=True):
        for run in reversed(axis if isinstance(number, int) else ()):
            number, at = divmod(number, run.size)
            place = [old + at * step for old, step in zip(place, run.step, strict=True)]
    reaches = [(pixels - 1) / 2 + 1e-6 for pixels in field.extent]
    return [
        (max(first, ceil(center - reach)), min(last, floor(center + reach)))
        for center, reach, (first, last) in zip(place, reaches, used, strict=True)
    ]


def check_fields(network: nn.Module, shape: tuple[int, int, int], max_tensors: int) -> None:
    """Compare the fields of distinct layers, at most about `max_tensors` of them, with the gradient."""
    image = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    outputs = passed(network, image)
    cases = list(
        {(field.extent, field.center, field.axes): (name, output, field) for name, output, field in outputs}.values()
    )
    for name, output, field in [*cases[:: ceil(len(cases) / max_tensors)], cases[-1]]:
        index = middle(field)
        truth = extents(image, output[index].sum())
        assert truth == expected(field, index, extents(image, output.sum())), name


@pytest.mark.parametrize("name", NETWORKS)
def test_the_field_of_every_layer_is_where_its_gradient_is(name: str) -> None:
    """Check each network at its design size; of large ones, a few layers and the last."""
    size = find_variant(name).image_size
    options = {"norm": "none"} if "patch4" in name else {}  # a norm over the image, which the field leaves out
    check_fields(smooth(create(name, in_channels=1, **options)), (1, size, size), CASES if size > 64 else 1000)


def test_airbench_sees_the_whole_of_larger_images() -> None:
    layers = {layer.name: layer for layer in summarize(create("airbench94"), (3, 96, 96)).layers}
    assert (layers["blocks.2.norm2"].receptive_field, layers["pool"].receptive_field) == (51, 96)


class Function(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def conv(kernel: int = 3, stride: int = 1, padding: int = 0, dilation: int = 1, channels: int = 4) -> nn.Conv2d:
    return nn.Conv2d(channels, 4, kernel, stride, padding, dilation)


def windows(x: Tensor) -> Tensor:
    """Average windows of 6 x 5, arranged as in a windowed transformer."""
    count, channels = x.shape[:2]
    return x.view(count, channels, 4, 6, 4, 5).permute(0, 2, 4, 3, 5, 1).reshape(count * 16, 30, channels).mean(1)[:16]


def attended(x: Tensor) -> Tensor:
    words = x.flatten(2).mT
    return F.scaled_dot_product_attention(words, words, words)


def shuffled(x: Tensor) -> Tensor:
    count, channels, height, width = x.shape
    return x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)


WORDS = nn.Linear(4, 3)
COLUMNS, KERNELS = torch.rand(20, 6).double(), torch.rand(2, 4, 3, 3).double()
FUNCTIONS: dict[str, Callable[[], nn.Module]] = {
    "dilated": lambda: nn.Sequential(conv(3, 2, 1), conv(3, 1, 2, 2)),
    "padding by name": lambda: nn.Sequential(nn.Conv2d(4, 4, (5, 3), padding="same"), nn.Conv2d(4, 4, (1, 3))),
    "conv1d on rows": lambda: nn.Sequential(nn.Flatten(1, 2), nn.Conv1d(96, 4, 3)),
    "conv3d": lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv3d(1, 2, 3)),
    "transposed": lambda: nn.Sequential(conv(3, 2, 1), nn.ConvTranspose2d(4, 4, 3, 1, 1)),
    "transposed by 2": lambda: nn.Sequential(conv(3, 2, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1)),
    "max_pool2d": lambda: nn.Sequential(conv(), nn.MaxPool2d(3, 2, 1, dilation=2)),
    "max_pool2d with indices": lambda: Function(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
    "lp_pool2d": lambda: nn.Sequential(conv(), nn.LPPool2d(2, 3, 2)),
    "adaptive_max_pool2d": lambda: nn.Sequential(conv(3, 1, 1), nn.AdaptiveMaxPool2d(1)),
    "adaptive_max_pool2d to some": lambda: nn.Sequential(conv(3, 1, 1), nn.AdaptiveMaxPool2d((4, 2))),
    "adaptive_max_pool2d with indices": lambda: Function(lambda x: F.adaptive_max_pool2d(x, (6, 5), True)[0]),
    "adaptive_avg_pool2d to some": lambda: nn.Sequential(conv(3, 1, 1), nn.AdaptiveAvgPool2d((6, 10)), conv(2)),
    "adaptive_avg_pool2d": lambda: Function(lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)),
    "mean": lambda: nn.Sequential(conv(), Function(lambda x: x.mean((2, 3)))),
    "mean of all places": lambda: nn.Sequential(conv(), Function(lambda x: x.mean([-2, -1], keepdim=True))),
    "sum": lambda: nn.Sequential(conv(), Function(lambda x: x.sum(dim=(2, 3)))),
    "amax": lambda: nn.Sequential(conv(), Function(lambda x: torch.amax(x, (2, 3)))),
    "max by rows": lambda: nn.Sequential(conv(), Function(lambda x: x.max(3).values)),
    "max twice": lambda: nn.Sequential(conv(), Function(lambda x: torch.max(torch.max(x, 3)[0], 2)[0])),
    "over channels": lambda: nn.Sequential(conv(), Function(lambda x: x - x.mean(1, keepdim=True))),
    "logsumexp": lambda: nn.Sequential(conv(), Function(lambda x: x.logsumexp((2, 3)))),
    "norm": lambda: nn.Sequential(conv(), Function(lambda x: x.flatten(2).norm(dim=2))),
    "softmax by rows": lambda: nn.Sequential(conv(), Function(lambda x: (1e-4 * x).softmax(3))),
    "flatten": lambda: nn.Sequential(conv(), nn.Flatten()),
    "flatten and linear": lambda: nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(120, 3)),
    "words": lambda: Function(lambda x: WORDS(x.flatten(2).transpose(1, 2))),
    "words and back": lambda: nn.Sequential(conv(), Function(lambda x: x.flatten(2).mT.mT.view(x.shape)), conv(2)),
    "attention": lambda: nn.Sequential(conv(4, 4), Function(lambda x: attended(1e-4 * x))),
    "channels last": lambda: nn.Sequential(
        Function(lambda x: WORDS(x.permute(0, 2, 3, 1)).movedim(3, 1)), conv(3, channels=3)
    ),
    "by names": lambda: Function(lambda x: F.avg_pool2d(F.conv2d(weight=KERNELS, input=x), stride=2, kernel_size=3)),
    "matmul by rows": lambda: Function(lambda x: x @ COLUMNS),
    "einsum over channels": lambda: nn.Sequential(
        conv(), Function(lambda x: torch.einsum("nchw,cd->ndhw", x, WORDS.weight.T))
    ),
    "einsum over columns": lambda: Function(lambda x: torch.einsum("nchw,wd->nchd", x, COLUMNS)),
    "unfold": lambda: nn.Sequential(nn.Unfold(3, 1, 1, 2), nn.Conv1d(36, 4, 1)),
    "tensor.unfold": lambda: Function(lambda x: x.unfold(2, 4, 2).unfold(3, 3, 3).mean((4, 5))),
    "windows": lambda: Function(windows),
    "pixel_unshuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), conv(3, channels=16)),
    "pixel_shuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2), conv(3)),
    "pixel_shuffle of channels": lambda: nn.Sequential(conv(3, 2, 1), nn.PixelShuffle(2)),
    "channel_shuffle": lambda: nn.Sequential(conv(), Function(shuffled), conv()),
    "space to depth by slices": lambda: nn.Sequential(
        Function(lambda x: torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1)), conv(2, channels=8)
    ),
    "crop": lambda: nn.Sequential(conv(), Function(lambda x: x[:, :, 3:-2, 4:-4]), conv(3, 2)),
    "pad": lambda: nn.Sequential(nn.ZeroPad2d((2, 1, 3, 0)), conv(4, 2)),
    "chunk": lambda: nn.Sequential(conv(3, 1, 1), Function(lambda x: torch.add(*x.chunk(2, 1)))),
    "stack": lambda: nn.Sequential(conv(), Function(lambda x: torch.stack([x, 2 * x], 1).mean(1)), conv(2)),
    "residual": lambda: Residual(),
    "gate": lambda: nn.Sequential(conv(), Function(lambda x: x * x.mean((2, 3), keepdim=True))),
    "nearest": lambda: nn.Sequential(conv(2, 2), nn.Upsample(scale_factor=2)),
    "bilinear": lambda: nn.Sequential(conv(2, 2), nn.Upsample(scale_factor=2, mode="bilinear")),
    "bicubic": lambda: nn.Sequential(conv(2, 2), nn.Upsample(scale_factor=2, mode="bicubic")),
    "area": lambda: Function(lambda x: F.interpolate(x, (6, 5), mode="area")),
    "smaller with antialiasing": lambda: Function(
        lambda x: F.interpolate(x, (12, 10), mode="bilinear", antialias=True)
    ),
    "smaller": lambda: Function(lambda x: F.interpolate(x, (8, 4))),
    "Fourier": lambda: nn.Sequential(conv(3, 1, 1), Function(lambda x: torch.fft.rfft2(x).real)),
}  # fmt: skip


# For these the extent is exact; the start is not, as it differs from one value to its neighbour.
ABOUT = {
    "softmax by rows": 20,
    "attention": 24,
    "gate": 24,
    "transposed by 2": 2,
    "nearest": 2,
    "bilinear": 2,
    "bicubic": 2,
}


class Residual(nn.Module):
    """A sum of a wide branch that keeps the middle, and a narrow branch."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = conv(5, 2, 2), conv(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.wide(x) + self.narrow(x)
        return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_leaves_the_field_that_perturbing_pixels_finds(name: str) -> None:
    torch.manual_seed(0)
    shape, network = (4, 24, 20), FUNCTIONS[name]().double()
    WORDS.double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_().add_(0.01)
    image = torch.rand(1, *shape, dtype=torch.float64)
    set_field(image, image_field(image.shape))
    with FieldTracer(), torch.no_grad():
        output = network(image)
    field = field_of(output)
    assert field is not None
    assert field.shape == output.shape
    index = middle(field)
    changed = torch.zeros(shape[1:], dtype=torch.bool)
    for down in range(shape[1]):
        for across in range(shape[2]):
            for amount in (1e3, -1e3):
                perturbed = image.detach().clone()
                perturbed[..., down, across] += amount
                with torch.no_grad():
                    changed[down, across] |= bool((network(perturbed)[index] != output[index]).any())
    places = changed.nonzero()
    truth = [(int(places[:, side].min()), int(places[:, side].max())) for side in (0, 1)]
    claimed = expected(field, index, [(0, 23), (0, 19)])
    off = max(abs(ours - theirs) for side in (0, 1) for ours, theirs in zip(claimed[side], truth[side], strict=True))
    assert off <= ABOUT.get(name, 0), (truth, claimed)
    assert max(last - first + 1 for first, last in truth) == field.size_within(24, 20) or name not in ABOUT
