"""docs/benchmarks.md out of results/*.json, so that no figure in it is written by hand: python -m benchmarks.page."""

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, said

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = {
    "training": ("Training, small images", "python -m benchmarks.training"),
    "training-224px": ("Training at 224 px, from images of 32 px", "python -m benchmarks.training --large"),
    "profile": ("What bounds a step", "python -m benchmarks.profile"),
    "memory": ("Peak memory of training", "python -m benchmarks.memory"),
    "accuracy": ("Time to accuracy", "python -m benchmarks.accuracy mnistTrain.csv mnistTest.csv"),
    "speedrun": ("CIFAR-10 to 94 %", "python -m benchmarks.speedrun airbench94_muon.py"),
    "speedrun-gpu": ("CIFAR-10 to 94 % on a GPU", "python -m benchmarks.speedrun airbench94_muon.py 10"),
    "ablation": ("What the parts of the speedrun buy", "python -m benchmarks.ablation 3"),
    "published": ("The documents' results", "python -m benchmarks.published RUNS"),
    "evaluation": ("Measuring 10,000 images", "python -m benchmarks.evaluation"),
    "precision": ("What bf16 costs in accuracy", "python -m benchmarks.precision"),
    "startup": ("Start-up", "python -m benchmarks.startup"),
    "folder": ("A folder of 100,000 JPEGs", "python -m benchmarks.folder FOLDER"),
    "audit-copies": ("Copies that the audit finds", "python -m benchmarks.audit DATA --sheets FOLDER"),
    "audit-labels": ("Suspect labels beside cleanlab", "python -m benchmarks.audit DATA"),
}
ABOUT = {
    "training": """The same network, images and batch (128), SGD with momentum, no augmentation. Each contestant is a
process of its own; they take turns. `documents` is the loop of the course documents; `last-...` are the bare step on
one batch that is there already, channels last, by precision and compilation: the fastest of them is the limit.
`lenext-compiled` is `--compile yes`, as `auto` has it for long runs of these networks.""",
    "training-224px": """The networks as the documents teach them, batches of 128, against their loop, which resizes
image by image. An epoch of 50,000 is extrapolated from 20 warm batches.""",
    "profile": """Where lenext's own step spends its time, by torch's profiler; an operation's own time, without what it
calls. `bare` is the fastest step on a batch that is there already (see above).""",
    "memory": """The most memory that a process needs for four steps of 128 images, with everything imported and the
data loaded; on a CPU.""",
    "accuracy": "Seconds of training until the test accuracy is first reached at the end of an epoch.",
    "evaluation": """lenext computes in bf16 where the CPU has it, the others in fp32,
as each does unless told otherwise. lenext prepares the images from bytes within its time; the others are given them
prepared. ONNX Runtime with the better of two batch sizes.""",
    "published": """`lenext reproduce NAME --better` against the documents' published accuracies: a network of the same
family for small images, validation taken out of the training images, the test set read once; one seed. The time of
the document's own loop on this machine is extrapolated from 20 warm steps of it, without its passes over test or
training sets; ours from 20 of our steps in the same run, by plain descent without augmentation. `measured` is what the
run took, with its own optimizer, augmentation and validation, on three of the four threads. D3's accuracy is of
validation, as the document's is.""",
    "speedrun": """`lenext train --recipe speedrun --data cifar10` and airbench94_muon.py, moved to the CPU (fp32
weights, bf16 autocast), in turn, each with all threads; last weights, six views of each test image. Seconds of
training and of measuring the test set.""",
    "ablation": """The recipe `speedrun` with one change, trained on 45,000 images and measured on the other
5,000, one core each. `bought` are the seconds that it would take to be as good without the part: those it costs more,
and those that the points are worth by the second row. The interval of a difference is from the spread between seeds,
taken over all rows.""",
    "precision": "The same seeds in fp32 and under bf16 autocast.",
    "startup": "Medians of 9, in turn.",
    "folder": "Loaded twice by new processes; an epoch of decoded batches at 224 px, without a network.",
    "audit-copies": """40 training images are put into the test set once more after each change; recall is the share of
these copies that `lenext audit --no-labels` reports together with their originals. Copies of arrays are brought back to
their size. `pairs not planted` are reported pairs of two different originals; FOLDER has them side by side, the least
alike first. Those of CIFAR-10 are one image twice as far as one can see; those of Fashion-MNIST one article twice,
sometimes in another colour or print.""",
    "audit-labels": """5 % of the labels of 3,000 MNIST images are swapped, by three seeds. `--suspect precise` and
`--suspect sensitive` (the default) and cleanlab judge the same out-of-fold probabilities: three networks (`lenet_32px`,
12 epochs), each trained on two thirds of the images.""",
}
START = """# Benchmarks

Each table is written by the command above it, side by side with the others in one run; `python -m benchmarks.page`
makes this page out of `benchmarks/results/`. Take the ratios: machines differ. The peers come with
`pip install -e .[bench]`; data are looked for in `$LENEXT_DATA`."""


def table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([said(row.get(key, "")) for key in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parts = [START]
    for name, (title, command) in PARTS.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        machine = found["machine"]
        versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
        figures = "\n".join(f"- {key}: **{said(value)}**" for key, value in found["figures"].items())
        where = f"{machine['threads']} threads, CPU with {machine['cpu']}, GPU {machine['gpu']}; {versions}."
        parts.append(f"## {title}\n\n`{command}`\n\n{ABOUT[name]}\n\n{figures}\n\n{table(found['rows'])}\n\n{where}")
    PAGE.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
