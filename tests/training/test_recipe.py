"""Recipes: which setting wins, what is refused, and that YAML holds all of it."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenext.foundation.errors import ConfigurationError
from lenext.training.experiment import Experiment, read_experiment
from lenext.training.recipe import Recipe, group_of
from lenext.training.recipes import ABOUT, OF_NETWORKS, RECIPES, load_recipe
from lenext.workflows.prepare import build_experiment


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_one_and_says_what_it_is(name: str) -> None:
    assert Recipe().with_keys(RECIPES[name]) != Recipe()
    assert ABOUT[name]


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_every_networks_recipe_is_one(name: str) -> None:
    from lenext.models import MODELS

    assert name in MODELS
    Recipe().with_keys(OF_NETWORKS[name])


def test_every_key_has_help() -> None:
    assert all(one.metadata["about"] and group_of(one.name) for one in fields(Recipe))


def test_which_setting_wins() -> None:
    assert build_experiment("", {"network": "convnext_32px"}, {}).recipe.epochs == Recipe().epochs
    assert build_experiment("", {"network": "lenet"}, {}).recipe.epochs == OF_NETWORKS["lenet"]["epochs"]
    assert build_experiment("quick", {"network": "lenet"}, {}).recipe.epochs == 3
    assert build_experiment("quick", {"network": "lenet"}, {"epochs": 4}).recipe.epochs == 4


def test_a_recipe_brings_the_network_that_it_is_made_for() -> None:
    found = build_experiment("speedrun", {"data": "cifar10"}, {})
    assert found.network == "airbench94"
    assert found.recipe.keep_weight_norms
    other = build_experiment("speedrun", {"network": "resnet18_32px"}, {})
    assert other.network == "resnet18_32px"
    assert other.recipe.hardest_fraction == found.recipe.hardest_fraction


def test_a_new_optimizer_does_not_keep_the_others_rate() -> None:
    recipe = build_experiment("", {"network": "lenet"}, {"optimizer": "sgd"}).recipe.with_defaults()
    assert recipe.learning_rate == 0.05
    assert (
        build_experiment("", {"network": "lenet"}, {"optimizer": "sgd", "learning_rate": 0.3}).recipe.learning_rate
        == 0.3
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"optimizer": "sdg"}, "did you mean 'sgd'"),
        ({"epochs": 0}, "at least 1"),
        ({"epochs": 2.5}, "a whole number"),
        ({"learning_rate": -1}, "from 0 to 1,000,000"),
        ({"learning_rate": float("nan")}, "from 0 to 1,000,000"),
        ({"validation_fraction": 1}, "below 1"),
        ({"validation_fraction": 0, "early_stopping": 3}, "needs a validation set"),
        ({"warmup_epochs": 2}, "one_cycle has its own warmup"),
        ({"balanced_sampling": True, "class_weights": True}, "does the same already"),
        ({"balanced_sampling": True, "shuffle": False}, "draws at random"),
        ({"balanced_sampling": True, "hardest_fraction": 0.5}, "draws the images already"),
        ({"hardest_fraction": 0}, "from 0.01 to 1"),
        ({"freeze_stem_after": 1.5}, "from 0 to 1"),
        ({"freeze_stem_after": 0.5, "compile": "yes"}, "leave out compile=yes"),
        ({"newton_schulz_steps": 0}, "from 1 to 20"),
        ({"newton_schulz_steps": 3}, "for optimizer=muon, not sgd"),
        ({"keep_weight_norms": True, "optimizer": "sgd"}, "for optimizer=muon"),
        ({"parts": 2, "compile": "yes"}, "leave out compile=yes"),
        ({"flip": "sometimes"}, "flip=sometimes"),
        ({"tta": "six"}, "flip_and_shift"),
        ({"compile": "cuda_graphs", "accumulate_batches": 2}, "leave out accumulate_batches"),
        ({"progressive_resizing": 0.5, "resize": "pad"}, "leave out resize=pad"),
        ({"random_crop": 0}, "from 0.01 to 1"),
        ({"batch_size": "many"}, "batch_size"),
        ({"warmup_epochs": 20, "schedule": "cosine"}, "more than the 10 epochs"),
        ({"nesterov": True, "momentum": 0}, "nesterov"),
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov"),
        ({"seed": -1}, "from 0 to"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Recipe().with_keys(settings)


recipes = st.builds(
    Recipe,
    epochs=st.integers(1, 1000),
    learning_rate=st.floats(0, 10) | st.just("auto"),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    image_size=st.integers(1, 999) | st.just("auto"),
    shuffle=st.booleans(),
    flip=st.booleans() | st.sampled_from(["auto", "alternating"]),
    seed=st.integers(0, 2**40),
)


@given(
    recipes,
    st.text(max_size=20),
    st.dictionaries(st.text(min_size=1, max_size=9), st.integers() | st.text(), max_size=3),
)
def test_yaml_holds_an_experiment_exactly(
    tmp_path_factory: pytest.TempPathFactory, recipe: Recipe, data: str, options: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    experiment = Experiment("lenet", options, data=data, recipe=recipe)
    path.write_text(experiment.to_yaml(), encoding="utf-8")
    found = read_experiment(path)
    assert Experiment(**(found | {"recipe": Recipe().with_keys(found["recipe"])})) == experiment


def test_a_short_yaml_sets_only_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("network: lenet5\nepochs: 7\nlearning_rate: 1e-2\n")
    experiment = build_experiment(str(path), {}, {})
    assert experiment.network == "lenet5"
    assert (experiment.recipe.epochs, experiment.recipe.learning_rate) == (7, 0.01)
    assert experiment.recipe.optimizer == OF_NETWORKS["lenet5"]["optimizer"]
    assert replace(experiment, network="lenet") == build_experiment(str(path), {"network": "lenet"}, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epochz: 3", "did you mean 'epochs'"),
        ("recipe:\n  epochs: many", "a whole number"),
        ("recipe:\n  network: lenet", "no key 'network'|did you mean"),
        ("- 1\n- 2", "lines of `key: value`"),
        ("recipe: 3", "under `recipe:`"),
        ("options: 3", "under `options:`"),
        ("a: [", "not YAML"),
        ("network: 3", "text is needed"),
        ("!!python/object/apply:os.system ['x']", "not YAML"),
    ],
)
def test_a_wrong_yaml_is_one_line_with_its_path(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_recipe(str(path))
    assert "wrong.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_recipes() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'quick'"):
        load_recipe("quik")
    with pytest.raises(ConfigurationError, match="no such recipe file"):
        load_recipe("missing.yaml")
