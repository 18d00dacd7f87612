"""The verbs of the command line, with a line about each; `lenext --help` prints them without loading anything else."""

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb: the module of lenext.cli that implements it, a line about it, and examples for its help."""

    room: str
    about: str
    examples: tuple[str, ...]


VERBS = {
    "train": Verb(
        "training",
        "train a network on a dataset; write a run folder: weights, curves, predictions, a report",
        (
            "lenext train",
            "lenext train resnet18_32px --data cifar10 --epochs 5",
            "lenext train resnet18 --data photos/ --pretrained --freeze backbone",
        ),
    ),
    "resume": Verb(
        "training",
        "continue a run that was stopped or killed, or train it for more epochs",
        (
            "lenext resume runs/lenet-digits",
            "lenext resume runs/lenet-digits --epochs 40",
        ),
    ),
    "lr-find": Verb(
        "training",
        "learning rate range test: suggest a learning rate and plot the losses",
        ("lenext lr-find lenet --data digits",),
    ),
    "report": Verb(
        "using",
        "write a run's report page: curves, metrics by class, mistakes, explanations",
        ("lenext report runs/lenet-digits",),
    ),
    "explain": Verb(
        "showing",
        "explain a run's predictions for images: saliency, Grad-CAM, occlusion",
        ("lenext explain runs/lenet-digits photos/*.jpg",),
    ),
    "show": Verb(
        "showing",
        "plot data, filters, feature maps, curves, a confusion matrix, ...; `lenext show --help`",
        (
            "lenext show data digits",
            "lenext show confusion runs/lenet-digits",
            "lenext show features runs/lenet-digits photo.jpg",
        ),
    ),
    "audit": Verb(
        "auditing",
        "check a dataset: broken and unusual files, duplicates, small classes, suspect labels",
        (
            "lenext audit photos/",
            "lenext audit photos/ --no-labels",
        ),
    ),
    "compare": Verb(
        "comparing",
        "race networks on the same data, split, budget and seeds; or compare finished runs",
        (
            "lenext compare lenet lenet5 --data digits --seeds 3 --epochs 3",
            "lenext compare runs/a runs/b",
        ),
    ),
    "vary": Verb(
        "comparing",
        "change a network's options or recipe keys; report the gain and cost of each change",
        (
            "lenext vary lenet --option activation=relu,tanh --option pooling=max,average",
            "lenext vary lenet --search optuna --option learning_rate=1e-4..1e-1 --trials 30",
        ),
    ),
    "lesson": Verb(
        "comparing",
        "run an experiment on a topic of the course documents, in a minute or two",
        (
            "lenext lesson",
            "lenext lesson batch-norm",
        ),
    ),
    "reproduce": Verb(
        "comparing",
        "train a published result of the course documents, as published or better",
        (
            "lenext reproduce",
            "lenext reproduce D0/lenet --better",
        ),
    ),
    "val": Verb(
        "using",
        "evaluate a run on its validation set, or on another split",
        (
            "lenext val runs/lenet-digits",
            "lenext val runs/lenet-digits --split test",
        ),
    ),
    "predict": Verb(
        "using",
        "predict the classes of images: files, folders, globs",
        (
            "lenext predict runs/lenet-digits photos/ --top 3 --format csv",
            "lenext predict resnet18 --pretrained photo.jpg",
        ),
    ),
    "explore": Verb(
        "exploring",
        "write a page that runs a network in the browser and shows every number it computes",
        (
            "lenext explore runs/lenet-digits",
            "lenext explore runs/a --against runs/b",
        ),
    ),
    "serve": Verb(
        "serving",
        "serve predictions over HTTP: batches, several models, metrics, the Open Inference Protocol",
        (
            "lenext serve runs/lenet-digits",
            "lenext serve --model digits=runs/lenet-digits --model photos=runs/resnet18/exports/resnet18.onnx",
            "lenext serve resnet18 --pretrained --host 0.0.0.0 --api-key-file key",
        ),
    ),
    "studio": Verb(
        "studio",
        "serve a page on this machine: runs, live curves, trainings, data, audits, a drawing pad",
        (
            "lenext studio",
            "lenext studio --runs-dir experiments --no-browser",
        ),
    ),
    "export": Verb(
        "exporting",
        "write a trained network with its preprocessing as one file (ONNX, OpenVINO, pt2), verified",
        (
            "lenext export runs/lenet-digits",
            "lenext export resnet18 --pretrained --verify-with photos/",
        ),
    ),
    "check-export": Verb(
        "exporting",
        "repeat the self-test of an exported file on this machine",
        ("lenext check-export runs/lenet-digits/exports/lenet-digits.onnx",),
    ),
    "summary": Verb(
        "networks",
        "print a network's layers: shapes, parameters, cost, memory, receptive field",
        (
            "lenext summary resnet18 --by block",
            "lenext summary resnet18_d2l --against resnet18",
        ),
    ),
    "diagram": Verb(
        "networks",
        "draw a network, or one of its blocks, as SVG, PNG or PDF",
        (
            "lenext diagram lenet",
            "lenext diagram googlenet_paper --block inception3a",
        ),
    ),
    "arithmetic": Verb(
        "networks",
        "compute the output size of a convolution or pooling, step by step",
        ("lenext arithmetic --in 224 --kernel 11 --stride 4 --padding 2",),
    ),
    "list": Verb(
        "listing",
        "list the available models, datasets, recipes or runs",
        (
            "lenext list models",
            "lenext list runs",
        ),
    ),
    "checks": Verb(
        "listing",
        "print versions, device, precision, threads and the available data",
        ("lenext checks",),
    ),
}
