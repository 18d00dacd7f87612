"""Find labels that may be wrong, by the probabilities of networks that were not trained on the image."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lenext.acceleration.placement import place_network
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.progress import count_bar
from lenext.foundation.seeds import generator
from lenext.inspection.doctor import UnfitError, check_network
from lenext.training.evaluation import evaluate_split
from lenext.training.experiment import Experiment
from lenext.training.loop import fit
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve_images
from lenext.workflows.prepare import draw_network, network_options, resolve_experiment

Suspicion = Literal["precise", "sensitive"]

FOLDS = 3
MIN_IMAGES_PER_CLASS = 6  # fewer are too few to train on
MAX_SELF_CONFIDENCE_RATIO = 0.2  # to the mean of the class; the sensitive rule suspects labels below
RELIABLE_ACCURACY, MAX_UNRELIABLE_FRACTION = 0.85, 0.01
"""Networks whose accuracy on held-out images is below RELIABLE_ACCURACY report only the strongest suspicions, this
fraction of the images: beyond it, most suspicions are mistakes of the networks."""
IMAGE_PIXELS = 32  # side of the networks' input
MAX_SHIFT = 2  # pixels, of the augmentation


@dataclass(frozen=True)
class Suspect:
    """A training image whose label may be wrong.

    Attributes:
        row: Its row in the training split.
        predicted: The class that is predicted instead.
        probability: Probability of that class.
        self_confidence: Probability of the label.
    """

    row: int
    predicted: int
    probability: float
    self_confidence: float


def suspect_labels(data: Dataset, experiment: Experiment, rule: Suspicion) -> tuple[list[Suspect], str]:
    """Return the training images whose labels are suspect, the most suspect first, and a note about the networks."""
    if len(data.train) < MIN_IMAGES_PER_CLASS * len(data.classes):
        return [], "too few images to search for suspect labels"
    probabilities = out_of_fold_probabilities(data, experiment)
    labels = data.train.labels.numpy()
    is_suspect = RULES[rule](probabilities, labels)
    self_confidence = probabilities[np.arange(len(labels)), labels]
    other_classes = probabilities.copy()
    other_classes[np.arange(len(labels)), labels] = -1
    predicted = other_classes.argmax(1)
    suspects = [
        Suspect(row, int(predicted[row]), float(other_classes[row].max()), float(self_confidence[row]))
        for row in np.flatnonzero(is_suspect).tolist()
    ]
    suspects.sort(key=lambda suspect: suspect.self_confidence - suspect.probability)
    accuracy = float((probabilities.argmax(1) == labels).mean())
    max_suspects = len(labels) if accuracy >= RELIABLE_ACCURACY else round(MAX_UNRELIABLE_FRACTION * len(labels))
    note = f"The networks that search for suspect labels reach {accuracy:.0%} accuracy on images they have not seen"
    if len(suspects) > max_suspects:
        note += (
            f": of {len(suspects):,} suspect labels the {max_suspects:,} strongest are reported; "
            "more --epochs or a better --network report more"
        )
    return suspects[:max_suspects], note


def mean_self_confidence(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean probability (K,) of each class over the images with its label; 1 for an empty class."""
    by_class = [probabilities[labels == label, label] for label in range(probabilities.shape[1])]
    return np.array([values.mean() if len(values) else 1.0 for values in by_class])


def confident_learning(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labels (N,) are suspect by confident learning (arXiv:1911.00068): few false alarms.

    An image counts for the likeliest class whose probability reaches that class's mean self-confidence. The number N of
    images that count for another class than their label is the estimated number of wrong labels; the N images with the
    lowest probability of their own label are suspect.
    """
    is_confident = probabilities >= mean_self_confidence(probabilities, labels)
    confident_class = np.where(is_confident, probabilities, -1).argmax(1)
    number = int((is_confident.any(1) & (confident_class != labels)).sum())
    self_confidence = probabilities[np.arange(len(labels)), labels]
    suspect = np.zeros(len(labels), dtype=np.bool_)
    suspect[np.argsort(self_confidence, kind="stable")[:number]] = True
    return suspect


def low_self_confidence(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labels (N,) are suspect by a rule of thumb that misses few wrong labels.

    Another class is likelier, and the label's own probability is below a fifth of its class's mean self-confidence.
    """
    self_confidence = probabilities[np.arange(len(labels)), labels]
    threshold = MAX_SELF_CONFIDENCE_RATIO * mean_self_confidence(probabilities, labels)[labels]
    return (probabilities.argmax(1) != labels) & (self_confidence <= threshold)


RULES = {"precise": confident_learning, "sensitive": low_self_confidence}


def plan_search(network: str, epochs: int) -> Experiment:
    """Return how the networks of the search are trained, checked before any data are read."""
    recipe = Recipe(
        epochs=epochs, image_size=IMAGE_PIXELS, batch_size=64, optimizer="adamw", learning_rate=3e-3,
        validation_fraction=0.0,
    )  # fmt: skip
    return resolve_experiment(Experiment(network=network, recipe=recipe))


def build_for_search(data: Dataset, experiment: Experiment) -> nn.Module:
    """Build a network of the search, with weights from the recipe's seed."""
    channels, classes = data.shape[0], len(data.classes)
    module = draw_network(experiment, network_options(experiment, channels, classes, IMAGE_PIXELS))
    try:
        check_network(module, (channels, IMAGE_PIXELS, IMAGE_PIXELS), classes)
    except (UnfitError, ConfigurationError) as error:
        message = f"{experiment.network} {error}; labels are checked at {IMAGE_PIXELS} px, for which --network must fit"
        raise ConfigurationError(message) from error
    return module


def out_of_fold_probabilities(data: Dataset, experiment: Experiment) -> NDArray[np.float32]:
    """Return the probabilities (N, K) of each training image by a network that was not trained on it."""
    split, probabilities = data.train, np.zeros((len(data.train), len(data.classes)), dtype=np.float32)
    fold = torch.randperm(len(split), generator=generator(0)) % FOLDS
    shift = min(MAX_SHIFT, min(data.shape[1:]) - 1)
    with count_bar("checking labels, epochs", FOLDS * int(experiment.recipe.epochs), min_total=1) as advance:
        for number in range(FOLDS):
            recipe = experiment.recipe.with_keys({"seed": number, "shift": shift})
            module = build_for_search(data, replace(experiment, recipe=recipe))
            train_rows, held_out_rows = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
            part = replace(
                data, train=split.take(train_rows), validation=None, test=split.take(held_out_rows), is_split=True
            )
            for _ in fit(module, part, recipe):
                advance(1)
            compute = Compute.choose()
            place_network(module, compute)
            assert part.test is not None
            probabilities[held_out_rows.numpy()] = evaluate_split(
                module, part.test, resolve_images(recipe, part), compute
            ).probabilities
    return probabilities
