"""The loop: what it yields, that it can be repeated bit by bit, and that it learns."""

import inspect
import shutil
import warnings
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, DataError, TrainingError
from lenext.training.frozen import set_training_mode
from lenext.training.loop import evaluate, events, fit
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.schedule import learning_rate
from lenext.training.settings import ScheduleSettings, resolve, split_by_recipe
from lenext.training.state import Step, TrainingState
from lenext.training.trainer import Trainer

QUICK = Recipe(epochs=2, batch_size=64, device="cpu", shift=1)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(576, 10)
    )


def figures(records: list[Record]) -> list[tuple[object, ...]]:
    """All columns but the seconds."""
    return [astuple(record)[:1] + astuple(record)[2:] for record in records]


def test_events_come_in_order(few: Dataset) -> None:
    data = split_by_recipe(few, QUICK)
    settings = resolve(QUICK, data)
    seen = list(events(TrainingState.begin(network(), settings), data, settings))
    kinds = [event.phase if isinstance(event, Step) else "record" for event in seen]
    assert kinds == ["train"] * 2 + ["validation"] + ["record"] + ["train"] * 2 + ["validation"] + ["record"]
    steps = [event for event in seen if isinstance(event, Step) and event.phase == "train"]
    assert [step.samples for step in steps[:2]] == [64, len(data.train) - 64]
    assert [step.position for step in steps] == [0, 1, 0, 1]


def test_the_same_seed_gives_the_same_bits_whatever_the_consumer_draws(few: Dataset) -> None:
    first, second = network(), network()
    records = list(fit(first, few, QUICK))
    again = []
    data = split_by_recipe(few, QUICK)
    settings = resolve(QUICK, data)
    for event in events(TrainingState.begin(second, settings), data, settings):
        torch.rand(3)
        if isinstance(event, Record):
            again.append(event)
    assert figures(records) == figures(again)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_another_seed_gives_others(few: Dataset) -> None:
    other = Recipe(epochs=2, batch_size=64, device="cpu", shift=1, seed=1)
    assert figures(list(fit(network(), few, QUICK))) != figures(list(fit(network(), few, other)))


def test_a_suspended_loop_leaks_no_mode(few: Dataset) -> None:
    recipe = Recipe(epochs=1, batch_size=64, device="cpu", precision="bf16")
    data = split_by_recipe(few, recipe)
    settings = resolve(recipe, data)
    for _ in events(TrainingState.begin(network(), settings), data, settings):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_records_are_what_is_measured_by_hand(few: Dataset) -> None:
    recipe = Recipe(epochs=1, batch_size=64, device="cpu", precision="fp32", evaluate_training=True)
    net = network()
    (record,) = fit(net, few, recipe)
    data = split_by_recipe(few, recipe)
    rates = [learning_rate(ScheduleSettings.from_recipe(recipe, 2), step) for step in range(2)]
    assert record.learning_rate == pytest.approx(sum(rates) / 2)
    net.eval()
    for split, loss, accuracy in (
        (data.validation, record.val_loss, record.val_accuracy),
        (data.train, record.evaluated_train_loss, record.evaluated_train_accuracy),
    ):
        assert split is not None
        with torch.no_grad():
            logits = net(data.normalization(split.images[torch.arange(len(split))]))
        assert float(nn.functional.cross_entropy(logits, split.labels)) == pytest.approx(loss, abs=1e-4)
        assert float((logits.argmax(1) == split.labels).double().mean()) == pytest.approx(accuracy, abs=1e-9)


def test_evaluate_counts_each_image_once_and_leaves_the_mode(few: Dataset) -> None:
    net = network().train()
    seen = evaluate(net, few, Recipe(device="cpu", batch_size=7))
    assert net.training
    assert len(seen.labels) == 40
    assert seen.accuracy == float((seen.predicted == seen.labels).sum()) / 40
    assert seen.top(10) == 1.0
    assert seen.accuracy <= seen.top(3) <= seen.top(5)
    with pytest.raises(DataError, match="no validation split"):
        evaluate(net, few, Recipe(device="cpu", validation_fraction=0), split="validation")


def test_ties_are_counted_as_argmax_has_them() -> None:
    """Coarse logits tie often; the accuracy while training and the one measured afterwards must not differ by that."""
    from lenext.training.evaluation import Evaluation

    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (1000, 10), generator=draw).float()
    seen = Evaluation(scores.softmax(1), torch.randint(0, 10, (1000,), generator=draw), torch.zeros(1000))
    assert seen.accuracy == float((scores.argmax(1) == seen.labels).double().mean())
    assert seen.accuracy == float((seen.predicted == seen.labels).double().mean())


def test_early_stopping_and_the_best(few: Dataset) -> None:
    recipe = Recipe(epochs=50, batch_size=64, device="cpu", early_stopping=2, learning_rate=0.0)
    data = split_by_recipe(few, recipe)
    settings = resolve(recipe, data)
    state = TrainingState.begin(network(), settings)
    list(events(state, data, settings))
    assert state.best is not None
    assert state.epoch == state.best.epoch + 2 < 50


def test_ties_go_to_the_lower_loss() -> None:
    worse = Record(1, 0, 0, 0, val_loss=0.5, val_accuracy=0.9, learning_rate=0)
    better = Record(2, 0, 0, 0, val_loss=0.4, val_accuracy=0.9, learning_rate=0)
    assert better.is_better_than(worse)
    assert not worse.is_better_than(better)
    assert not worse.is_better_than(worse)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(few: Dataset) -> None:
    net = network()
    before = [parameter.clone() for parameter in net.parameters()]

    def bad(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = network(images)
        return logits.sum() * torch.inf, logits

    with pytest.raises(TrainingError, match="in epoch 1, step 1"):
        list(fit(net, few, QUICK, bad))
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), before, strict=True))


def test_a_last_batch_of_one_does_not_break_batch_norm(digits: Dataset) -> None:
    rows = torch.arange(65)
    data = Dataset("65", digits.classes, digits.train.take(rows), test=digits.train.take(rows))
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10))
    recipe = Recipe(epochs=1, batch_size=64, validation_fraction=0, device="cpu")
    (record,) = fit(net, data, recipe)
    assert record.val_accuracy is None
    with pytest.raises(ConfigurationError, match="batch_size=1"):
        list(fit(net, data, Recipe(epochs=1, batch_size=1, device="cpu")))


def test_a_network_that_cannot_learn_is_told(few: Dataset) -> None:
    with pytest.raises(ConfigurationError, match="no parameters that can learn"):
        list(fit(nn.Flatten(), few, QUICK))


def test_it_learns(digits: Dataset) -> None:
    torch.manual_seed(0)
    net = lenext.create("lenet")
    recipe = Recipe(epochs=8, batch_size=64, optimizer="adamw", learning_rate=3e-3, device="cpu")
    records = list(fit(net, digits, recipe))
    assert records[-1].val_accuracy is not None
    assert records[-1].val_accuracy > 0.9
    assert evaluate(net, digits, recipe).accuracy > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "muon"}, {"ema_decay": 0.9}, {"mixup": 0.5, "cutmix": 1.0}, {"class_weights": True},
        {"balanced_sampling": True}, {"accumulate_batches": 2, "batch_size": 16},
        {"random_crop": 0.5, "random_erasing": 0.5},         {"color_jitter": 0.3, "cutout": 4, "flip": True},
    ],
    ids=str,
)  # fmt: skip
def test_every_means_can_be_repeated_and_learns(digits: Dataset, settings: dict[str, Any]) -> None:
    recipe = replace(QUICK, epochs=3, train_samples=500, optimizer="adamw", learning_rate=3e-3)
    recipe = recipe.with_keys({"learning_rate": 3e-3} | settings)
    first, second = network(), network()
    records, again = list(fit(first, digits, recipe)), list(fit(second, digits, recipe))
    assert figures(records) == figures(again)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert records[-1].val_accuracy is not None
    assert records[-1].val_accuracy > 0.4


@pytest.mark.parametrize(
    ("count", "size", "accumulate", "settings"),
    [
        (64 + 48, 16, 4, {}),  # the second update of an epoch has fewer batches
        (48 + 48 + 10, 48, 3, {}),  # the last batch is short: each of its samples counts as any other
        (2 * 30 + 7, 10, 3, {}),
        (48 + 48 + 10, 48, 3, {"class_weights": True}),  # a batch counts by the class weights of its samples
        (48 + 48 + 10, 48, 3, {"class_weights": True, "label_smoothing": 0.2}),
        (126, 24, 3, {"hardest_fraction": 0.5}),
    ],
    ids=str,
)
def test_accumulated_batches_are_one_large_batch(
    few: Dataset, count: int, size: int, accumulate: int, settings: dict[str, Any]
) -> None:
    """Without batch norm, whose statistics are of a batch."""
    nets = []
    for batch_size, summed in ((size * accumulate, 1), (size, accumulate)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        data = replace(few, train=few.train.take(torch.arange(count)), test=None, is_split=True)
        recipe = Recipe(
            epochs=2, batch_size=batch_size, accumulate_batches=summed, device="cpu", precision="fp32", **settings
        )
        resolved = resolve(recipe, data)
        state = TrainingState.begin(net, resolved)
        rates = [step.learning_rate for step in events(state, data, resolved) if isinstance(step, Step)]
        assert len(set(rates)) == 2 * -(-round(count * recipe.hardest_fraction) // (size * accumulate))
        nets.append(net)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_averaged_weights_are_what_is_measured_and_what_fit_leaves(few: Dataset) -> None:
    recipe = replace(QUICK, ema_decay=0.5, learning_rate=0.01)
    net = network()
    expected = [parameter.detach().clone() for parameter in net.parameters()]
    data = split_by_recipe(few, recipe)
    settings = resolve(recipe, data)
    state = TrainingState.begin(net, settings)
    updates = 0
    for event in events(state, data, settings):
        if isinstance(event, Step) and event.phase == "train":
            updates += 1
            decay = min(0.5, (1 + updates) / (10 + updates))
            pairs = zip(expected, net.parameters(), strict=True)
            expected = [decay * old + (1 - decay) * new.detach() for old, new in pairs]
    assert state.trained is not net
    for one, other in zip(state.trained.parameters(), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    again = network()
    list(fit(again, few, recipe))
    for one, other in zip(again.state_dict().values(), state.trained.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_image_sizes_grow_to_the_whole(few: Dataset) -> None:
    recipe = replace(QUICK, epochs=6, progressive_resizing=0.5, precision="fp32")
    sizes = []

    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(x.shape[-1] if self.training else 0)
            return self.layer(x).mean((2, 3))

    list(fit(Sized(), few, recipe))
    seen = list(dict.fromkeys(size for size in sizes if size))
    assert seen == [16, 20, 24, 28]
    assert sizes[-3:-1] == [28, 28]
    sizes.clear()
    list(fit(Sized(), few, recipe.with_keys({"epochs": 1})))
    assert set(sizes) == {28, 0}


def without_dropout() -> nn.Module:
    return nn.Sequential(*(layer for layer in network().children() if not isinstance(layer, nn.Dropout)))


def test_a_compiled_step_is_the_same(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(QUICK, epochs=1, precision="fp32")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    if shutil.which("g++"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own
            (ours,) = fit(without_dropout(), few, replace(recipe, compile="yes"))
        (theirs,) = fit(without_dropout(), few, recipe)
        assert ours.train_loss == pytest.approx(theirs.train_loss, abs=1e-4)
        assert any((tmp_path / ".cache" / "lenext" / "compiled").rglob("*.so"))  # kept for the next training
    with pytest.raises(ConfigurationError, match="NVIDIA"):
        list(fit(network(), few, replace(recipe, compile="cuda_graphs")))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ConfigurationError, match="C\\+\\+ compiler"):
        list(fit(network(), few, replace(recipe, compile="yes")))


def test_an_automatic_batch_size_is_for_train(few: Dataset) -> None:
    with pytest.raises(ConfigurationError, match="pass a number to fit"):
        list(fit(network(), few, replace(QUICK, batch_size="auto")))


def test_the_training_step_can_be_read_at_a_glance() -> None:
    """Forward, backward, update and metrics in one function of at most 25 lines."""
    source = inspect.getsource(Trainer.train_epoch)
    assert len(source.splitlines()) <= 25
    for part in ("self.forward(", "state.update(", "result.mean_loss"):
        assert part in source


def test_a_frozen_parameter_of_its_own_does_not_put_what_is_inside_into_evaluation() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()), requires_grad=False)
            self.dropout = nn.Dropout(0.5)
            self.norm = nn.BatchNorm2d(3)
            self.frozen_norm = nn.BatchNorm2d(3).requires_grad_(False)

    network = nn.Sequential(Scaled())
    set_training_mode(network)
    scaled = network[0]
    assert scaled.dropout.training
    assert scaled.norm.training
    assert not scaled.frozen_norm.training
