"""`report`: a run as one page, with its figures, its mistakes, its data and how to reproduce it."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import nn

from lenext.data import shown_source
from lenext.data.dataset import Dataset
from lenext.data.duplicates import count_shared_images, find_exact_duplicates
from lenext.data.image_files import ImageFiles
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.files import write_atomic
from lenext.foundation.intervals import with_interval
from lenext.foundation.notebook import data_url
from lenext.inspection.diagram import lay_out
from lenext.inspection.diagram_svg import to_svg
from lenext.inspection.network_graph import network_graph
from lenext.inspection.summary import summarize
from lenext.models.user_network import check_network_argument, is_user_network
from lenext.reporting.console import format_duration
from lenext.reporting.page import (
    MAX_MATRIX_CLASSES,
    MAX_PIXELATED_SIDE,
    confusion_cells,
    render,
    training_charts,
)
from lenext.reporting.svg import Chart
from lenext.runs.folder import Run
from lenext.runs.results import class_metrics
from lenext.runs.weights import Description
from lenext.training.experiment import Experiment
from lenext.training.notices import Samples, calibration_notice, final_notices
from lenext.training.schedule import learning_rate_curve, schedule_of_run
from lenext.workflows.context import Context
from lenext.workflows.familiar import write_familiarity
from lenext.workflows.opened_run import OpenedRun
from lenext.workflows.report_images import ReportImages

BROKEN = (LenextError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)  # damage
MAX_TABLE_CLASSES = 20


def report(
    run: str | Path | Run,
    *,
    network: nn.Module | str = "",
    data: Dataset | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Path:
    """Write `report.html` into a run's folder.

    A part that cannot be drawn, because data were moved or weights are missing, is left out; the page says why.

    Args:
        run: A run, or its folder.
        network: The network of a run whose network is user-defined or was made in Python: `FILE.py:Class`, or a module.
        data: The data of a run whose data were made in Python.
        data_dir: The folder of the published datasets; None for the run's own.
        offline: Whether the network must not be used.

    Returns:
        The path of the page.

    Raises:
        RunError: There is no such run, or `network` is given for a run that knows its own.
    """
    run = Run.open(run)
    check_network_argument(network)
    if isinstance(network, str) and network and not is_user_network(run.experiment.network):
        raise RunError(f"{run.path}: its network is {run.experiment.network}; leave network={network} out")
    opened = OpenedRun(run, network, Context(data_dir, offline, dataset=data))
    return Report(opened).write()


def write_report(run: Run, experiment: Experiment, context: Context) -> None:
    """Write the page at the end of a training; a failure is printed and does not end the training."""
    console, network = context.console, context.network
    try:
        user_network = experiment.network if is_user_network(experiment.network) else ""
        module = user_network if network is None else copy.deepcopy(network)
        opened = OpenedRun(run, module, Context(dataset=context.dataset))
        Report(opened).write()
        console.print(f"report: {run.path / 'report.html'}")
    except (LenextError, OSError, RuntimeError, ValueError) as error:
        console.print(f"note: no report was written ({' '.join(str(error).split())}); `lenext report` tries again")
        return
    try:
        write_familiarity(opened)
    except (OSError, *BROKEN) as error:
        console.print(f"note: no features were kept to recognize unlike images by ({' '.join(str(error).split())})")


class Report:
    """The content of a run's page, collected part by part; a part that fails is left out, with the reason."""

    def __init__(self, opened: OpenedRun) -> None:
        run = opened.run
        self.opened, self.run, self.experiment = opened, run, run.experiment
        self.missing: list[str] = []
        self.fine = ": no marked overfitting, no collapse"
        self.environment = run.read_json("environment.json")
        self.split = run.read_json("split.json")
        self.results, self.records = run.results, run.records
        self.module: nn.Module | None = None
        self.description: Description | None = None
        self.data: Dataset | None = None
        try:
            self.module, self.description = opened.weights
        except LenextError as error:
            self.missing.append(f"Without the weights there are no explanations and no layers here: {error}")
        self.classes = self.description.classes if self.description else tuple(self.split.get("classes", ()))
        self.answers = self.part("predictions", lambda: opened.answers, None)
        try:
            self.data = opened.data
        except LenextError as error:
            self.missing.append(f"Without the data there are no images here: {error}")

    def write(self) -> Path:
        """Write the page into the run's folder, and return its path."""
        path = self.run.path / "report.html"
        write_atomic(path, render("run.html", **self.content()))
        return path

    def content(self) -> dict[str, Any]:
        """Return the values of the template."""
        experiment = self.experiment
        images = ReportImages(self.opened, experiment.recipe, self.data, self.answers, self.module, self.description)
        explanations, map_layer = self.part("explanations", images.explanations, ([], ""))
        network = experiment.network or "a network made in Python"
        return {
            "title": f"{network.rpartition(':')[2]} on {shown_source(experiment.data)}",
            "subtitle": f"{self.run.path.resolve()}",
            "command": "lenext train --recipe recipe.yaml",
            "recipe": experiment.to_yaml(),
            "pixelated": self.data is not None and max(self.data.shape[1:]) <= MAX_PIXELATED_SIDE,
            "numbers": self.part("key figures", self.key_figures, []),
            "notices": format_sentences(self.part("notices", self.notices, [])),
            "charts": self.part("curves", self.charts, []),
            "galleries": self.part("images", images.galleries, []),
            "data": self.part("data", self.data_facts, []),
            "machine": self.part("machine", self.machine_facts, []),
            **self.part("results by class", self.class_results, {"classes": []}),
            "explanations": explanations,
            "map_layer": map_layer,
            "figures": self.part("figures", images.figures, []),
            **self.part("layers", self.layers, {"layers": []}),
            "fine": self.fine,  # this and `missing` are complete once all parts were collected
            "missing": self.missing,
        }

    def part(self, name: str, collect: Callable[[], Any], default: Any) -> Any:
        """Return a part of the page; where it fails, note the reason and return the default."""
        try:
            return collect()
        except BROKEN as error:
            self.missing.append(f"No {name} here: {' '.join(str(error).split()) or type(error).__name__}")
            return default

    def key_figures(self) -> list[tuple[str, str]]:
        """Return the largest numbers of the page with their names."""
        test, validation = self.results.get("test") or {}, self.results.get("validation") or {}
        figures = []
        if "accuracy" in test:
            about = f"accuracy on {test['samples']:,} test images"
            figures.append((f"{test['accuracy']:.2%}", with_interval(about, test)))
        if validation.get("accuracy") is not None:
            epoch = self.results.get("best_epoch")
            about = f"validation accuracy, epoch {epoch}"
            figures.append((f"{validation['accuracy']:.2%}", with_interval(about, validation)))
        if "top5_accuracy" in test:
            figures.append((f"{test['top5_accuracy']:.2%}", "top-5 accuracy on the test images"))
        if self.module:
            figures.append((f"{sum(weight.numel() for weight in self.module.parameters()):,}", "parameters"))
        if "training_seconds" in self.results:
            duration = format_duration(self.results["training_seconds"])
            figures.append((duration, f"of training, {len(self.records)} epochs"))
        reads = self.results.get("test_reads", 0)
        return [*figures, *([(f"{reads} times", "the test set was read")] if reads > 1 else [])]

    def charts(self) -> list[Chart]:
        """Return the charts of the training; none before the first epoch."""
        if not self.records:
            return []
        samples = self.split.get("samples", {}).get("train", 0)
        rates = learning_rate_curve(schedule_of_run(self.experiment.recipe, samples), self.records)
        return training_charts(self.records, self.results.get("best_epoch"), rates)

    def notices(self) -> list[str]:
        """Return the problems that the records, the predictions and the data show."""
        largest_share = 1 / max(len(self.classes), 1)
        if self.data is not None:
            counts = self.data.train.labels.bincount()
            largest_share = float(counts.max() / counts.sum())
        recipe, sizes = self.experiment.recipe, self.split.get("samples", {})
        trained = recipe.samples_per_epoch(sizes["train"]) if "train" in sizes else 0
        samples = Samples(max(len(self.classes), 2), largest_share, trained, sizes.get("validation", 0))
        notices = final_notices(self.records, samples)
        if self.answers is not None and len(self.answers):
            confidence, accuracy = self.answers.confidence_and_accuracy
            error, by_chance = self.answers.calibration_error, self.answers.calibration_error_by_chance
            notices.append(calibration_notice(error, by_chance, confidence, accuracy, recipe))
        notices += self.leak_notices()
        if self.results.get("test_reads", 0) > 1:
            notices.append("the test set was read more than once; choices made by it bias its figures")
        return [notice for notice in notices if notice]

    def leak_notices(self) -> list[str]:
        """Return a sentence for each split that shares images with the training set."""
        splits = self.data.splits() if self.data else {}
        if not splits or any(isinstance(split.images, ImageFiles) for split in splits.values()):
            return []
        duplicates = find_exact_duplicates(splits)
        self.fine += ", no image in two splits"
        shared = {name: count_shared_images(duplicates, "train", name) for name in ("validation", "test")}
        return [
            f"{number:,} of the {name} images are training images too, so its figures are too good"
            for name, number in shared.items()
            if number
        ]

    def class_results(self) -> dict[str, Any]:
        """Return the results by class, the confusion matrix and the calibration."""
        answers = self.answers
        if answers is None or not len(answers):
            return {"classes": []}
        rows = class_metrics(answers, answers.classes)
        shown = rows
        if len(rows) > MAX_TABLE_CLASSES:
            shown = sorted(rows, key=lambda row: row["f1"])[:MAX_TABLE_CLASSES]
        image = self.run.path / "confusion_matrix.png"
        as_table = len(answers.classes) <= MAX_MATRIX_CLASSES
        return {
            "classes": shown,
            "more_classes": len(rows) if len(rows) > len(shown) else 0,
            "confused": answers.most_confused(),
            "calibration": answers.reliability_bins(),
            "calibration_error": answers.calibration_error,
            "calibration_error_by_chance": answers.calibration_error_by_chance,
            "names": answers.classes,
            "matrix": confusion_cells(answers) if as_table else [],
            "matrix_image": data_url(image.read_bytes(), "png") if not as_table and image.is_file() else "",
        }

    def layers(self) -> dict[str, Any]:
        """Return the network's blocks, and its diagram."""
        if self.module is None or self.description is None:
            return {"layers": []}
        shape = self.description.preprocessing.input_shape
        summary = summarize(self.module, shape)
        try:
            name = self.experiment.network.rpartition(":")[2]
            diagram = Markup(to_svg(lay_out([(name, network_graph(self.module, shape))])))
        except LenextError:
            diagram = Markup("")
        return {"layers": summary.blocks(), "diagram": diagram}

    def data_facts(self) -> list[tuple[str, str]]:
        """Return the facts about the data, by name."""
        source = self.split.get("source", {})
        sizes = ", ".join(f"{count:,} {part}" for part, count in self.split.get("samples", {}).items())
        facts = [("data", self.experiment.data), ("images", sizes), ("classes", f"{len(self.classes):,}")]
        facts += [(name, str(value)) for name, value in source.items()]
        held_out = [part for part in self.split.get("taken_out_of_train", {}) if part != "train"]
        if held_out:
            method = f"{self.split.get('method')}, seed {self.split.get('seed')}"
            facts.append(("taken out of train", f"{' and '.join(held_out)} ({method}); split.json lists the samples"))
        if self.description:
            prepare = self.description.preprocessing
            facts.append(("input of the network", f"{' x '.join(map(str, prepare.input_shape))}, {prepare.resize}"))
        return [(name, value) for name, value in facts if value]

    def machine_facts(self) -> list[tuple[str, str]]:
        """Return the facts about the machine and the time of the training, by name."""
        environment = self.environment
        versions = ", ".join(f"{name} {number}" for name, number in environment.get("versions", {}).items())
        training = ""
        if "training_seconds" in self.results and self.records:
            epoch = sum(record.seconds for record in self.records) / len(self.records)
            training = f"{format_duration(self.results['training_seconds'])}, {format_duration(epoch)} an epoch"
        facts = [
            ("training", training),
            ("device", environment.get("device")),
            ("processor", environment.get("device_name")),
            ("threads", environment.get("threads")),
            ("precision", environment.get("precision")),
            ("system", environment.get("platform")),
            ("versions", versions),
            ("commit", environment.get("commit")),
            ("resumed", len(environment.get("resumed", [])) or None),
        ]
        return [(name, str(value)) for name, value in facts if value]


def format_sentences(sentences: Sequence[str]) -> list[str]:
    """Return sentences with a capital letter and a full stop."""
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences]
