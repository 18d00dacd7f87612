"""`reproduce`: a published result run again, as published or better, and compared with what was published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lenext.comparison.engine import run_comparison
from lenext.comparison.plan import Contestant, Plan, check_seeds
from lenext.comparison.specification import Comparison, EpochRow, Specification
from lenext.comparison.standings import Standing
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, TrainingError, unknown_name
from lenext.reporting.console import Console
from lenext.training.experiment import Experiment
from lenext.training.published import PUBLISHED, Published
from lenext.training.recipe import Recipe
from lenext.training.recipes import OF_NETWORKS, RECIPES
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.fingerprint import MAY_CHANGE
from lenext.workflows.prepare import resolve_experiment


def reproduce(
    result: str,
    *,
    better: bool = False,
    scale: float = 1.0,
    seeds: int = 1,
    name: str = "",
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Comparison:
    """Run a published result again: as published, faults and all, or with our own recipe for the same data.

    `result` is a name of PUBLISHED, such as D4/resnet18; `scale` is the fraction of the training images to use.
    `better` takes our network of the same family for small images, within the published epochs, with validation images
    out of the training set, and reads the test set once. The other arguments are those of `race`.

    Raises:
        ConfigurationError: There is no such result, or more epochs were asked for than published.
        TrainingError: No training succeeded.
    """
    specification = Reproduction(result, better, scale, seeds, settings=settings)
    return run_comparison(specification, runs_dir, name, Context(data_dir, offline, Console(quiet)))


def list_published() -> list[dict[str, Any]]:
    """Return the published results, a row each."""
    return [
        {
            "name": name,
            "network": published.network,
            "data": published.data,
            "epochs": published_epochs(published),
            "published %": "none printed" if published.figure is None
            else f"{published.figure:.2f} ({published.measured})",
            "--better": f"{published.better.network}, {published.better.epochs} "
            f"epoch{'s' if published.better.epochs > 1 else ''}",
        }
        for name, published in PUBLISHED.items()
    ]  # fmt: skip


def published_epochs(published: Published) -> int:
    return int(published.settings.get("epochs", RECIPES[published.recipe]["epochs"]))


def published_experiment(published: Published, better: bool) -> Experiment:
    """Return what the document describes and nothing else; or, better, our network for small images and its recipe."""
    if not better:
        recipe = Recipe().with_keys(RECIPES[published.recipe]).with_keys(published.settings)
        return resolve_experiment(Experiment(network=published.network, data=published.data, recipe=recipe))
    ours = published.better
    recipe = Recipe().with_keys(OF_NETWORKS.get(ours.network, {}))
    recipe = recipe.with_keys({"epochs": ours.epochs, **ours.settings})
    return resolve_experiment(
        Experiment(network=ours.network, options=ours.options, data=published.data, recipe=recipe)
    )


@dataclass(frozen=True)
class Reproduction(Specification):
    """A published result beside ours. Its fields are the arguments of `reproduce`."""

    name: str
    better: bool = False
    scale: float = 1.0
    seeds: int = 1
    kind, verb = "reproduction", "reproduce"
    ranked = False

    def __post_init__(self) -> None:
        if self.name not in PUBLISHED:
            raise ConfigurationError(
                unknown_name("published result", self.name, PUBLISHED, "`lenext reproduce` lists them")
            )
        if not 0 < self.scale <= 1:
            raise ConfigurationError(f"scale={self.scale:g}: a fraction of the training images, above 0 and up to 1")
        check_seeds(self.seeds, self.settings)

    @property
    def published(self) -> Published:
        return PUBLISHED[self.name]

    def title(self) -> str:
        return f"{self.name}, {'our recipe' if self.better else 'as published'}"

    def table_title(self) -> str:
        part = "validation" if self.better else self.published.measured
        return f"accuracy in per cent, {part} and training"

    def default_name(self) -> str:
        parts = ["reproduce", self.name.replace("/", "-"), *(["better"] if self.better else [])]
        return "-".join([*parts, *([f"scale{self.scale:g}"] if self.scale < 1 else [])])

    def first_experiment(self) -> Experiment:
        return published_experiment(self.published, self.better)

    def contestants(self, data: Dataset) -> tuple[list[Contestant], dict[str, str]]:
        experiment = self.first_experiment()
        recipe = experiment.recipe
        if self.scale < 1:
            samples = max(2, round(self.scale * len(split_by_recipe(data, recipe).train)))
            recipe = recipe.with_keys({"train_samples": samples})
        recipe = recipe.with_keys(self.settings).with_defaults()
        if recipe.epochs > (epochs := published_epochs(self.published)):
            raise ConfigurationError(f"epochs={recipe.epochs}: published are {epochs}; give no more")
        return [Contestant(experiment.network, replace(experiment, recipe=recipe))], {}

    def format_changes(self) -> str:
        """Return the settings that differ from what was published, or from our recipe."""
        keys = [key for key in self.settings if key not in MAY_CHANGE - {"epochs"}]
        return "".join(f", but {key}={self.settings[key]}" for key in keys)

    def facts(self, plan: Plan) -> dict[str, str]:
        published, experiment = self.published, plan.contestants[0].experiment
        recipe = experiment.recipe
        figure = "no figure" if published.figure is None else f"{published.figure:.2f} % ({published.measured})"
        facts = {
            "published": f"{self.name}: {published.network} on {published.data}, {published_epochs(published)} epochs; "
            f"{figure}",
            "run": f"{experiment.network}, {'our recipe' if self.better else 'as published'}{self.format_changes()}, "
            f"{recipe.epochs} epochs, {recipe.optimizer} {recipe.learning_rate:g}, batches of {recipe.batch_size} at "
            f"{recipe.image_size} px",
        }
        if self.scale < 1:
            facts["scale"] = (
                f"{self.scale:g} of the training images, {recipe.train_samples:,}: not the published result"
            )
        return facts if self.better else facts | {"faults": "; ".join(published.faults) or "none"}

    def conclude(self, standings: Sequence[Standing], counts: Mapping[str, int]) -> list[str]:
        (standing,) = standings
        trained = [outcome for outcome in standing.outcomes if outcome.records]
        if not any(outcome.results for outcome in trained):
            raise TrainingError(f"{self.name}: {'; '.join(standing.failures)}")
        if self.better:
            accuracy = standing.mean(self.published.measured) or 0.0
        else:
            last = [outcome.records[-1].val_accuracy or 0.0 for outcome in trained]
            accuracy = fmean(last) / self.published.divisor
        return [self.compare_figure(100 * accuracy, len(trained)) + self.format_changes()]

    def compare_figure(self, measured: float, seeds: int) -> str:
        """Compare an accuracy in per cent, the mean over the seeds, with what was published."""
        mean = f" (mean of {seeds} seeds)" if seeds > 1 else ""
        scale = f" on {self.scale:g} of the training images" if self.scale < 1 else ""
        figure = self.published.figure
        if figure is None:
            return f"Nothing was published; measured: {measured:.2f} %{mean}{scale}"
        target = self.published.best or figure if self.better else figure
        return (
            f"Published: {target:.2f} %{' (its best epoch)' if target != figure else ''}; measured{scale}: "
            f"{measured:.2f} %{mean}, {abs(measured - target):.2f} points {'above' if measured >= target else 'below'}"
        )

    def epoch_rows(self, standings: Sequence[Standing]) -> list[EpochRow]:
        """Return published and measured accuracy by epoch, in per cent; measured is the mean over the seeds."""
        divisor = 1.0 if self.better else self.published.divisor
        runs = [outcome.records for outcome in standings[0].outcomes if outcome.records]

        def mean(epoch: int, *metrics: str) -> float | None:
            values = []
            for records in runs:
                for record in records[epoch : epoch + 1]:
                    present = [value for name in metrics if (value := getattr(record, name)) is not None]
                    values += [100 * present[0] / divisor] if present else []
            return fmean(values) if values else None

        held_out, training = self.published.held_out, self.published.training
        return [
            {
                "epoch": float(epoch + 1),
                "published": held_out[epoch] if epoch < len(held_out) else None,
                "measured": mean(epoch, "val_accuracy"),
                "published, training": training[epoch] if epoch < len(training) else None,
                "measured, training": mean(epoch, "evaluated_train_accuracy", "train_accuracy"),
            }
            for epoch in range(max(len(held_out), *map(len, runs)))
        ]
