"""`list models` and `list runs`: the networks, and the runs of a folder."""

from pathlib import Path
from typing import Any

import torch

from lenext.data import shown_source
from lenext.foundation.errors import LenextError
from lenext.models import MODELS, find_variant
from lenext.runs.folder import Run, find_runs

UNREADABLE = (
    LenextError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError, OSError,
)  # fmt: skip
"""What the files of a run raise that is broken in one way or another."""


def list_models() -> list[dict[str, Any]]:
    """Return each network with its family, parameters (with default options), input and source."""
    rows = []
    for name, family in MODELS.items():
        variant = find_variant(name)
        with torch.device("meta"):
            network = variant.build()
        channels = variant.parameters()["in_channels"].default
        rows.append(
            {
                "name": name,
                "family": family,
                "parameters": sum(weight.numel() for weight in network.parameters()),
                "input": f"{channels} x {variant.image_size} x {variant.image_size}",
                "kind": variant.kind,
                "source": variant.source,
            }
        )
    return rows


def list_runs(runs_dir: Path) -> list[dict[str, Any]]:
    """Return each run of a folder with its network, data, progress and accuracies, the newest last."""
    rows = []
    for run in find_runs(runs_dir):
        facts = summarize_run(run)
        rows.append(
            {
                "run": str(run.path),
                "network": facts["network"],
                "data": f"broken: {facts['error']}" if facts["error"] else facts["source"],
                "epochs": None if facts["epochs"] is None else f"{facts['done']}/{facts['epochs']}",
                "state": facts["state"],
                "validation": facts["validation"],
                "test": facts["test"],
            }
        )
    return rows


def summarize_run(run: Run) -> dict[str, Any]:
    """Return the facts of a run by name; of one whose files cannot be read, what is wrong.

    Its `state` is training, finished, stopped or broken; `seconds` is the time of training so far.
    """
    names = ("network", "data", "source", "optimizer", "seed", "done", "epochs", "validation", "test", "seconds")
    facts: dict[str, Any] = dict.fromkeys(names) | {"state": "broken", "error": ""}
    try:
        experiment, results, records = run.experiment, run.results, run.records
        recipe = experiment.recipe
        facts |= {"network": experiment.network or "(made in Python)", "source": experiment.data}
        facts |= {"data": shown_source(experiment.data), "optimizer": recipe.optimizer, "seed": recipe.seed}
        facts |= {"done": len(records), "epochs": recipe.epochs}
        facts |= {part: (results.get(part) or {}).get("accuracy") for part in ("validation", "test")}
        if facts["validation"] is None:
            accuracies = [record.val_accuracy for record in records if record.val_accuracy is not None]
            facts["validation"] = max(accuracies, default=None)
        facts["seconds"] = results.get("training_seconds", sum(record.seconds for record in records))
        facts["state"] = "finished" if run.is_finished(experiment) else "training" if run.trainer else "stopped"
    except UNREADABLE as error:
        facts["error"] = " ".join(str(error).split())
    return facts
