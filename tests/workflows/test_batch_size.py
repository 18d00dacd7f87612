"""Batches and memory: what fits is found, what does not is refused with what would."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, is_out_of_memory
from lenext.models import create
from lenext.training.recipe import Recipe
from lenext.workflows import batch_size
from lenext.workflows.batch_size import find_batch_size

CPU = Compute.choose("cpu", "fp32")
SHAPE = (3, 32, 32)


def with_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(batch_size, "available_bytes", lambda _: int(free))


def test_auto_is_the_largest_power_of_two_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    network, auto = create("resnet18_32px"), Recipe(batch_size="auto")
    with_free(monkeypatch, 1e12)
    assert find_batch_size(network, SHAPE, CPU, auto, 10**6) == 1024
    sizes = []
    for free in (4e9, 2e9, 1e9, 0.5e9):
        with_free(monkeypatch, free)
        sizes.append(find_batch_size(network, SHAPE, CPU, auto, 10**6))
        assert sizes[-1].bit_count() == 1
        assert find_batch_size(network, SHAPE, CPU, replace(auto, batch_size=sizes[-1]), 10**6) == sizes[-1]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_what_does_not_fit_is_refused_with_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create("resnet18_32px")
    with_free(monkeypatch, 2e9)
    with pytest.raises(ConfigurationError, match=r"--batch-size (\d+) fits \(with --accumulate-batches") as caught:
        find_batch_size(network, SHAPE, CPU, Recipe(batch_size=8192), 10**6)
    fitting = int(str(caught.value).split("--batch-size ")[1].split()[0])
    assert find_batch_size(network, SHAPE, CPU, Recipe(batch_size=fitting), 10**6) == fitting
    with_free(monkeypatch, 1e8)
    with pytest.raises(ConfigurationError, match="for one image"):
        find_batch_size(network, SHAPE, CPU, Recipe(), 10**6)


def test_a_step_has_no_more_images_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create("resnet18_32px")
    with_free(monkeypatch, 2e9)
    assert find_batch_size(network, SHAPE, CPU, Recipe(batch_size=8192), 50) == 8192
    assert find_batch_size(network, SHAPE, CPU, Recipe(batch_size="auto"), 1300) == 128


def test_a_frozen_network_still_has_layers_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create("resnet18_32px").requires_grad_(False)
    with_free(monkeypatch, 1e9)
    assert find_batch_size(network, SHAPE, CPU, Recipe(batch_size="auto"), 10**6) <= 1024
    with pytest.raises(ConfigurationError, match="fits"):
        find_batch_size(network, SHAPE, CPU, Recipe(batch_size=10**5), 10**6)


def test_a_network_that_cannot_be_measured_keeps_its_batch() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not with one image")

    assert find_batch_size(Odd(), SHAPE, CPU, Recipe(batch_size=7), 100) == 7
    with pytest.raises(ConfigurationError, match="give a number"):
        find_batch_size(Odd(), SHAPE, CPU, Recipe(batch_size="auto"), 100)


def test_errors_of_memory_are_known() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
