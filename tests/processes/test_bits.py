"""The same bits in one process and in several, from the first step to the predictions."""

from pathlib import Path

import pytest

from tests.processes.starting import LENEXT, TORCHRUN, outcome, run, train

DIGITS = ["lenet", "--data", "digits", "--shift", "1"]
SHORT = [*DIGITS, "--epochs", "2", "--train-samples", "330", "--parts", "4"]
EVERYTHING = ["--ema-decay", "0.9", "--cutmix", "1", "--accumulate-batches", "2", "--class-weights"]
NORMED = ["airbench94", "--data", "digits", "--image-size", "32", "--train-samples", "150",
            "--parts", "4", "--batch-size", "50", "--shift", "1"]  # fmt: skip
RESNET = ["resnet18_32px", *NORMED[1:], "--epochs", "2"]


def test_two_processes_end_as_one(tmp_path: Path) -> None:
    one, two = train(tmp_path, "one", SHORT), train(tmp_path, "two", SHORT, 2)
    assert outcome(one) == outcome(two)
    assert (two / "report.html").is_file()
    log = (two / "train.log").read_text()
    assert "batches in 4 parts" in log
    assert log.count("test accuracy") == 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([*SHORT, *EVERYTHING], marks=pytest.mark.slow),
        pytest.param([*NORMED, "--epochs", "1", "--hardest-fraction", "0.6"], marks=pytest.mark.slow),
        pytest.param([*RESNET, *EVERYTHING], marks=pytest.mark.endurance),
    ],
)
def test_any_number_of_processes_and_threads_ends_as_one(tmp_path: Path, words: list[str]) -> None:
    expected = outcome(train(tmp_path, "one", [*words, "--replicas", "1"]))
    assert outcome(train(tmp_path, "threads", [*words, "--replicas", "3"])) == expected
    for processes in (3, 4):
        assert outcome(train(tmp_path, f"of-{processes}", words, processes)) == expected, processes
    assert outcome(train(tmp_path, "both", [*words, "--replicas", "2"], 2)) == expected
    run(tmp_path, *TORCHRUN, "--nproc-per-node", "3", "-m", "lenext", "train", *words, "--name", "torchrun")
    assert outcome(tmp_path / "runs" / "torchrun") == expected


@pytest.mark.slow
def test_a_folder_of_images_and_a_network_of_ones_own(tmp_path: Path) -> None:
    """Each process decodes the images of its own parts."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for kind in "ab":
        folder = tmp_path / "photos" / kind
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 200, (40, 40 + number % 3, 3)) + (kind == "b") * 50
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\nclass Own(nn.Sequential):\n    def __init__(self, in_channels, num_classes):\n"
        "        super().__init__(\n            nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),\n"
        "            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4, num_classes))\n"
    )
    words = ["own.py:Own", "--data", "photos", "--image-size", "32", "--epochs", "2", "--batch-size", "16",
             "--parts", "2", "--random-crop", "0.6"]  # fmt: skip
    assert outcome(train(tmp_path, "one", words)) == outcome(train(tmp_path, "two", words, 2))


@pytest.mark.slow
def test_a_run_goes_on_in_other_numbers_of_processes(tmp_path: Path) -> None:
    """4 processes, then 1, then 2, 3: each has one epoch more."""
    words = [*NORMED, *EVERYTHING, "--schedule", "constant"]
    run_folder = train(tmp_path, "many", [*words, "--epochs", "1"], 4)
    for processes, epochs in ((1, 2), (2, 3), (3, 4)):
        many = ["--processes", str(processes)] if processes > 1 else []
        printed = run(tmp_path, *LENEXT, "resume", "runs/many", "--epochs", str(epochs), *many)
        assert f" of {epochs}, after " in printed
        assert "bits may differ" not in printed
    assert outcome(run_folder) == outcome(train(tmp_path, "one", [*words, "--epochs", "4"]))


def test_fast_reduction_says_what_it_costs_and_learns_as_well(tmp_path: Path) -> None:
    words = [*SHORT, "--reduction", "fast"]
    two = train(tmp_path, "two", words, 2)
    assert "reduction=fast" in (two / "train.log").read_text()
    assert len((two / "results.csv").read_text().splitlines()) == 3
