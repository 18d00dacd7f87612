"""The fast max pooling against torch's own, to the last bit."""

import pytest
import torch
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.acceleration.pooling import MaxPool2d, accelerate_pools
from lenext.foundation.device import Compute
from lenext.models import create

POOLS = [{"kernel_size": 2}, {"kernel_size": 2, "ceil_mode": True}, {"kernel_size": 3, "stride": 2}]
SHAPES = [(2, 3, 8, 8), (1, 6, 7, 9), (3, 1, 3, 3), (3, 4, 6)]


def images(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Random images with a NaN and an infinity, in each memory format."""
    torch.manual_seed(0)
    x = torch.randn(shape).to(dtype)
    x[..., 0, 0], x[..., 1, 2] = torch.nan, torch.inf
    return [x, x.to(memory_format=torch.channels_last)] if x.ndim == 4 else [x]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_forward_and_backward_give_the_bits_of_torch(
    shape: tuple[int, ...], dtype: torch.dtype, options: dict[str, int]
) -> None:
    fast, plain = MaxPool2d(**options), nn.MaxPool2d(**options)
    for x in images(shape, dtype):
        with torch.no_grad():
            assert torch.equal(fast(x).nan_to_num(9), plain(x).nan_to_num(9))
        gradients = []
        for pool in (fast, plain):
            leaf = x.clone().requires_grad_()
            output = pool(leaf)
            output.backward(torch.arange(output.numel(), dtype=dtype).view_as(output))
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)  # type: ignore[arg-type]


def test_what_is_no_plain_pool_of_2_x_2_stays_torchs_own() -> None:
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        values, indices = MaxPool2d(2, return_indices=True)(x)
        assert torch.equal(indices, nn.MaxPool2d(2, return_indices=True)(x)[1])
        assert torch.equal(values, MaxPool2d(2)(x))
        with pytest.raises(RuntimeError, match="too small"):
            MaxPool2d(2)(x[..., :1])


def test_pools_are_replaced_in_place() -> None:
    class Own(nn.MaxPool2d):
        pass

    pool = nn.MaxPool2d(2)
    network = nn.Sequential(pool, nn.ReLU(), pool, Own(2), nn.AvgPool2d(2))
    calls: list[nn.Module] = []
    pool.register_forward_hook(lambda module, *_: calls.append(module))
    accelerate_pools(network)
    assert [type(module) for module in network] == [MaxPool2d, nn.ReLU, MaxPool2d, Own, nn.AvgPool2d]
    network(torch.zeros(1, 1, 16, 16))
    assert calls == [pool, pool]


@pytest.mark.parametrize("name", ["lenet_32px", "vgg11_32px", "airbench94"])
def test_a_placed_network_keeps_its_names_and_its_bits(name: str) -> None:
    torch.manual_seed(0)
    network = create(name, in_channels=3).eval()
    names, keys = [key for key, _ in network.named_modules()], list(network.state_dict())
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        before = network(x)
        assert place_network(network, Compute.choose("cpu", "fp32", "contiguous")) is network
        assert torch.equal(network(x), before)
    assert any(type(module) is MaxPool2d for module in network.modules())
    assert [key for key, _ in network.named_modules()] == names
    assert list(network.state_dict()) == keys
