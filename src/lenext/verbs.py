"""The verbs of the command line, each with a line about it: known before anything else is loaded."""

VERBS = {
    "train": "train a network on data and leave a run: weights, curves, predictions",
    "val": "measure a run on its validation pictures, or another split",
    "predict": "the most probable classes of your pictures: files, folders, globs",
    "summary": "a network's layers: shapes, parameters, cost, memory, receptive field",
    "diagram": "a network, or one block of it, as an SVG picture for a slide",
    "arithmetic": "the output size of a convolution or pooling, with a picture",
    "list": "what there is: models, datasets, recipes, runs",
    "checks": "versions, device, precision, threads and the data found here",
}
