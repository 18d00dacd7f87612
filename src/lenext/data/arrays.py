"""Read a pickle of arrays: `((X, y), (X, y))`, training then test, as D2 has it; `(X, y)`; or a dict of arrays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lenext.data import LoadOptions
from lenext.data.dataset import Dataset, flat_labels
from lenext.data.pickles import read_pickle
from lenext.foundation.errors import DataError
from lenext.foundation.files import sha256

KEYS_OF_ARRAYS = (("x_train", "y_train", "x_test", "y_test"), ("images", "labels", "", ""), ("data", "labels", "", ""))


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """Load images (N, H, W), (N, C, H, W) or (N, H, W, C) with labels (N,) or (N, 1). Raises DataError."""
    content = read_pickle(path)
    train, test = pairs_in_dict(content) if isinstance(content, dict) else pairs_in_sequence(content)
    if train is None:
        raise DataError(f"{path}: neither ((X, y), (X, y)) nor (X, y) nor a dict with 'images' and 'labels'")
    if options.classes:
        train = train[0], flat_labels(train[1], str(path)).astype(np.str_)
    data = Dataset.from_arrays(
        train[0],
        train[1],
        test_images=test[0] if test else None,
        test_labels=test[1] if test else None,
        classes=options.classes,
        name=path.stem,
    )
    return replace(data, source={"kind": "pickle", "path": str(path.resolve()), "sha256": sha256(path)})


Pair = tuple[Any, Any] | None


def is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def pairs_in_sequence(content: Any) -> tuple[Pair, Pair]:
    """Return the training and the test pair of `((X, y), (X, y))` or `(X, y)`; None for a pair that is missing."""
    if not is_pair(content):
        return None, None
    if is_pair(content[0]) and is_pair(content[1]):
        return (content[0][0], content[0][1]), (content[1][0], content[1][1])
    return (content[0], content[1]), None


def pairs_in_dict(content: dict[Any, Any]) -> tuple[Pair, Pair]:
    """Return the training and the test pair of a dict with the usual keys; None for a pair that is missing."""
    lower = {str(key).lower(): value for key, value in content.items()}
    for images, labels, test_images, test_labels in KEYS_OF_ARRAYS:
        if images in lower and labels in lower:
            test = (lower[test_images], lower[test_labels]) if test_images in lower and test_labels in lower else None
            return (lower[images], lower[labels]), test
    return None, None
