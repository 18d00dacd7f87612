"""Labels that may be wrong, by the probabilities of networks that were trained without the image."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.acceleration.placement import place_network
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute
from lenext.foundation.progress import count_bar
from lenext.foundation.seeds import generator
from lenext.models import create, find_variant
from lenext.training.evaluation import evaluate_split
from lenext.training.loop import fit, preprocessing
from lenext.training.recipe import Recipe

Suspicion = Literal["precise", "sensitive"]

FOLDS = 3
DOUBT = 0.2  # of the mean self-confidence of a class, below which a label is suspect to the sensitive rule
RELIABLE, FEW_DOUBTS = 0.85, 0.01
"""Networks that are right more rarely than this on images they have not seen are believed in the share of images alone
that they doubt most: beyond it, most doubts are mistakes of their own."""


@dataclass(frozen=True)
class Suspect:
    """A training image whose label may be wrong: its row, the class believed instead, and both probabilities."""

    row: int
    believed: int
    probability: float
    self_confidence: float


def suspect_labels(data: Dataset, network: str, epochs: int, rule: Suspicion) -> tuple[list[Suspect], str]:
    """Return the training images whose labels are suspect, the most doubted first, and a note about the networks."""
    if len(data.train) < FOLDS * 2 * len(data.classes):
        return [], "too few images to doubt labels"
    probabilities = out_of_fold(data, network, epochs)
    labels = data.train.labels.numpy()
    doubted = RULES[rule](probabilities, labels)
    own = probabilities[np.arange(len(labels)), labels]
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    believed = others.argmax(1)
    suspects = [
        Suspect(row, int(believed[row]), float(others[row].max()), float(own[row]))
        for row in np.flatnonzero(doubted).tolist()
    ]
    suspects.sort(key=lambda suspect: suspect.self_confidence - suspect.probability)
    accuracy = float((probabilities.argmax(1) == labels).mean())
    most = len(labels) if accuracy >= RELIABLE else round(FEW_DOUBTS * len(labels))
    note = f"Networks that doubt labels are right on {accuracy:.0%} of the images they have not seen"
    if len(suspects) > most:
        note += (
            f": of {len(suspects):,} doubts the {most:,} strongest are told; more --epochs or a better --network tell"
        )
        note += " more"
    return suspects[:most], note


def mean_self_confidence(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each class the mean probability (K,) that its own images are given for it; 1 for an empty class."""
    own = [probabilities[labels == label, label] for label in range(probabilities.shape[1])]
    return np.array([values.mean() if len(values) else 1.0 for values in own])


def confident_learning(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labels (N,) are suspect by confident learning (arXiv:1911.00068): few false alarms.

    An image counts for the likeliest class whose probability reaches that class's mean self-confidence. The number of
    images that count for another class than their label is the estimated number of wrong labels; so many images, those
    with the lowest probability of their own label, are suspect.
    """
    enough = probabilities >= mean_self_confidence(probabilities, labels)
    counted = np.where(enough, probabilities, -1).argmax(1)
    number = int((enough.any(1) & (counted != labels)).sum())
    own = probabilities[np.arange(len(labels)), labels]
    suspect = np.zeros(len(labels), dtype=np.bool_)
    suspect[np.argsort(own, kind="stable")[:number]] = True
    return suspect


def low_self_confidence(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labels (N,) are suspect by a rule of thumb that misses few wrong labels.

    Another class is likelier, and the label's own probability is below a fifth of its class's mean self-confidence.
    """
    own = probabilities[np.arange(len(labels)), labels]
    usual = mean_self_confidence(probabilities, labels)[labels]
    return (probabilities.argmax(1) != labels) & (own <= DOUBT * usual)


RULES = {"precise": confident_learning, "sensitive": low_self_confidence}


def out_of_fold(data: Dataset, network: str, epochs: int) -> NDArray[np.float32]:
    """(N, K): for each training image the probabilities by a network that has not seen it."""
    split, found = data.train, np.zeros((len(data.train), len(data.classes)), dtype=np.float32)
    fold = torch.randperm(len(split), generator=generator(0)) % FOLDS
    recipe = Recipe(
        epochs=epochs, image_size=32, batch_size=64, optimizer="adamw", learning_rate=3e-3, validation_fraction=0.0,
        shift=min(2, min(data.shape[1:]) - 1),
    )  # fmt: skip
    with count_bar("doubting labels", FOLDS * epochs) as advance:
        for number in range(FOLDS):
            torch.manual_seed(number)
            seen, left = ((fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0])
            part = replace(data, train=split.take(seen), validation=None, test=split.take(left), is_split=True)
            follows: dict[str, Any] = {"in_channels": data.shape[0], "num_classes": len(data.classes), "image_size": 32}
            known = find_variant(network).parameters()
            module = create(network, **{key: value for key, value in follows.items() if key in known})
            for _ in fit(module, part, recipe):
                advance(1)
            compute = Compute.choose()
            place_network(module, compute)
            assert part.test is not None
            found[left.numpy()] = evaluate_split(module, part.test, preprocessing(part, recipe), compute).probabilities
    return found
