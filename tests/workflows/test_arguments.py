"""What is passed in Python has an effect or is refused, whatever its type."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

import lenext
from lenext.foundation.errors import ConfigurationError
from lenext.runs.folder import Run


class Net(nn.Sequential):
    """A network of one layer."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    return lenext.train("lenet", data="digits", epochs=1, train_samples=64, runs_dir=folder, quiet=True)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_recipe_file_may_be_text_or_a_path(trained: Run, tmp_path: Path, as_type: Any) -> None:
    again = lenext.train(recipe=as_type(trained.path / "recipe.yaml"), runs_dir=tmp_path, quiet=True)
    assert again.experiment == trained.experiment
    assert [record.train_loss for record in again.records] == [record.train_loss for record in trained.records]


@pytest.mark.parametrize("recipe", [None, 3, {"epochs": 1}])
def test_another_recipe_is_refused(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give a name, a YAML file or a Recipe"):
        lenext.train(recipe=recipe, runs_dir=tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", [Net, None, 3, Path("net.py:Net")])
def test_a_network_that_is_no_network_is_refused(network: Any, trained: Run, tmp_path: Path) -> None:
    """A class instead of a module must not train the default network instead."""
    with pytest.raises(ConfigurationError, match="a module such as"):
        lenext.train(network, data="digits", runs_dir=tmp_path, quiet=True)
    with pytest.raises(ConfigurationError):
        lenext.summary(network, image_size=28)
    for function in (lenext.val, lenext.report):
        if network is not None:
            with pytest.raises(ConfigurationError, match="a module such as"):
                function(trained, network=network)
    assert not list(tmp_path.iterdir())
