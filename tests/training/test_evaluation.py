"""Measuring a split: the same whether batches are shared out to threads or not."""

import threading
import time

import pytest
import torch
from torch import nn

import lenext
from lenext.acceleration.parallel import can_run_in_parallel
from lenext.data.dataset import Dataset
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.training import evaluation
from lenext.training.evaluation import evaluate_split, evaluation_batch_size, predict_logits

CPU = Compute.choose("cpu", "fp32")


def test_shared_out_or_not_it_is_the_same(digits: Dataset, threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "evaluation_batch_size", lambda *_: 32)
    prepare = Preprocessing.from_dataset(digits, "auto", "interpolate", "standardize")
    torch.manual_seed(0)
    network = lenext.create("lenet", dropout=0.5)
    network.train()
    assert can_run_in_parallel(network, CPU, 3)
    shared = evaluate_split(network, digits.train, prepare, CPU)
    assert network.training
    assert torch.is_grad_enabled()
    monkeypatch.setattr(evaluation, "can_run_in_parallel", lambda *_: False)
    alone = evaluate_split(network, digits.train, prepare, CPU)
    assert torch.allclose(shared.probabilities, alone.probabilities, atol=1e-6)
    assert torch.equal(shared.labels, alone.labels)
    assert len(shared.labels) == len(digits.train)


def test_a_module_of_ones_own_sees_one_batch_after_the_other(digits: Dataset, threads: None) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.inside = nn.Linear(784, 10), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.inside += 1
            time.sleep(0.001)
            assert self.inside == 1
            self.inside -= 1
            return self.layer(x.flatten(1))

    network = Own()
    assert not can_run_in_parallel(nn.Sequential(network), CPU, 3)
    prepare = Preprocessing.from_dataset(digits, "auto", "interpolate", "standardize")
    assert len(evaluate_split(network, digits.train, prepare, CPU).labels) == len(digits.train)


def test_an_error_in_a_thread_comes_out(digits: Dataset, threads: None) -> None:
    prepare = Preprocessing.from_dataset(digits, "auto", "interpolate", "standardize")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate_split(nn.Sequential(nn.Flatten(), nn.Linear(3, 10)), digits.train, prepare, CPU)


def test_an_error_leaves_nothing_running_and_nothing_changed(digits: Dataset, threads: None) -> None:
    prepare = Preprocessing.from_dataset(digits, "auto", "interpolate", "standardize")
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(3, 10)).train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate_split(network, digits.train, prepare, CPU)
    time.sleep(0.05)
    assert int(network[0].num_batches_tracked) == 0  # type: ignore[arg-type]
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [3]


def test_hooks_are_called_in_order(digits: Dataset, threads: None) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert can_run_in_parallel(network, CPU, 3)
    network[1].register_forward_hook(lambda *_: None)
    assert not can_run_in_parallel(network, CPU, 3)


def test_few_large_images_and_many_small_ones_are_measured_together() -> None:
    from lenext.foundation.normalization import Normalization

    def size(side: int) -> int:
        plain = Normalization.from_scaling("unit", 3)
        return evaluation_batch_size(Preprocessing(3, (side, side), "crop", (side, side), "interpolate", plain), CPU)

    assert [size(side) for side in (4, 32, 224)] == [1024, 64, 8]


def test_views_are_means_over_mirrored_and_moved_images() -> None:
    """By hand: half for the image and its mirror image, a quarter each for both of it moved up-left and down-right,
    the edge reflected."""
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 6, 3)), torch.randn(4, 2, 5, 6)

    def moved(rows: list[int], columns: list[int]) -> torch.Tensor:
        return images[:, :, rows][..., columns]

    in_place = moved([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5])
    up_left, down_right = moved([1, 0, 1, 2, 3], [1, 0, 1, 2, 3, 4]), moved([1, 2, 3, 4, 3], [1, 2, 3, 4, 5, 4])
    with torch.no_grad():
        both = [(network(some) + network(some.flip(3))) / 2 for some in (in_place, up_left, down_right)]
        assert torch.allclose(predict_logits(network, images, CPU, "none"), network(images))
        assert torch.allclose(predict_logits(network, images, CPU, "flip"), both[0], atol=1e-6)
        alone = [network(some) for some in (in_place, up_left, down_right)]
        expected = alone[0] / 2 + alone[1] / 4 + alone[2] / 4
        assert torch.allclose(predict_logits(network, images, CPU, "shift"), expected, atol=1e-6)
        expected = both[0] / 2 + both[1] / 4 + both[2] / 4
        assert torch.allclose(predict_logits(network, images, CPU, "flip_and_shift"), expected, atol=1e-6)
