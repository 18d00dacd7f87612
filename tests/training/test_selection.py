"""Which images an epoch takes, and which of them are mirrored."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation.errors import RunError
from lenext.foundation.seeds import mix_seeds
from lenext.models import create
from lenext.training.loop import events
from lenext.training.recipe import Recipe
from lenext.training.selection import Selection
from lenext.training.settings import resolve, resolve_tta, split_by_recipe
from lenext.training.state import TrainingState

CPU = torch.device("cpu")
RECIPE = Recipe(
    epochs=4, batch_size=32, train_samples=200, learning_rate=0.01, validation_fraction=0.0, scaling="unit", flip=False,
    hardest_fraction=0.6, seed=3,
)  # fmt: skip


class Spy:
    """A loss that keeps the images it is given."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += images.detach().clone()
        logits = network(images).float()
        return nn.functional.cross_entropy(logits, labels), logits


def seen_by_epoch(data: Dataset, recipe: Recipe) -> list[list[Tensor]]:
    """The images that each epoch trains on."""
    spy, found = Spy(), []
    torch.manual_seed(0)
    for _ in lenext.fit(create("lenet"), data, replace(recipe, precision="fp32", memory_format="contiguous"), spy):
        found.append(spy.seen)
        spy.seen = []
    return found


def test_the_unseen_come_first_and_then_the_hardest() -> None:
    selection = Selection.begin(6, CPU)
    selection.choose(4, 0, 1)
    first = set(selection.rows.tolist())
    assert len(first) == 4
    logits = torch.tensor([[4.0, 0.0], [2.0, 0.0], [0.0, 0.0], [0.0, 3.0]])  # of class 0: easier to harder
    expected = nn.functional.cross_entropy(logits, torch.zeros(4, dtype=torch.long), reduction="none")
    selection.record_losses(selection.rows[torch.tensor([0, 1, 2, 3])], expected)
    assert torch.allclose(selection.losses[selection.rows], expected)
    hardest = set(selection.rows[2:].tolist())
    selection.choose(4, 0, 2)
    assert set(selection.rows.tolist()) == hardest | (set(range(6)) - first)


def test_an_epoch_has_its_share_and_two_have_them_all(digits: Dataset) -> None:
    epochs = seen_by_epoch(digits, RECIPE)
    assert [len(one) for one in epochs] == [120] * 4
    different = {image.numpy().tobytes() for epoch in epochs[:2] for image in epoch}
    whole = {image.numpy().tobytes() for image in split_by_recipe(digits, RECIPE).train.images}
    assert len(different) == len(whole)
    assert len({image.numpy().tobytes() for image in epochs[0]}) > 115  # but for doubles in the digits


def test_training_goes_on_exactly_from_within_an_epoch(digits: Dataset) -> None:
    data, recipe = split_by_recipe(digits, RECIPE), replace(RECIPE, flip="alternating")

    settings = resolve(recipe, data)

    def began() -> TrainingState:
        torch.manual_seed(mix_seeds(recipe.seed))
        return TrainingState.begin(create("lenet"), settings)

    whole, first, second = began(), began(), began()
    list(events(whole, data, settings))
    for number, _ in enumerate(events(first, data, settings)):
        if number == 6:  # in the second epoch, whose images are chosen by the first one's losses
            break
    assert first.epoch == 1
    assert first.progress.position > 0
    second.restore(first.snapshot())
    list(events(second, data, settings))
    for ours, theirs in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert whole.records[-1].train_loss == second.records[-1].train_loss


def test_a_state_of_other_images_is_refused(digits: Dataset) -> None:
    data = split_by_recipe(digits, RECIPE)
    settings = resolve(RECIPE, data)
    state = TrainingState.begin(create("lenet"), settings)
    state.selection = Selection.begin(77, CPU)
    with pytest.raises(RunError, match="of 77 training samples, not of 200"):
        list(events(state, data, settings))
    damaged = Selection.begin(5, CPU).snapshot() | {"rows": torch.tensor([1, 9])}
    with pytest.raises(ValueError, match="rows up to 9 of 5"):
        Selection.from_snapshot(damaged, CPU)


@pytest.mark.parametrize("selective", [1.0, 0.6])
def test_alternating_flips_mirror_every_image_in_every_other_epoch(digits: Dataset, selective: float) -> None:
    recipe, unmirrored = replace(RECIPE, flip="alternating", hardest_fraction=selective, epochs=3), digits
    digits = replace(digits, flip_invariant=True)
    plain = seen_by_epoch(digits, replace(recipe, flip=False))  # other weights, but with all images the same order
    epochs = seen_by_epoch(digits, recipe)
    originals = {image.numpy().tobytes() for epoch in plain for image in epoch}
    states: dict[bytes, dict[int, bool]] = {}
    for number, images in enumerate(epochs):
        for image in images:
            turned = image.numpy().tobytes() not in originals
            original = image.flip(2) if turned else image
            assert original.numpy().tobytes() in originals
            if not torch.equal(image, image.flip(2)):
                states.setdefault(original.numpy().tobytes(), {})[number] = turned
    pairs = [one for one in states.values() if len(one) > 1]
    assert len(pairs) > 50
    for one in pairs:
        assert all(one[number] == (one[min(one)] ^ ((number - min(one)) % 2 == 1)) for number in one)
    assert seen_by_epoch(unmirrored, recipe)[0][0].equal(plain[0][0])  # digits are not mirrored
    assert 0.3 < sum(one[min(one)] for one in states.values()) / len(states) < 0.7


def test_views_are_mirrored_only_where_the_data_allow_it(digits: Dataset) -> None:
    recipe, photographs = replace(RECIPE, tta="flip_and_shift"), replace(digits, flip_invariant=True)
    assert resolve_tta(recipe, digits) == "shift"
    assert resolve_tta(replace(recipe, tta="flip"), digits) == "none"
    assert resolve_tta(recipe, photographs) == "flip_and_shift"
    assert resolve_tta(replace(recipe, flip=True), digits) == "flip_and_shift"
