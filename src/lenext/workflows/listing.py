"""`list models` and `list runs`: the networks, and the runs of a folder."""

from pathlib import Path
from typing import Any

import torch

from lenext.foundation.errors import LenextError
from lenext.models import MODELS, find_variant
from lenext.runs.folder import Run, find_runs


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
    return [describe_run(run) for run in find_runs(runs_dir)]


def describe_run(run: Run) -> dict[str, Any]:
    """Return the row of one run; of a run whose files cannot be read, the reason."""
    row: dict[str, Any] = dict.fromkeys(("run", "network", "data", "epochs", "state", "validation", "test"))
    row["run"] = str(run.path)
    try:
        experiment, results = run.experiment, run.results
        row |= {"network": experiment.network or "(made in Python)", "data": experiment.data}
        row["epochs"] = f"{len(run.records)}/{experiment.recipe.epochs}"
        row["state"] = "finished" if run.is_finished(experiment) else "unfinished"
        for part in ("validation", "test"):
            row[part] = (results.get(part) or {}).get("accuracy")
    except (LenextError, AttributeError, TypeError) as error:
        row["data"] = f"broken: {error}"
    return row
