"""Variations and searches: what is tried, what is refused, what each change bought."""

import json
import sqlite3
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from lenext.comparison.race import race
from lenext.comparison.study import mask_password
from lenext.comparison.values import parse_choices
from lenext.comparison.variations import BASE, combine_choices
from lenext.comparison.vary import vary
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.runs import weights
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.workflows.train import train
from tests.comparison.test_race import figures
from tests.data.makers import write_table

SMALL: dict[str, Any] = {"train_samples": 150, "epochs": 1, "quiet": True}


def test_combinations_by_hand() -> None:
    choices = parse_choices("lenet", ["activation=relu,tanh", "learning_rate=0.1,0.2"])
    base = Experiment(network="lenet")
    variations, _ = combine_choices(base, choices, "grid")
    assert list(variations) == [
        BASE, "learning_rate=0.1", "learning_rate=0.2",
        "activation=tanh learning_rate=0.1", "activation=tanh learning_rate=0.2",
    ]  # fmt: skip
    variations, same = combine_choices(base, choices, "one")
    assert list(variations) == [BASE, "activation=tanh", "learning_rate=0.1", "learning_rate=0.2"]
    assert list(same) == ["activation=relu"]


def test_what_equals_the_base_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the screen and on the page."""
    found = vary("lenet", ["activation=relu,tanh"], runs_dir=tmp_path, **(SMALL | {"quiet": False}))
    assert [one.name for one in found.standings if one.name != BASE] == ["activation=tanh"]
    assert "activation=relu: the network is like this already" in capsys.readouterr().out
    assert "activation=relu" in found.page.read_text()


def test_a_file_names_data_weights_and_frozen_parts(tmp_path: Path) -> None:
    """Data, weights and frozen parts of a recipe file hold in every comparison, and its runs are found again."""
    table = write_table(tmp_path / "t.csv", [[k % 2, *([255 * (k % 2)] * 64)] for k in range(60)])
    start = train("lenet", table, epochs=1, runs_dir=tmp_path / "first", quiet=True, report=False)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"data: {table}\npretrained: {start.weights()}\nfreeze: conv1\nrecipe:\n  epochs: 1\n")
    extra: dict[str, Any] = {"recipe": str(recipe), "quiet": True}
    for _ in range(2):  # the second time the runs are taken as they are
        varied = vary("lenet", ["learning_rate=0.1"], runs_dir=tmp_path / "vary", **extra)
        sought = vary(
            "lenet", ["learning_rate=0.1,0.2"], search="optuna", trials=2, runs_dir=tmp_path / "seek", **extra
        )
        for found in (varied, sought):
            for outcome in (outcome for standing in found.standings for outcome in standing.outcomes):
                assert outcome.run is not None, outcome.failure
                experiment = outcome.run.experiment
                assert experiment.data == str(table)
                assert (experiment.pretrained, experiment.freeze) == (str(start.weights()), "conv1")
                before, after = weights.load(start.weights())[0], weights.load(outcome.run.weights())[0]
                assert torch.equal(before["conv1.weight"], after["conv1.weight"])
                assert not torch.equal(before["fc1.weight"], after["fc1.weight"])
    with pytest.raises(ConfigurationError, match="weights for lenet5_skip"):  # whose layers are others
        race("lenet", "lenet5_skip", runs_dir=tmp_path / "race", **extra)
    recipe.write_text(f"data: {table}\nfreeze: conv1\nrecipe:\n  epochs: 1\n")
    for standing in race("lenet", "lenet5_skip", runs_dir=tmp_path / "race", seeds=1, **extra).standings:
        assert standing.outcomes[0].run is not None
        assert standing.outcomes[0].run.experiment.data == str(table)
        assert standing.outcomes[0].run.experiment.freeze == "conv1"


def test_too_many_combinations() -> None:
    numbers = ",".join(map(str, range(1, 31)))
    choices = parse_choices("lenet", [f"epochs={numbers}", f"batch_size={numbers}"])
    with pytest.raises(ConfigurationError, match="900 variations; up to 500"):
        combine_choices(Experiment(network="lenet"), choices, "grid")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Any:
    options = ["depths=1,2", "patch=4,64", "optimizer=adamw,muon"]
    return vary("convnext_patch4", options, seeds=2, runs_dir=tmp_path_factory.mktemp("vary"), **SMALL)


def test_what_cannot_work_is_refused_with_the_reason(grid: Any) -> None:
    assert set(grid.left_out) == {
        f"depths=({depth},{depth}) patch=64{extra}" for depth in (1, 2) for extra in ("", " optimizer=muon")
    }
    assert all("Kernel size" in why for why in grid.left_out.values())
    assert len(grid.standings) == 5


def test_only_the_best_reads_the_test_set(grid: Any) -> None:
    rows = figures(grid.path, "vary.csv")
    means = {one.name: one.mean("validation") for one in grid.standings}
    assert grid.standings[0].name == max(means, key=lambda name: means[name])
    assert {row["contestant"] for row in rows if row["test"]} == {grid.standings[0].name}
    for path in grid.path.glob("*/results.json"):
        best = json.loads(path.read_text())
        assert best.get("test_reads", 0) == ("test" in best)


def test_effects_are_means_over_pairs(grid: Any) -> None:
    """Muon against AdamW: over the pairs that differ in nothing else, recomputed from the table."""
    rows = figures(grid.path, "vary.csv")

    def value(depths: str, optimizer: str, seed: int) -> float:
        key = {"depths": depths, "patch": "4", "optimizer": optimizer, "seed": str(seed)}
        return float(next(row["validation"] for row in rows if all(row[name] == key[name] for name in key)))

    pairs = [(depths, seed) for depths in ("(1,1)", "(2,2)") for seed in (0, 1)]
    mean = fmean(value(depths, "muon", seed) - value(depths, "adamw", seed) for depths, seed in pairs)
    (line,) = [line for line in grid.conclusions if line.startswith("optimizer")]
    assert f"muon instead of adamw: {100 * mean:+.2f}" in line
    assert "95 % interval over 2 seeds" in line
    assert "at 1.00 times the multiply-adds" in line
    (deeper,) = [line for line in grid.conclusions if line.startswith("depths:")]
    assert "(2,2) instead of (1,1)" in deeper


def test_one_at_a_time(tmp_path: Path) -> None:
    found = vary("lenet", ["activation=tanh", "pooling=average"], search="one", runs_dir=tmp_path, **SMALL)
    assert {one.name for one in found.standings} == {BASE, "activation=tanh", "pooling=average"}
    assert "activation: tanh instead of relu" in " ".join(found.conclusions)
    page = found.page.read_text()
    assert "against base" in page
    assert "lenext vary lenet --option=activation=tanh --option=pooling=average --data digits --search one" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "vary what"),
        (["activatoin=tanh"], "activation"),
        (["learning_rate=0.1..0.2"], "a range is for --search optuna"),
        (["activation=relu"], "nothing is left to compare: the network is like this already"),
        (["kernel_size=99"], "nothing is left to compare"),
        (["validation_fraction=0.1,0.2"], "the same split"),
    ],
)
def test_what_cannot_be_varied(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        vary("lenet", options, runs_dir=tmp_path, **SMALL)


OPTIONS = ["learning_rate=1e-4..1e-1", "activation=relu,tanh", "kernel_size=3,5,99"]


def test_a_search_reports_each_trial_once_and_continues(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    first = vary("lenet", OPTIONS, search="optuna", trials=4, runs_dir=tmp_path, **SMALL)
    assert sum(first.counts.values()) == 4
    continued = vary("lenet", OPTIONS, search="optuna", trials=7, runs_dir=tmp_path, **SMALL)
    assert continued.path == first.path
    assert sum(continued.counts.values()) == 7
    assert set(continued.counts) <= {"complete", "pruned", "fail"}  # a kernel of 99 px is refused
    numbers = sorted(path.name for path in continued.path.glob("trial-*"))
    assert len(numbers) == continued.counts["complete"] + continued.counts.get("pruned", 0)
    best = continued.standings[0]
    assert best.mean("validation") == max(one.mean("validation") or 0 for one in continued.standings)
    assert best.accuracies("test")
    assert (
        sum(bool(one.accuracies("test")) for one in continued.standings) <= 2
    )  # the best of four trials, and of seven
    for one in continued.standings:
        run = Run(continued.path / one.outcomes[0].trial.name)
        assert run.results["validation"]["accuracy"] == one.mean("validation")


def test_a_database_that_is_broken_locked_or_of_another_version(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    options = ["activation=relu,tanh"]
    base: dict[str, Any] = {"trials": 1, "runs_dir": tmp_path, "name": "s", **SMALL}
    vary("lenet", options, search="optuna", **base)
    path = tmp_path / "s" / "study.db"
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(RunError, match=r"study\.db: .*locked"):
            vary("lenet", options, search="optuna", **(base | {"trials": 2}))
    finally:
        holder.rollback()
        holder.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    connection.execute("UPDATE version_info SET library_version = '0.1.0'")
    connection.commit()
    connection.close()
    with pytest.raises(RunError, match="version"):
        vary("lenet", options, search="optuna", **(base | {"trials": 2}))
    path.write_bytes(b"not a database at all, " * 100)
    with pytest.raises(RunError, match="not a database"):
        vary("lenet", options, search="optuna", **(base | {"trials": 2}))


def test_a_database_of_another_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    how: dict[str, Any] = {"trials": 1, "database": url, **SMALL}
    vary("lenet", ["activation=relu,tanh"], search="optuna", name="s", runs_dir=tmp_path / "a", **how)
    with pytest.raises(RunError, match="of another network or other options"):
        vary("lenet", ["activation=tanh,sigmoid"], search="optuna", name="s", runs_dir=tmp_path / "b", **how)


def test_two_places_share_a_search(tmp_path: Path) -> None:
    """The second shows the first's trial with its figure; only one place reads the best one's test set."""
    pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    found = []
    for trials, place in ((2, "a"), (3, "b"), (3, "a")):
        found.append(vary("lenet", ["learning_rate=1e-5..1e-1"], search="optuna", name="s", trials=trials, database=url,
                          runs_dir=tmp_path / place, **SMALL))  # fmt: skip
    second_place, first_place = found[1:]
    assert [one.mean("validation") for one in second_place.standings] == [
        one.mean("validation") for one in first_place.standings
    ]
    assert len(first_place.standings) == 3
    read = [one.name for some in (second_place, first_place) for one in some.standings if one.accuracies("test")]
    assert (
        read.count(first_place.standings[0].name) == 1
    )  # the first place had read that of its own best, before there was more


def test_a_password_is_not_shown() -> None:
    assert mask_password("postgresql://me:secret@host:1/db") == "postgresql://me:***@host:1/db"
    assert mask_password("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"


def test_what_is_not_judged_on_validation_is_refused(tmp_path: Path) -> None:
    for extra in ({"validation_fraction": 0.0}, {"select_on_test": True}):
        with pytest.raises(ConfigurationError, match="judged on validation"):
            vary("lenet", ["activation=relu,tanh"], runs_dir=tmp_path, **(SMALL | extra))
        with pytest.raises(ConfigurationError, match="judged on validation"):
            vary("lenet", ["activation=relu,tanh"], search="optuna", runs_dir=tmp_path, **(SMALL | extra))


def test_momentum_resolves_nesterov_again(tmp_path: Path) -> None:
    found = vary("lenet", ["momentum=0,0.5"], optimizer="sgd", runs_dir=tmp_path, **SMALL)
    assert not found.left_out
    assert len(found.standings) == 3


def test_without_optuna_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigurationError, match="pip install 'lenext\\[tune\\]'"):
        vary("lenet", ["activation=relu,tanh"], search="optuna", trials=1, runs_dir=tmp_path, **SMALL)


def test_threads_of_one_variation_are_not_those_of_another_nor_of_the_caller(tmp_path: Path) -> None:
    """`auto` is the process's own count, whatever was asked for before."""
    own_threads = torch.get_num_threads()
    found = vary("lenet", [f"threads={own_threads + 1}"], data="digits", epochs=1, train_samples=200, runs_dir=tmp_path,
                 quiet=True)  # fmt: skip
    assert torch.get_num_threads() == own_threads
    used = {path.parent.name: Run(path.parent).environment["threads"] for path in found.path.glob("*/recipe.yaml")}
    assert used == {"base-seed0": own_threads, f"threads={own_threads + 1}-seed0": own_threads + 1}
