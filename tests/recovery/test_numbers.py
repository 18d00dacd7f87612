"""Numbers that are none: told with where they came from, before anything is changed by them."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lenext
from lenext.data import batches
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import TrainingError
from lenext.runs import checkpoint
from lenext.runs.folder import Run
from lenext.training import trainer
from lenext.training.diagnosis import not_finite
from lenext.training.epoch_plan import EpochPlan
from lenext.training.loop import events
from lenext.training.losses import CrossEntropy
from lenext.training.recipe import Recipe
from lenext.training.settings import OptimizerSettings, resolve, split_by_recipe
from lenext.training.state import TrainingState
from lenext.training.update import NotFiniteError, Update

WHEN = (2, 1)  # epoch and position
BAD = [float("nan"), float("inf"), float("-inf")]
RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.01, threads=1)


class Net(nn.Module):
    """Has batch norm, and a place where a gradient can be spoilt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, 4)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 7 * 7, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.relu(self.norm(self.conv(images))).flatten(1))


class Spoil(torch.autograd.Function):
    """Leaves values alone, and makes the gradient what it is told."""

    @staticmethod
    def forward(context: Any, value: Tensor, bad: float) -> Tensor:
        context.bad = bad
        return value.clone()

    @staticmethod
    def backward(context: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.full_like(grad, context.bad), None


def spoil(what: str, bad: float, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a bad number somewhere at WHEN; returns what the error is to name."""
    real = trainer.Trainer.image_batches
    network.now = False  # type: ignore[assignment]

    def batches_of(self: trainer.Trainer, plan: EpochPlan, start: int, own: Any = None) -> Any:
        for position, batch in real(self, plan, start, own):
            images = batch.images
            now = (plan.epoch, position) == WHEN
            if now and what == "image":
                images = images.clone()
                images[5, 0, 1, 1] = bad
            if now and what == "parameter":
                network.get_parameter("conv.weight").data[1, 0, 0, 0] = bad
            if now and what == "buffer":
                network.get_buffer("norm.running_mean")[2] = bad
            network.now = now  # type: ignore[assignment]
            yield position, batch._replace(images=images)

    monkeypatch.setattr(trainer.Trainer, "image_batches", batches_of)
    of_loss = CrossEntropy.from_logits

    def spoilt(self: CrossEntropy, logits: Tensor, labels: Tensor) -> Tensor:
        value = of_loss(self, logits, labels)
        return value * bad if network.now else value

    if what == "loss":
        monkeypatch.setattr(CrossEntropy, "from_logits", spoilt)
    if what == "gradient":
        forward = network.fc.forward  # type: ignore[operator, union-attr]
        monkeypatch.setattr(
            network.fc,
            "forward",
            lambda x: forward(Spoil.apply(x, bad) if network.now else x),  # type: ignore[no-untyped-call]
        )
    return {
        "image": "image 6 of the batch, before it enters the network",
        "parameter": "the parameter conv.weight",
        "buffer": "the buffer norm.running_mean",
        "loss": "the loss, out of finite logits",
        "gradient": "the gradient of norm.bias",
    }[what]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("what", ["image", "loss", "gradient", "parameter", "buffer"])
def test_it_stops_is_named_and_poisons_nothing(
    what: str, bad: float, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Net()
    named = spoil(what, bad, network, monkeypatch)
    with pytest.raises(TrainingError) as caught:
        lenext.train(network, few, recipe=RECIPE, runs_dir=tmp_path, checkpoint_minutes=1e-9, quiet=True)
    said = str(caught.value)
    assert f"first bad: {named}. " in said, said
    step = "[34]" if what == "buffer" else "2"  # statistics are looked at now and then
    assert re.search(rf"in epoch 2, step {step} \(samples ", said), said
    assert "the last good checkpoint" in said
    assert "\n" not in said
    run = Run(tmp_path / "net-few")
    path, tree = checkpoint.load_newest(run.checkpoints, pytest.fail) or pytest.fail("no checkpoint")
    assert path.stem == "epoch-00001-step-0000001"  # the step before
    assert all(torch.isfinite(one).all() for one in tree["state"]["network"].values())
    assert not run.weights("last").exists() or what in ("loss", "gradient")
    assert "stopped: " in (run.path / "train.log").read_text()


def test_the_weights_are_as_before_the_step(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Net()
    spoil("gradient", float("nan"), network, monkeypatch)
    data = split_by_recipe(few, RECIPE)
    settings = resolve(RECIPE, data)
    state = TrainingState.begin(network, settings)
    before: dict[str, Tensor] = {}
    with pytest.raises(TrainingError):
        for _ in events(state, data, settings):
            before = {name: one.clone() for name, one in network.named_parameters()}
    assert all(torch.equal(one, before[name]) for name, one in network.named_parameters())


def test_a_mask_of_ones_own_may_be_infinite(few: Dataset, tmp_path: Path) -> None:
    """A buffer that was never finite is no reason to stop, nor to leave a checkpoint out."""

    class Masked(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((2,), float("-inf")))

    run = lenext.train(Masked(), few, recipe=RECIPE, runs_dir=tmp_path, quiet=True)
    assert len(checkpoint.list_checkpoints(run.checkpoints)) == 3


def fp16_on_a_cpu(network: nn.Module) -> Update:
    return Update(
        network, OptimizerSettings.from_recipe(RECIPE), Compute(torch.device("cpu"), "fp16", torch.contiguous_format)
    )


def test_skipped_fp16_updates_are_counted() -> None:
    """As GradScaler skips them: those with a gradient out of range, and no others."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    update = fp16_on_a_cpu(network)
    for factor in (1.0, float("inf"), 1.0, float("nan"), float("inf"), 1.0):
        before = network.weight.clone()
        update(network(torch.ones(4, 3)).sum() * factor, 0.1)
        assert torch.equal(network.weight, before) == (factor != 1.0)
    assert update.check() == 3
    assert update.check() == 0


def test_skipped_updates_are_shown(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setattr(Update, "check", lambda self: 1)
    run = lenext.train("lenet", few, recipe=RECIPE, runs_dir=tmp_path)
    steps = len(batches.batch_slices(117, 32))
    assert all(1 <= record.skipped_updates <= steps for record in run.records)
    assert "skipped_updates" in (run.path / "results.csv").read_text().splitlines()[0]
    assert "skipped" in capsys.readouterr().out


def test_a_masked_update_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, which is not waited for: nothing changes, and the next look finds it."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    for optimizer in ("sgd", "adamw", "muon"):
        recipe = Recipe(optimizer=optimizer)  # type: ignore[arg-type]
        update = Update(network, OptimizerSettings.from_recipe(recipe), Compute.choose("cpu", "fp32"))
        monkeypatch.setattr(update, "masks", True)
        before = network.weight.clone()
        update(network(torch.ones(4, 3)).sum() * float("nan"), 0.1)
        assert torch.equal(network.weight, before), optimizer
        with pytest.raises(NotFiniteError, match="1 updates were left out"):
            update.check()
        update(network(torch.ones(4, 3)).sum(), 0.1)
        assert not torch.equal(network.weight, before), optimizer
        assert update.check() == 0


def test_what_is_not_finite_is_listed() -> None:
    network = Net()
    assert not_finite(network) == []
    network.norm.running_var[0] = float("nan")  # type: ignore[index]
    assert not_finite(network) == ["norm.running_var"]
