"""Scikit-learn's embedded digits (Alpaydin & Kaynak 1998): 1,797 of 8 x 8 px and 17 shades. Needs no network."""

import numpy as np
import torch
from torch.nn import functional as F

from lenext.data import LoadOptions
from lenext.data.dataset import Dataset
from lenext.data.splitting import split_rows

TEST = 0.2
DIVISION_SEED = 1998  # the set is published undivided; this test set is the same in every run


def load(options: LoadOptions) -> Dataset:
    """The digits enlarged three times (bicubic) and framed like MNIST's: 1 x 28 x 28; a fifth is the test set."""
    from sklearn.datasets import load_digits  # 0.5 s, for this data set alone

    small, labels = load_digits(return_X_y=True)
    shades = torch.from_numpy(small.astype(np.float32)).view(-1, 1, 8, 8) * (255 / 16)
    large = F.interpolate(shades, scale_factor=3, mode="bicubic").round().clamp(0, 255).to(torch.uint8)
    whole = Dataset.from_arrays(F.pad(large, (2, 2, 2, 2)).numpy(), labels, name="digits")
    train, test = split_rows(whole.train.labels, TEST, "stratified", DIVISION_SEED)
    source = {"kind": "scikit-learn's load_digits"}
    return Dataset("digits", whole.classes, whole.train.take(train), test=whole.train.take(test), source=source)
