"""A batch in parts: the gradients and statistics of each, and the same bits by one thread or by several."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import lenext
from lenext.data.augment import Augmentation
from lenext.data.batches import Batch, draw_epoch_order, training_batches
from lenext.data.dataset import Dataset, Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.normalization import Normalization
from lenext.models import create
from lenext.training.losses import CrossEntropy, class_weights
from lenext.training.parts import Parts, part_slices
from lenext.training.recipe import Recipe
from lenext.training.settings import MachineSettings

CPU = Compute.choose("cpu", "fp32")
RECIPE = Recipe(
    epochs=2,
    batch_size=50,
    train_samples=180,
    learning_rate=0.01,
    validation_fraction=0.2,
    parts=3,
    precision="fp32",
)


def machine(parts: int, replicas: int = 1) -> MachineSettings:
    return MachineSettings(CPU, "no", parts, replicas, "exact", fast_layers=True)


@given(st.integers(2, 1000), st.integers(1, 64))
def test_parts_cover_a_batch_and_have_two_samples(samples: int, parts: int) -> None:
    slices = part_slices(samples, parts)
    assert [row for part in slices for row in range(samples)[part]] == list(range(samples))
    assert len(slices) <= parts
    assert min(part.stop - part.start for part in slices) >= 2
    sizes = {part.stop - part.start for part in slices}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("name", ["lenet_32px", "airbench94"])
@pytest.mark.parametrize("count", [8, 11])
def test_it_is_the_mean_over_the_parts(name: str, count: int, replicas: int) -> None:
    """With eleven images the parts are of 4, 4 and 3."""
    torch.manual_seed(0)
    network = create(name, in_channels=3)
    images, labels = torch.randn(count, 3, 32, 32), torch.arange(count) % 10
    parts = [copy.deepcopy(network) for _ in range(3)]
    expected = torch.zeros(())
    for part, some, theirs in zip(parts, images.tensor_split(3), labels.tensor_split(3), strict=True):
        value, _ = CrossEntropy()(part, some, theirs)
        (value * len(some) / count).backward()  # type: ignore[no-untyped-call]
        expected = expected + value.detach() * len(some) / count
    divided = Parts(network, CrossEntropy(), machine(3, replicas))
    result = divided(Batch(images, labels, torch.arange(count)), labels, 0)
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert result.losses is not None
    assert result.losses.shape == (count,)
    assert torch.allclose(result.loss, expected, atol=1e-6)
    assert torch.allclose(result.mean_loss, expected, atol=1e-6)
    for ours, *theirs in zip(network.parameters(), *(part.parameters() for part in parts), strict=True):
        assert ours.grad is not None
        assert torch.allclose(ours.grad, sum(one.grad for one in theirs), atol=1e-5)  # type: ignore[arg-type]
    shares = [len(some) / count for some in images.tensor_split(3)]
    for ours, *others in zip(network.buffers(), *(part.buffers() for part in parts), strict=True):
        mean = sum(one.double() * share for one, share in zip(others, shares, strict=True))
        assert torch.allclose(ours.double(), mean, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("weighted", [False, True])
def test_without_batch_norm_it_is_the_whole_batch(weighted: bool) -> None:
    torch.manual_seed(0)
    network = create("lenet")
    whole = copy.deepcopy(network)
    images, labels = torch.randn(24, 1, 28, 28), torch.arange(24) ** 2 % 7
    loss = CrossEntropy(0.1, class_weights(labels, 10) if weighted else None)
    value, logits = loss(whole, images, labels)
    value.backward()  # type: ignore[no-untyped-call]
    result = Parts(network, loss, machine(4))(Batch(images, labels, torch.arange(24)), labels, 0)
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(result.loss, value, atol=1e-6)
    assert int(result.correct) == int((logits.argmax(1) == labels).sum())
    for ours, theirs in zip(network.parameters(), whole.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def trained(data: Dataset, recipe: Recipe, name: str = "lenet_32px", **options: Any) -> tuple[dict[str, Tensor], Any]:
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    network = create(name, in_channels=1, **options)
    try:
        records = list(lenext.fit(network, data, replace(recipe, image_size=32)))
    finally:
        torch.set_num_threads(threads)
    return network.state_dict(), [replace(record, seconds=0.0) for record in records]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"cutmix": 1.0, "mixup": 0.3, "ema_decay": 0.9, "accumulate_batches": 2},
        {"hardest_fraction": 0.5, "class_weights": True, "shift": 2, "color_jitter": 0.4},
        {"freeze_stem_after": 0.5, "gradient_clip": 0.5, "optimizer": "muon", "evaluate_training": True},
        {"precision": "bf16", "memory_format": "contiguous", "tta": "shift"},
    ],
)
@pytest.mark.parametrize("name", ["lenet_32px", "airbench94"])
def test_one_thread_or_several_end_with_the_same_bits(digits: Dataset, name: str, keys: dict[str, Any]) -> None:
    recipe = RECIPE.with_keys(keys)
    first, records = trained(digits, recipe.with_keys({"replicas": 1}), name)
    second, again = trained(digits, recipe.with_keys({"replicas": 3}), name)
    assert records == again
    for ours, theirs in zip(first.values(), second.values(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_draws_or_is_ones_own_is_computed_by_one_thread_and_repeats(digits: Dataset) -> None:
    first, records = trained(digits, RECIPE, dropout=0.3)
    second, again = trained(digits, RECIPE, dropout=0.3)
    other, _ = trained(digits, RECIPE.with_keys({"seed": 1}), dropout=0.3)
    assert records == again
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first.values(), second.values(), strict=True))
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_what_threads_cannot_share_and_what_has_no_effect_is_refused(digits: Dataset) -> None:
    for network, keys, reason in (
        (create("lenet", dropout=0.2), {"replicas": 2}, "dropout drops at random"),
        (nn.Sequential(Own(), create("lenet")), {"replicas": 2}, "Own may keep"),
        (create("lenet"), {"batch_size": 5}, "batches of 5 are too small"),
        (create("lenet"), {"parts": "auto", "replicas": 2}, "give parts=2"),
        (create("lenet"), {"parts": 1, "reduction": "fast"}, "each batch is one part"),
        (create("lenet").double(), {}, "conv1.weight is float64"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            next(iter(lenext.fit(network, digits, RECIPE.with_keys(keys))))
    with pytest.raises(ConfigurationError, match="cannot be compiled"):
        Recipe(parts=2, compile="yes")


def test_an_error_in_a_part_leaves_the_statistics(digits: Dataset) -> None:
    network = create("airbench94", in_channels=3)
    before = [buffer.clone() for buffer in network.buffers()]
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    calls: list[int] = []

    def loss(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(images))
        if len(calls) == 2:
            raise MemoryError
        return CrossEntropy()(network, images, labels)

    with pytest.raises(MemoryError):
        Parts(network, loss, machine(3))(Batch(images, labels, labels), labels, 0)
    assert all(torch.equal(now, then) for now, then in zip(network.buffers(), before, strict=True))


@given(
    augmentation=st.builds(
        Augmentation, flip=st.booleans(), shift=st.integers(0, 3), cutout=st.integers(0, 6),
        random_crop=st.sampled_from([1.0, 0.5]), color_jitter=st.sampled_from([0.0, 0.4]),
        random_erasing=st.sampled_from([0.0, 1.0]), shift_padding=st.sampled_from(["black", "reflect"]),
    ),
    size=st.sampled_from([16, 24, 33]), channels=st.sampled_from([1, 3]), cut=st.integers(0, 16),
    threads=st.integers(1, 3),
)  # fmt: skip
def test_an_image_is_prepared_alike_in_any_company(
    augmentation: Augmentation, size: int, channels: int, cut: int, threads: int
) -> None:
    """A process that loads only its own samples of a batch prepares them as one that loads all."""
    images = torch.randint(
        0, 256, (16, channels, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    split = Split(images, torch.arange(16), torch.arange(16).numpy())
    normalization = Normalization((0.4,) * channels, (0.2,) * channels)
    prepare = Preprocessing(channels, (24, 24), "crop", (size, size), "interpolate", normalization)
    order = draw_epoch_order(16, 0, 1)
    before = torch.get_num_threads()

    def load(select: Any) -> Tensor:
        return next(iter(training_batches(split, order, prepare, augmentation, CPU, 16, select=select))).images

    try:
        whole = load(None)
        torch.set_num_threads(threads)
        parts = [load(lambda batch: slice(0, cut)), load(lambda batch: slice(cut, 16))]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.cat(parts), whole)
