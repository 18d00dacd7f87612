"""`report`: a run as a page that can be handed in, shown and trusted."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import nn

from lenext.data.dataset import Dataset
from lenext.data.duplicates import count_shared_images, find_exact_duplicates
from lenext.data.images import ImageFiles
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.files import write_atomic
from lenext.inspection.diagram import draw_diagram
from lenext.inspection.network_graph import network_graph
from lenext.inspection.summary import summarize
from lenext.models.user_network import is_user_network
from lenext.reporting.console import format_duration
from lenext.reporting.page import (
    MOST_CELLS,
    confusion_cells,
    curves,
    embedded,
    render,
)
from lenext.runs.folder import Run
from lenext.runs.results import class_metrics
from lenext.runs.saved_predictions import SavedPredictions, read_predictions
from lenext.runs.weights import Description
from lenext.training.experiment import Experiment
from lenext.training.notices import Samples, calibration_notice, noticed
from lenext.training.schedule import Curve, batches_per_epoch, learning_rate_curve
from lenext.workflows.context import Context
from lenext.workflows.prepare import open_data
from lenext.workflows.run_figures import RunFigures
from lenext.workflows.use import open_weights

BROKEN = (LenextError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
"""What a run's folder that somebody changed may lead to."""
CLASSES = 20  # in the table


def report(
    run: str | Path | Run,
    *,
    network: nn.Module | str = "",
    data: Dataset | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Path:
    """Write `report.html` into a run's folder, and return its path.

    What cannot be drawn, as its data have been moved or its weights are not there, is left out, and the page says why.
    network, data: of a run whose network or data were made in Python. Raises RunError where there is no such run.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if isinstance(network, str) and network and not is_user_network(run.experiment.network):
        raise RunError(f"{run.path}: its network is {run.experiment.network}; leave network={network} out")
    return Page(run, network, Context(data_dir, offline, dataset=data)).write()


def write_report(run: Run, experiment: Experiment, context: Context) -> None:
    """Write the page at the end of a training; a failure is printed and does not end the training."""
    console, network = context.console, context.network
    try:
        own = experiment.network if is_user_network(experiment.network) else ""
        report(run, network=own if network is None else copy.deepcopy(network), data=context.dataset)
        console.print(f"report: {run.path / 'report.html'}")
    except (LenextError, OSError, RuntimeError, ValueError) as error:
        console.print(f"note: no report was written ({' '.join(str(error).split())}); `lenext report` tries again")


class Page:
    """What goes into a run's page, gathered part by part; a part that fails says why, and the others go on."""

    def __init__(self, run: Run, network: nn.Module | str, context: Context) -> None:
        self.run, self.experiment = run, run.experiment
        self.missing: list[str] = []
        self.fine = ": no overfitting to speak of, no collapse"
        self.environment = run.read_json("environment.json")
        self.split = run.read_json("split.json")
        self.results, self.records = run.results, run.records
        self.module: nn.Module | None = None
        self.description: Description | None = None
        self.data: Dataset | None = None
        try:
            self.module, self.description = open_weights(run, "best", network)
        except LenextError as error:
            self.missing.append(f"Without the weights there are no explanations and no layers here: {error}")
        self.classes = self.description.classes if self.description else tuple(self.split.get("classes", ()))
        self.answers = self.part("answers", lambda: read_predictions(run.path / "predictions.csv", self.classes), None)
        if self.answers is None:
            self.missing.append("There are no results by class yet: the run has not read its test set.")
        try:
            self.data = open_data(run, context)
        except LenextError as error:
            self.missing.append(f"Without the data there are no images here: {error}")

    def write(self) -> Path:
        path = self.run.path / "report.html"
        write_atomic(path, render("run.html", **self.content()))
        return path

    def content(self) -> dict[str, Any]:
        """All that the template names."""
        experiment, answers = self.experiment, self.answers
        opened = (self.data, self.answers, self.module, self.description)
        images = RunFigures(self.run.path.name, experiment.recipe, *opened)
        explained, map_layer = self.part("explanations", images.explanations, ([], ""))
        best = self.results.get("best_epoch")
        called = experiment.network or "a network made in Python"
        return {
            "title": f"{called.rpartition(':')[2]} on {Path(experiment.data).name}",
            "subtitle": f"{self.run.path.resolve()}",
            "command": "lenext train --recipe recipe.yaml",
            "recipe": experiment.to_yaml(),
            "sharp": self.data is not None and max(self.data.shape[1:]) <= 64,
            "numbers": self.part("figures", self.numbers, []),
            "notices": sentences(self.part("notices", self.notices, [])),
            "charts": self.part("curves", lambda: curves(self.records, best, self.rates()), []) if self.records else [],
            "galleries": self.part("images", images.galleries, []),
            "data": self.part("data", self.data_facts, []),
            "machine": self.part("machine", self.machine, []),
            **self.part("results by class", lambda: self.by_class(answers), {"classes": []}),
            "explanations": explained,
            "map_layer": map_layer,
            "inside": self.part("images of what is inside", images.inside, []),
            **self.part("layers", self.layers, {"layers": []}),
            "fine": self.fine,  # these two are known by now
            "missing": self.missing,
        }

    def part(self, name: str, make: Callable[[], Any], otherwise: Any) -> Any:
        """A part of the page, or instead of it why it is not there."""
        try:
            return make()
        except BROKEN as error:
            self.missing.append(f"No {name} here: {' '.join(str(error).split()) or type(error).__name__}")
            return otherwise

    def numbers(self) -> list[tuple[str, str]]:
        test, validation = self.results.get("test") or {}, self.results.get("validation") or {}
        found = []
        if "accuracy" in test:
            found.append((f"{test['accuracy']:.2%}", f"of {test['samples']:,} test images right"))
        if validation.get("accuracy") is not None:
            found.append((f"{validation['accuracy']:.2%}", f"of validation, epoch {self.results.get('best_epoch')}"))
        if "top5_accuracy" in test:
            found.append((f"{test['top5_accuracy']:.2%}", "right among the five likeliest"))
        if self.module:
            found.append((f"{sum(one.numel() for one in self.module.parameters()):,}", "parameters"))
        if "training_seconds" in self.results:
            found.append(
                (format_duration(self.results["training_seconds"]), f"of training, {len(self.records)} epochs")
            )
        reads = self.results.get("test_reads", 0)
        return [*found, *([(f"{reads} times", "the test set was read")] if reads > 1 else [])]

    def rates(self) -> Curve:
        """The learning rate by epoch."""
        recipe = self.experiment.recipe
        batches = batches_per_epoch(recipe, self.split.get("samples", {}).get("train", 0))
        return learning_rate_curve(recipe, batches, self.records)

    def notices(self) -> list[str]:
        """What the figures and the data give reason to say."""
        share = 1 / max(len(self.classes), 1)
        if self.data is not None:
            counts = self.data.train.labels.bincount()
            share = float(counts.max() / counts.sum())
        recipe, sizes = self.experiment.recipe, self.split.get("samples", {})
        trained = recipe.samples_per_epoch(sizes["train"]) if "train" in sizes else 0
        found = noticed(self.records, Samples(max(len(self.classes), 2), share, trained, sizes.get("validation", 0)))
        if self.answers is not None and len(self.answers):
            confidence, accuracy = self.answers.confidence_and_accuracy
            error, by_chance = self.answers.calibration_error, self.answers.calibration_error_by_chance
            found.append(calibration_notice(error, by_chance, confidence, accuracy, recipe))
        found = [sentence for sentence in found if sentence]
        splits = self.data.splits() if self.data else {}
        if splits and not any(isinstance(one.images, ImageFiles) for one in splits.values()):
            groups = find_exact_duplicates(splits)
            self.fine += ", no image in two splits"
            for other in ("validation", "test"):
                if number := count_shared_images(groups, "train", other):
                    found.append(f"{number:,} of the {other} images are training images too, so its figures flatter")
        if self.results.get("test_reads", 0) > 1:
            found.append("the test set was read more than once; what was chosen by it is no longer a test")
        return found

    def by_class(self, answers: SavedPredictions | None) -> dict[str, Any]:
        if answers is None or not len(answers):
            return {"classes": []}
        rows = class_metrics(answers, answers.classes)
        few = len(rows) <= CLASSES
        image = self.run.path / "confusion_matrix.png"
        small = len(answers.classes) <= MOST_CELLS
        return {
            "classes": rows if few else sorted(rows, key=lambda row: row["f1"])[:CLASSES],
            "more_classes": 0 if few else len(rows),
            "confused": answers.most_confused(),
            "calibration": answers.reliability(),
            "calibration_error": answers.calibration_error,
            "calibration_error_by_chance": answers.calibration_error_by_chance,
            "names": answers.classes,
            "matrix": confusion_cells(answers) if small else [],
            "matrix_image": embedded(image.read_bytes(), "png") if not small and image.is_file() else "",
        }

    def layers(self) -> dict[str, Any]:
        """The network by block, and as a diagram."""
        if self.module is None or self.description is None:
            return {"layers": []}
        shape = self.description.preprocessing.input_shape
        summary = summarize(self.module, shape)
        try:
            diagram = Markup(
                draw_diagram([(self.experiment.network.rpartition(":")[2], network_graph(self.module, shape))])
            )
        except LenextError:
            diagram = Markup("")
        return {"layers": summary.blocks(), "diagram": diagram}

    def data_facts(self) -> list[tuple[str, str]]:
        source = self.split.get("source", {})
        sizes = ", ".join(f"{count:,} {part}" for part, count in self.split.get("samples", {}).items())
        facts = [("data", self.experiment.data), ("images", sizes), ("classes", f"{len(self.classes):,}")]
        facts += [(name, str(value)) for name, value in source.items()]
        carved = [part for part in self.split.get("taken_out_of_train", {}) if part != "train"]
        if carved:
            how = f"{self.split.get('method')}, seed {self.split.get('seed')}"
            facts.append(("taken out of train", f"{' and '.join(carved)} ({how}); which, is in split.json"))
        if self.description:
            prepare = self.description.preprocessing
            facts.append(("given to the network", f"{' x '.join(map(str, prepare.input_shape))}, {prepare.resize}"))
        return [(name, value) for name, value in facts if value]

    def machine(self) -> list[tuple[str, str]]:
        found = self.environment
        versions = ", ".join(f"{name} {number}" for name, number in found.get("versions", {}).items())
        took = ""
        if "training_seconds" in self.results and self.records:
            epoch = sum(one.seconds for one in self.records) / len(self.records)
            took = f"{format_duration(self.results['training_seconds'])}, {format_duration(epoch)} an epoch"
        facts = [
            ("training", took), ("device", found.get("device")), ("processor", found.get("device_name")),
            ("threads", found.get("threads")), ("precision", found.get("precision")), ("system", found.get("platform")),
            ("versions", versions), ("commit", found.get("commit")), ("resumed", len(found.get("resumed", [])) or None),
        ]  # fmt: skip
        return [(name, str(value)) for name, value in facts if value]


def sentences(found: Sequence[str]) -> list[str]:
    """Each with a capital letter and a full stop."""
    return [f"{one[0].upper()}{one[1:]}." for one in found]
