"""What `train` settles before it begins."""

from dataclasses import replace

import pytest
import torch

from lenext.acceleration import compilation
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.job import Job, prepare_job
from lenext.workflows.plan_text import describe_job


def job_of(data: Dataset, network: str, **settings: object) -> Job:
    experiment = Experiment(network, data="digits", recipe=Recipe(device="cpu").with_keys(settings).with_defaults())
    return prepare_job(experiment, split_by_recipe(data, experiment.recipe), Context(offline=True))


def test_compiling_is_decided_by_the_table(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "has_compiler", lambda: True)
    images = len(split_by_recipe(few, Recipe()).train)
    monkeypatch.setattr(compilation, "MIN_SAMPLES", {"lenet": 3 * images})
    monkeypatch.setattr(compilation, "MIN_THREADS", torch.get_num_threads())
    assert job_of(few, "lenet", epochs=2).recipe.compile == "no"
    assert job_of(few, "lenet", epochs=3).recipe.compile == "yes"
    assert "compiled" in describe_job(job_of(few, "lenet", epochs=3))["device"]
    assert job_of(few, "lenet_32px", epochs=3).recipe.compile == "no"
    assert job_of(few, "lenet", epochs=3, compile="no").recipe.compile == "no"
    monkeypatch.setattr(compilation, "MIN_THREADS", torch.get_num_threads() + 1)
    assert job_of(few, "lenet", epochs=3).recipe.compile == "no"
    monkeypatch.setattr(compilation, "MIN_THREADS", 1)
    monkeypatch.setattr(compilation, "has_compiler", lambda: False)
    assert job_of(few, "lenet", epochs=3).recipe.compile == "no"


def test_a_progressive_size_that_a_network_cannot_take_is_refused(few: Dataset) -> None:
    with pytest.raises(ConfigurationError, match=r"progressive_resizing=0\.5: the network"):
        job_of(few, "lenet", progressive_resizing=0.5)
    assert job_of(few, "resnet18_32px", progressive_resizing=0.5, train_samples=60).recipe.progressive_resizing == 0.5


def test_an_automatic_batch_is_found(few: Dataset) -> None:
    found = job_of(few, "lenet", batch_size="auto")
    assert found.recipe.batch_size == found.settings.sampling.batch_size
    assert found.settings.sampling.batch_size.bit_count() == 1
    assert "batches of" in describe_job(found)["recipe"]
    assert replace(found.recipe, batch_size=5).batch_size == 5
