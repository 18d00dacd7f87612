"""The faster depthwise convolutions against torch's own, and against float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lenext.acceleration.depthwise import Conv2d, accelerate_depthwise, is_depthwise, tap_positions
from lenext.acceleration.placement import place_network
from lenext.foundation.device import Compute
from lenext.models import create

BF16_ERROR = 2**-8  # relative to the largest value: what one rounding to bf16 may change


def gradients(layer: nn.Conv2d, x: Tensor, upstream: Tensor, *, autocast: bool = True) -> list[Tensor]:
    """Return the output, and the gradients of the images, the weights and the biases, in float64."""
    leaf = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = layer(leaf)
    output.backward(upstream.to(output.dtype))
    found = [output.detach(), leaf.grad, layer.weight.grad]
    found += [] if layer.bias is None else [layer.bias.grad]
    return [one.double() for one in found if one is not None]


def relative_errors(some: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Return the largest difference of each pair, relative to the largest value."""
    return [float((a - b).abs().max() / b.abs().max()) for a, b in zip(some, exact, strict=True)]


def pair(channels: int, multiplier: int, kernel_size: int, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return torch's layer and the faster one, with the same weights."""
    plain, fast = (
        nn.Conv2d(
            channels, channels * multiplier, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias
        )
        for _ in range(2)
    )  # fmt: skip
    fast.load_state_dict(plain.state_dict())
    accelerate_depthwise(fast)
    assert type(fast) is Conv2d
    return plain, fast


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 5),
    channels=st.integers(2, 6),
    multiplier=st.integers(1, 4),
    kernel_size=st.sampled_from([5, 7, 9]),
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    bias=st.booleans(),
    last=st.booleans(),
)
def test_results_and_gradients_are_those_of_the_layer_up_to_rounding(
    samples: int, channels: int, multiplier: int, kernel_size: int, height: int, width: int, bias: bool, last: bool
) -> None:
    torch.manual_seed(0)
    plain, fast = pair(channels, multiplier, kernel_size, bias)
    x = torch.randn(samples, channels, height, width).bfloat16().float()
    if last:
        x = x.to(memory_format=torch.channels_last)
    upstream = torch.randn(samples, channels * multiplier, height, width).bfloat16().float()
    exact_layer = nn.Conv2d(
        channels, channels * multiplier, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias
    ).double()  # fmt: skip
    with torch.no_grad():  # the weights as autocast rounds them
        for name, parameter in exact_layer.named_parameters():
            parameter.copy_(plain.state_dict()[name].bfloat16())
    exact = gradients(exact_layer, x.double(), upstream.double(), autocast=False)
    assert max(relative_errors(gradients(fast, x, upstream), exact)) < 4 * BF16_ERROR


@pytest.mark.parametrize("side", [4, 8, 16])
def test_it_is_as_exact_as_torchs_own(side: int) -> None:
    torch.manual_seed(0)
    plain, fast = pair(8, 1, 7, bias=True)
    x, upstream = torch.randn(16, 8, side, side), torch.randn(16, 8, side, side)
    exact = gradients(plain, x, upstream, autocast=False)
    of_torch = relative_errors(gradients(plain, x, upstream), exact)
    of_fast = relative_errors(gradients(fast, x, upstream), exact)
    assert all(ours < 2 * theirs + BF16_ERROR for ours, theirs in zip(of_fast, of_torch, strict=True))


def test_without_bf16_autocast_or_without_gradients_the_bits_are_torchs() -> None:
    torch.manual_seed(0)
    plain, fast = pair(4, 2, 7, bias=True)
    x, upstream = torch.randn(3, 4, 8, 8), torch.randn(3, 8, 8, 8)
    for a, b in zip(*(gradients(layer, x, upstream, autocast=False) for layer in (plain, fast)), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain(x), fast(x))
    assert torch.equal(plain(x[0]), fast(x[0]))  # a single image (C, H, W)


def test_taps_are_where_an_image_of_one_pixel_puts_them() -> None:
    height, width, size = 3, 4, 5
    taps = tap_positions(height, width, size).view(size, size, height, width, height, width).float()
    for row in range(height):
        for column in range(width):
            image = torch.zeros(1, 1, height, width)
            image[0, 0, row, column] = 1
            for tap in range(size * size):
                kernel = torch.zeros(1, 1, size, size).flatten().index_fill(0, torch.tensor(tap), 1.0)
                expected = nn.functional.conv2d(image, kernel.view(1, 1, size, size), padding=size // 2)[0, 0]
                assert torch.equal(taps[tap // size, tap % size, :, :, row, column], expected)


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2}, {"groups": 4, "stride": 2}, {"groups": 4, "padding": 2}, {"groups": 4, "dilation": 2},
        {"groups": 4, "padding_mode": "circular"}, {"groups": 4, "kernel_size": 3, "padding": 1},
        {"groups": 4, "kernel_size": (7, 5), "padding": (3, 2)}, {"groups": 4, "kernel_size": 6, "padding": "same"},
    ],
    ids=str,
)  # fmt: skip
def test_other_convolutions_stay_torchs_own(options: dict[str, object]) -> None:
    layer = nn.Conv2d(4, 8, **({"kernel_size": 7, "padding": 3} | options))  # type: ignore[arg-type]
    assert not is_depthwise(layer)
    accelerate_depthwise(layer)
    assert type(layer) is nn.Conv2d


def test_layers_are_replaced_in_place_unless_it_is_off() -> None:
    class Own(nn.Conv2d):
        pass

    compute = Compute.choose("cpu")
    for fast_layers in (False, True):
        network = create("convnext_32px", num_classes=5)
        names = list(network.state_dict())
        network.append_own = Own(4, 4, 7, padding=3, groups=4)
        place_network(network, compute, fast_layers=fast_layers)
        kinds = {type(module) for module in network.modules() if isinstance(module, nn.Conv2d)}
        assert kinds == {nn.Conv2d, Own} | ({Conv2d} if fast_layers else set())
        assert list(network.state_dict())[: len(names)] == names
        assert "Conv2d(48, 48" in str(network)
    place_network(network, compute, fast_layers=False)  # it was placed with them before
    assert {type(module) for module in network.modules() if isinstance(module, nn.Conv2d)} == {nn.Conv2d, Own}


def test_a_step_learns_as_with_torchs_own() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    found = []
    for fast_layers in (False, True):
        torch.manual_seed(1)
        network = place_network(create("convnext_patch4_corrected"), Compute.choose("cpu"), fast_layers=fast_layers)
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(network(images).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append(
            [loss.detach().double(), *(one.grad.double() for one in network.parameters() if one.grad is not None)]
        )
    assert len(found[0]) == len(found[1])
    assert max(relative_errors(found[1], found[0])) < 0.1
