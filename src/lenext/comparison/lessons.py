"""The lessons of the course documents as experiments: each a comparison that ends in a page and in sentences that its
numbers bear out. Each takes at most three minutes on a CPU."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lenext.comparison import teaching
from lenext.comparison.costs import costs_of, jobs_of, machine_of
from lenext.comparison.plan import Contestant, Plan, settled, spelled
from lenext.comparison.standings import Standing, tell, write_csv, write_page
from lenext.comparison.statistics import paired, sentence
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import expand_path
from lenext.foundation.modes import evaluation_mode
from lenext.reporting.console import Console
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.prepare import load_data, resolve_image_size
from lenext.workflows.use import open_weights

PLAIN: dict[str, Any] = {
    "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0, "schedule": "constant",
    "batch_size": 64, "epochs": 6, "flip": False, "validation_fraction": 0.1,
}  # fmt: skip
OURS = f"{Path(teaching.__file__).resolve()}:"
Said = Callable[[Mapping[str, Standing], Dataset], list[str]]


@dataclass(frozen=True)
class Setup:
    """One of those compared in a lesson."""

    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """about: the question; source: the document; said: sentences out of the standings by name, and the data."""

    about: str
    source: str
    setups: Mapping[str, Setup]
    said: Said
    data: str = "digits"
    seeds: int = 5


def against(*pairs: tuple[str, str]) -> Said:
    """Of each pair which is better on the test set, by how much, and whether that is clear."""

    def said(standings: Mapping[str, Standing], _: Dataset) -> list[str]:
        return [line for one, other in pairs if (line := which_is_better(standings[one], standings[other]))]

    return said


def which_is_better(one: Standing, other: Standing) -> str:
    difference = paired(one.figures("test"), other.figures("test"))
    if difference is None or difference.pairs < 2:
        return ""
    return sentence(one.name, other.name, difference, "test accuracy")


def by_rate(standings: Mapping[str, Standing], _: Dataset) -> list[str]:
    """Over which rates each norm learns, and the pairs."""
    found = []
    for norm in ("batch norm", "no norm"):
        some = {name.rpartition(" ")[2]: one.mean("test") or 0.0 for name, one in standings.items() if norm in name}
        learned = [rate for rate, mean in some.items() if mean > 0.5]
        found.append(
            f"with {norm} {len(learned)} of {len(some)} rates learn ({', '.join(learned) or 'none'}): "
            f"{', '.join(f'{100 * mean:.1f} % at {rate}' for rate, mean in some.items())}"
        )
    rates = dict.fromkeys(name.rpartition(" ")[2] for name in standings)
    pairs = [(standings[f"batch norm, rate {rate}"], standings[f"no norm, rate {rate}"]) for rate in rates]
    return [*found, *(line for pair in pairs if (line := which_is_better(*pair)))]


def neighbours(standings: Mapping[str, Standing], data: Dataset) -> list[str]:
    """How many answers change with the other images of the batch; and which norm is better."""
    found = []
    assert data.test is not None
    for name, one in standings.items():
        changed, total = 0, 0
        for outcome in one.outcomes:
            if outcome.run is None:
                continue
            module, description = open_weights(outcome.run)
            images = description.preprocessing(data.test.images[torch.arange(min(200, len(data.test)))])
            with evaluation_mode(module), torch.inference_mode():
                together = torch.cat([module(some) for some in images.split(50)]).argmax(1)
                alone = torch.cat([module(some) for some in images.split(1)]).argmax(1)
            changed, total = changed + int((together != alone).sum()), total + len(images)
        if total:
            found.append(f"{name}: {changed} of {total} answers are others when an image is measured alone")
    return [*found, *against(("over each image", "over the batch tensor"))(standings, data)]


LESSONS: dict[str, Lesson] = {
    "batch-norm": Lesson(
        "What does batch norm allow?", "D1, D2",
        {
            f"{words}, rate {rate}": Setup("lenet", {"norm": norm}, {"learning_rate": rate, "momentum": 0.0})
            for norm, words in (("batch", "batch norm"), ("none", "no norm")) for rate in (0.02, 0.2, 0.6)
        }, by_rate, seeds=4,
    ),
    "depth-and-skips": Lesson(
        "Is deeper better, and what do skips change?", "D0, D1, D4",
        {
            f"{layers} layers, {'skips' if skips else 'no skips'}":
            Setup("resnet18_32px", {"depths": (blocks,) * 4, "width": 0.25, "stem": "imagenet", "skips": skips})
            for blocks, layers in ((1, 10), (6, 50)) for skips in (True, False)
        },
        against(("10 layers, no skips", "50 layers, no skips"), ("50 layers, skips", "50 layers, no skips")), seeds=4,
    ),
    "relu-and-tanh": Lesson(
        "Which activation learns faster?", "D0, D2",
        {name: Setup("lenet", {"activation": name}) for name in ("relu", "tanh", "sigmoid")},
        against(("relu", "tanh"), ("tanh", "sigmoid")),
    ),
    "pooling": Lesson(
        "Maximum or average?", "D0, D2",
        {name: Setup("lenet", {"pooling": name}) for name in ("max", "average")}, against(("max", "average")),
    ),
    "kernel-sizes": Lesson(
        "One kernel size, or Inception's mix of them?", "D0, D4",
        {
            f"{kernel}x{kernel}" if kernel != "mixed" else "mixed": Setup(f"{OURS}Kernels", {"kernel": kernel})
            for kernel in ("1", "3", "5", "mixed")
        },
        against(("3x3", "1x1"), ("mixed", "3x3"), ("mixed", "5x5")), seeds=4,
    ),
    "more-data": Lesson(
        "What are 55,000 more images worth?", "D0",
        {
            name: Setup("lenet", {}, {"epochs": 3, "train_samples": rows, "validation_fraction": 0.0})
            for name, rows in (("5,000 rows", 5000), ("60,000 rows", "all"))
        },
        against(("60,000 rows", "5,000 rows")), data="mnist", seeds=4,
    ),
    "longer": Lesson(
        "How long is long enough?", "D0",
        {f"{epochs} epochs": Setup("lenet", {}, {"epochs": epochs}) for epochs in (1, 3, 10, 30)},
        against(("3 epochs", "1 epochs"), ("10 epochs", "3 epochs"), ("30 epochs", "10 epochs")),
    ),
    "norm-over-the-batch": Lesson(
        "What if a norm runs over the whole batch?", "D3",
        {
            words: Setup("convnext_patch4", {"norm": norm, "depths": (2, 2)},
                         {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01})
            for norm, words in (("batch_tensor", "over the batch tensor"), ("image", "over each image"))
        }, neighbours, seeds=4,
    ),
    "softmax-before-the-loss": Lesson(
        "What if the network ends in a softmax?", "D2",
        {"logits": Setup("lenet"), "softmax": Setup(f"{OURS}SoftmaxLeNet")}, against(("logits", "softmax")),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Taught:
    """A lesson that was run: its folder with the page, the standings in the lesson's order, and what they bear out."""

    path: Path
    standings: tuple[Standing, ...]
    sentences: tuple[str, ...]

    @property
    def page(self) -> Path:
        return self.path / "lesson.html"


def describe() -> list[dict[str, Any]]:
    """The lessons, a row each."""
    return [
        {"name": name, "question": one.about, "compared": ", ".join(one.setups), "data": one.data, "source": one.source}
        for name, one in LESSONS.items()
    ]


def experiment_of(lesson: Lesson, setup: Setup, given: Mapping[str, Any]) -> Experiment:
    """A setup as an experiment: plain descent, so that the one thing that is varied is what is seen."""
    recipe = Recipe().with_keys(PLAIN).with_keys(setup.recipe).with_keys(given).with_defaults()
    return resolve_image_size(Experiment(network=setup.network, options=setup.options, data=lesson.data, recipe=recipe))


def lesson(
    which: str,
    *,
    name: str = "",
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **given: Any,
) -> Taught:
    """Run a lesson: a name of LESSONS. `given`: keys of a Recipe for all that are compared (say `epochs`).

    Raises ConfigurationError for a name that is not there.
    """
    if which not in LESSONS:
        raise ConfigurationError(unknown_name("lesson", which, LESSONS, "`lenext lesson` lists them"))
    one = LESSONS[which]
    request = {"lesson": which, "settings": {key: given[key] for key in sorted(given)}}
    for key in given:
        if any(key in setup.recipe for setup in one.setups.values()):
            raise ConfigurationError(f"{key}: it is of what lesson {which} compares, or needs; leave it out")
    experiments = {called: experiment_of(one, setup, given) for called, setup in one.setups.items()}
    with Console(quiet) as console:
        whole = load_data(next(iter(experiments.values())), Context(data_dir, offline))

        def make() -> Plan:
            jobs = jobs_of(experiments, whole, data_dir, offline)
            costs = costs_of(jobs)
            contestants = tuple(Contestant(called, experiments[called], costs[called]) for called in jobs)
            return Plan({}, contestants, one.seeds, machine_of(jobs))

        folder, plan, _ = settled(request, expand_path(runs_dir), name, f"lesson-{which}", make)
        facts = {"lesson": f"{one.about} ({one.source})", "compared": ", ".join(one.setups), "in": str(folder),
                 "each": f"{plan.seeds} seeds on {one.data}", "machine": plan.machine}  # fmt: skip
        console.print_facts(facts | plan.time(folder))
        console.print()
        outcomes = plan.carry_out(folder, data_dir=data_dir, offline=offline, say=console.print)
        standings = plan.standings(outcomes)
        first = next(iter(experiments.values()))
        said = one.said({here.name: here for here in standings}, split_by_recipe(whole, first.recipe))
        write_csv(standings, folder / "lesson.csv")
        write_page(
            folder / "lesson.html", standings, title=one.about, part="test", facts=list(facts.items()), notes=said,
            command=shlex.join(["lenext", "lesson", which, *spelled(request)]), headline=False,
        )  # fmt: skip
        found = Taught(folder, tuple(standings), tuple(said))
        tell(found.standings, said, console.print, "side by side")
        console.print(f"\npage: {found.page}")
    return found
