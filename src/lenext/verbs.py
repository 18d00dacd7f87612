"""The verbs of the command line, each with the file of `cli` that has it and a line about it: known before anything
else is loaded."""

from typing import NamedTuple


class Verb(NamedTuple):
    room: str
    about: str


VERBS = {
    "train": Verb("training", "train a network on data and leave a run: weights, curves, predictions"),
    "resume": Verb("training", "go on with a run that was stopped or killed, or give it more epochs"),
    "lr-find": Verb("training", "the learning rate to begin with, found by trying, with an image"),
    "report": Verb("using", "a run as one page: curves, classes, mistakes, where the network looks"),
    "explain": Verb("showing", "what a run's answers for your images hang on: saliency, Grad-CAM, occlusion"),
    "show": Verb("showing", "an image of data, filters, features, curves, confusion, ...; `lenext show --help`"),
    "audit": Verb("auditing", "what is wrong with data: broken, doubled, odd images, small classes, suspect labels"),
    "compare": Verb("comparing", "race networks: the same data, split and budget, several seeds; or runs on one page"),
    "vary": Verb("comparing", "change a network or its recipe option by option; what each change bought, at what cost"),
    "lesson": Verb("comparing", "what the course documents teach, as experiments of a minute or two"),
    "reproduce": Verb("comparing", "the course documents' published results, run again as published, or better"),
    "val": Verb("using", "measure a run on its validation images, or another split"),
    "predict": Verb("using", "the most probable classes of your images: files, folders, globs"),
    "summary": Verb("networks", "a network's layers: shapes, parameters, cost, memory, receptive field"),
    "diagram": Verb("networks", "a network, or one block of it, as an SVG image for a slide"),
    "arithmetic": Verb("networks", "the output size of a convolution or pooling, with an image"),
    "list": Verb("listing", "what there is: models, datasets, recipes, runs"),
    "checks": Verb("listing", "versions, device, precision, threads and the data found here"),
}
