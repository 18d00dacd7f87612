"""The images in a page: examples of all classes, and some of each cell of the confusion matrix."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data.dataset import Split
from lenext.explorer.page_data import Samples
from lenext.foundation.errors import LenextError
from lenext.reporting.page import MAX_MATRIX_CLASSES
from lenext.runs.saved_predictions import SavedPredictions
from lenext.workflows.explore_source import Opened

EXAMPLES = 12
MIN_SAMPLES, SAMPLE_BYTES = 24, 250_000  # images in a page: this many, or as many as fit into the bytes
MAX_SAMPLE_BYTES = 4_000_000  # of all of them
IMAGES_PER_CELL = 6  # of the confusion matrix


def collect_samples(opened: Opened) -> tuple[Samples, str]:
    """Return images of a run for its page, and why there are none, in words."""
    prepare = opened.description.preprocessing
    nothing = Samples(np.empty((0, prepare.channels, *prepare.stored_size), np.uint8), np.empty(0, np.int64))
    if opened.run is None:
        return nothing, ""
    image_bytes = math.prod(nothing.pixels.shape[1:])
    room = max(SAMPLE_BYTES // image_bytes, min(MIN_SAMPLES, MAX_SAMPLE_BYTES // image_bytes), 1)
    try:
        data = opened.run.data
        parts = (("test", data.test), ("validation", data.validation), ("training", data.train))
        name, split = next((name, split) for name, split in parts if split)
        examples = spread(split.labels.numpy(), min(EXAMPLES, room))
        cells, counts, missing = confusion(opened, split, room - len(examples))
        rows = list(dict.fromkeys([*examples, *(row for each in cells.values() for row in each)]))
        pixels = split.images[torch.tensor(rows, dtype=torch.int64)].numpy()
    except LenextError as error:
        return nothing, f"no images are in the page: {error}"
    place = {row: at for at, row in enumerate(rows)}
    return Samples(
        pixels, split.labels.numpy()[rows], [place[row] for row in examples],
        {cell: [place[row] for row in each] for cell, each in cells.items()}, counts, name,
    ), missing  # fmt: skip


def confusion(
    opened: Opened, split: Split, room: int
) -> tuple[dict[tuple[int, int], list[int]], NDArray[np.int64] | None, str]:
    """Return rows of a split by cell of the confusion matrix, the matrix, and why there is none, in words."""
    answers = test_answers(opened)
    if answers is None:
        return {}, None, ""
    if len(answers.classes) > MAX_MATRIX_CLASSES:
        return {}, None, f"the confusion matrix is left out: it has more than {MAX_MATRIX_CLASSES} classes"
    return cell_rows(answers, split, room), answers.confusion(), ""


def views(opened: Opened) -> str:
    """Return that a run's predictions are of several views of an image, which the page's are not; else nothing."""
    recipe = opened.run.run.experiment.recipe if opened.run else None
    return f", of several views of each (tta={recipe.tta})" if recipe and recipe.tta != "none" else ""


def test_answers(opened: Opened) -> SavedPredictions | None:
    """Return the predictions of a run's best weights for its test images; None without any."""
    if opened.run is None or not opened.is_best or opened.run.data.test is None:
        return None
    try:
        return opened.run.answers
    except LenextError:
        return None


def spread(labels: NDArray[np.int64], count: int) -> list[int]:
    """Return rows of `count` images, of all classes in turn."""
    by_class = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    turns = (rows[turn] for turn in range(count) for rows in by_class if turn < len(rows))
    return [row for row, _ in zip(turns, range(count), strict=False)]


def cell_rows(answers: SavedPredictions, split: Split, room: int) -> dict[tuple[int, int], list[int]]:
    """Return rows of a split for cells of the confusion matrix: mistakes first, one of each cell in turn."""
    rows: dict[tuple[int, int], list[int]] = {}
    samples = (answers.labels, answers.predicted, answers.places_in(split.ids))
    for true, predicted, place in zip(*(values.tolist() for values in samples), strict=True):
        places = rows.setdefault((true, predicted), [])
        if place >= 0 and len(places) < IMAGES_PER_CELL:
            places.append(place)
    chosen: dict[tuple[int, int], list[int]] = {}
    order = sorted(rows, key=lambda cell: cell[0] == cell[1])
    for turn in range(IMAGES_PER_CELL):
        for cell in order:
            if turn < len(rows[cell]) and room > 0:
                chosen.setdefault(cell, []).append(rows[cell][turn])
                room -= 1
    return chosen
