"""The verbs of the command line, with a line about each; `lenext --help` prints them without loading anything else."""

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb: the module of lenext.cli that implements it, and a line about it."""

    room: str
    about: str


VERBS = {
    "train": Verb(
        "training", "train a network on a dataset; write a run folder: weights, curves, predictions, a report"
    ),
    "resume": Verb("training", "continue a run that was stopped or killed, or train it for more epochs"),
    "lr-find": Verb("training", "learning rate range test: suggest a learning rate and plot the losses"),
    "report": Verb("using", "write a run's report page: curves, metrics by class, mistakes, explanations"),
    "explain": Verb("showing", "explain a run's predictions for images: saliency, Grad-CAM, occlusion"),
    "show": Verb("showing", "plot data, filters, feature maps, curves, a confusion matrix, ...; `lenext show --help`"),
    "audit": Verb("auditing", "check a dataset: broken and unusual files, duplicates, small classes, suspect labels"),
    "compare": Verb("comparing", "race networks on the same data, split, budget and seeds; or compare finished runs"),
    "vary": Verb("comparing", "change a network's options or recipe keys; report the gain and cost of each change"),
    "lesson": Verb("comparing", "run an experiment on a topic of the course documents, in a minute or two"),
    "reproduce": Verb("comparing", "train a published result of the course documents, as published or better"),
    "val": Verb("using", "evaluate a run on its validation set, or on another split"),
    "predict": Verb("using", "predict the classes of images: files, folders, globs"),
    "summary": Verb("networks", "print a network's layers: shapes, parameters, cost, memory, receptive field"),
    "diagram": Verb("networks", "draw a network, or one of its blocks, as an SVG image"),
    "arithmetic": Verb("networks", "compute the output size of a convolution or pooling, step by step"),
    "list": Verb("listing", "list the available models, datasets, recipes or runs"),
    "checks": Verb("listing", "print versions, device, precision, threads and the available data"),
}
