"""Stored features of a frozen backbone against the training that computes every layer in every step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, TrainingError
from lenext.models import MODELS, create, find_variant
from lenext.models.pretrained import freeze
from lenext.training import feature_store, frozen
from lenext.training.experiment import Experiment
from lenext.training.frozen import InseparableError, resolve_views, separate, set_training_mode
from lenext.training.loop import events, fit
from lenext.training.losses import CrossEntropy
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.settings import Settings, resolve, split_by_recipe
from lenext.training.state import Step, TrainingState
from lenext.training.trainer import Trainer
from lenext.workflows.context import Context
from lenext.workflows.job import prepare_job
from lenext.workflows.timing import forecast

SMALL = [name for name in MODELS if find_variant(name).image_size <= 64]
WHY_NOT = {
    **dict.fromkeys(("nin_32px", "googlenet_32px"), "dropout (Dropout) draws at random"),
    **dict.fromkeys(("convnext_patch4", "convnext_patch4_corrected", "airbench94"), "more than the last layers"),
}
"""The networks whose features cannot be stored."""

RECIPE = Recipe(epochs=3, train_samples=90, batch_size=32, seed=3, learning_rate=0.01, precision="fp32")


def frozen_network(name: str, **options: object) -> nn.Module:
    """A network of which only the head learns."""
    torch.manual_seed(0)
    variant = find_variant(name)
    follows = {"image_size": 32} if "image_size" in variant.parameters() else {}
    network = create(name, in_channels=1, num_classes=10, **(follows | options))
    freeze(network, ["backbone"])
    return network


def with_views(recipe: Recipe, data: Dataset) -> Settings:
    """The settings of a recipe, with two views unless it has a number."""
    settings = resolve(recipe, data)
    views = 2 if recipe.feature_views == "auto" else recipe.feature_views
    return replace(settings, sampling=replace(settings.sampling, feature_views=views))


def trained(network: nn.Module, data: Dataset, recipe: Recipe) -> tuple[list[Record], dict[str, Tensor]]:
    """Train; return the records and the weights."""
    records = list(fit(network, data, recipe))
    return records, {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(
    some: tuple[list[Record], dict[str, Tensor]], others: tuple[list[Record], dict[str, Tensor]], tolerance: float
) -> None:
    """Compare the losses and the weights of two trainings, up to a relative tolerance."""
    for one, other in zip(some[0], others[0], strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=tolerance, abs=tolerance)
        assert one.val_loss == pytest.approx(other.val_loss, rel=tolerance, abs=tolerance)
    for name, value in some[1].items():
        torch.testing.assert_close(value, others[1][name], rtol=tolerance, atol=tolerance)


def passes(network: nn.Module) -> list[int]:
    """A list that gets the size of each batch that enters the network."""
    sizes: list[int] = []
    first = next(module for module in network.modules() if not list(module.children()))
    first.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


@pytest.mark.parametrize("name", SMALL)
def test_every_network_trains_as_without_stored_features_or_says_why_not(name: str, digits: Dataset) -> None:
    recipe = RECIPE.with_keys({"image_size": 32, "epochs": 2, "train_samples": 60})
    data = split_by_recipe(digits, recipe)
    network = frozen_network(name)
    try:
        separate(network, data.train, with_views(recipe, data))
    except InseparableError as error:
        assert WHY_NOT[name] in str(error)
        return
    assert name not in WHY_NOT
    stored = trained(frozen_network(name), digits, recipe)
    assert_same(stored, trained(frozen_network(name), digits, recipe.with_keys({"feature_views": 0})), 1e-5)


@pytest.mark.parametrize(
    ("keys", "same_epochs"),
    [
        ({"flip": True}, 2),  # as many epochs as there are views
        ({"shift": 2, "feature_views": 3}, 3),
        ({"flip": "alternating"}, 4),  # two views are all there are
        ({"shift": 1, "balanced_sampling": True}, 0),
        ({"optimizer": "adamw", "label_smoothing": 0.1, "class_weights": True}, 4),
        ({"evaluate_training": True, "accumulate_batches": 2}, 4),
        ({"precision": "bf16"}, 4),
    ],
    ids=str,
)
def test_an_epoch_takes_the_views_in_turn(keys: dict[str, object], same_epochs: int, digits: Dataset) -> None:
    recipe = RECIPE.with_keys({"epochs": 4, "schedule": "constant", **keys})
    digits = replace(digits, flip_invariant=keys.get("flip") == "alternating")
    records, _ = trained(frozen_network("lenet_32px", image_size=28), digits, recipe)
    expected, _ = trained(frozen_network("lenet_32px", image_size=28), digits, recipe.with_keys({"feature_views": 0}))
    tolerance = 2e-3 if recipe.precision == "bf16" else 1e-5
    is_same = [
        one.train_loss == pytest.approx(other.train_loss, rel=tolerance)
        for one, other in zip(records, expected, strict=True)
    ]
    assert is_same == [epoch < same_epochs for epoch in range(4)]
    again, _ = trained(frozen_network("lenet_32px", image_size=28), digits, recipe)
    assert [one.train_loss for one in again] == [one.train_loss for one in records]


def test_the_frozen_layers_see_each_view_once(digits: Dataset) -> None:
    recipe = RECIPE.with_keys({"epochs": 6, "flip": True, "evaluate_training": True})
    network = frozen_network("resnet18_32px")
    data = split_by_recipe(digits, recipe)
    assert data.validation is not None
    sizes = passes(network)
    list(fit(network, digits, recipe))
    tried = 2 * 2 * (4 + 4 + 2)  # of the decision and of the trainer, in two modes
    assert sum(sizes) == tried + 2 * len(data.train) + len(data.validation) + len(data.train)


def test_dropout_before_the_head_is_drawn_in_every_step(digits: Dataset) -> None:
    recipe = RECIPE.with_keys({"image_size": 32})
    network = frozen_network("vgg11_32px")
    assert any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())
    sizes = passes(network)
    stored = trained(network, digits, recipe)
    assert sum(sizes) < 2 * len(split_by_recipe(digits, recipe).train) + len(digits.train)
    assert_same(stored, trained(frozen_network("vgg11_32px"), digits, recipe.with_keys({"feature_views": 0})), 1e-5)


def test_a_number_that_is_not_finite_is_found_in_the_frozen_layer(digits: Dataset) -> None:
    network = frozen_network("resnet18_32px")
    with torch.no_grad():
        network.get_submodule("layer2.0.conv1").weight[0] = torch.nan
    with pytest.raises(TrainingError, match=r"first bad: the output of layer2\.0\.conv1"):
        list(fit(network, digits, RECIPE))
    network = frozen_network("resnet18_32px")
    network.get_submodule("layer1.0.conv2").register_forward_hook(lambda module, inputs, output: output * torch.inf)
    with pytest.raises(TrainingError, match=r"first bad: the output of layer1\.0"):
        list(fit(network, digits, RECIPE.with_keys({"shift": 2, "epochs": 4})))


def test_the_images_of_a_diagnosis_are_those_of_the_view(digits: Dataset) -> None:
    recipe = RECIPE.with_keys({"shift": 2, "epochs": 4})
    data = split_by_recipe(digits, recipe)
    network = frozen_network("resnet18_32px")
    settings, _ = resolve_views(network, data, recipe, resolve(recipe, data))
    trainer = Trainer(TrainingState.begin(network, settings), data, settings)
    assert trainer.features is not None
    set_training_mode(network)
    for epoch in (1, 4):
        list(trainer.features.fill(epoch))
        plan = trainer.plan(epoch)
        pairs = zip(trainer.batches(plan, 1), trainer.image_batches(plan, 1), strict=True)
        for (position, features), (same_position, images) in pairs:
            assert position == same_position
            assert torch.equal(features.rows, images.rows)
            torch.testing.assert_close(trainer.features.backbone.features(images.images), features.images)


class Whole(nn.Module):
    """A network with what cannot be separated, by name."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, 4, 3)
        self.drop = nn.Dropout(0.5 if kind == "dropout" else 0.0)
        self.norm = nn.BatchNorm2d(4, affine=False) if kind == "norm" else nn.Identity()
        self.register_buffer("steps", torch.zeros(()))
        self.fc = nn.Linear(3136 if kind == "wide" else 4, 10)
        if kind == "scaled":  # what is made of zeros does not show that it is scaled
            nn.init.zeros_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.drop(self.conv(x))).mean((2, 3))
        if self.kind == "wide":
            features = features.repeat(1, 784)
        if self.kind == "counter" and self.training:
            self.steps.add_(1)
        if self.kind == "batch":
            features = features - features.mean(0)
        logits = self.fc(features)
        if self.kind == "twice":
            logits = self.fc(logits[:, :4])
        if self.kind == "scaled":
            logits = 0.1 * logits
        return logits.log_softmax(1) if self.kind == "after" else logits


@pytest.mark.parametrize(
    ("kind", "keys", "reason"),
    [
        ("plain", {"mixup": 0.5}, "mixup, cutmix"),
        ("plain", {"ema_decay": 0.9}, "averages all layers"),
        ("plain", {"hardest_fraction": 0.5}, "hardest_fraction"),
        ("plain", {"progressive_resizing": 0.5}, "progressive_resizing"),
        ("plain", {"freeze_stem_after": 0.5}, "freeze_stem_after"),
        ("plain", {"compile": "yes"}, "compiled"),
        ("plain", {"parts": 2}, "the parts of a batch"),
        ("plain", {"feature_views": 0}, "feature_views is 0"),
        ("plain", {"steps": 1}, "within the first epoch"),
        ("dropout", {}, r"drop \(Dropout\) draws at random"),
        ("norm", {}, r"norm \(BatchNorm2d\) normalizes by the batch"),
        ("counter", {}, "a buffer changes"),
        ("scaled", {}, "more than the last layers"),
        ("wide", {}, "larger than the image"),
        ("batch", {}, "depend on its batch"),
        ("twice", {}, "called 2 times"),
        ("after", {}, "more than the last layers"),
    ],
)
def test_what_cannot_be_separated_is_told_and_trains_whole(
    kind: str, keys: dict[str, object], reason: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "is_stateless", lambda module: True)
    recipe = RECIPE.with_keys(keys)
    data = split_by_recipe(digits, recipe)
    torch.manual_seed(0)
    network = Whole(kind)
    freeze(network, ["backbone"])
    with pytest.raises(InseparableError, match=reason):
        separate(network, data.train, with_views(recipe, data))
    if kind != "plain":
        sizes = passes(network)
        list(fit(network, digits, recipe))
        assert sum(sizes) > recipe.epochs * len(data.train)


def test_layers_of_others_and_layers_that_learn_are_not_stored(digits: Dataset) -> None:
    data = split_by_recipe(digits, RECIPE)
    settings = with_views(RECIPE, data)
    network = Whole("plain")
    with pytest.raises(InseparableError, match="no layer is frozen"):
        separate(network, data.train, settings)
    network.fc.requires_grad_(False)
    with pytest.raises(InseparableError, match="conv learns, too"):
        separate(network, data.train, settings)
    network.fc.requires_grad_(True)
    network.conv.requires_grad_(False)
    with pytest.raises(InseparableError, match=r"the network \(Whole\) may keep or draw"):
        separate(network, data.train, settings)
    lenet = create("lenet")
    freeze(lenet, ["backbone"])
    lenet.conv2 = nn.Sequential(lenet.conv2, Strange())
    with pytest.raises(InseparableError, match=r"conv2\.1 \(Strange\) may keep or draw"):
        separate(lenet, data.train, settings)
    own: Callable[..., tuple[Tensor, Tensor]] = lambda network, images, labels: CrossEntropy()(network, images, labels)  # noqa: E731
    with pytest.raises(InseparableError, match="own loss"):
        separate(frozen_network("lenet", image_size=28), data.train, settings, own)


class Strange(nn.Module):
    """A user's layer."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_modes_of_the_modules_are_left_as_they_were(digits: Dataset) -> None:
    data = split_by_recipe(digits, RECIPE)
    network = frozen_network("resnet18_32px").eval()
    network.get_submodule("layer1").train()
    before = [module.training for module in network.modules()]
    backbone = separate(network, data.train, with_views(RECIPE, data))
    assert [module.training for module in network.modules()] == before
    assert backbone.tail is network.get_submodule("fc")


def fail(*_: object) -> None:
    """Fail as a disk does."""
    raise OSError(122, "quota exceeded")


def test_features_beyond_memory_are_mapped_from_a_file(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(frozen_network("lenet", image_size=28), digits, RECIPE)
    monkeypatch.setenv("LENEXT_DATA", str(tmp_path))
    monkeypatch.setattr(feature_store, "MAX_MEMORY_FRACTION", 0.0)
    found = trained(frozen_network("lenet", image_size=28), digits, RECIPE)
    assert [one.train_loss for one in found[0]] == [one.train_loss for one in expected[0]]
    assert (tmp_path / "features").is_dir()
    assert not list((tmp_path / "features").iterdir())
    monkeypatch.setattr("os.posix_fallocate", fail, raising=False)
    with pytest.raises(ConfigurationError, match="quota"):
        trained(frozen_network("lenet", image_size=28), digits, RECIPE)
    assert not list((tmp_path / "features").iterdir())
    monkeypatch.setattr(feature_store, "free_space", lambda folder: 10)
    with pytest.raises(ConfigurationError, match="train with feature_views=0"):
        trained(frozen_network("lenet", image_size=28), digits, RECIPE)


def test_a_training_continues_from_any_step_as_if_unbroken(digits: Dataset) -> None:
    recipe = RECIPE.with_keys({"epochs": 4, "flip": True})
    data = split_by_recipe(digits, recipe)
    settings, _ = resolve_views(frozen_network("lenet", image_size=28), data, recipe, resolve(recipe, data))
    assert settings.sampling.feature_views == 2
    unbroken = [one.train_loss for one in fit(frozen_network("lenet", image_size=28), digits, recipe)]
    batches = settings.sampling.batches
    for stop in (1, batches, batches + 1, 2 * batches):  # within an epoch, and at its end
        state = TrainingState.begin(frozen_network("lenet", image_size=28), settings)
        taken = 0
        for event in events(state, data, settings):
            taken += isinstance(event, Step) and event.phase == "train"
            if taken == stop:
                break
        saved = state.snapshot()
        after = TrainingState.begin(frozen_network("lenet", image_size=28), settings)
        after.restore(saved)
        list(events(after, data, settings))
        assert [one.train_loss for one in after.records] == unbroken


def test_a_training_says_what_it_does_with_frozen_layers(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"data": "digits", "train_samples": 60, "epochs": 2, "runs_dir": tmp_path, "report": False}
    run = lenext.train("lenet", freeze="backbone", name="a", **common)
    assert (
        "60,856 parameters are frozen; the features of each image are computed once (2 views)"
        in (run.path / "train.log").read_text()
    )
    lenext.train("lenet", freeze="conv1", name="b", **common)
    assert "they are computed in every step, as conv2 learns, too" in capsys.readouterr().out
    for freeze_what, reason in (("", "no layer is frozen"), ("conv1", "conv2 learns, too")):
        with pytest.raises(ConfigurationError, match=f"feature_views=3: no features are stored, as {reason}"):
            lenext.train("lenet", freeze=freeze_what, feature_views=3, name="c", **common)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"feature_views": 5}, "all views are alike; give 1"),
        ({"feature_views": 3, "flip": "alternating"}, "an even number"),
        ({"feature_views": 2, "mixup": 0.5}, "no features are stored, as mixup"),
    ],
)
def test_views_without_effect_are_refused(keys: dict[str, object], message: str, digits: Dataset) -> None:
    digits = replace(digits, flip_invariant="flip" in keys)
    with pytest.raises(ConfigurationError, match=message):
        list(fit(frozen_network("lenet", image_size=28), digits, RECIPE.with_keys(keys)))
    with pytest.raises(ConfigurationError, match="no layer is frozen"):
        list(fit(create("lenet"), digits, RECIPE.with_keys({"feature_views": 2})))


def test_compilation_gives_way_to_stored_features(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenext.workflows.job.pays_to_compile", lambda *arguments: True)
    recipe = RECIPE.with_keys({"image_size": 32})
    data = split_by_recipe(digits, recipe)
    for freeze_what, views, compiled in (("backbone", 1, "no"), ("conv1", 0, "yes"), ("", 0, "yes")):
        experiment = Experiment(network="resnet18_32px", data="digits", recipe=recipe, freeze=freeze_what)
        job = prepare_job(experiment, data, Context())
        assert job.settings.sampling.feature_views == views
        assert job.settings.machine.compile == compiled
        assert job.recipe.feature_views == "auto"
        assert ("an epoch" in forecast(job)) == (views == 0)


def test_a_module_made_in_python_is_frozen_too(digits: Dataset, tmp_path: Path) -> None:
    network = create("lenet")
    network.conv1.requires_grad_(False)
    before = network.state_dict()["conv2.weight"].clone()
    run = lenext.train(network, data=digits, freeze="backbone", epochs=1, runs_dir=tmp_path, report=False, quiet=True)
    assert torch.equal(network.state_dict()["conv2.weight"], before)
    assert "the features of each image are computed once" in (run.path / "train.log").read_text()
    network = create("lenet")
    network.conv1.requires_grad_(False)
    lenext.train(network, data=digits, freeze="conv2", epochs=1, runs_dir=tmp_path, report=False, quiet=True)
    assert not network.conv1.weight.requires_grad
