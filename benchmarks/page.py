"""Generate docs/benchmarks.md from results/*.json, so that no figure is written by hand: python -m benchmarks.page."""

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, format_value

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = {
    "training": ("Training, small images", "python -m benchmarks.training"),
    "training-224px": ("Training at 224 px, from images of 32 px", "python -m benchmarks.training --large"),
    "profile": ("Where a step spends its time", "python -m benchmarks.profile"),
    "memory": ("Peak memory of training", "python -m benchmarks.memory"),
    "accuracy": ("Time to accuracy", "python -m benchmarks.accuracy mnistTrain.csv mnistTest.csv"),
    "speedrun": ("CIFAR-10 to 94 %", "python -m benchmarks.speedrun airbench94_muon.py"),
    "speedrun-gpu": ("CIFAR-10 to 94 % on a GPU", "python -m benchmarks.speedrun airbench94_muon.py 10"),
    "ablation": ("What each technique of the speedrun gains", "python -m benchmarks.ablation 3"),
    "published": ("The documents' results", "python -m benchmarks.published RUNS"),
    "evaluation": ("Evaluating 10,000 images", "python -m benchmarks.evaluation"),
    "engines": ("Inference by engine", "python -m benchmarks.engines"),
    "explorer": ("The explorer", "python -m benchmarks.explorer"),
    "studio": ("The studio", "python -m benchmarks.studio"),
    "serving": ("The service, beside others", "python -m benchmarks.serving"),
    "serving-load": ("The service under load", "python -m benchmarks.serving_load"),
    "processes": ("A step in two processes", "python -m benchmarks.processes"),
    "frozen": ("Training the head of a frozen backbone", "python -m benchmarks.frozen FOLDER"),
    "precision": ("Accuracy with bf16 and fp32", "python -m benchmarks.precision"),
    "startup": ("Start-up time", "python -m benchmarks.startup"),
    "folder": ("A folder of 100,000 JPEGs", "python -m benchmarks.folder FOLDER"),
    "audit-copies": ("Duplicates found by the audit", "python -m benchmarks.audit DATA --sheets FOLDER"),
    "audit-labels": ("Suspect labels, compared with cleanlab", "python -m benchmarks.audit DATA"),
}
"""Title and command of each part, by the name of its results file."""

ABOUT = {
    "training": """The same network, images and batch size (128), SGD with momentum, no augmentation. Each contestant
runs in a separate process; they take turns. `documents` is the loop of the course documents. `last-...` is the bare
step on a batch already in memory, channels last, under autocast or in bf16. `...-expert` is a peer as an expert sets it
up for a CPU with bf16: autocast, channels last, whole batches, fused SGD, compiled where that pays. `lenext-compiled`
is `--compile yes`, which `auto` chooses for long runs of that network. The share of the peak is that of the useful
multiply-adds (three forward passes) in what a product of two matrices of 2,048 x 2,048 reaches in the same run.""",
    "training-224px": """The networks of the documents with batches of 128, compared with the documents' loop, which
resizes image by image. The time of an epoch of 50,000 is extrapolated from 20 warm batches.""",
    "profile": """Where lenext's step spends its time, by torch's profiler: the time of each operation without the
operations that it calls. `bare` is the fastest step on a batch already in memory (see above).""",
    "memory": """The peak memory of a process that trains four steps of 128 images on a CPU, including all imports and
the data.""",
    "engines": """One image, and 64 (16 at 224 px), in turns in one process, on images that are prepared already. `auto`
marks what `--engine auto` picks; OpenVINO's bf16 is measured where the processor multiplies in it.""",
    "accuracy": "Seconds of training until the test accuracy is first reached at the end of an epoch.",
    "evaluation": """lenext computes in bf16 where the CPU supports it, the others in fp32: each as by default. lenext's
time includes preparing the images from bytes; the others receive prepared images. ONNX Runtime uses the better of two
batch sizes.""",
    "published": """`lenext reproduce NAME --better` against the documents' published accuracies: a network of the same
family for small images, validation images split off the training images, the test set read once; one seed. The time of
the document's loop on this machine is extrapolated from 20 warm steps, without its passes over test or training sets;
lenext's from 20 of its steps in the same run, with plain SGD and no augmentation. `measured` is the time that the run
took, with its optimizer, augmentation and validation, on three of the four threads. D3's accuracies are validation
accuracies, as in the document.""",
    "speedrun": """`lenext train --recipe speedrun --data cifar10` and airbench94_muon.py, adapted to the CPU (fp32
weights, bf16 autocast), in turn, each with all threads; last weights, six views of each test image. Seconds of
training and evaluation.""",
    "ablation": """The recipe `speedrun` with one change at a time, trained on 45,000 images and evaluated on the other
5,000, on one core each. `gain` is the number of seconds needed to be as accurate without the technique: the time that
the change costs, plus the value of its points in seconds by the second row. The interval of a difference comes from the
spread between seeds over all rows.""",
    "explorer": """Pages of `lenext explore` in headless Chromium: their size, the time from opening one to its first
answer, and the time of an answer with all maps, beside torch with one thread, in turn.""",
    "studio": """`lenext studio` of 200 runs: the time from opening the address that it has just printed until headless
Chromium shows all of them, and again. Then 50 clients that each listen for news and ask for a table, a run, a page, an
image, an augmented image or a prediction once a second, beside a running training; the memory is that of the
server's process.""",
    "serving": """32 clients, each with a connection, send a JPEG again as soon as they have their answer: 28 px,
32 px, and 500 x 375 for 224 px. Client and service share the machine; `client us` is the client's own time for a
request. Every service computes the same weights by ONNX Runtime in fp32. `engine` is what that engine does with
decoding and without HTTP, in as many processes as lenext has workers. `FastAPI, form` is a service as it is first
written (a file of a form, one image at a time), `FastAPI, bytes` the shortest one (decoded and computed in the event
loop); both convert and resize in one line each and give one class, without remarks. `LitServe` batches up to 32 in two
workers, with a delay of 2 ms. A plain service of a large network is near the engine already, so there is little to
gain; the second worker pays where HTTP is most of the work.""",
    "serving-load": """50 clients for ten minutes, 5 % of the requests hostile: bombs, broken files, malformed forms and
JSON, 3 MB of nothing. Every answer is compared with `predict`, and the counters of `/metrics` with the clients' own
counts; with one and four workers for a minute each. The memory is that of the workers.""",
    "processes": """The same network and batch, fp32, SGD with momentum; two processes of one thread, gloo.
`DistributedDataParallel` gets tensors that are ready; lenext prepares its own, and with `exact` ends with the bits of
one process. `alone` is half of the batch in each process, without an exchange. The efficiency on more machines is
computed from that step, the bytes that each process sends, and 50 us a message; it was not measured.""",
    "frozen": """ResNet-18 at 224 px, 20 epochs, random crops and flips, on a folder of photographs, with `--freeze
backbone`: the features of two or five views of each image computed once, or every layer in every step; in turn.""",
    "precision": "The same seeds in fp32 and under bf16 autocast.",
    "startup": "Medians of 9, in turn.",
    "folder": "Loaded twice by new processes; an epoch of decoded batches at 224 px, without a network.",
    "audit-copies": """For each kind of change, 40 training images are changed and added to the test set. Recall is the
fraction of these copies that `lenext audit --no-labels` reports together with their originals. Copies of arrays are
scaled back to their size. `pairs not planted` are reported pairs of two different originals; FOLDER shows them side by
side, the least similar first. Those of CIFAR-10 are, as far as one can see, the same image twice; those of
Fashion-MNIST the same article twice, sometimes in another colour or print.""",
    "audit-labels": """5 % of the labels of 3,000 MNIST images are swapped, with three seeds. `--suspect precise`,
`--suspect sensitive` (the default) and cleanlab judge the same out-of-fold probabilities: three networks (`lenet_32px`,
12 epochs), each trained on two thirds of the images.""",
}
"""What each part measures, and how."""

START = """# Benchmarks

The command above each table measures its rows in one run, in turn. `python -m benchmarks.page` generates this page
from `benchmarks/results/`. Machines differ, so compare the ratios. `pip install -e '.[bench]'` installs the peers; data
is read from `$LENEXT_DATA`."""


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([format_value(row.get(key, "")) for key in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parts = [START]
    for name, (title, command) in PARTS.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        results = json.loads(path.read_text())
        machine = results["machine"]
        versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
        figures = "\n".join(f"- {key}: **{format_value(value)}**" for key, value in results["figures"].items())
        where = f"{machine['threads']} threads, CPU with {machine['cpu']}, GPU {machine['gpu']}; {versions}."
        parts.append(f"## {title}\n\n`{command}`\n\n{ABOUT[name]}\n\n{figures}\n\n{table(results['rows'])}\n\n{where}")
    PAGE.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
