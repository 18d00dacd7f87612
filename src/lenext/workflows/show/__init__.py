"""The figures of data, networks and runs.

One function a figure: the command line (`lenext show`), the page of a run and a notebook call the same one.

>>> from lenext import show
>>> show.confusion("runs/lenet-mnist")  # doctest: +SKIP
"""

from lenext.workflows.show.images import channels, data
from lenext.workflows.show.layers import embedding, explain, features, field, filters, kernels
from lenext.workflows.show.predictions import classes, confusion, curves, reliability

__all__ = [
    "channels",
    "classes",
    "confusion",
    "curves",
    "data",
    "embedding",
    "explain",
    "features",
    "field",
    "filters",
    "kernels",
    "reliability",
]
