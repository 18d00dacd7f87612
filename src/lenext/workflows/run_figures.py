"""The images in a run's page: galleries, explanations, and what its network makes of its data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.data.batches import load_batch
from lenext.data.dataset import Dataset, Split
from lenext.foundation.device import Compute
from lenext.foundation.errors import LenextError
from lenext.inspection import explain
from lenext.reporting.overlays import overlay
from lenext.reporting.page import LARGEST, Drawn, Gallery, Shown, address, drawn
from lenext.runs.saved_predictions import SavedPredictions
from lenext.runs.weights import Description
from lenext.training.recipe import Recipe
from lenext.workflows import looks

IMAGES, EXPLAINED, GRID, POINTS = 24, 3, 24, 1_000
WORST = "Wrong answers, the most confident first, with the probability of the answer."
DOUBTFUL = "Right and wrong answers, the least confident first, with the probability of the answer."
A_CLASS = 6  # images beside which their augmented ones are shown


@dataclass
class RunFigures:
    """What of a run could be opened, and the images that it gives."""

    name: str
    recipe: Recipe
    data: Dataset | None
    answers: SavedPredictions | None
    module: nn.Module | None
    description: Description | None

    def galleries(self) -> list[Gallery]:
        """The most confident mistakes, the least confident answers, and some of what was trained on."""
        if self.data is None:
            return []
        found = []
        if self.answers is not None and self.data.test is not None:
            worst, doubtful = self.answers.confident_mistakes(IMAGES), self.answers.least_confident(IMAGES)
            found = [
                Gallery("confident mistakes", WORST, self.shown(self.data.test, worst)),
                Gallery("least confident answers", DOUBTFUL, self.shown(self.data.test, doubtful)),
            ]
        found = [one for one in found if one.images]
        rows = np.linspace(0, len(self.data.train) - 1, min(GRID, len(self.data.train))).astype(np.int64)
        labels = self.data.train.labels[rows].tolist()
        stored = zip(pixels_of(self.data.train, rows), labels, strict=True)
        some = [Shown(address(one), self.data.classes[label]) for one, label in stored]
        return [*found, Gallery("training images", "As they are stored, before they are augmented.", some)]

    def shown(self, split: Split, rows: np.ndarray) -> list[Shown]:
        """Answers with their images."""
        found = []
        rows, places = self.places(split, rows)
        for row, image in zip(rows.tolist(), pixels_of(split, places), strict=True):
            said, true, probability = self.said(row)
            below = "" if said == true else f"true: {true}"
            found.append(Shown(address(image), f"{said} ({probability:.0%})", below, said == true))
        return found

    def said(self, row: int) -> tuple[str, str, float]:
        """What was answered, what is true, and with what probability it was answered."""
        assert self.answers is not None
        names = self.answers.classes
        said, true = (names[int(one[row])] for one in (self.answers.predicted, self.answers.labels))
        return said, true, float(self.answers.probability[row])

    def places(self, split: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of answers whose samples are in a split, and where they are there."""
        assert self.answers is not None
        place = {str(sample): row for row, sample in enumerate(split.ids.tolist())}
        found = np.array([place.get(self.answers.samples[row], -1) for row in rows], dtype=np.int64)
        return rows[found >= 0], found[found >= 0]

    def explanations(self) -> tuple[list[dict[str, object]], str]:
        """Maps for a few right and a few wrong answers, and the layer whose maps Grad-CAM took."""
        answers, module, description = self.answers, self.module, self.description
        if answers is None or module is None or description is None or self.data is None or self.data.test is None:
            return [], ""
        right = np.flatnonzero(answers.is_correct)
        right = right[np.linspace(0, len(right) - 1, EXPLAINED).astype(int)] if len(right) else right
        rows, places = self.places(self.data.test, np.concatenate([right, answers.confident_mistakes(EXPLAINED)]))
        module = place_network(module, Compute.choose(*looks.CPU))
        rows_shown, layer = list[dict[str, object]](), ""
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            images = prepared(self.data.test, description, place)
            layer = layer or explain.last_map_layer(module, images)
            label = torch.tensor([int(answers.predicted[row])])
            stored = pixels_of(self.data.test, np.array([place]))[0]
            seen = [("image", address(stored, LARGEST))]
            for name, method in explain.METHODS.items():
                seen.append((name, address(overlay(stored, method(module, images, label)[0].numpy()), LARGEST)))
            said, true, probability = self.said(row)
            words = f"{said}, which is right" if said == true else f"{said}, but it is {true}"
            rows_shown.append({"images": seen, "caption": f"{words} ({probability:.0%} sure)"})
        return rows_shown, layer

    def inside(self) -> list[Drawn]:
        """The data as training has them, and what the network has learned to see in them; what a network lacks (a
        convolution, maps) is left out."""
        found: list[tuple[str, str, Callable[[], Figure]]] = []
        data, module, description = self.data, self.module, self.description
        if data is not None:
            about = "As they are stored, and beside them as training is given them."
            found.append(("augmentation", about, lambda: looks.class_grid(data, A_CLASS, self.recipe)))
            about = "The colours of an image, before and after normalization."
            found.append(("channels", about, lambda: looks.channels(data, 0)))
        if module is not None and description is not None:
            about = "What the first layer looks for; each by its own range."
            found.append(("first filters", about, lambda: looks.kernels(module, description.network)))
        if data is not None and module is not None and description is not None:
            split = data.test or data.validation or data.train
            images, shown = prepared(split, description, 0), pixels_of(split, np.array([0]))[0]
            about = "A test image through kernels made by hand, and below through the first ones that were learned."
            found.append(("filtered", about, lambda: looks.filters(module, shown, "a test image")))
            stages = explain.map_layers(module, images)
            for name, layer in (("early maps", stages[0]), ("last maps", stages[-1])) if stages else ():
                about = "What the channels of a layer make of an image; bright is more."
                found.append((name, about, lambda layer=layer: looks.features(module, images, shown, layer)))  # type: ignore[misc]
            about = "Images as points: what the network takes for alike lies close."
            some = looks.some_of(split, POINTS)
            found.append(("embedding", about, lambda: looks.embedding(module, some, description, self.name)))
            about = "What the value in the middle of each stage can see of an image."
            shape = description.preprocessing.input_shape
            sized = looks.resized(shown, shape[1:])
            found.append(("receptive fields", about,
                          lambda: looks.receptive_fields(module, sized, shape, description.network)))  # fmt: skip
        return [one for name, about, make in found if (one := drawn_if(name, about, make))]


def drawn_if(name: str, about: str, make: Callable[[], Figure]) -> Drawn | None:
    """The figure, where it can be made."""
    try:
        return drawn(name, about, make())
    except (LenextError, LookupError, ValueError, RuntimeError):
        return None


def pixels_of(split: Split, rows: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as they are stored."""
    return split.images[torch.from_numpy(np.asarray(rows))].numpy()


def prepared(split: Split, description: Description, row: int) -> Tensor:
    """An image as the network takes it, (1, C, H, W)."""
    images, _ = load_batch(split, description.preprocessing, Compute.choose(*looks.CPU), slice(row, row + 1))
    return images
