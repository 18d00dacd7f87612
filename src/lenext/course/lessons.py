"""Lessons: the claims of the course documents as comparisons, which conclude what their figures support.

Each takes at most three minutes on a CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lenext.comparison.engine import run_comparison
from lenext.comparison.plan import Contestant, Plan
from lenext.comparison.specification import Comparison, Specification
from lenext.comparison.standings import Standing, compare_pair
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.modes import evaluation_mode
from lenext.models import teaching
from lenext.reporting.console import Console
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.workflows.context import Context
from lenext.workflows.open_weights import open_weights
from lenext.workflows.prepare import open_data, resolve_experiment

BASE_KEYS: dict[str, Any] = {  # plain gradient descent, so that only what the lesson varies makes a difference
    "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0, "schedule": "constant",
    "batch_size": 64, "epochs": 6, "flip": False, "validation_fraction": 0.1,
}  # fmt: skip
TEACHING = f"{Path(teaching.__file__).resolve()}:"
MAX_SINGLE_IMAGES = 200  # predicted one by one
Conclude = Callable[[Mapping[str, Standing]], list[str]]


@dataclass(frozen=True)
class Arm:
    """One of those compared in a lesson: a network, its options, and recipe keys."""

    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """A question and the comparison that answers it."""

    question: str
    source: str  # the document that makes the claim
    arms: Mapping[str, Arm]
    conclude: Conclude  # returns what the standings, by name, support
    data: str = "digits"
    seeds: int = 5


def compare_pairs(*pairs: tuple[str, str]) -> Conclude:
    """Return a function that compares each pair on the test set."""

    def conclude(standings: Mapping[str, Standing]) -> list[str]:
        return [line for first, second in pairs for line in compare_over_seeds(standings[first], standings[second])]

    return conclude


def compare_over_seeds(first: Standing, second: Standing) -> list[str]:
    """Compare two arms in one sentence; in none if they share fewer than two seeds, which says nothing of chance."""
    shared = first.accuracies("test").keys() & second.accuracies("test").keys()
    return compare_pair(first, second, "test") if len(shared) > 1 else []


def compare_learning_rates(standings: Mapping[str, Standing]) -> list[str]:
    """Say at which rates each norm learns, and compare the norms at each rate."""
    sentences = []
    for norm in ("batch norm", "no norm"):
        means = {name.rpartition(" ")[2]: item.mean("test") or 0.0 for name, item in standings.items() if norm in name}
        learned = [rate for rate, mean in means.items() if mean > 0.5]
        accuracies = ", ".join(f"{100 * mean:.1f} % at {rate}" for rate, mean in means.items())
        sentences.append(
            f"with {norm} {len(learned)} of {len(means)} rates learn ({', '.join(learned) or 'none'}): {accuracies}"
        )
    rates = dict.fromkeys(name.rpartition(" ")[2] for name in standings)
    return sentences + compare_pairs(*((f"batch norm, rate {rate}", f"no norm, rate {rate}") for rate in rates))(
        standings
    )


def count_changed_predictions(standings: Mapping[str, Standing]) -> list[str]:
    """Count the predictions that depend on the other images of the batch, and compare the norms."""
    sentences = []
    for name, standing in standings.items():
        changed = total = 0
        for run in (outcome.run for outcome in standing.outcomes if outcome.run):
            network, description = open_weights(run)
            test = open_data(run, Context()).test
            assert test is not None
            images = description.preprocessing(test.images[torch.arange(min(MAX_SINGLE_IMAGES, len(test)))])
            with evaluation_mode(network), torch.inference_mode():
                together = torch.cat([network(batch) for batch in images.split(50)]).argmax(1)
                alone = torch.cat([network(batch) for batch in images.split(1)]).argmax(1)
            changed, total = changed + int((together != alone).sum()), total + len(images)
        if total:
            sentences.append(f"{name}: {changed} of {total} predictions change when an image is predicted alone")
    return [*sentences, *compare_pairs(("over each image", "over the batch tensor"))(standings)]


LESSONS: dict[str, Lesson] = {
    "batch-norm": Lesson(
        "What does batch norm allow?", "D1, D2",
        {
            f"{words}, rate {rate}": Arm("lenet", {"norm": norm}, {"learning_rate": rate, "momentum": 0.0})
            for norm, words in (("batch", "batch norm"), ("none", "no norm")) for rate in (0.02, 0.2, 0.6)
        }, compare_learning_rates, seeds=4,
    ),
    "depth-and-skips": Lesson(
        "Is deeper better, and what do skips change?", "D0, D1, D4",
        {
            f"{layers} layers, {'skips' if skips else 'no skips'}":
            Arm("resnet18_32px", {"depths": (blocks,) * 4, "width": 0.25, "stem": "imagenet", "skips": skips})
            for blocks, layers in ((1, 10), (6, 50)) for skips in (True, False)
        },
        compare_pairs(("10 layers, no skips", "50 layers, no skips"), ("50 layers, skips", "50 layers, no skips")),
        seeds=4,
    ),
    "relu-and-tanh": Lesson(
        "Which activation learns faster?", "D0, D2",
        {name: Arm("lenet", {"activation": name}) for name in ("relu", "tanh", "sigmoid")},
        compare_pairs(("relu", "tanh"), ("tanh", "sigmoid")),
    ),
    "pooling": Lesson(
        "Maximum or average?", "D0, D2",
        {name: Arm("lenet", {"pooling": name}) for name in ("max", "average")}, compare_pairs(("max", "average")),
    ),
    "kernel-sizes": Lesson(
        "One kernel size, or Inception's mix of them?", "D0, D4",
        {
            f"{kernel}x{kernel}" if kernel != "mixed" else "mixed": Arm(f"{TEACHING}Kernels", {"kernel": kernel})
            for kernel in ("1", "3", "5", "mixed")
        },
        compare_pairs(("3x3", "1x1"), ("mixed", "3x3"), ("mixed", "5x5")), seeds=4,
    ),
    "more-data": Lesson(
        "What are 55,000 more images worth?", "D0",
        {
            name: Arm("lenet", {}, {"epochs": 3, "train_samples": rows, "validation_fraction": 0.0})
            for name, rows in (("5,000 rows", 5000), ("60,000 rows", "all"))
        },
        compare_pairs(("60,000 rows", "5,000 rows")), data="mnist", seeds=4,
    ),
    "longer": Lesson(
        "How long is long enough?", "D0",
        {f"{epochs} epochs": Arm("lenet", {}, {"epochs": epochs}) for epochs in (1, 3, 10, 30)},
        compare_pairs(("3 epochs", "1 epochs"), ("10 epochs", "3 epochs"), ("30 epochs", "10 epochs")),
    ),
    "norm-over-the-batch": Lesson(
        "What if a norm runs over the whole batch?", "D3",
        {
            words: Arm("convnext_patch4", {"norm": norm, "depths": (2, 2)},
                         {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01})
            for norm, words in (("batch_tensor", "over the batch tensor"), ("image", "over each image"))
        }, count_changed_predictions, seeds=4,
    ),
    "softmax-before-the-loss": Lesson(
        "What if the network ends in a softmax?", "D2",
        {"logits": Arm("lenet"), "softmax": Arm(f"{TEACHING}SoftmaxLeNet")}, compare_pairs(("logits", "softmax")),
    ),
}  # fmt: skip


def list_lessons() -> list[dict[str, Any]]:
    """Return the lessons, a row each."""
    return [
        {"name": name, "question": item.question, "compared": ", ".join(item.arms), "data": item.data,
         "source": item.source}
        for name, item in LESSONS.items()
    ]  # fmt: skip


def lesson(
    lesson_name: str,
    *,
    name: str = "",
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Comparison:
    """Run a lesson, by its name in LESSONS. The other arguments are those of `race`.

    Raises:
        ConfigurationError: There is no such lesson, or a setting is what it compares.
    """
    return run_comparison(
        LessonComparison(lesson_name, settings=settings), runs_dir, name, Context(data_dir, offline, Console(quiet))
    )


@dataclass(frozen=True)
class LessonComparison(Specification):
    """The arms of a lesson."""

    name: str
    kind = verb = "lesson"
    ranked = False

    def __post_init__(self) -> None:
        if self.name not in LESSONS:
            raise ConfigurationError(unknown_name("lesson", self.name, LESSONS, "`lenext lesson` lists them"))
        for key in self.settings:
            if any(key in arm.recipe for arm in self.lesson.arms.values()):
                raise ConfigurationError(f"{key}: lesson {self.name} compares it, or depends on it; leave it out")

    @property
    def lesson(self) -> Lesson:
        return LESSONS[self.name]

    @property
    def seeds(self) -> int:
        return self.lesson.seeds

    def title(self) -> str:
        return self.lesson.question

    def table_title(self) -> str:
        return "side by side"

    def default_name(self) -> str:
        return f"lesson-{self.name}"

    def first_experiment(self) -> Experiment:
        return self.experiment(next(iter(self.lesson.arms.values())))

    def experiment(self, arm: Arm) -> Experiment:
        recipe = Recipe().with_keys(BASE_KEYS).with_keys(arm.recipe).with_keys(self.settings)
        return resolve_experiment(
            Experiment(network=arm.network, options=arm.options, data=self.lesson.data, recipe=recipe)
        )

    def contestants(self, data: Dataset) -> tuple[list[Contestant], dict[str, str]]:
        return [Contestant(name, self.experiment(arm)) for name, arm in self.lesson.arms.items()], {}

    def facts(self, plan: Plan) -> dict[str, str]:
        return {
            "lesson": f"{self.lesson.question} ({self.lesson.source})",
            "compared": ", ".join(self.lesson.arms),
            "each": f"{plan.seeds} seeds on {self.lesson.data}",
        }

    def conclude(self, standings: Sequence[Standing], counts: Mapping[str, int]) -> list[str]:
        return self.lesson.conclude({standing.name: standing for standing in standings})
