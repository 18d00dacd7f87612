"""The images in a run's page: galleries, explanations, and the figures of `show`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import LenextError
from lenext.inspection.explain import last_map_layer, map_layers
from lenext.reporting.page import MAX_IMAGE_SIDE, Gallery, GalleryItem, PageFigure, image_url, page_figure
from lenext.runs.saved_predictions import SavedPredictions
from lenext.runs.weights import Description
from lenext.training.recipe import Recipe
from lenext.workflows import show
from lenext.workflows.opened_run import OpenedRun
from lenext.workflows.show.layers import explanation_overlays

GALLERY_IMAGES = 24
EXPLAINED_IMAGES = 3  # correct predictions, and as many mistakes
EMBEDDED_IMAGES = 1_000
IMAGES_PER_CLASS = 6  # drawn as stored and augmented
ABOUT_MISTAKES = "Wrong predictions, the most confident first, with their probability."
ABOUT_LEAST_CONFIDENT = "Correct and wrong predictions, the least confident first, with their probability."


@dataclass
class ReportImages:
    """The images of a run's page, made from the parts of the run that could be opened.

    Attributes:
        opened: The run.
        recipe: Its recipe.
        data: Its data, if they could be read.
        answers: Its predictions on the test set, if it has any.
        module: Its network with the best weights, if they could be read.
        description: The description of these weights.
    """

    opened: OpenedRun
    recipe: Recipe
    data: Dataset | None
    answers: SavedPredictions | None
    module: nn.Module | None
    description: Description | None

    def galleries(self) -> list[Gallery]:
        """Return the most confident mistakes, the least confident predictions, and some training images."""
        if self.data is None:
            return []
        galleries = []
        if self.answers is not None and self.data.test is not None:
            mistakes, doubtful = (
                self.answers.confident_mistakes(GALLERY_IMAGES),
                self.answers.least_confident(GALLERY_IMAGES),
            )
            galleries = [
                Gallery("confident mistakes", ABOUT_MISTAKES, self.predicted_items(self.data.test, mistakes)),
                Gallery(
                    "least confident predictions", ABOUT_LEAST_CONFIDENT, self.predicted_items(self.data.test, doubtful)
                ),
            ]
        train = self.data.train
        rows = np.linspace(0, len(train) - 1, min(GALLERY_IMAGES, len(train))).astype(np.int64)
        classes = [self.data.classes[label] for label in train.labels[rows].tolist()]
        stored = zip(stored_pixels(train, rows), classes, strict=True)
        items = [GalleryItem(image_url(image), name) for image, name in stored]
        training = Gallery("training images", "As they are stored, before augmentation.", items)
        return [*(gallery for gallery in galleries if gallery.images), training]

    def predicted_items(self, split: Split, rows: NDArray[np.int64]) -> list[GalleryItem]:
        """Return rows of the predictions with their images."""
        items = []
        rows, places = self.find_samples(split, rows)
        for row, image in zip(rows.tolist(), stored_pixels(split, places), strict=True):
            predicted, true, probability = self.prediction(row)
            detail = "" if predicted == true else f"true: {true}"
            items.append(GalleryItem(image_url(image), f"{predicted} ({probability:.0%})", detail, predicted == true))
        return items

    def prediction(self, row: int) -> tuple[str, str, float]:
        """Return the predicted class, the true class, and the probability of the prediction."""
        assert self.answers is not None
        predicted, true = (
            self.answers.classes[int(labels[row])] for labels in (self.answers.predicted, self.answers.labels)
        )
        return predicted, true, float(self.answers.probability[row])

    def find_samples(self, split: Split, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of predictions whose samples are in a split, and their places in the split."""
        assert self.answers is not None
        places = self.answers.places_in(split.ids)[rows]
        return rows[places >= 0], places[places >= 0]

    def explanations(self) -> tuple[list[dict[str, Any]], str]:
        """Return explanations of some correct and some wrong predictions, and the layer that Grad-CAM used."""
        answers, module, description = self.answers, self.module, self.description
        if answers is None or module is None or description is None or self.data is None or self.data.test is None:
            return [], ""
        correct = np.flatnonzero(answers.is_correct)
        if len(correct):
            correct = correct[np.linspace(0, len(correct) - 1, EXPLAINED_IMAGES).astype(int)]
        rows, places = self.find_samples(
            self.data.test, np.concatenate([correct, answers.confident_mistakes(EXPLAINED_IMAGES)])
        )
        explanations, layer = list[dict[str, Any]](), ""
        for row, pixels in zip(rows.tolist(), stored_pixels(self.data.test, places), strict=True):
            inputs = description.preprocessing(torch.from_numpy(pixels)[None])
            layer = layer or last_map_layer(module, inputs)
            label = torch.tensor([int(answers.predicted[row])])
            overlays = explanation_overlays(module, inputs, label, pixels)
            images = [(name, image_url(image, MAX_IMAGE_SIDE)) for name, image in {"image": pixels, **overlays}.items()]
            predicted, true, probability = self.prediction(row)
            verdict = f"{predicted}, which is correct" if predicted == true else f"{predicted}, but it is {true}"
            explanations.append({"images": images, "caption": f"{verdict} ({probability:.0%} confident)"})
        return explanations, layer

    def figures(self) -> list[PageFigure]:
        """Return the figures of the data and the network; those that the network cannot have are left out.

        A network without convolutions has no kernels, one without maps no receptive fields.
        """
        figures: list[PageFigure | None] = []
        opened, data = self.opened, self.data
        if data is not None:
            figures += [
                try_figure(
                    "augmentation",
                    "Images as they are stored, and augmented as training sees them.",
                    lambda: show.data(data, per_class=IMAGES_PER_CLASS, augmented=self.recipe),
                ),
                try_figure(
                    "channels",
                    "The channels of an image, before and after normalization.",
                    lambda: show.channels(data),
                ),
            ]
        if self.module is not None:
            about = "The kernels of the first layer, each scaled to its own range."
            figures.append(try_figure("first filters", about, lambda: show.kernels(opened)))
        if data is not None and self.module is not None and self.description is not None:
            figures += self.network_figures(self.module, self.description)
        return [figure for figure in figures if figure]

    def network_figures(self, module: nn.Module, description: Description) -> list[PageFigure | None]:
        """Return the figures of what the network computes from a test image."""
        opened = self.opened
        pixels = stored_pixels(opened.split, np.array([0]))[0]
        layers = map_layers(module, description.preprocessing(torch.from_numpy(pixels)[None]))
        figures = [
            try_figure(
                "filtered",
                "A test image filtered by hand-made kernels, and below by the first learned ones.",
                lambda: show.filters(pixels, opened),
            )
        ]
        for name, layer in (("early maps", layers[0]), ("last maps", layers[-1])) if layers else ():
            about = "The feature maps that a layer computes from an image; brighter is more."
            figures.append(try_figure(name, about, partial(show.features, opened, pixels, layer=layer)))
        return [
            *figures,
            try_figure(
                "embedding",
                "Images as points: images with similar features lie close together.",
                lambda: show.embedding(opened, max_samples=EMBEDDED_IMAGES),
            ),
            try_figure(
                "receptive fields",
                "The part of an image that the middle output of each stage depends on.",
                lambda: show.field(opened, pixels),
            ),
        ]


def try_figure(name: str, about: str, draw: Callable[[], Figure]) -> PageFigure | None:
    """Return a figure for the page; None where it cannot be drawn."""
    try:
        return page_figure(name, about, draw())
    except (LenextError, LookupError, ValueError, RuntimeError):
        return None


def stored_pixels(split: Split, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return images (N, C, H, W) as they are stored."""
    return split.images[torch.from_numpy(np.asarray(rows))].numpy()
