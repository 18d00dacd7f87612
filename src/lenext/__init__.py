"""lenext: from LeNet to ConvNeXt. Build, inspect, train, compare and ship the classic convolutional networks.

Train a network and leave a run folder with its weights, figures and predictions:

>>> import lenext
>>> run = lenext.train("lenet", data="digits")  # doctest: +SKIP

Or write the training loop yourself, with any `nn.Module`:

>>> data = lenext.load("digits")
>>> network = lenext.create("lenet")
>>> recipe = lenext.Recipe(epochs=2)
>>> for record in lenext.fit(network, data, recipe):
...     print("epoch", record.epoch)
epoch 1
epoch 2
>>> evaluation = lenext.evaluate(network, data, recipe)
>>> len(evaluation.labels)
359
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from lenext.comparison.race import race as race
    from lenext.comparison.vary import vary as vary
    from lenext.course.lessons import lesson as lesson
    from lenext.course.reproduce import reproduce as reproduce
    from lenext.data import DATASETS as DATASETS
    from lenext.data import load as load
    from lenext.data.dataset import Dataset as Dataset
    from lenext.data.dataset import Split as Split
    from lenext.foundation.errors import LenextError as LenextError
    from lenext.foundation.timing import timed as timed
    from lenext.inspection.summary import summarize as summarize
    from lenext.models import MODELS as MODELS
    from lenext.models import create as create
    from lenext.runs.folder import Run as Run
    from lenext.training.experiment import Experiment as Experiment
    from lenext.training.loop import evaluate as evaluate
    from lenext.training.loop import events as events
    from lenext.training.loop import fit as fit
    from lenext.training.metrics import Record as Record
    from lenext.training.rates import find_learning_rate as find_learning_rate
    from lenext.training.recipe import Recipe as Recipe
    from lenext.training.recipes import RECIPES as RECIPES
    from lenext.training.state import Step as Step
    from lenext.training.state import TrainingState as TrainingState
    from lenext.workflows import show as show
    from lenext.workflows.audit import audit as audit
    from lenext.workflows.evaluate import val as val
    from lenext.workflows.explore import explore as explore
    from lenext.workflows.export import check_export as check_export
    from lenext.workflows.export import export as export
    from lenext.workflows.machine import checks as checks
    from lenext.workflows.networks import diagram as diagram
    from lenext.workflows.networks import summary as summary
    from lenext.workflows.predict import predict as predict
    from lenext.workflows.rates import lr_find as lr_find
    from lenext.workflows.report import report as report
    from lenext.workflows.resume import resume as resume
    from lenext.workflows.show import explain as explain
    from lenext.workflows.side_by_side import compare as compare
    from lenext.workflows.train import train as train

HOMES = {
    "DATASETS": "data",
    "Dataset": "data.dataset",
    "Experiment": "training.experiment",
    "LenextError": "foundation.errors",
    "MODELS": "models",
    "RECIPES": "training.recipes",
    "Recipe": "training.recipe",
    "Record": "training.metrics",
    "Run": "runs.folder",
    "Split": "data.dataset",
    "Step": "training.state",
    "TrainingState": "training.state",
    "audit": "workflows.audit",
    "check_export": "workflows.export",
    "checks": "workflows.machine",
    "compare": "workflows.side_by_side",
    "create": "models",
    "diagram": "workflows.networks",
    "evaluate": "training.loop",
    "events": "training.loop",
    "explain": "workflows.show",
    "explore": "workflows.explore",
    "find_learning_rate": "training.rates",
    "export": "workflows.export",
    "fit": "training.loop",
    "lesson": "course.lessons",
    "load": "data",
    "lr_find": "workflows.rates",
    "predict": "workflows.predict",
    "race": "comparison.race",
    "report": "workflows.report",
    "reproduce": "course.reproduce",
    "resume": "workflows.resume",
    "summarize": "inspection.summary",
    "summary": "workflows.networks",
    "timed": "foundation.timing",
    "train": "workflows.train",
    "val": "workflows.evaluate",
    "vary": "comparison.vary",
}
"""The module of each public name, imported on first use: `import lenext` alone loads nothing heavy."""

MODULES = {"show": "workflows.show"}
"""Public modules: `lenext.show.confusion(run)` and the other figures."""

__all__ = ["__version__", *HOMES, *MODULES]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(f"lenext.{MODULES[name]}")
    if name not in HOMES:
        raise AttributeError(f"module 'lenext' has no attribute '{name}'")
    return getattr(import_module(f"lenext.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
