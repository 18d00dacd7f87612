"""Time to accuracy: python -m benchmarks.accuracy CSV TEST_CSV.

LeNet on 5,000 rows of MNIST to 93 % of the test set: lenext against a loop like document D0's (a Dataset that makes a
tensor of a row when it is asked for, batches of 64 in file order, SGD 0.001 on raw pixels, 45 epochs), five seeds
each, in turn. And LeNet on all of MNIST to 99 %. The test set is looked at after every epoch here, only to see when.
"""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lenext
from benchmarks.harness import report, spread
from lenext.training.evaluation import evaluate_split
from lenext.training.loop import events
from lenext.training.metrics import Record
from lenext.training.recipes import OF_NETWORKS
from lenext.training.settings import resolve, split_by_recipe
from lenext.training.state import TrainingState

SEEDS = (0, 1, 2, 3, 4)


class Rows(Dataset[tuple[Tensor, int]]):
    """A CSV of a label and 784 pixels a row, as D0 has it."""

    def __init__(self, path: Path) -> None:
        with path.open() as file:
            lines = csv.reader(file)
            next(lines)
            self.rows = [[int(value) for value in line] for line in lines]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        label, *pixels = self.rows[row]
        return torch.tensor(pixels, dtype=torch.float32).view(1, 28, 28), label


def by_hand(train: Rows, test: Rows, wanted: float, seed: int) -> tuple[float, float, int]:
    """Seconds of training until the test accuracy is reached, the accuracy, the epochs."""
    torch.manual_seed(seed)
    model = lenext.create("lenet")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader, held = DataLoader(train, batch_size=64), DataLoader(test, batch_size=64)
    taken, accuracy, epoch = 0.0, 0.0, 0
    for epoch in range(1, 46):  # noqa: B007, it is returned
        begun = time.perf_counter()
        model.train()
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        taken += time.perf_counter() - begun
        model.eval()
        with torch.no_grad():
            right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in held)
        accuracy = right / len(test)
        if accuracy >= wanted:
            break
    return taken, accuracy, epoch


def ours(data: lenext.Dataset, wanted: float, seed: int, **keys: Any) -> tuple[float, float, int]:
    """The same for lenext, with LeNet's own recipe but for these settings."""
    recipe = lenext.Recipe().with_keys(OF_NETWORKS["lenet"] | keys | {"seed": seed}).with_defaults()
    data = split_by_recipe(data, recipe)
    torch.manual_seed(seed)
    begun = time.perf_counter()
    settings = resolve(recipe, data)
    state = TrainingState.begin(lenext.create("lenet"), settings)
    taken, accuracy = 0.0, 0.0
    assert data.test is not None
    for event in events(state, data, settings):
        if not isinstance(event, Record):
            continue
        taken += time.perf_counter() - begun
        accuracy = evaluate_split(state.trained, data.test, settings.images, state.compute).accuracy
        if accuracy >= wanted:
            break
        begun = time.perf_counter()
    return taken, accuracy, state.epoch


def main(train: Path, test: Path) -> None:
    table = lenext.load(str(train), test=str(test))
    hands = Rows(train), Rows(test)
    mnist = lenext.load("mnist")
    rows = list[dict[str, Any]]()
    times = dict[tuple[str, str], list[float]]()
    for seed in SEEDS:
        for task, who, found in (
            ("5,000 rows to 93 %", "lenext", ours(table, 0.93, seed, epochs=1, batch_size=32, learning_rate=5e-3)),
            ("5,000 rows to 93 %", "a loop like D0's", by_hand(*hands, 0.93, seed)),
            ("MNIST to 99 %", "lenext", ours(mnist, 0.99, seed, epochs=4)),
        ):
            seconds, accuracy, epochs = found
            rows.append(
                {
                    "task": task,
                    "contestant": who,
                    "seed": seed,
                    "s": seconds,
                    "test accuracy": accuracy,
                    "epochs": epochs,
                }
            )
            times.setdefault((task, who), []).append(seconds)
    medians = {key: spread(some)["median"] for key, some in times.items()}
    figures = {
        "5,000 rows: ratio of the medians": medians["5,000 rows to 93 %", "a loop like D0's"]
        / medians["5,000 rows to 93 %", "lenext"],
        "MNIST to 99 %, median s of training": medians["MNIST to 99 %", "lenext"],
        "MNIST, least accuracy": min(row["test accuracy"] for row in rows if row["task"].startswith("MNIST")),
    }
    report("accuracy", rows, figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
