"""The documents' results against ours: python -m benchmarks.published RUNS.

RUNS is a folder with the runs of `lenext reproduce NAME --better --runs-dir RUNS`, one for each NAME that is to be
measured. For each of them a step of the document's own loop, on its network, data, size and batch, and a step of ours,
in turn in one run, 20 warm ones each; both are extrapolated to all their epochs. Of the document's time only the
training steps are counted, not its passes over the test set. Results without a run there keep their former row.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import RESULTS, race, report
from lenext.course.reproduce import published_epochs, published_experiment
from lenext.runs.folder import Run
from lenext.training.published import PUBLISHED

STEPS, ROUNDS = 5, 4
IMAGES = {"mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000}


def measure(name: str, run: Run) -> dict[str, Any]:
    """A row: what was published and what we reached, and how long both take."""
    one = PUBLISHED[name]
    taught, ours = published_experiment(one, False), run.experiment
    theirs = f"{taught.network}@{one.data}", str(taught.recipe.image_size), str(taught.recipe.batch_size)
    network = f"{ours.network}@{one.data}@{json.dumps(dict(ours.options))}"
    mine_is = network, str(ours.recipe.image_size), str(ours.recipe.batch_size)
    contestants = {"document": ("documents", *theirs), "lenext": ("lenext", *mine_is)}
    times = {who: median(some) for who, some in race("benchmarks.contestants", contestants, STEPS, ROUNDS).items()}
    samples = IMAGES[one.data] if taught.recipe.train_samples == "all" else taught.recipe.train_samples
    samples = round(samples * (1 - float(taught.recipe.validation_fraction)))
    seen = run.read_json("split.json")["samples"]["train"]
    document = times["document"] * -(-samples // int(taught.recipe.batch_size)) * published_epochs(one)
    mine = times["lenext"] * ours.recipe.length(-(-seen // int(ours.recipe.batch_size)))[1]
    results = run.results
    reached = results["validation" if one.measured == "validation" else "test"]["accuracy"]
    return {
        "result": name,
        "published, best epoch, %": one.best,
        "lenext, %": 100 * reached,
        "network": ours.network,
        "epochs": f"{ours.recipe.epochs} of {published_epochs(one)}",
        "document: a step, s": times["document"],
        "document: all, min": document / 60,
        "lenext: all, min": mine / 60,
        "lenext: measured, min": results["training_seconds"] / 60,
        "share of the document's time": mine / document,
    }


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rows come to. D0's own loop takes seconds, so its time is told and not asked for."""
    slow = [row["share of the document's time"] for row in rows if not row["result"].startswith("D0")]
    return {
        "results reached": f"{sum(row['lenext, %'] >= row['published, best epoch, %'] for row in rows)} of {len(rows)}",
        "largest share of a document's time, D3 and D4": max(slow),
    }


def main(runs: Path) -> None:
    former = RESULTS / "published.json"
    known = {row["result"]: row for row in json.loads(former.read_text())["rows"]} if former.exists() else {}
    for name in PUBLISHED:
        found = sorted(runs.glob(f"reproduce-{name.replace('/', '-')}-better*/*/results.json"))
        if PUBLISHED[name].figure is not None and found:
            known[name] = measure(name, Run(found[0].parent))
            print(json.dumps(known[name]), flush=True)
    rows = [known[name] for name in PUBLISHED if name in known]
    report("published", rows, figures(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
