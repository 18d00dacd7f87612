"""A race is fair, is found again, and reports what its figures support."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

import lenext
from lenext.comparison.plan import Plan
from lenext.comparison.race import race
from lenext.comparison.specification import Comparison
from lenext.comparison.statistics import paired_difference
from lenext.comparison.trials import Trial, lock_trial, run_trials
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.reporting.redaction import redact_paths
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.workflows.context import Context

SMALL: dict[str, Any] = {"train_samples": 200, "quiet": True}
NETWORKS = ("lenet", "lenet_32px")


def figures(folder: Path, name: str = "race.csv") -> list[dict[str, str]]:
    """Return the CSV without the time, which differs in every run."""
    with (folder / name).open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return race(*NETWORKS, data="digits", seeds=2, epochs=3, runs_dir=tmp_path_factory.mktemp("race"), **SMALL)


def runs_of(folder: Path) -> dict[str, Run]:
    return {path.parent.name: Run(path.parent) for path in sorted(folder.glob("*/recipe.yaml"))}


def test_all_have_the_same_but_for_optimizer_and_rates(raced: Any) -> None:
    runs = runs_of(raced.path)
    assert len(runs) == 4
    assert len({json.dumps(run.read_json("split.json")) for run in runs.values()}) == 1
    recipes = [run.experiment.recipe for run in runs.values()]
    for key in ("batch_size", "shift", "flip", "train_samples", "split_seed", "label_smoothing", "epochs", "cutout"):
        assert len({getattr(one, key) for one in recipes}) == 1, key
    assert {one.seed for one in recipes} == {0, 1}
    assert {one.optimizer for one in recipes} == {"adamw", "muon"}  # each network's own


def test_a_trial_is_an_ordinary_run(raced: Any, tmp_path: Path) -> None:
    """The same experiment by `train` gives the same records."""
    run = runs_of(raced.path)["lenet-seed1"]
    again = lenext.train(recipe=str(run.path / "recipe.yaml"), runs_dir=tmp_path, quiet=True, report=False)
    strip = [(one.epoch, one.train_loss, one.val_loss, one.val_accuracy) for one in run.records]
    assert strip == [(one.epoch, one.train_loss, one.val_loss, one.val_accuracy) for one in again.records]
    assert run.results["test"] == again.results["test"]
    assert run.test_reads == 1


def test_the_table_and_the_page_hold_the_runs(raced: Any) -> None:
    runs, rows = runs_of(raced.path), figures(raced.path)
    for row in rows:
        results = runs[f"{row['contestant']}-seed{row['seed']}"].results
        assert float(row["test"]) == results["test"]["accuracy"]
        assert float(row["validation"]) == results["validation"]["accuracy"]
    by_seed = {
        name: {seed: runs[f"{name}-seed{seed}"].results["test"]["accuracy"] for seed in (0, 1)} for name in NETWORKS
    }
    better, worse = sorted(NETWORKS, key=lambda name: -sum(by_seed[name].values()))
    difference = paired_difference(by_seed[better], by_seed[worse])
    assert difference is not None
    interval = f"{100 * abs(difference.mean):.2f} ± {100 * (difference.half_width or 0):.2f}"
    page = raced.page.read_text()
    assert any(interval in line for line in raced.conclusions)
    assert interval in page
    for name in NETWORKS:
        mean = 50 * sum(by_seed[name].values())
        assert f"{mean:.2f} ±" in page
    shown = re.findall(r'<circle class="(dot|ring) b"[^>]*><title>(\w+): ([\d.]+)%', page)
    assert {(name, value) for _, name, value in shown} == {
        (name, f"{50 * sum(by_seed[name].values()):.2f}") for name in NETWORKS
    }


def test_the_same_request_is_done_once(raced: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in raced.path.glob("*/results.json")}
    again = race(*NETWORKS, data="digits", seeds=2, epochs=3, runs_dir=raced.path.parent, train_samples=200)
    assert again.path == raced.path
    assert before == {path: path.stat().st_mtime_ns for path in raced.path.glob("*/results.json")}
    assert capsys.readouterr().out.count("(done before)") == 4


def test_another_folder_gives_the_same_figures(raced: Any, tmp_path: Path) -> None:
    other_race = race(*NETWORKS, data="digits", seeds=2, epochs=3, runs_dir=tmp_path, **SMALL)
    assert figures(other_race.path) == figures(raced.path)


@pytest.mark.parametrize("budget", [pytest.param("2s", marks=pytest.mark.slow), "20G"])
def test_a_budget_is_kept_as_steps(tmp_path: Path, budget: str) -> None:
    found = race("lenet", "lenet5", data="digits", seeds=1, budget=budget, runs_dir=tmp_path, **SMALL)
    plan = Plan.load(found.path)
    for one in plan.contestants:
        recipe = one.experiment.recipe
        assert isinstance(recipe.steps, int)
        if budget == "20G":
            assert recipe.steps == int(20e9 / (3 * one.cost.multiply_adds * 128))
        else:
            assert one.cost.step
            assert recipe.steps == int(2 / one.cost.step)
        records = runs_of(found.path)[f"{one.name}-seed0"].records
        assert len(records) == recipe.epochs == -(-recipe.steps // 2)  # 200 images are two batches
    before = figures(found.path)
    race("lenet", "lenet5", data="digits", seeds=1, budget=budget, runs_dir=tmp_path, **SMALL)
    assert figures(found.path) == before


BROKEN = """
import torch
class Sour(torch.nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.head = torch.nn.Linear(784, num_classes)
        self.calls = 0
    def forward(self, x):
        y = self.head(x.flatten(1))
        self.calls += self.training
        return y / 0 if self.calls > 2 else y
"""


@pytest.mark.slow
def test_an_update_of_several_batches_costs_as_many(tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": "digits", "seeds": 1, "budget": "20G"}
    steps = []
    for accumulate in (1, 2):
        found = race("lenet", "lenet5", runs_dir=tmp_path, accumulate_batches=accumulate, **options, **SMALL)
        steps.append([one.experiment.recipe.steps for one in Plan.load(found.path).contestants])
    for once, twice in zip(*steps, strict=True):
        assert isinstance(once, int)
        assert twice == once // 2


def test_a_folder_with_another_run_is_not_the_trial(tmp_path: Path) -> None:
    recipe = Recipe().with_keys({"epochs": 1, "train_samples": 100})
    trial = Trial("a", Experiment(network="lenet", recipe=recipe))
    (first,) = run_trials([trial], tmp_path, Context())
    assert not first.failure
    (other,) = run_trials(
        [Trial("a", Experiment(network="lenet", recipe=recipe.with_keys({"shift": 1})))], tmp_path, Context()
    )
    assert "trained with a different shift" in other.failure
    (again,) = run_trials([trial], tmp_path, Context())
    assert again.test == first.test


def test_whatever_a_network_raises_is_reported(tmp_path: Path) -> None:
    text = BROKEN.replace("return y / 0 if self.calls > 2 else y", "return y if self.calls < 4 else {}[0]")
    (tmp_path / "sour.py").write_text(text)
    found = race("lenet", f"{tmp_path / 'sour.py'}:Sour", data="digits", seeds=1, epochs=3, runs_dir=tmp_path,
                 image_size=28, **SMALL)  # fmt: skip
    assert found.standings[1].failures


def test_a_changed_network_is_another_race(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BROKEN.replace("y / 0 if self.calls > 2 else y", "y"))
    options: dict[str, Any] = {
        "data": "digits",
        "seeds": 1,
        "epochs": 1,
        "runs_dir": tmp_path,
        "image_size": 28,
        **SMALL,
    }
    first = race("lenet", f"{path}:Sour", **options)
    path.write_text(path.read_text().replace("return y", "return 2 * y"))
    assert race("lenet", f"{path}:Sour", **options).path != first.path


def test_a_failure_is_reported_and_the_others_are_trained(tmp_path: Path) -> None:
    (tmp_path / "sour.py").write_text(BROKEN)
    sour = f"{tmp_path / 'sour.py'}:Sour"
    found = race("lenet", sour, data="digits", seeds=2, epochs=2, runs_dir=tmp_path, image_size=28, **SMALL)
    assert found.standings[0].name == "lenet"
    assert "loss" in " ".join(found.standings[1].failures)
    rows = {row["contestant"]: row for row in figures(found.path)}
    assert rows["lenet"]["failure"] == ""
    assert rows[redact_paths(sour)]["failure"]
    assert "failed, seed 0" in found.page.read_text()


@pytest.mark.parametrize(
    ("networks", "options", "message"),
    [
        (("lenet",), {}, "two networks or more"),
        (("lenet", "lenet"), {}, "named twice"),
        (("lenet", "resnet81"), {}, "resnet18"),
        (("lenet", "nin_32px"), {"seeds": 0}, "at least 1"),
        (("lenet", "nin_32px"), {"budget": "5m", "epochs": 3}, "both say how long"),
        (("lenet", "nin_32px"), {"budget": "1G"}, "too small for one epoch of nin_32px; the least .* is about"),
        (("lenet", "alexnet"), {"image_size": 28}, "alexnet cannot take .* alexnet_32px is made for small"),
        (("lenet", "lenet5"), {"epoch": 3}, "epochs"),
    ],
)
def test_what_cannot_be_raced(tmp_path: Path, networks: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        race(*networks, data="digits", runs_dir=tmp_path, **(SMALL | options))
    assert not list(tmp_path.glob("*/plan.json"))


def test_the_least_budget_that_is_named_works(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        race("lenet", "lenet5", data="digits", budget="1G", runs_dir=tmp_path, quiet=True)
    least_budget = re.search(r"about (\w[\w.]*),", str(error.value))
    assert least_budget
    assert race("lenet", "lenet5", data="digits", seeds=1, budget=least_budget[1], runs_dir=tmp_path, **SMALL).standings


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read"), ('{"version": 0}', "of version 0"), ("[]", "cannot be read"),
                          ('{"version": 2, "contestants": [], "request": {}}', "nothing is compared")]
)  # fmt: skip
def test_a_broken_plan(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plan.json").write_text(content)
    with pytest.raises(RunError, match=message):
        race("lenet", "lenet5", data="digits", name="mine", runs_dir=tmp_path, **SMALL)


def test_another_request_of_the_same_name(raced: Any) -> None:
    with pytest.raises(RunError, match="another comparison \\(different seeds\\)"):
        race(*NETWORKS, data="digits", seeds=1, epochs=3, name=raced.path.name, runs_dir=raced.path.parent, **SMALL)


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    """A trial that another process trains is waited for, and then kept."""
    recipe = Recipe().with_keys({"epochs": 1, "train_samples": 100})
    trials = [Trial("a", Experiment(network="lenet", recipe=recipe)), Trial("b", Experiment(network="lenet5"))]
    with lock_trial(tmp_path, trials[0].name) as is_ours:
        assert is_ours
        with lock_trial(tmp_path, trials[0].name) as is_free:
            assert not is_free
    (outcome,) = run_trials(trials[:1], tmp_path, Context())
    assert outcome.run is not None
    assert trials[1].name == "b-seed0"


def test_names_of_folders() -> None:
    odd = Trial("depths=(3,3) widths=(48,96)", Experiment())
    assert odd.name != Trial("depths=(3,3)-widths=(48,96)", Experiment()).name
    assert re.fullmatch(r"[\w.=-]+", odd.name)
    assert len(Trial("x" * 500, Experiment()).name) < 120
