"""Compare multiply-adds outside of layers with torch's flop counter; operations without a count are named."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lenext.cli import run
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.summary import Summary, summarize

SHAPE = (3, 8, 8)


class Functional(nn.Module):
    """A network of one parameter and one function of it."""

    def __init__(self, shape: tuple[int, ...], compute: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, self.weight).flatten(1)


class Attention(nn.Module):
    """Pixels as tokens: torch's attention layer, and its operation alone."""

    def __init__(self, *, layer: bool, weights: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 1)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True) if layer else None
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        words = self.embed(x).flatten(2).transpose(1, 2)
        if self.attention is None:
            return F.scaled_dot_product_attention(words[:, None], words[:, None], words[:, None]).flatten(1)
        answer: Tensor = self.attention(words, words, words, need_weights=self.weights)[0]
        return answer.flatten(1)


class Last(nn.Module):
    """The last output of a recurrent layer over the rows."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layer(x.flatten(2).transpose(1, 2))[0][:, -1]
        return answer


COUNTED: dict[str, Callable[[], nn.Module]] = {
    "conv2d": lambda: Functional((4, 3, 3, 3), lambda x, w: F.conv2d(x, w, padding=1)),
    "grouped": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "conv1d": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 3)),
    "conv3d": lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 2, 3)),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(3, 4, 3, stride=2),
    "conv_transpose1d": lambda: nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(3, 4, 3)),
    "matmul": lambda: Functional((8, 5), lambda x, w: x @ w),
    "bmm": lambda: Functional((3, 8, 5), lambda x, w: torch.bmm(x[0], w)[None]),
    "addmm": lambda: Functional((8, 8), lambda x, w: torch.addmm(w, x[0, 0], w)[None]),
    "baddbmm": lambda: Functional((3, 8, 8), lambda x, w: torch.baddbmm(w, x[0], w)[None]),
    "linear": lambda: Functional((5, 8), F.linear),
    "einsum": lambda: Functional((3, 5), lambda x, w: torch.einsum("nchw,cd->ndhw", x, w)),
    "unfold": lambda: Functional((4, 27), lambda x, w: w @ F.unfold(x, 3)),
    "tensordot": lambda: Functional((8, 4), lambda x, w: torch.tensordot(x, w, 1)),
    "attention": lambda: Attention(layer=False),
    "MultiheadAttention": lambda: Attention(layer=True),
    "MultiheadAttention with weights": lambda: Attention(layer=True, weights=True),
    "TransformerEncoderLayer": lambda: nn.Sequential(
        nn.Flatten(2), nn.TransformerEncoderLayer(64, 4, 32, batch_first=True), nn.Flatten()
    ),
    "LSTM": lambda: Last(nn.LSTM(3, 5, batch_first=True)),
    "two-way LSTM": lambda: Last(nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True)),
    "GRU": lambda: Last(nn.GRU(3, 5, batch_first=True)),
    "frozen": lambda: Attention(layer=True).requires_grad_(requires_grad=False),
    "no gradients": lambda: NoGradients(nn.Conv2d(3, 4, 3), torch.no_grad),
    "inference mode": lambda: NoGradients(nn.Linear(8, 4), torch.inference_mode),
}


class NoGradients(nn.Module):
    """A layer with a mode that torch runs differently."""

    def __init__(self, layer: nn.Module, mode: Callable[[], torch.no_grad | torch.inference_mode]) -> None:
        super().__init__()
        self.layer, self.mode = layer, mode

    def forward(self, x: Tensor) -> Tensor:
        with self.mode():
            answer: Tensor = self.layer(x)
            return answer.clone()


def torchs_flops(network: nn.Module) -> int:
    """Count by torch's counter on the meta device, which has none of the fused operations that it ignores."""
    network = network.to("meta")
    with FlopCounterMode(display=False) as counter, evaluation_mode(network), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *SHAPE, device="meta"))
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_are_half_of_torchs_flops_whatever_computes(name: str) -> None:
    network = COUNTED[name]()
    summary = summarize(network, SHAPE)
    assert summary.multiply_adds > 0
    assert 2 * summary.multiply_adds == torchs_flops(network)
    assert not summary.uncounted
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters
    for rows in (summary.layers, summary.blocks(), summary.stages()):
        assert sum(layer.multiply_adds for layer in rows) == summary.multiply_adds
    assert summarize(network, SHAPE).multiply_adds == summary.multiply_adds  # it is on the meta device now


class Mixed(nn.Module):
    """A block with a layer and a matrix product, in a network with both, too."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x)
            return y @ y

    def __init__(self) -> None:
        super().__init__()
        self.block = Mixed.Block()
        self.head = nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        answer: Tensor = self.head((x @ x).flatten(1))
        return answer


def test_work_outside_of_layers_has_a_row_of_its_own() -> None:
    product = 3 * 8 * 8 * 8
    summary = summarize(Mixed(), SHAPE)
    assert [(layer.name, layer.multiply_adds) for layer in summary.layers] == [
        ("block.layer", 3 * 3 * 64), ("block (functional)", product), ("head", 384), ("(functional)", product),
    ]  # fmt: skip
    assert [(block.name, block.multiply_adds) for block in summary.blocks()] == [
        ("block", 3 * 3 * 64 + product), ("head", 384), ("(functional)", product),
    ]  # fmt: skip


@torch.library.custom_op("lenexttests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return 2 * x


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


twice.register_autograd(lambda _, gradient: 2 * gradient)

PASSED_OVER: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "custom": (lambda: Functional((8, 5), lambda x, w: twice(x) @ w), "lenexttests.twice"),
    "matrix by vector": (lambda: Functional((8,), lambda x, w: x @ w), "aten.mv"),
    "vectors": (lambda: Functional((8,), lambda x, w: (x[0, 0, 0] @ w)[None, None]), "aten.dot"),
    "bilinear": (lambda: Functional((4, 8, 8), lambda x, w: F.bilinear(x, x, w)), "aten._trilinear"),
    "Fourier": (lambda: Functional((8, 5), lambda x, w: torch.fft.rfft2(x).abs()), "aten._fft_r2c"),
    "inverse": (lambda: Functional((8, 8), lambda x, w: torch.linalg.inv(x + 1e3 * w)), "aten.linalg_inv_ex"),
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_is_not_counted_is_named(name: str) -> None:
    build, operation = PASSED_OVER[name]
    network = build()
    summary = summarize(network, SHAPE)
    assert summary.uncounted == (operation,)
    assert 2 * summary.multiply_adds == torchs_flops(network)
    assert [layer.uncounted for layer in summary.layers] == [(operation,)]
    assert summary.blocks()[0].uncounted == (operation,)


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv2d(in_channels, 4, 3), nn.Linear(144, num_classes)

    def forward(self, x):
        x = self.layer(x)
        return self.head((x {product}).flatten(1))
"""


@pytest.mark.parametrize(
    ("product", "least"),
    [("@ x[0, 0, 0][None, :, None].expand(1, 6, 6)", False), ("* (x @ x[0, 0, 0])[..., None]", True)],
)
def test_the_command_says_at_least(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], product: str, *, least: bool
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN.replace("{product}", product))
    assert run(["summary", f"{path}:Net", "--image-size", "8"]) == 0
    text = capsys.readouterr().out
    assert (" at least " in text) == least
    assert ("not counted: aten.mv" in text) == least
    assert run(["summary", f"{path}:Net", "--image-size", "8", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["uncounted"] == (["aten.mv"] if least else [])


def test_a_summary_is_json() -> None:
    summary: Summary = summarize(Mixed(), SHAPE)
    assert json.loads(json.dumps(dataclasses.asdict(summary)))["multiply_adds"] == summary.multiply_adds
